//! A decoder is chosen by what it proved, never by its name.

#![allow(clippy::unwrap_used)]
use super::*;
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

/// What happens to a ladder: who passes the examination, then who fails how often after how many pictures; who is
/// chosen in the end.
fn check(all: &[&str], pass: &[&str], failures: &[(&str, u64)], expected: &str) {
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
    ladder.choose(&mut prove);
    for (element, pictures) in failures {
        ladder.pictures += pictures;
        ladder.failed(element, "it broke");
        ladder.choose(&mut prove);
    }
    let chosen = ladder.choose(&mut prove).element;
    assert_eq!(chosen, expected, "{all:?} {pass:?} {failures:?}");
}

#[test]
fn the_best_that_works_is_taken_and_one_that_keeps_failing_gives_way() {
    let all = ["hw1", "hw2", "sw"];
    check(&all, &all, &[], "hw1");
    check(&all, &["hw2", "sw"], &[], "hw2");
    check(&all, &["sw"], &[], "sw");
    // Software is taken even if it fails: there is nothing else.
    check(&all, &[], &[], "sw");
    check(&all, &all, &[("hw1", 5); 2], "hw1");
    check(&all, &all, &[("hw1", 5); 3], "hw2");
    check(&all, &["hw1", "sw"], &[("hw1", 0); 3], "sw");
    // A good run between failures is forgiven; failures of one that is out already concern nobody.
    check(&all, &all, &[("hw1", 5000); 9], "hw1");
    check(
        &all,
        &all,
        &[("hw1", 0), ("hw1", 0), ("hw1", 1000), ("hw1", 0)],
        "hw1",
    );
    check(&all, &all, &[("hw1", 0); 9], "hw2");
    let both = [[("hw1", 0); 3], [("hw2", 0); 3]].concat();
    check(&all, &all, &both, "sw");
    check(&["sw"], &["sw"], &[("sw", 0); 9], "sw");
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
            choice.candidate();
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
        assert_eq!(choice.candidate().element, "avdec_h264", "{launch}");
        let chosen = choice.report().unwrap();
        let problem = &chosen.tried[0].problem;
        assert!(problem.contains(why), "{launch}: {problem}");
        assert_eq!(chosen.why, "no hardware decoder works here");
    }
}

/// An element that passes and then breaks in the middle of a film, each time.
#[test]
fn a_decoder_that_breaks_at_work_is_replaced_by_itself() {
    super::super::init().unwrap();
    let breaking = Candidate {
        element: "identity".into(),
        launch: "avdec_h264 max-threads=1 std-compliance=normal ! identity error-after=30".into(),
        hardware: true,
    };
    let choice = Arc::new(Choice::new(
        Codec::H264,
        Feed::Stream,
        vec![breaking, software_candidate("avdec_h264")],
    ));
    let lend = || {
        let candidate = choice.candidate();
        let choice = Some(Arc::clone(&choice));
        Decoder::made_of(&candidate, Codec::H264, Feed::Stream, choice).unwrap()
    };
    // Pictures that come of 48 before the first error, if there is one.
    let play = |decoder: &Decoder| {
        let (gives, given) = channel();
        let deliver = Box::new(move |picture: Result<_, String>| {
            let _ = gives.send(picture.is_ok());
        });
        decoder
            .lend_to(CameraId(uuid::Uuid::nil()), deliver)
            .unwrap();
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
    for turn in 0..3 {
        let decoder = lend();
        assert_eq!(
            format!("{decoder:?}"),
            "Decoder(identity, Stream)",
            "turn {turn}"
        );
        let count = play(&decoder);
        assert!((20..40).contains(&count), "turn {turn}: {count}");
        assert_eq!(decoder.is_struck_off(), turn == 2);
    }
    let decoder = lend();
    assert_eq!(format!("{decoder:?}"), "Decoder(avdec_h264, Stream)");
    assert_eq!(play(&decoder), 48);
    let chosen = choice.report().unwrap();
    assert!(!chosen.hardware);
    let problem = &chosen.tried[0].problem;
    assert!(problem.starts_with("failed 3 times at work:"), "{problem}");
}
