//! Sums of products: `@`, equations over any indices, and windows, of which convolutions are made.

use super::super::spec::{Dim, Id, Ty};
use super::{MOST, Scope, Writer};
use dlc_plan::DType;

const INDICES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];

/// The greatest of an extent that is met in tests.
fn extent(dim: Dim) -> f64 {
    dim.at([257, 257]) as f64
}

/// Whether a dynamic size stands in so many axes that a tensor would be too large.
fn too_large(shape: &[Dim]) -> bool {
    let times = |k: usize| shape.iter().filter(|dim| dim.times[k] != 0).count();
    times(0) > 2 || times(1) > 2 || times(0) + times(1) > 3 || shape.len() > 4
}

impl Writer<'_> {
    /// `x @ w` with a weight, or with another value that fits.
    pub(super) fn product(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.rank() > 1 && v.ty.dtype.is_float() && v.most <= 100.0)?;
        let ty = self.ty(x).clone();
        let (lead, last) = (&ty.shape[..ty.rank() - 1], ty.shape[ty.rank() - 1]);
        if last.number().is_some() && !self.dice.one_in(3) {
            let out = self.extent();
            let turned = self.dice.one_in(2);
            let w = self.weight(s, &if turned { [out, last] } else { [last, out] })?;
            let most = self.most(x) * extent(last);
            self.spec.products.push([lead, &[last, out]].concat());
            let ty = Ty::new(DType::F32, &[lead, &[out]].concat());
            return Some(self.make(s, &[x, w], if turned { "$0 @ $1.t" } else { "$0 @ $1" }, ty, most));
        }
        let (rank, rows) = (ty.rank(), ty.shape[..ty.rank() - 2].to_vec());
        let y = self.find(s, |v| {
            let shape = &v.ty.shape;
            let fits = shape.len() == rank && shape[..rank - 2] == rows && shape[rank - 1] == last;
            fits && v.ty.dtype == ty.dtype && v.most <= 100.0
        })?;
        let out = self.ty(y).shape[rank - 2];
        let shape = [lead, &[out]].concat();
        let most = self.most(x) * self.most(y) * extent(last);
        if too_large(&shape) || most > MOST * 10.0 {
            return None;
        }
        self.spec.products.push([&shape[..], &[last]].concat());
        Some(self.make(s, &[x, y], "$0 @ $1.t", Ty::new(ty.dtype, &shape), most))
    }

    /// `y[a, c] = sum[b](x[a, b] * z[c, b])`, over indices that axes of one extent may share.
    pub(super) fn equation(&mut self, s: &mut Scope) -> Option<Id> {
        let real = |most: f64| move |v: &super::Value| v.ty.dtype == DType::F32 && v.ty.rank() > 0 && v.most <= most;
        let x = self.find(s, real(100.0))?;
        let y = self.find(s, real(100.0))?;
        let (a, b) = (self.ty(x).shape.clone(), self.ty(y).shape.clone());
        let mut dims = a.clone();
        let first: Vec<usize> = (0..a.len()).collect();
        let mut second = Vec::new();
        for dim in &b {
            let same = (0..a.len()).find(|k| a[*k] == *dim && !second.contains(k));
            match same.filter(|_| !self.dice.one_in(5)) {
                Some(k) => second.push(k),
                None => {
                    second.push(dims.len());
                    dims.push(*dim);
                }
            }
        }
        let mut out: Vec<usize> = (0..dims.len()).collect();
        let summed: Vec<usize> = out.iter().copied().filter(|_| self.dice.one_in(3)).collect();
        out.retain(|k| !summed.contains(k));
        if self.dice.one_in(2) {
            out.reverse();
        }
        let shape: Vec<Dim> = out.iter().map(|k| dims[*k]).collect();
        let count: f64 = summed.iter().map(|k| extent(dims[*k])).product();
        let most = self.most(x) * self.most(y) * count;
        if out.is_empty() || too_large(&shape) || most > MOST * 10.0 || count > 1e4 {
            return None;
        }
        self.spec.products.push(dims);
        let list = |of: &[usize]| of.iter().map(|k| INDICES[*k]).collect::<Vec<_>>().join(", ");
        let term = format!("$0[{}] * $1[{}]", list(&first), list(&second));
        let term = if summed.is_empty() { term } else { format!("sum[{}]({term})", list(&summed)) };
        let text = format!("$=[{}] = {term}", list(&out));
        Some(self.make(s, &[x, y], text, Ty::new(DType::F32, &shape), most))
    }

    /// Windows along an axis: their sum with weights, their greatest element, or a diagonal.
    pub(super) fn window(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.dtype == DType::F32 && v.ty.rank() > 0 && v.most <= 1e3)?;
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let short = self.allowed.short;
        let axis = self.axis(x, |dim| dim.number().map_or(short, |n| n > 2))?;
        let dim = ty.shape[axis];
        let out = INDICES[..ty.rank()].join(", ");
        let at = |index: String| {
            let mut at: Vec<String> = INDICES[..ty.rank()].iter().map(|n| n.to_string()).collect();
            at[axis] = index;
            at.join(", ")
        };
        let l = INDICES[axis];
        let mut shape = ty.shape.clone();
        let wide = self.dice.pick(&[2, 3]);
        match (self.dice.below(4), dim.number()) {
            (0, Some(_)) => {
                shape[axis] = dim.plus(1 - wide);
                let w = self.weight(s, &[Dim::of(wide)])?;
                let text = format!("$=[{out}] = sum[i]($0[{}] * $1[i])", at(format!("{l} + i")));
                Some(self.make(s, &[x, w], text, Ty::new(ty.dtype, &shape), most * wide as f64))
            }
            (1, Some(n)) => {
                shape[axis] = Dim::of((n - wide) / 2 + 1);
                let op = self.dice.pick(&["max", "min", "mean"]);
                let text = format!("$=[{out}] = {op}[i < {wide}]($0[{}])", at(format!("2 * {l} + i")));
                Some(self.make(s, &[x], text, Ty::new(ty.dtype, &shape), most))
            }
            (2, _) => {
                shape[axis] = dim.plus(1 - wide);
                let text = format!("$=[{out}] = sum[i < {wide}]($0[{}])", at(format!("{l} + i")));
                Some(self.make(s, &[x], text, Ty::new(ty.dtype, &shape), most * wide as f64))
            }
            (3, _) => {
                let text = format!("$=[{out}] = where({l} > 1, $0[{}], {l} * 0.5)", at(l.into()));
                Some(self.make(s, &[x], text, ty, most.max(130.0)))
            }
            _ => None,
        }
    }
}
