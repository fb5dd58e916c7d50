//! News as server-sent events: what is committed leaves at once, and what follows a few times a second.
//!
//! Only ids travel; the page then fetches the one card it needs, through the same session check as any other
//! request. The stream looks after its own session: it asks again when sessions were ended, by whichever process, and
//! every few seconds besides, and ends when its session has. A browser that lagged behind, or that comes back, is told to reload its lists.

use super::PortalState;
use crate::auth::session::{self, Pending, Session, Use};
use crate::live::{Heard, Listener};
use crate::store::AccountKind;
use axum::extract::State;
use axum::http::{HeaderName, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream::{self, Stream};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// How long a session that has ended can still hear that something happened (not what).
const SESSION_CHECK_EVERY: Duration = Duration::from_secs(5);
/// Proxies and phones drop connections that are silent for long.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// How long the browser waits before it comes back.
const RETRY_AFTER: Duration = Duration::from_secs(2);

pub async fn stream(State(state): State<PortalState>, session: Session) -> Response {
    let listener = state.live.subscribe(session.scope);
    let sse = Sse::new(events(state, session, listener))
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE_EVERY));
    let headers = [
        // Some reverse proxies collect answers before they pass them on.
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, sse).into_response()
}

fn events(
    state: PortalState,
    session: Session,
    listener: Listener,
) -> impl Stream<Item = Result<Event, Infallible>> {
    // Browsers drop an event whose data is empty.
    let first = Event::default().event("ready").data("1").retry(RETRY_AFTER);
    let mut check =
        tokio::time::interval_at(Instant::now() + SESSION_CHECK_EVERY, SESSION_CHECK_EVERY);
    check.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let changed = state.store.sessions_changed();
    let rest = stream::unfold(
        (state, session, listener, check, changed),
        |(state, session, mut listener, mut check, mut changed)| async move {
            loop {
                let heard = tokio::select! {
                    biased;
                    () = state.stop.cancelled() => return None,
                    Ok(()) = changed.changed() => {
                        if has_ended(&state, &session).await { return None }
                        continue;
                    }
                    heard = listener.next() => heard,
                    _ = check.tick() => {
                        if has_ended(&state, &session).await { return None }
                        continue;
                    }
                };
                let event = match heard {
                    Heard::News(news) => Event::default().event("news").json_data(&*news),
                    Heard::Lagged => Ok(Event::default().event("reload").data("1")),
                    Heard::Closed => return None,
                };
                match event {
                    Ok(event) => {
                        return Some((Ok(event), (state, session, listener, check, changed)));
                    }
                    Err(error) => tracing::error!("news that cannot be written as JSON: {error}"),
                }
            }
        },
    );
    futures::StreamExt::chain(stream::once(async { Ok(first) }), rest)
}

/// A store that cannot answer ends the stream too: the browser comes back and asks again.
async fn has_ended(state: &PortalState, session: &Session) -> bool {
    let found = session::resume(
        &*state.accounts(AccountKind::Customer),
        session.token_hash,
        Use::Background,
        state.now(),
    )
    .await;
    !matches!(found, Ok(Some(found)) if found.pending == Pending::Nothing)
}
