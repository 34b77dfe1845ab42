//! The functions being built: one frame each, the innermost last.
//!
//! A root frame is a net, a function with a derivative, or an entry: it holds the slots, that is the weights and random
//! sites that the function takes as parameters. An iteration's frame reads what is outside of it through captures, which
//! become parameters too. Parameters are made when they are first needed and moved to the front at the end; what a loop
//! takes from iteration to iteration goes into stacks (`stacks.rs`).

use super::Checker;
use super::adapt::Adapted;
use super::bounds::is_too_large;
use super::stacks::{self, SlotParam, Stacks};
use super::value::{Axis, Tag, Tensor, Val};
use crate::program::build::Builder;
use crate::program::{FnId, Function, Op, Param, Ty, Value};
use dlc_grammar::Span;
use dlc_grammar::ast::{Expr, Label, NetKind};
use dlc_plan::{DType, Host, Size};
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use std::rc::Rc;

use super::scope::Scope;

/// A function being built.
pub(super) struct Frame {
    /// Its number, different from that of every other frame ever made.
    pub id: u32,
    pub builder: Builder,
    /// What only a root has.
    pub root: Option<Box<Root>>,
    /// The parameters that have gone into stacks.
    pub stacks: Stacks,
    /// An iteration's captures: values of the frame around it, in the order of this frame's parameters.
    pub captures: Vec<Value>,
    /// Which parameter of this frame stands for which value of the frame around it.
    seen: HashMap<Value, Value>,
    /// States that have a new value here: the slot, and the value.
    pub states: Vec<(usize, Tensor)>,
    /// Values that a reduction made, for messages about the axes it dropped.
    pub reduced: HashMap<Value, Reduced>,
    /// The member that random sites here belong to: empty, or the iteration.
    pub site_prefix: Rc<str>,
    /// The labels used here, in order; an iteration is called after what they have in common.
    pub labels: Vec<Rc<str>>,
    /// An iteration's labels as they are written, each with its text.
    pub written: Vec<(Label, Rc<str>)>,
}

/// Which reduction made a value.
#[derive(Clone, Debug)]
pub(super) struct Reduced {
    pub name: &'static str,
    /// The whole call.
    pub call: Span,
    /// The closing bracket's place, where axes were written.
    pub bracket: Option<Span>,
}

/// What a root frame has besides its nodes.
#[derive(Default)]
pub(super) struct Root {
    /// The weights and random sites.
    pub slots: Vec<Slot>,
    /// What each slot stands for, unless it came as part of a stack that nobody has looked into yet.
    pub slot_values: Vec<Option<Value>>,
    /// What the parameters after the inputs are, in the order in which they were made; those that have gone into a
    /// stack, and the random sites of an entry, are none in the end.
    pub params: Vec<(SlotParam, Value)>,
    /// Whether each slot is to be a parameter by itself.
    pub each_alone: bool,
    /// The layers by label.
    pub layers: HashMap<Rc<str>, LayerState>,
    /// Every label and weight declared here, and where.
    pub labels: HashMap<Rc<str>, Span>,
    /// Further names of weights, each with the slot.
    pub aliases: Vec<(Rc<str>, usize, Span)>,
    /// `init` statements.
    pub inits: Vec<InitRule>,
    /// Conditions on dynamic sizes.
    pub guards: Vec<Guard>,
    /// The same conditions as keys, by which each is there once.
    pub guarded: HashSet<Vec<u8>>,
    /// The number of random sites so far for each path.
    pub ordinals: HashMap<Rc<str>, u32>,
    /// How many `repeat`s there were so far.
    pub repeats: u32,
    /// What kind of net it is the function of; none for a function of the language and an entry.
    pub kind: Option<NetKind>,
    /// Whether random numbers are refused in it.
    pub no_draws: bool,
    /// Whether it is an entry, where random sites are constants.
    pub entry: bool,
    /// Where it is an adapter's: that one's rank.
    pub adapter: Option<Size>,
}

/// A weight, or a place where random numbers are drawn: a function's parameter, or part of one.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name below the function's own member: a weight's is dotted; a site's is the member that draws.
    pub path: Rc<str>,
    /// What it is.
    pub decl: Rc<Decl>,
}

/// What a slot is.
#[derive(Clone, Debug)]
pub struct Decl {
    /// Weight or site.
    pub kind: SlotKind,
    /// Its type.
    pub ty: Ty,
    /// What its axes were called where it was declared.
    pub tags: Vec<Option<Tag>>,
    /// Where it is declared.
    pub span: Span,
    /// The expression that gives its first value.
    pub init: Option<Rc<Init>>,
    /// For a weight with two axes that a product reads: the axis that is summed over.
    pub summed: Option<usize>,
    /// Whether an adapter declares it.
    pub added: bool,
    /// What a weight is adapted by, where something that is adapted reads it.
    pub adapted: Option<Rc<Adapted>>,
}

/// The kinds of slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotKind {
    /// A weight that is trained.
    Param,
    /// A weight that changes by `<-` only.
    State,
    /// A place where random numbers are drawn, by its number among those of its member.
    Site(u32),
}

/// An expression that gives a weight's first value, and where its names mean something.
#[derive(Debug)]
pub struct Init {
    /// The expression.
    pub value: Expr,
    /// Its scope, without tensors.
    pub scope: Scope,
}

/// `init "glob" = value`.
pub(super) struct InitRule {
    pub globs: Vec<dlc_grammar::ast::Str>,
    pub init: Rc<Init>,
}

/// The entry whose expression is a loss or a metric: where a model's outputs meet columns.
pub struct Judged {
    /// The number of its function.
    pub frame: u32,
    /// Its values that are columns.
    pub columns: Vec<Value>,
    /// Its values that are outputs of the model.
    pub outputs: Vec<Value>,
}

impl Judged {
    /// Whether a value is made of an output, and whether it is made of a column otherwise.
    pub(super) fn reads(&self, f: &Function, v: Value) -> (bool, bool) {
        let (mut open, mut seen) = (vec![v], HashSet::default());
        let mut found = (false, false);
        while let Some(v) = open.pop() {
            if !seen.insert(v) {
                continue;
            }
            if self.outputs.contains(&v) {
                found.0 = true;
            } else if self.columns.contains(&v) {
                found.1 = true;
            } else {
                open.extend(&f.nodes[v.node as usize].args);
            }
        }
        found
    }
}

/// A condition on dynamic sizes that only run time can decide.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The condition.
    pub cond: Host,
    /// What it says, for messages: `DistilBert requires T <= P (512)`.
    pub message: String,
    /// Where it is written.
    pub span: Span,
}

/// A layer that has been declared.
#[derive(Clone, Default)]
pub(super) struct LayerState {
    /// What it became when it was first used, and the slots of its weights.
    pub used: Option<Used>,
    /// How often it was used.
    pub uses: u32,
}

/// The first use of a layer.
#[derive(Clone)]
pub(super) struct Used {
    pub instance: Rc<super::net::Instance>,
    /// For each slot of the instance, this frame's slot.
    pub slots: Rc<[usize]>,
    /// The first input's expression.
    pub input: Span,
    /// What the names of the instance stand for here.
    pub names: Rc<[(Rc<str>, Tag)]>,
}

/// A frame that has become a function, and what a caller must know.
pub(super) struct Finished {
    pub function: Function,
    pub root: Root,
    /// What the parameters after the inputs are.
    pub params: Vec<SlotParam>,
    /// The states that have a new value, by slot; extra results in this order.
    pub updated: Vec<usize>,
}

impl Checker {
    /// Starts a function that has slots.
    pub(super) fn open_root(&mut self, name: impl Into<String>) -> u32 {
        self.open_frame(name.into(), Some(Box::default()))
    }

    /// Starts an iteration.
    pub(super) fn open_iteration(&mut self, name: String) -> u32 {
        self.open_frame(name, None)
    }

    fn open_frame(&mut self, name: String, root: Option<Box<Root>>) -> u32 {
        self.frame_count += 1;
        let site_prefix = if root.is_none() { self.within_frame(&name) } else { String::new() };
        let id = self.frame_count;
        self.frames.push(Frame {
            id,
            builder: Builder::new(name),
            root,
            stacks: Stacks::default(),
            captures: Vec::new(),
            seen: HashMap::default(),
            states: Vec::new(),
            reduced: HashMap::default(),
            site_prefix: site_prefix.into(),
            labels: Vec::new(),
            written: Vec::new(),
        });
        id
    }

    /// The member that random sites of an iteration of that name belong to.
    pub(super) fn within_frame(&self, name: &str) -> String {
        match self.frames.last() {
            Some(outer) if !outer.site_prefix.is_empty() => format!("{}.{name}", outer.site_prefix),
            Some(_) | None => name.to_string(),
        }
    }

    /// The innermost frame.
    pub(super) fn frame(&mut self) -> &mut Frame {
        self.frames.last_mut().expect("tensors are made inside of a function")
    }

    /// The builder of the innermost function.
    pub(super) fn b(&mut self) -> &mut Builder {
        &mut self.frame().builder
    }

    /// Says where the next nodes come from.
    pub(super) fn at(&mut self, span: Span) {
        if let Some(frame) = self.frames.last_mut() {
            frame.builder.origin.span = span;
        }
    }

    /// The index of the innermost root.
    pub(super) fn root_index(&self) -> usize {
        self.frames.iter().rposition(|f| f.root.is_some()).expect("the first frame is a root")
    }

    /// The innermost root.
    pub(super) fn root(&mut self) -> &mut Root {
        let i = self.root_index();
        self.frames[i].root.as_mut().expect("the index is a root's")
    }

    /// Adds a parameter to the innermost frame.
    pub(super) fn parameter(&mut self, name: String, ty: Ty) -> Value {
        let i = self.frames.len() - 1;
        self.parameter_of(i, name, ty)
    }

    /// Adds a parameter to a frame, in between its nodes; [`Frame::finish`] moves it to the front.
    pub(super) fn parameter_of(&mut self, frame: usize, name: String, ty: Ty) -> Value {
        let f = &mut self.frames[frame].builder.f;
        let n = f.params.len() as u32;
        f.params.push(Param { name, ty: ty.clone() });
        self.frames[frame].builder.push(Op::Param(n), Vec::new(), vec![ty])
    }

    /// A tensor of the innermost frame, with tags for its axes.
    pub(super) fn tensor(&mut self, value: Value, tags: Vec<Option<Tag>>) -> Tensor {
        if is_too_large(&self.frame().builder.ty(value).shape) {
            let shape = self.b().shape(value);
            self.refuse_too_large(&shape);
        }
        let frame = self.frame();
        let ty = frame.builder.ty(value);
        debug_assert_eq!(ty.shape.len(), tags.len(), "a tag for each axis");
        let axes = ty.shape.iter().zip(tags).map(|(size, tag)| Axis { size: size.clone(), tag }).collect();
        Tensor { frame: frame.id, value, dtype: ty.dtype, axes }
    }

    /// The tensor as a value of the innermost function. What an iteration reads from around it becomes its parameter.
    pub(super) fn use_(&mut self, t: &Tensor) -> Value {
        let top = self.frames.len() - 1;
        if self.frames[top].id == t.frame {
            return t.value;
        }
        let home = self.frames.iter().rposition(|f| f.id == t.frame).expect("a tensor's function is being built");
        let ty = Ty { dtype: t.dtype, shape: t.shape() };
        let mut value = t.value;
        for i in home + 1..=top {
            assert!(self.frames[i].root.is_none(), "a function reads no tensor of its caller's");
            value = self.capture(i, value, &ty);
        }
        value
    }

    /// The parameter of an iteration's frame that stands for a value of the frame around it.
    pub(super) fn capture(&mut self, frame: usize, value: Value, ty: &Ty) -> Value {
        if let Some(mine) = self.frames[frame].seen.get(&value) {
            return *mine;
        }
        let name = self.name_of(frame - 1, value);
        let mine = self.parameter_of(frame, name, ty.clone());
        self.frames[frame].seen.insert(value, mine);
        self.frames[frame].captures.push(value);
        mine
    }

    /// What people call a value, where it has a name.
    fn name_of(&self, frame: usize, value: Value) -> String {
        let f = &self.frames[frame].builder.f;
        match f.nodes.get(value.node as usize).map(|n| &n.op) {
            Some(Op::Param(n)) => f.params[*n as usize].name.clone(),
            _ => String::new(),
        }
    }

    /// The present value of a slot of the innermost root: a state's new one where it has been changed. Axes
    /// without a tag have none.
    pub(super) fn slot_tensor(&mut self, slot: usize, tags: Vec<Option<Tag>>) -> Tensor {
        let root = self.root_index();
        let changed = self.frames[root..].iter().rev().find_map(|f| f.states.iter().rev().find(|(s, _)| *s == slot));
        if let Some((_, t)) = changed {
            return t.clone();
        }
        let value = self.slot_value(root, slot);
        let frame = &self.frames[root];
        let data = frame.root.as_ref().expect("the index is a root's");
        let ty = &data.slots[slot].decl.ty;
        let tag = |i: usize| tags.get(i).cloned().flatten();
        let axes = ty.shape.iter().enumerate().map(|(i, size)| Axis { size: size.clone(), tag: tag(i) }).collect();
        Tensor { frame: frame.id, value, dtype: ty.dtype, axes }
    }

    /// Adds a slot to the innermost root, with a parameter of its own.
    pub(super) fn add_slot(&mut self, slot: Slot) -> usize {
        let number = self.push_slot(slot);
        let root = self.root_index();
        self.slot_param(root, SlotParam::One(number));
        number
    }

    /// Adds a slot to the innermost root that is going to have a parameter, or to be part of one.
    pub(super) fn push_slot(&mut self, slot: Slot) -> usize {
        let root = self.root();
        root.slots.push(slot);
        root.slot_values.push(None);
        root.slots.len() - 1
    }

    /// A new random site of the innermost root's own member, or of the iteration that it is in.
    pub(super) fn site(&mut self) -> Tensor {
        let path = self.frame().site_prefix.clone();
        let span = self.frame().builder.origin.span;
        let ordinal = self.root().ordinals.entry(path.clone()).or_insert(0);
        let kind = SlotKind::Site(*ordinal);
        *ordinal += 1;
        let ty = Ty::scalar(DType::I32);
        let decl = Decl { kind, ty, tags: Vec::new(), span, init: None, summed: None, added: false, adapted: None };
        let slot = self.add_slot(Slot { path, decl: Rc::new(decl) });
        self.slot_tensor(slot, Vec::new())
    }

    /// From here on, what draws random numbers outside of all members does so under this name.
    pub(crate) fn draw_under(&mut self, name: String) {
        self.frame().site_prefix = name.into();
    }

    /// Whether random numbers may be drawn here; reports it if not.
    pub(super) fn may_draw(&mut self, span: Span) -> bool {
        let refused = self.root().no_draws;
        if refused {
            let message = "a function that states its derivative cannot draw random numbers";
            self.report(dlc_grammar::Diagnostic::error("E0116", span, message));
        }
        !refused
    }

    /// Gives a state its next value.
    pub(super) fn set_state(&mut self, slot: usize, value: Tensor) {
        let states = &mut self.frame().states;
        match states.iter_mut().find(|(s, _)| *s == slot) {
            Some(entry) => entry.1 = value,
            None => states.push((slot, value)),
        }
    }

    /// Ends a root frame: its function gives the tensors of `result` in order, then the states that have a new value.
    pub(super) fn close_root(&mut self, result: &Val) -> Finished {
        let mut results: Vec<Value> = result.tensors().into_iter().map(|t| self.use_(t)).collect();
        let mut states = std::mem::take(&mut self.frame().states);
        states.sort_by_key(|(slot, _)| *slot);
        results.extend(states.iter().map(|(_, t)| self.use_(t)));
        let frame = self.frames.pop().expect("the frame that ends was begun");
        let mut root = *frame.root.expect("a root ends");
        let updated = states.iter().map(|(slot, _)| *slot).collect();
        let number = |v: &Value| match frame.builder.f.nodes[v.node as usize].op {
            Op::Param(p) => Some(p as usize),
            _ => None,
        };
        let params: Vec<_> = root.params.drain(..).filter_map(|(param, v)| Some((param, number(&v)?))).collect();
        let (function, kept) = stacks::finish(frame.builder, &frame.stacks, &results);
        let params = params.into_iter().filter(|(_, p)| kept[*p]).map(|(param, _)| param).collect();
        Finished { function, root, params, updated }
    }

    /// Gives up the innermost frame.
    pub(super) fn drop_frame(&mut self) {
        self.frames.pop();
    }

    /// Adds a function to the program.
    pub(super) fn add_function(&mut self, f: Function) -> FnId {
        self.program.add(f)
    }
}
