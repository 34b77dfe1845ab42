//! Tensor equations against PyTorch (tests/golden/make.py says what the tensors are): by the interpreter, by the plan, and as
//! machine code; values and gradients.

use crate::simulate;
use crate::support::golden::Golden;
use dlc_compiler::check::{Checker, ItemRef, NoFiles};
use dlc_compiler::grad::{Residual, gradient};
use dlc_compiler::passes::{self, BEFORE_GRADIENTS, PASSES};
use dlc_compiler::plan;
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{self, Tensor};
use dlc_compiler::program::verify::verify;
use dlc_compiler::program::{Entry, FnId, Program, Role, Value, print};
use dlc_grammar::Span;
use dlc_grammar::render::render;
use dlc_plan::plan::Step;
use dlc_plan::{HostState, Plan};
use std::collections::HashMap;

/// A model's program, its function, and the names of its inputs.
pub fn model(text: &str) -> (Program, FnId, Vec<String>) {
    let mut checker = Checker::new();
    let module = checker.load("spec.dl", text, &mut NoFiles);
    let items: Vec<_> = checker.modules.own(module).to_vec();
    let net = items.iter().find_map(|(_, item)| match item {
        ItemRef::Net(net) => Some(net.clone()),
        _ => None,
    });
    let ctor = net.and_then(|net| checker.configured(&net, Vec::new(), Span::default()));
    let model = ctor.and_then(|ctor| checker.model(&ctor, false));
    let shown = render(&checker.diagnostics, checker.sources(), false);
    let model = model.filter(|_| checker.diagnostics.is_empty()).unwrap_or_else(|| panic!("{shown}"));
    let weights = model.entry.slots.iter().map(|s| s.path.to_string());
    let names = model.inputs.iter().map(|i| i.name.clone()).chain(weights).collect();
    if let Err(e) = verify(&checker.program) {
        panic!("{text}\n{e}\n{}", print::program(&checker.program));
    }
    (checker.program, model.entry.function, names)
}

/// A program whose entry `forward` gives a function's result and, for a last input that is its cotangent, the gradients of
/// the function's real parameters; and which parameters these are.
pub fn with_gradients(mut p: Program, f: FnId) -> (Program, Vec<usize>) {
    passes::run(&mut p, BEFORE_GRADIENTS, true, &mut |_, _, _| {}).unwrap();
    let function = p.function(f).clone();
    let wanted: Vec<usize> = (0..function.params.len()).filter(|i| function.params[*i].ty.dtype.is_float()).collect();
    let g = gradient(&mut p, f, &wanted);
    let mut b = Builder::new("both");
    let args: Vec<Value> = function.params.iter().map(|q| b.param(q.name.clone(), q.ty.clone())).collect();
    let dy = b.param("dy", function.result_tys()[0].clone());
    let forward = b.call(g.forward, args.clone(), p.function(g.forward).result_tys());
    let residual = |r: &Residual| match r {
        Residual::Param(i) => args[*i],
        Residual::Result(j) => forward[*j],
        Residual::Kept(k) => forward[function.results.len() + k],
    };
    let given = g.residuals.iter().map(residual).chain([dy]).collect();
    let back = b.call(g.backward, given, p.function(g.backward).result_tys());
    let found: Vec<(usize, Value)> = g.cotangents.iter().filter_map(|(i, k)| Some((*i, back[(*k)?]))).collect();
    let results = std::iter::once(forward[0]).chain(found.iter().map(|f| f.1)).collect();
    let function = p.add(b.finish(results));
    let named = |names: Vec<String>| names.into_iter().map(Role::Named).collect();
    let inputs = named(p.function(function).params.iter().map(|q| q.name.clone()).collect());
    let outputs = named((0..=found.len()).map(|k| format!("out{k}")).collect());
    p.entries =
        vec![Entry { name: "forward".into(), function, inputs, outputs, guards: Vec::new(), defaults: Vec::new() }];
    (p, found.into_iter().map(|f| f.0).collect())
}

/// Plans a program, and compares the plan and its machine code with the interpreter's answer.
pub fn check_plan(p: &Program, inputs: &[Tensor]) -> Plan {
    let host = HostState::default();
    let expected = interp::run_entry(p, &p.entries[0], inputs.to_vec(), &host).unwrap_or_else(|e| panic!("{e}"));
    let mut optimized = p.clone();
    let facts = passes::run(&mut optimized, PASSES, true, &mut |_, _, _| {});
    let facts = facts.unwrap_or_else(|e| panic!("{e}\n{}", print::program(&optimized)));
    let plan = plan::plan(&optimized, &facts);
    let found = simulate::run(&plan, "forward", inputs, &host);
    for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
        if let Some(why) = differs(&format!("result {i} of the plan"), f, e, 3e-6) {
            panic!("{why}\n{plan}");
        }
    }
    #[cfg(feature = "jit")]
    crate::machine::check(&plan, inputs, &host, &expected);
    plan
}

/// How far a tensor is from the reference, where that is further than the bound.
fn differs(what: &str, found: &Tensor, expected: &Tensor, bound: f64) -> Option<String> {
    if found.shape != expected.shape {
        return Some(format!("{what} is {:?}, not {:?}", found.shape, expected.shape));
    }
    let far: f64 = found.data.iter().zip(&expected.data).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let size: f64 = expected.data.iter().map(|b| b * b).sum::<f64>().sqrt();
    (far.is_nan() || far > bound * size.max(1e-6))
        .then(|| format!("{what}: {far} off of {size}\n{:?}\n{:?}", found.data, expected.data))
}

fn check_case(name: &str, text: &str, all: &HashMap<String, Tensor>) {
    let get = |what: &str| all.get(&format!("{name}/{what}")).unwrap_or_else(|| panic!("{name}: {what}")).clone();
    let (p, f, names) = model(text);
    let (p, wanted) = with_gradients(p, f);
    if let Err(e) = verify(&p) {
        panic!("{name}: {e}\n{}", print::program(&p));
    }
    let inputs: Vec<Tensor> = names.iter().map(String::as_str).chain(["dy"]).map(get).collect();
    let found = interp::run_entry(&p, &p.entries[0], inputs.clone(), &HostState::default());
    let found = found.unwrap_or_else(|e| panic!("{name}: {e}\n{}", print::program(&p)));
    let mut wrong: Vec<String> = differs(name, &found[0], &get("y"), 1e-5).into_iter().collect();
    for (i, dx) in wanted.iter().zip(&found[1..]) {
        wrong.extend(differs(&format!("{name}/d{}", names[*i]), dx, &get(&format!("d{}", names[*i])), 1e-4));
    }
    assert!(wrong.is_empty(), "{text}\n{}\n{}", wrong.join("\n"), print::program(&p));
    check_plan(&p, &inputs);
}

#[test]
fn every_equation_is_as_pytorch_has_it() {
    let golden = Golden::read("golden/equations.safetensors");
    let all = golden.all();
    let only = std::env::var("CASE").unwrap_or_default();
    let cases: Vec<&str> = golden.metadata["cases"].lines().filter(|l| l.starts_with(&only)).collect();
    let failed: Vec<&str> = cases
        .iter()
        .filter_map(|line| {
            let (name, text) = line.split_once(" = ").unwrap();
            std::panic::catch_unwind(|| check_case(name, text, &all)).is_err().then_some(name)
        })
        .collect();
    assert!(failed.is_empty(), "{} of {}: {failed:?}", failed.len(), cases.len());
}

/// The plan of a model and its gradients, and the inputs that it was compared with the interpreter on.
fn planned(text: &str, shapes: &[&[usize]]) -> Plan {
    let (p, f, _) = model(text);
    let (p, _) = with_gradients(p, f);
    let noise = |(seed, shape): (usize, &&[usize])| {
        let len = shape.iter().product::<usize>();
        Tensor::new(*shape, (0..len).map(|i| ((i * 7 + seed * 13) as f64 * 0.61).sin()).collect::<Vec<_>>())
    };
    let inputs: Vec<Tensor> = shapes.iter().enumerate().map(noise).collect();
    check_plan(&p, &inputs)
}

/// The number of products of a plan, and the elements of its longest buffer beside inputs and outputs.
fn products(plan: &Plan, dims: &[i64]) -> (usize, i64) {
    let entry = &plan.entries[0];
    let ports: Vec<u32> = entry.inputs.iter().chain(&entry.outputs).map(|p| p.buffer).collect();
    let temporary = entry.buffers.iter().enumerate().filter(|(i, _)| !ports.contains(&(*i as u32)));
    let longest = temporary.map(|(_, b)| b.len.eval(dims)).max().unwrap_or(0);
    (entry.steps.iter().filter(|s| matches!(s, Step::Gemm(_))).count(), longest)
}

#[test]
fn a_convolution_and_its_gradients_are_three_products_without_a_column_copy() {
    let plain = "model M()(x: [B, 6, 12, 10], k: [8, 6, 3, 3]) {
      y[b, o, h, w] = sum[c, i, j](x[b, c, h + i, w + j] * k[o, c, i, j]) return y }";
    let plan = planned(plain, &[&[2, 6, 12, 10], &[8, 6, 3, 3], &[2, 8, 10, 8]]);
    // A column copy has 2 * 6 * 9 * 10 * 8 numbers; what is copied is the result's gradient, padded by two on each side.
    assert_eq!(products(&plan, &[2]), (3, 2 * 8 * 14 * 12));
    let strided = "model M()(x: [B, 6, H, 10], k: [8, 6, 3, 3]) {
      p = x -> pad[2, 3](1, 1)
      y[b, o, h, w] = sum[c, i, j](p[b, c, 2 * h + 2 * i, 3 * w + j] * k[o, c, i, j]) return y }";
    let plan = planned(strided, &[&[2, 6, 13, 10], &[8, 6, 3, 3], &[2, 8, 6, 4]]);
    // Every third column of the image has a product of its own, so that no zeros stand between the elements of the result's
    // gradient; the longest is the padded image.
    assert_eq!(products(&plan, &[2, 13]), (5, 2 * 6 * 15 * 12));
}

/// Zeros above, below, left and right of an image are one copy, however many axes they are said of.
#[test]
fn zeros_around_a_convolution_are_one_copy() {
    let text = "model M()(x: [B, 6, 12, 10], k: [8, 6, 3, 3]) {
      p = x -> pad[2](1, 1) -> pad[3](0, 2)
      y[b, o, h, w] = sum[c, i, j](p[b, c, h + i, w + j] * k[o, c, i, j]) return y }";
    let plan = planned(text, &[&[2, 6, 12, 10], &[8, 6, 3, 3], &[2, 8, 12, 10]]);
    let copies = plan.entries[0].buffers.iter().filter(|b| b.note == "copy").count();
    // The image with its zeros, and the gradient of the result with its own; that of the image's border is not computed.
    assert_eq!(copies, 2, "{plan}");
}

#[test]
fn a_matrix_product_is_one_product_whatever_the_order() {
    for (text, count) in [
        ("y[i, j] = sum[k](x[i, k] * w[k, j])", 3),
        ("y[j, i] = 2 * sum[k](x[i, k] * 3 * w[k, j])", 3),
        ("y[i, j] = sum[k](w[k, j] * x[i, k] * x[i, k])", 3),
        ("y[i, j] = sum[k](x[i, k]) * w[0, j]", 0),
    ] {
        let text = format!("model M()(x: [5, 7], w: [7, 4]) {{ {text} return y }}");
        let turned = text.contains("y[j, i]");
        let plan = planned(&text, &[&[5, 7], &[7, 4], if turned { &[4, 5] } else { &[5, 4] }]);
        assert_eq!(products(&plan, &[]).0, count, "{text}\n{plan}");
    }
}

#[test]
fn what_indexes_is_checked_when_it_enters() {
    let text = "model M()(x: [5, 7, 3], i: i64[N], j: i64[N], k: i64[N]) {
      y[n] = x[i[n], j[n], 2] + x[i[n] % 2, 1, k[n]] return y }";
    let (p, f, names) = model(text);
    let limits = dlc_compiler::lower::index_limits(&p, f);
    let shown: Vec<Option<i64>> = limits.iter().map(|l| l.as_ref().and_then(|s| s.below.known())).collect();
    assert_eq!(names, ["x", "i", "j", "k"]);
    assert_eq!(shown, [None, Some(5), Some(7), Some(3)]);
}
