//! The index of an export: a page that any browser opens from the unpacked folder, in Japanese and in English.
//!
//! It is for reading only and proves nothing: what proves is signed, and the page says so.

use super::export::Summary;
use super::local;
use crate::csv as table_file;
use crate::portal::words::Lang;
use crate::store::EvidenceEvent;
use maud::{DOCTYPE, Markup, html};
use wire::{UtcMicros, VerifyingKey};

/// One event as the page shows it.
pub(super) struct PageEvent {
    pub(super) site: String,
    pub(super) camera: String,
    pub(super) picture: Option<String>,
    pub(super) event: EvidenceEvent,
}

/// The same events as a table that a spreadsheet opens.
pub(super) fn csv(events: &[PageEvent]) -> Vec<u8> {
    let heading = [
        "開始 opened",
        "終了 closed",
        "拠点 site",
        "カメラ camera",
        "種類 class",
        "確度 score",
        "画像 picture",
        "id",
    ];
    let line = |event: &PageEvent| {
        let of = &event.event;
        vec![
            local::time(of.opened_us),
            of.closed_us.map(local::time).unwrap_or_default(),
            event.site.clone(),
            event.camera.clone(),
            of.class.clone(),
            format!("{:.2}", of.score),
            event.picture.clone().unwrap_or_default(),
            of.id.to_string(),
        ]
    };
    let heading = heading.iter().map(|name| (*name).to_owned()).collect();
    table_file::file(std::iter::once(heading).chain(events.iter().map(line)))
}

/// And for programs.
pub(super) fn json(events: &[PageEvent]) -> Vec<u8> {
    let one = |event: &PageEvent| {
        let of = &event.event;
        serde_json::json!({
            "id": of.id, "device": of.device, "camera": of.camera, "camera_name": event.camera,
            "site_name": event.site, "class": of.class, "score": of.score, "opened_at_us": of.opened_us,
            "closed_at_us": of.closed_us, "picture": event.picture,
        })
    };
    let all: Vec<_> = events.iter().map(one).collect();
    serde_json::to_vec_pretty(&all).expect("words and numbers are JSON")
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}\
    h1{font-size:1.5rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}\
    img{max-width:16rem;height:auto;display:block}code{overflow-wrap:anywhere}.en{color:#555}";

pub(super) fn render(
    contract: &str,
    range: (UtcMicros, UtcMicros),
    events: &[PageEvent],
    summary: &Summary,
    key: &VerifyingKey,
) -> String {
    let (from, to) = (local::time(range.0), local::time(range.1));
    let page = html! {
        (DOCTYPE)
        html lang="ja" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (contract) " " (from) " – " (to) }
                style { (STYLE) }
            }
            body {
                h1 { (contract) }
                p { (from) " – " (to) " (" (local::ZONE) ")" br;
                    (events.len()) "件のイベント、画像" (summary.pictures) "枚、署名済み記録" (summary.records) "件"
                    br; span.en { (events.len()) " events, " (summary.pictures) " pictures, " (summary.records) " signed records" } }
                (how_to_check(key))
                @if summary.deleted_records > 0 {
                    p { "この期間の前後を含む記録のうち" (summary.deleted_records) "件は、契約で定めた保存期間が過ぎたため削除されています。"
                        br; span.en { "Of the records of this time and those next to it, " (summary.deleted_records)
                            " were deleted as agreed, because their time was over." } }
                }
                @if events.is_empty() {
                    p { "この期間にイベントはありません。" br; span.en { "There are no events in this time." } }
                } @else {
                    (table(events))
                }
            }
        }
    };
    page.into_string()
}

fn how_to_check(key: &VerifyingKey) -> Markup {
    html! {
        p {
            "このページは閲覧用です。証拠となるのは、機器が署名した記録(records フォルダ)と manifest.json です。"
            "検証: cloud-receiver verify --export ファイル名.zip --receiver-key 受信側の公開鍵"
            br;
            span.en {
                "This page is for reading. What proves are the records signed by the devices (folder records) and manifest.json. "
                "To check: cloud-receiver verify --export FILE.zip --receiver-key KEY"
            }
            br;
            "受信側の公開鍵 " span.en { "Receiver's evidence key" } ": " code { (key) }
            br;
            span.en { "Compare the key with one that you got in another way: a page that was changed would show a changed key." }
        }
    }
}

fn table(events: &[PageEvent]) -> Markup {
    html! {
        table {
            tr { th { "時刻 " span.en { "Time" } } th { "カメラ " span.en { "Camera" } } th { "種類 " span.en { "What" } } th { "画像 " span.en { "Picture" } } }
            @for row in events {
                tr {
                    td { (local::time(row.event.opened_us))
                        @if let Some(closed) = row.event.closed_us { br; "– " (local::time(closed)) } }
                    td { (row.camera) br; span.en { (row.site) } }
                    td { (Lang::Ja.words().class_name(&row.event.class)) " " span.en { (Lang::En.words().class_name(&row.event.class)) }
                        br; (format!("{:.0} %", row.event.score * 100.0)) }
                    td { @match &row.picture {
                        Some(path) => { a href=(link(path)) { img src=(link(path)) alt=(row.event.class) loading="lazy"; } },
                        None => { "–" },
                    } }
                }
            }
        }
    }
}

/// A path as a link: whatever a camera is called.
fn link(path: &str) -> String {
    path.bytes().fold(String::new(), |mut link, byte| {
        if byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte) {
            link.push(char::from(byte));
        } else {
            link.push_str(&format!("%{byte:02X}"));
        }
        link
    })
}
