//! What an expression can stand for while a spec is checked: numbers, sizes, tensors, functions, layers.
//!
//! Numbers known now, sizes, and numbers that the host computes before a step are all [`Num`]; tensors are values of the
//! function being built, with a tag for each axis that says what the user calls it.

use super::load::{FnItem, NetItem};
use super::raw::Raw;
use crate::program::Value;
use dlc_grammar::Span;
use dlc_plan::{DType, Host, Size};
use std::rc::Rc;

/// A value.
#[derive(Clone, Debug)]
pub enum Val {
    /// What could not be made; why has been said already.
    Poison,
    /// A number without axes that is no tensor.
    Num(Num),
    /// `true`, `false`, and what is decided while checking.
    Bool(bool),
    /// A truth that the host knows before a step: a condition on dynamic sizes.
    Truth(Host),
    /// A text.
    Str(Rc<str>),
    /// `none`.
    None,
    /// `[a, b]`.
    List(Rc<[Val]>),
    /// `a, b`: several results.
    Tuple(Rc<[Val]>),
    /// A tensor.
    Tensor(Tensor),
    /// A column that is no tensor.
    Raw(Raw),
    /// A function, perhaps with its axes bound.
    Func(Func),
    /// A block, model or optimizer.
    Net(Rc<NetItem>),
    /// A block with its configuration, not yet a layer because it has no name.
    Ctor(Rc<Ctor>),
    /// A layer: a block with its configuration and its name.
    Layer(Rc<Layer>),
    /// What an axis parameter stands for.
    Axis(AxisSel),
    /// A module, by its number.
    Module(u16),
    /// An index variable of an equation.
    Index(Tag),
    /// A weight of the net being worked on, by its slot; reading it gives its present value.
    Stored {
        /// The slot.
        slot: usize,
        /// The function that holds it.
        root: u32,
    },
}

/// A number, and what the user calls it.
#[derive(Clone, Debug)]
pub struct Num {
    /// Its value.
    pub value: NumVal,
    /// What the user calls it, where it has a name or a place.
    pub tag: Option<Tag>,
}

/// The value of a number.
#[derive(Clone, Debug, PartialEq)]
pub enum NumVal {
    /// An integer, exact.
    Int(i64),
    /// A number in double precision.
    Float(f64),
    /// A size that only run time knows.
    Size(Size),
    /// A number that the host computes before a step.
    Host(Host),
}

/// What the user calls a size, and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// Its name in the call `env`; none for a number that was written out. A name that begins with a digit stands for
    /// an axis that the call has no name for.
    pub name: Option<Rc<str>>,
    /// The call in which the name means something.
    pub env: u32,
    /// Where it comes from.
    pub origin: Span,
}

/// An axis of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// Its extent.
    pub size: Size,
    /// What the user calls it.
    pub tag: Option<Tag>,
}

/// A tensor: a value of a function being built.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// Which of the functions being built.
    pub frame: u32,
    /// The value in that function.
    pub value: Value,
    /// The type of its elements.
    pub dtype: DType,
    /// Its axes.
    pub axes: Rc<[Axis]>,
}

/// A function as a value.
#[derive(Clone, Debug)]
pub struct Func {
    /// The function.
    pub target: Target,
    /// What stands in its brackets, if anything does.
    pub axes: Option<Rc<AxisArgs>>,
}

/// What a function is.
#[derive(Clone, Debug)]
pub enum Target {
    /// Text of the language.
    Item(Rc<FnItem>),
    /// A primitive.
    Builtin(super::builtin::Builtin),
}

/// What stands in the brackets of `sum[-1, keep]`.
#[derive(Clone, Debug, Default)]
pub struct AxisArgs {
    /// The axes, in order.
    pub list: Vec<AxisSel>,
    /// Whether `..` is among them.
    pub rest: bool,
    /// Whether `keep` is among them.
    pub keep: bool,
    /// From bracket to bracket.
    pub span: Span,
}

/// How an axis is chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AxisSel {
    /// By position, from the end if negative.
    At(i64, Span),
    /// By the name it carries.
    Called(Rc<str>, Span),
}

/// An argument, evaluated.
#[derive(Clone, Debug)]
pub struct Given {
    /// The parameter it is for, if named, and where the name stands.
    pub name: Option<(Rc<str>, Span)>,
    /// Its value.
    pub val: Val,
    /// The expression.
    pub span: Span,
}

/// A block with its configuration.
#[derive(Clone, Debug)]
pub struct Ctor {
    /// The block.
    pub net: Rc<NetItem>,
    /// What is given for each parameter of the configuration.
    pub config: Vec<Option<Given>>,
    /// Where it was made.
    pub span: Span,
}

/// A layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What it is.
    pub ctor: Rc<Ctor>,
    /// Its name in the net that it belongs to.
    pub label: Rc<str>,
    /// Where the name stands.
    pub label_span: Span,
    /// The function that holds its weights.
    pub root: u32,
}

impl Given {
    /// An argument without a name.
    pub fn new(val: Val, span: Span) -> Given {
        Given { name: None, val, span }
    }
}

impl Num {
    /// A number without a name.
    pub fn plain(value: NumVal) -> Num {
        Num { value, tag: None }
    }

    /// A size; a static one is an integer.
    pub fn size(size: &Size) -> NumVal {
        match size.known() {
            Some(n) => NumVal::Int(n),
            None => NumVal::Size(size.clone()),
        }
    }
}

impl Val {
    /// An integer.
    pub fn int(n: i64) -> Val {
        Val::Num(Num::plain(NumVal::Int(n)))
    }

    /// A number in double precision.
    pub fn float(x: f64) -> Val {
        Val::Num(Num::plain(NumVal::Float(x)))
    }

    /// A number of the host; a constant if it is known.
    pub fn host(host: Host) -> Val {
        Val::Num(Num::plain(match host.known() {
            Some(x) => NumVal::Float(x),
            None => NumVal::Host(host),
        }))
    }

    /// Whether it, or a part of it, could not be made.
    pub fn is_poison(&self) -> bool {
        match self {
            Val::Poison => true,
            Val::List(items) | Val::Tuple(items) => items.iter().any(Val::is_poison),
            _ => false,
        }
    }

    /// Whether a tensor is in it.
    pub fn has_tensor(&self) -> bool {
        match self {
            Val::Tensor(_) | Val::Stored { .. } => true,
            Val::List(items) | Val::Tuple(items) => items.iter().any(Val::has_tensor),
            _ => false,
        }
    }

    /// The tensors in it, in order.
    pub fn tensors(&self) -> Vec<&Tensor> {
        let mut found = Vec::new();
        self.each_tensor(&mut |t| found.push(t));
        found
    }

    fn each_tensor<'a>(&'a self, f: &mut dyn FnMut(&'a Tensor)) {
        match self {
            Val::Tensor(t) => f(t),
            Val::List(items) | Val::Tuple(items) => items.iter().for_each(|v| v.each_tensor(f)),
            _ => {}
        }
    }

    /// The same with every tensor in it replaced.
    pub fn map_tensors(&self, f: &mut dyn FnMut(&Tensor) -> Tensor) -> Val {
        match self {
            Val::Tensor(t) => Val::Tensor(f(t)),
            Val::List(items) => Val::List(items.iter().map(|v| v.map_tensors(f)).collect()),
            Val::Tuple(items) => Val::Tuple(items.iter().map(|v| v.map_tensors(f)).collect()),
            other => other.clone(),
        }
    }

    /// What kind of thing it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Val::Poison => "a failed value",
            Val::Num(_) => "a number",
            Val::Bool(_) | Val::Truth(_) => "a truth",
            Val::Str(_) => "a text",
            Val::None => "none",
            Val::List(_) => "a list",
            Val::Tuple(_) => "several results",
            Val::Tensor(_) | Val::Stored { .. } => "a tensor",
            Val::Raw(Raw::Texts(_)) => "a column of texts",
            Val::Raw(Raw::Ids(_)) => "ids that have no name yet",
            Val::Func(_) => "a function",
            Val::Net(_) | Val::Ctor(_) => "a layer without a name",
            Val::Layer(_) => "a layer",
            Val::Axis(_) => "an axis",
            Val::Module(_) => "a module",
            Val::Index(_) => "an index variable",
        }
    }
}

impl Tensor {
    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.axes.len()
    }

    /// The extents.
    pub fn shape(&self) -> Vec<Size> {
        self.axes.iter().map(|a| a.size.clone()).collect()
    }

    /// The tags of its axes.
    pub fn tags(&self) -> Vec<Option<Tag>> {
        self.axes.iter().map(|a| a.tag.clone()).collect()
    }
}

impl Axis {
    /// The index variable whose axis it is.
    pub(super) fn variable(&self) -> Option<&Tag> {
        self.tag.as_ref().filter(|t| t.is_variable())
    }

    /// The name that the user gave it, if any.
    pub fn name(&self) -> Option<&Rc<str>> {
        self.tag.as_ref().and_then(Tag::shown)
    }
}

/// Calls from this number on are no calls: each is an index variable of an equation.
const VARIABLES: u32 = 1 << 31;
/// Index variables of no equation, which stand for others by their place.
const PLACES: u32 = VARIABLES | 1 << 30;

impl Tag {
    /// An index variable, by a number that no other has.
    pub(super) fn index(name: Rc<str>, number: u32, origin: Span) -> Tag {
        Tag { name: Some(name), env: VARIABLES | number, origin }
    }

    /// A variable that stands for the one at a place.
    pub(super) fn at_place(place: usize, of: &Tag) -> Tag {
        Tag { env: PLACES | place as u32, ..of.clone() }
    }

    /// The place of a variable that stands for another.
    pub(super) fn place(&self) -> Option<usize> {
        (self.env & PLACES == PLACES).then_some((self.env & !PLACES) as usize)
    }

    /// Whether it is an index variable.
    pub(super) fn is_variable(&self) -> bool {
        self.env & VARIABLES != 0
    }

    /// The name that the user gave, if any.
    pub fn shown(&self) -> Option<&Rc<str>> {
        self.name.as_ref().filter(|n| !n.starts_with(|c: char| c.is_ascii_digit()))
    }
}

impl AxisSel {
    /// Where it was written.
    pub fn span(&self) -> Span {
        match self {
            AxisSel::At(_, span) | AxisSel::Called(_, span) => *span,
        }
    }
}
