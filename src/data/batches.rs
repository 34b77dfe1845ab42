//! Batches: which rows, in which order. Takes the rows of a part and how they are to be batched; gives row numbers, batch
//! by batch, epoch by epoch. The order of an epoch is a function of the seed and the epoch's number, so a position is all
//! that must be kept to go on.

use super::split::permutation;
use dlc_plan::recipe::{Batch, Data};

/// The batches of a training.
#[derive(Clone, Debug)]
pub struct Batches {
    rows: Vec<u32>,
    size: usize,
    seed: u64,
    shuffle: bool,
    drop_last: bool,
    /// The rows in the order of the epoch of `at`.
    order: Vec<u32>,
    at: Position,
}

/// Where in a training a batch begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Rows of the epoch that have been used.
    pub row: usize,
}

impl Batches {
    /// The batches of `rows` as a `data` item says.
    pub fn new(rows: Vec<u32>, data: &Data, seed: u64) -> Batches {
        let size = match data.batch {
            Batch::All => rows.len(),
            Batch::Rows(count) => usize::try_from(count).unwrap_or(usize::MAX),
        };
        let (shuffle, drop_last) = (data.shuffle, data.drop_last);
        let mut batches =
            Batches { rows, size: size.max(1), seed, shuffle, drop_last, order: Vec::new(), at: Position::default() };
        batches.seek(Position::default());
        batches
    }

    /// How many batches an epoch has.
    pub fn per_epoch(&self) -> usize {
        if self.drop_last { self.rows.len() / self.size } else { self.rows.len().div_ceil(self.size) }
    }

    /// Rows that an epoch uses.
    pub fn rows_per_epoch(&self) -> usize {
        if self.drop_last { self.per_epoch() * self.size } else { self.rows.len() }
    }

    /// Where the next batch begins.
    pub fn position(&self) -> Position {
        self.at
    }

    /// Goes to a position.
    pub fn seek(&mut self, at: Position) {
        self.at = at;
        self.order = self.rows.clone();
        if self.shuffle {
            let count = u32::try_from(self.rows.len()).expect("rows are numbered in 32 bits");
            let order = permutation(count, self.seed, "order of rows", at.epoch as u32);
            self.order = order.into_iter().map(|place| self.rows[place as usize]).collect();
        }
    }

    /// The rows of the next batch of this epoch; none at its end, where the next call begins the next epoch.
    pub fn next_batch(&mut self) -> Option<&[u32]> {
        let left = self.rows_per_epoch().saturating_sub(self.at.row);
        if left == 0 {
            self.seek(Position { epoch: self.at.epoch + 1, row: 0 });
            return None;
        }
        let start = self.at.row;
        self.at.row += left.min(self.size);
        Some(&self.order[start..self.at.row])
    }
}
