//! Reports mistakes: where they are said to be, in which layer, and how shapes are written.
//!
//! A mistake inside the prelude is the user's mistake at the place that called it, so that is where it is reported. Codes
//! of this stage: E01xx names and calls, E02xx weights, E03xx sizes, E04xx element types, E05xx globs.

use super::Checker;
use super::value::{Axis, Ctor, Num, NumVal, Tensor, Val};
use crate::check::load::PRELUDE;
use dlc_grammar::diagnostic::Label;
use dlc_grammar::{Diagnostic, Severity, Span};
use dlc_plan::{DType, Size};
use std::rc::Rc;

/// A call that is being worked on.
pub(super) struct Level {
    /// The number of the item that is called.
    pub item: u32,
    /// The call, in the caller's text.
    pub span: Span,
    /// A layer's name and what it is.
    pub layer: Option<LayerLevel>,
}

/// A layer that is being worked on.
pub(super) struct LayerLevel {
    pub ctor: Rc<Ctor>,
    /// Its name in the net around it; empty for a model.
    pub label: Rc<str>,
    pub label_span: Option<Span>,
    /// How many further iterations are alike.
    pub more: usize,
}

/// Whether a place lies within another.
fn holds(outer: Span, inner: Span) -> bool {
    outer.file == inner.file && outer.start <= inner.start && inner.end <= outer.end
}

impl Checker {
    /// Reports a mistake and gives the value that says nothing more about it.
    pub(super) fn error(&mut self, d: Diagnostic) -> Val {
        self.report(d);
        Val::Poison
    }

    /// Reports a mistake.
    pub(crate) fn report(&mut self, mut d: Diagnostic) {
        self.blame_user(&mut d);
        if d.severity == Severity::Error {
            self.failures += 1;
        }
        // The same words at the same place, in another mode or another layer, are the same mistake.
        let same = |e: &Diagnostic| e.code == d.code && e.span() == d.span() && e.message == d.message;
        if self.diagnostics.iter().any(same) {
            return;
        }
        if let Some(note) = self.where_in() {
            d.notes.push(note);
        }
        self.diagnostics.push(d);
    }

    /// Moves the primary place out of the prelude to the nearest call in the user's text.
    fn blame_user(&mut self, d: &mut Diagnostic) {
        let Some(place) = d.span().filter(|s| self.modules.in_prelude(*s)) else { return };
        // What is wrong with a parameter is wrong with the argument.
        let argument = self.argument_of(place);
        if !self.modules.in_prelude(argument) && self.levels.iter().any(|l| holds(l.span, argument)) {
            d.labels.retain(|l| l.primary || !self.modules.in_prelude(l.span));
            d.labels.iter_mut().filter(|l| l.primary).for_each(|l| l.span = argument);
            return;
        }
        let by_label = d.code == "E0204";
        let site = self.levels.iter().rev().find(|l| !self.modules.in_prelude(l.span)).map(|l| {
            let label = l.layer.as_ref().and_then(|l| l.label_span).filter(|_| by_label);
            label.unwrap_or(l.span)
        });
        let Some(site) = site else { return };
        d.labels.retain(|l| l.primary || !self.modules.in_prelude(l.span));
        for label in d.labels.iter_mut().filter(|l| l.primary) {
            label.span = site;
            label.text.clear();
        }
        if !by_label {
            let text = "found here".to_string();
            d.labels.push(Label { span: place, text, primary: false });
        }
    }

    /// A place in the user's text: that place, or the nearest call of the prelude's text that it is in.
    pub(super) fn users_place(&self, span: Span) -> Span {
        match self.modules.in_prelude(span) {
            true => self.levels.iter().rev().map(|l| l.span).find(|s| !self.modules.in_prelude(*s)).unwrap_or(span),
            false => span,
        }
    }

    /// The argument in the user's text that a name in the prelude's stands for, or else that place itself.
    pub(super) fn argument_of(&self, place: Span) -> Span {
        let mut argument = place;
        while let Some(outer) = self.arguments.get(&argument).filter(|_| self.modules.in_prelude(argument)) {
            argument = *outer;
        }
        argument
    }

    /// In which layer of the user's the mistake is: `in h.0: Block(H = 12), and 11 more alike`.
    fn where_in(&self) -> Option<String> {
        let own = |l: &Level| l.layer.as_ref().is_some_and(|l| !l.label.is_empty() && l.ctor.net.module != PRELUDE);
        let last = self.levels.iter().rposition(own)?;
        let layers = || self.levels[..=last].iter().filter_map(|l| l.layer.as_ref());
        let path: Vec<&str> = layers().map(|l| &*l.label).filter(|l| !l.is_empty()).collect();
        let ctor = &layers().next_back().expect("the last level is a layer").ctor;
        let more: usize = layers().map(|l| l.more).sum();
        let alike = if more > 0 { format!(", and {more} more alike") } else { String::new() };
        Some(format!("in {}: {}{alike}", path.join("."), self.show_ctor(ctor)))
    }

    /// A block with its configuration: `Layer(H = 12, p = 0.1)`.
    pub(super) fn show_ctor(&self, ctor: &Ctor) -> String {
        let shown = ctor.net.ast.config.iter().zip(&ctor.config).filter_map(|(param, given)| {
            let value = match given.as_ref().map(|g| &g.val) {
                Some(Val::Num(n)) => self.show_value(&n.value),
                Some(Val::Bool(b)) => b.to_string(),
                Some(Val::Str(s)) => format!("{s:?}"),
                Some(Val::None) => "none".to_string(),
                Some(_) | None => return None,
            };
            Some(format!("{} = {value}", param.name.text))
        });
        let shown: Vec<String> = shown.collect();
        let name = &ctor.net.ast.name.text;
        if shown.is_empty() { name.clone() } else { format!("{name}({})", shown.join(", ")) }
    }

    /// A number.
    pub(super) fn show_value(&self, n: &NumVal) -> String {
        match n {
            NumVal::Int(n) => n.to_string(),
            NumVal::Float(x) => format!("{x}"),
            NumVal::Size(s) => self.show_size(s),
            NumVal::Host(_) => "a number of the step".to_string(),
        }
    }

    /// A number with its name: `D = 768`.
    pub(super) fn show_num(&self, n: &Num) -> String {
        let value = self.show_value(&n.value);
        match n.tag.as_ref().and_then(|t| t.shown()) {
            Some(name) if **name != *value => format!("{name} = {value}"),
            _ => value,
        }
    }

    /// A size.
    pub(super) fn show_size(&self, s: &Size) -> String {
        s.show(&self.program.dims).to_string()
    }

    /// An axis with its name and its size: `D = 768`, or `T` for a dynamic one of that name.
    pub(super) fn show_axis(&self, a: &Axis) -> String {
        let size = self.show_size(&a.size);
        match a.name() {
            Some(name) if **name != *size => format!("{name} = {size}"),
            _ => size,
        }
    }

    /// An axis by its name where it has one.
    pub(super) fn show_axis_name(&self, a: &Axis) -> String {
        a.name().map_or_else(|| self.show_size(&a.size), |n| n.to_string())
    }

    /// A shape with names and sizes: `[B, T, D = 768]`.
    pub(super) fn show_shape(&self, axes: &[Axis]) -> String {
        let axes: Vec<String> = axes.iter().map(|a| self.show_axis(a)).collect();
        format!("[{}]", axes.join(", "))
    }

    /// A shape by names: `[B, T, D]`.
    pub(super) fn show_names(&self, axes: &[Axis]) -> String {
        let axes: Vec<String> = axes.iter().map(|a| self.show_axis_name(a)).collect();
        format!("[{}]", axes.join(", "))
    }

    /// A shape of plain sizes.
    pub(super) fn show_sizes(&self, shape: &[Size]) -> String {
        let sizes: Vec<String> = shape.iter().map(|s| self.show_size(s)).collect();
        format!("[{}]", sizes.join(", "))
    }

    /// A tensor's type: `i64[B]`, or `[B, D]` where its elements are the usual ones.
    pub(super) fn show_tensor(&self, t: &Tensor) -> String {
        let shape = self.show_names(&t.axes);
        if t.dtype == DType::F32 && !t.axes.is_empty() { shape } else { format!("{}{shape}", t.dtype) }
    }

    /// Any value, in a few words.
    pub(crate) fn show(&self, v: &Val) -> String {
        match v {
            Val::Tensor(t) => self.show_tensor(t),
            Val::Num(n) => self.show_value(&n.value),
            Val::Bool(b) => b.to_string(),
            Val::Str(s) => format!("{s:?}"),
            other => other.kind().to_string(),
        }
    }

    /// The text of a place.
    pub(crate) fn text(&self, span: Span) -> &str {
        self.modules.sources.text(span)
    }

    /// Line and column of a place: `4:9`.
    pub(super) fn line_column(&self, span: Span) -> String {
        let at = self.modules.sources.line_column(span);
        format!("{}:{}", at.line, at.column)
    }
}
