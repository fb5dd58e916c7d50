//! What other programs of the box say, each within its time and bounded in size.

use std::ffi::OsStr;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

/// Most of what one of them may say; the beginning is kept.
const MOST_BYTES: u64 = 4 << 20;

/// What it printed; or why there is nothing, in words.
pub(super) async fn ask<S: AsRef<OsStr>>(
    program: &str,
    args: impl IntoIterator<Item = S>,
    patience: Duration,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A drop ends it: whoever stops waiting leaves nothing behind.
        .kill_on_drop(true);
    let mut child = command
        .spawn()
        .map_err(|error| format!("{program} cannot be started ({error})"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async { tokio::join!(read(out), read(err), child.wait()) };
    let (said, complaint, status) = tokio::time::timeout(patience, work)
        .await
        .map_err(|_| format!("it was not done within {} s", patience.as_secs()))?;
    let ended = status.map_err(|error| error.to_string())?;
    // `check` and `spool audit` fail where they find something: that is what is to be read.
    match (said.is_empty(), complaint.is_empty()) {
        (false, true) => Ok(said),
        (false, false) => Ok(format!("{said}\n{complaint}")),
        (true, true) if ended.success() => Err("it says nothing".into()),
        (true, _) => Err(format!("it ended with {ended}: {}", complaint.trim())),
    }
}

/// Reads on when there is enough, or the program would wait for ever.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut pipe) = pipe else {
        return String::new();
    };
    let mut bytes = Vec::new();
    let outcome = (&mut pipe).take(MOST_BYTES).read_to_end(&mut bytes).await;
    let rest = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if outcome.is_err() || rest.is_ok_and(|more| more > 0) {
        text.push_str("\n(the rest is left out)\n");
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn an_answer_is_bounded_in_time_and_size_and_its_failure_has_words() {
        assert_eq!(ask("echo", ["well"], SOON).await.unwrap(), "well\n");
        let failed = ask("sh", ["-c", "echo bad; echo worse >&2; exit 3"], SOON).await;
        assert_eq!(failed.unwrap(), "bad\n\nworse\n");
        let silent = ask("sh", ["-c", "echo why >&2; exit 3"], SOON).await;
        assert_eq!(silent.unwrap_err(), "it ended with exit status: 3: why");
        let mute = ask("true", [""; 0], SOON).await;
        assert_eq!(mute.unwrap_err(), "it says nothing");
        let missing = ask("no-such-program-here", [""; 0], SOON).await;
        assert!(missing.unwrap_err().contains("no-such-program-here"));
        let hanging = ask("sleep", ["600"], Duration::ZERO).await;
        assert_eq!(hanging.unwrap_err(), "it was not done within 0 s");
        let endless = ask("head", ["-c", "6000000", "/dev/zero"], SOON)
            .await
            .unwrap();
        assert!(endless.ends_with("(the rest is left out)\n"));
        assert_eq!(endless.find('('), Some(MOST_BYTES as usize + 1));
    }
}
