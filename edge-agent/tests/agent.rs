//! The real program as systemd and a field engineer meet it: ready, alive, asked, stopped, and refused.

mod common;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);
const CONFIG_EXIT_CODE: i32 = 78;

/// A box of its own: configuration, data folder, and systemd's end of the notify socket.
struct Sandbox {
    folder: tempfile::TempDir,
    systemd: UnixDatagram,
}

impl Sandbox {
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().expect("temp dir");
        let systemd = UnixDatagram::bind(folder.path().join("notify")).expect("bound");
        systemd.set_read_timeout(Some(PATIENCE)).expect("set");
        let sandbox = Self { folder, systemd };
        let text = format!(
            "[device]\ndata_dir = {:?}\n[model]\ndir = {:?}\n[clock]\nservers = []\n{more}",
            sandbox.data_dir(),
            common::model::shipped().dir()
        );
        std::fs::write(sandbox.config(), text).expect("write");
        sandbox
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("edge-agent.toml")
    }

    fn command(&self, verb: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        command
            .args(verb)
            .arg("--config")
            .arg(self.config())
            .env("NOTIFY_SOCKET", self.folder.path().join("notify"))
            .stdin(Stdio::null());
        if let Some(library) = common::runtime_library() {
            command.env("ORT_DYLIB_PATH", library);
        }
        command
    }

    fn ask(&self, verb: &[&str]) -> Output {
        self.command(verb).output().expect("started")
    }

    fn start(&self) -> Running {
        let mut command = self.command(&["run"]);
        command.env("WATCHDOG_USEC", "600000").stderr(Stdio::null());
        Running(command.spawn().expect("started"))
    }

    /// Waits for this word to systemd.
    fn await_word(&self, word: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 256];
        while Instant::now() < deadline {
            let length = self.systemd.recv(&mut buffer).expect("a word in time");
            if buffer[..length].starts_with(word.as_bytes()) {
                return;
            }
        }
        panic!("systemd never heard {word}");
    }
}

/// Killed when dropped.
struct Running(Child);

impl Running {
    fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("still there");
    }

    fn await_exit(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.0.try_wait().expect("our child") {
                return status;
            }
            std::thread::yield_now();
        }
        panic!("it does not end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn assert_exists(path: &Path, wanted: bool) {
    assert_eq!(path.exists(), wanted, "{}", path.display());
}

#[test]
fn it_gets_ready_lives_answers_and_stops() {
    if common::with_runtime().is_none() {
        return;
    }
    let sandbox = Sandbox::new("");
    let mut agent = sandbox.start();
    sandbox.await_word("READY=1");
    sandbox.await_word("WATCHDOG=1");

    let status = sandbox.ask(&["status", "--json"]);
    let report: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
    assert_eq!(report["uplink"]["carriage"], "not enrolled", "{report:#}");
    assert_eq!(report["spool"]["pending_records"], 1, "{report:#}");
    assert_eq!(report["clock"]["stamp"]["state"], "unsynced", "{report:#}");
    assert_eq!(
        report["units"]["vision-0"]["state"], "running",
        "{report:#}"
    );
    let table = words(&sandbox.ask(&["status"]));
    assert!(table.contains("no cameras are configured"), "{table}");

    let second = sandbox.ask(&["run"]);
    assert!(!second.status.success());
    assert!(
        words(&second).contains("stop it first"),
        "{}",
        words(&second)
    );

    sandbox.await_word("WATCHDOG=1");
    agent.terminate();
    sandbox.await_word("STOPPING=1");
    assert!(agent.await_exit().success());
    assert_exists(&sandbox.data_dir().join("control.sock"), false);
    let status = sandbox.ask(&["status"]);
    assert!(!status.status.success());
    assert!(
        words(&status).contains("no agent is running here"),
        "{}",
        words(&status)
    );
}

#[test]
fn what_was_recorded_waits_for_the_next_start_even_after_a_kill() {
    if common::with_runtime().is_none() {
        return;
    }
    let sandbox = Sandbox::new("");
    for expected in 1..=2 {
        let mut agent = sandbox.start();
        sandbox.await_word("READY=1");
        let status = sandbox.ask(&["status", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
        // Each start adds one word about itself, and no stop does: it is killed.
        assert_eq!(report["spool"]["pending_records"], expected, "{report:#}");
        agent.0.kill().expect("still there");
        agent.await_exit();
    }
}

#[test]
fn a_wrong_configuration_is_refused_at_once_with_every_mistake() {
    let sandbox = Sandbox::new("[spol]\n[[camera]]\nname = \"Gate\"\nurl = \"http://10.0.0.1/\"\n");
    for verb in ["run", "check", "status", "enroll"] {
        let arguments: &[&str] = match verb {
            "enroll" => &["enroll", "--url", "https://localhost"],
            _ => &[verb],
        };
        let output = sandbox.ask(arguments);
        let words = words(&output);
        assert_eq!(
            output.status.code(),
            Some(CONFIG_EXIT_CODE),
            "{verb}: {words}"
        );
        for expected in [
            "edge-agent.toml:7:2: unknown key `spol`",
            "did you mean `spool`?",
            "edge-agent.toml:8:1: camera 1 has no `id`",
            "edge-agent.toml:10:7: camera \"Gate\" has an address that begins with http://",
        ] {
            assert!(
                words.contains(expected),
                "{verb}: {words}\nlacks {expected}"
            );
        }
        assert_exists(&sandbox.data_dir(), false);
    }
}

#[test]
fn a_model_that_is_not_what_it_says_is_refused_by_name() {
    if common::with_runtime().is_none() {
        return;
    }
    let sandbox = Sandbox::new("");
    let model = sandbox.folder.path().join("model");
    std::fs::create_dir(&model).expect("made");
    std::fs::write(model.join("model.toml"), common::nanodet_toml()).expect("write");
    std::fs::write(model.join("nanodet_g_416_int8.onnx"), b"something else").expect("write");
    let text = std::fs::read_to_string(sandbox.config()).expect("read");
    let shipped = format!("{:?}", common::model::shipped().dir());
    let changed = text.replace(&shipped, &format!("{model:?}"));
    assert_ne!(text, changed);
    std::fs::write(sandbox.config(), changed).expect("write");

    for verb in ["run", "check"] {
        let output = sandbox.ask(&[verb]);
        let words = words(&output);
        assert_eq!(output.status.code(), Some(1), "{verb}: {words}");
        assert!(
            words.contains("nanodet_g_416_int8.onnx has SHA-256"),
            "{verb}: {words}"
        );
    }
}

#[test]
fn check_says_what_is_well_and_what_is_not() {
    if common::with_runtime().is_none() {
        return;
    }
    let sandbox = Sandbox::new("");
    let output = sandbox.ask(&["check", "--offline"]);
    let words = words(&output);
    assert!(output.status.success(), "{words}");
    for expected in [
        "✓ ok    configuration",
        "✓ ok    model: nanodet-g-416-int8",
        "✓ ok    inference",
        "! note  identity: none yet",
        "all is well",
    ] {
        assert!(words.contains(expected), "{words}\nlacks {expected}");
    }
}

/// The first twenty seconds of the street film, whose key frames are a second apart.
fn short_film(folder: &Path) -> Option<PathBuf> {
    let path = folder.join("street.mkv");
    let status = Command::new("gst-launch-1.0")
        .args(["-q", "filesrc"])
        .arg(format!("location={}", common::vtest()?.display()))
        .args(["!", "avidemux", "!", "identity", "eos-after=200", "!"])
        .args(["matroskamux", "!", "filesink"])
        .arg(format!("location={}", path.display()))
        .status()
        .expect("GStreamer's tools");
    assert!(status.success());
    Some(path)
}

/// A camera with everything that can be told of what walks past it.
const RULES: &str = r#"
[[camera]]
id = "00000000-0000-4000-8000-000000000001"
name = "Gate"
url = "rtsp://192.0.2.1/"
[[camera.zone]]
name = "Square"
points = [[0.3, 0.2], [0.95, 0.2], [0.95, 1.0], [0.3, 1.0]]
loitering_seconds = 4
occupancy = 3
[[camera.line]]
name = "Path"
from = [0.5, 1.0]
to = [0.5, 0.1]
"#;

#[test]
fn a_replay_of_the_same_film_says_the_same_to_the_byte() {
    let sandbox = Sandbox::new(RULES);
    let Some(film) = common::with_runtime().and_then(|()| short_film(sandbox.folder.path())) else {
        return;
    };
    let film = film.to_str().expect("UTF-8");
    for verb in [&["replay", film][..], &["replay", film, "--json"]] {
        let (first, second) = (sandbox.ask(verb), sandbox.ask(verb));
        assert!(first.status.success(), "{}", words(&first));
        let told = String::from_utf8_lossy(&first.stdout);
        for expected in ["loitering", "occupancy", "Square", "Path", "out"] {
            assert!(told.contains(expected), "{told}\nlacks {expected}");
        }
        assert!(
            first.stdout == second.stdout,
            "{told}\n--- and then\n{}",
            words(&second)
        );
    }
    // A later beginning moves times and nothing else.
    let at_night = ["replay", film, "--json", "--start", "2026-01-01T15:00:00Z"];
    let at_night = sandbox.ask(&at_night);
    let kinds = |output: &Output| -> Vec<serde_json::Value> {
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let records = told.lines().map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            serde_json::json!([
                record["kind"],
                record["state"],
                record["track"],
                record["x"]
            ])
        });
        records.collect()
    };
    let by_day = kinds(&sandbox.ask(&["replay", film, "--json"]));
    assert!(!by_day.is_empty());
    assert_eq!(kinds(&at_night), by_day);
    // It leaves nothing behind: it is no agent.
    assert_exists(&sandbox.data_dir(), false);
}

#[test]
fn a_replay_that_cannot_be_says_why() {
    if common::with_runtime().is_none() {
        return;
    }
    let sandbox = Sandbox::new(RULES);
    let text = sandbox.folder.path().join("notes.txt");
    std::fs::write(&text, "this is no film, only a text about one").expect("write");
    let text = text.to_str().expect("UTF-8");
    let film = "/nowhere/film.mkv";
    for (verb, code, expected) in [
        (
            &["replay", film][..],
            1,
            "cannot play /nowhere/film.mkv: there is no such file",
        ),
        (&["replay", text], 1, "notes.txt"),
        (
            &["replay", film, "--camera", "Door"],
            1,
            "there is no camera \"Door\"; configured are: Gate",
        ),
        (&["replay", film, "--start", "noon"], 2, "--start"),
        (&["replay"], 2, "<FILE>"),
    ] {
        let output = sandbox.ask(verb);
        let said = words(&output);
        assert_eq!(output.status.code(), Some(code), "{verb:?}: {said}");
        assert!(
            said.contains(expected),
            "{verb:?}: {said}\nlacks {expected}"
        );
        assert!(output.stdout.is_empty(), "{verb:?}: {said}");
    }
    std::fs::remove_file(sandbox.config()).expect("removed");
    let output = sandbox.ask(&["replay", film]);
    let said = words(&output);
    assert_eq!(output.status.code(), Some(CONFIG_EXIT_CODE), "{said}");
    assert!(said.contains("edge-agent.toml: cannot be read"), "{said}");
    assert!(
        said.contains("remedy: name the file with --config"),
        "{said}"
    );
}
