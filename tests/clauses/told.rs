//! Clause 19, and what users wish to be told of: mail that comes by itself, through a real mail server.

use crate::notices::{Office, address};
use crate::story;
use anyhow::{Context, Result, ensure};
use e2e::agent::Agent;
use e2e::customer::{Customer, client};
use e2e::mail::Mail;
use e2e::receiver::Account;
use e2e::wait;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Two minutes of silence, and a minute and a half in which more may fall silent, are the least there is.
const SILENCE: Duration = Duration::from_secs(300);

/// A customer with a box that has delivered, and where it keeps its things.
struct Scene {
    office: Office,
    account: Account,
    agent: Agent,
    folder: tempfile::TempDir,
}

fn scene(people: &[&str]) -> Result<Scene> {
    let mut office = Office::new(people)?;
    office.set(
        "[alerts]\nmail_to = []",
        &format!("[alerts]\nmail_to = [{:?}]", address("operator")),
    )?;
    office.server.start()?;
    office.receiver.serve()?;
    let account = office.receiver.customer("株式会社例", "本社", "rei-01")?;
    let folder = tempfile::tempdir()?;
    let agent = story::enrolled(&office.receiver, folder.path(), "本社")?;
    story::deliver(&agent, folder.path(), 10, 1)?;
    Ok(Scene {
        office,
        account,
        agent,
        folder,
    })
}

/// The operator may also be told that this machine's disk is nearly full.
fn await_those(
    office: &Office,
    count: usize,
    patience: Duration,
    which: impl Fn(&Mail) -> bool,
) -> Result<Vec<Mail>> {
    wait::until(format!("{count} messages"), patience, || {
        let mut mails = office.server.mails().ok()?;
        mails.retain(|mail| which(mail));
        (mails.len() >= count).then_some(mails)
    })
}

fn of_the_box(office: &Office, count: usize, patience: Duration) -> Result<Vec<Mail>> {
    await_those(office, count, patience, |mail| mail.text.contains("本社"))
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_19_a_box_that_falls_silent_is_told_of_once() -> Result<()> {
    let Scene {
        mut office,
        account,
        ..
    } = tokio::task::block_in_place(|| {
        let scene = scene(&["soumu", "operator"])?;
        let contact = address("soumu");
        let terms = ["--contact", &contact, "--silent-after", "2"];
        scene
            .office
            .run(&[&["contract", "set", "株式会社例"][..], &terms].concat())?;
        anyhow::Ok(scene)
    })?;
    let mails = tokio::task::block_in_place(|| of_the_box(&office, 2, SILENCE))?;
    ensure!(mails.len() == 2, "one to each: {mails:?}");
    for (name, words) in [("soumu", "本社"), ("operator", "株式会社例")] {
        let mail = mails
            .iter()
            .find(|mail| mail.folder == name)
            .context(name)?;
        ensure!(mail.text.contains(words), "{name}: {}", mail.text);
    }
    let open = office.run(&["alert", "list"])?;
    let open = open.as_array().context("alerts")?;
    ensure!(
        open.len() == 1 && open[0]["kind"] == "device_silent",
        "{open:?}"
    );
    // In the portal too, in words, whoever signs in.
    let customer = Customer::sign_in(&office.receiver, &account).await?;
    let page = customer.page("/").await?;
    ensure!(page.contains("以降、応答がありません。"), "{page}");
    tokio::task::block_in_place(|| office.server.stop())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_is_told_of_events_by_mail_until_the_mails_link_stops_it() -> Result<()> {
    let Scene {
        mut office,
        account,
        agent,
        folder,
    } = tokio::task::block_in_place(|| scene(&["rei", "operator"]))?;
    let customer = Customer::sign_in(&office.receiver, &account).await?;
    let page = "/account/notifications";
    let wish = "address=rei%40example.jp&rhythm=at_once&cool_down=5&language=ja";
    ensure!(customer.post(page, wish).await?.status().is_redirection());
    let to_rei = |count, patience| {
        tokio::task::block_in_place(|| {
            await_those(&office, count, patience, |mail| mail.folder == "rei")
        })
    };
    let mails = to_rei(1, PATIENCE)?;
    let confirm = link(&mails[0].text, "/mail/confirm/")?;
    // A mail program that looks at links changes nothing; the button does, and nobody need be signed in.
    let somebody = client(&office.receiver)?;
    let url = |path: &str| format!("{}{path}", office.receiver.portal_url());
    let press = async |path: &str| -> Result<()> {
        ensure!(somebody.get(url(path)).send().await?.status() == 200);
        let press = somebody
            .post(url(path))
            .header("origin", office.receiver.portal_url());
        let answer = press.send().await?;
        ensure!(!answer.status().is_client_error(), "{}", answer.status());
        Ok(())
    };
    ensure!(somebody.get(url(&confirm)).send().await?.status() == 200);
    ensure!(
        !customer.page(page).await?.contains("通知は有効です。"),
        "looking confirms nothing"
    );
    press(&confirm).await?;

    tokio::task::block_in_place(|| story::deliver(&agent, folder.path(), 10, 2))?;
    let mails = to_rei(2, 2 * PATIENCE)?;
    let told = mails.iter().find(|mail| mail.text.contains("/mail/stop/"));
    let told = told.context("a mail that can be stopped")?;
    ensure!(
        told.to == "rei@example.jp" && told.text.contains("/events"),
        "{}",
        told.text
    );
    press(&link(&told.text, "/mail/stop/")?).await?;
    let shown = customer.page(page).await?;
    ensure!(
        shown.contains("通知はメールのリンクから停止されています。"),
        "{shown}"
    );
    tokio::task::block_in_place(|| {
        wait::until("nothing waits to be sent", PATIENCE, || {
            let waiting = office.run(&["mail", "list"]).ok()?;
            waiting
                .as_array()?
                .iter()
                .all(|mail| mail["taken_us"].is_i64())
                .then_some(())
        })?;
        office.server.stop()
    })
}

/// The path of the first link to that part of the portal.
fn link(text: &str, part: &str) -> Result<String> {
    let at = text
        .find(part)
        .with_context(|| format!("no {part} in {text}"))?;
    let token = text[at..].split(|letter: char| letter.is_whitespace() || letter == '>');
    Ok(token.into_iter().next().unwrap_or_default().to_owned())
}
