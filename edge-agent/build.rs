//! Tells the program when it was built: a time that is certainly past, below which no clock is believed.
//! `SOURCE_DATE_EPOCH` (reproducible-builds.org) wins over the building machine's clock.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let seconds = std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .or_else(|| {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .ok()
                .map(|since| since.as_secs())
        })
        .unwrap_or(0);
    println!("cargo:rustc-env=BUILD_TIME_SECONDS={seconds}");
}
