//! The entries that are made of a training's loss. Takes a program with the entry `loss`; gives it `accumulate`, which puts
//! the gradients where the optimizer finds them, and `grad`, which gives them by name; `loss` has done its work then.

use super::accumulate;
use crate::program::{Program, Role};

/// Puts `accumulate` and `grad` in the place of `loss`; a program without it stays as it is.
pub fn entries(p: &mut Program) {
    let Some(at) = p.entries.iter().position(|e| e.name == "loss") else { return };
    let loss = p.entries.remove(at);
    let accumulate = accumulate(p, &loss, "accumulate");
    let mut grad = accumulate.clone();
    grad.name = "grad".into();
    let mut function = p.function(accumulate.function).clone();
    function.name = format!("{}.grad", p.function(loss.function).name);
    let outputs = accumulate.outputs.iter().zip(&function.results).filter_map(|(role, v)| match role {
        Role::Named(_) | Role::Index(..) => Some((role.clone(), *v)),
        Role::Grad(w) => Some((Role::Named(p.weights[w.0 as usize].name.clone()), *v)),
        // Asking for gradients changes nothing, so states keep their values.
        Role::Weight(_) | Role::Trained | Role::Grads | Role::State(_) => None,
    });
    (grad.outputs, function.results) = outputs.unzip();
    grad.function = p.add(function);
    p.entries.extend([accumulate, grad]);
}
