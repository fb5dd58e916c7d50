//! Notes what was not noted when it happened: views for which the audit log had no room; and once a minute, as a count, how
//! often somebody tried to sign in with a login ID that nobody has. One entry for each would let a stranger fill the log. A
//! crash loses the count of a minute at most; a stop loses none.

use crate::auth::login::Login;
use crate::clock::now;
use crate::portal::Views;
use crate::store::{Actor, AuditBook, Note};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(60);

pub async fn run(
    store: impl AuditBook,
    login: Arc<Login>,
    views: Arc<Views>,
    stop: CancellationToken,
) {
    let mut goes_on = true;
    while goes_on {
        goes_on = stop
            .run_until_cancelled(tokio::time::sleep(EVERY))
            .await
            .is_some();
        turn(&store, &login).await;
        if let Err(error) = views.catch_up(&store, now()).await {
            tracing::error!(%error, "views wait to be noted: {error}");
        }
    }
}

async fn turn(store: &impl AuditBook, login: &Login) {
    let count = login.take_unknown();
    if count == 0 {
        return;
    }
    let note = Note::new("sign_in.fail_unknown").with("count", count);
    if let Err(error) = store.note(Actor::System, note, now()).await {
        login.give_back_unknown(count);
        tracing::error!(%error, count, "{count} failed sign-ins could not be noted: {error}; they are noted with the next");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::password::Hashing;
    use crate::live::Live;
    use crate::seal::SecretKey;
    use crate::store::sqlite::{FILE_NAME, SqliteStore};

    #[tokio::test]
    async fn unknown_names_are_counted_and_none_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let key = SecretKey::from_bytes([9; 32]);
        let store = SqliteStore::open(&path, key, Live::default(), true).unwrap();
        let login = Arc::new(Login::new(Hashing::new().unwrap()));
        login.give_back_unknown(3);
        let stop = CancellationToken::new();
        stop.cancel();
        run(store.clone(), Arc::clone(&login), Arc::default(), stop).await;
        turn(&store, &login).await;
        let rows = store.audit_after(0, 10).await.unwrap();
        let found: Vec<_> = rows
            .iter()
            .map(|row| (&*row.action, &*row.detail))
            .collect();
        assert_eq!(found, [("sign_in.fail_unknown", "{\"count\":3}")]);
    }
}
