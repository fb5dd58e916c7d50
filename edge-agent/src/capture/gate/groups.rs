//! Where in its stream a camera is: the last key frames, how far they are apart, which were looked at.

use super::UnitFacts;
use std::collections::VecDeque;
use std::time::Duration;

/// Key frames remembered.
const KEYS: usize = 8;
/// So many groups of one new length in turn make the stream another one.
const GROUPS_TO_CHANGE: u32 = 3;
/// Groups of other lengths, by so much at least, are another kind of group.
const SAME_LENGTH: usize = 1;

#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Newest last.
    keys: VecDeque<Key>,
    /// Of the present group; `None` before the first key frame.
    position: Option<usize>,
    /// Pictures in a group, as learned, and in how many groups in turn there was another number.
    length: Option<usize>,
    others: (usize, u32),
    began: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    number: u64,
    at: Duration,
    seen: bool,
}

impl Groups {
    pub(super) fn interrupted(&mut self) {
        self.keys.clear();
        self.position = None;
        self.began = None;
    }

    /// Whether groups have another length from here on.
    pub(super) fn arrived(&mut self, unit: &UnitFacts) -> bool {
        self.began.get_or_insert(unit.at);
        if !unit.key {
            self.position = self.position.map(|position| position + 1);
            return false;
        }
        if self.keys.len() == KEYS {
            self.keys.pop_front();
        }
        self.keys.push_back(Key {
            number: unit.number,
            at: unit.at,
            seen: false,
        });
        let length = self.position.replace(0);
        length.is_some_and(|length| self.is_another(length))
    }

    /// A picture of that time was decoded.
    pub(super) fn saw(&mut self, at: Duration) {
        self.keys
            .iter_mut()
            .filter(|key| key.at == at)
            .for_each(|key| key.seen = true);
    }

    /// Pictures since the last key frame; `None` before the first.
    pub(super) fn position(&self) -> Option<usize> {
        self.position
    }

    pub(super) fn last_key(&self) -> Option<u64> {
        self.keys.back().map(|key| key.number)
    }

    /// Where to begin after a signal: at the last key frame, if nothing is known to move in it.
    pub(super) fn before_signal(&self, last_movement: Option<Duration>) -> Option<u64> {
        let last = self.keys.back()?;
        if last.seen && last_movement.is_none_or(|movement| movement < last.at) {
            return Some(last.number);
        }
        self.before_picture(last.at)
    }

    /// Where to begin when something moves in the picture of that time: at the key frame before it.
    pub(super) fn before_picture(&self, at: Duration) -> Option<u64> {
        let before = self.keys.iter().rev().find(|key| key.at < at);
        before.or(self.keys.front()).map(|key| key.number)
    }

    /// Usual time between key frames: the median of the last.
    pub(super) fn interval(&self) -> Option<Duration> {
        let pairs = self.keys.iter().zip(self.keys.iter().skip(1));
        let mut apart: Vec<Duration> = pairs.map(|(a, b)| b.at.saturating_sub(a.at)).collect();
        apart.sort_unstable();
        apart.get(apart.len() / 2).copied()
    }

    /// Key frames are, or have just become, further apart than `most`.
    pub(super) fn are_rare(&self, now: Duration, most: Duration) -> bool {
        let since = self.keys.back().map(|key| key.at).or(self.began);
        self.interval().is_some_and(|interval| interval > most)
            || since.is_some_and(|since| now.saturating_sub(since) > most)
    }

    /// Nothing lies between the key frames.
    pub(super) fn is_all_keys(&self) -> bool {
        self.length == Some(0)
    }

    /// Encoders that put in a key frame at a change of scene cut a group short now and then; one that is set to another
    /// length does so again and again.
    fn is_another(&mut self, length: usize) -> bool {
        let Some(usual) = self.length else {
            self.length = Some(length);
            return false;
        };
        if length.abs_diff(usual) <= SAME_LENGTH {
            self.others.1 = 0;
            return false;
        }
        let (other, times) = self.others;
        let again = times > 0 && length.abs_diff(other) <= SAME_LENGTH;
        self.others = (length, if again { times + 1 } else { 1 });
        if self.others.1 < GROUPS_TO_CHANGE {
            return false;
        }
        self.length = Some(length);
        self.others = (0, 0);
        true
    }
}
