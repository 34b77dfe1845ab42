//! Declared types: of parameters, which bind the sizes they name, and of results, which are checked against them.

use super::Checker;
use super::call::{Names, Unnamed, renamed};
use super::num;
use super::scope::Scope;
use super::value::{Axis, Given, Num, Tag, Tensor, Val};
use dlc_grammar::ast::{Dim, Expr, ExprKind, Outputs, Param, Ty};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::{DType, Size};
use std::rc::Rc;

impl Checker {
    /// How many axes a tensor has; a number has none.
    pub(super) fn rank(&mut self, a: &Given) -> Val {
        match &a.val {
            Val::Num(_) | Val::Bool(_) | Val::Truth(_) => Val::int(0),
            _ => self.tensor_arg("rank", a).map_or(Val::Poison, |t| Val::int(t.rank() as i64)),
        }
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

    pub(super) fn wrong_dtype(
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
    pub(super) fn bind_dims(
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
        let lanes = t.lanes();
        let Some(pairs) = match_dims(dims, t.rank() - lanes) else {
            let message = format!("`{name}` must be {}, got {}", self.text(ty.span), self.show_tensor(&t));
            self.report(Diagnostic::error("E0308", span, message));
            return None;
        };
        let mut axes: Vec<Axis> = t.axes.to_vec();
        for (dim, i) in pairs.into_iter().map(|(dim, i)| (dim, i + lanes)) {
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
            let (size, size_tag) = self.as_offset(&v, e.span)?;
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
    pub(super) fn spread(&mut self, ty: &Ty, v: &Val, sc: &Scope) -> Option<Val> {
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
        let lanes = t.lanes();
        let pairs = match_dims(dims, t.rank() - lanes);
        let mut fits = pairs.is_some();
        for (dim, i) in pairs.unwrap_or_default().into_iter().map(|(dim, i)| (dim, i + lanes)) {
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
            let (size, _) = self.as_offset(&v, e.span)?;
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
