//! Who looked at what: noted in the audit log before it is shown.
//!
//! A view waits for the commit that notes it, which goes on while the picture is read and opened, and takes many views
//! along when many come at once. So none is shown that is not noted: while the log cannot be written, nothing is shown.
//! The same person looking at the same thing again within a minute is one view.

use super::PortalState;
use super::problem::Problem;
use crate::auth::session::Session;
use crate::store::{Actor, Note};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use wire::UtcMicros;

const ONE_VIEW_US: i64 = 60_000_000;
/// Views remembered; when full, those that are over are forgotten, or else all.
const MOST: usize = 20_000;

/// What was seen within the last minute, by whom.
#[derive(Debug, Default)]
pub struct Views(Mutex<HashMap<(String, String), UtcMicros>>);

impl Views {
    /// Whether this is a view of its own.
    fn is_new(&self, who: &str, what: &str, now: UtcMicros) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |at: &UtcMicros| now.since_us(*at) >= ONE_VIEW_US;
        if seen.len() >= MOST {
            seen.retain(|_, at| !is_over(at));
            if seen.len() >= MOST {
                seen.clear();
            }
        }
        let key = (who.to_owned(), what.to_owned());
        let is_new = seen.get(&key).is_none_or(is_over);
        if is_new {
            seen.insert(key, now);
        }
        is_new
    }

    fn forget(&self, who: &str, what: &str) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(&(who.to_owned(), what.to_owned()));
    }
}

/// Notes that a customer sees something, unless the last minute knows of it.
pub async fn note(
    state: &PortalState,
    session: &Session,
    action: &'static str,
    what: &str,
) -> Result<(), Problem> {
    let now = state.now();
    if !state.views.is_new(&session.login_id, what, now) {
        return Ok(());
    }
    let note = Note::new(action).of(session.scope.contract()).on(what);
    let actor = Actor::User(session.login_id.clone());
    let noted = state.store.note(actor, note, now).await;
    if noted.is_err() {
        state.views.forget(&session.login_id, what);
    }
    Ok(noted?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_within_a_minute_is_one_view_and_memory_stays_bounded() {
        let views = Views::default();
        let at = |seconds: i64| UtcMicros(seconds * 1_000_000);
        assert!(views.is_new("hana", "a", at(100)));
        assert!(!views.is_new("hana", "a", at(159)));
        assert!(views.is_new("hana", "b", at(159)) && views.is_new("sora", "a", at(159)));
        assert!(views.is_new("hana", "a", at(160)));
        views.forget("hana", "a");
        assert!(views.is_new("hana", "a", at(160)), "it could not be noted");
        for n in 0..MOST * 2 {
            views.is_new("hana", &n.to_string(), at(200));
        }
        let held = views.0.lock().map(|seen| seen.len());
        assert!(held.is_ok_and(|held| held <= MOST));
    }
}
