//! The address of an event's page as a QR code: from the printed sheet back to the record.

use crate::portal::qr;
use maud::{Markup, html};

/// Shown on paper only. An address that is too long for a code is written alone.
pub(super) fn for_paper(address: &str) -> Markup {
    html! {
        div.on-paper {
            (qr::picture(address, address))
            p.code { (address) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_no_code_holds_is_written_alone() {
        let drawn = for_paper("https://portal.example/events/1").into_string();
        assert!(drawn.contains("svg"), "{drawn}");
        assert!(!for_paper(&"x".repeat(5000)).into_string().contains("svg"));
    }
}
