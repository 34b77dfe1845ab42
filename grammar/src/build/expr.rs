//! Trees of expressions, labels, pipes and rearrangements.

use super::{Builder, Node, Parts, TREE_DEPTH};
use crate::ast::*;
use crate::diagnostic::Diagnostic;
use crate::grammar::Rule;
use crate::span::Span;

impl Builder<'_> {
    pub(super) fn expr(&mut self, node: Node) -> Expr {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        let mut input = self.binary(parts.next());
        let stages: Vec<Node> = parts.rest().collect();
        if stages.is_empty() {
            return input;
        }
        if let Some(symbol) = bare_operator(&input) {
            self.mixed(symbol, span, &input);
            input.parens = Some(input.span);
        }
        let stages = stages.into_iter().map(|stage| self.stage(stage, span)).collect();
        Expr { kind: ExprKind::Pipe { input: Box::new(input), stages }, parens: None, span }
    }

    /// `x + x -> f`.
    fn mixed(&mut self, symbol: &str, span: Span, input: &Expr) {
        let error = Diagnostic::error("E0101", span, format!("`{symbol}` and `->` need parentheses"));
        let (inside, whole) = if let ExprKind::Binary { left, right, .. } = &input.kind {
            let (left, right) = (sketch(left), sketch(right));
            let inside = format!("`{left} {symbol} ({right} -> ..)` sends only the right side on, as in a residual");
            (inside, format!("{left} {symbol} {right}"))
        } else {
            let operand = if let ExprKind::Unary { operand, .. } = &input.kind { sketch(operand) } else { ".." };
            let space = if symbol == "-" { "" } else { " " };
            let inside = format!("`{symbol}{space}({operand} -> ..)` applies `{symbol}` to the result");
            (inside, format!("{symbol}{space}{operand}"))
        };
        let error = error.help(inside).help(format!("`({whole}) -> ..` sends the whole on"));
        self.diagnostics.push(error);
    }

    fn stage(&mut self, node: Node, pipe: Span) -> Stage {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        let label = parts.eat(Rule::label).map(|label| self.label(label));
        let inner = parts.next();
        let what = match inner.as_rule() {
            Rule::rearrange => StageKind::Rearrange(self.rearrange(inner)),
            _ => StageKind::Expr(self.postfix(inner)),
        };
        if let Some(stray) = parts.eat(Rule::stray) {
            let operator = Parts::of(stray).next();
            let symbol = operator.as_str();
            let error = Diagnostic::error("E0101", pipe, format!("`->` and `{symbol}` need parentheses"));
            let error = error.label(self.span(&operator), "it follows a pipe");
            self.diagnostics.push(error.help(format!("`(.. -> ..) {symbol} ..` combines the result of the pipe")));
        }
        Stage { label, what, span }
    }

    fn rearrange(&mut self, node: Node) -> Rearrange {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        Rearrange { left: self.axes(parts.next()), right: self.axes(parts.next()), span }
    }

    fn axes(&mut self, node: Node) -> Vec<Axis> {
        node.into_inner().map(|axis| self.axis(axis)).collect()
    }

    fn axis(&mut self, node: Node) -> Axis {
        let inner = Parts::of(node).next();
        let span = self.span(&inner);
        match inner.as_rule() {
            Rule::group => self.deeper(
                inner,
                1,
                |builder, inner| Axis::Group(builder.axes(Parts::of(inner).next()), span),
                Axis::Rest,
            ),
            Rule::ellipsis => Axis::Rest(span),
            _ => Axis::Expr(self.binary(inner)),
        }
    }

    /// Builds `node` `levels` deeper, or reports that it is too deep and gives a stand-in.
    fn deeper<'i, T>(
        &mut self,
        node: Node<'i>,
        levels: usize,
        build: impl FnOnce(&mut Self, Node<'i>) -> T,
        stand_in: impl FnOnce(Span) -> T,
    ) -> T {
        let span = self.span(&node);
        if self.depth + levels > TREE_DEPTH {
            let message = format!("this expression is more than {TREE_DEPTH} operations deep");
            let error = Diagnostic::error("E0006", span, message).help("give a part of it a name of its own");
            // One message is enough for what lies inside itself many times.
            if self.diagnostics.iter().all(|earlier| earlier.code != "E0006") {
                self.diagnostics.push(error);
            }
            return stand_in(span);
        }
        self.depth += levels;
        let built = build(self, node);
        self.depth -= levels;
        built
    }

    pub(super) fn label(&mut self, node: Node) -> Label {
        let span = self.span(&node);
        let segments: Vec<Segment> = node.into_inner().map(|segment| self.segment(segment)).collect();
        // The pair ends in the colon, which is not part of the name.
        let end = segments.last().map_or(span.end, |last| last.span.end);
        Label { segments, span: Span { end, ..span } }
    }

    fn segment(&mut self, node: Node) -> Segment {
        let span = self.span(&node);
        let part = |part: Node| match part.as_rule() {
            Rule::interp => Part::Hole(self.binary(Parts::of(part).next())),
            _ => Part::Text(self.ident(part)),
        };
        Segment { parts: node.into_inner().map(part).collect(), span }
    }

    /// A flat sequence of operands and operators.
    pub(super) fn binary(&mut self, node: Node) -> Expr {
        let levels = node.clone().into_inner().filter(|part| part.as_rule() != Rule::postfix).count();
        let build = |builder: &mut Self, node| {
            let mut parts = Parts::of(node);
            builder.operators(&mut parts, 0)
        };
        self.deeper(node, levels, build, stand_in)
    }

    /// Operators that bind at least as tightly as `least`, by precedence climbing.
    fn operators(&mut self, parts: &mut Parts, least: u8) -> Expr {
        let first = parts.next();
        let start = self.span(&first);
        let mut left = match first.as_rule() {
            Rule::neg => self.unary(UnaryOp::Neg, start, parts),
            Rule::not => self.unary(UnaryOp::Not, start, parts),
            _ => self.postfix(first),
        };
        while let Some(op) = parts.peek().and_then(binary_op) {
            let strength = op.strength();
            if strength < least {
                break;
            }
            let op_span = self.span(&parts.next());
            // `^` groups to the right, all others to the left.
            let right = self.operators(parts, if op == BinaryOp::Pow { strength } else { strength + 1 });
            let span = left.outer().to(right.outer());
            let kind = ExprKind::Binary { op, op_span, left: Box::new(left), right: Box::new(right) };
            left = Expr { kind, parens: None, span };
        }
        left
    }

    fn unary(&mut self, op: UnaryOp, at: Span, parts: &mut Parts) -> Expr {
        let operand = self.operators(parts, op.strength());
        let span = at.to(operand.outer());
        Expr { kind: ExprKind::Unary { op, operand: Box::new(operand) }, parens: None, span }
    }
}

impl Builder<'_> {
    /// An operand: a primary with its calls, indices and fields.
    fn postfix(&mut self, node: Node) -> Expr {
        let levels = node.clone().into_inner().count() - 1;
        let build = |builder: &mut Self, node| {
            let mut parts = Parts::of(node);
            let mut expr = builder.primary(parts.next());
            for suffix in parts.rest() {
                let span = expr.outer().to(builder.span(&suffix));
                let base = Box::new(expr);
                let kind = match suffix.as_rule() {
                    Rule::call => ExprKind::Call { callee: base, args: builder.args(suffix) },
                    Rule::index => ExprKind::Index { base, items: builder.indices(suffix) },
                    _ => ExprKind::Field { base, name: builder.ident(Parts::of(suffix).next()) },
                };
                expr = Expr { kind, parens: None, span };
            }
            expr
        };
        self.deeper(node, levels, build, stand_in)
    }

    fn args(&mut self, node: Node) -> Vec<Arg> {
        self.depth += 1;
        let args = node.into_inner().map(|arg| self.arg(arg)).collect();
        self.depth -= 1;
        args
    }

    fn arg(&mut self, node: Node) -> Arg {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        let name = parts.eat(Rule::ident).map(|name| self.ident(name));
        parts.eat(Rule::eq);
        Arg { name, value: self.expr(parts.next()), span }
    }

    fn indices(&mut self, node: Node) -> Vec<Index> {
        self.depth += 1;
        let items = node.into_inner().map(|item| self.index(item)).collect();
        self.depth -= 1;
        items
    }

    fn index(&mut self, node: Node) -> Index {
        let span = self.span(&node);
        let mut parts = Parts::of(node);
        if parts.eat(Rule::ellipsis).is_some() {
            return Index::Rest(span);
        }
        let lo = parts.eat(Rule::binary).map(|lo| self.binary(lo));
        if parts.eat(Rule::colon).is_none() {
            return match lo {
                Some(at) => Index::At(at),
                None => Index::Rest(span),
            };
        }
        let hi = parts.eat(Rule::hi).map(|hi| self.binary(Parts::of(hi).next()));
        parts.eat(Rule::colon);
        let by = parts.eat(Rule::by).map(|by| self.binary(Parts::of(by).next()));
        Index::Slice { lo, hi, by, span }
    }

    fn primary(&mut self, node: Node) -> Expr {
        let span = self.span(&node);
        let kind = match node.as_rule() {
            Rule::number => ExprKind::Number(number(node.as_str())),
            Rule::string => ExprKind::Str(self.string(node)),
            Rule::bool => ExprKind::Bool(node.as_str() == "true"),
            Rule::none => ExprKind::None,
            Rule::if_expr => self.deeper(node, 1, Self::if_expr, |_| ExprKind::None),
            Rule::paren => return self.deeper(node, 1, Self::paren, stand_in),
            Rule::list => self.deeper(node, 1, |builder, node| ExprKind::List(builder.exprs(node)), |_| ExprKind::None),
            other => {
                debug_assert_eq!(other, Rule::ident, "the grammar knows eight kinds of primary");
                ExprKind::Name(node.as_str().to_string())
            }
        };
        Expr { kind, parens: None, span }
    }

    fn exprs(&mut self, node: Node) -> Vec<Expr> {
        node.into_inner().map(|expr| self.expr(expr)).collect()
    }

    fn paren(&mut self, node: Node) -> Expr {
        let span = self.span(&node);
        let mut inner = self.exprs(node);
        if inner.len() > 1 {
            return Expr { kind: ExprKind::Tuple(inner), parens: None, span };
        }
        let mut expr = inner.pop().expect("the grammar puts an expression between parentheses");
        expr.parens = Some(span);
        expr
    }

    fn if_expr(&mut self, node: Node) -> ExprKind {
        let mut parts = Parts::of(node);
        let mut arms = Vec::new();
        while parts.eat(Rule::kw_if).is_some() {
            arms.push(ExprArm { cond: self.binary(parts.next()), value: self.expr(parts.next()) });
            parts.eat(Rule::kw_else);
        }
        ExprKind::If { arms, otherwise: Box::new(self.expr(parts.next())) }
    }
}

/// A short way to say an expression in a message: its name or number, or two points.
fn sketch(expr: &Expr) -> &str {
    let shown = if let ExprKind::Name(name) = &expr.kind {
        name
    } else if let ExprKind::Number(number) = &expr.kind {
        &number.text
    } else {
        ".."
    };
    if shown.len() <= 24 { shown } else { ".." }
}

/// What stands for an expression that was refused.
fn stand_in(span: Span) -> Expr {
    Expr { kind: ExprKind::None, parens: None, span }
}

fn number(text: &str) -> Number {
    let digits = text.replace('_', "");
    Number {
        text: text.to_string(),
        value: digits.parse().unwrap_or(f64::INFINITY),
        is_int: digits.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The operator of an expression that is one without parentheses.
fn bare_operator(expr: &Expr) -> Option<&'static str> {
    match &expr.kind {
        _ if expr.parens.is_some() => None,
        ExprKind::Binary { op, .. } => Some(op.symbol()),
        ExprKind::Unary { op, .. } => Some(op.symbol()),
        ExprKind::Number(_)
        | ExprKind::Str(_)
        | ExprKind::Bool(_)
        | ExprKind::None
        | ExprKind::Name(_)
        | ExprKind::List(_)
        | ExprKind::Tuple(_)
        | ExprKind::If { .. }
        | ExprKind::Call { .. }
        | ExprKind::Index { .. }
        | ExprKind::Field { .. }
        | ExprKind::Pipe { .. } => None,
    }
}

fn binary_op(rule: Rule) -> Option<BinaryOp> {
    let op = match rule {
        Rule::or => BinaryOp::Or,
        Rule::and => BinaryOp::And,
        Rule::eq_op => BinaryOp::Eq,
        Rule::ne => BinaryOp::Ne,
        Rule::lt => BinaryOp::Lt,
        Rule::le => BinaryOp::Le,
        Rule::gt => BinaryOp::Gt,
        Rule::ge => BinaryOp::Ge,
        Rule::add => BinaryOp::Add,
        Rule::sub => BinaryOp::Sub,
        Rule::mul => BinaryOp::Mul,
        Rule::div => BinaryOp::Div,
        Rule::rem => BinaryOp::Rem,
        Rule::matmul => BinaryOp::MatMul,
        Rule::pow => BinaryOp::Pow,
        _ => return None,
    };
    Some(op)
}
