//! PyTorch's older files: pickles and records one after the other.
#![no_main]

use dlc_fuzz::tensors;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tensors(bytes));
