//! Who looked at what: noted in the audit log before it is shown.
//!
//! A view waits for the commit that notes it, which goes on while the picture is read and opened, and takes many views
//! along when many come at once. The same person looking at the same thing again within a minute is one view.
//!
//! While the log cannot be written - the disk is full - customers go on looking: it is then that they want to know what
//! happened. Such views wait in memory and are noted with their own time as soon as there is room; each of them is told
//! in the receiver's own log at once, so that a crash before that hides nothing.

use super::PortalState;
use super::problem::Problem;
use crate::auth::session::Session;
use crate::store::{Actor, AuditBook, Note, StoreError};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use wire::UtcMicros;

const ONE_VIEW_US: i64 = 60_000_000;
/// Views remembered; when full, those that are over are forgotten, or else all.
const MOST: usize = 20_000;

/// Views that wait for room; beyond, they are counted.
const MOST_WAITING: usize = 10_000;

/// What was seen within the last minute, by whom; and what the log could not take yet.
#[derive(Debug, Default)]
pub struct Views {
    seen: Mutex<HashMap<(String, String), UtcMicros>>,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    notes: VecDeque<(Actor, Note, UtcMicros)>,
    /// Of those for which there was no place here.
    only_told: u64,
}

impl Views {
    /// Whether this is a view of its own.
    fn is_new(&self, who: &str, what: &str, now: UtcMicros) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
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
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.remove(&(who.to_owned(), what.to_owned()));
    }
}

impl Views {
    fn keep(&self, actor: Actor, note: Note, at: UtcMicros) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.notes.len() < MOST_WAITING {
            waiting.notes.push_back((actor, note, at));
        } else {
            waiting.only_told += 1;
        }
    }

    /// Notes what waits, as far as the log takes it.
    pub async fn catch_up(&self, store: &impl AuditBook, now: UtcMicros) -> Result<(), StoreError> {
        loop {
            let next = {
                let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.notes.front().cloned()
            };
            let Some((actor, note, at)) = next else { break };
            store.note(actor, note, at).await?;
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.notes.pop_front();
        }
        let only_told = {
            let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.only_told
        };
        if only_told > 0 {
            let note = Note::new("view.only_told").with("count", only_told);
            store.note(Actor::System, note, now).await?;
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            waiting.only_told -= only_told;
        }
        Ok(())
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
    match state.store.note(actor.clone(), note.clone(), now).await {
        Ok(()) => Ok(()),
        Err(StoreError::NoSpace(_) | StoreError::Database(_)) => {
            let user = &session.login_id;
            tracing::warn!(%user, %what, "{action} of {what} by {user} waits to be noted: the audit log cannot be written");
            state.views.keep(actor, note, now);
            Ok(())
        }
        Err(error) => {
            state.views.forget(&session.login_id, what);
            Err(error.into())
        }
    }
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
        let held = views.seen.lock().map(|seen| seen.len());
        assert!(held.is_ok_and(|held| held <= MOST));
    }
}
