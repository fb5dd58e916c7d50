//! The tracker tried on scripted walks: crossings, occlusions, standstill.

#![allow(clippy::unwrap_used)]
use super::*;
use std::collections::BTreeSet;

const THRESHOLDS: Thresholds = Thresholds {
    score: 0.5,
    follow: 0.3,
};

fn found(class: &str, score: f32, x: f32, y: f32) -> Detection {
    Detection {
        class: class.into(),
        score,
        rect: NormBox {
            x,
            y,
            w: 0.05,
            h: 0.2,
        },
    }
}

fn tracker() -> Tracker {
    Tracker::new(TrackerConfig::default(), THRESHOLDS)
}

/// Five looks a second.
fn look(number: usize) -> Duration {
    Duration::from_millis(200 * number as u64)
}

/// Runs a script of looks and returns the tracks after each.
fn run(looks: &[Vec<Detection>]) -> Vec<Vec<TrackState>> {
    let mut tracker = tracker();
    let numbered = looks.iter().enumerate();
    numbered
        .map(|(number, detections)| tracker.update(look(number), detections))
        .collect()
}

fn confirmed_ids(states: &[Vec<TrackState>]) -> BTreeSet<TrackId> {
    let all = states.iter().flatten();
    all.filter(|state| state.confirmed)
        .map(|state| state.id)
        .collect()
}

#[test]
fn a_walker_is_one_track_confirmed_at_the_third_look() {
    let looks: Vec<_> = (0..20)
        .map(|n| vec![found("person", 0.7, 0.1 + 0.015 * n as f32, 0.4)])
        .collect();
    let states = run(&looks);
    assert!(!states[1][0].confirmed);
    assert!(states[2][0].confirmed);
    assert_eq!(confirmed_ids(&states).len(), 1);
}

#[test]
fn noise_never_becomes_a_track() {
    let flicker: Vec<_> = (0..30)
        .map(|n| match n % 6 {
            0 => vec![found("person", 0.8, 0.03 * n as f32, 0.4)],
            _ => vec![],
        })
        .collect();
    assert!(confirmed_ids(&run(&flicker)).is_empty());
    // Below the score that starts a track, however often.
    let faint: Vec<_> = (0..30)
        .map(|_| vec![found("person", 0.45, 0.5, 0.4)])
        .collect();
    assert!(run(&faint).iter().all(Vec::is_empty));
}

#[test]
fn a_weak_detection_keeps_a_track_alive() {
    let looks: Vec<_> = (0..40)
        .map(|n| {
            let score = if n < 5 { 0.8 } else { 0.35 };
            vec![found("person", score, 0.1 + 0.01 * n as f32, 0.4)]
        })
        .collect();
    let states = run(&looks);
    assert_eq!(confirmed_ids(&states).len(), 1);
    assert_eq!(states[39][0].detection, Some(0));
}

#[test]
fn an_occluded_walker_keeps_his_id() {
    let looks: Vec<_> = (0..30)
        .map(|n| match n {
            10..17 => vec![],
            _ => vec![found("person", 0.7, 0.1 + 0.015 * n as f32, 0.4)],
        })
        .collect();
    let states = run(&looks);
    assert_eq!(confirmed_ids(&states).len(), 1);
    assert_eq!(states[14][0].detection, None);
    assert!(states[14][0].unseen >= Duration::from_millis(900));
}

#[test]
fn two_who_cross_keep_their_ids() {
    let looks: Vec<_> = (0..30)
        .map(|n| {
            let way = 0.02 * n as f32;
            vec![
                found("person", 0.7, 0.1 + way, 0.40),
                found("person", 0.7, 0.7 - way, 0.46),
            ]
        })
        .collect();
    let states = run(&looks);
    assert_eq!(confirmed_ids(&states).len(), 2);
    let (first, last) = (&states[2], &states[29]);
    for before in first {
        let after = last.iter().find(|after| after.id == before.id).unwrap();
        assert_eq!(before.detection, after.detection, "ids were exchanged");
    }
}

#[test]
fn a_fast_car_is_one_track_though_its_boxes_do_not_overlap() {
    let looks: Vec<_> = (0..8)
        .map(|n| vec![found("vehicle", 0.8, 0.1 + 0.06 * n as f32, 0.4)])
        .collect();
    assert_eq!(confirmed_ids(&run(&looks)).len(), 1);
}

#[test]
fn rider_and_bicycle_stay_two_and_the_class_is_voted() {
    let looks: Vec<_> = (0..15)
        .map(|n| {
            let x = 0.1 + 0.02 * n as f32;
            // Once the bicycle is taken for a vehicle.
            let machine = if n == 7 { "vehicle" } else { "bicycle" };
            vec![found("person", 0.8, x, 0.4), found(machine, 0.7, x, 0.43)]
        })
        .collect();
    let states = run(&looks);
    assert_eq!(confirmed_ids(&states).len(), 2);
    let mut classes: Vec<&str> = states[14].iter().map(|state| &*state.class).collect();
    classes.sort_unstable();
    assert_eq!(classes, ["bicycle", "person"]);
}

#[test]
fn a_slow_camera_confirms_at_the_second_look() {
    let mut tracker = tracker();
    tracker.update(Duration::from_secs(0), &[found("person", 0.7, 0.4, 0.4)]);
    let states = tracker.update(Duration::from_secs(1), &[found("person", 0.7, 0.4, 0.4)]);
    assert!(states[0].confirmed);
}

#[test]
fn a_clock_that_stands_still_breaks_nothing() {
    let mut tracker = tracker();
    for _ in 0..4 {
        let states = tracker.update(look(3), &[found("person", 0.7, 0.4, 0.4)]);
        assert_eq!(states.len(), 1);
    }
}
