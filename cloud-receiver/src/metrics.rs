//! What a monitor reads: gauges in Prometheus's text format (version 0.0.4) on a listener of its own, which only this machine
//! reaches, because names of contracts and how busy they are stand in it.
//!
//! What is counted in the database is counted anew at most once a minute, however often somebody asks.

use crate::app::TLS_DIR;
use crate::clock::now;
use crate::config::Config;
use crate::jobs::capacity::measure;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, Usage};
use crate::tls::standing::Standing;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use wire::UtcMicros;

const FRESH: Duration = Duration::from_secs(60);
/// A device reports every minute; one that missed three is not there.
const HEARD_WITHIN_US: i64 = 180_000_000;

#[derive(Clone)]
struct Source {
    store: SqliteStore,
    data_dir: PathBuf,
    /// Whether browsers are to be shown a certificate of a public authority.
    has_public_certificate: bool,
    latest: Arc<Mutex<Option<(Instant, String)>>>,
}

pub async fn serve(
    listener: TcpListener,
    store: SqliteStore,
    config: &Config,
    stop: CancellationToken,
) {
    let source = Source {
        store,
        data_dir: config.data_dir.clone(),
        has_public_certificate: config.portal_certificate().is_some(),
        latest: Arc::default(),
    };
    let router = Router::new()
        .route("/metrics", get(show))
        .with_state(source);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "metrics are not served any more: {error}");
    }
}

async fn show(State(source): State<Source>) -> Response {
    match source.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => {
            tracing::warn!("metrics cannot be read: {error:#}");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

impl Source {
    async fn text(&self) -> anyhow::Result<String> {
        let mut latest = self.latest.lock().await;
        if let Some((at, text)) = latest.as_ref()
            && at.elapsed() < FRESH
        {
            return Ok(text.clone());
        }
        let text = self.measured(now()).await?;
        *latest = Some((Instant::now(), text.clone()));
        Ok(text)
    }

    async fn measured(&self, at: UtcMicros) -> anyhow::Result<String> {
        let (sample, usage) = measure(&self.store, &self.data_dir, at).await?;
        let devices = self.store.devices().await?;
        let in_service = devices.iter().filter(|device| device.revoked_us.is_none());
        let heard = in_service.clone().filter(|device| {
            device
                .heard_us
                .is_some_and(|heard| at.since_us(heard) < HEARD_WITHIN_US)
        });
        let mut page = Page::default();
        page.gauge(
            "disk_free_bytes",
            "Of the data folder's disk.",
            sample.free_bytes,
        );
        page.gauge(
            "disk_total_bytes",
            "Of the data folder's disk.",
            sample.total_bytes,
        );
        page.gauge(
            "database_bytes",
            "Of the database file.",
            sample.database_bytes,
        );
        page.gauge("devices", "In service.", in_service.count() as u64);
        page.gauge(
            "devices_heard",
            "In service, and heard of within three minutes.",
            heard.count() as u64,
        );
        if self.has_public_certificate {
            let standing = Standing::load(&self.data_dir.join(TLS_DIR)).unwrap_or_default();
            page.of_certificate(&standing, at);
        }
        page.of_contracts(&usage);
        Ok(page.0)
    }
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn head(&mut self, name: &str, help: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.0, "# HELP cloud_receiver_{name} {help}");
        let _ = writeln!(self.0, "# TYPE cloud_receiver_{name} gauge");
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, help);
        let _ = writeln!(self.0, "cloud_receiver_{name} {value}");
    }

    fn of_certificate(&mut self, standing: &Standing, at: UtcMicros) {
        self.gauge(
            "portal_certificate_not_after_seconds",
            "When the certificate for browsers ends, since 1970; 0: there is none.",
            standing
                .not_after_us
                .map_or(0, |to| to.0.max(0).unsigned_abs() / 1_000_000),
        );
        self.gauge(
            "portal_certificate_failures",
            "Attempts in a row that gave no newer certificate for browsers.",
            u64::from(standing.failures),
        );
        self.gauge(
            "portal_certificate_needs_hand",
            "1: there is none, or less than a quarter of its life is left.",
            u64::from(standing.needs_hand(at)),
        );
    }

    fn of_contracts(&mut self, usage: &Usage) {
        type Count = fn(&crate::store::ContractUsage) -> u64;
        let gauges: [(&str, &str, Count); 6] = [
            ("records", "Held of a contract.", |of| of.records),
            (
                "records_bytes",
                "Of the signed batches of a contract.",
                |of| of.records_bytes,
            ),
            ("objects", "Pictures and clips held of a contract.", |of| {
                of.objects
            }),
            ("objects_bytes", "Of these.", |of| of.objects_bytes),
            ("events", "Held of a contract.", |of| of.events),
            (
                "records_last_day",
                "Taken in of a contract within 24 hours.",
                |of| of.recent_records,
            ),
        ];
        for (name, help, count) in gauges {
            self.head(name, help);
            for of in &usage.contracts {
                let _ = writeln!(
                    self.0,
                    "cloud_receiver_{name}{{contract=\"{}\",name=\"{}\"}} {}",
                    of.contract,
                    escaped(&of.name),
                    count(of)
                );
            }
        }
    }
}

/// As the format asks of label values.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::Receiver;

    #[tokio::test]
    async fn what_is_held_of_each_contract_is_told_in_the_monitors_words() {
        let receiver = Receiver::start().await;
        let store = receiver.app.store.clone();
        store.add_contract("A\"b\\c\nd", now()).await.unwrap();
        receiver.device(7).await;
        let source = Source {
            store,
            data_dir: receiver.config.data_dir.clone(),
            has_public_certificate: false,
            latest: Arc::default(),
        };
        let text = source.text().await.unwrap();
        for line in [
            "cloud_receiver_devices 1",
            "# TYPE cloud_receiver_records gauge",
            "name=\"A\\\"b\\\\c\\nd\"} 0",
            "name=\"Acme\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(
            text.lines()
                .all(|line| line.starts_with("# ") || line.starts_with("cloud_receiver_"))
        );
    }
}
