//! One array of NumPy, in an archive around it, so that the fuzzer need not learn archives and checksums.
#![no_main]

use dlc_fuzz::{archive, tensors};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tensors(&archive(&[("a.npy", bytes)])));
