//! What is drawn over a picture.

use super::*;
use std::sync::Arc;
use wire::record::NormBox;
use wire::{BootId, ClockStamp, UtcMicros};

const THRESHOLDS: Thresholds = Thresholds {
    score: 0.4,
    follow: 0.2,
};

fn watch() -> Watch {
    let camera = CameraId(uuid::Uuid::nil());
    let config = WatchConfig::plain(camera, Duration::ZERO);
    Watch::new(
        config,
        THRESHOLDS,
        crate::event::ids::seeded(0, CameraId(uuid::Uuid::nil())),
    )
}

fn person(x: f32, w: f32, score: f32) -> Detection {
    Detection {
        class: Arc::from("person"),
        score,
        rect: NormBox {
            x: x - w / 2.0,
            y: 0.3,
            w,
            h: 0.4,
        },
    }
}

/// The boxes of the look number `look`, five a second.
fn boxes(watch: &mut Watch, look: i64, detections: &[Detection]) -> Vec<ObjectBox> {
    let us = look * 200_000;
    let time = RecordTime {
        captured_at_us: UtcMicros(us),
        boot_id: BootId(uuid::Uuid::nil()),
        boottime_ns: 1_000_000_000 + us.cast_unsigned() * 1000,
        clock: ClockStamp::UNSYNCED,
    };
    let camera = CameraId(uuid::Uuid::nil());
    let frame = Frame::from_rgb(camera, time, 64, 48, vec![90; 64 * 48 * 3]);
    watch.frame(&frame, detections).boxes
}

/// A walker whose legs make the box wide and narrow in turn.
fn walker(look: i64) -> Detection {
    let width = if look % 2 == 0 { 0.08 } else { 0.14 };
    person(0.2 + 0.02 * look as f32, width, 0.8)
}

#[test]
fn an_object_is_drawn_where_its_track_is_and_not_where_its_legs_are() {
    let mut watch = watch();
    let mut widths = Vec::new();
    for look in 0..20 {
        let drawn = boxes(&mut watch, look, &[walker(look)]);
        assert_eq!(drawn.len(), 1, "{drawn:?}");
        // Before it is believed it belongs to nothing.
        assert_eq!(
            (drawn[0].track, drawn[0].event.is_some()),
            match look {
                0 | 1 => (None, false),
                _ => (Some(1), true),
            }
        );
        widths.push(drawn[0].rect.w);
    }
    let late = &widths[10..];
    let widest = late.iter().copied().fold(0.0, f32::max);
    let narrowest = late.iter().copied().fold(1.0, f32::min);
    assert!(widest - narrowest < 0.04, "{late:?}");
}

#[test]
fn what_the_look_missed_is_not_drawn_and_what_is_unsure_only_if_it_is_followed() {
    let mut watch = watch();
    for look in 0..5 {
        boxes(&mut watch, look, &[walker(look)]);
    }
    assert_eq!(boxes(&mut watch, 5, &[]), []);
    let unsure = |look, score| Detection {
        score,
        ..walker(look)
    };
    let stranger = person(0.8, 0.1, 0.3);
    let drawn = boxes(&mut watch, 6, &[stranger, unsure(6, 0.3)]);
    assert_eq!(drawn.len(), 1, "{drawn:?}");
    assert_eq!((drawn[0].track, drawn[0].score), (Some(1), 0.3));
}

#[test]
fn one_object_that_was_found_twice_is_drawn_once_and_a_newcomer_at_once() {
    let mut watch = watch();
    for look in 0..5 {
        boxes(&mut watch, look, &[walker(look)]);
    }
    let twin = Detection {
        score: 0.5,
        ..walker(5)
    };
    // Believed for once, but too weak to be followed.
    let newcomer = person(0.8, 0.1, 0.45);
    let drawn = boxes(&mut watch, 5, &[walker(5), twin, newcomer.clone()]);
    let tracks: Vec<Option<u64>> = drawn.iter().map(|drawn| drawn.track).collect();
    assert_eq!(tracks, [Some(1), None], "{drawn:?}");
    assert_eq!(drawn[1].rect, geometry::rounded(&newcomer.rect));
}
