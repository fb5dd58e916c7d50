//! Zones, lines, masks and schedules: what is said of each mistake, and where.

use crate::config::parse;

const CAMERA: &str = "[[camera]]\nid = \"11111111-1111-4111-8111-111111111111\"\nname = \"門\"\nurl = \"rtsp://h/\"\n";
const NIGHT: &str =
    "[[schedule]]\nname = \"night\"\n[[schedule.span]]\nfrom = \"22:00\"\nto = \"6:00\"\n";

/// What is wrong, as `line:column what -> remedy`.
fn problems(text: &str) -> Vec<String> {
    match parse(text, "x") {
        Ok(_) => Vec::new(),
        Err(error) => error
            .problems
            .iter()
            .map(|p| format!("{}:{} {} -> {}", p.line, p.column, p.what, p.remedy))
            .collect(),
    }
}

/// A camera with these lines has this wrong and nothing else.
fn check(lines: &str, expected: &[&str]) {
    let found = problems(&format!("{CAMERA}{lines}"));
    assert_eq!(found.len(), expected.len(), "{lines}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            found.contains(expected),
            "{lines}\n{found}\nhas no: {expected}"
        );
    }
}

fn zone(lines: &str) -> String {
    let points = match lines.contains("points") {
        true => "",
        false => "points = [[0, 0], [1, 0], [1, 1]]\n",
    };
    format!("[[camera.zone]]\nname = \"Yard\"\n{points}{lines}\n")
}

fn line(lines: &str) -> String {
    let ends = match lines.contains("from") {
        true => "",
        false => "from = [0, 0.5]\nto = [1, 0.5]\n",
    };
    format!("[[camera.line]]\nname = \"Gate\"\n{ends}{lines}\n")
}

#[test]
fn what_is_allowed() {
    for lines in [
        zone(""),
        line(""),
        zone(
            "classes = [\"person\"]\nmin_score = 0.6\nmin_height = 0.05\nmax_height = 0.9\nmin_ratio = 1\nmax_ratio = 4\ninertia_looks = 3\nevent = false\nloitering_seconds = 60\noccupancy = 5\ncool_down_seconds = 30",
        ),
        zone("schedule = \"night\"") + NIGHT,
        line("schedule = \"night\"")
            + &NIGHT.replace(
                "name",
                "time_zone = \"Europe/Berlin\"\nextra_holidays = [\"2026-12-30\"]\nname",
            ),
        "[[camera.object_mask]]\npoints = [[0, 0], [1, 0], [1, 1]]\nclasses = [\"vehicle\"]\n"
            .into(),
        "motion_masks = [[[0, 0], [1, 0], [1, 1]]]\nobject_events = false\n".into(),
    ] {
        check(&lines, &[]);
    }
}

#[test]
fn outlines() {
    for (points, why) in [
        ("", "7:10 zone \"Yard\" of camera \"門\" has no `points`"),
        (
            "[0, 0], [1, 0]",
            "has 2 point(s) -> write points = [[x, y], ...]",
        ),
        (
            "[0, 0], [1, 0], [1, 1.01]",
            "has the point [1, 1.01] outside the picture",
        ),
        (
            "[0, 0], [-0.1, 0], [1, 1]",
            "has the point [-0.1, 0] outside the picture",
        ),
        ("[0, 0], [nan, 0], [1, 1]", "outside the picture"),
        (
            "[0, 0], [1, 1], [1, 0], [0, 1]",
            "crosses or touches itself",
        ),
        ("[0, 0], [0.5, 0.5], [1, 1]", "crosses or touches itself"),
        (
            "[0, 0], [1, 0], [1, 1], [0, 0]",
            "has the point [0, 0] twice in a row",
        ),
        ("[0, 0], [0.01, 0], [0.01, 0.01]", "is too small"),
    ] {
        check(&zone(&format!("points = [{points}]")), &[why]);
        let mask = format!("[[camera.object_mask]]\npoints = [{points}]");
        check(
            &mask,
            &[&why.replace("7:10 zone \"Yard\"", "6:10 object mask 1")],
        );
    }
    let many = "[0, 0],".repeat(65);
    check(
        &zone(&format!("points = [{many}]")),
        &["has 65 points, more than 64"],
    );
    check(
        "motion_masks = [[[0, 0], [1, 0], [2, 0]]]",
        &["5:17 motion mask 1 of camera \"門\" has the point [2, 0] outside the picture"],
    );
}

#[test]
fn lines() {
    for (lines, why) in [
        (
            "from = [0, 0]",
            "5:1 line \"Gate\" of camera \"門\" has no `to` -> write to = [x, y]",
        ),
        (
            "from = [0, 0]\nto = [1, 2]",
            "8:6 line \"Gate\" of camera \"門\" has `to` [1, 2] outside",
        ),
        (
            "from = [0, 0]\nto = [0, 0]",
            "too short for anybody to cross",
        ),
        (
            "from = [0]\nto = [1, 1]",
            "`from` in [[camera.line]] of camera \"門\"",
        ),
    ] {
        let found = problems(&format!("{CAMERA}{}", line(lines)));
        assert!(found.iter().any(|f| f.contains(why)), "{lines}\n{found:#?}");
    }
}

#[test]
fn filters_and_timing() {
    for (lines, why) in [
        (
            "classes = [\"persn\"]",
            "names the class \"persn\", which is not analysed -> did you mean \"person\"?",
        ),
        (
            "classes = [\"dog\"]",
            "-> add it to classes in [analysis], or write one of: person, vehicle, bicycle",
        ),
        (
            "min_score = 1.5",
            "has `min_score` 1.5 -> write a number from 0 to 1",
        ),
        ("min_height = 40", "has `min_height` 40"),
        (
            "min_height = 0.5\nmax_height = 0.1",
            "has min_height 0.5 and max_height 0.1: nothing is both",
        ),
        ("min_ratio = 2\nmax_ratio = 2", "nothing is both"),
        ("max_ratio = nan", "has `max_ratio` NaN"),
        (
            "inertia_looks = 0",
            "has `inertia_looks` 0 -> write a number from 1 to 50",
        ),
        (
            "cool_down_seconds = 90000",
            "write a number from 0 to 86400",
        ),
        (
            "schedule = \"night\"",
            "names the schedule \"night\", which there is not -> add a [[schedule]]",
        ),
        (
            "event = false\ncool_down_seconds = 5",
            "has `cool_down_seconds` but makes no events -> remove the line",
        ),
    ] {
        check(&zone(lines), &[why]);
        check(&line(lines), &[why]);
    }
    check(
        &zone("loitering_seconds = 100000"),
        &["has `loitering_seconds` 100000"],
    );
    check(&zone("occupancy = 5000"), &["has `occupancy` 5000"]);
    check(
        &zone("event = false\noccupancy = 5\ncool_down_seconds = 5"),
        &[],
    );
}

#[test]
fn names() {
    check(
        &(zone("") + &zone("")),
        &["10:8 zone \"Yard\" of camera \"門\" has the name of another"],
    );
    check(
        &(zone("") + &line("").replace("Gate", "Yard")),
        &["line \"Yard\" of camera \"門\" has the name of another zone or line"],
    );
    check(
        "[[camera.zone]]\npoints = [[0, 0], [1, 0], [1, 1]]",
        &["5:1 zone 1 of camera \"門\" has a name of 0"],
    );
    let many: String = (0..33)
        .map(|n| zone("").replace("Yard", &format!("Yard {n}")))
        .collect();
    check(&many, &["camera \"門\" has 33 [[camera.zone]]"]);
}

#[test]
fn unknown_keys_are_named_with_their_camera() {
    check(
        &zone("inertia = 3\nloitring_seconds = 5"),
        &[
            "8:1 unknown key `inertia` in [[camera.zone]] of camera \"門\" -> did you mean `inertia_looks`?",
            "9:1 unknown key `loitring_seconds` in [[camera.zone]] of camera \"門\" -> did you mean `loitering_seconds`?",
        ],
    );
    check(
        &line("colour = 1"),
        &[
            "unknown key `colour` in [[camera.line]] of camera \"門\" -> remove the line; known here: name, from",
        ],
    );
    check(
        "[camera.zone]\nname = \"Yard\"",
        &["-> write [[camera.zone]] with two brackets"],
    );
    check(
        &zone("points = [[0, 0], [1, 0], [1]]"),
        &["`points` in [[camera.zone]] of camera \"門\""],
    );
    check(
        &zone("event = \"yes\""),
        &["8:9 `event` in [[camera.zone]] of camera \"門\": invalid type"],
    );
}

#[test]
fn schedules() {
    let with = |lines: &str| zone("schedule = \"night\"") + lines;
    let night = |from: &str, to: &str| with(&NIGHT.replace(from, to));
    for (lines, why) in [
        (
            with("[[schedule]]\nname = \"night\"\n"),
            "schedule \"night\" has 0 spans -> add 1 to 32 [[schedule.span]]",
        ),
        (
            night("name", "time_zone = \"Asia/Tokio\"\nname"),
            "`time_zone` in [[schedule]]: there is no time zone \"Asia/Tokio\" -> write the IANA name",
        ),
        (
            night("22:00", "25:00"),
            "12:8 `from` in [[schedule.span]] of schedule \"night\": it is no time of day -> write a time from \"00:00\"",
        ),
        (
            night("22:00", "06:00"),
            "has a span 1 that ends when it begins",
        ),
        (
            night("from", "days = [\"monday\"]\nfrom"),
            "`days` in [[schedule.span]] of schedule \"night\": unknown variant `monday`",
        ),
        (
            night("from", "holidays = \"never\"\nfrom"),
            "`holidays` in [[schedule.span]] of schedule \"night\": unknown variant",
        ),
        (
            night("from", "until = \"5:00\"\nfrom"),
            "unknown key `until` in [[schedule.span]] of schedule \"night\"",
        ),
        (
            night("name", "extra_holidays = [\"2026-02-30\"]\nname"),
            "`extra_holidays` in [[schedule]]",
        ),
        (
            with(
                &NIGHT
                    .replace("name", "japanese_holidays = false\nname")
                    .replace("from", "holidays = \"only\"\nfrom"),
            ),
            "has a span 1 that asks for holidays, and knows none",
        ),
        (with(NIGHT) + NIGHT, "has the name of another schedule"),
        (
            with(NIGHT) + &NIGHT.replace("night", "noon"),
            "schedule \"noon\" is used by no zone and no line",
        ),
    ] {
        check(&lines, &[why]);
    }
    check(
        &(zone("schedule = \"nigth\"") + NIGHT),
        &[
            "names the schedule \"nigth\", which there is not -> did you mean \"night\"?",
            "schedule \"night\" is used by no zone",
        ],
    );
}
