//! The prelude, item by item, against PyTorch (tests/golden/make.py says what the tensors are): values and gradients.

use super::{check, program_of};
use crate::support::golden::Golden;
use dlc_compiler::check::Checker;
use dlc_compiler::grad::{Residual, gradient};
use dlc_compiler::program::interp::{self, Tensor};
use dlc_compiler::program::{FnId, Program};
use dlc_plan::HostState;

/// The tensors of one case, by name, and its expression.
struct Case<'a> {
    name: &'a str,
    expression: &'a str,
    tensors: Vec<(&'a str, &'a Tensor)>,
}

impl<'a> Case<'a> {
    fn get(&self, name: &str) -> Option<&'a Tensor> {
        self.tensors.iter().find(|(n, _)| *n == name).map(|(_, t)| *t)
    }

    /// What the expression takes: all but the result, the cotangent and the gradients.
    fn inputs(&self) -> Vec<(&'a str, &'a Tensor)> {
        let gradient = |name: &str| name.strip_prefix('d').is_some_and(|of| self.get(of).is_some());
        self.tensors.iter().filter(|(n, _)| *n != "y" && !gradient(n)).copied().collect()
    }

    /// A model that computes the expression.
    fn text(&self, integers: &dyn Fn(&str) -> bool) -> String {
        let ty = |(name, t): &(&str, &Tensor)| {
            let dims: Vec<String> = t.shape.iter().map(usize::to_string).collect();
            let dtype = if integers(&format!("{}/{name}", self.name)) { "i64" } else { "f32" };
            format!("{name}: {dtype}[{}]", dims.join(", "))
        };
        let inputs: Vec<String> = self.inputs().iter().filter(|(n, _)| !n.contains('.')).map(ty).collect();
        format!("model Case()({}) {{ return {} }}", inputs.join(", "), self.expression)
    }
}

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

/// Whether the expression is of the kind that a model computes: optimizers and schedules have tests of their own.
fn is_function(case: &Case) -> bool {
    case.get("theta").is_none() && case.get("step").is_none()
}

fn check_case(case: &Case, integers: &dyn Fn(&str) -> bool) -> Vec<String> {
    let name = case.name;
    let checked = check(&case.text(integers));
    let model = &checked.models[1];
    let weights: Vec<String> = model.entry.slots.iter().map(|s| s.path.to_string()).collect();
    let inputs = model.inputs.iter().map(|i| i.name.clone());
    let names: Vec<String> = inputs.chain(weights).collect();
    let args: Vec<Tensor> =
        names.iter().map(|n| case.get(n).unwrap_or_else(|| panic!("{name}: {n}")).clone()).collect();
    let function = model.entry.function;
    let mut p = program_of(checked.checker);
    let found = run(&p, function, args.clone());
    let y = case.get("y").unwrap();
    let mut wrong: Vec<String> = differs(name, &found[0], y, 1e-5).into_iter().collect();
    let Some(dy) = case.get("dy").cloned().or_else(|| y.shape.is_empty().then(|| Tensor::scalar(1.0))) else {
        return wrong;
    };
    for (i, found) in pull(&mut p, function, &args, &dy) {
        let Some(expected) = case.get(&format!("d{}", names[i])) else { continue };
        let zeros = Tensor::new(expected.shape.clone(), vec![0.0; expected.data.len()]);
        wrong.extend(differs(&format!("{name}/d{}", names[i]), &found.unwrap_or(zeros), expected, 1e-4));
    }
    wrong
}

#[test]
fn every_function_and_layer_is_as_pytorch_has_it() {
    let golden = Golden::read("golden/prelude.safetensors");
    let all = golden.all();
    let integers = |name: &str| name.ends_with("/label");
    let (mut count, mut wrong) = (0, Vec::new());
    for line in golden.metadata["cases"].lines() {
        let (name, expression) = line.split_once(" = ").unwrap();
        let below = |full: &'_ str| full.strip_prefix(name).and_then(|rest| rest.strip_prefix('/')).map(str::len);
        let tensors = all.iter().filter_map(|(n, t)| below(n).map(|len| (&n[n.len() - len..], t))).collect();
        let mut case = Case { name, expression, tensors };
        case.tensors.sort_by_key(|(n, _)| *n);
        if is_function(&case) {
            wrong.extend(check_case(&case, &integers));
            count += 1;
        }
    }
    assert!(count > 100, "{count} cases");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Every item says what it is: its documentation gives a formula or a source.
#[test]
fn every_item_is_documented() {
    let mut checker = Checker::new();
    let names: Vec<String> = checker.modules.names(dlc_compiler::check::PRELUDE).map(str::to_string).collect();
    assert!(names.len() > 20);
    for name in names {
        let mut errors = Vec::new();
        let found = checker.modules.find(dlc_compiler::check::PRELUDE, &name, &mut errors);
        assert!(errors.is_empty(), "{errors:?}");
        let dlc_compiler::check::Found::Item(item) = found else { panic!("{name} does not parse") };
        let docs = match &item {
            dlc_compiler::check::ItemRef::Fn(f) => f.ast.docs.as_ref(),
            dlc_compiler::check::ItemRef::Net(n) => n.ast.docs.as_ref(),
            other => panic!("{name}: {other:?}"),
        };
        assert!(docs.is_some_and(|d| d.text.len() > 10), "{name} has no documentation");
    }
}
