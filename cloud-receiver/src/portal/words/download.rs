//! Words of the download page.

topic! { DownloadWords;
    download: "ダウンロード" | "Downloads";
    intro: "お預かりしている記録と画像を、1日ごとのZIPファイルでお渡しします。画像、CSV、JSON、装置の署名、確かめ方が入っています。" | "What we hold for you, as one ZIP file for each day: pictures, CSV, JSON, the signatures of the devices, and how to check them.";
    resumable: "途中で切れた場合は、ブラウザーの「再開」で続きから受け取れます。" | "If a download breaks off, your browser can go on from there.";
    first_day: "最初の日" | "First day";
    last_day: "最後の日" | "Last day";
    show: "表示" | "Show";
    day: "日付" | "Day";
    events: "イベント" | "Events";
    pictures: "画像" | "Pictures";
    size: "およその大きさ" | "Size, about";
    file: "ファイル" | "File";
    get: "ZIPを保存" | "Save ZIP";
    nothing: "記録なし" | "Nothing recorded";
    size_hint: "大きさは画像の合計です。記録の分だけ少し大きくなります。" | "The size is that of the pictures; the records add a little.";
    total: "合計" | "Total";
}

use super::Lang;

impl Lang {
    /// 12.3 MB
    pub fn size(self, bytes: u64) -> String {
        let units = ["KB", "MB", "GB", "TB"];
        let mut size = bytes as f64 / 1000.0;
        let mut unit = 0;
        while size >= 1000.0 && unit + 1 < units.len() {
            size /= 1000.0;
            unit += 1;
        }
        match size {
            ..10.0 => format!("{size:.1} {}", units[unit]),
            _ => format!("{size:.0} {}", units[unit]),
        }
    }

    pub fn download_of(self, day: &str) -> String {
        match self {
            Lang::Ja => format!("{day}のZIPをダウンロード"),
            Lang::En => format!("Download ZIP of {day}"),
        }
    }
}
