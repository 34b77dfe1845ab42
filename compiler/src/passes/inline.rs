//! Calls become the nodes of what is called. Loop bodies stay functions, but call nothing themselves afterwards.

use super::rewrite::{callees_first, copy, rebuild, splice, take};
use crate::program::{Function, Op, Program};

/// Inlines the calls of all functions but those with a stated derivative.
pub(super) fn plain(p: &mut Program) {
    inline(p, &|f| f.derivative.is_none() && f.cut.is_none());
}

/// Inlines all calls but those of functions that are run in panels.
pub(super) fn all(p: &mut Program) {
    inline(p, &|f| f.cut.is_none());
}

fn inline(p: &mut Program, which: &dyn Fn(&Function) -> bool) {
    for id in callees_first(p) {
        let f = p.function(id);
        let calls = |op: &Op| matches!(op, Op::Call(g) if which(p.function(*g)));
        if !f.nodes.iter().any(|n| calls(&n.op)) {
            continue;
        }
        let f = take(p, id);
        let new = rebuild(f, &mut |b, _, n, args| {
            if let Op::Call(g) = n.op
                && which(p.function(g))
            {
                return splice(b, p.function(g), &args, &n.origin.member);
            }
            copy(b, n, args)
        });
        p.functions[id.0 as usize] = new;
    }
}
