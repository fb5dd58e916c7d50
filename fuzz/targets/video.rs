//! What a camera sends: access units whose headers are read before any decoder sees them.
#![no_main]

use edge_agent::capture::h264::SliceReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // Parameter sets of one unit are used by those after it.
    let mut reader = SliceReader::default();
    for unit in bytes.split(|byte| *byte == 0xff) {
        if let Some(slice) = reader.read(unit) {
            assert!((-48..=51).contains(&slice.qp));
        }
    }
});
