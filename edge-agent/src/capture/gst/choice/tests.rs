//! A decoder is chosen by what it proved, never by its name.

#![allow(clippy::unwrap_used)]
use super::*;
use gstreamer::prelude::*;
use std::sync::mpsc::channel;
use std::time::Duration;
use wire::CameraId;

fn candidate(element: &str) -> Candidate {
    Candidate {
        element: element.into(),
        launch: element.into(),
        hardware: element.starts_with("hw"),
    }
}

fn camera(number: u128) -> CameraId {
    CameraId(uuid::Uuid::from_u128(number))
}

/// What happens to a ladder: who passes the examination, then who fails how often at which camera after how many of its
/// pictures; who is chosen in the end for the first camera, and who for the ninth.
fn check(all: &[&str], pass: &[&str], failures: &[(&str, u128, u64)], expected: [&str; 2]) {
    let mut ladder = Ladder::new(all.iter().map(|element| candidate(element)).collect());
    let mut examined = Vec::new();
    let mut prove = |candidate: &Candidate| {
        assert!(!examined.contains(&candidate.element), "examined twice");
        examined.push(candidate.element.clone());
        match pass.contains(&candidate.element.as_str()) {
            true => Ok(()),
            false => Err("no device".to_owned()),
        }
    };
    ladder.choose(camera(1), &mut prove);
    for (element, at, pictures) in failures {
        (0..*pictures).for_each(|_| ladder.gave_picture(camera(*at)));
        ladder.failed(element, camera(*at), "it broke");
        ladder.choose(camera(*at), &mut prove);
    }
    let chosen = [1, 9].map(|number| ladder.choose(camera(number), &mut prove).element);
    assert_eq!(chosen, expected, "{all:?} {pass:?} {failures:?}");
    for (number, element) in [1, 9].into_iter().zip(&chosen) {
        assert!(ladder.serves(element, camera(number)));
    }
}

#[test]
fn the_best_that_works_is_taken_and_one_that_keeps_failing_gives_way() {
    let all = ["hw1", "hw2", "sw"];
    check(&all, &all, &[], ["hw1"; 2]);
    check(&all, &["hw2", "sw"], &[], ["hw2"; 2]);
    check(&all, &["sw"], &[], ["sw"; 2]);
    // Software is taken even if it fails: there is nothing else.
    check(&all, &[], &[], ["sw"; 2]);
    check(&["sw"], &["sw"], &[("sw", 1, 0); 9], ["sw"; 2]);
    check(&all, &all, &[("hw1", 1, 5); 2], ["hw1"; 2]);
    // Where one camera's stream is what it cannot do, the others keep it.
    check(&all, &all, &[("hw1", 1, 5); 3], ["hw2", "hw1"]);
    check(&all, &all, &[("hw1", 1, 0); 9], ["hw2", "hw1"]);
    check(&all, &["hw1", "sw"], &[("hw1", 1, 0); 3], ["sw", "hw1"]);
    let both = [[("hw1", 1, 0); 3], [("hw2", 1, 0); 3]].concat();
    check(&all, &all, &both, ["sw", "hw1"]);
}

#[test]
fn one_that_fails_at_several_cameras_is_struck_off_for_all() {
    let all = ["hw1", "hw2", "sw"];
    let two = [[("hw1", 1, 0); 3], [("hw1", 2, 0); 3]].concat();
    check(&all, &all, &two, ["hw2"; 2]);
    let once_each = [("hw1", 1, 0), ("hw1", 2, 0), ("hw1", 3, 0)];
    check(&all, &all, &once_each, ["hw1"; 2]);
}

#[test]
fn a_good_run_of_the_same_camera_is_forgiven() {
    let all = ["hw1", "sw"];
    check(&all, &all, &[("hw1", 1, 5000); 9], ["hw1"; 2]);
    let late = [("hw1", 1, 0), ("hw1", 1, 0), ("hw1", 1, 1000)];
    check(&all, &all, &late, ["hw1"; 2]);
    // What others see helps nobody.
    let mut ladder = Ladder::new(all.iter().map(|element| candidate(element)).collect());
    ladder.choose(camera(1), |_| Ok(()));
    for _ in 0..3 {
        (0..5000).for_each(|_| ladder.gave_picture(camera(2)));
        ladder.failed("hw1", camera(1), "it broke");
    }
    assert!(!ladder.serves("hw1", camera(1)) && ladder.serves("hw1", camera(2)));
    let words = ladder.exceptions();
    assert!(
        words.contains("where it failed 3 times at work: it broke"),
        "{words}"
    );
}

#[test]
fn hardware_comes_first_and_is_left_out_when_told_so() {
    for (codec, software) in [(Codec::H264, "avdec_h264"), (Codec::H265, "avdec_h265")] {
        let auto = candidates(codec, DecoderPolicy::Auto);
        assert!(auto.len() == 6 && auto[..5].iter().all(|one| one.hardware));
        assert_eq!(auto[5], software_candidate(software));
        let only = candidates(codec, DecoderPolicy::Software);
        assert_eq!(only, [software_candidate(software)]);
    }
}

#[test]
fn software_decodes_both_films_both_ways() {
    super::super::init().unwrap();
    for codec in [Codec::H264, Codec::H265] {
        for feed in [Feed::Stream, Feed::Stills] {
            let choice = Choice::new(codec, feed, candidates(codec, DecoderPolicy::Software));
            choice.candidate(NOBODY);
            let chosen = choice.report().unwrap();
            assert_eq!(
                (chosen.why.as_str(), chosen.tried.len()),
                ("as configured", 0)
            );
        }
    }
}

/// What is installed and broken does not get through: no pictures, wrong pictures, wrong size, an error.
#[test]
fn broken_elements_do_not_pass() {
    super::super::init().unwrap();
    let stand_in = |launch: &str| Candidate {
        element: "identity".into(),
        launch: launch.into(),
        hardware: true,
    };
    for (launch, why) in [
        (
            "avdec_h264 max-threads=1 ! valve drop=true",
            "gave 0 pictures",
        ),
        (
            "avdec_h264 max-threads=1 ! videobalance brightness=-1",
            "gave wrong pictures",
        ),
        (
            "avdec_h264 max-threads=1 ! videoscale ! capsfilter caps=video/x-raw,width=160,height=120",
            "gave pictures of 160x120",
        ),
        (
            "avdec_h264 max-threads=1 ! identity error-after=2",
            "Failed after iterations",
        ),
        ("nosuchdec", "no element"),
    ] {
        let software = software_candidate("avdec_h264");
        let choice = Choice::new(Codec::H264, Feed::Stream, vec![stand_in(launch), software]);
        assert_eq!(choice.candidate(NOBODY).element, "avdec_h264", "{launch}");
        let chosen = choice.report().unwrap();
        let problem = &chosen.tried[0].problem;
        assert!(problem.contains(why), "{launch}: {problem}");
        assert_eq!(chosen.why, "no hardware decoder works here");
    }
}

/// Decoders as a camera gets them, from a choice between `launch`, which passes for hardware, and software.
struct Shelf {
    choice: Arc<Choice>,
    feed: Feed,
}

impl Shelf {
    fn new(launch: &str, feed: Feed) -> Self {
        super::super::init().unwrap();
        let hardware = Candidate {
            element: "identity".into(),
            launch: launch.into(),
            hardware: true,
        };
        let candidates = vec![hardware, software_candidate("avdec_h264")];
        Self {
            choice: Arc::new(Choice::new(Codec::H264, feed, candidates)),
            feed,
        }
    }

    fn lend(&self, camera: CameraId) -> Decoder {
        let candidate = self.choice.candidate(camera);
        let choice = Some(Arc::clone(&self.choice));
        Decoder::made_of(&candidate, Codec::H264, self.feed, choice).unwrap()
    }
}

/// An element that passes and then breaks in the middle of a film, each time.
#[test]
fn a_decoder_that_breaks_at_work_is_replaced_by_itself() {
    let breaks = "avdec_h264 max-threads=1 std-compliance=normal ! identity error-after=30";
    let shelf = Shelf::new(breaks, Feed::Stream);
    // Pictures that come of 48 before the first error, if there is one.
    let play = |decoder: &Decoder, camera: CameraId| {
        let (gives, given) = channel();
        let deliver = Box::new(move |picture: Result<_, String>| {
            let _ = gives.send(picture.is_ok());
        });
        decoder.lend_to(camera, deliver).unwrap();
        let mut count = 0;
        let units = proof::units(Codec::H264);
        for (index, unit) in units.iter().cycle().take(48).enumerate() {
            decoder.push_bytes(
                unit.bytes,
                unit.key,
                Duration::from_millis(100) * index as u32,
            );
            // One at a time: what is inside when the element breaks never comes out.
            match given.recv_timeout(Duration::from_secs(10)) {
                Ok(true) => count += 1,
                _ => break,
            }
        }
        count
    };
    for number in [1, 2] {
        for turn in 0..3 {
            let decoder = shelf.lend(camera(number));
            assert_eq!(
                format!("{decoder:?}"),
                "Decoder(identity, Stream)",
                "turn {turn}"
            );
            let count = play(&decoder, camera(number));
            assert!((20..40).contains(&count), "turn {turn}: {count}");
            assert_eq!(decoder.serves(camera(number)), turn < 2);
        }
        let decoder = shelf.lend(camera(number));
        assert_eq!(format!("{decoder:?}"), "Decoder(avdec_h264, Stream)");
        assert_eq!(play(&decoder, camera(number)), 48);
        // One camera may be to blame, two are not.
        assert_eq!(shelf.choice.report().unwrap().hardware, number == 1);
    }
    let chosen = shelf.choice.report().unwrap();
    let problem = &chosen.tried[0].problem;
    assert!(problem.starts_with("failed 3 times at work:"), "{problem}");
}

/// Who feeds it hears nothing: no error, no picture.
#[test]
fn a_decoder_that_falls_silent_is_replaced_too() {
    let shelf = Shelf::new(
        "avdec_h264 max-threads=1 std-compliance=normal",
        Feed::Stills,
    );
    for _ in 0..3 {
        let decoder = shelf.lend(camera(1));
        assert_eq!(format!("{decoder:?}"), "Decoder(identity, Stills)");
        decoder.lend_to(camera(1), Box::new(|_| ())).unwrap();
        decoder.was_silent("no picture came out of it for 5 s");
        decoder.was_silent("one loan is one failure");
        decoder.take_back();
    }
    let decoder = shelf.lend(camera(1));
    assert_eq!(format!("{decoder:?}"), "Decoder(avdec_h264, Stills)");
    let why = shelf.choice.report().unwrap().why;
    assert!(why.contains("no picture came out of it"), "{why}");
}

/// A key frame that takes its time: 1920 x 1080, all noise.
fn large_key_frame() -> Vec<u8> {
    let pipeline = gst::parse::launch(
        "videotestsrc num-buffers=1 pattern=snow ! video/x-raw,width=1920,height=1080 \
         ! x264enc speed-preset=ultrafast ! video/x-h264,stream-format=byte-stream,alignment=au \
         ! appsink name=sink sync=false",
    )
    .unwrap()
    .downcast::<gst::Pipeline>()
    .unwrap();
    let sink = pipeline.by_name("sink").unwrap();
    let sink = sink.downcast::<gstreamer_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let sample = sink.pull_sample().unwrap();
    pipeline.set_state(gst::State::Null).unwrap();
    let bytes = sample.buffer().unwrap().map_readable().unwrap();
    bytes.to_vec()
}

/// A camera that gives its decoder back does not wait for what it put in. The next one must not be given that as its own:
/// it would be the wrong place, under the wrong privacy masks.
#[test]
fn what_one_camera_left_inside_never_comes_out_as_anothers() {
    super::super::init().unwrap();
    let candidate = software_candidate("avdec_h264");
    let decoder = Decoder::made_of(&candidate, Codec::H264, Feed::Stills, None).unwrap();
    let large: &'static [u8] = large_key_frame().leak();
    let small = proof::units(Codec::H264).swap_remove(0);
    for turn in 0..5 {
        decoder.lend_to(camera(1), Box::new(|_| ())).unwrap();
        decoder.push_bytes(large, true, Duration::from_millis(turn));
        decoder.take_back();

        let (gives, given) = channel();
        let deliver = Box::new(move |picture: Result<crate::frame::Frame, String>| {
            let _ = gives.send(picture.unwrap().width);
        });
        decoder.lend_to(camera(2), deliver).unwrap();
        decoder.push_bytes(small.bytes, true, Duration::from_secs(9));
        let width = given.recv_timeout(Duration::from_secs(10));
        assert_eq!(width, Ok(320), "turn {turn}: the other camera's picture");
        decoder.take_back();
    }
}
