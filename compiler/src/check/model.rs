//! Entries: a model as a function of its inputs and weights, and the frame in which others build entries of their own.

use super::Checker;
use super::errors::LayerLevel;
use super::frame::{Guard, Slot};
use super::init::is_weight;
use super::load::NetItem;
use super::require::names_in;
use super::scope::{Kind, Owner, Scope};
use super::stacks::SlotParam;
use super::value::{Axis, Ctor, Given, Num, Tag, Tensor, Val};
use crate::program::{FnId, Ty};
use dlc_grammar::ast::{BinaryOp, Dim, Expr, ExprKind, Param};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Host, Size};
use rustc_hash::FxHashMap as HashMap;
use std::rc::Rc;

/// A model for one configuration and mode.
#[derive(Debug)]
pub struct ModelFn {
    /// The model's name.
    pub name: String,
    /// The function and what it takes and gives.
    pub entry: EntryFn,
    /// The inputs, in the order of the function's first parameters.
    pub inputs: Vec<Input>,
    /// The names and types of the outputs, in the order of the function's first results.
    pub outputs: Vec<(String, Ty)>,
}

/// A function whose parameters are some inputs, then weights; its results are some outputs, then new values of states.
#[derive(Debug)]
pub struct EntryFn {
    /// The function.
    pub function: FnId,
    /// The weights, under their full names.
    pub slots: Vec<Slot>,
    /// What the parameters after the inputs are.
    pub params: Vec<SlotParam>,
    /// The states whose new values follow the outputs, by slot.
    pub updated: Vec<usize>,
    /// Conditions on dynamic sizes.
    pub guards: Vec<Guard>,
    /// Further names of weights, each with its slot and place.
    pub aliases: Vec<(Rc<str>, usize, Span)>,
}

/// An input of a model.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its name.
    pub name: String,
    /// Its type; dynamic sizes are numbered by [`crate::program::Program::dims`].
    pub ty: Ty,
    /// What its axes are called.
    pub tags: Vec<Option<Tag>>,
    /// The number that all of its elements are where it is not given.
    pub default: Option<Host>,
    /// Where it is declared.
    pub span: Span,
}

impl EntryFn {
    /// What has to hold of the dynamic sizes before it runs, each with what is said where it does not.
    pub fn conditions(&self) -> Vec<(Host, String)> {
        self.guards.iter().map(|g| (g.cond.clone(), g.message.clone())).collect()
    }
}

/// A tensor of a batch that is there before its training is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchTensor {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl Checker {
    /// Starts an entry. Tensors may be made until [`Checker::close_entry`].
    pub fn open_entry(&mut self, name: &str) {
        self.open_root(name);
        self.root().entry = true;
    }

    /// A scope for the expressions of an entry of that module; names may be defined in it.
    pub fn entry_scope(&mut self, module: u16) -> Scope {
        let env = self.new_env();
        Scope::module(module).child(Kind::Body(Owner { net: true, env }))
    }

    /// Adds an input to the entry. All inputs come before all else.
    pub fn entry_input(&mut self, name: &str, ty: Ty, tags: Vec<Option<Tag>>) -> Val {
        let value = self.parameter(name.to_string(), ty);
        Val::Tensor(self.tensor(value, tags))
    }

    /// Ends the entry: a function that gives the tensors of `results`, then the new values of states.
    pub fn close_entry(&mut self, results: &Val) -> EntryFn {
        let done = self.close_root(results);
        // Random sites are constants of an entry, so what is left are weights; their numbers close up.
        let place: Vec<usize> =
            done.root.slots.iter().scan(0, |n, s| Some(std::mem::replace(n, *n + usize::from(is_weight(s))))).collect();
        EntryFn {
            function: self.add_function(done.function),
            params: done.params.iter().map(|p| p.renumbered(|s| place[s])).collect(),
            updated: done.updated.iter().map(|s| place[*s]).collect(),
            guards: done.root.guards,
            aliases: done.root.aliases.into_iter().map(|(n, s, at)| (n, place[s], at)).collect(),
            slots: done.root.slots.into_iter().filter(is_weight).collect(),
        }
    }

    /// Gives up the innermost entry, because of a mistake in it.
    pub fn drop_entry(&mut self) {
        self.drop_frame();
    }

    /// A model with its configuration, as `Mlp(hidden = [64])` would give it.
    pub fn configured(&mut self, net: &Rc<NetItem>, config: Vec<Given>, span: Span) -> Option<Rc<Ctor>> {
        match self.configure(net.clone(), config, span, None) {
            Val::Ctor(ctor) => Some(ctor),
            _ => None,
        }
    }

    /// The function of a model.
    pub fn model(&mut self, ctor: &Rc<Ctor>, training: bool) -> Option<ModelFn> {
        let before = std::mem::replace(&mut self.training, training);
        let depth = self.frames.len();
        let made = self.model_fn(ctor);
        self.frames.truncate(depth);
        self.training = before;
        made
    }

    fn model_fn(&mut self, ctor: &Rc<Ctor>) -> Option<ModelFn> {
        let net = &ctor.net.ast;
        let name = net.name.text.clone();
        let inputs = self.model_inputs(ctor)?;
        self.open_entry(&name);
        let given: Vec<Given> = inputs
            .iter()
            .map(|i| Given::new(self.entry_input(&i.name, i.ty.clone(), i.tags.clone()), i.span))
            .collect();
        let v = self.apply_model(ctor, given, net.name.span);
        if v.is_poison() {
            return None;
        }
        let outputs = self.named_outputs(ctor, &v);
        let Some(outputs) = outputs else {
            let message = format!("`{name}` returns {}, and a model gives tensors", self.show(&v));
            self.report(Diagnostic::error("E0112", net.name.span, message));
            return None;
        };
        let outputs = outputs.into_iter().map(|(n, t)| (n, Ty { dtype: t.dtype, shape: t.shape() })).collect();
        let entry = self.close_entry(&v);
        Some(ModelFn { name, entry, inputs, outputs })
    }

    /// Applies a model under its weights' own names. The inputs are in order; those not given take their defaults.
    pub fn apply_model(&mut self, ctor: &Rc<Ctor>, inputs: Vec<Given>, span: Span) -> Val {
        let level = LayerLevel { ctor: ctor.clone(), label: "".into(), label_span: None, more: 0 };
        self.apply_level(level, inputs, span)
    }

    /// The outputs of a model by name.
    pub fn named_outputs(&self, ctor: &Ctor, v: &Val) -> Option<Vec<(String, Tensor)>> {
        let values: Vec<Val> = if let Val::Tuple(items) = v { items.to_vec() } else { vec![v.clone()] };
        let declared = ctor.net.ast.outputs.as_ref().map_or(&[][..], |o| &o.list);
        let single = values.len() == 1;
        let named = values.into_iter().enumerate().map(|(i, v)| {
            let name = declared.get(i).and_then(|o| o.name.as_ref()).map(|n| n.text.clone());
            let name = name.unwrap_or_else(|| if single { "output".to_string() } else { format!("output{i}") });
            match v {
                Val::Tensor(t) => Some((name, t)),
                _ => None,
            }
        });
        named.collect()
    }

    /// The inputs of a model that is run: names of sizes that nothing binds become dynamic sizes.
    pub fn model_inputs(&mut self, ctor: &Rc<Ctor>) -> Option<Vec<Input>> {
        let net = &ctor.net.ast;
        let sc = self.entry_scope(ctor.net.module);
        for (param, given) in net.config.iter().zip(&ctor.config) {
            let val = match (given, &param.default) {
                (Some(given), _) => given.val.clone(),
                (None, Some(default)) if names_in(default).iter().all(|(n, _)| self.is_known(n, &sc)) => {
                    self.eval(default, &sc)
                }
                (None, _) => continue,
            };
            sc.define(param.name.text.as_str(), val, param.span);
        }
        let equal = equal_names(&net.require);
        let mut inputs = Vec::new();
        for param in &net.inputs {
            inputs.push(self.model_input(param, &sc, &equal)?);
        }
        Some(inputs)
    }

    pub(crate) fn is_known(&mut self, name: &str, sc: &Scope) -> bool {
        sc.get(name).is_some() || self.global(name, Span::default(), sc.module_number()).is_some()
    }

    fn model_input(&mut self, param: &Param, sc: &Scope, equal: &HashMap<String, String>) -> Option<Input> {
        let name = param.name.text.clone();
        let dims = param.ty.as_ref().and_then(|ty| ty.dims.as_ref());
        let (Some(ty), Some(dims)) = (&param.ty, dims) else {
            let message = format!("`{name}` needs a type, because this model is run");
            let d = Diagnostic::error("E0308", param.span, message);
            self.report(d.help(format!("`{name}: [B, D]`")));
            return None;
        };
        let dtype = self.dtype_of(ty)?.unwrap_or(DType::F32);
        let mut axes = Vec::new();
        for (i, dim) in dims.iter().enumerate() {
            let place = (name.as_str(), i);
            axes.push(match dim {
                Dim::Rest(span) => {
                    let message = format!("`{name}` needs a known number of axes, because this model is run");
                    self.report(Diagnostic::error("E0308", *span, message));
                    return None;
                }
                Dim::Any(span) => {
                    let size = self.input_size(place, &format!("{name}.{i}"));
                    Axis { size, tag: Some(Tag { name: None, env: sc.env(), origin: *span }) }
                }
                Dim::Expr(e) => self.model_dim(e, place, sc, equal)?,
            });
        }
        let default = match &param.default {
            None => None,
            Some(e) => Some(self.input_default(&name, dtype, e, sc)?),
        };
        let (shape, tags) = axes.into_iter().map(|a| (a.size, a.tag)).unzip();
        Some(Input { name, ty: Ty { dtype, shape }, tags, default, span: param.name.span })
    }

    /// The number that an input is where it is not given, which must be one of its type.
    fn input_default(&mut self, name: &str, dtype: DType, e: &Expr, sc: &Scope) -> Option<Host> {
        let v = self.eval(e, sc);
        let (wants, found) = match (&v, dtype) {
            (Val::Poison, _) => return None,
            (Val::Bool(b), DType::Bool) => return Some(Host::Const(f64::from(u8::from(*b)))),
            (_, DType::Bool) => ("true or false", None),
            (Val::Num(n), _) => ("a whole number", Some(super::num::to_host(&n.value))),
            (_, _) => ("a number", None),
        };
        let whole = |x: f64| x.fract() == 0.0;
        match found.filter(|host| !dtype.is_int() || host.known().is_none_or(whole)) {
            Some(host) => Some(host),
            None => {
                let message = format!("the default of `{name}`, which is {dtype}, is {wants}, got {}", self.show(&v));
                self.report(Diagnostic::error("E0112", e.span, message));
                None
            }
        }
    }

    fn model_dim(
        &mut self,
        e: &Expr,
        place: (&str, usize),
        sc: &Scope,
        equal: &HashMap<String, String>,
    ) -> Option<Axis> {
        if let ExprKind::Name(name) = &e.kind {
            let tag = Tag { name: Some(name.as_str().into()), env: sc.env(), origin: e.span };
            if !self.is_size(name, sc) {
                let size = match equal.get(name).and_then(|other| sc.get(other)) {
                    Some(Val::Num(n)) => super::num::to_size(&n.value).unwrap_or_else(|| self.dynamic(name)),
                    _ => self.input_size(place, name),
                };
                let num = Num { value: Num::size(&size), tag: Some(tag.clone()) };
                sc.define(name.as_str(), Val::Num(num), e.span);
                return Some(Axis { size, tag: Some(tag) });
            }
        }
        let v = self.eval(e, sc);
        let (size, tag) = self.as_size(&v, e.span)?;
        Some(Axis { size, tag })
    }

    /// Whether a name stands for a number that is bound already.
    fn is_size(&mut self, name: &str, sc: &Scope) -> bool {
        sc.get(name).is_some() || matches!(self.global(name, Span::default(), sc.module_number()), Some(Val::Num(_)))
    }

    /// A size of that name that nothing binds, the extent of an axis of an input: dynamic, unless the batch is there.
    fn input_size(&mut self, (input, axis): (&str, usize), name: &str) -> Size {
        let given = self.batch.iter().flatten().find(|tensor| tensor.name == input);
        match given.and_then(|tensor| tensor.shape.get(axis)).and_then(|n| i64::try_from(*n).ok()) {
            Some(n) => Size::from(n),
            None => self.dynamic(name),
        }
    }

    /// The dynamic size of that name.
    pub fn dynamic(&mut self, name: &str) -> Size {
        let dims = &mut self.program.dims;
        let n = dims.iter().position(|d| d == name).unwrap_or_else(|| {
            dims.push(name.to_string());
            dims.len() - 1
        });
        Size::dim(n as u16)
    }
}

/// Names that a condition of the form `S == T` makes equal, the later to the earlier one.
fn equal_names(conditions: &[Expr]) -> HashMap<String, String> {
    let mut equal = HashMap::default();
    for e in conditions {
        if let ExprKind::Binary { op: BinaryOp::Eq, left, right, .. } = &e.kind
            && let (ExprKind::Name(a), ExprKind::Name(b)) = (&left.kind, &right.kind)
        {
            equal.insert(a.clone(), b.clone());
            equal.insert(b.clone(), a.clone());
        }
    }
    equal
}
