//! Every invariant, broken.

use super::support::{f32s, function, repeat, sizes, ty};
use dlc_compiler::program::verify::verify;
use dlc_compiler::program::{
    Contract, Entry, FnId, Node, Op, Origin, Program, ReduceOp, Repeat, Role, Ty, Value, View, Weight, WeightId,
};
use dlc_plan::plan::Bound;
use dlc_plan::{DType, Host, HostVar, Prim, Size};

fn value(node: u32) -> Value {
    Value { node, port: 0 }
}

/// A function of x0: f32[2, 3], x1: i64[2], x2: bool[2, 3] with one more node, which it gives.
fn with_node(op: Op, args: &[u32], out: Ty) -> Program {
    let types = [f32s(&[2, 3]), ty(DType::I64, &[2]), ty(DType::Bool, &[2, 3])];
    let f = function("f", &types, |b, _| vec![b.push(op, args.iter().map(|a| value(*a)).collect(), vec![out])]);
    let mut p = Program::default();
    p.add(f);
    p
}

fn broken(p: &Program) -> u8 {
    verify(p).expect_err("the program is broken").invariant
}

#[test]
fn each_wrong_node_breaks_its_invariant() {
    let (f, i) = (f32s(&[2, 3]), Size::from);
    let labels = |a: &[u8], b: &[u8], out: &[u8]| Op::Contract(Contract { a: a.into(), b: b.into(), out: out.into() });
    let slice = |start, step| Op::View(View::Slice { axis: 1, start: i(start), step });
    let pad = |before| Op::View(View::Pad { axis: 1, before: i(before) });
    let cases = [
        (1, Op::Param(3), vec![], f.clone()),
        (2, Op::Stop, vec![3], f.clone()),
        (2, Op::Stop, vec![9], f.clone()),
        (3, Op::Stop, vec![0, 0], f.clone()),
        (3, Op::Map(Prim::Add), vec![0], f.clone()),
        (3, Op::Iota(2), vec![], ty(DType::I64, &[2, 3])),
        (3, Op::Iota(0), vec![], f.clone()),
        (4, Op::Map(Prim::Add), vec![0, 2], f.clone()),
        (4, Op::Map(Prim::Add), vec![0, 0], f32s(&[3, 2])),
        (4, Op::Map(Prim::Add), vec![2, 2], ty(DType::Bool, &[2, 3])),
        (4, Op::Map(Prim::Div), vec![1, 1], ty(DType::I64, &[2])),
        (4, Op::Map(Prim::Lt), vec![0, 0], f.clone()),
        (4, Op::Map(Prim::And), vec![0, 0], ty(DType::Bool, &[2, 3])),
        (4, Op::Map(Prim::Where), vec![0, 0, 0], f.clone()),
        (4, Op::Map(Prim::Cast(DType::I32)), vec![0], f.clone()),
        (4, Op::Stop, vec![0], f32s(&[3, 2])),
        (5, Op::Const(0.5), vec![], ty(DType::I64, &[])),
        (5, Op::Const(2.0), vec![], ty(DType::Bool, &[])),
        (5, Op::Const(2.0), vec![], f.clone()),
        (5, Op::Random, vec![0], f.clone()),
        (6, Op::Reduce(ReduceOp::Sum, vec![1, 0]), vec![0], f32s(&[])),
        (6, Op::Reduce(ReduceOp::Sum, vec![2]), vec![0], f.clone()),
        (6, Op::Reduce(ReduceOp::Sum, vec![1]), vec![0], f32s(&[3])),
        (6, Op::Reduce(ReduceOp::Sum, vec![1]), vec![2], ty(DType::Bool, &[2])),
        (7, Op::View(View::Permute(vec![1, 1])), vec![0], f.clone()),
        (7, Op::View(View::Permute(vec![1, 0])), vec![0], f.clone()),
        (7, Op::View(View::Broadcast(vec![0, 1])), vec![0], f32s(&[2, 4])),
        (7, Op::View(View::Broadcast(vec![1, 0])), vec![0], f32s(&[3, 2])),
        (7, slice(2, 1), vec![0], f32s(&[2, 2])),
        (7, slice(0, -1), vec![0], f32s(&[2, 2])),
        (7, slice(0, 0), vec![0], f32s(&[2, 2])),
        (7, pad(2), vec![0], f32s(&[2, 4])),
        (7, Op::View(View::Split { axis: 1, count: 2 }), vec![0], f32s(&[2, 3, 2])),
        (7, Op::View(View::Merge { axis: 0, count: 2 }), vec![0], f32s(&[5])),
        (7, Op::View(View::Merge { axis: 1, count: 2 }), vec![0], f32s(&[2])),
        (8, labels(&[0, 1], &[0], &[0]), vec![0, 0], f32s(&[2])),
        (8, labels(&[0, 1], &[0, 2], &[0, 1]), vec![0, 0], f.clone()),
        (8, labels(&[0, 1], &[1, 0], &[]), vec![0, 0], f32s(&[])),
        (8, labels(&[0, 1], &[0, 1], &[0]), vec![0, 0], ty(DType::BF16, &[2])),
        (9, Op::Gather, vec![0, 0], f32s(&[2, 3, 3])),
        (9, Op::Gather, vec![0, 1], f32s(&[2, 2])),
        (9, Op::Scatter, vec![1, 0], f32s(&[5, 2])),
        (10, Op::Concat(0), vec![0, 0], f32s(&[5, 3])),
        (10, Op::Concat(1), vec![0, 0], f32s(&[4, 3])),
        (11, Op::Call(FnId(0)), vec![0], f.clone()),
        (13, Op::Call(FnId(7)), vec![0], f.clone()),
        (15, Op::View(View::Slice { axis: 1, start: Size::dim(0), step: 1 }), vec![0], f32s(&[2, 1])),
        (15, Op::Host(Host::Size(Size::dim(0))), vec![], f32s(&[])),
        (16, Op::Host(Host::Prim(Prim::Add, vec![Host::Const(1.0)])), vec![], f32s(&[])),
        (16, Op::Host(Host::Row(0, vec![])), vec![], f32s(&[])),
        (16, Op::Host(Host::Segment(vec![Host::Var(HostVar::Step)])), vec![], f32s(&[])),
    ];
    for (number, op, args, out) in cases {
        let p = with_node(op.clone(), &args, out);
        assert_eq!(broken(&p), number, "{op:?} {args:?}");
    }
}

#[test]
fn an_error_shows_the_function_and_says_whose_fault_it_is() {
    let e = verify(&with_node(Op::Map(Prim::Add), &[0, 2], f32s(&[2, 3]))).unwrap_err();
    assert_eq!(
        e.to_string(),
        "this is a bug in dlc: the program breaks invariant 4: %3: + of f32, bool gives f32
#0 f(%0 x0: f32[2, 3], %1 x1: i64[2], %2 x2: bool[2, 3]) {
  %3: f32[2, 3] = map + %0 %2
  return %3
}
"
    );
}

#[test]
fn functions_and_results() {
    let mut p = Program::default();
    p.add(function("f", &[f32s(&[])], |_, x| vec![x[0]]));
    assert!(verify(&p).is_ok());
    p.functions[0].results = vec![value(1)];
    assert_eq!(broken(&p), 2);
    p.functions[0].results = vec![value(0)];
    p.functions[0].params[0].ty = f32s(&[1]);
    assert_eq!(broken(&p), 1);
    p.functions[0].params[0].ty = f32s(&[]);
    p.functions[0].derivative = Some(FnId(0));
    assert_eq!(broken(&p), 14);
    let scalar = f32s(&[]);
    let d =
        p.add(function("d", &[scalar.clone(), scalar.clone(), scalar], |b, x| vec![b.map(Prim::Mul, &[x[1], x[2]])]));
    p.functions[0].derivative = Some(d);
    assert_eq!(verify(&p).unwrap().order(), [d, FnId(0)]);
    p.functions[1].nodes.push(Node {
        op: Op::Call(FnId(0)),
        args: vec![value(0)],
        tys: vec![f32s(&[])],
        origin: Origin::default(),
    });
    assert_eq!(broken(&p), 13);
}

#[test]
fn loops_have_the_order_they_say() {
    let line = f32s(&[2]);
    let body = |p: &mut Program| {
        p.add(function("body", &[line.clone(), f32s(&[])], |b, x| vec![b.zip(Prim::Mul, &[x[0], x[1]]), x[0]]))
    };
    let build = |r: &dyn Fn(Repeat) -> Repeat, tys: Vec<Ty>| {
        let mut p = Program::default();
        let r = r(Repeat { carried: 1, rows: 1, stacked: 1, ..repeat(body(&mut p), 2) });
        p.add(function("f", &[line.clone(), f32s(&[]), f32s(&[])], |b, x| b.repeat(r, x.to_vec(), tys)));
        verify(&p).map_err(|e| e.invariant)
    };
    let tys = || vec![line.clone(), f32s(&[2, 2])];
    assert!(build(&|r| r, tys()).is_ok());
    assert_eq!(build(&|r| r, vec![line.clone(), line.clone()]).unwrap_err(), 12);
    assert_eq!(build(&|r| Repeat { count: 3, ..r }, tys()).unwrap_err(), 12);
    assert_eq!(build(&|r| Repeat { count: 0, ..r }, tys()).unwrap_err(), 12);
    assert_eq!(build(&|r| Repeat { carried: 0, invariant: 1, ..r }, tys()).unwrap_err(), 12);
    assert_eq!(build(&|r| Repeat { members: vec!["a".into()], ..r }, tys()).unwrap_err(), 12);
    assert_eq!(build(&|r| Repeat { body: FnId(9), ..r }, tys()).unwrap_err(), 13);
}

#[test]
fn a_scalar_by_segment_meets_the_arena_only() {
    let build = |shape: &[i64]| {
        let (name, span) = ("w".into(), Default::default());
        let w = Weight { name, aliases: Vec::new(), ty: f32s(&[5]), param: true, trained: true, added: false, span };
        let mut p = Program { weights: vec![w], ..Program::default() };
        p.add(function("f", &[], |b, _| {
            let h = b.host(DType::F32, Host::Segment(vec![Host::Var(HostVar::Step)]));
            let h = b.map(Prim::Neg, &[h]);
            vec![b.broadcast(h, vec![], &sizes(shape))]
        }));
        verify(&p).map_err(|e| e.invariant)
    };
    assert!(build(&[16]).is_ok());
    assert_eq!(build(&[5]).unwrap_err(), 17);
}

#[test]
fn weights_and_roles() {
    let (aliases, span) = (Vec::new(), Default::default());
    let w = Weight { name: "w".into(), aliases, ty: f32s(&[5]), param: true, trained: true, added: false, span };
    let f = |t: Ty| function("f", &[t], |_, x| vec![x[0]]);
    let program = |t: Ty, input: Role, output: Role| {
        let entry = Entry {
            name: "e".into(),
            function: FnId(0),
            inputs: vec![input],
            outputs: vec![output],
            guards: Vec::new(),
            defaults: Vec::new(),
        };
        Program { weights: vec![w.clone()], functions: vec![f(t)], entries: vec![entry], ..Program::default() }
    };
    let named = || Role::Named("y".into());
    assert!(verify(&program(f32s(&[5]), Role::weight(WeightId(0)), Role::grad(WeightId(0)))).is_ok());
    assert!(verify(&program(f32s(&[16]), Role::Trained, Role::Grads)).is_ok());
    assert_eq!(broken(&program(f32s(&[4]), Role::weight(WeightId(0)), named())), 20);
    assert_eq!(broken(&program(f32s(&[5]), Role::weight(WeightId(1)), named())), 20);
    assert_eq!(broken(&program(f32s(&[5]), Role::Trained, named())), 20);
    assert_eq!(broken(&program(f32s(&[16]), Role::State(0), named())), 20);
    assert_eq!(
        broken(&program(f32s(&[5]), Role::Index("i".into(), Bound { below: Size::one(), except: None }), named())),
        20
    );
    let mut p = program(f32s(&[5]), named(), named());
    assert!(verify(&p).is_ok());
    p.entries[0].outputs.push(named());
    assert_eq!(broken(&p), 19);
    p.functions[0].results.push(value(0));
    assert_eq!(broken(&p), 19);
    p.weights.push(w.clone());
    assert_eq!(broken(&p), 18);
    p.weights[1] = Weight { name: "v".into(), param: false, ..w.clone() };
    assert_eq!(broken(&p), 18);
    p.weights[1] = Weight { name: "v".into(), ty: Ty { dtype: DType::F32, shape: vec![Size::dim(0)] }, ..w };
    assert_eq!(broken(&p), 18);
}
