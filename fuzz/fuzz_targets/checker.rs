//! Any text through the checker, and what is sound through the compiler.
#![no_main]

use dlc_fuzz::fuzzed::mutate::checked;
use dlc_fuzz::hold;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    hold(checked(&text, &[]), &text);
});
