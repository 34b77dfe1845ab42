//! Expressions, pipes and rearrangements.

use super::{Ident, Label, Str};
use crate::span::Span;

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

    /// Visits the expressions that it is directly made of.
    pub fn each_part_mut(&mut self, visit: &mut dyn FnMut(&mut Expr)) {
        match &mut self.kind {
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::None | ExprKind::Name(_) => {}
            ExprKind::List(items) | ExprKind::Tuple(items) => items.iter_mut().for_each(visit),
            ExprKind::Unary { operand, .. } => visit(operand),
            ExprKind::Binary { left, right, .. } => [left, right].into_iter().for_each(|e| visit(e)),
            ExprKind::If { arms, otherwise } => {
                for arm in arms {
                    visit(&mut arm.cond);
                    visit(&mut arm.value);
                }
                visit(otherwise);
            }
            ExprKind::Call { callee, args } => {
                visit(callee);
                args.iter_mut().for_each(|arg| visit(&mut arg.value));
            }
            ExprKind::Index { base, items } => {
                visit(base);
                for item in items {
                    match item {
                        Index::At(e) => visit(e),
                        Index::Slice { lo, hi, by, .. } => [lo, hi, by].into_iter().flatten().for_each(&mut *visit),
                        Index::Rest(_) => {}
                    }
                }
            }
            ExprKind::Field { base, .. } => visit(base),
            ExprKind::Pipe { input, stages } => {
                visit(input);
                for stage in stages {
                    if let StageKind::Expr(e) = &mut stage.what {
                        visit(e);
                    }
                }
            }
        }
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
