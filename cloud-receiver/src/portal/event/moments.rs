//! What a camera saw before it no longer saw, and after: side by side, or one above the other on a phone.

use crate::portal::picture::Absence;
use crate::portal::visit::Visit;
use crate::store::{EventRow, Moments, Snapshot};
use maud::{Markup, html};

pub(super) fn draw(visit: &Visit, row: &EventRow, moments: &Moments) -> Markup {
    let words = visit.words();
    html! {
        div.moments {
            (moment(visit, row, &moments.before, words.before))
            (moment(visit, row, &moments.after, words.after))
        }
        button.print type="button" hidden { (words.print) }
    }
}

fn moment(visit: &Visit, row: &EventRow, snapshot: &Snapshot, caption: &str) -> Markup {
    html! {
        figure.evidence {
            @match snapshot.picture() {
                Some(picture) => div.layers {
                    img src={ "/media/" (picture.sha256) } width=(picture.width) height=(picture.height)
                        alt=(visit.lang.picture_at_moment(&row.camera_name, caption)) fetchpriority="high";
                },
                None => div.no-evidence { p { (Absence::of_one(row, snapshot, visit.now).sentence(visit.lang)) } },
            }
            figcaption {
                b { (caption) }
                @if let Some(picture) = snapshot.picture() {
                    time.tabular datetime=(visit.machine(picture.captured_at_us)) {
                        (visit.full(picture.captured_at_us))
                    }
                }
            }
        }
    }
}
