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

/// A detection as detectors give them: its edges dance by some hundredths of its size.
fn dancing(x: f32, y: f32, seed: usize) -> Detection {
    let wave = |n: usize| ((seed * 7 + n * 13) as f32 * 2.399).sin();
    let mut found = found("person", 0.75, x, y);
    found.rect.x += 0.05 * 0.05 * wave(1);
    found.rect.y += 0.02 * 0.2 * wave(2);
    found.rect.w *= 1.0 + 0.15 * wave(3);
    found
}

/// Ids of the confirmed tracks after looking at what `scene` shows at these times.
fn follow(
    tracker: &mut Tracker,
    times: impl IntoIterator<Item = f64>,
    scene: impl Fn(f64) -> Vec<Detection>,
) -> BTreeSet<TrackId> {
    let looks = times.into_iter().map(|seconds| {
        let at = Duration::from_secs_f64(seconds);
        tracker.update(at, &scene(seconds))
    });
    confirmed_ids(&looks.collect::<Vec<_>>())
}

/// So many looks a second, from second to second.
fn rate(looks: f64, from: f64, to: f64) -> impl Iterator<Item = f64> {
    let count = ((to - from) * looks) as usize;
    (0..count).map(move |n| from + n as f64 / looks)
}

#[test]
fn who_stands_keeps_his_id_whatever_the_time_between_two_looks() {
    let scene = |at: f64| vec![dancing(0.4, 0.4, (at * 10.0) as usize)];
    for slow in [1.0, 0.5, 0.2, 0.1] {
        let mut tracker = tracker();
        let times = rate(5.0, 0.0, 4.0)
            .chain(rate(slow, 4.0, 104.0))
            .chain(rate(5.0, 104.0, 110.0));
        let ids = follow(&mut tracker, times, scene);
        assert_eq!(ids.len(), 1, "{slow} looks a second");
    }
}

#[test]
fn a_parked_car_hidden_by_a_lorry_keeps_its_id() {
    let car = |at: f64| match at {
        3.0..8.0 => vec![],
        _ => vec![found("vehicle", 0.8, 0.4, 0.5)],
    };
    assert_eq!(follow(&mut tracker(), rate(5.0, 0.0, 12.0), car).len(), 1);
    // Two looks that miss it, four seconds in all, are nothing at a look every two seconds.
    let missed_twice = |at: f64| match at {
        7.0..11.0 => vec![],
        _ => vec![found("vehicle", 0.8, 0.4, 0.5)],
    };
    let ids = follow(&mut tracker(), rate(0.5, 0.0, 30.0), missed_twice);
    assert_eq!(ids.len(), 1);
}

#[test]
fn behind_a_pole_a_walker_keeps_his_id() {
    for looks in [10.0, 5.0, 2.5] {
        let scene = |at: f64| match at {
            3.0..4.2 => vec![],
            _ => vec![dancing(0.1 + 0.06 * at as f32, 0.4, (at * 10.0) as usize)],
        };
        let ids = follow(&mut tracker(), rate(looks, 0.0, 8.0), scene);
        assert_eq!(ids.len(), 1, "{looks} looks a second");
    }
}

#[test]
fn after_a_gap_a_walker_is_somebody_new_and_who_stood_is_not() {
    let mut tracker = tracker();
    let both = |at: f64| {
        let walker = dancing(0.1 + 0.05 * (at as f32 % 10.0), 0.6, (at * 10.0) as usize);
        vec![walker, dancing(0.8, 0.2, (at * 10.0) as usize)]
    };
    let before = follow(&mut tracker, rate(5.0, 0.0, 4.0), both);
    let after = follow(&mut tracker, rate(5.0, 14.0, 18.0), both);
    assert_eq!((before.len(), after.len()), (2, 2));
    assert_eq!(before.intersection(&after).count(), 1);
}

#[test]
fn what_is_not_found_is_shown_for_one_look_and_expected_further_on() {
    let mut tracker = tracker();
    let scene = |at: f64| vec![found("person", 0.8, 0.1 + 0.05 * at as f32, 0.4)];
    follow(&mut tracker, rate(5.0, 0.0, 3.0), scene);
    let at = |seconds: f64| Duration::from_secs_f64(seconds);
    let between = tracker.expected(at(2.9));
    assert!(between[0].shown() && between[0].detection.is_none());
    assert!((between[0].rect.x - 0.245).abs() < 0.004, "{between:?}");
    assert!(tracker.update(at(3.0), &[])[0].shown());
    let gone = tracker.update(at(3.2), &[]);
    assert!(!gone[0].shown());
    assert!((gone[0].rect.x - 0.26).abs() < 0.01, "{gone:?}");
    assert_eq!(tracker.expected(at(3.2)), gone);
}

#[test]
fn it_is_calm_when_all_walk_as_expected_and_nobody_is_near_another() {
    let ahead = Duration::from_millis(400);
    let calm = |at: f64, scene: &dyn Fn(f64) -> Vec<Detection>| {
        let mut tracker = tracker();
        follow(&mut tracker, rate(5.0, 0.0, at), scene);
        tracker.calm(ahead)
    };
    let walker = |at: f64| found("person", 0.8, 0.1 + 0.05 * at as f32, 0.4);
    let alone = |at: f64| vec![walker(at)];
    assert!(tracker().calm(ahead));
    assert!(!calm(0.3, &alone), "not yet confirmed");
    assert!(calm(3.0, &alone));
    // Somebody stands where he will be at second 5; he gets there.
    let meeting = |at: f64| vec![walker(at), found("person", 0.8, 0.35, 0.42)];
    assert!(calm(3.0, &meeting));
    assert!(!calm(4.0, &meeting), "they will touch before the next look");
    // Hidden in the last look.
    let hidden = |at: f64| if at < 2.7 { alone(at) } else { vec![] };
    assert!(!calm(3.0, &hidden));
    // Turned round at second 2.7, at the same pace.
    let turned = |at: f64| {
        let way = if at < 2.7 { at } else { 5.2 - at };
        vec![found("person", 0.8, 0.1 + 0.1 * way as f32, 0.4)]
    };
    assert!(!calm(3.0, &turned));
}

#[test]
fn the_same_object_found_twice_is_one_track() {
    let twice = |at: f64| {
        let x = 0.1 + 0.03 * at as f32;
        vec![
            found("person", 0.9, x, 0.4),
            found("person", 0.8, x + 0.012, 0.41),
        ]
    };
    assert_eq!(follow(&mut tracker(), rate(5.0, 0.0, 4.0), twice).len(), 1);
}

proptest::proptest! {
    /// Two who pass each other, one nearer than the other and hiding him when they are close, at usual paces and rates.
    #[test]
    fn who_meets_and_hides_another_exchanges_no_id(
        paces in (0.03_f32..0.12, 0.03_f32..0.12),
        nearer in 0.05_f32..0.12,
        looks in 3..=10_u32,
        seed in 0_usize..1000,
    ) {
        let meet_at = 4.0_f32;
        let scene = |at: f64| {
            let (number, since) = ((at * 10.0) as usize + seed, at as f32 - meet_at);
            let near = dancing(0.5 + paces.0 * since, 0.4 + nearer, number);
            let far = dancing(0.5 - paces.1 * since, 0.4, number + 500);
            // A detector gives one box for two that overlap this much.
            match geometry::iou(&near.rect, &far.rect) > 0.4 {
                true => vec![near],
                false => vec![near, far],
            }
        };
        let mut tracker = tracker();
        follow(&mut tracker, rate(f64::from(looks), 0.0, 3.0), scene);
        let before = tracker.expected(Duration::from_secs(3));
        follow(&mut tracker, rate(f64::from(looks), 3.0, 6.0), scene);
        let after = tracker.expected(Duration::from_secs(6));
        let near_then_far = |states: &[TrackState]| {
            let mut confirmed: Vec<_> = states.iter().filter(|one| one.confirmed).collect();
            confirmed.sort_by(|a, b| b.rect.y.total_cmp(&a.rect.y));
            confirmed.iter().map(|one| one.id).collect::<Vec<_>>()
        };
        proptest::prop_assert_eq!(near_then_far(&before), near_then_far(&after));
    }
}
