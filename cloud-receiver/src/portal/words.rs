//! Every word the portal says, in Japanese and in English.
//!
//! The catalogue is one struct filled twice by one macro, so a language cannot lack an entry. Sentences with
//! something put into them are functions of [`Lang`]: word order differs too much for templates.

/// The words of one topic, filled twice as the catalogue is.
macro_rules! topic {
    ($type:ident; $($name:ident: $ja:literal | $en:literal;)*) => {
        #[derive(Debug)]
        pub struct $type { $(pub $name: &'static str,)* }
        impl $type {
            pub fn of(lang: super::Lang) -> &'static Self {
                static JA: $type = $type { $($name: $ja,)* };
                static EN: $type = $type { $($name: $en,)* };
                match lang {
                    super::Lang::Ja => &JA,
                    super::Lang::En => &EN,
                }
            }
        }
        #[cfg(test)]
        pub(super) const ENTRIES: &[(&str, &str, &str)] = &[$((stringify!($name), $ja, $en),)*];
    };
}

mod alerts;
mod certificate;
mod charts;
mod desk;
mod device_files;
mod download;
mod keys;
mod missing;
mod office;
mod office_said;
mod reasons;
mod refusals;
mod security;
mod sentences;

pub use charts::ChartWords;
pub use desk::DeskWords;
pub use device_files::DeviceFileWords;
pub use download::DownloadWords;
pub use keys::KeyWords;
pub use office::OfficeWords;
pub use reasons::Blindness;
pub use security::{Clause, SecurityWords, clauses};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lang {
    Ja,
    En,
}

impl Lang {
    pub fn code(self) -> &'static str {
        match self {
            Lang::Ja => "ja",
            Lang::En => "en",
        }
    }

    pub fn from_code(code: &str) -> Option<Self> {
        match code {
            "ja" => Some(Lang::Ja),
            "en" => Some(Lang::En),
            _ => None,
        }
    }

    /// The first language of an `Accept-Language` header that the portal speaks, by weight; Japanese if none.
    pub fn accepted(header: &str) -> Self {
        header
            .split(',')
            .filter_map(|part| {
                let mut pieces = part.trim().split(';');
                let primary = pieces.next()?.split('-').next()?.to_ascii_lowercase();
                let weight = pieces
                    .find_map(|piece| piece.trim().strip_prefix("q="))
                    .map_or(1.0, |q| q.parse::<f32>().unwrap_or(0.0));
                Some((Self::from_code(&primary)?, weight)).filter(|(_, weight)| *weight > 0.0)
            })
            // `max_by` prefers the last of equals; the header's order says the first.
            .fold(None, |best: Option<(Lang, f32)>, next| match best {
                Some(best) if best.1 >= next.1 => Some(best),
                _ => Some(next),
            })
            .map_or(Lang::Ja, |(lang, _)| lang)
    }

    pub fn words(self) -> &'static Words {
        match self {
            Lang::Ja => &JA,
            Lang::En => &EN,
        }
    }

    pub fn other(self) -> Self {
        match self {
            Lang::Ja => Lang::En,
            Lang::En => Lang::Ja,
        }
    }
}

macro_rules! catalogue {
    ($($name:ident: $ja:literal | $en:literal;)*) => {
        /// One language's words, by what they are for.
        #[derive(Debug)]
        pub struct Words { $(pub $name: &'static str,)* }
        static JA: Words = Words { $($name: $ja,)* };
        static EN: Words = Words { $($name: $en,)* };
        #[cfg(test)]
        const ENTRIES: &[(&str, &str, &str)] = &[$((stringify!($name), $ja, $en),)*];
    };
}

catalogue! {
    product: "CaaS ポータル" | "CaaS Portal";
    overview: "概要" | "Overview";
    events: "イベント" | "Events";
    event: "イベント" | "Event";
    account: "アカウント" | "Account";
    site: "拠点" | "Site";
    camera: "カメラ" | "Camera";
    device: "装置" | "Device";
    devices: "装置" | "Devices";
    contract: "契約" | "Contract";
    detection: "検知" | "Detection";
    latest_picture: "最新画像" | "Latest picture";
    not_responding: "応答なし" | "Not responding";
    normal: "正常" | "Normal";
    starting: "準備中" | "Starting";
    skip_to_content: "本文へ移動" | "Skip to content";
    main_navigation: "メインメニュー" | "Main menu";
    language_switch: "English" | "日本語";
    contact: "お問い合わせ" | "Contact";

    person: "人物" | "Person";
    vehicle: "車両" | "Vehicle";
    bicycle: "自転車" | "Bicycle";
    motorcycle: "バイク" | "Motorcycle";
    animal: "動物" | "Animal";

    camera_problem: "カメラの異常" | "Camera problem";
    cannot_see: "見えていません" | "Cannot see";
    sees_again: "見えるようになりました" | "It can see again";
    sees_unknown: "監視が止まり、見えるようになったかは不明です" | "Watching stopped; whether it can see again is not known";
    is_covered: "カメラが覆われています" | "The camera is covered";
    is_turned: "カメラの向きが変わっています" | "The camera looks another way";
    is_defocused: "ピントが合っていません" | "The camera is out of focus";
    is_frozen: "映像が止まっています" | "The video stands still";
    is_black: "映像が真っ黒です" | "The video is black";
    is_dark: "暗くて見えません" | "It is too dark to see";
    is_blind: "カメラが見えていません" | "The camera cannot see";
    was_covered: "カメラが覆われていました" | "The camera was covered";
    was_turned: "カメラの向きが変わっていました" | "The camera looked another way";
    was_defocused: "ピントが合っていませんでした" | "The camera was out of focus";
    was_frozen: "映像が止まっていました" | "The video stood still";
    was_black: "映像が真っ黒でした" | "The video was black";
    was_dark: "暗くて見えませんでした" | "It was too dark to see";
    was_blind: "カメラが見えていませんでした" | "The camera could not see";
    before: "発生前" | "Before";
    after: "発生後" | "After";
    before_and_after: "前後の画像を見る" | "See before and after";
    blind_for: "見えなかった時間" | "Without sight";
    sees_since: "復旧時刻" | "Could see again at";
    blind_last_known: "見えないことを最後に確認した時刻" | "Last known not to see at";

    zone: "ゾーン" | "a zone";
    zones: "ゾーン" | "Zones";
    line: "線" | "a line";
    way_in: "入" | "in";
    way_out: "出" | "out";
    reasons: "できごと" | "What happened";
    counts: "時間ごとの数" | "Counts by the hour";
    counts_picture: "1分ごとに数えた延べ" | "Counted anew each minute";
    counts_zone: "同時にいた最大の数" | "Most at one moment";

    today: "本日" | "Today";
    today_events: "本日のイベント" | "Events today";
    none_yet_today: "まだありません" | "None yet";
    all_well: "すべてのカメラが正常です" | "All cameras are working";
    needs_attention: "確認が必要なカメラ" | "Cameras that need attention";
    sites_and_cameras: "拠点とカメラ" | "Sites and cameras";
    recent_events: "最近のイベント" | "Recent events";
    see_all_events: "すべてのイベントを見る" | "See all events";
    no_sites: "まだ拠点がありません" | "There are no sites yet";
    no_sites_hint: "拠点と装置の登録が済むと、ここに最新画像が表示されます。ご不明な点はお問い合わせください。" | "Once a site and its device are set up, the latest pictures appear here. Please contact us if you have questions.";
    no_cameras: "この拠点にはまだカメラがありません。装置が接続されると、ここに表示されます。" | "This site has no cameras yet. They appear here once its device is connected.";
    no_picture_yet: "画像はまだ届いていません" | "No picture has arrived yet";

    filter: "絞り込み" | "Filter";
    filter_apply: "この条件で表示" | "Show";
    filter_clear: "条件を解除" | "Clear";
    class: "種類" | "Class";
    day: "日付" | "Date";
    period: "期間" | "Period";
    from: "開始" | "From";
    to: "終了" | "To";
    all: "すべて" | "All";
    all_days: "すべての日" | "All days";
    previous_day: "前の日" | "Previous day";
    next_day: "次の日" | "Next day";
    older: "これより前のイベント" | "Older events";
    newest: "最新のイベントへ" | "Back to the newest";
    no_events: "該当するイベントはありません" | "No events found";
    no_events_hint: "条件を広げると見つかるかもしれません。" | "A wider filter may find some.";
    no_events_ever: "イベントはまだありません" | "No events yet";
    no_events_ever_hint: "カメラが人物や車両を検知すると、ここにすぐ表示されます。" | "As soon as a camera detects a person or a vehicle, it appears here.";
    live: "ライブ更新中" | "Live";
    ongoing: "継続中" | "Ongoing";
    picture_coming: "画像を待っています" | "Waiting for the picture";
    no_picture: "画像はありません" | "There is no picture";
    picture_expired: "保存期間が過ぎたため、画像は削除されました" | "The picture was deleted: its agreed time was over";
    picture_lost: "画像は失われました" | "The picture is lost";

    gap_lost: "欠落" | "Lost";
    gap_dropped: "容量不足による削除" | "Dropped: storage full";
    gap_stopped: "停止" | "Stopped";
    gap_silent: "通信断" | "No connection";
    gap_on_its_way: "未着" | "Not yet delivered";
    gap_unexplained: "行方不明" | "Missing";
    gap_awaited: "通信断・未着" | "No connection, not yet delivered";
    gap_when_unknown: "装置の時計が合っていなかったため、起きた時刻は分かりません。知らせが届いた時刻に表示しています。" | "The device's clock was not set, so nobody knows when. It is shown where the device told of it.";
    strip: "1日の様子" | "The day";
    strip_zoom: "時間帯をタップすると拡大します" | "Tap a part to zoom in";
    strip_whole_day: "1日全体を表示" | "Show the whole day";
    strip_table: "表で見る" | "As a table";
    strip_hours: "時間帯" | "Hours";
    strip_all_scores: "上の帯は、確度で絞り込む前の件数です。" | "The strip above counts events of every score.";
    strip_missing: "欠けているもの" | "What is missing";
    export_time: "この時間の記録をダウンロード" | "Download the records of this time";
    export_event: "このイベントの記録をダウンロード" | "Download the records of this event";
    export_hint: "装置が署名した記録と画像を1つのZIPファイルにまとめます。変更・削除・並べ替えがないことは、cloud-receiver verify --export でだれでも確かめられます。" | "One ZIP file with the pictures and with the records as the device signed them. Anybody can check with cloud-receiver verify --export that nothing was changed, removed or reordered.";
    nothing: "なし" | "Nothing";
    whole_device: "装置全体" | "Whole device";

    tag: "タグ" | "Tag";
    keys: "キーボード操作" | "Keyboard";
    key_next: "次のイベントへ" | "Next event";
    key_previous: "前のイベントへ" | "Previous event";
    key_open: "選んだイベントを開く" | "Open the event";
    key_neighbours: "イベントの画面で前後へ" | "On an event: its neighbours";
    key_help: "この一覧を表示" | "Show this list";
    close: "閉じる" | "Close";
    search_on: "続ける" | "Continue";
    back_to_list: "一覧へ" | "To the list";
    score: "確度" | "Score";
    opened_at: "検知時刻" | "Detected at";
    last_seen: "最終確認" | "Last seen";
    duration: "滞在" | "Dwell";
    received_at: "受信時刻" | "Received at";
    clock: "時刻の状態" | "Clock";
    clock_synced: "時刻同期" | "Clock sync";
    clock_held: "時刻同期（保持中）" | "Clock sync (holding)";
    clock_unsynced: "未同期" | "Not synchronised";
    clock_unsynced_hint: "装置の時計が合っていない間に記録されました。時刻は目安としてご覧ください。" | "Recorded while the device's clock was not set. Take the time as approximate.";
    corrected: "補正済み" | "Corrected";
    clock_by_arrival_hint: "装置の時計が正しくない間に記録されました。時刻は、記録が届いた時刻から求めた目安です。" | "Recorded while the device's clock was wrong. The time is an estimate from when the record arrived.";
    time_uncertain: "時刻は目安" | "Time approximate";
    clock_corrected_later: "装置の時計は記録時に合っていませんでしたが、後から正しい時刻に直しています。" | "The device's clock was not set at that moment; the time was put right afterwards.";
    show_boxes: "枠を表示" | "Show boxes";
    show_path: "軌跡を表示" | "Show path";
    newer_event: "次のイベント" | "Newer event";
    older_event: "前のイベント" | "Older event";
    print: "印刷" | "Print";
    facts: "記録の内容" | "What was recorded";

    verified: "検証済み" | "Verified";
    not_verified: "未検証" | "Not verified";
    tampering: "改ざん検出" | "Tampering found";
    verified_text: "この記録は、装置が署名したときのまま変わっていません。" | "This record is exactly as the device signed it.";
    not_verified_text: "確認がまだすべて終わっていません。前後の記録が届くと確認されます。" | "Not everything could be checked yet. It will be once the neighbouring records have arrived.";
    tampering_text: "記録が署名と一致しません。至急お問い合わせください。" | "The record does not match its signature. Please contact us at once.";
    what_was_checked: "確認した内容" | "What was checked";
    check_signature: "装置の署名" | "Signature of the device";
    check_link: "直前の記録とのつながり" | "Link to the records before";
    check_picture: "画像の内容" | "Picture as recorded";
    check_ok: "一致" | "Matches";
    check_failed: "不一致" | "Does not match";
    check_pending: "確認待ち" | "Pending";
    check_no_picture: "画像なし" | "No picture";
    record_number: "記録番号" | "Record number";
    batch_hash: "記録のハッシュ (SHA-256)" | "Hash of the records (SHA-256)";
    picture_hash: "画像のハッシュ (SHA-256)" | "Hash of the picture (SHA-256)";
    key_fingerprint: "装置の鍵の指紋" | "Fingerprint of the device's key";

    sign_in: "サインイン" | "Sign in";
    sign_in_title: "サインイン" | "Sign in";
    sign_out: "サインアウト" | "Sign out";
    login_id: "ログインID" | "Login ID";
    password: "パスワード" | "Password";
    sign_in_wrong: "ログインIDまたはパスワードが正しくありません。" | "The login ID or the password is not right.";
    sign_in_help: "ログインIDとパスワードは、ご契約時にお渡ししています。お忘れの場合は再発行いたしますので、お問い合わせください。" | "Your login ID and password were issued with your contract. If you have lost them, please contact us and we will re-issue them.";
    signed_out: "サインアウトしました。" | "You are signed out.";
    session_ended: "しばらく操作がなかったか、ほかの場所で終了されたため、サインアウトしました。" | "You were signed out, because you were away for long or ended the session elsewhere.";

    change_password: "パスワードの変更" | "Change password";
    change_password_action: "パスワードを変更" | "Change password";
    must_change: "はじめにパスワードを変更してください" | "Please change your password first";
    must_change_text: "お渡ししたパスワードは、最初のサインインのときに、ご自身のものに変更していただきます。" | "The password issued to you is to be replaced by one of your own at the first sign-in.";
    current_password: "現在のパスワード" | "Current password";
    new_password: "新しいパスワード" | "New password";
    repeat_password: "新しいパスワード（確認）" | "New password, again";
    password_rules: "12文字以上。長いほど安全です。いくつかの言葉をつなげた文でもかまいません。" | "At least 12 characters; longer is safer. Several words in a row are fine.";
    password_changed: "パスワードを変更しました。ほかのブラウザーはサインアウトされました。" | "Your password is changed. Other browsers are signed out.";
    wrong_current: "現在のパスワードが正しくありません。" | "The current password is not right.";
    not_repeated: "新しいパスワードが2回とも同じではありません。" | "The new password was not the same both times.";
    weak_short: "12文字以上にしてください。" | "Please use at least 12 characters.";
    weak_long: "長すぎます。500文字以内にしてください。" | "Too long. Please stay within 500 characters.";
    weak_unchanged: "現在のパスワードと同じです。別のものにしてください。" | "This is the current password. Please choose another one.";
    weak_login_id: "ログインIDを含むパスワードは使えません。" | "The password must not contain the login ID.";
    weak_common: "推測されやすいパスワードです。別のものにしてください。" | "This password is easily guessed. Please choose another one.";

    account_user: "利用者" | "User";
    previous_sign_in: "前回のサインイン" | "Previous sign-in";
    this_sign_in: "今回のサインイン" | "This sign-in";
    first_sign_in: "今回が初めてです" | "This is the first one";
    failed_since: "前回以降に失敗したサインイン" | "Failed sign-ins since the previous one";
    failed_hint: "心当たりがない場合は、パスワードを変更し、お問い合わせください。" | "If these were not yours, please change your password and contact us.";
    your_part: "パスワードは、ほかの人に知らせず、ほかのサービスと使い回さないでください。" | "Keep your password to yourself, and do not use it for other services.";
    sessions: "サインイン中のブラウザー" | "Signed-in browsers";
    end_others_text: "ほかのパソコンやスマートフォンでサインインしたままになっている場合は、ここからすべて終了できます。" | "If you are still signed in on other computers or phones, you can end all of those sessions here.";
    end_others: "ほかのブラウザーをすべて終了" | "End all other sessions";
    others_ended: "ほかのブラウザーのサインインをすべて終了しました。" | "All other sessions are ended.";

    second_factor: "2段階認証" | "Two-step verification";
    code_title: "確認コードの入力" | "Enter the code";
    code_text: "認証アプリに表示されている6桁のコードを入力してください。アプリを使えない場合は、控えておいた回復コードを入力してください。" | "Enter the six digits that your authenticator app shows. If you cannot use the app, enter one of the recovery codes that you kept.";
    code: "確認コード" | "Code";
    code_wrong: "コードが正しくないか、すでに使われています。新しいコードが表示されるまで待ってから、もう一度お試しください。" | "The code is wrong or was used before. Please wait for the next one and try again.";
    confirm_code: "確認する" | "Confirm";
    factor_needed: "続けるには、2段階認証の設定が必要です。" | "To go on, two-step verification has to be set up.";
    factor_what: "サインインのときに、パスワードに加えて、スマートフォンの認証アプリが表示する6桁のコードを入力します。パスワードが漏れても、アプリがなければサインインできません。" | "Signing in then takes your password and the six digits that an authenticator app on your phone shows. Whoever learns your password cannot sign in without the app.";
    factor_begin: "設定を始める" | "Set up";
    factor_scan: "認証アプリでこのQRコードを読み取ってください。読み取れない場合は、下の文字をアプリに入力してください。" | "Scan this with your authenticator app. If you cannot, type these letters into the app.";
    factor_secret: "アプリに入力する文字" | "Letters for the app";
    factor_then: "アプリに表示された6桁のコードを入力すると、設定が完了します。" | "Enter the six digits that the app shows, and you are done.";
    factor_done: "2段階認証を設定しました。" | "Two-step verification is set up.";
    factor_qr: "認証アプリで読み取るQRコード" | "QR code for your authenticator app";
    recovery_codes: "回復コード" | "Recovery codes";
    recovery_text: "スマートフォンをなくしたときは、確認コードの代わりに、この回復コードを1つにつき1回使えます。表示は今回だけです。印刷するか書き写して、安全な場所に保管してください。" | "If you lose your phone, each of these works once in place of a code. They are shown only now. Please print them or write them down, and keep them safe.";
    go_on: "続ける" | "Go on";
    factor_on: "設定済みです" | "It is set up";
    factor_off: "設定されていません" | "It is not set up";
    factor_manage: "2段階認証の設定" | "Two-step verification";
    factor_remove: "2段階認証をやめる" | "Turn off";
    factor_remove_text: "やめるには、確認コードを入力してください。ほかのブラウザーはサインアウトされます。" | "To turn it off, enter a code. Other browsers are signed out.";
    factor_removed: "2段階認証をやめました。" | "Two-step verification is off.";
    factor_is_required: "この契約では2段階認証が必須です。スマートフォンを替える場合は、お問い合わせください。" | "Your contract requires it. Please contact us if you change your phone.";
    factor_of_operator: "運用者には2段階認証が必須です。スマートフォンを替えるときは、「運用者のアカウント」のページか cloud-receiver operator reset-second-factor で解除してください。" | "Operators always need it. For a new phone, have it reset on the page of operators' accounts, or with cloud-receiver operator reset-second-factor.";
    this_browser: "このブラウザー" | "This browser";
    last_used: "最終利用" | "Last used";
    signed_in_at: "サインイン" | "Signed in";
    end_session: "終了する" | "End";
    session_is_ended: "ほかのブラウザーのサインインを終了しました。" | "That session is ended.";

    operator: "運用者" | "Operator";
    operator_sign_in: "運用者のサインイン" | "Operator sign-in";
    operator_sign_in_help: "ログインIDとパスワードは、受信サーバーを用意したときに cloud-receiver init が一度だけ表示したものです。" | "The login ID and password are those that cloud-receiver init printed once when the receiver was set up.";
    no_devices: "装置はまだ登録されていません" | "No device is enrolled yet";
    no_devices_hint: "cloud-receiver device claim で登録コードを発行し、装置に入力してください。" | "Print a claim code with cloud-receiver device claim and enter it on the device.";
    revoked: "失効" | "Revoked";
    agent_version: "エージェントの版" | "Agent version";
    last_heard: "最終応答" | "Last heard";
    never_heard: "まだ応答がありません" | "Never heard";
    not_known: "不明" | "Not known";
    spool_pending: "送信待ち" | "Waiting to be sent";
    rejected_records: "受け付けなかった記録" | "Rejected records";
    broken_links: "記録のつながりの切れ目" | "Broken links";
    pictures_gone: "ファイルが失われた画像" | "Pictures whose files are gone";
    pictures_gone_hint: "受信済みの画像のうち、受信サーバーのディスクからファイルが失われたものがあります。控えのフォルダー blobs から戻してください。装置は受信済みの画像を消すため、送り直しはできません。" | "Files of some pictures that had arrived are gone from the receiver's disk. Please restore them from a copy of the folder blobs: a device deletes a picture once it has arrived, so it cannot be asked for it again.";
    deliveries: "配信の内訳" | "Deliveries";
    deliveries_add_up: "記録の番号はすべて揃っています" | "Every record number is accounted for";
    deliveries_missing: "届いていないもの" | "What has not arrived";
    deliveries_deleted: "うち保存期間を過ぎて削除した記録" | "Of these, records deleted as agreed";
    deliveries_nothing: "この日の記録はありません" | "Nothing was recorded on this day";
    deliveries_hint: "時間帯は装置の時計によります。装置側の記録との突き合わせとファイルの有無は、コマンドで確かめられます。" | "Hours are those of the device's clock. The command compares with the device's own book as well, and looks for every file.";
    delivered: "受信済み" | "Received";
    cameras: "カメラ" | "Cameras";
    no_cameras_of_device: "カメラはまだありません。" | "No cameras yet.";
    picture_now: "今すぐ撮影" | "Picture now";
    picture_waiting: "撮影を依頼しました。装置の応答を待っています。" | "Asked for a picture. Waiting for the device to answer.";
    picture_done: "撮影しました。" | "The picture was taken.";
    picture_failed: "撮影できませんでした。" | "The picture could not be taken.";
    picture_refused: "装置が依頼を断りました。" | "The device refused the request.";
    picture_unanswered: "装置から応答がありませんでした。" | "The device did not answer.";
    picture_never_sent: "装置が接続されていないため、依頼を渡せませんでした。" | "The device was not connected, so the request could not be handed over.";
    reason_connect: "接続できません" | "Cannot connect";
    reason_auth: "ログインが拒否されました" | "Login refused";
    reason_timeout: "映像が届きません" | "No data arrives";
    reason_eos: "配信が終わりました" | "The stream ended";
    reason_decode: "映像を読み取れません" | "Cannot decode";

    notify: "メール通知" | "Mail notifications";
    notify_text: "イベントが起きたときにメールでお知らせします。ご自身だけの設定です。" | "Events are told to you by mail. This is your own setting and nobody else's.";
    notify_change: "通知を設定する" | "Set up notifications";
    notify_address: "メールアドレス" | "Mail address";
    notify_address_hint: "確認のメールをお送りします。その中のリンクを開くまで、通知は送られません。" | "You get a mail to confirm it. Nothing is sent before you open the link in it.";
    notify_classes: "イベントの種類" | "Kinds of events";
    notify_sites: "拠点" | "Sites";
    notify_cameras: "カメラ" | "Cameras";
    notify_all_hint: "何も選ばなければ、すべてが対象です。" | "If none is chosen, all count.";
    notify_hours: "時間帯" | "Hours";
    notify_hours_hint: "同じ時刻を選ぶと、終日が対象です。" | "If both are the same, the whole day counts.";
    notify_from_hour: "開始" | "From";
    notify_to_hour: "終了" | "Until";
    notify_rhythm: "送る頻度" | "How often";
    notify_at_once: "すぐに" | "At once";
    notify_hourly: "1時間ごとにまとめて" | "Once an hour";
    notify_daily: "1日1回（8:00）まとめて" | "Once a day (8:00)";
    notify_cool_down: "次のメールまでの間隔" | "Time until the next mail";
    notify_language: "メールの言語" | "Language of mails";
    notify_save: "保存する" | "Save";
    notify_drop: "通知の設定を削除する" | "Delete this setting";
    notify_saved: "保存しました。" | "Saved.";
    notify_asked: "確認のメールを送りました。24時間以内に、メールのリンクを開いてください。" | "A mail was sent to confirm the address. Please open its link within 24 hours.";
    notify_asked_lately: "確認のメールは送信済みです。数分待ってから、もう一度お試しください。" | "A mail to confirm was sent already. Please wait some minutes before trying again.";
    notify_dropped: "設定とアドレスを削除しました。" | "The setting and the address were deleted.";
    notify_wrong_address: "メールアドレスの形式が正しくありません。" | "This is not a mail address.";
    notify_is_on: "通知は有効です。" | "Notifications are on.";
    notify_is_asked: "アドレスの確認待ちです。メールのリンクを開いてください。" | "The address is not confirmed yet. Please open the link in the mail.";
    notify_is_stopped: "通知はメールのリンクから停止されています。再開するには、保存のうえ、確認のメールのリンクを開いてください。" | "Notifications were stopped by a mail's link. To start again, save, then open the link in the mail that you get.";
    notify_question_subject: "メールアドレスの確認" | "Please confirm your mail address";
    notify_confirm_title: "メールアドレスの確認" | "Confirm the mail address";
    notify_confirm_text: "ボタンを押すと、このアドレスで通知を受け取れます。" | "Press the button to get notifications at this address.";
    notify_confirm_button: "受け取る" | "Yes, send them";
    notify_confirmed: "確認しました。これから通知をお送りします。" | "Confirmed. Notifications are sent from now on.";
    notify_stop_title: "通知の停止" | "Stop notifications";
    notify_stop_text: "ボタンを押すと、このメール通知を停止します。" | "Press the button to stop these notifications.";
    notify_stop_button: "停止する" | "Stop them";
    notify_stopped: "停止しました。再開するには、ポータルのアカウント画面で保存し、確認のメールのリンクを開いてください。" | "Stopped. To start again, save the setting on your account page and open the link in the mail that you get.";
    notify_link_unknown: "このリンクは使えません。期限が切れたか、すでに使われています。" | "This link cannot be used. It is too old, or was used before.";
    mail_late: "（装置から遅れて届いたもの）" | "(came late from the device)";
    mail_stop_line: "通知を停止する" | "Stop these notifications";

    notices: "お知らせ" | "Notices";
    notices_current: "現在のお知らせ" | "Current notices";
    notices_past: "過去のお知らせ" | "Past notices";
    no_notices_current: "現在、お知らせはありません。" | "There are no notices at the moment.";
    no_notices_past: "過去のお知らせはありません。" | "There are no past notices.";
    notice_more: "くわしく見る" | "More";
    maintenance: "メンテナンス" | "Maintenance";
    maintenance_urgent: "緊急メンテナンス" | "Urgent maintenance";
    incident: "障害" | "Incident";
    notice_cancelled: "中止" | "Cancelled";
    notice_closed: "復旧済み" | "Resolved";
    notice_when: "日時" | "Time";
    notice_impact: "影響" | "What it means for you";
    notice_what: "内容" | "What happened";
    notice_why: "緊急に実施する理由" | "Why it cannot wait";
    notice_told: "掲載日時" | "Told on";
    contracts: "契約一覧" | "Contracts";
    no_contracts: "契約はまだありません" | "There are no contracts yet";
    no_contracts_hint: "下の欄で追加してください。" | "Add one below.";
    sites: "拠点" | "Sites";
    users: "利用者" | "Users";
    terms: "契約の内容" | "What was agreed";
    period_open: "期限なし" | "Open";
    contacts: "管理者の連絡先" | "Administrators";
    zone_of_time: "タイムゾーン" | "Time zone";
    second_factor_required: "2段階認証の必須" | "Two-step verification required";
    issued_kept: "発行したパスワードの継続使用" | "Issued passwords may be kept";
    yes: "はい" | "Yes";
    no: "いいえ" | "No";
    no_users: "利用者はまだいません。" | "No users yet.";
    last_sign_in: "最終サインイン" | "Last sign-in";
    never_signed_in: "まだありません" | "Never";
    failed_sign_ins: "失敗したサインイン" | "Failed sign-ins";
    has_issued_password: "発行したままです" | "Still the issued one";
    add_user: "利用者を追加" | "Add a user";
    login_id_rules: "半角の英数字と . - _ @ を使い、64文字以内で入力してください。" | "Up to 64 letters, digits, dots, dashes, underscores or @.";
    login_id_taken: "このログインIDはすでに使われています。" | "This login ID is taken.";
    issued_title: "発行したログインIDとパスワード" | "Login ID and password";
    shown_once: "パスワードの表示は今回だけです。利用者に安全な方法でお渡しください。" | "The password is shown this once. Please hand it over in a safe way.";
    reissue_password: "パスワードを再発行" | "Re-issue the password";
    reissue_password_text: "新しいパスワードを発行します。今のパスワードは使えなくなり、サインイン中のブラウザーはすべて終了します。" | "A new password is issued. The present one stops working, and every signed-in browser is signed out.";
    reset_second_factor: "2段階認証を解除" | "Reset two-step verification";
    reset_second_factor_text: "スマートフォンをなくした利用者のために、2段階認証を解除します。サインイン中のブラウザーはすべて終了します。ご本人であることを確かめてから行ってください。" | "Takes two-step verification away, for a user who has lost the phone. Every signed-in browser is signed out. Please make sure who asks for it.";
    remove_user: "利用者を削除" | "Remove the user";
    remove_user_text: "利用者を削除します。サインイン中のブラウザーはすぐに終了し、元に戻すことはできません。" | "The user is removed. Every signed-in browser is signed out at once, and this cannot be undone.";
    revoke_device: "装置を失効させる" | "Revoke the device";
    revoke_device_text: "装置との接続をすぐに切り、以後のデータを受け付けません。再び使うには、新しい登録コードでの登録が必要です。" | "The device is cut off at once, and nothing of it is taken in any more. To use it again, enroll it with a new claim code.";
    leave_it: "やめる" | "Leave it";
    claim_code: "登録コードを発行" | "Claim code";
    claim_how: "装置で次のコマンドを実行し、表示に従ってこのコードを入力してください。" | "Run this on the device, and type the code when it asks.";
    certificate: "証明書の期限" | "Certificate until";
    certificate_expired: "期限切れ" | "Expired";
    certificate_overdue: "更新の遅れ" | "Renewal overdue";
    audit_log: "監査ログ" | "Audit log";
    audit_when: "日時" | "When";
    audit_who: "だれが" | "Who";
    audit_what: "何を" | "What";
    audit_whom: "対象" | "To what";
    audit_nothing: "該当する記録はありません" | "No entries found";
    audit_older: "これより前の記録" | "Older entries";
    audit_hint: "記録が書き換えられていないことは、外部に保管した署名と照らし合わせて確かめられます。" | "That nothing was rewritten can be checked against signatures kept elsewhere.";
    actor_user: "利用者" | "User";
    actor_console: "コマンド" | "Command line";
    actor_system: "システム" | "System";

    not_found: "ページが見つかりません" | "Page not found";
    not_found_text: "アドレスが違うか、すでに削除されたか、このアカウントでは表示できないものです。" | "The address is wrong, the item has been deleted, or this account may not see it.";
    event_not_found: "このイベントは表示できません" | "This event cannot be shown";
    event_not_found_text: "契約で定めた保存期間が過ぎたため削除されたか、アドレスが違うか、このアカウントでは表示できないものです。" | "It was deleted as agreed because its time was over, or the address is wrong, or this account may not see it.";
    forbidden: "この操作は受け付けられません" | "This request was refused";
    forbidden_text: "ほかのサイトから送られた可能性があるため、安全のために止めました。ページを開き直して、もう一度お試しください。" | "It may have been sent from another site, so it was stopped for your safety. Please open the page again and retry.";
    failed: "表示できませんでした" | "Something went wrong";
    failed_text: "こちらの問題です。記録は失われていません。少し待ってから、もう一度お試しください。" | "The fault is ours. No records are lost. Please wait a moment and try again.";
    bad_request: "読み取れない内容です" | "This request could not be read";
    bad_request_text: "アドレスか入力内容に誤りがあります。前のページに戻ってお試しください。" | "There is a mistake in the address or the form. Please go back and try again.";
    busy: "ほかのダウンロードが進行中です" | "Other downloads are going on";
    busy_text: "少し待ってから、もう一度お試しください。" | "Please wait a moment and try again.";
    offline: "接続できません" | "No connection";
    offline_text: "インターネットへの接続をご確認ください。つながると、このページは自動で開き直します。" | "Please check your connection to the internet. This page opens again by itself once it is back.";
    reconnecting: "接続が切れました。再接続しています…" | "The connection was lost. Reconnecting…";
    back_to_overview: "概要へ戻る" | "Back to the overview";
    try_again: "もう一度開く" | "Try again";
}

impl Words {
    /// Why a camera is being tried again; a reason that has no word yet is shown as the device says it.
    pub fn camera_reason<'a>(&self, reason: &'a str) -> &'a str {
        match reason {
            "connect" => self.reason_connect,
            "auth" => self.reason_auth,
            "timeout" => self.reason_timeout,
            "eos" => self.reason_eos,
            "decode" => self.reason_decode,
            other => other,
        }
    }

    /// Who acts, in the audit log; a kind that has no word yet is shown as it is stored.
    pub fn actor<'a>(&self, kind: &'a str) -> &'a str {
        match kind {
            "user" => self.actor_user,
            "operator" => self.operator,
            "console" => self.actor_console,
            "system" => self.actor_system,
            "device" => self.device,
            other => other,
        }
    }

    /// A class in the customer's words; one that has no word yet is shown as the device says it.
    pub fn class_name<'a>(&self, class: &'a str) -> &'a str {
        match class {
            "person" => self.person,
            "vehicle" => self.vehicle,
            "bicycle" => self.bicycle,
            "motorcycle" => self.motorcycle,
            "animal" => self.animal,
            wire::record::CAMERA_CLASS => self.camera_problem,
            other => other,
        }
    }
}

/// Numbers as people read them: 1,234.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries that say the other language's name on purpose.
    const CROSSED: [&str; 1] = ["language_switch"];

    /// The catalogue and the words of all topics.
    fn everything() -> Vec<(&'static str, &'static str, &'static str)> {
        [
            ENTRIES,
            charts::ENTRIES,
            desk::ENTRIES,
            device_files::ENTRIES,
            download::ENTRIES,
            keys::ENTRIES,
            office::ENTRIES,
            security::ENTRIES,
        ]
        .concat()
    }

    fn is_japanese(text: &str) -> bool {
        text.chars()
            .any(|sign| matches!(sign, '\u{3040}'..='\u{30ff}' | '\u{4e00}'..='\u{9fff}'))
    }

    #[test]
    fn both_languages_say_everything_in_their_own_signs() {
        assert!(ENTRIES.len() > 100);
        for (name, ja, en) in everything() {
            assert!(!ja.trim().is_empty() && !en.trim().is_empty(), "{name}");
            if CROSSED.contains(&name) {
                continue;
            }
            assert!(is_japanese(ja), "{name} is not Japanese: {ja}");
            assert!(!is_japanese(en), "{name} is not English: {en}");
        }
    }

    #[test]
    fn sentences_end_alike_in_both_languages() {
        for (name, ja, en) in everything() {
            assert_eq!(ja.ends_with('。'), en.ends_with('.'), "{name}: {ja} | {en}");
        }
    }

    #[test]
    fn the_language_is_what_the_browser_prefers() {
        let check = |header, expected| assert_eq!(Lang::accepted(header), expected, "{header}");
        check("ja,en-US;q=0.9,en;q=0.8", Lang::Ja);
        check("en-GB,en;q=0.9,ja;q=0.8", Lang::En);
        check("fr-FR,en;q=0.3,ja;q=0.7", Lang::Ja);
        check("de, en", Lang::En);
        check("en;q=0", Lang::Ja);
        check("", Lang::Ja);
    }

    #[test]
    fn the_sentence_of_a_dead_camera_is_the_agreed_one() {
        assert_eq!(
            Lang::Ja.no_pictures_since("正門", "10:42"),
            "正門カメラから10:42以降、画像が届いていません。電源とLANケーブルをご確認ください。"
        );
        assert_eq!(
            Lang::Ja.no_pictures_since("正門カメラ", "10:42"),
            Lang::Ja.no_pictures_since("正門", "10:42")
        );
    }

    #[test]
    fn numbers_and_durations_read_well() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(1234567), "1,234,567");
        assert_eq!(Lang::Ja.duration(65), "1分5秒");
        assert_eq!(Lang::En.duration(3), "3 s");
        assert_eq!(Lang::En.duration(7320), "2 h 2 min");
        assert_eq!(Lang::Ja.corrected_by(-12), "補正済み −12 ミリ秒");
    }
}
