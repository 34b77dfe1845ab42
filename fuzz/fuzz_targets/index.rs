//! An index of shards. All shards it names are one small sound file.
#![no_main]

use dlc_fuzz::tensors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tensors(bytes));
