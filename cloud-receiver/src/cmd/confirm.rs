//! Asking before something is destroyed: on a terminal; a script says `--yes`.

use anyhow::{bail, ensure};
use std::io::{BufRead, IsTerminal, Write};

/// Options of every verb that destroys.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Confirm {
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Goes on only where somebody said yes. `question` says what will be gone, in a sentence.
    pub(super) fn ask(self, question: &str) -> anyhow::Result<()> {
        if self.yes {
            return Ok(());
        }
        let input = std::io::stdin();
        if !input.is_terminal() {
            bail!("{question} Nobody is there to be asked; say --yes");
        }
        let mut error = std::io::stderr().lock();
        write!(error, "{question} Type \"yes\" to go on: ")?;
        error.flush()?;
        let mut line = String::new();
        input.lock().read_line(&mut line)?;
        ensure!(line.trim() == "yes", "nothing was done");
        Ok(())
    }
}
