//! Any text through the parser and the formatter, whose result has to be the same spec.
#![no_main]

use dlc_fuzz::fuzzed::judge::printed;
use dlc_fuzz::hold;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    hold(printed(&text), &text);
});
