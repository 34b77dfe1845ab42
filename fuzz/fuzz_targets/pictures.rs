//! PNG and JPEG.
#![no_main]

use dlc::data::images::{Fit, decode, fitted, size_of};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let size = size_of(bytes);
    if let Ok(picture) = decode(bytes) {
        assert_eq!(size, Ok((picture.height, picture.width)));
        assert_eq!(picture.rgb.len(), 3 * picture.height * picture.width);
        if picture.rgb.len() < 1 << 16 {
            assert_eq!(fitted(picture, 5, 7, Fit::Crop).rgb.len(), 3 * 5 * 7);
        }
    }
});
