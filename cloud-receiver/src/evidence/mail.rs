//! Mail with the signed heads and their time stamps. The only file that imports lettre.

use super::heads::{Letter, file_name, stamp_file_name};
use super::local;
use crate::config::{Encryption, Mail};
use anyhow::Context;
use lettre::message::header::ContentType;
use lettre::message::{Attachment, Mailbox, Message, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};
use std::time::Duration;
use wire::evidence::heads::{Heads, SignedHeads};
use wire::{VerifyingKey, evidence::DeviceHead};

/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// The message with these heads and time stamps attached, and the newest of them in words.
pub(super) fn heads_letter(
    mail: &Mail,
    to: &[String],
    letter: &Letter,
    key: &VerifyingKey,
) -> anyhow::Result<Message> {
    let newest = letter.newest().context("no heads to send")?;
    let mut builder = Message::builder()
        .from(address(&mail.from, "mail.from")?)
        .subject(format!(
            "{} no. {} ({})",
            if letter.heads.is_empty() {
                "Time stamp of signed heads"
            } else {
                "Signed heads"
            },
            newest.number,
            local::minute(newest.at_us)
        ));
    for receiver in to {
        builder = builder.to(address(receiver, "heads.mail_to")?);
    }
    let mut words = String::new();
    if let Some(newest) = letter.heads.last() {
        let signed = SignedHeads::from_json(newest.document.as_bytes())?;
        words += &letter_words(&signed.open(key)?, key);
    }
    words += &stamp_words(letter);
    let attached = |name: String, kind: &str, bytes: Vec<u8>| {
        let kind = ContentType::parse(kind).expect("a content type");
        Attachment::new(name).body(bytes, kind)
    };
    let heads = letter.heads.iter().map(|row| {
        let bytes = row.document.clone().into_bytes();
        attached(file_name(row.number), "application/json", bytes)
    });
    let stamps = letter.stamps.iter().filter_map(|row| {
        let bytes = row.stamp.as_ref()?.answer.clone();
        let name = stamp_file_name(row.number);
        Some(attached(name, "application/timestamp-reply", bytes))
    });
    let parts = MultiPart::mixed().singlepart(SinglePart::plain(words));
    let parts = heads.chain(stamps).fold(parts, MultiPart::singlepart);
    builder.multipart(parts).context("writing the letter")
}

fn address(text: &str, key: &str) -> anyhow::Result<Mailbox> {
    text.parse()
        .with_context(|| format!("{key} in the configuration: \"{text}\" is no mail address"))
}

fn letter_words(heads: &Heads, key: &VerifyingKey) -> String {
    let devices: Vec<&DeviceHead> = heads
        .sections
        .iter()
        .flat_map(|section| &section.devices)
        .collect();
    let records: u64 = devices
        .iter()
        .flat_map(|device| &device.epochs)
        .map(|epoch| epoch.records)
        .sum();
    let mut words = format!(
        "The receiver signed what it holds: heads no. {}, {} ({}).\n\
         Keep this mail. With the attached file it can be shown later that nothing was taken away since:\n\
         \x20 cloud-receiver verify --export FILE --heads {}\n\n\
         証拠の署名済みヘッド 第{}号です。このメールを保管してください。\n\n\
         Receiver's evidence key: {key}\n\
         {} devices, {records} records.\n",
        heads.number(),
        local::time(heads.statement.at_us),
        local::ZONE,
        file_name(heads.number()),
        heads.number(),
        devices.len(),
    );
    for device in devices.iter().take(500) {
        let last = device.epochs.last();
        let records: u64 = device.epochs.iter().map(|epoch| epoch.records).sum();
        let end = last.map_or_else(String::new, |epoch| {
            format!(", epoch {} ends at record {}", epoch.epoch, epoch.last_seq)
        });
        words += &format!("  device {}: {records} records{end}\n", device.device);
    }
    words
}

fn stamp_words(letter: &Letter) -> String {
    let names: Vec<_> = letter
        .stamps
        .iter()
        .map(|row| stamp_file_name(row.number))
        .collect();
    if names.is_empty() {
        return String::new();
    }
    let names = names.join(", ");
    format!(
        "\nAttached time stamps (RFC 3161), another authority's word that the heads existed then: {names}.\n\
         Keep each beside the heads of its number; \"verify --heads\" checks both.\n\n\
         タイムスタンプ（RFC 3161）を添付しました。同じ番号のヘッドと一緒に保管してください。\n"
    )
}

/// Gives the letter to the configured server; returns once that has taken it.
pub(super) fn send(mail: &Mail, letter: &Message) -> anyhow::Result<()> {
    let transport = transport(mail)?;
    transport
        .send(letter)
        .map(|_| ())
        .with_context(|| format!("the mail server {}:{}", mail.server, mail.port))
}

fn transport(mail: &Mail) -> anyhow::Result<SmtpTransport> {
    let tls = match mail.encryption {
        Encryption::Starttls => Tls::Required(tls(mail)?),
        Encryption::Tls => Tls::Wrapper(tls(mail)?),
        Encryption::None => Tls::None,
    };
    let mut builder = SmtpTransport::builder_dangerous(&mail.server)
        .port(mail.port)
        .tls(tls)
        .timeout(Some(PATIENCE));
    if !mail.user.is_empty() {
        let password = std::fs::read_to_string(&mail.password_file)
            .with_context(|| format!("mail.password_file {}", mail.password_file.display()))?;
        let password = password.trim_end_matches(['\r', '\n']).to_owned();
        builder = builder.credentials(Credentials::new(mail.user.clone(), password));
    }
    Ok(builder.build())
}

fn tls(mail: &Mail) -> anyhow::Result<TlsParameters> {
    let mut builder = TlsParameters::builder(mail.server.clone());
    builder = if mail.ca_file.as_os_str().is_empty() {
        builder.certificate_store(CertificateStore::WebpkiRoots)
    } else {
        let pem = std::fs::read(&mail.ca_file)
            .with_context(|| format!("mail.ca_file {}", mail.ca_file.display()))?;
        let certificate = Certificate::from_pem(&pem)
            .with_context(|| format!("mail.ca_file {}", mail.ca_file.display()))?;
        builder
            .certificate_store(CertificateStore::None)
            .add_root_certificate(certificate)
    };
    builder.build().context("setting up TLS for mail")
}
