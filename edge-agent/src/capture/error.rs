//! What keeps a camera from being set up, and why one that was running stopped.

use crate::error::{ErrorKind, Kind};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;

/// A camera, or all of capture, cannot even be tried. No text in here ever holds a user or a password.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CaptureError {
    #[error("GStreamer does not start: {0}; reinstall the Debian package libgstreamer1.0-0")]
    Init(String),
    #[error("GStreamer's element \"{element}\" is missing; install the Debian package {package}")]
    MissingElement {
        element: &'static str,
        package: &'static str,
    },
    #[error("camera \"{camera}\": {problem}; write url = \"rtsp://host:554/path\"")]
    Address { camera: String, problem: String },
    #[error(
        "camera \"{camera}\": the CA file {path} cannot be used ({problem}); it has to hold PEM certificates"
    )]
    CaFile {
        camera: String,
        path: PathBuf,
        problem: String,
    },
    #[error("GStreamer refused to build the {what} pipeline: {problem}")]
    Pipeline { what: &'static str, problem: String },
    #[error("cannot play {path}: {problem}")]
    File { path: PathBuf, problem: String },
    #[error("no thread for camera \"{camera}\": {problem}")]
    Thread { camera: String, problem: String },
}

impl Kind for CaptureError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Init(_)
            | Self::MissingElement { .. }
            | Self::Address { .. }
            | Self::CaFile { .. } => ErrorKind::Config,
            Self::File { .. } => ErrorKind::Permanent,
            Self::Pipeline { .. } => ErrorKind::Bug,
            Self::Thread { .. } => ErrorKind::Transient,
        }
    }
}

/// The cause of an interruption, as the installer has to know it: each asks for another remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody answers there, or not as a camera: address, cable, power, path, certificate.
    Connect,
    /// The camera refuses user and password.
    Auth,
    /// Connected, but no data comes.
    Timeout,
    /// The camera ended the stream.
    Eos,
    /// The stream is of a codec we cannot decode, or broken.
    Decode,
}

impl Reason {
    /// The word used in records and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Auth => "auth",
            Self::Timeout => "timeout",
            Self::Eos => "eos",
            Self::Decode => "decode",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a running stream, or an attempt at one, ended. `detail` is free of credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    pub detail: String,
}

impl Failure {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.reason {
            Reason::Connect => "cannot connect",
            Reason::Auth => "login refused; check user and password",
            Reason::Timeout => "no data",
            Reason::Eos => "the camera ended the stream",
            Reason::Decode => "cannot decode",
        };
        if self.detail.is_empty() {
            f.write_str(what)
        } else {
            write!(f, "{what} ({})", self.detail)
        }
    }
}
