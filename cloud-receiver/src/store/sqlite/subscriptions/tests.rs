//! Addresses are confirmed by their owners alone, and "stop" stops.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::live::Live;
use crate::seal::SecretKey;
use crate::store::sqlite::FILE_NAME;
use crate::store::{Administration, Letter, MailKind};

const NOW: UtcMicros = UtcMicros(1_700_000_000_000_000);
const MINUTE_US: i64 = 60_000_000;
const LOGIN: &str = "tanto";

/// A store with one user.
struct Bench {
    _dir: tempfile::TempDir,
    store: SqliteStore,
    contract: ContractId,
}

fn letter(to: &str) -> Letter {
    Letter {
        to: to.into(),
        ..Letter::default()
    }
}

impl Bench {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let master = SecretKey::from_bytes([9; 32]);
        let path = dir.path().join(FILE_NAME);
        let store = SqliteStore::open(&path, master, Live::default(), true).unwrap();
        let contract = store.add_contract("Acme", NOW).await.unwrap();
        let added = store.add_user(LOGIN, contract, "hash", true, NOW).await;
        added.unwrap();
        Self {
            _dir: dir,
            store,
            contract,
        }
    }

    fn scope(&self) -> ContractScope {
        ContractScope::of_session(self.contract)
    }

    fn wishes(address: &str) -> Wishes {
        Wishes {
            address: address.into(),
            stop_token: "stop".into(),
            ..Wishes::default()
        }
    }

    /// The question's token is the address.
    async fn ask(&self, address: &str, at: UtcMicros) -> bool {
        let question = Question {
            token_hash: Sha256::of(address.as_bytes()),
            until_us: at.plus_us(24 * 60 * MINUTE_US),
            mail: NewMail {
                contract: Some(self.contract),
                kind: MailKind::Confirm,
                about: None,
                letter: letter(address),
            },
        };
        self.store
            .set_subscription(
                self.scope(),
                LOGIN,
                Self::wishes(address),
                Some(question),
                at,
            )
            .await
            .unwrap()
    }

    async fn confirm(&self, address: &str, at: UtcMicros) -> bool {
        let token = Sha256::of(address.as_bytes());
        self.store.confirm_address(token, at, true).await.unwrap()
    }

    async fn drop_it(&self, at: UtcMicros) {
        let dropped = self.store.drop_subscription(self.scope(), LOGIN, at).await;
        dropped.unwrap();
    }

    /// Whom the outbox has something for.
    async fn mail_to(&self) -> Vec<String> {
        let mail: Vec<MailRow> = self.store.mail(MailChoice::Newest(100)).await.unwrap();
        mail.into_iter().map(|row| row.letter.to).collect()
    }

    async fn row(&self) -> SubscriptionRow {
        let row = self.store.subscription(self.scope(), LOGIN).await;
        row.unwrap().unwrap()
    }
}

#[tokio::test]
async fn an_address_is_not_confirmed_by_the_answer_to_another_ones_question() {
    let bench = Bench::new().await;
    let minute = |minutes: i64| NOW.plus_us(minutes * MINUTE_US);
    assert!(bench.ask("first@example.jp", NOW).await);
    assert!(bench.ask("other@example.jp", minute(6)).await);
    // As if its token had been looked up before the other address was saved.
    let first = Sha256::of(b"first@example.jp");
    let store = &bench.store;
    let late = store.write(move |connection| confirm(connection, LOGIN, first, minute(7)));
    assert!(!late.await.unwrap());
    assert_eq!(bench.row().await.confirmed_us, None);
    let foreign = Sha256::of(b"a token of before");
    let late = store.write(move |connection| stop(connection, LOGIN, foreign, minute(7)));
    assert_eq!(late.await.unwrap(), Stopped::Unknown);
    assert_eq!(bench.row().await.stopped_us, None);
    assert!(bench.confirm("other@example.jp", minute(8)).await);
    assert_eq!(bench.row().await.confirmed_us, Some(minute(8)));
}

#[tokio::test]
async fn dropping_the_setting_is_no_way_to_ask_strangers_without_end() {
    let bench = Bench::new().await;
    let minute = |minutes: i64| NOW.plus_us(minutes * MINUTE_US);
    assert!(bench.ask("stranger1@example.jp", NOW).await);
    for second in 1..4 {
        let at = NOW.plus_us(second * 1_000_000);
        bench.drop_it(at).await;
        assert_eq!(bench.row().await.wishes.address, "");
        assert!(!bench.ask("stranger2@example.jp", at).await);
    }
    assert!(!bench.confirm("stranger1@example.jp", minute(4)).await);
    assert!(!bench.ask("stranger2@example.jp", minute(4)).await);
    assert!(bench.ask("stranger2@example.jp", minute(5)).await);
    assert!(!bench.mail_to().await.is_empty());
    assert_eq!(bench.row().await.wishes.address, "stranger2@example.jp");
    assert!(bench.confirm("stranger2@example.jp", minute(6)).await);
    assert!(bench.row().await.stopped_us.is_none());
}
