//! The frame around every page: head, navigation, footer; and the small marks that pages share.

use super::visit::Visit;
use super::words::{ChartWords, DownloadWords, OfficeWords, SecurityWords, Words};
use super::{assets, notices};
use crate::store::AccountKind;
use maud::{DOCTYPE, Markup, html};
use wire::UtcMicros;

/// Which entry of the navigation a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    None,
    Overview,
    Events,
    Charts,
    Download,
    Notices,
    Security,
    Account,
    /// The operators' pages.
    Start,
    Devices,
    Contracts,
    Receiver,
    Audit,
}

pub fn page(visit: &Visit, tab: Tab, title: &str, body: &Markup) -> Markup {
    let words = visit.words();
    let navigated = visit.who.as_ref().is_some_and(super::visit::Who::is_in);
    let is_live = navigated && visit.door.kind == AccountKind::Customer;
    html! {
        (DOCTYPE)
        html lang=(visit.lang.code()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex, nofollow";
                meta name="format-detection" content="telephone=no";
                title { (title) " · " (words.product) }
                link rel="icon" type="image/svg+xml" href=(assets::address("icon.svg"));
                link rel="stylesheet" href=(assets::address("portal.css"));
                script type="module" src=(assets::address("portal.js")) {}
            }
            body.navigated[navigated] data-live=[is_live.then_some("/live")] {
                a.skip href="#main" { (words.skip_to_content) }
                header.top {
                    a.brand href=(visit.door.home) { (brand_mark()) span { (words.product) } }
                    @if let Some(who) = &visit.who {
                        @match &who.contract_name {
                            Some(name) => span.contract title=(words.contract) { (name) },
                            None => span.contract { (words.operator) },
                        }
                    }
                    a.language href=(visit.switch_language()) lang=(visit.lang.other().code())
                        hreflang=(visit.lang.other().code()) rel="nofollow" { (words.language_switch) }
                }
                @if navigated { (navigation(visit, tab)) }
                p.connection role="status" hidden { (icon_offline()) " " (words.reconnecting) }
                @if is_live { (keys(words)) }
                main #main tabindex="-1" { (notices::banner(visit)) (body) }
                (footer(visit))
            }
        }
    }
}

fn navigation(visit: &Visit, tab: Tab) -> Markup {
    let words = visit.words();
    let customers = [
        (Tab::Overview, "/", words.overview, icon_overview()),
        (Tab::Events, "/events", words.events, icon_events()),
        (
            Tab::Charts,
            "/charts",
            ChartWords::of(visit.lang).charts,
            icon_charts(),
        ),
        (
            Tab::Download,
            "/download",
            DownloadWords::of(visit.lang).download,
            icon_download(),
        ),
        (Tab::Notices, "/notices", words.notices, icon_notices()),
        (
            Tab::Security,
            "/security",
            SecurityWords::of(visit.lang).security,
            icon_security(),
        ),
        (Tab::Account, "/account", words.account, icon_account()),
    ];
    let office = OfficeWords::of(visit.lang);
    let operators = [
        (Tab::Start, visit.door.home, office.start, icon_overview()),
        (
            Tab::Devices,
            "/operator/devices",
            words.devices,
            icon_devices(),
        ),
        (
            Tab::Contracts,
            "/operator/contracts",
            words.contracts,
            icon_contracts(),
        ),
        (
            Tab::Notices,
            "/operator/notices",
            words.notices,
            icon_notices(),
        ),
        (
            Tab::Receiver,
            "/operator/receiver",
            office.receiver,
            icon_charts(),
        ),
        (
            Tab::Audit,
            "/operator/audit",
            words.audit_log,
            icon_events(),
        ),
        (
            Tab::Account,
            visit.door.password,
            words.account,
            icon_account(),
        ),
    ];
    let entries = match visit.door.kind {
        AccountKind::Customer => customers.to_vec(),
        AccountKind::Operator => operators.to_vec(),
    };
    html! {
        nav.main aria-label=(words.main_navigation) {
            ul {
                @for (entry, address, word, icon) in entries {
                    li {
                        a href=(address) aria-current=[(entry == tab).then_some("page")] {
                            (icon) span { (word) }
                        }
                    }
                }
            }
        }
    }
}

/// What keys do: opened by the script, on `?`.
fn keys(words: &Words) -> Markup {
    let all = [
        ("j / ↓", words.key_next),
        ("k / ↑", words.key_previous),
        ("Enter", words.key_open),
        ("← / →", words.key_neighbours),
        ("?", words.key_help),
    ];
    html! {
        dialog.keys aria-label=(words.keys) {
            h2 { (words.keys) }
            dl { @for (key, what) in all { dt { kbd { (key) } } dd { (what) } } }
            form method="dialog" { button type="submit" { (words.close) } }
        }
    }
}

fn footer(visit: &Visit) -> Markup {
    let words = visit.words();
    let contact = &visit.contact;
    let is_told = !contact.name.is_empty() || contact.mail.is_some() || contact.phone.is_some();
    html! {
        footer {
            @if is_told { p {
                span.footer-label { (words.contact) }
                @if !contact.name.is_empty() { span { (contact.name) } }
                @if let Some(mail) = &contact.mail { a href={ "mailto:" (mail) } { (mail) } }
                @if let Some(phone) = &contact.phone { a href={ "tel:" (phone) } { (phone) } }
            } }
        }
    }
}

/// A time whose age the script keeps ticking: 「12秒前」.
pub fn age(visit: &Visit, at: UtcMicros) -> Markup {
    html! {
        time.tabular data-age=(at.0 / 1000) datetime=(visit.machine(at)) title=(visit.full(at)) {
            (visit.ago(at))
        }
    }
}

/// What came of a form, told where it is read first.
pub fn notice(kind: Notice, text: &str) -> Markup {
    let (class, icon, role) = match kind {
        Notice::Good => ("notice good", icon_good(), "status"),
        Notice::Wait => ("notice wait", icon_pending(), "status"),
        Notice::Bad => ("notice bad", icon_bad(), "alert"),
    };
    html! { div class=(class) role=(role) { (icon) p { (text) } } }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    Good,
    Wait,
    Bad,
}

fn brand_mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            path d="M3 8V5a2 2 0 0 1 2-2h3M16 3h3a2 2 0 0 1 2 2v3M21 16v3a2 2 0 0 1-2 2h-3M8 21H5a2 2 0 0 1-2-2v-3"
                fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" {}
            circle cx="12" cy="12" r="4" fill="currentColor" {}
        }
    }
}

fn icon(paths: &str) -> Markup {
    html! {
        svg.icon viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" {
            path d=(paths) fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round"
                stroke-linejoin="round" {}
        }
    }
}

fn icon_overview() -> Markup {
    icon("M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z")
}

fn icon_events() -> Markup {
    icon("M9 6h11M9 12h11M9 18h11M4 6h.01M4 12h.01M4 18h.01")
}

/// A box with an eye.
fn icon_devices() -> Markup {
    icon("M3 7h13v10H3zM16 11l5-3v8l-5-3M9.500 14a2 2 0 1 0 0-4 2 2 0 0 0 0 4z")
}

/// A bell.
fn icon_notices() -> Markup {
    icon("M6 17V11a6 6 0 0 1 12 0v6l2 2H4zM10 21.500h4")
}

fn icon_contracts() -> Markup {
    icon("M6 3h9l4 4v14H6zM14 3v5h5M9 13h7M9 17h7")
}

fn icon_charts() -> Markup {
    icon("M4 20h16M7 20v-7M12 20V5M17 20v-10")
}

fn icon_download() -> Markup {
    icon("M12 4v11M7 11l5 5 5-5M4 20h16")
}

fn icon_security() -> Markup {
    icon(
        "M12 3l7.500 3v5.500c0 4.500-3 8-7.500 9.500-4.500-1.500-7.500-5-7.500-9.500V6zM8.500 12l2.500 2.500L15.500 10",
    )
}

fn icon_account() -> Markup {
    icon("M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4 21a8 8 0 0 1 16 0")
}

/// A ring with a tick: well.
pub fn icon_good() -> Markup {
    icon("M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM8 12.500l2.700 2.700L16 9.500")
}

/// A triangle with a mark: somebody should look.
pub fn icon_bad() -> Markup {
    icon("M12 4L2.500 20h19zM12 10v4.500M12 17.500h.01")
}

/// A ring of dots: not decided yet.
pub fn icon_pending() -> Markup {
    icon("M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM12 7v5l3 2")
}

/// A ring with two bars: at rest.
pub fn icon_stopped() -> Markup {
    icon("M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18zM10 9v6M14 9v6")
}

pub fn icon_offline() -> Markup {
    icon(
        "M3 3l18 18M8.500 16.500a5 5 0 0 1 7 0M5 13a10 10 0 0 1 5-2.700M14 10.300A10 10 0 0 1 19 13M12 20h.01",
    )
}

pub fn icon_older() -> Markup {
    icon("M15 5l-7 7 7 7")
}

pub fn icon_newer() -> Markup {
    icon("M9 5l7 7-7 7")
}
