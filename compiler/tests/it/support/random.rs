//! Random programs: a seed to a program of functions, calls and nested loops, over every operation. What it makes is
//! smooth almost everywhere and of moderate size, so that finite differences make sense.

use super::{f32s, repeat};
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::Tensor;
use dlc_compiler::program::{Affine, FnId, Function, Label, Op, Program, ReduceOp, Repeat, Ty, Value};
use dlc_plan::{DType, Prim, Size};
use std::cmp::Ordering;

/// A generator of numbers: splitmix64.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of 0..n.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    /// A number of [-1, 1), never very near to 0.
    pub fn real(&mut self) -> f64 {
        let x = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        let size = 0.1 + 0.9 * x;
        if self.below(2) == 0 { size } else { -size }
    }

    /// A tensor for a parameter of that type, where all dynamic sizes are `dynamic`.
    pub fn tensor(&mut self, t: &Ty, dynamic: i64) -> Tensor {
        let shape: Vec<usize> = t.shape.iter().map(|s| s.eval(&[dynamic]) as usize).collect();
        let n = shape.iter().product();
        let data: Vec<f64> = match t.dtype.is_float() {
            true => (0..n).map(|_| self.real()).collect(),
            false => (0..n).map(|_| self.below(4) as f64 - 1.0).collect(),
        };
        Tensor::new(shape, data)
    }
}

/// A program in the making.
pub struct Maker {
    pub dice: Dice,
    pub p: Program,
    /// Whether there may be a `stop`, which difference quotients do not respect.
    stops: bool,
}

/// A function in the making, and the real values that it has so far.
struct Scope {
    b: Builder,
    pool: Vec<Value>,
    ids: Value,
}

const UNARY: [Prim; 18] = [
    Prim::Neg,
    Prim::Abs,
    Prim::Sign,
    Prim::Floor,
    Prim::Exp,
    Prim::Expm1,
    Prim::Log,
    Prim::Log1p,
    Prim::Sqrt,
    Prim::Rsqrt,
    Prim::Sin,
    Prim::Cos,
    Prim::Tanh,
    Prim::Erf,
    Prim::Erfc,
    Prim::Pow,
    Prim::Rem,
    Prim::Cast(DType::F32),
];

/// A program whose last function is random, with a dynamic size B; its parameters are ids, then real tensors.
pub fn program(seed: u64, stops: bool) -> Maker {
    let p = Program { dims: vec!["B".into()], ..Program::default() };
    let mut m = Maker { dice: Dice(seed), p, stops };
    let n = 8 + m.dice.below(10);
    let types = (0..3).map(|_| m.ty()).collect::<Vec<_>>();
    let f = m.function("f", &types, 2, n, |m, s| {
        let mut results = vec![m.coerce(s, &f32s(&[]))];
        results.extend((0..1 + m.dice.below(2)).map(|_| m.dice.pick(&s.pool)));
        results
    });
    m.p.add(f);
    m
}

fn ids_ty() -> Ty {
    Ty { dtype: DType::I64, shape: vec![Size::dim(0)] }
}

impl Maker {
    /// The last function.
    pub fn last(&self) -> FnId {
        FnId(self.p.functions.len() as u32 - 1)
    }

    /// Arguments for a function, with B = `dynamic`.
    pub fn args(&mut self, f: FnId, dynamic: i64) -> Vec<Tensor> {
        let types: Vec<Ty> = self.p.function(f).params.iter().map(|q| q.ty.clone()).collect();
        types.iter().map(|t| self.dice.tensor(t, dynamic)).collect()
    }

    fn ty(&mut self) -> Ty {
        let rank = self.dice.below(3);
        let sizes = [Size::dim(0), Size::from(2), Size::from(3), Size::from(4), Size::one()];
        Ty { dtype: DType::F32, shape: (0..rank).map(|_| self.dice.pick(&sizes)).collect() }
    }

    fn function(
        &mut self,
        name: &str,
        types: &[Ty],
        depth: usize,
        nodes: usize,
        results: impl FnOnce(&mut Maker, &mut Scope) -> Vec<Value>,
    ) -> Function {
        let mut b = Builder::new(name);
        let ids = b.param("ids", ids_ty());
        let mut pool: Vec<Value> = types.iter().enumerate().map(|(i, t)| b.param(format!("x{i}"), t.clone())).collect();
        let half = b.constant(DType::F32, 0.5);
        pool.push(half);
        let mut s = Scope { b, pool, ids };
        for _ in 0..nodes {
            self.grow(&mut s, depth);
        }
        let gives = results(self, &mut s);
        s.b.finish(gives)
    }

    /// Any value, made to have that type.
    fn coerce(&mut self, s: &mut Scope, t: &Ty) -> Value {
        let v = self.dice.pick(&s.pool);
        if s.b.ty(v) == t && self.dice.below(4) > 0 {
            return v;
        }
        let axes: Vec<usize> = (0..s.b.ty(v).rank()).collect();
        let sum = s.b.reduce(ReduceOp::Sum, v, &axes);
        let small = s.b.map(Prim::Tanh, &[sum]);
        let shown = s.b.broadcast(small, vec![], &t.shape);
        match s.pool.iter().find(|p| s.b.ty(**p) == t).copied() {
            Some(other) => s.b.map(Prim::Mul, &[shown, other]),
            None => shown,
        }
    }

    /// One more value.
    fn grow(&mut self, s: &mut Scope, depth: usize) {
        let x = self.dice.pick(&s.pool);
        let y = match self.dice.below(16) {
            0..3 => self.unary(s, x),
            3..6 => self.binary(s, x),
            6 => self.reduced(s, x),
            7 | 8 => self.viewed(s, x),
            9 => self.contracted(s, x),
            10 => self.gathered(s, x),
            11 => self.chosen(s, x),
            12 => self.joined(s, x),
            13 if depth > 0 => return self.called(s, depth),
            14 | 15 if depth > 0 => return self.looped(s, depth),
            _ => self.binary(s, x),
        };
        s.pool.push(y);
    }

    fn unary(&mut self, s: &mut Scope, x: Value) -> Value {
        let positive = |s: &mut Scope| {
            let square = s.b.map(Prim::Mul, &[x, x]);
            s.b.with_number(Prim::Add, square, 0.5)
        };
        match self.dice.pick(&UNARY) {
            prim @ (Prim::Log | Prim::Log1p | Prim::Sqrt | Prim::Rsqrt) => {
                let x = positive(s);
                s.b.map(prim, &[x])
            }
            prim @ (Prim::Exp | Prim::Expm1) => {
                let small = s.b.map(Prim::Sin, &[x]);
                s.b.map(prim, &[small])
            }
            Prim::Pow => {
                let x = positive(s);
                let e = self.dice.pick(&[0.5, 2.0, 3.0, -1.0, 1.0, 0.0]);
                s.b.with_number(Prim::Pow, x, e)
            }
            Prim::Rem => s.b.with_number(Prim::Rem, x, 0.7),
            Prim::Cast(_) => {
                let short = s.b.cast(x, DType::I32);
                s.b.cast(short, DType::F32)
            }
            prim => s.b.map(prim, &[x]),
        }
    }

    fn binary(&mut self, s: &mut Scope, x: Value) -> Value {
        let same: Vec<Value> = s.pool.iter().copied().filter(|v| s.b.ty(*v) == s.b.ty(x)).collect();
        let y = match self.dice.below(3) {
            0 => {
                let t = s.b.ty(x).clone();
                self.coerce(s, &t)
            }
            1 => {
                let n = self.dice.pick(&[0.0, 1.0, 2.0, -0.5]);
                let t = s.b.ty(x).clone();
                s.b.full(DType::F32, n, &t.shape)
            }
            _ => self.dice.pick(&same),
        };
        match self.dice.pick(&[Prim::Add, Prim::Sub, Prim::Mul, Prim::Div, Prim::Max, Prim::Min]) {
            Prim::Div => {
                let square = s.b.map(Prim::Mul, &[y, y]);
                let y = s.b.with_number(Prim::Add, square, 1.0);
                s.b.map(Prim::Div, &[x, y])
            }
            prim => s.b.map(prim, &[x, y]),
        }
    }

    fn reduced(&mut self, s: &mut Scope, x: Value) -> Value {
        let axes: Vec<usize> = (0..s.b.ty(x).rank()).filter(|_| self.dice.below(2) == 0).collect();
        let x = s.b.map(Prim::Tanh, &[x]);
        let op = self.dice.pick(&[ReduceOp::Sum, ReduceOp::Sum, ReduceOp::Max, ReduceOp::Min, ReduceOp::Prod]);
        // An empty maximum is infinite, which is right and makes no difference quotient.
        if self.dice.below(2) == 0 { s.b.reduce(op, x, &axes) } else { s.b.reduce_keep(op, x, &axes) }
    }

    fn viewed(&mut self, s: &mut Scope, x: Value) -> Value {
        let shape = s.b.shape(x);
        let fixed: Vec<usize> = (0..shape.len()).filter(|k| shape[*k].known().is_some_and(|n| n > 1)).collect();
        match (self.dice.below(8), fixed.is_empty()) {
            (0, _) if shape.len() == 2 => s.b.permute(x, &[1, 0]),
            (1, _) => s.b.merge(x, self.dice.below(shape.len() + 1), 0),
            (2, _) if shape.len() == 2 => s.b.merge(x, 0, 2),
            (3, false) => {
                let axis = self.dice.pick(&fixed);
                let n = shape[axis].known().unwrap();
                let (start, step, len) =
                    self.dice.pick(&[(0, 1, n - 1), (n - 1, -1, n), (1, 1, n - 1), (n - 1, -2, 1)]);
                s.b.slice(x, axis, Size::from(start), step, Size::from(len))
            }
            (4, false) => {
                let axis = self.dice.pick(&fixed);
                let n = shape[axis].known().unwrap();
                let (before, step) = self.dice.pick(&[(1, 1), (0, 2), (n, -1), (2 * n - 1, -2)]);
                s.b.pad(x, axis, Size::from(before), step, Size::from(2 * n + 1))
            }
            (5, false) => {
                let axis = self.dice.pick(&fixed);
                let n = shape[axis].known().unwrap();
                let into = if n % 2 == 0 { [2, n / 2] } else { [1, n] };
                s.b.split(x, axis, &into.map(Size::from))
            }
            (6, false) => {
                // A window: the axis becomes two, whose indices add up to its own.
                let axis = self.dice.pick(&fixed);
                let n = shape[axis].known().unwrap();
                let (start, steps, extents) = self.dice.pick(&[
                    (0, [1, 1], [n - 1, 2]),
                    (1, [1, -1], [n - 1, 2]),
                    (0, [2, 1], [(n + 1) / 2, 1]),
                    (n - 1, [-1, -1], [2, n - 1]),
                ]);
                let mut wide = shape.clone();
                wide.splice(axis..=axis, extents.map(Size::from));
                let at = |k: usize| match k.cmp(&axis) {
                    Ordering::Less => Affine { start: Size::zero(), steps: vec![(k, 1)] },
                    Ordering::Equal => {
                        Affine { start: Size::from(start), steps: vec![(k, steps[0]), (k + 1, steps[1])] }
                    }
                    Ordering::Greater => Affine { start: Size::zero(), steps: vec![(k + 1, 1)] },
                };
                s.b.affine(x, (0..shape.len()).map(at).collect(), wide)
            }
            (7, _) if shape.len() == 2 && shape[0] == shape[1] => {
                let at = || Affine { start: Size::zero(), steps: vec![(0, 1)] };
                s.b.affine(x, vec![at(), at()], shape[..1].to_vec())
            }
            _ => {
                let mut wide = shape;
                let at = self.dice.below(wide.len() + 1);
                wide.insert(at, Size::from(2));
                s.b.broadcast(x, (0..wide.len()).filter(|k| *k != at).collect(), &wide)
            }
        }
    }

    /// The contraction of two values, over axes that happen to have one extent.
    fn contracted(&mut self, s: &mut Scope, x: Value) -> Value {
        let y = self.dice.pick(&s.pool);
        let (a, b) = (s.b.shape(x), s.b.shape(y));
        let la: Vec<Label> = (0..a.len() as u8).collect();
        let mut taken = Vec::new();
        let mut lb: Vec<Label> = Vec::new();
        for (k, n) in b.iter().enumerate() {
            let same = (0..a.len()).find(|i| a[*i] == *n && !taken.contains(i));
            match same.filter(|_| self.dice.below(4) > 0) {
                Some(i) => {
                    taken.push(i);
                    lb.push(i as u8);
                }
                None => lb.push(10 + k as u8),
            }
        }
        let mut out: Vec<Label> =
            la.iter().chain(&lb).copied().filter(|l| !(la.contains(l) && lb.contains(l))).collect();
        let both: Vec<Label> = la.iter().copied().filter(|l| lb.contains(l) && self.dice.below(3) == 0).collect();
        out.extend(both);
        if self.dice.below(2) == 0 {
            out.reverse();
        }
        s.b.contract(x, y, &la, &lb, &out)
    }

    fn gathered(&mut self, s: &mut Scope, x: Value) -> Value {
        let shape = s.b.shape(x);
        let ids_size = Size::dim(0);
        match shape.split_first() {
            Some((first, rest)) if *first == ids_size && self.dice.below(2) == 0 => {
                let shape = [vec![Size::from(3)], rest.to_vec()].concat();
                s.b.node(Op::Scatter, vec![s.ids, x], Ty { dtype: DType::F32, shape })
            }
            Some((_, rest)) => {
                let shape = [vec![ids_size], rest.to_vec()].concat();
                s.b.node(Op::Gather, vec![x, s.ids], Ty { dtype: DType::F32, shape })
            }
            None => self.stopped(s, x),
        }
    }

    fn stopped(&mut self, s: &mut Scope, x: Value) -> Value {
        let t = s.b.ty(x).clone();
        if self.stops { s.b.node(Op::Stop, vec![x], t) } else { s.b.map(Prim::Sin, &[x]) }
    }

    fn chosen(&mut self, s: &mut Scope, x: Value) -> Value {
        let t = s.b.ty(x).clone();
        let y = self.coerce(s, &t);
        let test = match self.dice.below(3) {
            0 => {
                let site = s.b.constant(DType::I32, self.dice.below(5) as f64);
                let random = s.b.node(Op::Random, vec![site], t);
                s.b.with_number(Prim::Lt, random, 0.7)
            }
            1 if t.rank() > 0 => {
                let i = s.b.iota(DType::I64, &t.shape, self.dice.below(t.rank()));
                s.b.with_number(Prim::Le, i, 0.0)
            }
            _ => {
                let less = s.b.with_number(Prim::Lt, x, 0.3);
                let more = s.b.map(Prim::Le, &[y, x]);
                s.b.map(self.dice.pick(&[Prim::And, Prim::Or]), &[less, more])
            }
        };
        s.b.map(Prim::Where, &[test, x, y])
    }

    fn joined(&mut self, s: &mut Scope, x: Value) -> Value {
        let t = s.b.ty(x).clone();
        if t.rank() == 0 {
            return self.stopped(s, x);
        }
        let axis = self.dice.below(t.rank());
        let y = self.coerce(s, &t);
        let mut whole = t;
        whole.shape[axis] = whole.shape[axis].times(&Size::from(2));
        s.b.node(Op::Concat(axis), vec![x, y], whole)
    }

    /// A call of a random function, or of one whose derivative is stated.
    fn called(&mut self, s: &mut Scope, depth: usize) {
        if self.dice.below(2) == 0 {
            let x = self.dice.pick(&s.pool);
            let t = s.b.ty(x).clone();
            let f = sigmoid(&mut self.p, &t);
            s.pool.extend(s.b.call(f, vec![x], vec![t]));
            return;
        }
        let types = (0..1 + self.dice.below(2)).map(|_| self.ty()).collect::<Vec<_>>();
        let n = 2 + self.dice.below(4);
        let f = self.function("callee", &types, depth - 1, n, |m, s| {
            (0..1 + m.dice.below(2)).map(|_| m.dice.pick(&s.pool)).collect()
        });
        let tys = f.result_tys();
        let f = self.p.add(f);
        let mut args = vec![s.ids];
        args.extend(types.iter().map(|t| self.coerce(s, t)));
        s.pool.extend(s.b.call(f, args, tys));
    }

    fn looped(&mut self, s: &mut Scope, depth: usize) {
        let (carried, invariant) = (1 + self.dice.below(2), self.dice.below(2));
        let (stacks, rows) = (self.dice.below(2), self.dice.below(3));
        let (stacked, row_results) = (self.dice.below(2), self.dice.below(2));
        let mut types: Vec<Ty> = (0..carried + invariant + stacks + rows).map(|_| self.ty()).collect();
        let n = 3 + self.dice.below(4);
        // The ids are the first invariant, which is where a body's first parameter cannot stand: they are carried along.
        let body = self.function("body", &types, depth - 1, n, |m, s| {
            let mut results = vec![s.ids];
            results.extend(types[..carried].iter().map(|t| m.coerce(s, t)));
            results.extend((0..stacked + row_results).map(|_| m.dice.pick(&s.pool)));
            results
        });
        let results = body.result_tys();
        types.insert(0, ids_ty());
        let body = self.p.add(body);
        let count = 1 + self.dice.below(3);
        let reverse = self.dice.below(2) == 0;
        let r = repeat(body, count);
        let r = Repeat { carried: carried + 1, invariant, stacks, rows, stacked, row_results, reverse, ..r };
        let mut args = vec![s.ids];
        for (i, t) in types.iter().enumerate().skip(1) {
            let slices = (1 + carried + invariant..1 + carried + invariant + stacks).contains(&i);
            let t = if slices { r.stack_ty(t) } else { t.clone() };
            args.extend((0..r.args_of(i).len()).map(|_| self.coerce(s, &t)).collect::<Vec<_>>());
        }
        let tys = r.result_tys(&results);
        s.pool.extend(s.b.repeat(r, args, tys).into_iter().skip(1));
    }
}

/// 1 / (1 + exp(-x)) of a type, with its derivative stated.
pub fn sigmoid(p: &mut Program, t: &Ty) -> FnId {
    let d = super::function("sigmoid.derivative", &[t.clone(), t.clone(), t.clone()], |b, x| {
        let one = b.full(DType::F32, 1.0, &t.shape);
        let rest = b.map(Prim::Sub, &[one, x[1]]);
        let slope = b.map(Prim::Mul, &[x[1], rest]);
        vec![b.map(Prim::Mul, &[x[2], slope])]
    });
    let d = p.add(d);
    let mut f = super::function("sigmoid", std::slice::from_ref(t), |b, x| {
        let minus = b.map(Prim::Neg, &[x[0]]);
        let e = b.map(Prim::Exp, &[minus]);
        let sum = b.with_number(Prim::Add, e, 1.0);
        let one = b.full(DType::F32, 1.0, &t.shape);
        vec![b.map(Prim::Div, &[one, sum])]
    });
    f.derivative = Some(d);
    p.add(f)
}
