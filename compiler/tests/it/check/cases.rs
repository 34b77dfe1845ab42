//! The cases of `golden/prelude.safetensors` (tests/golden/make.py says what the tensors are) as one program: an entry for
//! each case that a model computes, which gives its value, its gradients and the new values of its states.

use super::{Checked, check};
use crate::support::golden::Golden;
use dlc_compiler::check::ModelFn;
use dlc_compiler::grad::{self, Residual, gradient};
use dlc_compiler::passes::{self, BEFORE_GRADIENTS};
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::Tensor;
use dlc_compiler::program::{Entry, FnId, Program, Role, Value};
use std::collections::HashMap;

/// The tensors of one case, by name, and its expression.
pub struct Case {
    pub name: String,
    pub expression: String,
    pub tensors: Vec<(String, Tensor)>,
}

impl Case {
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.iter().find(|(n, _)| *n == name).map(|(_, t)| t)
    }

    /// What the expression takes by name: all but the result, the cotangent, gradients, and what layers keep.
    fn inputs(&self) -> Vec<&(String, Tensor)> {
        let gradient = |name: &str| name.strip_prefix('d').is_some_and(|of| self.get(of).is_some());
        self.tensors.iter().filter(|(n, _)| n != "y" && !gradient(n) && !n.contains('.')).collect()
    }

    /// Whether the case is about training: it has states with new values.
    fn trains(&self) -> bool {
        self.tensors.iter().any(|(n, _)| n.starts_with("next."))
    }

    /// A model that computes the expression.
    pub fn text(&self, number: usize) -> String {
        let ty = |(name, t): &&(String, Tensor)| {
            let dims: Vec<String> = t.shape.iter().map(usize::to_string).collect();
            let dtype = if name == "label" { "i64" } else { "f32" };
            format!("{name}: {dtype}[{}]", dims.join(", "))
        };
        let inputs: Vec<String> = self.inputs().iter().map(ty).collect();
        format!("model Case{number}()({}) {{ return {} }}\n", inputs.join(", "), self.expression)
    }

    /// The cotangent of the result; a loss has 1.
    fn cotangent(&self) -> Option<Tensor> {
        let y = self.get("y")?;
        self.get("dy").cloned().or_else(|| y.shape.is_empty().then(|| Tensor::scalar(1.0)))
    }

    /// What an entry's input is given.
    pub fn given(&self, role: &Role) -> Tensor {
        match named(role) {
            "dy" => self.cotangent().unwrap_or_else(|| panic!("{} has no dy", self.name)),
            name => self.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.name)).clone(),
        }
    }
}

/// The name of an input or an output.
pub fn named(role: &Role) -> &str {
    let Role::Named(name) = role else { panic!("{role:?} in an entry of a case") };
    name
}

/// All cases of the file, in order of their names.
pub fn all() -> Vec<Case> {
    let golden = Golden::read("golden/prelude.safetensors");
    let mut of: HashMap<String, Vec<(String, Tensor)>> = HashMap::new();
    for (full, t) in golden.all() {
        let (case, name) = full.split_once('/').unwrap();
        of.entry(case.to_string()).or_default().push((name.to_string(), t));
    }
    let case = |line: &str| {
        let (name, expression) = line.split_once(" = ").unwrap();
        let mut tensors = of.remove(name).unwrap();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        Case { name: name.into(), expression: expression.into(), tensors }
    };
    golden.metadata["cases"].lines().map(case).collect()
}

/// The cases that a model computes: optimizers and schedules are not.
pub fn of_models() -> Vec<Case> {
    all().into_iter().filter(|c| c.get("theta").is_none() && c.get("step").is_none()).collect()
}

/// A program with an entry for each case, of the case's name.
pub fn program(cases: &[Case]) -> Program {
    let text: String = cases.iter().enumerate().map(|(i, c)| c.text(i)).collect();
    let Checked { checker, models } = check(&text);
    let mut p = super::program_of(checker);
    passes::run(&mut p, BEFORE_GRADIENTS, false, &mut |_, _, _| {}).unwrap();
    for (case, model) in cases.iter().zip(models.chunks(2)) {
        let model = &model[usize::from(!case.trains())];
        let entry = entry(&mut p, case, model);
        p.entries.push(entry);
    }
    p
}

/// The case's value, the new values of its states, and its gradients.
fn entry(p: &mut Program, case: &Case, model: &ModelFn) -> Entry {
    let f = model.entry.function;
    let slots = model.entry.slots.iter().map(|s| s.path.to_string());
    let names: Vec<String> = model.inputs.iter().map(|i| i.name.clone()).chain(slots).collect();
    let updated = model.entry.updated.iter().map(|k| format!("next.{}", model.entry.slots[*k].path));
    let mut outputs: Vec<String> = std::iter::once("y".to_string()).chain(updated).collect();
    let wanted: Vec<usize> = (0..names.len()).filter(|i| case.get(&format!("d{}", names[*i])).is_some()).collect();
    let role = |name: &String| Role::Named(name.clone());
    if wanted.is_empty() {
        let (inputs, outputs) = (names.iter().map(role).collect(), outputs.iter().map(role).collect());
        return Entry {
            name: case.name.clone(),
            function: f,
            inputs,
            outputs,
            guards: Vec::new(),
            defaults: Vec::new(),
        };
    }
    let function = with_gradient(p, f, &wanted);
    outputs.extend(wanted.iter().map(|i| format!("d{}", names[*i])));
    let inputs = names.iter().map(role).chain([Role::Named("dy".into())]).collect();
    let outputs = outputs.iter().map(role).collect();
    Entry { name: case.name.clone(), function, inputs, outputs, guards: Vec::new(), defaults: Vec::new() }
}

/// From a function's parameters and its first result's cotangent to its results and the cotangents of some parameters.
fn with_gradient(p: &mut Program, f: FnId, wanted: &[usize]) -> FnId {
    let (params, results) = (p.function(f).params.clone(), p.function(f).result_tys());
    let g: grad::Gradient = gradient(p, f, wanted);
    let mut b = Builder::new("case");
    let args: Vec<Value> = params.iter().map(|q| b.param(q.name.clone(), q.ty.clone())).collect();
    let dy = b.param("dy", results[0].clone());
    let forward = b.call(g.forward, args.clone(), p.function(g.forward).result_tys());
    let residual = |r: &Residual| match r {
        Residual::Param(i) => args[*i],
        Residual::Result(j) => forward[*j],
        Residual::Kept(k) => forward[results.len() + k],
    };
    let mut given: Vec<Value> = g.residuals.iter().map(residual).collect();
    given.push(dy);
    // What a state becomes has no part in the loss.
    for ty in results[1..].iter().filter(|ty| ty.dtype.is_float()) {
        given.push(b.full(ty.dtype, 0.0, &ty.shape));
    }
    let backward = b.call(g.backward, given, p.function(g.backward).result_tys());
    let mut gives = forward[..results.len()].to_vec();
    for (i, found) in &g.cotangents {
        gives.push(match found {
            Some(k) => backward[*k],
            None => b.full(params[*i].ty.dtype, 0.0, &params[*i].ty.shape),
        });
    }
    let made = b.finish(gives);
    p.add(made)
}
