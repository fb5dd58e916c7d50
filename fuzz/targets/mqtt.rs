//! MQTT packets, before and after CONNECT, in pieces of any size.
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((&size, bytes)) = bytes.split_first() else {
        return;
    };
    let chunks: Vec<&[u8]> = bytes.chunks(usize::from(size).max(1)).collect();
    cloud_receiver::ingest::endpoint::feed::feed(&chunks);
});

#[cfg(not(fuzzing))]
fn main() {}
