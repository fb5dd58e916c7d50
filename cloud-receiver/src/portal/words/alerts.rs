//! What mail and overview say of devices and cameras that are silent, and of clocks that are off.

use super::Lang;

impl Lang {
    fn listed(self, names: &[&str]) -> String {
        names.join(match self {
            Lang::Ja => "、",
            Lang::En => ", ",
        })
    }

    fn device_at(self, site: &str, cameras: &[&str]) -> String {
        let cameras = self.listed(cameras);
        match (self, cameras.as_str()) {
            (Lang::Ja, "") => format!("{site}の装置"),
            (Lang::Ja, cameras) => format!("{site}の装置（{cameras}）"),
            (Lang::En, "") => format!("the device at {site}"),
            (Lang::En, cameras) => format!("the device at {site} ({cameras})"),
        }
    }

    pub fn device_at_silent_since(self, site: &str, cameras: &[&str], since: &str) -> String {
        let device = self.device_at(site, cameras);
        match self {
            Lang::Ja => format!(
                "{device}から{since}以降、応答がありません。装置の電源とネットワークをご確認ください。"
            ),
            Lang::En => format!(
                "Since {since} {device} has not responded. Please check its power and network."
            ),
        }
    }

    pub fn clock_off_since(self, site: &str, cameras: &[&str], since: &str) -> String {
        let device = self.device_at(site, cameras);
        match self {
            Lang::Ja => {
                format!("{device}の時計が{since}からずれています。表示する時刻は補正しています。")
            }
            Lang::En => format!(
                "The clock of {device} has been off since {since}. Times are shown corrected."
            ),
        }
    }

    pub fn device_well_again(self, site: &str, cameras: &[&str]) -> String {
        let device = self.device_at(site, cameras);
        match self {
            Lang::Ja => format!("{device}は復旧しました。"),
            Lang::En => format!("Well again: {device}."),
        }
    }

    pub fn camera_well_again(self, camera: &str) -> String {
        let camera = self.camera_called(camera);
        match self {
            Lang::Ja => format!("{camera}の画像が再び届いています。"),
            Lang::En => format!("Pictures of {camera} come again."),
        }
    }

    pub fn clock_right_again(self, site: &str, cameras: &[&str]) -> String {
        let device = self.device_at(site, cameras);
        match self {
            Lang::Ja => format!("{device}の時計は正しい時刻に戻りました。"),
            Lang::En => format!("The clock is right again: {device}."),
        }
    }

    pub fn alert_subject(self, begun: usize, ended: usize) -> String {
        match (self, begun, ended) {
            (Lang::Ja, 0, ended) => format!("【復旧】{ended}件"),
            (Lang::Ja, begun, 0) => format!("【異常】{begun}件"),
            (Lang::Ja, begun, ended) => format!("【異常】{begun}件、復旧 {ended}件"),
            (Lang::En, 0, ended) => format!("Well again: {ended}"),
            (Lang::En, begun, 0) => format!("Needs attention: {begun}"),
            (Lang::En, begun, ended) => format!("Needs attention: {begun}; well again: {ended}"),
        }
    }

    pub fn mail_one_event(self, title: &str, time: &str) -> String {
        match self {
            Lang::Ja => format!("【検知】{title}（{time}）"),
            Lang::En => format!("Detected at {time}: {title}"),
        }
    }

    pub fn mail_events(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("【検知】{count}件"),
            Lang::En => format!("Detected: {count} events"),
        }
    }

    pub fn minutes(self, minutes: u32) -> String {
        match self {
            Lang::Ja => format!("{minutes}分"),
            Lang::En => format!("{minutes} min"),
        }
    }

    pub fn notify_question(self, link: &str) -> String {
        match self {
            Lang::Ja => format!(
                "このアドレスで通知を受け取る設定が行われました。\n受け取る場合は、24時間以内に次のリンクを開いてください。\n{link}\n\n心当たりがない場合は、何もする必要はありません。通知は送られません。\n"
            ),
            Lang::En => format!(
                "Somebody asked for notifications at this address.\nIf it was you, please open this link within 24 hours.\n{link}\n\nIf it was not, there is nothing to do. No notifications are sent.\n"
            ),
        }
    }

    pub fn and_more(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("ほか {count} 件"),
            Lang::En => format!("and {count} more"),
        }
    }
}
