//! Which object a track belongs to. Pure.
//!
//! Most tracks are known. One that is new goes on with an object of its class that stands at its place and is followed
//! by no other track: so an object outlives its tracks. For an object that is believed already, one look is enough:
//! where looks are ten seconds apart, no track lives long enough to be confirmed.

use super::object::Object;
use crate::geometry;
use crate::track::TrackState;

/// By track, the object it belongs to. Only tracks that were seen in this frame have one, and each object has at most
/// one of them.
pub(super) fn owners(
    objects: &[Object],
    tracks: &[TrackState],
    same_place_iou: f32,
) -> Vec<Option<usize>> {
    let mut owners = vec![None; tracks.len()];
    let mut is_taken = vec![false; objects.len()];
    let mut give = |find: &dyn Fn(&TrackState, &[bool]) -> Option<usize>| {
        for (track, owner) in tracks.iter().zip(&mut owners) {
            if track.detection.is_some()
                && owner.is_none()
                && let Some(found) = find(track, &is_taken)
            {
                *owner = Some(found);
                is_taken[found] = true;
            }
        }
    };
    let first = |is_taken: &[bool], is_its: &dyn Fn(&Object) -> bool| {
        (0..objects.len()).find(|index| !is_taken[*index] && is_its(&objects[*index]))
    };
    give(&|track, is_taken| first(is_taken, &|object| object.track == track.id));
    give(&|track, is_taken| first(is_taken, &|object| object.former_tracks.contains(&track.id)));
    give(&|track, is_taken| {
        let overlap = |index: &usize| geometry::iou(&objects[*index].rect, &track.rect);
        (0..objects.len())
            .filter(|index| !is_taken[*index] && objects[*index].class == track.class)
            .filter(|index| track.confirmed || !is_followed(&objects[*index], tracks))
            .filter(|index| overlap(index) >= same_place_iou)
            .max_by(|a, b| overlap(a).total_cmp(&overlap(b)))
    });
    owners
}

/// Whether its track still lives, seen or not.
fn is_followed(object: &Object, tracks: &[TrackState]) -> bool {
    tracks.iter().any(|track| track.id == object.track)
}
