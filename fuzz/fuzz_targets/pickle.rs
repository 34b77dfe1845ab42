//! PyTorch's pickle, in an archive around it with a record of 96 bytes.
#![no_main]

use dlc_fuzz::{archive, tensors};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tensors(&archive(&[("w/data.pkl", bytes), ("w/data/0", &[0; 96])])));
