//! How fast a camera's pictures go through its decoder: as vision takes them, as fast as the machine can, or as they come.

use std::time::{Duration, Instant};

/// Behind by less than this it is the present.
const LIVE_WITHIN: Duration = Duration::from_millis(300);
/// The present, decoded so late, is not kept up with.
const LATE_AFTER: Duration = Duration::from_secs(1);
/// The past may be so much further behind than it was at the beginning.
const FALLS_BACK_AT_MOST: Duration = Duration::from_secs(2);
/// A glimpse that nobody takes holds a camera up for so long.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// The past, each glimpse waiting to be taken.
    Replay {
        /// Further behind than this it gives up.
        most: Duration,
        held_since: Option<Instant>,
    },
    /// Back to the present, whoever looks.
    Hurry {
        most: Duration,
    },
    Live,
}

impl Pace {
    /// Of a decoder whose first picture is so old.
    pub(super) fn beginning(behind: Duration) -> Self {
        if behind <= LIVE_WITHIN {
            return Self::Live;
        }
        Self::Replay {
            most: behind + FALLS_BACK_AT_MOST,
            held_since: None,
        }
    }

    pub(super) fn is_replay(self) -> bool {
        matches!(self, Self::Replay { .. })
    }

    pub(super) fn is_live(self) -> bool {
        self == Self::Live
    }

    /// Vision has not taken what it was shown.
    pub(super) fn is_held(self) -> bool {
        matches!(
            self,
            Self::Replay {
                held_since: Some(_),
                ..
            }
        )
    }

    /// Whether vision has taken everything; `true` if nobody is waited for from here on.
    pub(super) fn answered(&mut self, taken: bool) -> bool {
        let Self::Replay { most, held_since } = self else {
            return false;
        };
        if taken {
            *held_since = None;
            return false;
        }
        let since = held_since.get_or_insert_with(Instant::now);
        let is_over = since.elapsed() >= PATIENCE;
        if is_over {
            *self = Self::Hurry { most: *most };
        }
        is_over
    }

    /// A picture went in that is so old; `true` if it is the present from here on.
    pub(super) fn reached(&mut self, behind: Duration, taken: bool) -> bool {
        let arrives = match self {
            Self::Replay { .. } => behind <= LIVE_WITHIN && taken,
            Self::Hurry { .. } => behind <= LIVE_WITHIN,
            Self::Live => false,
        };
        if arrives {
            *self = Self::Live;
        }
        arrives
    }

    /// A picture so old is not worth decoding when there is a newer key frame.
    pub(super) fn is_too_late(self, behind: Duration) -> bool {
        let most = match self {
            Self::Replay { most, .. } | Self::Hurry { most } => most,
            Self::Live => LATE_AFTER,
        };
        behind > most
    }

    /// What was so far behind goes on at a key frame.
    pub(super) fn hurry(&mut self, behind: Duration) {
        *self = Self::Hurry {
            most: behind + FALLS_BACK_AT_MOST,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_past_waits_for_vision_and_the_present_does_not() {
        let mut pace = Pace::beginning(ms(1500));
        assert!(pace.is_replay() && !pace.is_held());
        assert!(!pace.answered(false) && pace.is_held());
        assert!(!pace.answered(true) && !pace.is_held());
        assert!(
            !pace.reached(ms(200), false),
            "somebody still looks at the past"
        );
        assert!(pace.reached(ms(200), true) && pace.is_live());
        assert!(!pace.answered(false) && !pace.is_held());
        assert!(Pace::beginning(ms(60)).is_live());
    }

    #[test]
    fn patience_has_an_end() {
        let mut pace = Pace::Replay {
            most: ms(3000),
            held_since: Instant::now().checked_sub(PATIENCE),
        };
        assert!(pace.answered(false));
        assert!(!pace.is_held() && !pace.is_replay());
        assert!(pace.reached(ms(100), false) && pace.is_live());
    }

    #[test]
    fn what_falls_behind_is_given_up() {
        let mut pace = Pace::beginning(ms(1500));
        assert!(!pace.is_too_late(ms(3400)));
        assert!(pace.is_too_late(ms(3600)));
        assert!(Pace::Live.is_too_late(ms(1001)) && !Pace::Live.is_too_late(ms(999)));
        pace.hurry(ms(3600));
        assert!(!pace.is_too_late(ms(5000)));
    }
}
