//! Calls of functions: arguments meet parameters, sizes of types are bound, the body is worked through in place.
//!
//! A plain function leaves nothing behind but its nodes in the caller. One with a `derivative` becomes a function of the
//! program, see [`super::derivative`].

use super::Checker;
use super::errors::Level;
use super::lanes::variables;
use super::load::FnItem;
use super::scope::{Kind, Owner, Scope};
use super::value::{Axis, AxisArgs, AxisSel, Given, Num, Tag, Tensor, Val};
use dlc_grammar::ast::{Body, Param};
use dlc_grammar::{Diagnostic, Span, nearest};
use std::rc::Rc;

/// What names of a call stand for in the caller.
pub(super) type Names = Vec<(Rc<str>, Tag)>;

/// How a call treats the axes of its arguments that its types do not name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unnamed {
    /// They keep what the caller calls them.
    Keep,
    /// They get names of the call's own, by which the caller finds them again in the results.
    Number(usize),
}

impl Checker {
    /// Finds the argument of each parameter. `noun` is what a parameter is to the user.
    pub(crate) fn bind(
        &mut self,
        name: &str,
        noun: &str,
        params: &[Param],
        args: Vec<Given>,
        span: Span,
    ) -> Option<Vec<Option<Given>>> {
        let mut bound: Vec<Option<Given>> = vec![None; params.len()];
        let count = args.len();
        let mut fine = true;
        for arg in args {
            let at = match &arg.name {
                None => bound.iter().position(Option::is_none),
                Some((wanted, at)) => {
                    let found = params.iter().position(|p| p.name.text == **wanted);
                    if found.is_none() {
                        let near = nearest(wanted, params.iter().map(|p| p.name.text.as_str()));
                        let message = format!("`{name}` has no {noun} `{wanted}`");
                        self.report(Diagnostic::error("E0105", *at, message).did_you_mean(near));
                        fine = false;
                        continue;
                    }
                    found
                }
            };
            match at {
                Some(i) if bound[i].is_none() => bound[i] = Some(arg),
                Some(i) => {
                    let message = format!("`{}` is given twice", params[i].name.text);
                    self.report(Diagnostic::error("E0107", arg.span, message));
                    fine = false;
                }
                None => {
                    let plural = if params.len() == 1 { "" } else { "s" };
                    let message = format!("`{name}` takes {} {noun}{plural}, got {count}", params.len());
                    self.report(Diagnostic::error("E0107", span, message));
                    return None;
                }
            }
        }
        fine.then_some(bound)
    }

    /// Calls a function of the spec or the prelude.
    pub(super) fn call_fn(&mut self, f: &Rc<FnItem>, axes: Option<&AxisArgs>, args: Vec<Given>, span: Span) -> Val {
        let name = f.ast.name.text.clone();
        self.reached.insert(f.id);
        if self.levels.iter().any(|l| l.item == f.id) {
            let message = format!("`{name}` calls itself");
            return self.error(Diagnostic::error("E0109", span, message).help("there is no recursion"));
        }
        if self.levels.len() >= MOST_CALLS {
            return self.too_deep(span);
        }
        if !self.called(&name, f.ast.name.span, span) {
            return Val::Poison;
        }
        let failed = args.iter().any(|a| a.val.is_poison());
        let Some(bound) = self.bind(&name, "parameter", &f.ast.params, args, span) else { return Val::Poison };
        if failed {
            return Val::Poison;
        }
        for (param, given) in f.ast.params.iter().zip(&bound) {
            if given.is_none() && param.default.is_none() {
                let message = format!("`{name}` needs `{}`", param.name.text);
                return self.error(Diagnostic::error("E0107", span, message));
            }
        }
        let Some(axes) = self.fn_axes(f, axes, &bound, span) else { return Val::Poison };
        self.levels.push(Level { item: f.id, span, layer: None });
        let tensors = bound.iter().flatten().any(|g| g.val.has_tensor());
        let v = match f.ast.derivative.is_some() && tensors {
            true => self.call_by_places(f, axes, bound, span),
            false => self.inline(f, axes, bound, span),
        };
        self.levels.pop();
        v
    }

    /// Calls a function that states its derivative. It is one function for all equations, so that index variables are known
    /// to it by their places, and an argument depends on all that any depends on.
    fn call_by_places(&mut self, f: &Rc<FnItem>, axes: Vec<Val>, bound: Vec<Option<Given>>, span: Span) -> Val {
        let vars = variables(bound.iter().flatten().flat_map(|g| g.val.tensors()));
        if vars.is_empty() {
            return self.call_with_derivative(f, axes, bound, span);
        }
        let mut placed = Vec::new();
        for given in bound {
            let given = given.map(|g| {
                let val = g.val.map_tensors(&mut |t| {
                    let t = self.over(t, &vars).unwrap_or_else(|| t.clone());
                    let place = |(k, a): (usize, &Axis)| match a.variable() {
                        Some(var) => Axis { size: a.size.clone(), tag: Some(Tag::at_place(k, var)) },
                        None => a.clone(),
                    };
                    Tensor { axes: t.axes.iter().enumerate().map(place).collect(), ..t }
                });
                Given { val, ..g }
            });
            placed.push(given);
        }
        let v = self.call_with_derivative(f, axes, placed, span);
        let own = |a: &Axis| match a.variable().and_then(Tag::place) {
            Some(k) => Axis { size: a.size.clone(), tag: vars.get(k).cloned() },
            None => a.clone(),
        };
        v.map_tensors(&mut |t| Tensor { axes: t.axes.iter().map(own).collect(), ..t.clone() })
    }

    /// The axis parameters of a function, by position in its first tensor.
    fn fn_axes(
        &mut self,
        f: &Rc<FnItem>,
        axes: Option<&AxisArgs>,
        bound: &[Option<Given>],
        span: Span,
    ) -> Option<Vec<Val>> {
        let name = &f.ast.name.text;
        let given = axes.map_or(&[][..], |a| &a.list);
        if given.len() > f.ast.axes.len() || axes.is_some_and(|a| a.keep || a.rest) {
            let at = axes.map_or(span, |a| a.span);
            let message = match f.ast.axes.len() {
                0 => format!("`{name}` takes no axes"),
                1 => format!("`{name}` takes one axis"),
                n => format!("`{name}` takes {n} axes"),
            };
            self.report(Diagnostic::error("E0306", at, message));
            return None;
        }
        let mut found = Vec::new();
        for (i, param) in f.ast.axes.iter().enumerate() {
            let axis = match (given.get(i), &param.default) {
                (Some(axis), _) => axis.clone(),
                (None, Some(default)) => AxisSel::At(self.static_int(default, &Scope::module(f.module))?, default.span),
                (None, None) => {
                    let message = format!("`{name}` needs the axis `{}`: `{name}[-1](..)`", param.name.text);
                    self.report(Diagnostic::error("E0306", span, message));
                    return None;
                }
            };
            let axis = match &axis {
                AxisSel::At(..) => axis,
                AxisSel::Called(_, at) => {
                    let first = bound.iter().flatten().find_map(|g| match &g.val {
                        Val::Tensor(t) => Some(t.clone()),
                        _ => None,
                    });
                    let Some(t) = first else {
                        let message = format!("`{name}` has no tensor to find this axis in");
                        self.report(Diagnostic::error("E0306", *at, message));
                        return None;
                    };
                    AxisSel::At(self.pick(&t, &axis, name)? as i64, *at)
                }
            };
            found.push(Val::Axis(axis));
        }
        Some(found)
    }

    /// Works through a function's body in place.
    fn inline(&mut self, f: &Rc<FnItem>, axes: Vec<Val>, bound: Vec<Option<Given>>, span: Span) -> Val {
        let (sc, env) = self.fn_scope(f, axes, span);
        let mut names = Names::new();
        if self.bind_all(&f.ast.params, &bound, &sc, Unnamed::Keep, &mut names).is_none() {
            return Val::Poison;
        }
        if self.require(&f.ast.require, &f.ast.name.text, &sc).is_none() {
            return Val::Poison;
        }
        let v = self.run_body(&f.ast.body, &f.ast.name.text, f.ast.name.span, &sc);
        let v = self.check_outputs(f.ast.outputs.as_ref(), v, &sc);
        self.at(span);
        translate(&v, env, &names)
    }

    /// A scope for a function's body, with its axes.
    pub(super) fn fn_scope(&mut self, f: &Rc<FnItem>, axes: Vec<Val>, span: Span) -> (Scope, u32) {
        let env = self.new_env();
        let sc = Scope::module(f.module).child(Kind::Body(Owner { net: false, env }));
        for (param, axis) in f.ast.axes.iter().zip(axes) {
            sc.define(param.name.text.as_str(), axis, span);
        }
        (sc, env)
    }

    /// A number for a call's names.
    pub(crate) fn new_env(&mut self) -> u32 {
        self.env_count += 1;
        self.env_count
    }

    /// Gives every parameter its value: first what is given, in order, then the defaults, which may speak of all sizes.
    pub(super) fn bind_all(
        &mut self,
        params: &[Param],
        bound: &[Option<Given>],
        sc: &Scope,
        unnamed: Unnamed,
        names: &mut Names,
    ) -> Option<()> {
        self.bind_given(params, bound, sc, unnamed, names)?;
        self.bind_defaults(params, bound, sc)
    }

    /// Gives parameters the values that are given.
    pub(super) fn bind_given(
        &mut self,
        params: &[Param],
        bound: &[Option<Given>],
        sc: &Scope,
        unnamed: Unnamed,
        names: &mut Names,
    ) -> Option<()> {
        for (i, given) in bound.iter().enumerate() {
            let Some(given) = given else { continue };
            let unnamed = if unnamed == Unnamed::Keep { unnamed } else { Unnamed::Number(i) };
            self.bind_one(params, bound, i, given, sc, unnamed, names)?;
        }
        Some(())
    }

    /// Gives parameters that have no value yet their defaults.
    pub(super) fn bind_defaults(&mut self, params: &[Param], bound: &[Option<Given>], sc: &Scope) -> Option<()> {
        for (i, param) in params.iter().enumerate() {
            if let (None, Some(default)) = (&bound[i], &param.default)
                && sc.var(&param.name.text).is_none()
            {
                let val = self.eval(default, sc);
                let given = Given::new(val, default.span);
                self.bind_one(params, bound, i, &given, sc, Unnamed::Keep, &mut Names::new())?;
            }
        }
        Some(())
    }

    #[expect(clippy::too_many_arguments, reason = "all of a call's parts meet here")]
    fn bind_one(
        &mut self,
        params: &[Param],
        bound: &[Option<Given>],
        i: usize,
        given: &Given,
        sc: &Scope,
        unnamed: Unnamed,
        names: &mut Names,
    ) -> Option<()> {
        let param = &params[i];
        if given.val.is_poison() {
            return None;
        }
        let val = match (&param.ty, &given.val) {
            (Some(ty), Val::Tensor(t)) => {
                let declared = self.dtype_of(ty)?;
                if !Self::dtype_fits(declared, t.dtype) {
                    self.wrong_dtype(params, bound, i, given, t, declared);
                    return None;
                }
                Val::Tensor(self.bind_dims(&param.name.text, ty, t, given.span, sc, unnamed, names)?)
            }
            (Some(ty), v @ (Val::Num(_) | Val::Bool(_) | Val::Truth(_))) => self.spread(ty, v, sc)?,
            (Some(_), v @ (Val::None | Val::List(_) | Val::Poison)) => v.clone(),
            (Some(_), other) => {
                let message = format!("`{}` is a tensor, got {}", param.name.text, self.show(other));
                self.report(Diagnostic::error("E0112", given.span, message));
                return None;
            }
            (None, Val::Tensor(t)) => Val::Tensor(renamed(t, sc.env(), unnamed)),
            (None, v) => v.clone(),
        };
        if let Val::Num(n) = &val {
            let tag = n.tag.clone().unwrap_or(Tag { name: None, env: 0, origin: given.span });
            names.push((param.name.text.as_str().into(), tag));
        }
        sc.define(param.name.text.as_str(), val, given.span);
        Some(())
    }

    /// The result of a body.
    pub(super) fn run_body(&mut self, body: &Body, name: &str, span: Span, sc: &Scope) -> Val {
        match body {
            Body::Expr(e) => self.eval(e, sc),
            Body::Block(block) => match self.run(block, sc) {
                super::stmt::Flow::Return(v) => v,
                super::stmt::Flow::Next if self.failures > 0 => Val::Poison,
                super::stmt::Flow::Next => {
                    let message = format!("`{name}` returns nothing");
                    self.error(Diagnostic::error("E0113", span, message).help("end it with `return ..`"))
                }
            },
        }
    }
}

/// Calls nest this deep; together with the depth of expressions this bounds the stack.
pub(super) const MOST_CALLS: usize = 100;

/// The tensor as a call sees it: with names of the call's own for axes that its types do not name.
pub(super) fn renamed(t: &Tensor, env: u32, unnamed: Unnamed) -> Tensor {
    match unnamed {
        Unnamed::Keep => t.clone(),
        Unnamed::Number(arg) => {
            let axis = |(i, a): (usize, &Axis)| {
                if a.variable().is_some() {
                    return a.clone();
                }
                let origin = a.tag.as_ref().map_or(Span::default(), |t| t.origin);
                let tag = Tag { name: Some(format!("{arg}.{i}").into()), env, origin };
                Axis { size: a.size.clone(), tag: Some(tag) }
            };
            Tensor { axes: t.axes.iter().enumerate().map(axis).collect(), ..t.clone() }
        }
    }
}

/// A call's results as the caller sees them: names of the call become the caller's.
pub(super) fn translate(v: &Val, env: u32, names: &[(Rc<str>, Tag)]) -> Val {
    let axis = |a: &Axis| {
        let tag = a.tag.as_ref().and_then(|t| match &t.name {
            Some(name) if t.env == env => names.iter().find(|(n, _)| n == name).map(|(_, outer)| outer.clone()),
            _ => Some(t.clone()),
        });
        Axis { size: a.size.clone(), tag }
    };
    match v {
        Val::Num(n) => {
            let tag = n.tag.clone().filter(|t| t.env != env);
            Val::Num(Num { value: n.value.clone(), tag })
        }
        other => other.map_tensors(&mut |t| Tensor { axes: t.axes.iter().map(axis).collect(), ..t.clone() }),
    }
}
