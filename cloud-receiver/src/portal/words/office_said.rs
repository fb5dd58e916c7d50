//! Sentences of the operators' area that hold something.

use super::sentences::plural;
use super::{Lang, thousands};

impl Lang {
    pub fn is_silent_since(self, site: &str, contract: &str, since: Option<&str>) -> String {
        match (self, since) {
            (Lang::Ja, Some(since)) => {
                format!("{site}（{contract}）の装置から{since}以降、応答がありません。")
            }
            (Lang::Ja, None) => format!("{site}（{contract}）の装置から一度も応答がありません。"),
            (Lang::En, Some(since)) => {
                format!("The device at {site} ({contract}) has not responded since {since}.")
            }
            (Lang::En, None) => format!("The device at {site} ({contract}) was never heard."),
        }
    }

    pub fn alerts_are_open(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("カメラと時計の異常が{count}件続いています。"),
            Lang::En => format!(
                "{} with cameras and clocks open.",
                plural(count, "alert", "alerts")
            ),
        }
    }

    pub fn is_due(self, name: &str, by: &str, days_left: u32) -> String {
        match self {
            Lang::Ja => {
                format!("「{name}」のデータは{by}までに消去されます（残り{days_left}営業日）。")
            }
            Lang::En => format!(
                "What \"{name}\" has is erased by {by} ({} left).",
                plural(days_left as usize, "business day", "business days")
            ),
        }
    }

    pub fn done_erases(self, by: &str) -> String {
        match self {
            Lang::Ja => format!(
                "契約期間は終わっています。作業の完了を記録すると、この契約のデータは{by}までにすべて消去されます。消去は元に戻せません。"
            ),
            Lang::En => format!(
                "The period is over. Once work is said to be done, everything of this contract is erased by {by}, for ever."
            ),
        }
    }

    pub fn done_erases_later(self, by: &str) -> String {
        match self {
            Lang::Ja => {
                format!("作業の完了を記録すると、最終日のあと、{by}までにデータが消去されます。")
            }
            Lang::En => format!(
                "Once work is said to be done, the data is erased after the last day, by {by}."
            ),
        }
    }

    pub fn is_held(self, name: &str, holds: u64) -> String {
        match self {
            Lang::Ja => format!("「{name}」の消去は、{holds}件の保全により止まっています。"),
            Lang::En => format!(
                "{} the erasure of \"{name}\".",
                plural(holds as usize, "hold blocks", "holds block")
            ),
        }
    }

    pub fn awaits_work(self, name: &str) -> String {
        match self {
            Lang::Ja => {
                format!("「{name}」の期間は終わりましたが、作業の完了が記録されていません。")
            }
            Lang::En => {
                format!("The period of \"{name}\" is over; nobody said that work is done.")
            }
        }
    }

    pub fn is_erasing(self, name: &str, step: &str) -> String {
        match self {
            Lang::Ja => format!("「{name}」を消去しています（次の手順: {step}）。"),
            Lang::En => format!("\"{name}\" is being erased (next: {step})."),
        }
    }

    pub fn mails_failed(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count}通のメールを送れませんでした。"),
            Lang::En => format!("{} could not be sent.", plural(count, "mail", "mails")),
        }
    }

    pub fn mails_failing(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count}通のメールが送れず、再試行しています。"),
            Lang::En => format!(
                "{} not taken yet, and tried again.",
                plural(count, "mail is", "mails are")
            ),
        }
    }

    pub fn disk_is(self, level: &str, full: Option<&str>) -> String {
        match (self, full) {
            (Lang::Ja, Some(full)) => {
                format!("ディスクの空き: {level}。{full}ごろに空きがなくなる見込みです。")
            }
            (Lang::Ja, None) => format!("ディスクの空き: {level}。"),
            (Lang::En, Some(full)) => format!("The disk: {level}. It is full about {full}."),
            (Lang::En, None) => format!("The disk: {level}."),
        }
    }

    pub fn certificate_runs_out(self, site: &str, contract: &str, at: &str) -> String {
        match self {
            Lang::Ja => {
                format!("{site}（{contract}）の装置の証明書が更新されていません（期限 {at}）。")
            }
            Lang::En => format!(
                "The certificate of the device at {site} ({contract}) was not renewed (until {at})."
            ),
        }
    }

    pub fn backup_is_old(self, days: i64) -> String {
        match self {
            Lang::Ja => format!("最新のバックアップは{days}日前のものです。"),
            Lang::En => format!("The newest backup is {days} days old."),
        }
    }

    pub fn backup_has_problems(self, problems: u64) -> String {
        match self {
            Lang::Ja => format!(
                "バックアップの検査で{}件の問題が見つかりました。",
                thousands(problems)
            ),
            Lang::En => format!(
                "The check of the backup found {}.",
                plural(problems as usize, "problem", "problems")
            ),
        }
    }

    pub fn pictures_are_gone(self, count: u64) -> String {
        let count = thousands(count);
        match self {
            Lang::Ja => format!("受信済みの画像{count}件のファイルが失われています。"),
            Lang::En => format!("The files of {count} stored pictures are gone."),
        }
    }

    pub fn older_than(self, what: &str, days: u32) -> String {
        match self {
            Lang::Ja => format!("{what}: {days}日より古いもの"),
            Lang::En => format!("{what}: older than {days} days"),
        }
    }

    pub fn remove_tag(self, tag: &str, from: &str) -> String {
        match self {
            Lang::Ja => format!("{from}からタグ「{tag}」を外す"),
            Lang::En => format!("Take the tag \"{tag}\" off {from}"),
        }
    }

    pub fn mail_outcomes(self, taken: usize, lost: usize, waiting: usize) -> String {
        match self {
            Lang::Ja => format!("送信済み {taken}通 · 送れなかった {lost}通 · 待ち {waiting}通"),
            Lang::En => format!("{taken} taken · {lost} given up · {waiting} waiting"),
        }
    }

    pub fn recipients(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count}件の宛先"),
            Lang::En => plural(count, "recipient", "recipients"),
        }
    }
}
