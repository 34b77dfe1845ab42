//! Prints expressions, labels, pipes and rearrangements.

use super::Printer;
use super::layout::{Before, Indent};
use crate::ast::*;

use Before::{Nothing, Space};

impl Printer<'_> {
    /// An expression where a pipe may stand.
    pub(super) fn expr(&mut self, expr: &Expr, before: Before) {
        self.guarded(expr, false, before);
    }

    fn pipe(&mut self, input: &Expr, stages: &[Stage], before: Before) {
        self.depth += 1;
        self.guarded(input, !is_postfix(input), before);
        self.depth -= 1;
        let arrow = self.next();
        for stage in stages {
            // All arrows stand below the first, which begins a line only if it must.
            let indent = if self.next() == arrow { Indent::Hang(4) } else { Indent::Below(arrow) };
            self.token("->", Before::Soft { depth: self.depth, indent, tight: false });
            self.depth += 1;
            if let Some(label) = &stage.label {
                self.label(label, Space);
            }
            match &stage.what {
                StageKind::Rearrange(rearrange) => self.rearrange(rearrange),
                StageKind::Expr(expr) => {
                    let list = matches!(first_part(expr).kind, ExprKind::List(_));
                    self.guarded(expr, list || !is_postfix(expr), Space);
                }
            }
            self.depth -= 1;
        }
    }

    fn rearrange(&mut self, rearrange: &Rearrange) {
        let open = self.token("[", Space);
        self.depth += 1;
        self.list(&rearrange.left, Self::axis, Nothing);
        self.token("=>", if rearrange.left.is_empty() { Nothing } else { Space });
        self.list(&rearrange.right, Self::axis, Space);
        self.depth -= 1;
        self.token("]", Before::Closer(open));
    }

    fn axis(&mut self, axis: &Axis, before: Before) {
        match axis {
            Axis::Group(axes, _) => self.bracketed(["(", ")"], axes, Self::axis, before),
            Axis::Rest(_) => {
                self.token("..", before);
            }
            Axis::Expr(expr) => self.operand(expr, before),
        }
    }

    /// An expression where no pipe may stand.
    pub(super) fn operand(&mut self, expr: &Expr, before: Before) {
        self.guarded(expr, matches!(expr.kind, ExprKind::Pipe { .. }), before);
    }

    /// An expression in parentheses if it has them or needs them.
    fn guarded(&mut self, expr: &Expr, needs: bool, before: Before) {
        if expr.parens.is_none() && !needs {
            return self.bare(expr, before);
        }
        let open = self.token("(", before);
        self.drop_repeated('(', expr.span.start);
        self.depth += 1;
        self.bare(expr, Nothing);
        self.depth -= 1;
        self.token(")", Before::Closer(open));
        self.drop_repeated(')', expr.outer().end);
    }

    /// Parentheses around parentheses say nothing; the tree does not have them.
    fn drop_repeated(&mut self, bracket: char, until: u32) {
        let Some(source) = &mut self.source else { return };
        loop {
            let at = source.seek("");
            if at >= until as usize || !source.text[at..].starts_with(bracket) {
                return;
            }
            source.dropped.push(at);
        }
    }

    fn bare(&mut self, expr: &Expr, before: Before) {
        match &expr.kind {
            ExprKind::Number(number) => {
                self.token(&number.text, before);
            }
            ExprKind::Str(string) => self.string(string, before),
            ExprKind::Bool(value) => {
                self.token(if *value { "true" } else { "false" }, before);
            }
            ExprKind::None => {
                self.token("none", before);
            }
            ExprKind::Name(name) => {
                self.token(name, before);
            }
            ExprKind::List(items) => self.bracketed(["[", "]"], items, Self::expr, before),
            ExprKind::Tuple(items) => self.bracketed(["(", ")"], items, Self::expr, before),
            ExprKind::Unary { op, operand } => self.unary(*op, operand, before),
            ExprKind::Binary { op, left, right, .. } => {
                let first = self.next();
                self.binary(*op, left, right, before, first);
            }
            ExprKind::If { arms, otherwise } => self.if_expr(arms, otherwise, before),
            ExprKind::Call { callee, args } => {
                self.base(callee, before);
                self.bracketed(["(", ")"], args, Self::arg, Nothing);
            }
            ExprKind::Index { base, items } => {
                self.base(base, before);
                self.bracketed(["[", "]"], items, Self::index, Nothing);
            }
            ExprKind::Field { base, name } => {
                self.base(base, before);
                self.token(".", Nothing);
                self.token(&name.text, Nothing);
            }
            ExprKind::Pipe { input, stages } => self.pipe(input, stages, before),
        }
    }

    fn unary(&mut self, op: UnaryOp, operand: &Expr, before: Before) {
        self.token(op.symbol(), before);
        let space = match op {
            UnaryOp::Neg => Nothing,
            UnaryOp::Not => Space,
        };
        let weaker = matches!(&operand.kind, ExprKind::Binary { op: inner, .. } if inner.strength() < op.strength());
        self.guarded(operand, weaker || matches!(operand.kind, ExprKind::Pipe { .. }), space);
    }

    /// A chain of operators; all that are equally strong may begin a line, below the chain's first token.
    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr, before: Before, first: usize) {
        let guard = needs_left(left, op);
        let alike = |inner: &BinaryOp| !guard && left.parens.is_none() && inner.strength() == op.strength();
        if let ExprKind::Binary { op: inner, left, right, .. } = &left.kind
            && alike(inner)
        {
            self.binary(*inner, left, right, before, first);
        } else {
            self.depth += 1;
            self.guarded(left, guard, before);
            self.depth -= 1;
        }
        self.token(op.symbol(), Before::Soft { depth: self.depth, indent: Indent::Below(first), tight: false });
        self.depth += 1;
        self.guarded(right, needs_right(right, op), Space);
        self.depth -= 1;
    }

    fn if_expr(&mut self, arms: &[ExprArm], otherwise: &Expr, before: Before) {
        let first = self.next();
        let again = Before::Soft { depth: self.depth, indent: Indent::Below(first), tight: false };
        self.depth += 1;
        for (number, arm) in arms.iter().enumerate() {
            if number > 0 {
                self.token("else", again);
            }
            self.token("if", if number == 0 { before } else { Space });
            self.operand(&arm.cond, Space);
            self.braced(&arm.value);
        }
        self.token("else", again);
        self.braced(otherwise);
        self.depth -= 1;
    }

    fn braced(&mut self, expr: &Expr) {
        self.token("{", Space);
        self.expr(expr, Space);
        self.token("}", Space);
    }

    /// What a call, an index or a field applies to.
    fn base(&mut self, base: &Expr, before: Before) {
        self.guarded(base, !is_postfix(base), before);
    }

    fn arg(&mut self, arg: &Arg, before: Before) {
        match &arg.name {
            Some(name) => {
                self.token(&name.text, before);
                self.token("=", Space);
                self.expr(&arg.value, Space);
            }
            None => self.expr(&arg.value, before),
        }
    }

    fn index(&mut self, index: &Index, before: Before) {
        match index {
            Index::Rest(_) => {
                self.token("..", before);
            }
            Index::Slice { lo, hi, by, .. } => {
                let mut before = before;
                if let Some(lo) = lo {
                    self.operand(lo, before);
                    before = Nothing;
                }
                self.token(":", before);
                if let Some(hi) = hi {
                    self.operand(hi, Nothing);
                }
                if let Some(by) = by {
                    self.token(":", Nothing);
                    self.operand(by, Nothing);
                }
            }
            Index::At(expr) => self.operand(expr, before),
        }
    }

    /// `name.{i}:`
    pub(super) fn label(&mut self, label: &Label, before: Before) {
        let mut before = before;
        for (number, segment) in label.segments.iter().enumerate() {
            if number > 0 {
                self.token(".", Nothing);
            }
            for part in &segment.parts {
                match part {
                    Part::Text(text) => {
                        self.token(&text.text, before);
                    }
                    Part::Hole(expr) => {
                        self.token("{", before);
                        self.operand(expr, Nothing);
                        self.token("}", Nothing);
                    }
                }
                before = Nothing;
            }
        }
        self.token(":", Nothing);
    }
}

/// Whether calls and fields can follow without parentheses.
fn is_postfix(expr: &Expr) -> bool {
    !matches!(expr.kind, ExprKind::Unary { .. } | ExprKind::Binary { .. } | ExprKind::Pipe { .. })
}

/// The innermost thing that calls, indices and fields apply to.
fn first_part(expr: &Expr) -> &Expr {
    if let ExprKind::Call { callee: base, .. } | ExprKind::Index { base, .. } | ExprKind::Field { base, .. } =
        &expr.kind
        && expr.parens.is_none()
    {
        return first_part(base);
    }
    expr
}

/// Whether the left operand of `op` would be read otherwise without parentheses.
fn needs_left(left: &Expr, op: BinaryOp) -> bool {
    // A unary operator at its right end would take `op` into its operand.
    groups_otherwise(left, op, op == BinaryOp::Pow) || open_end(left).is_some_and(|strength| strength <= op.strength())
}

/// Whether the right operand of `op` would be read otherwise without parentheses.
fn needs_right(right: &Expr, op: BinaryOp) -> bool {
    groups_otherwise(right, op, op != BinaryOp::Pow)
}

/// Whether an operand of `op` is a weaker operation, or one as strong where that is read the other way round.
fn groups_otherwise(operand: &Expr, op: BinaryOp, equal_too: bool) -> bool {
    if let ExprKind::Binary { op: inner, .. } = &operand.kind {
        return inner.strength() < op.strength() || equal_too && inner.strength() == op.strength();
    }
    matches!(operand.kind, ExprKind::Pipe { .. })
}

/// The strength of the weakest unary operator whose operand ends where `expr` does.
fn open_end(expr: &Expr) -> Option<u8> {
    if expr.parens.is_some() {
        return None;
    }
    if let ExprKind::Unary { op, operand } = &expr.kind {
        return Some(op.strength().min(open_end(operand).unwrap_or(u8::MAX)));
    }
    if let ExprKind::Binary { op, right, .. } = &expr.kind
        && !needs_right(right, *op)
    {
        return open_end(right);
    }
    None
}
