//! What works on axes: reductions, slices, pads, what joins and takes apart, rearrangements, gathers, orders.

use super::super::spec::{Dim, Id, Ty};
use super::{MOST, Scope, Writer};
use dlc_plan::DType;

/// The greatest of an extent that is met in tests.
fn extent(dim: Dim) -> f64 {
    dim.at([257, 257]) as f64
}

/// Letters for axes in a rearrangement. Names stay bound behind it, so each statement has its own.
const LETTERS: [&str; 8] = ["I", "J", "K", "L", "M", "N", "P", "Q"];

impl Writer<'_> {
    /// One axis of a value.
    pub(super) fn axis(&mut self, x: Id, fits: impl Fn(Dim) -> bool) -> Option<usize> {
        let shape = self.ty(x).shape.clone();
        let there: Vec<usize> = (0..shape.len()).filter(|k| fits(shape[*k])).collect();
        if there.is_empty() { None } else { Some(self.dice.pick(&there)) }
    }

    /// An axis as it may be written: from the front or from the end.
    fn spelled(&mut self, axis: usize, rank: usize) -> String {
        if self.dice.one_in(2) { format!("-{}", rank - axis) } else { axis.to_string() }
    }

    pub(super) fn reduced(&mut self, s: &mut Scope) -> Option<Id> {
        let bytes = self.allowed.bytes;
        let x = self.find(s, |v| v.ty.rank() > 0 && (bytes || !matches!(v.ty.dtype, DType::U8 | DType::Bool)))?;
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let mut picked: Vec<usize> = (0..ty.rank()).filter(|_| self.dice.one_in(2)).collect();
        let ops: &[&str] = match ty.dtype {
            DType::Bool => &["any", "all"],
            d if d.is_int() => &["sum", "max", "mean", "min", "argmax"],
            _ => &["sum", "mean", "max", "min", "argmax", "prod"],
        };
        let op = self.dice.pick(ops);
        if picked.is_empty() || op == "argmax" {
            picked = vec![self.dice.below(ty.rank())];
        }
        let count: f64 = picked.iter().map(|k| extent(ty.shape[*k])).product();
        let dtype = match op {
            "argmax" => DType::I64,
            "mean" if !ty.dtype.is_float() => DType::F32,
            "sum" if ty.dtype.is_int() => DType::I64,
            _ => ty.dtype,
        };
        let empty = picked.iter().any(|k| ty.shape[*k].number().is_none_or(|n| n < 1));
        let most = match op {
            "sum" => most * count,
            "argmax" => count,
            "prod" if count > 64.0 || most > 1.5 => return None,
            "prod" => most.max(1.0).powf(count),
            _ => most,
        };
        // The greatest integer of none has no value of its own.
        let none = ty.dtype != DType::F32 && empty;
        if (most > MOST * 100.0 && op != "argmax") || (none && matches!(op, "max" | "min")) {
            return None;
        }
        let keep = self.dice.one_in(3);
        let axes: Vec<String> = picked.iter().map(|k| self.spelled(*k, ty.rank())).collect();
        let all = picked.len() == ty.rank() && op != "argmax" && !keep && self.dice.one_in(2);
        let axes =
            if all { String::new() } else { format!("[{}{}]", axes.join(", "), if keep { ", keep" } else { "" }) };
        let mut shape = Vec::new();
        for (k, dim) in ty.shape.iter().enumerate() {
            match (picked.contains(&k), keep) {
                (false, _) => shape.push(*dim),
                (true, true) => shape.push(Dim::of(1)),
                (true, false) => {}
            }
        }
        Some(self.make(s, &[x], format!("{op}{axes}($0)"), Ty::new(dtype, &shape), most))
    }

    pub(super) fn sliced(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.rank() > 0)?;
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let short = self.allowed.short;
        let axis = self.axis(x, |dim| dim.number().is_none_or(|n| n > 0))?;
        let dim = ty.shape[axis];
        let n = self.dice.pick(&[1, 2, 3, 5]).min(dim.number().unwrap_or(9));
        let (text, left) = match (self.dice.below(8), dim.number()) {
            (0, _) => (format!(":{n}"), Some(Dim::of(n))),
            (1, _) => ((n - 1).to_string(), None),
            (2, Some(_)) => (format!("-{n}:"), Some(Dim::of(n))),
            (2, None) if short => (format!("-{n}:"), Some(Dim::of(n))),
            (3, Some(_)) => (format!("-{n}"), None),
            (3, None) if short => (format!("-{n}"), None),
            (4, _) => (format!("{n}:"), Some(dim.plus(-n))),
            (5, Some(len)) => ("::2".into(), Some(Dim::of((len + 1) / 2))),
            (6, Some(len)) if len > 2 => ("1:-1".into(), Some(Dim::of(len - 2))),
            (6, None) if short => ("1:-1".into(), Some(dim.plus(-2))),
            (7, _) => return self.with_new_axis(s, x),
            _ => return None,
        };
        let mut items = vec![":".to_string(); axis];
        items.push(text);
        let mut shape = ty.shape.clone();
        match left {
            Some(left) => shape[axis] = left,
            None => drop(shape.remove(axis)),
        }
        Some(self.make(s, &[x], format!("$0[{}]", items.join(", ")), Ty::new(ty.dtype, &shape), most))
    }

    fn with_new_axis(&mut self, s: &mut Scope, x: Id) -> Option<Id> {
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        if ty.rank() > 3 {
            return None;
        }
        let at = self.dice.below(ty.rank() + 1);
        let mut items = vec![":"; at];
        items.push("none");
        let mut shape = ty.shape.clone();
        shape.insert(at, Dim::of(1));
        Some(self.make(s, &[x], format!("$0[{}]", items.join(", ")), Ty::new(ty.dtype, &shape), most))
    }

    pub(super) fn joined(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.rank() > 0)?;
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let y = self.find(s, |v| v.ty == ty).unwrap_or(x);
        let most = most.max(self.most(y));
        let axis = self.dice.below(ty.rank());
        let spelled = self.spelled(axis, ty.rank());
        let mut shape = ty.shape.clone();
        match self.dice.below(4) {
            0 if ty.dtype != DType::Bool => {
                let (before, after) = self.dice.pick(&[(1, 0), (0, 2), (2, 1), (0, 0)]);
                shape[axis] = shape[axis].plus(before + after);
                let text = format!("pad[{spelled}]($0, {before}, {after})");
                Some(self.make(s, &[x], text, Ty::new(ty.dtype, &shape), most))
            }
            1 if ty.rank() < 4 => {
                shape.insert(axis, Dim::of(2));
                Some(self.make(s, &[x, y], format!("stack[{axis}]($0, $1)"), Ty::new(ty.dtype, &shape), most))
            }
            2 => {
                let axis = self.axis(x, |dim| dim.number().is_some_and(|n| n > 1))?;
                let n = shape[axis].number()?;
                let first = 1 + self.dice.below(n as usize - 1) as i64;
                let tys = [first, n - first].map(|part| {
                    shape[axis] = Dim::of(part);
                    Ty::new(ty.dtype, &shape)
                });
                let text = format!("$=, $+ = split[{axis}]($0, [{first}, {}])", n - first);
                Some(self.make_two(s, &[x], &text, tys, [most; 2]))
            }
            _ => {
                shape[axis] = shape[axis].by(2);
                Some(self.make(s, &[x, y], format!("concat[{spelled}]($0, $1)"), Ty::new(ty.dtype, &shape), most))
            }
        }
    }

    pub(super) fn arranged(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| (1..5).contains(&v.ty.rank()))?;
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let names: Vec<String> = LETTERS[..ty.rank()].iter().map(|l| format!("{l}$#")).collect();
        let (mut left, mut right, mut shape) = (names.clone(), names, ty.shape.clone());
        match self.dice.below(4) {
            0 | 1 if ty.rank() > 1 => {
                let (a, b) = (self.dice.below(ty.rank()), self.dice.below(ty.rank()));
                right.swap(a, b);
                shape.swap(a, b);
            }
            2 if ty.rank() > 1 => {
                let axis = self.dice.below(ty.rank() - 1);
                let merged = match (shape[axis].number(), shape[axis + 1].number()) {
                    (Some(n), _) => shape[axis + 1].by(n),
                    (_, Some(n)) => shape[axis].by(n),
                    (None, None) => return None,
                };
                shape.splice(axis..axis + 2, [merged]);
                let group = format!("({}, {})", right[axis], right[axis + 1]);
                right.splice(axis..axis + 2, [group]);
            }
            _ if ty.rank() < 4 => {
                let axis = self.axis(x, |dim| dim.number().is_some_and(|n| n > 1 && n % 2 == 0))?;
                let half = shape[axis].number()? / 2;
                shape.splice(axis..axis + 1, [Dim::of(2), Dim::of(half)]);
                left[axis] = format!("(2, {})", left[axis]);
                right.insert(axis, "2".into());
            }
            _ => return None,
        }
        let text = format!("$0 -> [{} => {}]", left.join(", "), right.join(", "));
        Some(self.make(s, &[x], text, Ty::new(ty.dtype, &shape), most))
    }

    pub(super) fn gathered(&mut self, s: &mut Scope) -> Option<Id> {
        let ids = self.find(s, |v| matches!(v.ty.dtype, DType::I64 | DType::I32) && v.ty.rank() > 0 && v.most < 2e9)?;
        let (at, below, known) = (self.ty(ids).clone(), self.most(ids), self.spec.values[ids].index);
        let dynamic = self.dice.one_in(8);
        let enough = |dim: Dim| match dim.number() {
            Some(n) => n > 0 && (!known || n as f64 >= below),
            None => dynamic && !known,
        };
        let table = self.find(s, |v| v.ty.dtype == DType::F32 && v.ty.shape.iter().any(|dim| enough(*dim)))?;
        let (ty, most) = (self.ty(table).clone(), self.most(table));
        let axis = self.axis(table, enough)?;
        if ty.rank() + at.rank() > 5 {
            return None;
        }
        let mut shape = ty.shape.clone();
        shape.splice(axis..axis + 1, at.shape.iter().copied());
        let dynamics = |k: usize| shape.iter().filter(|dim| dim.times[k] != 0).count();
        if dynamics(0) > 2 || dynamics(1) > 1 {
            return None;
        }
        let mut items = vec![":"; axis];
        items.push("$1");
        let text = format!("$0[{}]", items.join(", "));
        Some(self.make(s, &[table, ids], text, Ty::new(ty.dtype, &shape), most))
    }

    pub(super) fn ordered(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.rank() > 0 && !matches!(v.ty.dtype, DType::Bool | DType::F16 | DType::BF16))?;
        let (ty, most) = (self.ty(x).clone(), self.most(x));
        let axis = self.dice.below(ty.rank());
        let dim = ty.shape[axis];
        let spelled = self.spelled(axis, ty.rank());
        match (self.dice.below(3), dim.number()) {
            (0, _) if ty.dtype != DType::U8 && most * extent(dim) < 1e6 => {
                let ty = ty.with(if ty.dtype.is_int() { DType::I64 } else { ty.dtype });
                Some(self.make(s, &[x], format!("cumsum[{spelled}]($0)"), ty, most * extent(dim)))
            }
            (1, Some(n)) if n > 0 => {
                let k = 1 + self.dice.below(n as usize) as i64;
                let mut shape = ty.shape.clone();
                shape[axis] = Dim::of(k);
                let tys = [ty.dtype, DType::I64].map(|dtype| Ty::new(dtype, &shape));
                let text = format!("$=, $+ = top_k[{spelled}]($0, {k})");
                Some(self.make_two(s, &[x], &text, tys, [most, n as f64]))
            }
            (1, None) | (2, _) => {
                let down = self.dice.pick(&["", ", true"]);
                let tys = [ty.clone(), ty.with(DType::I64)];
                let text = format!("$=, $+ = sort[{spelled}]($0{down})");
                Some(self.make_two(s, &[x], &text, tys, [most, extent(dim)]))
            }
            _ => None,
        }
    }
}
