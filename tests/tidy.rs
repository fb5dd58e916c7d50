//! Rules that hold over the source itself: who may import what, which calls are banned where, which links lead
//! somewhere. ARCHITECTURE.md, "Who may import what", says why.

use e2e::process::repository;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file of ours: path from the repository's root, and its code without comments and test modules.
struct Source {
    path: String,
    text: String,
    code: String,
}

fn sources(folders: &[&str]) -> Vec<Source> {
    let root = repository();
    let mut files = Vec::new();
    for folder in folders {
        collect(&root.join(folder), &mut files);
    }
    assert!(!files.is_empty(), "no sources in {folders:?}");
    let mut sources: Vec<_> = files
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("sources are readable UTF-8");
            let path = file.strip_prefix(&root).expect("below the root");
            Source {
                path: path.to_string_lossy().into_owned(),
                code: code_of(&text),
                text,
            }
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Code up to the test module, without comment lines.
fn code_of(text: &str) -> String {
    let product = text.split("#[cfg(test)]").next().unwrap_or(text);
    product
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .fold(String::new(), |mut code, line| {
            let _ = writeln!(code, "{line}");
            code
        })
}

/// Whether `code` names the crate or path `name` as a whole word.
fn names(code: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + name.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

fn assert_none(rule: &str, offenders: &[String]) {
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}

#[test]
fn each_foreign_crate_is_named_in_its_one_place() {
    // (crate in code, folder it is looked for in, where it may stand)
    let rules: &[(&str, &str, &[&str])] = &[
        (
            "gstreamer",
            "edge-agent/src",
            &["edge-agent/src/capture/gst/"],
        ),
        (
            "gstreamer_app",
            "edge-agent/src",
            &["edge-agent/src/capture/gst/"],
        ),
        (
            "gstreamer_video",
            "edge-agent/src",
            &["edge-agent/src/capture/gst/"],
        ),
        ("ort", "edge-agent/src", &["edge-agent/src/detect/onnx.rs"]),
        ("rusqlite", "edge-agent/src", &["edge-agent/src/spool/"]),
        (
            "rumqttc",
            "edge-agent/src",
            &["edge-agent/src/uplink/mqtt.rs"],
        ),
        (
            "reqwest",
            "edge-agent/src",
            &["edge-agent/src/uplink/https.rs"],
        ),
        (
            "sntpc",
            "edge-agent/src",
            &["edge-agent/src/ntp.rs", "edge-agent/src/ntp/"],
        ),
        (
            "rusqlite",
            "cloud-receiver/src",
            &["cloud-receiver/src/store/"],
        ),
        (
            "lettre",
            "cloud-receiver/src",
            &["cloud-receiver/src/mail/server.rs"],
        ),
        (
            "reqwest",
            "cloud-receiver/src",
            &[
                "cloud-receiver/src/acme/http.rs",
                "cloud-receiver/src/evidence/time_stamp/ask.rs",
                "cloud-receiver/src/ingest/https/tests.rs",
            ],
        ),
        (
            "cms",
            "cloud-receiver/src",
            &["cloud-receiver/src/evidence/time_stamp/"],
        ),
        (
            "object_store",
            "cloud-receiver/src",
            &["cloud-receiver/src/blob.rs", "cloud-receiver/src/blob/"],
        ),
        (
            "mqtt_protocol_core",
            "cloud-receiver/src",
            &["cloud-receiver/src/ingest/"],
        ),
        (
            "axum",
            "cloud-receiver/src",
            &[
                "cloud-receiver/src/acme/http.rs",
                "cloud-receiver/src/api/",
                "cloud-receiver/src/portal/",
                "cloud-receiver/src/auth/",
                "cloud-receiver/src/ingest/https",
                "cloud-receiver/src/app.rs",
                "cloud-receiver/src/error.rs",
                "cloud-receiver/src/metrics.rs",
            ],
        ),
    ];
    let mut offenders = Vec::new();
    for (name, folder, allowed) in rules {
        for source in sources(&[folder]) {
            let used = names(&source.code, &format!("{name}::"))
                || source.code.contains(&format!("use {name}")) && names(&source.code, name);
            if used && !allowed.iter().any(|place| source.path.starts_with(place)) {
                offenders.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert_none("a foreign crate stands outside its place", &offenders);
}

#[test]
fn the_pure_core_knows_no_clock_disk_network_or_runtime() {
    let pure = [
        "calendar/src/",
        "wire/src/",
        "edge-agent/src/luma.rs",
        "edge-agent/src/motion",
        "edge-agent/src/sight",
        "edge-agent/src/track/",
        "edge-agent/src/event/",
        "edge-agent/src/detect/aim.rs",
        "edge-agent/src/detect/decode",
        "edge-agent/src/detect/mosaic.rs",
        "edge-agent/src/capture/gate",
        "edge-agent/src/capture/h264",
        "edge-agent/src/capture/turns.rs",
        "edge-agent/src/vision/schedule.rs",
        "edge-agent/src/spool/quota.rs",
        "edge-agent/src/uplink/backoff.rs",
        "cloud-receiver/src/ingest/accept.rs",
        "cloud-receiver/src/evidence/check_index.rs",
        "cloud-receiver/src/evidence/deliveries.rs",
    ];
    let banned = [
        "tokio",
        "std::fs",
        "std::net",
        "std::thread",
        "Instant::now",
        "SystemTime::now",
    ];
    let mut offenders = Vec::new();
    let mut seen = 0;
    for source in sources(&[
        "calendar/src",
        "wire/src",
        "edge-agent/src",
        "cloud-receiver/src",
    ]) {
        if !pure.iter().any(|place| source.path.starts_with(place)) {
            continue;
        }
        seen += 1;
        for name in banned {
            if names(&source.code, name) {
                offenders.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert!(
        seen >= pure.len(),
        "a pure module has moved: found only {seen}"
    );
    assert_none("a pure module reaches outside", &offenders);
}

#[test]
fn programs_do_not_panic_when_nobody_reads_what_they_print() {
    let mut offenders = Vec::new();
    for source in sources(&["edge-agent/src", "cloud-receiver/src"]) {
        for name in ["println!", "print!"] {
            if names(&source.code, name) && !source.path.ends_with("tests.rs") {
                offenders.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert_none(
        "cmd::print or cmd::say writes on standard output: println! panics once a reader like `head` has gone",
        &offenders,
    );
}

#[test]
fn siblings_meet_only_where_they_are_composed() {
    let siblings = [
        "capture", "detect", "track", "event", "media", "spool", "uplink",
    ];
    // What one of them may know of another, and why.
    let allowed = [
        // Rules turn what the tracker says into events.
        ("event", "track"),
        // The tracker follows detections; events and pictures carry them.
        ("track", "detect"),
        ("event", "detect"),
        ("media", "detect"),
        // The uplink delivers from the spool, through its handle.
        ("uplink", "spool"),
    ];
    let mut offenders = Vec::new();
    for source in sources(&["edge-agent/src"]) {
        for own in siblings {
            let folder = format!("edge-agent/src/{own}");
            if !source.path.starts_with(&format!("{folder}/"))
                && source.path != format!("{folder}.rs")
            {
                continue;
            }
            for other in siblings {
                if own != other
                    && !allowed.contains(&(own, other))
                    && source.code.contains(&format!("crate::{other}"))
                {
                    offenders.push(format!("{} imports {other}", source.path));
                }
            }
        }
    }
    assert_none("siblings import each other", &offenders);
}

#[test]
fn every_file_says_why_it_exists() {
    let all = sources(&["calendar", "wire", "edge-agent", "cloud-receiver", "tests"]);
    let offenders: Vec<_> = all
        .iter()
        .filter(|source| !source.path.contains("/target/"))
        .filter(|source| !source.text.starts_with("//!"))
        .map(|source| source.path.clone())
        .collect();
    assert_none("files without a //! at their head", &offenders);
}

#[test]
fn nothing_unfinished_is_left_in_the_product() {
    let marks = ["todo!(", "unimplemented!(", "FIXME", "XXX"];
    let mut offenders = Vec::new();
    for source in sources(&[
        "calendar/src",
        "wire/src",
        "edge-agent/src",
        "cloud-receiver/src",
    ]) {
        for mark in marks {
            if source.text.contains(mark) {
                offenders.push(format!("{} holds {mark}", source.path));
            }
        }
    }
    assert_none("unfinished code", &offenders);
}

#[test]
fn tls_clients_are_made_in_one_place() {
    let offenders: Vec<_> = sources(&["edge-agent/src"])
        .into_iter()
        .filter(|source| source.code.contains("ClientConfig::builder"))
        .filter(|source| source.path != "edge-agent/src/uplink/tls.rs")
        .map(|source| source.path)
        .collect();
    assert_none("TLS settings outside uplink/tls.rs", &offenders);
}

#[test]
fn links_in_documents_lead_somewhere() {
    let root = repository();
    let mut documents = Vec::new();
    for entry in fs::read_dir(&root).expect("the repository").flatten() {
        documents.push(entry.path());
    }
    for folder in ["docs", "edge-agent/docs", "models", "systemd"] {
        if let Ok(entries) = fs::read_dir(root.join(folder)) {
            documents.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    assert!(!documents.is_empty(), "no documents found");

    let mut offenders = Vec::new();
    for document in documents {
        let text = fs::read_to_string(&document).expect("documents are UTF-8");
        for target in link_targets(&text) {
            let file = target.split('#').next().unwrap_or_default();
            let folder = document.parent().expect("documents lie in folders");
            if !file.is_empty() && !folder.join(file).exists() {
                offenders.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert_none("dead links", &offenders);
}

/// Targets of Markdown links that stay within the repository.
fn link_targets(text: &str) -> Vec<String> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.contains("://") && !target.contains(char::is_whitespace))
        .map(String::from)
        .collect()
}

/// 37 and 38 (erasure, audit chain) and 40 (updates) come with the parts they concern.
const FAULTS_TO_COME: [u32; 3] = [37, 38, 40];

#[test]
fn every_fault_of_the_list_has_its_test_and_its_line() {
    let listed = fs::read_to_string(repository().join("docs/reliability.md")).expect("the list");
    let sources = sources(&["edge-agent", "cloud-receiver", "tests"]);
    let mut offenders = Vec::new();
    for number in (1..=41).filter(|number| !FAULTS_TO_COME.contains(number)) {
        let test = format!("fn fault_{number:02}_");
        if !sources.iter().any(|source| source.text.contains(&test)) {
            offenders.push(format!("fault {number:02} has no test"));
        }
        if !listed.contains(&format!("`fault_{number:02}_")) {
            offenders.push(format!("fault {number:02} is not in docs/reliability.md"));
        }
    }
    assert_none("faults that nobody tries", &offenders);
}
