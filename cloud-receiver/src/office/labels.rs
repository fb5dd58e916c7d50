//! What the operator calls things: tags, and names of sites and cameras.

use super::Refusal;

/// A tag is a word or two: it stands in a list of choices on a phone.
pub const LONGEST_TAG: usize = 40;

pub fn tag(text: &str) -> Result<String, Refusal> {
    let tag = text.trim();
    if tag.is_empty() {
        return Err(Refusal::TagEmpty);
    }
    if tag.chars().count() > LONGEST_TAG || tag.chars().any(char::is_control) {
        return Err(Refusal::TagLong);
    }
    Ok(tag.to_owned())
}

/// A name that pages show.
pub fn name(option: &'static str, text: &str) -> Result<String, Refusal> {
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
