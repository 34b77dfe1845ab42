//! Which rows belong to which part of the samples. Takes the shares of a `split`, gives row numbers.
//!
//! The rows are shuffled once, by a key of their own and not by the seed of a training: whatever the seed, the rows that
//! are held out stay the same, so weights from one training can be trained on by another without having seen them.

use crate::error::{Error, Result, code};
use dlc_plan::random;
use dlc_plan::recipe::{Part, Share};
use std::ops::Range;

/// The numbers `0..count` in an order that depends on the seed, the site and the round only.
pub fn permutation(count: u32, seed: u64, site: &str, round: u32) -> Vec<u32> {
    let (key, seed_high) = random::key(seed, random::site_hash(site, 0));
    let mut order: Vec<u32> = (0..count).collect();
    for last in (1..count).rev() {
        // The product of a random word and a bound, divided by 2^32, is below the bound (Lemire, "Fast random integer
        // generation in an interval", 2019). The bias is below the bound over 2^32.
        let word = random::bits(key, round, seed_high, 0, last);
        let chosen = (u64::from(word) * (u64::from(last) + 1)) >> 32;
        order.swap(last as usize, chosen as usize);
    }
    order
}

/// The rows of each part.
pub type Parts = Vec<(Part, Vec<u32>)>;

/// The rows of each part, as the split of a `data` item called `name` shares `rows` out. Without shares, all rows are
/// trained on; rows that no share speaks of go to training if it has no share of its own.
pub fn shares(name: &str, rows: u32, split: &[(Part, Share)]) -> Result<Parts> {
    if split.is_empty() {
        return Ok(vec![(Part::Train, (0..rows).collect())]);
    }
    let counts = counts(name, u64::from(rows), split)?;
    let order = permutation(rows, 0, &format!("split of {name}"), 0);
    let mut rest = order.as_slice();
    let mut parts = Vec::new();
    for ((part, _), count) in split.iter().zip(counts) {
        let (taken, left) = rest.split_at(count as usize);
        parts.push((*part, taken.to_vec()));
        rest = left;
    }
    if !split.iter().any(|(part, _)| *part == Part::Train) {
        parts.insert(0, (Part::Train, rest.to_vec()));
    }
    Ok(parts)
}

/// The ids of each part, in order and not at random: first those that are trained on. `ids_of` says how many ids so many
/// rows take.
pub fn in_order(
    name: &str,
    ids: usize,
    split: &[(Part, Share)],
    ids_of: impl Fn(usize) -> usize,
) -> Result<Vec<(Part, Range<usize>)>> {
    let in_ids = |(part, share): &(Part, Share)| {
        let share = match *share {
            Share::Rows(rows) => Share::Rows(ids_of(usize::try_from(rows).unwrap_or(usize::MAX)) as u64),
            Share::Fraction(fraction) => Share::Fraction(fraction),
        };
        (*part, share)
    };
    let split: Vec<(Part, Share)> = split.iter().map(in_ids).collect();
    let counts = counts(name, ids as u64, &split)?;
    let mut parts: Vec<(Part, usize)> =
        split.iter().zip(counts).map(|((part, _), count)| (*part, count as usize)).collect();
    if !parts.iter().any(|(part, _)| *part == Part::Train) {
        let held_out: usize = parts.iter().map(|(_, count)| *count).sum();
        parts.insert(0, (Part::Train, ids - held_out));
    }
    let mut start = 0;
    let range = |(part, count): (Part, usize)| {
        start += count;
        (part, start - count..start)
    };
    Ok(parts.into_iter().map(range).collect())
}

/// How many rows each share is. Fractions are of all rows; they are rounded so that shares which add up to 1 leave no row
/// over.
fn counts(name: &str, rows: u64, split: &[(Part, Share)]) -> Result<Vec<u64>> {
    let all = rows as f64;
    let bad = |why: String| Error::file(code::BAD_SPLIT, format!("the split of `{name}` does not fit: {why}"));
    let (mut fractions, mut given) = (0.0_f64, 0_u64);
    let mut counts = Vec::with_capacity(split.len());
    for (part, share) in split {
        let count = match *share {
            Share::Rows(count) => count,
            Share::Fraction(fraction) if (0.0..=1.0).contains(&fraction) => {
                let before = (fractions * all).round();
                fractions += fraction;
                // Rounding the sums and not the terms; a sum of decimals may miss 1 by a little.
                ((fractions * all).round() - before) as u64
            }
            Share::Fraction(fraction) => {
                return Err(bad(format!("`{} = {fraction}` is not a fraction from 0 to 1", part.name())));
            }
        };
        given = given.saturating_add(count);
        counts.push(count);
    }
    if given > rows {
        return Err(bad(format!("it asks for {given} rows, and there are {rows}")));
    }
    Ok(counts)
}
