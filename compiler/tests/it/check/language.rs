//! What the language means, by running it: loops against the same text without a loop, states, sharing, modes, imports.

use super::{check, messages, program_of};
use dlc_compiler::check::{Checker, ItemRef, Loaded, Loader, ModelFn, SlotKind};
use dlc_compiler::program::interp::{self, Tensor};
use dlc_compiler::program::{Op, Program, Ty};
use dlc_grammar::Span;
use dlc_plan::{DType, HostState};

/// Numbers that depend on a name alone, so that two texts with the same weights compute with the same numbers.
fn numbers(name: &str, ty: &Ty, dims: &[i64]) -> Tensor {
    let shape: Vec<usize> = ty.shape.iter().map(|s| s.eval(dims) as usize).collect();
    let mut state =
        name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let data: Vec<f64> = (0..shape.iter().product())
        .map(|_| if ty.dtype.is_float() { next() } else { (next() * 4.0).floor() })
        .collect();
    Tensor::new(shape, data)
}

/// A model's outputs and the new values of its states, with every dynamic size 3.
fn run(p: &Program, m: &ModelFn) -> Vec<Tensor> {
    let dims = vec![3; p.dims.len()];
    let inputs = m.inputs.iter().map(|i| numbers(&i.name, &i.ty, &dims));
    let slot = |s: &usize| numbers(&m.entry.slots[*s].path, &m.entry.slots[*s].decl.ty, &dims);
    let weights = m.entry.params.iter().map(|param| {
        let mut each: Vec<Tensor> = param.slots().iter().map(slot).collect();
        let ty = param.ty(&m.entry.slots[param.first()].decl.ty);
        if param.is_stack() { Tensor::stack(each, &ty) } else { each.remove(0) }
    });
    let args = inputs.chain(weights).collect();
    interp::run(p, m.entry.function, args, &dims, &HostState::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The outputs of a text's only model, in training (0) or not (1), and the weights' names.
fn outputs(text: &str, mode: usize) -> (Vec<Tensor>, Vec<String>) {
    let mut checked = check(text);
    assert!(checked.models.len() == 2, "{:#?}", checked.checker.diagnostics);
    let model = checked.models.swap_remove(mode);
    let names = model.entry.slots.iter().map(|s| s.path.to_string()).collect();
    (run(&program_of(checked.checker), &model), names)
}

/// The loops of a text: how often each iterates, what it carries, and how many parameters differ between iterations.
fn loops(text: &str) -> Vec<(usize, usize, usize)> {
    let p = super::program(text);
    let nodes = p.functions.iter().flat_map(|f| &f.nodes);
    let mut found: Vec<_> = nodes
        .filter_map(|n| match &n.op {
            Op::Repeat(r) => Some((r.count, r.carried, r.stacks + r.rows)),
            _ => None,
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Two texts have the same weights and compute the same.
#[track_caller]
fn same(a: &str, b: &str) {
    assert_eq!(outputs(a, 1), outputs(b, 1));
}

#[test]
fn a_loop_is_its_iterations() {
    let looped = "model M(D = 4)(x: [B, D]) {
      repeat 3 as i { x = x + (x -> l.{i}: Linear(D)) }
      return x }";
    let flat = "model M(D = 4)(x: [B, D]) {
      x = x + (x -> l.0: Linear(D))
      x = x + (x -> l.1: Linear(D))
      x = x + (x -> l.2: Linear(D))
      return x }";
    same(looped, flat);
    assert_eq!(loops(looped), [(3, 1, 2)]);
    assert_eq!(loops(flat), []);
}

#[test]
fn iterations_of_another_width_are_another_loop() {
    let text = "model M(D = 4)(x: [B, D]) {
      repeat [4, 4, 6, 6, 6] as W, i { x = x -> l.{i}: Linear(W) }
      return x }";
    let flat = "model M(D = 4)(x: [B, D]) {
      x = x -> l.0: Linear(4) -> l.1: Linear(4) -> l.2: Linear(6) -> l.3: Linear(6) -> l.4: Linear(6)
      return x }";
    same(text, flat);
    assert_eq!(loops(text), [(2, 1, 2), (2, 1, 2)][..1]);
}

#[test]
fn a_value_that_a_later_line_reads_ends_a_loop() {
    let text = "model M(D = 4)(x: [B, D]) {
      first = x
      repeat 4 as i {
        x = x -> l.{i}: Linear(D)
        if i == 1 { first = x }
      }
      return x + first }";
    let flat = "model M(D = 4)(x: [B, D]) {
      x = x -> l.0: Linear(D) -> l.1: Linear(D)
      first = x
      x = x -> l.2: Linear(D) -> l.3: Linear(D)
      return x + first }";
    same(text, flat);
    assert_eq!(loops(text), [(2, 1, 2)]);
}

#[test]
fn loops_carry_several_values_and_read_others() {
    let text = "model M(D = 4)(x: [B, D], z: [B, D]) {
      a = x
      b = z
      last = x
      repeat 5 as i {
        a, b = (b + z, (a -> l.{i}: Linear(D)) * z)
        last = a * 2
      }
      return a, b, last }";
    let step = |i: usize| format!("t = a -> l.{i}: Linear(D) a, b = (b + z, t * z) last = a * 2 ");
    let steps: String = (0..5).map(step).collect();
    let flat = format!("model M(D = 4)(x: [B, D], z: [B, D]) {{ a = x b = z last = x {steps} return a, b, last }}");
    same(text, &flat);
    assert_eq!(loops(text), [(4, 2, 2)]);
}

#[test]
fn loops_nest() {
    let text = "model M(D = 4)(x: [B, D]) {
      repeat 3 as i { repeat 2 as j { x = x + (x -> l.{i}.{j}: Linear(D)) } x = relu(x) }
      return x }";
    let inner = |i: usize| format!("x = x + (x -> l.{i}.0: Linear(D)) x = x + (x -> l.{i}.1: Linear(D)) x = relu(x) ");
    let steps: String = (0..3).map(inner).collect();
    same(text, &format!("model M(D = 4)(x: [B, D]) {{ {steps} return x }}"));
    // The outer loop takes the inner one's stacks whole.
    assert_eq!(loops(text), [(2, 1, 2), (3, 1, 2)]);
}

#[test]
fn loops_of_none_and_of_one_are_no_loops() {
    same(
        "model M(D = 4)(x: [B, D]) { repeat 0 as i { x = x -> l.{i}: Linear(D) } return x -> o: Linear(2) }",
        "model M(D = 4)(x: [B, D]) { return x -> o: Linear(2) }",
    );
    let one = "model M(D = 4)(x: [B, D]) { repeat 1 as i { x = x -> l.{i}: Linear(D) } return x }";
    same(one, "model M(D = 4)(x: [B, D]) { return x -> l.0: Linear(D) }");
    assert_eq!(loops(one), []);
}

#[test]
fn a_layer_shared_by_all_iterations_is_no_row() {
    let text = "model M(D = 4)(x: [B, D]) { f: Linear(D) repeat 3 { x = f(x) } return x }";
    same(text, "model M(D = 4)(x: [B, D]) { f: Linear(D) return f(f(f(x))) }");
    assert_eq!(loops(text), [(3, 1, 0)]);
}

#[test]
fn states_change_in_order_and_only_in_training() {
    let text = "
    block Count()(x: [B]) -> [B] {
      n: state [] = 0
      before = n
      if training { n <- n + 1  n <- n * 2 }
      return x + before * 100 + n
    }
    model M()(x: [B]) -> y: [B] { return x -> c: Count }";
    let mut checked = check(text);
    assert!(checked.checker.diagnostics.is_empty(), "{:#?}", checked.checker.diagnostics);
    let evaluate = checked.models.pop().unwrap();
    let train = checked.models.pop().unwrap();
    assert_eq!((train.entry.updated.as_slice(), evaluate.entry.updated.as_slice()), (&[0][..], &[][..]));
    let p = program_of(checked.checker);
    let dims = [1];
    let args = vec![Tensor::new([1], [0.5]), Tensor::scalar(3.0)];
    let run = |m: &ModelFn| interp::run(&p, m.entry.function, args.clone(), &dims, &HostState::default()).unwrap();
    let found = run(&train);
    assert_eq!((found[0].data[0], found[1].data[0]), (0.5 + 300.0 + 8.0, 8.0));
    assert_eq!(run(&evaluate)[0].data[0], 0.5 + 300.0 + 3.0);
}

#[test]
fn states_in_loops_are_rows_and_shared_ones_are_carried() {
    let text = "
    block Count()(x: [B]) -> [B] { n: state [] = 0  n <- n + mean(x)  return x * n }
    model M()(x: [B]) -> y: [B] {
      s: Count
      repeat 3 as i { x = x -> c.{i}: Count -> s }
      return x
    }";
    let count = "x = x -> c.{}: Count -> s ";
    let steps: String = (0..3).map(|i| count.replace("{}", &i.to_string())).collect();
    let flat = text.replace("repeat 3 as i { x = x -> c.{i}: Count -> s }", &steps);
    assert_ne!(flat, text);
    let (mut found, mut names) = outputs(text, 0);
    let (expected, expected_names) = outputs(&flat, 0);
    assert_eq!(found.len(), 5);
    // Declared in another order, they are the same.
    let order: Vec<usize> = expected_names.iter().map(|n| names.iter().position(|m| m == n).unwrap()).collect();
    let y = found.remove(0);
    assert_eq!(y, expected[0]);
    assert_eq!(order.iter().map(|i| found[*i].clone()).collect::<Vec<_>>(), expected[1..]);
    names.sort_unstable();
    assert_eq!(names, ["c.0.n", "c.1.n", "c.2.n", "s.n"]);
}

#[test]
fn each_use_and_each_iteration_draws_its_own_mask() {
    let text = "model M(D = 64)(x: [B, D]) -> (a: [B, D], b: [B, D], c: [B, D]) {
      d: Drop
      y = x
      repeat 2 { y = dropout(y, 0.5) }
      return d(x), d(x), y
    }
    block Drop()(x: [.., D]) -> [.., D] { return dropout(x, 0.5) }";
    let (found, _) = outputs(text, 0);
    let zeros = |t: &Tensor| t.data.iter().map(|x| *x == 0.0).collect::<Vec<bool>>();
    let share = |t: &Tensor| zeros(t).iter().filter(|z| **z).count() as f64 / t.data.len() as f64;
    assert_ne!(zeros(&found[0]), zeros(&found[1]));
    assert!((share(&found[0]) - 0.5).abs() < 0.1);
    assert!((share(&found[2]) - 0.75).abs() < 0.1, "two masks are two chances to vanish: {}", share(&found[2]));
    assert_eq!(outputs(text, 1).0[0], outputs(text, 1).0[2], "outside of training nothing is dropped");
}

#[test]
fn guards_are_collected_for_run_time() {
    let text = "model M(P = 7, D = 4)(x: [B, T, D]) -> y: [B, D] require T <= P, T > 2 { return x[:, 2] + x[:, 3] }";
    let checked = check(text);
    let guards: Vec<&str> = checked.models[0].entry.guards.iter().map(|g| g.message.as_str()).collect();
    assert_eq!(guards, ["M requires T <= P (7)", "M requires T > 2", "`3` at 1:96 needs 3 < T"]);
}

#[test]
fn sizes_that_a_condition_makes_equal_are_one() {
    let text = "model M(D = 4)(x: [B, D], y: [C, D]) -> z: [B, D] require C == B { return x + y }";
    let checked = check(text);
    assert!(checked.checker.diagnostics.is_empty(), "{:#?}", checked.checker.diagnostics);
    assert_eq!(checked.checker.program.dims, ["B"]);
}

#[test]
fn weights_have_first_values_from_the_outermost_rule() {
    let text = "
    block Inner(D)(x: [.., I]) { init \"a.weight\" = zeros  return x -> a: Linear(D) -> b: Linear(D) }
    model M(D = 4)(x: [B, D]) {
      init \"**.b.*\" = ones
      init \"**.b.bias\" = normal(D)
      return x -> inner: Inner(D)
    }";
    let checked = check(text);
    let shown = |path: &str| {
        let slot = checked.models[0].entry.slots.iter().find(|s| &*s.path == path).unwrap();
        let init = slot.decl.init.as_ref().unwrap();
        checked.checker.sources().text(init.value.span).to_string()
    };
    assert_eq!(shown("inner.a.weight"), "zeros");
    assert_eq!(shown("inner.a.bias"), "uniform(-(I ^ -0.5), I ^ -0.5)");
    assert_eq!((shown("inner.b.weight"), shown("inner.b.bias")), ("ones".into(), "normal(D)".into()));
}

#[test]
fn how_a_product_reads_a_weight_gives_its_fan_in() {
    let text = "
    block Flipped(O)(x: [.., I]) { weight: param [I, O] = zeros  return x @ weight }
    model M(D = 4)(x: [B, D]) { return x -> a: Linear(3, bias = false) -> b: Flipped(5) }";
    let checked = check(text);
    let summed: Vec<_> = checked.models[0].entry.slots.iter().map(|s| (&*s.path, s.decl.summed)).collect();
    assert_eq!(summed, [("a.weight", Some(1)), ("b.weight", Some(0))]);
}

/// Files by name.
struct Texts(Vec<(&'static str, &'static str)>);

impl Loader for Texts {
    fn load(&mut self, path: &str, _from: &str) -> Result<Loaded, String> {
        let found = self.0.iter().find(|(name, _)| *name == path);
        let (name, text) = found.ok_or_else(|| format!("`{path}` cannot be read"))?;
        Ok(Loaded { name: name.to_string(), text: text.to_string() })
    }
}

/// The messages about a file that imports others.
fn imports(text: &str, files: &[(&'static str, &'static str)]) -> Vec<String> {
    let mut checker = Checker::new();
    let module = checker.load("main.dl", text, &mut Texts(files.to_vec()));
    for (_, item) in checker.modules.own(module).to_vec() {
        if let ItemRef::Net(net) = item
            && let Some(ctor) = checker.configured(&net, Vec::new(), Span::default())
        {
            checker.model(&ctor, false);
        }
    }
    checker.diagnostics.iter().map(|d| format!("{} {}", d.code, d.message)).collect()
}

#[test]
fn imports_bring_items_and_modules() {
    let lib = (
        "lib.dl",
        "const W = 3  fn twice(x) = 2 * helper(x)  fn helper(x) = x  block Two(O = W)(x: [.., I]) { return x -> l: Linear(O) }",
    );
    let main = "import {twice, Two as Pair} from \"lib.dl\"  import \"lib.dl\" as lib
      model M(D = 4)(x: [B, D]) -> y: [B, lib.W] { return twice(x) -> p: Pair -> q: lib.Two -> lib.twice }";
    assert_eq!(imports(main, &[lib]), Vec::<String>::new());
    let wrong = "import {twise} from \"lib.dl\"  import \"none.dl\"";
    assert_eq!(imports(wrong, &[lib]), ["E0102 no item `twise` in lib.dl", "E0110 `none.dl` cannot be read"]);
    let cycle = [("a.dl", "import \"b.dl\""), ("b.dl", "import \"a.dl\"")];
    assert_eq!(imports("import \"a.dl\"", &cycle), ["E0106 a.dl imports itself, perhaps through others"]);
}

#[test]
fn functions_and_blocks_are_values() {
    let text = "
    block Ffn(F, act, Norm)(x: [.., D]) { return x -> n: Norm -> up: Linear(F) -> act -> down: Linear(D) }
    model M(D = 4)(x: [B, D]) {
      acts = [relu, gelu, tanh]
      repeat acts as act, i { x = x -> f.{i}: Ffn(8, act, RMSNorm) }
      norm = softmax[-1]
      return norm(x)
    }";
    let flat = "
    block Ffn(F, act, Norm)(x: [.., D]) { return x -> n: Norm -> up: Linear(F) -> act -> down: Linear(D) }
    model M(D = 4)(x: [B, D]) {
      x = x -> f.0: Ffn(8, relu, RMSNorm) -> f.1: Ffn(8, gelu, RMSNorm) -> f.2: Ffn(8, tanh, RMSNorm)
      return x -> softmax[-1]
    }";
    same(text, flat);
}

#[test]
fn optional_inputs_and_constants_take_their_types() {
    let text = "const N = 2 * 2
    model M(D = N)(x: [B, D], ids: i64[B] = 0) -> (y: [B, D], k: i64[B]) {
      inner = x -> h: Half
      return inner + [1, 2, 3, 4], ids + 1
    }
    block Half(s = D / 2)(x: [B, D], ids: i64[B] = 0) -> [B, D] { return x * s + f32(ids)[:, none] }";
    let checked = check(text);
    assert!(checked.checker.diagnostics.is_empty(), "{:#?}", checked.checker.diagnostics);
    let m = &checked.models[1];
    assert_eq!(m.inputs[1].default, Some(dlc_plan::Host::Const(0.0)));
    let types: Vec<DType> = m.outputs.iter().map(|(_, ty)| ty.dtype).collect();
    assert_eq!(types, [DType::F32, DType::I64]);
    let p = program_of(check(text).checker);
    let found = run(&p, m);
    let x = numbers("x", &m.inputs[0].ty, &[3]);
    for (i, y) in found[0].data.iter().enumerate() {
        assert_eq!(*y, x.data[i] * 2.0 + (i % 4 + 1) as f64);
    }
}

#[test]
fn nothing_that_is_used_twice_is_trained_twice() {
    let text = "model M(V = 5, D = 4)(ids: i64[B]) { e: Embedding(V, D) return e(ids) @ e.weight.t }";
    let checked = check(text);
    let slots = &checked.models[0].entry.slots;
    assert_eq!(slots.len(), 1);
    assert_eq!(slots[0].decl.kind, SlotKind::Param);
}

#[test]
fn an_index_is_a_whole_number_within_a_size() {
    let of = |entries: &str| messages(&format!("model M(C = 3)(x: [B, C], i: i64[B]) {{ {entries} return x }}"));
    assert_eq!(of("j = within(i, C)  k = within(i, B, -1)"), "");
    assert!(
        of("j = within(x, C)").contains("error[E0401]: an index is an integer, `x` is f32"),
        "{}",
        of("j = within(x, C)")
    );
    assert!(of("j = within(i, C, 0.5)").contains("error[E0112]: the exception is a whole number, got 0.5"));
    assert!(of("j = within(i)").contains("error[E0107]"));
}
