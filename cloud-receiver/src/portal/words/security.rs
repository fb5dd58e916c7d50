//! Words of the Security page: the nineteen clauses in plain words, and the sentences of their evidence.

use super::sentences::plural;
use super::{Lang, thousands};

topic! { SecurityWords;
    security: "安全性" | "Security";
    intro: "公開しているセキュリティホワイトペーパーの19項目について、お約束している内容と、この受信サーバーが今お見せできる裏付けを並べています。" | "The nineteen clauses of our published security white paper: what we promise, and what this receiver can show for it right now.";
    evidence: "裏付け" | "Evidence";
    removals: "アカウントの削除" | "Accounts removed";
    erasures: "契約データの消去" | "Erasure of the contract";
    maintenance: "メンテナンスのお知らせ" | "Maintenance notices";
    incidents: "インシデントのお知らせ" | "Incident notices";
    backups: "運用者によるバックアップ" | "Backups by the operator";
    all_done: "この契約についての操作" | "What was done with this contract";
    not_yet: "まだ実施されていません" | "Not done so far";
    no_heads: "受信サーバーの署名済み明細はまだ作られていません" | "No signed statement of what is held has been made yet";
    heads_not_sent: "署名済み明細は、まだ外部に送られていません" | "The signed statement has not been sent out of the receiver yet";
    region: "保管場所の地域" | "Region where data is kept";
    region_not_declared: "この受信サーバーには、保管場所の地域がまだ宣言されていません" | "No region has been declared for this receiver yet";
    all_changed: "発行したままのパスワードを使っている利用者はいません" | "No user still has the password that was issued";
    read_only: "一般ユーザの画面からは、契約のデータを変更できません" | "General users can change nothing of the contract's data";
    argon2: "パスワードはArgon2idで変換して保存し、元に戻せません" | "Passwords are stored as Argon2id hashes, which cannot be turned back";
    second_factor: "この契約では2段階認証が必須です" | "This contract requires a second factor";
    key_gone: "契約の暗号鍵は破棄されています。保存データは読み出せません" | "The contract's key is destroyed: stored data cannot be read";
    tls: "通信はTLS 1.2と1.3だけを受け付けます。輸出規制の対象となる暗号は使っていません" | "Connections are TLS 1.2 or 1.3 only. No export-controlled cryptography is used";
    contract_open: "契約期間の終わりは定められていません" | "The contract has no agreed end";
    download_all: "お預かりしている記録と画像は、いつでもダウンロードできます" | "Everything we hold for you can be downloaded at any time";
    no_limit: "登録できるデータ量に固定の上限はありません" | "There is no fixed limit to what can be stored";
    tested: "外から受け取るすべてのデータは、検査してから取り込んでいます。依存する部品の許諾と出所は、ビルドのたびに確認しています" | "Everything from outside is checked before it is taken in. Licences and sources of all parts are checked at every build";
    no_devices: "装置はまだ登録されていません" | "No device is enrolled yet";
    to_account: "アカウントで確認" | "See account";
    to_events: "イベントを絞り込む" | "Filter events";
    to_download: "ダウンロードへ" | "To downloads";
}

/// One clause of the white paper.
#[derive(Debug)]
pub struct Clause {
    pub number: u8,
    pub title: &'static str,
    pub promise: &'static str,
}

macro_rules! clauses {
    ($($number:literal: $ja_title:literal | $en_title:literal, $ja:literal | $en:literal;)*) => {
        static JA_CLAUSES: &[Clause] = &[$(Clause { number: $number, title: $ja_title, promise: $ja },)*];
        static EN_CLAUSES: &[Clause] = &[$(Clause { number: $number, title: $en_title, promise: $en },)*];
    };
}

/// In the order of the white paper.
pub fn clauses(lang: Lang) -> &'static [Clause] {
    match lang {
        Lang::Ja => JA_CLAUSES,
        Lang::En => EN_CLAUSES,
    }
}

clauses! {
    1: "情報セキュリティの役割および責任" | "Roles and responsibilities",
        "運用者がシステムの開発と運用を担い、情報の漏えいや改ざんを防ぎます。装置の記録は欠番のない番号、前の記録とのつながり、装置の鍵による署名を持つため、改ざんや抜き取りがあれば分かります。" | "The operator builds and runs the system, and prevents leaks and tampering. Records of devices are numbered without gaps, chained and signed, so tampering shows.";
    2: "利用者の責任" | "The user's part",
        "アカウントとパスワードは、利用者ご自身で適切に管理してください。サインインの履歴と失敗の回数をお知らせします。" | "Please look after your account and your password. We show you when you signed in, and how often it failed.";
    3: "データの保管場所" | "Where data is kept",
        "お預かりしたデータは、日本国内の地域に保管します。" | "Your data is kept in regions inside Japan.";
    4: "情報のタグ付け" | "Tags",
        "拠点、カメラ、イベントにタグを付けられます。タグは運用者が付け、どなたでも絞り込みに使えます。" | "Sites, cameras and events carry tags. Operators set them, and everybody can filter by them.";
    5: "アカウントの種類" | "Kinds of accounts",
        "お客さまのアカウントは一般ユーザです。運用者のアカウントは別の入口と別の台帳で管理しています。" | "Customers have general users. Operators have accounts of their own, behind a door of their own.";
    6: "メンバーアカウントの登録" | "Registering members",
        "ログインIDとパスワードは運用者が発行し、ご要望に応じて再発行します。発行したパスワードは、最初のサインインで変更していただきます。" | "Login IDs and passwords are issued by the operator, and re-issued on request. An issued password is changed at the first sign-in.";
    7: "メンバーアカウントの削除" | "Removing members",
        "アカウントの削除は運用者が行います。削除すると、サインイン中のブラウザーもただちに終了します。" | "The operator removes accounts. All sessions of a removed user end at once.";
    8: "アクセス権の管理" | "Access rights",
        "一般ユーザは参照だけができ、アクセス権は変更できません。ほかの契約のデータは見えません。" | "General users can only look, and cannot change rights. Nobody sees the data of another contract.";
    9: "パスワードの管理" | "Passwords",
        "パスワードはお客さまご自身で管理していただきます。お忘れの場合は再発行します。" | "You keep your password yourself. If it is lost, a new one is issued.";
    10: "データの暗号化" | "Encryption",
        "通信はTLSで暗号化し、保存する画像と記録も契約ごとの鍵で暗号化します。" | "Connections are encrypted by TLS, and stored pictures and records under a key of each contract.";
    11: "データの削除" | "Deletion",
        "契約が終了し、延長の申し出がなく、業務が終了していれば、3営業日以内に画像、検知結果、利用者の情報をすべて削除します。" | "When a contract has ended, is not extended and its work is done, all pictures, results and user data are deleted within 3 business days.";
    12: "変更管理" | "Change notices",
        "影響のあるメンテナンスは、2週間前までにメールでお知らせします。" | "Maintenance that affects you is announced by e-mail two weeks ahead.";
    13: "情報のバックアップ" | "Backup",
        "必要な記録は、お客さまがいつでもダウンロードできます。加えて、運用者もバックアップを取得します。" | "You can download what you need at any time. The operator makes backups as well.";
    14: "運用管理" | "Capacity",
        "データ量に固定の上限はありません。容量を監視し、必要に応じて増強します。" | "There is no fixed limit. Capacity is watched, and extended when needed.";
    15: "イベントログの取得" | "Event logs",
        "サインイン、閲覧、ダウンロード、運用者の操作を記録します。記録は互いにつながっており、書き換えれば分かります。" | "Sign-ins, views, downloads and what operators do are logged. Entries are chained, so a change shows.";
    16: "ぜい弱性の管理" | "Vulnerabilities",
        "ぜい弱性の情報を集め、必要に応じて定期または緊急のメンテナンスで対応します。" | "Advisories are watched, and dealt with in regular or emergency maintenance.";
    17: "セキュリティに配慮した開発" | "Secure development",
        "セキュリティに配慮した手順で開発しています。" | "The software is developed with security in mind.";
    18: "情報セキュリティインシデント報告" | "Incidents",
        "大きな影響のあるインシデントが起きた場合は、管理者の方へメールでお知らせします。お問い合わせはメールで受け付けます。" | "Incidents that affect you are reported to your administrator by e-mail. Inquiries are taken by e-mail.";
    19: "クロックの同期" | "Clock synchronisation",
        "装置はNTPで時計を合わせ、そのずれを測って記録します。ずれのある間の記録は、後から正しい時刻に直します。" | "Devices set their clocks by NTP and measure how far they are off. What was recorded while a clock was off is corrected afterwards.";
}

impl Lang {
    pub fn evidence_read_at(self, at: &str) -> String {
        match self {
            Lang::Ja => format!("{at} 時点の内容です。"),
            Lang::En => format!("As of {at}."),
        }
    }

    pub fn signed_batches(self, batches: u64, broken: u64) -> String {
        let (batches, broken) = (thousands(batches), thousands(broken));
        match self {
            Lang::Ja => format!(
                "装置が署名した記録のまとまり {batches}件を保管しています。つながりの切れ目は{broken}件です"
            ),
            Lang::En => format!(
                "{batches} batches of records signed by your devices are held; {broken} of their links are broken"
            ),
        }
    }

    pub fn heads_signed(self, number: u64, at: &str) -> String {
        match self {
            Lang::Ja => format!("受信サーバーの署名済み明細 第{number}号: {at}"),
            Lang::En => format!("Signed statement of what is held, number {number}: {at}"),
        }
    }

    pub fn heads_sent(self, at: &str) -> String {
        match self {
            Lang::Ja => format!("{at} に外部へ送りました"),
            Lang::En => format!("Sent out of the receiver: {at}"),
        }
    }

    pub fn heads_stamped(self, at: &str) -> String {
        match self {
            Lang::Ja => format!("時刻認証局による証明: {at}"),
            Lang::En => format!("Confirmed by a time-stamp authority: {at}"),
        }
    }

    pub fn you_signed_in(self, at: &str) -> String {
        match self {
            Lang::Ja => format!("今回のサインイン: {at}"),
            Lang::En => format!("You signed in: {at}"),
        }
    }

    pub fn failed_sign_ins(self, number: u64) -> String {
        let number = thousands(number);
        match self {
            Lang::Ja => format!("前回以降に失敗したサインイン: {number}回"),
            Lang::En => format!("Failed sign-ins since the previous one: {number}"),
        }
    }

    pub fn tags_given(self, number: u64) -> String {
        let number = thousands(number);
        match self {
            Lang::Ja => format!("付けられているタグ: {number}件"),
            Lang::En => format!("Tags set: {number}"),
        }
    }

    pub fn general_users(self, number: u64) -> String {
        let number = thousands(number);
        match self {
            Lang::Ja => format!("この契約の一般ユーザ: {number}名"),
            Lang::En => format!("General users of this contract: {number}"),
        }
    }

    pub fn users_added(self, count: u64, last: &str) -> String {
        let count = thousands(count);
        match self {
            Lang::Ja => format!("アカウントの発行 {count}件（最後は{last}）"),
            Lang::En => format!("Accounts issued: {count} (the last one {last})"),
        }
    }

    pub fn not_changed_yet(self, number: u64) -> String {
        let count = thousands(number);
        match self {
            Lang::Ja => format!("発行したパスワードをまだ変更していない利用者: {count}名"),
            Lang::En => format!("Users who have not changed the issued password yet: {count}"),
        }
    }

    pub fn only_this_contract(self, contract: &str) -> String {
        match self {
            Lang::Ja => format!("このアカウントで見られる契約: {contract}"),
            Lang::En => format!("This account sees one contract: {contract}"),
        }
    }

    pub fn key_since(self, since: &str) -> String {
        match self {
            Lang::Ja => {
                format!("契約専用の鍵（AES-256-GCM）で暗号化して保存しています。鍵の作成: {since}")
            }
            Lang::En => {
                format!("Stored under a key of this contract alone (AES-256-GCM), made {since}")
            }
        }
    }

    pub fn certificates(self, devices: usize, until: &str) -> String {
        match self {
            Lang::Ja => {
                format!("装置{devices}台が証明書で相互認証しています。最も早い有効期限: {until}")
            }
            Lang::En => format!(
                "{} signed in by certificate; the first to expire: {until}",
                plural(devices, "device", "devices")
            ),
        }
    }

    pub fn contract_until(self, until: &str) -> String {
        match self {
            Lang::Ja => format!("契約期間の終わり: {until}"),
            Lang::En => format!("The contract ends: {until}"),
        }
    }

    /// Records, event pictures, periodic pictures, requested pictures, clips.
    pub fn kept_for(self, days: [Option<u32>; 5]) -> String {
        let names = match self {
            Lang::Ja => ["記録", "イベントの画像", "定期画像", "依頼した画像", "映像"],
            Lang::En => [
                "records",
                "event pictures",
                "periodic pictures",
                "requested pictures",
                "clips",
            ],
        };
        let one = |(name, days): (&str, Option<u32>)| match (self, days) {
            (Lang::Ja, Some(days)) => format!("{name} {days}日"),
            (Lang::Ja, None) => format!("{name} 契約期間中"),
            (Lang::En, Some(days)) => format!("{name} {days} days"),
            (Lang::En, None) => format!("{name} while the contract lasts"),
        };
        let all: Vec<String> = names.into_iter().zip(days).map(one).collect();
        match self {
            Lang::Ja => format!("保存期間: {}", all.join("、")),
            Lang::En => format!("Kept: {}", all.join(", ")),
        }
    }

    /// Where there is a time for records.
    pub fn kept_with_pictures(self) -> &'static str {
        match self {
            Lang::Ja => {
                "画像の保存期間が記録より長い場合、その画像の記録とイベントは画像と同じ期間保存します。"
            }
            Lang::En => {
                "Where a picture is kept for longer than records, its record and its event stay with it."
            }
        }
    }

    pub fn receiver_version(self, version: &str) -> String {
        match self {
            Lang::Ja => format!("受信サーバーの版: {version}"),
            Lang::En => format!("Version of the receiver: {version}"),
        }
    }

    pub fn device_version(self, site: &str, version: &str) -> String {
        match self {
            Lang::Ja => format!("{site}の装置の版: {version}"),
            Lang::En => format!("Version of the device at {site}: {version}"),
        }
    }

    pub fn inquiries_to(self, mail: &str) -> String {
        match self {
            Lang::Ja => format!("お問い合わせ先: {mail}"),
            Lang::En => format!("Inquiries to {mail}"),
        }
    }

    pub fn clock_never_told(self, site: &str) -> String {
        match self {
            Lang::Ja => format!("{site}の装置は、まだ時計の状態を知らせていません"),
            Lang::En => format!("The device at {site} has not told of its clock yet"),
        }
    }

    pub fn clock_not_synced(self, site: &str) -> String {
        match self {
            Lang::Ja => format!("{site}の装置の時計は同期していません"),
            Lang::En => format!("The clock of the device at {site} is not synchronised"),
        }
    }

    /// 第一倉庫の装置: ずれ +3 ミリ秒（40秒前に確認）
    pub fn clock_of(self, site: &str, off_ms: i64, checked_seconds: Option<u64>) -> String {
        let offset = self.offset_of(off_ms);
        let ago = |seconds: u64| match (self, seconds) {
            (Lang::Ja, ..120) => format!("{seconds}秒前に確認"),
            (Lang::Ja, _) => format!("{}分前に確認", thousands(seconds / 60)),
            (Lang::En, ..120) => format!("checked {seconds} s ago"),
            (Lang::En, _) => format!("checked {} min ago", thousands(seconds / 60)),
        };
        let checked = checked_seconds.map(ago);
        match (self, checked) {
            (Lang::Ja, Some(checked)) => format!("{site}の装置: {offset}（{checked}）"),
            (Lang::Ja, None) => format!("{site}の装置: {offset}"),
            (Lang::En, Some(checked)) => format!("Device at {site}: {offset} ({checked})"),
            (Lang::En, None) => format!("Device at {site}: {offset}"),
        }
    }

    pub fn audited(self, count: u64, last: &str) -> String {
        let count = thousands(count);
        match self {
            Lang::Ja => format!("監査ログの記録 {count}件（最後は{last}）"),
            Lang::En => format!("Entries of the audit log: {count} (the last one {last})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_nineteen_clauses_are_there_in_both_languages() {
        for lang in [Lang::Ja, Lang::En] {
            let numbers: Vec<u8> = clauses(lang).iter().map(|clause| clause.number).collect();
            assert_eq!(numbers, (1..=19).collect::<Vec<_>>());
        }
        for (ja, en) in JA_CLAUSES.iter().zip(EN_CLAUSES) {
            assert!(
                en.title.is_ascii() && en.promise.is_ascii(),
                "{}",
                en.promise
            );
            assert!(
                ja.promise.ends_with('。') && en.promise.ends_with('.'),
                "{}",
                ja.promise
            );
        }
    }
}
