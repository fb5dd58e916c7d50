//! Reading `edge-agent.toml`: text in, either a configuration whose every value is allowed, or all that is wrong.

use super::document::{Blamed, Document, Step, known_keys};
use super::problem::{ConfigError, Problem};
use super::{
    AnalysisConfig, CameraConfig, CaptureConfig, ClockConfig, Config, DeviceConfig, LineConfig,
    ModelConfig, ObjectMaskConfig, ScheduleConfig, Secret, SpanConfig, SpoolConfig, UplinkConfig,
    ZoneConfig, rules,
};
use std::path::{Path, PathBuf};

/// Most mistakes that are named at once; a file with more is not a configuration.
const MAX_PROBLEMS: usize = 100;
/// What every camera has to have, and what to do where it is missing.
const REQUIRED: [(&str, &str); 3] = [
    (
        "id",
        "add the line that `edge-agent camera new-id` prints; it stays with the camera for life",
    ),
    ("name", "add name = \"...\", as people on site call it"),
    ("url", "add url = \"rtsp://host/path\""),
];

/// Reads and checks the file, and fetches the passwords it refers to.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        ConfigError::whole_file(
            path,
            format!("cannot be read: {error}"),
            "name the file with --config, or copy the sample edge-agent.toml.example there".into(),
        )
    })?;
    let folder = path.parent().unwrap_or(Path::new("."));
    parse_in(&text, path, folder)
}

/// As [`load`], from text; `file` is what errors call it.
pub fn parse(text: &str, file: impl Into<PathBuf>) -> Result<Config, ConfigError> {
    let file = file.into();
    let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
    parse_in(text, &file, &folder)
}

fn parse_in(text: &str, file: &Path, folder: &Path) -> Result<Config, ConfigError> {
    let refuse = |mut problems: Vec<Problem>| {
        problems.sort_by_key(|problem| (problem.line, problem.column));
        ConfigError {
            file: file.to_owned(),
            problems,
        }
    };
    let mut document = Document::parse(text).map_err(refuse)?;
    let mut problems = Vec::new();
    let mut unread = Vec::new();
    let Some(mut config) = read(&mut document, &mut problems, &mut unread) else {
        return Err(refuse(problems));
    };
    for found in rules::check(&config) {
        // It was said already what is wrong there.
        if unread.contains(&found.path) {
            continue;
        }
        problems.push(document.problem(document.span(&found.path), found.what, found.remedy));
    }
    for (index, camera) in config.cameras.iter_mut().enumerate() {
        if let Err(what) = fetch_password(camera, folder) {
            let span = document.span(&["camera".into(), index.into(), "password_file".into()]);
            let remedy = "make the file readable for the agent's user; it holds the password alone";
            problems.push(document.problem(span, what, remedy.into()));
        }
    }
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(refuse(problems))
    }
}

/// Reads the tree into the types. What is wrong is noted, taken out (`unread` says where), and the rest read again.
fn read(
    document: &mut Document<'_>,
    problems: &mut Vec<Problem>,
    unread: &mut Vec<Vec<Step>>,
) -> Option<Config> {
    for (key, remedy) in REQUIRED {
        for (index, has_it) in document.tables_with("camera", key).into_iter().enumerate() {
            if !has_it {
                let what = format!("camera {} has no `{key}`", index + 1);
                let span = document.span(&["camera".into(), index.into()]);
                problems.push(document.problem(span, what, remedy.into()));
                document.set_text(
                    &["camera".into(), index.into()],
                    key,
                    placeholder(key, index),
                );
            }
        }
    }
    while problems.len() < MAX_PROBLEMS {
        let error = match document.deserialize::<Config>() {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let blamed = error.span().and_then(|span| document.blame(&span));
        let Some(blamed) = blamed else {
            let remedy = "compare with the sample edge-agent.toml.example".into();
            problems.push(document.problem(error.span(), error.message().into(), remedy));
            return None;
        };
        let (what, remedy) = explain(document, &blamed, error.message());
        problems.push(document.problem(error.span(), what, remedy));
        document.remove(&blamed.path);
        unread.push(blamed.path.clone());
        // A camera without one of these could not be read at all.
        if let [parent @ .., Step::Key(key)] = blamed.path.as_slice()
            && let [_, Step::Index(index)] = parent
            && let Some((key, _)) = REQUIRED.iter().find(|(required, _)| required == key)
        {
            document.set_text(parent, key, placeholder(key, *index));
        }
    }
    None
}

/// A value that passes every rule, for a camera whose own is missing.
fn placeholder(key: &str, index: usize) -> String {
    match key {
        "id" => uuid::Uuid::new_v4().to_string(),
        "url" => "rtsp://camera.invalid/".into(),
        _ => format!("camera {}", index + 1),
    }
}

/// What is wrong and what to do, from the place and serde's words.
fn explain(document: &Document<'_>, blamed: &Blamed, message: &str) -> (String, String) {
    let key = blamed.key();
    let section = blamed.section();
    let (mut heading, known) = keys_of(section.as_deref());
    if let Some(owner) = owner(document, blamed) {
        heading = format!("{heading} of {owner}");
    }
    if blamed.key_is_wrong {
        return (
            format!("unknown key `{key}` in {heading}"),
            suggestion(key, known),
        );
    }
    if key == "password" {
        // serde's words would show what was written.
        return (
            format!("`password` in {heading} is not text"),
            "put it in quotes: password = \"...\"".into(),
        );
    }
    let remedy = remedy(section.as_deref(), key);
    (format!("`{key}` in {heading}: {message}"), remedy)
}

/// What a table within a camera or schedule belongs to, by name or else by number.
fn owner(document: &Document<'_>, blamed: &Blamed) -> Option<String> {
    let [Step::Key(kind), Step::Index(index), _, Step::Index(_)] = blamed.table() else {
        return None;
    };
    let name = [kind.as_str().into(), (*index).into(), "name".into()];
    Some(match document.text_at(&name) {
        Some(name) => format!("{kind} \"{name}\""),
        None => format!("{kind} {}", index + 1),
    })
}

fn remedy(section: Option<&str>, key: &str) -> String {
    let remedy = match (section, key) {
        (Some("camera"), "id") => "use the id that `edge-agent camera new-id` prints",
        (_, "transport") => "write transport = \"tcp\" or transport = \"udp\"",
        (_, "provider") => {
            "write provider = \"cpu\", \"xnnpack\", \"openvino\", \"cuda\" or \"tensorrt\""
        }
        (_, "decoder") => "write decoder = \"auto\" or decoder = \"software\"",
        (_, "gate") => "write gate = \"auto\" or gate = \"off\"",
        (Some("schedule.span"), "days") => {
            "write for example days = [\"mon\", \"tue\"]; known: mon, tue, wed, thu, fri, sat, sun"
        }
        (Some("schedule.span"), "from" | "to") => {
            "write a time from \"00:00\" to \"24:00\", as from = \"18:00\""
        }
        (_, "time_zone") => "write the IANA name, as \"Asia/Tokyo\", \"Europe/Berlin\" or \"UTC\"",
        (_, "extra_holidays") => "write days in quotes, as extra_holidays = [\"2026-12-30\"]",
        (_, "points") => "write its corners as points = [[x, y], [x, y], [x, y]], each from 0 to 1",
        (Some("camera.line"), "from" | "to") => "write it as [x, y], each from 0 (left, top) to 1",
        (Some("camera"), "zone" | "line" | "object_mask") => {
            return format!(
                "write [[camera.{key}]] with two brackets on each side, once per {}, below its camera",
                key.replace('_', " ")
            );
        }
        (Some("schedule"), "span") => {
            "write [[schedule.span]] with two brackets on each side, once per span, below its schedule"
        }
        (None, "camera" | "schedule") => {
            return format!("write [[{key}]] with two brackets on each side, once per {key}");
        }
        (None, _) => return format!("write [{key}] on a line of its own"),
        _ => "compare with the sample edge-agent.toml.example",
    };
    remedy.into()
}

fn keys_of(section: Option<&str>) -> (String, &'static [&'static str]) {
    let (is_list, keys) = match section {
        None => return ("the file".into(), known_keys::<Config>()),
        Some("camera") => (true, known_keys::<CameraConfig>()),
        Some("camera.zone") => (true, known_keys::<ZoneConfig>()),
        Some("camera.line") => (true, known_keys::<LineConfig>()),
        Some("camera.object_mask") => (true, known_keys::<ObjectMaskConfig>()),
        Some("schedule") => (true, known_keys::<ScheduleConfig>()),
        Some("schedule.span") => (true, known_keys::<SpanConfig>()),
        Some("device") => (false, known_keys::<DeviceConfig>()),
        Some("model") => (false, known_keys::<ModelConfig>()),
        Some("capture") => (false, known_keys::<CaptureConfig>()),
        Some("analysis") => (false, known_keys::<AnalysisConfig>()),
        Some("spool") => (false, known_keys::<SpoolConfig>()),
        Some("uplink") => (false, known_keys::<UplinkConfig>()),
        Some("clock") => (false, known_keys::<ClockConfig>()),
        Some(_) => (false, &[][..]),
    };
    let section = section.unwrap_or_default();
    let heading = if is_list {
        format!("[[{section}]]")
    } else {
        format!("[{section}]")
    };
    (heading, keys)
}

fn suggestion(key: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(key, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match nearest {
        Some((_, nearest)) => format!("did you mean `{nearest}`? otherwise remove the line"),
        None => format!("remove the line; known here: {}", known.join(", ")),
    }
}

fn fetch_password(camera: &mut CameraConfig, folder: &Path) -> Result<(), String> {
    let Some(file) = &camera.password_file else {
        return Ok(());
    };
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let path = credentials
        .map(|credentials| credentials.join(file))
        .filter(|path| path.exists())
        .unwrap_or_else(|| folder.join(file));
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!(
            "the password file of camera \"{}\", {}, cannot be read: {error}",
            camera.name,
            path.display()
        )
    })?;
    camera.password = Some(Secret::new(text.trim_end_matches(['\r', '\n'])));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAMERA: &str = "[[camera]]\nid = \"11111111-1111-4111-8111-111111111111\"\nname = \"Gate\"\nurl = \"rtsp://10.0.0.12/main\"\n";

    /// Problems of `text` as `line:column what -> remedy`.
    fn problems(text: &str) -> Vec<String> {
        match parse(text, "edge-agent.toml") {
            Ok(_) => Vec::new(),
            Err(error) => error
                .problems
                .iter()
                .map(|p| format!("{}:{} {} -> {}", p.line, p.column, p.what, p.remedy))
                .collect(),
        }
    }

    fn check(text: &str, expected: &[&str]) {
        let found = problems(text);
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found}\nnot: {expected}");
        }
    }

    #[test]
    fn nothing_but_cameras_is_enough() {
        let config = parse(CAMERA, "x").expect("valid");
        assert_eq!(config.cameras[0].name, "Gate");
        assert_eq!(config.cameras[0].periodic_picture_seconds, 60);
        check("", &[]);
    }

    #[test]
    fn every_mistake_is_named_at_once_with_its_place() {
        let text = format!(
            "[devise]\n[model]\nworkrs = 2\nworkers = \"two\"\n[analysis]\nframes_per_second = 31\n{CAMERA}trnsport = \"tcp\"\n\n{}",
            CAMERA.replace("rtsp://10.0.0.12/main", "http://10.0.0.12/")
        );
        check(
            &text,
            &[
                "1:2 unknown key `devise` in the file -> did you mean `device`?",
                "3:1 unknown key `workrs` in [model] -> did you mean `workers`?",
                "4:11 `workers` in [model]: invalid type: string \"two\", expected usize",
                "6:21 `frames_per_second` is 31",
                "11:1 unknown key `trnsport` in [[camera]] -> did you mean `transport`?",
                "14:6 camera \"Gate\" has the id of camera 1",
                "15:8 camera \"Gate\" has the name of camera 1",
                "16:7 camera \"Gate\" has an address that begins with http://",
            ],
        );
    }

    #[test]
    fn a_camera_without_its_required_keys_is_still_checked_for_the_rest() {
        check(
            "[[camera]]\nname = \"Gate\"\nurl = 7\nuser = \"admin\"\n",
            &[
                "1:1 camera 1 has no `id` -> add the line",
                "3:7 `url` in [[camera]]: invalid type",
                "4:8 camera \"Gate\" has a user but no password",
            ],
        );
        check("[camera]\nname = \"Gate\"\n", &["1:1 `camera` in the file"]);
    }

    #[test]
    fn text_that_is_no_toml_is_placed_too() {
        check("[model]\nworkers = \n", &["2:11 this is not TOML"]);
    }

    #[test]
    fn a_password_is_never_repeated() {
        let text = format!("{CAMERA}user = \"admin\"\npassword = 83619\n");
        let error = parse(&text, "x").expect_err("not text").to_string();
        assert!(!error.contains("83619"), "{error}");
        let text = CAMERA.replace("rtsp://", "http://admin:s3cret@");
        let error = parse(&text, "x").expect_err("http").to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_password_file_is_read_without_its_newline() {
        let folder = tempfile::tempdir().expect("temp dir");
        std::fs::write(folder.path().join("gate"), "p@ss/w0rd#\n").expect("write");
        let file = folder.path().join("edge-agent.toml");
        let text = format!("{CAMERA}user = \"admin\"\npassword_file = \"gate\"\n");
        std::fs::write(&file, &text).expect("write");
        let config = load(&file).expect("valid");
        let password = config.cameras[0].password.as_ref().map(Secret::expose);
        assert_eq!(password, Some("p@ss/w0rd#"));

        std::fs::remove_file(folder.path().join("gate")).expect("remove");
        let error = load(&file).expect_err("gone");
        assert_eq!(error.problems[0].line, 6);
    }

    /// The shipped sample says what the types say, and shows every key.
    #[test]
    fn the_sample_is_the_defaults() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge-agent.toml.example");
        let text = std::fs::read_to_string(&path).expect("the sample is there");
        let mut sample = load(&path).expect("the sample is valid");
        assert_eq!(sample.cameras.len(), 1, "one camera as an example");
        let camera = sample.cameras.remove(0);
        let defaults = parse("", "x").expect("valid");
        assert_eq!(format!("{sample:?}"), format!("{defaults:?}"));

        let bare = format!(
            "[[camera]]\nid = \"{}\"\nname = \"{}\"\nurl = \"{}\"\n",
            camera.id, camera.name, camera.url
        );
        let bare = parse(&bare, "x").expect("valid").cameras.remove(0);
        assert_eq!(format!("{camera:?}"), format!("{bare:?}"));

        for section in [
            "device",
            "model",
            "capture",
            "analysis",
            "spool",
            "uplink",
            "clock",
            "camera",
            "camera.zone",
            "camera.line",
            "camera.object_mask",
            "schedule",
            "schedule.span",
        ] {
            for key in keys_of(Some(section)).1 {
                let shown = text.lines().any(|line| {
                    let line = line.trim_start_matches("# ");
                    line.starts_with(&format!("[[{section}.{key}]]"))
                        || line
                            .strip_prefix(key)
                            .is_some_and(|rest| rest.trim_start().starts_with('='))
                });
                assert!(shown, "the sample does not show `{key}` of [{section}]");
            }
        }
    }

    /// What the sample shows of zones, lines and schedules can be had by taking the "# " away.
    #[test]
    fn the_sample_of_zones_lines_and_schedules_is_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("edge-agent.toml.example");
        let text = std::fs::read_to_string(&path).expect("the sample is there");
        let (before, after) = text.split_once("# [[camera.object_mask]]").expect("shown");
        let is_toml = |line: &&str| line.starts_with("[[") || line.contains(" = ");
        let shown: Vec<&str> = after
            .lines()
            .filter_map(|line| line.strip_prefix("# "))
            .filter(is_toml)
            .collect();
        let text = format!("{before}[[camera.object_mask]]\n{}", shown.join("\n"));
        let config = parse(&text, "sample").unwrap_or_else(|error| panic!("{error}"));
        let camera = &config.cameras[0];
        assert_eq!((camera.zones.len(), camera.lines.len()), (1, 1));
        assert_eq!(config.schedules[0].spans.len(), 2);
    }

    /// So are the examples of the installers' guide.
    #[test]
    fn the_examples_of_the_guide_are_valid() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/rules.md");
        let text = std::fs::read_to_string(&path).expect("the guide is there");
        let examples: Vec<&str> = text
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(examples.len() >= 2, "{}", examples.len());
        for example in examples {
            let base = if example.contains("[[camera]]") {
                ""
            } else {
                CAMERA
            };
            parse(&format!("{base}{example}"), "rules.md")
                .unwrap_or_else(|error| panic!("{example}\n{error}"));
        }
    }
}
