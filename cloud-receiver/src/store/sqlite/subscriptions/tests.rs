//! Addresses are confirmed by their owners alone, and "stop" stops.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::live::Live;
use crate::seal::SecretKey;
use crate::store::sqlite::FILE_NAME;
use crate::store::{
    AccountBooks, AccountKind, Administration, AuditBook, Letter, MailBook, MailChoice, MailKind,
    MailRow,
};

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

    /// The same wishes once more, without a question.
    async fn save(&self, at: UtcMicros) -> bool {
        let wishes = Self::wishes("tanto@example.jp");
        let saved = self
            .store
            .set_subscription(self.scope(), LOGIN, wishes, None, at)
            .await;
        saved.unwrap()
    }

    /// As the job writes it once an event is due.
    async fn event_mail(&self) {
        let mail = NewMail {
            contract: Some(self.contract),
            kind: MailKind::Event,
            about: None,
            letter: letter("tanto@example.jp"),
        };
        let queued = self.store.queue_mailed(LOGIN, 1, mail, NOW).await;
        queued.unwrap();
    }

    async fn drop_it(&self, at: UtcMicros) {
        let dropped = self.store.drop_subscription(self.scope(), LOGIN, at).await;
        dropped.unwrap();
    }

    async fn mail(&self) -> Vec<MailRow> {
        self.store.mail(MailChoice::Newest(100)).await.unwrap()
    }

    /// Whom the outbox has something for.
    async fn mail_to(&self) -> Vec<String> {
        let mail = self.mail().await;
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

/// Asked, confirmed, and with a mail about events in the outbox.
async fn told() -> Bench {
    let bench = Bench::new().await;
    assert!(bench.ask("tanto@example.jp", NOW).await);
    assert!(bench.confirm("tanto@example.jp", NOW).await);
    let [question] = &bench.mail().await[..] else {
        panic!("one question")
    };
    bench
        .store
        .mail_taken(question, "server", "250", NOW)
        .await
        .unwrap();
    bench.event_mail().await;
    assert_eq!(bench.mail().await.len(), 2);
    bench
}

#[tokio::test]
async fn what_was_stopped_begins_again_only_with_a_yes_of_the_owner_of_the_address() {
    let bench = told().await;
    let minute = |minutes: i64| NOW.plus_us(minutes * MINUTE_US);
    let stop = Sha256::of(b"stop");
    let stopped = bench.store.stop_subscription(stop, minute(1), true).await;
    assert!(stopped.unwrap());
    assert_eq!(bench.mail().await.len(), 1, "the one that was taken");
    // Saved without a question, as it is with an address that is confirmed.
    assert!(!bench.save(minute(2)).await);
    bench.event_mail().await;
    assert_eq!(bench.mail().await.len(), 1);
    assert!(bench.ask("tanto@example.jp", minute(6)).await);
    assert_eq!(bench.row().await.confirmed_us, None);
    bench.event_mail().await;
    assert_eq!(bench.mail().await.len(), 2, "the question alone");
    assert!(bench.confirm("tanto@example.jp", minute(7)).await);
    bench.event_mail().await;
    assert_eq!(bench.mail().await.len(), 3);
}

#[tokio::test]
async fn mail_in_the_outbox_goes_with_what_it_was_sent_for() {
    let minute = |minutes: i64| NOW.plus_us(minutes * MINUTE_US);
    let dropped = told().await;
    dropped.drop_it(minute(1)).await;
    assert_eq!(dropped.mail().await.len(), 1, "the one that was taken");

    let changed = told().await;
    assert!(changed.ask("other@example.jp", minute(6)).await);
    assert_eq!(
        changed.mail_to().await,
        ["tanto@example.jp", "other@example.jp"],
        "the two questions"
    );

    let removed = told().await;
    let accounts = removed.store.accounts(AccountKind::Customer);
    accounts.remove(LOGIN, minute(1)).await.unwrap();
    assert_eq!(removed.mail().await.len(), 1, "the one that was taken");
}

#[tokio::test]
async fn one_setting_that_is_damaged_does_not_silence_the_others() {
    let bench = told().await;
    let store = &bench.store;
    let other = store.add_user("other", bench.contract, "hash", true, NOW);
    other.await.unwrap();
    store
        .write(|connection| {
            Ok(connection.execute(
                "insert into subscription (login_id, contract, stop_hash, confirmed_us, sealed)
                 select 'other', contract, zeroblob(32), confirmed_us, x'00' from subscription",
                [],
            )?)
        })
        .await
        .unwrap();
    let active = store.active_subscriptions().await.unwrap();
    let logins: Vec<_> = active.iter().map(|row| row.login_id.as_str()).collect();
    assert_eq!(logins, [LOGIN]);
}

#[tokio::test]
async fn the_audit_log_names_the_user_who_set_and_dropped() {
    let bench = Bench::new().await;
    assert!(bench.ask("tanto@example.jp", NOW).await);
    bench.drop_it(NOW).await;
    let rows = bench.store.audit_after(0, 100).await.unwrap();
    let mut found = 0;
    for row in rows
        .iter()
        .filter(|row| row.action.starts_with("subscription."))
    {
        assert_eq!(row.actor, "user", "{row:?}");
        assert_eq!(row.actor_name, None, "it stands sealed");
        let personal = bench.store.audit_personal(row).await.unwrap().unwrap();
        assert_eq!(personal["user"], LOGIN);
        found += 1;
    }
    assert_eq!(found, 2);
}
