//! Which picture shows an event best. Pure: pictures are whatever the caller holds.
//!
//! The first picture is taken in the frame that opens the event, so that the customer sees something within a second.
//! A clearly better one replaces it later, but not more often than every few seconds: until then the best one is
//! **held**. A picture that the media worker had no room for is held too and offered again, for as long as its event
//! lives and once more when it closes; only then is it missed.
//!
//! Held pictures are whole frames (3 MB at 1080p), so those of few frames are held, whatever the number of events; all
//! events of a frame share it. What finds no place is taken anew from a later frame.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
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
    /// Most frames whose pictures are held at a time for one camera.
    pub most_frames_held: usize,
    /// When the media worker had no room, the event asks again after this.
    pub again_after: Duration,
}

impl Default for ShotConfig {
    fn default() -> Self {
        Self {
            gain: 1.2,
            every: Duration::from_secs(5),
            most_frames_held: 2,
            again_after: Duration::from_millis(500),
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
    /// When its frame was taken: which frame it is.
    pub taken_at: Duration,
    pub picture: P,
}

/// What is left to do about the pictures of an event that is over.
#[derive(Clone, Debug, PartialEq)]
pub enum Last<P> {
    Nothing,
    /// The last chance of this one.
    Send(Shot<P>),
    /// No picture of this event was ever taken by the media worker, and none is held.
    Missed,
}

/// The pictures of the open events of one camera.
#[derive(Debug)]
pub struct Shots<P> {
    config: ShotConfig,
    events: BTreeMap<EventId, Sent>,
    held: Vec<Shot<P>>,
}

/// What of an event has been sent.
#[derive(Debug)]
struct Sent {
    /// Of the last picture; `None` if the media worker has had room for none.
    quality: Option<f32>,
    /// Of the one before it, which counts again if the last one is refused.
    quality_before: Option<f32>,
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

    /// An event shows in a frame taken `now` with this quality. Returns the picture if it is to be sent now.
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
            taken_at: now,
            picture,
        };
        let sent = self.events.get(&event);
        let best_sent = sent.and_then(|sent| sent.quality);
        if best_sent.is_some_and(|best_sent| quality < best_sent * self.config.gain) {
            return None;
        }
        if sent.is_some_and(|sent| now < sent.next_at) {
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
    pub fn closed(&mut self, event: EventId) -> Last<P> {
        let sent = self.events.remove(&event);
        match (self.take_held(event), sent) {
            (Some(held), _) => Last::Send(held),
            (None, Some(sent)) if sent.quality.is_none() => Last::Missed,
            (None, _) => Last::Nothing,
        }
    }

    /// The media worker had no room: as if the shot had never been sent, and it is offered again soon. Returns whether
    /// that cannot be, because its event is over: then the picture is missed.
    pub fn refused(&mut self, now: Duration, shot: Shot<P>) -> bool {
        let Some(sent) = self.events.get_mut(&shot.event) else {
            return true;
        };
        sent.quality = sent.quality_before;
        sent.next_at = now + self.config.again_after;
        self.hold(shot);
        false
    }

    pub fn held_count(&self) -> usize {
        self.held.len()
    }

    fn sent(&mut self, now: Duration, shot: &Shot<P>) {
        let before = self.events.get(&shot.event);
        let quality_before = before.and_then(|before| before.quality);
        let sent = Sent {
            quality: Some(shot.quality),
            quality_before,
            next_at: now + self.config.every,
        };
        self.events.insert(shot.event, sent);
    }

    /// One picture an event, of few frames in all.
    fn hold(&mut self, shot: Shot<P>) {
        match self.held.iter_mut().find(|held| held.event == shot.event) {
            Some(held) if shot.quality > held.quality => *held = shot,
            Some(_) => {}
            None => self.held.push(shot),
        }
        let frames: BTreeSet<Duration> = self.held.iter().map(|held| held.taken_at).collect();
        if frames.len() > self.config.most_frames_held
            && let Some(least) = frames
                .into_iter()
                .min_by(|a, b| self.compare_frames(*a, *b))
        {
            self.held.retain(|held| held.taken_at != least);
        }
    }

    /// A frame is worth the events that have no other picture, then its best picture.
    fn compare_frames(&self, a: Duration, b: Duration) -> Ordering {
        let worth = |frame| {
            let of_frame = || self.held.iter().filter(move |held| held.taken_at == frame);
            let is_only = |held: &&Shot<P>| {
                let sent = self.events.get(&held.event);
                sent.is_none_or(|sent| sent.quality.is_none())
            };
            let best = of_frame().map(|held| held.quality).fold(0.0, f32::max);
            (of_frame().filter(is_only).count(), best)
        };
        let (a, b) = (worth(a), worth(b));
        a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
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
        let Last::Send(last) = shots.closed(EVENT) else {
            panic!("the better one was held")
        };
        assert_eq!(last.picture, 1);
        assert_eq!(shots.closed(EVENT), Last::Nothing);
    }

    fn event(number: u128) -> EventId {
        EventId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn pictures_of_few_frames_are_held_however_many_events_there_are() {
        let mut shots = Shots::new(ShotConfig::default());
        for number in 0..50 {
            let opened = at(0) + Duration::from_millis(number);
            shots.offer(opened, event(number.into()), 0.1, || 0);
            let better = 0.2 + number as f32 / 100.0;
            shots.offer(opened + at(1), event(number.into()), better, || 1);
            assert!(shots.held_count() <= 2);
        }
    }

    #[test]
    fn a_refused_picture_is_held_and_sent_soon_without_another_frame() {
        let mut shots = Shots::new(ShotConfig::default());
        let first = shots.offer(at(0), EVENT, 0.5, || 0).expect("the first");
        assert!(!shots.refused(at(0), first.clone()));
        assert_eq!(shots.due(at(0)), []);
        assert_eq!(shots.due(at(1)), [first]);
        // And once more when it closes, if it was refused to the end.
        let again = shots.offer(at(6), EVENT, 0.7, || 6).expect("a better one");
        assert!(!shots.refused(at(6), again.clone()));
        assert_eq!(shots.closed(EVENT), Last::Send(again.clone()));
        assert!(shots.refused(at(6), again), "its event is over");
    }

    #[test]
    fn all_events_of_one_frame_wait_for_room_together() {
        let mut shots = Shots::new(ShotConfig::default());
        for number in 0..20 {
            let shot = shots.offer(at(0), event(number), 0.5, || 0).expect("first");
            shots.refused(at(0), shot);
        }
        assert_eq!(shots.due(at(1)).len(), 20);
    }

    #[test]
    fn the_only_picture_of_an_event_does_not_give_way_to_a_better_one_of_another() {
        let mut shots = Shots::new(ShotConfig::default());
        let only = shots.offer(at(0), event(0), 0.1, || 0).expect("first");
        shots.refused(at(0), only.clone());
        for number in 1..5 {
            let from = Duration::from_millis(100 * number);
            shots.offer(from, event(number.into()), 0.2, || 1);
            shots.offer(from + at(1), event(number.into()), 0.9, || 2);
        }
        assert_eq!(shots.closed(event(0)), Last::Send(only));
    }

    #[test]
    fn an_event_that_lost_its_only_picture_says_so_at_its_end() {
        let mut shots = Shots::new(ShotConfig::default());
        for number in 0..4 {
            let now = Duration::from_millis(number);
            let shot = shots.offer(now, event(number.into()), 0.5, || 0);
            shots.refused(now, shot.expect("first"));
        }
        let missed = (0..4).filter(|number| shots.closed(event(*number)) == Last::Missed);
        assert_eq!(missed.count(), 2);
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
