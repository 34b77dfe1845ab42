//! Layers: blocks and models become functions of the program, once for each configuration and kind of inputs.
//!
//! Such a function is an [`Instance`]. Its weights and random sites are parameters; whoever calls it passes slots of its
//! own for them, named with the layer's label in front, and so on up to the model.

use super::Checker;
use super::adapt::Adapter;
use super::call::{MOST_CALLS, Names, Unnamed, translate};
use super::derivative::call_names;
use super::errors::{LayerLevel, Level};
use super::eval::LabelUse;
use super::frame::{Decl, Guard, LayerState, Slot, SlotKind, Used};
use super::init;
use super::key;
use super::load::NetItem;
use super::scope::{Kind, Owner, Scope};
use super::stacks::SlotParam;
use super::stmt::Flow;
use super::value::{Ctor, Given, Layer, Tag, Tensor, Val};
use crate::program::{FnId, Ty, Value};
use dlc_grammar::ast::{Body, Dim, Expr, Ident, NetKind};
use dlc_grammar::{Diagnostic, Span, nearest};
use std::rc::Rc;

/// A net's function for one configuration and one kind of inputs.
pub struct Instance {
    /// The function: its parameters are the tensors among the inputs, then the slots.
    pub function: FnId,
    /// What it gives; each tensor's value says which of the function's results it is.
    pub result: Val,
    /// The types of all results of the function: those of `result`, then the new values of `updated`.
    pub result_tys: Vec<Ty>,
    /// Its weights and random sites.
    pub slots: Vec<Slot>,
    /// What the parameters after the inputs are.
    pub params: Vec<SlotParam>,
    /// The states that it changes, by slot.
    pub updated: Vec<usize>,
    /// Conditions on dynamic sizes.
    pub guards: Vec<Guard>,
    /// Further names of weights, each with its slot.
    pub aliases: Vec<(Rc<str>, usize, Span)>,
    /// The call that its names belong to.
    pub(super) env: u32,
}

impl Checker {
    /// Names a layer.
    pub(super) fn declare_layer(&mut self, ctor: Rc<Ctor>, label: LabelUse, sc: &Scope) -> Option<Rc<Layer>> {
        if !sc.owner().is_some_and(|o| o.net) {
            let d = Diagnostic::error("E0112", label.span, "a function has no weights, so nothing in it has a name");
            self.report(d.help("make it a `block`"));
            sc.define(label.path, Val::Poison, label.span);
            return None;
        }
        if !self.new_label(&label, sc) {
            return None;
        }
        let root = self.root_index();
        let root = self.frames[root].id;
        let layer = Rc::new(Layer { ctor, label: label.path.clone(), label_span: label.span, root });
        self.root().layers.insert(label.path.clone(), LayerState::default());
        self.frame().labels.push(label.path.clone());
        sc.define(label.path, Val::Layer(layer.clone()), label.span);
        Some(layer)
    }

    /// Takes a label, or reports that it is taken.
    pub(super) fn new_label(&mut self, label: &LabelUse, sc: &Scope) -> bool {
        let Some(first) = self.root().labels.get(&label.path).copied() else {
            self.root().labels.insert(label.path.clone(), label.span);
            return true;
        };
        let path = &label.path;
        let d = match self.loops.last() {
            Some(l) if first == label.span && sc.in_repeat() => {
                let written = self.text(label.span);
                let message = match written.contains('{') {
                    true => format!("two iterations would be called `{path}`"),
                    false if l.count == 2 => format!("both iterations would be called `{path}`"),
                    false => format!("all {} iterations would be called `{path}`", l.count),
                };
                let var = l.var.as_deref().unwrap_or("i");
                let help = format!("`{path}.{{{var}}}:`; to share weights declare it above");
                Diagnostic::error("E0203", label.span, message).help(help)
            }
            _ => {
                let used = self.root().layers.get(path).and_then(|l| l.used.clone());
                let weight = used.and_then(|u| u.instance.slots.first().map(|s| join(path, &s.path)));
                let weight = weight.unwrap_or_else(|| path.clone());
                let place = self.line_column(first);
                let message = format!("weight `{weight}` is declared twice (first at {place})");
                let help = format!("rename it, or declare `{path}: ..` once and call it twice to share");
                Diagnostic::error("E0202", label.span, message).help(help)
            }
        };
        self.report(d);
        sc.define(path.clone(), Val::Poison, label.span);
        false
    }

    /// Applies a net that has no name: fine if it has no weights.
    pub(super) fn call_unnamed(&mut self, ctor: &Rc<Ctor>, args: Vec<Given>, span: Span) -> Val {
        if self.refuse_lanes("a layer", args.iter().map(|a| &a.val), span) {
            return Val::Poison;
        }
        let input = args.first().map(|a| a.span);
        let Some(bound) = self.bind_inputs(&ctor.net, args, span) else { return Val::Poison };
        let level = LayerLevel { ctor: ctor.clone(), label: "".into(), label_span: None, more: 0 };
        let Some(instance) = self.instance(level, &bound, span) else { return Val::Poison };
        if instance.slots.iter().any(init::is_weight) {
            let d = Diagnostic::error("E0201", span, "this layer has weights and no name");
            let layer = self.text(span).to_string();
            let input = input.map_or("x", |i| self.text(i));
            let input = if input.chars().all(|c| c.is_alphanumeric() || c == '_') { input } else { "x" };
            return self.error(d.help(format!("`{input} -> proj: {layer}`")));
        }
        self.emit_first(ctor, &instance, &bound, span)
    }

    /// Applies a net under no label: its weights keep their names.
    pub(super) fn apply_level(&mut self, level: LayerLevel, args: Vec<Given>, span: Span) -> Val {
        let ctor = level.ctor.clone();
        let Some(bound) = self.bind_inputs(&ctor.net, args, span) else { return Val::Poison };
        let Some(instance) = self.instance(level, &bound, span) else { return Val::Poison };
        self.emit_first(&ctor, &instance, &bound, span)
    }

    fn emit_first(&mut self, ctor: &Ctor, instance: &Rc<Instance>, bound: &[Option<Given>], span: Span) -> Val {
        let names: Names = call_names(&[(&ctor.net.ast.config, &ctor.config), (&ctor.net.ast.inputs, bound)]);
        let prefix = self.frame().site_prefix.clone();
        let slots = self.new_slots(instance, &prefix);
        for (name, slot, at) in &instance.aliases {
            self.root().aliases.push((name.clone(), slots[*slot], *at));
        }
        self.emit(instance, bound, &slots, &names, "".into(), span)
    }

    /// Applies a layer.
    pub(super) fn call_layer(&mut self, layer: &Rc<Layer>, args: Vec<Given>, span: Span) -> Val {
        if self.refuse_lanes("a layer", args.iter().map(|a| &a.val), span) {
            return Val::Poison;
        }
        let root = self.root_index();
        if layer.root != self.frames[root].id {
            let message = format!("the layer `{}` belongs to another block", layer.label);
            return self.error(Diagnostic::error("E0112", span, message).help("pass what it computes instead"));
        }
        let ctor = layer.ctor.clone();
        let input = args.first().map_or(span, |a| a.span);
        let Some(bound) = self.bind_inputs(&ctor.net, args, span) else { return Val::Poison };
        let more = self.loops.last().filter(|_| self.frames.len() > root + 1).map_or(0, |l| l.left);
        let label_span = Some(layer.label_span);
        let level = LayerLevel { ctor: ctor.clone(), label: layer.label.clone(), label_span, more };
        let Some(instance) = self.instance(level, &bound, span) else { return Val::Poison };
        if !self.handed_on(instance.slots.len(), span) {
            return Val::Poison;
        }
        let names: Names = call_names(&[(&ctor.net.ast.config, &ctor.config), (&ctor.net.ast.inputs, &bound)]);
        let state = self.root().layers.get_mut(&layer.label).expect("a layer is declared before it is called");
        state.uses += 1;
        let (uses, used) = (state.uses, state.used.clone());
        let slots = match used {
            None => {
                let slots: Rc<[usize]> = self.new_slots(&instance, &layer.label).into();
                let used =
                    Used { instance: instance.clone(), slots: slots.clone(), input, names: names.clone().into() };
                let state = self.root().layers.get_mut(&layer.label).expect("a layer is declared before it is called");
                state.used = Some(used);
                for (name, slot, at) in &instance.aliases {
                    let alias = (join(&layer.label, name), slots[*slot], *at);
                    self.root().aliases.push(alias);
                }
                slots
            }
            Some(used) => match self.shared_slots(&instance, &used, layer, uses, input, span) {
                Some(slots) => slots.into(),
                None => return Val::Poison,
            },
        };
        self.emit(&instance, &bound, &slots, &names, layer.label.clone(), span)
    }

    pub(super) fn bind_inputs(
        &mut self,
        net: &Rc<NetItem>,
        args: Vec<Given>,
        span: Span,
    ) -> Option<Vec<Option<Given>>> {
        let failed = args.iter().any(|a| a.val.is_poison());
        let name = &net.ast.name.text;
        let bound = self.bind(name, "input", &net.ast.inputs, args, span)?;
        for (param, given) in net.ast.inputs.iter().zip(&bound) {
            if given.is_none() && param.default.is_none() {
                let message = format!("`{name}` needs the input `{}`", param.name.text);
                self.report(Diagnostic::error("E0107", span, message));
                return None;
            }
        }
        (!failed).then_some(bound)
    }

    /// A slot of the innermost root for each slot of an instance, with the label in front.
    fn new_slots(&mut self, instance: &Rc<Instance>, label: &str) -> Vec<usize> {
        let slots: Vec<usize> = instance.slots.iter().map(|s| self.new_slot(s, label)).collect();
        self.new_params(instance, &slots, |_| true);
        slots
    }

    /// A parameter of the innermost root for each parameter of an instance that is so wanted; `slots` are this root's.
    pub(super) fn new_params(&mut self, instance: &Rc<Instance>, slots: &[usize], wanted: impl Fn(&Slot) -> bool) {
        let root = self.root_index();
        for param in instance.params.iter().filter(|p| wanted(&instance.slots[p.first()])) {
            self.slot_param(root, param.renumbered(|s| slots[s]));
        }
    }

    pub(super) fn new_slot(&mut self, slot: &Slot, label: &str) -> usize {
        self.slot_at(join(label, &slot.path), &slot.decl)
    }

    /// A slot of the innermost root; a random site is the next one of its path. The weights of an adapter's layers are
    /// added ones too.
    pub(super) fn slot_at(&mut self, path: Rc<str>, decl: &Rc<Decl>) -> usize {
        let SlotKind::Site(_) = decl.kind else {
            let added = decl.added || self.root().adapter.is_some();
            let decl = if decl.added == added { decl.clone() } else { Rc::new(Decl { added, ..(**decl).clone() }) };
            return self.push_slot(Slot { path, decl });
        };
        let ordinal = self.root().ordinals.entry(path.clone()).or_insert(0);
        let kind = SlotKind::Site(*ordinal);
        *ordinal += 1;
        let decl = if decl.kind == kind { decl.clone() } else { Rc::new(Decl { kind, ..(**decl).clone() }) };
        self.push_slot(Slot { path, decl })
    }

    /// The slots of a layer that is used again: the same weights, and random sites of its own.
    fn shared_slots(
        &mut self,
        instance: &Rc<Instance>,
        used: &Used,
        layer: &Rc<Layer>,
        uses: u32,
        input: Span,
        span: Span,
    ) -> Option<Vec<usize>> {
        let again = format!("{}({uses})", layer.label);
        let mut slots = Vec::new();
        for s in &instance.slots {
            if let SlotKind::Site(_) = s.decl.kind {
                slots.push(self.new_slot(s, &again));
                continue;
            }
            let first =
                used.instance.slots.iter().position(|o| o.path == s.path && !matches!(o.decl.kind, SlotKind::Site(_)));
            match first {
                Some(i) if used.instance.slots[i].decl.ty == s.decl.ty => slots.push(used.slots[i]),
                other => {
                    let path = join(&layer.label, &s.path);
                    let (x, y) = (self.text(used.input).to_string(), self.text(input).to_string());
                    let here = self.show_sizes(&s.decl.ty.shape);
                    let message = match other {
                        Some(i) => {
                            let there = self.show_sizes(&used.instance.slots[i].decl.ty.shape);
                            format!("shared `{path}` is {there} for `{x}` and {here} for `{y}`")
                        }
                        None => format!("shared `{path}` is not there for `{x}` and {here} for `{y}`"),
                    };
                    self.report(Diagnostic::error("E0205", span, message).help("two layers, or one size"));
                    return None;
                }
            }
        }
        self.new_params(instance, &slots, |s| !init::is_weight(s));
        Some(slots)
    }

    /// Calls an instance in the innermost function.
    pub(super) fn emit(
        &mut self,
        instance: &Rc<Instance>,
        bound: &[Option<Given>],
        slots: &[usize],
        names: &[(Rc<str>, Tag)],
        label: Rc<str>,
        span: Span,
    ) -> Val {
        self.at(span);
        let mut args: Vec<Value> = Vec::new();
        for given in bound.iter().flatten() {
            for t in given.val.tensors() {
                args.push(self.use_(t));
            }
        }
        for param in &instance.params {
            let t = match param {
                SlotParam::One(slot) => self.slot_tensor(slots[*slot], Vec::new()),
                SlotParam::Stack(_) => self.stack_tensor(&param.renumbered(|s| slots[s])),
            };
            args.push(self.use_(&t));
        }
        for guard in &instance.guards {
            self.guard(guard.clone());
        }
        let before = std::mem::replace(&mut self.b().origin.member, label);
        let results = self.b().call(instance.function, args, instance.result_tys.clone());
        self.b().origin.member = before;
        let count = results.len() - instance.updated.len();
        for (slot, value) in instance.updated.iter().zip(&results[count..]) {
            let rank = instance.slots[*slot].decl.ty.rank();
            let t = self.tensor(*value, vec![None; rank]);
            self.set_state(slots[*slot], t);
        }
        let frame = self.frame().id;
        let v =
            instance.result.map_tensors(&mut |t| Tensor { frame, value: results[t.value.node as usize], ..t.clone() });
        translate(&v, instance.env, names)
    }

    /// The instance for a configuration and inputs: the one made before, or a new one.
    pub(super) fn instance(&mut self, level: LayerLevel, bound: &[Option<Given>], span: Span) -> Option<Rc<Instance>> {
        let before = self.enter_mode(&level.label);
        let made = self.instance_in_mode(level, bound, span);
        self.training = before;
        made
    }

    fn instance_in_mode(&mut self, level: LayerLevel, bound: &[Option<Given>], span: Span) -> Option<Rc<Instance>> {
        let net = &level.ctor.net;
        self.reached.insert(net.id);
        if self.levels.iter().any(|l| l.item == net.id) {
            let message = format!("`{}` uses itself", net.ast.name.text);
            self.report(
                Diagnostic::error("E0109", span, message).help("there is no recursion; `repeat` stacks layers"),
            );
            return None;
        }
        if self.levels.len() >= MOST_CALLS {
            self.too_deep(span);
            return None;
        }
        if !self.called(&net.ast.name.text, net.ast.name.span, span) {
            return None;
        }
        let mut key = vec![self.mode()];
        key.extend(net.id.to_le_bytes());
        for given in level.ctor.config.iter().chain(bound) {
            key::given(given.as_ref(), &mut key);
        }
        let adapter = self.adapting.take();
        self.adapters_key(adapter.as_deref(), &level.label, &mut key);
        self.evaluated_key(&level.label, &mut key);
        if let Some(known) = self.recall(|c| &c.instances, &mut key) {
            if known.is_none() {
                self.failures += 1;
            }
            return known;
        }
        let depth = self.frames.len();
        let (ctor, before) = (level.ctor.clone(), self.failures);
        let loops = std::mem::take(&mut self.loops);
        self.levels.push(Level { item: net.id, span, layer: Some(level) });
        let made = self.for_key(&mut key, |c| c.elaborate(&ctor, bound, adapter.as_deref()));
        self.levels.pop();
        self.loops = loops;
        self.frames.truncate(depth);
        let made = made.filter(|_| self.failures == before).map(Rc::new);
        self.instances.insert(key, made.clone());
        made
    }

    /// Works through a net's body in a function of its own.
    fn elaborate(&mut self, ctor: &Rc<Ctor>, bound: &[Option<Given>], adapter: Option<&Adapter>) -> Option<Instance> {
        let net = &ctor.net.ast;
        let name = net.name.text.clone();
        self.open_root(name.clone());
        self.root().kind = Some(net.kind);
        self.begin_adapter(adapter);
        let env = self.new_env();
        let sc = Scope::module(ctor.net.module).child(Kind::Body(Owner { net: true, env }));
        let lifted: Vec<Option<Given>> = net
            .inputs
            .iter()
            .zip(bound)
            .map(|(p, g)| g.as_ref().map(|g| Given { val: self.lift(&g.val, &p.name.text), ..g.clone() }))
            .collect();
        self.bind_net(ctor, &lifted, &sc)?;
        self.require(&net.require, &name, &sc)?;
        let v = match &net.body {
            Body::Expr(e) => self.eval(e, &sc),
            Body::Block(block) => match self.run(block, &sc) {
                Flow::Return(v) => v,
                Flow::Next if net.kind == NetKind::Optimizer => Val::None,
                Flow::Next => {
                    let message = format!("`{name}` returns nothing");
                    self.error(Diagnostic::error("E0113", net.name.span, message).help("end it with `return ..`"))
                }
            },
        };
        let v = match net.kind {
            // What an optimizer gives is the weight's new value.
            NetKind::Optimizer => net.inputs.first().and_then(|p| sc.get(&p.name.text)).unwrap_or(Val::Poison),
            NetKind::Block | NetKind::Model => self.check_outputs(net.outputs.as_ref(), v, &sc),
        };
        if v.is_poison() {
            self.failures += 1;
            return None;
        }
        let own = |s: &&Slot| s.decl.kind == SlotKind::Param && !s.decl.added;
        let count = self.root().slots.iter().filter(own).map(|s| s.decl.ty.len());
        let count: i64 = count.filter_map(|n| n.known()).fold(0, i64::saturating_add);
        self.require_params(&net.require, &name, count, &sc)?;
        self.close_instance(v, env)
    }

    /// Binds configuration and inputs. A default of the configuration that speaks of an input's sizes waits for them.
    fn bind_net(&mut self, ctor: &Rc<Ctor>, bound: &[Option<Given>], sc: &Scope) -> Option<()> {
        let net = &ctor.net.ast;
        let mut names = Names::new();
        let config = &net.config;
        self.bind_given(config, &ctor.config, sc, Unnamed::Keep, &mut names)?;
        let sizes = input_names(net);
        for (param, given) in config.iter().zip(&ctor.config) {
            let Some(default) = param.default.as_ref().filter(|_| given.is_none()) else { continue };
            let waits = super::require::names_in(default)
                .iter()
                .any(|(n, _)| sizes.contains(&n.as_str()) && config.iter().all(|p| p.name.text != *n));
            if !waits {
                let val = self.eval(default, sc);
                sc.define(param.name.text.as_str(), val, default.span);
            }
        }
        self.bind_given(&net.inputs, bound, sc, Unnamed::Number(0), &mut names)?;
        self.bind_defaults(config, &ctor.config, sc)?;
        self.bind_defaults(&net.inputs, bound, sc)
    }

    fn close_instance(&mut self, result: Val, env: u32) -> Option<Instance> {
        init::apply_rules(self)?;
        let mut n = 0;
        let frame = self.frame().id;
        let template = result.map_tensors(&mut |t| {
            n += 1;
            Tensor { frame, value: Value { node: n - 1, port: 0 }, ..t.clone() }
        });
        let mut done = self.close_root(&result);
        let result_tys = done.function.result_tys();
        init::find_summed(&done.function, &done.params, &mut done.root.slots);
        let function = self.add_function(done.function);
        Some(Instance {
            function,
            result: template,
            result_tys,
            slots: done.root.slots,
            params: done.params,
            updated: done.updated,
            guards: done.root.guards,
            aliases: done.root.aliases,
            env,
        })
    }

    /// `layer.weight`, and `layer.block.weight`.
    pub(super) fn layer_member(&mut self, layer: &Rc<Layer>, part: &Ident, after: &[&Ident]) -> (Val, usize) {
        let state = self.root().layers.get(&layer.label).cloned();
        let Some(used) = state.and_then(|s| s.used) else {
            let message = format!("`{}` has no weights before it is used", layer.label);
            let d = Diagnostic::error("E0208", part.span, message).help("its sizes come from its first input");
            return (self.error(d), 0);
        };
        for n in (0..=after.len()).rev() {
            let path = after[..n].iter().fold(part.text.clone(), |p, i| p + "." + &i.text);
            let is = |s: &Slot| *s.path == *path && !matches!(s.decl.kind, SlotKind::Site(_));
            if let Some(i) = used.instance.slots.iter().position(is) {
                let decl = &used.instance.slots[i].decl;
                let tags = decl.tags.clone();
                let t = self.slot_tensor(used.slots[i], tags);
                return (translate(&Val::Tensor(t), used.instance.env, &used.names), n);
            }
        }
        let known: Vec<&str> = used.instance.slots.iter().map(|s| &*s.path).collect();
        let message = format!("`{}` has no weight `{}`", layer.label, part.text);
        let d = Diagnostic::error("E0208", part.span, message).did_you_mean(nearest(&part.text, known));
        (self.error(d), after.len())
    }
}

/// The names that the types of a net's inputs may bind.
fn input_names(net: &dlc_grammar::ast::Net) -> Vec<&str> {
    let dims = net.inputs.iter().filter_map(|p| p.ty.as_ref()).filter_map(|ty| ty.dims.as_ref()).flatten();
    dims.filter_map(|d| match d {
        Dim::Expr(Expr { kind: dlc_grammar::ast::ExprKind::Name(n), .. }) => Some(n.as_str()),
        Dim::Expr(_) | Dim::Any(_) | Dim::Rest(_) => None,
    })
    .collect()
}

/// A path below a label.
pub(super) fn join(label: &str, path: &Rc<str>) -> Rc<str> {
    match (label.is_empty(), path.is_empty()) {
        (true, _) => path.clone(),
        (false, true) => label.into(),
        (false, false) => format!("{label}.{path}").into(),
    }
}
