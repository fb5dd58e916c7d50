//! Words of the operators' area beside its first pages.

topic! { OfficeWords;
    other: "その他" | "Other";
    device_files: "装置のログなど" | "Device logs and bundles";
    start: "概要" | "Overview";
    start_well: "いま対応が必要なことはありません。" | "Nothing needs you now.";
    start_needs: "対応が必要なこと" | "What needs you now";
    alerts: "異常" | "Alerts";
    alerts_open: "続いている異常" | "Open";
    alerts_past: "終わった異常" | "Past";
    alerts_none_open: "応答のない装置やカメラ、ずれている時計はありません。" | "No device or camera is silent, and no clock is off.";
    alerts_none_past: "終わった異常はまだありません。" | "None has ended yet.";
    kind_device_silent: "装置が応答なし" | "Device not responding";
    kind_camera_silent: "カメラが応答なし" | "Camera not responding";
    kind_clock_off: "時計のずれ" | "Clock off";
    matter: "内容" | "What";
    place: "場所" | "Where";
    since: "開始" | "Since";
    until: "終了" | "Until";
    told: "連絡" | "Told";
    not_told: "未連絡" | "Not told";
    well_again: "回復を確認中" | "Well again, being watched";

    receiver: "受信サーバー" | "Receiver";
    capacity: "容量" | "Capacity";
    disk_free: "ディスクの空き" | "Free on the disk";
    database: "データベース" | "Database";
    objects: "画像" | "Pictures";
    records: "記録" | "Records";
    growth: "1日の増加" | "Growth a day";
    full_on: "空きがなくなる見込み" | "Full about";
    measured_at: "計測" | "As of";
    measure_now: "計測し直す" | "Measure again";
    being_measured: "計測しています。記録が多いと時間がかかります。このページを開き直すと表示されます。" | "Being measured, which takes a while where there is much. Open this page again to see it.";
    too_early: "まだ1日分の計測がありません" | "Not known yet: less than a day was measured";
    steady: "増えていません" | "Nothing grows";
    level: "状態" | "State";
    level_fine: "余裕があります" | "Room enough";
    level_soon: "1か月分以下です" | "Room for a month at most";
    level_urgent: "1週間分以下です" | "Room for a week at most";
    level_full: "空きがなく、画像を受け取れません" | "Full: pictures are refused";
    per_contract: "契約ごとの内訳" | "Per contract";
    size: "大きさ" | "Size";
    last_day: "直近24時間" | "Last 24 hours";
    region: "保管場所" | "Region";
    region_unknown: "申告されていません" | "Not declared";
    heads: "署名付きの要約" | "Signed heads";
    heads_hint: "監査ログと記録の要約に署名して外部に残したものです。あとから書き換えればわかります。" | "Signed statements of what is held, kept elsewhere too. Whoever rewrites history is caught by them.";
    heads_none: "まだありません。" | "None yet.";
    written: "書き出し済み" | "Written";
    mailed: "メール済み" | "Mailed";
    stamped: "タイムスタンプ済み" | "Time-stamped";
    not_out: "外部に出ていません" | "Not sent out";
    number: "番号" | "Number";
    made: "作成" | "Made";
    went_out: "外部への保管" | "Sent out";
    backups: "バックアップ" | "Backups";
    backup_last: "最新のバックアップ" | "Newest backup";
    backup_checked: "最新の検査" | "Last check";
    backup_folder: "保存先" | "Folder";
    backup_never: "バックアップはまだ一度も作られていません。" | "No backup was ever made.";
    backup_first: "最初の1回は、保存先を決めるためコマンドで作成してください。" | "Please make the first one with the command, which says where.";
    backup_never_checked: "まだ検査していません" | "Never checked";
    backup_good: "問題なし" | "Good";
    backup_take: "今すぐバックアップ" | "Back up now";
    backup_check: "最新のバックアップを検査" | "Check the newest backup";
    backup_under_way: "作成または検査の途中です。このページを開き直すと結果が表示されます。" | "One is being made or checked. Open this page again to see what came of it.";
    backup_failed: "前回は失敗しました。" | "The last attempt failed.";
    backup_unreadable: "保存先を読めませんでした。" | "The folder could not be read.";
    backup_begun: "始めました。" | "It has begun.";

    mail: "メール" | "Mail";
    mail_given_up: "送れなかったメール" | "Given up";
    mail_waiting: "送信待ちのメール" | "Waiting";
    mail_newest: "最近のメール" | "Newest";
    mail_none: "送信待ちのメールも、送れなかったメールもありません。" | "No message waits, and none was given up.";
    mail_retry: "もう一度送る" | "Send again";
    mail_retry_all: "すべてもう一度送る" | "Send all again";
    mail_taken: "送信済み" | "Taken";
    mail_to: "宛先" | "To";
    mail_subject: "件名" | "Subject";
    mail_state: "結果" | "Outcome";
    mail_kind: "種類" | "Kind";
    mail_next: "次の送信" | "Next attempt";
    mail_answer: "サーバーの応答" | "The server's answer";
    mail_attempts: "試行" | "Attempts";
    mail_kept: "利用者あての通知の本文は表示しません。" | "What is written to users of events is not shown.";
    mail_offered: "もう一度送ります。" | "It is offered again.";
    kind_notice: "お知らせ" | "Notice";
    kind_alert: "異常" | "Alert";
    kind_confirm: "アドレスの確認" | "Confirmation";
    kind_event: "イベント" | "Event";

    notice_maintenance: "メンテナンスを知らせる" | "Tell of maintenance";
    notice_incident: "障害を知らせる" | "Tell of an incident";
    notice_from: "開始日時（日本時間）" | "From (Japan time)";
    notice_to: "終了日時（日本時間）" | "Until (Japan time)";
    notice_since: "発生日時（日本時間）" | "Since (Japan time)";
    notice_text: "お客様への影響（日本語）" | "What it means for customers, in Japanese";
    notice_text_en: "同じ内容（英語、任意）" | "The same in English (may be left out)";
    notice_what: "起きたことと影響（日本語）" | "What happened and what it means, in Japanese";
    notice_urgent: "14日待てない場合の理由（お客様に表示されます）" | "Why it cannot wait 14 days (customers read it)";
    notice_urgent_hint: "14日より先なら空のままにしてください。" | "Leave it empty where it is more than 14 days ahead.";
    notice_whom: "対象の契約" | "Contracts";
    notice_whom_hint: "何も選ばなければ、期間中のすべての契約が対象です。" | "If none is chosen, all whose period is not over.";
    notice_preview: "文面を確かめる" | "Preview";
    notice_send: "送信する" | "Send";
    notice_edit: "書き直す" | "Change it";
    notice_previewed: "まだ送っていません。文面を確かめてから送信してください。" | "Nothing is sent yet. Please read the letters first.";
    notice_recipients: "宛先" | "Recipients";
    notice_unreached: "連絡先がなく、メールが届かない契約" | "Contracts without an address, which no mail reaches";
    notice_letter_ja: "日本語の文面" | "The letter in Japanese";
    notice_letter_en: "英語の文面" | "The letter in English";
    notice_concerns: "対象" | "Concerns";
    notice_proof: "送信の記録" | "Proof of sending";
    notice_cancel: "メンテナンスの中止を知らせる" | "Cancel the maintenance";
    notice_close: "復旧を知らせる" | "Tell that it is over";
    notice_none: "お知らせはまだありません。" | "No notices yet.";
    notice_planned: "予告済み" | "Announced";
    notice_open: "対応中" | "Open";
    notice_past: "終了" | "Past";

    add_contract: "契約を追加" | "Add a contract";
    name: "名前" | "Name";
    change_terms: "契約の内容を変更" | "Change what was agreed";
    places: "拠点とカメラ" | "Sites and cameras";
    ending: "契約の終了と消去" | "End and erasure";
    save: "保存する" | "Save";
    language_of_mail: "メールの言語" | "Language of mails";
    japanese: "日本語" | "Japanese";
    english: "英語" | "English";
    contacts_hint: "1行に1つずつ入力してください。" | "One address on each line.";
    zone_hint: "例: Asia/Tokyo" | "Such as Asia/Tokyo";
    keep_issued: "発行したパスワードをそのまま使ってよい" | "Issued passwords may be kept";
    need_second_factor: "2段階認証を必須にする" | "Two-step verification is required";
    pictures_in_mail: "メールに小さな画像を付けてよい" | "Mails may carry a small picture";
    silent_after: "応答なしとみなすまでの分数" | "Minutes until it counts as silent";
    clock_off: "時計のずれとみなすミリ秒" | "Milliseconds by which a clock may be off";
    keep_for: "保存日数" | "Days for which it is kept";
    keep_hint: "空欄は契約期間中ずっと保存します。" | "Empty: as long as the contract.";
    keep_records_hint: "画像の保存期間が記録より長い場合、その画像の記録とイベントは画像と同じ期間保存します。" | "Where a picture is kept for longer than records, its record and its event stay with it.";
    kept_records: "記録（イベント、件数、状態など）" | "Records: events, counts, states";
    class_snapshot: "イベントの画像" | "Pictures of events";
    class_periodic: "定期画像" | "Periodic pictures";
    class_requested: "依頼した画像" | "Requested pictures";
    class_clip: "映像" | "Clips";
    class_other: "その他" | "Other";
    shortens: "保存日数を短くすると、次のものが完全に削除されます。元に戻すことはできません。" | "Keeping for less long deletes these for good. It cannot be undone.";
    type_name: "確認のため、契約の名前を入力してください" | "Type the contract's name to confirm";
    type_name_if_past: "過ぎた日にする場合は、確認のため契約の名前を入力してください" | "For a day that is past, type the contract's name to confirm";
    name_differs: "契約の名前が一致しません。何も変更していません。" | "This is not the contract's name. Nothing was done.";

    standing: "いまの状態" | "Where it stands";
    stands_running: "契約期間中" | "Running";
    stands_awaiting: "期間は終わりましたが、作業の完了が記録されていません" | "The period is over; nobody said that work is done";
    stands_erasing: "消去しています" | "Being erased";
    stands_erased: "消去済み" | "Erased";
    last_day_of: "契約の最終日" | "Last day of the contract";
    set_last_day: "最終日を変更" | "Set the last day";
    last_day_hint: "過ぎた日を選ぶと契約はすぐに終わり、作業が完了していれば消去の対象になります。" | "A day that is past ends the contract at once; when work is done too, what it has is to be erased.";
    work_done: "作業の完了" | "Work";
    say_done: "作業は完了した" | "Work is done";
    say_not_done: "作業はまだ完了していない" | "Work is not done yet";
    done_on: "完了" | "Done";
    not_done: "未完了" | "Not done";
    would_go: "消去されるもの" | "What would be erased";
    would_go_hint: "いま消去した場合に消えるものの数です。このページを開いても何も消えません。" | "How much of each kind would be gone, counted now. Nothing is erased by looking.";
    holds: "保全" | "Holds";
    holds_none: "保全はありません。" | "No holds.";
    hold_add: "保全を追加" | "Add a hold";
    hold_why: "理由と依頼元" | "Why, and who wants it so";
    hold_part: "対象" | "Of";
    hold_all: "契約のすべて" | "All of the contract";
    hold_from: "撮影日時の開始（任意）" | "Captured from (may be left out)";
    hold_to: "撮影日時の終了（任意）" | "Captured before (may be left out)";
    hold_placed: "追加" | "Placed";
    hold_lift: "保全を解除" | "Lift the hold";
    hold_lift_text: "この保全だけが守っているものは、すぐに削除されることがあります。" | "What only this hold keeps may be deleted at once.";
    erase_now: "依頼により今すぐ消去" | "Erase now, on request";
    erase_due: "予定より先に消去を始める" | "Begin the erasure now";
    erase_text: "画像、AIの結果、利用者、暗号鍵のすべてが完全に消えます。元に戻すことはできません。装置にも消去を指示します。" | "Everything of it will be gone for ever: pictures, results, users, and its key. This cannot be undone. Its devices are told to wipe what they hold.";
    erase_why: "誰がどのように依頼したか（証明書に残るため、個人名は書かない）" | "Who asked for it and how (it stays in the certificate: name no person)";
    erasures: "消去の記録" | "Erasures";
    erasures_none: "消去した契約はまだありません。" | "Nothing was erased yet.";
    erased_on: "消去の完了" | "Erased";
    begun_on: "開始" | "Begun";
    due_by: "期限" | "Due by";
    ordered_by: "指示" | "Ordered by";
    reason: "理由" | "Reason";
    on_request: "お客様の依頼" | "At the customer's request";
    period_over: "契約の終了" | "The period is over";
    certificate: "消去証明書" | "Erasure certificate";
    certificate_get: "消去証明書を保存" | "Save the certificate";
    certificate_later: "証明書は消去の終わりに作られます。" | "The certificate comes at the end.";
    kind: "種類" | "Kind";
    key: "暗号鍵" | "Key";
    before: "消去前" | "Before";
    after: "消去後" | "After";
    steps: "手順" | "Steps";
    wipes: "装置での消去" | "Wiped on devices";
    wipe_done: "消去を確認" | "Confirmed";
    wipe_unconfirmed: "確認できず" | "Not confirmed";
    step_tell_devices: "装置への指示" | "Devices are told";
    step_await_devices: "装置の応答待ち" | "Their answers are awaited";
    step_shut: "受け入れの停止" | "Nothing is taken in any more";
    step_destroy_key: "暗号鍵の破棄" | "The key is destroyed";
    step_delete_objects: "画像の削除" | "Pictures are deleted";
    step_delete_rows: "記録の削除" | "Rows are deleted";
    step_certify: "証明書の作成" | "The certificate is signed";
    step_done: "完了" | "Done";

    add_site: "拠点を追加" | "Add a site";
    tags: "タグ" | "Tags";
    tag_add: "タグを追加" | "Add a tag";
    tag_remove: "外す" | "Remove";
    camera_name: "カメラの名前" | "Camera name";
    camera_name_hint: "空にすると、装置が付けた名前に戻ります。" | "Empty: as its device calls it.";
    device_calls: "装置での名前" | "Its device says";

    refused_zone: "このタイムゾーンはありません。例: Asia/Tokyo" | "There is no such time zone; an example is Asia/Tokyo";
    refused_language: "言語は日本語か英語です。" | "The language is Japanese or English.";
    refused_range: "数値が範囲の外です。" | "A number is out of range.";
    refused_wordless: "文章を入力してください。" | "Please say it in words.";
    refused_order: "終了が開始より前です。" | "It ends before it begins.";
    refused_past: "開始日時が過去です。起きたことは障害として知らせてください。" | "It begins in the past. What has happened is told as an incident.";
    refused_future: "発生日時が未来です。予定はメンテナンスとして知らせてください。" | "It is in the future. What is planned is told as maintenance.";
    refused_nobody: "対象になる契約がありません。" | "There is no contract that it could concern.";
    refused_over: "このお知らせはすでに終わっています。" | "This notice is over already.";
    refused_ended: "終了は発生より後で、未来ではない日時にしてください。" | "It cannot have ended before it began, nor in the future.";
    refused_tag: "タグは40文字以内で、改行は使えません。" | "A tag has one to forty signs, and no line breaks.";
    refused_name: "名前を入力してください。改行は使えません。" | "Please give a name, without line breaks.";
    refused_time: "日時を読み取れません。" | "This is no time.";
    refused_day: "日付を読み取れません。" | "This is no day.";
    refused_title: "この操作はできません" | "This cannot be done";
    refused_being_erased: "この契約は消去中です。消去は取り消せないため、何も変更できません。" | "The contract is being erased, which cannot be undone: nothing of it can be changed any more.";
    refused_goes_on: "契約がまだ終わっていないため、消去できません。最終日と作業の完了を確かめてください。" | "The contract goes on: it is not to be erased. Please check its last day and whether work is done.";
    refused_key_backup: "鍵の控えを書き込めませんでした。保存先の空きと権限を確かめてください。" | "The copy of the keys could not be written. Please check the room and the rights of its folder.";
    refused_unwritable: "ファイルを書き込めませんでした。フォルダーの権限と空きを確かめてください。" | "The file could not be written. Please check the rights of its folder and the room on the disk.";
    refused_exists: "同じ名前のものがすでにあります。" | "There is one of this name already.";
    refused_last_operator: "最後の運用者は削除できません。先に別の運用者を追加してください。" | "The last operator cannot be removed: nobody could come in any more. Please add another one first.";
    refused_busy: "別のバックアップの作成か検査が進行中です。" | "Another backup is being made or checked.";
}

use super::Words;
use crate::office::terms::Kept;
use crate::store::{AlertKind, Step};
use std::borrow::Cow;
use wire::MediaClass;

impl OfficeWords {
    pub fn alert(&self, kind: AlertKind) -> &'static str {
        match kind {
            AlertKind::DeviceSilent => self.kind_device_silent,
            AlertKind::CameraSilent => self.kind_camera_silent,
            AlertKind::ClockOff => self.kind_clock_off,
        }
    }

    pub fn kept(&self, what: Kept) -> &'static str {
        match what {
            Kept::Pictures(class) => self.class(class),
            Kept::Records => self.kept_records,
        }
    }

    fn class(&self, class: MediaClass) -> &'static str {
        match class {
            MediaClass::Snapshot => self.class_snapshot,
            MediaClass::Periodic => self.class_periodic,
            MediaClass::Requested => self.class_requested,
            MediaClass::Clip => self.class_clip,
            _ => self.class_other,
        }
    }

    /// Of a step's name as the certificate has it.
    pub fn step<'a>(&self, name: &'a str) -> &'a str {
        match Step::parse(name) {
            Some(Step::TellDevices) => self.step_tell_devices,
            Some(Step::AwaitDevices) => self.step_await_devices,
            Some(Step::Shut) => self.step_shut,
            Some(Step::DestroyKey) => self.step_destroy_key,
            Some(Step::DeleteObjects) => self.step_delete_objects,
            Some(Step::DeleteRows) => self.step_delete_rows,
            Some(Step::Certify) => self.step_certify,
            Some(Step::Done) => self.step_done,
            None => name,
        }
    }

    pub fn mail_kind<'a>(&self, kind: &'a str) -> &'a str {
        match kind {
            "notice" => self.kind_notice,
            "alert" => self.kind_alert,
            "confirm" => self.kind_confirm,
            "event" => self.kind_event,
            other => other,
        }
    }

    /// Of a table's name: what its rows are to people. One that has no word is shown as it is stored.
    pub fn held(&self, words: &Words, kind: &str) -> Cow<'static, str> {
        let known = match kind {
            "object" => self.objects,
            "contract" => words.contract,
            "contract_key" => self.key,
            "session" => words.sessions,
            "claim" => words.claim_code,
            "event" => words.events,
            "batch" => self.records,
            "user" => words.users,
            "site" => words.sites,
            "camera" => words.cameras,
            "device" => words.devices,
            "hold" => self.holds,
            "mail" => self.mail,
            "alert" => self.alerts,
            "notice_contract" => words.notices,
            "subscription" => words.notify,
            "device_file" => self.device_files,
            // Of no meaning to anybody but who reads the database; counted all the same.
            other => return format!("{} ({other})", self.other).into(),
        };
        known.into()
    }
}
