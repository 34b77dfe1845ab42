//! Passes leave the interpreter's answers alone, and do what they are for.

use super::support::random::{self, sigmoid};
use super::support::{f32s, function, repeat, sizes, ty};
use dlc_compiler::grad::{Residual, gradient};
use dlc_compiler::passes::{self, BEFORE_GRADIENTS, PASSES};
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{Tensor, run_entry};
use dlc_compiler::program::{Entry, FnId, Op, Program, ReduceOp, Repeat, Role, Ty, Value, print};
use dlc_plan::{DType, Host, HostState, HostVar, Prim, Size};

/// Makes a function an entry with numbered names.
fn enter(p: &mut Program, f: FnId) {
    let named = |n: usize, word: &str| (0..n).map(|i| Role::Named(format!("{word}{i}"))).collect();
    let function = p.function(f);
    let (inputs, outputs) = (named(function.params.len(), "x"), named(function.results.len(), "y"));
    p.entries.push(Entry {
        name: format!("e{}", f.0),
        function: f,
        inputs,
        outputs,
        guards: Vec::new(),
        defaults: Vec::new(),
    });
}

/// A function that gives what `f` gives, and the cotangents of its real parameters for cotangents of ones.
fn with_gradients(p: &mut Program, f: FnId) -> FnId {
    let wanted: Vec<usize> =
        (0..p.function(f).params.len()).filter(|i| p.function(f).params[*i].ty.dtype.is_float()).collect();
    let g = gradient(p, f, &wanted);
    let function = p.function(f);
    let mut b = Builder::new("with_gradients");
    let args: Vec<Value> = function.params.iter().map(|q| b.param(q.name.clone(), q.ty.clone())).collect();
    let forward = b.call(g.forward, args.clone(), p.function(g.forward).result_tys());
    let own = function.results.len();
    let mut given: Vec<Value> = g
        .residuals
        .iter()
        .map(|r| match r {
            Residual::Param(i) => args[*i],
            Residual::Result(j) => forward[*j],
            Residual::Kept(k) => forward[own + k],
        })
        .collect();
    for t in function.result_tys().iter().filter(|t| t.dtype.is_float()) {
        given.push(b.full(t.dtype, 1.0, &t.shape));
    }
    let backward = b.call(g.backward, given, p.function(g.backward).result_tys());
    p.add(b.finish([&forward[..own], &backward].concat()))
}

fn answers(p: &Program, args: &[Tensor], what: &str) -> Vec<Vec<Tensor>> {
    let host = HostState { step: 3, seed: 11, first_sample: 2, ..HostState::default() };
    let run = |e: &Entry| run_entry(p, e, args.to_vec(), &host).unwrap_or_else(|e| panic!("{what}: {e}"));
    p.entries.iter().map(run).collect()
}

/// Equal but for the last digits; x ^ 2 and x * x may differ there.
fn assert_close(found: &[Vec<Tensor>], expected: &[Vec<Tensor>], what: &str) {
    for (a, b) in found.iter().flatten().zip(expected.iter().flatten()) {
        assert_eq!(a.shape, b.shape, "{what}");
        for (x, y) in a.data.iter().zip(&b.data) {
            assert!(
                x == y || (x - y).abs() <= 1e-11 * (1.0 + y.abs()) || x.is_nan() && y.is_nan(),
                "{what}: {x} for {y}"
            );
        }
    }
}

#[test]
fn no_pass_changes_an_answer() {
    for seed in 1000..1100 {
        let mut m = random::program(seed, true);
        let f = m.last();
        let args = m.args(f, 3);
        enter(&mut m.p, f);
        let mut p = m.p;
        let expected = answers(&p, &args, "before");
        let mut check = |name: &'static str, p: &Program, _: std::time::Duration| {
            assert_close(&answers(p, &args, name), &expected, &format!("seed {seed} after {name}"));
        };
        passes::run(&mut p, BEFORE_GRADIENTS, true, &mut check).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let function = p.entries[0].function;
        let g = with_gradients(&mut p, function);
        enter(&mut p, g);
        let expected = answers(&p, &args, "with gradients");
        let mut check = |name: &'static str, p: &Program, _: std::time::Duration| {
            assert_close(&answers(p, &args, name), &expected, &format!("seed {seed} after {name}"));
        };
        passes::run(&mut p, PASSES, true, &mut check).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert!(p.functions.iter().flat_map(|f| &f.nodes).all(|n| !matches!(n.op, Op::Call(_) | Op::Stop)));
    }
}

/// The text of the nodes of the only function, after all passes.
fn after(types: &[Ty], build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>) -> String {
    let mut p = Program { dims: vec!["B".into()], ..Program::default() };
    let f = p.add(function("f", types, build));
    enter(&mut p, f);
    passes::run(&mut p, PASSES, true, &mut |_, _, _| {}).unwrap_or_else(|e| panic!("{e}"));
    let text = print::function(&p, FnId(0));
    let lines: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
    lines[..lines.len() - 1].join("\n")
}

#[test]
fn products_are_added_up_before_all_else() {
    let tys = [f32s(&[3, 4]), f32s(&[4, 4]), f32s(&[3, 4])];
    let text = after(&tys, |b, x| {
        let product = |b: &mut Builder, v| b.contract(v, x[1], &[0, 1], &[1, 2], &[0, 2]);
        let (one, other) = (product(b, x[0]), product(b, x[2]));
        let sum = b.map(Prim::Add, &[x[0], one]);
        let sum = b.map(Prim::Add, &[sum, other]);
        // This one is read twice, and so it is no term.
        let twice = b.map(Prim::Sin, &[x[0]]);
        let twice = product(b, twice);
        let sum = b.map(Prim::Add, &[twice, sum]);
        vec![b.map(Prim::Mul, &[sum, twice])]
    });
    insta::assert_snapshot!(text);
}

#[test]
fn neutral_operands_go() {
    let t = f32s(&[2]);
    let same = after(std::slice::from_ref(&t), |b, x| {
        let mut v = x[0];
        for (prim, number) in [(Prim::Mul, 1.0), (Prim::Add, 0.0), (Prim::Sub, 0.0), (Prim::Div, 1.0), (Prim::Pow, 1.0)]
        {
            v = b.with_number(prim, v, number);
        }
        let minus = b.map(Prim::Neg, &[v]);
        vec![b.map(Prim::Neg, &[minus])]
    });
    assert_eq!(same, "return %0");
    let difference = after(&[t.clone(), t.clone()], |b, x| {
        let minus = b.with_number(Prim::Mul, x[1], -1.0);
        vec![b.map(Prim::Add, &[x[0], minus])]
    });
    assert_eq!(difference, "%2: f32[2] = map - %0 %1\nreturn %2");
    let zero = after(std::slice::from_ref(&t), |b, x| vec![b.with_number(Prim::Mul, x[0], 0.0)]);
    assert!(zero.contains("map * %0"), "x * 0 is NaN where x is infinite: {zero}");
}

#[test]
fn constants_fold_only_where_they_stay_exact() {
    let exact = after(&[], |b, _| {
        let x = b.full(DType::F32, 3.0, &sizes(&[2]));
        vec![b.with_number(Prim::Mul, x, 0.5)]
    });
    assert_eq!(exact, "%0: f32[] = const 1.5\n%1: f32[2] = broadcast [] %0\nreturn %1");
    let third = after(&[], |b, _| {
        let x = b.full(DType::F32, 1.0, &sizes(&[2]));
        vec![b.with_number(Prim::Div, x, 3.0)]
    });
    assert_eq!(
        third,
        "%0: f32[] = const 1\n%1: f32[] = const 3\n%2: f32[] = map / %0 %1\n%3: f32[2] = broadcast [] %2\nreturn %3"
    );
    let sum = after(&[f32s(&[4])], |b, x| {
        let one = b.full(DType::F32, 1.0, &sizes(&[2, 4]));
        let ones = b.reduce(ReduceOp::Sum, one, &[0]);
        vec![b.map(Prim::Mul, &[x[0], ones])]
    });
    assert!(sum.starts_with("%1: f32[] = const 2"), "{sum}");
}

#[test]
fn host_scalars_are_joined_before_they_are_repeated() {
    let text = after(&[f32s(&[2])], |b, x| {
        let rate = b.host(DType::F32, Host::Var(HostVar::Step));
        let rate = b.broadcast(rate, vec![], &sizes(&[2]));
        let rate = b.with_number(Prim::Mul, rate, 3.0);
        vec![b.map(Prim::Mul, &[x[0], rate])]
    });
    assert_eq!(
        text,
        "%1: f32[] = host step\n%2: f32[] = const 3\n%3: f32[] = map * %1 %2\n%4: f32[2] = broadcast [] %3\n\
         %5: f32[2] = map * %0 %4\nreturn %5"
    );
}

#[test]
fn casts_that_round_stay() {
    let wide = after(&[ty(DType::BF16, &[2])], |b, x| {
        let wide = b.cast(x[0], DType::F32);
        vec![b.cast(wide, DType::BF16)]
    });
    assert_eq!(wide, "return %0");
    let narrow = after(&[f32s(&[2])], |b, x| {
        let narrow = b.cast(x[0], DType::BF16);
        vec![b.cast(narrow, DType::F32)]
    });
    assert_eq!(narrow, "%1: bf16[2] = cast bf16 %0\n%2: f32[2] = cast f32 %1\nreturn %2");
}

#[test]
fn views_of_views() {
    let t = f32s(&[2, 3]);
    let one = std::slice::from_ref(&t);
    let turned = after(one, |b, x| {
        let v = b.permute(x[0], &[1, 0]);
        vec![b.permute(v, &[1, 0])]
    });
    assert_eq!(turned, "return %0");
    let regrouped = after(one, |b, x| {
        let v = b.merge(x[0], 0, 2);
        let v = b.split(v, 0, &sizes(&[3, 2]));
        let v = b.merge(v, 0, 2);
        vec![b.split(v, 0, &sizes(&[2, 3]))]
    });
    assert_eq!(regrouped, "return %0");
    let kept = after(one, |b, x| {
        let sum = b.reduce_keep(ReduceOp::Sum, x[0], &[1]);
        vec![b.zip(Prim::Sub, &[x[0], sum])]
    });
    assert_eq!(
        kept,
        "%1: f32[2] = sum [1] %0\n%2: f32[2, 3] = broadcast [0] %1\n%3: f32[2, 3] = map - %0 %2\nreturn %3"
    );
    let sliced = after(one, |b, x| {
        let v = b.slice(x[0], 1, Size::from(2), -1, Size::from(3));
        vec![b.slice(v, 1, Size::from(1), 1, Size::from(2))]
    });
    assert_eq!(sliced, "%1: f32[2, 2] = slice [1] from 1 by -1 %0\nreturn %1");
    let part = after(&[t.clone(), t.clone()], |b, x| {
        let all = b.node(Op::Concat(0), vec![x[0], x[1]], f32s(&[4, 3]));
        vec![b.slice(all, 0, Size::from(2), 1, Size::from(2)), b.slice(all, 0, Size::from(1), 1, Size::from(1))]
    });
    assert_eq!(part, "%2: f32[1, 3] = slice [0] from 1 %0\nreturn %1 %2");
    let extreme = after(std::slice::from_ref(&t), |b, x| {
        let wide = b.broadcast(x[0], vec![1, 2], &sizes(&[5, 2, 3]));
        vec![b.reduce(ReduceOp::Max, wide, &[0])]
    });
    assert_eq!(extreme, "return %0");
}

#[test]
fn contractions_take_permutations_in() {
    let text = after(&[f32s(&[2, 3]), f32s(&[4, 3])], |b, x| {
        let w = b.permute(x[1], &[1, 0]);
        let y = b.contract(x[0], w, &[0, 1], &[1, 2], &[0, 2]);
        vec![b.permute(y, &[1, 0])]
    });
    assert_eq!(text, "%2: f32[4, 2] = contract ab,cb->ca %0 %1\nreturn %2");
}

#[test]
fn equal_nodes_are_made_once() {
    let text = after(&[f32s(&[2])], |b, x| {
        let a = b.push(Op::Map(Prim::Exp), vec![x[0]], vec![f32s(&[2])]);
        let c = b.push(Op::Map(Prim::Exp), vec![x[0]], vec![f32s(&[2])]);
        vec![b.map(Prim::Mul, &[a, c])]
    });
    assert_eq!(text, "%1: f32[2] = map exp %0\n%2: f32[2] = map * %1 %1\nreturn %2");
}

/// A loop with something superfluous in every group: what is carried unchanged, an invariant that is a constant, rows
/// that are all alike, twice the same row, a result nobody wants, a result that is an argument.
#[test]
fn loops_lose_what_they_do_not_need() {
    let mut p = Program::default();
    let s = || f32s(&[]);
    let types: Vec<Ty> = vec![s(); 8];
    let body = p.add(function("body", &types, |b, x| {
        let [y, same, one, stack, alike, row, twin, unused] = x.try_into().unwrap();
        let mut v = b.map(Prim::Mul, &[y, one]);
        for other in [same, stack, alike, row, twin] {
            v = b.map(Prim::Add, &[v, other]);
        }
        let dead = b.map(Prim::Exp, &[unused]);
        vec![v, same, stack, y, y, dead, row, v]
    }));
    let r = Repeat { carried: 2, invariant: 1, stacks: 1, rows: 4, stacked: 4, row_results: 2, ..repeat(body, 2) };
    let mut params = vec![f32s(&[]); 6];
    params.push(f32s(&[2]));
    let f = p.add(function("f", &params, |b, x| {
        let one = b.constant(DType::F32, 1.0);
        let rows = [x[2], x[2], x[3], x[4], x[3], x[4], x[5], x[5]];
        let args = [&[x[0], x[1], one, x[6]][..], &rows].concat();
        let tys = [vec![s(), s()], vec![f32s(&[2]); 4], vec![s(); 4]].concat();
        let out = b.repeat(r, args, tys);
        vec![out[0], out[1], out[2], out[3], out[4], out[6], out[7], out[9]]
    }));
    enter(&mut p, f);
    let args: Vec<Tensor> =
        (0..6).map(|i| Tensor::scalar(f64::from(i))).chain([Tensor::new([2], [7.0, 8.0])]).collect();
    let expected = answers(&p, &args, "before");
    passes::run(&mut p, PASSES, true, &mut |_, _, _| {}).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(answers(&p, &args, "after"), expected);
    let text = print::program(&p);
    let node = text.lines().find(|l| l.contains("repeat")).unwrap();
    assert_eq!(
        node.trim(),
        "%7: (f32[], f32[2], 2 x f32[]) = repeat 2 times #1 body stacking 1 carried(%0) invariant(%1 %2) stacks(%6) row(%3 %4)"
    );
    assert!(text.contains("return %7.0 %1 %6 %7.1 %7.1 %3 %4 %7.3"), "{text}");
}

#[test]
fn calls_with_a_stated_derivative_wait_for_their_gradient() {
    let mut p = Program::default();
    let t = f32s(&[2]);
    let s = sigmoid(&mut p, &t);
    let inner = p.add(function("inner", std::slice::from_ref(&t), |b, x| b.call(s, vec![x[0]], vec![t.clone()])));
    let outer = p.add(function("outer", std::slice::from_ref(&t), |b, x| {
        b.origin.member = "a".into();
        b.call(inner, vec![x[0]], vec![t.clone()])
    }));
    enter(&mut p, outer);
    passes::run(&mut p, BEFORE_GRADIENTS, true, &mut |_, _, _| {}).unwrap();
    assert!(matches!(&p.function(outer).nodes[1].op, Op::Call(f) if *f == s));
    assert_eq!(&*p.function(outer).nodes[1].origin.member, "a");
    passes::run(&mut p, PASSES, true, &mut |_, _, _| {}).unwrap();
    assert_eq!((p.functions.len(), p.functions[0].derivative), (1, None));
}
