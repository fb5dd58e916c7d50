//! Sentences that hold something: functions, because word order differs too much between the languages for templates.

use super::{Lang, thousands};
use std::fmt::Write as _;

impl Lang {
    /// 「正門カメラ」 from 「正門」; a name that says camera already is left alone.
    pub(super) fn camera_called(self, name: &str) -> String {
        match self {
            Lang::Ja if name.ends_with("カメラ") => name.to_owned(),
            Lang::Ja => format!("{name}カメラ"),
            Lang::En if name.to_lowercase().contains("camera") || name.ends_with("カメラ") => {
                name.to_owned()
            }
            Lang::En => format!("camera {name}"),
        }
    }

    /// Records older than that were deleted as agreed.
    pub fn records_deleted_before(self, date: &str) -> String {
        match self {
            Lang::Ja => format!(
                "{date}より前の記録は、契約で定めた保存期間が過ぎたため削除されています。画像の保存期間がまだ残っているものなど、一部は引き続き表示されます。"
            ),
            Lang::En => format!(
                "Records from before {date} were deleted as agreed, because their time was over. Some are still shown, such as those whose picture is kept for longer."
            ),
        }
    }

    pub fn no_pictures_since(self, camera: &str, since: &str) -> String {
        let camera = self.camera_called(camera);
        match self {
            Lang::Ja => format!(
                "{camera}から{since}以降、画像が届いていません。電源とLANケーブルをご確認ください。"
            ),
            Lang::En => format!(
                "No pictures from {camera} since {since}. Please check its power and LAN cable."
            ),
        }
    }

    pub fn never_a_picture(self, camera: &str) -> String {
        let camera = self.camera_called(camera);
        match self {
            Lang::Ja => {
                format!("{camera}からまだ画像が届いていません。電源とLANケーブルをご確認ください。")
            }
            Lang::En => format!(
                "No picture has come from {camera} yet. Please check its power and LAN cable."
            ),
        }
    }

    pub fn login_refused_since(self, camera: &str, since: &str) -> String {
        let camera = self.camera_called(camera);
        match self {
            Lang::Ja => format!(
                "{camera}が{since}から接続を拒否しています。カメラ側のユーザー名とパスワードが変更されていないかご確認ください。"
            ),
            Lang::En => format!(
                "{camera} has refused the connection since {since}. Please check whether its user name or password was changed."
            ),
        }
    }

    pub fn unreadable_since(self, camera: &str, since: &str) -> String {
        let camera = self.camera_called(camera);
        match self {
            Lang::Ja => format!(
                "{camera}の映像を{since}から読み取れません。カメラの映像設定（H.264またはH.265）をご確認ください。"
            ),
            Lang::En => format!(
                "The video of {camera} cannot be read since {since}. Please check its video setting (H.264 or H.265)."
            ),
        }
    }

    pub fn device_silent_since(self, camera: &str, since: &str) -> String {
        let camera = self.camera_called(camera);
        match self {
            Lang::Ja => format!(
                "{camera}をつないだ装置から{since}以降、応答がありません。装置の電源とネットワークをご確認ください。"
            ),
            Lang::En => format!(
                "The device of {camera} has not responded since {since}. Please check its power and network."
            ),
        }
    }

    pub fn device_never_heard(self, camera: &str) -> String {
        let camera = self.camera_called(camera);
        match self {
            Lang::Ja => format!(
                "{camera}をつないだ装置からまだ応答がありません。装置の電源とネットワークをご確認ください。"
            ),
            Lang::En => format!(
                "The device of {camera} has not responded yet. Please check its power and network."
            ),
        }
    }

    pub fn sites_count(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count} 拠点"),
            Lang::En => plural(count, "site", "sites"),
        }
    }

    pub fn cameras_normal(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count} 台 正常"),
            Lang::En => format!("{} normal", plural(count, "camera", "cameras")),
        }
    }

    pub fn cameras_silent(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count} 台 応答なし"),
            Lang::En => format!("{} not responding", plural(count, "camera", "cameras")),
        }
    }

    pub fn devices_heard(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count} 台 正常"),
            Lang::En => format!("{} normal", plural(count, "device", "devices")),
        }
    }

    pub fn devices_silent(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count} 台 応答なし"),
            Lang::En => format!("{} not responding", plural(count, "device", "devices")),
        }
    }

    /// What lies in a device's spool.
    pub fn pending(self, records: u64, blobs: u64) -> String {
        let (records, blobs) = (thousands(records), thousands(blobs));
        match self {
            Lang::Ja => format!("記録 {records} 件、画像 {blobs} 件"),
            Lang::En => format!("{records} records, {blobs} pictures"),
        }
    }

    pub fn parked(self, records: u64) -> String {
        match self {
            Lang::Ja => format!("装置で保留 {} 件", thousands(records)),
            Lang::En => format!("{} parked on the device", thousands(records)),
        }
    }

    /// Which camera a button belongs to, for those who hear the page.
    pub fn picture_now_of(self, camera: &str) -> String {
        match self {
            Lang::Ja => format!("{camera}を今すぐ撮影"),
            Lang::En => format!("Picture of {camera} now"),
        }
    }

    /// What a claim code is good for.
    pub fn claim_for(self, site: &str, until: &str) -> String {
        match self {
            Lang::Ja => {
                format!("{site}の装置1台の登録に、{until}まで1回だけ使えます。表示は今回だけです。")
            }
            Lang::En => {
                format!("Good once, for one device of {site}, until {until}. It is shown only now.")
            }
        }
    }

    pub fn events_count(self, count: u64) -> String {
        match self {
            Lang::Ja => format!("{} 件", thousands(count)),
            Lang::En if count == 1 => "1 event".to_owned(),
            Lang::En => format!("{} events", thousands(count)),
        }
    }

    pub fn since(self, when: &str) -> String {
        match self {
            Lang::Ja => format!("{when} から"),
            Lang::En => format!("since {when}"),
        }
    }

    pub fn wait_before_next_try(self, seconds: i64) -> String {
        match self {
            Lang::Ja => format!("失敗が続いたため、{seconds}秒待ってからもう一度お試しください。"),
            Lang::En => {
                let unit = if seconds == 1 { "second" } else { "seconds" };
                format!("After several failures, please wait {seconds} {unit} and try again.")
            }
        }
    }

    pub fn picture_of(self, camera: &str) -> String {
        match self {
            Lang::Ja => format!("{camera}の最新画像"),
            Lang::En => format!("Latest picture of {camera}"),
        }
    }

    /// What a picture with boxes shows, for those who hear the page.
    pub fn event_picture(self, class: &str, camera: &str, boxes: &str) -> String {
        match self {
            Lang::Ja => format!("{camera}で検知した{class}の画像。枠: {boxes}"),
            Lang::En => format!("Picture of the {class} detected at {camera}. Boxes: {boxes}"),
        }
    }

    pub fn event_title(self, class: &str, camera: &str) -> String {
        match self {
            Lang::Ja => format!("{camera} {class}"),
            Lang::En => format!("{class} at {camera}"),
        }
    }

    pub fn duration(self, seconds: i64) -> String {
        let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let units = match self {
            Lang::Ja => ["時間", "分", "秒"],
            Lang::En => [" h ", " min ", " s"],
        };
        let mut text = String::new();
        if hours > 0 {
            let _ = write!(text, "{hours}{}", units[0]);
        }
        if hours > 0 || minutes > 0 {
            let _ = write!(text, "{minutes}{}", units[1]);
        }
        if hours == 0 {
            let _ = write!(text, "{rest}{}", units[2]);
        }
        text.trim_end().to_owned()
    }

    /// Of what nobody saw the end of.
    pub fn at_least(self, seconds: i64) -> String {
        let duration = self.duration(seconds);
        match self {
            Lang::Ja => format!("{duration}以上"),
            Lang::En => format!("{duration} or more"),
        }
    }

    pub fn clock_within(self, error_ms: u64) -> String {
        match self {
            Lang::Ja => format!("誤差 ±{} ミリ秒以内", thousands(error_ms)),
            Lang::En => format!("within ±{} ms", thousands(error_ms)),
        }
    }

    /// How far a device's clock is off.
    pub fn offset_of(self, offset_ms: i64) -> String {
        let sign = match offset_ms {
            0 => "±",
            ..0 => "−",
            _ => "+",
        };
        let size = thousands(offset_ms.unsigned_abs());
        match self {
            Lang::Ja => format!("ずれ {sign}{size} ミリ秒"),
            Lang::En => format!("offset {sign}{size} ms"),
        }
    }

    pub fn corrected_by(self, offset_ms: i64) -> String {
        let sign = if offset_ms < 0 { "−" } else { "+" };
        let size = thousands(offset_ms.unsigned_abs());
        match self {
            Lang::Ja => format!("補正済み {sign}{size} ミリ秒"),
            Lang::En => format!("Corrected {sign}{size} ms"),
        }
    }

    /// 50%以上
    pub fn at_least_percent(self, percent: &str) -> String {
        match self {
            Lang::Ja => format!("{percent}%以上"),
            Lang::En => format!("{percent}% or more"),
        }
    }

    pub fn searched_back_to(self, time: &str) -> String {
        match self {
            Lang::Ja => format!("{time} までさかのぼって検索しました。"),
            Lang::En => format!("Searched back to {time}."),
        }
    }
}

pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
