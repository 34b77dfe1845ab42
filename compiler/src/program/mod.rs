//! The program: functions of closed primitives over tensors, stored tensors, and named entries.
//!
//! Everything structural is a function: a layer, a layer's backward pass, one iteration of a loop, an entry. A function's
//! nodes are in order: an argument always comes before its user. Shapes are polynomials of the program's dynamic sizes.
//! Arithmetic never broadcasts by itself: operands of a `Map` have the shape of the result, and `View::Broadcast` says
//! what is repeated.

pub mod build;
pub mod interp;
pub mod print;
pub mod verify;

use dlc_grammar::span::Span;
use dlc_plan::plan::Bound;
pub use dlc_plan::plan::RowOp;
use dlc_plan::{DType, Host, Prim, Size};
use std::collections::BTreeSet;
use std::rc::Rc;

/// A function's number in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FnId(pub u32);

/// A stored tensor's number in its program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightId(pub u32);

/// One weight, or several of one type that are one tensor: stacked, the last of the leading axes going fastest.
pub type WeightRow = Rc<[WeightId]>;

/// A value in a function: a result of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value {
    /// The node's number in its function.
    pub node: u32,
    /// Which of its results.
    pub port: u32,
}

/// The type of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ty {
    /// The type of its elements.
    pub dtype: DType,
    /// The extents of its axes.
    pub shape: Vec<Size>,
}

/// All there is to a model, ready to be compiled.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The names of the dynamic sizes.
    pub dims: Vec<String>,
    /// The functions.
    pub functions: Vec<Function>,
    /// The stored tensors, in the order of their declaration.
    pub weights: Vec<Weight>,
    /// Weights that lie end to end in their store, in this order, so that a loop takes them as one stack.
    pub rows: Vec<WeightRow>,
    /// The names of the optimizer's states.
    pub states: Vec<String>,
    /// What states with a layout of their own keep for single weights, rows of weights one after the other.
    pub parts: Vec<StatePart>,
    /// What can be asked of it.
    pub entries: Vec<Entry>,
    /// What operands of contractions are rounded to, if they are.
    pub operands: Option<DType>,
    /// What could have been compiled better, and why it was not.
    pub notes: Vec<Note>,
    /// States that nothing but their own next values is made of; known when all entries are there.
    pub unread: BTreeSet<WeightId>,
}

/// A remark on how something is compiled.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    /// The place in the text.
    pub span: Span,
    /// What there is to say.
    pub text: String,
}

/// A stored tensor.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Its name in the checkpoint.
    pub name: String,
    /// Further names in the checkpoint.
    pub aliases: Vec<String>,
    /// Its type; the shape is static.
    pub ty: Ty,
    /// Whether it is a `param`; a `state` otherwise.
    pub param: bool,
    /// Whether it is trained.
    pub trained: bool,
    /// Whether an adapter adds it to the model.
    pub added: bool,
    /// Where it is declared.
    pub span: Span,
}

/// What a state of the optimizer keeps for a weight.
#[derive(Clone, Debug)]
pub struct StatePart {
    /// The state.
    pub state: u16,
    /// The weight, which is trained.
    pub weight: WeightId,
    /// The type; the shape is static.
    pub ty: Ty,
    /// Whether it is the first of its row: it begins at a multiple of 16, and the others follow without a gap.
    pub first: bool,
}

/// A function.
#[derive(Clone, Debug, Default)]
pub struct Function {
    /// What it is called, for people: `Linear`, `Residual.backward`, `layers.{i}`.
    pub name: String,
    /// The types and names of its parameters; node i < params.len() is parameter i.
    pub params: Vec<Param>,
    /// The nodes, in order; the parameters first.
    pub nodes: Vec<Node>,
    /// What it gives.
    pub results: Vec<Value>,
    /// The function that gives its gradient, if the spec states one: from the parameters, the result and its cotangent
    /// to a cotangent for each parameter whose elements are real.
    pub derivative: Option<FnId>,
    /// Where it is run in panels of rows: how it is cut.
    pub cut: Option<Cut>,
}

/// How a function is cut into panels. Cut 0 is its rows; along the other cuts it goes point by point.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// For each parameter, for each axis, which cut it is, if it is cut.
    pub params: Vec<Vec<Option<u8>>>,
    /// The extents of the cuts.
    pub extents: Vec<Size>,
    /// The elements of the widest row.
    pub width: Size,
}

/// A parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name, for people: an input's, or a weight's below the function's member.
    pub name: String,
    /// Its type.
    pub ty: Ty,
}

/// A node: an operation, what it is applied to, and the types of its results.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operation.
    pub op: Op,
    /// What it is applied to.
    pub args: Vec<Value>,
    /// The types of its results.
    pub tys: Vec<Ty>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a node comes from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Origin {
    /// The place in the text.
    pub span: Span,
    /// The member below the function's own, `norm` or `mlp.fc1`; empty for the function itself.
    pub member: Rc<str>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// A parameter of the function, by its number.
    Param(u32),
    /// A constant without axes; reals are rounded to the type, truths are 0 and 1.
    Const(f64),
    /// A constant tensor, its elements in order: what differs between the iterations of a loop.
    Table(Rc<[f64]>),
    /// A scalar that the host knows before a step; without axes.
    Host(Host),
    /// A primitive, element by element; all operands have the result's shape.
    Map(Prim),
    /// A fold over some axes, in ascending order; they vanish.
    Reduce(ReduceOp, Vec<usize>),
    /// The same elements, arranged otherwise.
    View(View),
    /// A sum of products over labels.
    Contract(Contract),
    /// (table [V, ..D], ids [..I]) -> [..I, ..D]: rows of the table. Ids outside are clamped.
    Gather,
    /// (ids [..I], rows [..I, ..D]) -> [V, ..D]: zeros, with each row added where its id says, in ascending position.
    Scatter,
    /// The index along an axis.
    Iota(usize),
    /// Uniform numbers of [0, 1), f32; the argument is the site's hash, an i32 without axes.
    Random,
    /// The arguments, one after the other along an axis.
    Concat(usize),
    /// The argument, which no gradient passes.
    Stop,
    /// The argument, integers; where they come from outside, they are checked to be as the bound says.
    Within(Bound),
    /// Something done to each row as a whole: along the last axis, which for an order may end earlier in the result.
    Rows(RowOp),
    /// A function applied.
    Call(FnId),
    /// A function applied again and again.
    Repeat(Repeat),
    /// A function applied to some rows after the others.
    Panels(Box<Panels>),
}

/// How a reduction joins elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// The sum; 0 for none. In f32 for narrower reals.
    Sum,
    /// The product; 1 for none.
    Prod,
    /// The greatest; -inf, or the least integer, for none; NaN if any is. For truths: any.
    Max,
    /// The least; inf, or the greatest integer, for none; NaN if any is. For truths: all.
    Min,
}

/// An arrangement of the same elements. The result's type gives its extents.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// Result axis i is argument axis `p[i]`.
    Permute(Vec<usize>),
    /// Argument axis k is result axis `axes[k]` (ascending); along the other result axes the elements are repeated.
    Broadcast(Vec<usize>),
    /// Along an axis: the elements start, start + step, .. The step is not zero and may be negative.
    Slice {
        /// The axis.
        axis: usize,
        /// The first element's index.
        start: Size,
        /// From an element to the next.
        step: i64,
    },
    /// An axis becomes `count` axes, their product its extent. None: the axis, of extent 1, vanishes.
    Split {
        /// The axis.
        axis: usize,
        /// How many axes it becomes.
        count: usize,
    },
    /// `count` axes become one. None: a new axis of extent 1.
    Merge {
        /// The first of them.
        axis: usize,
        /// How many.
        count: usize,
    },
    /// Zeros before (`before` of them) and after the elements along an axis, up to the result's extent.
    Pad {
        /// The axis.
        axis: usize,
        /// The first element's index in the result.
        before: Size,
    },
    /// Windows and diagonals: for each argument axis, where it is read, as an affine function of the result's indices.
    /// Along result axes that stand in none of them the elements are repeated. No index is outside of its axis.
    Affine(Vec<Affine>),
}

/// An index as an affine function of other indices.
#[derive(Clone, Debug, PartialEq)]
pub struct Affine {
    /// Where it begins.
    pub start: Size,
    /// (axis, step), the axes ascending, no step zero: from an index of that axis to the next.
    pub steps: Vec<(usize, i64)>,
}

/// A label of a contraction's axes.
pub type Label = u8;

/// For each point of the labels `out`: the sum, over all other labels, of a product of two operands. No label stands
/// twice in one list, and each stands in two of the three at least. f32 accumulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Contract {
    /// The labels of the first operand's axes.
    pub a: Vec<Label>,
    /// The labels of the second operand's axes.
    pub b: Vec<Label>,
    /// The labels of the result's axes.
    pub out: Vec<Label>,
}

/// A loop. Its arguments are, in this order: the first values of what is carried; the invariants; the stacks, whose first
/// axis is the iteration; the rows, slot by slot, each with one argument per iteration. The body's parameters are the
/// carried values, the invariants, one slice of each stack, and one value of each row slot. The body's results are the
/// next carried values, then slices that are stacked, then row results; the node's results are the last carried values,
/// the stacks, and the row results slot by slot, each with one per iteration.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// The body.
    pub body: FnId,
    /// How often; at least once.
    pub count: usize,
    /// Whether iteration count - 1 comes first (stacks and rows keep their numbering).
    pub reverse: bool,
    /// How many values are carried.
    pub carried: usize,
    /// How many arguments are the same in every iteration.
    pub invariant: usize,
    /// How many arguments are stacks.
    pub stacks: usize,
    /// How many row slots there are.
    pub rows: usize,
    /// How many results are stacked.
    pub stacked: usize,
    /// How many row results there are.
    pub row_results: usize,
    /// What the iterations are in the spec, for people: the member paths, one for each.
    pub members: Vec<Rc<str>>,
}

/// A function applied to some rows after the others, so that what is wide is never there as a whole: for each point of all
/// cuts but the first, and for each panel of the first cut's rows. Where a panel is, its body reads from sizes that nothing
/// else gives: it takes the node's arguments whole and slices them. Then it takes what has been added up so far for each
/// result that is added up. The node's results have first the axes that are cuts, and then those of the body's results.
#[derive(Clone, Debug, PartialEq)]
pub struct Panels {
    /// The body.
    pub body: FnId,
    /// The extents of the cuts.
    pub cuts: Vec<Size>,
    /// For each cut, whether its points come one after the other because a result is added up along it.
    pub serial: Vec<bool>,
    /// The elements of the widest row.
    pub width: Size,
    /// The number of the size that is the number of rows of a panel; the next one is its first row, and then comes the index
    /// of each other cut.
    pub first: u16,
    /// For each result, the cuts that its first axes are: cuts but the rows, ascending, then the rows if they are one.
    pub results: Vec<Vec<u8>>,
}

/// Something that can be asked of a program.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name: init, forward, columns, accumulate, update, grad, evaluate.
    pub name: String,
    /// The function.
    pub function: FnId,
    /// What its parameters are.
    pub inputs: Vec<Role>,
    /// What its results are.
    pub outputs: Vec<Role>,
    /// Conditions on the sizes, and what to say where they fail.
    pub guards: Vec<(Host, String)>,
    /// The inputs that need not be given, by name, and the number that all elements of such a one then are.
    pub defaults: Vec<(String, Host)>,
}

/// What an entry's parameter or result is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Given or returned by name.
    Named(String),
    /// An integer input that indexes something: its elements must be as the bound says.
    Index(String, Bound),
    /// The same of an i64, which is kept in 32 bits from where it enters.
    Narrow(String, Bound),
    /// A stored tensor, or a stack of them: its value before, or its value after.
    Weight(WeightRow),
    /// The gradient of a trained weight, or of a stack of them.
    Grad(WeightRow),
    /// All trained weights, end to end; each, or each row of them, padded to a multiple of 16 with zeros; 1-dimensional.
    Trained,
    /// All their gradients, in the same layout.
    Grads,
    /// A state of the optimizer, in the same layout.
    State(u16),
    /// What a state with a layout of its own keeps for a trained weight, or for a stack of them.
    StateOf(u16, WeightRow),
}

impl Op {
    /// Whether it is the same operation. Unlike `==`, this tells 0 from -0, and a NaN is the same as itself.
    pub fn same(&self, other: &Op) -> bool {
        match (self, other) {
            (Op::Const(a), Op::Const(b)) => a.to_bits() == b.to_bits(),
            // What is not equal is not the same; the text tells the zeros apart.
            (Op::Host(a), Op::Host(b)) => a == b && format!("{a:?}") == format!("{b:?}"),
            (Op::Table(a), Op::Table(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(x, y)| x.to_bits() == y.to_bits())
            }
            (a, b) => a == b,
        }
    }
}

impl Ty {
    /// A type without axes.
    pub fn scalar(dtype: DType) -> Ty {
        Ty { dtype, shape: Vec::new() }
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The number of elements.
    pub fn len(&self) -> Size {
        Size::product(&self.shape)
    }

    /// How many rows of random bits a sample has, where the first axis numbers the samples of a batch: where it is not
    /// known from the spec. Rows are all axes but the last, end to end; a tensor with one axis has a row for each element.
    pub fn rows_per_sample(&self) -> Option<Size> {
        let (first, rest) = self.shape.split_first()?;
        let inner = rest.split_last().map_or(&[][..], |(_, inner)| inner);
        first.known().is_none().then(|| Size::product(inner))
    }

    /// The same axes with another type of elements.
    pub fn with(&self, dtype: DType) -> Ty {
        Ty { dtype, shape: self.shape.clone() }
    }
}

impl Program {
    /// The function with this number.
    pub fn function(&self, id: FnId) -> &Function {
        &self.functions[id.0 as usize]
    }

    /// Adds a function.
    pub fn add(&mut self, f: Function) -> FnId {
        self.functions.push(f);
        FnId(self.functions.len() as u32 - 1)
    }

    /// The entry of that name.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.name == name)
    }

    /// The stored tensors in the order in which they lie in their stores: rows, and between them those that are in none.
    pub fn layout(&self) -> Vec<WeightRow> {
        let mut row_of: Vec<Option<usize>> = vec![None; self.weights.len()];
        for (i, row) in self.rows.iter().enumerate() {
            row.iter().for_each(|w| row_of[w.0 as usize] = Some(i));
        }
        let first = |w: u32| match row_of[w as usize] {
            Some(row) => (self.rows[row][0] == WeightId(w)).then(|| self.rows[row].clone()),
            None => Some([WeightId(w)].into()),
        };
        (0..self.weights.len() as u32).filter_map(first).collect()
    }

    /// The layout of the trained weights: each one's number and first element, in the order of their declaration, and the
    /// whole length.
    pub fn segments(&self) -> (Vec<(WeightId, usize)>, usize) {
        let mut at = 0;
        let mut found = Vec::new();
        for row in self.layout() {
            for id in row.iter().filter(|id| self.weights[id.0 as usize].trained) {
                found.push((*id, at));
                at += self.weights[id.0 as usize].len();
            }
            at = at.next_multiple_of(16);
        }
        found.sort_unstable();
        (found, at)
    }

    /// The whole length of the layout of the trained weights.
    pub fn arena(&self) -> usize {
        let trained = |id: WeightId| Some(&self.weights[id.0 as usize]).filter(|w| w.trained).map_or(0, Weight::len);
        let mut alone = vec![true; self.weights.len()];
        let mut whole = 0;
        for row in &self.rows {
            row.iter().for_each(|id| alone[id.0 as usize] = false);
            whole += row.iter().map(|id| trained(*id)).sum::<usize>().next_multiple_of(16);
        }
        let alone = (0..self.weights.len()).filter(|i| alone[*i]);
        whole + alone.map(|i| trained(WeightId(i as u32)).next_multiple_of(16)).sum::<usize>()
    }
}

impl Weight {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.ty.len().known().expect("stored tensors have static shapes") as usize
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Role {
    /// One stored tensor.
    pub fn weight(id: WeightId) -> Role {
        Role::Weight([id].into())
    }

    /// The gradient of one trained weight.
    pub fn grad(id: WeightId) -> Role {
        Role::Grad([id].into())
    }
}

impl Function {
    /// The type of a value.
    pub fn ty(&self, v: Value) -> &Ty {
        &self.nodes[v.node as usize].tys[v.port as usize]
    }

    /// The node that gives a value.
    pub fn node(&self, v: Value) -> &Node {
        &self.nodes[v.node as usize]
    }

    /// For each node, whether the results need it.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        self.results.iter().for_each(|v| live[v.node as usize] = true);
        for (i, n) in self.nodes.iter().enumerate().rev() {
            if live[i] {
                n.args.iter().for_each(|a| live[a.node as usize] = true);
            }
        }
        live
    }

    /// The number that all elements of a value are, if that is known.
    pub fn known(&self, v: Value) -> Option<f64> {
        let n = self.node(v);
        match &n.op {
            Op::Const(x) => Some(dlc_plan::cast(n.tys[0].dtype, *x)),
            Op::View(View::Pad { .. }) => None,
            Op::View(_) | Op::Stop | Op::Within(_) => self.known(n.args[0]),
            Op::Param(_) | Op::Table(_) | Op::Host(_) | Op::Map(_) | Op::Reduce(..) | Op::Contract(_) => None,
            Op::Rows(_) | Op::Gather => None,
            Op::Scatter | Op::Iota(_) | Op::Random | Op::Concat(_) | Op::Call(_) | Op::Repeat(_) => None,
            Op::Panels(_) => None,
        }
    }

    /// The parameter that a value comes from, and the nodes between them, the value's own first: `passes` says which
    /// nodes are looked through, to what they are applied to first.
    pub fn source(&self, v: Value, passes: impl Fn(&Node) -> bool) -> Option<(usize, Vec<&Node>)> {
        let (mut v, mut between) = (v, Vec::new());
        loop {
            let node = self.node(v);
            if let Op::Param(n) = node.op {
                return Some((n as usize, between));
            }
            if !passes(node) {
                return None;
            }
            between.push(node);
            v = *node.args.first()?;
        }
    }

    /// The types of the results.
    pub fn result_tys(&self) -> Vec<Ty> {
        self.results.iter().map(|v| self.ty(*v).clone()).collect()
    }
}
