//! Statements: assignments, members, updates, conditions, results.

use super::Checker;
use super::eval::LabelUse;
use super::frame::{Decl, Init, InitRule, Slot, SlotKind};
use super::scope::{Kind, Scope};
use super::value::{Axis, Num, Tensor, Val};
use crate::program::Ty;
use dlc_grammar::ast::{
    Block, Dim, Expr, Ident, Label, Member, NetKind, Stmt, StmtArm, StmtKind, Storage, StorageKind,
};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Size};
use std::rc::Rc;

/// How statements end.
pub(super) enum Flow {
    /// With the last one.
    Next,
    /// With a `return`.
    Return(Val),
}

impl Checker {
    /// Works through statements in a scope. Mistakes are reported and the statements after them go on.
    pub(super) fn run(&mut self, block: &Block, sc: &Scope) -> Flow {
        for stmt in &block.stmts {
            if let Flow::Return(v) = self.stmt(stmt, sc) {
                return Flow::Return(v);
            }
        }
        Flow::Next
    }

    fn stmt(&mut self, stmt: &Stmt, sc: &Scope) -> Flow {
        match &stmt.kind {
            StmtKind::Return(values) => return self.return_stmt(values, stmt.span, sc),
            StmtKind::If { arms, otherwise } => return self.if_stmt(arms, otherwise.as_ref(), sc),
            StmtKind::Assign { names, value } => self.assign(names, value, sc),
            StmtKind::Member { label, what } => self.member_stmt(label, what, sc),
            StmtKind::Update { name, value } => self.update(name, value, sc),
            StmtKind::Repeat { count, var, index, body } => {
                self.repeat(count, var.as_ref(), index.as_ref(), body, sc);
            }
            StmtKind::Init { globs, value } => {
                let init = Rc::new(Init { value: value.clone(), scope: sc.snapshot() });
                if sc.owner().is_some_and(|o| o.net) {
                    self.root().inits.push(InitRule { globs: globs.clone(), init });
                } else {
                    let message = "a function has no weights to initialize";
                    self.report(Diagnostic::error("E0112", stmt.span, message));
                }
            }
            StmtKind::Equation { name, indices, value } => self.equation(name, indices, value, sc),
        }
        Flow::Next
    }

    fn return_stmt(&mut self, values: &[Expr], span: Span, sc: &Scope) -> Flow {
        if sc.in_repeat() {
            let d = Diagnostic::error("E0113", span, "`return` cannot stand inside a `repeat`");
            return Flow::Return(self.error(d.help("give a name a value, and return it after the loop")));
        }
        let mut found: Vec<Val> = values.iter().map(|e| self.eval(e, sc)).collect();
        let single = found.len() == 1;
        let value = match single {
            true => found.remove(0),
            false if found.iter().any(Val::is_poison) => Val::Poison,
            false => Val::Tuple(found.into()),
        };
        Flow::Return(self.of_bearable_size(value, span))
    }

    fn if_stmt(&mut self, arms: &[StmtArm], otherwise: Option<&Block>, sc: &Scope) -> Flow {
        for arm in arms {
            let cond = self.eval(&arm.cond, sc);
            match self.decided(&cond, arm.cond.span) {
                None => return Flow::Next,
                Some(true) => return self.inner_block(&arm.body, sc),
                Some(false) => {}
            }
        }
        otherwise.map_or(Flow::Next, |body| self.inner_block(body, sc))
    }

    fn inner_block(&mut self, body: &Block, sc: &Scope) -> Flow {
        let inner = sc.child(Kind::Block);
        let flow = self.run(body, &inner);
        inner.end("if");
        flow
    }

    fn assign(&mut self, names: &[Ident], value: &Expr, sc: &Scope) {
        let v = self.eval(value, sc);
        if let [name] = names {
            return sc.set(&name.text.as_str().into(), v, name.span);
        }
        let parts = self.unpack(v, names.len(), value.span);
        for (i, name) in names.iter().enumerate() {
            let part = parts.as_ref().map_or(Val::Poison, |p| p[i].clone());
            sc.set(&name.text.as_str().into(), part, name.span);
        }
    }

    /// Takes a value apart: several results, a list, or a tensor along its first axis.
    pub(crate) fn unpack(&mut self, v: Val, n: usize, span: Span) -> Option<Vec<Val>> {
        match v {
            Val::Poison => None,
            Val::List(items) | Val::Tuple(items) if items.len() == n => Some(items.to_vec()),
            Val::List(items) | Val::Tuple(items) => {
                let message = format!("{} values for {n} names", items.len());
                self.report(Diagnostic::error("E0312", span, message));
                None
            }
            Val::Tensor(t) if t.axes.first().is_some_and(|a| a.size.is(n as i64)) => {
                self.at(span);
                let x = self.use_(&t);
                let part = |c: &mut Checker, i: usize| {
                    let v = c.b().slice(x, 0, Size::from(i as i64), 1, Size::one());
                    let v = c.b().split(v, 0, &[]);
                    Val::Tensor(c.tensor(v, t.tags()[1..].to_vec()))
                };
                Some((0..n).map(|i| part(self, i)).collect())
            }
            other => {
                let message = format!("{} cannot be taken apart into {n} values", self.show(&other));
                self.report(Diagnostic::error("E0312", span, message));
                None
            }
        }
    }

    fn member_stmt(&mut self, label: &Label, what: &Member, sc: &Scope) {
        let Some(path) = self.label_text(label, sc) else { return };
        let label = LabelUse { path, span: label.span };
        if !sc.owner().is_some_and(|o| o.net) {
            let d = Diagnostic::error("E0112", label.span, "a function has no weights, so nothing in it has a name");
            self.report(d.help("make it a `block`"));
            return sc.define(label.path, Val::Poison, label.span);
        }
        match what {
            Member::Storage(storage) => self.storage(label, storage, sc),
            Member::Expr(e) => match self.eval_member(e, &label, sc) {
                Val::Poison => sc.define(label.path, Val::Poison, label.span),
                Val::Ctor(ctor) => {
                    self.declare_layer(ctor, label, sc);
                }
                Val::Net(net) => match self.configure(net, Vec::new(), e.span, Some(&label)) {
                    Val::Ctor(ctor) => {
                        self.declare_layer(ctor, label, sc);
                    }
                    _ => sc.define(label.path, Val::Poison, label.span),
                },
                Val::Tensor(t) => self.alias(label, &t, e.span, sc),
                other => {
                    let message = format!("`{}:` names a layer or a weight, got {}", label.path, self.show(&other));
                    self.report(Diagnostic::error("E0112", e.span, message));
                    sc.define(label.path, Val::Poison, label.span);
                }
            },
        }
    }

    /// A second checkpoint name for a weight.
    fn alias(&mut self, label: LabelUse, t: &Tensor, span: Span, sc: &Scope) {
        let root = self.root_index();
        let frame = &self.frames[root];
        let data = frame.root.as_ref().expect("the index is a root's");
        let slot = data.slot_values.iter().position(|v| *v == Some(t.value) && t.frame == frame.id);
        let Some(slot) = slot else {
            let message = format!("`{}:` names a layer or a weight, and this is computed", label.path);
            let d = Diagnostic::error("E0112", span, message);
            self.report(d.help(format!("`{} = ..` gives a value a name", label.path)));
            return sc.define(label.path, Val::Poison, label.span);
        };
        if self.new_label(&label, sc) {
            self.root().aliases.push((label.path.clone(), slot, label.span));
            sc.define(label.path, Val::Tensor(t.clone()), label.span);
        }
    }

    /// `weight: param [O, I] = init`.
    fn storage(&mut self, label: LabelUse, storage: &Storage, sc: &Scope) {
        let Some((ty, tags)) = self.storage_ty(&label, storage, sc) else {
            return sc.define(label.path, Val::Poison, label.span);
        };
        let kind = match storage.kind {
            StorageKind::Param if self.root().kind == Some(NetKind::Optimizer) => {
                let message = "an optimizer has no `param`: what it keeps for a weight is `state`";
                self.report(Diagnostic::error("E0206", label.span, message));
                return sc.define(label.path, Val::Poison, label.span);
            }
            StorageKind::Param => SlotKind::Param,
            StorageKind::State => SlotKind::State,
        };
        if kind == SlotKind::Param && !ty.dtype.is_float() {
            let message = format!("a `param` is trained, so it is float; `{}` is {}", label.path, ty.dtype);
            self.report(Diagnostic::error("E0402", label.span, message).help("`state` stores integers"));
            return sc.define(label.path, Val::Poison, label.span);
        }
        if !self.new_label(&label, sc) {
            return;
        }
        let init = storage.init.as_ref().map(|e| Rc::new(Init { value: e.clone(), scope: sc.snapshot() }));
        let added = self.root().adapter.is_some();
        let decl = Decl { kind, ty, tags, span: label.span, init, summed: None, added, adapted: None };
        let slot = self.add_slot(Slot { path: label.path.clone(), decl: Rc::new(decl) });
        self.frame().labels.push(label.path.clone());
        let root = self.root_index();
        let root = self.frames[root].id;
        sc.define(label.path, Val::Stored { slot, root }, label.span);
    }

    fn storage_ty(
        &mut self,
        label: &LabelUse,
        storage: &Storage,
        sc: &Scope,
    ) -> Option<(Ty, Vec<Option<super::value::Tag>>)> {
        let Some(ty) = &storage.ty else { return self.first_input_ty(label) };
        let dtype = self.dtype_of(ty)?.unwrap_or(DType::F32);
        let Some(dims) = &ty.dims else {
            let message = format!("`{}` needs a shape: `{} [D]`", label.path, storage.kind.keyword());
            self.report(Diagnostic::error("E0204", ty.span, message));
            return None;
        };
        let mut axes = Vec::new();
        for (i, dim) in dims.iter().enumerate() {
            let Dim::Expr(e) = dim else {
                axes.extend(self.weight_axes(label, dims, i)?);
                continue;
            };
            let v = self.eval(e, sc);
            let (size, tag) = self.as_size(&v, e.span)?;
            axes.push(Axis { size, tag });
        }
        let shape: Vec<Size> = axes.iter().map(|a| a.size.clone()).collect();
        // The rank of an adapter may be known only as it runs.
        let rank = self.root().adapter.as_ref().map_or_else(Vec::new, Size::dims);
        if let Some(dynamic) = shape.iter().find(|s| !s.dims().iter().all(|d| rank.contains(d))) {
            self.dynamic_weight(label, &shape, &dynamic.clone());
            return None;
        }
        Some((Ty { dtype, shape }, axes.into_iter().map(|a| a.tag).collect()))
    }

    /// What `_` and `..` are in the shape of an optimizer's state: the axes that the weight has there.
    fn weight_axes(&mut self, label: &LabelUse, dims: &[Dim], at: usize) -> Option<Vec<Axis>> {
        let span = dims[at].span();
        if self.root().kind != Some(NetKind::Optimizer) {
            let message = format!("`{}` needs a size for each axis", label.path);
            self.report(Diagnostic::error("E0204", span, message));
            return None;
        }
        let shape = self.first_input_ty(label)?.0.shape;
        let is_rest = |d: &&Dim| matches!(d, Dim::Rest(_));
        let rests = dims.iter().filter(is_rest).count();
        let others = dims.len() - rests;
        if rests > 1 || others > shape.len() || (rests == 0 && others < shape.len()) {
            let weight = self.show_sizes(&shape);
            let message =
                format!("`_` and `..` are axes of the weight, which is {weight}, and this is no shape like it");
            self.report(
                Diagnostic::error("E0204", span, message).help("`[.., _, 1]` is as long as all axes but the last"),
            );
            return None;
        }
        let under = shape.len() - others;
        let before = dims[..at].iter().filter(is_rest).count();
        let first = at - before + before * under;
        let count = if is_rest(&&dims[at]) { under } else { 1 };
        Some(shape[first..first + count].iter().map(|size| Axis { size: size.clone(), tag: None }).collect())
    }

    fn dynamic_weight(&mut self, label: &LabelUse, shape: &[Size], dynamic: &Size) {
        let layer = self.levels.last().and_then(|l| l.layer.as_ref()).map_or("", |l| &*l.label);
        let path = super::net::join(layer, &label.path);
        let dims: Vec<String> = dynamic.dims().into_iter().map(|d| self.program.dims[usize::from(d)].clone()).collect();
        let known = if dims.len() == 1 { "is known" } else { "are known" };
        let message = format!(
            "`{path}` would be {}, and {} {known} only at run time",
            self.show_sizes(shape),
            dims.join(" and ")
        );
        let model = self.levels.first().and_then(|l| l.layer.as_ref()).map_or("M", |l| &l.ctor.net.ast.name.text);
        let help = format!("make {0} a parameter (`model {model}({0} = 128)`) or pool over {0} first", dims[0]);
        self.report(Diagnostic::error("E0204", label.span, message).help(help));
    }

    /// An optimizer's state has the weight's shape.
    fn first_input_ty(&mut self, label: &LabelUse) -> Option<(Ty, Vec<Option<super::value::Tag>>)> {
        let root = self.root_index();
        let frame = &self.frames[root];
        let kind = frame.root.as_ref().and_then(|r| r.kind);
        let first = frame.builder.f.params.first().map(|p| p.ty.clone());
        match (kind, first) {
            (Some(NetKind::Optimizer), Some(ty)) => {
                let tags = vec![None; ty.rank()];
                Some((ty, tags))
            }
            _ => {
                let message = format!("`{}` needs a shape: only an optimizer's state takes the weight's", label.path);
                self.report(Diagnostic::error("E0204", label.span, message));
                None
            }
        }
    }

    /// `state <- value`.
    fn update(&mut self, name: &Ident, value: &Expr, sc: &Scope) {
        let v = self.eval(value, sc);
        let before = sc.get(&name.text);
        match before {
            None => {
                let message = format!("nothing is called `{}`", name.text);
                self.report(Diagnostic::error("E0102", name.span, message));
            }
            Some(Val::Poison) => {}
            Some(Val::Stored { slot, .. }) if self.root().slots[slot].decl.kind == SlotKind::State => {
                let ty = self.root().slots[slot].decl.ty.clone();
                if let Some(t) = self.next_value(name, &v, &ty, value.span) {
                    self.set_state(slot, t);
                }
            }
            Some(Val::Stored { .. }) => {
                let message = format!("`{}` is a `param`, which training changes; `<-` changes a `state`", name.text);
                self.report(Diagnostic::error("E0206", name.span, message));
            }
            Some(Val::Tensor(t)) if self.root().kind == Some(NetKind::Optimizer) => {
                let ty = Ty { dtype: t.dtype, shape: t.shape() };
                if let Some(t) = self.next_value(name, &v, &ty, value.span) {
                    sc.set(&name.text.as_str().into(), Val::Tensor(t), name.span);
                }
            }
            Some(_) => {
                let message = format!("`{}` is not stored, and `<-` changes a `state`", name.text);
                let d = Diagnostic::error("E0206", name.span, message);
                self.report(d.help(format!("`{} = ..` gives a name another value", name.text)));
            }
        }
    }

    /// A state's next value, which has its shape and type and lets no gradient pass.
    fn next_value(&mut self, name: &Ident, v: &Val, ty: &Ty, span: Span) -> Option<Tensor> {
        self.at(span);
        let (value, axes) = match v {
            Val::Poison => return None,
            Val::Num(_) | Val::Bool(_) | Val::Truth(_) => {
                let value = self.as_value(v, ty.dtype);
                (self.b().stretch(value, &ty.shape), None)
            }
            Val::Tensor(t) => (self.use_(t), Some(t.axes.clone())),
            other => {
                let message = format!("a state is a tensor, got {}", self.show(other));
                self.report(Diagnostic::error("E0207", span, message));
                return None;
            }
        };
        if let Some(axes) = axes {
            let found = self.b().ty(value).clone();
            if found != *ty {
                let shown = |c: &Checker, ty: &Ty| {
                    let shape = c.show_sizes(&ty.shape);
                    if ty.dtype == DType::F32 { shape } else { format!("{}{shape}", ty.dtype) }
                };
                let next = if found.dtype == DType::F32 { self.show_shape(&axes) } else { shown(self, &found) };
                let message = format!("`{}` is {}, its next value {next}", name.text, shown(self, ty));
                self.report(Diagnostic::error("E0207", span, message));
                return None;
            }
        }
        let tags = vec![None; ty.rank()];
        let t = self.tensor(value, tags);
        match self.stop(&Val::Tensor(t)) {
            Val::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// A number for each name that a loop goes through.
    pub(super) fn loop_items(&mut self, count: &Expr, sc: &Scope) -> Option<Vec<Val>> {
        match self.eval(count, sc) {
            Val::Poison => None,
            Val::List(items) => Some(items.to_vec()),
            v => {
                let n = self.as_int(&v, count.span)?;
                if !(0..=MOST_ITERATIONS).contains(&n) {
                    let message = format!("a `repeat` has 0 to {MOST_ITERATIONS} iterations, got {n}");
                    self.report(Diagnostic::error("E0111", count.span, message));
                    return None;
                }
                Some((0..n).map(|i| Val::Num(Num::plain(super::value::NumVal::Int(i)))).collect())
            }
        }
    }
}

/// More iterations than this are a slip.
const MOST_ITERATIONS: i64 = 10_000;
