//! Stacks of parameters: what a loop takes from iteration to iteration becomes one parameter of the function around it, so
//! that nothing there grows with how often the loop runs.
//!
//! Weights and random sites are made one by one. Where a loop turns out to take several of them, one for each iteration, a
//! parameter that is their stack takes their place, in this function and in all that hand them on. What is read besides
//! by itself is then a slice of it.

use super::Checker;
use super::frame::{Root, Slot, SlotKind};
use super::value::{Axis, Tensor};
use crate::program::build::Builder;
use crate::program::{Function, Node, Op, Ty, Value};
use dlc_plan::random::site_hash;
use dlc_plan::{DType, Size};
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use std::rc::Rc;

/// A parameter that comes after a function's inputs.
#[derive(Clone, Debug, PartialEq)]
pub enum SlotParam {
    /// A slot, by its number among the function's.
    One(usize),
    /// Slots that are alike.
    Stack(Rc<Row>),
}

/// Slots that are one parameter.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// The slots, the last of the leading axes going fastest.
    slots: Vec<usize>,
    /// The extents of the leading axes.
    lead: Vec<usize>,
}

/// What has become of a parameter that is in a stack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    whole: Value,
    number: usize,
}

/// The stacks of a frame.
#[derive(Default)]
pub(super) struct Stacks {
    /// The parameters that are in a stack, by their nodes.
    parts: HashMap<u32, Part>,
    /// The stack of these parameters, in this order.
    known: HashMap<Rc<[Value]>, Value>,
}

impl SlotParam {
    /// The slots, the last of the leading axes going fastest.
    pub fn slots(&self) -> &[usize] {
        match self {
            SlotParam::One(slot) => std::slice::from_ref(slot),
            SlotParam::Stack(row) => &row.slots,
        }
    }

    /// The first slot, which all others are like.
    pub fn first(&self) -> usize {
        self.slots()[0]
    }

    /// The extents of the leading axes; none for one slot.
    fn lead(&self) -> &[usize] {
        match self {
            SlotParam::One(_) => &[],
            SlotParam::Stack(row) => &row.lead,
        }
    }

    /// Whether it is a stack.
    pub fn is_stack(&self) -> bool {
        matches!(self, SlotParam::Stack(_))
    }

    /// The type of the parameter, from that of a slot.
    pub fn ty(&self, slot: &Ty) -> Ty {
        let lead = self.lead().iter().map(|n| Size::from(*n as i64));
        Ty { dtype: slot.dtype, shape: lead.chain(slot.shape.iter().cloned()).collect() }
    }

    /// The same for slots with other numbers.
    pub fn renumbered(&self, number: impl Fn(usize) -> usize) -> SlotParam {
        match self {
            SlotParam::One(slot) => SlotParam::One(number(*slot)),
            SlotParam::Stack(row) => {
                let slots = row.slots.iter().map(|s| number(*s)).collect();
                SlotParam::Stack(Rc::new(Row { slots, lead: row.lead.clone() }))
            }
        }
    }
}

impl Checker {
    /// The stack of some parameters of the frame with that index, one for each iteration of a loop: one parameter that
    /// takes their place. None where they are not alike, or are in a stack already.
    pub(super) fn stack_of(&mut self, frame: usize, cells: &[Value]) -> Option<Value> {
        let f = &self.frames[frame];
        if let Some(known) = f.stacks.known.get(cells) {
            return Some(*known);
        }
        let mut once = HashSet::default();
        if !cells.iter().all(|v| !f.stacks.parts.contains_key(&v.node) && once.insert(*v)) {
            return None;
        }
        let whole = match &f.root {
            Some(_) => self.stack_slots(frame, cells)?,
            None => {
                let captured = |v: &Value| match f.builder.f.nodes.get(v.node as usize)?.op {
                    Op::Param(n) => Some(f.captures[n as usize]),
                    _ => None,
                };
                let outer: Vec<Value> = cells.iter().map(captured).collect::<Option<_>>()?;
                let whole = self.stack_of(frame - 1, &outer)?;
                let ty = self.frames[frame - 1].builder.ty(whole).clone();
                self.capture(frame, whole, &ty)
            }
        };
        let stacks = &mut self.frames[frame].stacks;
        stacks.known.insert(cells.into(), whole);
        for (number, v) in cells.iter().enumerate() {
            stacks.parts.insert(v.node, Part { whole, number });
        }
        Some(whole)
    }

    /// The stack of parameters of a root that are slots, or stacks of them.
    fn stack_slots(&mut self, frame: usize, cells: &[Value]) -> Option<Value> {
        let root = self.frames[frame].root.as_ref()?;
        if root.each_alone {
            return None;
        }
        let param = |v: &Value| Some(&root.params[root.param_of(*v)?].0);
        let params: Vec<&SlotParam> = cells.iter().map(param).collect::<Option<_>>()?;
        let kind = |p: &SlotParam| root.slots[p.first()].decl.kind;
        let like = |a: SlotKind, b: SlotKind| match (a, b) {
            (SlotKind::Param, SlotKind::Param) | (SlotKind::Site(_), SlotKind::Site(_)) => true,
            // What changes is given back weight by weight.
            (SlotKind::Param | SlotKind::Site(_) | SlotKind::State, _) => false,
        };
        let first = params[0];
        let ty = |p: &SlotParam| &root.slots[p.first()].decl.ty;
        if !params.iter().all(|p| like(kind(p), kind(first)) && p.lead() == first.lead() && ty(p) == ty(first)) {
            return None;
        }
        let slots = params.iter().flat_map(|p| p.slots()).copied().collect();
        let lead = std::iter::once(params.len()).chain(first.lead().iter().copied()).collect();
        Some(self.slot_param(frame, SlotParam::Stack(Rc::new(Row { slots, lead }))))
    }

    /// Adds what stands for slots of a root, which exist already: a parameter, or, for random sites of an entry, constants.
    pub(super) fn slot_param(&mut self, frame: usize, param: SlotParam) -> Value {
        let root = self.frames[frame].root.as_ref().expect("the index is a root's");
        let slots = || param.slots().iter().map(|s| &root.slots[*s]);
        let first = &root.slots[param.first()].decl;
        let ty = param.ty(&first.ty);
        let value = match first.kind {
            SlotKind::Site(_) if root.entry => {
                let hashes: Vec<f64> = slots().map(|s| f64::from(hash_of(s))).collect();
                self.frames[frame].builder.table(DType::I32, &hashes, &ty.shape)
            }
            SlotKind::Site(n) => {
                let name = format!("{}#{n}", starred(slots()));
                self.parameter_of(frame, name, ty)
            }
            SlotKind::Param | SlotKind::State => {
                let name = starred(slots());
                self.parameter_of(frame, name, ty)
            }
        };
        let root = self.frames[frame].root.as_mut().expect("the index is a root's");
        if let SlotParam::One(slot) = param {
            root.slot_values[slot] = Some(value);
        }
        root.params.push((param, value));
        value
    }

    /// The present value of slots of the innermost root that are handed on as a stack.
    pub(super) fn stack_tensor(&mut self, param: &SlotParam) -> Tensor {
        let value = self.stacked(param);
        let frame = &self.frames[self.root_index()];
        let ty = frame.builder.ty(value);
        let axes = ty.shape.iter().map(|size| Axis { size: size.clone(), tag: None }).collect();
        Tensor { frame: frame.id, value, dtype: ty.dtype, axes }
    }

    /// The value in the innermost root that stands for these slots, stacked like that.
    fn stacked(&mut self, param: &SlotParam) -> Value {
        let frame = self.root_index();
        let root = self.frames[frame].root.as_ref().expect("the index is a root's");
        if let Some((_, value)) = root.params.iter().find(|(p, _)| p == param) {
            return *value;
        }
        // They came here apart: they are put together for each call.
        let each: Vec<Value> = param.slots().iter().map(|slot| self.slot_value(frame, *slot)).collect();
        let b = &mut self.frames[frame].builder;
        let ty = param.ty(b.ty(each[0]));
        b.stack(&each, &ty)
    }

    /// The value that a slot of a root stands for; where it came as part of a stack, an element of that.
    pub(super) fn slot_value(&mut self, frame: usize, slot: usize) -> Value {
        let f = &mut self.frames[frame];
        let root = f.root.as_mut().expect("the index is a root's");
        if let Some(value) = root.slot_values[slot] {
            return value;
        }
        let (param, whole) =
            root.params.iter().find(|(p, _)| p.slots().contains(&slot)).expect("each slot is a parameter, or in one");
        let number = param.slots().iter().position(|s| *s == slot).expect("it was found by it");
        let value = f.builder.element(*whole, param.lead().len(), number);
        root.slot_values[slot] = Some(value);
        value
    }
}

impl Root {
    /// Which of the parameters after the inputs a value is.
    fn param_of(&self, v: Value) -> Option<usize> {
        // They are made in order; only constants, which sites of an entry are, may be older than those before them.
        let guess = self.params.partition_point(|(_, own)| own.node < v.node);
        match self.params.get(guess) {
            Some((_, own)) if *own == v => Some(guess),
            Some(_) | None => self.params.iter().position(|(_, own)| *own == v),
        }
    }
}

/// The number that tells a random site from all others.
fn hash_of(site: &Slot) -> i32 {
    match site.decl.kind {
        SlotKind::Site(n) => site_hash(&site.path, n) as i32,
        SlotKind::Param | SlotKind::State => unreachable!("only sites are hashed"),
    }
}

/// The path that slots have in common, with a star for each segment in which the first and the last differ.
fn starred<'a>(mut slots: impl Iterator<Item = &'a Slot>) -> String {
    let first = &slots.next().expect("a parameter has slots").path;
    let Some(last) = slots.last() else { return first.to_string() };
    if first.split('.').count() != last.path.split('.').count() {
        return first.to_string();
    }
    let pairs = first.split('.').zip(last.path.split('.'));
    pairs.map(|(a, b)| if a == b { a } else { "*" }).collect::<Vec<_>>().join(".")
}

/// The function with its parameters in front, without those that went into stacks and without the nodes that nothing
/// needs; and for each parameter whether it is still one.
pub(super) fn finish(builder: Builder, stacks: &Stacks, results: &[Value]) -> (Function, Vec<bool>) {
    let f = builder.f;
    let needed = needed(&f, stacks, results);
    let is_part = |node: &u32| stacks.parts.contains_key(node);
    let mut nodes: Vec<u32> = vec![0; f.params.len()];
    for (i, n) in f.nodes.iter().enumerate() {
        if let Op::Param(p) = n.op {
            nodes[p as usize] = i as u32;
        }
    }
    let kept: Vec<bool> = nodes.iter().map(|node| !is_part(node)).collect();
    let mut b = Builder::new(f.name);
    let mut at: Vec<Option<Value>> = vec![None; f.nodes.len()];
    for ((param, node), _) in f.params.into_iter().zip(&nodes).zip(&kept).filter(|(_, kept)| **kept) {
        b.origin = f.nodes[*node as usize].origin.clone();
        at[*node as usize] = Some(b.param(param.name, param.ty));
    }
    for node in nodes.iter().filter(|node| is_part(node) && needed[**node as usize]) {
        b.origin = f.nodes[*node as usize].origin.clone();
        part(&mut b, stacks, &mut at, *node);
    }
    let moved = |at: &[Option<Value>], v: &Value| {
        let to = at[v.node as usize].expect("an argument comes before its user, and what is needed is kept");
        Value { port: v.port, ..to }
    };
    for (i, n) in f.nodes.into_iter().enumerate() {
        if !needed[i] || matches!(n.op, Op::Param(_)) {
            continue;
        }
        let args = n.args.iter().map(|v| moved(&at, v)).collect();
        b.f.nodes.push(Node { args, ..n });
        at[i] = Some(Value { node: b.f.nodes.len() as u32 - 1, port: 0 });
    }
    let results = results.iter().map(|v| moved(&at, v)).collect();
    (Function { derivative: f.derivative, ..b.finish(results) }, kept)
}

/// For each node, whether the results need it; a parameter is needed unless it is in a stack.
fn needed(f: &Function, stacks: &Stacks, results: &[Value]) -> Vec<bool> {
    let is_param = |i: usize| matches!(f.nodes[i].op, Op::Param(_));
    let mut needed: Vec<bool> =
        (0..f.nodes.len()).map(|i| is_param(i) && !stacks.parts.contains_key(&(i as u32))).collect();
    results.iter().for_each(|v| needed[v.node as usize] = true);
    for i in (0..f.nodes.len()).rev().filter(|i| !is_param(*i)) {
        if needed[i] {
            f.nodes[i].args.iter().for_each(|v| needed[v.node as usize] = true);
        }
    }
    needed
}

/// A parameter that went into a stack, as an element of it; the stack may be in another one itself.
fn part(b: &mut Builder, stacks: &Stacks, at: &mut [Option<Value>], node: u32) -> Value {
    if let Some(made) = at[node as usize] {
        return made;
    }
    let Part { whole, number } = stacks.parts[&node];
    let whole = part(b, stacks, at, whole.node);
    let made = b.element(whole, 1, number);
    at[node as usize] = Some(made);
    made
}
