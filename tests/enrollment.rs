//! Enrolling as an installer would: with the right code, and with every wrong one.

use anyhow::Result;
use e2e::agent::Agent;
use e2e::receiver::Receiver;
use std::process::Output;
use wire::claim::ClaimCode;

/// Everything a person would read of it.
fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn assert_refused(output: &Output, expected: &str) {
    let words = words(output);
    assert!(!output.status.success(), "was not refused: {words}");
    assert!(
        words.to_lowercase().contains(expected),
        "refused, but without saying {expected:?}: {words}"
    );
}

struct Site {
    _folder: tempfile::TempDir,
    receiver: Receiver,
    agent: Agent,
}

fn site() -> Result<Site> {
    let folder = tempfile::tempdir()?;
    let mut receiver = Receiver::init(&folder.path().join("receiver"))?;
    receiver.serve()?;
    receiver.customer("契約", "本社", "user")?;
    let agent = Agent::configure(&folder.path().join("agent"), &[], "")?;
    Ok(Site {
        _folder: folder,
        receiver,
        agent,
    })
}

#[test]
fn a_code_works_once() -> Result<()> {
    let site = site()?;
    let url = site.receiver.portal_url();
    let code = site.receiver.claim("本社")?;
    site.agent.enroll(&url, &code)?;

    let devices = site.receiver.command(&["device", "list"])?;
    assert_eq!(devices.as_array().map(Vec::len), Some(1), "{devices}");

    let another = Agent::configure(&site._folder.path().join("another"), &[], "")?;
    assert_refused(&another.try_enroll(&url, &code)?, "used");
    Ok(())
}

#[test]
fn a_mistyped_code_is_told_apart_from_an_unknown_one() -> Result<()> {
    let site = site()?;
    let url = site.receiver.portal_url();
    let code = site.receiver.claim("本社")?;

    let first = code.chars().next().expect("a code is not empty");
    let swapped = if first == '0' { '1' } else { '0' };
    let mistyped = format!("{swapped}{}", &code[1..]);
    assert_refused(&site.agent.try_enroll(&url, &mistyped)?, "mistyped");

    let genuine: ClaimCode = code.parse()?;
    let guessed = ClaimCode {
        secret: [0x5a; 16],
        fingerprint: genuine.fingerprint,
    };
    let refused = site.agent.try_enroll(&url, &guessed.to_string())?;
    assert_refused(&refused, "unknown");

    // The genuine code is still good.
    site.agent.enroll(&url, &code)
}

#[test]
fn a_code_is_never_told_to_another_receiver() -> Result<()> {
    let site = site()?;
    let folder = tempfile::tempdir()?;
    let mut other = Receiver::init(&folder.path().join("other"))?;
    other.serve()?;
    let code = site.receiver.claim("本社")?;
    let refused = site.agent.try_enroll(&other.portal_url(), &code)?;
    assert_refused(&refused, "not the receiver");
    // Nothing was given away: the code still works where it belongs.
    site.agent.enroll(&site.receiver.portal_url(), &code)
}

#[test]
fn nobody_at_home_is_a_clear_error() -> Result<()> {
    let site = site()?;
    let code = site.receiver.claim("本社")?;
    let nowhere = format!("https://127.0.0.1:{}", e2e::process::free_port()?);
    assert_refused(&site.agent.try_enroll(&nowhere, &code)?, "reach");
    Ok(())
}
