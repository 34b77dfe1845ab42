//! The entry `update`: one step of the optimizer over all trained weights at once. Takes the optimizer's text, what the
//! prelude does around it, and what groups override; gives a function over flat arrays: weights, gradients and states.

use super::groups::{Overrides, given, merged};
use super::item;
use super::schema;
use super::share::{OVER, Shares};
use super::train::Train;
use crate::check::{Checker, Ctor, EntryFn, Given, Num, NumVal, Scope, SlotKind, Val};
use crate::program::verify::callees;
use crate::program::{Entry, FnId, Op, Program, Role, Ty, View};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Host, HostVar, Prim, Size};
use std::rc::Rc;

/// Adds the entry `update`; gives the first values of states that do not start as 0.
pub fn entry(
    ck: &mut Checker,
    train: &Train,
    overrides: &Overrides,
    shares: Option<Shares>,
) -> Option<Vec<(u16, f64)>> {
    let (ctor, span) = &train.optimizer;
    let ctor = with_groups(ck, ctor, overrides, *span)?;
    let flat = Ty { dtype: DType::F32, shape: vec![Size::from(ck.program.arena() as i64)] };
    ck.open_entry("update");
    let theta = ck.entry_input("theta", flat.clone(), vec![None]);
    let grad = ck.entry_input("grad", flat.clone(), vec![None]);
    let over = shares.map(|shares| (ck.entry_input(OVER, Ty::scalar(DType::F32), Vec::new()), shares.least));
    let grad = match over {
        Some((over, least)) => ck.call_prelude(schema::GATHERED, gathered(grad, over, least, *span), *span),
        None => grad,
    };
    let result = theta_after(ck, train, &ctor, overrides, (theta, grad));
    let Some(result) = result else {
        ck.drop_entry();
        return None;
    };
    let made = ck.close_entry(&result);
    only_elementwise(ck, &ctor, made.function, *span)?;
    let states = first_values(ck, &made)?;
    let all: Vec<Role> = (0..made.slots.len()).map(|k| Role::State(k as u16)).collect();
    let updated = made.updated.iter().map(|k| Role::State(*k as u16));
    ck.program.states = made.slots.iter().map(|s| s.path.to_string()).collect();
    let over_role = shares.map(|_| Role::Named(OVER.into()));
    ck.program.entries.push(Entry {
        name: "update".into(),
        function: made.function,
        inputs: [Role::Trained, Role::Grads].into_iter().chain(over_role).chain(all).collect(),
        outputs: std::iter::once(Role::Trained).chain(updated).collect(),
        guards: Vec::new(),
    });
    Some(states)
}

/// The arguments of the prelude's function for a gradient that was gathered from micro-batches.
fn gathered(grad: Val, over: Val, least: Option<f64>, span: Span) -> Vec<Given> {
    let least = least.map(|c| given(Some("least"), NumVal::Float(c), span));
    [Given::new(grad, span), Given::new(over, span)].into_iter().chain(least).collect()
}

/// The weights after a step: what the prelude does with the gradient, the optimizer, what the prelude does after it.
fn theta_after(
    ck: &mut Checker,
    train: &Train,
    ctor: &Rc<Ctor>,
    overrides: &Overrides,
    (theta, grad): (Val, Val),
) -> Option<Val> {
    let span = train.optimizer.1;
    let arg = |val: &Val| Given::new(val.clone(), span);
    let mut before = vec![arg(&theta), arg(&grad)];
    let mut after = Vec::new();
    for schema::Step { key, function, .. } in schema::STEP {
        let base = train.step.iter().find(|(k, _)| *k == key).map(|(_, n)| n.clone());
        let Some(value) = merged(ck, overrides, key, base) else { continue };
        let to = if function == schema::BEFORE { &mut before } else { &mut after };
        to.push(given(Some(key), value, span));
    }
    let grad = ck.call_prelude(schema::BEFORE, before, span);
    let t = Host::Prim(Prim::Add, vec![Host::Var(HostVar::Step), Host::Const(1.0)]);
    let mut inputs = vec![arg(&theta), arg(&grad), given(None, NumVal::Host(t), span)];
    let wanted = ctor.net.ast.inputs.len();
    if !(2..=3).contains(&wanted) {
        let name = &ctor.net.ast.name;
        let message = format!(
            "`{}` takes {wanted} inputs, and an optimizer takes the weight, its gradient and the step",
            name.text
        );
        ck.report(
            Diagnostic::error("E0107", span, message).help(format!("`optimizer {}(..)(theta, grad, t)`", name.text)),
        );
        return None;
    }
    inputs.truncate(wanted);
    let mut theta = ck.apply_model(ctor, inputs, span);
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

/// The optimizer with its settings as groups leave them.
fn with_groups(ck: &mut Checker, ctor: &Rc<Ctor>, overrides: &Overrides, span: Span) -> Option<Rc<Ctor>> {
    let mut config = ctor.config.clone();
    for (i, param) in ctor.net.ast.config.iter().enumerate() {
        let key = param.name.text.as_str();
        if !overrides.contains_key(key) {
            continue;
        }
        let base = setting(ck, ctor, key);
        let base = match base {
            Some(base) => base,
            None => {
                let message = format!("`{key}` is no number here, so groups cannot override it");
                let help = format!("give `{}` one for all weights, such as `{key} = 0`", ctor.net.ast.name.text);
                ck.report(Diagnostic::error("E0509", span, message).help(help));
                return None;
            }
        };
        config[i] = merged(ck, overrides, key, Some(base)).map(|n| given(None, n, span));
    }
    Some(Rc::new(Ctor { net: ctor.net.clone(), config, span: ctor.span }))
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

/// All weights lie end to end, so an optimizer cannot look at one of them as a whole.
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
fn foreign(p: &Program, f: FnId) -> Option<Span> {
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

/// The first values of the optimizer's states, where these are not 0.
fn first_values(ck: &mut Checker, made: &EntryFn) -> Option<Vec<(u16, f64)>> {
    let mut found = Vec::new();
    let mut fine = true;
    for (k, slot) in made.slots.iter().enumerate() {
        debug_assert_eq!(slot.decl.kind, SlotKind::State, "an optimizer has states only");
        let Some(init) = &slot.decl.init else { continue };
        match ck.eval_value(&init.value, &init.scope) {
            Val::Num(Num { value: NumVal::Int(0), .. }) => {}
            Val::Num(Num { value: NumVal::Int(n), .. }) => found.push((k as u16, n as f64)),
            Val::Num(Num { value: NumVal::Float(x), .. }) => found.push((k as u16, x)),
            Val::Poison => fine = false,
            other => {
                let message = format!("a state of an optimizer begins as a number, got {}", ck.show(&other));
                ck.report(Diagnostic::error("E0509", init.value.span, message));
                fine = false;
            }
        }
    }
    fine.then_some(found)
}
