//! The composition root: builds every part, gives each what it needs, and ends them in order.

use crate::auth::password::Hashing;
use crate::blob::Blobs;
use crate::clock::now;
use crate::config::Config;
use crate::enroll::{Directions, Enroller};
use crate::erasure::Erasing;
use crate::evidence::export::Sources;
use crate::ingest::endpoint::{self, EndpointDeps, Limits};
use crate::ingest::https::{self, DeviceApi};
use crate::ingest::intake::Intake;
use crate::ingest::listener::{self, Bounds};
use crate::jobs;
use crate::keys::Keys;
use crate::live::Live;
use crate::metrics;
use crate::office::Office;
use crate::portal::{self, Claims, Contact, Pictures, PortalState};
use crate::renew::Renewals;
use crate::residency;
use crate::store::KeyBook;
use crate::store::sqlite::{FILE_NAME, SqliteStore};
use crate::tls::{self, ServerCertificate};
use anyhow::Context;
use axum::Router;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Folder of the listeners' certificate below the data folder.
pub const TLS_DIR: &str = "tls";
/// Connections that may wait to be accepted: after a restart every device comes at once. The kernel has a limit of
/// its own, `net.core.somaxconn`.
const BACKLOG: u32 = 4096;
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
        let keys = Keys::load(&config.keys_at())?;
        if keys.master.next().is_some() {
            tracing::warn!("a change of the master key was not finished: run \"key rotate\" again");
        }
        let live = Live::default();
        let store = open_store(config, &keys, live.clone())?;
        store.hold_keys().await?;
        let blobs = open_blobs(config, &store)?;
        let ca = Arc::new(keys.ca);
        let command_key = Arc::new(keys.command);
        let evidence_key = Arc::new(keys.evidence);
        let certificate =
            ServerCertificate::open(&config.data_dir.join(TLS_DIR), &config.hosts, &ca, now())?;
        let certificate = Arc::new(certificate);

        let portal = bind("listen.portal", config.listen.portal)?;
        let device = bind("listen.device", config.listen.device)?;
        let mqtt = bind("listen.mqtt", config.listen.mqtt)?;
        let monitors = config.metrics.listen.map(|at| bind("metrics.listen", at));
        let monitors = monitors.transpose()?;
        let app = Self {
            portal: portal.local_addr()?,
            device: device.local_addr()?,
            mqtt: mqtt.local_addr()?,
            store: store.clone(),
            live: live.clone(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        };

        let directions = app.directions(config, command_key.verifying_key());
        let life = config.certificates.device_life();
        let enroller = Enroller::new(Arc::new(store.clone()), Arc::clone(&ca), directions, life);
        let exports = Sources {
            store: store.clone(),
            blobs: Arc::clone(&blobs),
            key: Arc::clone(&evidence_key),
        };
        let claims = Claims {
            fingerprint: ca.fingerprint(),
            url: format!("https://{}:{}", config.host_in_url(), app.portal.port()),
        };
        let mut portal_state = PortalState::new(
            Arc::new(store.clone()),
            Arc::clone(&blobs) as Arc<dyn Pictures>,
            Arc::new(exports),
            live,
            Hashing::new()?,
            contact(config),
            app.stop.clone(),
        )
        .at(config.portal_url());
        portal_state.claims = Some(Arc::new(claims));
        portal_state.office = Some(Arc::new(Office::new(
            store.clone(),
            config.clone(),
            Arc::clone(&blobs),
            Arc::clone(&evidence_key),
        )));
        portal_state.region = residency::declared(&config.data_dir)?.map(Arc::from);
        app.tasks.spawn(jobs::sign_ins::run(
            store.clone(),
            Arc::clone(&portal_state.login),
            Arc::clone(&portal_state.views),
            app.stop.clone(),
        ));
        let others = https::enroll_router(Arc::new(enroller))
            .merge(https::health_router(store.clone(), Arc::clone(&blobs)));
        let portal_router = portal::with_headers(others).merge(portal::router(portal_state));
        let notified = Arc::clone(&blobs);
        let intake = Intake::new(Arc::new(store.clone()));
        let sweep = jobs::sweep::run(Arc::clone(&blobs), store.clone(), app.stop.clone());
        let retention = jobs::retention::run(Arc::clone(&blobs), store.clone(), app.stop.clone());
        let erasing = Erasing::new(
            config,
            store.clone(),
            Arc::clone(&blobs),
            Arc::clone(&evidence_key),
        );
        let renewals = Arc::new(Renewals::new(Arc::clone(&ca), life));
        let stop = app.stop.clone();
        let api = DeviceApi::new(intake, blobs, Arc::clone(&command_key), renewals, stop);
        let endpoint = EndpointDeps {
            store: Arc::new(store.clone()),
            command_key,
            now: Arc::new(now),
            limits: Limits {
                connections: config.limits.connections,
                ..Limits::default()
            },
        };

        let alpn: [&[u8]; 2] = [b"h2", b"http/1.1"];
        let portal_tls = tls::portal(Arc::clone(&certificate))?;
        let device_tls = tls::devices(Arc::clone(&certificate), &ca, &alpn)?;
        let mqtt_tls = tls::devices(Arc::clone(&certificate), &ca, &[b"mqtt"])?;
        let connections = config.limits.connections;
        let of_browsers = Bounds {
            connections,
            per_address: connections / PORTAL_SHARE,
        };
        // All devices of a customer may stand behind one address.
        let of_devices = Bounds {
            connections,
            per_address: connections,
        };
        app.serve_http(portal, portal_tls, of_browsers, portal_router);
        app.serve_http(device, device_tls, of_devices, https::router(api));
        app.tasks
            .spawn(endpoint::serve(mqtt, mqtt_tls, endpoint, app.stop.clone()));
        app.tasks.spawn(jobs::certificate::run(
            certificate,
            Arc::clone(&ca),
            app.stop.clone(),
        ));
        app.tasks
            .spawn(jobs::succession::run(store.clone(), ca, app.stop.clone()));
        app.tasks.spawn(sweep);
        app.tasks.spawn(retention);
        app.tasks
            .spawn(jobs::erasure::run(erasing, app.stop.clone()));
        app.tasks.spawn(jobs::heads::run(
            store.clone(),
            evidence_key,
            config.heads.clone(),
            config.mail.clone(),
            app.stop.clone(),
        ));
        app.tasks.spawn(jobs::alerts::run(
            store.clone(),
            config.clone(),
            app.stop.clone(),
        ));
        app.tasks.spawn(jobs::notify::run(
            store.clone(),
            notified,
            config.clone(),
            app.stop.clone(),
        ));
        app.tasks.spawn(jobs::mail::run(
            store.clone(),
            config.mail.clone(),
            app.stop.clone(),
        ));
        app.tasks
            .spawn(jobs::watchdog::run(store, app.stop.clone()));
        app.tasks.spawn(jobs::capacity::run(
            app.store.clone(),
            config.clone(),
            app.stop.clone(),
        ));
        if let Some(listener) = monitors {
            let (config, store, stop) = (config.clone(), app.store.clone(), app.stop.clone());
            app.tasks
                .spawn(async move { metrics::serve(listener, store, &config, stop).await });
        }
        tracing::info!(
            listen.portal = %app.portal, listen.device = %app.device, listen.mqtt = %app.mqtt,
            "the receiver serves"
        );
        Ok(app)
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
        let serve = move |accepted| https::serve(accepted, router.clone(), stop.clone());
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

fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // So that a port is free again at once after a restart.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().with_context(|| {
        format!(
            "listening on {address}; is it in use? \"{name}\" in the configuration sets another"
        )
    })
}
