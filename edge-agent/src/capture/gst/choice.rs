//! Which element decodes: hardware where GStreamer offers it **and** it has just decoded a small film of ours to the
//! right pictures, otherwise software. Chosen once in the process for each codec and way of feeding.
//!
//! One that fails again and again at a camera is not lent to that camera any more: there are streams that one decoder
//! cannot do and the next one can. Where it fails at several cameras it is struck off for all. Software never is.
//!
//! [`Ladder`] decides, and is pure; [`Choice`] is what decoders ask; [`chosen`] tells people.

use super::decode::{Decoder, Feed};
use super::proof;
use crate::capture::error::CaptureError;
use crate::capture::gop::Codec;
use crate::config::DecoderPolicy;
use gstreamer as gst;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use wire::CameraId;

/// So many failures at one camera, with less than a good run of its pictures between two, and it goes by the next one.
const MOST_FAILURES: u32 = 3;
/// Failing at so many cameras it is not their streams: it is struck off.
const MOST_CAMERAS: usize = 2;
const NOT_INSTALLED: &str = "is not installed";
/// After so many pictures a failure counts as the first one again.
const GOOD_RUN_PICTURES: u64 = 1000;

/// What decodes one codec in one way, and why; for status and `check`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// `h264`, `h265`.
    pub codec: String,
    /// `stream`: every picture of a camera; `stills`: single key frames of many.
    pub feed: String,
    /// GStreamer's name of it, such as `vah264dec` or `avdec_h264`.
    pub element: String,
    pub hardware: bool,
    /// It has decoded the test film.
    pub proven: bool,
    pub why: String,
    /// Those that would have come first.
    pub tried: Vec<Tried>,
}

/// One that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub element: String,
    pub installed: bool,
    pub problem: String,
}

/// Says once, before the first camera starts, what may be tried. What was chosen before stays.
pub fn set_policy(policy: DecoderPolicy) {
    let _ = POLICY.set(policy);
}

/// Who asks for no camera in particular.
pub(super) const NOBODY: CameraId = CameraId(uuid::Uuid::nil());

/// What has been chosen so far in this process.
pub fn chosen() -> Vec<Chosen> {
    let choices = lock(&CHOICES);
    choices
        .values()
        .filter_map(|choice| choice.report())
        .collect()
}

/// Chooses for every codec and way of feeding now, as the first camera would.
pub fn choose_all() -> Result<Vec<Chosen>, CaptureError> {
    super::init()?;
    for codec in [Codec::H264, Codec::H265] {
        for feed in [Feed::Stream, Feed::Stills] {
            of_process(codec, feed).candidate(NOBODY);
        }
    }
    Ok(chosen())
}

static POLICY: OnceLock<DecoderPolicy> = OnceLock::new();
type Key = (&'static str, &'static str);
static CHOICES: Mutex<BTreeMap<Key, Arc<Choice>>> = Mutex::new(BTreeMap::new());

/// The process's one choice: hardware is there once, whoever asks.
pub(super) fn of_process(codec: Codec, feed: Feed) -> Arc<Choice> {
    let policy = *POLICY.get_or_init(DecoderPolicy::default);
    let mut choices = lock(&CHOICES);
    let choice = choices
        .entry((codec.as_str(), feed.as_str()))
        .or_insert_with(|| Arc::new(Choice::new(codec, feed, candidates(codec, policy))));
    Arc::clone(choice)
}

/// Something that decodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// What it is called, and must be installed.
    pub(super) element: String,
    /// How `gst-launch-1.0` would write it.
    pub(super) launch: String,
    pub(super) hardware: bool,
}

/// Best first; the last one is software.
fn candidates(codec: Codec, policy: DecoderPolicy) -> Vec<Candidate> {
    // VA-API (new and old), V4L2 without and with state in the driver, NVDEC.
    let (hardware, software) = match codec {
        Codec::H264 => (
            [
                "vah264dec",
                "vaapih264dec",
                "v4l2slh264dec",
                "v4l2h264dec",
                "nvh264dec",
            ],
            "avdec_h264",
        ),
        Codec::H265 => (
            [
                "vah265dec",
                "vaapih265dec",
                "v4l2slh265dec",
                "v4l2h265dec",
                "nvh265dec",
            ],
            "avdec_h265",
        ),
    };
    let hardware = hardware
        .into_iter()
        .filter(|_| policy == DecoderPolicy::Auto)
        .map(|element| Candidate {
            element: element.into(),
            launch: format!("{element} qos=false"),
            hardware: true,
        });
    hardware.chain([software_candidate(software)]).collect()
}

/// Threads of its own would hold pictures back, one each. `normal`: otherwise streams that do not announce their order
/// are held back for the longest possible one.
fn software_candidate(element: &str) -> Candidate {
    Candidate {
        element: element.into(),
        launch: format!("{element} qos=false max-threads=1 std-compliance=normal"),
        hardware: false,
    }
}

/// The choice for one codec and way of feeding, shared by all decoders of these.
#[derive(Debug)]
pub(super) struct Choice {
    codec: Codec,
    feed: Feed,
    ladder: Mutex<Ladder>,
}

impl Choice {
    pub(super) fn new(codec: Codec, feed: Feed, candidates: Vec<Candidate>) -> Self {
        Self {
            codec,
            feed,
            ladder: Mutex::new(Ladder::new(candidates)),
        }
    }

    /// What to build a decoder for `camera` of. Tries those that were not tried yet, which takes a few seconds at worst;
    /// who asks meanwhile waits for the same answer.
    pub(super) fn candidate(&self, camera: CameraId) -> Candidate {
        lock(&self.ladder).choose(camera, |candidate| self.prove(candidate))
    }

    fn prove(&self, candidate: &Candidate) -> Result<(), String> {
        if gst::ElementFactory::find(&candidate.element).is_none() {
            return Err(NOT_INSTALLED.into());
        }
        let decoder = Decoder::made_of(candidate, self.codec, self.feed, None);
        let decoder = decoder.map_err(|error| error.to_string())?;
        let proven = proof::prove(&decoder);
        if let (Err(problem), true) = (&proven, candidate.hardware) {
            let element = &candidate.element;
            tracing::warn!("the decoder {element} is installed but does not work: {problem}");
        }
        proven
    }

    pub(super) fn gave_picture(&self, camera: CameraId) {
        lock(&self.ladder).gave_picture(camera);
    }

    pub(super) fn failed(&self, element: &str, camera: CameraId, problem: &str) {
        let whom = match lock(&self.ladder).failed(element, camera, problem) {
            Verdict::Forgiven => return,
            Verdict::OutForCamera => format!("for camera {camera}"),
            Verdict::Out => "for any camera".into(),
        };
        tracing::warn!(
            "the decoder {element} failed {MOST_FAILURES} times and is not used {whom} any more: {problem}"
        );
    }

    /// Whether it may still be lent to `camera`.
    pub(super) fn serves(&self, element: &str, camera: CameraId) -> bool {
        lock(&self.ladder).serves(element, camera)
    }

    fn report(&self) -> Option<Chosen> {
        let ladder = lock(&self.ladder);
        let now = ladder.current()?;
        let (above, taken) = (&ladder.rungs[..now], &ladder.rungs[now]);
        let candidate = &taken.candidate;
        let why = match (&taken.standing, candidate.hardware) {
            (Standing::Out(problem), _) => {
                format!("the last one there is, although it did not pass: {problem}")
            }
            (_, true) => "the first that decoded the test film".into(),
            (_, false) if above.is_empty() => "as configured".into(),
            (_, false) => "no hardware decoder works here".into(),
        };
        Some(Chosen {
            codec: self.codec.as_str().into(),
            feed: self.feed.as_str().into(),
            element: candidate.element.clone(),
            hardware: candidate.hardware,
            proven: taken.standing == Standing::Proven,
            why: why + &ladder.exceptions(),
            tried: above.iter().filter_map(Rung::tried).collect(),
        })
    }
}

/// Candidates, best first, and how each stands.
#[derive(Debug)]
struct Ladder {
    rungs: Vec<Rung>,
    /// Where one failed, by its place among the rungs.
    trouble: BTreeMap<(usize, CameraId), Trouble>,
}

#[derive(Debug)]
struct Rung {
    candidate: Candidate,
    standing: Standing,
}

#[derive(Debug, PartialEq, Eq)]
enum Standing {
    Untried,
    Proven,
    Out(String),
}

/// How a decoder fares with a camera at which it failed.
#[derive(Debug, Default)]
struct Trouble {
    failures: u32,
    /// Given since the last failure.
    pictures: u64,
    /// Why it is not used there any more.
    out: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Forgiven,
    OutForCamera,
    Out,
}

impl Standing {
    fn is_out(&self) -> bool {
        matches!(self, Self::Out(_))
    }
}

impl Rung {
    fn tried(&self) -> Option<Tried> {
        match &self.standing {
            Standing::Out(problem) => Some(Tried {
                element: self.candidate.element.clone(),
                installed: problem != NOT_INSTALLED,
                problem: problem.clone(),
            }),
            _ => None,
        }
    }
}

impl Ladder {
    /// `candidates` has one at least; the last is never given up.
    fn new(candidates: Vec<Candidate>) -> Self {
        let rung = |candidate| Rung {
            candidate,
            standing: Standing::Untried,
        };
        Self {
            rungs: candidates.into_iter().map(rung).collect(),
            trouble: BTreeMap::new(),
        }
    }

    /// The best that is not out, each proven before it is taken for the first time.
    fn choose(
        &mut self,
        camera: CameraId,
        mut prove: impl FnMut(&Candidate) -> Result<(), String>,
    ) -> Candidate {
        let last = self.rungs.len() - 1;
        for (index, rung) in self.rungs.iter_mut().enumerate() {
            if rung.standing == Standing::Untried {
                rung.standing = match prove(&rung.candidate) {
                    Ok(()) => Standing::Proven,
                    Err(problem) => Standing::Out(problem),
                };
            }
            let trouble = self.trouble.get(&(index, camera));
            let is_out = rung.standing.is_out() || trouble.is_some_and(|it| it.out.is_some());
            if !is_out || index == last {
                return rung.candidate.clone();
            }
        }
        unreachable!("the last rung is always taken")
    }

    fn serves(&self, element: &str, camera: CameraId) -> bool {
        let Some(at) = self.place_of(element) else {
            return false;
        };
        let trouble = self.trouble.get(&(at, camera));
        let is_out = self.rungs[at].standing.is_out() || trouble.is_some_and(|it| it.out.is_some());
        !is_out || at + 1 == self.rungs.len()
    }

    fn gave_picture(&mut self, camera: CameraId) {
        let here = self.trouble.iter_mut().filter(|((_, of), _)| *of == camera);
        here.for_each(|(_, trouble)| trouble.pictures += 1);
    }

    /// Notes a failure in mid-run.
    fn failed(&mut self, element: &str, camera: CameraId, problem: &str) -> Verdict {
        // One that is out already may still be at work somewhere.
        let at = self.place_of(element);
        let Some(at) = at.filter(|at| at + 1 < self.rungs.len() && self.serves(element, camera))
        else {
            return Verdict::Forgiven;
        };
        let trouble = self.trouble.entry((at, camera)).or_default();
        if trouble.pictures >= GOOD_RUN_PICTURES {
            trouble.failures = 0;
        }
        trouble.pictures = 0;
        trouble.failures += 1;
        if trouble.failures < MOST_FAILURES {
            return Verdict::Forgiven;
        }
        let problem = format!("failed {MOST_FAILURES} times at work: {problem}");
        trouble.out = Some(problem.clone());
        let lost = self.trouble.iter();
        let lost = lost.filter(|((of, _), trouble)| *of == at && trouble.out.is_some());
        if lost.count() < MOST_CAMERAS {
            return Verdict::OutForCamera;
        }
        self.rungs[at].standing = Standing::Out(problem);
        Verdict::Out
    }

    /// The one in use; none before the first choice.
    fn current(&self) -> Option<usize> {
        let proven = |rung: &Rung| rung.standing == Standing::Proven;
        let last = self.rungs.len() - 1;
        let at = self.rungs.iter().position(proven);
        at.or_else(|| self.rungs[last].standing.is_out().then_some(last))
    }

    fn place_of(&self, element: &str) -> Option<usize> {
        let mut rungs = self.rungs.iter();
        rungs.position(|rung| rung.candidate.element == element)
    }

    /// Which cameras go by something else than the one in use, for people.
    fn exceptions(&self) -> String {
        let now = self.current();
        let here = self.trouble.iter().filter(|((at, _), _)| Some(*at) == now);
        here.filter_map(|((_, camera), trouble)| {
            let problem = trouble.out.as_ref()?;
            Some(format!("; not for camera {camera}, where it {problem}"))
        })
        .collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("nothing panics while it chooses a decoder")
}

#[cfg(test)]
mod tests;
