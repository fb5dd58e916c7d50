//! The composition root: builds every part, gives each what it needs, and ends them in order.

mod parts;
mod sockets;

use crate::auth::password::Hashing;
use crate::clock::now;
use crate::config::Config;
use crate::enroll::{Directions, Enroller};
use crate::erasure::Erasing;
use crate::evidence::export::Sources;
use crate::ingest::endpoint::{self, EndpointDeps, Limits};
use crate::ingest::https::{self, DeviceApi};
use crate::ingest::intake::Intake;
use crate::ingest::listener::{self, Accepted, Bounds};
use crate::jobs;
use crate::keys::Keys;
use crate::live::Live;
use crate::metrics;
use crate::office::Office;
use crate::portal::{self, Claims, Contact, Pictures, PortalState};
use crate::renew::Renewals;
use crate::residency;
use crate::store::sqlite::{FILE_NAME, SqliteStore};
use crate::tls;
use anyhow::Context;
use axum::Router;
use parts::Parts;
use sockets::Sockets;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Folder of the listeners' certificate below the data folder.
pub const TLS_DIR: &str = "tls";
/// One address may hold this part of the portal's connections: an office is many browsers behind one.
const PORTAL_SHARE: usize = 4;
/// How long requests in flight may take to end once the receiver stops.
const STOP_WITHIN: Duration = Duration::from_secs(15);

/// A receiver that serves. Dropping it stops nothing; call [`App::stop`].
#[derive(Debug)]
pub struct App {
    /// Where it listens: the real ports, also where the configuration says 0.
    pub portal: SocketAddr,
    pub device: SocketAddr,
    pub mqtt: SocketAddr,
    pub store: SqliteStore,
    pub live: Live,
    look: Arc<Notify>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// The database of a configuration, opened with its master key. Also for commands of other processes.
pub fn open_store(config: &Config, keys: &Keys, live: Live) -> anyhow::Result<SqliteStore> {
    residency::check(config)?;
    let path = database(config);
    SqliteStore::open(&path, keys.master.clone(), live, false)
        .with_context(|| format!("opening {}", path.display()))
}

/// Where the database of a configuration is.
pub fn database(config: &Config) -> PathBuf {
    config.data_dir.join(FILE_NAME)
}

impl App {
    /// Opens everything, then listens. Answers when all three listeners are ready.
    pub async fn start(config: &Config) -> anyhow::Result<Self> {
        raise_descriptor_limit();
        let mut parts = Parts::open(config).await?;
        let sockets = Sockets::bind(config)?;
        let app = Self {
            portal: sockets.portal.local_addr()?,
            device: sockets.device.local_addr()?,
            mqtt: sockets.mqtt.local_addr()?,
            store: parts.store.clone(),
            live: parts.live.clone(),
            look: Arc::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };
        app.serve_browsers(config, &parts, sockets.portal)?;
        app.serve_devices(config, &parts, sockets.device, sockets.mqtt)?;
        app.keep_certificates(config, &mut parts);
        app.keep_customers_data(config, &parts);
        app.tell_people(config, &parts);
        app.watch_over_itself(config, sockets.monitors);
        tracing::info!(
            listen.portal = %app.portal, listen.device = %app.device, listen.mqtt = %app.mqtt,
            "the receiver serves"
        );
        Ok(app)
    }

    /// Looks at once at what is otherwise looked at now and then: an operator has changed it.
    pub fn look_again(&self) {
        self.look.notify_one();
    }

    /// Fires when the store's writer has ended by a panic: then the process must end, not limp.
    pub fn failed(&self) -> CancellationToken {
        self.store.writer_failed()
    }

    /// Stops listening and every job, lets requests in flight finish, says goodbye to devices. What is done with the store
    /// after that nobody else does.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_WITHIN, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                connections = self.tasks.len(),
                "some connections did not end in time"
            );
        }
    }

    /// The portal, and beside it what devices ask before they have a certificate.
    fn serve_browsers(
        &self,
        config: &Config,
        parts: &Parts,
        listener: TcpListener,
    ) -> anyhow::Result<()> {
        let store = Arc::new(self.store.clone());
        let enroller = Enroller::new(
            Arc::clone(&store) as _,
            Arc::clone(&parts.ca),
            self.directions(config, parts.command_key.verifying_key()),
            config.certificates.device_life(),
        );
        let exports = Sources {
            store: self.store.clone(),
            blobs: Arc::clone(&parts.blobs),
            key: Arc::clone(&parts.evidence_key),
        };
        let host = config.enroll_host_in_url();
        let claims = Claims {
            fingerprint: parts.ca.fingerprint(),
            url: format!("https://{host}:{}", self.portal.port()),
        };
        let mut state = PortalState::new(
            store,
            Arc::clone(&parts.blobs) as Arc<dyn Pictures>,
            Arc::new(exports),
            self.live.clone(),
            Hashing::new()?,
            contact(config),
            self.stop.clone(),
        )
        .at(config.portal_url());
        state.claims = Some(Arc::new(claims));
        let office = Office::new(
            self.store.clone(),
            config.clone(),
            Arc::clone(&parts.blobs),
            Arc::clone(&parts.evidence_key),
        );
        state.office = Some(Arc::new(office.with_ca(Arc::clone(&parts.ca))));
        state.region = residency::declared(&config.data_dir)?.map(Arc::from);
        self.tasks.spawn(jobs::sign_ins::run(
            self.store.clone(),
            Arc::clone(&state.login),
            Arc::clone(&state.views),
            self.stop.clone(),
        ));
        let others = https::enroll_router(Arc::new(enroller)).merge(https::health_router(
            self.store.clone(),
            Arc::clone(&parts.blobs),
        ));
        let router = portal::with_headers(others).merge(portal::router(state));
        let tls = tls::portal(Arc::clone(&parts.certificate), Arc::clone(&parts.public))?;
        let connections = config.limits.connections;
        let bounds = Bounds {
            connections,
            per_address: connections / PORTAL_SHARE,
        };
        self.serve_http(listener, tls, bounds, router);
        Ok(())
    }

    /// What enrolled devices deliver, over HTTPS and MQTT.
    fn serve_devices(
        &self,
        config: &Config,
        parts: &Parts,
        device: TcpListener,
        mqtt: TcpListener,
    ) -> anyhow::Result<()> {
        let life = config.certificates.device_life();
        let renewals = Renewals::new(Arc::clone(&parts.ca), life);
        let api = DeviceApi::new(
            Intake::new(Arc::new(self.store.clone())),
            Arc::clone(&parts.blobs),
            Arc::clone(&parts.command_key),
            Arc::new(renewals),
            self.stop.clone(),
        );
        let connections = config.limits.connections;
        let endpoint = EndpointDeps {
            store: Arc::new(self.store.clone()),
            command_key: Arc::clone(&parts.command_key),
            now: Arc::new(now),
            limits: Limits {
                connections,
                ..Limits::default()
            },
        };
        let tls = |alpn| tls::devices(Arc::clone(&parts.certificate), &parts.ca, alpn);
        let (over_https, over_mqtt) = (tls(&[b"h2", b"http/1.1"])?, tls(&[b"mqtt"])?);
        // All devices of a customer may stand behind one address.
        let bounds = Bounds {
            connections,
            per_address: connections,
        };
        self.serve_http(device, over_https, bounds, https::router(api));
        self.tasks.spawn(endpoint::serve(
            mqtt,
            over_mqtt,
            endpoint,
            self.stop.clone(),
        ));
        Ok(())
    }

    fn keep_certificates(&self, config: &Config, parts: &mut Parts) {
        let (ca, stop) = (Arc::clone(&parts.ca), self.stop.clone());
        let own = Arc::clone(&parts.certificate);
        self.tasks
            .spawn(jobs::certificate::run(own, Arc::clone(&ca), stop.clone()));
        self.tasks
            .spawn(jobs::succession::run(self.store.clone(), ca, stop.clone()));
        if let Some(keeper) = parts.keeper.take() {
            self.tasks.spawn(jobs::portal_certificate::run(
                keeper,
                config.clone(),
                self.store.clone(),
                Arc::clone(&self.look),
                stop,
            ));
        }
    }

    /// What is due to go goes, and what is held is stated.
    fn keep_customers_data(&self, config: &Config, parts: &Parts) {
        let blobs = || Arc::clone(&parts.blobs);
        let (store, stop) = (|| self.store.clone(), || self.stop.clone());
        let key = || Arc::clone(&parts.evidence_key);
        self.tasks.spawn(jobs::sweep::run(blobs(), store(), stop()));
        self.tasks.spawn(jobs::retention::run(
            blobs(),
            store(),
            config.device_files,
            stop(),
        ));
        let erasing = Erasing::new(config, store(), blobs(), key());
        self.tasks.spawn(jobs::erasure::run(erasing, stop()));
        self.tasks.spawn(jobs::heads::run(
            store(),
            key(),
            config.heads.clone(),
            config.mail.clone(),
            stop(),
        ));
    }

    fn tell_people(&self, config: &Config, parts: &Parts) {
        let (store, stop) = (|| self.store.clone(), || self.stop.clone());
        self.tasks
            .spawn(jobs::alerts::run(store(), config.clone(), stop()));
        self.tasks.spawn(jobs::notify::run(
            store(),
            Arc::clone(&parts.blobs),
            config.clone(),
            stop(),
        ));
        self.tasks
            .spawn(jobs::mail::run(store(), config.mail.clone(), stop()));
    }

    fn watch_over_itself(&self, config: &Config, monitors: Option<TcpListener>) {
        let (store, stop) = (|| self.store.clone(), || self.stop.clone());
        self.tasks.spawn(jobs::watchdog::run(store(), stop()));
        self.tasks
            .spawn(jobs::capacity::run(store(), config.clone(), stop()));
        if let Some(listener) = monitors {
            let (config, store, stop) = (config.clone(), store(), stop());
            self.tasks
                .spawn(async move { metrics::serve(listener, store, &config, stop).await });
        }
    }

    fn directions(&self, config: &Config, command_key: wire::VerifyingKey) -> Directions {
        Directions {
            device_url: format!("https://{}:{}", config.host_in_url(), self.device.port()),
            mqtt_host: config.host().to_owned(),
            mqtt_port: self.mqtt.port(),
            command_key,
        }
    }

    fn serve_http(
        &self,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        bounds: Bounds,
        router: Router,
    ) {
        let stop = self.stop.clone();
        let serve = move |accepted: Accepted| {
            let (router, stop) = (router.clone(), stop.clone());
            async move {
                if !tls::is_challenge(accepted.stream.get_ref().1) {
                    https::serve(accepted, router, stop).await;
                }
            }
        };
        self.tasks.spawn(listener::run(
            listener,
            tls,
            bounds,
            self.tasks.clone(),
            self.stop.clone(),
            serve,
        ));
    }
}

fn contact(config: &Config) -> Contact {
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Contact {
        name: config.contact.name.clone(),
        mail: given(&config.contact.mail),
        phone: given(&config.contact.phone),
    }
}

/// Every connection takes a descriptor, and the usual limit of 1,024 is one that every program raises for itself
/// (systemd's documentation of `LimitNOFILE=` asks for it). What cannot be raised is left as it is: connections
/// beyond the limit then wait in the kernel's queue.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
