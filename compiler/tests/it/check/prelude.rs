//! The prelude, item by item, against PyTorch (tests/golden/make.py says what the tensors are): values and gradients, by
//! the interpreter in double precision and by machine code.

use super::cases::{self, Case, named};
use super::{check, program_of};
use dlc_compiler::check::{Checker, Found, ItemRef, PRELUDE};
use dlc_compiler::grad::{Residual, gradient};
use dlc_compiler::program::interp::{self, Tensor, run_entry};
use dlc_compiler::program::{Entry, FnId, Program};
use dlc_plan::HostState;

/// How far a tensor is from the reference, where that is further than DESIGN section 4 allows.
fn differs(what: &str, found: &Tensor, expected: &Tensor, bound: f64) -> Option<String> {
    if found.shape != expected.shape {
        return Some(format!("{what} is {:?}, not {:?}", found.shape, expected.shape));
    }
    let (mut far, mut size) = (0.0, 0.0);
    for (a, b) in found.data.iter().zip(&expected.data) {
        if b.is_finite() && a.is_finite() {
            far += (a - b) * (a - b);
            size += b * b;
        } else if a != b {
            return Some(format!("{what}: {a} for {b}"));
        }
    }
    let (far, size): (f64, f64) = (far.sqrt(), size.sqrt());
    // Where the reference is 0 everywhere, numbers that f32 cannot tell from it are as good.
    let near = far <= bound * size || far < 1e-30;
    (!near).then(|| format!("{what}: {far:.3e} away from {size:.3e}"))
}

fn run(p: &Program, f: FnId, args: Vec<Tensor>) -> Vec<Tensor> {
    interp::run(p, f, args, &[], &HostState::default()).unwrap_or_else(|e| panic!("{e}"))
}

/// The cotangents of a function's real parameters for those of its result.
fn pull(p: &mut Program, f: FnId, args: &[Tensor], dy: &Tensor) -> Vec<(usize, Option<Tensor>)> {
    let params = &p.function(f).params;
    let wanted: Vec<usize> = (0..params.len()).filter(|i| params[*i].ty.dtype.is_float()).collect();
    let own = p.function(f).results.len();
    let g = gradient(p, f, &wanted);
    let forward = run(p, g.forward, args.to_vec());
    let residual = |r: &Residual| match r {
        Residual::Param(i) => args[*i].clone(),
        Residual::Result(j) => forward[*j].clone(),
        Residual::Kept(k) => forward[own + k].clone(),
    };
    let given = g.residuals.iter().map(residual).chain([dy.clone()]).collect();
    let found = run(p, g.backward, given);
    g.cotangents.iter().map(|(i, k)| (*i, k.map(|k| found[k].clone()))).collect()
}

/// The differences between what an entry gives and its case.
fn wrong(case: &Case, entry: &Entry, found: &[Tensor]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (role, found) in entry.outputs.iter().zip(found) {
        let name = named(role);
        let Some(expected) = case.get(name) else { continue };
        let bound = if name.starts_with('d') { 1e-4 } else { 1e-5 };
        wrong.extend(differs(&format!("{}/{name}", case.name), found, expected, bound));
    }
    wrong
}

#[test]
fn every_function_and_layer_is_as_pytorch_has_it() {
    let cases = cases::of_models();
    assert!(cases.len() > 200, "{} cases", cases.len());
    let p = cases::program(&cases);
    let mut all = Vec::new();
    for (case, entry) in cases.iter().zip(&p.entries) {
        let args = entry.inputs.iter().map(|r| case.given(r)).collect();
        let found = run_entry(&p, entry, args, &HostState::default()).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        all.extend(wrong(case, entry, &found));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// The same by machine code in single precision: one program of all cases.
#[cfg(feature = "jit")]
#[test]
fn every_function_and_layer_is_as_pytorch_has_it_in_machine_code() {
    use crate::machine;
    let cases = cases::of_models();
    let mut p = cases::program(&cases);
    let facts = dlc_compiler::passes::run(&mut p, dlc_compiler::passes::PASSES, false, &mut |_, _, _| {}).unwrap();
    let mut engine = machine::engine(&dlc_compiler::plan::plan(&p, &facts), 1);
    let mut all = Vec::new();
    for (case, entry) in cases.iter().zip(&p.entries) {
        let args: Vec<Tensor> = entry.inputs.iter().map(|r| case.given(r)).collect();
        let found = machine::run_entry(&mut engine, &case.name, &args, &HostState::default());
        all.extend(wrong(case, entry, &found));
    }
    assert!(all.is_empty(), "{}", all.join("\n"));
}

/// Items that have no golden tensors of their own, and the tests that are about them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("attention", "attention_is_its_formula"),
    ("rope", "rope_turns_pairs"),
    ("same_padding", "every_function_and_layer_is_as_pytorch_has_it"),
    ("parts_of", "every_function_and_layer_is_as_pytorch_has_it"),
    ("Embedding", "inputs_that_index_a_table_are_bounded_by_it"),
    ("dropout", "dropout_drops_elements"),
    ("channel_dropout", "channel_dropout_drops_whole_channels"),
    ("stochastic_depth", "stochastic_depth_drops_whole_samples"),
    ("random_crop", "crops_are_taken_anywhere"),
    ("bordered", "crops_are_taken_anywhere"),
    ("random_below", "crops_are_taken_anywhere"),
    ("random_flip", "samples_are_mirrored_by_halves"),
    ("default_adapter", "distilbert_with_an_adapter_is_that_of_peft"),
    ("LoRA", "distilbert_with_an_adapter_is_that_of_peft"),
    ("LoRARows", "tables_are_adapted_as_peft_does"),
    ("LoRATied", "an_adapter_of_a_table_that_an_output_reads_is_in_both"),
    ("bounded", "a_step_clips_then_adds_penalties_then_updates_then_shrinks"),
    ("shrinkage", "a_step_clips_then_adds_penalties_then_updates_then_shrinks"),
    ("DoRA", "magnitudes_of_their_own_are_those_of_peft"),
    ("grown", "magnitudes_of_their_own_are_those_of_peft"),
    ("kept", "dropout_drops_elements"),
    ("BiasedLoRA", "adapters_with_a_bias_of_their_own_are_those_of_peft"),
    ("DoRARows", "magnitudes_of_tables_are_those_of_peft"),
    ("gathered", "micro_batches_make_one_batch"),
    ("prepared", "a_step_clips_then_adds_penalties_then_updates_then_shrinks"),
    ("settled", "a_step_clips_then_adds_penalties_then_updates_then_shrinks"),
    ("standardize", "columns_are_standardized_by_the_training_split_alone"),
    ("zeros", "first_values_are_as_their_expressions_say"),
    ("ones", "first_values_are_as_their_expressions_say"),
    ("const", "first_values_are_as_their_expressions_say"),
    ("uniform", "first_values_are_as_their_expressions_say"),
    ("normal", "first_values_are_as_their_expressions_say"),
    ("trunc_normal", "first_values_are_as_their_expressions_say"),
    ("inverse_erf", "first_values_are_as_their_expressions_say"),
    ("newton_erf", "first_values_are_as_their_expressions_say"),
    ("kaiming_uniform", "first_values_are_as_their_expressions_say"),
    ("kaiming_normal", "first_values_are_as_their_expressions_say"),
    ("kaiming_std", "first_values_are_as_their_expressions_say"),
    ("xavier_uniform", "first_values_are_as_their_expressions_say"),
    ("orthogonal", "orthogonal_matrices_are_orthogonal"),
    ("nearest_orthogonal", "orthogonal_matrices_are_orthogonal"),
    ("xavier_normal", "first_values_are_as_their_expressions_say"),
];

/// The names of the prelude's items, each with its documentation.
fn items() -> Vec<(String, String)> {
    let mut checker = Checker::new();
    let names: Vec<String> = checker.modules.names(PRELUDE).map(str::to_string).collect();
    let docs = |name: &String| {
        let mut errors = Vec::new();
        let found = checker.modules.find(PRELUDE, name, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        let Found::Item(item) = found else { panic!("{name} does not parse") };
        let docs = match &item {
            ItemRef::Fn(f) => f.ast.docs.as_ref(),
            ItemRef::Net(n) => n.ast.docs.as_ref(),
            ItemRef::Const(c) => c.ast.docs.as_ref(),
            other => panic!("{name}: {other:?}"),
        };
        docs.map_or(String::new(), |d| d.text.clone())
    };
    let docs: Vec<String> = names.iter().map(docs).collect();
    names.into_iter().zip(docs).collect()
}

/// Every item says what it is: its documentation gives a formula or a source.
#[test]
fn every_item_is_documented() {
    let items = items();
    assert!(items.len() > 20);
    for (name, docs) in items {
        assert!(docs.len() > 10, "{name} has no documentation");
    }
}

/// Whether a text has a word.
fn has_word(text: &str, word: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|w| w == word)
}

#[test]
fn every_item_has_a_case() {
    let cases = cases::all();
    let plain = |name: &str| name.to_lowercase().replace('_', "");
    let tests = [
        include_str!("prelude.rs"),
        include_str!("../augment.rs"),
        include_str!("../lower.rs"),
        include_str!("../statistics.rs"),
        include_str!("../../../../tests/it/lora.rs"),
    ];
    let items = items();
    for (name, _) in &items {
        let about =
            |c: &Case| has_word(&c.expression, name) && plain(c.name.split('.').next().unwrap_or("")) == plain(name);
        let elsewhere = ELSEWHERE.iter().find(|(item, _)| item == name).map(|(_, test)| format!("fn {test}("));
        match elsewhere {
            None => {
                let help = "write one in tests/golden/prelude.py and run `python tests/golden/make.py`";
                assert!(cases.iter().any(about), "{name} has no case: {help}");
            }
            Some(test) => assert!(tests.iter().any(|t| t.contains(&test)), "there is no test `{test}` for {name}"),
        }
    }
    for (name, _) in ELSEWHERE {
        assert!(items.iter().any(|(item, _)| item == name), "there is no {name} in the prelude");
    }
}

/// The value of an expression over inputs of these shapes, in evaluation, and its gradients by differences.
fn value(expression: &str, inputs: &[(&str, Tensor)], weights: &[(&str, Tensor)]) -> (Tensor, Vec<(usize, Tensor)>) {
    let tensors = inputs.iter().map(|(n, t)| (n.to_string(), t.clone())).collect();
    let case = Case { name: expression.into(), expression: expression.into(), tensors };
    let checked = check(&case.text(0));
    let model = &checked.models[1];
    let mut args: Vec<Tensor> = inputs.iter().map(|(_, t)| t.clone()).collect();
    for slot in &model.entry.slots {
        let found = weights.iter().find(|(n, _)| **n == *slot.path);
        args.push(found.unwrap_or_else(|| panic!("{}", slot.path)).1.clone());
    }
    let function = model.entry.function;
    let mut p = program_of(checked.checker);
    let y = run(&p, function, args.clone()).remove(0);
    let dy = Tensor::new(y.shape.clone(), (0..y.data.len()).map(|i| (i as f64).sin()).collect::<Vec<_>>());
    let total = |args: Vec<Tensor>, p: &Program| -> f64 {
        run(p, function, args)[0].data.iter().zip(&dy.data).map(|(y, dy)| y * dy).sum()
    };
    let mut grads = Vec::new();
    for (i, found) in pull(&mut p, function, &args, &dy) {
        let Some(found) = found else { continue };
        for k in 0..args[i].data.len() {
            let near = |h: f64| {
                let mut args = args.clone();
                args[i].data[k] += h;
                total(args, &p)
            };
            let slope = (near(1e-5) - near(-1e-5)) / 2e-5;
            let far = (slope - found.data[k]).abs();
            assert!(far < 1e-5 * (1.0 + slope.abs()), "{expression}: {} for {slope}", found.data[k]);
        }
        grads.push((i, found));
    }
    (y, grads)
}

/// Numbers between -2 and 2.
fn some(shape: &[usize], seed: usize) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::new(shape, (0..n).map(|i| 2.0 * ((i * 37 + seed * 101) as f64).sin()).collect::<Vec<_>>())
}

#[track_caller]
fn near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-6 * (1.0 + b.abs()), "{found:?} for {expected:?}");
    }
}

/// Attention with 4 heads of queries and 2 of keys, row by row.
#[test]
fn attention_is_its_formula() {
    let (q, k, v) = (some(&[1, 4, 2, 3], 7), some(&[1, 2, 5, 3], 8), some(&[1, 2, 5, 3], 9));
    let mask = Tensor::new([1, 5], [1.0, 1.0, 0.0, 1.0, 1.0]);
    let inputs = [("q", q.clone()), ("k", k.clone()), ("v", v.clone()), ("m", mask.clone())];
    let by_hand = |causal: bool, masked: bool, window: usize| -> Vec<f64> {
        let mut out = Vec::new();
        for (h, t) in (0..4).flat_map(|h| (0..2).map(move |t| (h, t))) {
            let g = h / 2;
            let query = &q.data[(h * 2 + t) * 3..][..3];
            let near = |s: usize| (!causal || s <= t + 5 - 2) && s + window > t + 5 - 2;
            let seen = |s: &usize| near(*s) && (!masked || mask.data[*s] != 0.0);
            let score = |s: usize| k.data[(g * 5 + s) * 3..][..3].iter().zip(query).map(|(a, b)| a * b).sum::<f64>();
            let e: Vec<(usize, f64)> = (0..5).filter(seen).map(|s| (s, (score(s) / 3_f64.sqrt()).exp())).collect();
            let sum: f64 = e.iter().map(|(_, e)| e).sum();
            out.extend((0..3).map(|c| e.iter().map(|(s, e)| e / sum * v.data[(g * 5 + s) * 3 + c]).sum::<f64>()));
        }
        out
    };
    near(&value("attention(q, k, v)", &inputs[..3], &[]).0.data, &by_hand(false, false, 5));
    near(&value("attention(q, k, v, causal = true)", &inputs[..3], &[]).0.data, &by_hand(true, false, 5));
    near(&value("attention(q, k, v, stop(m), causal = true)", &inputs, &[]).0.data, &by_hand(true, true, 5));
    near(&value("attention(q, k, v, window = 2)", &inputs[..3], &[]).0.data, &by_hand(true, false, 2));
    let none = Tensor::new([1, 5], vec![0.0; 5]);
    let inputs = [("q", q.clone()), ("k", k.clone()), ("v", v.clone()), ("m", none)];
    near(&value("attention(q, k, v, stop(m))", &inputs, &[]).0.data, &[0.0; 24]);
}

#[test]
fn rope_turns_pairs() {
    let x = some(&[1, 2, 3, 4], 10);
    let (y, _) = value("rope(x, base = 100)", &[("x", x.clone())], &[]);
    let mut expected = x.data.clone();
    for (i, row) in x.data.chunks(4).enumerate() {
        for c in 0..2 {
            let angle = (i % 3) as f64 * 100_f64.powf(-(c as f64) / 2.0);
            expected[i * 4 + c] = row[c] * angle.cos() - row[c + 2] * angle.sin();
            expected[i * 4 + c + 2] = row[c + 2] * angle.cos() + row[c] * angle.sin();
        }
    }
    near(&y.data, &expected);
    // Adjacent pairs are the same turn between two permutations.
    let permuted =
        |data: &[f64], to: [usize; 4]| -> Vec<f64> { data.chunks(4).flat_map(|row| to.map(|c| row[c])).collect() };
    let pairs = Tensor::new([1, 2, 3, 4], permuted(&x.data, [0, 2, 1, 3]));
    let (y, _) = value("rope(x, base = 100, pairs = true)", &[("x", pairs)], &[]);
    near(&permuted(&y.data, [0, 2, 1, 3]), &expected);
}

#[test]
fn batch_norm_uses_the_batch_in_training_and_its_statistics_elsewhere() {
    let text = "model M()(x: [3, 2, 2]) -> y: [3, 2, 2] { return x -> n: BatchNorm(eps = 0.5, m = 0.25) }";
    let checked = check(text);
    let x = some(&[3, 2, 2], 11);
    let state = |name: &str| match name {
        "n.weight" => Tensor::new([2], [2.0, 3.0]),
        "n.bias" => Tensor::new([2], [0.5, -1.0]),
        "n.running_mean" => Tensor::new([2], [0.1, 0.2]),
        "n.running_var" => Tensor::new([2], [1.5, 0.7]),
        _ => Tensor::scalar(4.0),
    };
    let of = |c: usize| -> Vec<f64> { (0..3).flat_map(|b| x.data[b * 4 + c * 2..][..2].to_vec()).collect() };
    let mean = |c: usize| of(c).iter().sum::<f64>() / 6.0;
    let var = |c: usize| of(c).iter().map(|x| (x - mean(c)).powi(2)).sum::<f64>() / 6.0;
    let p = super::program(text);
    for (training, model) in [(true, &checked.models[0]), (false, &checked.models[1])] {
        let weights = model.entry.slots.iter().map(|s| state(&s.path));
        let found = run(&p, model.entry.function, std::iter::once(x.clone()).chain(weights).collect());
        let by_hand = |i: usize, x: &f64| {
            let c = i / 2 % 2;
            let (mu, var) = if training { (mean(c), var(c)) } else { ([0.1, 0.2][c], [1.5, 0.7][c]) };
            (x - mu) / (var + 0.5).sqrt() * [2.0, 3.0][c] + [0.5, -1.0][c]
        };
        near(&found[0].data, &x.data.iter().enumerate().map(|(i, x)| by_hand(i, x)).collect::<Vec<_>>());
        if training {
            near(&found[1].data, &[0.075 + 0.25 * mean(0), 0.15 + 0.25 * mean(1)]);
            near(&found[2].data, &[1.125 + 0.25 * var(0) * 6.0 / 5.0, 0.525 + 0.25 * var(1) * 6.0 / 5.0]);
            assert_eq!(found[3].data, [5.0]);
        } else {
            assert_eq!(found.len(), 1);
        }
    }
}

/// What a text's model makes of ones in training; evaluation must leave them as they are.
fn dropped(text: &str, shape: &[usize]) -> Vec<f64> {
    let checked = check(text);
    let p = super::program(text);
    let x = Tensor::new(shape, vec![1.0; shape.iter().product()]);
    let y = run(&p, checked.models[0].entry.function, vec![x.clone()]).remove(0);
    assert_eq!(run(&p, checked.models[1].entry.function, vec![x.clone()])[0], x);
    y.data.clone()
}

/// Asserts that blocks of elements are dropped whole, a quarter of them, and the others kept and scaled.
fn blocks_are_dropped(y: &[f64], len: usize) {
    let scaled = |v: &f64| (v - 1.0 / 0.75).abs() < 1e-6;
    assert!(y.chunks(len).all(|block| block.iter().all(|v| *v == 0.0) || block.iter().all(scaled)));
    let (kept, all) = (y.chunks(len).filter(|block| block[0] != 0.0).count() as f64, (y.len() / len) as f64);
    // Four deviations of the number of blocks that are kept.
    assert!((kept - 0.75 * all).abs() < 4.0 * (all * 0.75 * 0.25).sqrt(), "{kept} of {all} are kept");
}

#[test]
fn dropout_drops_elements() {
    let y = dropped("model M()(x: [64, 5, 3]) -> y: [64, 5, 3] { return dropout(x, 0.25) }", &[64, 5, 3]);
    blocks_are_dropped(&y, 1);
    assert!(y.chunks(3).any(|channel| channel[0] != channel[1]));
}

#[test]
fn channel_dropout_drops_whole_channels() {
    let y = dropped("model M()(x: [64, 5, 3]) -> y: [64, 5, 3] { return channel_dropout(x, 0.25) }", &[64, 5, 3]);
    blocks_are_dropped(&y, 3);
    assert!(y.chunks(15).any(|sample| sample[0] != sample[3]));
}

#[test]
fn stochastic_depth_drops_whole_samples() {
    let y = dropped("model M()(x: [64, 3]) -> y: [64, 3] { return stochastic_depth(x, 0.25) }", &[64, 3]);
    blocks_are_dropped(&y, 3);
}
