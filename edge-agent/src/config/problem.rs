//! What is wrong with a configuration file: every mistake with its place and its remedy, all at once, so that a
//! person edits once and not once per mistake.

use crate::error::{ErrorKind, Kind};
use std::fmt;
use std::path::PathBuf;

/// One mistake in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// From 1; 0 where the whole file is meant.
    pub line: usize,
    /// In characters, from 1; 0 where the whole file is meant.
    pub column: usize,
    /// What is wrong, on which thing.
    pub what: String,
    /// What to write instead.
    pub remedy: String,
}

/// Why a configuration was not taken. Holds at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub file: PathBuf,
    /// In the order of the file.
    pub problems: Vec<Problem>,
}

impl ConfigError {
    /// For a file that cannot be read at all.
    pub fn whole_file(file: impl Into<PathBuf>, what: String, remedy: String) -> Self {
        Self {
            file: file.into(),
            problems: vec![Problem {
                line: 0,
                column: 0,
                what,
                remedy,
            }],
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.file.display())?;
            if problem.line > 0 {
                write!(f, ":{}:{}", problem.line, problem.column)?;
            }
            write!(f, ": {}\n    remedy: {}", problem.what, problem.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Kind for ConfigError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }
}
