//! A spool that does not answer, as when its disk hangs: the line goes on with what does not need it.

use super::*;
use tokio::time::timeout;

/// As the device waits for its spool, three times over and more.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn fault_39_while_the_spool_hangs_heartbeats_and_commands_go_on_over_either_carriage() {
    for mqtt_works in [true, false] {
        let bench = Bench::new().await;
        let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
        let (port, carriage) = if mqtt_works {
            (mqtt.address.port(), Carriage::Mqtt)
        } else {
            (closed_port().await, Carriage::Https)
        };
        let mut running = bench.start_beating(bench.enrollment(port), 1);
        running.until_carriage(carriage).await;
        bench.put("before").await;
        bench.until_delivered().await;

        let hanging = bench.spool.stall();
        let beats = bench.receiver.lock().heartbeats.len();
        bench.spool.put(bench.audit("meanwhile")).unwrap();
        eventually("heartbeats go on", || {
            bench.receiver.lock().heartbeats.len() > beats + 2
        })
        .await;
        let command = bench.command(1);
        let signed = command.sign(&command_key());
        if mqtt_works {
            bench.receiver.command(signed);
        } else {
            bench.receiver.lock().commands.push(signed);
        }
        let heard = timeout(PATIENCE, running.commands.recv()).await;
        assert_eq!(heard.expect("it is heard").unwrap(), command);
        assert_eq!(running.status().carriage, carriage, "the line stands");
        assert_eq!(bench.receiver.lock().records.len(), 1);

        drop(hanging);
        eventually("what waited is delivered", || bench.spool.is_drained()).await;
        assert_eq!(bench.receiver.lock().records.len(), 2);
        bench.stop.cancel();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_39_an_agent_whose_spool_hangs_can_be_stopped() {
    let bench = Bench::new().await;
    let mqtt = bench.receiver.listen_mqtt("127.0.0.1:0").await;
    let running = bench.start(mqtt.address.port());
    running.until_carriage(Carriage::Mqtt).await;
    let hanging = bench.spool.stall();
    bench.spool.put(bench.audit("meanwhile")).unwrap();
    bench.stop.cancel();
    let joined = timeout(PATIENCE, running.uplink.join()).await;
    joined.expect("the uplink ends though the spool does not answer");
    drop(hanging);
}
