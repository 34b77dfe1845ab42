//! Which fused values reach memory, and in which sweep of their item each is computed.
//!
//! A value that another item reads, or a later sweep of its own, is either stored or computed again. It is computed again
//! where that is cheap: a few operations on what is in memory anyway.

use super::{Context, Home, Item, Nature, Role};
use crate::program::{Op, Value};
use dlc_plan::Prim;

/// What may be computed again instead of being stored, in additions.
const CHEAP: u32 = 10;
const NEVER: u32 = 1 << 20;

/// What is stored, and when things are computed.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// For each node, whether its value reaches memory.
    pub stored: Vec<bool>,
    /// For each node, the first sweep of its item that can compute it; for a value of a row, the first that can read it.
    pub sweep: Vec<u32>,
}

/// Decides what is stored; `wanted` must be, beside what the items' steps read.
pub fn stored(cx: &Context, items: &[Item], home: &[Option<Home>], wanted: &[Value]) -> Needs {
    let n = cx.f.nodes.len();
    let readers = readers(cx);
    let mut needs = Needs { stored: vec![false; n], sweep: sweeps(cx, home) };
    for v in wanted {
        needs.stored[cx.root(*v).node as usize] = true;
    }
    for item in items.iter().filter_map(|i| i.step) {
        for a in cx.operands(item) {
            needs.stored[cx.root(a).node as usize] = true;
        }
    }
    for node in 0..n {
        let folds = home[node].is_some_and(|h| matches!(h.role, Role::FoldRows | Role::FoldAll));
        let by_memory = |r: &&u32| {
            reads_memory(cx, **r, node as u32) || (copied(cx, **r, node) && places_differ(cx, items, home, **r))
        };
        if folds || readers[node].iter().any(|r| by_memory(&r)) {
            needs.stored[node] = true;
        }
    }
    // What is cheap depends on what is stored, and the other way round: the second time nearly all of it is known.
    let sure = needs.stored.clone();
    decide(cx, home, &readers, &costs(cx, home, &sure), &mut needs);
    let cost = costs(cx, home, &needs.stored);
    needs.stored = sure;
    decide(cx, home, &readers, &cost, &mut needs);
    needs
}

/// Decides what is stored because to compute it again would cost too much, or cannot be done.
fn decide(cx: &Context, home: &[Option<Home>], readers: &[Vec<u32>], cost: &[u32], needs: &mut Needs) {
    let n = cx.f.nodes.len();
    // From the last node to the first: where, and in how late a sweep of its own item, is each needed?
    let mut elsewhere: Vec<bool> = vec![false; n];
    let mut latest = needs.sweep.clone();
    for node in (0..n).rev() {
        let Some(h) = home[node] else { continue };
        for r in &readers[node] {
            let r = *r as usize;
            let Some(rh) = home[r] else { continue };
            let again = !needs.stored[r] && rh.role != Role::Step;
            elsewhere[node] |= rh.item != h.item || (again && elsewhere[r]);
            if rh.item == h.item && rh.role != Role::Step {
                let at = if again { latest[r] } else { needs.sweep[r] };
                latest[node] = latest[node].max(at);
            }
        }
        let crosses = h.role == Role::Lane && latest[node] > needs.sweep[node];
        let stays = matches!(h.role, Role::Row | Role::FoldCols) && elsewhere[node];
        if stays || (cost[node] > CHEAP && (elsewhere[node] || crosses) && h.role != Role::Step) {
            needs.stored[node] = true;
        }
    }
}

/// For each node, the fused nodes and steps that read it, free views looked through.
fn readers(cx: &Context) -> Vec<Vec<u32>> {
    let mut found = vec![Vec::new(); cx.f.nodes.len()];
    for i in 0..cx.f.nodes.len() as u32 {
        if matches!(cx.nature(i), Nature::Fused | Nature::Step) {
            for a in cx.operands(i) {
                found[cx.root(a).node as usize].push(i);
            }
        }
    }
    found
}

/// Whether a node can only read another's value from memory: at places that are not its own.
fn reads_memory(cx: &Context, reader: u32, node: u32) -> bool {
    if cx.nature(reader) == Nature::Step {
        return true;
    }
    let n = &cx.f.nodes[reader as usize];
    let of = |v: &Value| cx.root(*v).node == node;
    match &n.op {
        Op::Gather => of(&n.args[0]),
        Op::Concat(_) => n.args.iter().any(of),
        _ => n.args.iter().any(|v| of(v) && through_memory(cx, *v)),
    }
}

/// Whether a node is a copied view of what another gives.
fn copied(cx: &Context, reader: u32, node: usize) -> bool {
    let n = &cx.f.nodes[reader as usize];
    matches!(n.op, Op::View(_)) && cx.root(n.args[0]).node as usize == node
}

/// Whether a copied view's loop cannot say where its argument's elements are but by their places in memory.
fn places_differ(cx: &Context, items: &[Item], home: &[Option<Home>], reader: u32) -> bool {
    let n = &cx.f.nodes[reader as usize];
    let (Op::View(view), Some(h)) = (&n.op, home[reader as usize]) else { return false };
    let (from, to, item) = (cx.f.ty(n.args[0]), &n.tys[0], &items[h.item]);
    item.map(h.role, &to.shape).through(view, from, to, &item.extents()).is_none()
}

/// Whether free views merge axes on the way: such a view may have to be read through memory.
fn through_memory(cx: &Context, mut v: Value) -> bool {
    while let Some(view) = cx.view(v) {
        if matches!(view, crate::program::View::Merge { count, .. } if *count > 1) {
            return true;
        }
        v = cx.f.node(v).args[0];
    }
    false
}

/// The first sweep of its item in which each node can be computed (or, for a row's value, read).
fn sweeps(cx: &Context, home: &[Option<Home>]) -> Vec<u32> {
    let mut sweep = vec![0; cx.f.nodes.len()];
    for (i, n) in cx.f.nodes.iter().enumerate() {
        let Some(h) = home[i] else { continue };
        let same = |a: &&Value| home[cx.root(**a).node as usize].is_some_and(|x| x.item == h.item);
        let last = n.args.iter().filter(same).map(|a| sweep[cx.root(*a).node as usize]).max().unwrap_or(0);
        sweep[i] = match h.role {
            Role::FoldCols => last + 1,
            Role::Lane | Role::Row | Role::FoldRows | Role::FoldAll | Role::Step => last,
        };
    }
    sweep
}

/// What computing each value again would cost, given what is stored for sure.
fn costs(cx: &Context, home: &[Option<Home>], stored: &[bool]) -> Vec<u32> {
    let mut cost = vec![0u32; cx.f.nodes.len()];
    for (i, n) in cx.f.nodes.iter().enumerate() {
        let args: u32 = n
            .args
            .iter()
            .map(|a| cx.root(*a))
            .map(|r| match cx.nature(r.node) {
                Nature::Given | Nature::Step => 1,
                Nature::Fused if stored[r.node as usize] => 1,
                Nature::Fused | Nature::Virtual | Nature::Term => cost[r.node as usize],
            })
            .sum();
        let own = match &n.op {
            Op::Map(p) => prim_cost(*p),
            Op::Random => 6,
            Op::Gather | Op::Concat(_) => 6,
            Op::Param(_) | Op::Const(_) | Op::Host(_) => 0,
            Op::Table(all) => all.len() as u32,
            Op::View(_) | Op::Stop | Op::Within(_) => 0,
            Op::Iota(_) => 1,
            Op::Reduce(..)
            | Op::Contract(_)
            | Op::Scatter
            | Op::Rows(_)
            | Op::Call(_)
            | Op::Repeat(_)
            | Op::Panels(_) => NEVER,
        };
        let rowwise = home[i].is_some_and(|h| h.role != Role::Lane);
        cost[i] = if rowwise { NEVER } else { (own + args).min(NEVER) };
    }
    cost
}

fn prim_cost(p: Prim) -> u32 {
    match p {
        Prim::Add | Prim::Sub | Prim::Mul | Prim::Neg | Prim::Abs | Prim::Max | Prim::Min => 1,
        Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne | Prim::And | Prim::Or | Prim::Not | Prim::Where => 1,
        Prim::Cast(_) | Prim::Sign | Prim::Floor => 1,
        Prim::Div | Prim::Sqrt | Prim::Rsqrt => 5,
        Prim::Exp | Prim::Expm1 | Prim::Log | Prim::Log1p | Prim::Sin | Prim::Cos => 12,
        Prim::Tanh | Prim::Erf | Prim::Erfc | Prim::Pow | Prim::Rem => 20,
    }
}
