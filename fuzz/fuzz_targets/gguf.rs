//! GGUF: facts, tensors, quantised elements.
#![no_main]

use dlc_fuzz::tensors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tensors(bytes));
