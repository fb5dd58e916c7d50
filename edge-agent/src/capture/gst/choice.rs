//! Which element decodes: hardware where GStreamer offers it **and** it has just decoded a small film of ours to the
//! right pictures, otherwise software. Chosen once in the process for each codec and way of feeding. One that fails
//! again and again while it works is struck off, and the next one takes its place; software never is.
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

/// So many failures in a row, with less than a good run of pictures between two, strike an element off.
const MOST_FAILURES: u32 = 3;
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
            of_process(codec, feed).candidate();
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

    /// What to build a decoder of. Tries those that were not tried yet, which takes a few seconds at worst; who asks
    /// meanwhile waits for the same answer.
    pub(super) fn candidate(&self) -> Candidate {
        lock(&self.ladder).choose(|candidate| self.prove(candidate))
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

    pub(super) fn gave_picture(&self) {
        lock(&self.ladder).pictures += 1;
    }

    pub(super) fn failed(&self, element: &str, problem: &str) {
        if lock(&self.ladder).failed(element, problem) {
            tracing::warn!(
                "the decoder {element} failed {MOST_FAILURES} times and is not used any more: {problem}"
            );
        }
    }

    pub(super) fn is_struck_off(&self, element: &str) -> bool {
        let ladder = lock(&self.ladder);
        let mut rungs = ladder.rungs.iter();
        rungs.any(|rung| rung.candidate.element == element && rung.standing.is_out())
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
            why,
            tried: above.iter().filter_map(Rung::tried).collect(),
        })
    }
}

/// Candidates, best first, and how each stands.
#[derive(Debug)]
struct Ladder {
    rungs: Vec<Rung>,
    failures: u32,
    /// Given since the last failure.
    pictures: u64,
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
            failures: 0,
            pictures: 0,
        }
    }

    /// The best that is not out, each proven before it is taken for the first time.
    fn choose(&mut self, mut prove: impl FnMut(&Candidate) -> Result<(), String>) -> Candidate {
        let last = self.rungs.len() - 1;
        for (index, rung) in self.rungs.iter_mut().enumerate() {
            if rung.standing == Standing::Untried {
                rung.standing = match prove(&rung.candidate) {
                    Ok(()) => Standing::Proven,
                    Err(problem) => Standing::Out(problem),
                };
            }
            if !rung.standing.is_out() || index == last {
                return rung.candidate.clone();
            }
        }
        unreachable!("the last rung is always taken")
    }

    /// Notes a failure in mid-run; whether that was one too many.
    fn failed(&mut self, element: &str, problem: &str) -> bool {
        // One that is out already may still be at work somewhere.
        let Some(now) = self.current() else {
            return false;
        };
        if self.rungs[now].candidate.element != element || now + 1 == self.rungs.len() {
            return false;
        }
        if self.pictures >= GOOD_RUN_PICTURES {
            self.failures = 0;
        }
        self.pictures = 0;
        self.failures += 1;
        if self.failures < MOST_FAILURES {
            return false;
        }
        self.failures = 0;
        let problem = format!("failed {MOST_FAILURES} times at work: {problem}");
        self.rungs[now].standing = Standing::Out(problem);
        true
    }

    /// The one in use; none before the first choice.
    fn current(&self) -> Option<usize> {
        let proven = |rung: &Rung| rung.standing == Standing::Proven;
        let last = self.rungs.len() - 1;
        let at = self.rungs.iter().position(proven);
        at.or_else(|| self.rungs[last].standing.is_out().then_some(last))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("nothing panics while it chooses a decoder")
}

#[cfg(test)]
mod tests;
