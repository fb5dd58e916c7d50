//! What an object must be to count at a zone or line. Pure.

use wire::record::NormBox;

/// Bounds that are not set hold for everything.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    /// Empty: every class that is followed.
    pub classes: Vec<String>,
    pub min_score: f32,
    /// Of the box, as a share of the picture's height.
    pub height: (f32, f32),
    /// Height of the box by its width, in pixels.
    pub ratio: (f32, f32),
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            classes: Vec::new(),
            min_score: 0.0,
            height: (0.0, f32::INFINITY),
            ratio: (0.0, f32::INFINITY),
        }
    }
}

impl Filter {
    /// `best_score` is the highest an object ever had: one look through a bush must not undo what was seen clearly.
    /// `aspect` is the picture's width by its height.
    pub(super) fn admits(&self, class: &str, best_score: f32, rect: &NormBox, aspect: f32) -> bool {
        let within = |value: f32, (low, high): (f32, f32)| (low..=high).contains(&value);
        self.counts_class(class)
            && best_score >= self.min_score
            && within(rect.h, self.height)
            && within(
                rect.h / (rect.w * aspect).max(f32::MIN_POSITIVE),
                self.ratio,
            )
    }

    pub(super) fn counts_class(&self, class: &str) -> bool {
        self.classes.is_empty() || self.classes.iter().any(|known| known == class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_tried_alone() {
        // In a picture twice as wide as high, this box is four times as high as wide.
        let rect = NormBox {
            x: 0.1,
            y: 0.1,
            w: 0.05,
            h: 0.4,
        };
        let any = Filter::default;
        for (filter, admits) in [
            (any(), true),
            (
                Filter {
                    classes: vec!["vehicle".into()],
                    ..any()
                },
                false,
            ),
            (
                Filter {
                    classes: vec!["vehicle".into(), "person".into()],
                    ..any()
                },
                true,
            ),
            (
                Filter {
                    min_score: 0.8,
                    ..any()
                },
                false,
            ),
            (
                Filter {
                    height: (0.5, 1.0),
                    ..any()
                },
                false,
            ),
            (
                Filter {
                    height: (0.0, 0.3),
                    ..any()
                },
                false,
            ),
            (
                Filter {
                    ratio: (3.9, 4.1),
                    ..any()
                },
                true,
            ),
            (
                Filter {
                    ratio: (0.0, 3.0),
                    ..any()
                },
                false,
            ),
        ] {
            assert_eq!(
                filter.admits("person", 0.7, &rect, 2.0),
                admits,
                "{filter:?}"
            );
        }
    }
}
