//! Where the data is, and how much room there is for it.

use e2e::process::{free_port, run};
use e2e::receiver::Receiver;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

fn refused(receiver: &Receiver, args: &[&str]) -> String {
    let output = receiver.command_raw(args).expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn clause_03_with_a_store_outside_the_allowed_regions_nothing_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver =
        Receiver::init_in(folder.path(), Some("ap-northeast-1")).expect("a receiver");
    receiver.serve().expect("in its region it serves");
    receiver.stop().expect("it stops");

    let region = folder.path().join("data/region");
    std::fs::write(&region, "us-east-1\n").expect("the store was moved");
    for args in [&["serve"][..], &["contract", "list"]] {
        let said = refused(&receiver, args);
        assert!(said.contains("is in region us-east-1"), "{said}");
        assert!(said.contains("allows only ap-northeast-1"), "{said}");
    }
    std::fs::remove_file(&region).expect("nobody says where it is");
    let said = refused(&receiver, &["serve"]);
    assert!(
        said.contains("does not say in which region it is"),
        "{said}"
    );
    assert!(said.contains("write the region into"), "{said}");
    std::fs::write(&region, "東京\n").expect("no name of a region");
    let said = refused(&receiver, &["serve"]);
    assert!(said.contains("holds no name of a region"), "{said}");

    std::fs::write(&region, "ap-northeast-1\n").expect("it is back");
    receiver.serve().expect("it serves again");
}

#[test]
fn a_region_that_is_no_name_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (config, keys) = (folder.path().join("c.toml"), folder.path().join("keys"));
    let text = |path: &Path| path.display().to_string();
    let output = run(
        "cloud-receiver",
        [
            "init",
            "--config",
            &text(&config),
            "--data-dir",
            &text(&data),
            "--key-dir",
            &text(&keys),
            "--region",
            "東京",
        ],
    )
    .expect("it runs");
    assert!(!output.status.success());
    assert!(!data.exists() && !keys.exists() && !config.exists());
}

#[test]
fn clause_14_how_full_it_is_and_until_when_is_told_to_people_programs_and_monitors() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::init(folder.path()).expect("a receiver");
    receiver
        .customer("株式会社例", "本社", "honsha01")
        .expect("a customer");
    let port = free_port().expect("a port");
    receiver
        .configure(
            "[metrics]\n",
            &format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n"),
        )
        .expect("a monitor on this machine");
    receiver.serve().expect("it serves");

    let capacity = receiver.command(&["capacity"]).expect("it is told");
    assert_eq!(capacity["forecast"], "too_early");
    assert!(capacity["now"]["free_bytes"].as_u64().expect("bytes") > 0);
    assert_eq!(capacity["contracts"][0]["name"], "株式会社例");
    let words = receiver.command_raw(&["capacity"]).expect("it runs");
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    assert!(
        words.contains("not known yet") && words.contains("株式会社例"),
        "{words}"
    );

    let mut monitor = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(
        monitor,
        "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .expect("asked");
    let mut answer = String::new();
    monitor.read_to_string(&mut answer).expect("answered");
    assert!(
        answer.contains("cloud_receiver_disk_free_bytes "),
        "{answer}"
    );
    assert!(answer.contains("name=\"株式会社例\"} 0"), "{answer}");
    receiver.stop().expect("it stops");

    receiver
        .configure(
            &format!("listen = \"127.0.0.1:{port}"),
            &format!("listen = \"0.0.0.0:{port}"),
        )
        .expect("everybody could read it");
    let said = refused(&receiver, &["serve"]);
    assert!(
        said.contains("metrics.listen is no loopback address"),
        "{said}"
    );
}
