//! A small picture, cropped around the object it is about.
//!
//! Style attributes are forbidden by the content security policy, and an SVG crop cannot load lazily; so the crop
//! is an ordinary image under one of a few classes that the style sheet knows: how far to zoom, and where to.

use crate::store::PictureRef;
use maud::{Markup, html};
use wire::EventId;
use wire::record::NormBox;

/// The zooms of the style sheet, in percent.
const ZOOMS: [u32; 4] = [100, 150, 200, 300];
/// How much of the crop's side the object may take.
const OBJECT_SHARE: f32 = 0.6;
/// The steps of the style sheet's origins, in percent.
const ORIGIN_STEP: f32 = 5.0;

/// Cropped around the object of an event; several events may share one picture.
pub fn around_object(picture: &PictureRef, event: EventId, alt: &str) -> Markup {
    let object = picture
        .boxes
        .iter()
        .find(|object| object.event == Some(event));
    let crop = object.map_or(Crop::WHOLE, |object| Crop::around(&object.rect));
    html! {
        span.thumbnail {
            img class=(crop.classes()) src={ "/media/" (picture.sha256) } width=(picture.width)
                height=(picture.height) alt=(alt) loading="lazy" decoding="async";
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Crop {
    zoom: u32,
    origin_x: u32,
    origin_y: u32,
}

impl Crop {
    const WHOLE: Crop = Crop {
        zoom: 100,
        origin_x: 50,
        origin_y: 50,
    };

    fn around(rect: &NormBox) -> Self {
        let side = rect.w.max(rect.h).max(0.01);
        let most = OBJECT_SHARE / side * 100.0;
        let zoom = ZOOMS
            .into_iter()
            .rev()
            .find(|zoom| *zoom as f32 <= most)
            .unwrap_or(ZOOMS[0]);
        Self {
            zoom,
            origin_x: origin(rect.x + rect.w / 2.0, zoom),
            origin_y: origin(rect.y + rect.h / 2.0, zoom),
        }
    }

    fn classes(self) -> String {
        format!("z{} ox{} oy{}", self.zoom, self.origin_x, self.origin_y)
    }
}

/// The point that must stand still under the zoom for `centre` to come as near to the middle as the picture's
/// edges allow, in percent.
fn origin(centre: f32, zoom: u32) -> u32 {
    if zoom == 100 {
        return 50;
    }
    let visible = 100.0 / zoom as f32;
    let start = (centre - visible / 2.0) / (1.0 - visible);
    let percent = (start * 100.0 / ORIGIN_STEP).round() * ORIGIN_STEP;
    percent.clamp(0.0, 100.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::record::ObjectBox;

    fn crop(x: f32, y: f32, w: f32, h: f32) -> Crop {
        Crop::around(&NormBox { x, y, w, h })
    }

    #[test]
    fn two_events_in_one_picture_are_each_cropped_around_their_own_object() {
        let events = [1, 2].map(|n| EventId(uuid::Uuid::from_u128(n)));
        let boxes = events.iter().zip([0.0, 0.9]).map(|(event, x)| ObjectBox {
            class: "person".into(),
            score: 0.9,
            rect: NormBox {
                x,
                y: 0.0,
                w: 0.1,
                h: 0.1,
            },
            track: None,
            event: Some(*event),
        });
        let picture = PictureRef {
            sha256: wire::Sha256::ZERO,
            captured_at_us: wire::UtcMicros(0),
            width: 1920,
            height: 1080,
            boxes: boxes.collect(),
        };
        let html = events.map(|event| around_object(&picture, event, "").into_string());
        assert!(html[0].contains("z300 ox0 oy0"), "{}", html[0]);
        assert!(html[1].contains("z300 ox100 oy0"), "{}", html[1]);
    }

    #[test]
    fn small_objects_are_zoomed_and_large_ones_left_whole() {
        assert_eq!(crop(0.45, 0.45, 0.1, 0.1).zoom, 300);
        assert_eq!(crop(0.4, 0.35, 0.1, 0.28).zoom, 200);
        assert_eq!(
            crop(0.1, 0.1, 0.8, 0.8),
            Crop {
                zoom: 100,
                origin_x: 50,
                origin_y: 50
            }
        );
    }

    #[test]
    fn the_object_is_in_the_middle_or_at_the_edge_it_stands_at() {
        assert_eq!(crop(0.45, 0.45, 0.1, 0.1).classes(), "z300 ox50 oy50");
        assert_eq!(crop(0.0, 0.9, 0.1, 0.1).classes(), "z300 ox0 oy100");
    }

    #[test]
    fn nonsense_boxes_give_classes_that_exist() {
        for value in [f32::NAN, f32::INFINITY, -5.0, 7.0] {
            let crop = crop(value, value, value, value);
            assert!(ZOOMS.contains(&crop.zoom), "{value}");
            assert!(
                crop.origin_x <= 100 && crop.origin_x.is_multiple_of(5),
                "{value}"
            );
        }
    }

    #[test]
    fn the_style_sheet_knows_every_class() {
        let css = include_str!("assets/portal.css");
        for zoom in ZOOMS {
            assert!(css.contains(&format!(".z{zoom}")), "z{zoom}");
        }
        for percent in (0..=100).step_by(5) {
            assert!(css.contains(&format!(".ox{percent} ")), "ox{percent}");
            assert!(css.contains(&format!(".oy{percent} ")), "oy{percent}");
        }
    }
}
