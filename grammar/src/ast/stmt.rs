//! Statements and labels.

use super::{Block, Expr, Ident, Str, Ty};
use crate::span::Span;

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
