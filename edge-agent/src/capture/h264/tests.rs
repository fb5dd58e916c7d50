//! Headers of real encoders, and of nobody.

#![allow(clippy::unwrap_used)]

use super::SliceType::{B, I, P};
use super::*;
use proptest::prelude::*;

/// An access unit of these NAL units, given in hexadecimal.
fn unit(nals: &[&str]) -> Vec<u8> {
    let bytes = |nal: &str| data_encoding::HEXLOWER.decode(nal.as_bytes()).unwrap();
    nals.iter()
        .flat_map(|nal| [vec![0, 0, 0, 1], bytes(nal)].concat())
        .collect()
}

/// The beginnings of NAL units that encoders made; a header in front and the access unit delimiter do not matter.
fn check(units: &[(&[&str], SliceType, i8)]) {
    let mut reader = SliceReader::default();
    for (nals, kind, qp) in units {
        let slice = reader.read(&unit(nals)).unwrap();
        assert_eq!((slice.kind, slice.qp), (*kind, *qp), "{nals:?}");
    }
}

#[test]
fn x264_with_cabac() {
    let sets = [
        "0910",
        "6764001facb402802dd80b501010140000030004000003007a3c60ca80",
        "68ef3cb0",
    ];
    check(&[
        (
            &[
                sets[0],
                sets[1],
                sets[2],
                "658884097fce6d374f706f6fffd2761c7ad4e50e",
            ],
            I,
            35,
        ),
        (&["0930", "419a26210f8705e5bd1071393e81d3bf40e12a2d"], P, 34),
        (&["0930", "419a46223fc4acf484539556c0a34f30e1578b33"], P, 30),
    ]);
}

#[test]
fn openh264_with_cavlc() {
    check(&[
        (
            &[
                "6742c01f8c8d402802dd00f08846a0",
                "68ce3c80",
                "65b80004000008fc86393b0f0b8a0002",
            ],
            I,
            30,
        ),
        (&["61e0004000be408fa96e9617a96f76c0"], P, 30),
        (&["61e00080013e417ee11e6b411261dbcc"], P, 24),
    ]);
}

/// Several references, weights, temporal direct prediction, B pictures that are referred to and others that are not.
#[test]
fn every_part_of_a_header_is_passed_over() {
    let sequence = "6764000aacd9447b016a0c0c0d4a0000030002000003003d1e244b2c";
    check(&[
        (
            &[
                sequence,
                "68ebe112c8b0",
                "65888400ffe3851f8b7fe11aff7fe1f6c124699b",
            ],
            I,
            27,
        ),
        (&["419a226c7fd7e9d78b42d5f8c6737544"], P, 30),
        (&["019e417927eafe80bca78a51d36f3cab81"], B, 32),
        (&["419a453c21932987ffa7e55c2150eb84"], P, 30),
        (&["419e636a53d7e6e06516016edac94fd4"], B, 31),
    ]);
    check(&[
        (
            &[
                sequence,
                "68cbe1d2c8b0",
                "65888400fc218a0002123fffe011b2b797ee24e4",
            ],
            I,
            30,
        ),
        (&["419a226c7e087c34cbbdfef7affcb240"], P, 33),
        (&["019e41784e26"], B, 35),
    ]);
}

#[test]
fn which_pictures_are_referred_to_is_told() {
    let mut reader = SliceReader::default();
    let key = unit(&[
        "6764000aacd9447b016a0c0c0d4a0000030002000003003d1e244b2c",
        "68ebe112c8b0",
        "65888400ffe3851f8b7fe11aff7fe1f6c124699b",
    ]);
    assert!(reader.read(&key).unwrap().is_reference);
    let between = unit(&["019e417927eafe80bca78a51d36f3cab81"]);
    assert!(!reader.read(&between).unwrap().is_reference);
}

#[test]
fn without_parameter_sets_nothing_is_known() {
    let mut reader = SliceReader::default();
    assert_eq!(reader.read(&unit(&["419a226c7fd7e9d78b42d5f8"])), None);
    assert_eq!(reader.read(&[]), None);
    assert_eq!(reader.read(&[0, 0, 1]), None);
}

proptest! {
    #[test]
    fn what_a_stranger_sends_is_no_reason_to_panic(
        sets in proptest::collection::vec(any::<u8>(), 0..80),
        picture in proptest::collection::vec(any::<u8>(), 0..40),
        slice in proptest::collection::vec(any::<u8>(), 0..80),
        kind in 0_u8..32,
    ) {
        let mut reader = SliceReader::default();
        let parts: [(u8, &[u8]); 3] = [(0x67, &sets), (0x68, &picture), (0x40 | kind, &slice)];
        let mut bytes = Vec::new();
        for (header, payload) in parts {
            bytes.extend([0, 0, 1, header]);
            bytes.extend(payload);
        }
        if let Some(slice) = reader.read(&bytes) {
            prop_assert!((-48..=51).contains(&slice.qp));
        }
    }

    #[test]
    fn nor_what_a_cable_made_of_a_good_stream(at in 0_usize..66, byte in any::<u8>(), end in 0_usize..66) {
        let mut bytes = unit(&[
            "6764000aacd9447b016a0c0c0d4a0000030002000003003d1e244b2c",
            "68ebe112c8b0",
            "419a226c7fd7e9d78b42d5f8c6737544",
        ]);
        let (at, end) = (at % bytes.len(), end % bytes.len());
        bytes[at] = byte;
        SliceReader::default().read(&bytes);
        SliceReader::default().read(&bytes[..end]);
    }
}
