//! What goes through something wide row by row is run in panels: which chains are taken and which are not and why, the
//! plans, and the numbers against the same program without panels, gradients too.

#[cfg(feature = "jit")]
use super::machine::engines;
use super::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::grad::{Residual, gradient};
use dlc_compiler::passes::{self, PASSES};
use dlc_compiler::pipeline::Goal;
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{Tensor, run_entry};
use dlc_compiler::program::{Entry, Op, Program, Role, Value};
use dlc_plan::plan::{Place, Step};
use dlc_plan::{Atom, DType, HostState, Plan, Size};
#[cfg(feature = "jit")]
use dlc_runtime::Engine;

/// The program of a model's text, before the passes that come after gradients.
pub fn program(text: &str) -> Program {
    program_of(text, false)
}

/// As [`program`]; as in training, if so told.
pub fn program_of(text: &str, training: bool) -> Program {
    let goal = Goal::Run { model: None, training };
    let done = compile(text, goal, &[], &mut Columns(vec![]), &mut |_, _| {});
    done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n"))).program
}

/// Adds the entry `grads`: from the inputs of `forward`, and a cotangent `dy` for its only output, to the output and the
/// cotangents of all real inputs.
pub fn with_gradients(p: &mut Program) {
    let entry = p.entry("forward").expect("every model runs forward").clone();
    let f = p.function(entry.function).clone();
    let wanted: Vec<usize> = (0..f.params.len()).filter(|i| f.params[*i].ty.dtype.is_float()).collect();
    let g = gradient(p, entry.function, &wanted);
    let mut b = Builder::new("grads");
    let args: Vec<Value> = f.params.iter().map(|q| b.param(q.name.clone(), q.ty.clone())).collect();
    let dy = b.param("dy", f.ty(f.results[0]).clone());
    let forward = b.call(g.forward, args.clone(), p.function(g.forward).result_tys());
    let own = f.results.len();
    let residual = |r: &Residual| match r {
        Residual::Param(i) => args[*i],
        Residual::Result(j) => forward[*j],
        Residual::Kept(k) => forward[own + k],
    };
    let mut given: Vec<Value> = g.residuals.iter().map(residual).collect();
    given.push(dy);
    let backward = b.call(g.backward, given, p.function(g.backward).result_tys());
    let mut results = vec![forward[0]];
    let mut outputs = vec![Role::Named("y".into())];
    for (i, place) in &g.cotangents {
        if let Some(k) = place {
            results.push(backward[*k]);
            outputs.push(Role::Named(format!("d{}", f.params[*i].name)));
        }
    }
    // Weights are given like inputs here.
    let mut inputs: Vec<Role> = f.params.iter().map(|q| Role::Named(q.name.clone())).collect();
    inputs.push(Role::Named("dy".into()));
    let function = p.add(b.finish(results));
    p.entries.push(Entry {
        name: "grads".into(),
        function,
        inputs,
        outputs,
        guards: entry.guards.clone(),
        defaults: entry.defaults.clone(),
    });
}

/// The same program, with nothing run in panels.
pub fn without(p: &Program) -> Program {
    let mut p = p.clone();
    p.functions.iter_mut().for_each(|f| f.cut = None);
    p
}

/// How many nodes of the program run panels.
fn panels(p: &Program) -> usize {
    p.functions.iter().flat_map(|f| &f.nodes).filter(|n| matches!(n.op, Op::Panels(_))).count()
}

/// The program after all passes, and its plan.
pub fn planned(p: &Program) -> (Program, Plan) {
    let mut p = p.clone();
    let facts = passes::run(&mut p, PASSES, true, &mut |_, _, _| {}).unwrap_or_else(|e| panic!("{e}"));
    let plan = dlc_compiler::plan::plan(&p, &facts);
    (p, plan)
}

/// Chains that are taken: what they are, whether as in training, and a model.
pub const TAKEN: &[(&str, bool, &str)] = &[
    (
        "grouped queries with a mask, causal",
        false,
        "model M(H = 4, G = 2, K = 5)(q: [B, H, T, K], k: [B, G, S, K], v: [B, G, S, K], m: i64[B, S]) -> y: [B, H, T, K] {
           return attention(q, k, v, mask = m, causal = true)
         }",
    ),
    (
        "dropout",
        true,
        "model M(K = 5)(q: [B, 3, T, K], k: [B, 3, S, K], v: [B, 3, S, K]) -> y: [B, 3, T, K] {
           return attention(q, k, v, p = 0.25)
         }",
    ),
    (
        "other names and orders of axes, a scale on one side, a bias, a soft cap",
        false,
        "model M(C = 4)(bias: [3, T, S], store: [B, S, 3, C], ask: [B, T, 3, C]) -> y: [B, T, 3, C] {
           left = (ask -> [B, T, 3, C => B, 3, T, C]) * 0.3
           z = left @ (store -> [B, S, 3, C => B, 3, C, S]) + bias
           z = 5 * tanh(z / 5)
           e = exp(z - max[-1, keep](z))
           w = e / sum[-1, keep](e)
           return (w @ (store -> [B, S, 3, C => B, 3, S, C])) -> [B, 3, T, C => B, T, 3, C]
         }",
    ),
    (
        "nothing but two products and a quotient of exponentials",
        false,
        "model M(K = 5)(q: [T, K], k: [S, K], v: [S, 7]) -> y: [T, 7] {
           e = exp(q @ k.t)
           return e / sum[-1, keep](e) @ v
         }",
    ),
    (
        "the exponential of log_softmax, and a cut at small weights",
        false,
        "model M(K = 5)(q: [B, T, K], k: [B, S, K], v: [B, S, K]) -> y: [B, T, K] {
           w = exp(log_softmax[-1](q @ k.t / 2))
           return where(w < 1e-3, 0, w) @ v
         }",
    ),
    (
        "keys first",
        false,
        "model M(K = 5)(q: [B, T, K], k: [B, S, K], v: [B, S, K]) -> y: [B, T, K] {
           w = softmax[-2](k @ q.t * 0.4)
           return w.t @ v
         }",
    ),
    (
        "a temperature for each head, and values of the weights' own side",
        false,
        "model M(K = 5)(q: [B, 2, T, K], k: [B, 2, S, K], v: [B, 2, S, K], tau: [2]) -> y: [B, 2, T, K] {
           return softmax[-1](q @ k.t * exp(tau)[:, none, none]) @ v
         }",
    ),
    (
        "weights made equal again along each row",
        false,
        "model M(K = 5)(q: [T, K], k: [S, K], v: [S, K], bias: [S]) -> y: [T, K] {
           w = softmax[-1](q @ k.t + bias)
           w = w * w
           return w / sum[-1, keep](w) @ v
         }",
    ),
    (
        "one input asks itself, in two layers of a loop",
        false,
        "block Mix(x: [B, T, D]) -> [B, T, D] {
           h = x -> qkv: Linear(3 * D) -> [B, T, (3, 2, K) => 3, B, 2, T, K]
           y = attention(h[0], h[1], h[2], causal = true) -> [B, 2, T, K => B, T, (2, K)]
           return x + y
         }
         model M(D = 6)(x: [B, T, D]) -> y: [B, T, D] {
           repeat 2 as i { x = x -> layers.{i}: Mix }
           return x
         }",
    ),
];

/// Inputs of the entry `grads` at these sizes; integers are 0 and 1.
fn inputs(p: &Program, dims: &[(&str, i64)]) -> Vec<Tensor> {
    let f = p.function(p.entry("grads").unwrap().function);
    let size = |name: &str| dims.iter().find(|(n, _)| *n == name).map_or(0, |(_, n)| *n);
    let values: Vec<i64> = p.dims.iter().map(|name| size(name)).collect();
    let one = |(seed, q): (usize, &dlc_compiler::program::Param)| {
        let shape: Vec<usize> = q.ty.shape.iter().map(|s| s.eval(&values) as usize).collect();
        let at = |i: usize| match q.ty.dtype {
            DType::I64 => f64::from(u8::from(i % 5 != 2)),
            _ => f64::from((((i + 1) * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0),
        };
        let n: usize = shape.iter().product();
        Tensor::new(shape, (0..n).map(at).collect::<Vec<_>>())
    };
    f.params.iter().enumerate().map(one).collect()
}

/// The norm of the difference over the norm of what is expected, for each tensor.
pub fn near(found: &[Tensor], expected: &[Tensor], bound: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        assert_eq!(a.shape, b.shape, "{what}");
        assert!(a.data.iter().all(|x| x.is_finite()), "{what}: result {i} is not finite");
        let norm = |xs: &mut dyn Iterator<Item = f64>| xs.map(|x| x * x).sum::<f64>().sqrt();
        let off = norm(&mut a.data.iter().zip(&b.data).map(|(x, y)| x - y));
        let own = norm(&mut b.data.iter().copied());
        assert!(off <= bound * own.max(1e-2), "{what}: result {i} is {off} off of {own}");
    }
}

fn host() -> HostState {
    HostState { step: 3, seed: 11, first_sample: 2, ..HostState::default() }
}

/// The sizes of a batch, of rows and of keys.
const SIZES: [(i64, i64); 6] = [(1, 1), (15, 17), (16, 15), (17, 16), (70, 3), (5, 257)];

/// What the arena holds whose size has the rows and the keys, beside what enters and leaves.
fn wide(plan: &Plan) -> Vec<String> {
    let dim = |name: &str| plan.dims.iter().position(|d| d == name).map(|d| Atom::Dim(d as u16));
    let (Some(t), Some(s)) = (dim("T"), dim("S")) else { return Vec::new() };
    let both = |size: &Size| size.terms().iter().any(|x| x.atoms.contains(&t) && x.atoms.contains(&s));
    let mut found = Vec::new();
    for e in &plan.entries {
        let port = |b: usize| e.inputs.iter().chain(&e.outputs).any(|p| p.buffer as usize == b);
        let arena = e.buffers.iter().enumerate().filter(|(_, b)| matches!(b.place, Place::Arena { .. }));
        found.extend(arena.filter(|(i, b)| both(&b.len) && !port(*i)).map(|(_, b)| format!("{}: {}", e.name, b.note)));
    }
    found
}

#[test]
fn chains_are_taken_and_mean_the_same() {
    for (what, training, text) in TAKEN {
        let mut p = program_of(text, *training);
        with_gradients(&mut p);
        let plain = without(&p);
        let ((fast, plan), (slow, _)) = (planned(&p), planned(&plain));
        // Forward alone, forward with gradients, backward.
        assert_eq!((panels(&fast), panels(&slow)), (3, 0), "{what}");
        assert_eq!((wide(&plan), plan.notes.len()), (Vec::<String>::new(), 0), "{what}");
        #[cfg(feature = "jit")]
        let mut engines = engines(&plan, [1, 2, 3]);
        for (t, s) in SIZES {
            let s = if what.starts_with("grouped") { s.max(t) } else { s };
            let args = inputs(&p, &[("B", 2), ("T", t), ("S", s)]);
            let run = |p: &Program| run_entry(p, p.entry("grads").unwrap(), args.clone(), &host()).unwrap();
            let expected = run(&plain);
            let at = format!("{what}, {t} rows of {s}");
            near(&run(&p), &expected, 1e-9, &at);
            near(&run(&fast), &expected, 1e-9, &at);
            near(&super::simulate::run(&plan, "grads", &args, &host()), &expected, 1e-5, &at);
            #[cfg(feature = "jit")]
            on_engines(&mut engines, &args, &expected, &at);
        }
    }
}

/// Machine code gives what is expected, and the same bits on one, two and three threads.
#[cfg(feature = "jit")]
fn on_engines(engines: &mut [Engine; 3], args: &[Tensor], expected: &[Tensor], what: &str) {
    use super::machine::{outputs, run_entry};
    let [one, two, three] = engines.each_mut().map(|engine| outputs(engine, "grads", args, &host()));
    for (more, threads) in [(two, 2), (three, 3)] {
        assert!(one.iter().zip(&more).all(|(a, b)| a.bytes() == b.bytes()), "{what}: {threads} threads");
    }
    near(&run_entry(&mut engines[1], "grads", args, &host()), expected, 1e-5, what);
}

#[test]
fn rows_masked_whole_give_zeros_and_finite_gradients() {
    let mut p = program(TAKEN[0].2);
    with_gradients(&mut p);
    let mut args = inputs(&p, &[("B", 2), ("T", 5), ("S", 7)]);
    args[3].data[..7].fill(0.0);
    let (fast, plan) = planned(&p);
    let run = |p: &Program| run_entry(p, p.entry("grads").unwrap(), args.clone(), &host()).unwrap();
    let expected = run(&without(&p));
    assert!(
        expected[0].data[..4 * 5 * 5].iter().all(|y| *y == 0.0)
            && expected[0].data[4 * 5 * 5..].iter().any(|y| *y != 0.0)
    );
    near(&run(&fast), &expected, 1e-9, "interpreted");
    #[cfg(feature = "jit")]
    on_engines(&mut engines(&plan, [1, 2, 3]), &args, &expected, "masked whole");
    assert_eq!(plan.entries.len(), 3);
}

/// No rows, no keys, no batch: nothing to compute, and what is added up is zero.
#[test]
fn nothing_is_empty() {
    for (b, t, s) in [(0, 3, 3), (2, 0, 3), (2, 3, 0)] {
        let mut p = program(TAKEN[6].2);
        with_gradients(&mut p);
        let args = inputs(&p, &[("B", b), ("T", t), ("S", s)]);
        let (fast, plan) = planned(&p);
        let run = |p: &Program| run_entry(p, p.entry("grads").unwrap(), args.clone(), &host()).unwrap();
        let expected = run(&without(&p));
        let what = format!("{b} of {t} x {s}");
        near(&run(&fast), &expected, 1e-9, &what);
        #[cfg(feature = "jit")]
        on_engines(&mut engines(&plan, [1, 2, 3]), &args, &expected, &what);
        assert!(plan.entries.iter().any(|e| e.steps.iter().any(|s| matches!(s, Step::Panels(_)))));
    }
}

/// Chains that are left alone, and why.
const NEAR_MISSES: &[(&str, &str)] = &[
    ("w = softmax[-1](q @ k.t)  return w @ v + sum[-1, keep](w)", "used elsewhere"),
    ("s = q @ k.t  return softmax[-1](s) @ v + max[-1, keep](s)", "used elsewhere"),
    ("return softmax[-2](q @ k.t) @ v", "adds up over the rows"),
    ("w = softmax[-1](q @ k.t)  return w / sum[-2, keep](w) @ v", "adds up over the rows"),
    ("w = softmax[-1](q @ k.t)  return (w / max[-2, keep](w)) @ v", "folds over the rows"),
    ("w = softmax[-1](q @ k.t)  return concat[-2](w[:, 1:], w[:, :1]) @ v", "rows"),
    ("w = softmax[-1](q @ k.t)  return softmax[-1](w @ v) @ u.t", "scores are what another one gives"),
];

#[test]
fn near_misses_are_left_alone_and_told() {
    for (text, why) in NEAR_MISSES {
        let model =
            format!("model M(K = 5)(q: [B, T, K], k: [B, S, K], v: [B, S, K], u: [K, K]) -> y: [B, T, K] {{ {text} }}");
        let p = program(&model);
        let (fast, plan) = planned(&p);
        let taken = usize::from(text.contains("u.t"));
        assert_eq!(panels(&fast), taken, "{text}");
        assert!(plan.notes.len() == 1 && plan.notes[0].contains(why), "{text}: {:?}", plan.notes);
        assert!(plan.to_string().contains(&plan.notes[0]), "the plan as text tells it");
        let said = mistakes(&model, &mut Columns(vec![]));
        assert!(said.len() == 1 && said[0].starts_with("W0804 ") && said[0].contains(why), "{text}: {said:?}");
        if taken == 0 {
            assert!(!wide(&plan).is_empty());
        }
    }
}

/// Random bits come sixteen columns at a time, so columns that are rows of the weights are not cut; the answer is the same.
#[test]
fn dropout_of_keys_first_is_left_alone_and_told() {
    let mut p = program_of(
        "model M(K = 5)(q: [B, T, K], k: [B, S, K], v: [B, S, K]) -> y: [B, T, K] {
           w = softmax[-2](k @ q.t) -> dropout(0.5)
           return w.t @ v
         }",
        true,
    );
    with_gradients(&mut p);
    let (fast, plan) = planned(&p);
    assert_eq!(panels(&fast), 0);
    assert!(
        plan.notes.iter().all(|n| n.contains("drawn across its rows")) && !plan.notes.is_empty(),
        "{:?}",
        plan.notes
    );
    let args = inputs(&p, &[("B", 2), ("T", 5), ("S", 19)]);
    let run = |p: &Program| run_entry(p, p.entry("grads").unwrap(), args.clone(), &host()).unwrap();
    let expected = run(&without(&p));
    near(&run(&fast), &expected, 1e-9, "interpreted");
    #[cfg(feature = "jit")]
    on_engines(&mut engines(&plan, [1, 2, 3]), &args, &expected, "keys first, dropped out");
}

/// Products without a softmax between them stay as they are, and nobody is told.
#[test]
fn a_feed_forward_network_is_no_chain() {
    let p = program(
        "model M(D = 4)(x: [B, T, D], s: [B, S, D]) -> y: [B, T, D] {
           h = x -> up: Linear(16) -> silu -> down: Linear(D)
           return h + relu(x @ s.t) @ s
         }",
    );
    let (fast, plan) = planned(&p);
    assert_eq!((panels(&fast), plan.notes.len()), (0, 0));
}

#[test]
fn the_plan_of_a_small_chain() {
    let mut p = program(TAKEN[3].2);
    with_gradients(&mut p);
    p.entries.retain(|e| e.name == "grads");
    let (_, plan) = planned(&p);
    let text = plan.to_string();
    insta::assert_snapshot!("panels_plan", text[..text.find("\nkernel 0").unwrap()].to_string());
}

/// Where a panel is, sizes say that no spec can name: the text of the plan would take one for the other.
#[test]
fn sizes_may_be_called_as_one_likes() {
    let text = "model M()(q: [B, 3, panel_rows, 5], k: [B, 3, panel_1, 5], v: [B, 3, panel_1, 5]) -> y: [B, 3, panel_rows, 5] {
  return attention(q, k, v)
}";
    let goal = Goal::Run { model: None, training: false };
    let done = compile(text, goal, &[], &mut Columns(vec![]), &mut |_, _| {});
    let dims = done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n"))).plan.dims;
    assert_eq!(dims, ["B", "panel_rows", "panel_1", "panel.rows", "panel.row", "panel.1", "panel.2"]);
}
