//! Tensor equations, `y[i, j, ..] = expr`: index variables and what each runs over.
//!
//! An equation is read twice. First its accesses are looked at, `x[2 * h + i, j]`, which say over what each variable runs.
//! Then the right side is evaluated like any expression, where an element that depends on variables is a tensor whose first
//! axes are theirs: [`super::lanes`] lines such tensors up, [`super::access`] makes them, [`super::sums`] reduces them.

use super::Checker;
use super::num;
use super::ranges::{Range, Use};
use super::reduce::Reduction;
use super::scope::{Kind, Scope};
use super::value::{Func, Tag, Target, Tensor, Val};
use dlc_grammar::ast::{Arg, BinaryOp, Expr, ExprKind, Ident, Index, LhsIndex, StageKind, UnaryOp};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::Size;
use rustc_hash::FxHashMap as HashMap;

/// An equation being worked on.
#[derive(Default)]
pub(super) struct Equation {
    /// What each variable runs over.
    pub ranges: Vec<(Tag, Range)>,
    /// The variables of each reducer's brackets, by the place of the brackets.
    binders: HashMap<Span, (Scope, Vec<Tag>)>,
    /// What has been evaluated while looking for ranges, by its place.
    known: HashMap<Span, Val>,
}

/// An index: an affine function of index variables, or something that is computed.
pub(super) enum Form {
    Affine { start: Size, steps: Vec<(Tag, i64)> },
    Computed,
}

impl Checker {
    /// Works through an equation.
    pub(super) fn equation(&mut self, name: &Ident, indices: &[LhsIndex], value: &Expr, sc: &Scope) {
        self.equations.push(Equation::default());
        let v = self.equation_value(indices, value, sc).unwrap_or(Val::Poison);
        self.equations.pop();
        sc.set(&name.text.as_str().into(), v, name.span);
    }

    fn equation_value(&mut self, indices: &[LhsIndex], value: &Expr, sc: &Scope) -> Option<Val> {
        let inner = sc.child(Kind::Equation);
        let mut vars: Vec<Tag> = Vec::new();
        for index in indices {
            let LhsIndex::Var(ident) = index else { continue };
            if vars.iter().any(|v| v.name.as_deref() == Some(&ident.text)) {
                let message = format!("`{}` stands twice on the left", ident.text);
                self.report(Diagnostic::error("E0309", ident.span, message).help("give each axis its own index"));
                return None;
            }
            vars.push(self.index_variable(ident, &inner));
        }
        if indices.iter().filter(|i| matches!(i, LhsIndex::Rest(_))).count() > 1 {
            let span = value.span;
            self.report(Diagnostic::error("E0309", span, "`..` may stand once on the left of an equation"));
            return None;
        }
        let mut uses = Vec::new();
        self.find_uses(value, &inner, sc, &mut uses)?;
        self.find_ranges(uses)?;
        for var in &vars {
            self.range(var)?;
        }
        let v = self.eval(value, &inner);
        self.at(value.span);
        self.left_side(v, indices, &vars, value.span)
    }

    /// A new index variable.
    fn index_variable(&mut self, ident: &Ident, sc: &Scope) -> Tag {
        let tag = Tag::index(ident.text.as_str().into(), self.new_env(), ident.span);
        sc.define(ident.text.as_str(), Val::Index(tag.clone()), ident.span);
        tag
    }

    /// The result as the left side orders its axes.
    fn left_side(&mut self, v: Val, indices: &[LhsIndex], vars: &[Tag], span: Span) -> Option<Val> {
        let v = match v {
            Val::Num(_) | Val::Bool(_) | Val::Truth(_) => self.scalar_tensor(&v),
            v => v,
        };
        let t = match v {
            Val::Poison => return None,
            Val::Tensor(t) => t,
            other => {
                let message = format!("an element of a tensor is a number, got {}", self.show(&other));
                self.report(Diagnostic::error("E0112", span, message));
                return None;
            }
        };
        let t = self.over(&t, vars)?;
        let rest = t.rank() - vars.len();
        let named = indices.iter().any(|i| matches!(i, LhsIndex::Rest(_)));
        if rest > 0 && !named {
            let message =
                format!("`..` stands for {} here and not on the left", self.show_names(&t.axes[vars.len()..]));
            self.report(Diagnostic::error("E0309", span, message).help("write `..` on the left too"));
            return None;
        }
        let mut order: Vec<usize> = Vec::new();
        let mut tags: Vec<Option<Tag>> = Vec::new();
        for index in indices {
            match index {
                LhsIndex::Rest(_) => {
                    order.extend(vars.len()..t.rank());
                    tags.extend(t.axes[vars.len()..].iter().map(|a| a.tag.clone()));
                }
                LhsIndex::Var(_) => {
                    let k = order.iter().filter(|k| **k < vars.len()).count();
                    order.push(k);
                    tags.push(self.range(&vars[k])?.axis.and_then(|a| a.tag));
                }
            }
        }
        let value = self.use_(&t);
        let value = self.b().permute(value, &order);
        Some(Val::Tensor(self.tensor(value, tags)))
    }

    /// Finds the accesses of an expression; `outer` is the scope around the equation.
    fn find_uses(&mut self, e: &Expr, sc: &Scope, outer: &Scope, uses: &mut Vec<Use>) -> Option<()> {
        match &e.kind {
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::None | ExprKind::Name(_) => Some(()),
            ExprKind::List(items) | ExprKind::Tuple(items) => {
                items.iter().try_for_each(|e| self.find_uses(e, sc, outer, uses))
            }
            ExprKind::Unary { operand, .. } => self.find_uses(operand, sc, outer, uses),
            ExprKind::Binary { left, right, .. } => {
                self.find_uses(left, sc, outer, uses)?;
                self.find_uses(right, sc, outer, uses)
            }
            ExprKind::If { arms, otherwise } => {
                for arm in arms {
                    self.find_uses(&arm.cond, sc, outer, uses)?;
                    self.find_uses(&arm.value, sc, outer, uses)?;
                }
                self.find_uses(otherwise, sc, outer, uses)
            }
            ExprKind::Call { callee, args } => match self.reducer(callee, sc) {
                Some((_, _, items)) => {
                    let inner = self.bind_reducer(callee.span, items, sc)?;
                    args.iter().try_for_each(|a| self.find_uses(&a.value, &inner, outer, uses))
                }
                None => args.iter().try_for_each(|a| self.find_uses(&a.value, sc, outer, uses)),
            },
            ExprKind::Index { base, items } => self.find_access(base, items, e.span, sc, outer, uses),
            ExprKind::Field { base, .. } => self.find_uses(base, sc, outer, uses),
            ExprKind::Pipe { input, stages } => {
                self.find_uses(input, sc, outer, uses)?;
                for stage in stages {
                    if let StageKind::Expr(Expr { kind: ExprKind::Call { args, .. }, .. }) = &stage.what {
                        args.iter().try_for_each(|a| self.find_uses(&a.value, sc, outer, uses))?;
                    }
                }
                Some(())
            }
        }
    }

    /// The reduction that `sum[c, i < 2]` names, if its brackets are of index variables.
    pub(super) fn reducer<'e>(
        &mut self,
        callee: &'e Expr,
        sc: &Scope,
    ) -> Option<(Reduction, &'static str, &'e [Index])> {
        let ExprKind::Index { base, items } = &callee.kind else { return None };
        let ExprKind::Name(name) = &base.kind else { return None };
        if sc.var(name).is_some() {
            return None;
        }
        let Some(Val::Func(Func { target: Target::Builtin(b), axes: None })) =
            self.global(name, base.span, sc.module_number())
        else {
            return None;
        };
        let binds = |item: &Index| match item {
            Index::Rest(_) => true,
            Index::Slice { .. } => false,
            Index::At(e) => match &e.kind {
                ExprKind::Name(n) => n != "keep" && !matches!(sc.get(n), Some(Val::Axis(_))),
                ExprKind::Binary { op: BinaryOp::Lt, .. } => true,
                _ => false,
            },
        };
        let reduction = b.reduction()?;
        items.iter().any(binds).then_some((reduction, b.name, items.as_slice()))
    }

    /// Defines the variables of a reducer's brackets.
    fn bind_reducer(&mut self, span: Span, items: &[Index], sc: &Scope) -> Option<Scope> {
        let inner = sc.child(Kind::Equation);
        let mut vars = Vec::new();
        for item in items {
            let (e, end) = match item {
                Index::Rest(_) => continue,
                Index::At(Expr { kind: ExprKind::Binary { op: BinaryOp::Lt, left, right, .. }, .. }) => {
                    (&**left, Some(&**right))
                }
                Index::At(e) => (e, None),
                Index::Slice { span, .. } => {
                    let message = "these brackets name index variables: `sum[c, i < 2]`";
                    self.report(Diagnostic::error("E0309", *span, message));
                    return None;
                }
            };
            let ExprKind::Name(name) = &e.kind else {
                let message = "these brackets name index variables: `sum[c, i < 2]`";
                self.report(Diagnostic::error("E0309", e.span, message));
                return None;
            };
            let var = self.index_variable(&Ident { text: name.clone(), span: e.span }, &inner);
            if let Some(end) = end {
                let v = self.eval(end, sc);
                let (size, _) = self.as_size(&v, end.span)?;
                self.equation_state().ranges.push((var.clone(), Range { size, axis: None, by: None }));
            }
            vars.push(var);
        }
        self.equation_state().binders.insert(span, (inner.clone(), vars));
        Some(inner)
    }

    /// The scope and the variables of a reducer's brackets.
    pub(super) fn binder(&mut self, span: Span) -> Option<(Scope, Vec<Tag>)> {
        self.equation_state().binders.get(&span).cloned()
    }

    pub(super) fn equation_state(&mut self) -> &mut Equation {
        self.equations.last_mut().expect("an equation is being worked on")
    }

    fn find_access(
        &mut self,
        base: &Expr,
        items: &[Index],
        span: Span,
        sc: &Scope,
        outer: &Scope,
        uses: &mut Vec<Use>,
    ) -> Option<()> {
        let plain = matches!(base.kind, ExprKind::Name(_));
        if let Some((name, at)) = self.variable_in(base, sc).filter(|_| !plain) {
            let message = format!("`{name}` stands in what is indexed: an access names a tensor");
            let d = Diagnostic::error("E0309", at, message).label(span, "this access");
            self.report(d.help("give the tensor a name in an equation of its own"));
            return None;
        }
        let t = match self.eval(base, outer) {
            Val::Poison => return None,
            Val::Tensor(t) => t,
            other => {
                self.equation_state().known.insert(base.span, other);
                return Some(());
            }
        };
        if self.refuse_lanes("an equation inside", [&Val::Tensor(t.clone())], span) {
            return None;
        }
        self.equation_state().known.insert(base.span, Val::Tensor(t.clone()));
        let places = self.places(&t, items, span)?;
        for (item, axis) in items.iter().filter(|i| !matches!(i, Index::Rest(_))).zip(places) {
            let Index::At(e) = item else { continue };
            match self.form(e, sc)? {
                Form::Computed => self.find_uses(e, sc, outer, uses)?,
                Form::Affine { start, steps } if !steps.is_empty() => {
                    let tensor = self.text(base.span).to_string();
                    uses.push(Use { start, steps, axis: t.axes[axis].clone(), tensor, span: e.span });
                }
                Form::Affine { .. } => {}
            }
        }
        Some(())
    }

    /// The axis of each item of an access but `..`.
    pub(super) fn places(&mut self, t: &Tensor, items: &[Index], span: Span) -> Option<Vec<usize>> {
        if let Some(slice) = items.iter().find(|i| matches!(i, Index::Slice { .. })) {
            let message = "in an equation an index is one position: an index variable says over which";
            self.report(Diagnostic::error("E0309", slice.span(), message));
            return None;
        }
        let plain = items.iter().filter(|i| !matches!(i, Index::Rest(_))).count();
        let rests = items.len() - plain;
        if rests > 1 || plain > t.rank() || (rests == 0 && plain < t.rank()) {
            let message = match rests {
                0 | 1 => format!("{} has {} axes, and this index speaks of {plain}", self.show_tensor(t), t.rank()),
                _ => "`..` may stand once in an index".to_string(),
            };
            let d = Diagnostic::error("E0311", span, message);
            self.report(if plain < t.rank() { d.help("`..` stands for the remaining axes") } else { d });
            return None;
        }
        let mut axis = 0;
        let mut places = Vec::new();
        for item in items {
            match item {
                Index::Rest(_) => axis += t.rank() - plain,
                Index::At(_) | Index::Slice { .. } => {
                    places.push(axis);
                    axis += 1;
                }
            }
        }
        Some(places)
    }

    /// An index variable that stands in an expression.
    fn variable_in(&self, e: &Expr, sc: &Scope) -> Option<(String, Span)> {
        super::require::names_in(e).into_iter().find(|(n, _)| matches!(sc.get(n), Some(Val::Index(_))))
    }

    /// What kind of index an expression is.
    pub(super) fn form(&mut self, e: &Expr, sc: &Scope) -> Option<Form> {
        if self.variable_in(e, sc).is_none() {
            let v = match self.equation_state().known.get(&e.span) {
                Some(v) => v.clone(),
                None => self.eval(e, sc),
            };
            self.equation_state().known.insert(e.span, v.clone());
            return match &v {
                Val::Poison => None,
                Val::Tensor(_) => Some(Form::Computed),
                Val::Num(n) => match num::to_size(&n.value) {
                    Some(start) => Some(Form::Affine { start, steps: Vec::new() }),
                    None => self.as_offset(&v, e.span).map(|(start, _)| Form::Affine { start, steps: Vec::new() }),
                },
                other => {
                    let message = format!("an index is an integer, got {}", self.show(other));
                    self.report(Diagnostic::error("E0401", e.span, message));
                    None
                }
            };
        }
        match &e.kind {
            ExprKind::Name(name) => match sc.get(name) {
                Some(Val::Index(tag)) => Some(Form::Affine { start: Size::zero(), steps: vec![(tag, 1)] }),
                _ => Some(Form::Computed),
            },
            ExprKind::Unary { op: UnaryOp::Neg, operand } => {
                let v = self.form(operand, sc)?;
                Some(times(v, -1))
            }
            ExprKind::Binary { op: op @ (BinaryOp::Add | BinaryOp::Sub), left, right, .. } => {
                let (a, b) = (self.form(left, sc)?, self.form(right, sc)?);
                Some(sum(a, if *op == BinaryOp::Sub { times(b, -1) } else { b }))
            }
            ExprKind::Binary { op: BinaryOp::Mul, left, right, .. } => {
                let (a, b) = (self.form(left, sc)?, self.form(right, sc)?);
                self.product(a, b, e.span)
            }
            ExprKind::Binary { op: op @ (BinaryOp::Div | BinaryOp::Rem), left, right, .. } => {
                let (a, b) = (self.form(left, sc)?, self.form(right, sc)?);
                if let (Form::Computed, _) | (_, Form::Computed) = (a, b) {
                    return Some(Form::Computed);
                }
                let message = format!("`{}` cannot stand in an index", op.symbol());
                let help = "split the axis first: `x -> [B, (T, 2) => B, T, 2]`";
                self.report(Diagnostic::error("E0311", e.span, message).help(help));
                None
            }
            _ => Some(Form::Computed),
        }
    }

    fn product(&mut self, a: Form, b: Form, span: Span) -> Option<Form> {
        let (a, b) = match (a, b) {
            (Form::Affine { start, steps }, Form::Affine { start: s, steps: t }) => ((start, steps), (s, t)),
            (Form::Computed, _) | (_, Form::Computed) => return Some(Form::Computed),
        };
        let ((start, steps), factor) = match (a.1.is_empty(), b.1.is_empty()) {
            (_, true) => (a, b.0),
            (true, false) => (b, a.0),
            (false, false) => {
                let message = "an index is a sum of index variables times numbers";
                self.report(Diagnostic::error("E0311", span, message));
                return None;
            }
        };
        match factor.known() {
            Some(k) => Some(times(Form::Affine { start, steps }, k)),
            None => {
                let message =
                    format!("{} is known only at run time, and stands before an index", self.show_size(&factor));
                let help = "a rearrange splits an axis: `x -> [(A, B) => A, B]`";
                self.report(Diagnostic::error("E0311", span, message).help(help));
                None
            }
        }
    }

    /// What has been evaluated at a place.
    pub(super) fn known_at(&mut self, span: Span) -> Option<Val> {
        self.equation_state().known.get(&span).cloned()
    }

    /// What a call in an equation gives, where it is a reducer with index variables.
    pub(super) fn reducer_call(&mut self, callee: &Expr, args: &[Arg], span: Span, sc: &Scope) -> Option<Val> {
        let (reduction, name, items) = self.reducer(callee, sc)?;
        let [arg] = args else {
            let message = format!("`{name}` with index variables takes 1 argument, got {}", args.len());
            return Some(self.error(Diagnostic::error("E0107", span, message)));
        };
        let rest = items.iter().any(|i| matches!(i, Index::Rest(_)));
        let Some((inner, vars)) = self.binder(callee.span) else { return Some(Val::Poison) };
        Some(self.reduce_over(reduction, name, (&vars, rest), &arg.value, span, &inner).unwrap_or(Val::Poison))
    }

    /// An index variable as a number.
    pub(super) fn index_number(&mut self, var: &Tag) -> Val {
        let Some(size) = self.extent(var) else { return Val::Poison };
        let v = self.b().iota(dlc_plan::DType::I64, &[size], 0);
        Val::Tensor(self.tensor(v, vec![Some(var.clone())]))
    }
}

fn times(f: Form, by: i64) -> Form {
    match f {
        Form::Computed => Form::Computed,
        Form::Affine { start, steps } => Form::Affine {
            start: start.times(&Size::from(by)),
            steps: steps.into_iter().map(|(v, s)| (v, s.saturating_mul(by))).filter(|(_, s)| *s != 0).collect(),
        },
    }
}

fn sum(a: Form, b: Form) -> Form {
    let (Form::Affine { start, mut steps }, Form::Affine { start: s, steps: t }) = (a, b) else {
        return Form::Computed;
    };
    for (var, step) in t {
        match steps.iter_mut().find(|(v, _)| v.env == var.env) {
            Some((_, own)) => *own = own.saturating_add(step),
            None => steps.push((var, step)),
        }
    }
    steps.retain(|(_, s)| *s != 0);
    Form::Affine { start: start.plus(&s), steps }
}
