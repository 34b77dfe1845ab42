//! Specs that are valid but for a few edits, through the checker: bytes decide the spec, then the edits.
#![no_main]

use dlc_fuzz::fuzzed::mutate::{checked, mutated};
use dlc_fuzz::fuzzed::{dice::Dice, write};
use dlc_fuzz::hold;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // The edits have bytes of their own, so that a spec stays the same while its edits change.
    let (edits, spec) = bytes.split_at(bytes.len().min(16));
    let spec = write::spec(&mut Dice::of(spec), write::ALLOWED).text();
    let text = mutated(&spec, &mut Dice::of(edits));
    hold(checked(&text, &[]), &text);
});
