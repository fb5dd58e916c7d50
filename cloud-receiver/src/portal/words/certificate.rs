//! What mail to the operator says of the certificate that browsers are shown.

use super::Lang;

impl Lang {
    /// Subject and text. `until`: of the one that is shown; absent: there is none.
    pub fn certificate_bad(self, portal: &str, until: Option<&str>, why: &str) -> (String, String) {
        let (subject, state) = match (self, until) {
            (Lang::Ja, Some(until)) => (
                "ポータルの証明書を更新できません",
                format!(
                    "{portal} の証明書は{until}に期限が切れます。新しい証明書がまだありません。"
                ),
            ),
            (Lang::Ja, None) => (
                "ポータルの証明書がありません",
                format!("{portal} には公的な証明書がなく、ブラウザに警告が表示されます。"),
            ),
            (Lang::En, Some(until)) => (
                "The portal's certificate is not renewed",
                format!("The certificate of {portal} ends on {until}, and there is no new one."),
            ),
            (Lang::En, None) => (
                "The portal has no certificate",
                format!("{portal} has no public certificate, and browsers warn of it."),
            ),
        };
        let text = match (self, why) {
            (_, "") => state,
            (Lang::Ja, why) => format!("{state}\n原因: {why}"),
            (Lang::En, why) => format!("{state}\nWhy: {why}"),
        };
        (subject.to_owned(), text)
    }

    pub fn certificate_well_again(self, portal: &str) -> (String, String) {
        let (subject, text) = match self {
            Lang::Ja => (
                "ポータルの証明書は復旧しました",
                format!("{portal} の証明書を新しいものに切り替えました。"),
            ),
            Lang::En => (
                "The portal's certificate is well again",
                format!("There is a new certificate of {portal}."),
            ),
        };
        (subject.to_owned(), text)
    }
}
