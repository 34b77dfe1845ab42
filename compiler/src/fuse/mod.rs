//! Fusion: which nodes of a function share a loop, which values reach memory, and the kernels that come of it.
//!
//! Takes a function whose calls are inlined; gives items in order. An item is a step of the runtime (a contraction, a
//! loop, a scatter), or a group of nodes that share one kernel; a contraction's item may also hold the group that
//! finishes its result while it is hot. Views, constants, indices and random numbers belong to no group: whoever needs
//! them computes them on the spot.

mod element;
mod emit;
mod finish;
mod group;
pub mod index;
mod math;
mod need;
mod scalar;

pub use emit::{Emitted, emit};
pub use finish::elem_of;
pub use group::{Home, Item, Role, group};
pub use need::{Needs, stored};

use crate::program::{Function, Op, Value, View};
use dlc_plan::{Host, Size};
use index::{Layout, Map};
use rustc_hash::FxHashMap as HashMap;

/// What fusion knows about the function it works on.
pub struct Context<'a> {
    /// The function.
    pub f: &'a Function,
    /// Parameters that are scalars of the host, by their number.
    pub hosts: HashMap<u32, Host>,
    /// Parameters that are tables of such scalars, by their number: the elements in order.
    pub tables: HashMap<u32, Vec<Host>>,
    /// Views, constants, indices and random numbers that are put into memory because whoever reads them needs that.
    pub copies: Vec<bool>,
    /// Sums of contractions that are one step, by the number of the addition: the contractions, in order.
    pub sums: HashMap<u32, Vec<u32>>,
    /// For each node, whether it is a part of such a sum.
    pub terms: Vec<bool>,
    /// The length of the flat stores of trained weights, in an entry that goes over them.
    pub segments: Option<Size>,
    /// Whether numbers and sizes are scalars and extents of the call, so that one kernel serves many functions.
    pub generic: bool,
    /// Whether each element of a sum is added to its total by itself.
    pub exact: bool,
}

/// How a node's value comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// A parameter: in memory, or a scalar of the host.
    Given,
    /// Computed on the spot by whoever needs it.
    Virtual,
    /// Computed in a group.
    Fused,
    /// Computed by a step of the runtime.
    Step,
    /// A contraction, or a sum of them, that a step adds to others as it computes it: nobody else reads it.
    Term,
}

impl Context<'_> {
    /// How a node's value comes about.
    pub fn nature(&self, node: u32) -> Nature {
        if self.sums.contains_key(&node) {
            return Nature::Step;
        }
        if self.terms[node as usize] {
            return Nature::Term;
        }
        match &self.f.nodes[node as usize].op {
            Op::Param(_) => Nature::Given,
            Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) | Op::Random | Op::View(_) => {
                match self.copies[node as usize] {
                    true => Nature::Fused,
                    false => Nature::Virtual,
                }
            }
            Op::Map(_) | Op::Reduce(..) | Op::Gather | Op::Concat(_) | Op::Stop | Op::Within(_) => Nature::Fused,
            Op::Contract(_) | Op::Scatter | Op::Rows(_) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => Nature::Step,
        }
    }

    /// What a step reads: the arguments of its node, or, of a sum of contractions, those of the contractions.
    pub fn operands(&self, step: u32) -> Vec<Value> {
        let args = |node: &u32| self.f.nodes[*node as usize].args.iter().copied();
        match self.sums.get(&step) {
            Some(terms) => terms.iter().flat_map(args).collect(),
            None => args(&step).collect(),
        }
    }

    /// The view at a value, if it costs nothing.
    fn view(&self, v: Value) -> Option<&View> {
        match &self.f.node(v).op {
            Op::View(view) if !self.copies[v.node as usize] => Some(view),
            _ => None,
        }
    }

    /// The scalar of the host that a value is, if it is one.
    pub fn host(&self, v: Value) -> Option<Host> {
        match &self.f.node(v).op {
            Op::Const(x) => Some(Host::Const(*x)),
            Op::Host(h) => Some(h.clone()),
            Op::Param(p) => self.hosts.get(p).cloned(),
            _ => None,
        }
    }

    /// The scalars of the host that a table's elements are, in order, if it is one.
    pub fn table(&self, v: Value) -> Option<Vec<Host>> {
        match &self.f.node(v).op {
            Op::Table(all) => Some(all.iter().map(|x| Host::Const(*x)).collect()),
            Op::Param(p) => self.tables.get(p).cloned(),
            _ => None,
        }
    }

    /// Whether a node is a free view: nobody works it out, and readers look through it.
    pub fn is_view(&self, node: usize) -> bool {
        self.view(Value { node: node as u32, port: 0 }).is_some()
    }

    /// The value that views of `v` look at, which is not a free view itself.
    pub fn root(&self, mut v: Value) -> Value {
        while self.view(v).is_some() {
            v = self.f.node(v).args[0];
        }
        v
    }

    /// Where the elements of a value lie in the memory of its root, if the root is in memory and strides can say so.
    pub fn layout(&self, v: Value) -> Option<Layout> {
        match self.view(v) {
            None if self.nature(v.node) == Nature::Virtual => None,
            None if self.host(v).is_some() && !self.copies[v.node as usize] => None,
            None => Some(Layout::contiguous(&self.f.ty(v).shape)),
            Some(view) => {
                let from = self.f.node(v).args[0];
                self.layout(from)?.view(view, self.f.ty(from), self.f.ty(v))
            }
        }
    }

    /// Whether a value is its root's memory, element for element.
    pub fn is_alias(&self, v: Value) -> bool {
        if self.nature(v.node) == Nature::Given {
            return self.host(v).is_none();
        }
        let whole = self.f.ty(v).len() == self.f.ty(self.root(v)).len();
        whole && self.layout(v).is_some_and(|l| same_order(&l, &self.f.ty(v).shape))
    }

    /// Where a value begins in its root's memory, if it is a piece of that, and the root is there in any case.
    pub fn piece(&self, v: Value) -> Option<Size> {
        let root = self.root(v);
        let there = match self.nature(root.node) {
            Nature::Given => self.host(root).is_none() && self.table(root).is_none(),
            Nature::Step => true,
            Nature::Virtual | Nature::Fused | Nature::Term => false,
        };
        let layout = self.layout(v).filter(|_| there && root != v)?;
        same_strides(&layout, &self.f.ty(v).shape).then_some(layout.offset)
    }

    /// Follows free views from a value, read at `map`, to what has to be computed or loaded.
    pub fn resolve(&self, mut v: Value, mut map: Map, extents: &[Size]) -> Resolved {
        while let Some(view) = self.view(v) {
            let from = self.f.node(v).args[0];
            match map.through(view, self.f.ty(from), self.f.ty(v), extents) {
                Some(next) => map = next,
                None => return Resolved::Memory(v, map),
            }
            v = from;
        }
        Resolved::Root(v, map)
    }
}

/// Where free views lead.
pub enum Resolved {
    /// To a value that is no free view, read at this map.
    Root(Value, Map),
    /// To a view that only memory can be read through, at this map.
    Memory(Value, Map),
}

/// Whether a layout is the contiguous one, axes of extent 1 aside.
fn same_order(l: &Layout, shape: &[Size]) -> bool {
    l.offset.is(0) && same_strides(l, shape)
}

/// Whether a layout is contiguous from where it begins, axes of extent 1 aside.
fn same_strides(l: &Layout, shape: &[Size]) -> bool {
    let own = Layout::contiguous(shape);
    l.strides.iter().zip(&own.strides).zip(shape).all(|((a, b), s)| s.is(1) || a == b)
}
