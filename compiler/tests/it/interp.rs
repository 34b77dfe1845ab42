//! The interpreter against values worked out by hand.

use super::support::{counting, f32s, function, repeat, run, run_last, sizes, tensor, ty};
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{Tensor, run_entry};
use dlc_compiler::program::{Entry, Op, Program, ReduceOp, Repeat, Role, Ty, View};
use dlc_plan::plan::Bound;
use dlc_plan::{DType, Host, HostState, HostVar, Prim, Size, random};

#[test]
fn constants_and_casts_round_and_arithmetic_does_not() {
    let out = run(&[f32s(&[1])], vec![tensor(&[1], &[1.0])], |b, x| {
        let tenth = b.full(DType::F32, 0.1, &sizes(&[1]));
        let sum = b.map(Prim::Add, &[x[0], tenth]);
        let short = b.cast(sum, DType::BF16);
        vec![sum, short]
    });
    assert_eq!(out[0].data, [1.0 + f64::from(0.1_f32)]);
    assert_eq!(out[1].data, [1.1015625]);
}

#[test]
fn primitives_broadcast_only_through_views() {
    let out = run(&[f32s(&[2, 3]), f32s(&[3])], vec![counting(&[2, 3]), counting(&[3])], |b, x| {
        let (t, c) = (b.zip(Prim::Mul, &[x[0], x[1]]), b.permute(x[0], &[1, 0]));
        let le = b.with_number(Prim::Le, x[0], 3.0);
        let none = b.full(DType::F32, 0.0, &sizes(&[2, 3]));
        let chosen = b.map(Prim::Where, &[le, x[0], none]);
        vec![t, c, chosen]
    });
    assert_eq!(out[0].data, [1.0, 4.0, 9.0, 4.0, 10.0, 18.0]);
    assert_eq!((out[1].shape.as_slice(), &out[1].data[..]), (&[3, 2][..], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0][..]));
    assert_eq!(out[2].data, [1.0, 2.0, 3.0, 0.0, 0.0, 0.0]);
}

#[test]
fn reductions_fold_the_axes_they_name() {
    let out = run(&[f32s(&[2, 3, 2])], vec![counting(&[2, 3, 2])], |b, x| {
        vec![
            b.reduce(ReduceOp::Sum, x[0], &[0, 2]),
            b.reduce(ReduceOp::Max, x[0], &[1]),
            b.reduce(ReduceOp::Prod, x[0], &[1, 2]),
            b.reduce_keep(ReduceOp::Min, x[0], &[2]),
        ]
    });
    assert_eq!(out[0].data, [18.0, 26.0, 34.0]);
    assert_eq!(out[1].data, [5.0, 6.0, 11.0, 12.0]);
    assert_eq!(out[2].data, [720.0, 665280.0]);
    assert_eq!((out[3].shape.as_slice(), &out[3].data[..2]), (&[2, 3, 1][..], &[1.0, 3.0][..]));
}

#[test]
fn reductions_of_nothing_and_of_nan() {
    let none = run(&[f32s(&[0]), ty(DType::I64, &[0])], vec![tensor(&[0], &[]), tensor(&[0], &[])], |b, x| {
        let mut all = Vec::new();
        for op in [ReduceOp::Sum, ReduceOp::Prod, ReduceOp::Max, ReduceOp::Min] {
            all.push(b.reduce(op, x[0], &[0]));
        }
        all.push(b.reduce(ReduceOp::Max, x[1], &[0]));
        all
    });
    let values: Vec<f64> = none.iter().map(|t| t.data[0]).collect();
    assert_eq!(values, [0.0, 1.0, f64::NEG_INFINITY, f64::INFINITY, i64::MIN as f64]);
    for data in [[f64::NAN, 1.0], [1.0, f64::NAN]] {
        let out = run(&[f32s(&[2])], vec![tensor(&[2], &data)], |b, x| {
            vec![b.reduce(ReduceOp::Max, x[0], &[0]), b.reduce(ReduceOp::Min, x[0], &[0])]
        });
        assert!(out.iter().all(|t| t.data[0].is_nan()));
    }
}

#[test]
fn views_arrange() {
    let out = run(&[f32s(&[2, 4])], vec![counting(&[2, 4])], |b, x| {
        let backwards = b.slice(x[0], 1, Size::from(3), -2, Size::from(2));
        let dilated = b.pad(backwards, 1, Size::from(1), 2, Size::from(5));
        let turned = b.pad(backwards, 1, Size::from(2), -1, Size::from(3));
        let split = b.split(x[0], 1, &sizes(&[2, 2]));
        let swapped = b.permute(split, &[0, 2, 1]);
        let merged = b.merge(swapped, 0, 2);
        let repeated = b.broadcast(x[0], vec![0, 2], &sizes(&[2, 2, 4]));
        vec![backwards, dilated, turned, merged, repeated]
    });
    assert_eq!(out[0].data, [4.0, 2.0, 8.0, 6.0]);
    assert_eq!(out[1].data, [0.0, 4.0, 0.0, 2.0, 0.0, 0.0, 8.0, 0.0, 6.0, 0.0]);
    assert_eq!(out[2].data, [0.0, 2.0, 4.0, 0.0, 6.0, 8.0]);
    assert_eq!((out[3].shape.as_slice(), &out[3].data[..4]), (&[4, 2][..], &[1.0, 3.0, 2.0, 4.0][..]));
    assert_eq!(out[4].data[..8], [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn contractions_sum_over_what_the_result_lacks() {
    let args = vec![counting(&[2, 3]), counting(&[3, 2])];
    let out = run(&[f32s(&[2, 3]), f32s(&[3, 2])], args, |b, x| {
        let product = b.contract(x[0], x[1], &[0, 1], &[1, 2], &[0, 2]);
        let turned = b.contract(x[0], x[1], &[0, 1], &[1, 2], &[2, 0]);
        let diagonal = b.contract(x[0], x[1], &[0, 1], &[1, 0], &[0]);
        let outer = b.contract(x[0], x[1], &[0, 1], &[2, 3], &[0, 1, 2, 3]);
        vec![product, turned, diagonal, outer]
    });
    assert_eq!(out[0].data, [22.0, 28.0, 49.0, 64.0]);
    assert_eq!(out[1].data, [22.0, 49.0, 28.0, 64.0]);
    assert_eq!(out[2].data, [22.0, 64.0]);
    assert_eq!(out[3].data[30..], [6.0, 12.0, 18.0, 24.0, 30.0, 36.0]);
}

#[test]
fn rows_are_gathered_and_scattered_by_clamped_ids() {
    let types = [f32s(&[3, 2]), ty(DType::I64, &[4]), f32s(&[4, 2])];
    let args = vec![counting(&[3, 2]), tensor(&[4], &[2.0, 0.0, 9.0, -5.0]), counting(&[4, 2])];
    let out = run(&types, args, |b, x| {
        let rows = b.node(Op::Gather, vec![x[0], x[1]], f32s(&[4, 2]));
        let sums = b.node(Op::Scatter, vec![x[1], x[2]], f32s(&[3, 2]));
        let both = b.node(Op::Concat(0), vec![x[0], rows], f32s(&[7, 2]));
        let count = b.iota(DType::I32, &sizes(&[2, 3]), 1);
        vec![rows, sums, both, count]
    });
    assert_eq!(out[0].data, [5.0, 6.0, 1.0, 2.0, 5.0, 6.0, 1.0, 2.0]);
    assert_eq!(out[1].data, [3.0 + 7.0, 4.0 + 8.0, 0.0, 0.0, 1.0 + 5.0, 2.0 + 6.0]);
    assert_eq!(out[2].data[4..8], [5.0, 6.0, 5.0, 6.0]);
    assert_eq!(out[3].data, [0.0, 1.0, 2.0, 0.0, 1.0, 2.0]);
}

#[test]
fn random_numbers_are_those_of_the_runtime() {
    let batch = Ty { dtype: DType::F32, shape: vec![Size::dim(0), Size::from(2), Size::from(20)] };
    let f = function("f", std::slice::from_ref(&batch), |b, _| {
        let site = b.constant(DType::I32, -7.0);
        let in_batch = b.node(Op::Random, vec![site], batch.clone());
        let fixed = b.node(Op::Random, vec![site], f32s(&[3, 20]));
        let line = b.node(Op::Random, vec![site], f32s(&[3]));
        let point = b.node(Op::Random, vec![site], f32s(&[]));
        vec![in_batch, fixed, line, point]
    });
    let p = Program { dims: vec!["B".into()], functions: vec![f], ..Program::default() };
    let host = HostState { step: 5, seed: 0x1_0000_0002, first_sample: 10, ..HostState::default() };
    let out = run_last(&p, vec![Tensor::new([3, 2, 20], vec![0.0; 120])], &host);
    let at = |row, col| f64::from(random::uniform(random::bits([2, -7_i32 as u32], 5, 1, row, col)));
    assert_eq!(out[0].data[(2 * 2 + 1) * 20 + 17], at(20 + 5, 17));
    assert_eq!(out[1].data[2 * 20 + 17], at(2, 17));
    assert_eq!(out[2].data, [at(0, 0), at(1, 0), at(2, 0)]);
    assert_eq!(out[3].data, [at(0, 0)]);
}

#[test]
fn host_scalars_follow_the_step_and_the_segment() {
    let weight = |name: &str, n| dlc_compiler::program::Weight {
        name: name.into(),
        aliases: Vec::new(),
        ty: f32s(&[n]),
        param: true,
        trained: true,
        added: false,
        span: Default::default(),
    };
    let f = function("f", &[f32s(&[48])], |b, x| {
        let rate = b.host(DType::F32, Host::Segment(vec![Host::Const(2.0), Host::Var(HostVar::Step)]));
        let half = b.constant(DType::F32, 0.5);
        let rate = b.map(Prim::Mul, &[rate, half]);
        let rate = b.broadcast(rate, vec![], &sizes(&[48]));
        vec![b.map(Prim::Mul, &[x[0], rate])]
    });
    let mut p = Program { weights: vec![weight("a", 3), weight("b", 17)], ..Program::default() };
    p.add(f);
    let out = run_last(&p, vec![Tensor::new([48], vec![1.0; 48])], &HostState { step: 6, ..HostState::default() });
    assert_eq!(out[0].data[..16], [1.0; 16]);
    assert_eq!(out[0].data[16..], [3.0; 32]);
}

/// x -> scale[i] * x + stack[i] + invariant, giving x as a stack and scale * 2 by row.
fn looped(reverse: bool) -> Program {
    let mut p = Program::default();
    let line = f32s(&[2]);
    let body = p.add(function("body", &[line.clone(), line.clone(), line.clone(), f32s(&[])], |b, x| {
        let scaled = b.zip(Prim::Mul, &[x[0], x[3]]);
        let more = b.map(Prim::Add, &[scaled, x[1]]);
        let next = b.map(Prim::Add, &[more, x[2]]);
        let twice = b.with_number(Prim::Mul, x[3], 2.0);
        vec![next, x[0], twice]
    }));
    let r =
        Repeat { carried: 1, invariant: 1, stacks: 1, rows: 1, stacked: 1, row_results: 1, reverse, ..repeat(body, 3) };
    p.add(function("f", &[line.clone(), line.clone(), f32s(&[3, 2]), f32s(&[]), f32s(&[]), f32s(&[])], |b, x| {
        let tys = vec![line.clone(), f32s(&[3, 2]), f32s(&[]), f32s(&[]), f32s(&[])];
        b.repeat(r, x.to_vec(), tys)
    }));
    p
}

#[test]
fn loops_carry_stack_and_take_rows() {
    let args = || {
        let scalars = [2.0, 3.0, 4.0].map(Tensor::scalar);
        [vec![tensor(&[2], &[1.0, 0.0]), tensor(&[2], &[10.0, 20.0]), counting(&[3, 2])], scalars.to_vec()].concat()
    };
    let out = run_last(&looped(false), args(), &HostState::default());
    assert_eq!(out[0].data, [4.0 * (3.0 * 13.0 + 13.0) + 15.0, 4.0 * (3.0 * 22.0 + 24.0) + 26.0]);
    assert_eq!(out[1].data, [1.0, 0.0, 13.0, 22.0, 52.0, 90.0]);
    assert_eq!(out[2..].iter().map(|t| t.data[0]).collect::<Vec<_>>(), [4.0, 6.0, 8.0]);
    let back = run_last(&looped(true), args(), &HostState::default());
    assert_eq!(back[0].data, [2.0 * (3.0 * 19.0 + 13.0) + 11.0, 2.0 * (3.0 * 26.0 + 24.0) + 22.0]);
    assert_eq!(back[1].data, [70.0, 102.0, 19.0, 26.0, 1.0, 0.0]);
    assert_eq!(back[2..].iter().map(|t| t.data[0]).collect::<Vec<_>>(), [4.0, 6.0, 8.0]);
}

#[test]
fn entries_bind_sizes_and_check_guards_and_indices() {
    let mut b = Builder::new("f");
    let ids = b.param("ids", Ty { dtype: DType::I64, shape: vec![Size::dim(0)] });
    let mut p = Program { dims: vec!["B".into()], ..Program::default() };
    let function = p.add(b.finish(vec![ids]));
    let at_most_two = Host::Prim(Prim::Le, vec![Host::Size(Size::dim(0)), Host::Const(2.0)]);
    p.entries.push(Entry {
        name: "forward".into(),
        function,
        inputs: vec![Role::Index("ids".into(), Bound { below: Size::from(3), except: None })],
        outputs: vec![Role::Named("y".into())],
        guards: vec![(at_most_two, "B <= 2".into())],
        defaults: Vec::new(),
    });
    let go = |data: &[f64]| run_entry(&p, &p.entries[0], vec![tensor(&[data.len()], data)], &HostState::default());
    assert_eq!(go(&[0.0, 2.0]).unwrap()[0].data, [0.0, 2.0]);
    assert_eq!(go(&[0.0, 3.0]).unwrap_err().0, "ids 3 is outside 0..3");
    assert_eq!(go(&[0.0, 0.0, 0.0]).unwrap_err().0, "B = 3, but B <= 2");
}

#[test]
fn what_does_not_fit_is_an_error() {
    let mut p = Program { dims: vec!["B".into()], ..Program::default() };
    let batch = Ty { dtype: DType::F32, shape: vec![Size::dim(0)] };
    p.add(function("f", &[batch], |b, x| vec![b.slice(x[0], 0, Size::from(3), 1, Size::from(1))]));
    let f = dlc_compiler::program::FnId(0);
    let go = |n: usize| {
        let args = vec![counting(&[n])];
        let dims = dlc_compiler::program::interp::bind(&p, f, &args)?;
        dlc_compiler::program::interp::run(&p, f, args, &dims, &HostState::default())
    };
    assert_eq!(go(4).unwrap()[0].data, [4.0]);
    assert!(go(3).unwrap_err().0.contains("Slice"));
    assert!(matches!(&p.functions[0].nodes[1].op, Op::View(View::Slice { .. })));
}

/// A data column as large as they come: views copy nothing, and nothing is allocated for each element.
#[test]
fn large_inputs_are_read() {
    let pixels = Tensor::new([6000, 784], vec![51.0; 6000 * 784]);
    let out = run(&[ty(DType::U8, &[6000, 784])], vec![pixels], |b, x| {
        let real = b.cast(x[0], DType::F32);
        vec![b.with_number(Prim::Div, real, 255.0)]
    });
    assert!(out[0].data.iter().all(|x| *x == 0.2));
}
