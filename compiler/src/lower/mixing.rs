//! Whether a function mixes the rows of a batch: whether what it takes of all rows at once, such as their mean, goes back into
//! single rows. Takes a function and the sizes that rows are counted by; gives the place in the spec.

use crate::program::{FnId, Op, Program, Ty};
use dlc_grammar::Span;
use rustc_hash::FxHashMap as HashMap;

/// The first place where rows are mixed; in the prelude's layers, where they are used.
pub fn mixing(p: &Program, f: FnId, rows: &[u16], in_prelude: &dyn Fn(Span) -> bool) -> Option<Span> {
    Mixing { p, rows, in_prelude, done: HashMap::default() }.of(f)
}

struct Mixing<'a> {
    p: &'a Program,
    rows: &'a [u16],
    in_prelude: &'a dyn Fn(Span) -> bool,
    /// What is known of functions.
    done: HashMap<FnId, Option<Span>>,
}

impl Mixing<'_> {
    fn of(&mut self, id: FnId) -> Option<Span> {
        if let Some(done) = self.done.get(&id) {
            return *done;
        }
        let f = self.p.function(id);
        let mut found = None;
        // Of each node, whether it is made of all rows and has none.
        let mut joint: Vec<bool> = Vec::with_capacity(f.nodes.len());
        for n in &f.nodes {
            let has_rows = |ty: &Ty| ty.shape.iter().any(|s| s.dims().iter().any(|d| self.rows.contains(d)));
            let takes_joint = n.args.iter().any(|a| joint[a.node as usize]);
            let takes_rows = n.args.iter().any(|a| has_rows(f.ty(*a)));
            let gives_rows = n.tys.iter().any(has_rows);
            let sums = !matches!(n.op, Op::Stop | Op::Within(_)) && takes_rows && !gives_rows;
            joint.push(!gives_rows && (takes_joint || sums));
            if found.is_none() {
                let inside = match &n.op {
                    Op::Call(g) => self.of(*g),
                    Op::Repeat(r) => self.of(r.body),
                    _ => None,
                };
                let own = (takes_joint && gives_rows).then_some(n.origin.span);
                let used = inside.map(|inner| if (self.in_prelude)(inner) { n.origin.span } else { inner });
                found = own.or(used);
            }
        }
        self.done.insert(id, found);
        found
    }
}
