//! A parsed configuration file that still knows where everything stands in its text.
//!
//! serde stops at the first mistake. So the tree of the file is kept here, and what a mistake is blamed on can be
//! taken out of it, for the rest to be read again.

use super::problem::Problem;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One step on the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn key(&self) -> Option<&str> {
        match self {
            Step::Key(key) => Some(key),
            Step::Index(_) => None,
        }
    }
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Step::Key(key.into())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Step::Index(index)
    }
}

/// What serde's complaint is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blamed {
    pub(super) path: Vec<Step>,
    /// The key itself is wrong, not its value.
    pub(super) key_is_wrong: bool,
}

impl Blamed {
    pub(super) fn key(&self) -> &str {
        match self.path.last() {
            Some(Step::Key(key)) => key,
            _ => "",
        }
    }

    /// The table it stands in, as its heading in the file names it: `camera.zone`. `None`: the file itself.
    pub(super) fn section(&self) -> Option<String> {
        let keys: Vec<&str> = self.table().iter().filter_map(Step::key).collect();
        (!keys.is_empty()).then(|| keys.join("."))
    }

    /// The way to that table.
    pub(super) fn table(&self) -> &[Step] {
        self.path.split_last().map_or(&[], |(_, table)| table)
    }
}

pub(super) struct Document<'t> {
    text: &'t str,
    root: Spanned<DeTable<'t>>,
}

impl<'t> Document<'t> {
    /// Reads the text as TOML; on failure, everything that is no TOML.
    pub(super) fn parse(text: &'t str) -> Result<Self, Vec<Problem>> {
        let (root, errors) = DeTable::parse_recoverable(text);
        let document = Self { text, root };
        if errors.is_empty() {
            return Ok(document);
        }
        Err(errors
            .iter()
            .map(|error| {
                let what = format!("this is not TOML: {}", error.message());
                let remedy = "see https://toml.io; text values stand in \"quotes\"".into();
                document.problem(error.span(), what, remedy)
            })
            .collect())
    }

    pub(super) fn deserialize<T: Deserialize<'t>>(&self) -> Result<T, toml::de::Error> {
        T::deserialize(toml::Deserializer::from(self.root.clone()))
    }

    /// The deepest key whose name or value holds `span`.
    pub(super) fn blame(&self, span: &Range<usize>) -> Option<Blamed> {
        blame(self.root.get_ref(), span)
    }

    /// The text that stands at `path`.
    pub(super) fn text_at(&self, path: &[Step]) -> Option<&str> {
        let (value, rest) = self.nearest(path)?;
        match value.get_ref() {
            DeValue::String(text) if rest.is_empty() => Some(text),
            _ => None,
        }
    }

    /// Where a value stands, or the nearest thing around it that stands anywhere.
    pub(super) fn span(&self, path: &[Step]) -> Option<Range<usize>> {
        Some(self.nearest(path)?.0.span())
    }

    /// The value at `path`, or the nearest one around it, and what is left of the way then.
    fn nearest<'a>(&self, path: &'a [Step]) -> Option<(&Spanned<DeValue<'t>>, &'a [Step])> {
        let Some((Step::Key(first), mut rest)) = path.split_first() else {
            return None;
        };
        let mut value = self.root.get_ref().get(first.as_str())?;
        while let Some((step, after)) = rest.split_first() {
            let inner = match (value.get_ref(), step) {
                (DeValue::Table(table), Step::Key(key)) => table.get(key.as_str()),
                (DeValue::Array(array), Step::Index(index)) => array.get(*index),
                _ => None,
            };
            let Some(inner) = inner else { break };
            (value, rest) = (inner, after);
        }
        Some((value, rest))
    }

    pub(super) fn remove(&mut self, path: &[Step]) {
        if let Some((Step::Key(key), parent)) = path.split_last()
            && let Some(table) = table_at(self.root.get_mut(), parent)
        {
            table.remove(key.as_str());
        }
    }

    /// Puts text where a required value was missing or wrong, so that the rest can be read.
    pub(super) fn set_text(&mut self, parent: &[Step], key: &'static str, text: String) {
        if let Some(table) = table_at(self.root.get_mut(), parent) {
            table.insert(
                Spanned::new(0..0, Cow::Borrowed(key)),
                Spanned::new(0..0, DeValue::String(Cow::Owned(text))),
            );
        }
    }

    /// How many `[[name]]` there are, and whether each holds `key`.
    pub(super) fn tables_with(&self, name: &str, key: &str) -> Vec<bool> {
        let Some(DeValue::Array(array)) = self.root.get_ref().get(name).map(Spanned::get_ref)
        else {
            return Vec::new();
        };
        array
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::Table(table) => table.contains_key(key),
                _ => true,
            })
            .collect()
    }

    pub(super) fn problem(
        &self,
        span: Option<Range<usize>>,
        what: String,
        remedy: String,
    ) -> Problem {
        let (line, column) = match span {
            Some(span) => position(self.text, span.start),
            None => (0, 0),
        };
        Problem {
            line,
            column,
            what,
            remedy,
        }
    }
}

/// Line and column of a byte offset, both from 1, the column in characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

fn blame(table: &DeTable<'_>, span: &Range<usize>) -> Option<Blamed> {
    table.iter().find_map(|(key, value)| {
        let step = Step::Key(key.get_ref().to_string());
        if key.span() == *span {
            return Some(Blamed {
                path: vec![step],
                key_is_wrong: true,
            });
        }
        let inner = match value.get_ref() {
            DeValue::Table(inner) => blame(inner, span),
            DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
                let DeValue::Table(inner) = item.get_ref() else {
                    return None;
                };
                let mut found = blame(inner, span)?;
                found.path.insert(0, Step::Index(index));
                Some(found)
            }),
            _ => None,
        };
        if let Some(mut found) = inner {
            found.path.insert(0, step);
            return Some(found);
        }
        let holds = value.span().start <= span.start && span.end <= value.span().end;
        holds.then(|| Blamed {
            path: vec![step],
            key_is_wrong: false,
        })
    })
}

fn table_at<'a, 't>(root: &'a mut DeTable<'t>, path: &[Step]) -> Option<&'a mut DeTable<'t>> {
    let Some((Step::Key(key), rest)) = path.split_first() else {
        return Some(root);
    };
    match (root.get_mut(key.as_str())?.get_mut(), rest) {
        (DeValue::Table(table), rest) => table_at(table, rest),
        (DeValue::Array(items), [Step::Index(index), rest @ ..]) => {
            match items.get_mut(*index)?.get_mut() {
                DeValue::Table(table) => table_at(table, rest),
                _ => None,
            }
        }
        _ => None,
    }
}

/// The keys that a section takes, as its type declares them to serde.
pub(super) fn known_keys<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Probe<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_struct<V: serde::de::Visitor<'de>>(
            self,
            _name: &'static str,
            fields: &'static [&'static str],
            _visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            Err(Self::Error::custom("only the field names were asked for"))
        }

        fn deserialize_any<V: serde::de::Visitor<'de>>(
            self,
            _visitor: V,
        ) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("not a struct"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut keys: &'static [&'static str] = &[];
    let _ = T::deserialize(Probe(&mut keys));
    keys
}
