//! The entries that are made of a training's loss. Takes a program with the entry `loss`, and `share` where a step has
//! several micro-batches, whose first result is then a micro-batch's part of the loss; gives it `accumulate`, which puts the gradients where the optimizer finds them, and `grad`, which
//! gives them by name. `loss` and `share` have done their work then.

use super::accumulate;
use crate::program::build::Builder;
use crate::program::{Entry, Program, Role, Value, WeightId};
use dlc_plan::{DType, Prim};

/// Puts `accumulate` in the place of `loss`, and `grad` where gradients are asked for `by_name`; a program without `loss`
/// stays as it is.
pub fn entries(p: &mut Program, by_name: bool) {
    let Some(loss) = take(p, "loss") else { return };
    let whole = accumulate(p, &loss, "accumulate");
    let grad = by_name.then(|| named(p, &loss, &whole));
    let entry = match take(p, "share") {
        Some(share) => {
            let part = accumulate(p, &share, "accumulate");
            added(p, part)
        }
        None => whole,
    };
    p.entries.push(entry);
    p.entries.extend(grad);
}

fn take(p: &mut Program, name: &str) -> Option<Entry> {
    let at = p.entries.iter().position(|e| e.name == name)?;
    Some(p.entries.remove(at))
}

/// The gradients under the weights' names, beside the loss.
fn named(p: &mut Program, loss: &Entry, accumulate: &Entry) -> Entry {
    let mut function = p.function(accumulate.function).clone();
    function.name = format!("{}.grad", p.function(loss.function).name);
    let name = |w: &WeightId| Role::Named(p.weights[w.0 as usize].name.clone());
    let found = std::mem::take(&mut function.results);
    let mut b = Builder { f: function, ..Builder::default() };
    let (mut outputs, mut results) = (Vec::new(), Vec::new());
    for (role, v) in accumulate.outputs.iter().zip(found) {
        match role {
            Role::Named(_) | Role::Index(..) | Role::Narrow(..) => {
                outputs.push(role.clone());
                results.push(v);
            }
            Role::Grad(row) => {
                outputs.extend(row.iter().map(name));
                results.extend(each(p, &mut b, row, v));
            }
            // Asking for gradients changes nothing, so states keep their values.
            Role::Weight(_) | Role::Trained | Role::Grads | Role::State(_) | Role::StateOf(..) => {}
        }
    }
    Entry { name: "grad".into(), function: p.add(b.finish(results)), outputs, ..accumulate.clone() }
}

/// What a value is for each weight of its row.
pub(crate) fn each(p: &Program, b: &mut Builder, row: &[WeightId], v: Value) -> Vec<Value> {
    match b.ty(v).rank() - p.weights[row[0].0 as usize].ty.rank() {
        0 => vec![v],
        axes => (0..row.len()).map(|k| b.element(v, axes, k)).collect(),
    }
}

/// An entry that adds its gradients to those that are there.
fn added(p: &mut Program, entry: Entry) -> Entry {
    let f = p.function(entry.function);
    let mut b = Builder::new("accumulate");
    let args: Vec<Value> = f.params.iter().map(|q| b.param(q.name.clone(), q.ty.clone())).collect();
    let mut inputs = entry.inputs.clone();
    let mut before = Vec::new();
    for (role, ty) in entry.outputs.iter().zip(f.result_tys()) {
        let Role::Grad(row) = role else { continue };
        inputs.push(role.clone());
        before.push(b.param(format!("{}.grad", p.weights[row[0].0 as usize].name), ty.with(DType::F32)));
    }
    let results = b.call(entry.function, args, f.result_tys());
    let mut before = before.into_iter();
    let (mut outputs, mut gives) = (Vec::new(), Vec::new());
    for (role, v) in entry.outputs.iter().zip(results) {
        outputs.push(role.clone());
        gives.push(match role {
            Role::Grad(_) => {
                let old = before.next().expect("each gradient has a value before");
                b.map(Prim::Add, &[old, v])
            }
            Role::Named(_)
            | Role::Index(..)
            | Role::Narrow(..)
            | Role::Weight(_)
            | Role::Trained
            | Role::Grads
            | Role::State(_)
            | Role::StateOf(..) => v,
        });
    }
    Entry { function: p.add(b.finish(gives)), inputs, outputs, ..entry }
}
