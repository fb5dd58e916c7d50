//! Erasure in the store, step by step: what is refused, what is forgotten, what is left.

use super::*;
use crate::keys::{KeyBackupFile, KeysError};
use crate::store::{
    Actor, AuditBook, ContractBook, ErasureBook, Hold, Letter, MailBook, MailKind, NewErasure,
    NewMail, Note, Step,
};
use wire::evidence::erasure::Order;

fn order() -> Order {
    Order {
        reason: "period_over".into(),
        why: None,
        actor: "system".into(),
        actor_name: None,
        at_us: NOW,
    }
}

fn new(contract: ContractId, must_be_over: bool) -> NewErasure {
    NewErasure {
        contract,
        order: order(),
        wait_until_us: NOW,
        due_us: None,
        must_be_over,
    }
}

fn hold(contract: ContractId) -> Hold {
    Hold {
        id: Uuid::from_u128(5),
        contract,
        site: None,
        camera: None,
        from_us: None,
        to_us: None,
        placed_us: NOW,
        why: "訴訟".into(),
    }
}

impl Bench {
    fn backup(&self) -> KeyBackupFile {
        KeyBackupFile::at(self.path.parent().unwrap().join("keys/backup.json"))
    }

    /// From wherever it is to its end.
    async fn finish(&self, id: Uuid) {
        let store = &self.store;
        store.shut(id, 0, NOW).await.unwrap();
        assert!(store.destroy_key(id, &self.backup(), NOW).await.unwrap());
        // What can be read no more must not wait to be sent.
        assert_eq!(store.next_mail_due().await.unwrap(), None);
        store.erasure_at(id, Step::DeleteRows, NOW).await.unwrap();
        while !store.delete_rows(id, NOW).await.unwrap() {}
        let key = SigningKey::from_seed([7; 32]);
        let signed = store.certify(id, 0, &key, NOW).await.unwrap().unwrap();
        assert!(signed.open(&key.verifying_key()).unwrap().is_complete());
    }
}

fn receiver() -> wire::VerifyingKey {
    SigningKey::from_seed([7; 32]).verifying_key()
}

#[tokio::test]
async fn a_hold_or_an_extension_of_the_last_moment_keeps_everything() {
    let bench = bench().await;
    let (store, contract) = (&bench.store, bench.contract);
    let begin = |over| store.begin_erasure(new(contract, over), receiver(), NOW);
    assert!(matches!(begin(true).await, Err(StoreError::Conflict(_))));
    let over = Some(NOW.plus_us(-1));
    store.set_until(contract, over, NOW).await.unwrap();
    assert!(matches!(begin(true).await, Err(StoreError::Conflict(_))));
    store.set_done(contract, over, NOW).await.unwrap();
    store.add_hold(hold(contract)).await.unwrap();
    for over in [true, false] {
        let refused = begin(over).await.unwrap_err().to_string();
        assert!(refused.contains("hold list"), "{refused}");
    }
    assert_eq!(store.holds().await.unwrap(), vec![hold(contract)]);
    store.remove_hold(hold(contract).id, NOW).await.unwrap();
    begin(true).await.unwrap();

    // From here on nothing turns it back.
    let refusals = [
        begin(false).await.map(|_| ()),
        store.set_until(contract, None, NOW).await,
        store.set_done(contract, None, NOW).await,
        store.add_hold(hold(contract)).await,
    ];
    for refused in refusals {
        let refused = refused.unwrap_err().to_string();
        assert!(refused.contains("cannot be undone"), "{refused}");
    }
}

#[tokio::test]
async fn the_key_is_forgotten_everywhere_and_the_audit_log_still_chains() {
    let bench = bench().await;
    let (store, contract) = (&bench.store, bench.contract);
    let other = store.add_contract("Other", NOW).await.unwrap();
    let terms = crate::store::Terms {
        contacts: vec!["soumu@example.jp".into()],
        ..Default::default()
    };
    store.set_terms(contract, &terms, NOW).await.unwrap();
    for batch in chain(&bench, 1, Sha256::ZERO, &story()) {
        bench.deliver(&batch).await;
    }
    let letter = NewMail {
        contract: Some(contract),
        kind: MailKind::Notice,
        about: None,
        letter: Letter::default(),
    };
    store.add_mail(vec![letter], NOW).await.unwrap();
    let note = Note::new("picture.view").of(contract);
    let user = || Actor::User("tanaka".into());
    store.note(user(), note.clone(), NOW).await.unwrap();
    // Another process that has had the keys in its hands.
    let master = SecretKey::from_bytes([9; 32]);
    let serving = SqliteStore::open(&bench.path, master, Live::default(), false).unwrap();
    serving.contract_key(contract).await.unwrap();
    serving.contract_key(other).await.unwrap();

    let id = store.begin_erasure(new(contract, false), receiver(), NOW);
    let id = id.await.unwrap();
    bench.finish(id).await;
    // Every step once more changes nothing.
    let before = store.erasures().await.unwrap();
    store.erasure_at(id, Step::Shut, NOW).await.unwrap();
    store.shut(id, 9, NOW).await.unwrap();
    assert_eq!(store.erasures().await.unwrap(), before);
    assert_eq!(before[0].step, Step::Done);
    assert!(before[0].certificate.is_of("Acme"));

    crate::testing::soon("the other process's forgetting", async {
        while serving.contract_key(contract).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    serving.contract_key(other).await.unwrap();
    assert!(store.contract_key(contract).await.is_err());
    let backup = std::fs::read_to_string(bench.backup().path()).unwrap();
    assert!(backup.contains(&other.to_string()) && !backup.contains(&contract.to_string()));

    // Nobody can read who looked; that somebody did stays proven, and later entries follow.
    let chain = store.audit_chain().await.unwrap();
    assert_eq!(chain.broken, None);
    store.note(user(), note, NOW).await.unwrap();
    assert_eq!(
        store.audit_chain().await.unwrap().entries,
        chain.entries + 1
    );
    for row in store.audit_after(0, 1000).await.unwrap() {
        let is_gone = row.contract == Some(contract);
        let personal = store.audit_personal(&row).await.unwrap();
        assert!(!is_gone || personal.is_none(), "{row:?}");
    }
    let bytes = std::fs::read(&bench.path).unwrap();
    let log = std::fs::read(bench.path.with_extension("db-wal")).unwrap();
    for word in ["Acme", "soumu@example.jp", "tanaka"] {
        let is_in = |bytes: &[u8]| {
            bytes
                .windows(word.len())
                .any(|part| part == word.as_bytes())
        };
        assert!(!is_in(&bytes) && !is_in(&log), "{word}");
    }
    let problems = store.read(|connection| {
        let mut statement = connection.prepare("pragma foreign_key_check")?;
        Ok(statement.query_map([], |_| Ok(()))?.count())
    });
    assert_eq!(problems.await.unwrap(), 0);
}

#[test]
fn what_the_key_backup_says_is_read_under_its_lock() {
    let dir = tempfile::tempdir().unwrap();
    let file = KeyBackupFile::at(dir.path().join("below/keys.json"));
    let backup = || crate::keys::KeyBackup::new("m".into(), Vec::new());
    file.rewrite(|| Ok::<_, KeysError>(backup())).unwrap();
    file.rewrite(|| {
        let folder = std::fs::File::open(dir.path().join("below")).unwrap();
        assert!(folder.try_lock().is_err(), "another writer has to wait");
        Ok::<_, KeysError>(backup())
    })
    .unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    assert_eq!(text, backup().to_json());
}
