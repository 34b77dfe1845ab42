//! The smallest spec that is still wrong: statements are left out, and an earlier value of the same type takes the place of
//! what they gave, as long as what is wrong stays.

use super::spec::{Id, Spec, Stmt};

/// A smaller spec for which `wrong` still says something of the same sort, and what it says.
pub fn shrunk(spec: &Spec, why: String, wrong: &dyn Fn(&Spec) -> Option<String>) -> (Spec, String) {
    let (mut spec, mut why) = (spec.clone(), why);
    // What is refused is no smaller case of what is compiled and then wrong.
    let refused = |why: &str| why.starts_with("it is refused");
    let sort = refused(&why);
    for _ in 0..8 {
        let mut changed = false;
        let mut n = 0;
        while let Some(smaller) = step(&spec, n) {
            match smaller.and_then(|smaller| Some((wrong(&smaller).filter(|why| refused(why) == sort)?, smaller))) {
                Some((says, smaller)) => {
                    (spec, why) = (smaller, says);
                    changed = true;
                }
                None => n += 1,
            }
        }
        if !changed {
            break;
        }
    }
    (spec, why)
}

/// The n-th way to make a spec smaller: none where there are no more, nothing where that one is not possible.
fn step(spec: &Spec, n: usize) -> Option<Option<Spec>> {
    let outputs = spec.outputs.len();
    let mut smaller = spec.clone();
    if n < outputs {
        if outputs == 1 {
            return Some(None);
        }
        smaller.outputs.remove(n);
        smaller.terms.remove(n);
        smaller.prune();
        return Some(Some(smaller));
    }
    if n == outputs {
        let changes = !smaller.recipe.is_empty();
        smaller.recipe.clear();
        return Some(changes.then_some(smaller));
    }
    let at = spec.stmts.len().checked_sub(n - outputs)?;
    Some(without(smaller, at))
}

/// A spec without one of its statements, which is not the first weight.
fn without(mut spec: Spec, at: usize) -> Option<Spec> {
    if at == 0 {
        return None;
    }
    let gone: Stmt = spec.stmts.remove(at);
    for id in &gone.gives {
        let before = spec.stmts[..at].iter().rev().flat_map(|s| s.gives.iter().copied());
        let ty = &spec.values[*id].ty;
        let like = before.chain(spec.inputs.iter().copied()).find(|other| spec.values[*other].ty == *ty);
        let used = spec.outputs.contains(id) || spec.stmts.iter().any(|s| s.reads().contains(id));
        match (like, used) {
            (Some(like), true) => exchange(&mut spec, *id, like),
            (None, true) => return None,
            (_, false) => {}
        }
    }
    spec.prune();
    Some(spec)
}

fn exchange(spec: &mut Spec, from: Id, to: Id) {
    let put = |id: &mut Id| {
        if *id == from {
            *id = to;
        }
    };
    spec.outputs.iter_mut().for_each(put);
    spec.stmts.iter_mut().for_each(|s| in_stmt(s, &put));
}

fn in_stmt(s: &mut Stmt, put: &dyn Fn(&mut Id)) {
    s.args.iter_mut().for_each(put);
    if let Some(body) = &mut s.body {
        put(&mut body.result);
        body.stmts.iter_mut().for_each(|s| in_stmt(s, put));
    }
}
