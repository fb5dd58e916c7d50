//! Why something is not done, as the operators' area says it. The command line has wording of its own (`office::Refusal`).

use super::sentences::plural;
use super::{DeskWords, Lang, OfficeWords};
use crate::notice::{Fault, braced};
use crate::office::Refusal;
use crate::portal::when::When;
use crate::store::Conflict;

impl Lang {
    /// What is wrong with the text of a letter.
    pub fn fault(self, fault: &Fault) -> String {
        let ja = self == Lang::Ja;
        match fault {
            Fault::NoEmptyLine | Fault::Subject if ja => {
                "1行目に件名だけを書き、次の行を空けてください。".into()
            }
            Fault::NoEmptyLine | Fault::Subject => {
                "The subject stands alone on the first line, and the line after it is empty.".into()
            }
            Fault::Unknown { line, name, known } => {
                let known = braced(known);
                match self {
                    Lang::Ja => format!(
                        "{line}行目の {{{{{name}}}}} は使えません。使えるのは {known} です。"
                    ),
                    Lang::En => format!(
                        "Line {line}: {{{{{name}}}}} stands for nothing here. There are {known}."
                    ),
                }
            }
            Fault::Open(line) if ja => {
                format!("{line}行目の {{{{ に、対応する }}}} が同じ行にありません。")
            }
            Fault::Open(line) => format!("Line {line}: {{{{ without }}}} on the same line."),
            Fault::Wanting(name) if ja => {
                format!("{{{{{name}}}}} がありません。この文面に必要な項目です。")
            }
            Fault::Wanting(name) => format!(
                "{{{{{name}}}}} is wanting: without it the letter does not say what it must."
            ),
        }
    }

    /// Why something is not done.
    pub fn refused(self, refusal: &Refusal, when: &When) -> String {
        let w = OfficeWords::of(self);
        let plain = match refusal {
            Refusal::Address(address) => {
                return match self {
                    Lang::Ja => format!("「{address}」はメールアドレスではありません。"),
                    Lang::En => format!("\"{address}\" is no mail address."),
                };
            }
            Refusal::RunsAlready(day) => {
                let day = when.date(*day);
                return match self {
                    Lang::Ja => format!("契約はすでに{day}までです。"),
                    Lang::En => format!("The contract runs until {day} already."),
                };
            }
            Refusal::Held(holds, name) => return self.is_held(name, *holds),
            Refusal::TooSoon { at, .. } => {
                let earliest = when.to_minute(crate::office::earliest(*at));
                return match self {
                    Lang::Ja => format!(
                        "14日前までの予告をお約束しています。{earliest}以降にするか、待てない理由を入力してください。"
                    ),
                    Lang::En => format!(
                        "Customers are promised 14 days. Choose {earliest} or later, or say why it cannot wait."
                    ),
                };
            }
            Refusal::Zone(_) => w.refused_zone,
            Refusal::Language => w.refused_language,
            Refusal::OutOfRange(_) => w.refused_range,
            Refusal::NotDue(..) | Refusal::Wordless(_) => w.refused_wordless,
            Refusal::HoldEndsBeforeItBegins | Refusal::EndsBeforeItBegins => w.refused_order,
            Refusal::Past(_) => w.refused_past,
            Refusal::Future(_) => w.refused_future,
            Refusal::EndedWhen => w.refused_ended,
            Refusal::NobodyConcerned => w.refused_nobody,
            Refusal::NoticeOver(_) => w.refused_over,
            Refusal::LoginId => self.words().login_id_rules,
            Refusal::NoSuchEvent(_) => DeskWords::of(self).event_unknown,
            Refusal::TagEmpty | Refusal::TagLong => w.refused_tag,
            Refusal::Nameless(_) => w.refused_name,
            Refusal::BackupBusy => w.refused_busy,
            Refusal::NoBackupYet => w.backup_first,
            Refusal::Conflict(Conflict::BeingErased) => w.refused_being_erased,
            Refusal::Conflict(Conflict::GoesOn) => w.refused_goes_on,
            Refusal::Conflict(Conflict::Held(holds)) => {
                return match self {
                    Lang::Ja => format!("{holds}件の保全があるため、消去できません。"),
                    Lang::En => format!(
                        "{} the erasure.",
                        plural(*holds as usize, "hold blocks", "holds block")
                    ),
                };
            }
            Refusal::Conflict(Conflict::KeyBackup(cause)) => {
                return format!("{} ({cause})", w.refused_key_backup);
            }
            Refusal::Letter(faulty) => {
                let name = faulty.path.file_stem().unwrap_or_default();
                let (name, fault) = (name.to_string_lossy(), self.fault(&faulty.fault));
                return match self {
                    Lang::Ja => format!("お知らせの文面「{name}」に誤りがあります。{fault}"),
                    Lang::En => format!("The letter \"{name}\" has a mistake. {fault}"),
                };
            }
            Refusal::Unwritable(cause) => return format!("{} ({cause})", w.refused_unwritable),
            Refusal::Exists(_) => w.refused_exists,
            Refusal::LastOperator(_) => w.refused_last_operator,
        };
        plain.to_owned()
    }
}
