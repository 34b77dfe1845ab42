//! Walks the spans of a tree, so that two trees can be compared for what they say and not for where they say it.
//!
//! Takes any node of [`crate::ast`], gives each of its spans to a function that may change it.

use crate::ast::*;
use crate::span::Span;

/// A part of the syntax tree.
pub trait Node {
    /// Calls `f` on every span of this node and of all nodes below it.
    fn each_span(&mut self, f: &mut dyn FnMut(&mut Span));
}

/// The same tree with every span empty at 0: `without_spans(a) == without_spans(b)` when both say the same.
pub fn without_spans<T: Node>(mut tree: T) -> T {
    tree.each_span(&mut |span| *span = Span::default());
    tree
}

impl Node for Span {
    fn each_span(&mut self, f: &mut dyn FnMut(&mut Span)) {
        f(self);
    }
}

impl<T: Node> Node for Vec<T> {
    fn each_span(&mut self, f: &mut dyn FnMut(&mut Span)) {
        self.iter_mut().for_each(|node| node.each_span(f));
    }
}

impl<T: Node> Node for Option<T> {
    fn each_span(&mut self, f: &mut dyn FnMut(&mut Span)) {
        self.iter_mut().for_each(|node| node.each_span(f));
    }
}

impl<T: Node> Node for Box<T> {
    fn each_span(&mut self, f: &mut dyn FnMut(&mut Span)) {
        (**self).each_span(f);
    }
}

/// `Name { fields that hold spans }` for structs.
macro_rules! structs {
    ($($name:ident { $($field:ident),* })*) => {
        $(impl Node for $name {
            fn each_span(&mut self, f: &mut dyn FnMut(&mut Span)) {
                $(self.$field.each_span(f);)*
            }
        })*
    };
}

structs! {
    Spec { docs, items, span }
    Docs { span }
    Ident { span }
    Str { span }
    Import { docs, what, path, span }
    ImportName { name, alias }
    Const { docs, name, value, span }
    Fn { docs, name, axes, params, outputs, require, body, derivative, span }
    Derivative { result, cotangent, body, span }
    Net { docs, keyword, name, config, inputs, outputs, require, body, span }
    Param { name, ty, default, span }
    Outputs { list, span }
    Output { name, ty }
    Ty { dtype, dims, span }
    Block { stmts, span }
    Stmt { kind, span }
    StmtArm { cond, body }
    Storage { ty, init, span }
    Label { segments, span }
    Segment { parts, span }
    Config { docs, kind, name, params, entries, span }
    Entry { kind, span }
    Rule { verb, globs, rename, value, guard, body }
    Expr { kind, parens, span }
    ExprArm { cond, value }
    Arg { name, value, span }
    Stage { label, what, span }
    Rearrange { left, right, span }
}

/// `Name { Variant(nodes) or Variant { nodes } }` for enums.
macro_rules! enums {
    ($($name:ident { $($pattern:pat => [$($node:ident),*],)* })*) => {
        $(impl Node for $name {
            fn each_span(&mut self, f: &mut dyn FnMut(&mut Span)) {
                use $name::*;
                match self {
                    $($pattern => { $($node.each_span(f);)* })*
                }
            }
        })*
    };
}

enums! {
    Item {
        Import(item) => [item],
        Const(item) => [item],
        Fn(item) => [item],
        Net(item) => [item],
        Config(item) => [item],
    }
    ImportWhat { Names(names) => [names], Module(alias) => [alias], }
    Dim { Rest(span) | Any(span) => [span], Expr(expr) => [expr], }
    Body { Expr(expr) => [expr], Block(block) => [block], }
    StmtKind {
        Return(values) => [values],
        Repeat { count, var, index, body } => [count, var, index, body],
        If { arms, otherwise } => [arms, otherwise],
        Init { globs, value } => [globs, value],
        Member { label, what } => [label, what],
        Update { name, value } => [name, value],
        Equation { name, indices, value } => [name, indices, value],
        Assign { names, value } => [names, value],
    }
    Member { Storage(storage) => [storage], Expr(expr) => [expr], }
    LhsIndex { Rest(span) => [span], Var(name) => [name], }
    Part { Text(text) => [text], Hole(expr) => [expr], }
    EntryKind {
        Attr { names, value } => [names, value],
        Section { name, entries } => [name, entries],
        Rule(rule) => [rule],
    }
    Index {
        Rest(span) => [span],
        Slice { lo, hi, by, span } => [lo, hi, by, span],
        At(expr) => [expr],
    }
    StageKind { Rearrange(rearrange) => [rearrange], Expr(expr) => [expr], }
    Axis { Group(axes, span) => [axes, span], Rest(span) => [span], Expr(expr) => [expr], }
    ExprKind {
        Number(_) | Bool(_) | None | Name(_) => [],
        Str(text) => [text],
        List(items) | Tuple(items) => [items],
        Unary { operand, .. } => [operand],
        Binary { op_span, left, right, .. } => [op_span, left, right],
        If { arms, otherwise } => [arms, otherwise],
        Call { callee, args } => [callee, args],
        Index { base, items } => [base, items],
        Field { base, name } => [base, name],
        Pipe { input, stages } => [input, stages],
    }
}
