//! What configuration items and first values of weights need of the checker: expressions with names of their own, and
//! functions of the prelude that are called by what is around the text.

use super::Checker;
use super::frame::{Decl, SlotKind};
use super::load::PRELUDE;
use super::scope::Scope;
use super::value::{Func, Given, Num, Target, Tensor, Val};
use crate::program::{FnId, Op, Ty, Value};
use dlc_grammar::ast::Expr;
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Size};

/// The weight whose first value is being worked out.
#[derive(Clone, Debug)]
pub(super) struct First {
    shape: Vec<Size>,
    fan_in: i64,
    fan_out: i64,
}

impl Checker {
    /// The number of mistakes found so far, warnings not counted.
    pub fn errors(&self) -> usize {
        self.diagnostics.iter().filter(|d| d.is_error()).count()
    }

    /// The value of an expression; a function that takes nothing is called: `zeros`.
    pub fn eval_value(&mut self, e: &Expr, sc: &Scope) -> Val {
        match self.eval(e, sc) {
            Val::Func(f) if takes_nothing(&f) => self.call_func(&f, Vec::new(), e.span),
            v => v,
        }
    }

    /// Calls a function of the prelude.
    pub fn call_prelude(&mut self, name: &str, args: Vec<Given>, span: Span) -> Val {
        let f = self.global(name, span, PRELUDE).unwrap_or(Val::Poison);
        self.invoke(f, args, None, span, &Scope::module(PRELUDE))
    }

    /// Tries something out: gives what is found, and takes back all functions and mistakes that were made on the way.
    pub fn tried<T>(&mut self, find: impl FnOnce(&mut Checker) -> T) -> T {
        let (functions, said, depth) = (self.program.functions.len(), self.diagnostics.len(), self.frames.len());
        let (failures, asked_mode) = (self.failures, self.asked_mode);
        let instances = std::mem::take(&mut self.instances);
        let fn_instances = std::mem::take(&mut self.fn_instances);
        let interned = std::mem::take(&mut self.interned);
        let found = find(self);
        self.program.functions.truncate(functions);
        self.diagnostics.truncate(said);
        self.frames.truncate(depth);
        self.function_items.retain(|f, _| (f.0 as usize) < functions);
        (self.failures, self.asked_mode) = (failures, asked_mode);
        (self.instances, self.fn_instances, self.interned) = (instances, fn_instances, interned);
        found
    }

    /// The tensor with another type of elements.
    pub fn cast_tensor(&mut self, t: &Tensor, to: DType) -> Val {
        let value = self.use_(t);
        let value = self.b().cast(value, to);
        Val::Tensor(self.tensor(value, t.tags()))
    }

    /// The function that gives a weight's first value, and how many random sites it takes: its parameters are these, its
    /// result has the weight's type. Weights with equal functions share one.
    pub fn first_value(&mut self, decl: &Decl) -> Option<(FnId, usize)> {
        let init = decl.init.as_ref()?;
        let (fan_in, fan_out) = fans(decl);
        let before = self.first.replace(First { shape: decl.ty.shape.clone(), fan_in, fan_out });
        self.open_root("first value");
        self.root().each_alone = true;
        let v = self.eval_value(&init.value, &init.scope);
        let value = self.fitted(v, &decl.ty, init.value.span);
        self.first = before;
        let Some(value) = value else {
            self.drop_frame();
            return None;
        };
        let t = self.tensor(value, vec![None; decl.ty.rank()]);
        let done = self.close_root(&Val::Tensor(t));
        debug_assert!(
            done.root.slots.iter().all(|s| matches!(s.decl.kind, SlotKind::Site(_))),
            "only sites are slots here"
        );
        let sites = done.root.slots.len();
        Some((self.intern(done.function), sites))
    }

    /// A first value in the type of its weight.
    fn fitted(&mut self, v: Val, ty: &Ty, span: Span) -> Option<Value> {
        let v = self.list_tensor(&v, span);
        let value = match &v {
            Val::Poison => return None,
            Val::Num(_) | Val::Bool(_) => self.as_value(&v, ty.dtype),
            Val::Tensor(t) => {
                let value = self.use_(t);
                self.b().cast(value, ty.dtype)
            }
            other => {
                let message = format!("a first value is numbers, got {}", self.show(other));
                self.report(Diagnostic::error("E0207", span, message));
                return None;
            }
        };
        let own = self.b().shape(value);
        let fits = crate::program::build::Builder::common_shape(&[own.clone(), ty.shape.clone()]);
        if fits.as_ref() != Some(&ty.shape) {
            let (own, wanted) = (self.show_sizes(&own), self.show_sizes(&ty.shape));
            let message = format!("this first value is {own}, and the weight is {wanted}");
            self.report(Diagnostic::error("E0207", span, message));
            return None;
        }
        Some(self.b().stretch(value, &ty.shape))
    }

    /// The words that only first values know.
    pub(super) fn first_word(&self, name: &str) -> Option<Val> {
        let first = self.first.as_ref()?;
        match name {
            "shape" => Some(Val::List(first.shape.iter().map(|s| Val::Num(Num::plain(Num::size(s)))).collect())),
            "fan_in" => Some(Val::int(first.fan_in)),
            "fan_out" => Some(Val::int(first.fan_out)),
            _ => None,
        }
    }

    /// `rand()`: numbers of [0, 1), one for each element of the weight.
    pub(super) fn first_rand(&mut self, span: Span) -> Val {
        let Some(first) = self.first.clone() else {
            let message = "`rand()` is for first values of weights";
            let help = "`rand[0](x)` and `bernoulli[..](x, q)` draw along the axes of a tensor";
            return self.error(Diagnostic::error("E0116", span, message).help(help));
        };
        if !self.may_draw(span) {
            return Val::Poison;
        }
        let site = self.site();
        let site = self.use_(&site);
        // Random numbers have rows and columns, whatever the weight has.
        let mut shape = first.shape.clone();
        let extra = 2_usize.saturating_sub(shape.len());
        shape.splice(0..0, vec![Size::one(); extra]);
        let mut value = self.b().node(Op::Random, vec![site], Ty { dtype: DType::F32, shape });
        for _ in 0..extra {
            value = self.b().split(value, 0, &[]);
        }
        Val::Tensor(self.tensor(value, vec![None; first.shape.len()]))
    }
}

/// Whether a function can be called without arguments and stands for what it then gives.
fn takes_nothing(f: &Func) -> bool {
    match &f.target {
        Target::Item(item) => item.ast.params.iter().all(|p| p.default.is_some()),
        Target::Builtin(_) => false,
    }
}

/// How many elements go into one of a layer's results, and how many results one element goes to. The second axis is
/// summed over, unless a product is known to sum over the first; all further axes are a window.
fn fans(decl: &Decl) -> (i64, i64) {
    let sizes: Vec<i64> = decl.ty.shape.iter().map(|s| s.known().unwrap_or(1)).collect();
    match sizes.as_slice() {
        [] => (1, 1),
        [n] => (*n, *n),
        [a, b, window @ ..] => {
            let window: i64 = window.iter().product();
            let (into, out) = if decl.summed == Some(0) { (a, b) } else { (b, a) };
            (into * window, out * window)
        }
    }
}
