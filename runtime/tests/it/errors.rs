//! What is refused: inputs that do not fit, with a text that says why, and plans that contradict themselves.

use crate::draft::*;
use crate::kernels;
use dlc_plan::kernel::{Elem, Kind};
use dlc_plan::plan::{Bound, Gemm, Guard, Place, Product, Repeat, StatePart, Step, Store};
use dlc_plan::{DType, Host, HostState, Prim, Size};
use dlc_runtime::pool::Pool;
use dlc_runtime::{Engine, Error, Tensor, ValidPlan};
use std::sync::Arc;

/// Takes x: f32[B, 4], label: i64[B] in 0..10 and mask: bool[B + 1], for B <= 6.
fn draft() -> Draft {
    let mut d = Draft::new();
    d.input("x", DType::F32, &[b(), n(4)], 0);
    d.input("label", DType::I64, &[b()], 0);
    d.input("mask", DType::Bool, &[b().plus(&n(1))], 0);
    d.entry.inputs[1].limit = Some(Bound { below: n(10), except: Some(-100) });
    let holds = Host::Prim(Prim::Le, vec![Host::Size(b()), Host::Const(6.0)]);
    d.entry.guards.push(Guard { holds, message: "the model requires B <= 6".into() });
    d
}

fn labels(label: &[i64]) -> Tensor {
    Tensor::from_i64(vec![label.len()], label.to_vec()).expect("the shape fits")
}

fn mask(len: usize) -> Tensor {
    Tensor::from_bool(vec![len], vec![true; len]).expect("the shape fits")
}

#[test]
fn inputs_that_do_not_fit_are_told_apart() {
    let (mut engine, _) = draft().engine(1);
    let mut run = |x: Tensor, label: Tensor, mask: Tensor| {
        let inputs = [("x", &x), ("mask", &mask), ("label", &label)];
        engine.run("go", &HostState::default(), &inputs).map_err(|e| (e.to_string(), e.exit_code()))
    };
    let fits = labels(&[0, 9, -100]);
    let refused = |text: &str| Err((text.to_string(), 2));
    assert_eq!(run(noise(1, &[3, 4]), fits.clone(), mask(4)), Ok(vec![]));
    let found = run(noise(1, &[3, 5]), fits.clone(), mask(4));
    assert_eq!(found, refused("`x` is [3, 5] here, expected [B, 4] where B = 3"));
    let found = run(noise(1, &[12]), fits.clone(), mask(4));
    assert_eq!(found, refused("`x` is [12] here, expected [B, 4] where B = 12"));
    let found = run(noise(1, &[4, 4]), fits.clone(), mask(5));
    assert_eq!(found, refused("`label` is [3] here, expected [B] where B = 4"));
    let found = run(noise(1, &[3, 4]), fits.clone(), mask(3));
    assert_eq!(found, refused("`mask` is [3] here, expected [B + 1] where B = 3"));
    let found = run(noise(1, &[3, 4]), noise(2, &[3]), mask(4));
    assert_eq!(found, refused("`label` is f32 here, expected i64"));
    let found = run(noise(1, &[3, 4]), labels(&[1, 12, 0]), mask(4));
    assert_eq!(found, refused("label 12 at row 1 is outside 0..10"));
    let found = run(noise(1, &[3, 4]), labels(&[1, 2, -1]), mask(4));
    assert_eq!(found, refused("label -1 at row 2 is outside 0..10"));
    let found = run(noise(1, &[3, 4]), labels(&[1 << 40, 2, -1]), mask(4));
    assert_eq!(found, refused("label 1099511627776 at row 0 is outside 0..10"));
    let found = run(noise(1, &[7, 4]), labels(&[0; 7]), mask(8));
    assert_eq!(found, refused("B = 7, but the model requires B <= 6"));
    assert_eq!(run(noise(1, &[3, 4]), fits, mask(4)), Ok(vec![]));
}

#[test]
fn names_that_are_missing_or_unknown_are_told() {
    let (mut engine, _) = draft().engine(1);
    let state = HostState::default();
    let x = noise(1, &[3, 4]);
    let mut run = |entry: &str, inputs: &[(&str, &Tensor)]| {
        engine.run(entry, &state, inputs).expect_err("something is wrong with it").to_string()
    };
    assert_eq!(run("went", &[]), "nothing here is called `went`; there is `go`");
    assert_eq!(run("go", &[("x", &x)]), "`go` needs the input `label`, which is not given");
    assert_eq!(run("go", &[("y", &x)]), "no input is called `y`; the inputs are `x`, `label`, `mask`");
    let error = engine.run_into(0, &state, &[&x], &mut []).expect_err("two are missing");
    assert_eq!(error.to_string(), "1 inputs are given, expected 3");
}

#[test]
fn hostile_sizes_are_refused() {
    let mut d = Draft::new();
    d.input("x", DType::F32, &[b(), n(0)], 0);
    d.temp(b().times(&b()).times(&b()), 0, 0);
    let (mut engine, _) = d.engine(1);
    let x = Tensor::zeros(dlc_runtime::tensor::DType::F32, &[1 << 40, 0]).expect("it is empty");
    let error = engine.run("go", &HostState::default(), &[("x", &x)]).expect_err("there is not that much memory");
    assert!(matches!(error, Error::Memory { .. }), "{error}");
    // The engine goes on.
    let x = Tensor::zeros(dlc_runtime::tensor::DType::F32, &[7, 0]).expect("it is empty");
    assert_eq!(engine.run("go", &HostState::default(), &[("x", &x)]), Ok(vec![]));
    let mut d = Draft::new();
    d.input("x", DType::F32, &[b()], 0);
    d.temp(b().minus(&n(5)), 0, 0);
    let error = d.engine(1).0.run("go", &HostState::default(), &[("x", &noise(1, &[3]))]);
    let text = error.expect_err("the size is negative").to_string();
    assert_eq!(text, "buffer 1 would have a negative size at B = 3");
}

/// What the engine says of a draft that was spoilt.
fn refusal(spoil: impl FnOnce(&mut Draft)) -> String {
    let mut d = Draft::new();
    let k = d.kernel(kernels::bias_relu());
    let w = d.weight("w", &[4], Store::Trained);
    let w = d.stored(Store::Trained, w);
    let x = d.input("x", DType::F32, &[b(), n(4)], 1);
    let y = d.output("y", DType::F32, &[b(), n(4)], 2);
    let uniforms = [(Kind::F32, Host::Const(1.0))];
    d.step(Step::Kernel(call(k, &[x, w], &uniforms, &[b(), n(4)], b())));
    d.step(Step::Copy { from: x, to: y });
    d.entry.buffers[x as usize].place = Place::Arena { first: 0, last: 2 };
    spoil(&mut d);
    let fns = vec![kernels::bias_relu().1; d.plan.kernels.len()];
    let kernels = crate::draft::kernels(&fns, &d.plan.kernels);
    let plan = ValidPlan::new(d.finished());
    let mut engine = match plan.and_then(|plan| Engine::with_pool(plan, kernels, Arc::new(Pool::new(1)))) {
        Ok(engine) => engine,
        Err(error) => return error.to_string(),
    };
    match engine.run("go", &HostState::default(), &[("x", &noise(1, &[3, 4]))]) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    }
}

fn first_call(d: &mut Draft) -> &mut dlc_plan::plan::Call {
    match &mut d.entry.steps[0] {
        Step::Kernel(call) => call,
        other => unreachable!("the first step is a call, not {other:?}"),
    }
}

/// What a state keeps for a weight: one element, the first of its store.
fn part(state: u16, weight: u32) -> StatePart {
    StatePart { state, weight, shape: vec![1], offset: 0 }
}

#[test]
fn plans_that_contradict_themselves_are_refused() {
    assert_eq!(refusal(|_| {}), "");
    type Spoil = fn(&mut Draft);
    let cases: [(&str, Spoil); 24] = [
        ("takes 2 buffers, not 1", |d| first_call(d).bufs.truncate(1)),
        ("takes 1 scalars, not 0", |d| first_call(d).uniforms.clear()),
        ("takes 2 extents, not 3", |d| first_call(d).exts.push(n(1))),
        ("there is no kernel 3", |d| first_call(d).kernel = 3),
        ("there is no buffer 77", |d| first_call(d).bufs[0] = 77),
        ("kernel 0 has 3 rows and is called for 6", |d| first_call(d).rows = b().times(&n(2))),
        ("is copied to", |d| d.entry.steps[1] = Step::Copy { from: 1, to: 0 }),
        ("touches elements 0 to 14 of buffer 1", |d| first_call(d).exts[1] = n(5)),
        ("buffer 0 is U8, expected F32", |d| {
            d.entry.buffers[0] = {
                let place = Place::Arena { first: 0, last: 9 };
                dlc_plan::plan::Buffer { elem: Elem::U8, place, ..d.entry.buffers[0].clone() }
            }
        }),
        ("`w` has nothing in Frozen", |d| d.entry.buffers[0].place = Place::Weight { store: Store::Frozen, weight: 0 }),
        ("there is no weight 1", |d| d.entry.buffers[0].place = Place::Weight { store: Store::Grads, weight: 1 }),
        ("does not lie in what it is a piece of", |d| d.entry.buffers[0].len = n(5)),
        ("does not lie in what it is a piece of", |d| {
            d.entry.buffers[0].place = Place::Part { of: 1, offset: n(9) };
        }),
        ("is a piece of itself", |d| d.entry.buffers[0].place = Place::Part { of: 0, offset: n(0) }),
        ("is used outside of its loop", |d| d.entry.buffers[0].place = Place::Row { depth: 0, cells: vec![] }),
        ("may share memory, and both are needed", |d| {
            d.entry.buffers[1].place = Place::Arena { first: 0, last: 0 };
            d.entry.buffers[2].place = Place::Arena { first: 1, last: 9 };
        }),
        ("no input gives the dynamic size `T`", |d| {
            d.plan.dims.push("T".into());
            first_call(d).exts[0] = Size::dim(1);
        }),
        ("a row of loop 0, which is not there", |d| first_call(d).uniforms[0].1 = Host::Row(0, vec![])),
        ("cells for segments None", |d| first_call(d).uniforms[0].1 = Host::Segment(vec![Host::Const(1.0)])),
        ("two weights are called `w`", |d| d.plan.weights.push(d.plan.weights[0].clone())),
        ("there is no state 3", |d| d.plan.parts.push(part(3, 0))),
        ("state 0 keeps two weights in one place", |d| {
            d.weight("v", &[2], Store::Trained);
            d.weight("u", &[2], Store::Trained);
            d.plan.states.push("m".into());
            d.plan.parts.extend([part(0, 1), part(0, 2)]);
        }),
        ("state 0 is taken as a whole", |d| {
            d.weight("v", &[2], Store::Trained);
            d.plan.states.push("m".into());
            d.plan.parts.push(part(0, 1));
            d.entry.buffers[0].place = Place::Store(Store::State(0));
        }),
        ("`y` has 12 elements and a buffer of 15", |d| d.entry.buffers[2].len = b().times(&n(5))),
    ];
    for (expected, spoil) in cases {
        // Only debug builds look at each access.
        if expected.starts_with("touches") && !cfg!(debug_assertions) {
            continue;
        }
        let found = refusal(spoil);
        assert!(found.contains(expected), "expected `{expected}`, found `{found}`");
        assert!(found.starts_with("the plan contradicts itself"), "{found}");
    }
}

#[test]
fn what_a_loop_needs_again_must_live_to_its_end() {
    // The body reads x at step 2 and makes t at step 3: t in x's memory would spoil the next turn.
    let text = |last: u32| {
        refusal(move |d| {
            let t = d.temp(b().times(&n(4)), 3, 3);
            let u = d.temp(b().times(&n(4)), 2, 3);
            let body = vec![Step::Copy { from: 1, to: u }, Step::Copy { from: u, to: t }];
            d.entry.steps =
                vec![Step::Repeat(Box::new(Repeat { count: 2, reverse: false, steps: body, note: String::new() }))];
            d.entry.buffers[1].place = Place::Arena { first: 0, last };
            d.entry.buffers[2].place = Place::Arena { first: 0, last: 9 };
        })
    };
    assert!(text(2).contains("may share memory, and both are needed at step 3"), "{}", text(2));
    assert_eq!(text(3), "");
}

#[test]
fn products_stay_within_their_buffers() {
    let text = |columns: i64, stride: i64| {
        refusal(move |d| {
            let terms = vec![Product { k: n(4), a: matrix(1, n(4)), b: matrix(0, n(columns)) }];
            let c = dlc_plan::plan::Matrix { col: n(stride), ..matrix(2, n(4)) };
            let (m, n, note) = (b(), n(columns), String::new());
            let gemm = Gemm { m, n, terms, c, batch: vec![], accumulate: false, then: None, note };
            d.entry.steps = vec![Step::Gemm(Box::new(gemm))];
        })
    };
    assert_eq!(text(1, 1), "");
    assert!(text(2, 1).contains("is used as if it had 8"), "{}", text(2, 1));
    assert!(text(1, 0).is_empty());
    let twice = refusal(|d| {
        let terms = vec![Product { k: n(1), a: matrix(1, n(4)), b: matrix(0, n(4)) }];
        let c = dlc_plan::plan::Matrix { row: n(0), ..matrix(2, n(4)) };
        let gemm =
            Gemm { m: b(), n: n(4), terms, c, batch: vec![], accumulate: false, then: None, note: String::new() };
        d.entry.steps = vec![Step::Gemm(Box::new(gemm))];
    });
    assert!(twice.contains("more than once"), "{twice}");
}
