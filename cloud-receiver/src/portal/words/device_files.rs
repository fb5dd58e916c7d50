//! Words of the operators' page of a device's log and support bundle.

topic! { DeviceFileWords;
    title: "ログと診断情報" | "Log and support bundle";
    intro: "装置の動作ログと診断情報を取り寄せます。パスワードや鍵は、装置を出る前に取り除かれます。取り寄せた人とダウンロードした人は、監査ログに残ります。" | "Brings a device's log and a support bundle here. Passwords and keys are taken out before they leave the device. The audit log notes who asked and who downloaded.";
    pull_log: "ログを取り寄せる" | "Get the log";
    pull_bundle: "診断情報を取り寄せる" | "Get a support bundle";
    revoked: "この装置は失効しているため、新たに取り寄せることはできません。" | "This device is revoked, so nothing more can be asked of it.";
    asked: "依頼" | "Asked for";
    state: "状況" | "State";
    log: "ログ" | "Log";
    bundle: "診断情報" | "Support bundle";
    download: "ダウンロード" | "Download";
    nothing: "まだ取り寄せていません" | "Nothing was asked for yet";
    waiting: "装置の応答を待っています" | "Waiting for the device";
    on_the_way: "装置が応答しました。ファイルの到着を待っています" | "The device has answered; its file is on the way";
    overdue: "装置は応答しましたが、1日たってもファイルが届いていません" | "The device has answered, but its file has not come within a day";
    overdue_hint: "装置の一覧で「送信待ち」が減っているかを確かめ、もう一度取り寄せてください。あとから届いた場合は、ここでダウンロードできます。" | "Please see in the list of devices whether what it has yet to send gets less, and ask for it again. Should it still come, it can be downloaded here.";
    failed: "装置で作成できませんでした" | "The device could not make it";
    refused: "装置が依頼を断りました" | "The device refused the request";
    unanswered: "装置から応答がありませんでした" | "The device did not answer";
    never_sent: "装置が接続されていないため、依頼を渡せませんでした" | "The device was not connected, so the request could not be handed over";
    without_file: "装置はファイルを送りませんでした" | "The device sent no file";
    expired: "保存期間が過ぎたため削除しました" | "Deleted, because its time was over";
}

use super::Lang;

impl Lang {
    pub fn device_files(self) -> &'static DeviceFileWords {
        DeviceFileWords::of(self)
    }

    /// Which file a link leads to, for those who hear the page.
    pub fn download_file(self, what: &str, asked: &str) -> String {
        match self {
            Lang::Ja => format!("{asked}の{what}をダウンロード"),
            Lang::En => format!("Download {what} of {asked}"),
        }
    }
}
