//! The certificate that browsers are shown: from a file, and from an authority. Devices are shown the receiver's own all the while.

use e2e::acme::Authority;
use e2e::agent::Agent;
use e2e::receiver::Receiver;
use e2e::wait;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustix::process::Signal;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const SOON: Duration = Duration::from_secs(30);
const DAYS: Duration = Duration::from_secs(24 * 3600);

/// The certificate that somebody is shown who trusts `root` (PEM) alone and asks for `name`; `None`: it is not believed.
async fn shown_as(receiver: &Receiver, root: &[u8], name: &str) -> Option<Vec<u8>> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(root).expect("a root");
    roots.add(root).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // As browsers offer, and as devices did before they said that they enroll.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let stream = TcpStream::connect(("127.0.0.1", receiver.portal_port))
        .await
        .ok()?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.ok()?;
    let chain = stream.get_ref().1.peer_certificates()?;
    Some(chain[0].to_vec())
}

async fn shown(receiver: &Receiver, root: &[u8]) -> Option<Vec<u8>> {
    shown_as(receiver, root, "localhost").await
}

/// A page, as a browser that trusts `root` alone gets it.
async fn sign_in_page(receiver: &Receiver, root: &[u8]) -> reqwest::Result<String> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(root).expect("a root")])
        .build()?;
    let page = client.get(format!("{}/sign-in", receiver.portal_url()));
    page.send().await?.error_for_status()?.text().await
}

/// What `status` says of it, and whether it found everything well.
fn status(receiver: &Receiver) -> (Value, bool) {
    let output = receiver
        .command_raw(&["status", "--json"])
        .expect("status runs");
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (said["portal_certificate"].clone(), output.status.success())
}

fn problem(receiver: &Receiver) -> String {
    let said = status(receiver).0;
    said["problem"].as_str().unwrap_or_default().to_owned()
}

fn reload(receiver: &mut Receiver) {
    receiver.process().expect("it runs").signal(Signal::HUP);
}

/// A real box comes in at this address.
fn enroll(receiver: &Receiver, folder: &Path, url: &str) {
    let code = receiver.claim("本社").expect("a code");
    let agent = Agent::configure(folder, &[], "").expect("an agent");
    agent.enroll(url, &code).expect("it enrolls");
}

/// Boxes, new and old, and operators' commands find the receiver's own certificate where browsers find another.
async fn devices_are_at_home(receiver: &Receiver, folder: &Path) {
    enroll(receiver, &folder.join("by-name"), &receiver.portal_url());
    let by_address = format!("https://127.0.0.1:{}", receiver.portal_port);
    enroll(receiver, &folder.join("by-address"), &by_address);
    let own = fs::read(receiver.ca_file()).expect("the CA");
    assert!(shown_as(receiver, &own, "127.0.0.1").await.is_some());
    assert!(
        shown(receiver, &own).await.is_none(),
        "browsers are shown the other"
    );
    let ca = receiver.command(&["ca", "status"]).expect("ca status");
    assert_eq!(ca["running"], "current", "{ca}");
}

/// A public authority of this test's own.
struct Public {
    issuer: Issuer<'static, KeyPair>,
    root: Vec<u8>,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

impl Public {
    fn new(folder: &Path) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "A public authority");
        let root = params.self_signed(&key).expect("a root").pem().into_bytes();
        Self {
            issuer: Issuer::new(params, key),
            root,
            certificate_file: folder.join("portal.pem"),
            key_file: folder.join("portal.key.pem"),
        }
    }

    /// Certificate and key for the portal, PEM, good until so long from now.
    fn pair(&self, expires_after_days: i64) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a time");
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + now - 30 * DAYS;
        let days = DAYS * u32::try_from(expires_after_days.unsigned_abs()).expect("few");
        params.not_after = match expires_after_days < 0 {
            true => epoch + now - days,
            false => epoch + now + days,
        };
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// As programs that renew do it: one file, then the other.
    fn put(&self, certificate: &str, key: &str) {
        for (path, text) in [(&self.key_file, key), (&self.certificate_file, certificate)] {
            let fresh = path.with_extension("fresh");
            fs::write(&fresh, text).expect("written");
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).expect("private");
            fs::rename(&fresh, path).expect("in place");
        }
    }
}

#[tokio::test]
async fn clause_10_the_portal_presents_the_certificate_from_a_file_and_takes_up_a_new_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let public = Public::new(folder.path());
    let mut receiver = Receiver::init(&folder.path().join("receiver")).expect("a receiver");
    let quoted = |path: &Path| format!("{path:?}");
    let files = format!(
        "[portal.certificate]\nfile = {}\nkey_file = {}",
        quoted(&public.certificate_file),
        quoted(&public.key_file)
    );
    receiver
        .configure("[portal.certificate]\nfile = \"\"\nkey_file = \"\"", &files)
        .expect("configured");

    // There is none yet: the receiver serves all the same, and says what is wrong.
    receiver.serve().expect("it serves");
    receiver
        .customer("契約", "本社", "user")
        .expect("a customer");
    let (said, is_well) = status(&receiver);
    assert!(!is_well, "{said}");
    assert!(problem(&receiver).contains("portal.pem"), "{said}");
    let own = fs::read(receiver.ca_file()).expect("the CA");
    assert!(shown(&receiver, &own).await.is_some());

    let (certificate, key) = public.pair(60);
    public.put(&certificate, &key);
    reload(&mut receiver);
    let first = wait::until_async("the first certificate", SOON, || {
        shown(&receiver, &public.root)
    });
    let first = first.await.expect("it is shown");
    let page = sign_in_page(&receiver, &public.root).await.expect("a page");
    assert!(page.contains("password"));
    let (said, is_well) = status(&receiver);
    assert!(is_well, "{said}");
    devices_are_at_home(&receiver, &folder.path().join("boxes")).await;

    // Renewed by whoever renews it: taken up by itself.
    let (certificate, key) = public.pair(90);
    public.put(&certificate, &key);
    let second = wait::until_async("the second certificate", SOON, || async {
        let now = shown(&receiver, &public.root).await?;
        (now != first).then_some(now)
    });
    let second = second.await.expect("it is taken up");

    // What is wrong is refused, said, and changes nothing of what is shown.
    let (_, another_key) = public.pair(90);
    let (expired, expired_key) = public.pair(-1);
    let (good, good_key) = public.pair(80);
    for (certificate, key, expected) in [
        (&certificate, &another_key, "do not belong together"),
        (&expired, &expired_key, "it expired on"),
        (&String::from("nothing"), &key, "no certificate"),
    ] {
        public.put(certificate, key);
        reload(&mut receiver);
        wait::until(expected, SOON, || {
            problem(&receiver).contains(expected).then_some(())
        })
        .expect("it is refused");
        assert_eq!(shown(&receiver, &public.root).await.as_ref(), Some(&second));
        assert!(status(&receiver).1, "weeks are left: no alarm");
    }
    public.put(&good, &good_key);
    fs::set_permissions(&public.key_file, fs::Permissions::from_mode(0o644)).expect("open");
    reload(&mut receiver);
    wait::until("a key that everybody can read", SOON, || {
        problem(&receiver).contains("chmod 600").then_some(())
    })
    .expect("it is refused");
    fs::set_permissions(&public.key_file, fs::Permissions::from_mode(0o600)).expect("private");
    reload(&mut receiver);
    wait::until("that it is well", SOON, || {
        problem(&receiver).is_empty().then_some(())
    })
    .expect("it is taken up");
    let third = shown(&receiver, &public.root).await.expect("shown");
    assert_ne!(third, second);

    receiver.stop().expect("it stops");
    receiver.serve().expect("it serves again");
    assert_eq!(shown(&receiver, &public.root).await, Some(third));
}

/// Waits for something to be shown; asks for another attempt after each that failed, as an operator would.
async fn until_shown(
    receiver: &mut Receiver,
    root: &[u8],
    wanted: impl Fn(&[u8]) -> bool,
) -> Vec<u8> {
    let deadline = std::time::Instant::now() + Duration::from_secs(90);
    let mut failures = 0;
    loop {
        if let Some(now) = shown(receiver, root).await.filter(|now| wanted(now)) {
            return now;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "in vain: {} {}",
            status(receiver).0,
            receiver.process().expect("it runs").log_tail(20)
        );
        let failed = status(receiver).0["failures"].as_u64().unwrap_or_default();
        if failed > failures {
            failures = failed;
            reload(receiver);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn clause_10_the_portal_gets_and_renews_its_certificate_by_acme() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut receiver = Receiver::init(&folder.path().join("receiver")).expect("a receiver");
    let life = Duration::from_secs(36);
    let place = folder.path().join("authority");
    let mut authority = Authority::new(&place, receiver.portal_port, life).expect("an authority");
    let asked = format!(
        "directory = {:?}\ncontact = [\"ops@example.jp\"]\naccept_terms = true",
        authority.directory()
    );
    receiver
        .configure(
            "directory = \"\"\ncontact = []\naccept_terms = false",
            &asked,
        )
        .expect("configured");
    let ca_file = format!("hosts = []\nca_file = {:?}", authority.ca_file());
    receiver
        .configure("hosts = []\nca_file = \"\"", &ca_file)
        .expect("configured");

    // Nobody answers there: the receiver serves with its own, and says so.
    receiver.serve().expect("it serves");
    receiver
        .customer("契約", "本社", "user")
        .expect("a customer");
    wait::until("a first failure", SOON, || {
        (!problem(&receiver).is_empty()).then_some(())
    })
    .expect("it is said");
    let (said, is_well) = status(&receiver);
    assert!(!is_well, "{said}");
    let own = fs::read(receiver.ca_file()).expect("the CA");
    assert!(shown(&receiver, &own).await.is_some());

    authority.serve().expect("it answers now");
    let root = authority.root().await.expect("its root");
    reload(&mut receiver);
    let first = until_shown(&mut receiver, &root, |_| true).await;
    sign_in_page(&receiver, &root).await.expect("a page");
    devices_are_at_home(&receiver, &folder.path().join("boxes")).await;
    let tls = folder.path().join("receiver/data/tls");
    for name in ["portal.acme.pem", "acme-account.json"] {
        let mode = fs::metadata(tls.join(name)).expect("kept").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }

    // A third of its life is left: the next comes by itself, and a restart brings it back without asking.
    let second = until_shown(&mut receiver, &root, |now| now != first).await;
    receiver.stop().expect("it stops");
    let ordered = authority.log().matches("new-order").count();
    receiver.serve().expect("it serves again");
    assert_eq!(shown(&receiver, &root).await, Some(second));
    assert_eq!(authority.log().matches("new-order").count(), ordered);

    // The authority has lost what it knew, our account with it: another is opened.
    authority.stop();
    authority.serve().expect("it answers again");
    let other_root = authority.root().await.expect("its root");
    assert_ne!(other_root, root);
    until_shown(&mut receiver, &other_root, |_| true).await;
}
