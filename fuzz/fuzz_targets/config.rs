//! `adapter_config.json`: whatever it says, it is refused or has an answer to all that is asked of it, and what is written of
//! it can be read again.
#![no_main]

use dlc::adapters::config::{Config, Layer};

const MODULES: [&str; 4] = ["encoder.layer.0.attention.q", "encoder.layer.11.fc", "head", ""];

fn layer(module: &str) -> Layer {
    Layer {
        module: module.into(),
        rank: 4,
        groups: 1,
        scale: 2.0,
        dropout: 0.0,
        magnitude: false,
        bias: false,
        inner_first: false,
        linear: true,
    }
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let Ok(config) = Config::parse(&text, "adapter_config.json") else { return };
    for module in MODULES {
        if let Ok(rank) = config.rank_of(module) {
            let _ = (config.scale_of(module, rank), config.alpha_of(module), config.rows_of(module));
        }
    }
    let _ = (config.is_stable(), config.has_magnitudes(), config.has_biases(), config.dropout(), config.ties());
    let layers: Vec<Layer> = MODULES[..3].iter().map(|module| layer(module)).collect();
    let _ = config.check(&layers, false);
    assert!(Config::parse(&config.text(), "written").is_ok(), "{}", config.text());
    if let Ok(made) = Config::of(&layers, &["head.bias"], false, Some(&config)) {
        let again = Config::parse(&made.text(), "made").expect("what is written can be read");
        assert_eq!(again.text(), made.text());
    }
});
