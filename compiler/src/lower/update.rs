//! The entry `update`: one step of the optimizer. Takes the optimizer's text, what the prelude does around it, and what
//! groups override; gives a function.
//!
//! Text that works element by element runs once, over flat arrays of all trained weights, gradients and states; any other
//! is applied to the weights one by one ([`super::each`]).

use super::each;
use super::groups::{self, Overrides, given, merged};
use super::item;
use super::schema;
use super::share::{OVER, Shares};
use super::train::Train;
use crate::check::{Checker, Ctor, EntryFn, Given, Num, NumVal, Scope, Slot, Val};
use crate::program::verify::callees;
use crate::program::{Entry, FnId, Op, Program, Role, Ty, View, WeightId};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Host, HostVar, Prim, Size};
use std::rc::Rc;

/// What an update is made of.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// The training.
    pub train: &'a Train,
    /// What groups override.
    pub overrides: &'a Overrides,
    /// How gradients of micro-batches are gathered, where there are several.
    pub shares: Option<Shares>,
    /// The weight that it is about; none for all of them at once.
    pub weight: Option<WeightId>,
}

/// A first value of a state that is not 0: the state, the weights it is for, unless it is for all, and the value.
pub type First = (u16, Option<(Rc<[WeightId]>, Ty)>, f64);

/// Adds the entry `update`; gives the first values of states that do not start as 0.
pub fn entry(ck: &mut Checker, train: &Train, overrides: &Overrides, shares: Option<Shares>) -> Option<Vec<First>> {
    let of = Update { train, overrides, shares, weight: None };
    takes_inputs(ck, train)?;
    if !each::is_elementwise(ck, train) && ck.program.weights.iter().any(|w| w.trained) {
        return each::entry(ck, of);
    }
    let (ctor, span) = of.ctor(ck)?;
    let flat = Ty { dtype: DType::F32, shape: vec![Size::from(ck.program.arena() as i64)] };
    ck.open_entry("update");
    let theta = ck.entry_input("theta", flat.clone(), vec![None]);
    let grad = ck.entry_input("grad", flat.clone(), vec![None]);
    let over = shares.map(|_| ck.entry_input(OVER, Ty::scalar(DType::F32), Vec::new()));
    let grad = of.gathered(ck, grad, over);
    let result = of.theta_after(ck, &ctor, (theta, grad), None);
    let Some(result) = result else {
        ck.drop_entry();
        return None;
    };
    let made = ck.close_entry(&result);
    only_elementwise(ck, &ctor, made.function, span)?;
    let states = first_values(ck, &made)?.into_iter().enumerate();
    let states = states.filter(|(_, x)| *x != 0.0).map(|(k, x)| (k as u16, None, x)).collect();
    let all: Vec<Role> = (0..made.slots.len()).map(|k| Role::State(k as u16)).collect();
    let updated = made.updated.iter().map(|k| Role::State(*k as u16));
    ck.program.states = made.slots.iter().map(|s| s.path.to_string()).collect();
    let over_role = shares.map(|_| Role::Named(OVER.into()));
    ck.program.entries.push(Entry {
        name: "update".into(),
        function: made.function,
        inputs: [Role::Trained, Role::Grads].into_iter().chain(over_role).chain(all).collect(),
        outputs: std::iter::once(Role::Trained).chain(updated).collect(),
        guards: made.conditions(),
        defaults: Vec::new(),
    });
    Some(states)
}

/// An optimizer takes the weight and its gradient, and perhaps the step.
fn takes_inputs(ck: &mut Checker, train: &Train) -> Option<()> {
    let (ctor, span) = &train.optimizer;
    let (name, wanted) = (&ctor.net.ast.name.text, ctor.net.ast.inputs.len());
    if (2..=3).contains(&wanted) {
        return Some(());
    }
    let message =
        format!("`{name}` takes {wanted} inputs, and an optimizer takes the weight, its gradient and the step");
    ck.report(Diagnostic::error("E0107", *span, message).help(format!("`optimizer {name}(..)(theta, grad, t)`")));
    None
}

impl Update<'_> {
    /// A setting's value, from the one that groups have not touched.
    fn value(&self, ck: &Checker, key: &str, base: Option<NumVal>) -> Option<NumVal> {
        match self.weight {
            None => merged(ck, self.overrides, key, base),
            Some(weight) => groups::of_weight(self.overrides, key, base, weight),
        }
    }

    /// The value of a key that the prelude's functions around the optimizer take.
    fn step(&self, ck: &Checker, key: &str) -> Option<NumVal> {
        let base = self.train.step.iter().find(|(k, _)| *k == key).map(|(_, n)| n.clone());
        self.value(ck, key, base)
    }

    /// The keys that this function of the prelude takes, with their values.
    fn steps(&self, ck: &Checker, function: &str, span: Span) -> Vec<Given> {
        let own = schema::STEP.iter().filter(|s| s.function == function);
        own.filter_map(|s| Some(given(Some(s.key), self.step(ck, s.key)?, span))).collect()
    }

    /// A gradient as one batch of all micro-batches would have it.
    pub fn gathered(&self, ck: &mut Checker, grad: Val, over: Option<Val>) -> Val {
        let Some(over) = over else { return grad };
        let span = self.train.optimizer.1;
        ck.call_prelude(schema::GATHERED, vec![Given::new(grad, span), Given::new(over, span)], span)
    }

    /// The factor that the gradients of all weights are multiplied by, if their norm is bounded.
    pub fn factor(&self, ck: &mut Checker, grad: Val) -> Option<Val> {
        let span = self.train.optimizer.1;
        let norm = self.step(ck, schema::BOUNDS_NORM).map(|n| given(Some(schema::BOUNDS_NORM), n, span))?;
        let each = self.step(ck, schema::BOUNDS_EACH).map(|n| given(Some(schema::BOUNDS_EACH), n, span));
        let args = [Given::new(grad, span), norm].into_iter().chain(each).collect();
        Some(ck.call_prelude(schema::SHRINKAGE, args, span))
    }

    /// The weights after a step: what the prelude does with the gradient, the optimizer, what the prelude does after it.
    /// `factor` is that of all gradients, where these are not all of them.
    pub fn theta_after(
        &self,
        ck: &mut Checker,
        ctor: &Rc<Ctor>,
        (theta, grad): (Val, Val),
        factor: Option<Val>,
    ) -> Option<Val> {
        let span = self.train.optimizer.1;
        let arg = |val: &Val| Given::new(val.clone(), span);
        let mut before = vec![arg(&theta), arg(&grad)];
        before.extend(self.steps(ck, schema::BEFORE, span));
        before.extend(factor.map(|val| Given { name: Some(("factor".into(), span)), val, span }));
        let grad = ck.call_prelude(schema::BEFORE, before, span);
        let mut theta = applied(ck, ctor, (theta, grad), span);
        let mut after = self.steps(ck, schema::AFTER, span);
        if !after.is_empty() {
            let Some(lr) = setting(ck, ctor, "lr") else {
                let message =
                    format!("`prox_l1` goes by the setting `lr`, which `{}` does not have", ctor.net.ast.name.text);
                ck.report(Diagnostic::error("E0509", span, message));
                return None;
            };
            after.splice(0..0, [arg(&theta), given(Some("lr"), lr, span)]);
            theta = ck.call_prelude(schema::AFTER, after, span);
        }
        (!theta.is_poison()).then_some(theta)
    }

    /// The optimizer with its settings as groups leave them, and where it is named.
    pub fn ctor(&self, ck: &mut Checker) -> Option<(Rc<Ctor>, Span)> {
        let (ctor, span) = &self.train.optimizer;
        let mut config = ctor.config.clone();
        for (i, param) in ctor.net.ast.config.iter().enumerate() {
            let key = param.name.text.as_str();
            if !self.overrides.contains_key(key) {
                continue;
            }
            let Some(base) = setting(ck, ctor, key) else {
                let message = format!("`{key}` is no number here, so groups cannot override it");
                let help = format!("give `{}` one for all weights, such as `{key} = 0`", ctor.net.ast.name.text);
                ck.report(Diagnostic::error("E0509", *span, message).help(help));
                return None;
            };
            config[i] = self.value(ck, key, Some(base)).map(|n| given(None, n, *span));
        }
        Some((Rc::new(Ctor { net: ctor.net.clone(), config, span: ctor.span }), *span))
    }
}

/// What the optimizer gives for a weight and its gradient. The third input is the step, from 1.
pub fn applied(ck: &mut Checker, ctor: &Rc<Ctor>, (theta, grad): (Val, Val), span: Span) -> Val {
    let t = Host::Prim(Prim::Add, vec![Host::Var(HostVar::Step), Host::Const(1.0)]);
    let mut inputs = vec![Given::new(theta, span), Given::new(grad, span), given(None, NumVal::Host(t), span)];
    inputs.truncate(ctor.net.ast.inputs.len());
    ck.apply_model(ctor, inputs, span)
}

/// The value of a setting that is a number: what is given, or its default.
fn setting(ck: &mut Checker, ctor: &Ctor, key: &str) -> Option<NumVal> {
    let sc: Scope = item::plain_scope(ck, ctor.net.module);
    for (param, given) in ctor.net.ast.config.iter().zip(&ctor.config) {
        let val = match (given, &param.default) {
            (Some(given), _) => given.val.clone(),
            (None, Some(default)) => ck.eval(default, &sc),
            (None, None) => Val::Poison,
        };
        sc.define(param.name.text.as_str(), val, param.span);
    }
    match sc.get(key) {
        Some(Val::Num(Num { value, .. })) => Some(value),
        Some(_) | None => None,
    }
}

/// What is applied to all weights end to end cannot look at one of them as a whole.
fn only_elementwise(ck: &mut Checker, ctor: &Ctor, made: FnId, span: Span) -> Option<()> {
    let calls = callees(ck.program.function(made));
    let Some(place) = calls.into_iter().find_map(|f| foreign(&ck.program, f)) else { return Some(()) };
    let name = &ctor.net.ast.name.text;
    let message = format!("`{name}` looks at more than one element, and optimizers work element by element");
    let place = if ck.modules.in_prelude(place) { span } else { place };
    ck.report(Diagnostic::error("E0509", place, message));
    None
}

/// The place of a node that looks at more than one element, in a function or what it calls.
pub fn foreign(p: &Program, f: FnId) -> Option<Span> {
    let f = p.function(f);
    let plain = |op: &Op| match op {
        Op::Param(_) | Op::Const(_) | Op::Host(_) | Op::Map(_) | Op::Stop | Op::Within(_) | Op::Call(_) => true,
        Op::View(View::Broadcast(axes)) => axes.is_empty(),
        Op::View(_) | Op::Reduce(..) | Op::Contract(_) | Op::Gather | Op::Scatter | Op::Rows(_) => false,
        Op::Table(_) | Op::Iota(_) | Op::Random | Op::Concat(_) | Op::Repeat(_) | Op::Panels(_) => false,
    };
    let own = f.nodes.iter().find(|n| !plain(&n.op)).map(|n| n.origin.span);
    own.or_else(|| callees(f).into_iter().find_map(|g| foreign(p, g)))
}

/// The first value of each state of an update.
pub fn first_values(ck: &mut Checker, made: &EntryFn) -> Option<Vec<f64>> {
    let found: Vec<Option<f64>> = made.slots.iter().map(|slot| first_value(ck, slot)).collect();
    found.into_iter().collect()
}

fn first_value(ck: &mut Checker, slot: &Slot) -> Option<f64> {
    if slot.decl.ty.dtype != DType::F32 {
        let message = format!("`{}` is {}, and a state of an optimizer is f32", slot.path, slot.decl.ty.dtype);
        ck.report(Diagnostic::error("E0509", slot.decl.span, message));
        return None;
    }
    let Some(init) = &slot.decl.init else { return Some(0.0) };
    match ck.eval_value(&init.value, &init.scope) {
        Val::Num(Num { value: NumVal::Int(n), .. }) => Some(n as f64),
        Val::Num(Num { value: NumVal::Float(x), .. }) => Some(x),
        Val::Poison => None,
        other => {
            let message = format!("a state of an optimizer begins as a number, got {}", ck.show(&other));
            ck.report(Diagnostic::error("E0509", init.value.span, message));
            None
        }
    }
}
