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
