//! How it is said that something is missing: how many of what, why, and what it means. Never a word of the system.

use super::{Lang, thousands};
use crate::portal::gaps::{Kind, What};

impl Lang {
    /// Why, as the first half of a sentence in Japanese and the second half in English.
    fn because(self, reason: &str) -> String {
        let (ja, en) = match reason {
            "quota" => (
                "装置の保存容量が足りなくなったため",
                "because the device's storage was full",
            ),
            "disk_full" => (
                "装置のディスクの空きがなくなったため",
                "because the device's disk was full",
            ),
            "quarantine" => (
                "装置に保存したデータの一部が壊れたため",
                "because some data stored on the device was damaged",
            ),
            "oversized" => (
                "大きすぎて送れなかったため",
                "because they were too large to be sent",
            ),
            "outage" => (
                "装置のディスクに書き込めなかったため",
                "because the device could not write to its disk",
            ),
            "rejected" => (
                "正しく読み取れない内容だったため",
                "because they could not be read",
            ),
            "media_busy" => (
                "装置の処理が追いつかなかったため",
                "because the device was too busy",
            ),
            "media_failed" => (
                "装置で画像を作れなかったため",
                "because the device could not make them",
            ),
            other => {
                return match self {
                    Lang::Ja => format!("装置が次の理由を伝えたため（{other}）"),
                    Lang::En => format!("for a reason that the device calls \"{other}\""),
                };
            }
        };
        match self {
            Lang::Ja => ja.to_owned(),
            Lang::En => en.to_owned(),
        }
    }

    /// 「検知時の画像12枚」 | "12 event pictures"; without a number where nobody knows it.
    fn how_many(self, kind: Kind, count: u64) -> String {
        let (ja, unit, one, many) = match kind {
            Kind::Events => ("イベントの記録", "件", "event record", "event records"),
            Kind::EventPictures => ("検知時の画像", "枚", "event picture", "event pictures"),
            Kind::RegularPictures => ("定期画像", "枚", "regular picture", "regular pictures"),
            Kind::RequestedPictures => (
                "依頼した画像",
                "枚",
                "requested picture",
                "requested pictures",
            ),
            Kind::Pictures => ("画像", "枚", "picture", "pictures"),
            Kind::Clips => ("動画", "本", "clip", "clips"),
            Kind::Counts => ("集計の記録", "件", "count", "counts"),
            Kind::Reports => ("装置の状態の記録", "件", "status report", "status reports"),
        };
        match (self, count) {
            (Lang::Ja, 0) => format!("{ja}（数は不明）"),
            (Lang::Ja, _) => format!("{ja}{}{unit}", thousands(count)),
            (Lang::En, 0) => format!("an unknown number of {many}"),
            (Lang::En, 1) => format!("1 {one}"),
            (Lang::En, _) => format!("{} {many}", thousands(count)),
        }
    }

    fn list_of(self, kinds: &[(Kind, u64)]) -> String {
        let parts: Vec<String> = kinds
            .iter()
            .map(|(kind, count)| self.how_many(*kind, *count))
            .collect();
        match (self, parts.split_last()) {
            (Lang::Ja, _) => parts.join("、"),
            (Lang::En, Some((last, rest))) if !rest.is_empty() => {
                format!("{} and {last}", rest.join(", "))
            }
            (Lang::En, _) => parts.join(""),
        }
    }

    /// What a gap is called where there is little room: its label in the list, its name in the strip.
    pub fn gap_label(self, what: &What) -> &'static str {
        let words = self.words();
        match what {
            What::Lost { reason, .. } if reason == "quota" || reason == "disk_full" => {
                words.gap_dropped
            }
            What::Lost { .. } => words.gap_lost,
            What::CameraStopped { .. } | What::DeviceStopped => words.gap_stopped,
            What::Silent => words.gap_silent,
            What::OnItsWay { .. } => words.gap_on_its_way,
            What::Unexplained { .. } => words.gap_unexplained,
        }
    }

    /// What is missing, why, and what it means.
    pub fn gap_sentence(self, what: &What, goes_on: bool, camera_reason: Option<&str>) -> String {
        match what {
            What::Lost {
                reason,
                kinds,
                events_complete,
            } => self.lost(reason, kinds, *events_complete),
            What::CameraStopped { times, seconds, .. } => {
                self.camera_stopped(*times, *seconds, goes_on, camera_reason)
            }
            What::DeviceStopped => match self {
                Lang::Ja => "装置が動いていなかったため、この間は検知していません。",
                Lang::En => "The device was not running, so nothing was detected in this time.",
            }
            .to_owned(),
            What::Silent => match self {
                Lang::Ja => "装置と通信できません。装置が動いていれば、その間の記録は装置に保存され、通信が戻ると届きます。",
                Lang::En => "The device cannot be reached. As long as it runs, it keeps what it records and delivers it once the connection is back.",
            }
            .to_owned(),
            What::OnItsWay { records, pictures } => self.on_its_way(*records, *pictures),
            What::Unexplained { records } => match self {
                Lang::Ja => format!("記録{}件が届いておらず、装置にも残っていません。お問い合わせください。", thousands(*records)),
                Lang::En => format!(
                    "{} did not arrive and the device does not hold {} any more. Please contact us.",
                    records_en(*records),
                    if *records == 1 { "it" } else { "them" }
                ),
            },
        }
    }

    fn lost(self, reason: &str, kinds: &[(Kind, u64)], events_complete: bool) -> String {
        let because = self.because(reason);
        let list = self.list_of(kinds);
        let is_one = kinds.iter().map(|(_, count)| *count).eq([1]);
        let said = match self {
            Lang::Ja => format!("{because}、{list}が失われました。"),
            Lang::En => {
                let were = if is_one { "was" } else { "were" };
                let list = capitalised(&list);
                format!("{list} {were} lost {because}.")
            }
        };
        // Nobody knows whether there were any.
        let may_be = kinds.contains(&(Kind::Events, 0));
        let only_pictures = kinds.iter().all(|(kind, _)| kind.is_picture());
        let meaning = match (self, events_complete, only_pictures) {
            (Lang::Ja, true, true) => "イベントの記録はすべて揃っています。",
            (Lang::Ja, true, false) => {
                "イベントの記録はすべて揃っており、失われたイベントはありません。"
            }
            (Lang::Ja, false, _) if may_be => {
                "この間のイベントの一部が表示されていない可能性があります。"
            }
            (Lang::En, false, _) if may_be => {
                "Some events of this time may be missing from this list."
            }
            (Lang::Ja, false, _) => "この間のイベントの一部は表示されません。",
            (Lang::En, true, true) => "The events themselves are complete.",
            (Lang::En, true, false) => "The events themselves are complete; none is missing.",
            (Lang::En, false, _) => "Some events of this time are missing from this list.",
        };
        match self {
            Lang::Ja => format!("{said}{meaning}"),
            Lang::En => format!("{said} {meaning}"),
        }
    }

    fn camera_stopped(
        self,
        times: u32,
        seconds: i64,
        goes_on: bool,
        reason: Option<&str>,
    ) -> String {
        let because = reason.map(|reason| match self {
            Lang::Ja => format!("（{reason}）"),
            Lang::En => format!(" ({})", lowered(reason)),
        });
        let because = because.unwrap_or_default();
        let altogether = self.duration(seconds.max(1));
        match (self, goes_on, times) {
            (Lang::Ja, true, _) => format!(
                "カメラの映像が届いておらず、検知できていません{because}。電源とLANケーブルをご確認ください。"
            ),
            (Lang::En, true, _) => format!(
                "The camera gives no video, so nothing is detected{because}. Please check its power and LAN cable."
            ),
            (Lang::Ja, false, 1) => {
                format!("カメラの映像が{altogether}届かず、その間は検知していません{because}。")
            }
            (Lang::En, false, 1) => {
                format!(
                    "The camera gave no video for {altogether}, so nothing was detected meanwhile{because}."
                )
            }
            (Lang::Ja, false, _) => format!(
                "カメラの映像が{times}回途切れ（合計{altogether}）、その間は検知していません{because}。"
            ),
            (Lang::En, false, _) => format!(
                "The camera's video broke off {times} times ({altogether} altogether); nothing was detected meanwhile{because}."
            ),
        }
    }

    fn on_its_way(self, records: u64, pictures: u64) -> String {
        let (r, p) = (thousands(records), thousands(pictures));
        match (self, records, pictures) {
            (Lang::Ja, _, 0) => {
                format!("記録{r}件がまだ届いていません。失われてはおらず、装置から順に届きます。")
            }
            (Lang::Ja, 0, _) => {
                format!("画像{p}枚がまだ届いていません。失われてはおらず、装置から順に届きます。")
            }
            (Lang::Ja, _, _) => {
                format!(
                    "記録{r}件と画像{p}枚がまだ届いていません。失われてはおらず、装置から順に届きます。"
                )
            }
            (Lang::En, _, 0) => {
                format!(
                    "{} not arrived yet. Nothing is lost: it is on the device and on its way.",
                    have(&records_en(records), records)
                )
            }
            (Lang::En, 0, _) => {
                format!(
                    "{} not arrived yet. Nothing is lost: it is on the device and on its way.",
                    have(&pictures_en(pictures), pictures)
                )
            }
            (Lang::En, _, _) => format!(
                "{} and {} have not arrived yet. Nothing is lost: it is on the device and on its way.",
                records_en(records),
                pictures_en(pictures)
            ),
        }
    }

    /// In the place of an event's picture.
    pub fn picture_lost_because(self, reason: &str) -> String {
        match self {
            Lang::Ja => format!(
                "{}、このイベントの画像は失われました。イベントの記録は残っています。",
                self.because(reason)
            ),
            Lang::En => format!(
                "The picture of this event was lost {}. The record of the event is here.",
                self.because(reason)
                    .replace("they were", "it was")
                    .replace("they could", "it could")
                    .replace("make them", "make it")
            ),
        }
    }

    /// 10:42〜11:05 | 10:42–11:05
    pub fn from_to(self, from: &str, to: &str) -> String {
        match self {
            Lang::Ja => format!("{from}〜{to}"),
            Lang::En => format!("{from}–{to}"),
        }
    }

    /// 10:42〜 | since 10:42
    pub fn from_then_on(self, from: &str) -> String {
        match self {
            Lang::Ja => format!("{from}〜"),
            Lang::En => self.since(from),
        }
    }

    /// What does not add up.
    pub fn differences(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count}件の差異があります"),
            Lang::En if count == 1 => "1 difference".to_owned(),
            Lang::En => format!("{count} differences"),
        }
    }

    /// The same, while the device holds something that it has not delivered.
    pub fn still_to_come(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count}件がまだ届いていません（装置に送信待ちがあります）"),
            Lang::En => format!("{count} still to come: the device holds undelivered items"),
        }
    }

    /// Gaps that a page has no room for.
    pub fn more_gaps(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("欠落や停止がほかに{count}件あります。日付を選ぶと表示されます。"),
            Lang::En => format!("There are {count} more gaps. Choose a date to see them."),
        }
    }

    /// 「15分ごとの件数。最多は12件」 | "Events per 15 min; at most 12"
    pub fn density_scale(self, minutes: i64, most: u64) -> String {
        match self {
            Lang::Ja => format!("{minutes}分ごとの件数（最多 {}件）", thousands(most)),
            Lang::En => format!("Events per {minutes} min (at most {})", thousands(most)),
        }
    }

    /// What a part of the strip opens.
    pub fn zoom_to(self, from: &str, to: &str, count: u64) -> String {
        match self {
            Lang::Ja => format!(
                "{}を拡大、{}",
                self.from_to(from, to),
                self.events_count(count)
            ),
            Lang::En => format!(
                "Zoom to {}, {}",
                self.from_to(from, to),
                self.events_count(count)
            ),
        }
    }
}

fn records_en(count: u64) -> String {
    if count == 1 {
        "1 record".to_owned()
    } else {
        format!("{} records", thousands(count))
    }
}

fn pictures_en(count: u64) -> String {
    if count == 1 {
        "1 picture".to_owned()
    } else {
        format!("{} pictures", thousands(count))
    }
}

fn have(what: &str, count: u64) -> String {
    format!("{what} {}", if count == 1 { "has" } else { "have" })
}

fn capitalised(text: &str) -> String {
    let mut signs = text.chars();
    signs.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(signs).collect()
    })
}

fn lowered(text: &str) -> String {
    let mut signs = text.chars();
    signs.next().map_or_else(String::new, |first| {
        first.to_lowercase().chain(signs).collect()
    })
}
