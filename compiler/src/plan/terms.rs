//! Which sums of contractions are one step. Takes a function, as fusion sees it, whose contractions can all be multiplied;
//! marks the additions whose terms the matrix product adds up by itself, in the memory where their sum is made: what LoRA adds
//! to a product, the gradient of what several products read.

use super::copies::multiply;
use super::gemm::Shape;
use crate::fuse::{Context, Nature};
use crate::program::{Op, Value};
use dlc_plan::Prim;

/// Marks the sums in `cx`. Terms are contractions that nothing else reads and that lie alike in their result.
pub fn mark(cx: &mut Context) {
    let uses = uses(cx);
    for node in 0..cx.f.nodes.len() as u32 {
        let n = &cx.f.nodes[node as usize];
        let [a, b] = n.args[..] else { continue };
        if n.op != Op::Map(Prim::Add) {
            continue;
        }
        let (Some(left), Some(right)) = (terms(cx, a, &uses), terms(cx, b, &uses)) else { continue };
        let (Some(first), Some(second)) = (multiply(cx, left[0]), multiply(cx, right[0])) else { continue };
        if !alike(&first, &second) {
            continue;
        }
        for term in [a, b] {
            cx.sums.remove(&term.node);
            cx.terms[term.node as usize] = true;
        }
        cx.sums.insert(node, [left, right].concat());
    }
}

/// How often each node is read, by others or as a result, free views looked through.
fn uses(cx: &Context) -> Vec<u32> {
    let mut uses = vec![0; cx.f.nodes.len()];
    let read = cx.f.nodes.iter().enumerate().filter(|(i, _)| !cx.is_view(*i)).flat_map(|(_, n)| &n.args);
    for v in read.chain(&cx.f.results) {
        uses[cx.root(*v).node as usize] += 1;
    }
    uses
}

/// The contractions that a value is the sum of, where it is read once.
fn terms(cx: &Context, v: Value, uses: &[u32]) -> Option<Vec<u32>> {
    if uses[v.node as usize] != 1 {
        return None;
    }
    match cx.f.nodes[v.node as usize].op {
        Op::Contract(_) if cx.nature(v.node) == Nature::Step => Some(vec![v.node]),
        _ => cx.sums.get(&v.node).cloned(),
    }
}

/// Whether two products have the same rows, columns and batches, at the same places of the result.
fn alike(a: &Shape, b: &Shape) -> bool {
    let sides = |s: &Shape| [s.mnk[0].clone(), s.mnk[1].clone()];
    sides(a) == sides(b) && a.batch == b.batch && a.c == b.c && a.swapped == b.swapped
}
