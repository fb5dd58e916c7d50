//! Notices to customers: who is written to, and what the letters say.
//!
//! A letter is a template with what is particular put in, in the contract's language and zone. Operators may have templates of
//! their own; what is wrong with one is said before anything is sent.

mod templates;

pub use templates::{
    ALL as TEMPLATES, Fault, Faulty, Template, Templates, Text, braced, file_name, own,
    write_to as write_templates,
};

use crate::portal::when::When;
use crate::portal::words::Lang;
use crate::store::{
    ContractBook, ContractDetail, Letter, MailKind, NewMail, NoticeKind, NoticeRow, Result,
};
use jiff::tz::TimeZone;
use maud::html;
use std::collections::BTreeMap;
use wire::{ContractId, UtcMicros};

/// The notice that clause 12 promises: two weeks.
pub const NOTICE_DAYS: i64 = 14;
pub const DAY_US: i64 = 24 * 3600 * 1_000_000;

/// What a letter says of a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    Given,
    Cancelled,
    Closed,
}

/// What stands in every letter alike.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The operator's name.
    pub name: String,
    /// Where customers turn to.
    pub contact: String,
    /// The portal's address.
    pub portal: String,
}

impl Sender {
    pub fn of(config: &crate::config::Config) -> Self {
        let contact = &config.contact;
        let ways = [contact.mail.as_str(), contact.phone.as_str()];
        let ways: Vec<_> = ways.into_iter().filter(|way| !way.is_empty()).collect();
        let or = |text: &str, other: &str| if text.is_empty() { other } else { text }.to_owned();
        Self {
            name: or(&contact.name, "CaaS"),
            contact: or(&ways.join(" / "), &config.mail.from),
            portal: config.portal_url(),
        }
    }
}

/// One letter to each contact of each contract, and the contracts that nobody can be written to.
#[derive(Clone, Debug, Default)]
pub struct Letters {
    pub mail: Vec<NewMail>,
    pub unreached: Vec<ContractDetail>,
}

/// The contracts in full; one that is erased meanwhile is left out.
pub async fn in_full(
    book: &impl ContractBook,
    contracts: &[ContractId],
) -> Result<Vec<ContractDetail>> {
    let mut details = Vec::with_capacity(contracts.len());
    for contract in contracts {
        match book.contract(*contract).await {
            Ok(found) => details.extend(found),
            Err(crate::store::StoreError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(details)
}

pub fn letters(
    templates: &Templates,
    sender: &Sender,
    notice: &NoticeRow,
    occasion: Occasion,
    contracts: &[ContractDetail],
    at: UtcMicros,
) -> anyhow::Result<Letters> {
    let mut letters = Letters::default();
    for contract in contracts {
        if contract.terms.contacts.is_empty() {
            letters.unreached.push(contract.clone());
        }
        let (subject, text) = written(templates, sender, notice, occasion, contract, at)?;
        for to in &contract.terms.contacts {
            letters.mail.push(NewMail {
                contract: Some(contract.id),
                kind: MailKind::Notice,
                about: Some(notice.id),
                letter: Letter {
                    to: to.clone(),
                    subject: subject.clone(),
                    html: Some(as_html(language(contract), &text)),
                    text: text.clone(),
                    ..Letter::default()
                },
            });
        }
    }
    Ok(letters)
}

/// Subject and text for one contract.
pub fn written(
    templates: &Templates,
    sender: &Sender,
    notice: &NoticeRow,
    occasion: Occasion,
    contract: &ContractDetail,
    at: UtcMicros,
) -> anyhow::Result<(String, String)> {
    let lang = language(contract);
    let when = When {
        lang,
        zone: TimeZone::get(&contract.terms.zone).unwrap_or(TimeZone::UTC),
        now: at,
    };
    let template = match (notice.kind, occasion, &notice.urgent_why) {
        (_, Occasion::Cancelled, _) => Template::MaintenanceCancelled,
        (_, Occasion::Closed, _) => Template::IncidentClosed,
        (NoticeKind::Maintenance, Occasion::Given, None) => Template::Maintenance,
        (NoticeKind::Maintenance, Occasion::Given, Some(_)) => Template::MaintenanceUrgent,
        (NoticeKind::Incident, Occasion::Given, _) => Template::Incident,
    };
    let to = notice.to_us.map(|to| end_of(&when, notice.from_us, to));
    let values = BTreeMap::from([
        ("contract", contract.name.clone()),
        ("from", when.to_minute(notice.from_us)),
        ("to", to.unwrap_or_default()),
        ("closed", when.to_minute(notice.closed_us.unwrap_or(at))),
        ("what", what(notice, lang).to_owned()),
        ("why", notice.urgent_why.clone().unwrap_or_default()),
        ("operator", sender.name.clone()),
        ("contact", sender.contact.clone()),
        ("portal", sender.portal.clone()),
    ]);
    templates.fill(template, lang, &values)
}

/// The time alone where the day is the same.
pub fn end_of(when: &When, from: UtcMicros, to: UtcMicros) -> String {
    if when.date_of(from) == when.date_of(to) {
        when.minute(to)
    } else {
        when.to_minute(to)
    }
}

pub fn language(contract: &ContractDetail) -> Lang {
    Lang::from_code(&contract.terms.language).unwrap_or(Lang::Ja)
}

/// The operator's words in a language; there may be only one.
pub fn what(notice: &NoticeRow, lang: Lang) -> &str {
    match (lang, &notice.what_en) {
        (Lang::En, Some(english)) => english,
        _ => &notice.what,
    }
}

/// A text as HTML: paragraphs, lines, and links where an address stands alone on a line.
pub fn as_html(lang: Lang, text: &str) -> String {
    html! {
        (maud::DOCTYPE)
        html lang=(lang.code()) {
            head { meta charset="utf-8"; }
            body {
                @for paragraph in text.split("\n\n") {
                    p {
                        @for (number, line) in paragraph.lines().enumerate() {
                            @if number > 0 { br; }
                            @if line.starts_with("https://") && !line.contains(' ') {
                                a href=(line) { (line) }
                            } @else { (line) }
                        }
                    }
                }
            }
        }
    }
    .into_string()
}
