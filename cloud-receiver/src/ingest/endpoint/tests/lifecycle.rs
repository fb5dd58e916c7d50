//! How sessions end, and what reaches a device while one lasts.

use super::super::Limits;
use super::bench::{Bench, Device, EPOCH, NOW, until, within};
use super::line::{Line, PINGRESP, connect, message, pingreq, publish, topic};
use crate::store::{Administration, OperatorDesk};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use uuid::Uuid;
use wire::command::{Command, Request, SignedCommand};
use wire::topic::Channel;
use wire::{CameraId, CommandId, Seq};

#[tokio::test]
async fn the_newest_connection_of_a_device_wins() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let mut old = Line::connected(&bench, &device).await;
    let mut new = Line::connected(&bench, &device).await;
    assert_eq!(old.farewell().await, 0x8E);
    new.send(&publish(
        &topic(device.id, Channel::UpBatch),
        1,
        &device.batch(1, 1),
    ))
    .await;
    let (receipts, _) = new.until_acknowledged(1).await;
    assert!(receipts[0].settles(EPOCH, Seq(1), Seq(1)));
}

#[tokio::test]
async fn silence_beyond_one_and_a_half_keep_alives_ends_the_session() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let mut line = Line::open(&bench, device.tls.clone()).await.unwrap();
    line.send(&connect(&device.id.to_string(), 1)).await;
    line.packet().await;
    let since = tokio::time::Instant::now();
    line.send(&pingreq()).await;
    assert_eq!(line.packet().await.kind(), PINGRESP);
    assert_eq!(line.farewell().await, 0x8D);
    assert!(since.elapsed() >= Duration::from_millis(1400));
}

#[tokio::test]
async fn a_stop_answers_what_is_being_committed_and_says_goodbye() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let idle = bench.device(2).await;
    let mut idle = Line::connected(&bench, &idle).await;
    let mut line = Line::connected(&bench, &device).await;
    bench.store.hold_commits();
    line.send(&publish(
        &topic(device.id, Channel::UpBatch),
        1,
        &device.batch(1, 1),
    ))
    .await;
    line.send(&pingreq()).await;
    assert_eq!(line.packet().await.kind(), PINGRESP);

    bench.stop.cancel();
    assert_eq!(idle.farewell().await, 0x8B);
    assert!(!bench.serving.is_finished());
    bench.store.let_commits_go();
    let (receipts, acks) = line.until_acknowledged(1).await;
    assert_eq!(acks, [(1, 0)]);
    assert!(receipts[0].settles(EPOCH, Seq(1), Seq(1)));
    assert_eq!(line.farewell().await, 0x8B);
    within("the endpoint ends", bench.serving).await.unwrap();
}

#[tokio::test]
async fn fault_33_revocation_by_another_process_ends_the_session() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let other = bench.device(2).await;
    let mut line = Line::connected(&bench, &device).await;
    let mut stays = Line::connected(&bench, &other).await;
    assert!(bench.other_process().revoke(device.id, NOW).await.unwrap());
    assert_eq!(line.farewell().await, 0x87);
    stays.send(&pingreq()).await;
    assert_eq!(stays.packet().await.kind(), PINGRESP);
}

fn picture_now(device: &Device, number: u128) -> Command {
    Command {
        id: CommandId(Uuid::from_u128(number)),
        device: device.id,
        issued_at_us: NOW,
        deadline_us: NOW.plus_us(60_000_000),
        request: Request::PictureNow {
            camera: CameraId(Uuid::from_u128(9)),
        },
    }
}

async fn command(bench: &Bench, line: &mut Line, device: &Device) -> Command {
    let (to, json) = message(&line.packet().await);
    assert_eq!(to, topic(device.id, Channel::DownCommand));
    let signed: SignedCommand = serde_json::from_slice(&json).unwrap();
    let key = bench.command_key.verifying_key();
    signed.open(&key, device.id, NOW).unwrap()
}

#[tokio::test]
async fn commands_are_pushed_once_a_connection_until_they_are_answered() {
    let bench = Bench::start().await;
    let device = bench.device(1).await;
    let bystander = bench.device(2).await;
    let mut bystander = Line::connected(&bench, &bystander).await;
    let (first, second) = (picture_now(&device, 1), picture_now(&device, 2));
    let operator = bench.other_process();
    operator.add_command(&first).await.unwrap();

    let mut line = Line::connected(&bench, &device).await;
    assert_eq!(command(&bench, &mut line, &device).await, first);
    until("it is noted as sent", || async {
        let state = operator.command(first.id).await.unwrap().unwrap();
        state.sent_us.is_some()
    })
    .await;

    // One that comes up while connected follows; the first is not repeated.
    operator.add_command(&second).await.unwrap();
    assert_eq!(command(&bench, &mut line, &device).await, second);
    line.send(&pingreq()).await;
    assert_eq!(line.packet().await.kind(), PINGRESP);

    // Neither was answered: the next connection gets both.
    let mut line = Line::connected(&bench, &device).await;
    let mut again = vec![
        command(&bench, &mut line, &device).await,
        command(&bench, &mut line, &device).await,
    ];
    again.sort_by_key(|command| command.id);
    assert_eq!(again, [first, second]);

    bystander.send(&pingreq()).await;
    assert_eq!(
        bystander.packet().await.kind(),
        PINGRESP,
        "and nothing else"
    );
}

#[tokio::test]
async fn who_never_says_who_it_is_is_cut_off_and_keeps_nobody_out() {
    let bench = Bench::with(Limits {
        handshakes: 1,
        handshake_timeout: Duration::from_millis(300),
        ..Limits::default()
    })
    .await;
    let device = bench.device(1).await;
    let mut mute = TcpStream::connect(bench.address).await.unwrap();
    let mut line = Line::connected(&bench, &device).await;
    let mut byte = [0];
    let read = within("the mute one is closed", mute.read(&mut byte)).await;
    assert!(matches!(read, Ok(0) | Err(_)));

    // One that got through TLS and then says nothing.
    let mut mute = Line::open(&bench, device.tls.clone()).await.unwrap();
    assert_eq!(mute.next().await, None);
    line.send(&pingreq()).await;
    assert_eq!(
        line.packet().await.kind(),
        PINGRESP,
        "and takes over nothing"
    );
}

#[tokio::test]
async fn who_takes_nothing_is_cut_off() {
    let bench = Bench::with(Limits {
        write_stall: Duration::from_millis(300),
        farewell: Duration::from_millis(100),
        ..Limits::default()
    })
    .await;
    let device = bench.device(1).await;
    let mut line = Line::connected(&bench, &device).await;
    // Answers to these fill every buffer on the way back, since nobody reads them.
    let pings = pingreq().repeat(8 * 1024);
    within("the connection breaks", async {
        while line.try_send(&pings).await.is_ok() {}
    })
    .await;
}
