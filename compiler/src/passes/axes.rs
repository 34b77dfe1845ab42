//! Which axes of a function's values are cut: from the cuts of its parameters to those of its results, node by node, and
//! back from what is asked of a result to what that asks of the arguments.
//!
//! A function can be run in panels if each of its rows can be computed alone. So every node has to keep the cut axes apart:
//! it may not slice, fold or mix along them. Only a sum over them is fine, since sums can be put together from parts.

use crate::program::{Affine, Contract, Function, Label, Node, Op, Program, ReduceOp, View};
use std::collections::BTreeMap;

/// What an axis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tag {
    /// Along it nothing has been read yet that would say: indices, random numbers, what is repeated.
    Free,
    /// It is not cut.
    Whole,
    /// It is this cut.
    Cut(u8),
}

/// The axes of a value.
pub(super) type Tags = Vec<Tag>;

/// What stands for the axis that the rows are as long as, where that has to be told from other whole axes.
pub(super) const KEY: u8 = u8::MAX;

/// What a walk over nodes has met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// An exponential of something as wide as rows and keys.
    pub exp: bool,
    /// A sum over the keys.
    pub key_sum: bool,
    /// A sum over a cut.
    pub cut_sum: bool,
    /// Another fold over a cut, which cannot be put together from parts.
    pub cut_fold: bool,
}

/// Whether a value has both the rows and the keys.
pub(super) fn wide(tags: &[Tag]) -> bool {
    tags.contains(&Tag::Cut(0)) && tags.contains(&Tag::Cut(KEY))
}

/// What is not known to be cut is not cut.
pub(super) fn settled(tags: &[Tag]) -> Tags {
    tags.iter().map(|t| if *t == Tag::Free { Tag::Whole } else { *t }).collect()
}

fn is_cut(tag: Tag) -> bool {
    matches!(tag, Tag::Cut(c) if c != KEY)
}

/// What both say of an axis.
fn join(a: Tag, b: Tag) -> Option<Tag> {
    match (a, b) {
        (Tag::Free, t) | (t, Tag::Free) => Some(t),
        (a, b) => (a == b).then_some(a),
    }
}

fn join_all(rank: usize, lists: &[&Tags]) -> Option<Tags> {
    let at = |i: usize| lists.iter().try_fold(Tag::Free, |t, list| join(t, list[i]));
    (0..rank).map(at).collect()
}

/// The tags of a node's results, from those of its arguments; or why it cannot be run row by row.
pub(super) fn results(p: &Program, n: &Node, args: &[Tags], seen: &mut Seen) -> Result<Vec<Tags>, &'static str> {
    let rank = n.tys[0].rank();
    let all: Vec<&Tags> = args.iter().collect();
    let one = match &n.op {
        Op::Const(_) | Op::Host(_) | Op::Iota(_) | Op::Random => vec![Tag::Free; rank],
        Op::Table(_) => vec![Tag::Whole; rank],
        Op::Map(prim) => {
            let tags = join_all(rank, &all).ok_or("rows and columns trade places")?;
            seen.exp |= *prim == dlc_plan::Prim::Exp && wide(&tags);
            tags
        }
        Op::Stop | Op::Within(_) => args[0].clone(),
        Op::Reduce(op, axes) => {
            reduced(*op, axes.iter().map(|k| args[0][*k]), seen);
            args[0].iter().enumerate().filter(|(k, _)| !axes.contains(k)).map(|(_, t)| *t).collect()
        }
        Op::View(v) => viewed(v, &args[0], rank)?,
        Op::Contract(c) => {
            let labels = labels(c, args).ok_or("rows and columns trade places")?;
            seen.cut_sum |= labels.iter().any(|(l, t)| !c.out.contains(l) && is_cut(*t));
            c.out.iter().map(|l| labels[l]).collect()
        }
        Op::Gather if is_cut(args[0][0]) => return Err("rows are looked up by number"),
        Op::Gather => args[1].iter().chain(&args[0][1..]).copied().collect(),
        Op::Concat(axis) => {
            let tags = join_all(rank, &all).ok_or("rows and columns trade places")?;
            if is_cut(tags[*axis]) {
                return Err("rows are put after others");
            }
            tags
        }
        Op::Call(g) => return called(p, p.function(*g), args, seen),
        Op::Rows(_) if args[0].last().is_some_and(|t| is_cut(*t)) => return Err("rows are put in order"),
        Op::Rows(_) => args[0][..rank.saturating_sub(1)].iter().copied().chain(vec![Tag::Whole; rank.min(1)]).collect(),
        Op::Param(_) | Op::Scatter | Op::Repeat(_) | Op::Panels(_) => {
            if args.iter().flatten().any(|t| is_cut(*t)) {
                return Err("a loop or a scatter stands between");
            }
            return Ok(n.tys.iter().map(|t| vec![Tag::Whole; t.rank()]).collect());
        }
    };
    Ok(vec![one])
}

/// Notes what a reduction over these axes is.
fn reduced(op: ReduceOp, axes: impl Iterator<Item = Tag>, seen: &mut Seen) {
    for tag in axes {
        match (tag, op) {
            (Tag::Cut(KEY), ReduceOp::Sum) => seen.key_sum = true,
            (Tag::Cut(KEY) | Tag::Free | Tag::Whole, _) => {}
            (Tag::Cut(_), ReduceOp::Sum) => seen.cut_sum = true,
            (Tag::Cut(_), ReduceOp::Max | ReduceOp::Min | ReduceOp::Prod) => seen.cut_fold = true,
        }
    }
}

fn viewed(v: &View, a: &Tags, rank: usize) -> Result<Tags, &'static str> {
    let mut tags = a.clone();
    let mut uncut = |axis: usize| {
        if is_cut(tags[axis]) {
            return Err("rows are taken apart or moved");
        }
        if tags[axis] == Tag::Free {
            tags[axis] = Tag::Whole;
        }
        Ok(())
    };
    match v {
        View::Permute(axes) => return Ok(axes.iter().map(|k| a[*k]).collect()),
        View::Broadcast(axes) => {
            let mut tags = vec![Tag::Free; rank];
            axes.iter().zip(a).for_each(|(k, t)| tags[*k] = *t);
            return Ok(tags);
        }
        View::Affine(at) => {
            let mut own = vec![Tag::Free; rank];
            for (k, index) in at.iter().enumerate() {
                match plain(index, at) {
                    Some(axis) => own[axis] = a[k],
                    None => {
                        uncut(k)?;
                        index.steps.iter().for_each(|(axis, _)| own[*axis] = Tag::Whole);
                    }
                }
            }
            return Ok(own);
        }
        View::Slice { axis, .. } | View::Pad { axis, .. } => uncut(*axis)?,
        View::Split { axis, count: 0 } => {
            tags.remove(*axis);
        }
        View::Merge { axis, count: 0 } => tags.insert(*axis, Tag::Free),
        View::Split { axis, count } => {
            uncut(*axis)?;
            tags.splice(*axis..=*axis, vec![Tag::Whole; *count]);
        }
        View::Merge { axis, count } => {
            (*axis..axis + count).try_for_each(uncut)?;
            tags.splice(*axis..axis + count, [Tag::Whole]);
        }
    }
    Ok(tags)
}

/// The axis that an index goes along, if it does nothing but that and is the only one.
fn plain(index: &Affine, all: &[Affine]) -> Option<usize> {
    let [(axis, 1)] = index.steps[..] else { return None };
    let uses = all.iter().flat_map(|i| &i.steps).filter(|(other, _)| *other == axis).count();
    (index.start.is(0) && uses == 1).then_some(axis)
}

/// The tags of a contraction's labels.
fn labels(c: &Contract, args: &[Tags]) -> Option<BTreeMap<Label, Tag>> {
    let mut found: BTreeMap<Label, Tag> = BTreeMap::new();
    for (l, t) in c.a.iter().zip(&args[0]).chain(c.b.iter().zip(&args[1])) {
        let old = found.get(l).copied().unwrap_or(Tag::Free);
        found.insert(*l, join(old, *t)?);
    }
    Some(found)
}

/// The tags of a function's results.
fn called(p: &Program, g: &Function, args: &[Tags], seen: &mut Seen) -> Result<Vec<Tags>, &'static str> {
    let all = of_function(p, g, args, seen)?;
    Ok(g.results.iter().map(|v| all[v.node as usize][v.port as usize].clone()).collect())
}

/// The tags of all values of a function, from those of its parameters.
pub(super) fn of_function(
    p: &Program,
    g: &Function,
    params: &[Tags],
    seen: &mut Seen,
) -> Result<Vec<Vec<Tags>>, &'static str> {
    let mut all: Vec<Vec<Tags>> = Vec::with_capacity(g.nodes.len());
    for n in &g.nodes {
        let own = match n.op {
            Op::Param(i) => vec![params[i as usize].clone()],
            _ => {
                let args: Vec<Tags> = n.args.iter().map(|a| all[a.node as usize][a.port as usize].clone()).collect();
                results(p, n, &args, seen)?
            }
        };
        all.push(own);
    }
    Ok(all)
}

/// The tags that are asked of argument `k` of a node of which `tags` are asked; `args` is what is known of the arguments.
pub(super) fn argument(n: &Node, k: usize, tags: &[Tag], args: &[Tags]) -> Tags {
    let own = || settled(&args[k]);
    match &n.op {
        Op::Map(_) | Op::Stop | Op::Within(_) | Op::Concat(_) => tags.to_vec(),
        Op::Reduce(_, axes) => {
            let mut kept = tags.iter();
            let mut at = |axis: usize| match axes.contains(&axis) {
                true => args[k][axis],
                false => *kept.next().expect("what is not folded is kept"),
            };
            settled(&(0..args[k].len()).map(&mut at).collect::<Tags>())
        }
        Op::View(v) => through_view(v, tags, args[k].len()),
        Op::Contract(c) => {
            let mut all = labels(c, args).unwrap_or_default();
            c.out.iter().zip(tags).for_each(|(l, t)| {
                all.insert(*l, *t);
            });
            let list = if k == 0 { &c.a } else { &c.b };
            settled(&list.iter().map(|l| all.get(l).copied().unwrap_or(Tag::Whole)).collect::<Tags>())
        }
        Op::Gather if k == 1 => tags[..args[1].len()].to_vec(),
        Op::Gather => [Tag::Whole].iter().chain(&tags[args[1].len()..]).copied().collect(),
        Op::Param(_) | Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) | Op::Random => own(),
        Op::Rows(_) => tags[..tags.len().saturating_sub(1)].iter().chain(own().last()).copied().collect(),
        Op::Scatter | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => own(),
    }
}

/// The tags of a view's argument of so many axes.
pub(super) fn through_view(v: &View, tags: &[Tag], rank: usize) -> Tags {
    match v {
        View::Permute(axes) => {
            let mut own = vec![Tag::Whole; rank];
            axes.iter().zip(tags).for_each(|(k, t)| own[*k] = *t);
            own
        }
        View::Broadcast(axes) => axes.iter().map(|k| tags[*k]).collect(),
        View::Slice { .. } | View::Pad { .. } => tags.to_vec(),
        View::Affine(at) => at.iter().map(|i| plain(i, at).map_or(Tag::Whole, |axis| tags[axis])).collect(),
        View::Split { axis, count } => {
            let mut own = tags.to_vec();
            own.splice(*axis..axis + count, [Tag::Whole]);
            own
        }
        View::Merge { axis, count } => {
            let mut own = tags.to_vec();
            own.splice(*axis..=*axis, vec![Tag::Whole; *count]);
            own
        }
    }
}
