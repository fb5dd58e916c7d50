//! Everything that `wire` reads: batches, records, receipts, commands, heartbeats, claim codes, topics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::claim::ClaimCode;
use wire::command::SignedCommand;
use wire::heartbeat::Heartbeat;
use wire::{Receipt, Record, SignedBatch};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedBatch::from_bytes(bytes.to_vec())
        && let Ok(batch) = signed.parse()
    {
        // What was read is what was written.
        assert_eq!(signed.as_bytes(), bytes);
        for record in &batch.records {
            let _ = Record::from_json(record);
        }
    }
    let _ = Record::from_json(bytes);
    let _ = serde_json::from_slice::<Receipt>(bytes);
    let _ = serde_json::from_slice::<Heartbeat>(bytes);
    let _ = serde_json::from_slice::<SignedCommand>(bytes);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = text.parse::<wire::topic::Topic>();
        if let Ok(code) = text.parse::<ClaimCode>() {
            assert_eq!(code.to_string().parse::<ClaimCode>().ok(), Some(code));
        }
    }
});
