//! Plans against the interpreter: the same numbers, in as few kernels as fusion promises.

use crate::simulate;
use crate::support::{f32s, function};
use dlc_compiler::plan;
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{self, Tensor};
use dlc_compiler::program::{Entry, FnId, Function, Op, Program, ReduceOp, Repeat, Role, Ty, Value};
use dlc_plan::plan::Step;
use dlc_plan::{DType, Host, HostState, HostVar, Plan, Prim, Size};

/// A batch of `n`, which is known only at run time, by these extents.
fn batch(shape: &[i64]) -> Ty {
    let mut t = f32s(shape);
    t.shape.insert(0, Size::dim(0));
    t
}

/// A program with that function, last, as its entry `forward`.
fn program(mut functions: Vec<Function>, entry: Function) -> Program {
    let mut p = Program { dims: vec!["B".into()], ..Program::default() };
    let named = |n: usize, c: &str| (0..n).map(|i| Role::Named(format!("{c}{i}"))).collect::<Vec<_>>();
    let (inputs, outputs) = (named(entry.params.len(), "x"), named(entry.results.len(), "y"));
    functions.push(entry);
    for f in functions {
        p.add(f);
    }
    let function = FnId(p.functions.len() as u32 - 1);
    p.entries.push(Entry {
        name: "forward".into(),
        function,
        inputs,
        outputs,
        guards: Vec::new(),
        defaults: Vec::new(),
    });
    p
}

/// The plan of a program that has to be well formed.
fn plan(p: &Program) -> Plan {
    match dlc_compiler::program::verify::verify(p) {
        Ok(facts) => plan::plan(p, &facts),
        Err(e) => panic!("{e}"),
    }
}

/// Numbers between -1 and 1 that follow no simple pattern.
fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut x = seed * 2 + 1;
    let mut next = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        f64::from((x >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
    };
    Tensor::new(shape, (0..shape.iter().product::<usize>()).map(|_| next()).collect::<Vec<_>>())
}

/// Compares the plan with the interpreter, and gives the plan.
fn check(p: &Program, inputs: &[Tensor]) -> Plan {
    let host = HostState { step: 3, seed: 9, first_sample: 5, ..HostState::default() };
    let expected = interp::run_entry(p, &p.entries[0], inputs.to_vec(), &host).unwrap();
    let plan = plan(p);
    let found = simulate::run(&plan, "forward", inputs, &host);
    #[cfg(feature = "jit")]
    crate::machine::check(&plan, inputs, &host, &expected);
    for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
        assert_eq!(e.shape, f.shape);
        let norm = e.data.iter().map(|x| x * x).sum::<f64>().sqrt();
        let off = e.data.iter().zip(&f.data).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        assert!(off <= 2e-6 * norm.max(1e-6), "result {i} is {:?}, not {:?}\n{plan}", f.data, e.data);
    }
    plan
}

fn counts(p: &Plan) -> (usize, usize) {
    let kernels = p.entries[0].steps.iter().filter(|s| matches!(s, Step::Kernel(_))).count();
    (p.entries[0].steps.len(), kernels)
}

fn softmax(b: &mut Builder, x: Value) -> Value {
    let axis = b.ty(x).rank() - 1;
    let top = b.reduce_keep(ReduceOp::Max, x, &[axis]);
    let c = b.zip(Prim::Sub, &[x, top]);
    let e = b.map(Prim::Exp, &[c]);
    let sum = b.reduce_keep(ReduceOp::Sum, e, &[axis]);
    b.zip(Prim::Div, &[e, sum])
}

fn layer_norm(b: &mut Builder, x: Value, weight: Value, bias: Value) -> Value {
    let axis = b.ty(x).rank() - 1;
    let n = b.shape(x)[axis].known().unwrap() as f64;
    let mean = b.reduce_keep(ReduceOp::Sum, x, &[axis]);
    let mean = b.with_number(Prim::Div, mean, n);
    let c = b.zip(Prim::Sub, &[x, mean]);
    let square = b.map(Prim::Mul, &[c, c]);
    let var = b.reduce_keep(ReduceOp::Sum, square, &[axis]);
    let var = b.with_number(Prim::Div, var, n);
    let var = b.with_number(Prim::Add, var, 1e-5);
    let r = b.map(Prim::Rsqrt, &[var]);
    let y = b.zip(Prim::Mul, &[c, r]);
    let y = b.zip(Prim::Mul, &[y, weight]);
    b.zip(Prim::Add, &[y, bias])
}

#[test]
fn softmax_is_one_kernel() {
    for n in [1, 15, 16, 17, 33] {
        let f = function("f", &[batch(&[n])], |b, x| vec![softmax(b, x[0])]);
        let plan = check(&program(vec![], f), &[noise(&[5, n as usize], 1)]);
        assert_eq!(counts(&plan), (1, 1));
    }
}

#[test]
fn layer_norm_is_one_kernel() {
    let f = function("f", &[batch(&[7, 24]), f32s(&[24]), f32s(&[24])], |b, x| vec![layer_norm(b, x[0], x[1], x[2])]);
    let plan = check(&program(vec![], f), &[noise(&[3, 7, 24], 1), noise(&[24], 2), noise(&[24], 3)]);
    assert_eq!(counts(&plan), (1, 1));
}

#[test]
fn a_linear_layer_is_finished_by_its_product() {
    let f = function("f", &[batch(&[8]), f32s(&[20, 8]), f32s(&[20])], |b, x| {
        let y = b.contract(x[0], x[1], &[0, 1], &[2, 1], &[0, 2]);
        let y = b.zip(Prim::Add, &[y, x[2]]);
        let t = b.map(Prim::Tanh, &[y]);
        vec![softmax(b, t)]
    });
    let plan = check(&program(vec![], f), &[noise(&[9, 8], 1), noise(&[20, 8], 2), noise(&[20], 3)]);
    assert_eq!(counts(&plan), (1, 0));
    assert!(matches!(&plan.entries[0].steps[0], Step::Gemm(g) if g.then.is_some()));
}

#[test]
fn a_sum_of_products_is_one_product_of_many_terms() {
    // x w + s (x a) b + x v, and what follows it: what a gradient of three projections, or an adapter, is made of.
    let tys = [batch(&[8]), f32s(&[20, 8]), f32s(&[8, 3]), f32s(&[3, 20]), f32s(&[20, 8]), f32s(&[20])];
    let f = function("f", &tys, |b, x| {
        let y = b.contract(x[0], x[1], &[0, 1], &[2, 1], &[0, 2]);
        let thin = b.contract(x[0], x[2], &[0, 1], &[1, 2], &[0, 2]);
        let thin = b.with_number(Prim::Mul, thin, 0.5);
        let z = b.contract(thin, x[3], &[0, 1], &[1, 2], &[0, 2]);
        let y = b.map(Prim::Add, &[y, z]);
        let v = b.contract(x[0], x[4], &[0, 1], &[2, 1], &[0, 2]);
        let y = b.map(Prim::Add, &[v, y]);
        let y = b.zip(Prim::Add, &[y, x[5]]);
        vec![b.map(Prim::Tanh, &[y])]
    });
    let inputs = [&[9, 8], &[20, 8], &[8, 3], &[3, 20], &[20, 8]].map(|shape: &[usize; 2]| noise(shape, 1));
    let plan = check(&program(vec![], f), &[&inputs[..], &[noise(&[20], 3)]].concat());
    assert_eq!(counts(&plan), (2, 0));
    assert!(matches!(&plan.entries[0].steps[0], Step::Gemm(g) if g.terms.len() == 1 && g.then.is_some()));
    assert!(matches!(&plan.entries[0].steps[1], Step::Gemm(g) if g.terms.len() == 3 && g.then.is_some()));
    assert_eq!(plan.entries[0].buffers.iter().filter(|b| b.len == Size::dim(0).times(&Size::from(20))).count(), 2);
}

#[test]
fn a_product_that_others_read_or_that_lies_otherwise_is_no_term() {
    let f = function("f", &[batch(&[4, 6]), f32s(&[6, 6]), f32s(&[4, 4])], |b, x| {
        let y = b.contract(x[0], x[1], &[0, 1, 2], &[2, 3], &[0, 1, 3]);
        // The rows of this one are those of the second matrix.
        let z = b.contract(x[0], x[2], &[0, 1, 2], &[3, 1], &[0, 3, 2]);
        vec![b.map(Prim::Add, &[y, z])]
    });
    let inputs = [noise(&[5, 4, 6], 1), noise(&[6, 6], 2), noise(&[4, 4], 3)];
    let terms = |plan: &Plan| -> Vec<usize> {
        let of = |s: &Step| if let Step::Gemm(g) = s { Some(g.terms.len()) } else { None };
        plan.entries[0].steps.iter().filter_map(of).collect()
    };
    assert_eq!(terms(&check(&program(vec![], f), &inputs)), [1, 1]);
    let f = function("f", &[batch(&[6]), f32s(&[6, 6]), f32s(&[6, 6])], |b, x| {
        let y = b.contract(x[0], x[1], &[0, 1], &[1, 2], &[0, 2]);
        let z = b.contract(x[0], x[2], &[0, 1], &[1, 2], &[0, 2]);
        let sum = b.map(Prim::Add, &[y, z]);
        let twice = b.map(Prim::Add, &[sum, sum]);
        vec![twice, b.map(Prim::Mul, &[sum, z])]
    });
    let inputs = [noise(&[5, 6], 1), noise(&[6, 6], 2), noise(&[6, 6], 3)];
    assert_eq!(terms(&check(&program(vec![], f), &inputs)), [1, 1]);
}

#[test]
fn folds_over_rows_columns_and_all() {
    let f = function("f", &[batch(&[4, 18])], |b, x| {
        let e = b.map(Prim::Exp, &[x[0]]);
        let columns = b.reduce(ReduceOp::Sum, e, &[0]);
        let tail = b.reduce(ReduceOp::Max, e, &[0, 1]);
        let all = b.reduce(ReduceOp::Sum, e, &[0, 1, 2]);
        let middle = b.reduce(ReduceOp::Sum, e, &[1]);
        let ends = b.reduce(ReduceOp::Min, x[0], &[0, 2]);
        vec![columns, tail, all, middle, ends]
    });
    check(&program(vec![], f), &[noise(&[6, 4, 18], 4)]);
}

#[test]
fn views_cost_nothing_or_are_copied() {
    let f = function("f", &[batch(&[6, 10])], |b, x| {
        let s = Size::from;
        let split = b.split(x[0], 2, &[s(2), s(5)]);
        let turned = b.permute(split, &[2, 0, 3, 1]);
        let first = b.slice(turned, 0, s(1), 1, s(1));
        let first = b.split(first, 0, &[]);
        let merged = b.merge(turned, 2, 2);
        let padded = b.pad(x[0], 1, s(2), 1, s(9));
        let y = b.map(Prim::Exp, &[padded]);
        let z = b.with_number(Prim::Add, x[0], 1.0);
        let z = b.pad(z, 2, s(1), 1, s(13));
        let back = b.slice(x[0], 2, s(9), -3, s(4));
        vec![first, merged, y, z, back]
    });
    check(&program(vec![], f), &[noise(&[3, 6, 10], 2)]);
}

#[test]
fn integers_truths_and_choices() {
    let ids = Ty { dtype: DType::I64, shape: vec![Size::dim(0)] };
    let f = function("f", &[ids, batch(&[5])], |b, x| {
        let shape = b.shape(x[1]);
        let column = b.iota(DType::I64, &shape, 1);
        let id = b.merge(x[0], 1, 0);
        let same = b.zip(Prim::Eq, &[column, id]);
        let zero = b.full(DType::F32, 0.0, &shape);
        let picked = b.map(Prim::Where, &[same, x[1], zero]);
        let picked = b.reduce(ReduceOp::Sum, picked, &[1]);
        let positive = b.map(Prim::Lt, &[zero, x[1]]);
        let any = b.reduce(ReduceOp::Max, positive, &[1]);
        let odd = b.with_number(Prim::Rem, x[0], 2.0);
        let half = b.cast(odd, DType::F32);
        let total = b.reduce(ReduceOp::Sum, x[0], &[0]);
        vec![picked, any, half, total, same]
    });
    let ids = Tensor::new([4], [2.0, 0.0, 4.0, 3.0]);
    check(&program(vec![], f), &[ids, noise(&[4, 5], 3)]);
}

#[test]
fn gather_scatter_and_concat() {
    let ids = Ty { dtype: DType::I64, shape: vec![Size::dim(0), Size::from(3)] };
    let f = function("f", &[f32s(&[7, 6]), ids, f32s(&[7, 2])], |b, x| {
        let shape = [b.shape(x[1]), vec![Size::from(6)]].concat();
        // Plans know rows by numbers of 32 bits, as the passes make them.
        let ids = b.cast(x[1], DType::I32);
        let rows = b.node(Op::Gather, vec![x[0], ids], Ty { dtype: DType::F32, shape });
        let rows = b.map(Prim::Sin, &[rows]);
        let back = b.node(Op::Scatter, vec![ids, rows], f32s(&[7, 6]));
        let wide = b.node(Op::Concat(1), vec![x[0], x[2], back], f32s(&[7, 14]));
        vec![rows, back, wide]
    });
    let ids = Tensor::new([2, 3], [6.0, 0.0, 3.0, 3.0, 1.0, 6.0]);
    check(&program(vec![], f), &[noise(&[7, 6], 1), ids, noise(&[7, 2], 2)]);
}

#[test]
fn dropout_draws_what_the_interpreter_draws() {
    let f = function("f", &[batch(&[3, 21])], |b, x| {
        let shape = b.shape(x[0]);
        let site = b.constant(DType::I32, 1234.0);
        let u = b.push(Op::Random, vec![site], vec![Ty { dtype: DType::F32, shape: shape.clone() }]);
        let q = b.full(DType::F32, 0.5, &shape);
        let keep = b.map(Prim::Lt, &[u, q]);
        let keep = b.cast(keep, DType::F32);
        let turned = b.permute(u, &[0, 2, 1]);
        vec![b.map(Prim::Mul, &[x[0], keep]), b.map(Prim::Neg, &[turned])]
    });
    check(&program(vec![], f), &[noise(&[4, 3, 21], 5)]);
}

#[test]
fn scalars_of_the_host_reach_kernels() {
    let f = function("f", &[batch(&[4])], |b, x| {
        let step = b.host(DType::F32, Host::Prim(Prim::Div, vec![Host::Var(HostVar::Step), Host::Const(7.0)]));
        let n = b.host(DType::F32, Host::Size(Size::dim(0)));
        let shape = b.shape(x[0]);
        let (step, n) = (b.broadcast(step, vec![], &shape), b.broadcast(n, vec![], &shape));
        let y = b.map(Prim::Mul, &[x[0], step]);
        vec![b.map(Prim::Div, &[y, n])]
    });
    check(&program(vec![], f), &[noise(&[3, 4], 6)]);
}

#[test]
fn loops_carry_stack_and_read_rows() {
    let body = function("body", &[batch(&[6]), batch(&[6]), f32s(&[6, 6]), Ty::scalar(DType::F32)], |b, x| {
        let y = b.contract(x[0], x[2], &[0, 1], &[2, 1], &[0, 2]);
        let y = b.map(Prim::Tanh, &[y]);
        let shape = b.shape(y);
        let k = b.broadcast(x[3], vec![], &shape);
        let z = b.map(Prim::Mul, &[y, k]);
        let z = b.map(Prim::Add, &[z, x[1]]);
        let sum = b.reduce(ReduceOp::Sum, y, &[0]);
        vec![z, y, sum]
    });
    for (count, reverse) in [(1, false), (2, true), (3, false), (4, false), (3, true)] {
        let mut types = vec![batch(&[6])];
        types.extend(std::iter::repeat_n(f32s(&[6, 6]), count));
        let f = function("f", &types, |b, x| {
            let r = Repeat {
                body: FnId(0),
                count,
                reverse,
                carried: 1,
                invariant: 1,
                stacks: 0,
                rows: 2,
                stacked: 1,
                row_results: 1,
                members: vec![],
            };
            let mut args = vec![x[0], x[0]];
            args.extend(&x[1..]);
            args.extend((0..count).map(|i| b.constant(DType::F32, 1.0 + i as f64)));
            let tys = r.result_tys(&body.result_tys());
            b.repeat(r, args, tys)
        });
        let mut inputs = vec![noise(&[4, 6], 1)];
        inputs.extend((0..count).map(|i| noise(&[6, 6], 10 + i as u64)));
        check(&program(vec![body.clone()], f), &inputs);
    }
}

#[test]
fn functions_are_exact_enough_everywhere() {
    let all = [
        (Prim::Exp, -90.0, 88.0),
        (Prim::Expm1, -30.0, 80.0),
        (Prim::Log, 1e-3, 1e6),
        (Prim::Log1p, -0.9, 1e3),
        (Prim::Tanh, -12.0, 12.0),
        (Prim::Erf, -5.0, 5.0),
        (Prim::Erfc, -5.0, 9.0),
        (Prim::Sin, -100.0, 100.0),
        (Prim::Cos, -100.0, 100.0),
        (Prim::Rsqrt, 1e-3, 1e3),
    ];
    for (prim, low, high) in all {
        let f = function("f", &[batch(&[])], |b, x| vec![b.map(prim, &[x[0]])]);
        let points = 2000;
        let at = |i: usize| f64::from((low + (high - low) * i as f64 / points as f64) as f32);
        let mut x: Vec<f64> = (0..=points).map(at).collect();
        x.extend([1e-6f32, -1e-6, 1e-20, 3e-39].map(f64::from).into_iter().filter(|v| *v >= low));
        let p = program(vec![], f);
        let input = [Tensor::new([x.len()], x.clone())];
        let found = simulate::run(&plan(&p), "forward", &input, &HostState::default());
        for (x, y) in x.iter().zip(&found[0].data) {
            let e = prim.eval(&[*x]);
            let close =
                (y - e).abs() <= 4e-7 * e.abs() + if matches!(prim, Prim::Sin | Prim::Cos) { 1e-7 } else { 1e-38 };
            assert!(close, "{}({x}) is {y}, not {e}", prim.name());
        }
    }
}

#[test]
fn functions_have_the_edges_of_ieee() {
    let inf = f64::INFINITY;
    let cases = [
        (Prim::Exp, inf, inf),
        (Prim::Exp, -inf, 0.0),
        (Prim::Exp, 1e4, inf),
        (Prim::Exp, -1e4, 0.0),
        (Prim::Expm1, -inf, -1.0),
        (Prim::Expm1, inf, inf),
        (Prim::Log, 0.0, -inf),
        (Prim::Log, -1.0, f64::NAN),
        (Prim::Log, inf, inf),
        (Prim::Log1p, -1.0, -inf),
        (Prim::Log1p, inf, inf),
        (Prim::Tanh, inf, 1.0),
        (Prim::Tanh, -1e4, -1.0),
        (Prim::Erf, inf, 1.0),
        (Prim::Erf, -inf, -1.0),
        (Prim::Erfc, inf, 0.0),
        (Prim::Erfc, 1e4, 0.0),
        (Prim::Erfc, -inf, 2.0),
        (Prim::Exp, f64::NAN, f64::NAN),
        (Prim::Log, f64::NAN, f64::NAN),
        (Prim::Tanh, f64::NAN, f64::NAN),
        (Prim::Erf, f64::NAN, f64::NAN),
        (Prim::Erfc, f64::NAN, f64::NAN),
    ];
    for (prim, x, e) in cases {
        let f = function("f", &[batch(&[])], |b, v| vec![b.map(prim, &[v[0]])]);
        let found =
            simulate::run(&plan(&program(vec![], f)), "forward", &[Tensor::new([1], [x])], &HostState::default());
        let y = found[0].data[0];
        assert!(y == e || (y.is_nan() && e.is_nan()), "{}({x}) is {y}, not {e}", prim.name());
    }
}
