//! Where the data is kept. The store declares its region in a file of its own, because it stays true when the store is
//! moved or mounted elsewhere; the configuration says which regions are allowed. With another one nothing is opened, and
//! nothing is written.

use crate::config::Config;
use anyhow::{Context, bail, ensure};
use std::io::ErrorKind;
use std::path::Path;

/// Below the data folder: one line, like `ap-northeast-1`.
pub const FILE_NAME: &str = "region";

/// What the store declares; absent where nobody said.
pub fn declared(data_dir: &Path) -> anyhow::Result<Option<String>> {
    let path = data_dir.join(FILE_NAME);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let region = text.trim();
            ensure!(
                is_region(region),
                "{} holds no name of a region, like ap-northeast-1",
                path.display()
            );
            Ok(Some(region.to_owned()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Letters, digits and dashes: it stands in pages and files.
pub fn is_region(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Refuses a store that is not where it may be.
pub fn check(config: &Config) -> anyhow::Result<()> {
    let allowed = &config.residency.allowed_regions;
    if allowed.is_empty() {
        return Ok(());
    }
    let dir = config.data_dir.display();
    match declared(&config.data_dir)? {
        Some(region) if allowed.contains(&region) => Ok(()),
        Some(region) => bail!(
            "the store in {dir} is in region {region}, and residency.allowed_regions allows only {}; \
             nothing was opened: move the store, or allow the region",
            allowed.join(", ")
        ),
        None => bail!(
            "the store in {dir} does not say in which region it is, and residency.allowed_regions allows only {}; \
             nothing was opened: write the region into {dir}/{FILE_NAME}",
            allowed.join(", ")
        ),
    }
}
