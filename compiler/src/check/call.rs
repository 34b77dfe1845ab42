//! Calls of functions: arguments meet parameters, sizes of types are bound, the body is worked through in place.
//!
//! A plain function leaves nothing behind but its nodes in the caller. One with a `derivative` becomes a function of the
//! program, see [`super::derivative`].

use super::Checker;
use super::errors::Level;
use super::frame::Guard;
use super::load::FnItem;
use super::num;
use super::scope::{Kind, Owner, Scope};
use super::value::{Axis, AxisArgs, AxisSel, Given, Num, Tag, Tensor, Val};
use dlc_grammar::ast::{Body, Dim, Expr, ExprKind, Outputs, Param, Ty};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::{DType, Size};
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
            true => self.call_with_derivative(f, axes, bound, span),
            false => self.inline(f, axes, bound, span),
        };
        self.levels.pop();
        v
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

    /// The element type that a type names; none for the compute float.
    pub(super) fn dtype_of(&mut self, ty: &Ty) -> Option<Option<DType>> {
        let Some(ident) = &ty.dtype else { return Some(None) };
        if let Some(d) = DType::parse(&ident.text) {
            return Some(Some(d));
        }
        let message = format!("no element type is called `{}`", ident.text);
        let near = nearest(&ident.text, DType::ALL.iter().map(|(_, n)| *n));
        self.report(Diagnostic::error("E0404", ident.span, message).did_you_mean(near));
        None
    }

    fn wrong_dtype(
        &mut self,
        params: &[Param],
        bound: &[Option<Given>],
        i: usize,
        given: &Given,
        t: &Tensor,
        declared: Option<DType>,
    ) {
        let name = &params[i].name.text;
        let text = self.text(given.span).to_string();
        let simple = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let mut d = match declared {
            Some(want) if want.is_int() => {
                let kind = if t.dtype.is_float() { "float".to_string() } else { t.dtype.to_string() };
                let found = if simple { format!("`{text}` is {kind}") } else { format!("got {}", self.show_tensor(t)) };
                Diagnostic::error("E0401", given.span, format!("`{name}` must be {want}, {found}"))
            }
            want => {
                let want = want.map_or("float", |d| d.name());
                let found = self.show_tensor(t);
                Diagnostic::error("E0402", given.span, format!("`{name}` must be {want}, got {found}"))
            }
        };
        let declared_of = |p: &Param| p.ty.as_ref().map(|ty| ty.dtype.as_ref().and_then(|d| DType::parse(&d.text)));
        let swap = params.iter().zip(bound).enumerate().any(|(j, (p, g))| {
            match (declared_of(p), g.as_ref().map(|g| &g.val)) {
                (Some(other), Some(Val::Tensor(u))) if j != i => {
                    !Self::dtype_fits(other, u.dtype)
                        && Self::dtype_fits(other, t.dtype)
                        && Self::dtype_fits(declared, u.dtype)
                }
                _ => false,
            }
        });
        let frame = self.frames.iter().find(|f| f.id == t.frame);
        let input = frame.is_some_and(|f| {
            matches!(f.builder.f.nodes.get(t.value.node as usize).map(|n| &n.op), Some(crate::program::Op::Param(_)))
        });
        if swap {
            d = d.help("swap the arguments");
        } else if simple && input {
            let want = declared.map_or(String::new(), |d| d.name().to_string());
            d = d.help(format!("declare the input `{text}: {want}{}`", self.show_names(&t.axes)));
        }
        self.report(d);
    }

    /// Binds the names of a type to the sizes of a tensor, or checks them where they are bound already.
    #[expect(clippy::too_many_arguments, reason = "all of a call's parts meet here")]
    fn bind_dims(
        &mut self,
        name: &str,
        ty: &Ty,
        t: &Tensor,
        span: Span,
        sc: &Scope,
        unnamed: Unnamed,
        names: &mut Names,
    ) -> Option<Tensor> {
        let t = renamed(t, sc.env(), unnamed);
        let Some(dims) = &ty.dims else { return Some(t) };
        let Some(pairs) = match_dims(dims, t.rank()) else {
            let message = format!("`{name}` must be {}, got {}", self.text(ty.span), self.show_tensor(&t));
            self.report(Diagnostic::error("E0308", span, message));
            return None;
        };
        let mut axes: Vec<Axis> = t.axes.to_vec();
        for (dim, i) in pairs {
            let Dim::Expr(e) = dim else { continue };
            let axis = axes[i].clone();
            let tag = |name: Option<Rc<str>>| Some(Tag { name, env: sc.env(), origin: e.span });
            if let ExprKind::Name(text) = &e.kind {
                let local: Rc<str> = text.as_str().into();
                if sc.get(text).is_none() && self.known_const(text, sc).is_none() {
                    let num = Num { value: Num::size(&axis.size), tag: axis.tag.clone() };
                    sc.define(local.clone(), Val::Num(num), e.span);
                    let outer = self.caller_tag(&t, i, unnamed, span);
                    names.push((local.clone(), outer));
                    axes[i].tag = tag(Some(local));
                    continue;
                }
            }
            let v = self.eval(e, sc);
            let (size, size_tag) = self.as_size(&v, e.span)?;
            if size != axis.size {
                let want = Axis { size, tag: size_tag };
                let (want, found) = (self.show_axis(&want), self.show_axis(&axis));
                let shown = self.show_shape(&t.axes);
                let message =
                    format!("`{name}` must be {}: axis {i} is {want}, got {found} in {shown}", self.text(ty.span));
                self.report(Diagnostic::error("E0308", span, message));
                return None;
            }
            axes[i].tag = match &e.kind {
                ExprKind::Name(text) => tag(Some(text.as_str().into())),
                _ => None,
            };
        }
        Some(Tensor { axes: axes.into(), ..t })
    }

    /// What the caller calls an axis that a type has just named.
    fn caller_tag(&self, t: &Tensor, axis: usize, unnamed: Unnamed, span: Span) -> Tag {
        match (unnamed, &t.axes[axis].tag) {
            (_, Some(tag)) => tag.clone(),
            (Unnamed::Keep | Unnamed::Number(_), None) => Tag { name: None, env: 0, origin: span },
        }
    }

    fn known_const(&mut self, name: &str, sc: &Scope) -> Option<()> {
        let mut quiet = Vec::new();
        match self.modules.find(sc.module_number(), name, &mut quiet) {
            super::load::Found::Item(super::load::ItemRef::Const(_)) => Some(()),
            _ => None,
        }
    }

    /// A number where a tensor is declared: repeated to that shape where the shape is known.
    fn spread(&mut self, ty: &Ty, v: &Val, sc: &Scope) -> Option<Val> {
        let declared = self.dtype_of(ty)?;
        let Some(dims) = &ty.dims else { return Some(v.clone()) };
        let mut axes = Vec::new();
        for dim in dims {
            match dim {
                Dim::Expr(Expr { kind: ExprKind::Name(n), .. }) if sc.get(n).is_none() => return Some(v.clone()),
                Dim::Expr(e) => {
                    let v = self.eval(e, sc);
                    let (size, tag) = self.as_size(&v, e.span)?;
                    axes.push(Axis { size, tag });
                }
                Dim::Rest(_) | Dim::Any(_) => return Some(v.clone()),
            }
        }
        let value = self.as_value(v, declared.unwrap_or(DType::F32));
        let shape: Vec<Size> = axes.iter().map(|a| a.size.clone()).collect();
        let value = self.b().stretch(value, &shape);
        Some(Val::Tensor(self.tensor(value, axes.into_iter().map(|a| a.tag).collect())))
    }

    /// Checks conditions: now, or as guards at run time. Those that speak of `params` wait for [`Checker::require_params`].
    pub(super) fn require(&mut self, conditions: &[Expr], name: &str, sc: &Scope) -> Option<()> {
        let mut fine = Some(());
        for e in conditions {
            if sc.get("params").is_none() && speaks_of(e, "params") {
                continue;
            }
            if self.require_one(e, name, sc).is_none() {
                fine = None;
            }
        }
        fine
    }

    /// Checks the conditions on the number of trained parameters.
    pub(super) fn require_params(&mut self, conditions: &[Expr], name: &str, count: i64, sc: &Scope) -> Option<()> {
        let inner = sc.child(Kind::Block);
        inner.define("params", Val::int(count), Span::default());
        let mut fine = Some(());
        for e in conditions.iter().filter(|e| speaks_of(e, "params")) {
            if self.require_one(e, name, &inner).is_none() {
                fine = None;
            }
        }
        fine
    }

    fn require_one(&mut self, e: &Expr, name: &str, sc: &Scope) -> Option<()> {
        let v = self.eval(e, sc);
        match v {
            Val::Poison => None,
            Val::Bool(true) => Some(()),
            Val::Bool(false) => {
                let mut known: Vec<String> = Vec::new();
                for (name, _) in names_in(e) {
                    if let Some(Val::Num(n)) = sc.get(&name) {
                        let shown = format!("{name} = {}", self.show_value(&n.value));
                        if !known.contains(&shown) {
                            known.push(shown);
                        }
                    }
                }
                let with = if known.is_empty() { String::new() } else { format!(", and {}", known.join(", ")) };
                let message = format!("{name} requires {}{with}", self.text(e.span));
                self.report(Diagnostic::error("E0307", e.span, message));
                None
            }
            Val::Truth(cond) => {
                let message = format!("{name} requires {}", self.with_values(e, sc));
                self.guard(Guard { cond, message, span: e.span });
                Some(())
            }
            other => {
                let message = format!("a condition is a truth, got {}", self.show(&other));
                self.report(Diagnostic::error("E0111", e.span, message));
                None
            }
        }
    }

    /// An expression's text with the value behind each name that is known: `T <= P (512)`.
    fn with_values(&self, e: &Expr, sc: &Scope) -> String {
        let text = self.text(e.span);
        let (mut out, mut from) = (String::new(), 0);
        for (name, span) in names_in(e) {
            let Some(Val::Num(n)) = sc.get(&name) else { continue };
            let Some(x) = num::known(&n.value) else { continue };
            let end = (span.end - e.span.start) as usize;
            out.push_str(text.get(from..end).unwrap_or(""));
            out.push_str(&format!(" ({x})"));
            from = end;
        }
        out.push_str(text.get(from..).unwrap_or(""));
        out
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

    /// Checks results against what is declared, and names axes that have no name yet.
    pub(super) fn check_outputs(&mut self, outputs: Option<&Outputs>, v: Val, sc: &Scope) -> Val {
        let (Some(outputs), false) = (outputs, v.is_poison()) else { return v };
        let several = matches!(v, Val::Tuple(_));
        let found: Vec<Val> = if let Val::Tuple(items) = &v { items.to_vec() } else { vec![v.clone()] };
        if found.len() != outputs.list.len() {
            let message = format!("declared {} results, returned {}", outputs.list.len(), found.len());
            return self.error(Diagnostic::error("E0308", outputs.span, message));
        }
        let mut checked = Vec::new();
        for (output, v) in outputs.list.iter().zip(found) {
            match v {
                Val::Tensor(t) => match self.check_output(&output.ty, &t, sc) {
                    Some(t) => checked.push(Val::Tensor(t)),
                    None => return Val::Poison,
                },
                v @ (Val::Num(_) | Val::Bool(_)) => match self.spread(&output.ty, &v, sc) {
                    Some(v) => checked.push(v),
                    None => return Val::Poison,
                },
                other => {
                    let message = format!("declared a tensor, returned {}", self.show(&other));
                    return self.error(Diagnostic::error("E0308", output.ty.span, message));
                }
            }
        }
        if several { Val::Tuple(checked.into()) } else { checked.remove(0) }
    }

    fn check_output(&mut self, ty: &Ty, t: &Tensor, sc: &Scope) -> Option<Tensor> {
        let declared = self.dtype_of(ty)?;
        let fits = match declared {
            None => t.dtype.is_float(),
            Some(d) => t.dtype == d,
        };
        if !fits {
            let want = declared.map_or("float", |d| d.name());
            let message = format!("declared {want}, returned {}", self.show_tensor(t));
            self.report(Diagnostic::error("E0402", ty.span, message));
            return None;
        }
        let Some(dims) = &ty.dims else { return Some(t.clone()) };
        let mut axes: Vec<Axis> = t.axes.to_vec();
        let pairs = match_dims(dims, t.rank());
        let mut fits = pairs.is_some();
        for (dim, i) in pairs.unwrap_or_default() {
            let Dim::Expr(e) = dim else { continue };
            if let ExprKind::Name(name) = &e.kind {
                let local: Rc<str> = name.as_str().into();
                let free = sc.get(name).is_none() && self.known_const(name, sc).is_none();
                if free {
                    let tag = axes[i].tag.clone();
                    sc.define(local.clone(), Val::Num(Num { value: Num::size(&axes[i].size), tag }), e.span);
                }
                if axes[i].tag.is_none() {
                    axes[i].tag = Some(Tag { name: Some(local), env: sc.env(), origin: e.span });
                }
            }
            let v = self.eval(e, sc);
            let (size, _) = self.as_size(&v, e.span)?;
            fits &= size == axes[i].size;
        }
        if fits {
            return Some(Tensor { axes: axes.into(), ..t.clone() });
        }
        self.wrong_output(ty, dims, t, sc);
        None
    }

    fn wrong_output(&mut self, ty: &Ty, dims: &[Dim], t: &Tensor, sc: &Scope) {
        let (declared, returned) = match dims.len() == t.rank() {
            true => (self.show_dims(dims, sc), self.show_shape(&t.axes)),
            false => (self.text(ty.span).to_string(), self.show_names(&t.axes)),
        };
        let message = format!("declared {declared}, returned {returned}");
        let mut d = Diagnostic::error("E0308", ty.span, message);
        // One axis more than declared: the one without which the others fit.
        let sizes: Option<Vec<Size>> = dims.iter().map(|dim| self.dim_size(dim, sc)).collect();
        if let Some(sizes) = sizes.filter(|s| s.len() + 1 == t.rank()) {
            let shape = t.shape();
            let extra = (0..shape.len()).find(|k| {
                let rest: Vec<&Size> = shape.iter().enumerate().filter(|(i, _)| i != k).map(|(_, s)| s).collect();
                rest.into_iter().eq(sizes.iter())
            });
            if let Some(k) = extra {
                let colons = ":, ".repeat(k);
                d = d.help(format!("pool `-> mean[{k}]` or take one of them: `x[{colons}0]`"));
            }
        }
        self.report(d);
    }

    /// Declared axes with their sizes: `[B, C = 3]`.
    fn show_dims(&mut self, dims: &[Dim], sc: &Scope) -> String {
        let mut shown = Vec::new();
        for dim in dims {
            let text = self.text(dim.span()).to_string();
            let size = self.dim_size(dim, sc).map(|s| self.show_size(&s)).filter(|s| *s != text);
            shown.push(size.map_or(text.clone(), |s| format!("{text} = {s}")));
        }
        format!("[{}]", shown.join(", "))
    }

    fn dim_size(&mut self, dim: &Dim, sc: &Scope) -> Option<Size> {
        let Dim::Expr(e) = dim else { return None };
        match self.eval(e, sc) {
            Val::Num(n) => num::to_size(&n.value),
            _ => None,
        }
    }
}

/// Calls nest this deep; together with the depth of expressions this bounds the stack.
pub(super) const MOST_CALLS: usize = 100;

/// Which axis each dimension of a type stands for, `..` left out; `None` if the rank does not fit.
pub(super) fn match_dims(dims: &[Dim], rank: usize) -> Option<Vec<(&Dim, usize)>> {
    let plain = dims.iter().filter(|d| !matches!(d, Dim::Rest(_))).count();
    let rests = dims.len() - plain;
    if rests > 1 || plain > rank || (rests == 0 && plain != rank) {
        return None;
    }
    let mut pairs = Vec::new();
    let mut axis = 0;
    for dim in dims {
        match dim {
            Dim::Rest(_) => axis += rank - plain,
            Dim::Any(_) | Dim::Expr(_) => {
                pairs.push((dim, axis));
                axis += 1;
            }
        }
    }
    Some(pairs)
}

/// The tensor as a call sees it: with names of the call's own for axes that its types do not name.
pub(super) fn renamed(t: &Tensor, env: u32, unnamed: Unnamed) -> Tensor {
    match unnamed {
        Unnamed::Keep => t.clone(),
        Unnamed::Number(arg) => {
            let axis = |(i, a): (usize, &Axis)| {
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

/// Whether an expression speaks of a name.
fn speaks_of(e: &Expr, name: &str) -> bool {
    names_in(e).iter().any(|(n, _)| n == name)
}

/// The names that stand in an expression, in the order of the text.
pub(crate) fn names_in(e: &Expr) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    collect_names(e, &mut found);
    found.sort_by_key(|(_, span)| span.start);
    found
}

fn collect_names(e: &Expr, found: &mut Vec<(String, Span)>) {
    let mut all = |items: &[&Expr]| items.iter().for_each(|e| collect_names(e, found));
    match &e.kind {
        ExprKind::Name(name) => found.push((name.clone(), e.span)),
        ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::None => {}
        ExprKind::List(items) | ExprKind::Tuple(items) => all(&items.iter().collect::<Vec<_>>()),
        ExprKind::Unary { operand, .. } => all(&[operand]),
        ExprKind::Binary { left, right, .. } => all(&[left, right]),
        ExprKind::If { arms, otherwise } => {
            arms.iter().for_each(|a| all(&[&a.cond, &a.value]));
            all(&[otherwise]);
        }
        ExprKind::Call { callee, args } => {
            all(&[callee]);
            args.iter().for_each(|a| all(&[&a.value]));
        }
        ExprKind::Index { base, items } => {
            all(&[base]);
            for item in items {
                match item {
                    dlc_grammar::ast::Index::At(e) => all(&[e]),
                    dlc_grammar::ast::Index::Slice { lo, hi, by, .. } => {
                        [lo, hi, by].into_iter().flatten().for_each(|e| all(&[e]));
                    }
                    dlc_grammar::ast::Index::Rest(_) => {}
                }
            }
        }
        ExprKind::Field { base, .. } => all(&[base]),
        ExprKind::Pipe { input, stages } => {
            all(&[input]);
            for stage in stages {
                if let dlc_grammar::ast::StageKind::Expr(e) = &stage.what {
                    all(&[e]);
                }
            }
        }
    }
}
