//! Why an event is told, in plain words; and what is wrong with a camera that no longer sees.

use super::sentences::plural;
use super::{Lang, Words};
use wire::record::Reason;

/// How a camera fails to see, as the rule of an event of the class `camera` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blindness {
    Covered,
    Turned,
    Defocused,
    Frozen,
    Black,
    Dark,
    /// A rule of a newer device, or none.
    Other,
}

impl Blindness {
    pub fn of_rule(rule: Option<&str>) -> Self {
        match rule {
            Some("covered") => Self::Covered,
            Some("turned") => Self::Turned,
            Some("defocused") => Self::Defocused,
            Some("frozen") => Self::Frozen,
            Some("black") => Self::Black,
            Some("dark") => Self::Dark,
            _ => Self::Other,
        }
    }
}

impl Words {
    /// While it lasts.
    pub fn blind_now(&self, what: Blindness) -> &'static str {
        match what {
            Blindness::Covered => self.is_covered,
            Blindness::Turned => self.is_turned,
            Blindness::Defocused => self.is_defocused,
            Blindness::Frozen => self.is_frozen,
            Blindness::Black => self.is_black,
            Blindness::Dark => self.is_dark,
            Blindness::Other => self.is_blind,
        }
    }

    /// When it is over.
    pub fn blind_then(&self, what: Blindness) -> &'static str {
        match what {
            Blindness::Covered => self.was_covered,
            Blindness::Turned => self.was_turned,
            Blindness::Defocused => self.was_defocused,
            Blindness::Frozen => self.was_frozen,
            Blindness::Black => self.was_black,
            Blindness::Dark => self.was_dark,
            Blindness::Other => self.was_blind,
        }
    }
}

impl Lang {
    /// 「駐車場に入りました」. A rule that has no words yet is shown as the device says it.
    pub fn reason(self, class: &str, reason: &Reason) -> String {
        let zone = reason.name.as_deref().unwrap_or(self.words().zone);
        match reason.rule.as_str() {
            "zone" => match self {
                Lang::Ja => format!("{zone}に入りました"),
                Lang::En => format!("Entered {zone}"),
            },
            "line" => self.crossed(reason.name.as_deref(), reason.direction.as_deref()),
            "loitering" => {
                let seconds = self.stay(reason.seconds.unwrap_or(0));
                match self {
                    Lang::Ja => format!("{zone}に{seconds}以上とどまりました"),
                    Lang::En => format!("Stayed in {zone} for {seconds} or more"),
                }
            }
            "occupancy" => {
                let count = self.so_many(class, reason.count.unwrap_or(0));
                match self {
                    Lang::Ja => format!("{zone}に{count}"),
                    Lang::En => format!("{count} in {zone}"),
                }
            }
            "covered" | "turned" | "defocused" | "frozen" | "black" | "dark" => {
                let what = Blindness::of_rule(Some(&reason.rule));
                self.words().blind_now(what).to_owned()
            }
            other => match &reason.name {
                Some(name) => format!("{other}: {name}"),
                None => other.to_owned(),
            },
        }
    }

    fn crossed(self, name: Option<&str>, direction: Option<&str>) -> String {
        let line = name.map_or_else(
            || self.words().line.to_owned(),
            |name| self.line_called(name),
        );
        let way = direction.map(|direction| self.way(direction));
        match (self, way) {
            (Lang::Ja, Some(way)) => format!("{line}を越えました（{way}）"),
            (Lang::Ja, None) => format!("{line}を越えました"),
            (Lang::En, Some(way)) => format!("Crossed {line} ({way})"),
            (Lang::En, None) => format!("Crossed {line}"),
        }
    }

    /// 「正門の線」 from 「正門」; a name that says line already is left alone.
    fn line_called(self, name: &str) -> String {
        match self {
            Lang::Ja if name.ends_with('線') || name.ends_with("ライン") => name.to_owned(),
            Lang::Ja => format!("{name}の線"),
            Lang::En if name.to_lowercase().contains("line") => name.to_owned(),
            Lang::En => format!("the line {name}"),
        }
    }

    /// The same over a chart.
    pub fn line_heading(self, name: &str) -> String {
        match (self, self.line_called(name)) {
            (Lang::En, called) if called != name => format!("Line {name}"),
            (_, called) => called,
        }
    }

    /// 入 and 出; what is neither is shown as the device says it.
    pub fn way(self, direction: &str) -> &str {
        match direction {
            "in" => self.words().way_in,
            "out" => self.words().way_out,
            other => other,
        }
    }

    fn stay(self, seconds: u32) -> String {
        let is_minutes = seconds >= 120 && seconds.is_multiple_of(60);
        match (self, is_minutes) {
            (Lang::Ja, true) => format!("{}分", seconds / 60),
            (Lang::Ja, false) => format!("{seconds}秒"),
            (Lang::En, true) => format!("{} min", seconds / 60),
            (Lang::En, false) => format!("{seconds} s"),
        }
    }

    /// 5人, 2台: each class has its own way of being counted.
    fn so_many(self, class: &str, count: u32) -> String {
        let number = count as usize;
        match (self, class) {
            (Lang::Ja, "person") => format!("{count}人"),
            (Lang::Ja, "vehicle" | "bicycle" | "motorcycle") => format!("{count}台"),
            (Lang::Ja, "animal") => format!("{count}匹"),
            (Lang::Ja, _) => format!("{count}件"),
            (Lang::En, "person") => plural(number, "person", "people"),
            (Lang::En, "vehicle") => plural(number, "vehicle", "vehicles"),
            (Lang::En, "bicycle") => plural(number, "bicycle", "bicycles"),
            (Lang::En, "motorcycle") => plural(number, "motorcycle", "motorcycles"),
            (Lang::En, "animal") => plural(number, "animal", "animals"),
            (Lang::En, _) => plural(number, "object", "objects"),
        }
    }

    /// Between the parts of a list.
    pub fn list_mark(self) -> &'static str {
        match self {
            Lang::Ja => "、",
            Lang::En => ", ",
        }
    }

    pub fn earlier_reasons(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("ほか {count} 件"),
            Lang::En => format!("{count} more"),
        }
    }

    /// 「正門: カメラが覆われています」
    pub fn camera_event_title(self, camera: &str, what: &str) -> String {
        format!("{camera}: {what}")
    }

    pub fn picture_at_moment(self, camera: &str, moment: &str) -> String {
        match self {
            Lang::Ja => format!("{camera}の画像（{moment}）"),
            Lang::En => format!("Picture of {camera}: {}", moment.to_lowercase()),
        }
    }

    pub fn cameras_blind(self, count: usize) -> String {
        match self {
            Lang::Ja => format!("{count} 台 見えていません"),
            Lang::En => format!("{} without sight", plural(count, "camera", "cameras")),
        }
    }

    /// What is wrong since when, and what to do.
    pub fn blind_since(self, camera: &str, what: Blindness, since: &str) -> String {
        let camera = self.camera_called(camera);
        match (self, what) {
            (Lang::Ja, Blindness::Covered) => format!(
                "{camera}が{since}から覆われています。レンズをふさいでいるものがないかご確認ください。"
            ),
            (Lang::Ja, Blindness::Turned) => {
                format!("{camera}の向きが{since}から変わっています。取り付けをご確認ください。")
            }
            (Lang::Ja, Blindness::Defocused) => format!(
                "{camera}のピントが{since}から合っていません。レンズの汚れとピントをご確認ください。"
            ),
            (Lang::Ja, Blindness::Frozen) => format!(
                "{camera}の映像が{since}から止まっています。カメラの電源を入れ直してください。"
            ),
            (Lang::Ja, Blindness::Black) => {
                format!("{camera}の映像が{since}から真っ黒です。カメラと照明をご確認ください。")
            }
            (Lang::Ja, Blindness::Dark) => {
                format!("{camera}の映像が{since}から暗くて見えません。照明をご確認ください。")
            }
            (Lang::Ja, Blindness::Other) => {
                format!("{camera}が{since}から見えていません。カメラをご確認ください。")
            }
            (Lang::En, Blindness::Covered) => format!(
                "Since {since} {camera} is covered. Please check whether something blocks its lens."
            ),
            (Lang::En, Blindness::Turned) => {
                format!("Since {since} {camera} looks another way. Please check its mounting.")
            }
            (Lang::En, Blindness::Defocused) => format!(
                "Since {since} {camera} is out of focus. Please check its lens for dirt, and its focus."
            ),
            (Lang::En, Blindness::Frozen) => format!(
                "Since {since} the video of {camera} stands still. Please switch the camera off and on again."
            ),
            (Lang::En, Blindness::Black) => format!(
                "Since {since} the video of {camera} is black. Please check the camera and the light."
            ),
            (Lang::En, Blindness::Dark) => {
                format!("Since {since} it is too dark for {camera} to see. Please check the light.")
            }
            (Lang::En, Blindness::Other) => {
                format!("Since {since} {camera} cannot see. Please check the camera.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::UtcMicros;

    fn reason(rule: &str, name: &str) -> Reason {
        Reason {
            rule: rule.into(),
            name: Some(name.into()).filter(|name: &String| !name.is_empty()),
            direction: None,
            count: None,
            seconds: None,
            at_us: UtcMicros(0),
        }
    }

    #[test]
    fn every_rule_is_told_in_plain_words() {
        let check = |class: &str, reason: Reason, ja: &str, en: &str| {
            assert_eq!(Lang::Ja.reason(class, &reason), ja);
            assert_eq!(Lang::En.reason(class, &reason), en);
        };
        let zone = reason("zone", "駐車場");
        check("person", zone, "駐車場に入りました", "Entered 駐車場");
        let line = |name, direction: &str| Reason {
            direction: Some(direction.into()),
            ..reason("line", name)
        };
        check(
            "person",
            line("正門", "in"),
            "正門の線を越えました（入）",
            "Crossed the line 正門 (in)",
        );
        check(
            "person",
            line("Gate line", "out"),
            "Gate lineの線を越えました（出）",
            "Crossed Gate line (out)",
        );
        assert_eq!(
            Lang::Ja.reason("person", &line("停止ライン", "out")),
            "停止ラインを越えました（出）"
        );
        let stay = |seconds| Reason {
            seconds: Some(seconds),
            ..reason("loitering", "入口")
        };
        check(
            "person",
            stay(60),
            "入口に60秒以上とどまりました",
            "Stayed in 入口 for 60 s or more",
        );
        check(
            "person",
            stay(300),
            "入口に5分以上とどまりました",
            "Stayed in 入口 for 5 min or more",
        );
        let full = |count| Reason {
            count: Some(count),
            ..reason("occupancy", "駐車場")
        };
        check("person", full(5), "駐車場に5人", "5 people in 駐車場");
        check("vehicle", full(1), "駐車場に1台", "1 vehicle in 駐車場");
        check(
            "camera",
            reason("dark", ""),
            "暗くて見えません",
            "It is too dark to see",
        );
        assert_eq!(Lang::En.line_heading("正門"), "Line 正門");
        assert_eq!(Lang::Ja.line_heading("正門"), "正門の線");
        // Of a newer device, or with something left out: said as far as it goes.
        check(
            "person",
            reason("falls", "階段"),
            "falls: 階段",
            "falls: 階段",
        );
        check(
            "person",
            reason("line", ""),
            "線を越えました",
            "Crossed a line",
        );
        check(
            "person",
            reason("zone", ""),
            "ゾーンに入りました",
            "Entered a zone",
        );
    }

    #[test]
    fn what_is_wrong_with_a_camera_is_said_with_what_to_do() {
        for rule in [
            "covered",
            "turned",
            "defocused",
            "frozen",
            "black",
            "dark",
            "new",
        ] {
            let what = Blindness::of_rule(Some(rule));
            let ja = Lang::Ja.blind_since("正門", what, "10:42");
            assert!(
                ja.starts_with("正門カメラ") && ja.contains("10:42から"),
                "{ja}"
            );
            assert!(
                ja.ends_with("ください。") && ja.matches('。').count() == 2,
                "{ja}"
            );
            let en = Lang::En.blind_since("Gate", what, "10:42");
            assert!(
                en.contains("camera Gate") && en.contains(". Please "),
                "{en}"
            );
        }
    }
}
