//! `serve`: runs until it is told to stop, or cannot go on.

use super::Common;
use crate::app::App;
use crate::config::Config;
use anyhow::bail;
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

pub(super) async fn run(common: &Common) -> anyhow::Result<()> {
    let config = Config::load(&common.config)?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Else it would end the process.
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let app = App::start(&config).await?;
    notify(NotifyState::Ready);
    let failed = app.failed();
    let store_failed = loop {
        tokio::select! {
            _ = terminate.recv() => break false,
            _ = interrupt.recv() => break false,
            () = failed.cancelled() => break true,
            _ = hangup.recv() => app.look_again(),
        }
    };
    notify(NotifyState::Stopping);
    tracing::info!("stopping: requests in flight are answered, devices are told");
    tokio::select! {
        () = app.stop() => {}
        // Whoever asks twice does not want to wait.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    if store_failed {
        bail!("the store's writer ended; start the receiver again, and report this");
    }
    Ok(())
}

fn notify(state: NotifyState<'_>) {
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[state]);
}
