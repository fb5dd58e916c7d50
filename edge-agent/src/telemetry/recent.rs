//! The agent's newest log lines, in memory, for whoever asks for them from afar: wherever the log itself goes, and whoever may
//! read it there.
//!
//! Bounded in bytes. The oldest lines give way, and an excerpt says how many of them are gone.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing_subscriber::fmt::MakeWriter;
use wire::UtcMicros;

/// A quiet agent writes some lines an hour, a troubled one some a second: days of the one, hours of the other.
const KEPT_BYTES: usize = 1 << 20;
/// Beyond the text, for each line.
const LINE_COST: usize = 64;

/// The newest lines. Cheap to clone; all clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct RecentLog(Arc<Mutex<Ring>>);

#[derive(Debug, Default)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    gone: u64,
}

#[derive(Debug)]
struct Line {
    at: UtcMicros,
    text: Box<str>,
}

/// Some of the newest lines, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excerpt {
    /// Each line with its end.
    pub text: String,
    pub lines: usize,
    /// Lines of this start of the agent that are kept no more.
    pub gone: u64,
}

impl RecentLog {
    /// At most so many lines, none older than `since`.
    pub fn newest(&self, at_most: usize, since: Option<UtcMicros>) -> Excerpt {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = ring.lines.iter().rev().take(at_most);
        let count = fitting
            .take_while(|line| since.is_none_or(|since| line.at >= since))
            .count();
        let newest = ring.lines.range(ring.lines.len() - count..);
        Excerpt {
            text: newest.flat_map(|line| [&*line.text, "\n"]).collect(),
            lines: count,
            gone: ring.gone,
        }
    }

    fn push(&self, at: UtcMicros, text: &str) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for text in text.lines() {
            // One line alone never takes all the room.
            let text = &text[..text.floor_char_boundary(KEPT_BYTES / 8)];
            ring.bytes += text.len() + LINE_COST;
            let text = text.into();
            ring.lines.push_back(Line { at, text });
        }
        while ring.bytes > KEPT_BYTES
            && let Some(oldest) = ring.lines.pop_front()
        {
            ring.bytes -= oldest.text.len() + LINE_COST;
            ring.gone += 1;
        }
    }
}

/// Takes what the formatter writes: a whole event at a time.
#[derive(Debug)]
pub struct Writer(RecentLog);

impl io::Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0));
        self.0.push(UtcMicros(now), &String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for RecentLog {
    type Writer = Writer;

    fn make_writer(&'a self) -> Writer {
        Writer(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn the_newest_lines_are_given_in_order() {
        let log = RecentLog::default();
        for number in 1..=5 {
            log.push(UtcMicros(number), &format!("line {number}\n"));
        }
        let check = |at_most, since: Option<i64>, expected: &str| {
            let excerpt = log.newest(at_most, since.map(UtcMicros));
            assert_eq!(excerpt.text, expected, "{at_most} since {since:?}");
            assert_eq!(excerpt.lines, expected.lines().count());
        };
        check(2, None, "line 4\nline 5\n");
        check(0, None, "");
        check(100, Some(4), "line 4\nline 5\n");
        check(1, Some(4), "line 5\n");
        check(100, Some(6), "");
    }

    #[test]
    fn a_flood_takes_no_more_room_and_is_counted() {
        let log = RecentLog::default();
        for number in 0..50_000 {
            log.push(UtcMicros(number), "a line of a usual length, more or less");
        }
        log.push(UtcMicros(50_000), &"日本語".repeat(KEPT_BYTES));
        let kept = log.newest(usize::MAX, None);
        assert!(kept.text.len() <= KEPT_BYTES, "{}", kept.text.len());
        assert_eq!(kept.lines as u64 + kept.gone, 50_001);
        assert!(
            kept.lines > 1_000,
            "one long line does not drive out all: {}",
            kept.lines
        );
        assert!(
            kept.text.ends_with("日\n")
                || kept.text.ends_with("本\n")
                || kept.text.ends_with("語\n")
        );
    }

    #[test]
    fn events_come_in_as_they_are_printed() {
        let log = RecentLog::default();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(log.clone())
            .with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(camera.id = 7, "camera {} is silent", 7);
        });
        let said = log.newest(10, None);
        assert_eq!(said.lines, 1);
        assert!(said.text.contains("WARN"), "{}", said.text);
        assert!(said.text.contains("camera 7 is silent"), "{}", said.text);
    }
}
