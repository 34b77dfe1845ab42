//! Quantised numbers as GGUF files have them: blocks of 32 small integers with a scale, and for some a smallest value.
//! Takes the bytes of blocks, gives f32. (The formats are those of ggml's `block_q4_0` and its neighbours: integers of four
//! bits lie in two halves, the low four bits of 16 bytes first.)

use half::f16;

/// Numbers in a block.
const LEN: usize = 32;

/// A way of quantising: so many bits for an integer; with a scale alone, or with a scale and a smallest value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// Four bits, a scale.
    Q4_0,
    /// Four bits, a scale and a smallest value.
    Q4_1,
    /// Five bits, a scale.
    Q5_0,
    /// Five bits, a scale and a smallest value.
    Q5_1,
    /// Eight bits, a scale.
    Q8_0,
}

impl Blocks {
    /// Every way, with its name and the bytes of a block, in the order of the variants.
    const ALL: [(Blocks, &'static str, usize); 5] = [
        (Blocks::Q4_0, "Q4_0", 18),
        (Blocks::Q4_1, "Q4_1", 20),
        (Blocks::Q5_0, "Q5_0", 22),
        (Blocks::Q5_1, "Q5_1", 24),
        (Blocks::Q8_0, "Q8_0", 34),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        Blocks::ALL[self as usize].1
    }

    /// How many bytes `count` numbers take; none if they do not fill blocks.
    pub fn bytes(self, count: usize) -> Option<usize> {
        if count.is_multiple_of(LEN) { (count / LEN).checked_mul(Blocks::ALL[self as usize].2) } else { None }
    }

    /// The numbers of whole blocks.
    pub fn numbers(self, bytes: &[u8]) -> Vec<f32> {
        let size = Blocks::ALL[self as usize].2;
        let mut numbers = Vec::with_capacity(bytes.len() / size * LEN);
        for block in bytes.chunks_exact(size) {
            let half = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]).to_f32();
            let scale = half(0);
            match self {
                Blocks::Q4_0 => numbers.extend(nibbles(&block[2..], 0).map(|q| scale * (f32::from(q) - 8.0))),
                Blocks::Q4_1 => {
                    let least = half(2);
                    numbers.extend(nibbles(&block[4..], 0).map(|q| scale * f32::from(q) + least));
                }
                Blocks::Q5_0 => {
                    let numerals = nibbles(&block[6..], fifth_bits(&block[2..6]));
                    numbers.extend(numerals.map(|q| scale * (f32::from(q) - 16.0)));
                }
                Blocks::Q5_1 => {
                    let least = half(2);
                    let numerals = nibbles(&block[8..], fifth_bits(&block[4..8]));
                    numbers.extend(numerals.map(|q| scale * f32::from(q) + least));
                }
                Blocks::Q8_0 => numbers.extend(block[2..].iter().map(|q| scale * f32::from(*q as i8))),
            }
        }
        numbers
    }
}

/// The bits that integers of five bits have more than those of four: number `i` has bit `i`.
fn fifth_bits(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |bits, byte| bits << 8 | u32::from(*byte))
}

/// The integers of 16 bytes: all low halves, then all high ones, each with its fifth bit.
fn nibbles(bytes: &[u8], fifth: u32) -> impl Iterator<Item = u8> {
    let halves = bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4));
    halves.enumerate().map(move |(i, low)| low | ((fifth >> i & 1) as u8) << 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Blocks with scale 0.5, smallest value -1, and the integers 0, 1, 2 .. where they fit.
    #[test]
    fn blocks_are_what_their_formats_say() {
        let (scale, least) = (f16::from_f32(0.5).to_le_bytes(), f16::from_f32(-1.0).to_le_bytes());
        let four: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
        let numerals = |i: usize| if i < 16 { i as f32 } else { 31.0 - i as f32 };
        let expect = |blocks: Blocks, bytes: Vec<u8>, number: &dyn Fn(usize) -> f32| {
            assert_eq!(blocks.bytes(32), Some(bytes.len()), "{}", blocks.name());
            assert_eq!(blocks.numbers(&bytes), (0..32).map(number).collect::<Vec<_>>(), "{}", blocks.name());
        };
        expect(Blocks::Q4_0, [&scale[..], &four].concat(), &|i| 0.5 * (numerals(i) - 8.0));
        expect(Blocks::Q4_1, [&scale[..], &least, &four].concat(), &|i| 0.5 * numerals(i) - 1.0);
        let fifth = [0b101_u8, 0, 0, 0x80];
        let five = |i: usize| numerals(i) + if [0, 2, 31].contains(&i) { 16.0 } else { 0.0 };
        expect(Blocks::Q5_0, [&scale[..], &fifth, &four].concat(), &|i| 0.5 * (five(i) - 16.0));
        expect(Blocks::Q5_1, [&scale[..], &least, &fifth, &four].concat(), &|i| 0.5 * five(i) - 1.0);
        let eight: Vec<u8> = (0..32).map(|i| (i - 16) as i8 as u8).collect();
        expect(Blocks::Q8_0, [&scale[..], &eight].concat(), &|i| 0.5 * (i as f32 - 16.0));
        assert_eq!(Blocks::Q8_0.bytes(33), None);
    }
}
