//! Iterations that do what the one before did. Takes an iteration of a `repeat` that has been worked through, and how it was
//! written; gives the next one without working through the text again.
//!
//! Where a loop's own variables stand in labels only, and an iteration found what it reads as the one before it had found
//! it, the next one differs in nothing but the names and the slots of its weights. Whatever else an iteration can do to the
//! function around it (states, aliases, `init`, loops in loops) is left to [`super::repeat`], which is right for all.

use super::Checker;
use super::frame::{LayerState, Used};
use super::repeat::{Iteration, PENDING, member_of};
use super::require::names_in;
use super::scope::{Scope, Var};
use super::stacks::SlotParam;
use super::value::{Tensor, Val};
use crate::program::Value;
use dlc_grammar::Span;
use dlc_grammar::ast::{Label, Part};
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use std::ops::Range;
use std::rc::Rc;

/// What there was before an iteration began.
pub(super) struct Start {
    slots: usize,
    params: usize,
    nodes: u32,
    aliases: usize,
    inits: usize,
}

/// A worked-through iteration as a pattern for the next one.
pub(super) struct Pattern {
    /// What the names that it changes stood for before, and afterwards.
    before: Vec<Val>,
    after: Vec<Var>,
    /// Its labels, as written and as they read in it.
    written: Vec<(Label, Rc<str>)>,
    /// The member that random sites of its own belong to.
    sites: Rc<str>,
    /// The labels that name its layers, and where each first stood.
    layers: Vec<(Rc<str>, Span)>,
    /// The slots that it has added to the function around it: for each the label that its path begins with, by its number,
    /// or none for `sites`, and the rest of the path.
    paths: Vec<(Option<usize>, Rc<str>)>,
    slots: Range<usize>,
    params: Range<usize>,
    /// The nodes of the function around it that were there before.
    nodes: u32,
}

/// The texts of the next iteration's labels, in the order of the pattern's.
struct Names {
    labels: Vec<Rc<str>>,
    sites: Rc<str>,
}

impl Checker {
    /// What there is before an iteration begins.
    pub(super) fn start(&mut self) -> Start {
        let nodes = self.frame().builder.f.nodes.len() as u32;
        let root = self.root();
        Start {
            slots: root.slots.len(),
            params: root.params.len(),
            nodes,
            aliases: root.aliases.len(),
            inits: root.inits.len(),
        }
    }

    /// The iteration that has just ended as a pattern, if it can be one. `written` are its labels, `sites` is the member
    /// that it drew random numbers as, `changed` are the names that it has given other values; `sc` still has the values
    /// before.
    pub(super) fn pattern(
        &mut self,
        start: &Start,
        it: &Iteration,
        (written, sites): (Vec<(Label, Rc<str>)>, Rc<str>),
        inner: &Scope,
        changed: &[Var],
        sc: &Scope,
    ) -> Option<Pattern> {
        let in_root = self.frames.len() - 1 == self.root_index();
        let of_items = |e| names_in(e).iter().all(|(name, _)| inner.is_item(name));
        let holes = written.iter().flat_map(|(label, _)| &label.segments).flat_map(|s| &s.parts);
        let mut holes = holes.filter_map(|part| if let Part::Hole(e) = part { Some(e) } else { None });
        if inner.asked_item() || it.stateful || !in_root || !holes.all(of_items) {
            return None;
        }
        let root = self.root();
        if root.aliases.len() > start.aliases || root.inits.len() > start.inits {
            return None;
        }
        let slots = start.slots..root.slots.len();
        let below = |path: &Rc<str>, label: &str| {
            let rest = path.strip_prefix(label)?;
            if rest.is_empty() { Some("".into()) } else { rest.strip_prefix('.').map(Rc::from) }
        };
        let of = |path: &Rc<str>| {
            let labels = written.iter().enumerate().filter_map(|(i, (_, l))| Some((l.len(), i, below(path, l)?)));
            let longest = labels.max_by_key(|(len, ..)| *len).map(|(_, i, rest)| (Some(i), rest));
            longest.or_else(|| Some((None, below(path, &sites)?)))
        };
        let paths = root.slots[slots.clone()].iter().map(|slot| of(&slot.path)).collect::<Option<_>>()?;
        let layers =
            it.labels.iter().map(|label| Some((label.clone(), *root.labels.get(label)?))).collect::<Option<_>>()?;
        let params = start.params..root.params.len();
        let before = changed.iter().map(|v| sc.get(&v.name)).collect::<Option<_>>()?;
        let after = changed.to_vec();
        Some(Pattern { before, after, written, sites, layers, paths, slots, params, nodes: start.nodes })
    }

    /// The next iteration, made of the last one of `done`, whose pattern is given and becomes the new one's; gives the names
    /// that it changes. None, and nothing done, if it has to be worked through.
    pub(super) fn again(
        &mut self,
        last: &mut Pattern,
        done: &mut Vec<Iteration>,
        sites: String,
        inner: &Scope,
    ) -> Option<Vec<Var>> {
        let number = done.len() as u32 - 1;
        let carried = self.carried(last, number)?;
        let names = self.next_names(last, sites.into(), inner)?;
        let it = &done[number as usize];
        let own: HashMap<Value, usize> =
            self.root().params[last.params.clone()].iter().enumerate().map(|(i, (_, v))| (*v, i)).collect();
        let known = |v: &Value| match v.node {
            node if node >= PENDING => carried.contains_key(v),
            node => node < last.nodes || own.contains_key(v),
        };
        if !it.captures.iter().all(known) {
            return None;
        }
        let params = self.next_slots(last, &names);
        let capture = |v: &Value| match (carried.get(v), own.get(v)) {
            (Some(next), _) => *next,
            (None, Some(i)) => params[*i],
            (None, None) => *v,
        };
        let labels: Vec<Rc<str>> = last.layers.iter().map(|(label, _)| label.clone()).collect();
        self.frame().labels.extend(labels.iter().cloned());
        let next = Iteration {
            function: it.function.clone(),
            captures: it.captures.iter().map(capture).collect(),
            member: member_of(&labels, number as usize + 1),
            labels,
            span: it.span,
            stateful: false,
        };
        done.push(next);
        let advance = |t: &Tensor| Tensor { value: Value { node: t.value.node + 1, ..t.value }, ..t.clone() };
        let after =
            last.after.iter().map(|v| Var { val: v.val.map_tensors(&mut |t| advance(t)), ..v.clone() }).collect();
        let before = std::mem::replace(&mut last.after, after);
        last.before = before.into_iter().map(|v| v.val).collect();
        Some(last.after.clone())
    }

    /// For what the last iteration read of the one before it, what the next one would read of the last: if these are alike,
    /// and all of it is carried from iteration to iteration.
    fn carried(&mut self, last: &Pattern, number: u32) -> Option<HashMap<Value, Value>> {
        let before = (PENDING + number).checked_sub(1).filter(|node| *node >= PENDING)?;
        let mut carried = HashMap::default();
        let mut once = HashSet::default();
        for (old, new) in last.before.iter().zip(&last.after) {
            if self.key_of(old) != self.key_of(&new.val) {
                return None;
            }
            for (x, y) in old.tensors().into_iter().zip(new.val.tensors()) {
                let pending = x.value.node == before && y.value.node == PENDING + number;
                if !pending || x.frame != y.frame || x.axes != y.axes {
                    return None;
                }
                let same = *carried.entry(x.value).or_insert(y.value) == y.value;
                if !same || (once.contains(&y.value) && carried.iter().any(|(a, b)| *b == y.value && *a != x.value)) {
                    return None;
                }
                once.insert(y.value);
            }
        }
        Some(carried)
    }

    /// The labels of the next iteration, if all are new.
    fn next_names(&mut self, last: &Pattern, sites: Rc<str>, inner: &Scope) -> Option<Names> {
        let mut labels = Vec::new();
        for (label, before) in &last.written {
            let text = self.label_text(label, inner)?;
            if !self.adapted_alike(before, &text) || !self.evaluated_alike(before, &text) {
                return None;
            }
            labels.push(text);
        }
        let place = |label: &Rc<str>| last.written.iter().position(|(_, text)| text == label);
        let root = self.root();
        let fresh = |label: &Rc<str>| place(label).is_some_and(|i| !root.labels.contains_key(&labels[i]));
        last.layers.iter().all(|(label, _)| fresh(label)).then_some(Names { labels, sites })
    }

    /// Adds the slots and parameters of the next iteration to the function around it, and moves the pattern on to them;
    /// gives the parameters.
    fn next_slots(&mut self, last: &mut Pattern, names: &Names) -> Vec<Value> {
        let at = self.root_index();
        let shift = self.root().slots.len() - last.slots.start;
        let moved = |slot: usize| if last.slots.contains(&slot) { slot + shift } else { slot };
        for (slot, (label, rest)) in last.slots.clone().zip(&last.paths) {
            let label = label.map_or(&names.sites, |i| &names.labels[i]);
            let decl = self.root().slots[slot].decl.clone();
            self.slot_at(super::net::join(label, rest), &decl);
        }
        for (label, span) in &mut last.layers {
            let i = last.written.iter().position(|(_, text)| text == label).expect("all labels are written");
            let new = &names.labels[i];
            let root = self.root();
            let state = root.layers.get(label).cloned().map(|state| LayerState {
                used: state.used.map(|u| Used { slots: u.slots.iter().map(|s| moved(*s)).collect(), ..u }),
                ..state
            });
            root.layers.extend(state.map(|state| (new.clone(), state)));
            root.labels.insert(new.clone(), *span);
            *label = new.clone();
        }
        let first = self.root().params.len();
        let params: Vec<SlotParam> =
            self.root().params[last.params.clone()].iter().map(|(p, _)| p.renumbered(moved)).collect();
        last.nodes = self.frame().builder.f.nodes.len() as u32;
        let values = params.into_iter().map(|param| self.slot_param(at, param)).collect();
        last.params = first..self.root().params.len();
        last.slots = last.slots.start + shift..last.slots.end + shift;
        for ((_, text), new) in last.written.iter_mut().zip(&names.labels) {
            *text = new.clone();
        }
        last.sites = names.sites.clone();
        values
    }
}
