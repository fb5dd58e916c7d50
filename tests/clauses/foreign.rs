//! Clause 17: what comes from the network may be anything. Random and nearly right bytes go to each listener of a running
//! receiver, from strangers and from a box with a good certificate that has gone mad; afterwards the receiver still serves,
//! has met no defect of its own, and holds exactly what the box delivered rightly.

use anyhow::{Context, Result, ensure};
use e2e::customer::{Customer, client};
use e2e::fault::Chance;
use e2e::fault::feeder::Options;
use e2e::fault::feeding::Feed;
use e2e::fault::site::Site;
use edge_agent::identity::Identity;
use reqwest::Method;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(60);
const ROUNDS: usize = 60;
/// How long a listener may take to end what makes no sense to it.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

fn noise(chance: &mut Chance, at_most: u64) -> Vec<u8> {
    let length = chance.number(1..at_most);
    (0..length).map(|_| chance.number(0..256) as u8).collect()
}

/// Good bytes with some of them changed, cut or said twice.
fn spoiled(good: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..chance.number(1..6) {
        let at = chance.number(0..bytes.len() as u64) as usize;
        match chance.number(0..3) {
            0 => bytes[at] = chance.number(0..256) as u8,
            1 => bytes.truncate(at.max(1)),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

/// What the receiver answers does not matter: only that it answers or hangs up.
async fn say(mut line: impl AsyncReadExt + AsyncWrite + Unpin, bytes: &[u8]) -> Result<()> {
    let said = async {
        let _ = line.write_all(bytes).await;
        let _ = line.shutdown().await;
        let mut answer = Vec::new();
        let _ = line.read_to_end(&mut answer).await;
    };
    let ended = tokio::time::timeout(ANSWER_WITHIN, said).await;
    ended.context("the receiver neither answers nor hangs up")
}

/// As the box itself speaks TLS, with its own certificate.
fn mad_box(site: &Site) -> Result<(Arc<rustls::ClientConfig>, u16, u16)> {
    let identity = Identity::load(&site.agent.data_dir())?.context("an identity")?;
    let enrolled = identity.enrollment.context("enrolled")?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(enrolled.ca_pem.as_bytes())?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            CertificateDer::pem_slice_iter(enrolled.certificate_pem.as_bytes())
                .collect::<Result<_, _>>()?,
            PrivateKeyDer::from_pem_slice(enrolled.tls_key_pem.as_bytes())?,
        )?;
    let https = enrolled.device_url.port().context("a port")?;
    Ok((Arc::new(tls), https, enrolled.mqtt_port))
}

async fn line(
    tls: &Arc<rustls::ClientConfig>,
    port: u16,
) -> Result<impl AsyncReadExt + AsyncWrite + Unpin> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("localhost")?;
    Ok(TlsConnector::from(Arc::clone(tls))
        .connect(name, tcp)
        .await?)
}

/// An MQTT 5 CONNECT and a PUBLISH with QoS 1 to the box's own topic of batches.
fn packets(site: &Site) -> Vec<u8> {
    let (device, body) = (site.device.to_string(), b"{\"v\":1}");
    let topic = format!("caas/v1/{device}/up/batch");
    let mut connect = b"\0\x04MQTT\x05\x02\0\x3c\0\0\x24".to_vec();
    connect.extend_from_slice(device.as_bytes());
    let mut publish = vec![0, topic.len() as u8];
    publish.extend_from_slice(topic.as_bytes());
    publish.extend_from_slice(&[0, 1, 0]);
    publish.extend_from_slice(body);
    let mut all = vec![0x10, connect.len() as u8];
    all.extend(connect);
    all.extend([0x32, publish.len() as u8]);
    all.extend(publish);
    all
}

async fn strangers(site: &Site, ports: [u16; 3], chance: &mut Chance) -> Result<()> {
    for _ in 0..ROUNDS {
        let tcp = TcpStream::connect(("127.0.0.1", *chance.pick(&ports))).await?;
        say(tcp, &noise(chance, 2_000)).await?;
    }
    let (client, portal) = (client(&site.receiver)?, site.receiver.portal_url());
    let enroll = br#"{"secret":"AAAA","device_id":"00000000-0000-0000-0000-000000000001","csr_pem":"-----BEGIN","record_key":"00"}"#;
    for _ in 0..ROUNDS {
        let body = spoiled(enroll, chance);
        let request = client.post(format!("{portal}/device/v1/enroll")).body(body);
        let answer = request
            .header("content-type", "application/json")
            .send()
            .await?;
        ensure!(answer.status().is_client_error(), "{}", answer.status());
        let path = String::from_utf8_lossy(&spoiled(b"/events/0-9?before=1_2&class=a", chance))
            .into_owned();
        let answer = client
            .get(format!("{portal}/{}", path.replace(['\r', '\n', '\t'], "")))
            .send()
            .await?;
        ensure!(
            !answer.status().is_server_error(),
            "{path}: {}",
            answer.status()
        );
    }
    Ok(())
}

async fn gone_mad(site: &Site, chance: &mut Chance) -> Result<()> {
    let (tls, https, mqtt) = mad_box(site)?;
    let good = packets(site);
    for round in 0..ROUNDS {
        let bytes = match round % 2 {
            0 => spoiled(&good, chance),
            _ => [&good[..good.len() / 2], &noise(chance, 2_000)].concat(),
        };
        say(line(&tls, mqtt).await?, &bytes).await?;
        say(line(&tls, https).await?, &noise(chance, 2_000)).await?;
    }
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured((*tls).clone())
        .build()?;
    let hash = "ab".repeat(32);
    for _ in 0..ROUNDS {
        let (method, path) = chance
            .pick(&[
                (Method::POST, "batch".to_owned()),
                (Method::PUT, format!("blobs/{hash}")),
                (Method::PATCH, format!("blobs/{hash}")),
                (Method::HEAD, "blobs/no-hash".to_owned()),
                (Method::POST, "renew".to_owned()),
                (Method::POST, "nothing".to_owned()),
            ])
            .clone();
        let url = format!("https://localhost:{https}/device/v1/{path}");
        let request = client
            .request(method.clone(), url)
            .body(noise(chance, 5_000));
        let length = chance.number(0..u64::MAX).to_string();
        let answer = request.header("upload-length", length).send().await?;
        let status = answer.status();
        ensure!(status.is_client_error(), "{method} {path}: {status}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn clause_17_whatever_comes_from_the_network_the_receiver_goes_on() -> Result<()> {
    let mut chance = Chance::new("clause_17");
    let mut site = tokio::task::block_in_place(Site::new)?;
    let (_, https, mqtt) = mad_box(&site)?;
    let portal = reqwest::Url::parse(&site.receiver.portal_url())?
        .port()
        .context("a port")?;
    strangers(&site, [portal, https, mqtt], &mut chance).await?;
    gone_mad(&site, &mut chance).await?;

    let delivered = tokio::task::block_in_place(|| {
        let mut feeder = site.start_feeder(&Options::default())?;
        feeder.put_all(
            Feed {
                events: 10,
                ..Feed::default()
            },
            PATIENCE,
        )?;
        feeder.drained(PATIENCE)?;
        feeder.stop()?;
        site.judge()
    })?;
    ensure!(delivered.records_named_lost == 0, "{delivered:?}");
    let customer = Customer::sign_in(&site.receiver, &site.account).await?;
    let page = customer.page("/events").await?;
    ensure!(
        page.matches("data-event=\"").count() == 10,
        "ten events, and nothing else"
    );
    let process = site.receiver.process().context("the receiver")?;
    ensure!(
        process.ended().is_none(),
        "it ended: {}",
        process.log_tail(20)
    );
    ensure!(
        !process.log().contains("panicked"),
        "{}",
        process.log_tail(40)
    );
    Ok(())
}
