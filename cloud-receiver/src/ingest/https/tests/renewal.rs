//! Certificates over real TLS: renewed, left behind by a new enrollment, expired.

use super::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wire::SigningKey;
use wire::renew::{RenewRequest, RenewResponse};

impl Device {
    async fn time(&self) -> Result<StatusCode, reqwest::Error> {
        let answer = self.client.get(format!("{}/time", self.url)).send().await?;
        Ok(answer.status())
    }

    async fn refusal_of_time(&self) -> (StatusCode, String) {
        refusal(self.client.get(format!("{}/time", self.url))).await
    }
}

/// As the device does it: a new key, and a request over the old certificate.
async fn renew(receiver: &Receiver, device: &Device) -> Device {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    let request = RenewRequest {
        csr_pem: csr.pem().unwrap(),
        agent_version: "0.1.0".into(),
    };
    let answer = device
        .client
        .post(format!("{}/renew", device.url))
        .json(&request)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: RenewResponse = answer.json().await.unwrap();
    let certificate = CertificateDer::from_pem_slice(answer.certificate_pem.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let record_key = SigningKey::from_seed(device.record_key.to_seed());
    receiver.device_with(device.id, record_key, certificate, key)
}

async fn serial(receiver: &Receiver) -> crate::ca::Serial {
    receiver.app.store.devices().await.unwrap()[0]
        .certificate
        .serial
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_32_a_renewed_certificate_counts_once_shown_and_the_old_one_beside_it() {
    let receiver = Receiver::start().await;
    let old = receiver.device(1).await;
    let issued = serial(&receiver).await;
    let new = renew(&receiver, &old).await;
    assert_eq!(serial(&receiver).await, issued, "nobody has shown it yet");
    assert_eq!(new.time().await.unwrap(), StatusCode::OK);
    assert_ne!(serial(&receiver).await, issued);
    assert_eq!(old.time().await.unwrap(), StatusCode::OK, "to fall back on");

    // Enrolled again: both are left behind, at once and on connections that stand.
    let code = receiver.claim(60_000_000).await;
    let record_key = SigningKey::from_seed(old.record_key.to_seed());
    let again = receiver.enroll_as(&code, 1, record_key).await.unwrap();
    for device in [&old, &new] {
        let (status, code) = device.refusal_of_time().await;
        assert_eq!(
            (status, code.as_str()),
            (StatusCode::FORBIDDEN, "certificate_superseded")
        );
    }
    assert_eq!(again.time().await.unwrap(), StatusCode::OK);
    // Nor can they renew themselves back in.
    let request = old.client.post(format!("{}/renew", old.url));
    let request = request.json(&RenewRequest {
        csr_pem: "x".into(),
        agent_version: "0.1.0".into(),
    });
    assert_eq!(refusal(request).await.0, StatusCode::FORBIDDEN);
    // A good code in the hands of one who has not the record key is of no use.
    let code = receiver.claim(60_000_000).await;
    let thief = receiver.enroll(&code, 1).await.err();
    assert_eq!(
        thief.map(|refusal| refusal.code).as_deref(),
        Some("device_known")
    );
    assert_eq!(again.time().await.unwrap(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_30_an_expired_device_is_refused_by_the_receivers_clock_on_old_and_new_connections() {
    let receiver = Receiver::start_with(|config| config.certificates.device_seconds = 3).await;
    let device = receiver.device(1).await;
    assert_eq!(device.time().await.unwrap(), StatusCode::OK);
    let refused = soon("the certificate expires", async {
        loop {
            let answer = device
                .client
                .get(format!("{}/time", device.url))
                .send()
                .await;
            match answer.unwrap() {
                good if good.status() == StatusCode::OK => tokio::task::yield_now().await,
                refused => return refused.json::<Refusal>().await.unwrap().code,
            }
        }
    })
    .await;
    assert_eq!(
        refused, "certificate_expired",
        "on the connection that stood"
    );
    let tls = tokio_rustls::TlsConnector::from(Arc::clone(&device.tls));
    for address in [receiver.app.device, receiver.app.mqtt] {
        // TLS 1.3 tells a client only afterwards that its handshake failed. A certificate is good to the end of its
        // last second.
        let error = soon("it is refused", async {
            loop {
                let told = async {
                    let stream = tokio::net::TcpStream::connect(address).await?;
                    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
                    let mut line = tls.connect(name, stream).await?;
                    line.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
                    line.read_u8().await
                };
                match told.await {
                    Err(error) if error.to_string().contains("CertificateExpired") => break,
                    // One that was let in as MQTT and spoke HTTP is closed.
                    Ok(_) | Err(_) => tokio::task::yield_now().await,
                }
            }
        });
        error.await;
    }
}
