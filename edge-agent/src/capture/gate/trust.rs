//! Whether a camera's encoded sizes tell of movement: asked of every movement that was seen in decoded pictures.
//!
//! An encoder under a constant bit rate makes all pictures equally large, a noisy picture drowns what is small, and no
//! one can tell either from the sizes of a picture where nothing moves. So the sizes are judged by what they told, as a
//! share of the last movements, old ones fading.

/// Movements after which one counts for a third.
const FADING: f32 = 0.9;
/// As if so many movements had been told of, where the quantiser is known: it cannot hide what rate control does.
const CREDIT: f32 = 2.0;
/// Told of so many of the last movements, the signal is believed.
const TELLING: f32 = 0.6;
/// Before so many movements a signal without credit is not believed.
const LEAST_PROOF: f32 = 1.8;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Trust {
    told: f32,
    untold: f32,
}

impl Trust {
    /// At the beginning, and again whenever the stream becomes another one.
    pub(super) fn new(quantiser_known: bool) -> Self {
        Self {
            told: if quantiser_known { CREDIT } else { 0.0 },
            untold: 0.0,
        }
    }

    /// A movement was seen in decoded pictures.
    pub(super) fn movement(&mut self, told: bool) {
        self.told *= FADING;
        self.untold *= FADING;
        *(if told {
            &mut self.told
        } else {
            &mut self.untold
        }) += 1.0;
    }

    pub(super) fn is_telling(&self) -> bool {
        self.told >= LEAST_PROOF.min(CREDIT) * 0.5
            && self.told + self.untold >= LEAST_PROOF
            && self.told / (self.told + self.untold) >= TELLING
    }

    /// Of the movements that are remembered, old ones counted less: how many it told of, and how many there were.
    pub(super) fn of(&self) -> (f32, f32) {
        (self.told, self.told + self.untold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `+` was told of, `-` was not; gives whether it is believed after each.
    fn check(quantiser_known: bool, movements: &str, expected: &str) {
        let mut trust = Trust::new(quantiser_known);
        let mut believed = String::new();
        for movement in movements.chars() {
            trust.movement(movement == '+');
            believed.push(if trust.is_telling() { 'y' } else { 'n' });
        }
        assert_eq!(believed, expected, "{movements}");
    }

    #[test]
    fn sizes_are_believed_when_they_told_of_movements() {
        assert!(!Trust::new(false).is_telling());
        check(false, "++", "ny");
        check(false, "-+++", "nnyy");
        check(false, "-----", "nnnnn");
    }

    #[test]
    fn with_the_quantiser_known_until_it_is_shown_to_be_blind() {
        assert!(Trust::new(true).is_telling());
        check(true, "++++", "yyyy");
        check(true, "-", "y");
        check(true, "---", "ynn");
    }

    #[test]
    fn one_movement_that_hid_does_not_blind_a_camera() {
        check(true, "+++++-++", "yyyyyyyy");
        check(false, "++++-+", "nyyyyy");
    }

    #[test]
    fn a_camera_set_to_another_rate_control_is_believed_again() {
        check(true, "----++++++", "ynnnnnnyyy");
    }
}
