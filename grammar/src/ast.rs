//! The syntax tree of a spec: what the text says, word for word, before any name is looked up.
//!
//! Plain data. Every node has its span, and chains that a text may make long (else-ifs, pipe stages, operators on
//! lists) are flat vectors, so that no tree is much deeper than its brackets. [`erase_spans`] makes two trees
//! comparable when only their meaning counts.

use crate::span::Span;

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Spec {
    /// The file's own documentation: the `//!` lines before the first item.
    pub docs: Option<Docs>,
    /// The items in order.
    pub items: Vec<Item>,
    /// The whole text.
    pub span: Span,
}

/// Documentation of an item (`///` lines, or `#[doc = ".."]` inside `model!`) or of a file (`//!`).
#[derive(Clone, Debug, PartialEq)]
pub struct Docs {
    /// The lines without their marks and one space after them, joined by `\n`.
    pub text: String,
    /// From the first mark to the end of the last line.
    pub span: Span,
}

/// A name as the user wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct Ident {
    /// The name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A string literal.
#[derive(Clone, Debug, PartialEq)]
pub struct Str {
    /// What it says, escapes resolved.
    pub value: String,
    /// The literal, quotes included.
    pub span: Span,
}

/// One item of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `import {A} from "x.dl"` or `import "x.dl"`.
    Import(Import),
    /// `const NAME = expr`.
    Const(Const),
    /// `fn NAME(..) ..`.
    Fn(Fn),
    /// `block`, `model` or `optimizer`.
    Net(Net),
    /// `data`, `weights`, `lora`, `train`, `generate`.
    Config(Config),
}

impl Item {
    /// The item from its keyword to its last character, documentation not included.
    pub fn span(&self) -> Span {
        match self {
            Item::Import(item) => item.span,
            Item::Const(item) => item.span,
            Item::Fn(item) => item.span,
            Item::Net(item) => item.span,
            Item::Config(item) => item.span,
        }
    }

    /// The name it defines; an import defines those it lists instead.
    pub fn name(&self) -> Option<&Ident> {
        match self {
            Item::Import(_) => None,
            Item::Const(item) => Some(&item.name),
            Item::Fn(item) => Some(&item.name),
            Item::Net(item) => Some(&item.name),
            Item::Config(item) => Some(&item.name),
        }
    }

    /// Its documentation.
    pub fn docs(&self) -> Option<&Docs> {
        match self {
            Item::Import(item) => item.docs.as_ref(),
            Item::Const(item) => item.docs.as_ref(),
            Item::Fn(item) => item.docs.as_ref(),
            Item::Net(item) => item.docs.as_ref(),
            Item::Config(item) => item.docs.as_ref(),
        }
    }
}

/// `import {A, B as C} from "x.dl"`, `import "x.dl"`, `import "x.dl" as m`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// Documentation before it.
    pub docs: Option<Docs>,
    /// What is brought in.
    pub what: ImportWhat,
    /// The file, as written.
    pub path: Str,
    /// The whole item.
    pub span: Span,
}

/// What an import brings in.
#[derive(Clone, Debug, PartialEq)]
pub enum ImportWhat {
    /// The named items, each perhaps under another name.
    Names(Vec<ImportName>),
    /// The file as a module, perhaps under another name than the file's.
    Module(Option<Ident>),
}

/// `A` or `B as C` in an import.
#[derive(Clone, Debug, PartialEq)]
pub struct ImportName {
    /// The item's name in the imported file.
    pub name: Ident,
    /// Its name here, if another.
    pub alias: Option<Ident>,
}

/// `const NAME = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Const {
    /// Documentation before it.
    pub docs: Option<Docs>,
    /// Its name.
    pub name: Ident,
    /// Its value.
    pub value: Expr,
    /// The whole item.
    pub span: Span,
}

/// `fn NAME[axis = -1](params) -> type require .. { .. } derivative (y, dy) { .. }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Fn {
    /// Documentation before it.
    pub docs: Option<Docs>,
    /// Its name.
    pub name: Ident,
    /// Axis parameters, in square brackets.
    pub axes: Vec<Param>,
    /// Parameters.
    pub params: Vec<Param>,
    /// The declared results.
    pub outputs: Option<Outputs>,
    /// Conditions.
    pub require: Vec<Expr>,
    /// What it computes.
    pub body: Body,
    /// Its gradient, where the text states it.
    pub derivative: Option<Derivative>,
    /// The whole item.
    pub span: Span,
}

/// `derivative (y, dy) { .. }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivative {
    /// The name of the result.
    pub result: Ident,
    /// The name of the result's cotangent.
    pub cotangent: Ident,
    /// Returns one gradient for each parameter.
    pub body: Block,
    /// From `derivative` to the closing brace.
    pub span: Span,
}

/// Which of the three a [`Net`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetKind {
    /// A layer.
    Block,
    /// A layer that can also be run, trained and loaded.
    Model,
    /// The update of one weight.
    Optimizer,
}

impl NetKind {
    /// The keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            NetKind::Block => "block",
            NetKind::Model => "model",
            NetKind::Optimizer => "optimizer",
        }
    }
}

/// `block NAME(config)(inputs) -> outputs require .. { .. }`, and likewise `model` and `optimizer`.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    /// Documentation before it.
    pub docs: Option<Docs>,
    /// Block, model or optimizer.
    pub kind: NetKind,
    /// Where the keyword stands.
    pub keyword: Span,
    /// Its name.
    pub name: Ident,
    /// The configuration; empty where one parameter list was written.
    pub config: Vec<Param>,
    /// Whether two parameter lists were written, the first perhaps empty.
    pub has_config: bool,
    /// The inputs. A single parameter list is inputs.
    pub inputs: Vec<Param>,
    /// The declared results.
    pub outputs: Option<Outputs>,
    /// Conditions.
    pub require: Vec<Expr>,
    /// What it computes.
    pub body: Body,
    /// The whole item.
    pub span: Span,
}

/// A parameter: `name: type = default`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// Its name.
    pub name: Ident,
    /// Its type, if declared.
    pub ty: Option<Ty>,
    /// Its value where the caller gives none.
    pub default: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// `-> type`, `-> name: type` or `-> (name: type, ..)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Outputs {
    /// The results in order.
    pub list: Vec<Output>,
    /// Whether they were written in parentheses.
    pub parens: bool,
    /// From the arrow to the end.
    pub span: Span,
}

/// One declared result.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// Its name, if it has one.
    pub name: Option<Ident>,
    /// Its type.
    pub ty: Ty,
}

/// `i64[B, T]`, `[.., D]`, `f32`. At least one of the two parts is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Ty {
    /// The element type; none means the compute float.
    pub dtype: Option<Ident>,
    /// The axes; none means any shape.
    pub dims: Option<Vec<Dim>>,
    /// All of it.
    pub span: Span,
}

/// One axis of a type.
#[derive(Clone, Debug, PartialEq)]
pub enum Dim {
    /// `..`: any number of axes.
    Rest(Span),
    /// `_`: any size.
    Any(Span),
    /// A name or an expression over sizes.
    Expr(Expr),
}

impl Dim {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Dim::Rest(span) | Dim::Any(span) => *span,
            Dim::Expr(expr) => expr.span,
        }
    }
}

/// What a function or net computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `= expr`.
    Expr(Expr),
    /// `{ .. }`.
    Block(Block),
}

/// `{ statements }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The statements in order.
    pub stmts: Vec<Stmt>,
    /// From brace to brace.
    pub span: Span,
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// All of it.
    pub span: Span,
}

/// The kinds of statement.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `return a, b`.
    Return(Vec<Expr>),
    /// `repeat count as var, index { .. }`.
    Repeat {
        /// A number or a list.
        count: Expr,
        /// The loop variable: the index, or the element of a list.
        var: Option<Ident>,
        /// The index beside the element of a list.
        index: Option<Ident>,
        /// The statements to repeat.
        body: Block,
    },
    /// `if .. { .. } else if .. { .. } else { .. }`.
    If {
        /// The conditions with their statements, at least one.
        arms: Vec<StmtArm>,
        /// The last `else`.
        otherwise: Option<Block>,
    },
    /// `init "glob", "glob" = value`.
    Init {
        /// Which weights.
        globs: Vec<Str>,
        /// Their initial value.
        value: Expr,
    },
    /// `label: ..`: what is stored under a checkpoint name.
    Member {
        /// The name.
        label: Label,
        /// A weight, or a layer or an alias.
        what: Member,
    },
    /// `name <- value`: the next value of something stored.
    Update {
        /// What is stored.
        name: Ident,
        /// Its next value.
        value: Expr,
    },
    /// `name[i, j, ..] = value`.
    Equation {
        /// The tensor.
        name: Ident,
        /// Its index variables.
        indices: Vec<LhsIndex>,
        /// An element of it.
        value: Expr,
    },
    /// `a, b = value`.
    Assign {
        /// The names, at least one.
        names: Vec<Ident>,
        /// What they stand for.
        value: Expr,
    },
}

/// `if cond { .. }` as a statement.
#[derive(Clone, Debug, PartialEq)]
pub struct StmtArm {
    /// The condition.
    pub cond: Expr,
    /// What happens under it.
    pub body: Block,
}

/// What a label names.
#[derive(Clone, Debug, PartialEq)]
pub enum Member {
    /// `param type = init` or `state type = init`.
    Storage(Storage),
    /// A layer (`Linear(D)`) or an alias (`wte.weight`).
    Expr(Expr),
}

/// `param type = init` or `state type = init`.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// Which of the two.
    pub kind: StorageKind,
    /// The type; an optimizer's state has the weight's and says none.
    pub ty: Option<Ty>,
    /// The initial value.
    pub init: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// The two kinds of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StorageKind {
    /// Trained.
    Param,
    /// Stored, changed by `<-` only.
    State,
}

impl StorageKind {
    /// The keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            StorageKind::Param => "param",
            StorageKind::State => "state",
        }
    }
}

/// An index on the left of an equation.
#[derive(Clone, Debug, PartialEq)]
pub enum LhsIndex {
    /// `..`: the remaining axes.
    Rest(Span),
    /// An index variable.
    Var(Ident),
}

/// A checkpoint name with holes: `h.{i}.attn`. The span leaves out the colon.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// What stands between the dots.
    pub segments: Vec<Segment>,
    /// All of it.
    pub span: Span,
}

/// What stands between two dots of a label.
#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    /// Text and holes in order, at least one.
    pub parts: Vec<Part>,
    /// All of it.
    pub span: Span,
}

/// A part of a label's segment.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Letters as they stand in the checkpoint.
    Text(Ident),
    /// `{expr}`.
    Hole(Expr),
}

/// `data`, `weights`, `lora`, `train`, `generate`.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Documentation before it.
    pub docs: Option<Docs>,
    /// The keyword, such as `train`.
    pub kind: Ident,
    /// Its name.
    pub name: Ident,
    /// Parameters.
    pub params: Vec<Param>,
    /// Whether a parameter list was written, perhaps an empty one.
    pub has_params: bool,
    /// The entries in order.
    pub entries: Vec<Entry>,
    /// The whole item.
    pub span: Span,
}

/// An entry of a configuration item.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What it is.
    pub kind: EntryKind,
    /// All of it.
    pub span: Span,
}

/// The kinds of entry.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    /// `a, b = value`.
    Attr {
        /// The keys, at least one.
        names: Vec<Ident>,
        /// Their value.
        value: Expr,
    },
    /// `name { entries }`.
    Section {
        /// Its name.
        name: Ident,
        /// Its entries.
        entries: Vec<Entry>,
    },
    /// `verb "glob", "glob" => "glob" if guard { entries }`.
    Rule(Rule),
}

/// `verb "glob", "glob" => "glob" if guard { entries }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// What to do.
    pub verb: Ident,
    /// To which weights, at least one glob.
    pub globs: Vec<Str>,
    /// The other name.
    pub rename: Option<Str>,
    /// `= value`.
    pub value: Option<Expr>,
    /// `if guard`.
    pub guard: Option<Expr>,
    /// `{ entries }`.
    pub body: Option<Vec<Entry>>,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Parentheses of its own, from the outermost `(` to its `)`. They change nothing once the tree is made; the
    /// printer keeps them because they are how the author wanted it read.
    pub parens: Option<Span>,
    /// All of it, parentheses of its own left out.
    pub span: Span,
}

impl Expr {
    /// All of it with the parentheses around it.
    pub fn outer(&self) -> Span {
        self.parens.unwrap_or(self.span)
    }
}

/// The kinds of expression.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// `12`, `1_000`, `1e-4`.
    Number(Number),
    /// `"text"`.
    Str(Str),
    /// `true`, `false`.
    Bool(bool),
    /// `none`.
    None,
    /// A name.
    Name(String),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `(a, b)`: two or more.
    Tuple(Vec<Expr>),
    /// `-x`, `not x`.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// What it applies to.
        operand: Box<Expr>,
    },
    /// `a + b`.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Where the operator stands.
        op_span: Span,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `if c { a } else if d { b } else { e }`.
    If {
        /// The conditions with their values, at least one.
        arms: Vec<ExprArm>,
        /// The last value.
        otherwise: Box<Expr>,
    },
    /// `f(x, k = v)`.
    Call {
        /// What is called.
        callee: Box<Expr>,
        /// With what.
        args: Vec<Arg>,
    },
    /// `x[i, :, 1:n, .., none]`, and the axes of `sum[-1, keep]`.
    Index {
        /// What is indexed.
        base: Box<Expr>,
        /// By what.
        items: Vec<Index>,
    },
    /// `m.weight`.
    Field {
        /// Of what.
        base: Box<Expr>,
        /// Which.
        name: Ident,
    },
    /// `x -> f -> n: Layer(c)`.
    Pipe {
        /// What flows in.
        input: Box<Expr>,
        /// Through what, at least one stage.
        stages: Vec<Stage>,
    },
}

/// A number.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// As written.
    pub text: String,
    /// Its value; an integer past 2^53 is rounded here and exact in `text`.
    pub value: f64,
    /// Whether it has neither point nor exponent.
    pub is_int: bool,
}

/// An operator before its operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

impl UnaryOp {
    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            UnaryOp::Neg => "-",
            UnaryOp::Not => "not",
        }
    }

    /// How tightly it binds, on the scale of [`BinaryOp::strength`].
    pub fn strength(self) -> u8 {
        match self {
            UnaryOp::Not => 3,
            UnaryOp::Neg => 7,
        }
    }
}

/// An operator between its operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `or`
    Or,
    /// `and`
    And,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `@`
    MatMul,
    /// `^`
    Pow,
}

impl BinaryOp {
    /// Every operator, weakest first.
    pub const ALL: [BinaryOp; 15] = [
        BinaryOp::Or,
        BinaryOp::And,
        BinaryOp::Eq,
        BinaryOp::Ne,
        BinaryOp::Lt,
        BinaryOp::Le,
        BinaryOp::Gt,
        BinaryOp::Ge,
        BinaryOp::Add,
        BinaryOp::Sub,
        BinaryOp::Mul,
        BinaryOp::Div,
        BinaryOp::Rem,
        BinaryOp::MatMul,
        BinaryOp::Pow,
    ];

    /// As written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Or => "or",
            BinaryOp::And => "and",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
            BinaryOp::MatMul => "@",
            BinaryOp::Pow => "^",
        }
    }

    /// How tightly it binds. `^` groups to the right, all others to the left.
    pub fn strength(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And => 2,
            BinaryOp::Eq | BinaryOp::Ne | BinaryOp::Lt | BinaryOp::Le | BinaryOp::Gt | BinaryOp::Ge => 4,
            BinaryOp::Add | BinaryOp::Sub => 5,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem | BinaryOp::MatMul => 6,
            BinaryOp::Pow => 8,
        }
    }
}

/// `if cond { value }` inside an expression.
#[derive(Clone, Debug, PartialEq)]
pub struct ExprArm {
    /// The condition.
    pub cond: Expr,
    /// The value under it.
    pub value: Expr,
}

/// An argument: `value` or `name = value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// The parameter it is for, if named.
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
    /// All of it.
    pub span: Span,
}

/// One item in the brackets of an index.
#[derive(Clone, Debug, PartialEq)]
pub enum Index {
    /// `..`: the axes not spoken of.
    Rest(Span),
    /// `lo:hi:by`, each part optional.
    Slice {
        /// The first position.
        lo: Option<Expr>,
        /// The position just past the last.
        hi: Option<Expr>,
        /// The step.
        by: Option<Expr>,
        /// All of it.
        span: Span,
    },
    /// A position, an axis, an index variable (perhaps `i < 2`), `none`, `keep`.
    At(Expr),
}

impl Index {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Index::Rest(span) | Index::Slice { span, .. } => *span,
            Index::At(expr) => expr.span,
        }
    }
}

/// A stage of a pipe: `f`, `name: Layer(c)`, `[B, T => T, B]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The checkpoint name, for a layer made here.
    pub label: Option<Label>,
    /// What the value goes through.
    pub what: StageKind,
    /// Without the arrow.
    pub span: Span,
}

/// What a stage is.
#[derive(Clone, Debug, PartialEq)]
pub enum StageKind {
    /// `[left => right]`.
    Rearrange(Rearrange),
    /// A function, a layer, or a call of one.
    Expr(Expr),
}

/// `[left => right]`: split, permute, merge and add axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Rearrange {
    /// The axes of the value.
    pub left: Vec<Axis>,
    /// The axes of the result.
    pub right: Vec<Axis>,
    /// From bracket to bracket.
    pub span: Span,
}

/// An axis of a rearrange.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// `(H, K)`: one axis made of several.
    Group(Vec<Axis>, Span),
    /// `..`: the axes not spoken of.
    Rest(Span),
    /// A name or a size.
    Expr(Expr),
}

impl Axis {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Axis::Group(_, span) | Axis::Rest(span) => *span,
            Axis::Expr(expr) => expr.span,
        }
    }
}
