//! No message stands in the way of others, and none stays for ever.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::live::Live;
use crate::seal::SecretKey;
use crate::store::sqlite::FILE_NAME;
use crate::store::{Administration, MailKind};

const NOW: UtcMicros = UtcMicros(1_700_000_000_000_000);

async fn store() -> (tempfile::TempDir, SqliteStore, ContractId) {
    let dir = tempfile::tempdir().unwrap();
    let master = SecretKey::from_bytes([9; 32]);
    let path = dir.path().join(FILE_NAME);
    let store = SqliteStore::open(&path, master, Live::default(), true).unwrap();
    let contract = store.add_contract("Acme", NOW).await.unwrap();
    (dir, store, contract)
}

fn new(contract: Option<ContractId>, kind: MailKind, to: &str) -> NewMail {
    NewMail {
        contract,
        kind,
        about: None,
        letter: Letter {
            to: to.into(),
            ..Letter::default()
        },
    }
}

async fn run(store: &SqliteStore, sql: &'static str) {
    let done = store.write(move |connection| Ok(connection.execute(sql, [])?));
    assert!(done.await.unwrap() > 0);
}

fn recipients(rows: &[MailRow]) -> Vec<&str> {
    rows.iter().map(|row| row.letter.to.as_str()).collect()
}

#[tokio::test]
async fn letters_that_cannot_be_read_do_not_stop_the_others() {
    let (_dir, store, contract) = store().await;
    let gone = store.add_contract("Gone", NOW).await.unwrap();
    let notice = |contract, to| new(Some(contract), MailKind::Notice, to);
    let mut mail: Vec<_> = (0..5).map(|_| notice(gone, "gone@example.jp")).collect();
    mail.push(notice(contract, "damaged@example.jp"));
    mail.push(notice(contract, "well@example.jp"));
    store.add_mail(mail, NOW).await.unwrap();
    run(
        &store,
        "delete from contract_key where contract = (select contract from mail where no = 1)",
    )
    .await;
    store
        .read({
            let keyring = std::sync::Arc::clone(&store.keyring);
            move |connection| keyring.forget_destroyed(connection)
        })
        .await
        .unwrap();
    run(&store, "update mail set letter = x'00' where no = 6").await;
    // Fewer at once than there are bad ones.
    let due = store.mail_due(NOW, 2).await.unwrap();
    assert_eq!(recipients(&due), ["well@example.jp"]);
    store
        .mail_taken(&due[0], "server", "250", NOW)
        .await
        .unwrap();
    assert_eq!(store.mail_due(NOW, 2).await.unwrap(), []);
    assert_eq!(store.next_mail_due().await.unwrap(), None, "it sleeps");
    let newest = store.mail(MailChoice::Newest(10)).await.unwrap();
    assert_eq!(recipients(&newest), ["well@example.jp"]);
}

#[tokio::test]
async fn operators_alerts_are_forgotten_once_they_are_settled() {
    let (_dir, store, contract) = store().await;
    let mail = vec![
        new(None, MailKind::Alert, "taken@example.jp"),
        new(None, MailKind::Alert, "given-up@example.jp"),
        new(None, MailKind::Alert, "waits@example.jp"),
        new(Some(contract), MailKind::Alert, "contact@example.jp"),
        new(Some(contract), MailKind::Notice, "notice@example.jp"),
    ];
    store.add_mail(mail, NOW).await.unwrap();
    let rows = store.mail(MailChoice::Newest(10)).await.unwrap();
    let settled = NOW.plus_us(10);
    for row in [&rows[0], &rows[3], &rows[4]] {
        store
            .mail_taken(row, "server", "250", settled)
            .await
            .unwrap();
    }
    let refused = store.mail_failed(&rows[1], "no", None, settled).await;
    refused.unwrap();
    assert_eq!(store.forget_mail(settled, settled).await.unwrap(), 0);
    let later = settled.plus_us(1);
    assert_eq!(store.forget_mail(NOW, later).await.unwrap(), 2);
    let left = store.mail(MailChoice::Newest(10)).await.unwrap();
    let kept = [
        "waits@example.jp",
        "contact@example.jp",
        "notice@example.jp",
    ];
    assert_eq!(recipients(&left), kept);
}
