//! The numbers of `models.py` in Rust: weights and inputs are made of their names on both sides, so that they need not be
//! stored. Tests take this file in by its path.

use dlc::Tensor;

/// What `hashes` gives for a name, at a place.
pub fn hash(name: &str, place: u64) -> u64 {
    let fnv = |h: u64, byte| (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let h = name.bytes().fold(0xcbf2_9ce4_8422_2325, fnv);
    let z = h.wrapping_add(place.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What `numbers` gives: so many from -1 to 1.
pub fn numbers(name: &str, len: usize) -> impl Iterator<Item = f32> {
    (0..len as u64).map(move |i| (hash(name, i) >> 40) as f32 * 2f32.powi(-23) - 1.0)
}

/// What `weight` gives.
pub fn weight(name: &str, shape: &[usize]) -> Tensor {
    let len: usize = shape.iter().product();
    let last = name.rsplit('.').next().expect("a name has a last part");
    let (scale, shift) = match (shape.len(), last) {
        (2.., _) => (((3 * shape[0]) as f64 / len as f64).sqrt() as f32, 0.0),
        (_, "weight" | "gamma" | "running_var") => (0.25, 1.0),
        _ => (0.25, 0.0),
    };
    let elements = numbers(name, len).map(|u| u * scale + shift).collect();
    Tensor::from_f32(shape.to_vec(), elements).expect("there are as many")
}
