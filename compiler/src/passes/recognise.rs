//! Finds what is computed row by row through something wide: a contraction gives scores, row work makes them weights with a
//! softmax among it, a contraction adds up values by them. Takes a program before its gradients are made; each such chain
//! becomes a call of a function of its own, marked to be run in panels. Where a chain has a softmax and cannot be run so, the
//! program keeps a note that says why.
//!
//! Nothing here goes by names. The row work may be anything that keeps the rows apart: scales, masks, biases, caps, further
//! reductions along a row, dropout. What it needs besides the scores is computed inside if it is as wide as they are (masks
//! from indices), and is a parameter otherwise.

use super::axes::{self, KEY, Seen, Tag, Tags, wide};
use super::drop::reached;
use super::outline::outline;
use super::rewrite::{copy, rebuild, take};
use crate::program::{Contract, FnId, Function, Label, Note, Op, Program, Value};
use dlc_plan::Size;
use std::collections::{BTreeMap, BTreeSet};

/// A chain that can be run in panels.
pub(super) struct Chain {
    /// The contraction that adds up by the weights.
    pub last: u32,
    /// Which of its operands are the weights.
    pub side: usize,
    /// The nodes from the scores to the weights, with the tags of their results.
    pub spine: BTreeMap<u32, Vec<Tags>>,
    /// Those of them that give scores.
    pub scores: BTreeSet<u32>,
    /// The extents of the cuts.
    pub extents: Vec<Size>,
    /// The elements of a row of scores.
    pub width: Size,
}

/// Marks the chains of every function that an entry reaches.
pub(super) fn run(p: &mut Program) {
    for id in reached(p, &p.entries) {
        function(p, id);
    }
}

fn function(p: &mut Program, id: FnId) {
    let f = p.function(id);
    let (mut chains, mut misses): (Vec<Chain>, Vec<(usize, &str)>) = (Vec::new(), Vec::new());
    let users = users(f);
    for (i, n) in f.nodes.iter().enumerate() {
        let Op::Contract(c) = &n.op else { continue };
        for side in 0..2 {
            match chain(p, f, &users, (i as u32, c, side)) {
                Ok(Some(_)) if chains.iter().any(|c| c.last == i as u32) => {}
                Ok(Some(found)) if chains.iter().any(|c| found.scores.contains(&c.last)) => {
                    misses.push((i, "its scores are what another one gives"));
                }
                Ok(Some(found)) => chains.push(found),
                Ok(None) => {}
                Err(why) => misses.push((i, why)),
            }
        }
    }
    let notes: Vec<Note> = misses.into_iter().map(|(i, why)| note(f, i, why)).collect();
    let outlined: Vec<_> = chains.iter().map(|chain| (chain.last, outline(f, chain))).collect();
    for note in notes {
        if !p.notes.contains(&note) {
            p.notes.push(note);
        }
    }
    if outlined.is_empty() {
        return;
    }
    let mut calls = take(p, id);
    for (last, (g, args)) in outlined {
        let node = &mut calls.nodes[last as usize];
        (node.op, node.args) = (Op::Call(p.add(g)), args);
    }
    let live = calls.live();
    p.functions[id.0 as usize] = rebuild(calls, &mut |b, i, n, args| match live[i] {
        true => copy(b, n, args),
        false => vec![Value { node: u32::MAX, port: 0 }; n.tys.len()],
    });
}

fn note(f: &Function, node: usize, why: &str) -> Note {
    let origin = &f.nodes[node].origin;
    let place = if origin.member.is_empty() { &f.name } else { &*origin.member };
    Note { span: origin.span, text: format!("{place}: this softmax between products is not run in panels: {why}") }
}

/// The chain that ends at a contraction, with this operand as the weights. None where there is none or it has no softmax.
fn chain(
    p: &Program,
    f: &Function,
    users: &[Vec<u32>],
    (last, c, side): (u32, &Contract, usize),
) -> Result<Option<Chain>, &'static str> {
    let n = &f.nodes[last as usize];
    let weights = n.args[side];
    let Some((tags, order)) = roles(f, c, weights, side) else { return Ok(None) };
    let mut scores = BTreeMap::new();
    find_scores(p, f, weights, &tags, &mut scores);
    if scores.is_empty() {
        return Ok(None);
    }
    let mut seen = Seen::default();
    let spine = spine(p, f, weights, &scores, &mut seen);
    // A chain without a softmax, as in a feed-forward network, is better off with a wide value in memory.
    if !seen.exp || !(seen.key_sum || seen.cut_sum) {
        return Ok(None);
    }
    let spine = spine?;
    if seen.cut_sum {
        return Err("it adds up over the rows, not only along them");
    }
    if seen.cut_fold {
        return Err("it folds over the rows, not only along them");
    }
    check_scores(f, &scores)?;
    let found = axes::settled(&spine[&weights.node][weights.port as usize]);
    if found.iter().zip(&tags).any(|(found, asked)| found != asked) {
        return Err("the weights are not arranged as the scores are");
    }
    used_once(f, users, last, side, &spine)?;
    let shape = &f.ty(weights).shape;
    let extent = |tag: Tag| shape[tags.iter().position(|t| *t == tag).expect("every cut is an axis")].clone();
    let extents = (0..order as u8).map(|cut| extent(Tag::Cut(cut))).collect();
    let width = extent(Tag::Cut(KEY));
    Ok(Some(Chain { last, side, spine, scores: scores.into_keys().collect(), extents, width }))
}

/// What the axes of the weights are: keys are summed over, rows are theirs alone, the rest goes point by point. Gives how
/// many cuts there are too.
fn roles(f: &Function, c: &Contract, weights: Value, side: usize) -> Option<(Tags, usize)> {
    let (own, other) = if side == 0 { (&c.a, &c.b) } else { (&c.b, &c.a) };
    let shape = &f.ty(weights).shape;
    let real = |i: &usize| !shape[*i].is(1);
    let at = |fits: &dyn Fn(&Label) -> bool| -> Vec<usize> {
        (0..own.len()).filter(real).filter(|i| fits(&own[*i])).collect()
    };
    let [key] = at(&|l| !c.out.contains(l))[..] else { return None };
    let rows = *at(&|l| c.out.contains(l) && !other.contains(l)).last()?;
    let points = at(&|l| c.out.contains(l)).into_iter().filter(|i| *i != rows);
    let mut tags = vec![Tag::Whole; own.len()];
    (tags[key], tags[rows]) = (Tag::Cut(KEY), Tag::Cut(0));
    let mut cuts = 1;
    for i in points {
        tags[i] = Tag::Cut(cuts as u8);
        cuts += 1;
    }
    Some((tags, cuts))
}

/// Goes back from a value through what is as wide, down to contractions. Gives the parameters that are reached in a call.
fn find_scores(
    p: &Program,
    f: &Function,
    v: Value,
    tags: &[Tag],
    found: &mut BTreeMap<u32, Tags>,
) -> Vec<(usize, Tags)> {
    let mut params = Vec::new();
    let mut open = vec![(v, tags.to_vec())];
    let mut seen = BTreeSet::new();
    while let Some((v, tags)) = open.pop() {
        if !wide(&tags) || !seen.insert((v, tags.clone())) {
            continue;
        }
        let n = f.node(v);
        match &n.op {
            Op::Param(i) => params.push((*i as usize, tags)),
            Op::Contract(_) => {
                found.insert(v.node, tags);
            }
            Op::Map(_) | Op::Stop | Op::Within(_) | Op::Concat(_) => {
                open.extend(n.args.iter().map(|a| (*a, tags.clone())))
            }
            Op::View(view) => open.push((n.args[0], axes::through_view(view, &tags, f.ty(n.args[0]).rank()))),
            Op::Call(g) => {
                let g = p.function(*g);
                let inner = find_scores(p, g, g.results[v.port as usize], &tags, &mut BTreeMap::new());
                open.extend(inner.into_iter().map(|(i, tags)| (n.args[i], tags)));
            }
            Op::Table(_) => {}
            Op::Const(_) | Op::Host(_) | Op::Reduce(..) | Op::Gather | Op::Scatter | Op::Iota(_) | Op::Random => {}
            Op::Rows(_) | Op::Repeat(_) | Op::Panels(_) => {}
        }
    }
    params
}

/// The nodes from the scores to the weights.
fn spine(
    p: &Program,
    f: &Function,
    weights: Value,
    scores: &BTreeMap<u32, Tags>,
    seen: &mut Seen,
) -> Result<BTreeMap<u32, Vec<Tags>>, &'static str> {
    // Nodes before the first scores read none of them.
    let first = scores.keys().next().copied().unwrap_or(weights.node).min(weights.node);
    let mut ancestors = vec![false; (weights.node - first) as usize + 1];
    ancestors[(weights.node - first) as usize] = true;
    for i in (first..=weights.node).rev().filter(|i| !scores.contains_key(i)) {
        if ancestors[(i - first) as usize] {
            let args = f.nodes[i as usize].args.iter().filter(|a| a.node >= first);
            args.for_each(|a| ancestors[(a.node - first) as usize] = true);
        }
    }
    let mut spine: BTreeMap<u32, Vec<Tags>> = BTreeMap::new();
    let mut failed = None;
    for i in (first..=weights.node).filter(|i| ancestors[(i - first) as usize]) {
        let n = &f.nodes[i as usize];
        if let Some(tags) = scores.get(&i) {
            spine.insert(i, vec![tags.clone()]);
        } else if n.args.iter().any(|a| spine.contains_key(&a.node)) {
            let tags = |a: &Value| match spine.get(&a.node) {
                Some(ports) => ports[a.port as usize].clone(),
                None => vec![Tag::Free; f.ty(*a).rank()],
            };
            let args: Vec<Tags> = n.args.iter().map(tags).collect();
            if matches!(n.op, Op::Call(_)) && n.args.iter().any(|a| !spine.contains_key(&a.node) && f.ty(*a).rank() > 0)
            {
                failed =
                    failed.or(Some("a function with a derivative of its own takes the scores with another tensor"));
            }
            match axes::results(p, n, &args, seen) {
                Ok(own) => spine.insert(i, own),
                Err(why) => {
                    failed = failed.or(Some(why));
                    // What comes after is still looked at, to see whether this is a softmax at all.
                    spine.insert(i, n.tys.iter().map(|t| vec![Tag::Free; t.rank()]).collect())
                }
            };
        }
    }
    failed.map_or(Ok(spine), Err)
}

/// Scores are made of rows and keys that meet there for the first time.
fn check_scores(f: &Function, scores: &BTreeMap<u32, Tags>) -> Result<(), &'static str> {
    for (node, tags) in scores {
        let Op::Contract(c) = &f.nodes[*node as usize].op else { continue };
        for labels in [&c.a, &c.b] {
            let own: Tags = c.out.iter().zip(tags).filter(|(l, _)| labels.contains(l)).map(|(_, t)| *t).collect();
            if wide(&own) {
                return Err("what the scores are made of is as wide as they are");
            }
        }
    }
    Ok(())
}

/// For each node those that use it and are needed themselves.
fn users(f: &Function) -> Vec<Vec<u32>> {
    let live = f.live();
    let mut users = vec![Vec::new(); f.nodes.len()];
    for (i, n) in f.nodes.iter().enumerate().filter(|(i, _)| live[*i]) {
        n.args.iter().for_each(|a| users[a.node as usize].push(i as u32));
    }
    users
}

/// Nothing but the chain may use what is wide.
fn used_once(
    f: &Function,
    users: &[Vec<u32>],
    last: u32,
    side: usize,
    spine: &BTreeMap<u32, Vec<Tags>>,
) -> Result<(), &'static str> {
    if f.results.iter().any(|v| spine.contains_key(&v.node)) {
        return Err("the scores or weights are a result as well");
    }
    let other = |i: &u32| *i != last && !spine.contains_key(i);
    let beside = f.nodes[last as usize].args[1 - side].node;
    if spine.keys().any(|i| users[*i as usize].iter().any(other)) || spine.contains_key(&beside) {
        return Err("the scores or weights are used elsewhere as well");
    }
    Ok(())
}
