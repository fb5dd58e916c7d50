//! One connection from its first byte: TLS, CONNECT, the decision whether to let it in, the session, the end.

use super::codec::{Codec, Greeting, Inbound};
use super::outbox::Outbox;
use super::registry::Registry;
use super::session::{End, Session};
use super::{EndpointDeps, Place, acl};
use crate::ingest::identity::{self, Presented};
use crate::ingest::intake;
use crate::store::DeviceRow;
use bytes::BytesMut;
use mqtt_protocol_core::mqtt::result_code::ConnectReasonCode;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use wire::DeviceId;

/// A CONNECT fits in here many times over.
const GREETING_BYTES: usize = 4 * 1024;

/// Why a connection was not let in.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the TLS handshake failed: {0}")]
    Tls(std::io::Error),
    #[error(transparent)]
    Identity(#[from] identity::IdentityError),
    #[error("it closed before it said who it is")]
    Closed,
    #[error("it said {0} instead of a good CONNECT")]
    Protocol(&'static str),
    #[error("device {device} is refused with code {code}")]
    Device {
        device: DeviceId,
        code: ConnectReasonCode,
    },
    #[error("it took too long")]
    Timeout,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    tcp: TcpStream,
    tls: TlsAcceptor,
    deps: EndpointDeps,
    registry: Registry,
    place: Place,
    stop: CancellationToken,
) {
    let peer = tcp.peer_addr().ok();
    let timeout = deps.limits.handshake_timeout;
    let admitted = tokio::select! {
        () = stop.cancelled() => return,
        admitted = tokio::time::timeout(timeout, admit(tcp, &tls, &deps, &registry)) => admitted,
    };
    let Place {
        _connection,
        handshake,
    } = place;
    drop(handshake);
    match admitted.unwrap_or(Err(Refusal::Timeout)) {
        Ok(admitted) => admitted.run(&stop).await,
        Err(refusal) => {
            let peer =
                peer.map_or_else(|| "an unknown address".to_owned(), |peer| peer.to_string());
            tracing::info!(peer, "a connection from {peer} was turned away: {refusal}");
        }
    }
}

struct Admitted {
    session: Session,
    stream: TlsStream<TcpStream>,
}

async fn admit(
    tcp: TcpStream,
    tls: &TlsAcceptor,
    deps: &EndpointDeps,
    registry: &Registry,
) -> Result<Admitted, Refusal> {
    // Small answers should not wait for company; a socket that refuses is slow, not wrong.
    let _ = tcp.set_nodelay(true);
    let mut stream = tls.accept(tcp).await.map_err(Refusal::Tls)?;
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let presented = identity::presented(chain)?;
    let device = presented.device;

    let mut codec = Codec::new();
    let mut outbox = Outbox::new(deps.limits.write_stall);
    let mut input = BytesMut::new();
    let outcome = async {
        let greeting = greet(&mut stream, &mut codec, &mut input, &mut outbox).await?;
        let changes = deps.store.changes();
        let row = decide(&presented, deps, &greeting)
            .await
            .map_err(|code| refuse(device, code, &mut codec, &mut outbox))?;
        codec
            .welcome(&greeting, &mut outbox)
            .map_err(|violation| Refusal::Protocol(violation.what))?;
        Ok((row, changes))
    }
    .await;
    let sent = outbox.drain(&mut stream).await;
    let (row, changes) = match outcome {
        Ok(welcomed) => welcomed,
        Err(refusal) => {
            let _ = stream.shutdown().await;
            return Err(refusal);
        }
    };
    sent.map_err(|_| Refusal::Closed)?;
    Ok(Admitted {
        session: Session {
            seat: registry.seat(device),
            deps: deps.clone(),
            device: Arc::new(row),
            presented,
            codec,
            outbox,
            input,
            changes,
        },
        stream,
    })
}

/// Reads until the CONNECT is there.
async fn greet(
    stream: &mut TlsStream<TcpStream>,
    codec: &mut Codec,
    input: &mut BytesMut,
    outbox: &mut Outbox,
) -> Result<Greeting, Refusal> {
    loop {
        match codec.next(input, outbox) {
            Ok(Some(Inbound::Connect(greeting))) => return Ok(greeting),
            Ok(Some(_)) => return Err(Refusal::Protocol("something else")),
            Err(violation) => return Err(Refusal::Protocol(violation.what)),
            Ok(None) => {}
        }
        input.reserve(GREETING_BYTES);
        match stream.read_buf(input).await {
            Ok(0) | Err(_) => return Err(Refusal::Closed),
            Ok(_) => {}
        }
    }
}

/// The device's row, once it is let in and noted as heard; or the code by which it is refused.
async fn decide(
    presented: &Presented,
    deps: &EndpointDeps,
    greeting: &Greeting,
) -> Result<DeviceRow, ConnectReasonCode> {
    let device = presented.device;
    let unavailable = |error| {
        tracing::error!(device.id = %device, %error, "device {device} cannot be looked up: {error}");
        ConnectReasonCode::ServerUnavailable
    };
    let row = deps.store.device(device).await.map_err(unavailable)?;
    acl::admit(presented, row.as_ref(), greeting)?;
    if let Some(row) = &row {
        intake::note_shown(deps.store.as_ref(), row, presented)
            .await
            .map_err(unavailable)?;
    }
    deps.store
        .heard(device, None, (deps.now)())
        .await
        .map_err(unavailable)?;
    row.ok_or(ConnectReasonCode::NotAuthorized)
}

fn refuse(
    device: DeviceId,
    code: ConnectReasonCode,
    codec: &mut Codec,
    outbox: &mut Outbox,
) -> Refusal {
    codec.refuse(code, outbox);
    Refusal::Device { device, code }
}

impl Admitted {
    async fn run(self, stop: &CancellationToken) {
        let Self {
            session,
            mut stream,
        } = self;
        let device = session.device.device;
        let farewell = session.deps.limits.farewell;
        tracing::info!(device.id = %device, "device {device} is connected");
        let end = {
            let (reader, mut writer) = tokio::io::split(&mut stream);
            session.run(reader, &mut writer, stop).await
        };
        let _ = tokio::time::timeout(farewell, stream.shutdown()).await;
        note_end(device, &end);
    }
}

/// A goodbye is routine. Anything else is a lost session, which is what the device's will stands for.
fn note_end(device: DeviceId, end: &End) {
    match end {
        End::Goodbye | End::TakenOver | End::Stopping => {
            tracing::info!(device.id = %device, "device {device} is disconnected: {end}");
        }
        _ => {
            tracing::warn!(device.id = %device, "the session of device {device} is lost: {end}");
        }
    }
}
