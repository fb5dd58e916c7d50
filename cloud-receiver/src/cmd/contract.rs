//! `contract`: who owns the data, and what was agreed.

use super::lookup::{Candidate, find};
use super::{Common, Setup, report, setup};
use crate::clock::now;
use crate::store::sqlite::SqliteStore;
use crate::store::{Administration, ContractBook, ContractDetail, ContractRow, Terms};
use anyhow::{Context, ensure};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use wire::UtcMicros;

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Add a contract, with a data key of its own.
    Add {
        /// The customer's name, as the portal shows it.
        #[arg(long)]
        name: String,
        #[command(flatten)]
        terms: TermsArgs,
        /// The last day of its period, in the contract's time zone. Without it the period is open.
        #[arg(long, value_name = "DATE")]
        until: Option<Date>,
    },
    /// List contracts.
    List,
    /// What was agreed in one contract.
    Show {
        /// Name or id.
        contract: String,
    },
    /// Change what was agreed; what is not named stays.
    Set {
        /// Name or id.
        contract: String,
        #[command(flatten)]
        terms: TermsArgs,
    },
    /// Let the period run until another day.
    Extend {
        /// Name or id.
        contract: String,
        /// The new last day, in the contract's time zone.
        #[arg(long, value_name = "DATE")]
        until: Date,
    },
}

/// What can be agreed. Options that are not given leave things as they are.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TermsArgs {
    /// Language of mails to the contacts, and of the portal before somebody chooses.
    #[arg(long, value_parser = ["ja", "en"])]
    language: Option<String>,
    /// Time zone in which the contract's days begin, like Asia/Tokyo.
    #[arg(long)]
    zone: Option<String>,
    /// Mail address of an administrator of the customer; may be given several times, and replaces the ones before.
    #[arg(long = "contact", value_name = "ADDRESS")]
    contacts: Vec<String>,
    /// Whether issued passwords may be kept; else they must be changed at the first sign-in.
    #[arg(long, value_name = "BOOL")]
    keep_issued_passwords: Option<bool>,
    /// Whether nobody signs in without a second factor.
    #[arg(long, value_name = "BOOL")]
    second_factor: Option<bool>,
    /// Whether mails about events may carry a small picture.
    #[arg(long, value_name = "BOOL")]
    pictures_in_mail: Option<bool>,
    /// After how many minutes without a sign of life a device or camera is told of.
    #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(2..=10_080))]
    silent_after: Option<u32>,
    /// By how many milliseconds a device's clock may be off before it is told of.
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=86_400_000))]
    clock_off: Option<u64>,
}

impl TermsArgs {
    fn is_empty(&self) -> bool {
        self.language.is_none()
            && self.zone.is_none()
            && self.contacts.is_empty()
            && self.keep_issued_passwords.is_none()
            && self.second_factor.is_none()
            && self.pictures_in_mail.is_none()
            && self.silent_after.is_none()
            && self.clock_off.is_none()
    }

    fn apply(self, terms: &mut Terms) -> anyhow::Result<()> {
        if let Some(zone) = &self.zone {
            TimeZone::get(zone)
                .with_context(|| format!("\"{zone}\" is no time zone; an example is Asia/Tokyo"))?;
        }
        for contact in &self.contacts {
            let parts = contact.split_once('@');
            ensure!(
                parts.is_some_and(|(name, host)| !name.is_empty() && host.contains('.')),
                "--contact: \"{contact}\" is no mail address"
            );
        }
        fn set<T>(place: &mut T, given: Option<T>) {
            if let Some(given) = given {
                *place = given;
            }
        }
        set(&mut terms.language, self.language);
        set(&mut terms.zone, self.zone);
        set(
            &mut terms.contacts,
            Some(self.contacts).filter(|given| !given.is_empty()),
        );
        set(
            &mut terms.keeps_issued_passwords,
            self.keep_issued_passwords,
        );
        set(&mut terms.needs_second_factor, self.second_factor);
        set(&mut terms.pictures_in_mail, self.pictures_in_mail);
        set(&mut terms.silent_after_minutes, self.silent_after);
        set(&mut terms.clock_off_ms, self.clock_off);
        Ok(())
    }
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    match verb {
        Verb::Add { name, terms, until } => add(common, &setup, name, terms, until).await,
        Verb::List => {
            let contracts = setup.store.contracts().await?;
            let lines: Vec<_> = contracts
                .iter()
                .map(|row| format!("{}  {}", row.id, row.name))
                .collect();
            report(common, &contracts, &lines.join("\n"))
        }
        Verb::Show { contract } => {
            let detail = detail(&setup.store, &contract).await?;
            report(common, &detail, &words(&detail)?)
        }
        Verb::Set { contract, terms } => {
            ensure!(
                !terms.is_empty(),
                "nothing to set; \"contract set --help\" lists what can be"
            );
            let mut detail = detail(&setup.store, &contract).await?;
            terms.apply(&mut detail.terms)?;
            setup
                .store
                .set_terms(detail.id, &detail.terms, now())
                .await?;
            report(common, &detail, &words(&detail)?)
        }
        Verb::Extend { contract, until } => {
            let mut detail = detail(&setup.store, &contract).await?;
            let until = end_of(until, &detail.terms)?;
            if let Some(before) = detail.until_us {
                ensure!(
                    until > before,
                    "the contract runs until {} already",
                    last_day(before, &detail.terms)?
                );
            }
            setup.store.set_until(detail.id, Some(until), now()).await?;
            detail.until_us = Some(until);
            report(common, &detail, &words(&detail)?)
        }
    }
}

async fn add(
    common: &Common,
    setup: &Setup,
    name: String,
    args: TermsArgs,
    until: Option<Date>,
) -> anyhow::Result<()> {
    let mut terms = Terms::default();
    args.apply(&mut terms)?;
    let until = until.map(|day| end_of(day, &terms)).transpose()?;
    let id = setup.store.add_contract(&name, now()).await?;
    if terms != Terms::default() {
        setup.store.set_terms(id, &terms, now()).await?;
    }
    if until.is_some() {
        setup.store.set_until(id, until, now()).await?;
    }
    let words = format!("Contract \"{name}\" added: {id}");
    report(common, &ContractRow { id, name }, &words)
}

/// The first moment after a day.
pub(super) fn end_of(day: Date, terms: &Terms) -> anyhow::Result<UtcMicros> {
    let zone = TimeZone::get(&terms.zone)?;
    let after = day.tomorrow()?.to_zoned(zone)?;
    Ok(UtcMicros(after.timestamp().as_microsecond()))
}

/// The day that ends at a moment.
fn last_day(until: UtcMicros, terms: &Terms) -> anyhow::Result<Date> {
    let zone = TimeZone::get(&terms.zone)?;
    let last = jiff::Timestamp::from_microsecond(until.0 - 1)?;
    Ok(last.to_zoned(zone).date())
}

fn words(detail: &ContractDetail) -> anyhow::Result<String> {
    let terms = &detail.terms;
    let until = match detail.until_us {
        Some(until) => format!("until {}", last_day(until, terms)?),
        None => "open".into(),
    };
    let contacts = match terms.contacts.as_slice() {
        [] => "none: notices reach nobody; \"contract set --contact ADDRESS\"".into(),
        some => some.join(", "),
    };
    let yes = |yes| if yes { "yes" } else { "no" };
    Ok(format!(
        "contract          {}\n\
         id                {}\n\
         period            {until}\n\
         language, zone    {}, {}\n\
         contacts          {contacts}\n\
         issued passwords  may be kept: {}\n\
         second factor     needed: {}\n\
         pictures in mail  {}\n\
         told of           silent for {} min; clock off by {} ms",
        detail.name,
        detail.id,
        terms.language,
        terms.zone,
        yes(terms.keeps_issued_passwords),
        yes(terms.needs_second_factor),
        yes(terms.pictures_in_mail),
        terms.silent_after_minutes,
        terms.clock_off_ms,
    ))
}

pub(super) async fn detail(store: &SqliteStore, wanted: &str) -> anyhow::Result<ContractDetail> {
    let row = by_name(store, wanted).await?;
    store
        .contract(row.id)
        .await?
        .with_context(|| format!("contract \"{wanted}\" is gone"))
}

pub(super) async fn by_name(store: &SqliteStore, wanted: &str) -> anyhow::Result<ContractRow> {
    let candidates = store.contracts().await?.into_iter().map(|row| Candidate {
        id: row.id.to_string(),
        names: vec![row.name.clone()],
        thing: row,
    });
    find(
        "contract",
        wanted,
        "\"contract list\" shows them, \"contract add\" adds one",
        candidates.collect(),
    )
}
