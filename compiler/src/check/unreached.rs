//! Items that nothing uses are not worked through, since their sizes are unknown. Their names are looked up all the same,
//! so that a slip in a file of blocks is found before a model uses them.

use super::Checker;
use super::builtin::Builtin;
use super::load::{ItemRef, PRELUDE};
use dlc_grammar::ast::{
    Axis, Block, Body, Dim, Expr, ExprKind, Ident, Index, Label, LhsIndex, Member, Outputs, Param, Part, Rearrange,
    Stage, StageKind, Stmt, StmtKind, Ty,
};
use dlc_grammar::{Diagnostic, Span, nearest};
use rustc_hash::FxHashSet as HashSet;

/// The names of an item: those it defines anywhere, and those it uses.
#[derive(Default)]
struct Names {
    defined: HashSet<String>,
    used: Vec<(String, Span)>,
}

impl Checker {
    /// Looks up the names in the items of a module that nothing has used so far.
    pub fn check_unreached(&mut self, module: u16) {
        for (_, item) in self.modules.own(module).to_vec() {
            let mut names = Names::default();
            match &item {
                ItemRef::Fn(f) if !self.reached.contains(&f.id) => {
                    names.params(&f.ast.axes);
                    names.params(&f.ast.params);
                    names.outputs(f.ast.outputs.as_ref());
                    f.ast.require.iter().for_each(|e| names.expr(e));
                    names.body(&f.ast.body);
                    if let Some(d) = &f.ast.derivative {
                        names.define(&d.result);
                        names.define(&d.cotangent);
                        names.block(&d.body);
                    }
                }
                ItemRef::Net(net) if !self.reached.contains(&net.id) => {
                    names.params(&net.ast.config);
                    names.params(&net.ast.inputs);
                    names.outputs(net.ast.outputs.as_ref());
                    net.ast.require.iter().for_each(|e| names.expr(e));
                    names.body(&net.ast.body);
                }
                ItemRef::Const(c) => names.expr(&c.ast.value),
                ItemRef::Fn(_) | ItemRef::Net(_) | ItemRef::Config(_) | ItemRef::Module(_) => {}
            }
            self.look_up(names, module);
        }
    }

    fn look_up(&mut self, names: Names, module: u16) {
        for (name, span) in names.used {
            let known = |c: &Checker, module: u16| c.modules.names(module).any(|n| n == name);
            if names.defined.contains(&name)
                || WORDS.contains(&name.as_str())
                || Builtin::named(&name).is_some()
                || known(self, module)
                || known(self, PRELUDE)
            {
                continue;
            }
            let mut all: Vec<String> = names.defined.iter().cloned().collect();
            for module in [module, PRELUDE] {
                all.extend(self.modules.names(module).map(str::to_string));
            }
            all.extend(WORDS.map(str::to_string));
            all.extend(Builtin::names().map(str::to_string));
            all.sort_unstable();
            let near = nearest(&name, all.iter().map(String::as_str));
            let message = format!("nothing is called `{name}`");
            self.report(Diagnostic::error("E0102", span, message).did_you_mean(near));
        }
    }
}

/// Words that stand for something without being defined, somewhere at least.
const WORDS: [&str; 10] = ["training", "pi", "inf", "lowest", "params", "keep", "shape", "fan_in", "fan_out", "tensor"];

impl Names {
    fn define(&mut self, name: &Ident) {
        self.defined.insert(name.text.clone());
    }

    fn params(&mut self, params: &[Param]) {
        for p in params {
            self.define(&p.name);
            p.ty.iter().for_each(|ty| self.ty(ty));
            p.default.iter().for_each(|e| self.expr(e));
        }
    }

    fn outputs(&mut self, outputs: Option<&Outputs>) {
        outputs.iter().flat_map(|o| &o.list).for_each(|o| self.ty(&o.ty));
    }

    /// A name alone in a type is bound by it; in a longer expression it is used.
    fn ty(&mut self, ty: &Ty) {
        for dim in ty.dims.iter().flatten() {
            match dim {
                Dim::Expr(Expr { kind: ExprKind::Name(n), .. }) => {
                    self.defined.insert(n.clone());
                }
                Dim::Expr(e) => self.expr(e),
                Dim::Rest(_) | Dim::Any(_) => {}
            }
        }
    }

    fn body(&mut self, body: &Body) {
        match body {
            Body::Expr(e) => self.expr(e),
            Body::Block(block) => self.block(block),
        }
    }

    fn block(&mut self, block: &Block) {
        block.stmts.iter().for_each(|s| self.stmt(s));
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match &stmt.kind {
            StmtKind::Return(values) => values.iter().for_each(|e| self.expr(e)),
            StmtKind::Repeat { count, var, index, body } => {
                var.iter().chain(index).for_each(|i| self.define(i));
                self.expr(count);
                self.block(body);
            }
            StmtKind::If { arms, otherwise } => {
                for arm in arms {
                    self.expr(&arm.cond);
                    self.block(&arm.body);
                }
                otherwise.iter().for_each(|b| self.block(b));
            }
            // First values are worked out where their names mean something.
            StmtKind::Init { .. } => {}
            StmtKind::Member { label, what } => {
                self.label(label);
                match what {
                    Member::Storage(s) => s.ty.iter().for_each(|ty| self.sizes(ty)),
                    Member::Expr(e) => self.expr(e),
                }
            }
            StmtKind::Update { name, value } => {
                self.used.push((name.text.clone(), name.span));
                self.expr(value);
            }
            StmtKind::Equation { name, indices, value } => {
                self.define(name);
                for i in indices {
                    if let LhsIndex::Var(v) = i {
                        self.define(v);
                    }
                }
                self.expr(value);
            }
            StmtKind::Assign { names, value } => {
                names.iter().for_each(|n| self.define(n));
                self.expr(value);
            }
        }
    }

    /// The sizes of a weight bind nothing.
    fn sizes(&mut self, ty: &Ty) {
        for dim in ty.dims.iter().flatten() {
            if let Dim::Expr(e) = dim {
                self.expr(e);
            }
        }
    }

    fn label(&mut self, label: &Label) {
        // `a.b` is written from its first word on.
        if let Some(Part::Text(first)) = label.segments.first().and_then(|s| s.parts.first()) {
            self.define(first);
        }
        for part in label.segments.iter().flat_map(|s| &s.parts) {
            if let Part::Hole(e) = part {
                self.expr(e);
            }
        }
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Name(name) => self.used.push((name.clone(), e.span)),
            ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::None => {}
            ExprKind::List(items) | ExprKind::Tuple(items) => items.iter().for_each(|e| self.expr(e)),
            ExprKind::Unary { operand, .. } => self.expr(operand),
            ExprKind::Binary { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::If { arms, otherwise } => {
                for arm in arms {
                    self.expr(&arm.cond);
                    self.expr(&arm.value);
                }
                self.expr(otherwise);
            }
            ExprKind::Call { callee, args } => {
                self.expr(callee);
                args.iter().for_each(|a| self.expr(&a.value));
            }
            ExprKind::Index { base, items } => {
                self.expr(base);
                items.iter().for_each(|i| self.index(i));
            }
            ExprKind::Field { base, .. } => self.expr(base),
            ExprKind::Pipe { input, stages } => {
                self.expr(input);
                stages.iter().for_each(|s| self.stage(s));
            }
        }
    }

    fn index(&mut self, index: &Index) {
        match index {
            // An axis by name, or an index variable.
            Index::At(Expr { kind: ExprKind::Name(n), .. }) => {
                self.defined.insert(n.clone());
            }
            Index::At(e) => {
                if let ExprKind::Binary { left, .. } = &e.kind
                    && let ExprKind::Name(n) = &left.kind
                {
                    self.defined.insert(n.clone());
                }
                self.expr(e);
            }
            Index::Slice { lo, hi, by, .. } => [lo, hi, by].into_iter().flatten().for_each(|e| self.expr(e)),
            Index::Rest(_) => {}
        }
    }

    fn stage(&mut self, stage: &Stage) {
        stage.label.iter().for_each(|l| self.label(l));
        match &stage.what {
            StageKind::Expr(e) => self.expr(e),
            StageKind::Rearrange(Rearrange { left, right, .. }) => {
                left.iter().for_each(|a| self.axis(a, true));
                right.iter().for_each(|a| self.axis(a, false));
            }
        }
    }

    /// The left side of a rearrange binds names; the right side uses them.
    fn axis(&mut self, axis: &Axis, left: bool) {
        match axis {
            Axis::Group(parts, _) => parts.iter().for_each(|a| self.axis(a, left)),
            Axis::Expr(Expr { kind: ExprKind::Name(n), .. }) if left => {
                self.defined.insert(n.clone());
            }
            Axis::Expr(e) => self.expr(e),
            Axis::Rest(_) => {}
        }
    }
}
