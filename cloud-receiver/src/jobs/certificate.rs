//! Renews the listeners' certificate while serving.

use crate::ca::Ca;
use crate::clock::now;
use crate::tls::ServerCertificate;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often to look. A third of 90 days leaves many attempts.
const EVERY: Duration = Duration::from_secs(3600);

pub async fn run(certificate: Arc<ServerCertificate>, ca: Arc<Ca>, stop: CancellationToken) {
    while stop
        .run_until_cancelled(tokio::time::sleep(EVERY))
        .await
        .is_some()
    {
        let (certificate, ca) = (Arc::clone(&certificate), Arc::clone(&ca));
        let renewed = tokio::task::spawn_blocking(move || certificate.renew_if_due(&ca, now()));
        match renewed.await {
            Ok(Ok(true)) => tracing::info!("the listeners' certificate was renewed"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::error!(%error, "the listeners' certificate could not be renewed")
            }
            Err(error) => {
                tracing::error!(%error, "renewing the listeners' certificate ended badly")
            }
        }
    }
}
