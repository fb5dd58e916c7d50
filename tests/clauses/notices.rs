//! Clauses 12 and 18: customers are told of maintenance two weeks before it, and of incidents at once; by mail through a
//! real mail server, and in the portal.

use anyhow::{Context, Result, ensure};
use e2e::customer::Customer;
use e2e::fault::Chance;
use e2e::mail::{Mail, MailServer};
use e2e::receiver::Receiver;
use e2e::wait;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// A receiver that sends its mail to a server that knows these people.
pub(crate) struct Office {
    pub(crate) receiver: Receiver,
    pub(crate) server: MailServer,
    _folder: tempfile::TempDir,
}

impl Office {
    pub(crate) fn new(people: &[&str]) -> Result<Self> {
        let people: Vec<_> = people.iter().map(|name| address(name)).collect();
        Self::for_addresses(&people)
    }

    pub(crate) fn for_addresses(addresses: &[String]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let receiver = Receiver::init(&folder.path().join("receiver"))?;
        let server = MailServer::new(&folder.path().join("mail"), addresses)?;
        let office = Self {
            receiver,
            server,
            _folder: folder,
        };
        office.set(
            "[mail]\nserver = \"\"\nport = 587",
            &format!(
                "[mail]\nserver = \"localhost\"\nport = {}",
                office.server.port
            ),
        )?;
        office.set("\nfrom = \"\"", "\nfrom = \"info@minato.example\"")?;
        let certificate = office.server.certificate();
        office.set(
            "\nca_file = \"\"",
            &format!("\nca_file = \"{}\"", certificate.display()),
        )?;
        office.set(
            "[contact]\nname = \"\"\nmail = \"\"",
            "[contact]\nname = \"みなとセキュリティ\"\nmail = \"support@minato.example\"",
        )?;
        Ok(office)
    }

    pub(crate) fn set(&self, before: &str, after: &str) -> Result<()> {
        let path: &Path = self.receiver.config();
        let text = std::fs::read_to_string(path)?;
        ensure!(text.contains(before), "the configuration lacks {before:?}");
        Ok(std::fs::write(path, text.replacen(before, after, 1))?)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<Value> {
        self.receiver.command(args)
    }

    /// Exit code, and everything that was printed.
    pub(crate) fn told(&self, args: &[&str]) -> Result<(i32, String)> {
        let output = self.receiver.command_raw(args)?;
        let code = output.status.code().context("an exit code")?;
        let said = [output.stdout, output.stderr].concat();
        Ok((code, String::from_utf8_lossy(&said).into_owned()))
    }
}

pub(crate) fn address(name: &str) -> String {
    format!("{name}@example.jp")
}

/// So many days from now, to the minute, as an operator types it.
fn in_days(days: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24 * days);
    at.strftime("%Y-%m-%dT%H:%M:00Z").to_string()
}

fn to<'a>(mails: &'a [Mail], name: &str) -> Vec<&'a Mail> {
    mails.iter().filter(|mail| mail.folder == name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_12_maintenance_is_told_two_weeks_before_with_proof() -> Result<()> {
    let mut office = Office::new(&["soumu", "admin"])?;
    let account = office.receiver.customer("株式会社例", "本社", "rei-01")?;
    let contacts = [
        "--contact",
        &address("soumu"),
        "--contact",
        &address("nobody"),
    ];
    office.run(&[&["contract", "set", "株式会社例"][..], &contacts].concat())?;
    office.run(&[
        "contract",
        "add",
        "--name",
        "Example Ltd",
        "--language",
        "en",
        "--zone",
        "Europe/Berlin",
        "--contact",
        &address("admin"),
    ])?;
    office.run(&["contract", "add", "--name", "無言商店"])?;

    let (early, from, end) = (in_days(13), in_days(15), in_days(16));
    let texts = [
        "--impact",
        "画像が10分ほど遅れます。",
        "--impact-en",
        "Pictures come 10 min late.",
    ];
    let (code, said) = office.told(
        &[
            &[
                "notice",
                "maintenance",
                "--from",
                &early,
                "--to",
                &end,
                "--yes",
            ][..],
            &texts,
        ]
        .concat(),
    )?;
    ensure!(
        code == 1 && said.contains("customers are promised 14"),
        "{code} {said}"
    );
    let whole = [
        &["notice", "maintenance", "--from", &from, "--to", &end][..],
        &texts,
    ]
    .concat();
    let (code, said) = office.told(&whole)?;
    ensure!(code == 1 && said.contains("say --yes"), "{code} {said}");
    let preview = [&["notice", "preview"][..], &whole[1..]].concat();
    let (code, said) = office.told(&preview)?;
    ensure!(
        code == 5 && said.contains("画像が10分ほど遅れます。"),
        "{code} {said}"
    );
    ensure!(
        said.contains("\"無言商店\""),
        "nobody is passed over in silence: {said}"
    );
    ensure!(office.run(&["notice", "list"])? == Value::Array(vec![]));

    // The server is down, the receiver is not: it goes on trying.
    office.receiver.serve()?;
    let (code, said) = office.told(&[&whole[..], &["--yes"]].concat())?;
    ensure!(
        code == 5 && said.contains("3 recipients of 2 contracts"),
        "{code} {said}"
    );
    let listed = office.run(&["notice", "list"])?;
    let id = listed[0]["id"].as_str().context("an id")?.to_owned();
    wait::until("a first failure", PATIENCE, || {
        let (_, said) = office.told(&["notice", "show", &id]).ok()?;
        (said.matches("the mail server localhost").count() == 3).then_some(())
    })?;
    let customer = Customer::sign_in(&office.receiver, &account).await?;
    for page in ["/", "/events", "/account", "/notices"] {
        let page = customer.page(page).await?;
        ensure!(
            page.contains("class=\"banner\""),
            "a banner stands on every page"
        );
        ensure!(page.contains("メンテナンス") && page.contains("画像が10分ほど遅れます。"));
    }

    office.server.start()?;
    office.run(&["mail", "retry", "--all"])?;
    let shown = wait::until("all settled", PATIENCE, || {
        let shown = office.run(&["notice", "show", &id]).ok()?;
        let done = |mail: &Value| mail["taken_us"].is_i64() || mail["given_up_us"].is_i64();
        shown["mail"].as_array()?.iter().all(done).then_some(shown)
    })?;
    let mails = office.server.await_mails(2, PATIENCE)?;
    ensure!(mails.len() == 2, "{mails:?}");
    let [japanese] = to(&mails, "soumu")[..] else {
        anyhow::bail!("{mails:?}")
    };
    ensure!(
        japanese.to == address("soumu"),
        "nobody sees another's address: {}",
        japanese.to
    );
    ensure!(
        japanese
            .subject
            .starts_with("【重要】メンテナンスのお知らせ（20"),
        "{}",
        japanese.subject
    );
    ensure!(japanese.auto_submitted == "auto-generated");
    for words in [
        "株式会社例",
        "画像が10分ほど遅れます。",
        "年",
        "/notices",
        "support@minato.example",
    ] {
        ensure!(
            japanese.text.contains(words) && japanese.html.contains(words),
            "{words}: {}",
            japanese.text
        );
    }
    let [english] = to(&mails, "admin")[..] else {
        anyhow::bail!("{mails:?}")
    };
    ensure!(
        english.text.contains("Pictures come 10 min late."),
        "{}",
        english.text
    );
    // The same moment, in the zone of each.
    let berlin = from.parse::<jiff::Timestamp>()?.in_tz("Europe/Berlin")?;
    ensure!(
        english
            .text
            .contains(&berlin.strftime("%-d %B %Y, %H:%M").to_string()),
        "{}",
        english.text
    );
    let tokyo = from.parse::<jiff::Timestamp>()?.in_tz("Asia/Tokyo")?;
    ensure!(
        japanese
            .text
            .contains(&tokyo.strftime("%Y年%-m月%-d日").to_string()),
        "{}",
        japanese.text
    );

    // The proof, for each recipient: when, by which server, with which answer; and who could not be told.
    for mail in shown["mail"].as_array().context("mail")? {
        let unknown = mail["letter"]["to"] == address("nobody");
        ensure!(mail["taken_us"].is_i64() != unknown, "{mail}");
        if unknown {
            let problem = mail["outcome"]["problem"].as_str().context("a problem")?;
            ensure!(problem.contains("550"), "{problem}");
        } else {
            let answer = mail["outcome"]["answer"].as_str().context("an answer")?;
            ensure!(
                answer.starts_with("250") && mail["attempts"].as_u64() >= Some(2),
                "{mail}"
            );
            ensure!(mail["taken_by"] == format!("localhost:{}", office.server.port));
        }
    }
    let (_, said) = office.told(&["notice", "show", &id])?;
    ensure!(
        said.contains("2 taken, 1 given up, 0 waiting") && said.contains("無言商店"),
        "{said}"
    );

    // Called off: those who were told are told, and the banner is gone.
    let (code, said) = office.told(&["notice", "cancel", &id[..8], "--yes"])?;
    ensure!(code == 5, "{said}");
    let mails = office.server.await_mails(4, PATIENCE)?;
    ensure!(
        to(&mails, "soumu")
            .iter()
            .any(|mail| mail.subject.contains("中止")),
        "{mails:?}"
    );
    let page = customer.page("/notices").await?;
    ensure!(
        !page.contains("class=\"banner\"") && page.contains("中止"),
        "it stays among the past ones"
    );

    // Nearer than two weeks only with a reason that customers read.
    let soon = in_days(1);
    let urgent = [
        "notice",
        "maintenance",
        "--from",
        &soon,
        "--to",
        &in_days(2),
        "--impact",
        "再起動します。",
        "--urgent",
        "--why",
        "脆弱性の修正のため。",
        "--contract",
        "株式会社例",
        "--yes",
    ];
    office.run(&urgent)?;
    let mails = office.server.await_mails(5, PATIENCE)?;
    let urgent = to(&mails, "soumu")
        .into_iter()
        .find(|mail| mail.subject.contains("緊急"));
    ensure!(
        urgent
            .context("an urgent one")?
            .text
            .contains("脆弱性の修正のため。")
    );
    ensure!(
        to(&mails, "admin").len() == 2,
        "the other contract has nothing to do with it"
    );
    office.receiver.stop()?;
    office.server.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_18_an_incident_is_told_at_once_and_its_end() -> Result<()> {
    let mut office = Office::new(&["soumu"])?;
    office.server.start()?;
    office.receiver.serve()?;
    let account = office.receiver.customer("株式会社例", "本社", "rei-01")?;
    office.run(&[
        "contract",
        "set",
        "株式会社例",
        "--contact",
        &address("soumu"),
    ])?;
    let templates = office.server.certificate().with_file_name("texts");
    let folder = templates.to_str().context("a plain name")?;
    office.run(&["notice", "templates", "--write", folder])?;
    office.set("templates = \"\"", &format!("templates = \"{folder}\""))?;
    let own = templates.join("incident.ja.txt");
    let text = std::fs::read_to_string(&own)?;
    std::fs::write(&own, text.replace("{{operator}}", "{{oprator}}"))?;
    let incident = [
        "notice",
        "incident",
        "--what",
        "画像が表示されません。",
        "--since",
        &in_days(0),
        "--yes",
    ];
    let (code, said) = office.told(&incident)?;
    ensure!(
        code == 1 && said.contains("{{oprator}} stands for nothing here"),
        "{code} {said}"
    );
    std::fs::write(&own, text.replace("{{operator}}", "{{operator}} 一同"))?;
    let given = office.run(&incident)?;
    let id = given["notice"]["id"].as_str().context("an id")?.to_owned();
    let mails = office.server.await_mails(1, PATIENCE)?;
    ensure!(
        mails[0].subject.starts_with("【障害】"),
        "{}",
        mails[0].subject
    );
    ensure!(
        mails[0].text.contains("みなとセキュリティ 一同"),
        "the operator's own text: {}",
        mails[0].text
    );
    let customer = Customer::sign_in(&office.receiver, &account).await?;
    for address in ["/", "/events", "/account", "/notices", "/password"] {
        let page = customer.page(address).await?;
        ensure!(
            page.contains("banner urgent") && page.contains("画像が表示されません。"),
            "{address}"
        );
        ensure!(
            page.contains("mailto:support@minato.example"),
            "where to ask stands on every page"
        );
    }
    office.run(&["notice", "close", &id, "--yes"])?;
    let mails = office.server.await_mails(2, PATIENCE)?;
    ensure!(
        mails
            .iter()
            .any(|mail| mail.subject.starts_with("【復旧】")),
        "{mails:?}"
    );
    let page = customer.page("/notices").await?;
    ensure!(!page.contains("banner urgent") && page.contains("復旧済み"));
    let (code, said) = office.told(&["notice", "close", &id, "--yes"])?;
    ensure!(code == 1 && said.contains("over already"), "{said}");
    office.receiver.stop()?;
    office.server.stop()
}

#[test]
fn clause_12_a_notice_killed_25_times_reaches_each_of_200_recipients() -> Result<()> {
    const CONTRACTS: usize = 4;
    const EACH: usize = 50;
    const KILLS: usize = 25;
    let mut chance = Chance::new("clause_12_killed");
    let name = |number: usize| format!("r{number:03}");
    let people: Vec<_> = (0..CONTRACTS * EACH)
        .map(|number| address(&name(number)))
        .collect();
    let mut office = Office::for_addresses(&people)?;
    for (number, people) in people.chunks(EACH).enumerate() {
        let contract = format!("契約{number}");
        let mut args = vec!["contract", "add", "--name", &contract];
        for person in people {
            args.extend(["--contact", person]);
        }
        office.run(&args)?;
    }
    office.server.start()?;
    office.receiver.serve()?;
    let given = office.run(&[
        "notice",
        "maintenance",
        "--from",
        &in_days(15),
        "--to",
        &in_days(16),
        "--impact",
        "停止します。",
        "--yes",
    ])?;
    let id = given["notice"]["id"].as_str().context("an id")?.to_owned();
    for kill in 0..KILLS {
        // A few more are let through, then it dies within a moment of the next.
        let target = office.server.count() + usize::try_from(chance.number(0..7))?;
        let moment =
            std::time::Instant::now() + chance.duration(Duration::ZERO..Duration::from_millis(60));
        wait::until("some progress", PATIENCE, || {
            let reached = office.server.count() >= target && std::time::Instant::now() >= moment;
            reached.then_some(())
        })?;
        office.receiver.kill();
        let came = office.server.count();
        ensure!(came < people.len(), "kill {kill} came when all was sent");
        office.receiver.serve()?;
    }
    let shown = wait::until("all taken", 3 * PATIENCE, || {
        let shown = office.run(&["notice", "show", &id]).ok()?;
        let taken = shown["mail"]
            .as_array()?
            .iter()
            .filter(|mail| mail["taken_us"].is_i64());
        (taken.count() == people.len()).then_some(shown)
    })?;
    let mails = office.server.await_mails(people.len(), PATIENCE)?;
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for mail in &mails {
        ids.entry(&mail.folder)
            .or_default()
            .insert(&mail.message_id);
    }
    ensure!(
        ids.len() == people.len(),
        "{} recipients have mail",
        ids.len()
    );
    ensure!(
        ids.values().all(|ids| ids.len() == 1),
        "two messages for one: {ids:?}"
    );
    for mail in shown["mail"].as_array().context("mail")? {
        ensure!(
            mail["outcome"]["answer"]
                .as_str()
                .is_some_and(|answer| answer.starts_with("250")),
            "{mail}"
        );
    }
    eprintln!(
        "{KILLS} kills, seed {}: {} recipients, {} copies of a message that was taken right before a kill",
        chance.seed(),
        people.len(),
        mails.len() - people.len()
    );
    office.receiver.stop()?;
    office.server.stop()
}
