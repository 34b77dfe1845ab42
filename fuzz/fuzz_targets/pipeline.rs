//! Valid specs through the whole pipeline: bytes decide what a spec says and on which sizes it is run.
#![no_main]

use dlc_fuzz::fuzzed::{dice::Dice, judge::judge, of};
use dlc_fuzz::hold;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let (spec, sizes) = of(&mut Dice::of(bytes));
    hold(judge(&spec, &sizes, 1).map(|_| ()), &spec.text());
});
