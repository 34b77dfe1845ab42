//! Which nodes share a loop.
//!
//! Items are in the order in which they will run. A node joins an item if everything it reads is in memory by then, or
//! is computed in that item at the very same point of the loop; otherwise it starts a new item. So the order is right by
//! construction, and the rule needs no look ahead.

use super::index::{Lin, Map};
use super::{Context, Nature, Resolved};
use crate::program::{Op, Value};
use dlc_plan::Size;

/// A loop holds at most so many nodes, for the sake of the compile time of its code.
const MOST: usize = 160;

/// What a node is to its item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A value at each point of the loop.
    Lane,
    /// A value for each row.
    Row,
    /// A fold over the columns: a value for each row, in later sweeps.
    FoldCols,
    /// A fold over the rows: a value for each column, after the item.
    FoldRows,
    /// A fold over everything: one value, after the item.
    FoldAll,
    /// A step of the runtime.
    Step,
}

/// Where a node is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home {
    /// The item.
    pub item: usize,
    /// What the node is to it.
    pub role: Role,
}

/// A step of the runtime, or a group of nodes that share a kernel, or both.
#[derive(Clone, Debug, Default)]
pub struct Item {
    /// The node that is a step.
    pub step: Option<u32>,
    /// The extents of the loop, in the order of the values' axes; axes of extent 1 left out.
    pub domain: Vec<Size>,
    /// Loop axis i is domain axis `order[i]`.
    pub order: Vec<usize>,
    /// How many loop axes are rows, once a fold has decided it.
    pub rows: Option<usize>,
    /// The nodes, in order.
    pub members: Vec<u32>,
    /// Whether it goes over the flat stores of trained weights.
    pub segments: bool,
    /// Whether nodes may join.
    open: bool,
}

/// The axes of a shape that are not 1.
fn domain(shape: &[Size]) -> Vec<Size> {
    shape.iter().filter(|s| !s.is(1)).cloned().collect()
}

impl Item {
    /// The extents of the loops.
    pub fn extents(&self) -> Vec<Size> {
        self.order.iter().map(|a| self.domain[*a].clone()).collect()
    }

    /// The number of row axes: what a fold decided, or all but the last axis.
    pub fn row_axes(&self) -> usize {
        self.rows.unwrap_or(self.domain.len().saturating_sub(1))
    }

    /// The index of a value of that shape that is computed in this item, for its role.
    pub fn map(&self, role: Role, shape: &[Size]) -> Map {
        let mut next = 0;
        let mut at = || {
            next += 1;
            match role {
                Role::Lane | Role::FoldRows | Role::FoldAll | Role::Step => {
                    self.order.iter().position(|a| *a == next - 1).expect("the order is a permutation")
                }
                Role::Row | Role::FoldCols => next - 1,
            }
        };
        let axes = shape.iter().map(|s| if s.is(1) { Lin::default() } else { Lin::axis(at()) }).collect();
        Map { axes, bounds: Vec::new() }
    }

    fn row_domain(&self) -> Option<Vec<Size>> {
        self.rows.map(|n| self.extents()[..n].to_vec())
    }
}

/// Whether two indices of a shape are the same; along an axis of extent 1 every index is.
fn same_index(a: &Map, b: &Map, shape: &[Size]) -> bool {
    a.bounds.is_empty() && a.axes.iter().zip(&b.axes).zip(shape).all(|((x, y), s)| s.is(1) || x == y)
}

struct Grouping<'a> {
    cx: &'a Context<'a>,
    items: Vec<Item>,
    home: Vec<Option<Home>>,
}

/// Groups the nodes of a function. Gives the items in order, and each node's home.
pub fn group(cx: &Context) -> (Vec<Item>, Vec<Option<Home>>) {
    let mut g = Grouping { cx, items: Vec::new(), home: vec![None; cx.f.nodes.len()] };
    let early = early(cx);
    let nodes = 0..cx.f.nodes.len() as u32;
    let (first, rest): (Vec<u32>, Vec<u32>) = nodes.partition(|node| early[*node as usize]);
    for node in first.into_iter().chain(rest) {
        match cx.nature(node) {
            Nature::Given | Nature::Virtual | Nature::Term => {}
            Nature::Step => g.step(node),
            Nature::Fused => g.place(node),
        }
    }
    (g.items, g.home)
}

/// Which nodes are made before all steps: short ones, with one axis at most, that follow from what is given alone. A step
/// that is finished by them need not wait for them.
fn early(cx: &Context) -> Vec<bool> {
    let mut early = vec![false; cx.f.nodes.len()];
    for (i, n) in cx.f.nodes.iter().enumerate() {
        let short = || domain(&n.tys[0].shape).len() <= 1 && n.tys[0].len().known().is_some();
        let given = |v: &Value| match cx.nature(cx.root(*v).node) {
            Nature::Given | Nature::Virtual => true,
            Nature::Fused => early[cx.root(*v).node as usize],
            Nature::Step | Nature::Term => false,
        };
        early[i] = matches!(n.op, Op::Map(_)) && cx.segments.is_none() && short() && n.args.iter().all(given);
    }
    early
}

impl Grouping<'_> {
    fn shape(&self, node: u32) -> &[Size] {
        &self.cx.f.nodes[node as usize].tys[0].shape
    }

    fn step(&mut self, node: u32) {
        let mut item = Item { step: Some(node), ..Item::default() };
        let sum = self.cx.sums.contains_key(&node);
        if sum || matches!(self.cx.f.nodes[node as usize].op, Op::Contract(_)) {
            item.domain = domain(self.shape(node));
            item.order = (0..item.domain.len()).collect();
            item.open = !item.domain.is_empty();
        }
        self.home[node as usize] = Some(Home { item: self.items.len(), role: Role::Step });
        self.items.push(item);
    }

    /// Puts a node into the first item that can take it and computes something it reads, or, if it reads nothing but
    /// memory, into the last that can; else into a new one.
    fn place(&mut self, node: u32) {
        let roots: Vec<Value> = self.cx.f.nodes[node as usize].args.iter().map(|a| self.cx.root(*a)).collect();
        let homes: Vec<usize> = roots.iter().filter_map(|r| self.home[r.node as usize]).map(|h| h.item).collect();
        let from = homes.iter().copied().max().unwrap_or(0);
        let reads_memory_only = homes.is_empty();
        let candidates: Vec<usize> = if reads_memory_only {
            (from..self.items.len()).rev().take(2).collect()
        } else {
            (from..self.items.len()).collect()
        };
        for i in candidates {
            if let Some((role, rows)) = self.fits(node, i) {
                return self.join(node, i, role, rows);
            }
        }
        let item = self.fresh(node);
        self.items.push(item);
        let i = self.items.len() - 1;
        let (role, rows) = self.fits(node, i).expect("an item made for a node takes it");
        self.join(node, i, role, rows);
    }

    fn join(&mut self, node: u32, item: usize, role: Role, rows: Option<usize>) {
        self.home[node as usize] = Some(Home { item, role });
        self.items[item].rows = rows;
        self.items[item].members.push(node);
    }

    /// A new item in whose loop a node can be computed.
    fn fresh(&self, node: u32) -> Item {
        let n = &self.cx.f.nodes[node as usize];
        let mut item = Item { open: true, ..Item::default() };
        match &n.op {
            Op::Reduce(_, axes) => {
                let shape = &self.cx.f.ty(n.args[0]).shape;
                item.domain = domain(shape);
                let reduced = reduced(shape, axes);
                let rank = item.domain.len();
                let kept: Vec<usize> = (0..rank).filter(|a| !reduced.contains(a)).collect();
                let leading = reduced.iter().enumerate().all(|(i, a)| i == *a);
                item.order = if leading { (0..rank).collect() } else { [kept, reduced].concat() };
            }
            _ => {
                item.domain = domain(&n.tys[0].shape);
                item.order = (0..item.domain.len()).collect();
            }
        }
        item.segments = self.cx.segments.as_ref().is_some_and(|len| item.domain == [len.clone()]);
        item
    }

    /// What a node would be to an item, and the item's row axes then.
    fn fits(&self, node: u32, item: usize) -> Option<(Role, Option<usize>)> {
        let it = &self.items[item];
        if !it.open || it.members.len() >= MOST {
            return None;
        }
        let n = &self.cx.f.nodes[node as usize];
        if let Op::Reduce(_, axes) = &n.op {
            let reduced = reduced(&self.cx.f.ty(n.args[0]).shape, axes);
            if !reduced.is_empty() {
                return self.fits_fold(n.args[0], &reduced, item);
            }
        }
        let own = domain(&n.tys[0].shape);
        if own == it.domain && self.reads(node, item, Role::Lane) {
            return Some((Role::Lane, it.rows));
        }
        let of_row = |a: &Value| {
            let home = self.home[self.cx.root(*a).node as usize];
            home.is_some_and(|h| h.item == item && matches!(h.role, Role::Row | Role::FoldCols))
        };
        let rowwise = !it.segments && it.row_domain().is_some_and(|rows| rows == own) && n.args.iter().any(of_row);
        (rowwise && self.reads(node, item, Role::Row)).then_some((Role::Row, it.rows))
    }

    fn fits_fold(&self, arg: Value, reduced: &[usize], item: usize) -> Option<(Role, Option<usize>)> {
        let it = &self.items[item];
        let shape = &self.cx.f.ty(arg).shape;
        let own = domain(shape);
        // A value for each row, folded over all rows.
        let over_rows = !it.segments && it.row_domain().is_some_and(|rows| !rows.is_empty() && rows == own);
        if over_rows && reduced.len() == own.len() && self.is_row_value(arg, item) {
            return Some((Role::FoldAll, it.rows));
        }
        if own != it.domain || !self.can_read(arg, &it.map(Role::Lane, shape), item, Role::Lane) {
            return None;
        }
        let rank = own.len();
        let tail: Vec<usize> = it.order[rank - reduced.len()..].to_vec();
        let head: Vec<usize> = it.order[..reduced.len()].to_vec();
        let same = |part: &[usize]| part.iter().all(|a| reduced.contains(a));
        let wants = |n: usize| it.rows.is_none_or(|r| r == n).then_some(Some(n));
        if reduced.len() == rank {
            return match rank {
                1 if !it.segments && it.step.is_none() => wants(0).map(|r| (Role::FoldCols, r)),
                _ => Some((Role::FoldAll, it.rows)),
            };
        }
        let kept_in_order = it.order[..rank - reduced.len()].windows(2).all(|w| w[0] < w[1]);
        if same(&tail) && kept_in_order {
            return wants(rank - reduced.len()).map(|r| (Role::FoldCols, r));
        }
        let in_order = it.order.iter().enumerate().all(|(i, a)| i == *a);
        if same(&head) && in_order && it.step.is_none() {
            return wants(reduced.len()).map(|r| (Role::FoldRows, r));
        }
        (same(&head) && in_order && reduced.len() == rank - 1)
            .then(|| wants(reduced.len()))
            .flatten()
            .map(|r| (Role::FoldRows, r))
    }

    fn is_row_value(&self, arg: Value, item: usize) -> bool {
        let it = &self.items[item];
        let shape = &self.cx.f.ty(arg).shape;
        let Resolved::Root(root, map) = self.cx.resolve(arg, it.map(Role::Row, shape), &it.extents()) else {
            return false;
        };
        let home = self.home[root.node as usize];
        let own = &self.cx.f.ty(root).shape;
        home.is_some_and(|h| h.item == item && matches!(h.role, Role::Row | Role::FoldCols))
            && same_index(&map, &it.map(Role::Row, own), own)
    }

    /// Whether all that a node reads can be read in an item.
    fn reads(&self, node: u32, item: usize, role: Role) -> bool {
        let n = &self.cx.f.nodes[node as usize];
        let it = &self.items[item];
        let map = it.map(role, &n.tys[0].shape);
        match &n.op {
            Op::Gather => {
                let ids = self.cx.f.ty(n.args[1]).rank();
                let at = Map { axes: map.axes[..ids].to_vec(), bounds: Vec::new() };
                self.in_memory(n.args[0], item) && self.can_read(n.args[1], &at, item, role)
            }
            Op::Concat(_) => n.args.iter().all(|a| self.elsewhere(*a, item)),
            Op::Reduce(_, axes) => {
                let mut at = map;
                for a in axes {
                    at.axes.insert(*a, Lin::default());
                }
                self.can_read(n.args[0], &at, item, role)
            }
            Op::View(view) => {
                let (from, to) = (self.cx.f.ty(n.args[0]), &n.tys[0]);
                match map.through(view, from, to, &it.extents()) {
                    Some(at) => self.can_read(n.args[0], &at, item, role),
                    None => self.in_memory(n.args[0], item),
                }
            }
            _ => n.args.iter().all(|a| self.can_read(*a, &map, item, role)),
        }
    }

    /// Whether a value can be read from memory when an item runs.
    fn in_memory(&self, v: Value, item: usize) -> bool {
        self.cx.layout(v).is_some() && self.elsewhere(v, item)
    }

    /// Whether a value's root is not computed in the item or after it.
    fn elsewhere(&self, v: Value, item: usize) -> bool {
        self.home[self.cx.root(v).node as usize].is_none_or(|h| h.item < item)
    }

    fn can_read(&self, v: Value, map: &Map, item: usize, role: Role) -> bool {
        let it = &self.items[item];
        match self.cx.resolve(v, map.clone(), &it.extents()) {
            Resolved::Memory(view, _) => self.in_memory(view, item),
            Resolved::Root(root, map) => {
                let Some(home) = self.home[root.node as usize] else { return true };
                let own = &self.cx.f.ty(root).shape;
                let at = |r: Role| same_index(&map, &it.map(r, own), own);
                match home.role {
                    _ if home.item != item => home.item < item,
                    Role::Lane | Role::Step => role == Role::Lane && at(Role::Lane),
                    Role::Row | Role::FoldCols => at(Role::Row),
                    Role::FoldRows | Role::FoldAll => false,
                }
            }
        }
    }
}

/// The axes of the domain that a reduction goes over.
pub(super) fn reduced(shape: &[Size], axes: &[usize]) -> Vec<usize> {
    let mut real = 0;
    let mut found = Vec::new();
    for (i, s) in shape.iter().enumerate() {
        if s.is(1) {
            continue;
        }
        if axes.contains(&i) {
            found.push(real);
        }
        real += 1;
    }
    found
}
