//! What processes use, from /proc.

use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Processor time of a process so far, of user and kernel together, in seconds. The kernel tells it in hundredths.
pub fn cpu_seconds(process: u32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))
        .with_context(|| format!("process {process} has ended"))?;
    // The name in brackets may hold spaces; fields 14 and 15 are user and kernel time, and 3 is the first behind it.
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = behind_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|number| number.parse::<u64>().ok())
        .sum();
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Processor time of the calling thread so far, in seconds.
pub fn own_thread_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Seconds of processor that the whole machine has worked, all cores together.
pub fn machine_busy_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().context("/proc/stat has lines")?;
    let fields: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .filter_map(|number| number.parse().ok())
        .collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    let busy: u64 = [0, 1, 2, 5, 6]
        .iter()
        .filter_map(|&index| fields.get(index))
        .sum();
    Ok(busy as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// The mean number of tasks that wanted to run in the last minute.
pub fn load() -> f64 {
    std::fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(f64::NAN)
}

/// Memory of a process in MB (10^6 bytes).
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct Memory {
    /// All pages in use, shared libraries counted in full.
    pub resident_mb: f64,
    /// The same, with each shared page divided by those who share it.
    pub proportional_mb: f64,
    /// Pages of nobody else: what ending the process would give back at once.
    pub private_mb: f64,
    /// Heap, stacks and the like: what cannot be read again from a file.
    pub anonymous_mb: f64,
}

pub fn memory(process: u32) -> Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let mb = |name: &str| -> Result<f64> {
        let kib: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("smaps_rollup says no {name}"))?;
        Ok(kib * 1024.0 / 1e6)
    };
    Ok(Memory {
        resident_mb: mb("Rss")?,
        proportional_mb: mb("Pss")?,
        private_mb: mb("Private_Clean")? + mb("Private_Dirty")?,
        anonymous_mb: mb("Anonymous")?,
    })
}

/// Resident memory in MB by what it is: a library by its name, the heap, other anonymous memory.
pub fn memory_by_mapping(process: u32) -> Result<Vec<(String, f64)>> {
    let text = std::fs::read_to_string(format!("/proc/{process}/smaps"))?;
    let mut sums: BTreeMap<String, f64> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some(kib) = line.strip_prefix("Rss:") {
            let kib: f64 = kib.trim().trim_end_matches(" kB").parse()?;
            *sums.entry(current.clone()).or_default() += kib * 1024.0 / 1e6;
        } else if first.contains('-') && !first.ends_with(':') {
            current = kind_of(words.nth(4).unwrap_or_default());
        }
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(sums)
}

fn kind_of(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    match path {
        "" => "anonymous".into(),
        "[heap]" => "heap of the main arena".into(),
        _ if path.starts_with('[') => "stack and kernel".into(),
        _ if name.contains("onnxruntime") => "ONNX Runtime's library".into(),
        _ if name.starts_with("edge-agent") => "the program".into(),
        _ if [
            "libav",
            "libsw",
            "libx26",
            "libgst",
            "libglib",
            "libgio",
            "libgobject",
        ]
        .iter()
        .any(|start| name.starts_with(start)) =>
        {
            "GStreamer, GLib and FFmpeg".into()
        }
        _ => "other files".into(),
    }
}
