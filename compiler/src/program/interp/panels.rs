//! Panels: the body is run for each point of the cuts and each panel of rows, and its results are put where they belong.

use super::array::Array;
use super::{Run, RunError};
use crate::program::Panels;

/// What one panel gives: where it begins along each axis, and what it is.
type Piece = (Vec<usize>, Array);

impl Run<'_> {
    /// Runs panels on whole arguments; gives whole results.
    pub(super) fn panels(&mut self, k: &Panels, args: &[Array]) -> Result<Vec<Array>, RunError> {
        let p = self.p;
        let body = p.function(k.body);
        let cuts = self.extents(&k.cuts)?;
        let height = dlc_plan::chunks::panel_height(cuts[0] as u64, k.width.eval(self.dims).max(0) as u64) as usize;
        let whole = self.extents_of(k, &body.result_tys())?;
        let mut found: Vec<Vec<f64>> = whole.iter().map(|shape| vec![0.0; shape.iter().product()]).collect();
        let points: usize = cuts[1..].iter().product();
        let mut dims = self.dims.to_vec();
        for at in 0..points * cuts[0].div_ceil(height) {
            let (mut point, first) = (at % points, at / points * height);
            let rows = height.min(cuts[0] - first);
            let mut index = vec![first];
            for extent in &cuts[1..] {
                index.push(point % extent);
                point /= extent;
            }
            dims[usize::from(k.first)] = rows as i64;
            for (c, i) in index.iter().enumerate() {
                dims[usize::from(k.first) + 1 + c] = *i as i64;
            }
            let sums = k.sums();
            let starts = |j: usize, rank: usize| -> Vec<usize> {
                let lead = k.results[j].iter().map(|c| index[usize::from(*c)]);
                lead.chain(std::iter::repeat(0)).take(rank).collect()
            };
            let mut run = Run { p, dims: &dims, host: self.host, rows: self.rows.clone(), seek: self.seek.take() };
            let mut given = args.to_vec();
            for (param, j) in body.params[args.len()..].iter().zip(&sums) {
                let shape = run.extents(&param.ty.shape)?;
                given.push(part(&whole[*j], &found[*j], &starts(*j, shape.len()), shape));
            }
            let results = run.function(body, given);
            self.seek = run.seek;
            for (j, piece) in results?.into_iter().enumerate() {
                let start = starts(j, whole[j].len());
                put(&whole[j], &mut found[j], &(start, piece));
            }
        }
        Ok(whole.into_iter().zip(found).map(|(shape, data)| Array::new(shape, data)).collect())
    }

    fn extents_of(&self, k: &Panels, body: &[crate::program::Ty]) -> Result<Vec<Vec<usize>>, RunError> {
        k.result_tys(body).iter().map(|t| self.extents(&t.shape)).collect()
    }
}

/// For each element of a piece in order, its place in the whole.
fn places(whole: &[usize], start: &[usize], shape: &[usize]) -> Vec<usize> {
    let mut found = vec![0];
    for ((extent, first), len) in whole.iter().zip(start).zip(shape) {
        found = found.iter().flat_map(|at| (0..*len).map(move |i| at * extent + first + i)).collect();
    }
    found
}

fn part(whole: &[usize], data: &[f64], start: &[usize], shape: Vec<usize>) -> Array {
    let elements = places(whole, start, &shape).into_iter().map(|at| data[at]).collect();
    Array::new(shape, elements)
}

fn put(whole: &[usize], data: &mut [f64], (start, piece): &Piece) {
    let elements = piece.contiguous();
    for (at, x) in places(whole, start, &piece.shape).into_iter().zip(elements.iter()) {
        data[at] = *x;
    }
}
