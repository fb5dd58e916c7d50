//! The box itself, as the kernel tells it: system, time it is up, memory, disks, network. What cannot be read is said.

use super::asked::ask;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Read as they are.
const FILES: [(&str, &str); 6] = [
    ("system", "/etc/os-release"),
    ("kernel", "/proc/version"),
    ("up and idle, in seconds", "/proc/uptime"),
    ("load", "/proc/loadavg"),
    ("memory", "/proc/meminfo"),
    ("pressure of memory", "/proc/pressure/memory"),
];
/// Asked of programs; what the second column names is there wherever the first is not.
const NETWORK: [(&str, &[&str], &str); 3] = [
    ("addresses", &["-brief", "address"], "/proc/net/fib_trie"),
    ("routes", &["route"], "/proc/net/route"),
    ("routes of IPv6", &["-6", "route"], "/proc/net/ipv6_route"),
];
/// What is no disk.
const NO_DISK: [&str; 16] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "mqueue",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "bpf",
    "configfs",
    "autofs",
    "fusectl",
    "nsfs",
];

pub(super) async fn facts(data_dir: &Path) -> String {
    let mut text = String::new();
    for (name, file) in FILES {
        section(&mut text, name, &read(file));
    }
    section(&mut text, "disks", &disks(data_dir));
    for (name, args, file) in NETWORK {
        let said = ask("ip", args, PATIENCE).await;
        section(&mut text, name, &said.unwrap_or_else(|_| read(file)));
    }
    section(&mut text, "name servers", &read("/etc/resolv.conf"));
    let clock = ask("timedatectl", ["show"], PATIENCE).await;
    let clock = clock.unwrap_or_else(|why| format!("timedatectl: {why}"));
    section(&mut text, "the system's clock", &clock);
    text
}

fn section(text: &mut String, name: &str, content: &str) {
    let _ = writeln!(text, "== {name}\n{}\n", content.trim_end());
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|error| format!("{file} cannot be read: {error}"))
}

/// How full every mounted disk is, and which one the spool is on.
fn disks(data_dir: &Path) -> String {
    let mounts = read("/proc/self/mounts");
    let data_on = rustix::fs::stat(data_dir).ok().map(|stat| stat.st_dev);
    let mut text = String::from("free MB  of MB  free inodes  kind  where\n");
    for line in mounts.lines() {
        let mut fields = line.split(' ');
        let (Some(_), Some(folder), Some(kind), Some(options)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        if NO_DISK.contains(&kind) {
            continue;
        }
        let folder = folder.replace("\\040", " ");
        let Ok(stat) = rustix::fs::statvfs(&*folder) else {
            let _ = writeln!(text, "?  ?  ?  {kind}  {folder}");
            continue;
        };
        let mb = |blocks: u64| blocks.saturating_mul(stat.f_frsize) / 1_000_000;
        let is_ours =
            data_on.is_some() && rustix::fs::stat(&*folder).ok().map(|stat| stat.st_dev) == data_on;
        let _ = writeln!(
            text,
            "{}  {}  {}  {kind}  {folder}{}{}",
            mb(stat.f_bavail),
            mb(stat.f_blocks),
            stat.f_favail,
            if options.split(',').any(|option| option == "ro") {
                "  READ-ONLY"
            } else {
                ""
            },
            if is_ours { "  <- the data folder" } else { "" }
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_box_tells_its_memory_its_disks_and_its_network() {
        let text = facts(Path::new("/")).await;
        for part in [
            "== memory\nMemTotal:",
            "<- the data folder",
            "== addresses\n",
            "== routes\n",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }
}
