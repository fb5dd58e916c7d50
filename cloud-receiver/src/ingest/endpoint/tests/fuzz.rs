//! No bytes make the codec panic, whatever they are and however they arrive.

use super::super::feed::feed;
use super::line::{connect, pingreq, publish, publish_raw, subscribe};
use proptest::prelude::*;

fn good_packets() -> Vec<Vec<u8>> {
    vec![
        connect("device", 60),
        subscribe(1, &["a/b", "c"]),
        publish("a/b", 2, b"payload"),
        publish_raw(0b0100, "a", Some(3), &[], b""),
        publish_raw(0, "a", None, &[0x23, 0, 1], b"alias"),
        pingreq(),
        vec![0x40, 2, 0, 1],
        vec![0x62, 2, 0, 3],
        vec![0xA2, 6, 0, 9, 0, 0, 1, b'a'],
        vec![0xE0, 2, 4, 0],
    ]
}

proptest! {
    #[test]
    fn any_bytes_before_connect(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        feed(&[&bytes]);
    }

    #[test]
    fn any_bytes_after_connect(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        feed(&[&connect("device", 60), &bytes]);
    }

    #[test]
    fn good_packets_with_a_few_bytes_changed_and_cut_anywhere(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 1..12),
    ) {
        let packets = good_packets();
        let mut bytes: Vec<u8> = order.iter().flat_map(|index| index.get(&packets).clone()).collect();
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        let (head, tail) = bytes.split_at(cut.index(bytes.len()));
        feed(&[&connect("device", 60), head, tail]);
    }
}
