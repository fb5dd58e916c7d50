//! Configuration files of both programs, and descriptions of models.
#![no_main]

use edge_agent::detect::model::Description;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = edge_agent::config::load::parse(text, "edge-agent.toml");
    let _ = Description::parse(text);
    if let Ok(config) = toml::from_str::<cloud_receiver::config::Config>(text) {
        // What was understood is written so that it is understood again.
        let written = config.to_text();
        assert_eq!(toml::from_str(&written).ok(), Some(config), "{written}");
    }
});
