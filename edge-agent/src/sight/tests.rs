//! Occlusion, defocus and a moved camera are told apart, on drawn scenes, and ordinary change is none of them.

use super::*;
use crate::luma::scenes::Picture;
use Blindness::*;
use SightChange::*;

/// Runs two minutes of the street, then `scene` by seconds, and gives what was told, with the second of the scene.
fn told(
    street: &Picture,
    noise: f32,
    seconds: u64,
    scene: impl Fn(u64) -> Picture,
) -> Vec<(u64, SightChange)> {
    let mut model = SightModel::new();
    let mut see = |second: u64, picture: Picture| {
        let picture = picture.with_noise(noise, second);
        model.update(Duration::from_secs(1000 + second), &picture.small())
    };
    for second in 0..40 {
        assert_eq!(see(second, street.clone()), None, "while it learns");
    }
    let told = (0..seconds)
        .filter_map(|second| see(40 + second, scene(second)).map(|change| (second, change)));
    told.collect()
}

#[test]
fn each_loss_is_told_once_and_its_end_once() {
    let (street, other) = (Picture::street(1), Picture::street(2));
    let bad = |second: u64| (20..80).contains(&second);
    type Harm<'a> = Box<dyn Fn(Picture) -> Picture + 'a>;
    let cases: [(Blindness, Harm<'_>); 8] = [
        (Covered, Box::new(|street| street.covered(60.0))),
        (Covered, Box::new(|_| Picture::flat(180.0))),
        (Turned, Box::new(|_| other.clone())),
        (Turned, Box::new(|street| street.turned(&other, 0.4))),
        (Defocused, Box::new(|street| street.blurred(5))),
        (Black, Box::new(|_| Picture::flat(16.0))),
        (Dark, Box::new(|street| street.lit(0.05, 22.0))),
        (
            Turned,
            Box::new(|street| {
                street.map(|(x, y), _| 128.0 + 60.0 * (x / 9.0).sin() * (y / 7.0).cos())
            }),
        ),
    ];
    for (kind, harm) in cases {
        let told = told(
            &street,
            if kind == Black { 0.3 } else { 3.0 },
            120,
            |second| {
                if bad(second) {
                    harm(street.clone())
                } else {
                    street.clone()
                }
            },
        );
        let wait = if kind == Dark { 29..=33 } else { 7..=11 };
        let [(lost, Lost(said)), (regained, Regained)] = told[..] else {
            panic!("{kind:?}: {told:?}");
        };
        assert_eq!(said, kind);
        assert!(wait.contains(&(lost - 20)), "{kind:?} after {}", lost - 20);
        assert!(
            (4..=8).contains(&(regained - 80)),
            "{kind:?} over after {}",
            regained - 80
        );
    }
}

#[test]
fn a_camera_that_is_covered_soon_after_it_was_put_up_is_not_dark() {
    let street = Picture::street(1);
    let mut model = SightModel::new();
    let told: Vec<_> = (0..40)
        .filter_map(|second| {
            let picture = match second {
                0..14 => street.clone(),
                _ => street.clone().covered(60.0),
            };
            let luma = picture.with_noise(3.0, second).small();
            let change = model.update(Duration::from_secs(second), &luma)?;
            Some((second, change))
        })
        .collect();
    assert!(matches!(told[..], [(22..=24, Lost(Covered))]), "{told:?}");
}

#[test]
fn weather_light_and_traffic_are_no_loss() {
    let street = Picture::street(3);
    type Scene<'a> = Box<dyn Fn(u64) -> Picture + 'a>;
    let on = |change: fn(Picture, u64) -> Picture| -> Scene<'_> {
        let street = &street;
        Box::new(move |second| change(street.clone(), second))
    };
    let cases: [(&str, f32, Scene<'_>); 9] = [
        ("noise", 8.0, on(|street, _| street)),
        (
            "rain",
            3.0,
            on(|street, second| street.with_rain(300, second)),
        ),
        (
            "snow",
            3.0,
            on(|street, second| street.with_rain(900, second).lit(0.8, 40.0)),
        ),
        (
            "lights",
            3.0,
            on(|street, second| street.lit(if second / 30 % 2 == 0 { 1.0 } else { 0.4 }, 8.0)),
        ),
        (
            "night with lamps",
            4.0,
            on(|street, second| {
                street
                    .lit((1.0 - 0.01 * second as f32).max(0.1), 12.0)
                    .with_lamp(0.2, 0.3, 6.0)
            }),
        ),
        (
            "headlights",
            4.0,
            on(|street, second| {
                let street = street.lit(0.3, 5.0);
                if second % 7 < 2 {
                    street.with_lamp(0.2 * (second % 7) as f32, 0.6, 4.0)
                } else {
                    street
                }
            }),
        ),
        (
            "infra-red",
            4.0,
            on(|street, second| {
                if second > 30 {
                    street.map(|(x, _), v| 30.0 + 0.6 * v + 20.0 * (x / 150.0).sin())
                } else {
                    street
                }
            }),
        ),
        (
            "a lorry for a minute",
            3.0,
            on(|street, second| {
                if (30..90).contains(&second) {
                    street.with_box([0.05, 0.15, 0.8, 0.75], 150.0)
                } else {
                    street
                }
            }),
        ),
        (
            "a moment of cloth",
            3.0,
            on(|street, second| {
                if (30..36).contains(&second) {
                    street.covered(60.0)
                } else {
                    street
                }
            }),
        ),
    ];
    for (what, noise, scene) in cases {
        assert_eq!(told(&street, noise, 150, scene), [], "{what}");
    }
}

#[test]
fn night_is_dark_and_never_covered() {
    let street = Picture::street(4);
    // The camera brightens the last of it: what is left in the end is noise around a dark grey.
    let night = |second: u64| {
        let light = 1.0 - second.min(600) as f32 / 600.0;
        street.clone().lit(light * light, 45.0 - 35.0 * light)
    };
    let told = told(&street, 6.0, 900, |second| {
        if second < 800 {
            night(second)
        } else {
            street.clone()
        }
    });
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(matches!(told[0], (400..800, Lost(Dark))), "{told:?}");
    assert!(matches!(told[1], (800..810, Regained)), "{told:?}");
}

#[test]
fn a_frozen_picture_is_told_where_noise_was_before() {
    let street = Picture::street(5);
    let mut model = SightModel::new();
    let mut news = Vec::new();
    for second in 0..400_u64 {
        let noise = if (120..260).contains(&second) {
            120
        } else {
            second
        };
        let luma = street.clone().with_noise(2.0, noise).small();
        if let Some(change) = model.update(Duration::from_secs(second), &luma) {
            news.push((second, change));
        }
    }
    assert!(
        matches!(news[..], [(180..=183, Lost(Frozen)), (264..=267, Regained)]),
        "{news:?}"
    );
}

#[test]
fn a_frozen_picture_that_is_encoded_again_and_again_is_told() {
    let street = Picture::street(5);
    let mut model = SightModel::new();
    let mut news = Vec::new();
    for second in 0..260_u64 {
        let picture = match second {
            0..120 => street.clone().with_noise(4.0, second),
            // Each key frame is rounded another way.
            _ => street
                .clone()
                .with_noise(4.0, 120)
                .lit(1.0, 0.4 * (second % 2) as f32),
        };
        if let Some(change) = model.update(Duration::from_secs(second), &picture.small()) {
            news.push((second, change));
        }
    }
    assert!(matches!(news[..], [(180..=183, Lost(Frozen))]), "{news:?}");
}

#[test]
fn lights_that_go_off_and_take_the_noise_with_them_freeze_nothing() {
    let street = Picture::street(5);
    let mut model = SightModel::new();
    for second in 0..600_u64 {
        let picture = match second {
            0..150 => street.clone().with_noise(3.0, second),
            _ => street.clone().lit(0.4, 5.0),
        };
        let told = model.update(Duration::from_secs(second), &picture.small());
        assert_eq!(told, None, "{second}");
    }
}

#[test]
fn a_test_picture_without_noise_is_not_frozen() {
    let street = Picture::street(6);
    let mut model = SightModel::new();
    for second in 0..600_u64 {
        // Something moves in it for some time, and then nothing does.
        let ball = if second < 300 { second % 50 } else { 0 };
        let luma = street
            .clone()
            .with_box([0.01 * ball as f32, 0.4, 0.1, 0.1], 255.0)
            .small();
        assert_eq!(
            model.update(Duration::from_secs(second), &luma),
            None,
            "{second}"
        );
    }
}

#[test]
fn a_view_that_stays_is_the_new_one_after_an_hour() {
    let (street, other) = (Picture::street(7).small(), Picture::street(8).small());
    let mut model = SightModel::new();
    let mut news = Vec::new();
    for step in 0..4000_u64 {
        let luma = if step < 60 { &street } else { &other };
        if let Some(change) = model.update(Duration::from_secs(2 * step), luma) {
            news.push((2 * step - 120, change));
        }
        assert_eq!(
            model.is_good(),
            (5..60).contains(&step) || news.len() == 2,
            "{step}"
        );
    }
    assert!(
        matches!(news[..], [(8..=12, Lost(Turned)), (3600..=3640, Regained)]),
        "{news:?}"
    );
}

#[test]
fn a_camera_that_was_covered_while_it_was_turned_is_believed_too() {
    let (street, other) = (Picture::street(7), Picture::street(8));
    let harms = [
        (Covered, street.clone().covered(60.0)),
        (Black, Picture::flat(16.0)),
    ];
    for (kind, harm) in harms {
        let told = told(&street, 0.5, 3800, |second| match second {
            0..12 => harm.clone(),
            _ => other.clone(),
        });
        assert!(
            matches!(
                told[..],
                [(7..=11, Lost(first)), (19..=23, Lost(Turned)), (3600..=3640, Regained)] if first == kind
            ),
            "{kind:?}: {told:?}"
        );
    }
}

#[test]
fn a_loss_that_wavers_tells_each_of_its_kinds_once() {
    let (street, other) = (Picture::street(7), Picture::street(8));
    let told = told(&street, 3.0, 200, |second| match second / 20 {
        9.. => street.clone(),
        even if even % 2 == 0 => street.clone().covered(60.0),
        _ => other.clone(),
    });
    assert!(
        matches!(
            told[..],
            [
                (7..=11, Lost(Covered)),
                (27..=31, Lost(Turned)),
                (184..=188, Regained)
            ]
        ),
        "{told:?}"
    );
}

#[test]
fn a_pause_is_no_time_in_which_a_new_view_was_kept() {
    let (street, other) = (Picture::street(7), Picture::street(8));
    let mut model = SightModel::new();
    let mut see = |second: u64, picture: &Picture| {
        let picture = picture.clone().with_noise(3.0, second);
        model.update(Duration::from_secs(second), &picture.small())
    };
    let seconds = (0..80).chain(4000..4060);
    let told: Vec<_> = seconds
        .filter_map(|second| see(second, if second < 60 { &street } else { &other }))
        .collect();
    assert_eq!(told, [Lost(Turned)]);
}

#[test]
fn a_camera_that_starts_blind_says_so() {
    for (value, kind) in [(16.0, Black), (40.0, Dark), (150.0, Covered)] {
        let mut model = SightModel::new();
        let told: Vec<_> = (0..60)
            .filter_map(|second| {
                let picture =
                    Picture::flat(value).with_noise(if kind == Black { 0.0 } else { 3.0 }, second);
                assert!(!model.is_good());
                model.update(Duration::from_secs(second), &picture.small())
            })
            .collect();
        assert_eq!(told, [Lost(kind)]);
    }
}
