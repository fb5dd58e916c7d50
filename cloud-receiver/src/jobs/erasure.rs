//! Erases what is due, by itself: looks at the start, every hour, and whenever something was changed that may make it due.

use crate::erasure::{Erasing, Turn};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often to look when nothing is under way.
const EVERY: Duration = Duration::from_secs(3600);
/// How often while something waits for devices.
const WHILE_WAITING: Duration = Duration::from_secs(5);
/// After a failure, doubled each time up to an hour: a full disk may be free soon.
const AGAIN: Duration = Duration::from_secs(10);

pub async fn run(erasing: Erasing, stop: CancellationToken) {
    use crate::store::DeviceWrites;
    let mut changes = erasing.store.changes();
    let mut again = AGAIN;
    loop {
        let pause = match stop.run_until_cancelled(erasing.turn()).await {
            None => return,
            Some(Ok(turn)) => {
                again = AGAIN;
                match turn {
                    Turn::Idle => EVERY,
                    Turn::Waiting | Turn::Busy => WHILE_WAITING,
                }
            }
            Some(Err(error)) => {
                tracing::error!("{error:#}");
                again = (again * 2).min(EVERY);
                again
            }
        };
        changes.borrow_and_update();
        let wait = async {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                // An error: the store is closing.
                changed = changes.changed() => if changed.is_err() { std::future::pending().await },
            }
        };
        if stop.run_until_cancelled(wait).await.is_none() {
            return;
        }
    }
}
