//! The texts of letters, edited: kept as the files that `notice templates` checks and every notice is made of.

use super::{Refusal, Result};
use crate::config::Config;
use crate::keys;
use crate::notice::{
    DAY_US, Fault, Faulty, NOTICE_DAYS, Sender, TEMPLATES, Template, Text, end_of, file_name, own,
};
use crate::portal::when::{DEFAULT_ZONE, When};
use crate::portal::words::{DeskWords, Lang};
use crate::store::sqlite::SqliteStore;
use crate::store::{AuditBook, Note};
use anyhow::Context;
use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::path::PathBuf;
use wire::{Sha256, UtcMicros};

/// One of the texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Which {
    pub template: Template,
    pub lang: Lang,
}

impl Which {
    pub fn all() -> impl Iterator<Item = Self> {
        let both = |template| [Lang::Ja, Lang::En].map(|lang| Self { template, lang });
        TEMPLATES.into_iter().flat_map(both)
    }

    /// `KIND.LANGUAGE`, as its file is called.
    pub fn name(self) -> String {
        format!("{}.{}", self.template.word(), self.lang.code())
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::all().find(|which| which.name() == name)
    }

    fn file(self) -> String {
        file_name(self.template, self.lang)
    }

    fn path(self, config: &Config) -> PathBuf {
        config.letters_at().join(self.file())
    }
}

/// A text as it is now.
#[derive(Clone, Debug)]
pub struct Letter {
    pub which: Which,
    pub source: String,
    /// Not as delivered.
    pub is_own: bool,
    /// Notices of its kind cannot be told before it is mended.
    pub fault: Option<Fault>,
}

pub fn read(config: &Config, which: Which) -> anyhow::Result<Letter> {
    let own = own(&config.letters(), &which.file())?;
    let is_own = own.is_some();
    let source = own.unwrap_or_else(|| which.template.built_in(which.lang).to_owned());
    let fault = Text::parse(which.template, &source).err();
    Ok(Letter {
        which,
        source,
        is_own,
        fault,
    })
}

fn checked(config: &Config, which: Which, source: &str) -> Result<Text> {
    let text = Text::parse(which.template, source);
    let path = which.path(config);
    Ok(text.map_err(|fault| Refusal::from(Faulty { path, fault }))?)
}

/// Subject and text with sample contents.
pub fn preview(
    config: &Config,
    which: Which,
    source: &str,
    at: UtcMicros,
) -> Result<(String, String)> {
    let text = checked(config, which, source)?;
    let words = DeskWords::of(which.lang);
    let when = When {
        lang: which.lang,
        zone: TimeZone::get(DEFAULT_ZONE).context("the time zones are built in")?,
        now: at,
    };
    let sender = Sender::of(config);
    let from = at.plus_us((NOTICE_DAYS + 1) * DAY_US);
    let to = from.plus_us(2 * 3_600_000_000);
    let values = BTreeMap::from([
        ("contract", words.sample_contract.to_owned()),
        ("from", when.to_minute(from)),
        ("to", end_of(&when, from, to)),
        ("closed", when.to_minute(to)),
        ("what", words.sample_what.to_owned()),
        ("why", words.sample_why.to_owned()),
        ("operator", sender.name),
        ("contact", sender.contact),
        ("portal", sender.portal),
    ]);
    Ok(text.fill(&values)?)
}

/// From then on notices are made of it; nothing changes where it has a mistake.
pub async fn save(
    store: &SqliteStore,
    config: &Config,
    which: Which,
    source: &str,
    at: UtcMicros,
) -> Result<()> {
    let source = source.replace("\r\n", "\n");
    checked(config, which, &source)?;
    let path = which.path(config);
    let folder = config.letters_at();
    // Before it is noted, because it is what fails where the folder is not the service's to write.
    std::fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
    // Noted first: what mails say must not change unseen.
    let note = Note::new("notice.set_template")
        .on(which.name())
        .with("sha256", Sha256::of(source.as_bytes()).to_string());
    store.note(store.actor().clone(), note, at).await?;
    let written = keys::replace(&path, source.as_bytes());
    Ok(written.map_err(|error| Refusal::Unwritable(error.to_string()))?)
}

/// The text as delivered counts again. `false`: it did before.
pub async fn reset(
    store: &SqliteStore,
    config: &Config,
    which: Which,
    at: UtcMicros,
) -> Result<bool> {
    let path = which.path(config);
    if !path.exists() {
        return Ok(false);
    }
    let note = Note::new("notice.reset_template").on(which.name());
    store.note(store.actor().clone(), note, at).await?;
    std::fs::remove_file(&path).map_err(|error| unwritable(&path, &error))?;
    Ok(true)
}

fn unwritable(path: &std::path::Path, error: &std::io::Error) -> Refusal {
    Refusal::Unwritable(format!("{}: {error}", path.display()))
}
