//! Which picture shows an event best. Pure: pictures are whatever the caller holds.
//!
//! The first picture is taken in the frame that opens the event, so that the customer sees something within a second.
//! A clearly better one replaces it later, but not more often than every few seconds: until then the best one is
//! **held**. Held pictures are whole frames (3 MB at 1080p), so only a few are held at a time, whatever the number of
//! events; one that finds no place is not missed, because its event has a picture already.

use std::collections::BTreeMap;
use std::time::Duration;
use wire::EventId;
use wire::record::NormBox;

use crate::geometry;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShotConfig {
    /// How much better than the last one sent a picture must be to be sent as well.
    pub gain: f32,
    /// Shortest time between two pictures of an event.
    pub every: Duration,
    /// Most pictures held at a time for one camera.
    pub most_held: usize,
    /// When the media worker had no room, the event asks again after this.
    pub again_after: Duration,
}

impl Default for ShotConfig {
    fn default() -> Self {
        Self {
            gain: 1.2,
            every: Duration::from_secs(5),
            most_held: 2,
            again_after: Duration::from_secs(1),
        }
    }
}

/// How well an object shows in a picture, 0..1: how sure the detector is, how large it is, how sharp, and whether the
/// picture's edge cuts it. `sharpness` is the variance of the Laplacian of luma within the box (Pech-Pacheco et al.,
/// ICPR 2000).
pub fn quality(score: f32, rect: &NormBox, picture: (u32, u32), sharpness: f32) -> f32 {
    /// Side of a box and variance at which the factor is one half.
    const HALF_SIDE_PX: f32 = 80.0;
    const HALF_SHARPNESS: f32 = 150.0;
    const CUT_BY_EDGE: f32 = 0.6;
    let side_px = (geometry::area(rect) * picture.0 as f32 * picture.1 as f32).sqrt();
    let size = side_px / (side_px + HALF_SIDE_PX);
    let sharp = sharpness / (sharpness + HALF_SHARPNESS);
    let edges = geometry::edges_touched(rect) as i32;
    // Sharpness counts half: a dark picture is no reason to prefer a small one.
    score * size * (0.5 + 0.5 * sharp) * CUT_BY_EDGE.powi(edges)
}

/// A picture to be sent for an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Shot<P> {
    pub event: EventId,
    pub quality: f32,
    pub picture: P,
}

/// The pictures of the open events of one camera.
#[derive(Debug)]
pub struct Shots<P> {
    config: ShotConfig,
    events: BTreeMap<EventId, Sent>,
    held: Vec<Shot<P>>,
}

#[derive(Debug)]
struct Sent {
    quality: f32,
    /// Not before this.
    next_at: Duration,
}

impl<P> Shots<P> {
    pub fn new(config: ShotConfig) -> Self {
        Self {
            config,
            events: BTreeMap::new(),
            held: Vec::new(),
        }
    }

    /// An event shows in a picture of this quality. Returns it if it is to be sent now.
    pub fn offer(
        &mut self,
        now: Duration,
        event: EventId,
        quality: f32,
        picture: impl FnOnce() -> P,
    ) -> Option<Shot<P>> {
        let shot = |picture| Shot {
            event,
            quality,
            picture,
        };
        let better = self
            .events
            .get(&event)
            .is_none_or(|sent| quality >= sent.quality * self.config.gain);
        if !better {
            return None;
        }
        if self
            .events
            .get(&event)
            .is_some_and(|sent| now < sent.next_at)
        {
            self.hold(shot(picture()));
            return None;
        }
        let held = self.take_held(event);
        let best = held
            .filter(|held| held.quality > quality)
            .unwrap_or_else(|| shot(picture()));
        self.sent(now, &best);
        Some(best)
    }

    /// Pictures that were held and may go now: their objects may be hidden by now, or shown worse.
    pub fn due(&mut self, now: Duration) -> Vec<Shot<P>> {
        let events = &self.events;
        let is_due = |shot: &mut Shot<P>| {
            let sent = events.get(&shot.event);
            sent.is_none_or(|sent| now >= sent.next_at)
        };
        let due: Vec<Shot<P>> = self.held.extract_if(.., is_due).collect();
        for shot in &due {
            self.sent(now, shot);
        }
        due
    }

    /// The event is over: what is held for it goes now.
    pub fn closed(&mut self, event: EventId) -> Option<Shot<P>> {
        self.events.remove(&event);
        self.take_held(event)
    }

    /// The media worker had no room: as if the shot had never been, but do not ask again at once.
    pub fn refused(&mut self, now: Duration, event: EventId) {
        if let Some(sent) = self.events.get_mut(&event) {
            sent.quality = 0.0;
            sent.next_at = now + self.config.again_after;
        }
    }

    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    fn sent(&mut self, now: Duration, shot: &Shot<P>) {
        let sent = Sent {
            quality: shot.quality,
            next_at: now + self.config.every,
        };
        self.events.insert(shot.event, sent);
    }

    /// One picture an event, and few in all: the worst gives way.
    fn hold(&mut self, shot: Shot<P>) {
        if let Some(held) = self.held.iter_mut().find(|held| held.event == shot.event) {
            if shot.quality > held.quality {
                *held = shot;
            }
            return;
        }
        self.held.push(shot);
        if self.held.len() > self.config.most_held {
            let worst = (0..self.held.len())
                .min_by(|a, b| self.held[*a].quality.total_cmp(&self.held[*b].quality));
            if let Some(worst) = worst {
                self.held.swap_remove(worst);
            }
        }
    }

    fn take_held(&mut self, event: EventId) -> Option<Shot<P>> {
        let index = self.held.iter().position(|held| held.event == event)?;
        Some(self.held.swap_remove(index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: EventId = EventId(uuid::Uuid::from_u128(1));
    const SIZE: (u32, u32) = (1920, 1080);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn rect(x: f32, side: f32) -> NormBox {
        NormBox {
            x,
            y: 0.3,
            w: side,
            h: side,
        }
    }

    #[test]
    fn the_first_at_once_then_only_better_and_not_too_often() {
        let mut shots = Shots::new(ShotConfig::default());
        let sent = |shot: Option<Shot<u32>>| shot.map(|shot| shot.picture);
        assert_eq!(sent(shots.offer(at(0), EVENT, 0.30, || 0)), Some(0));
        assert_eq!(sent(shots.offer(at(1), EVENT, 0.31, || 1)), None);
        assert_eq!(shots.held_count(), 0);
        assert_eq!(sent(shots.offer(at(2), EVENT, 0.50, || 2)), None);
        assert_eq!(sent(shots.offer(at(3), EVENT, 0.40, || 3)), None);
        assert_eq!(shots.due(at(4)), []);
        let due = shots.due(at(5));
        assert_eq!((due.len(), due[0].picture), (1, 2));
        assert_eq!(sent(shots.offer(at(11), EVENT, 0.55, || 11)), None);
        assert_eq!(sent(shots.offer(at(12), EVENT, 0.65, || 12)), Some(12));
    }

    #[test]
    fn what_is_held_goes_when_the_event_closes() {
        let mut shots = Shots::new(ShotConfig::default());
        shots.offer(at(0), EVENT, 0.3, || 0);
        shots.offer(at(1), EVENT, 0.6, || 1);
        let last = shots.closed(EVENT);
        assert_eq!(last.map(|shot| shot.picture), Some(1));
        assert_eq!(shots.closed(EVENT), None);
    }

    #[test]
    fn few_are_held_however_many_events_there_are() {
        let mut shots = Shots::new(ShotConfig::default());
        for number in 0..50 {
            let event = EventId(uuid::Uuid::from_u128(number));
            shots.offer(at(0), event, 0.1, || 0);
            shots.offer(at(1), event, 0.2 + number as f32 / 100.0, || 1);
            assert!(shots.held_count() <= 2);
        }
    }

    #[test]
    fn a_refused_picture_is_tried_again() {
        let mut shots = Shots::new(ShotConfig::default());
        assert!(shots.offer(at(0), EVENT, 0.5, || 0).is_some());
        shots.refused(at(0), EVENT);
        assert!(shots.offer(at(1), EVENT, 0.4, || 1).is_some());
    }

    #[test]
    fn quality_prefers_large_sharp_whole_and_sure() {
        let base = quality(0.8, &rect(0.3, 0.2), SIZE, 300.0);
        assert!(quality(0.8, &rect(0.3, 0.1), SIZE, 300.0) < base);
        assert!(quality(0.8, &rect(0.3, 0.2), SIZE, 30.0) < base);
        assert!(quality(0.5, &rect(0.3, 0.2), SIZE, 300.0) < base);
        assert!(quality(0.8, &rect(0.0, 0.2), SIZE, 300.0) < base);
    }
}
