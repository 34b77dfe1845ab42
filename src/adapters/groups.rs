//! The first matrix of a grouped convolution's adapter. Here it is [rank, inputs of a group], which all groups share, so that the
//! adapter can be merged. PEFT's reads all inputs, and its second matrix gives each group some of the first one's rows: so there
//! it is [groups * rank, groups * inputs of a group], where a group's rows read that group's inputs alone, and are those of all
//! others.

use crate::error::{Error, Result, code};

/// A matrix of so many rows as PEFT has it.
pub(super) fn spread(a: &[f32], rank: usize, groups: usize) -> Vec<f32> {
    let width = a.len() / rank.max(1);
    let mut all = Vec::with_capacity(a.len() * groups * groups);
    for group in 0..groups {
        for row in a.chunks_exact(width.max(1)) {
            all.resize(all.len() + group * width, 0.0);
            all.extend_from_slice(row);
            all.resize(all.len() + (groups - 1 - group) * width, 0.0);
        }
    }
    all
}

/// The other way round, of the tensor that a file calls so, which has so many rows.
///
/// # Errors
/// When a row reads other inputs than its group's, or groups have other rows, so that it is no adapter that all groups share.
pub(super) fn gathered(stored: &str, all: Vec<f32>, rows: usize, groups: usize) -> Result<Vec<f32>> {
    if groups <= 1 {
        return Ok(all);
    }
    let rank = rows / groups;
    let wide = all.len() / rows.max(1);
    let own: Vec<f32> = all.chunks(wide.max(1)).take(rank).flat_map(|row| &row[..wide / groups]).copied().collect();
    if spread(&own, rank, groups) == all {
        return Ok(own);
    }
    let message = format!(
        "{stored} is for a convolution of {groups} groups, and some of its rows read what other groups are given, or groups \
         have other rows: here one matrix, which reads a group's inputs, is that of all groups"
    );
    let error = Error::file(code::ADAPTER, message);
    Err(error.help("an adapter without this layer, which PEFT cannot merge either: `exclude` it, and train it again"))
}
