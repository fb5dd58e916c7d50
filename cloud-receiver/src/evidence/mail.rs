//! Mail with the signed heads and their time stamps.

use super::heads::{Letter, file_name, stamp_file_name};
use super::local;
use crate::config::Mail;
use crate::mail::{Attachment, Connection, Message};
use anyhow::Context;
use uuid::Uuid;
use wire::evidence::heads::{Heads, SignedHeads};
use wire::{VerifyingKey, evidence::DeviceHead};

/// The message with these heads and time stamps attached, and the newest of them in words.
pub(super) fn heads_letter(
    to: &[String],
    letter: &Letter,
    key: &VerifyingKey,
) -> anyhow::Result<Message> {
    let newest = letter.newest().context("no heads to send")?;
    let what = if letter.heads.is_empty() {
        "Time stamp of signed heads"
    } else {
        "Signed heads"
    };
    let mut words = String::new();
    if let Some(newest) = letter.heads.last() {
        let signed = SignedHeads::from_json(newest.document.as_bytes())?;
        words += &letter_words(&signed.open(key)?, key);
    }
    words += &stamp_words(letter);
    let heads = letter.heads.iter().map(|row| Attachment {
        name: file_name(row.number),
        content_type: "application/json",
        bytes: row.document.clone().into_bytes(),
    });
    let stamps = letter.stamps.iter().filter_map(|row| {
        Some(Attachment {
            name: stamp_file_name(row.number),
            content_type: "application/timestamp-reply",
            bytes: row.stamp.as_ref()?.answer.clone(),
        })
    });
    let minute = local::minute(newest.at_us);
    Ok(Message {
        id: Uuid::new_v4().to_string(),
        at: crate::clock::now(),
        to: to.to_vec(),
        subject: format!("{what} no. {} ({minute})", newest.number),
        text: words,
        attachments: heads.chain(stamps).collect(),
        html: None,
        picture: None,
        unsubscribe: None,
    })
}

/// Gives the letter to the configured server; returns once that has taken it.
pub(super) fn send(settings: &Mail, letter: &Message) -> anyhow::Result<()> {
    let mut connection = Connection::open(settings)?;
    let sent = connection.send(letter);
    connection.close();
    sent.map(|_| ())
        .map_err(|refusal| anyhow::anyhow!(refusal.problem))
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
