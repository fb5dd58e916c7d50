//! What is opened before anything is served: secrets, database, pictures, certificates.

use super::{TLS_DIR, open_store};
use crate::blob::Blobs;
use crate::ca::Ca;
use crate::clock::now;
use crate::config::Config;
use crate::jobs::portal_certificate::Keeper;
use crate::keys::Keys;
use crate::live::Live;
use crate::store::KeyBook;
use crate::store::sqlite::SqliteStore;
use crate::tls::ServerCertificate;
use crate::tls::public::PublicCertificate;
use anyhow::Context;
use std::sync::Arc;
use wire::SigningKey;

pub(super) struct Parts {
    pub(super) live: Live,
    pub(super) store: SqliteStore,
    pub(super) blobs: Arc<Blobs>,
    pub(super) ca: Arc<Ca>,
    pub(super) command_key: Arc<SigningKey>,
    pub(super) evidence_key: Arc<SigningKey>,
    /// The receiver's own.
    pub(super) certificate: Arc<ServerCertificate>,
    /// What browsers are shown in its place.
    pub(super) public: Arc<PublicCertificate>,
    pub(super) keeper: Option<Keeper>,
}

impl Parts {
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let keys = Keys::load(&config.keys_at())?;
        if keys.master.next().is_some() {
            tracing::warn!("a change of the master key was not finished: run \"key rotate\" again");
        }
        let live = Live::default();
        let store = open_store(config, &keys, live.clone())?;
        store.hold_keys().await?;
        let blobs = open_blobs(config, &store)?;
        let dir = config.data_dir.join(TLS_DIR);
        let certificate = ServerCertificate::open(&dir, &config.hosts, &keys.ca, now())?;
        let public = Arc::<PublicCertificate>::default();
        let keeper = config
            .portal_certificate()
            .map(|source| Keeper::open(config, source, &dir, Arc::clone(&public), now()));
        Ok(Self {
            live,
            store,
            blobs,
            ca: Arc::new(keys.ca),
            command_key: Arc::new(keys.command),
            evidence_key: Arc::new(keys.evidence),
            certificate: Arc::new(certificate),
            public,
            keeper,
        })
    }
}

fn open_blobs(config: &Config, store: &SqliteStore) -> anyhow::Result<Arc<Blobs>> {
    let blobs = Blobs::open(
        &config.data_dir,
        Arc::new(store.clone()),
        config.limits.blob_bytes,
    );
    let blobs =
        blobs.with_context(|| format!("opening the blobs in {}", config.data_dir.display()))?;
    Ok(Arc::new(blobs))
}
