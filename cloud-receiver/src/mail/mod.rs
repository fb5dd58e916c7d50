//! Mail: what a message is, and the one way to hand it to the configured server.
//!
//! Everything that must arrive goes through the outbox (`store/mail.rs`, sent by `jobs/mail.rs`): a row of the database,
//! written in the same commit as what it tells of. The signed heads alone keep a book of their own.

mod picture;
mod server;

pub use picture::small_picture;
pub use server::{Connection, Refusal, Taken, check};

use wire::UtcMicros;

/// One message as it goes out.
#[derive(Clone, Debug)]
pub struct Message {
    /// The part of the Message-ID before the at sign: the same at every attempt, so that a second copy shows as one.
    pub id: String,
    pub at: UtcMicros,
    pub to: Vec<String>,
    pub subject: String,
    pub text: String,
    pub html: Option<String>,
    /// A JPEG that the HTML shows as `cid:picture`.
    pub picture: Option<Vec<u8>>,
    pub attachments: Vec<Attachment>,
    /// Where one POST stops such mails (RFC 8058).
    pub unsubscribe: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Attachment {
    pub name: String,
    pub content_type: &'static str,
    pub bytes: Vec<u8>,
}
