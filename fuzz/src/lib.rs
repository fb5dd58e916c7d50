//! A whole receiver behind its device interface, without sockets: what the fuzz targets for requests and records talk to.
//!
//! It stands on a real database and real files in a temporary folder. Requests come from one enrolled device, whose key is
//! here too, so that made-up records get as far as signed ones do.

// A fuzzer has nobody to hand an error to.
#![allow(clippy::unwrap_used)]

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode, Uri};
use cloud_receiver::blob::Blobs;
use cloud_receiver::ca::{Certificate, Serial};
use cloud_receiver::enroll::{Directions, Enroller};
use cloud_receiver::ingest::https::{self, DeviceApi, Peer};
use cloud_receiver::ingest::identity::Presented;
use cloud_receiver::ingest::intake::Intake;
use cloud_receiver::keys::Keys;
use cloud_receiver::live::Live;
use cloud_receiver::renew::Renewals;
use cloud_receiver::store::sqlite::SqliteStore;
use cloud_receiver::store::{Administration, Enrollments, NewDevice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use uuid::Uuid;
use wire::{DeviceId, EnrollmentId, Sha256, SigningKey, UtcMicros};

pub const DEVICE: DeviceId = DeviceId(Uuid::from_u128(7));
/// Far ahead of any clock: the device's certificate never expires.
const FOREVER: UtcMicros = UtcMicros(i64::MAX);
const LIFE: Duration = Duration::from_secs(90 * 24 * 3600);

#[derive(Debug)]
pub struct Receiver {
    runtime: Runtime,
    router: Router,
    peer: Peer,
    pub record_key: SigningKey,
    _folder: tempfile::TempDir,
}

impl Default for Receiver {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let record_key = SigningKey::generate();
        let (router, certificate) = runtime.block_on(interface(&folder, &record_key));
        Self {
            runtime,
            router,
            peer: Peer {
                address: SocketAddr::from(([192, 0, 2, 7], 4711)),
                presented: Some(Presented {
                    device: DEVICE,
                    certificate,
                }),
            },
            record_key,
            _folder: folder,
        }
    }
}

impl Receiver {
    /// One request of the enrolled device. Whatever it is, the receiver answers, and blames itself for nothing.
    pub fn ask(&self, method: Method, uri: Uri, headers: HeaderMap, body: Vec<u8>) -> StatusCode {
        let mut request = Request::new(Body::from(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request.extensions_mut().insert(self.peer);
        let answer = self.router.clone().oneshot(request);
        let status = self.runtime.block_on(answer).unwrap().status();
        assert!(!status.is_server_error(), "{status}");
        status
    }
}

async fn interface(folder: &tempfile::TempDir, key: &SigningKey) -> (Router, Certificate) {
    let keys = Keys::create(&folder.path().join("keys")).unwrap();
    let database = folder.path().join("receiver.db");
    let store = SqliteStore::open(&database, keys.master.clone(), Live::default(), true).unwrap();
    let at = UtcMicros(1_795_400_000_000_000);
    let contract = store.add_contract("Acme", at).await.unwrap();
    let site = store.add_site(contract, "Tokyo", at).await.unwrap();
    let claim = Sha256::of(b"claim");
    store.add_claim(claim, site, at, FOREVER).await.unwrap();
    let certificate = Certificate {
        enrollment: EnrollmentId(Uuid::from_u128(1)),
        serial: Serial(1),
        not_before_us: UtcMicros(0),
        not_after_us: FOREVER,
    };
    let device = NewDevice {
        device: DEVICE,
        record_key: key.verifying_key(),
        agent_version: "0.1.0".into(),
        certificate,
    };
    store.enroll(claim, device, at).await.unwrap().unwrap();

    let store = Arc::new(store);
    let ca = Arc::new(keys.ca);
    let command_key = Arc::new(keys.command);
    let directions = Directions {
        device_url: "https://receiver.example:8444".into(),
        mqtt_host: "receiver.example".into(),
        mqtt_port: 8883,
        command_key: command_key.verifying_key(),
    };
    let enroller = Enroller::new(store.clone(), Arc::clone(&ca), directions, LIFE);
    // Long polls end at once.
    let stop = CancellationToken::new();
    stop.cancel();
    let api = DeviceApi::new(
        Intake::new(store.clone()),
        Arc::new(Blobs::open(folder.path(), store, 1024 * 1024).unwrap()),
        command_key,
        Arc::new(Renewals::new(ca, LIFE)),
        stop,
    );
    let router = https::router(api).merge(https::enroll_router(Arc::new(enroller)));
    (router, certificate)
}
