//! `edge-agent spool audit`: whether everything the box ever kept is accounted for, as a table for the field engineer
//! or JSON for programs. Reads only; works beside the running agent and without it.

use super::table;
use crate::config::{self, Config};
use crate::identity::Identity;
use crate::spool::{self, Audit, AuditLine, Difference, Forgotten, SpoolKeys};
use anyhow::Context;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use wire::{CameraId, UtcMicros};

/// What waits on this box for delivery.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Check that everything ever kept is delivered, waiting, or named as lost; exit code 1 if not.
    Audit {
        /// Print JSON for programs.
        #[arg(long)]
        json: bool,
    },
}

pub fn run(args: &Args, config_file: &Path) -> anyhow::Result<ExitCode> {
    let Verb::Audit { json } = args.verb;
    let config = config::load(config_file)?;
    let audit = read(&config)?;
    if json {
        super::say(format_args!("{}\n", serde_json::to_string_pretty(&audit)?));
    } else {
        super::say(render(&audit, &names(&config)));
    }
    Ok(if audit.differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn read(config: &Config) -> anyhow::Result<Audit> {
    let data_dir = &config.device.data_dir;
    let identity = Identity::load(data_dir)?.with_context(|| {
        format!(
            "no agent has run here yet: there is no identity in {}",
            data_dir.display()
        )
    })?;
    let keys = SpoolKeys {
        device_id: identity.device_id,
        record_key: identity.record_key,
        spool_key: identity.spool_key,
    };
    Ok(spool::audit(&data_dir.join("spool"), &keys)?)
}

fn names(config: &Config) -> BTreeMap<CameraId, String> {
    let cameras = config.cameras.iter();
    cameras
        .map(|camera| (camera.id, camera.name.clone()))
        .collect()
}

/// The audit as a field engineer reads it.
pub fn render(audit: &Audit, names: &BTreeMap<CameraId, String>) -> String {
    let mut text = balance(audit, names);
    let gaps = gaps(audit, names);
    let parked = parked(audit);
    for section in [gaps, parked] {
        if !section.is_empty() {
            text.push('\n');
            text.push_str(&section);
        }
    }
    text.push('\n');
    text.push_str(&verdict(audit, names));
    text
}

fn name_of(camera: Option<CameraId>, names: &BTreeMap<CameraId, String>) -> String {
    match camera {
        None => "(device)".into(),
        Some(camera) => names
            .get(&camera)
            .cloned()
            .unwrap_or_else(|| camera.to_string()),
    }
}

/// `2026-11-23 03:00Z`: hours are counted in UTC.
fn hour(at: UtcMicros) -> String {
    stamp(at, "%Y-%m-%d %H:00Z")
}

fn stamp(at: UtcMicros, format: &str) -> String {
    jiff::Timestamp::from_microsecond(at.0).map_or_else(
        |_| format!("{} us", at.0),
        |time| time.strftime(format).to_string(),
    )
}

/// One row per camera and hour; what waits is told by class, for that is what one can still do something about.
fn balance(audit: &Audit, names: &BTreeMap<CameraId, String>) -> String {
    let mut text = hours(&audit.lines, names);
    let Some(forgotten) = &audit.forgotten else {
        if text.is_empty() {
            text.push_str("nothing has been kept here yet\n");
        }
        return text;
    };
    if let Some(before) = forgotten.before_us {
        let _ = writeln!(
            text,
            "the books tell every hour from {} on; what was before is in the sum below",
            hour(before)
        );
    }
    if !audit.earlier.is_empty() {
        let _ = write!(
            text,
            "\nof earlier hours, what came since or still waits:\n{}",
            hours(&audit.earlier, names)
        );
    }
    if forgotten.starts > 0 {
        let _ = writeln!(
            text,
            "the record numbers of {} earlier starts of the agent are no longer told; all of them were accounted for",
            forgotten.starts
        );
    }
    text
}

fn hours(lines: &[AuditLine], names: &BTreeMap<CameraId, String>) -> String {
    let mut hours: BTreeMap<(UtcMicros, String), Vec<&AuditLine>> = BTreeMap::new();
    for line in lines {
        let camera = name_of(line.balance.camera, names);
        let key = (line.balance.hour_us, camera);
        hours.entry(key).or_default().push(line);
    }
    if hours.is_empty() {
        return String::new();
    }
    let heading = [
        "HOUR", "CAMERA", "CAPTURED", "SETTLED", "SHED", "PARKED", "PENDING", "ADDS UP",
    ];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for ((at, camera), lines) in hours {
        let sum = |of: fn(&AuditLine) -> u64| lines.iter().map(|line| of(line)).sum::<u64>();
        let adds_up = lines.iter().all(|line| line.adds_up());
        rows.push(vec![
            hour(at),
            camera,
            sum(|line| line.balance.captured).to_string(),
            sum(|line| line.balance.settled).to_string(),
            sum(|line| line.balance.shed).to_string(),
            sum(|line| line.balance.parked).to_string(),
            pending(&lines),
            if adds_up { "yes" } else { "NO" }.into(),
        ]);
    }
    table::render(&rows)
}

/// `14: event 12, snapshot 2`, or `0`.
fn pending(lines: &[&AuditLine]) -> String {
    let waiting: Vec<_> = lines.iter().filter(|line| line.pending > 0).collect();
    let all: i64 = waiting.iter().map(|line| line.pending).sum();
    if all == 0 {
        return "0".into();
    }
    let classes: Vec<String> = waiting
        .iter()
        .map(|line| format!("{} {}", line.balance.class, line.pending))
        .collect();
    format!("{all}: {}", classes.join(", "))
}

fn gaps(audit: &Audit, names: &BTreeMap<CameraId, String>) -> String {
    if audit.pending_gaps.is_empty() {
        return String::new();
    }
    let heading = ["GAP", "CAMERA", "CLASS", "COUNT", "REASON", "FROM", "TO"];
    let mut rows = vec![heading.map(String::from).to_vec()];
    for pending in &audit.pending_gaps {
        let gap = &pending.gap;
        let time = |at| stamp(at, "%Y-%m-%d %H:%M:%SZ");
        rows.push(vec![
            format!("{}/{}", pending.epoch, pending.seq),
            name_of(gap.camera, names),
            gap.class.clone(),
            gap.count.to_string(),
            gap.reason.clone(),
            time(gap.from_us),
            time(gap.to_us),
        ]);
    }
    format!(
        "losses not yet told to the receiver:\n{}",
        table::render(&rows)
    )
}

fn parked(audit: &Audit) -> String {
    if audit.parked.is_empty() {
        return String::new();
    }
    let mut rows = vec![["RECORD", "CODE", "SINCE"].map(String::from).to_vec()];
    for record in &audit.parked {
        rows.push(vec![
            format!("{}/{}", record.epoch, record.seq),
            record.code.clone(),
            stamp(record.parked_at_us, "%Y-%m-%d %H:%M:%SZ"),
        ]);
    }
    format!(
        "records refused for good, the newest thousand:\n{}",
        table::render(&rows)
    )
}

fn verdict(audit: &Audit, names: &BTreeMap<CameraId, String>) -> String {
    let sum = |of: fn(&AuditLine) -> u64| audit.all_lines().map(of).sum::<u64>();
    let gone = |of: fn(&Forgotten) -> u64| audit.forgotten.as_ref().map_or(0, of);
    let mut text = format!(
        "device {}: {} captured = {} settled + {} shed + {} parked + {} pending",
        audit.device,
        sum(|line| line.balance.captured) + gone(|gone| gone.captured),
        sum(|line| line.balance.settled) + gone(|gone| gone.settled),
        sum(|line| line.balance.shed) + gone(|gone| gone.shed),
        sum(|line| line.balance.parked) + gone(|gone| gone.parked),
        audit.pending_records + audit.pending_blobs,
    );
    if audit.differences.is_empty() {
        text.push_str("; it adds up\n");
        return text;
    }
    text.push_str("; IT DOES NOT ADD UP:\n");
    for difference in &audit.differences {
        let _ = writeln!(text, "  {}", words(difference, audit, names));
    }
    text
}

fn words(difference: &Difference, audit: &Audit, names: &BTreeMap<CameraId, String>) -> String {
    let device = audit.device;
    match difference {
        Difference::MissingRecords {
            epoch,
            first_seq,
            last_seq,
        } => format!(
            "records {device}/{epoch}/{first_seq} to {last_seq} were kept and are neither here nor done with"
        ),
        Difference::DoubledRecords {
            epoch,
            first_seq,
            last_seq,
        } => format!("records {device}/{epoch}/{first_seq} to {last_seq} are counted twice"),
        Difference::UnreadableBatch {
            epoch,
            first_seq,
            last_seq,
        } => format!("records {device}/{epoch}/{first_seq} to {last_seq} were changed on disk"),
        Difference::BlobWithoutFile {
            sha256,
            class,
            file,
        } => format!("the file blobs/{file} of {class} {sha256} is gone"),
        Difference::FileWithoutRow { file } => {
            format!("blobs/{file} belongs to nothing; the next start of the agent removes it")
        }
        Difference::Balance {
            camera,
            class,
            hour_us,
            balance,
            found,
        } => format!(
            "{}, {}, {class}: {balance} should wait, {found} do",
            name_of(*camera, names),
            hour(*hour_us)
        ),
        Difference::Totals { of, counted, found } => {
            format!("{counted} {of} should wait, {found} do")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{BalanceLine, ParkedRecord, PendingGap};
    use uuid::Uuid;
    use wire::record::GapRecord;
    use wire::{DeviceId, Epoch, Seq};

    const CAMERA: CameraId = CameraId(Uuid::from_u128(0xca));
    const HOUR: UtcMicros = UtcMicros(1_795_392_000_000_000);

    fn line(camera: Option<CameraId>, class: &str, counts: [u64; 4], pending: i64) -> AuditLine {
        let [captured, settled, shed, parked] = counts;
        AuditLine {
            balance: BalanceLine {
                camera,
                class: class.into(),
                hour_us: HOUR,
                captured,
                settled,
                shed,
                parked,
            },
            pending,
        }
    }

    fn sample() -> Audit {
        Audit {
            device: DeviceId(Uuid::from_u128(1)),
            lines: vec![
                line(None, "device_state", [1, 1, 0, 0], 0),
                line(Some(CAMERA), "event", [20, 8, 0, 0], 12),
                line(Some(CAMERA), "snapshot", [6, 3, 1, 0], 2),
                line(Some(CAMERA), "gap", [1, 0, 0, 0], 1),
            ],
            earlier: Vec::new(),
            forgotten: None,
            pending_gaps: vec![PendingGap {
                epoch: Epoch(7),
                seq: Seq(31),
                gap: GapRecord {
                    from_us: HOUR,
                    to_us: HOUR,
                    camera: Some(CAMERA),
                    class: "snapshot".into(),
                    count: 1,
                    reason: "disk_full".into(),
                },
            }],
            parked: vec![ParkedRecord {
                epoch: Epoch(7),
                seq: Seq(4),
                code: "bad_shape".into(),
                parked_at_us: HOUR,
            }],
            pending_records: 13,
            pending_blobs: 2,
            differences: Vec::new(),
        }
    }

    fn names() -> BTreeMap<CameraId, String> {
        [(CAMERA, "正面入口".to_owned())].into()
    }

    #[test]
    fn the_table_says_what_is_where() {
        let expected = "\
HOUR               CAMERA    CAPTURED  SETTLED  SHED  PARKED  PENDING                          ADDS UP
2026-11-23 00:00Z  (device)  1         1        0     0       0                                yes
2026-11-23 00:00Z  正面入口  27        11       1     0       15: event 12, snapshot 2, gap 1  yes

losses not yet told to the receiver:
GAP                  CAMERA    CLASS     COUNT  REASON     FROM                  TO
0000000000000007/31  正面入口  snapshot  1      disk_full  2026-11-23 00:00:00Z  2026-11-23 00:00:00Z

records refused for good, the newest thousand:
RECORD              CODE       SINCE
0000000000000007/4  bad_shape  2026-11-23 00:00:00Z

device 00000000-0000-0000-0000-000000000001: 28 captured = 12 settled + 1 shed + 0 parked + 15 pending; it adds up
";
        assert_eq!(render(&sample(), &names()), expected);
    }

    #[test]
    fn it_says_from_when_on_it_tells_every_hour() {
        let mut audit = sample();
        audit.earlier = vec![line(Some(CAMERA), "event", [2, 1, 0, 0], 1)];
        audit.earlier[0].balance.hour_us = HOUR.plus_us(-3_600_000_000);
        audit.pending_records += 1;
        audit.forgotten = Some(Forgotten {
            before_us: Some(HOUR),
            starts: 3,
            captured: 1_000,
            settled: 990,
            shed: 10,
            parked: 0,
        });
        let text = render(&audit, &names());
        for words in [
            "the books tell every hour from 2026-11-23 00:00Z on; what was before is in the sum below",
            "of earlier hours, what came since or still waits:\nHOUR ",
            "2026-11-22 23:00Z  正面入口  2         1        0     0       1: event 1  yes",
            "the record numbers of 3 earlier starts of the agent are no longer told",
            "1030 captured = 1003 settled + 11 shed + 0 parked + 16 pending; it adds up",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }

    #[test]
    fn what_is_missing_is_named_by_its_key() {
        let mut audit = sample();
        audit.lines[1].pending = 11;
        audit.differences = vec![
            Difference::MissingRecords {
                epoch: Epoch(7),
                first_seq: Seq(5),
                last_seq: Seq(5),
            },
            Difference::Balance {
                camera: Some(CAMERA),
                class: "event".into(),
                hour_us: HOUR,
                balance: 12,
                found: 11,
            },
        ];
        let text = render(&audit, &names());
        assert!(text.contains("IT DOES NOT ADD UP"), "{text}");
        assert!(
            text.contains("00000000-0000-0000-0000-000000000001/0000000000000007/5"),
            "{text}"
        );
        assert!(
            text.contains("正面入口, 2026-11-23 00:00Z, event: 12 should wait, 11 do"),
            "{text}"
        );
        assert!(text.contains("  NO\n"), "{text}");
    }
}
