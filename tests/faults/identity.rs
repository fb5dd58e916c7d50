//! Who is who: claim codes that are misused, certificates that are renewed at a bad moment, devices that are revoked;
//! and lines that are silent without being closed.
//!
//! What a receiver could answer wrongly is tried in `edge-agent/src/uplink/tests/`, what a device could ask wrongly
//! in `cloud-receiver/src/ingest/endpoint/tests/refusals.rs`.

mod keys;

use anyhow::{Context, Result, bail, ensure};
use e2e::agent::Agent;
use e2e::fault::disk::Disk;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::proxy::Conduct;
use e2e::fault::{Chance, Feeder, Order, Proxy, Said, Site, Size};
use e2e::receiver::Receiver;
use e2e::wait;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::process::Output;
use std::time::{Duration, Instant};
use wire::SigningKey;
use wire::claim::ClaimCode;
use wire::enroll::{EnrollRequest, Refusal};

const PATIENCE: Duration = Duration::from_secs(60);
/// One and a half keep-alives of ten seconds, and a second for a loaded machine.
const NOTICED_WITHIN: Duration = Duration::from_secs(16);

fn carriage(feeder: &Feeder) -> Option<String> {
    match feeder.figures()? {
        Said::Figures { carriage, .. } => Some(carriage),
        _ => None,
    }
}

fn until_carriage(feeder: &Feeder, wanted: &str) -> Result<()> {
    wait::until(wanted, PATIENCE, || {
        (carriage(feeder)? == wanted).then_some(())
    })
}

/// Events as long as somebody asks.
fn stream(per_second: u32) -> Feed {
    Feed {
        events: 1_000_000,
        per_second,
        picture_every: 10,
        ..Feed::default()
    }
}

/// A half-open line, in use or idle, under either carriage: how long it took to be noticed.
fn half_open(options: &Options, before: &str, feed: Option<Feed>) -> Result<Duration> {
    let site = Site::new()?;
    let lines = site.through_proxies()?;
    let mut feeder = site.start_feeder(options)?;
    until_carriage(&feeder, before)?;
    // So that it knows how fast its line is.
    feeder.put_all(Feed::default(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    if let Some(feed) = feed {
        feeder.put(feed)?;
    }
    lines.both(Proxy::stall);
    let stalled = Instant::now();
    wait::until("the silence to be noticed", PATIENCE, || {
        (carriage(&feeder)? != before).then_some(())
    })?;
    let noticed = stalled.elapsed();
    lines.both(Proxy::reset);
    lines.both(Proxy::heal);
    feeder.kill();
    let feeder = site.start_feeder(options)?;
    site.settle(feeder, PATIENCE)?;
    Ok(noticed)
}

#[test]
fn fault_17_half_open_lines_are_noticed_within_one_and_a_half_keep_alives() -> Result<()> {
    let chance = Chance::new("fault_17");
    let options = |no_mqtt| Options {
        seed: chance.seed(),
        no_mqtt,
        ..Options::default()
    };
    let mut cases = vec![
        ("MQTT, in use", options(false), "mqtt", Some(stream(20))),
        ("HTTPS, idle", options(true), "https", None),
    ];
    if Size::from_env() == Size::Long {
        cases.push(("MQTT, idle", options(false), "mqtt", None));
        cases.push(("HTTPS, in use", options(true), "https", Some(stream(20))));
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = cases
            .into_iter()
            .map(|(what, options, before, feed)| {
                (what, scope.spawn(move || half_open(&options, before, feed)))
            })
            .collect();
        for (what, case) in running {
            let noticed = case.join().expect("no case panics").context(what)?;
            eprintln!("{what}: noticed after {noticed:?}");
            ensure!(noticed <= NOTICED_WITHIN, "{what}: only after {noticed:?}");
        }
        Ok(())
    })
}

/// What the receiver answers to an enrollment with this secret, sent from `from`.
async fn try_code(receiver: &Receiver, secret: &[u8], from: IpAddr) -> Result<(u16, String)> {
    let ca = reqwest::Certificate::from_pem(&std::fs::read(receiver.ca_file())?)?;
    let key = rcgen::KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
    let device = wire::DeviceId(uuid::Uuid::new_v4());
    let record_key = SigningKey::generate();
    let request = EnrollRequest::new(secret, device, csr.pem()?, &record_key, "0.1.0".into());
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .local_address(from)
        .build()?;
    let url = format!(
        "https://127.0.0.1:{}/device/v1/enroll",
        receiver.portal_port
    );
    let answer = client.post(url).json(&request).send().await?;
    let status = answer.status().as_u16();
    let code = match status {
        200 => String::new(),
        _ => answer.json::<Refusal>().await?.code,
    };
    Ok((status, code))
}

#[test]
fn fault_31_a_code_guessed_a_thousand_times_is_not_found_and_hinders_no_installer() -> Result<()> {
    let mut chance = Chance::new("fault_31");
    // Fails only if a provider was installed before, which is just as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
    receiver.serve()?;
    receiver.customer("契約", "本社", "user")?;
    let genuine: ClaimCode = receiver.claim("本社")?.parse()?;
    let guesser = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9));
    let installer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (mut looked_at, mut throttled) = (0, 0);
    let runtime = tokio::runtime::Runtime::new()?;
    for _ in 0..1_000 {
        // The right secret but for one bit: nothing tells how near a guess is.
        let mut secret = genuine.secret;
        let bit = usize::try_from(chance.number(0..128))?;
        secret[bit / 8] ^= 1 << (bit % 8);
        match runtime.block_on(try_code(&receiver, &secret, guesser))? {
            (403, code) if code == "claim_unknown" => looked_at += 1,
            (429, code) if code == "throttled" => throttled += 1,
            other => bail!("a guess was answered {other:?}"),
        }
    }
    eprintln!("{looked_at} guesses were looked at, {throttled} were not");
    ensure!(throttled > 900, "only {throttled} guesses were throttled");
    let listed = receiver.command(&["device", "list"])?;
    ensure!(listed.as_array().is_some_and(Vec::is_empty), "{listed}");
    let right = runtime.block_on(try_code(&receiver, &genuine.secret, installer))?;
    ensure!(
        right == (200, String::new()),
        "the installer is hindered: {right:?}"
    );
    let reused = runtime.block_on(try_code(&receiver, &genuine.secret, installer))?;
    ensure!(reused == (410, "claim_used".into()), "{reused:?}");
    Ok(())
}

#[test]
fn fault_31_a_race_of_two_boxes_for_one_code_has_one_winner() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
    receiver.serve()?;
    receiver.customer("契約", "本社", "user")?;
    let url = receiver.portal_url();
    for round in 0..Size::from_env().of(3, 20) {
        let code = receiver.claim("本社")?;
        let mut boxes = Vec::new();
        for number in 0..2 {
            let folder = folder.path().join(format!("box-{round}-{number}"));
            boxes.push(Agent::configure(&folder, &[], "")?);
        }
        let (url, code) = (url.as_str(), code.as_str());
        let outcomes: Vec<Output> = std::thread::scope(|scope| {
            let racing: Vec<_> = boxes
                .iter()
                .map(|agent| scope.spawn(move || agent.try_enroll(url, code)))
                .collect();
            let joined = racing.into_iter().map(|one| one.join().expect("no panic"));
            joined.collect::<Result<_>>()
        })?;
        let (won, lost): (Vec<_>, Vec<_>) = outcomes.iter().partition(|one| one.status.success());
        ensure!((won.len(), lost.len()) == (1, 1), "{outcomes:?}");
        let words = String::from_utf8_lossy(&lost[0].stderr);
        ensure!(words.contains("used already"), "the loser is told: {words}");
        let listed = receiver.command(&["device", "list"])?;
        ensure!(
            listed.as_array().map(Vec::len) == Some(round + 1),
            "{listed}"
        );
    }
    Ok(())
}

/// The serial of the certificate that the receiver has seen of the box.
fn serial(site: &Site) -> Result<String> {
    let listed = site.receiver.command(&["device", "list"])?;
    let serial = listed[0]["certificate"]["serial"].as_str();
    Ok(serial.context("a serial in the device list")?.to_owned())
}

fn renew(feeder: &mut Feeder) -> Result<(bool, String)> {
    feeder.order(&Order::Renew)?;
    feeder.await_said("the renewal", PATIENCE, |said| match said {
        Said::Renewed { done, words } => Some((*done, words.clone())),
        _ => None,
    })
}

#[test]
fn fault_32_with_the_ca_down_the_box_keeps_what_it_has_and_renews_when_it_is_back() -> Result<()> {
    let chance = Chance::new("fault_32");
    let site = Site::new()?;
    let lines = site.through_proxies()?;
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let mut feeder = site.start_feeder(&options)?;
    feeder.put(stream(50))?;
    until_carriage(&feeder, "mqtt")?;
    let before = serial(&site)?;
    lines.https.cut();
    let (done, words) = renew(&mut feeder)?;
    ensure!(!done, "renewed by nobody: {words}");
    ensure!(serial(&site)? == before, "{words}");
    ensure!(
        carriage(&feeder).as_deref() == Some("mqtt"),
        "records do not flow on"
    );
    feeder.kill();

    lines.https.heal();
    let mut feeder = site.start_feeder(&options)?;
    let (done, words) = renew(&mut feeder)?;
    ensure!(done, "{words}");
    ensure!(serial(&site)? != before, "the new one is not in use");
    site.settle(feeder, PATIENCE)?;
    Ok(())
}

#[test]
fn fault_32_a_power_cut_before_the_swap_leaves_a_certificate_that_works() -> Result<()> {
    let chance = Chance::new("fault_32");
    let mut disk = Disk::ext4(64 << 20, None)?;
    let elsewhere = tempfile::tempdir()?;
    let site = Site::in_folder(disk.path(), elsewhere.path())?;
    let before = serial(&site)?;
    let beside = site.agent.data_dir().join("identity/enrollment.next.json");
    let lines = site.through_proxies()?;
    // The harness writes it anew without an fsync, which the box would not.
    File::open(site.agent.data_dir().join("identity/enrollment.json"))?.sync_all()?;
    let mut feeder = site.start_feeder(&Options {
        seed: chance.seed(),
        ..Options::default()
    })?;
    until_carriage(&feeder, "mqtt")?;
    // So far away that its first use takes a second: in it falls the cut.
    lines.https.conduct(Conduct {
        delay: Duration::from_millis(300),
        ..Conduct::GOOD
    });
    feeder.order(&Order::Renew)?;
    wait::until("the new certificate beside the old", PATIENCE, || {
        beside.exists().then_some(())
    })?;
    disk.cut_power()?;
    feeder.kill();
    disk.restore()?;
    lines.https.heal();
    ensure!(beside.exists(), "what was kept beside is gone");
    let mut feeder = site.start_feeder(&Options {
        seed: chance.seed(),
        ..Options::default()
    })?;
    wait::until("the swap after the next start", PATIENCE, || {
        (!beside.exists()).then_some(())
    })?;
    feeder.put_all(Feed::default(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    ensure!(serial(&site)? != before, "the new one is not in use");
    site.settle(feeder, PATIENCE)?;
    Ok(())
}

fn until_uplink(agent: &Agent, key: &str, wanted: &str) -> Result<()> {
    wait::until(format!("{wanted:?} in the status"), PATIENCE, || {
        let status = agent.status()?;
        let said = status["uplink"][key].as_str()?;
        said.contains(wanted).then_some(())
    })
}

/// The real agent, all by its own commands: revoked, it says so and goes on; enrolled again, it delivers without a
/// restart; asked to renew, it answers.
#[test]
fn fault_33_a_revoked_box_is_out_at_once_says_so_and_comes_back_by_a_new_code() -> Result<()> {
    let mut site = Site::new()?;
    let device = site.device.to_string();
    site.agent.start()?;
    until_uplink(&site.agent, "carriage", "mqtt")?;
    site.receiver
        .command(&["device", "revoke", "--device", &device])?;
    let revoked = Instant::now();
    until_uplink(&site.agent, "last_error", "revoked")?;
    until_uplink(&site.agent, "carriage", "offline")?;
    eprintln!("out and told after {:?}", revoked.elapsed());
    let stored = site.stored()?.len();
    let words = site.agent.command_raw(&["status"])?;
    let words = String::from_utf8_lossy(&words.stdout).into_owned();
    ensure!(
        words.contains("revoked") && words.contains("--again"),
        "{words}"
    );

    let code = site.receiver.claim("本社")?;
    let url = site.receiver.portal_url();
    let again = site.agent.try_enroll_again(&url, &code)?;
    ensure!(
        again.status.success(),
        "{}",
        String::from_utf8_lossy(&again.stderr)
    );
    until_uplink(&site.agent, "carriage", "mqtt")?;

    let before = serial(&site)?;
    let renewed = site
        .receiver
        .command_raw(&["device", "renew", "--device", &device, "--wait"])?;
    let words = String::from_utf8_lossy(&renewed.stdout).into_owned();
    ensure!(
        renewed.status.success() && words.contains("certificate until"),
        "{words}"
    );
    wait::until("the new certificate in the device list", PATIENCE, || {
        (serial(&site).ok()? != before).then_some(())
    })?;
    site.agent.stop()?;
    ensure!(
        site.stored()?.len() > stored,
        "what it recorded since has not come"
    );
    Ok(())
}
