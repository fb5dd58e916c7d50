//! What is to be written to one connection.
//!
//! The bound: a connection whose outbox is full is neither read from nor committed for until the device takes
//! what it is owed, so nothing is ever dropped here; a device that takes nothing at all is cut off.

use bytes::{Buf, BytesMut};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

/// Above this the connection is not read from. One round of answers may go past it.
const FULL_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Outbox {
    bytes: BytesMut,
    is_unflushed: bool,
    stall: Duration,
    deadline: Instant,
}

impl Outbox {
    /// `stall`: for how long a device may take nothing of what is owed to it.
    pub(super) fn new(stall: Duration) -> Self {
        Self {
            bytes: BytesMut::new(),
            is_unflushed: false,
            stall,
            deadline: Instant::now() + stall,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.has_work() {
            self.deadline = Instant::now() + self.stall;
        }
        self.bytes.extend_from_slice(bytes);
        self.is_unflushed = true;
    }

    pub(super) fn has_work(&self) -> bool {
        self.is_unflushed
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() > FULL_BYTES
    }

    /// When the device must have taken the next bytes.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Writes once, or flushes when all is written. Safe to cancel: what was not written stays.
    pub(super) async fn step(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        if self.bytes.is_empty() {
            writer.flush().await?;
            self.is_unflushed = false;
        } else {
            match writer.write(&self.bytes).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                written => self.bytes.advance(written),
            }
        }
        self.deadline = Instant::now() + self.stall;
        Ok(())
    }

    pub(super) async fn drain(&mut self, writer: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        while self.has_work() {
            self.step(writer).await?;
        }
        Ok(())
    }
}
