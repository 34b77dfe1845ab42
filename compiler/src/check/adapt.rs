//! Adapters: what is added to what a product makes of its operand, or to the rows that are looked up, because of whose
//! weight is read.
//!
//! What an adapter computes is a block of the language: from the product's operand `x` [.., I], what the product gives
//! without it, `y` [.., O], and the weight as the product reads it, `w` [I, O], to what takes `y`'s place. Its weights are
//! named below the module of the weight that it adapts. Takes the adapted weights by their full names
//! ([`Checker::adapters`]); whatever product reads one of them, straight or through views, is adapted as it is made.

use super::Checker;
use super::errors::LayerLevel;
use super::frame::{Decl, Init, InitRule};
use super::init;
use super::key;
use super::net::join;
use super::shift;
use super::sides::{Place, Sides, flattened, folded, seen, whole};
use super::value::{Ctor, Given, Tensor, Val};
use crate::program::{FnId, Label, Op, Ty, Value, View};
use dlc_grammar::ast::Str;
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Prim, Size};
use std::ops::Bound;
use std::rc::Rc;

/// What some weights are adapted by.
#[derive(Debug)]
pub struct Adapter {
    /// Its number: adapters that have one are one.
    pub number: u32,
    /// The block that adapts a product.
    pub product: Rc<Ctor>,
    /// The block that adapts the looking up of rows, if there is one.
    pub table: Option<Rc<Ctor>>,
    /// The block that adapts a product that reads such a table across, if there is one.
    pub tied: Option<Rc<Ctor>>,
    /// First values that take the place of the block's own, by the names of its weights.
    pub inits: Vec<(Str, Rc<Init>)>,
    /// Its rank: a number, or a size that is known only as it runs.
    pub rank: Size,
    /// The scale that its item says.
    pub scale: f64,
    /// What its block gets as `p`.
    pub dropout: f64,
    /// Where its rank is written, and where it is aimed at weights.
    pub spans: (Span, Span),
}

/// How an adapted weight is read.
#[derive(Debug)]
pub struct Adapted {
    /// What it is adapted by.
    pub adapter: Rc<Adapter>,
    /// The axes that are summed over, ascending; the others are the result's.
    pub inner: Vec<usize>,
    /// Into how many groups, one after the other, its first axis goes; 1 where all rows meet all columns. None where groups
    /// lie otherwise, or not everywhere alike.
    pub groups: Option<i64>,
    /// Whether its rows are looked up, so that nothing is summed there.
    pub table: bool,
    /// Whether a product reads that table as well.
    pub tied: bool,
}

/// An adapted weight as an operand of a product.
struct Reading {
    slot: usize,
    adapter: Rc<Adapter>,
    /// What each axis of the operand is, and its extent.
    axes: Vec<(Place, Size)>,
}

/// A function that gives an adapted weight as it would be without its adapter.
pub struct Identity {
    /// What it is a function of after the weight, and after the bias if there is one: the adapter's weights, by their names
    /// below the adapter, in the order of its parameters.
    pub params: Vec<String>,
    /// Whether the adapter adds something whatever the operand is, so that a bias has to take it: then the function takes
    /// that as well, and gives it.
    pub shifts: bool,
    /// Whether a loop of the adapter's own has weights, which it takes as one stack.
    pub loops: bool,
    /// The function.
    pub function: FnId,
}

/// Where the adapter of a weight is: beside it, below the same module. A module's only weight is called `weight`; others
/// have adapters of their own.
pub fn label_of(weight: &str) -> String {
    let module = match weight.rsplit_once('.') {
        Some((module, "weight")) => module,
        None if weight == "weight" => "",
        Some(_) | None => weight,
    };
    if module.is_empty() { LABEL.to_string() } else { format!("{module}.{LABEL}") }
}

/// The last segment of an adapter's path.
const LABEL: &str = "lora";

impl Checker {
    /// A number for an adapter that is like no other.
    pub fn adapter_number(&mut self) -> u32 {
        self.new_env()
    }

    /// Whether a function is an adapter's, called in the place of a product.
    pub fn is_adapter(&self, function: FnId) -> bool {
        self.adapter_functions.contains(&function)
    }

    /// The full name of the layer that is being worked through.
    pub(super) fn member_path(&self) -> String {
        let labels = self.levels.iter().filter_map(|l| l.layer.as_ref()).map(|l| &*l.label);
        labels.filter(|l| !l.is_empty()).collect::<Vec<_>>().join(".")
    }

    /// Adds to an instance's key what its weights are adapted by, and, if it is an adapter's itself, which.
    pub(super) fn adapters_key(&self, own: Option<&Adapter>, label: &str, key: &mut Vec<u8>) {
        if let Some(adapter) = own {
            key.push(253);
            key.extend(adapter.number.to_le_bytes());
        }
        if self.adapters.is_empty() {
            return;
        }
        for (name, number) in self.adapted_at(label) {
            key.push(254);
            key::value(&Val::Str(name.into()), key);
            key.extend(number.to_le_bytes());
        }
    }

    /// What is adapted below a label of the layer that is being worked through, or is itself called so: the rest of its name,
    /// and by which adapter.
    fn adapted_at(&self, label: &str) -> Vec<(&str, u32)> {
        let path = join(&self.member_path(), &label.into());
        let below = self.adapters.range::<str, _>((Bound::Included(&*path), Bound::Unbounded));
        let below = below.take_while(|(name, _)| name.starts_with(&*path));
        let rest = |name: &String| path.is_empty() || name.len() == path.len() || name[path.len()..].starts_with('.');
        below.filter(|(name, _)| rest(name)).map(|(name, a)| (&name[path.len()..], a.number)).collect()
    }

    /// Whether what is below two labels is adapted alike.
    pub(super) fn adapted_alike(&self, a: &str, b: &str) -> bool {
        self.adapters.is_empty() || self.adapted_at(a) == self.adapted_at(b)
    }

    /// The innermost root is an adapter's, if so: its weights are added ones, with first values of their own.
    pub(super) fn begin_adapter(&mut self, adapter: Option<&Adapter>) {
        let Some(adapter) = adapter else { return };
        let root = self.root();
        root.adapter = Some(adapter.rank.clone());
        let rule = |(name, init): &(Str, Rc<Init>)| InitRule { globs: vec![name.clone()], init: init.clone() };
        root.inits = adapter.inits.iter().map(rule).collect();
    }

    /// What takes the place of the product `y` of `a` and `b`: where one of them is an adapted weight, what its adapter
    /// makes of it. None where that failed.
    pub(super) fn adapted_product(
        &mut self,
        y: Value,
        a: (Value, &[Label]),
        b: (Value, &[Label]),
        out: &[Label],
        span: Span,
    ) -> Option<Value> {
        if self.adapters.is_empty() {
            return Some(y);
        }
        let (reading, x, w) = match (self.reading(b.0), self.reading(a.0)) {
            (Some(reading), _) => (reading, a, b.1),
            (None, Some(reading)) => (reading, b, a.1),
            (None, None) => return Some(y),
        };
        let Some(sides) = Sides::of(&reading.axes, x.1, w, out) else {
            let path = self.root().slots[reading.slot].path.clone();
            let message =
                format!("what is summed over here is no axis of `{path}`, but a part of one, which no adapter is for");
            let d = Diagnostic::error("E0515", reading.adapter.spans.1, message).label(span, "it is read here");
            self.report(
                d.help("an `exclude` for it, or a weight with one axis more in place of the axis that is split here"),
            );
            return None;
        };
        let shape = self.root().slots[reading.slot].decl.ty.shape.clone();
        let (inner, outer) = (sides.inner_axes(), sides.outer_axes(shape.len()));
        self.check_rank(&reading, &[inner.as_slice(), outer.as_slice()], &shape)?;
        let x = sides.operand(self, x, &shape);
        let (y2, back) = sides.result(self, y, &shape);
        let whole = self.slot_tensor(reading.slot, Vec::new());
        let whole = self.use_(&whole);
        // What is looked up and read across has one adapter, whose other block this is.
        let is_table = self.root().slots[reading.slot].decl.adapted.as_ref().is_some_and(|known| known.table);
        if is_table
            && inner == [1]
            && let Some(ctor) = reading.adapter.tied.clone()
        {
            let y2 = self.adapter_of(&reading, ctor, &[x, y2, whole], span)?;
            self.note_tied(reading.slot);
            return Some(back.undo(self, y2));
        }
        let w = flattened(self, whole, &inner, &outer);
        let ctor = reading.adapter.product.clone();
        let y2 = self.adapter_of(&reading, ctor, &[x, y2, w], span)?;
        let groups = sides.leading_groups(&reading.axes, &shape);
        self.note_adapted(
            Adapted { adapter: reading.adapter.clone(), inner, groups, table: false, tied: false },
            reading.slot,
            span,
        )?;
        Some(back.undo(self, y2))
    }

    /// What takes the place of the rows `y` of a table that are looked up, where it is adapted.
    pub(super) fn adapted_rows(&mut self, y: Value, (table, ids): (Value, &Tensor)) -> Option<Value> {
        if self.adapters.is_empty() {
            return None;
        }
        let reading = self.reading(table)?;
        let whole = |(i, (place, _)): (usize, &(Place, Size))| *place == Place::Axis { axis: i, start: Size::zero() };
        let ctor = reading.adapter.table.clone()?;
        let shape = self.root().slots[reading.slot].decl.ty.shape.clone();
        if reading.axes.len() != 2 || !reading.axes.iter().enumerate().all(whole) || self.b().shape(table) != shape {
            return None;
        }
        self.check_rank(&reading, &[&[0], &[1]], &shape)?;
        let span = self.frame().builder.origin.span;
        let ids = self.use_(ids);
        let y = self.adapter_of(&reading, ctor, &[ids, y, table], span)?;
        let how =
            Adapted { adapter: reading.adapter.clone(), inner: vec![0], groups: Some(1), table: true, tied: false };
        self.note_adapted(how, reading.slot, span)?;
        Some(y)
    }

    /// A rank that is more than both sides of the weight is a mistake; one that is more than the smaller side is a waste.
    fn check_rank(&mut self, reading: &Reading, sides: &[&[usize]], shape: &[Size]) -> Option<()> {
        let size = |axes: &&[usize]| Size::product(axes.iter().map(|i| &shape[*i])).known();
        let sizes: Vec<i64> = sides.iter().filter_map(size).collect();
        let (Some(rank), Some(least), Some(most)) =
            (reading.adapter.rank.known(), sizes.iter().min(), sizes.iter().max())
        else {
            return Some(());
        };
        if rank <= *least {
            return Some(());
        }
        let path = join(&self.member_path(), &self.root().slots[reading.slot].path.clone());
        let wrong = rank > *most;
        let how = if wrong { "both sides" } else { "one side" };
        let message = format!("rank {rank} is above {how} of `{path}`, which is {}", self.show_sizes(shape));
        let at = reading.adapter.spans.0;
        let d = if wrong { Diagnostic::error("E0515", at, message) } else { Diagnostic::warning("W0805", at, message) };
        self.report(d.help(format!("with more than {least} it can do no more, and takes more weights")));
        (!wrong).then_some(())
    }

    /// The adapted weight that a value is, looked at through views.
    fn reading(&mut self, v: Value) -> Option<Reading> {
        let shape = self.b().shape(v);
        let (mut at, mut v) = (self.frames.len() - 1, v);
        let mut views: Vec<View> = Vec::new();
        let slot = loop {
            let frame = &self.frames[at];
            if let Some(root) = &frame.root
                && let Some(slot) = root.slot_values.iter().position(|known| *known == Some(v))
            {
                break slot;
            }
            let node = frame.builder.f.nodes.get(v.node as usize)?;
            match &node.op {
                Op::Param(n) if frame.root.is_none() => {
                    v = *frame.captures.get(*n as usize)?;
                    at -= 1;
                }
                Op::View(view) => {
                    views.push(view.clone());
                    v = node.args[0];
                }
                Op::Map(Prim::Cast(_)) => v = node.args[0],
                _ => return None,
            }
        };
        let slots = &self.root().slots;
        let (path, ty) = (slots[slot].path.clone(), slots[slot].decl.ty.clone());
        let full = join(&self.member_path(), &path);
        let adapter = self.adapters.get(&*full)?.clone();
        let axes = views.iter().rev().try_fold(whole(ty.rank()), seen)?;
        let axes: Vec<(Place, Size)> = axes.into_iter().zip(shape).collect();
        // What is split was whole.
        let parts = |of: usize| {
            let extents = axes.iter().filter(|(p, _)| matches!(p, Place::Piece { axis, .. } if *axis == of));
            Size::product(extents.map(|(_, size)| size))
        };
        let fits = |(place, _): &(Place, Size)| match place {
            Place::Piece { axis, .. } => parts(*axis) == ty.shape[*axis],
            Place::Axis { .. } | Place::One => true,
        };
        axes.iter().all(fits).then_some(Reading { slot, adapter, axes: axes.clone() })
    }

    /// Applies an adapter's block to its inputs. Its weights are made, or are there, where it has been used before.
    fn adapter_of(&mut self, reading: &Reading, ctor: Rc<Ctor>, inputs: &[Value], span: Span) -> Option<Value> {
        let label: Rc<str> = label_of(&self.root().slots[reading.slot].path).into();
        let args: Vec<Given> = inputs
            .iter()
            .map(|v| {
                let rank = self.b().ty(*v).rank();
                Given::new(Val::Tensor(self.tensor(*v, vec![None; rank])), span)
            })
            .collect();
        let ty = self.b().ty(inputs[1]).clone();
        let bound = self.bind_inputs(&ctor.net, args, span)?;
        let level = LayerLevel { ctor: ctor.clone(), label: label.clone(), label_span: None, more: 0 };
        self.adapting = Some(reading.adapter.clone());
        let instance = self.instance(level, &bound, span)?;
        self.adapter_functions.insert(instance.function);
        let mut slots = Vec::new();
        let before = self.root().slots.len();
        for slot in &instance.slots {
            let path = join(&label, &slot.path);
            let known = self.root().slots.iter().position(|s| s.path == path && init::is_weight(s));
            let known = known.filter(|_| init::is_weight(slot));
            if let Some(known) = known
                && self.root().slots[known].decl.ty != slot.decl.ty
            {
                self.report_two_ways(&reading.adapter, reading.slot, span);
                return None;
            }
            slots.push(known.unwrap_or_else(|| self.new_slot(slot, &label)));
        }
        let new = |s: &super::frame::Slot| {
            !init::is_weight(s)
                || instance.slots.iter().zip(&slots).any(|(own, here)| own.path == s.path && *here >= before)
        };
        self.new_params(&instance, &slots, new);
        let v = self.emit(&instance, &bound, &slots, &[], label, span);
        let Val::Tensor(t) = v else {
            let name = &ctor.net.ast.name;
            let message = format!("`{}` adapts a product, so it gives one tensor", name.text);
            self.report(Diagnostic::error("E0515", name.span, message));
            return None;
        };
        if (Ty { dtype: t.dtype, shape: t.shape() }) != ty {
            let (own, wanted) = (self.show_tensor(&t), self.show_sizes(&ty.shape));
            let name = &ctor.net.ast.name;
            let message = format!("`{}` gives {own} for a product that is {wanted}", name.text);
            self.report(Diagnostic::error("E0515", name.span, message));
            return None;
        }
        Some(self.use_(&t))
    }

    /// Writes down how an adapted weight is read, which is to be the same wherever it is.
    fn note_adapted(&mut self, mut how: Adapted, slot: usize, span: Span) -> Option<()> {
        let decl = self.root().slots[slot].decl.clone();
        if let Some(known) = &decl.adapted {
            if (&known.inner, known.table) != (&how.inner, how.table) {
                self.report_two_ways(&how.adapter, slot, span);
                return None;
            }
            how.groups = how.groups.filter(|groups| known.groups == Some(*groups));
            how.tied = known.tied;
        }
        self.root().slots[slot].decl = Rc::new(Decl { adapted: Some(Rc::new(how)), ..(*decl).clone() });
        Some(())
    }

    /// Writes down that a product reads an adapted table too.
    fn note_tied(&mut self, slot: usize) {
        let decl = self.root().slots[slot].decl.clone();
        if let Some(known) = decl.adapted.as_ref().filter(|known| !known.tied) {
            let (adapter, inner) = (known.adapter.clone(), known.inner.clone());
            let how = Adapted { adapter, inner, groups: known.groups, table: known.table, tied: true };
            self.root().slots[slot].decl = Rc::new(Decl { adapted: Some(Rc::new(how)), ..(*decl).clone() });
        }
    }

    fn report_two_ways(&mut self, adapter: &Adapter, slot: usize, span: Span) {
        let weight = self.root().slots[slot].path.clone();
        let message = format!("`{weight}` is read in two ways, which one adapter cannot serve");
        let d = Diagnostic::error("E0515", adapter.spans.1, message).label(span, "the second way");
        self.report(d.help("an `exclude` for it, or a weight of its own for one of the two"));
    }

    /// The function from an adapted weight and its adapter's weights to the weight that does the same alone: what the
    /// adapter makes of the rows of the unit matrix. That is exact, as long as the adapter is linear in them. What it makes of
    /// a row of zeros, where that is not zeros, goes into the bias.
    pub fn merged(&mut self, decl: &Decl) -> Option<Identity> {
        let plain = self.merging(decl, false)?;
        let table = decl.adapted.as_ref().is_some_and(|adapted| adapted.table);
        match table || shift::vanishes(&self.program, plain.function) {
            true => Some(plain),
            false => self.merging(decl, true),
        }
    }

    fn merging(&mut self, decl: &Decl, shifts: bool) -> Option<Identity> {
        let adapted = decl.adapted.clone()?;
        let shape = decl.ty.shape.clone();
        let outer: Vec<usize> = (0..shape.len()).filter(|i| !adapted.inner.contains(i)).collect();
        let ctor = if adapted.table { adapted.adapter.table.clone()? } else { adapted.adapter.product.clone() };
        let span = adapted.adapter.spans.1;
        self.open_entry("merged");
        let w = self.entry_input("weight", decl.ty.clone(), vec![None; shape.len()]);
        let columns = Size::product(outer.iter().map(|i| &shape[*i]));
        let bias = shifts.then(|| {
            let ty = Ty { dtype: decl.ty.dtype, shape: vec![columns] };
            self.entry_input("bias", ty, vec![None])
        });
        let w = self.used_input(&w);
        let flat = flattened(self, w, &adapted.inner, &outer);
        let n = self.b().shape(flat)[0].clone();
        let x = match adapted.table {
            true => self.b().iota(DType::I64, std::slice::from_ref(&n), 0),
            false => unit(self, &n, decl.ty.dtype),
        };
        let (x, y) = if shifts { shift::with_zeros(self, x, flat) } else { (x, flat) };
        let args = [x, y, flat].map(|v| {
            let rank = self.b().ty(v).rank();
            Given::new(Val::Tensor(self.tensor(v, vec![None; rank])), span)
        });
        self.adapting = Some(adapted.adapter.clone());
        let v = self.apply_model(&ctor, args.into(), span);
        let Val::Tensor(t) = v else {
            self.drop_entry();
            return None;
        };
        let mut v = self.use_(&t);
        let mut results = Vec::new();
        if let Some(bias) = bias {
            let (linear, last) = shift::apart(self, v, &n);
            v = linear;
            let bias = self.used_input(&bias);
            results.push(self.b().map(Prim::Add, &[bias, last]));
        }
        let v = folded(self, v, &adapted.inner, &outer, &shape);
        results.insert(0, self.b().cast(v, decl.ty.dtype));
        let tensors = results.into_iter().map(|v| {
            let rank = self.b().ty(v).rank();
            Val::Tensor(self.tensor(v, vec![None; rank]))
        });
        let tensors: Vec<Val> = tensors.collect();
        let made = self.close_entry(&Val::Tuple(tensors.into()));
        let params = made.params.iter().map(|p| made.slots[p.first()].path.to_string()).collect();
        let loops = made.params.iter().any(|p| p.slots().len() > 1);
        Some(Identity { params, shifts, loops, function: made.function })
    }

    fn used_input(&mut self, input: &Val) -> Value {
        let Val::Tensor(t) = input else { unreachable!("an input is a tensor") };
        self.use_(t)
    }
}

/// The unit matrix.
fn unit(ck: &mut Checker, n: &Size, dtype: DType) -> Value {
    let shape = [n.clone(), n.clone()];
    let (row, column) = (ck.b().iota(DType::I64, &shape, 0), ck.b().iota(DType::I64, &shape, 1));
    let same = ck.b().map(Prim::Eq, &[row, column]);
    ck.b().cast(same, dtype)
}
