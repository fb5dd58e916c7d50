//! The configured mail server. The only file that imports lettre.

use super::Message;
use crate::config::{Encryption, Mail};
use anyhow::Context;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, SmtpConnection, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use std::time::{Duration, SystemTime};

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The server has it: from now on it is the server's to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its last word, with the number under which its log has the message.
    pub answer: String,
}

/// Why a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub problem: String,
    /// The server said that trying again changes nothing.
    pub for_good: bool,
    /// The connection is of no more use.
    pub broken: bool,
}

/// A connection, signed in. Blocking: for threads of its own.
pub struct Connection {
    smtp: SmtpConnection,
    settings: Mail,
    server: String,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.server)
    }
}

impl Connection {
    /// Whatever fails here is the matter of the server or of the configuration, and of no single message.
    pub fn open(settings: &Mail) -> anyhow::Result<Self> {
        let server = format!("{}:{}", settings.server, settings.port);
        let smtp = connect(settings).with_context(|| format!("the mail server {server}"))?;
        Ok(Self {
            smtp,
            settings: settings.clone(),
            server,
        })
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    /// Answers once the server has taken the message for all its recipients, or none.
    pub fn send(&mut self, message: &Message) -> Result<Taken, Refusal> {
        let (envelope, bytes) = written(&self.settings, message).map_err(|error| Refusal {
            problem: format!("{error:#}"),
            for_good: true,
            broken: false,
        })?;
        let sent = self.smtp.send(&envelope, &bytes);
        match sent {
            Ok(response) => Ok(Taken {
                answer: answer(&response),
            }),
            Err(error) => {
                let broken = self.smtp.has_broken() || !error.is_permanent();
                Err(Refusal {
                    problem: format!("the mail server {}: {}", self.server, chain(&error)),
                    for_good: error.is_permanent(),
                    broken,
                })
            }
        }
    }

    pub fn close(mut self) {
        // Everything was answered; who hangs up without a goodbye loses nothing.
        let _ = self.smtp.quit();
    }
}

/// Whether an address can be written to at all.
pub fn check(address: &str) -> anyhow::Result<()> {
    address
        .parse::<Mailbox>()
        .map(|_| ())
        .with_context(|| format!("\"{address}\" is no mail address"))
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

fn answer(response: &Response) -> String {
    let lines: Vec<_> = response.message().collect();
    format!("{} {}", response.code(), lines.join(" "))
}

fn connect(settings: &Mail) -> anyhow::Result<SmtpConnection> {
    let hello = ClientId::default();
    let at_once = match settings.encryption {
        Encryption::Tls => Some(tls(settings)?),
        Encryption::Starttls | Encryption::None => None,
    };
    let server = (settings.server.as_str(), settings.port);
    let mut smtp = SmtpConnection::connect(server, Some(PATIENCE), &hello, at_once.as_ref(), None)?;
    if settings.encryption == Encryption::Starttls {
        smtp.starttls(&tls(settings)?, &hello)?;
    }
    if !settings.user.is_empty() {
        let password = std::fs::read_to_string(&settings.password_file)
            .with_context(|| format!("mail.password_file {}", settings.password_file.display()))?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        let credentials = Credentials::new(settings.user.clone(), password);
        smtp.auth(DEFAULT_MECHANISMS, &credentials)?;
    }
    Ok(smtp)
}

fn tls(settings: &Mail) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(settings.server.clone());
    builder = if settings.ca_file.as_os_str().is_empty() {
        builder.certificate_store(CertificateStore::WebpkiRoots)
    } else {
        let pem = std::fs::read(&settings.ca_file)
            .with_context(|| format!("mail.ca_file {}", settings.ca_file.display()))?;
        let certificate = Certificate::from_pem(&pem)
            .with_context(|| format!("mail.ca_file {}", settings.ca_file.display()))?;
        builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate)
    };
    builder.build().context("setting up TLS for mail")
}

fn written(settings: &Mail, message: &Message) -> anyhow::Result<(Envelope, Vec<u8>)> {
    let from: Mailbox = settings.from.parse().with_context(|| {
        format!(
            "mail.from in the configuration: \"{}\" is no mail address",
            settings.from
        )
    })?;
    let at = Duration::from_micros(u64::try_from(message.at.0).unwrap_or_default());
    let mut builder = lettre::Message::builder()
        .message_id(Some(format!("<{}@{}>", message.id, from.email.domain())))
        .date(SystemTime::UNIX_EPOCH + at)
        .from(from)
        .subject(&message.subject)
        // RFC 3834: no answering machine answers.
        .raw_header(header("Auto-Submitted", "auto-generated"));
    for receiver in &message.to {
        let receiver = receiver
            .parse()
            .with_context(|| format!("\"{receiver}\" is no mail address"))?;
        builder = builder.to(receiver);
    }
    if let Some(address) = &message.unsubscribe {
        builder = builder
            .raw_header(header("List-Unsubscribe", &format!("<{address}>")))
            .raw_header(header(
                "List-Unsubscribe-Post",
                "List-Unsubscribe=One-Click",
            ));
    }
    let letter = match body(message) {
        Body::One(part) => builder.singlepart(part),
        Body::Many(parts) => builder.multipart(parts),
    };
    let letter = letter.context("writing the letter")?;
    Ok((letter.envelope().clone(), letter.formatted()))
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

enum Body {
    One(SinglePart),
    Many(MultiPart),
}

fn body(message: &Message) -> Body {
    let text = SinglePart::plain(message.text.clone());
    let readable = match (&message.html, &message.picture) {
        (None, _) => Body::One(text),
        (Some(html), None) => Body::Many(
            MultiPart::alternative()
                .singlepart(text)
                .singlepart(SinglePart::html(html.clone())),
        ),
        (Some(html), Some(picture)) => {
            let shown = MultiPart::related()
                .singlepart(SinglePart::html(html.clone()))
                .singlepart(
                    Attachment::new_inline("picture".into())
                        .body(picture.clone(), content_type("image/jpeg")),
                );
            Body::Many(MultiPart::alternative().singlepart(text).multipart(shown))
        }
    };
    if message.attachments.is_empty() {
        return readable;
    }
    let mixed = match readable {
        Body::One(part) => MultiPart::mixed().singlepart(part),
        Body::Many(parts) => MultiPart::mixed().multipart(parts),
    };
    Body::Many(message.attachments.iter().fold(mixed, |parts, file| {
        let attachment = Attachment::new(file.name.clone());
        parts.singlepart(attachment.body(file.bytes.clone(), content_type(file.content_type)))
    }))
}

fn content_type(text: &str) -> ContentType {
    ContentType::parse(text).expect("a content type of ours")
}
