//! Gradients against central finite differences in double precision, and at the corners against PyTorch's choices.

use super::support::random::{self, Dice, sigmoid};
use super::support::{counting, f32s, function, repeat, single, sizes, tensor, ty};
use dlc_compiler::grad::{Gradient, Residual, accumulate, gradient};
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{self, Tensor, run_entry};
use dlc_compiler::program::verify::verify;
use dlc_compiler::program::{Affine, Entry, FnId, Op, Program, ReduceOp, Repeat, Role, Ty, Value, Weight, WeightId};
use dlc_plan::{DType, HostState, Prim, Size};

fn run(p: &Program, f: FnId, args: Vec<Tensor>, dims: &[i64]) -> Vec<Tensor> {
    interp::run(p, f, args, dims, &HostState::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// Runs forward and backward functions; gives the results and the cotangent of each wanted parameter.
fn pull(
    p: &Program,
    g: &Gradient,
    f: FnId,
    args: &[Tensor],
    dys: &[Tensor],
    dims: &[i64],
) -> Vec<(usize, Option<Tensor>)> {
    let own = p.function(f).results.len();
    let forward = run(p, g.forward, args.to_vec(), dims);
    assert_eq!(forward[..own], run(p, f, args.to_vec(), dims), "the forward function gives what the function gives");
    let residual = |r: &Residual| match r {
        Residual::Param(i) => args[*i].clone(),
        Residual::Result(j) => forward[*j].clone(),
        Residual::Kept(k) => forward[own + k].clone(),
    };
    let given = g.residuals.iter().map(residual).chain(dys.iter().cloned()).collect();
    let found = run(p, g.backward, given, dims);
    g.cotangents.iter().map(|(i, k)| (*i, k.map(|k| found[k].clone()))).collect()
}

/// The gradient of a function for all its real parameters, against differences of sum(dy * result).
fn check(p: &Program, f: FnId, args: &[Tensor], what: &str) {
    let dims = interp::bind(p, f, args).unwrap();
    let mut p = p.clone();
    let function = p.function(f);
    let wanted: Vec<usize> = (0..function.params.len()).filter(|i| function.params[*i].ty.dtype.is_float()).collect();
    let real: Vec<bool> = function.result_tys().iter().map(|t| t.dtype.is_float()).collect();
    let mut dice = Dice(7);
    let results = run(&p, f, args.to_vec(), &dims);
    let dys: Vec<Tensor> = results
        .iter()
        .zip(&real)
        .filter(|(_, real)| **real)
        .map(|(t, _)| Tensor::new(t.shape.clone(), t.data.iter().map(|_| dice.real()).collect::<Vec<_>>()))
        .collect();
    let g = gradient(&mut p, f, &wanted);
    verify(&p).unwrap_or_else(|e| panic!("{what}: {e}"));
    let found = pull(&p, &g, f, args, &dys, &dims);
    let loss = |args: Vec<Tensor>| -> f64 {
        let results = run(&p, f, args, &dims);
        let real = results.iter().zip(&real).filter(|(_, real)| **real).map(|(t, _)| t);
        real.zip(&dys).flat_map(|(t, dy)| t.data.iter().zip(&dy.data)).map(|(y, dy)| y * dy).sum()
    };
    let scale = 1.0 + loss(args.to_vec()).abs();
    for (i, dx) in found {
        let shift = |k: usize, h: f64| {
            let mut moved = args.to_vec();
            moved[i].data[k] += h;
            loss(moved)
        };
        for k in 0..args[i].data.len().min(24) {
            let slope = |h: f64| (shift(k, h) - shift(k, -h)) / (2.0 * h);
            let (h, got) = (2e-5, dx.as_ref().map_or(0.0, |t| t.data[k]));
            let (coarse, expected) = (slope(h * 4.0), slope(h));
            // Near a corner or a jump two steps differ, and neither tells the slope.
            let bound = 1e-6 * (scale + got.abs() + expected.abs());
            if (coarse - expected).abs() < bound * 10.0 {
                assert!((got - expected).abs() < bound * 10.0, "{what}: d/dx{i}[{k}] is {expected}, not {got}");
            }
        }
    }
}

/// A function of these types, checked at given arguments.
fn check_at(what: &str, types: &[Ty], args: Vec<Tensor>, build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>) {
    let p = single(function("f", types, build));
    verify(&p).unwrap_or_else(|e| panic!("{what}: {e}"));
    check(&p, FnId(0), &args, what);
}

/// The cotangents, for cotangents of ones, of all real parameters of a function.
fn gradients(
    types: &[Ty],
    args: Vec<Tensor>,
    build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>,
) -> Vec<Vec<f64>> {
    let mut p = single(function("f", types, build));
    let wanted: Vec<usize> = (0..types.len()).filter(|i| types[*i].dtype.is_float()).collect();
    let g = gradient(&mut p, FnId(0), &wanted);
    verify(&p).unwrap_or_else(|e| panic!("{e}"));
    let results = run(&p, FnId(0), args.clone(), &[]);
    let ones: Vec<Tensor> = results.iter().map(|t| Tensor::new(t.shape.clone(), vec![1.0; t.data.len()])).collect();
    let zeros = |i: usize| vec![0.0; args[i].data.len()];
    pull(&p, &g, FnId(0), &args, &ones, &[]).into_iter().map(|(i, t)| t.map_or(zeros(i), |t| t.data)).collect()
}

#[test]
fn every_primitive() {
    let line = f32s(&[4]);
    for row in dlc_plan::PRIMS {
        let prim = match row.prim {
            Prim::And | Prim::Or | Prim::Not => continue,
            Prim::Cast(_) => continue,
            other => other,
        };
        // Bases and arguments of logarithms are positive; nothing is near a tie.
        let args = vec![
            tensor(&[4], &[0.3, 1.7, 2.2, 0.9]),
            tensor(&[4], &[1.2, 0.4, 2.6, -0.7]),
            tensor(&[4], &[0.5, -2.0, 3.0, 1.0]),
        ];
        let name = prim.name();
        check_at(name, &[line.clone(), line.clone(), line.clone()], args, |b, x| match row.arity {
            1 => vec![b.map(prim, &x[..1])],
            2 => {
                let y = b.map(prim, &x[..2]);
                vec![b.cast(y, DType::F32), x[2]]
            }
            _ => {
                let test = b.map(Prim::Lt, &[x[0], x[1]]);
                vec![b.map(prim, &[test, x[1], x[2]])]
            }
        });
    }
}

#[test]
fn powers_with_known_exponents() {
    for e in [0.0, 0.5, 1.0, 2.0, 3.0, -1.5] {
        check_at(&format!("^ {e}"), &[f32s(&[2])], vec![tensor(&[2], &[0.4, 1.9])], |b, x| {
            vec![b.with_number(Prim::Pow, x[0], e)]
        });
    }
}

#[test]
fn every_view() {
    let args = || vec![tensor(&[2, 3], &[0.3, -0.7, 1.1, 0.9, 2.0, -1.2])];
    let twice = |b: &mut Builder, v: Value| vec![b.map(Prim::Sin, &[v])];
    let t = [f32s(&[2, 3])];
    check_at("permute", &t, args(), |b, x| {
        let v = b.permute(x[0], &[1, 0]);
        twice(b, v)
    });
    check_at("broadcast", &t, args(), |b, x| {
        let v = b.broadcast(x[0], vec![1, 3], &sizes(&[2, 2, 4, 3]));
        let w = b.iota(DType::I64, &sizes(&[2, 2, 4, 3]), 2);
        let w = b.cast(w, DType::F32);
        vec![b.map(Prim::Mul, &[v, w])]
    });
    for (start, step, len) in [(0, 1, 2), (1, 1, 2), (2, -1, 3), (2, -2, 2), (0, 2, 2), (1, 1, 0)] {
        check_at("slice", &t, args(), |b, x| {
            let v = b.slice(x[0], 1, Size::from(start), step, Size::from(len));
            twice(b, v)
        });
    }
    for (before, step, len) in [(0, 1, 4), (2, 1, 5), (1, 3, 8), (2, -1, 3), (5, -2, 7)] {
        check_at("pad", &t, args(), |b, x| {
            let v = b.pad(x[0], 1, Size::from(before), step, Size::from(len));
            twice(b, v)
        });
    }
    check_at("merge and split", &t, args(), |b, x| {
        let v = b.merge(x[0], 0, 2);
        let v = b.split(v, 0, &sizes(&[3, 1, 2]));
        let v = b.split(v, 1, &[]);
        let v = b.merge(v, 0, 0);
        twice(b, v)
    });
}

#[test]
fn windows_and_diagonals() {
    let at = |start: i64, steps: &[(usize, i64)]| Affine { start: Size::from(start), steps: steps.to_vec() };
    let cases: [(&[i64], Vec<Affine>, &[i64]); 9] = [
        (&[2, 5], vec![at(0, &[(0, 1)]), at(0, &[(1, 1), (2, 1)])], &[2, 3, 3]),
        (&[2, 9], vec![at(0, &[(0, 1)]), at(1, &[(1, 2), (2, 3)])], &[2, 2, 2]),
        (&[7], vec![at(6, &[(0, -1), (1, -2)])], &[3, 3]),
        (&[7], vec![at(2, &[(0, 2), (1, -1)])], &[3, 3]),
        (&[4, 4], vec![at(0, &[(0, 1)]), at(0, &[(0, 1)])], &[4]),
        (&[3, 7], vec![at(0, &[(0, 1)]), at(0, &[(0, 1), (1, 1)])], &[3, 4]),
        (&[5, 4], vec![at(0, &[(0, 1), (1, 1)]), at(2, &[(0, 1), (1, -1)])], &[2, 3]),
        (&[5, 6], vec![at(1, &[(0, 2)]), at(0, &[(0, 1), (1, 2)])], &[2, 3]),
        (&[4], vec![at(1, &[])], &[2, 2]),
    ];
    for (from, axes, to) in cases {
        let len: i64 = from.iter().product();
        let data: Vec<f64> = (0..len).map(|i| (i as f64 * 1.7).sin()).collect();
        let shape: Vec<usize> = from.iter().map(|n| *n as usize).collect();
        let what = format!("{axes:?}");
        check_at(&what, &[f32s(from)], vec![tensor(&shape, &data)], |b, x| {
            let v = b.affine(x[0], axes.clone(), sizes(to));
            vec![b.map(Prim::Sin, &[v])]
        });
    }
}

#[test]
fn a_contraction_over_windows_has_contractions_for_gradients() {
    // x[b, 2 h + i, w + 2 j] k[o, i, j] -> y[b, o, h, w]
    let at = |steps: &[(usize, i64)]| Affine { start: Size::zero(), steps: steps.to_vec() };
    let (x, k) = (f32s(&[2, 7, 8]), f32s(&[3, 3, 2]));
    let f = function("f", &[x, k], |b, x| {
        let axes = vec![at(&[(0, 1)]), at(&[(1, 2), (3, 1)]), at(&[(2, 1), (4, 2)])];
        let v = b.affine(x[0], axes, sizes(&[2, 3, 6, 3, 2]));
        vec![b.contract(v, x[1], &[0, 1, 2, 3, 4], &[5, 3, 4], &[0, 5, 1, 2])]
    });
    let mut p = single(f);
    check(&p, FnId(0), &[counting(&[2, 7, 8]), counting(&[3, 3, 2])], "a convolution");
    let g = gradient(&mut p, FnId(0), &[0, 1]);
    let nodes = &p.function(g.backward).nodes;
    // That of the image is one for even rows and one for odd ones.
    assert_eq!(nodes.iter().filter(|n| matches!(n.op, Op::Contract(_))).count(), 3);
    assert!(!nodes.iter().any(|n| matches!(n.op, Op::Reduce(..))), "nothing is summed outside of the contractions");
}

#[test]
fn every_reduction() {
    let args = || vec![tensor(&[2, 3], &[0.3, -0.7, 1.1, 0.9, 2.0, -1.2])];
    for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
        for axes in [&[0][..], &[1], &[0, 1]] {
            check_at("reduce", &[f32s(&[2, 3])], args(), |b, x| {
                let r = b.reduce(op, x[0], axes);
                vec![b.map(Prim::Mul, &[r, r])]
            });
        }
    }
}

#[test]
fn contractions() {
    let mut dice = Dice(3);
    for (a, b, out, sa, sb) in [
        (&[0, 1][..], &[1, 2][..], &[0, 2][..], &[2, 3][..], &[3, 4][..]),
        (&[0, 1], &[2, 1], &[2, 0], &[2, 3], &[4, 3]),
        (&[5, 0, 1], &[5, 1, 2], &[0, 5, 2], &[2, 2, 3], &[2, 3, 2]),
        (&[0, 1], &[1, 0], &[0], &[2, 3], &[3, 2]),
        (&[0], &[1], &[1, 0], &[2], &[3]),
        (&[0, 1], &[0, 1], &[], &[2, 3], &[2, 3]),
        (&[], &[0], &[0], &[], &[3]),
    ] {
        let types = [f32s(sa), f32s(sb)];
        let args = types.iter().map(|t| dice.tensor(t, 0)).collect();
        check_at("contract", &types, args, |c, x| vec![c.contract(x[0], x[1], a, b, out)]);
    }
}

#[test]
fn gather_scatter_concat_stop_and_random() {
    let ids = ty(DType::I64, &[4]);
    let (table, rows) = (f32s(&[3, 2]), f32s(&[4, 2]));
    let mut dice = Dice(5);
    let args = vec![tensor(&[4], &[2.0, 0.0, 2.0, 9.0]), dice.tensor(&table, 0), dice.tensor(&rows, 0)];
    check_at("gather, scatter, concat", &[ids, table.clone(), rows.clone()], args, |b, x| {
        let taken = b.node(Op::Gather, vec![x[1], x[0]], f32s(&[4, 2]));
        let mixed = b.map(Prim::Mul, &[taken, x[2]]);
        let put = b.node(Op::Scatter, vec![x[0], mixed], f32s(&[3, 2]));
        let joined = b.node(Op::Concat(0), vec![put, x[2], x[1]], f32s(&[10, 2]));
        vec![b.map(Prim::Sin, &[joined])]
    });
    check_at("random", std::slice::from_ref(&rows), vec![dice.tensor(&rows, 0)], |b, x| {
        let site = b.constant(DType::I32, 3.0);
        let r = b.node(Op::Random, vec![site], f32s(&[4, 2]));
        vec![b.map(Prim::Mul, &[x[0], r])]
    });
    let stopped = gradients(&[f32s(&[])], vec![Tensor::scalar(3.0)], |b, x| {
        let held = b.node(Op::Stop, vec![x[0]], f32s(&[]));
        vec![b.map(Prim::Mul, &[x[0], held])]
    });
    assert_eq!(stopped, [[3.0]]);
}

#[test]
fn casts_between_reals_pass_gradients_and_others_do_not() {
    let mut p = single(function("f", &[f32s(&[2])], |b, x| {
        let short = b.cast(x[0], DType::BF16);
        let twice = b.map(Prim::Add, &[short, short]);
        let whole = b.cast(x[0], DType::I32);
        let whole = b.cast(whole, DType::F32);
        let long = b.cast(twice, DType::F32);
        vec![b.map(Prim::Add, &[long, whole])]
    }));
    let g = gradient(&mut p, FnId(0), &[0]);
    verify(&p).unwrap();
    let found = pull(&p, &g, FnId(0), &[tensor(&[2], &[1.0, 2.5])], &[tensor(&[2], &[1.0, 1.0 + 1.0 / 512.0])], &[]);
    // The cotangent is rounded where the value was.
    assert_eq!(found[0].1.as_ref().unwrap().data, [2.0, 2.0]);
}

#[test]
fn narrow_contractions_have_narrow_cotangents() {
    let types = [f32s(&[2, 2]), f32s(&[2, 2])];
    let mut p = single(function("f", &types, |b, x| {
        let (a, w) = (b.cast(x[0], DType::BF16), b.cast(x[1], DType::BF16));
        vec![b.contract(a, w, &[0, 1], &[1, 2], &[0, 2])]
    }));
    let g = gradient(&mut p, FnId(0), &[0, 1]);
    verify(&p).unwrap();
    let one = || tensor(&[2, 2], &[1.0 + 1.0 / 512.0, 0.0, 0.0, 1.0]);
    let found = pull(&p, &g, FnId(0), &[counting(&[2, 2]), counting(&[2, 2])], &[one()], &[]);
    assert_eq!(found[0].1.as_ref().unwrap().data, [1.0, 3.0, 2.0, 4.0]);
}

#[test]
fn corners_are_those_of_pytorch() {
    let line = |n: i64| f32s(&[n]);
    let unary = |prim: Prim, at: &[f64]| {
        gradients(&[line(at.len() as i64)], vec![tensor(&[at.len()], at)], |b, x| vec![b.map(prim, &[x[0]])]).remove(0)
    };
    assert_eq!(unary(Prim::Abs, &[0.0, -2.0, 2.0]), [0.0, -1.0, 1.0]);
    assert_eq!(unary(Prim::Sqrt, &[0.0, 4.0]), [f64::INFINITY, 0.25]);
    assert_eq!(unary(Prim::Log, &[0.0]), [f64::INFINITY]);
    assert_eq!(unary(Prim::Log1p, &[-1.0, 0.0]), [f64::INFINITY, 1.0]);
    assert_eq!(unary(Prim::Tanh, &[1e4, -1e4]), [0.0, 0.0]);
    assert_eq!(unary(Prim::Erf, &[1e4, 0.0]), [0.0, std::f64::consts::FRAC_2_SQRT_PI as f32 as f64]);
    assert_eq!(unary(Prim::Exp, &[-1e4]), [0.0]);
    let power = |e: f64, at: &[f64]| {
        let build = |b: &mut Builder, x: &[Value]| vec![b.with_number(Prim::Pow, x[0], e)];
        gradients(&[line(at.len() as i64)], vec![tensor(&[at.len()], at)], build).remove(0)
    };
    assert_eq!(power(2.0, &[0.0, -3.0]), [0.0, -6.0]);
    assert_eq!(power(1.0, &[0.0]), [1.0]);
    assert_eq!(power(0.0, &[0.0, 5.0]), [0.0, 0.0]);
    assert_eq!(power(3.0, &[0.0, -2.0]), [0.0, 12.0]);
    assert_eq!(power(0.5, &[0.0]), [f64::INFINITY]);
    let both =
        gradients(&[line(3), line(3)], vec![tensor(&[3], &[0.0, 0.0, 2.0]), tensor(&[3], &[0.0, 2.0, 0.0])], |b, x| {
            vec![b.map(Prim::Pow, &[x[0], x[1]])]
        });
    assert_eq!(both, [vec![0.0, 0.0, 0.0], vec![0.0, 0.0, 2f64.ln()]]);
    for prim in [Prim::Max, Prim::Min] {
        let at = vec![tensor(&[2], &[1.0, 3.0]), tensor(&[2], &[1.0, 2.0])];
        let both = gradients(&[line(2), line(2)], at, |b, x| vec![b.map(prim, &[x[0], x[1]])]);
        let first = if prim == Prim::Max { 1.0 } else { 0.0 };
        assert_eq!(both, [vec![0.5, first], vec![0.5, 1.0 - first]]);
    }
    let reduced = |op: ReduceOp, at: &[f64]| {
        gradients(&[line(at.len() as i64)], vec![tensor(&[at.len()], at)], |b, x| vec![b.reduce(op, x[0], &[0])])
            .remove(0)
    };
    assert_eq!(reduced(ReduceOp::Max, &[3.0, 1.0, 3.0]), [1.0, 0.0, 0.0]);
    assert_eq!(reduced(ReduceOp::Min, &[f64::NEG_INFINITY; 2]), [1.0, 0.0]);
    assert_eq!(reduced(ReduceOp::Prod, &[2.0, 0.0, 3.0]), [0.0, 6.0, 0.0]);
    assert_eq!(reduced(ReduceOp::Prod, &[0.0, 0.0, 3.0]), [0.0, 0.0, 0.0]);
    assert_eq!(reduced(ReduceOp::Prod, &[2.0, 5.0]), [5.0, 2.0]);
}

/// Scores that are masked with -inf: neither the mask nor what is infinite behind it makes a NaN.
#[test]
fn a_branch_not_taken_does_not_matter() {
    let at = vec![tensor(&[3], &[1.0, f64::INFINITY, 1e4])];
    let found = gradients(&[f32s(&[3])], at, |b, x| {
        let shown = b.with_number(Prim::Lt, x[0], 100.0);
        let low = b.full(DType::F32, f64::NEG_INFINITY, &sizes(&[3]));
        let masked = b.map(Prim::Where, &[shown, x[0], low]);
        vec![b.map(Prim::Exp, &[masked])]
    });
    assert_eq!(found, [[1f64.exp(), 0.0, 0.0]]);
}

#[test]
fn stated_derivatives_replace_the_chain_rule() {
    let mut p = Program::default();
    let t = f32s(&[2]);
    let s = sigmoid(&mut p, &t);
    p.add(function("f", std::slice::from_ref(&t), |b, x| {
        let y = b.call(s, vec![x[0]], vec![t.clone()])[0];
        vec![b.map(Prim::Mul, &[x[0], y])]
    }));
    check(&p, FnId(2), &[tensor(&[2], &[0.3, -1.4])], "swish");
    let g = gradient(&mut p, FnId(2), &[0]);
    // exp(100) is too much for f32, and 1 - y is exact in f64 only up to here; the stated form is finite all the same.
    let found = pull(&p, &g, FnId(2), &[tensor(&[2], &[-800.0, 800.0])], &[tensor(&[2], &[1.0, 1.0])], &[]);
    assert_eq!(found[0].1.as_ref().unwrap().data, [0.0, 1.0]);
}

/// A loop with a row weight, a row bias that is not wanted, an invariant, a stack, a stacked result and a row result.
fn layered(count: usize) -> Program {
    let mut p = Program { dims: vec!["B".into()], ..Program::default() };
    let batch = Ty { dtype: DType::F32, shape: vec![Size::dim(0), Size::from(3)] };
    let line = f32s(&[3]);
    let types = [batch.clone(), line.clone(), f32s(&[2]), f32s(&[3, 3]), line.clone()];
    let body = p.add(function("Layer", &types, |b, x| {
        let y = b.contract(x[0], x[3], &[0, 1], &[1, 2], &[0, 2]);
        let bias = b.broadcast(x[4], vec![1], &batch.shape);
        let y = b.map(Prim::Add, &[y, bias]);
        let scale = b.broadcast(x[1], vec![1], &batch.shape);
        let y = b.map(Prim::Mul, &[y, scale]);
        let y = b.map(Prim::Tanh, &[y]);
        let twist = b.reduce(ReduceOp::Sum, x[2], &[0]);
        let twist = b.broadcast(twist, vec![], &batch.shape);
        let y = b.map(Prim::Mul, &[y, twist]);
        let next = b.map(Prim::Add, &[x[0], y]);
        let seen = b.reduce(ReduceOp::Sum, y, &[1]);
        let norm = b.map(Prim::Mul, &[x[3], x[3]]);
        let norm = b.reduce(ReduceOp::Sum, norm, &[0, 1]);
        vec![next, seen, norm]
    }));
    let r = Repeat { carried: 1, invariant: 1, stacks: 1, rows: 2, stacked: 1, row_results: 1, ..repeat(body, count) };
    let types =
        [vec![batch.clone(), line.clone(), f32s(&[count as i64, 2])], vec![f32s(&[3, 3]); count], vec![line; count]];
    p.add(function("f", &types.concat(), |b, x| {
        let seen = Ty { dtype: DType::F32, shape: vec![Size::from(count as i64), Size::dim(0)] };
        let tys = [vec![batch.clone(), seen], vec![f32s(&[]); count]].concat();
        b.repeat(r, x.to_vec(), tys)
    }));
    p
}

#[test]
fn loops_with_rows_invariants_and_stacks() {
    for count in [1, 3] {
        let p = layered(count);
        let mut dice = Dice(11);
        let args: Vec<Tensor> = p.function(FnId(1)).params.iter().map(|q| dice.tensor(&q.ty, 2)).collect();
        check(&p, FnId(1), &args, "layers");
    }
}

/// Nothing grows with depth, and nothing is stacked but what the iteration alone knows.
#[test]
fn a_loop_keeps_only_what_differs_between_iterations() {
    let shape_of = |count: usize| {
        let mut p = layered(count);
        let wanted: Vec<usize> = (0..3 + count).collect();
        let g = gradient(&mut p, FnId(1), &wanted);
        verify(&p).unwrap();
        let loops = |f: FnId| {
            let nodes = p.function(f).nodes.iter();
            nodes.filter_map(|n| if let Op::Repeat(r) = &n.op { Some(r.clone()) } else { None }).collect::<Vec<_>>()
        };
        let (forward, backward) = (loops(g.forward).remove(0), loops(g.backward).remove(0));
        assert_eq!(backward.reverse, !forward.reverse);
        // Stacked: seen, and for the gradient the carried value, the product, the tanh, and the sum of the slice.
        assert_eq!(forward.stacked, 1 + 4);
        // Given back: those four, and the cotangent of `seen`.
        assert_eq!(backward.stacks, 4 + 1);
        // Carried: the cotangent of the batch, and the sum for the invariant.
        assert_eq!((backward.carried, backward.invariant), (2, 1));
        // The weight, what was added to its product, as what is scaled is made again of these, and the cotangent of its norm;
        // back comes the cotangent of the weight.
        assert_eq!((backward.rows, backward.row_results), (3, 1));
        let nodes: usize = p.functions.iter().filter(|f| f.name.starts_with("Layer")).map(|f| f.nodes.len()).sum();
        (p.functions.len(), nodes)
    };
    assert_eq!(shape_of(2), shape_of(64));
}

#[test]
fn the_loss_of_an_entry_gets_gradients_for_trained_weights() {
    let weight = |name: &str, trained| Weight {
        name: name.into(),
        aliases: Vec::new(),
        ty: f32s(&[2]),
        param: true,
        trained,
        added: false,
        span: Default::default(),
    };
    let weights = vec![weight("a", true), weight("frozen", false), weight("unused", true), weight("b", true)];
    let mut p = Program { weights, ..Program::default() };
    let t = f32s(&[2]);
    let function = p.add(function("f", &[t.clone(), t.clone(), t.clone(), t], |b, x| {
        let y = b.map(Prim::Mul, &[x[0], x[1]]);
        let y = b.map(Prim::Mul, &[y, x[2]]);
        let y = b.map(Prim::Mul, &[y, x[3]]);
        vec![b.reduce(ReduceOp::Sum, y, &[0]), y]
    }));
    let w = |i| Role::weight(WeightId(i));
    let inputs = vec![w(3), Role::Named("x".into()), w(0), w(1)];
    let outputs = vec![Role::Named("loss".into()), Role::Named("y".into())];
    let entry = Entry { name: "evaluate".into(), function, inputs, outputs, guards: Vec::new(), defaults: Vec::new() };
    let e = accumulate(&mut p, &entry, "accumulate");
    let grad = |i| Role::grad(WeightId(i));
    assert_eq!(e.outputs[2..], [grad(0), grad(2), grad(3)]);
    p.entries = vec![entry, e];
    verify(&p).unwrap();
    let two = |x: f64| tensor(&[2], &[x, 2.0 * x]);
    let out =
        run_entry(&p, &p.entries[1], vec![two(3.0), two(5.0), two(7.0), two(1.0)], &HostState::default()).unwrap();
    assert_eq!(out[0].data, [105.0 * 17.0]);
    assert_eq!(out[2].data, [15.0, 8.0 * 15.0]);
    assert_eq!(out[3].data, [0.0, 0.0]);
    assert_eq!(out[4].data, [35.0, 8.0 * 35.0]);
}

#[test]
fn random_programs() {
    for seed in 0..80 {
        let mut m = random::program(seed, false);
        let f = m.last();
        verify(&m.p).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let args = m.args(f, 3);
        check(&m.p, f, &args, &format!("seed {seed}"));
    }
}
