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
    p.entries = vec![Entry { name: "forward".into(), function, inputs, outputs, guards: Vec::new() }];
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
