//! What each value of the configuration may be. Pure: a configuration in, what is wrong out.

mod polygon;
mod scene;
mod schedule;

use super::document::Step;
use super::{CameraConfig, Config};
use crate::telemetry::redact;
use scene::Known;
use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;

/// Something that is not allowed, by its path in the file.
#[derive(Debug)]
pub struct Found {
    pub(super) path: Vec<Step>,
    pub(super) what: String,
    pub(super) remedy: String,
}

/// Longest name of a camera, in characters.
const MAX_NAME_CHARS: usize = 64;

/// Everything that is wrong, in no particular order.
pub fn check(config: &Config) -> Vec<Found> {
    let mut found = Vec::new();
    check_numbers(config, &mut found);
    check_clock(config, &mut found);
    check_classes(config, &mut found);
    schedule::check(config, &mut found);
    let known = Known::of(config);
    let mut ids = HashMap::new();
    let mut names = HashMap::new();
    for (index, camera) in config.cameras.iter().enumerate() {
        let mut at = AtCamera {
            index,
            name: &camera.name,
            found: &mut found,
        };
        if let Some(first) = ids.insert(camera.id, index) {
            at.wrong(
                "id",
                format!("has the id of camera {}", first + 1),
                "each camera has its own: run `edge-agent camera new-id`",
            );
        }
        if let Some(first) = names.insert(camera.name.trim(), index) {
            at.wrong(
                "name",
                format!("has the name of camera {}", first + 1),
                "give it a name of its own, so that people can tell them apart",
            );
        }
        check_camera(camera, &mut at);
        scene::check(camera, &known, &mut at);
    }
    found
}

fn check_numbers(config: &Config, found: &mut Vec<Found>) {
    let mut range = |section: &str, key: &str, value: f64, allowed: RangeInclusive<f64>| {
        if !allowed.contains(&value) {
            found.push(Found {
                path: vec![section.into(), key.into()],
                what: format!("`{key}` is {value}"),
                remedy: format!(
                    "write a number from {} to {}",
                    allowed.start(),
                    allowed.end()
                ),
            });
        }
    };
    let model = &config.model;
    range("model", "workers", model.workers as f64, 1.0..=16.0);
    range(
        "model",
        "threads_per_worker",
        model.threads_per_worker as f64,
        1.0..=16.0,
    );
    let analysis = &config.analysis;
    range(
        "analysis",
        "frames_per_second",
        f64::from(analysis.frames_per_second),
        0.01..=30.0,
    );
    if let Some(score) = analysis.min_score {
        range("analysis", "min_score", f64::from(score), 0.0..=1.0);
    }
    range(
        "analysis",
        "glance_seconds",
        f64::from(analysis.glance_seconds),
        1.0..=3600.0,
    );
    let uplink = &config.uplink;
    range(
        "uplink",
        "heartbeat_seconds",
        f64::from(uplink.heartbeat_seconds),
        1.0..=3600.0,
    );
    range(
        "clock",
        "poll_seconds",
        f64::from(config.clock.poll_seconds),
        1.0..=1024.0,
    );
    let smallest_quota = 16 << 20;
    if config.spool.quota_bytes < smallest_quota {
        found.push(Found {
            path: vec!["spool".into(), "quota_bytes".into()],
            what: format!("`quota_bytes` is {}", config.spool.quota_bytes),
            remedy: format!(
                "write {smallest_quota} (16 MiB) or more; 8589934592 (8 GiB) is the default"
            ),
        });
    }
}

fn check_clock(config: &Config, found: &mut Vec<Found>) {
    let clock = &config.clock;
    let mut wrong = |path: Vec<Step>, what: String, remedy: &str| {
        found.push(Found {
            path,
            what,
            remedy: remedy.into(),
        });
    };
    let servers: Step = "servers".into();
    if matches!(clock.servers.len(), 1 | 2) {
        wrong(
            vec!["clock".into(), servers.clone()],
            format!(
                "only {} clock server(s): one that lies could not be outvoted",
                clock.servers.len()
            ),
            "name three or more; or none, and the clock counts as unsynchronised",
        );
    }
    for (index, server) in clock.servers.iter().enumerate() {
        let path = vec!["clock".into(), servers.clone(), index.into()];
        if let Err(reason) = crate::ntp::parse_server(server) {
            wrong(
                path,
                format!("the clock server \"{server}\" {reason}"),
                "write host, host:port, or [address]:port for IPv6",
            );
        } else if clock.servers[..index].contains(server) {
            wrong(
                path,
                format!("the clock server \"{server}\" is named twice"),
                "name each once: two voices of one server are no majority",
            );
        }
    }
    if clock.holdover_after_seconds < clock.poll_seconds.saturating_mul(2) {
        wrong(
            vec!["clock".into(), "holdover_after_seconds".into()],
            format!(
                "`holdover_after_seconds` is {}, less than two polls",
                clock.holdover_after_seconds
            ),
            "write at least twice poll_seconds, or one lost answer would count as holdover",
        );
    }
}

fn check_classes(config: &Config, found: &mut Vec<Found>) {
    let classes = &config.analysis.classes;
    if classes.is_empty() || classes.iter().any(|class| class.trim().is_empty()) {
        found.push(Found {
            path: vec!["analysis".into(), "classes".into()],
            what: "`classes` names nothing that could become an event".into(),
            remedy: "write for example classes = [\"person\", \"vehicle\"]".into(),
        });
    }
}

/// Says what is wrong with one camera.
struct AtCamera<'a> {
    index: usize,
    name: &'a str,
    found: &'a mut Vec<Found>,
}

impl AtCamera<'_> {
    fn wrong(&mut self, key: &str, what: impl Display, remedy: &str) {
        self.found.push(Found {
            path: vec!["camera".into(), self.index.into(), key.into()],
            what: format!("camera \"{}\" {what}", self.name),
            remedy: remedy.into(),
        });
    }

    /// `path` begins below the camera, `what` says which thing of it.
    fn wrong_at(&mut self, path: &[Step], what: impl Display, remedy: impl Into<String>) {
        let camera = ["camera".into(), self.index.into()];
        self.found.push(Found {
            path: camera.into_iter().chain(path.iter().cloned()).collect(),
            what: what.to_string(),
            remedy: remedy.into(),
        });
    }
}

fn check_camera(camera: &CameraConfig, at: &mut AtCamera<'_>) {
    if camera.id.0.is_nil() {
        at.wrong(
            "id",
            "has the id of all zeros",
            "run `edge-agent camera new-id`",
        );
    }
    let name_chars = camera.name.trim().chars().count();
    if name_chars == 0 || name_chars > MAX_NAME_CHARS {
        at.wrong(
            "name",
            format!("has a name of {name_chars} characters"),
            "give it a name of 1 to 64 characters",
        );
    }
    check_url(camera, at);
    check_login(camera, at);
    if camera.periodic_picture_seconds > 86_400 {
        at.wrong(
            "periodic_picture_seconds",
            "takes a picture less than once a day",
            "write 0 (none) to 86400; 60 is the default",
        );
    }
    for (key, thing, masks) in [
        ("privacy_masks", "privacy mask", &camera.privacy_masks),
        ("motion_masks", "motion mask", &camera.motion_masks),
    ] {
        for (index, mask) in masks.iter().enumerate() {
            if let Some(what) = polygon::wrong_with_mask(mask) {
                let what = format!("{thing} {} of camera \"{}\" {what}", index + 1, at.name);
                at.wrong_at(&[key.into(), index.into()], what, polygon::MASK_REMEDY);
            }
        }
    }
}

fn check_url(camera: &CameraConfig, at: &mut AtCamera<'_>) {
    const EXAMPLE: &str = "write it as rtsp://host/path or rtsps://host:port/path";
    const APART: &str = "write rtsp://host/path, and user and password in keys of their own";
    let url = match url::Url::parse(&camera.url) {
        Ok(url) => url,
        Err(error) => {
            let shown = redact(&camera.url);
            let remedy = if camera.url.contains('@') {
                APART
            } else {
                EXAMPLE
            };
            let what = format!("has an address that cannot be read, {shown}: {error}");
            return at.wrong("url", what, remedy);
        }
    };
    if !matches!(url.scheme(), "rtsp" | "rtsps") {
        let what = format!("has an address that begins with {}://", url.scheme());
        at.wrong("url", what, EXAMPLE);
    } else if url.host_str().is_none_or(str::is_empty) {
        at.wrong("url", "has an address without a host", EXAMPLE);
    } else if url.fragment().is_some_and(|rest| rest.contains('@')) {
        at.wrong(
            "url",
            "has an address that a # in its password cuts short",
            APART,
        );
    }
    if camera.ca_file.is_some() && url.scheme() == "rtsp" {
        at.wrong(
            "ca_file",
            "has a CA but an address without TLS",
            "write rtsps:// in its url, or remove ca_file",
        );
    }
}

fn check_login(camera: &CameraConfig, at: &mut AtCamera<'_>) {
    let has_password = camera.password.is_some() || camera.password_file.is_some();
    match (&camera.user, has_password) {
        (Some(_), false) => at.wrong(
            "user",
            "has a user but no password",
            "add password = \"...\" or password_file = \"...\"; an empty password is \"\"",
        ),
        (None, true) => at.wrong(
            if camera.password.is_some() {
                "password"
            } else {
                "password_file"
            },
            "has a password but no user",
            "add user = \"...\"",
        ),
        _ => {}
    }
    if camera.password.is_some() && camera.password_file.is_some() {
        at.wrong(
            "password_file",
            "has its password twice",
            "keep password_file and remove password",
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::parse;

    /// What is wrong with a camera that has these further lines.
    fn check_camera(lines: &str) -> Vec<String> {
        let base = "[[camera]]\nid = \"11111111-1111-4111-8111-111111111111\"\nname = \"門\"\n";
        let url = if lines.contains("url =") {
            ""
        } else {
            "url = \"rtsp://h/\"\n"
        };
        match parse(&format!("{base}{url}{lines}"), "x") {
            Ok(_) => Vec::new(),
            Err(error) => error.problems.into_iter().map(|p| p.what).collect(),
        }
    }

    #[test]
    fn addresses() {
        for good in [
            "rtsp://10.0.0.1/a",
            "rtsps://cam.local:322/a?b=c",
            "rtsp://[fe80::1]:554/",
            "rtsp://user:p%40ss@h/",
        ] {
            assert_eq!(
                check_camera(&format!("url = \"{good}\"")),
                [""; 0],
                "{good}"
            );
        }
        for (bad, why) in [
            ("http://h/", "begins with http://"),
            ("rtsp:///path", "without a host"),
            ("10.0.0.1/a", "cannot be read"),
            ("rtsp://p#w@h/", "cuts short"),
            ("rtsp://u:p#w@h/", "rtsp://***: invalid port number"),
            ("rtsp://u:p/w@h/", "invalid port number"),
        ] {
            let found = check_camera(&format!("url = \"{bad}\""));
            assert!(
                found.len() == 1 && found[0].contains(why),
                "{bad}: {found:?}"
            );
        }
    }

    #[test]
    fn logins() {
        assert_eq!(check_camera("user = \"a\"\npassword = \"\""), [""; 0]);
        assert_eq!(
            check_camera("user = \"a\""),
            ["camera \"門\" has a user but no password"]
        );
        assert_eq!(
            check_camera("password = \"a\""),
            ["camera \"門\" has a password but no user"]
        );
        assert_eq!(
            check_camera("ca_file = \"/ca.pem\""),
            ["camera \"門\" has a CA but an address without TLS"]
        );
    }

    #[test]
    fn masks() {
        let mask = |points: &str| check_camera(&format!("privacy_masks = [[{points}]]"));
        assert_eq!(mask("[0, 0], [1, 0], [1, 1]"), [""; 0]);
        for (points, why) in [
            ("[0, 0], [1, 0]", "has 2 point(s)"),
            (
                "[0, 0], [1, 0], [1, 1.01]",
                "has the point [1, 1.01] outside",
            ),
            ("[0, 0], [nan, 0], [1, 1]", "outside"),
            ("[0, 0], [0.5, 0.5], [1, 1]", "covers nothing"),
        ] {
            let found = mask(points);
            assert!(
                found.len() == 1 && found[0].contains(why),
                "{points}: {found:?}"
            );
        }
    }

    #[test]
    fn numbers_and_clock_servers() {
        let check = |text: &str| match parse(text, "x") {
            Ok(_) => 0,
            Err(error) => error.problems.len(),
        };
        for good in [
            "[clock]\nservers = []",
            "[clock]\nservers = [\"a\", \"b:1123\", \"[::1]:123\"]",
            "[analysis]\nframes_per_second = 0.5",
        ] {
            assert_eq!(check(good), 0, "{good}");
        }
        for bad in [
            "[clock]\nservers = [\"a\", \"b\"]",
            "[clock]\nservers = [\"a\", \"b\", \"a\"]",
            "[clock]\nservers = [\"a\", \"b\", \"c:0\"]",
            "[clock]\npoll_seconds = 400",
            "[analysis]\nframes_per_second = 0",
            "[analysis]\nframes_per_second = nan",
            "[analysis]\nclasses = []",
            "[analysis]\nmin_score = 1.5",
            "[analysis]\nglance_seconds = 0",
            "[analysis]\ngate = \"shut\"",
            "[model]\nworkers = 0",
            "[spool]\nquota_bytes = 1000",
            "[uplink]\nheartbeat_seconds = 0",
        ] {
            assert_eq!(check(bad), 1, "{bad}");
        }
    }
}
