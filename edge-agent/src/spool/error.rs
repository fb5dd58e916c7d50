//! What can go wrong in the spool, each with the thing it happened to.

use crate::error::{ErrorKind, Kind};
use crate::sink::SinkError;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("spool database: cannot {doing}: {source}")]
    Database {
        doing: &'static str,
        source: rusqlite::Error,
    },
    #[error(
        "the spool at {path} was written by a newer agent (version {found}, this one knows {known}): \
         install that version again, or move the folder away to start an empty one"
    )]
    Newer {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    #[error("spool database at {path} is damaged: {detail}")]
    Damaged { path: PathBuf, detail: String },
    #[error("cannot {doing} {path}: {source}")]
    File {
        doing: &'static str,
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{what} cannot be opened: it was changed on disk, or sealed under another key")]
    Unreadable { what: String },
    #[error("{what} is no longer in the spool")]
    Gone { what: String },
    #[error(
        "SQLite {0} is older than 3.51.3 and can corrupt a WAL database: build with the bundled one"
    )]
    OldSqlite(i32),
    #[error("the spool has stopped")]
    Stopped,
}

impl SpoolError {
    pub(super) fn database(doing: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { doing, source }
    }

    pub(super) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            doing,
            path,
            source,
        }
    }
}

impl SpoolError {
    /// No room: of bytes, of inodes, or by a quota of the file system's.
    pub(super) fn is_full(&self) -> bool {
        match self {
            Self::Database { source, .. } => {
                source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
                    // The index of the write-ahead log could not grow.
                    || source.sqlite_error().is_some_and(|error| {
                        error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE
                    })
            }
            Self::File { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ),
            _ => false,
        }
    }
}

impl Kind for SpoolError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database { source, .. } if is_corruption(source) => ErrorKind::Corrupt,
            Self::Database { .. } | Self::File { .. } | Self::Stopped => ErrorKind::Transient,
            Self::Damaged { .. } | Self::Unreadable { .. } => ErrorKind::Corrupt,
            Self::Gone { .. } => ErrorKind::Permanent,
            Self::Newer { .. } => ErrorKind::Config,
            Self::OldSqlite(_) => ErrorKind::Bug,
        }
    }
}

impl From<SpoolError> for SinkError {
    fn from(error: SpoolError) -> Self {
        SinkError {
            kind: error.kind(),
            message: error.to_string(),
        }
    }
}

/// SQLite's own word that the file is not a sound database.
pub(super) fn is_corruption(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase)
    )
}
