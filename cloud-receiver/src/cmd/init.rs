//! `init`: everything a receiver needs before it can serve. Overwrites nothing.

use super::{Common, console, report};
use crate::app::{TLS_DIR, database};
use crate::auth::password;
use crate::clock::now;
use crate::config::{Config, Listen, Residency};
use crate::keys::{Keys, create_private_dir, write_new};
use crate::live::Live;
use crate::residency;
use crate::store::Administration;
use crate::store::sqlite::SqliteStore;
use crate::tls::ServerCertificate;
use anyhow::{Context, bail};
use serde::Serialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Login ID of the operator that `init` makes.
const OPERATOR: &str = "operator";

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder for database and media.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Folder for the receiver's secrets; not inside the data folder.
    #[arg(long, value_name = "DIR")]
    key_dir: PathBuf,
    /// Name or address of this receiver; may be given several times. Devices are told the first.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Where browsers and enrolling devices connect. [default: 0.0.0.0:8443]
    #[arg(long, value_name = "ADDRESS")]
    portal_listen: Option<SocketAddr>,
    /// Where enrolled devices connect over HTTPS. [default: 0.0.0.0:8444]
    #[arg(long, value_name = "ADDRESS")]
    device_listen: Option<SocketAddr>,
    /// Where enrolled devices connect over MQTT. [default: 0.0.0.0:8883]
    #[arg(long, value_name = "ADDRESS")]
    mqtt_listen: Option<SocketAddr>,
    /// In which region the data folder is, like ap-northeast-1; the only one that is allowed from then on.
    #[arg(long)]
    region: Option<String>,
}

#[derive(Serialize)]
struct Done {
    config: PathBuf,
    operator_login_id: &'static str,
    operator_password: String,
    ca_fingerprint: String,
}

pub(super) async fn run(common: &Common, args: Args) -> anyhow::Result<()> {
    let region = args.region.clone();
    let config = config_of(args)?;
    refuse_existing(&common.config, &config)?;
    create_private_dir(&config.data_dir)?;
    if let Some(region) = region {
        let file = config.data_dir.join(residency::FILE_NAME);
        write_new(&file, format!("{region}\n").as_bytes())?;
    }
    let keys = Keys::create(&config.key_dir)?;
    ServerCertificate::open(
        &config.data_dir.join(TLS_DIR),
        &config.hosts,
        &keys.ca,
        now(),
    )?;
    let path = database(&config);
    let store = SqliteStore::open(&path, keys.master.clone(), Live::default(), true)
        .with_context(|| format!("creating {}", path.display()))?
        .by(console());
    let issued = password::generate();
    store
        .add_operator(OPERATOR, &password::hash(&issued)?, now())
        .await?;
    // Last, so that a set-up that failed half-way is never taken for a whole one.
    write_config(&common.config, &config)?;
    let done = Done {
        config: common.config.clone(),
        operator_login_id: OPERATOR,
        operator_password: issued,
        ca_fingerprint: keys.ca.fingerprint().to_string(),
    };
    let words = format!(
        "The receiver is set up.\n\
         \x20 configuration   {}\n\
         \x20 data            {}\n\
         \x20 keys            {}   keep a sealed copy elsewhere: without it stored data is unreadable\n\
         \x20 CA fingerprint  {}\n\
         \x20 operator        {}\n\
         \x20 password        {}   shown this once; changed at the first sign-in, where a second factor is set up too:\n\
         \x20                 have an authenticator app for one-time codes (RFC 6238) at hand\n\
         Next: cloud-receiver serve --config {}",
        done.config.display(),
        config.data_dir.display(),
        config.key_dir.display(),
        done.ca_fingerprint,
        done.operator_login_id,
        done.operator_password,
        done.config.display(),
    );
    report(common, &done, &words)
}

fn config_of(args: Args) -> anyhow::Result<Config> {
    let listen = Listen::default();
    let regions = args.region.into_iter().collect::<Vec<_>>();
    if let Some(region) = regions.iter().find(|region| !residency::is_region(region)) {
        bail!("--region: \"{region}\" is no name of a region, like ap-northeast-1");
    }
    let usual = Config::new(
        std::path::absolute(args.data_dir)?,
        std::path::absolute(args.key_dir)?,
    );
    let config = Config {
        hosts: if args.hosts.is_empty() {
            usual.hosts
        } else {
            args.hosts
        },
        listen: Listen {
            portal: args.portal_listen.unwrap_or(listen.portal),
            device: args.device_listen.unwrap_or(listen.device),
            mqtt: args.mqtt_listen.unwrap_or(listen.mqtt),
        },
        residency: Residency {
            allowed_regions: regions,
        },
        ..usual
    };
    if config.key_dir.starts_with(&config.data_dir) {
        bail!(
            "--key-dir lies inside --data-dir: a copy of the data would carry its own key; choose another"
        );
    }
    Ok(config)
}

fn refuse_existing(path: &Path, config: &Config) -> anyhow::Result<()> {
    let remedy = "this receiver is set up already; nothing was changed";
    if path.exists() {
        bail!("{} exists: {remedy}", path.display());
    }
    if Keys::exist(&config.key_dir) {
        bail!("there are keys in {}: {remedy}", config.key_dir.display());
    }
    if database(config).exists() {
        bail!("{} exists: {remedy}", database(config).display());
    }
    Ok(())
}

fn write_config(path: &Path, config: &Config) -> anyhow::Result<()> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        std::fs::create_dir_all(dir).with_context(|| format!("creating {}", dir.display()))?;
    }
    write_new(path, config.to_text().as_bytes())?;
    Ok(())
}
