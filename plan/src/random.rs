//! Random bits as a pure function of where they are used: Philox4x32-10 and the numbering that compiler backends, the
//! interpreter and emitted Rust share. Takes a seed, a site, a step and a point (row, column) of a logical tensor; gives
//! 32 bits. There is no state, so neither threads nor loop order nor tiling can change a draw.
//!
//! The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
//!
//! Numbering:
//! * key = (seed bits 0..32, site), where the site is [`site_hash`] of the member path and the ordinal of the call in it;
//! * counter = (block, row, step, seed bits 32..64);
//! * columns are numbered in groups of 16. Column `c` is lane `l = c % 16` of group `g = c / 16`, and takes word `l / 4` of
//!   block `4 g + l % 4`. Four blocks computed side by side therefore give the 16 columns in order, word after word,
//!   without a transpose.

/// Columns that one group of blocks serves.
pub const GROUP: u32 = 16;

const ROUNDS: usize = 10;
const LOW: u64 = 0xFFFF_FFFF;
const MULTIPLIERS: [u64; 2] = [0xD251_1F53, 0xCD9E_8D57];
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// One block of Philox4x32-10: four words from a counter of four words and a key of two.
#[inline(always)]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    philox_side_by_side(counter.map(|word| [u64::from(word)]), key).map(|[word]| word as u32)
}

/// `N` blocks of Philox4x32-10 under one key: `x[w][i]` is word `w` of block `i`, in and out, so that a vector holds the
/// same word of neighbouring blocks.
///
/// Words live in the low halves of 64-bit lanes and the high halves are whatever was left there: a widening multiply
/// reads only low halves, so no round has to pack or mask anything.
#[inline(always)]
fn philox_side_by_side<const N: usize>(mut x: [[u64; N]; 4], mut key: [u32; 2]) -> [[u64; N]; 4] {
    for _ in 0..ROUNDS {
        let [key0, key1] = key.map(u64::from);
        let mut y = [[0; N]; 4];
        for i in 0..N {
            let product0 = (x[0][i] & LOW) * MULTIPLIERS[0];
            let product1 = (x[2][i] & LOW) * MULTIPLIERS[1];
            y[0][i] = (product1 >> 32) ^ x[1][i] ^ key0;
            y[1][i] = product1;
            y[2][i] = (product0 >> 32) ^ x[3][i] ^ key1;
            y[3][i] = product0;
        }
        x = y;
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    x
}

/// The number of a random site: the 32-bit FNV-1a hash of the member path, a byte that occurs in no UTF-8 text, and the
/// ordinal of the site among those of the same member.
pub const fn site_hash(path: &str, ordinal: u32) -> u32 {
    let mut hash = fnv_bytes(0x811C_9DC5, path.as_bytes());
    hash = fnv_bytes(hash, &[0xFF]);
    fnv_bytes(hash, &ordinal.to_le_bytes())
}

/// FNV-1a over `bytes`, going on from `hash` (Fowler, Noll, Vo; draft-eastlake-fnv).
const fn fnv_bytes(mut hash: u32, bytes: &[u8]) -> u32 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u32).wrapping_mul(0x0100_0193);
        i += 1;
    }
    hash
}

/// The key of a site under a seed, and the seed's high half, which is the last word of the counter.
#[inline(always)]
pub const fn key(seed: u64, site: u32) -> ([u32; 2], u32) {
    ([seed as u32, site], (seed >> 32) as u32)
}

/// The bits of one point: element (`row`, `col`) of the logical tensor of the site in `key`, at `step`.
#[inline(always)]
pub fn bits(key: [u32; 2], step: u32, seed_hi: u32, row: u32, col: u32) -> u32 {
    let (group, lane) = (col / GROUP, col % GROUP);
    let block = group.wrapping_mul(4).wrapping_add(lane % 4);
    philox([block, row, step, seed_hi], key)[(lane / 4) as usize]
}

/// The bits of the 16 columns `16 * group ..` of one row: [`bits`] for each, several times as fast.
#[inline(always)]
pub fn bits16(key: [u32; 2], step: u32, seed_hi: u32, row: u32, group: u32) -> [u32; 16] {
    let first = group.wrapping_mul(4);
    let blocks = [first, first.wrapping_add(1), first.wrapping_add(2), first.wrapping_add(3)];
    let counter = [blocks, [row; 4], [step; 4], [seed_hi; 4]].map(|words| words.map(u64::from));
    let words = philox_side_by_side(counter, key);
    std::array::from_fn(|lane| words[lane / 4][lane % 4] as u32)
}

/// A number in [0, 1), a multiple of 2^-24, from the upper 24 bits; exact in f32.
#[inline(always)]
pub fn uniform(bits: u32) -> f32 {
    (bits >> 8) as f32 * (1.0 / 16_777_216.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers published with Random123 (`kat_vectors`, lines `philox4x32 10`).
    #[test]
    fn philox_gives_the_published_answers() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8]);
        assert_eq!(philox([!0; 4], [!0; 2]), [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD]);
        assert_eq!(
            philox([0x243F_6A88, 0x85A3_08D3, 0x1319_8A2E, 0x0370_7344], [0xA409_3822, 0x299F_31D0]),
            [0xD16C_FE09, 0x94FD_CCEB, 0x5001_E420, 0x2412_6EA1]
        );
    }

    #[test]
    fn sixteen_at_once_are_the_single_ones() {
        let (key, high) = key(0x1234_5678_9ABC_DEF0, site_hash("blocks.3.dropout", 1));
        assert_eq!((key[0], high), (0x9ABC_DEF0, 0x1234_5678));
        for row in [0, 1, 77, u32::MAX] {
            for group in [0, 1, 5, 0x0FFF_FFFF] {
                let lanes = bits16(key, 9, high, row, group);
                let single: [u32; 16] =
                    std::array::from_fn(|lane| bits(key, 9, high, row, group * GROUP + lane as u32));
                assert_eq!(lanes, single, "row {row}, group {group}");
            }
        }
    }

    /// Columns 0, 1 and 4 by hand: block 0 word 0, block 1 word 0, block 0 word 1.
    #[test]
    fn columns_are_numbered_as_written() {
        let key = [7, 11];
        assert_eq!(bits(key, 2, 3, 5, 0), philox([0, 5, 2, 3], key)[0]);
        assert_eq!(bits(key, 2, 3, 5, 1), philox([1, 5, 2, 3], key)[0]);
        assert_eq!(bits(key, 2, 3, 5, 4), philox([0, 5, 2, 3], key)[1]);
        assert_eq!(bits(key, 2, 3, 5, 31), philox([7, 5, 2, 3], key)[3]);
    }

    #[test]
    fn sites_differ_by_path_and_ordinal() {
        // FNV-1a of the empty text continued with 0xFF and four zero bytes, computed by hand from the definition.
        let by_hand =
            [0xFF_u8, 0, 0, 0, 0].iter().fold(0x811C_9DC5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(16_777_619));
        assert_eq!(site_hash("", 0), by_hand);
        let mut all = Vec::new();
        for layer in 0..100 {
            for ordinal in 0..4 {
                all.push(site_hash(&format!("blocks.{layer}.mlp.drop"), ordinal));
            }
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 400);
    }

    #[test]
    fn uniform_is_in_the_half_open_unit_interval() {
        assert_eq!(uniform(0), 0.0);
        assert_eq!(uniform(u32::MAX), 1.0 - 2f32.powi(-24));
        assert_eq!(uniform(1 << 31), 0.5);
        let draws: Vec<f32> = (0..4096).map(|col| uniform(bits([1, 2], 0, 0, 0, col))).collect();
        let mean = draws.iter().sum::<f32>() / 4096.0;
        assert!((mean - 0.5).abs() < 0.02, "mean {mean}");
    }
}
