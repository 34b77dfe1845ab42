//! Functions that state their own gradient: each becomes a function of the program, once for each kind of arguments.

use super::Checker;
use super::call::{Names, Unnamed, translate};
use super::frame::Guard;
use super::key;
use super::load::FnItem;
use super::scope::{Kind, Scope};
use super::stacks::finish;
use super::stmt::Flow;
use super::types::match_dims;
use super::value::{Axis, Given, Tag, Tensor, Val};
use crate::program::{FnId, Ty, Value};
use dlc_grammar::ast::{Body, Derivative, Dim, ExprKind, Param};
use dlc_grammar::{Diagnostic, Span};
use std::rc::Rc;

/// A function with a derivative, for one kind of arguments.
pub(super) struct FnInstance {
    function: FnId,
    /// The result; its value counts results.
    result: Tensor,
    env: u32,
    guards: Vec<Guard>,
}

/// A function's arguments as parameters of the function being built, and its scope.
struct Inside {
    sc: Scope,
    env: u32,
    /// The parameters that are tensors, in order.
    tensors: Vec<Tensor>,
}

impl Checker {
    /// Calls a function that states its gradient; the call stays a call.
    pub(super) fn call_with_derivative(
        &mut self,
        f: &Rc<FnItem>,
        axes: Vec<Val>,
        bound: Vec<Option<Given>>,
        span: Span,
    ) -> Val {
        let mut key = vec![self.mode()];
        key.extend(f.id.to_le_bytes());
        for v in axes.iter() {
            key::value(v, &mut key);
        }
        for given in &bound {
            key::given(given.as_ref(), &mut key);
        }
        let instance = match self.recall(|c| &c.fn_instances, &mut key) {
            Some(known) => known,
            None => {
                let depth = self.frames.len();
                let made = self.for_key(&mut key, |c| c.fn_instance(f, axes, &bound, span)).map(Rc::new);
                self.frames.truncate(depth);
                self.fn_instances.insert(key, made.clone());
                made
            }
        };
        let Some(instance) = instance else {
            self.failures += 1;
            return Val::Poison;
        };
        self.at(span);
        let mut args: Vec<Value> = Vec::new();
        for given in bound.iter().flatten() {
            for t in given.val.tensors() {
                args.push(self.use_(t));
            }
        }
        for guard in &instance.guards {
            self.guard(guard.clone());
        }
        let ty = Ty { dtype: instance.result.dtype, shape: instance.result.shape() };
        let value = self.b().call(instance.function, args, vec![ty])[0];
        let names = call_names(&[(&f.ast.params, &bound)]);
        let t = self.tensor(value, instance.result.tags());
        translate(&Val::Tensor(t), instance.env, &names)
    }

    fn fn_instance(
        &mut self,
        f: &Rc<FnItem>,
        axes: Vec<Val>,
        bound: &[Option<Given>],
        span: Span,
    ) -> Option<FnInstance> {
        let derivative = f.ast.derivative.as_ref().expect("the caller has seen it");
        let name = &f.ast.name.text;
        self.open_root(name.clone());
        let inside = self.enter(f, axes.clone(), bound, span)?;
        let (v, _) = self.fn_body(f, &inside.sc)?;
        let Val::Tensor(result) = v else {
            let message = format!("`{name}` states a derivative, so it returns one tensor");
            self.report(Diagnostic::error("E0116", f.ast.name.span, message));
            return None;
        };
        let value = self.use_(&result);
        let frame = self.frames.pop().expect("it was opened above");
        let mut guards = frame.root.expect("it was opened as a root").guards;
        let (mut function, _) = finish(frame.builder, &frame.stacks, &[value]);
        let (gradient, further) = self.gradient_fn(f, axes, bound, span, derivative)?;
        guards.extend(further);
        function.derivative = Some(gradient);
        let function = self.add_function(function);
        self.function_items.insert(function, f.id);
        Some(FnInstance { function, result, env: inside.env, guards })
    }

    /// Makes parameters of the arguments and binds them.
    fn enter(&mut self, f: &Rc<FnItem>, axes: Vec<Val>, bound: &[Option<Given>], span: Span) -> Option<Inside> {
        self.root().no_draws = true;
        let (sc, env) = self.fn_scope(f, axes, span);
        let mut inner = Vec::new();
        for (param, given) in f.ast.params.iter().zip(bound) {
            let lifted = given.as_ref().map(|g| Given { val: self.lift(&g.val, &param.name.text), ..g.clone() });
            inner.push(lifted);
        }
        let tensors = inner.iter().flatten().flat_map(|g| g.val.tensors()).cloned().collect();
        self.bind_all(&f.ast.params, &inner, &sc, Unnamed::Number(0), &mut Names::new())?;
        self.require(&f.ast.require, &f.ast.name.text, &sc)?;
        Some(Inside { sc, env, tensors })
    }

    /// The same value with each tensor made a parameter of the innermost function.
    pub(super) fn lift(&mut self, v: &Val, name: &str) -> Val {
        let several = v.tensors().len() > 1;
        let mut n = 0;
        v.map_tensors(&mut |t| {
            let name = if several { format!("{name}.{n}") } else { name.to_string() };
            n += 1;
            let value = self.parameter(name, Ty { dtype: t.dtype, shape: t.shape() });
            Tensor { frame: self.frame().id, value, ..t.clone() }
        })
    }

    /// The body's value, and the scope in which its names are visible.
    fn fn_body(&mut self, f: &Rc<FnItem>, sc: &Scope) -> Option<(Val, Scope)> {
        let inner = sc.child(Kind::Block);
        let name = &f.ast.name;
        let v = match &f.ast.body {
            Body::Expr(e) => self.eval(e, &inner),
            Body::Block(block) => match self.run(block, &inner) {
                Flow::Return(v) => v,
                Flow::Next => {
                    let message = format!("`{}` returns nothing", name.text);
                    self.error(Diagnostic::error("E0113", name.span, message).help("end it with `return ..`"))
                }
            },
        };
        let v = self.check_outputs(f.ast.outputs.as_ref(), v, sc);
        (!v.is_poison()).then_some((v, inner))
    }

    /// The function that the clause states: from the parameters, the result and its cotangent to the gradients. With it
    /// what must hold for it to run.
    fn gradient_fn(
        &mut self,
        f: &Rc<FnItem>,
        axes: Vec<Val>,
        bound: &[Option<Given>],
        span: Span,
        derivative: &Derivative,
    ) -> Option<(FnId, Vec<Guard>)> {
        let name = &f.ast.name.text;
        self.open_root(format!("{name}.derivative"));
        let inside = self.enter(f, axes, bound, span)?;
        let (y, sc) = self.fn_body(f, &inside.sc)?;
        let result = self.lift(&y, &derivative.result.text);
        let cotangent = self.lift(&y, &derivative.cotangent.text);
        let sc = sc.child(Kind::Block);
        sc.define(derivative.result.text.as_str(), result, derivative.result.span);
        sc.define(derivative.cotangent.text.as_str(), cotangent, derivative.cotangent.span);
        let v = match self.run(&derivative.body, &sc) {
            Flow::Return(v) => v,
            Flow::Next => {
                let message = format!("the derivative of `{name}` returns nothing");
                self.error(Diagnostic::error("E0113", derivative.span, message))
            }
        };
        if v.is_poison() {
            return None;
        }
        let grads: Vec<Val> = if let Val::Tuple(items) = &v { items.to_vec() } else { vec![v] };
        let wanted: Vec<&Tensor> = inside.tensors.iter().filter(|t| t.dtype.is_float()).collect();
        // One for each parameter is what the language says; those of numbers and integers go unused.
        let real = |given: &Option<Given>| {
            given.as_ref().is_some_and(|g| matches!(g.val.tensors()[..], [t] if t.dtype.is_float()))
        };
        let grads: Vec<Val> = if grads.len() == wanted.len() {
            grads
        } else if grads.len() == bound.len() && bound.iter().filter(|given| real(given)).count() == wanted.len() {
            grads.into_iter().zip(bound).filter(|(_, given)| real(given)).map(|(g, _)| g).collect()
        } else {
            let message = format!(
                "the derivative of `{name}` returns {} gradients, and {} of its arguments can have one",
                grads.len(),
                wanted.len()
            );
            self.report(Diagnostic::error("E0116", derivative.span, message));
            return None;
        };
        let mut results = Vec::new();
        for (g, t) in grads.iter().zip(wanted) {
            results.push(self.gradient_of(g, t, derivative)?);
        }
        let frame = self.frames.pop().expect("it was opened above");
        let guards = frame.root.expect("it was opened as a root").guards;
        Some((self.add_function(finish(frame.builder, &frame.stacks, &results).0), guards))
    }

    /// A gradient with its parameter's type.
    fn gradient_of(&mut self, g: &Val, t: &Tensor, derivative: &Derivative) -> Option<Value> {
        let (value, axes) = match g {
            Val::Tensor(g) => (self.use_(g), g.axes.clone()),
            Val::Num(_) => (self.as_value(g, t.dtype), [].into()),
            other => {
                let message = format!("a gradient is a tensor, got {}", self.show(other));
                self.report(Diagnostic::error("E0116", derivative.span, message));
                return None;
            }
        };
        let shape = t.shape();
        let fits = axes.is_empty() || axes.iter().map(|a| &a.size).eq(shape.iter());
        if !fits {
            let message = format!(
                "a gradient is {}, and what it is the gradient of is {}",
                self.show_shape(&axes),
                self.show_shape(&t.axes)
            );
            self.report(Diagnostic::error("E0116", derivative.span, message));
            return None;
        }
        let value = self.b().stretch(value, &shape);
        Some(self.b().cast(value, t.dtype))
    }
}

/// What the names of a call stand for in the caller: those of its types, of its numbers, and those given to axes that
/// its types do not name.
pub(super) fn call_names(lists: &[(&[Param], &[Option<Given>])]) -> Names {
    let mut names = Names::new();
    for (params, bound) in lists {
        for (i, (param, given)) in params.iter().zip(bound.iter()).enumerate() {
            let Some(given) = given else { continue };
            let plain = Tag { name: None, env: 0, origin: given.span };
            match &given.val {
                Val::Num(n) => {
                    names.push((param.name.text.as_str().into(), n.tag.clone().unwrap_or(plain)));
                }
                Val::Tensor(t) => {
                    axis_names(param, i, &t.axes, &plain, &mut names);
                }
                _ => {}
            }
        }
    }
    names
}

fn axis_names(param: &Param, arg: usize, axes: &[Axis], plain: &Tag, names: &mut Names) {
    for (i, axis) in axes.iter().enumerate() {
        if let Some(tag) = &axis.tag {
            names.push((format!("{arg}.{i}").into(), tag.clone()));
        }
    }
    let dims = param.ty.as_ref().and_then(|ty| ty.dims.as_ref());
    for (dim, i) in dims.and_then(|dims| match_dims(dims, axes.len())).unwrap_or_default() {
        let Dim::Expr(e) = dim else { continue };
        let ExprKind::Name(name) = &e.kind else { continue };
        if names.iter().all(|(n, _)| **n != **name) {
            names.push((name.as_str().into(), axes[i].tag.clone().unwrap_or(plain.clone())));
        }
    }
}
