//! The texts of notices. Built in, and replaced by files of the operator's, whose mistakes are named.
//!
//! A file is called `KIND.LANGUAGE.txt`. Its first line is the subject, the rest after an empty line the text;
//! `{{name}}` stands for what is particular.

use crate::portal::words::Lang;
use anyhow::Context;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a letter is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Template {
    Maintenance,
    MaintenanceUrgent,
    MaintenanceCancelled,
    Incident,
    IncidentClosed,
}

pub const ALL: [Template; 5] = [
    Template::Maintenance,
    Template::MaintenanceUrgent,
    Template::MaintenanceCancelled,
    Template::Incident,
    Template::IncidentClosed,
];

impl Template {
    pub fn word(self) -> &'static str {
        match self {
            Self::Maintenance => "maintenance",
            Self::MaintenanceUrgent => "maintenance-urgent",
            Self::MaintenanceCancelled => "maintenance-cancelled",
            Self::Incident => "incident",
            Self::IncidentClosed => "incident-closed",
        }
    }

    /// What may stand in it.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Maintenance | Self::MaintenanceCancelled => &[
                "contract", "from", "to", "what", "operator", "contact", "portal",
            ],
            Self::MaintenanceUrgent => &[
                "contract", "from", "to", "what", "why", "operator", "contact", "portal",
            ],
            Self::Incident => &["contract", "from", "what", "operator", "contact", "portal"],
            Self::IncidentClosed => &[
                "contract", "from", "closed", "what", "operator", "contact", "portal",
            ],
        }
    }

    /// Without these a letter does not say what it must.
    pub fn needed(self) -> &'static [&'static str] {
        match self {
            Self::Maintenance => &["from", "to", "what"],
            Self::MaintenanceUrgent => &["from", "to", "what", "why"],
            Self::MaintenanceCancelled => &["from"],
            Self::Incident => &["from", "what"],
            Self::IncidentClosed => &["closed", "what"],
        }
    }

    pub fn built_in(self, lang: Lang) -> &'static str {
        match (self, lang) {
            (Self::Maintenance, Lang::Ja) => include_str!("templates/maintenance.ja.txt"),
            (Self::Maintenance, Lang::En) => include_str!("templates/maintenance.en.txt"),
            (Self::MaintenanceUrgent, Lang::Ja) => {
                include_str!("templates/maintenance-urgent.ja.txt")
            }
            (Self::MaintenanceUrgent, Lang::En) => {
                include_str!("templates/maintenance-urgent.en.txt")
            }
            (Self::MaintenanceCancelled, Lang::Ja) => {
                include_str!("templates/maintenance-cancelled.ja.txt")
            }
            (Self::MaintenanceCancelled, Lang::En) => {
                include_str!("templates/maintenance-cancelled.en.txt")
            }
            (Self::Incident, Lang::Ja) => include_str!("templates/incident.ja.txt"),
            (Self::Incident, Lang::En) => include_str!("templates/incident.en.txt"),
            (Self::IncidentClosed, Lang::Ja) => include_str!("templates/incident-closed.ja.txt"),
            (Self::IncidentClosed, Lang::En) => include_str!("templates/incident-closed.en.txt"),
        }
    }
}

/// All texts, checked.
#[derive(Clone, Debug)]
pub struct Templates(BTreeMap<(Template, &'static str), Text>);

/// One text, checked.
#[derive(Clone, Debug)]
pub struct Text {
    subject: String,
    body: String,
}

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("begins with the subject and an empty line; here there is no empty line")]
    NoEmptyLine,
    #[error("the subject is one line, followed by an empty one")]
    Subject,
    #[error("line {line}: {{{{{name}}}}} stands for nothing here; there are {}", braced(.known))]
    Unknown {
        line: usize,
        name: String,
        known: &'static [&'static str],
    },
    #[error("line {0}: \"{{{{\" without \"}}}}\" on the same line")]
    Open(usize),
    #[error("{{{{{0}}}}} is wanting: without it the letter does not say what it must")]
    Wanting(&'static str),
}

/// As they stand in a text.
pub fn braced(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("{{{{{name}}}}}")).collect();
    names.join(", ")
}

/// A file with a text that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template {}: {fault}", path.display())]
pub struct Faulty {
    pub path: PathBuf,
    pub fault: Fault,
}

impl Templates {
    /// Those of the operator's folder, and the built-in ones for files that are not there. An empty path: none.
    pub fn load(folder: &Path) -> anyhow::Result<Self> {
        let mut texts = BTreeMap::new();
        for template in ALL {
            for lang in [Lang::Ja, Lang::En] {
                let name = file_name(template, lang);
                let own = own(folder, &name)?;
                let source = own.as_deref().unwrap_or(template.built_in(lang));
                let path = folder.join(&name);
                let text = Text::parse(template, source).map_err(|fault| Faulty { path, fault })?;
                texts.insert((template, lang.code()), text);
            }
        }
        Ok(Self(texts))
    }

    /// Subject and text.
    pub(super) fn fill(
        &self,
        template: Template,
        lang: Lang,
        values: &BTreeMap<&'static str, String>,
    ) -> anyhow::Result<(String, String)> {
        self.0[&(template, lang.code())].fill(values)
    }
}

/// Writes the built-in texts into a folder, to be edited; leaves files alone that are there. The written ones.
pub fn write_to(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    let mut written = Vec::new();
    for template in ALL {
        for lang in [Lang::Ja, Lang::En] {
            let path = folder.join(file_name(template, lang));
            if path.exists() {
                continue;
            }
            std::fs::write(&path, template.built_in(lang))
                .with_context(|| format!("writing {}", path.display()))?;
            written.push(path);
        }
    }
    Ok(written)
}

pub fn file_name(template: Template, lang: Lang) -> String {
    format!("{}.{}.txt", template.word(), lang.code())
}

/// The operator's own text, where there is one.
pub fn own(folder: &Path, name: &str) -> anyhow::Result<Option<String>> {
    if folder.as_os_str().is_empty() {
        return Ok(None);
    }
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && folder.is_dir() => Ok(None),
        Err(error) => Err(error).with_context(|| {
            format!(
                "notices.templates: {}; \"notice templates --write {}\" makes the folder",
                path.display(),
                folder.display()
            )
        }),
    }
}

impl Text {
    pub fn parse(template: Template, source: &str) -> Result<Self, Fault> {
        let source = source.replace("\r\n", "\n");
        let (subject, body) = source.split_once("\n\n").ok_or(Fault::NoEmptyLine)?;
        if subject.trim().is_empty() || subject.contains('\n') {
            return Err(Fault::Subject);
        }
        let known = template.names();
        for (index, text) in source.lines().enumerate() {
            let line = index + 1;
            let names = names_in(text).ok_or(Fault::Open(line))?;
            if let Some(name) = names.into_iter().find(|name| !known.contains(name)) {
                let name = name.to_owned();
                return Err(Fault::Unknown { line, name, known });
            }
        }
        let wanting = |name: &&&str| !source.contains(&format!("{{{{{name}}}}}"));
        if let Some(name) = template.needed().iter().find(wanting) {
            return Err(Fault::Wanting(name));
        }
        Ok(Self {
            subject: subject.trim().to_owned(),
            body: format!("{}\n", body.trim()),
        })
    }

    /// Subject and text.
    pub fn fill(
        &self,
        values: &BTreeMap<&'static str, String>,
    ) -> anyhow::Result<(String, String)> {
        // Nobody's words may end the subject's line.
        let subject = filled(&self.subject, values)?;
        let subject = subject.split_whitespace().collect::<Vec<_>>().join(" ");
        Ok((subject, filled(&self.body, values)?))
    }
}

/// `None`: one is begun and not ended.
fn names_in(line: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}")?;
        names.push(name);
        rest = after;
    }
    Some(names)
}

/// In one pass: what is put in is not looked through again.
fn filled(text: &str, values: &BTreeMap<&'static str, String>) -> anyhow::Result<String> {
    let mut out = String::with_capacity(text.len() + 256);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").context("a template was checked")?;
        out.push_str(before);
        out.push_str(values.get(name).context("a template was checked")?);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_built_in_texts_are_good_and_write_themselves_to_be_edited() {
        Templates::load(Path::new("")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let written = write_to(folder.path()).unwrap();
        assert_eq!(written.len(), 10);
        assert!(
            write_to(folder.path()).unwrap().is_empty(),
            "edited ones stay"
        );
        Templates::load(folder.path()).unwrap();
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        let with = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("incident.ja.txt"), text).unwrap();
            format!("{:#}", Templates::load(folder.path()).unwrap_err())
        };
        let said = with("件名\n\n{{from}} {{what}}\n{{wat}}\n");
        assert!(said.contains("incident.ja.txt"), "{said}");
        assert!(
            said.contains("line 4: {{wat}} stands for nothing here; there are {{contract}}, "),
            "{said}"
        );
        assert!(with("件名だけ").contains("no empty line"));
        assert!(with("件名\n\n{{from\n{{what}}").contains("line 3"));
        assert!(with("件名\n\n{{what}}").contains("{{from}} is wanting"));
        let missing = Templates::load(Path::new("/nowhere")).unwrap_err();
        assert!(format!("{missing:#}").contains("--write /nowhere"));
    }

    #[test]
    fn what_is_put_in_is_not_read_as_a_template_and_ends_no_subject() {
        let folder = tempfile::tempdir().unwrap();
        let own = "障害 {{what}}\n\n{{contract}} {{from}}: {{what}}\n";
        std::fs::write(folder.path().join("incident.ja.txt"), own).unwrap();
        let templates = Templates::load(folder.path()).unwrap();
        let values = [
            ("contract", "{{what}}"),
            ("from", "今"),
            ("what", "止まった\nBcc: x"),
        ];
        let values = values.map(|(name, value)| (name, value.to_owned())).into();
        let (subject, text) = templates
            .fill(Template::Incident, Lang::Ja, &values)
            .unwrap();
        assert_eq!(subject, "障害 止まった Bcc: x");
        assert_eq!(text, "{{what}} 今: 止まった\nBcc: x\n");
    }
}
