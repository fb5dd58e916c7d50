//! `contract`: who owns the data, and what was agreed.

use super::confirm::Confirm;
use super::lookup::{Candidate, find};
use super::{Common, Setup, report, setup};
use crate::clock::now;
use crate::erasure::{self, Standing};
use crate::office;
use crate::office::ending::{self, end_of, last_day};
use crate::office::terms::Kept;
use crate::store::sqlite::SqliteStore;
use crate::store::{
    Administration, ContractBook, ContractDetail, ContractRow, Ending, ErasureBook, ErasureRow,
    Retention, Terms,
};
use anyhow::{Context, ensure};
use jiff::civil::Date;
use serde::Serialize;
use uuid::Uuid;
use wire::ContractId;

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
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Let the period end on a day.
    End {
        /// Name or id.
        contract: String,
        /// The last day, in the contract's time zone.
        #[arg(long, value_name = "DATE")]
        on: Date,
        #[command(flatten)]
        confirm: Confirm,
    },
    /// Say that work for the contract is done: when its period is over, too, what it has is erased.
    Done {
        /// Name or id.
        contract: String,
        /// It is not done, after all.
        #[arg(long)]
        not_yet: bool,
        #[command(flatten)]
        confirm: Confirm,
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
    #[command(flatten)]
    keep: KeepArgs,
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
            && self.keep.is_empty()
    }

    fn apply(self, terms: &mut Terms) -> anyhow::Result<()> {
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
        self.keep.apply(&mut terms.retention);
        Ok(office::terms::check(terms)?)
    }
}

/// For how many days pictures and records are kept, or "forever": as long as the contract lasts.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
struct KeepArgs {
    /// Days for which pictures of events are kept, or "forever".
    #[arg(long, value_name = "DAYS", value_parser = days)]
    keep_snapshots: Option<Days>,
    /// Days for which pictures taken every so often are kept, or "forever".
    #[arg(long, value_name = "DAYS", value_parser = days)]
    keep_periodic: Option<Days>,
    /// Days for which pictures that somebody asked for are kept, or "forever".
    #[arg(long, value_name = "DAYS", value_parser = days)]
    keep_requested: Option<Days>,
    /// Days for which clips are kept, or "forever".
    #[arg(long, value_name = "DAYS", value_parser = days)]
    keep_clips: Option<Days>,
    /// Days for which records are kept - events, counts, states, losses - or "forever". A record of a picture that is kept
    /// for longer stays with it.
    #[arg(long, value_name = "DAYS", value_parser = days)]
    keep_records: Option<Days>,
}

/// Absent: for ever.
#[derive(Clone, Copy, Debug)]
struct Days(Option<u32>);

fn days(text: &str) -> Result<Days, String> {
    match text.parse::<u32>() {
        _ if text == "forever" => Ok(Days(None)),
        Ok(days) if (1..=36_500).contains(&days) => Ok(Days(Some(days))),
        _ => Err("a number of days from 1 to 36500, or \"forever\"".into()),
    }
}

impl KeepArgs {
    fn is_empty(self) -> bool {
        let all = [
            self.keep_snapshots,
            self.keep_periodic,
            self.keep_requested,
            self.keep_clips,
            self.keep_records,
        ];
        all.iter().all(Option::is_none)
    }

    fn apply(self, retention: &mut Retention) {
        let set = |place: &mut Option<u32>, given: Option<Days>| {
            if let Some(Days(days)) = given {
                *place = days;
            }
        };
        set(&mut retention.snapshots_days, self.keep_snapshots);
        set(&mut retention.periodic_days, self.keep_periodic);
        set(&mut retention.requested_days, self.keep_requested);
        set(&mut retention.clips_days, self.keep_clips);
        set(&mut retention.records_days, self.keep_records);
    }
}

pub(super) async fn run(common: &Common, verb: Verb) -> anyhow::Result<()> {
    let setup = setup(common)?;
    match verb {
        Verb::Add { name, terms, until } => add(common, &setup, name, terms, until).await,
        Verb::List => list(common, &setup).await,
        Verb::Show { contract } => show(common, &setup, &contract).await,
        Verb::End {
            contract,
            on,
            confirm,
        } => {
            let detail = detail(&setup.store, &contract).await?;
            let until = end_of(on, &detail.terms)?;
            if until <= now() {
                confirm.ask(&format!(
                    "{on} is over: once work is done, everything of \"{}\" is erased within days.",
                    detail.name
                ))?;
            }
            setup.store.set_until(detail.id, Some(until), now()).await?;
            show(common, &setup, &contract).await
        }
        Verb::Done {
            contract,
            not_yet,
            confirm,
        } => {
            let id = by_name(&setup.store, &contract).await?.id;
            let before = ending::ending_of(&setup.store, id).await?;
            if !not_yet && ending::done_erases(&before, now()) {
                confirm.ask(&erased_then(&before, &setup)?)?;
            }
            ending::set_done(&setup.store, id, !not_yet, now()).await?;
            show(common, &setup, &contract).await
        }
        Verb::Set {
            contract,
            terms,
            confirm,
        } => {
            ensure!(
                !terms.is_empty(),
                "nothing to set; \"contract set --help\" lists what can be"
            );
            let mut detail = detail(&setup.store, &contract).await?;
            let before = detail.terms.retention;
            terms.apply(&mut detail.terms)?;
            let shortened = office::terms::shortened(&before, &detail.terms.retention);
            if !shortened.is_empty() {
                confirm.ask(&deleted(&detail.name, &shortened))?;
            }
            setup
                .store
                .set_terms(detail.id, &detail.terms, now())
                .await?;
            report(common, &detail, &words(&detail)?)
        }
        Verb::Extend { contract, until } => {
            let mut detail = detail(&setup.store, &contract).await?;
            ending::extend(&setup.store, &mut detail, until, now()).await?;
            report(common, &detail, &words(&detail)?)
        }
    }
}

/// What saying that work is done sets going.
fn erased_then(ending: &Ending, setup: &Setup) -> anyhow::Result<String> {
    let name = &ending.name;
    Ok(match ending::due_once_done(ending, &setup.config, now())? {
        Some(due) => format!(
            "The period of \"{name}\" is over: everything of it is erased by the end of {}.",
            due.by
        ),
        None => format!("The period of \"{name}\" is over: everything of it is erased."),
    })
}

/// What a contract is called, and where it stands.
#[derive(Serialize)]
struct Listed {
    id: ContractId,
    /// Absent of one that is erased: nobody knows any more.
    name: Option<String>,
    #[serde(flatten)]
    state: State,
}

#[derive(Serialize)]
#[serde(untagged)]
enum State {
    Here(Standing),
    /// `standing` is `erased`.
    Erased {
        standing: &'static str,
        certificate: Uuid,
    },
}

async fn list(common: &Common, setup: &Setup) -> anyhow::Result<()> {
    let rules = erasure::rules(&setup.config.erasure);
    let (mut listed, mut lines) = (Vec::new(), Vec::new());
    for ending in setup.store.endings().await? {
        let standing = Standing::of(&ending, rules, now())?;
        let words = ending::words(&standing);
        lines.push(format!("{}  {}  {words}", ending.contract, ending.name));
        listed.push(Listed {
            id: ending.contract,
            name: Some(ending.name),
            state: State::Here(standing),
        });
    }
    for row in setup.store.erasures().await? {
        if row.finished_us.is_none() && listed.iter().any(|other| other.id == row.contract) {
            continue;
        }
        lines.push(format!("{}  -  {}", row.contract, erased_words(&row)));
        listed.push(Listed {
            id: row.contract,
            name: None,
            state: State::Erased {
                standing: "erased",
                certificate: row.id,
            },
        });
    }
    report(common, &listed, &lines.join("\n"))
}

fn erased_words(row: &ErasureRow) -> String {
    format!("erased; \"erase certificate {}\"", row.id)
}

#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    detail: &'a ContractDetail,
    state: Standing,
}

async fn show(common: &Common, setup: &Setup, wanted: &str) -> anyhow::Result<()> {
    let erased = setup.store.erasures().await?;
    let is_gone =
        |row: &&ErasureRow| row.contract.to_string() == wanted && row.finished_us.is_some();
    if let Some(row) = erased.iter().find(is_gone) {
        return report(common, row, &erased_words(row));
    }
    let detail = detail(&setup.store, wanted).await?;
    let (_, state) = ending::standing_of(&setup.store, &setup.config, detail.id, now()).await?;
    let mut words = format!(
        "{}\nstands            {}",
        words(&detail)?,
        ending::words(&state)
    );
    if matches!(state, Standing::Held { .. }) {
        let holds = setup.store.holds().await?.into_iter();
        for hold in holds.filter(|hold| hold.contract == detail.id) {
            words += &format!("\n  kept because    {}  (hold {})", hold.why, hold.id);
        }
    }
    report(
        common,
        &Shown {
            detail: &detail,
            state,
        },
        &words,
    )
}

/// What shortening deletes, as a question's first sentence.
fn deleted(name: &str, shortened: &[(Kept, u32)]) -> String {
    let each = shortened.iter().map(|(kept, days)| match kept {
        Kept::Pictures(class) => format!("{} pictures older than {days} days", class.as_str()),
        Kept::Records => format!(
            "records older than {days} days - events, counts, states, losses - that belong to no picture which is kept"
        ),
    });
    format!(
        "Of \"{name}\" these are deleted for good, but for what a hold keeps: {}.",
        each.collect::<Vec<_>>().join(", ")
    )
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
    let id = office::terms::add_contract(&setup.store, &setup.config, &name, now()).await?;
    if terms != Terms::default() {
        setup.store.set_terms(id, &terms, now()).await?;
    }
    if until.is_some() {
        setup.store.set_until(id, until, now()).await?;
    }
    let words = format!("Contract \"{name}\" added: {id}");
    report(common, &ContractRow { id, name }, &words)
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
         told of           silent for {} min; clock off by {} ms\n\
         kept for          snapshots {}, periodic {}, requested {}, clips {}\n\
         records           {}",
        detail.name,
        detail.id,
        terms.language,
        terms.zone,
        yes(terms.keeps_issued_passwords),
        yes(terms.needs_second_factor),
        yes(terms.pictures_in_mail),
        terms.silent_after_minutes,
        terms.clock_off_ms,
        kept(terms.retention.snapshots_days),
        kept(terms.retention.periodic_days),
        kept(terms.retention.requested_days),
        kept(terms.retention.clips_days),
        kept_records(terms.retention.records_days),
    ))
}

fn kept(days: Option<u32>) -> String {
    days.map_or_else(
        || "as long as the contract".into(),
        |days| format!("{days} days"),
    )
}

fn kept_records(days: Option<u32>) -> String {
    match days {
        None => kept(days),
        Some(_) => format!(
            "{}; with a picture that is kept for longer, as long as it",
            kept(days)
        ),
    }
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
