//! Starts the uplink once the box is enrolled, which may be now or long after the agent's start, and hands its
//! commands to whoever carries them out. A box that is enrolled again goes on with what it was given, at once.

use super::commands::Executor;
use super::handed_on;
use super::view::{self, Delivery, View};
use crate::config::Config;
use crate::ended;
use crate::identity::Enrollment;
use crate::uplink::{TimeFloor, Uplink, UplinkParts};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the box is enrolled now, or enrolled again.
const ENROLLMENT_POLL: Duration = Duration::from_secs(2);

/// Until told to stop.
pub(super) async fn deliver(
    config: Config,
    view: Arc<View>,
    floor: TimeFloor,
    stop: CancellationToken,
) {
    if !config.uplink.enabled {
        view.set_delivery(Delivery::Disabled);
        return;
    }
    let mut complaint = String::new();
    loop {
        let until = stop.child_token();
        match try_to_deliver(&config, &view, &floor, &until).await {
            Ok(Some((uplink, orders))) => {
                complaint.clear();
                let executor = Executor {
                    vision: view.vision.clone(),
                    spool: view.spool.clone(),
                    time: view.time.clone(),
                    renewal: uplink.renewal(),
                    data_dir: config.device.data_dir.clone(),
                    diagnostics: view.diagnostics.clone(),
                };
                let executed = tokio::spawn(executor.run(orders, until.clone()));
                stop.run_until_cancelled(follow(&uplink, &config, &view))
                    .await;
                until.cancel();
                uplink.join().await;
                if let Err(error) = executed.await {
                    tracing::error!(%error, "carrying out commands ended badly: {error}");
                }
                if stop.is_cancelled() {
                    return;
                }
                // Handed on: nothing is on its way any more, so the next turn can wipe.
                continue;
            }
            Ok(None) => view.set_delivery(Delivery::NotEnrolled),
            Err(error) => {
                let why = crate::error::in_words(&error);
                if why != complaint {
                    tracing::error!("nothing can be delivered: {why}");
                    complaint.clone_from(&why);
                }
                view.set_delivery(Delivery::Unusable(why));
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(ENROLLMENT_POLL) => {}
        }
    }
}

/// Takes up what `enroll --again` leaves, until the box is handed on to another contract.
async fn follow(uplink: &Uplink, config: &Config, view: &View) {
    let mut complaint = None;
    loop {
        tokio::time::sleep(ENROLLMENT_POLL).await;
        let outcome = match adopt(uplink, config, view) {
            Ok(Adopted::Goes) => Ok(()),
            Ok(Adopted::IsHandedOn) => return,
            Err(error) => Err(crate::error::in_words(&error)),
        };
        if let Err(why) = &outcome
            && complaint.as_ref() != Some(why)
        {
            tracing::error!(
                "the enrollment on disk cannot be used, the one of before stays in use: {why}"
            );
        }
        complaint = outcome.err();
    }
}

enum Adopted {
    Goes,
    /// What waits must not go by the new enrollment. Batches that are leased already would: this uplink has to end.
    IsHandedOn,
}

fn adopt(uplink: &Uplink, config: &Config, view: &View) -> anyhow::Result<Adopted> {
    let Some(enrollment) = Enrollment::load(&config.device.data_dir)? else {
        return Ok(Adopted::Goes);
    };
    // The mark is older than the enrollment that it goes with.
    if uplink.is_news(&enrollment) && ended::owes_wipe(&config.device.data_dir) {
        return Ok(Adopted::IsHandedOn);
    }
    let report = view::enrollment_report(&enrollment);
    if uplink.adopt(enrollment)? {
        tracing::info!(
            "this box was enrolled again: delivering to {}",
            report.receiver
        );
    }
    view.set_delivery(Delivery::Running {
        watch: uplink.watch(),
        enrollment: report,
    });
    Ok(Adopted::Goes)
}

type Orders = mpsc::Receiver<wire::command::Command>;

/// `None` while the box is not enrolled.
async fn try_to_deliver(
    config: &Config,
    view: &Arc<View>,
    floor: &TimeFloor,
    stop: &CancellationToken,
) -> anyhow::Result<Option<(Uplink, Orders)>> {
    let Some(enrollment) = Enrollment::load(&config.device.data_dir)? else {
        return Ok(None);
    };
    // Enrolling takes the mark of an ended contract away.
    let data_dir = &config.device.data_dir;
    handed_on::wipe_if_owed(data_dir, &view.spool).await?;
    view.spool.set_contract_ended(ended::is_marked(data_dir));
    let report = view::enrollment_report(&enrollment);
    tracing::info!(
        "enrolled at {} / {}: delivering to {}",
        report.contract,
        report.site,
        report.receiver
    );
    let source = view.clone();
    let (uplink, orders) = Uplink::start(UplinkParts {
        spool: view.spool.clone(),
        device_id: view.device,
        enrollment,
        data_dir: config.device.data_dir.clone(),
        config: config.uplink.clone(),
        heartbeat: Arc::new(move |carriage| source.heartbeat(carriage)),
        time: view.time.clone(),
        floor: floor.clone(),
        health: view.health.clone(),
        stop: stop.clone(),
    })?;
    view.set_delivery(Delivery::Running {
        watch: uplink.watch(),
        enrollment: report,
    });
    Ok(Some((uplink, orders)))
}
