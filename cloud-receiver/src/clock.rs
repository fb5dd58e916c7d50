//! The receiver's clock: the one place that reads the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};
use wire::UtcMicros;

pub fn now() -> UtcMicros {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UtcMicros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
