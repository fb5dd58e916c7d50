//! What an error asks of whoever handles it. Code branches on the kind, never on the text.

/// The one question supervisors, the uplink and the command line ask of every error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Trying again later may help.
    Transient,
    /// Trying again is useless; park it and say so.
    Permanent,
    /// A person has to change the configuration.
    Config,
    /// Stored data is damaged: quarantine it and go on.
    Corrupt,
    /// Our own mistake.
    Bug,
}

/// Every module's error answers this.
pub trait Kind {
    fn kind(&self) -> ErrorKind;
}
