//! Awaiting a condition with a deadline: what tests do instead of sleeping.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a condition is looked at. Short beside every deadline, long beside every check.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until `condition` gives a value; says what it waited for when time is up.
pub fn until<T>(
    what: impl Display,
    timeout: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition() {
            return Ok(value);
        }
        if Instant::now() > deadline {
            anyhow::bail!("waited {} s in vain for {what}", timeout.as_secs());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The same for conditions that are awaited themselves.
pub async fn until_async<T, F: Future<Output = Option<T>>>(
    what: impl Display,
    timeout: Duration,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = condition().await {
            return Ok(value);
        }
        if Instant::now() > deadline {
            anyhow::bail!("waited {} s in vain for {what}", timeout.as_secs());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
