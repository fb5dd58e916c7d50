//! kill -9 at random moments of box and receiver, with records and pictures under way.

use anyhow::Result;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::{Chance, Site, Size};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);
/// Between two blows.
const PAUSE: std::ops::Range<Duration> = Duration::from_millis(50)..Duration::from_millis(900);

#[test]
fn fault_03_kill_9_of_box_and_receiver_in_random_order_loses_nothing() -> Result<()> {
    let mut chance = Chance::new("fault_03");
    let blows = Size::from_env().of(12, 100);
    let mut site = Site::new()?;
    let options = Options {
        seed: chance.seed(),
        ..Options::default()
    };
    let endless = Feed {
        events: 1_000_000,
        per_second: 200,
        ..Feed::default()
    };
    let mut feeder = site.start_feeder(&options)?;
    feeder.put(endless.clone())?;
    for _ in 0..blows {
        std::thread::sleep(chance.duration(PAUSE));
        if *chance.pick(&[true, false]) {
            feeder.kill();
            feeder = site.start_feeder(&options)?;
            feeder.put(endless.clone())?;
        } else {
            site.receiver.kill();
            site.receiver.serve()?;
        }
    }
    feeder.kill();
    let feeder = site.start_feeder(&options)?;
    let verdict = site.settle(feeder, PATIENCE)?;
    eprintln!("{verdict:?}");
    Ok(())
}
