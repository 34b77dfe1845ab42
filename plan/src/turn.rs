//! Reduction of large angles: what sine and cosine of a number far from 0 are the sine of. Everything here is exact up to
//! the last step, or is an operation of IEEE 754, so that all backends give the same bits.

/// Numbers that are at least so far from 0 are reduced here; nearer ones, by three parts of pi.
pub const FAR: f32 = 65_536.0;

/// 1 / (2 pi) as a binary fraction of four words, the first eight bits zero.
pub const TURNS: [u64; 4] =
    [0x0028_be60_db93_9105, 0x4a7f_09d5_f47d_4d37, 0x7036_d8a5_664f_10e4, 0x107f_9458_eaf7_aef1];

/// What is taken from a number's exponent, for the place in [`TURNS`] from which its bits matter.
pub const FIRST: i64 = 142;

/// Half a turn as an angle, divided by 2^64.
pub const UNIT: f64 = std::f64::consts::PI / 18_446_744_073_709_551_616.0;

/// The angle between -pi/2 and pi/2 whose sine is that of x + quarters pi / 2, |x| being [`FAR`] or more; NaN for infinity.
///
/// x is a whole number m of 24 bits times a power of 2. m times 1 / (2 pi), from the bits on that are fractions of a turn,
/// is the angle in turns, of which 64 bits are kept.
pub fn turn(x: f32, quarters: u8) -> f32 {
    let bits = x.to_bits();
    let exponent = i64::from(bits >> 23 & 0xff);
    if exponent == 0xff {
        return f32::NAN;
    }
    let m = u64::from(bits & 0x7f_ffff | 0x80_0000);
    let first = (exponent - FIRST).max(0) as u32;
    let (word, shift) = ((first / 64) as usize, first % 64);
    let window = |i: usize| TURNS[word + i] << shift | (TURNS[word + i + 1] >> 1) >> (63 - shift);
    let upper = ((u128::from(m) * u128::from(window(1))) >> 64) as u64;
    let turns = m.wrapping_mul(window(0)).wrapping_add(upper);
    let turns = if bits >> 31 != 0 { turns.wrapping_neg() } else { turns };
    let turns = turns.wrapping_add(u64::from(quarters) << 62);
    // What is left beside the nearest half turn, and whether that is an odd one.
    let rest = (turns << 1) as i64;
    let odd = (turns.wrapping_add(1 << 62) >> 63) as u32;
    let angle = (rest as f64 * UNIT) as f32;
    f32::from_bits(angle.to_bits() ^ odd << 31)
}
