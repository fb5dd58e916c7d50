//! What most of these stories begin with: a box on a customer's site that has delivered.

use anyhow::Result;
use e2e::agent::Agent;
use e2e::fault::Feeder;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::receiver::Receiver;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn enrolled(receiver: &Receiver, folder: &Path, site: &str) -> Result<Agent> {
    let agent = Agent::configure(folder, &[], "")?;
    agent.enroll(&receiver.portal_url(), &receiver.claim(site)?)?;
    Ok(agent)
}

/// Events, and a picture with every tenth. The feeder's log lies in `folder`.
pub(crate) fn deliver(agent: &Agent, folder: &Path, events: u64, seed: u64) -> Result<()> {
    let options = Options {
        seed,
        ..Options::default()
    };
    let log = folder.join("feeder.log");
    let mut feeder = Feeder::start(&agent.data_dir(), &log, &options, &Default::default())?;
    let feed = Feed {
        events,
        picture_every: 10,
        picture_bytes: 2_000,
        ..Feed::default()
    };
    feeder.put_all(feed, PATIENCE)?;
    feeder.drained(PATIENCE)?;
    feeder.stop()
}
