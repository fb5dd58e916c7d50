//! Finding what the operator means: an id, the beginning of one, or a name that only one thing has.

use anyhow::bail;

/// Shortest beginning of an id that is taken for one.
const PREFIX: usize = 4;

/// One thing that can be meant.
pub(super) struct Candidate<T> {
    pub(super) id: String,
    pub(super) names: Vec<String>,
    pub(super) thing: T,
}

/// The one that is meant. `what` is the word for error messages, and `list` the command that shows them all.
pub(super) fn find<T>(
    what: &str,
    wanted: &str,
    list: &str,
    candidates: Vec<Candidate<T>>,
) -> anyhow::Result<T> {
    let (mut by_id, others): (Vec<_>, Vec<_>) = candidates
        .into_iter()
        .partition(|candidate| candidate.id == wanted);
    if let Some(found) = by_id.pop() {
        return Ok(found.thing);
    }
    let is_prefix = |id: &str| wanted.len() >= PREFIX && id.starts_with(wanted);
    let mut fitting: Vec<_> = others
        .into_iter()
        .filter(|it| it.names.iter().any(|name| name == wanted) || is_prefix(&it.id))
        .collect();
    match fitting.len() {
        0 => bail!("there is no {what} \"{wanted}\"; {list}"),
        1 => Ok(fitting.remove(0).thing),
        _ => {
            let ids: Vec<_> = fitting.iter().map(|it| it.id.as_str()).collect();
            bail!(
                "\"{wanted}\" means more than one {what}; use one of these ids: {}",
                ids.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: &str) -> Result<u8, String> {
        let candidate = |id: &str, names: &[&str], thing| Candidate {
            id: id.into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            thing,
        };
        let candidates = vec![
            candidate("aaaa1111", &["north"], 1),
            candidate("aaaa2222", &["south", "c/south"], 2),
            candidate("bbbb3333", &["south", "d/south"], 3),
        ];
        find("site", wanted, "see the list", candidates).map_err(|error| error.to_string())
    }

    #[test]
    fn ids_names_and_beginnings_find_one_thing_or_say_why_not() {
        assert_eq!(found("aaaa1111"), Ok(1));
        assert_eq!(found("north"), Ok(1));
        assert_eq!(found("d/south"), Ok(3));
        assert_eq!(found("bbbb"), Ok(3));
        assert!(found("bb").is_err_and(|error| error.contains("no site")));
        assert!(found("south").is_err_and(|error| error.contains("aaaa2222, bbbb3333")));
        assert!(found("aaaa").is_err_and(|error| error.contains("more than one")));
    }
}
