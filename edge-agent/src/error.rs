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

/// An error with its causes in one line. Many messages name their cause themselves: it is not said twice.
pub fn in_words(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .fold(error.to_string(), |text, cause| {
            let cause = cause.to_string();
            if text.contains(&cause) {
                text
            } else {
                format!("{text}: {cause}")
            }
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn causes_follow_once_each() {
        let plain = anyhow!("disk full").context("the spool cannot start");
        assert_eq!(in_words(&plain), "the spool cannot start: disk full");
        let said = anyhow!("disk full").context("no model (disk full); free some space");
        assert_eq!(in_words(&said), "no model (disk full); free some space");
    }
}
