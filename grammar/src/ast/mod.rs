//! The syntax tree of a spec: what the text says, word for word, before any name is looked up.
//!
//! Plain data. Every node has its span, and chains that a text may make long (else-ifs, pipe stages, operators on
//! lists) are flat vectors, so that no tree is much deeper than its brackets. [`crate::without_spans`] makes two trees
//! comparable when only their meaning counts.

mod expr;
mod stmt;

use crate::span::Span;

pub use expr::*;
pub use stmt::*;

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
