//! Clauses 11 and 8: a box that goes on to the next customer takes nothing along, and shows the next nothing of the last.

use anyhow::{Context, Result, ensure};
use e2e::customer::Customer;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::site::Site;
use e2e::wait;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// As `Site` names it.
const FIRST: &str = "契約";

/// Delivers once, then stops with as much again that could not be delivered.
fn box_with_a_backlog(site: &mut Site) -> Result<()> {
    let feed = Feed {
        events: 20,
        ..Feed::default()
    };
    let mut feeder = site.start_feeder(&Options::default())?;
    feeder.put_all(feed.clone(), PATIENCE)?;
    feeder.drained(PATIENCE)?;
    site.receiver.stop()?;
    feeder.put_all(feed, PATIENCE)?;
    feeder.stop()?;
    site.receiver.serve()
}

/// The first customer leaves while the box is off the air, and everything of that contract is erased.
fn first_leaves(site: &Site) -> Result<()> {
    let early = [
        "erase",
        "run",
        FIRST,
        "--now",
        "--why",
        "申出による",
        "--yes",
    ];
    site.receiver.command(&early)?;
    wait::until("the erasure", PATIENCE, || {
        let list = site.receiver.command(&["erase", "list"]).ok()?;
        list[0]["finished_us"].is_i64().then_some(())
    })
}

fn hand_over(site: &mut Site) -> Result<()> {
    let (portal, code) = (site.receiver.portal_url(), site.receiver.claim("支店")?);
    let refused = site.agent.try_enroll_again(&portal, &code)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("under another contract"),
        "while it serves the first customer: {said}"
    );
    first_leaves(site)?;
    let code = site.receiver.claim("支店")?;
    let taken = site.agent.try_enroll_again(&portal, &code)?;
    let said = String::from_utf8_lossy(&taken.stderr).into_owned();
    ensure!(taken.status.success(), "{said}");
    site.agent.start()?;
    let agent = site.agent.process().context("the agent")?;
    wait::until("what waited is destroyed", PATIENCE, || {
        let words = "of a contract that this box serves no more are destroyed";
        agent.log().contains(words).then_some(())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_11_a_box_handed_to_the_next_customer_takes_nothing_along() -> Result<()> {
    let mut site = tokio::task::block_in_place(Site::new)?;
    site.receiver
        .configure("wait_for_devices_hours = 12", "wait_for_devices_hours = 0")?;
    let next = tokio::task::block_in_place(|| {
        box_with_a_backlog(&mut site)?;
        let next = site.receiver.customer("次の会社", "支店", "next-01")?;
        hand_over(&mut site)?;
        anyhow::Ok(next)
    })?;
    // It delivers to the next: that it runs, at least. It says what it holds once a minute.
    wait::until("the box is heard of", PATIENCE * 3, || {
        let devices = site.receiver.command(&["device", "list"]).ok()?;
        (devices[0]["spool"]["pending_records"] == 0).then_some(())
    })?;
    let records = ["audit", "deliveries"];
    let balance = site.receiver.command(&records)?;
    ensure!(!balance.to_string().contains(FIRST), "{balance}");
    let customer = Customer::sign_in(&site.receiver, &next).await?;
    let page = customer.page("/events").await?;
    ensure!(
        !page.contains("data-event=\""),
        "the next sees nothing of the first: {page}"
    );
    ensure!(
        Customer::sign_in(&site.receiver, &site.account)
            .await
            .is_err(),
        "the first has left"
    );
    site.agent.stop()
}
