//! The counts that the Security page shows are those of the log.

use super::*;
use crate::store::{Actor, AuditBook, ContractBook, Note, Terms};

type Counts = Vec<(Vec<u8>, String, i64, i64)>;

async fn counts(store: &SqliteStore, sql: &'static str) -> Counts {
    store
        .read(move |connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_counted_is_what_stands_in_the_log() {
    let bench = bench().await;
    let store = &bench.store;
    let other = store.add_contract("Other", NOW).await.unwrap();
    for (contract, times) in [(bench.contract, 3), (other, 2)] {
        for late in [2, 1, 0] {
            let at = NOW.plus_us(late);
            let note = Note::new("picture.view").of(contract);
            store.note(Actor::System, note, at).await.unwrap();
        }
        for _ in 0..times {
            let terms = Terms::default();
            store.set_terms(contract, &terms, NOW).await.unwrap();
        }
    }
    // Of nobody's data.
    let note = Note::new("key.rotate");
    store.note(Actor::System, note, NOW).await.unwrap();
    let kept = "select contract, action, count, last_us from audit_count order by 1, 2";
    let there =
        "select contract, action, count(*), max(at_us) from audit where contract is not null
                 group by 1, 2 order by 1, 2";
    let kept = counts(store, kept).await;
    assert_eq!(kept, counts(store, there).await);
    let views = kept.iter().filter(|row| row.1 == "picture.view");
    let views: Vec<_> = views.map(|row| (row.2, row.3)).collect();
    assert_eq!(views, [(3, NOW.0 + 2); 2]);
}
