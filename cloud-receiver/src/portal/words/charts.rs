//! Words of charts.

topic! { ChartWords;
    charts: "グラフ" | "Charts";
    by: "集計単位" | "Counted by";
    by_hour: "1時間ごと" | "Hour";
    by_day: "1日ごと" | "Day";
    by_week: "1週間ごと（月曜始まり）" | "Week, from Monday";
    split: "内訳" | "Split by";
    split_class: "種類" | "Class";
    split_camera: "カメラ" | "Camera";
    until: "最終日" | "Last day";
    days: "期間" | "Period";
    begins: "開始" | "Begins";
    weekday: "曜日" | "Day of the week";
    total: "合計" | "Total";
    as_table: "表で見る" | "As a table";
    csv: "CSVをダウンロード" | "Download as CSV";
    csv_hint: "Excelでそのまま開けます（UTF-8）。" | "Opens in Excel as it is (UTF-8).";
    nothing: "この期間のイベントはありません" | "No events in this period";
    nothing_hint: "期間を長くするか、条件を広げてください。" | "Try a longer period or a wider filter.";
    days_off: "土日祝日" | "Weekends and holidays";
    opened_in: "件数は、イベントが始まった時刻で数えています。" | "Events are counted by when they began.";
}

use super::sentences::plural;
use super::{Lang, thousands};

impl Lang {
    pub fn chart_days(self, days: u32) -> String {
        match self {
            Lang::Ja => format!("{days}日間"),
            Lang::En => plural(days as usize, "day", "days"),
        }
    }

    /// 合計 1,234件 · 最大 56件（11月22日(日)）
    pub fn chart_summary(self, total: u64, most: u64, when: &str) -> String {
        let (total, most) = (thousands(total), thousands(most));
        match self {
            Lang::Ja => format!("合計 {total}件 · 最大 {most}件（{when}）"),
            Lang::En => format!("{total} in all · at most {most} ({when})"),
        }
    }

    pub fn more_series(self, number: usize) -> String {
        match self {
            Lang::Ja => format!("ほか{number}件は表とCSVにあります。"),
            Lang::En => format!("{number} more in the table and the CSV file."),
        }
    }
}
