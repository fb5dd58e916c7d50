//! A QR code as a picture of one path: no script, no style, sharp at any size and on paper.

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};
use std::fmt::Write as _;

/// What a reader needs around it, in modules.
const QUIET: usize = 4;

/// `told`: what it is, for those who hear the page. Nothing where the text is too long for a code.
pub fn picture(text: &str, told: &str) -> Markup {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::M) else {
        return html! {};
    };
    let side = code.width() + 2 * QUIET;
    html! {
        svg.qr viewBox={ "0 0 " (side) " " (side) } role="img" aria-label=(told) shape-rendering="crispEdges" {
            rect width=(side) height=(side) fill="#fff" {}
            path d=(path(&code)) fill="#000" {}
        }
    }
}

/// One stroke for each run of dark modules.
fn path(code: &QrCode) -> String {
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(code.width()).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run[0] == Color::Dark {
                let (left, top, long) = (x + QUIET, y + QUIET, run.len());
                let _ = write!(path, "M{left} {top}h{long}v1h-{long}z");
            }
            x += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dark_module_is_drawn_once_and_nothing_needs_a_style() {
        let code =
            QrCode::with_error_correction_level("otpauth://totp/x", EcLevel::M).expect("fits");
        let dark = code
            .to_colors()
            .iter()
            .filter(|c| **c == Color::Dark)
            .count();
        let path = path(&code);
        let drawn: usize = path
            .split('h')
            .filter_map(|part| part.split_once('v').map(|(n, _)| n.parse::<usize>()))
            .map(|n| n.expect("a length"))
            .sum();
        assert_eq!(drawn, dark);
        assert!(!picture("x", "y").into_string().contains("style"));
    }
}
