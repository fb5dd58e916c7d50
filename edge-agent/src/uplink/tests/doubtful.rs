//! A receiver whose answers are withheld, doubled or out of order, and records that it refuses for good.

use super::*;
use wire::batch::MAX_RECORD_BYTES;

#[tokio::test(flavor = "multi_thread")]
async fn fault_19_acks_withheld_doubled_and_out_of_order_lose_and_double_nothing() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    bench.receiver.lock().scrambles_answers = true;
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    // Reversed by threes, receipts twice; what is left over comes with the answer to a ping.
    for number in 0..60 {
        bench.put(&format!("{number}")).await;
    }
    bench.until_delivered().await;
    assert_eq!(bench.receiver.lock().records.len(), 60);

    // Taken and acknowledged, but no receipt: then the line breaks, and only then do receipts come again.
    bench.receiver.lock().scrambles_answers = false;
    bench.receiver.lock().withhold_receipts = true;
    for number in 0..20 {
        bench.put(&format!("withheld {number}")).await;
    }
    eventually("all are taken", || {
        bench.receiver.lock().records.len() == 80
    })
    .await;
    assert!(
        bench.spool.stats().pending_records >= 20,
        "an ack settles nothing"
    );
    bench.receiver.lock().withhold_receipts = false;
    bench.receiver.cut_mqtt();
    bench.until_delivered().await;
    assert_eq!(
        bench.receiver.lock().records.len(),
        80,
        "and nothing is doubled"
    );
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_20_a_puback_without_a_receipt_deletes_nothing() {
    /// More than may be on their way at once: the last ones are sent only because the first were acknowledged.
    const RECORDS: usize = 20;
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    bench.receiver.lock().withhold_receipts = true;
    for number in 0..RECORDS {
        bench.put(&format!("{number}")).await;
    }
    let running = bench.start(mqtt.address.port());
    eventually("all are sent and acknowledged", || {
        bench.receiver.lock().deliveries.len() == RECORDS
    })
    .await;
    // It has kept nothing of what it acknowledged, as if its commit had failed.
    bench.receiver.lock().records.clear();
    let settled = async || {
        let lines = bench.spool.balance().await.unwrap();
        lines.iter().map(|line| line.settled).sum::<u64>()
    };
    assert_eq!(settled().await, 0, "an acknowledgement is no receipt");
    assert_eq!(bench.spool.stats().pending_records, RECORDS as u64);
    assert_eq!(running.status().receipts, 0);

    bench.receiver.lock().withhold_receipts = false;
    bench.receiver.cut_mqtt();
    bench.until_delivered().await;
    {
        let taken = bench.receiver.lock();
        assert_eq!(taken.records.len(), RECORDS, "all were sent again");
        assert!(taken.deliveries.len() >= 2 * RECORDS);
    }
    assert_eq!(settled().await, RECORDS as u64);
    bench.stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_22_oversized_and_malformed_records_are_parked_once_and_the_rest_goes_on() {
    for mqtt_works in [true, false] {
        let bench = Bench::new().await;
        let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
        bench.receiver.lock().rejects = Some(Seq(3));
        let port = if mqtt_works {
            mqtt.address.port()
        } else {
            closed_port().await
        };
        let mut huge = bench.audit("huge");
        if let Body::Audit(audit) = &mut huge.body {
            audit.detail = Some("x".repeat(MAX_RECORD_BYTES));
        }
        bench.spool.put_durable(huge).await.unwrap_err();
        for number in 1..=5 {
            bench.put(&format!("{number}")).await;
        }
        let running = bench.start(port);
        bench.until_delivered().await;
        // Others follow, over another connection too: what was refused is not offered again.
        bench.receiver.cut_mqtt();
        bench.put("after it").await;
        bench.until_delivered().await;
        assert_eq!(bench.spool.stats().parked_records, 1, "mqtt {mqtt_works}");
        let taken = bench.receiver.lock();
        let mut reasons: Vec<String> = taken
            .records
            .values()
            .filter_map(|json| match Record::from_json(json).unwrap().body {
                Body::Gap(gap) => Some(gap.reason),
                _ => None,
            })
            .collect();
        reasons.sort();
        assert_eq!(reasons, ["oversized", "rejected"], "mqtt {mqtt_works}");
        let audits = taken
            .records
            .values()
            .filter(|json| matches!(Record::from_json(json).unwrap().body, Body::Audit(_)))
            .count();
        assert_eq!(audits, 5, "four of the five, and the one after them");
        drop((taken, running));
        bench.stop.cancel();
    }
}
