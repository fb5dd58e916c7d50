//! What the operator calls things: tags, and names of sites and cameras.

use super::{Refusal, Result};
use crate::store::LabelBook;
use crate::store::sqlite::SqliteStore;
use wire::{ContractId, EventId};

/// A tag is a word or two: it stands in a list of choices on a phone.
pub const LONGEST_TAG: usize = 40;

pub fn tag(text: &str) -> std::result::Result<String, Refusal> {
    let tag = text.trim();
    if tag.is_empty() {
        return Err(Refusal::TagEmpty);
    }
    if tag.chars().count() > LONGEST_TAG || tag.chars().any(char::is_control) {
        return Err(Refusal::TagLong);
    }
    Ok(tag.to_owned())
}

/// An event of a contract, by its id or by the address of its page, as a customer reads it out or sends it.
pub async fn event(store: &SqliteStore, contract: ContractId, text: &str) -> Result<EventId> {
    let text = text.trim();
    let of_address = text.rsplit_once("/events/").map_or(text, |(_, id)| id);
    let id = of_address.split(['/', '?', '#']).next().unwrap_or_default();
    let unknown = || Refusal::NoSuchEvent(id.to_owned());
    let event: EventId = id.parse().map_err(|_| unknown())?;
    match store.contracts_of_event(event).await?.contains(&contract) {
        true => Ok(event),
        false => Err(unknown().into()),
    }
}

/// A name that pages show.
pub fn name(option: &'static str, text: &str) -> std::result::Result<String, Refusal> {
    let name = text.trim();
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Refusal::Nameless(option));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_short_and_on_one_line() {
        assert_eq!(tag(" 夜間 "), Ok("夜間".into()));
        for bad in ["", "  ", "a\nb", &"x".repeat(LONGEST_TAG + 1)] {
            assert!(tag(bad).is_err(), "{bad:?}");
        }
        assert_eq!(name("NAME", " 正門 "), Ok("正門".into()));
        for bad in ["", " ", "a\nb"] {
            assert!(name("NAME", bad).is_err(), "{bad:?}");
        }
    }
}
