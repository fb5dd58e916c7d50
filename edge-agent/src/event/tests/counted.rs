//! What is counted, and when it is told.

use super::places::{at, rules_with};
use super::*;

const PLACES: &str = "object_events = false\n[[camera.zone]]\nname = \"Left\"\nevent = false\npoints = [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n[[camera.line]]\nname = \"Middle\"\nevent = false\nfrom = [0.5, 1]\nto = [0.5, 0]\n";

/// The tests begin 20 seconds into a minute.
const TO_NEXT_MINUTE: f64 = 40.0;

fn words(counts: &[CountRecord]) -> Vec<String> {
    let word = |count: &CountRecord| {
        let minute = count
            .minute_us
            .since_us(time(TO_NEXT_MINUTE).captured_at_us)
            / 60_000_000;
        let place = [&count.zone, &count.line, &count.direction];
        let place: Vec<&str> = place.into_iter().flatten().map(String::as_str).collect();
        let peak = count.peak.map(|peak| format!(" peak {peak}"));
        format!(
            "{minute}: {} {} {}{}",
            count.count,
            count.class,
            place.join(" "),
            peak.unwrap_or_default()
        )
    };
    counts.iter().map(word).collect()
}

/// Five looks a second; the counts that are told.
fn count(
    rules: &mut Rules,
    (from, to): (f64, f64),
    tracks: impl Fn(f64) -> Vec<TrackState>,
) -> Vec<CountRecord> {
    let looks = ((to - from) * 5.0).round() as usize;
    (0..looks)
        .map(|look| from + look as f64 / 5.0)
        .flat_map(|at| rules.update(&time(at), 1.0, &tracks(at)).counts)
        .collect()
}

#[test]
fn a_minute_is_told_when_the_next_one_begins() {
    let mut rules = rules_with(PLACES);
    // One stands at the left for two minutes under changing tracks; one comes from there, and one goes back.
    let tracks = |now: f64| {
        let standing = at(100 + now as u64 / 7, 0.1);
        let walker = match now {
            ..10.0 => at(1, 0.4 + 0.03 * now as f32),
            // Under another track.
            _ => at(2, 0.68),
        };
        vec![standing, walker]
    };
    let told = count(&mut rules, (0.0, TO_NEXT_MINUTE + 60.2), tracks);
    assert_eq!(
        words(&told),
        [
            "-1: 2 person ",
            "-1: 2 person Left peak 2",
            "-1: 1 person Middle in",
            "0: 2 person ",
            "0: 1 person Left peak 1",
        ]
    );
    assert_eq!(rules.opened_total(), 0);
    // At the end the begun minute is told too; it adds up with what is told after a restart.
    let last = rules.close_all(&time(TO_NEXT_MINUTE + 61.0)).counts;
    assert_eq!(words(&last), ["1: 2 person ", "1: 1 person Left peak 1"]);
    assert_eq!(rules.close_all(&time(102.0)).counts, []);
}

#[test]
fn time_that_passes_without_a_frame_ends_a_minute_too() {
    let mut rules = rules_with(PLACES);
    count(&mut rules, (0.0, 5.0), |_| vec![at(1, 0.3)]);
    assert_eq!(rules.without_frame(&time(TO_NEXT_MINUTE + 19.0)).counts, []);
    let told = rules.without_frame(&time(TO_NEXT_MINUTE + 21.0)).counts;
    assert_eq!(words(&told), ["-1: 1 person ", "-1: 1 person Left peak 1"]);
    assert_eq!(rules.without_frame(&time(200.0)).counts, []);
}

#[test]
fn where_nothing_was_nothing_is_told() {
    let mut rules = rules_with(PLACES);
    assert_eq!(count(&mut rules, (0.0, 200.0), |_| vec![]), []);
}

#[test]
fn a_minute_goes_with_the_clock_that_is_set_in_it() {
    let mut rules = rules_with("");
    let by_us = -1_700_000_000_000_000;
    rules.update(&set_clock(time(0.0), by_us), 1.0, &[at(1, 0.3)]);
    let told = rules.update(&time(1.0), 1.0, &[at(1, 0.3)]).counts;
    assert_eq!(told, []);
    let told = rules.update(&time(TO_NEXT_MINUTE), 1.0, &[]).counts;
    assert_eq!(words(&told), ["-1: 1 person "]);
}
