//! Expressions: names, literals, operators, calls, pipes.

use super::Checker;
use super::builtin::Builtin;
use super::load::{Found, ItemRef, NetItem, PRELUDE};
use super::scope::{Kind, Scope};
use super::value::{AxisArgs, AxisSel, Ctor, Func, Given, Num, NumVal, Tag, Target, Val};
use dlc_grammar::ast::{Arg, BinaryOp, Expr, ExprArm, ExprKind, Ident, Index, Label, Part, Stage, StageKind, UnaryOp};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::Prim;
use std::rc::Rc;

/// Expressions and calls nest this deep, so that no text can exhaust the stack of a thread with 2 MiB.
const DEEPEST: usize = 400;

/// A layer's name in a pipe.
#[derive(Clone)]
pub(super) struct LabelUse {
    pub path: Rc<str>,
    pub span: Span,
}

/// Whether a name is wanted for its value, or to be called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Value,
    Callee,
}

impl Checker {
    /// The value of an expression. A mistake is reported and gives poison.
    pub fn eval(&mut self, e: &Expr, sc: &Scope) -> Val {
        self.eval_as(e, sc, Want::Value)
    }

    fn callee(&mut self, e: &Expr, sc: &Scope) -> Val {
        self.eval_as(e, sc, Want::Callee)
    }

    fn eval_as(&mut self, e: &Expr, sc: &Scope, want: Want) -> Val {
        if self.depth >= DEEPEST {
            return self.too_deep(e.span);
        }
        if !self.step(e.span) {
            return Val::Poison;
        }
        self.depth += 1;
        let v = match &e.kind {
            ExprKind::Number(n) => self.literal(n, e.span),
            ExprKind::Str(s) => Val::Str(s.value.as_str().into()),
            ExprKind::Bool(b) => Val::Bool(*b),
            ExprKind::None => Val::None,
            ExprKind::Name(name) => self.name(name, e.span, sc, want),
            ExprKind::List(items) => {
                let list = Val::List(items.iter().map(|i| self.eval(i, sc)).collect());
                self.of_bearable_size(list, e.span)
            }
            ExprKind::Tuple(items) => {
                let tuple = Val::Tuple(items.iter().map(|i| self.eval(i, sc)).collect());
                self.of_bearable_size(tuple, e.span)
            }
            ExprKind::Unary { op, operand } => self.unary(*op, operand, e.span, sc),
            ExprKind::Binary { op, op_span, left, right } => self.binary(*op, (*op_span, e.span), left, right, sc),
            ExprKind::If { arms, otherwise } => self.choose(arms, otherwise, sc),
            ExprKind::Call { callee, args } => self.call_expr(callee, args, e.span, sc),
            ExprKind::Index { base, items } if sc.in_equation() && self.known_at(base.span).is_some() => {
                self.access(base, items, e.span, sc)
            }
            ExprKind::Index { base, items } => self.index_expr(base, items, e.span, sc),
            ExprKind::Field { base, name } => self.field(base, name, e.span, sc),
            ExprKind::Pipe { input, stages } => self.pipe(input, stages, sc),
        };
        self.depth -= 1;
        match (&e.kind, &v) {
            (ExprKind::Name(_) | ExprKind::Field { .. }, Val::Tensor(t))
                if sc.in_equation() && !t.rest().is_empty() =>
            {
                let message = format!("no index says which element of {} is meant", self.show_tensor(t));
                let d = Diagnostic::error("E0309", e.span, message);
                self.error(d.help(format!("`{}[..]` is all of it", self.text(e.span))))
            }
            _ => v,
        }
    }

    pub(super) fn too_deep(&mut self, span: Span) -> Val {
        if std::mem::replace(&mut self.said_too_deep, true) {
            self.failures += 1;
            return Val::Poison;
        }
        self.error(Diagnostic::error("E0109", span, "calls and expressions nest too deep here"))
    }

    fn literal(&mut self, n: &dlc_grammar::ast::Number, span: Span) -> Val {
        let value = match n.text.replace('_', "").parse::<i64>() {
            Ok(int) if n.is_int => NumVal::Int(int),
            _ => NumVal::Float(n.value),
        };
        Val::Num(Num { value, tag: Some(Tag { name: None, env: 0, origin: span }) })
    }

    fn name(&mut self, name: &str, span: Span, sc: &Scope, want: Want) -> Val {
        if let Some(var) = sc.var(name) {
            if self.modules.in_prelude(span) {
                self.arguments.insert(span, var.span);
            }
            return match var.val {
                Val::Num(n) => {
                    let tag = Tag { name: Some(var.name), env: sc.env(), origin: span };
                    Val::Num(Num { value: n.value, tag: Some(tag) })
                }
                other => self.read(other),
            };
        }
        match self.global(name, span, sc.module_number()) {
            Some(Val::Num(n)) => {
                let tag = Tag { name: Some(name.into()), env: sc.env(), origin: span };
                Val::Num(Num { value: n.value, tag: Some(tag) })
            }
            Some(v) => v,
            None => self.unknown_name(name, span, sc, want),
        }
    }

    /// The present value of what is stored.
    fn read(&mut self, v: Val) -> Val {
        match v {
            Val::Index(var) => self.index_number(&var),
            Val::Stored { slot, .. } => {
                let tags = self.root().slots[slot].decl.tags.clone();
                Val::Tensor(self.slot_tensor(slot, tags))
            }
            other => other,
        }
    }

    /// What a name stands for outside of all bodies: an item of the module or of the prelude, or a word of the language.
    pub fn global(&mut self, name: &str, span: Span, module: u16) -> Option<Val> {
        for module in [module, PRELUDE] {
            let mut errors = Vec::new();
            let found = self.modules.find(module, name, &mut errors);
            for d in errors {
                self.report(d);
            }
            match found {
                Found::Item(item) => return Some(self.item(&item, span)),
                Found::Broken => {
                    self.failures += 1;
                    return Some(Val::Poison);
                }
                Found::Nothing => {}
            }
        }
        if let Some(v) = self.first_word(name) {
            return Some(v);
        }
        Some(match name {
            "training" => {
                self.asked_mode = true;
                Val::Bool(self.training)
            }
            "pi" => Val::float(std::f64::consts::PI),
            "inf" => Val::float(f64::INFINITY),
            "lowest" => Val::float(f64::from(f32::MIN)),
            _ => Val::Func(Func { target: Target::Builtin(Builtin::named(name)?), axes: None }),
        })
    }

    /// The value of an item.
    pub fn item(&mut self, item: &ItemRef, span: Span) -> Val {
        match item {
            ItemRef::Fn(f) => Val::Func(Func { target: Target::Item(f.clone()), axes: None }),
            ItemRef::Net(net) => Val::Net(net.clone()),
            ItemRef::Module(n) => Val::Module(*n),
            ItemRef::Config(c) => {
                let (kind, name) = (&c.ast.kind.text, &c.ast.name.text);
                let message = format!("`{name}` is a `{kind}` item, which has no value");
                self.error(Diagnostic::error("E0112", span, message))
            }
            ItemRef::Const(c) => {
                if let Some(v) = c.value.borrow().clone() {
                    return v;
                }
                if c.busy.replace(true) {
                    let message = format!("`{}` needs its own value", c.ast.name.text);
                    return self.error(Diagnostic::error("E0109", c.ast.name.span, message));
                }
                let v = self.eval(&c.ast.value, &Scope::module(c.module));
                c.busy.set(false);
                // A tensor belongs to the function in which it was made, so it is made anew in each.
                if !v.has_tensor() {
                    *c.value.borrow_mut() = Some(v.clone());
                }
                v
            }
        }
    }

    fn unknown_name(&mut self, name: &str, span: Span, sc: &Scope, want: Want) -> Val {
        if let Some(inside) = sc.gone(name) {
            let message = format!("`{name}` exists only inside the `{inside}`");
            let d = Diagnostic::error("E0103", span, message);
            return self.error(d.help(format!("give `{name}` a value before it")));
        }
        let message = match want {
            Want::Callee => format!("no function or layer `{name}`"),
            Want::Value => format!("nothing is called `{name}`"),
        };
        let mut known: Vec<String> = sc.names().iter().map(|n| n.to_string()).collect();
        for module in [sc.module_number(), PRELUDE] {
            known.extend(self.modules.names(module).map(str::to_string));
        }
        known.extend(["training", "pi", "inf", "lowest"].map(str::to_string));
        known.extend(self.hints.iter().cloned());
        known.extend(Builtin::names().map(str::to_string));
        let near = nearest(name, known.iter().map(String::as_str)).map(str::to_string);
        self.error(Diagnostic::error("E0102", span, message).did_you_mean(near.as_deref()))
    }

    fn unary(&mut self, op: UnaryOp, operand: &Expr, span: Span, sc: &Scope) -> Val {
        let v = self.eval(operand, sc);
        self.at(span);
        match op {
            UnaryOp::Neg => self.primitive(Prim::Neg, "-", span, vec![(v, operand.span)]),
            UnaryOp::Not => self.primitive(Prim::Not, "not", span, vec![(v, operand.span)]),
        }
    }

    fn binary(&mut self, op: BinaryOp, spans: (Span, Span), left: &Expr, right: &Expr, sc: &Scope) -> Val {
        let a = self.eval(left, sc);
        // `and` and `or` look at their right side only where the left leaves it open.
        match (op, &a) {
            (BinaryOp::And, Val::Bool(false)) | (BinaryOp::Or, Val::Bool(true)) => return a,
            _ => {}
        }
        let b = self.eval(right, sc);
        self.at(spans.1);
        self.operator(op, spans.0, (a, left.span), (b, right.span))
    }

    fn choose(&mut self, arms: &[ExprArm], otherwise: &Expr, sc: &Scope) -> Val {
        for arm in arms {
            let cond = self.eval(&arm.cond, sc);
            match self.decided(&cond, arm.cond.span) {
                None => return Val::Poison,
                Some(true) => return self.eval(&arm.value, sc),
                Some(false) => {}
            }
        }
        self.eval(otherwise, sc)
    }

    /// The truth of a condition that must be known while checking.
    pub(super) fn decided(&mut self, cond: &Val, span: Span) -> Option<bool> {
        let what = match cond {
            Val::Poison => return None,
            Val::Bool(b) => return Some(*b),
            Val::Truth(_) => "this condition is known only at run time",
            Val::Tensor(_) => "this condition is a tensor, known only at run time",
            _ => {
                let message = format!("a condition is a truth, got {}", self.show(cond));
                self.report(Diagnostic::error("E0111", span, message));
                return None;
            }
        };
        let d = Diagnostic::error("E0111", span, what);
        self.report(d.help("`where(condition, a, b)` chooses element by element"));
        None
    }

    /// Arguments, evaluated.
    pub(crate) fn args(&mut self, args: &[Arg], sc: &Scope) -> Vec<Given> {
        let name = |ident: &Ident| (Rc::from(ident.text.as_str()), ident.span);
        args.iter()
            .map(|a| Given { name: a.name.as_ref().map(name), val: self.eval(&a.value, sc), span: a.value.span })
            .collect()
    }

    /// The value of what a label names: a layer that it configures knows its name for messages.
    pub(super) fn eval_member(&mut self, e: &Expr, label: &LabelUse, sc: &Scope) -> Val {
        if let ExprKind::Call { callee, args } = &e.kind
            && let Val::Net(net) = self.callee(callee, sc)
            && net.ast.has_config
        {
            let args = self.args(args, sc);
            return self.configure(net, args, e.span, Some(label));
        }
        self.eval(e, sc)
    }

    fn call_expr(&mut self, callee: &Expr, args: &[Arg], span: Span, sc: &Scope) -> Val {
        if sc.in_equation()
            && let Some(v) = self.reducer_call(callee, args, span, sc)
        {
            return v;
        }
        match self.callee(callee, sc) {
            Val::Net(net) if net.ast.has_config => {
                let args = self.args(args, sc);
                self.configure(net, args, span, None)
            }
            f => {
                let args = self.args(args, sc);
                self.invoke(f, args, None, span, sc)
            }
        }
    }

    fn pipe(&mut self, input: &Expr, stages: &[Stage], sc: &Scope) -> Val {
        let mut value = self.eval(input, sc);
        let mut span = input.span;
        for stage in stages {
            value = self.stage(stage, Given::new(value, span), sc);
            span = stage.span;
        }
        value
    }

    fn stage(&mut self, stage: &Stage, input: Given, sc: &Scope) -> Val {
        let label = match &stage.label {
            None => None,
            Some(label) => match self.label_text(label, sc) {
                None => return Val::Poison,
                Some(path) => {
                    self.stages.push(stage.span);
                    Some(LabelUse { path, span: label.span })
                }
            },
        };
        match (&stage.what, label) {
            (StageKind::Rearrange(r), None) => self.rearrange(r, input.val, sc),
            (StageKind::Rearrange(r), Some(label)) => {
                let d = Diagnostic::error("E0112", label.span, "a rearrangement has no weights, so it takes no name");
                self.report(d.label(r.span, "this"));
                Val::Poison
            }
            (StageKind::Expr(e), label) => self.apply_expr(e, input, label, sc),
        }
    }

    /// Puts a piped value before the other inputs of `f`, `f(a)`, `Net`, `Net(c)` or `Net(c)(a)`.
    fn apply_expr(&mut self, e: &Expr, piped: Given, label: Option<LabelUse>, sc: &Scope) -> Val {
        let (f, rest) = match &e.kind {
            ExprKind::Call { callee, args } => match self.callee(callee, sc) {
                Val::Net(net) if net.ast.has_config => {
                    let args = self.args(args, sc);
                    (self.configure(net, args, e.span, label.as_ref()), Vec::new())
                }
                f => (f, self.args(args, sc)),
            },
            _ => (self.callee(e, sc), Vec::new()),
        };
        let args = std::iter::once(piped).chain(rest).collect();
        self.invoke(f, args, label, e.span, sc)
    }

    /// Applies whatever can be applied.
    pub(super) fn invoke(&mut self, f: Val, args: Vec<Given>, label: Option<LabelUse>, span: Span, sc: &Scope) -> Val {
        match (f, label) {
            (Val::Poison, label) => {
                // The name is taken all the same, or using it later would be a second mistake.
                if let Some(label) = label {
                    sc.define(label.path, Val::Poison, label.span);
                }
                Val::Poison
            }
            (Val::Func(f), None) => self.call_func(&f, args, span),
            (Val::Layer(layer), None) => self.call_layer(&layer, args, span),
            (Val::Net(net), label) => {
                let ctor = self.configure(net, Vec::new(), span, label.as_ref());
                self.invoke(ctor, args, label, span, sc)
            }
            (Val::Ctor(ctor), Some(label)) => match self.declare_layer(ctor, label, sc) {
                Some(layer) => self.call_layer(&layer, args, span),
                None => Val::Poison,
            },
            (Val::Ctor(ctor), None) => self.call_unnamed(&ctor, args, span),
            (f @ (Val::Func(_) | Val::Layer(_)), Some(label)) => {
                let what = if matches!(f, Val::Func(_)) { "a function has no weights" } else { "a layer has its name" };
                let d = Diagnostic::error("E0112", label.span, format!("{what}, so it takes no name here"));
                self.error(d.help(format!("drop `{}:`", label.path)))
            }
            (f, _) => {
                let message = format!("{} cannot be called", self.show(&f));
                self.error(Diagnostic::error("E0112", span, message))
            }
        }
    }

    /// Makes a layer of a net and its configuration; a name comes later.
    pub(super) fn configure(
        &mut self,
        net: Rc<NetItem>,
        args: Vec<Given>,
        span: Span,
        label: Option<&LabelUse>,
    ) -> Val {
        let name = net.ast.name.text.clone();
        if let Some(arg) = args.iter().find(|a| a.val.has_tensor()) {
            let text = self.text(arg.span).to_string();
            let message = format!("the first parentheses configure a layer; `{text}` is an input");
            let place = label.map_or("name", |l| &l.path);
            let d = Diagnostic::error("E0104", arg.span, message).help(format!("`{text} -> {place}: {name}`"));
            return self.error(d);
        }
        let failed = args.iter().any(|a| a.val.is_poison());
        let noun = if net.ast.has_config { "setting" } else { "configuration" };
        match self.bind(&name, noun, &net.ast.config, args, span) {
            Some(config) if !failed => {
                for (param, given) in net.ast.config.iter().zip(&config) {
                    if given.is_none() && param.default.is_none() {
                        let message = format!("`{name}` needs `{}`", param.name.text);
                        let d = Diagnostic::error("E0107", span, message);
                        return self.error(d.help(format!("`{name}({})`", show_params(&net.ast.config))));
                    }
                }
                self.of_bearable_size(Val::Ctor(Rc::new(Ctor { net, config, span })), span)
            }
            _ => Val::Poison,
        }
    }

    fn index_expr(&mut self, base: &Expr, items: &[Index], span: Span, sc: &Scope) -> Val {
        match self.eval(base, sc) {
            Val::Poison => Val::Poison,
            Val::Func(f) => match self.axis_args(items, span, sc) {
                Some(axes) if f.axes.is_none() => Val::Func(Func { axes: Some(Rc::new(axes)), ..f }),
                Some(_) => self.error(Diagnostic::error("E0112", span, "this function has its axes already")),
                None => Val::Poison,
            },
            Val::Tensor(t) => self.index_tensor(t, items, span, sc),
            Val::List(list) | Val::Tuple(list) => self.element(&list, items, span, sc),
            other => {
                let message = format!("{} has no elements", self.show(&other));
                self.error(Diagnostic::error("E0112", span, message))
            }
        }
    }

    pub(super) fn element(&mut self, list: &[Val], items: &[Index], span: Span, sc: &Scope) -> Val {
        let [Index::At(e)] = items else {
            return self.error(Diagnostic::error("E0311", span, "an element of a list is chosen by one number"));
        };
        let Some(i) = self.static_int(e, sc) else { return Val::Poison };
        let n = list.len() as i64;
        match list.get(if i < 0 { i + n } else { i } as usize) {
            Some(v) if i >= -n => v.clone(),
            _ => self.error(Diagnostic::error("E0311", e.span, format!("there is no element {i} in a list of {n}"))),
        }
    }

    /// An integer that must be known while checking.
    pub(super) fn static_int(&mut self, e: &Expr, sc: &Scope) -> Option<i64> {
        let v = self.eval(e, sc);
        self.as_int(&v, e.span)
    }

    /// The value as an integer that is known while checking.
    pub(super) fn as_int(&mut self, v: &Val, span: Span) -> Option<i64> {
        let n = match v {
            Val::Poison => return None,
            Val::Num(n) => super::num::to_size(&n.value).and_then(|s| s.known()),
            Val::Axis(AxisSel::At(n, _)) => Some(*n),
            _ => None,
        };
        if n.is_none() {
            let message = format!("an integer that is known now is needed, got {}", self.show(v));
            self.report(Diagnostic::error("E0111", span, message));
        }
        n
    }

    /// `a.b.c`: the longest dotted name that is known, then what is in it.
    fn field(&mut self, base: &Expr, name: &Ident, span: Span, sc: &Scope) -> Val {
        let mut chain = vec![name];
        let mut at = base;
        while let ExprKind::Field { base, name } = &at.kind {
            chain.push(name);
            at = base;
        }
        chain.reverse();
        let (mut v, mut rest) = (None, &chain[..]);
        if let ExprKind::Name(first) = &at.kind {
            for n in (1..=chain.len()).rev() {
                let dotted = chain[..n].iter().fold(first.clone(), |text, part| text + "." + &part.text);
                if let Some(found) = sc.get(&dotted) {
                    (v, rest) = (Some(self.read(found)), &chain[n..]);
                    break;
                }
            }
        }
        let mut v = v.unwrap_or_else(|| self.eval(at, sc));
        while let Some((part, after)) = rest.split_first() {
            let taken;
            (v, taken) = self.member(v, part, after, span);
            rest = &after[taken..];
        }
        v
    }

    /// `v.part`; a layer's weight may take the names after it too, and says how many.
    fn member(&mut self, v: Val, part: &Ident, after: &[&Ident], span: Span) -> (Val, usize) {
        self.at(span);
        match v {
            Val::Poison => (Val::Poison, 0),
            Val::Tensor(t) if part.text == "t" => (self.transpose(&t, part.span), 0),
            Val::Layer(layer) => self.layer_member(&layer, part, after),
            Val::Module(n) => {
                let mut errors = Vec::new();
                let found = self.modules.find(n, &part.text, &mut errors);
                errors.into_iter().for_each(|d| self.report(d));
                match found {
                    Found::Item(item) => (self.item(&item, part.span), 0),
                    Found::Broken => (Val::Poison, 0),
                    Found::Nothing => {
                        let known: Vec<String> = self.modules.names(n).map(str::to_string).collect();
                        let near = nearest(&part.text, known.iter().map(String::as_str));
                        let message = format!("no item `{}` in this module", part.text);
                        let d = Diagnostic::error("E0102", part.span, message).did_you_mean(near);
                        (self.error(d), 0)
                    }
                }
            }
            other => {
                let message = format!("{} has no `.{}`", self.show(&other), part.text);
                (self.error(Diagnostic::error("E0208", part.span, message)), 0)
            }
        }
    }

    /// What stands in a function's brackets.
    fn axis_args(&mut self, items: &[Index], span: Span, sc: &Scope) -> Option<AxisArgs> {
        let mut args = AxisArgs { span, ..AxisArgs::default() };
        for item in items {
            match item {
                Index::Rest(_) => args.rest = true,
                Index::Slice { span, .. } => {
                    let message = "these brackets choose axes: a position, a name, `..` or `keep`";
                    self.report(Diagnostic::error("E0306", *span, message));
                    return None;
                }
                Index::At(e) => match self.axis_arg(e, sc)? {
                    None => args.keep = true,
                    Some(axis) => args.list.push(axis),
                },
            }
        }
        Some(args)
    }

    /// One axis: a position if it is written as a number or an axis parameter, else a name. `keep` is no axis.
    fn axis_arg(&mut self, e: &Expr, sc: &Scope) -> Option<Option<AxisSel>> {
        if let ExprKind::Name(name) = &e.kind {
            return match sc.get(name) {
                Some(Val::Axis(axis)) => Some(Some(axis)),
                Some(Val::Poison) => None,
                _ if name == "keep" => Some(None),
                _ => Some(Some(AxisSel::Called(name.as_str().into(), e.span))),
            };
        }
        let n = self.static_int(e, sc)?;
        Some(Some(AxisSel::At(n, e.span)))
    }

    /// The text of a label, its holes filled.
    pub(super) fn label_text(&mut self, label: &Label, sc: &Scope) -> Option<Rc<str>> {
        let mut text = String::new();
        let inside = sc.child(Kind::Label);
        for (i, segment) in label.segments.iter().enumerate() {
            if i > 0 {
                text.push('.');
            }
            for part in &segment.parts {
                match part {
                    Part::Text(t) => text.push_str(&t.text),
                    Part::Hole(e) => match self.eval(e, &inside) {
                        Val::Poison => return None,
                        Val::Str(s) => text.push_str(&s),
                        v => text.push_str(&self.as_int(&v, e.span)?.to_string()),
                    },
                }
            }
        }
        let text: Rc<str> = text.into();
        let frame = self.frame();
        if frame.root.is_none() {
            frame.written.push((label.clone(), text.clone()));
        }
        Some(text)
    }
}

/// A parameter list as the user would write it: `O, bias = true`.
fn show_params(params: &[dlc_grammar::ast::Param]) -> String {
    let names: Vec<&str> = params.iter().filter(|p| p.default.is_none()).map(|p| p.name.text.as_str()).collect();
    names.join(", ")
}
