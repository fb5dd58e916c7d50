//! Streams as encoders make them, and what a gate opens for.

#![allow(clippy::unwrap_used)]

use super::*;

const FPS: u32 = 15;

/// A stream as an encoder makes it, and what a gate does with it: key frames are looked at as soon as they come.
struct Stream {
    gate: Gate,
    number: u64,
    since_key: u32,
    group: u32,
    noise: u64,
    encoder: Encoder,
}

/// Sizes and quantisers of one picture, by position in the group and what moves: 0 nothing, 1 a walker, 4 a car.
type Encoder = fn(position: u32, moves: f32, noise: f32) -> (usize, Option<i8>);

/// Quality is constant: what moves makes pictures larger. After a key frame some refine it.
fn variable(position: u32, moves: f32, noise: f32) -> (usize, Option<i8>) {
    let usual = match position {
        0 => 60_000.0,
        1..=6 => 9_000.0,
        _ => 4_000.0,
    };
    ((usual * (1.0 + 0.5 * moves) * noise) as usize, Some(24))
}

/// The bit rate is constant: what moves makes pictures coarser.
fn constant(position: u32, moves: f32, noise: f32) -> (usize, Option<i8>) {
    let (usual, qp) = if position == 0 {
        (30_000.0, 30)
    } else {
        (6_000.0, 26)
    };
    ((usual * noise) as usize, Some(qp + (moves * 4.0) as i8))
}

/// The same, its headers out of reach.
fn constant_unread(position: u32, moves: f32, noise: f32) -> (usize, Option<i8>) {
    (constant(position, moves, noise).0, None)
}

fn variable_unread(position: u32, moves: f32, noise: f32) -> (usize, Option<i8>) {
    (variable(position, moves, noise).0, None)
}

impl Stream {
    fn new(encoder: Encoder, group: u32) -> Self {
        Self {
            gate: Gate::new(GateConfig::default()),
            number: 0,
            since_key: 0,
            group,
            noise: 7,
            encoder,
        }
    }

    /// One that has learned what its camera shows.
    fn learned(encoder: Encoder, group: u32) -> Self {
        let mut stream = Self::new(encoder, group);
        stream.run(30.0, 0.0, false);
        stream
    }

    fn now(&self) -> Duration {
        Duration::from_secs(100) + Duration::from_secs(self.number) / FPS
    }

    /// Between 0.9 and 1.1, the same in each run (Knuth's MMIX generator).
    fn noise(&mut self) -> f32 {
        self.noise = self
            .noise
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        0.9 + 0.2 * ((self.noise >> 40) as f32 / (1 << 24) as f32)
    }

    fn picture(&mut self, moves: f32, seen: bool) {
        let noise = self.noise();
        let key = self.since_key == 0;
        let (bytes, qp) = (self.encoder)(self.since_key, moves, noise);
        let at = self.now();
        self.gate.arrived(UnitFacts {
            number: self.number,
            at,
            key,
            bytes,
            slice: qp.map(|qp| Slice {
                kind: if key { SliceType::I } else { SliceType::P },
                qp,
                is_reference: true,
            }),
        });
        let decoded = match self.gate.wish() {
            Wish::Nothing => false,
            Wish::KeyFrames => key,
            Wish::Openings(span) => Duration::from_secs(u64::from(self.since_key)) / FPS < span,
            Wish::Everything | Wish::From(_) => true,
        };
        if decoded {
            self.gate.saw(Verdict { at, moving: seen });
        }
        self.gate.attend(Duration::ZERO);
        self.number += 1;
        self.since_key = (self.since_key + 1) % self.group;
    }

    /// How many seconds passed until everything was decoded from some unit on, and which; nothing else is said.
    fn run(&mut self, seconds: f32, moves: f32, seen: bool) -> Option<(f32, u64)> {
        let mut opened = None;
        for step in 0..(seconds * FPS as f32) as u32 {
            self.picture(moves, seen);
            if let Wish::From(from) = self.gate.wish() {
                opened.get_or_insert((step as f32 / FPS as f32, from));
            }
        }
        opened
    }

    fn up_to_position(&mut self, position: u32) {
        while self.since_key != position {
            self.picture(0.0, false);
        }
    }

    fn mode(&self) -> GateMode {
        self.gate.report().mode
    }

    fn last_key(&self) -> u64 {
        self.number - u64::from(self.since_key)
    }
}

#[test]
fn still_cameras_are_watched_by_their_key_frames() {
    for encoder in [variable, constant] as [Encoder; 2] {
        let mut stream = Stream::new(encoder, 30);
        stream.run(4.0, 0.0, false);
        assert_eq!(
            (stream.mode(), stream.gate.wish()),
            (GateMode::Learning, Wish::Everything)
        );
        stream.run(16.0, 0.0, false);
        assert_eq!(
            (stream.mode(), stream.gate.wish()),
            (GateMode::Complexity, Wish::KeyFrames)
        );
        assert_eq!(
            stream.run(3600.0, 0.0, false),
            None,
            "an hour of noise is no movement"
        );
        assert_eq!(stream.gate.report().triggers, 0);
    }
}

#[test]
fn a_movement_is_signalled_within_a_second_and_decoded_from_the_last_key_frame() {
    for encoder in [variable, constant] as [Encoder; 2] {
        let mut stream = Stream::learned(encoder, 30);
        stream.up_to_position(10);
        let key = stream.last_key();
        let (after, from) = stream.run(1.2, 1.0, true).unwrap();
        assert!(after < 0.8, "{after} s");
        assert_eq!(from, key);
    }
}

#[test]
fn one_large_picture_is_no_movement() {
    let mut stream = Stream::learned(variable, 30);
    stream.up_to_position(10);
    for _ in 0..20 {
        stream.picture(30.0, false);
        assert_eq!(stream.gate.wish(), Wish::KeyFrames);
        stream.run(3.1, 0.0, false);
    }
}

#[test]
fn what_a_key_frame_shows_is_decoded_from_the_one_before() {
    let mut stream = Stream::learned(variable, 30);
    stream.up_to_position(0);
    let before = stream.number - 30;
    stream.picture(0.0, true);
    assert_eq!(stream.gate.wish(), Wish::From(before));
}

#[test]
fn a_signal_before_the_key_frame_was_seen_goes_further_back() {
    let mut stream = Stream::learned(variable, 30);
    stream.up_to_position(0);
    let before = stream.number - 30;
    // Its decoder is busy: the key frame and what follows come, and no verdict.
    for position in 0..30 {
        let (bytes, _) = variable(position, if position > 2 { 4.0 } else { 0.0 }, 1.0);
        stream.gate.arrived(UnitFacts {
            number: stream.number,
            at: stream.now(),
            key: position == 0,
            bytes,
            slice: Some(Slice {
                kind: SliceType::P,
                qp: 24,
                is_reference: true,
            }),
        });
        stream.number += 1;
    }
    assert_eq!(stream.gate.wish(), Wish::From(before));
}

#[test]
fn it_closes_when_nothing_moved_for_a_while() {
    let mut stream = Stream::learned(variable, 30);
    stream.run(4.0, 1.0, true);
    assert!(stream.gate.is_open());
    stream.run(2.0, 0.0, false);
    assert!(stream.gate.is_open(), "who stops may go on");
    stream.run(3.0, 0.0, false);
    assert_eq!(stream.gate.wish(), Wish::KeyFrames);
}

#[test]
fn whoever_follows_something_keeps_it_open() {
    let mut stream = Stream::learned(variable, 30);
    let until = stream.now() + Duration::from_secs(5);
    stream.gate.attend(until);
    assert!(matches!(stream.gate.wish(), Wish::From(_)));
    for _ in 0..4 * FPS {
        stream.picture(0.0, false);
        stream.gate.attend(until);
        assert!(stream.gate.is_open());
    }
    stream.run(4.0, 0.0, false);
    assert_eq!(stream.gate.wish(), Wish::KeyFrames);
    assert_eq!(
        stream.gate.report().triggers,
        0,
        "nothing was found to move"
    );
}

#[test]
fn a_noisier_night_is_looked_at_and_got_used_to() {
    let mut stream = Stream::learned(variable, 30);
    // Everything is larger by half, and nothing moves.
    assert!(stream.run(2.0, 1.0, false).is_some());
    stream.run(30.0, 1.0, false);
    assert_eq!(stream.gate.wish(), Wish::KeyFrames);
    assert_eq!(stream.run(300.0, 1.0, false), None);
    assert!(stream.run(2.0, 4.0, true).is_some(), "and still sees");
}

#[test]
fn dusk_is_followed_without_a_word() {
    let mut stream = Stream::learned(variable, 30);
    for minute in 0..20 {
        let noisier = minute as f32 / 20.0;
        assert_eq!(stream.run(60.0, noisier, false), None, "minute {minute}");
    }
}

#[test]
fn sizes_are_believed_only_after_they_told_of_movements() {
    let mut stream = Stream::learned(variable_unread, 30);
    assert_eq!(stream.mode(), GateMode::KeyFramesAndOpenings);
    assert_eq!(stream.gate.wish(), Wish::Openings(Duration::from_secs(1)));
    for _ in 0..3 {
        stream.run(4.0, 2.0, true);
        stream.run(6.0, 0.0, false);
    }
    assert_eq!(
        (stream.mode(), stream.gate.wish()),
        (GateMode::Sizes, Wish::KeyFrames)
    );
}

#[test]
fn a_constant_bit_rate_is_found_out() {
    let mut stream = Stream::learned(constant_unread, 30);
    for _ in 0..6 {
        stream.run(4.0, 2.0, true);
        stream.run(6.0, 0.0, false);
    }
    let report = stream.gate.report();
    assert_eq!(report.mode, GateMode::KeyFramesAndOpenings);
    assert!(
        report.why.contains("0 % of the last movements"),
        "{}",
        report.why
    );
    // Nothing told of is missed that lasts longer than the second between two looks.
    stream.up_to_position(20);
    let (after, _) = stream.run(2.0, 1.0, true).unwrap();
    assert!(after <= 1.0, "{after} s");
}

#[test]
fn a_quantiser_that_says_nothing_is_found_out() {
    // The quantiser of the slice stays, that of each block does not.
    let mut stream = Stream::learned(
        |position, moves, noise| {
            let (bytes, _) = constant(position, moves, noise);
            (bytes, Some(26))
        },
        30,
    );
    assert_eq!(stream.mode(), GateMode::Complexity);
    for _ in 0..4 {
        stream.run(4.0, 2.0, true);
        stream.run(6.0, 0.0, false);
    }
    assert_eq!(stream.mode(), GateMode::KeyFramesAndOpenings);
}

#[test]
fn rare_key_frames_leave_nothing_to_skip() {
    let mut stream = Stream::new(variable, 10 * FPS);
    stream.run(60.0, 0.0, false);
    assert_eq!(
        (stream.mode(), stream.gate.wish()),
        (GateMode::Everything, Wish::Everything)
    );
    assert!(stream.gate.report().why.contains("only every 10.0 s"));
    let mut never = Stream::new(variable, u32::MAX);
    never.run(8.0, 0.0, false);
    assert_eq!(never.mode(), GateMode::Everything);
}

#[test]
fn groups_of_another_length_are_learned_anew() {
    let mut stream = Stream::learned(variable, 30);
    stream.up_to_position(0);
    stream.group = 60;
    stream.run(14.0, 0.0, false);
    assert_eq!(stream.mode(), GateMode::Learning);
    stream.run(30.0, 0.0, false);
    assert_eq!(stream.mode(), GateMode::Complexity);
    // A key frame at a change of scene is no other length.
    stream.up_to_position(20);
    stream.since_key = 0;
    stream.run(60.0, 0.0, false);
    assert_eq!(stream.mode(), GateMode::Complexity);
}

#[test]
fn a_camera_that_sends_key_frames_alone_needs_no_gate() {
    let mut stream = Stream::new(variable, 1);
    stream.run(5.0, 0.0, false);
    assert_eq!(
        (stream.mode(), stream.gate.wish()),
        (GateMode::KeyFrames, Wish::KeyFrames)
    );
}

#[test]
fn turned_off_it_lets_everything_through() {
    let mut stream = Stream::new(variable, 30);
    stream.gate = Gate::new(GateConfig {
        enabled: false,
        ..GateConfig::default()
    });
    stream.run(30.0, 0.0, false);
    assert_eq!(
        (stream.mode(), stream.gate.wish()),
        (GateMode::Everything, Wish::Everything)
    );
    assert!(stream.gate.report().why.contains("turned off"));
}

#[test]
fn an_interruption_forgets_where_it_was_and_not_what_it_learned() {
    let mut stream = Stream::learned(variable, 30);
    stream.run(2.0, 1.0, true);
    stream.gate.interrupted();
    stream.since_key = 0;
    assert_eq!(
        (stream.mode(), stream.gate.is_open()),
        (GateMode::Complexity, false)
    );
    stream.gate.another_format();
    stream.run(1.0, 0.0, false);
    assert_eq!(stream.mode(), GateMode::Learning);
}

#[test]
fn one_damaged_header_forgets_nothing() {
    let mut stream = Stream::learned(constant, 30);
    stream.up_to_position(10);
    stream.encoder = constant_unread;
    stream.run(0.2, 0.0, false);
    stream.encoder = constant;
    stream.run(1.0, 0.0, false);
    assert_eq!(
        (stream.mode(), stream.gate.wish()),
        (GateMode::Complexity, Wish::KeyFrames)
    );
    stream.encoder = constant_unread;
    stream.run(2.0, 0.0, false);
    assert_eq!(stream.mode(), GateMode::Learning);
}

/// Every second picture is predicted from both sides, and a tenth as large.
#[test]
fn pictures_between_others_are_measured_by_their_like() {
    let mut stream = Stream::new(
        |position, moves, noise| {
            let (bytes, qp) = variable(position, moves, noise);
            (
                if position % 2 == 0 && position > 0 {
                    bytes / 10
                } else {
                    bytes
                },
                qp,
            )
        },
        30,
    );
    stream.run(30.0, 0.0, false);
    assert_eq!(stream.run(600.0, 0.0, false), None);
    assert!(stream.run(1.0, 1.0, true).is_some());
}
