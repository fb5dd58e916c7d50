//! Movement is found where something moved, and noise, light and weather are not movement.

use super::*;
use crate::geometry;
use crate::luma::scenes::Picture;

const FILM: f32 = 0.1;
const KEYS: f32 = 2.0;

/// A model and the time of its last picture.
struct Watch {
    model: MotionModel,
    seconds: f32,
    pictures: u64,
    noise: f32,
}

impl Watch {
    /// That has learned the street, with noise of `noise` grey levels.
    fn of(street: &Picture, noise: f32, every: f32) -> Self {
        let mut watch = Self::new(&[], noise);
        let count = (10.0 / every) as usize;
        for _ in 0..count.max(20) {
            watch.see(every, street.clone());
        }
        watch
    }

    fn new(masks: &[Vec<[f32; 2]>], noise: f32) -> Self {
        Self {
            model: MotionModel::new(masks),
            seconds: 100.0,
            pictures: 0,
            noise,
        }
    }

    fn see(&mut self, after: f32, picture: Picture) -> Motion {
        self.seconds += after;
        self.pictures += 1;
        let noisy = picture.with_noise(self.noise, self.pictures);
        self.model
            .update(Duration::from_secs_f32(self.seconds), &noisy.small())
    }

    /// How many of `count` pictures show something that moves.
    fn count(&mut self, every: f32, count: usize, picture: impl Fn(usize) -> Picture) -> usize {
        (0..count)
            .filter(|index| self.see(every, picture(*index)).moving)
            .count()
    }
}

fn is_covered(motion: &Motion, [x, y, w, h]: [f32; 4]) -> bool {
    let object = NormBox { x, y, w, h };
    let parts = motion.regions.iter();
    parts
        .map(|region| geometry::overlap(region, &object))
        .any(|shared| shared > 0.9 * w * h)
}

#[test]
fn noise_alone_never_moves() {
    let street = Picture::street(1);
    for every in [FILM, KEYS] {
        for noise in [0.0, 2.0, 6.0, 12.0] {
            let mut watch = Watch::new(&[], noise);
            let moved = watch.count(every, 150, |_| street.clone());
            assert_eq!(moved, 0, "every {every} s, noise {noise}");
        }
    }
}

#[test]
fn what_walks_is_found_in_the_second_picture_of_a_film_and_in_the_first_of_key_frames() {
    let street = Picture::street(2);
    // (width and height of the walker, grey levels, noise)
    let cases = [
        ([0.02, 0.09], 0.0, 3.0),
        ([0.015, 0.08], 250.0, 6.0),
        ([0.1, 0.4], 20.0, 6.0),
        ([0.3, 0.5], 235.0, 2.0),
    ];
    for (every, stride, patience) in [(FILM, 0.01, 2), (KEYS, 0.08, 1)] {
        for ([w, h], grey, noise) in cases {
            let mut watch = Watch::of(&street, noise, every);
            for index in 0..8 {
                let walker = [0.1 + stride * index as f32, 0.3, w, h];
                let motion = watch.see(every, street.clone().with_box(walker, grey));
                if index + 1 >= patience {
                    assert!(
                        motion.moving,
                        "{walker:?} in picture {index}, every {every} s"
                    );
                    assert!(is_covered(&motion, walker), "{walker:?}: {motion:?}");
                    assert!(
                        motion.share < 2.5 * w * h + 0.01,
                        "{walker:?}: {}",
                        motion.share
                    );
                }
            }
        }
    }
}

#[test]
fn two_who_walk_apart_are_two_regions_the_larger_first() {
    let street = Picture::street(3);
    let mut watch = Watch::of(&street, 2.0, FILM);
    let (large, small) = ([0.1, 0.2, 0.1, 0.4], [0.7, 0.5, 0.03, 0.1]);
    let both = || street.clone().with_box(large, 5.0).with_box(small, 250.0);
    watch.see(FILM, both());
    let motion = watch.see(FILM, both());
    assert_eq!(motion.regions.len(), 2, "{motion:?}");
    assert!(geometry::area(&motion.regions[0]) > geometry::area(&motion.regions[1]));
    assert!(is_covered(&motion, large) && is_covered(&motion, small));
}

#[test]
fn light_is_not_motion() {
    let street = Picture::street(4);
    type Scene = Box<dyn Fn(usize) -> Picture>;
    let on = |change: fn(Picture, f32) -> Picture| -> Scene {
        let street = street.clone();
        Box::new(move |index| change(street.clone(), index as f32))
    };
    // (what, seconds between pictures, pictures, pictures that may move, scene)
    let cases: [(&str, f32, usize, usize, Scene); 9] = [
        (
            "dusk",
            KEYS,
            200,
            0,
            on(|street, n| street.lit(1.0 - 0.004 * n, 0.0)),
        ),
        (
            "a cloud over all of it",
            FILM,
            80,
            0,
            on(|street, n| street.lit(1.0 - 0.1 * (n / 10.0).min(4.0), 0.0)),
        ),
        (
            "exposure",
            FILM,
            40,
            0,
            on(|street, n| street.lit(if n > 10.0 { 1.3 } else { 1.0 }, 5.0)),
        ),
        (
            "exposure between key frames",
            KEYS,
            20,
            0,
            on(|street, n| street.lit(if n > 10.0 { 0.7 } else { 1.0 }, 5.0)),
        ),
        (
            "lights off",
            FILM,
            60,
            1,
            on(|street, n| street.lit(if n > 10.0 { 0.15 } else { 1.0 }, 10.0)),
        ),
        (
            "a lamp goes on",
            FILM,
            80,
            60,
            on(|street, n| {
                if n > 10.0 {
                    street.with_lamp(0.3, 0.4, 0.6)
                } else {
                    street
                }
            }),
        ),
        (
            "infra-red",
            FILM,
            100,
            40,
            on(|street, n| {
                if n > 10.0 {
                    street.map(|(x, _), v| 20.0 + 0.7 * v + 40.0 * (x / 40.0).sin())
                } else {
                    street
                }
            }),
        ),
        (
            "rain",
            FILM,
            200,
            10,
            on(|street, n| street.with_rain(60, n as u64)),
        ),
        (
            "a flash",
            FILM,
            40,
            1,
            on(|street, n| {
                if n == 20.0 {
                    street.with_lamp(0.5, 0.5, 2.0)
                } else {
                    street
                }
            }),
        ),
    ];
    for (what, every, count, most, scene) in cases {
        let mut watch = Watch::of(&street, 3.0, every);
        let moved = watch.count(every, count, scene);
        assert!(moved <= most, "{what}: {moved} of {count} pictures");
    }
}

#[test]
fn a_cut_to_another_view_is_soon_over() {
    let (street, other) = (Picture::street(5), Picture::street(6));
    for every in [FILM, KEYS] {
        let mut watch = Watch::of(&street, 3.0, every);
        let moved = watch.count(every, 30, |_| other.clone());
        assert!((1..=2).contains(&moved), "every {every} s: {moved}");
        let walker = [0.5, 0.5, 0.03, 0.12];
        let seen = watch.count(every, 2, |_| other.clone().with_box(walker, 255.0));
        assert_eq!(seen, 1, "every {every} s");
    }
}

#[test]
fn a_tree_in_the_wind_is_learned_and_a_walker_beside_it_is_still_seen() {
    let street = Picture::street(7);
    let tree = |index: usize| {
        (0..24).fold(street.clone(), |picture, leaf| {
            let place = [
                0.6 + 0.03 * (leaf % 6) as f32,
                0.1 + 0.05 * (leaf / 6) as f32,
                0.025,
                0.04,
            ];
            // Leaves turn now and then, each at times of its own.
            if ((index * 7 + leaf * 13) / (3 + leaf % 4)).is_multiple_of(3) {
                picture.with_box(place, 150.0)
            } else {
                picture
            }
        })
    };
    let mut watch = Watch::of(&street, 2.0, FILM);
    let at_first = watch.count(FILM, 100, tree);
    watch.count(FILM, 500, tree);
    let learned = watch.count(FILM, 300, tree);
    assert!(at_first > 20, "the tree was not noticed: {at_first}");
    assert!(learned <= 6, "the tree was not learned: {learned} of 300");
    for x in [0.2, 0.21, 0.22] {
        watch.see(FILM, tree(1).with_box([x, 0.5, 0.02, 0.09], 10.0));
    }
    let walker = [0.23, 0.5, 0.02, 0.09];
    assert!(is_covered(
        &watch.see(FILM, tree(1).with_box(walker, 10.0)),
        walker
    ));
}

#[test]
fn a_parked_car_is_left_alone_and_where_it_stood_too() {
    let street = Picture::street(8);
    for every in [FILM, KEYS] {
        let mut watch = Watch::of(&street, 3.0, every);
        let car = |x: f32| street.clone().with_box([x, 0.5, 0.15, 0.2], 230.0);
        for n in 0..10 {
            watch.see(every, car(0.04 * n as f32));
        }
        let seconds = |seconds: f32| (seconds / every) as usize;
        watch.count(every, seconds(6.0), |_| car(0.4));
        let parked = watch.count(every, seconds(60.0), |_| car(0.4));
        assert_eq!(parked, 0, "every {every} s");
        for n in 0..5 {
            assert!(watch.see(every, car(0.45 + 0.05 * n as f32)).moving || n == 0);
        }
        watch.count(every, seconds(4.0), |_| street.clone());
        let gone = watch.count(every, seconds(30.0), |_| street.clone());
        assert_eq!(gone, 0, "every {every} s, its place");
    }
}

#[test]
fn nothing_counts_under_a_mask() {
    let street = Picture::street(9);
    let mask = vec![[0.5, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 1.0]];
    let mut watch = Watch::new(&[mask], 2.0);
    watch.count(FILM, 30, |_| street.clone());
    let walker = |left: f32| move |n: usize| [left + 0.01 * n as f32, 0.3, 0.05, 0.3];
    let walk = |at: [f32; 4]| street.clone().with_box(at, 0.0);
    assert_eq!(watch.count(FILM, 10, |n| walk(walker(0.6)(n))), 0);
    assert!(watch.count(FILM, 10, |n| walk(walker(0.1)(n))) >= 9);
}

#[test]
fn the_first_pictures_and_those_after_a_pause_only_teach() {
    let street = Picture::street(10);
    let walker = |n: usize| {
        street
            .clone()
            .with_box([0.1 + 0.02 * n as f32, 0.3, 0.05, 0.3], 0.0)
    };
    let mut watch = Watch::new(&[], 2.0);
    assert_eq!(watch.count(FILM, 5, walker), 0);
    assert!(watch.count(FILM, 5, |n| walker(5 + n)) >= 3);

    let mut watch = Watch::of(&street, 2.0, KEYS);
    let later = street
        .clone()
        .lit(0.8, 0.0)
        .with_box([0.7, 0.7, 0.1, 0.1], 10.0);
    let moved = usize::from(watch.see(600.0, later.clone()).moving);
    assert!(moved + watch.count(KEYS, 20, |_| later.clone()) <= 2);
}

#[test]
fn time_that_steps_back_and_another_size_begin_anew() {
    let street = Picture::street(11);
    let mut watch = Watch::of(&street, 2.0, FILM);
    let other = Picture::street(12);
    assert!(!watch.see(-50.0, other.clone()).moving);
    assert_eq!(watch.count(FILM, 30, |_| other.clone()), 0);
    let small = SmallLuma {
        width: 4,
        height: 3,
        pixels: vec![9; 12],
        detail: 0.0,
    };
    assert_eq!(
        watch.model.update(Duration::from_secs(500), &small),
        Motion::default()
    );
    let empty = SmallLuma::default();
    for second in 501..510 {
        assert!(
            !watch
                .model
                .update(Duration::from_secs(second), &empty)
                .moving
        );
    }
}
