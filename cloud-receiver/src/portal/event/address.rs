//! The address of an event's page as a QR code: from the printed sheet back to the record.

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};

/// Modules of quiet around the code, as readers need them.
const QUIET: usize = 4;

/// Shown on paper only. An address that is too long for a code is written alone.
pub(super) fn for_paper(address: &str) -> Markup {
    let code = QrCode::with_error_correction_level(address, EcLevel::M).ok();
    html! {
        div.on-paper {
            @if let Some(code) = code { (drawn(&code)) }
            p.code { (address) }
        }
    }
}

fn drawn(code: &QrCode) -> Markup {
    let width = code.width();
    let side = width + 2 * QUIET;
    let dark = code.to_colors().into_iter().enumerate();
    let dark = dark.filter(|(_, color)| *color == Color::Dark);
    let path: String = dark
        .map(|(place, _)| {
            format!(
                "M{} {}h1v1h-1z",
                place % width + QUIET,
                place / width + QUIET
            )
        })
        .collect();
    html! {
        svg.qr viewBox={ "0 0 " (side) " " (side) } width="128" height="128" aria-hidden="true" {
            path d=(path) fill="#000" {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_has_its_three_corners() {
        let drawn = for_paper("https://portal.example/events/1").into_string();
        for corner in ["M4 4h1", "M10 4h1", "M4 10h1"] {
            assert!(drawn.contains(corner), "{corner}: {drawn}");
        }
        assert!(!for_paper(&"x".repeat(5000)).into_string().contains("svg"));
    }
}
