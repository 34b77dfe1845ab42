//! `--set`: each line of the bytes is `path=value`, set in a training with data, groups and adapters. What can be set can be
//! written into the text as well, and says the same there.
#![no_main]

use dlc_compiler::lower::with_sets;
use dlc_fuzz::fuzzed::mutate::checked;
use dlc_fuzz::hold;

const SPEC: &str = include_str!("../settings.dl");

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let sets: Vec<(String, String)> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(a, b)| (a.to_string(), b.to_string())).collect();
    hold(checked(SPEC, &sets), &text);
    if let Some(written) = with_sets(SPEC, &sets) {
        hold(checked(&written, &[]), &written);
    }
});
