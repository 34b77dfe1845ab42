//! Elements of an equation as tensors: the first axes are those of index variables, in the order in which the variables were
//! made; the axes that `..` stands for come after them. Lines such tensors up, so that everything elementwise goes through.

use super::Checker;
use super::value::{Axis, Tag, Tensor, Val};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::Size;

impl Tensor {
    /// How many of its axes are index variables'.
    pub(super) fn lanes(&self) -> usize {
        self.axes.iter().take_while(|a| a.variable().is_some()).count()
    }

    /// The axis of an index variable.
    pub(super) fn lane(&self, var: &Tag) -> Option<usize> {
        self.axes.iter().position(|a| a.variable().is_some_and(|v| v.env == var.env))
    }

    /// The axes that are no index variable's.
    pub(super) fn rest(&self) -> &[Axis] {
        &self.axes[self.lanes()..]
    }
}

/// The index variables of some tensors, in order, each once.
pub(super) fn variables<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<Tag> {
    let mut found: Vec<Tag> =
        tensors.into_iter().flat_map(|t| t.axes.iter().filter_map(|a| a.variable().cloned())).collect();
    found.sort_by_key(|v| v.env);
    found.dedup_by_key(|v| v.env);
    found
}

impl Checker {
    /// Operands with the same index variables' axes, where any has some: an axis of extent 1 where one lacks it. None after
    /// a report that `..` stands for different axes.
    pub(super) fn line_up_lanes(&mut self, vals: &[Val], span: Span) -> Option<Vec<Val>> {
        let tensors = || vals.iter().filter_map(|v| if let Val::Tensor(t) = v { Some(t) } else { None });
        let vars = variables(tensors());
        if vars.is_empty() {
            return Some(vals.to_vec());
        }
        let rests: Vec<&[Axis]> = tensors().map(Tensor::rest).filter(|r| !r.is_empty()).collect();
        let rest = rests.first().map_or(0, |r| r.len());
        if let Some(other) = rests.iter().find(|r| r.len() != rest) {
            let (a, b) = (self.show_shape(rests[0]), self.show_shape(other));
            let message = format!("`..` stands for {a} and for {b}");
            self.report(Diagnostic::error("E0309", span, message));
            return None;
        }
        let mut lined = Vec::new();
        for v in vals {
            lined.push(match v {
                Val::Tensor(t) => Val::Tensor(self.with_lanes(t, &vars, rest)),
                other => other.clone(),
            });
        }
        Some(lined)
    }

    /// A tensor with an axis for each of these variables, of extent 1 where it does not depend on one, and `rest` more.
    fn with_lanes(&mut self, t: &Tensor, vars: &[Tag], rest: usize) -> Tensor {
        let mut v = self.use_(t);
        let mut tags = t.tags();
        for (k, var) in vars.iter().enumerate() {
            if t.lane(var).is_none() {
                v = self.b().merge(v, k, 0);
                tags.insert(k, None);
            }
        }
        while tags.len() < vars.len() + rest {
            v = self.b().merge(v, vars.len(), 0);
            tags.insert(vars.len(), None);
        }
        self.tensor(v, tags)
    }

    /// A tensor that depends on these variables and no others, each of its axes as long as the variable's range.
    pub(super) fn over(&mut self, t: &Tensor, vars: &[Tag]) -> Option<Tensor> {
        let mut sorted = variables([t]);
        sorted.extend(vars.iter().cloned());
        sorted.sort_by_key(|v| v.env);
        sorted.dedup_by_key(|v| v.env);
        let lined = self.with_lanes(t, &sorted, 0);
        let mut shape: Vec<Size> = lined.shape();
        let mut tags = lined.tags();
        for (k, var) in sorted.iter().enumerate() {
            shape[k] = match t.lane(var) {
                Some(axis) => t.axes[axis].size.clone(),
                None => self.extent(var)?,
            };
            tags[k] = Some(var.clone());
        }
        let v = self.use_(&lined);
        let v = self.b().stretch(v, &shape);
        Some(self.tensor(v, tags))
    }

    /// Reports that what takes whole tensors was given an element of an equation; gives whether it was.
    pub(super) fn refuse_lanes<'a>(&mut self, name: &str, vals: impl IntoIterator<Item = &'a Val>, span: Span) -> bool {
        let depends = vals.into_iter().any(|v| v.tensors().iter().any(|t| t.lanes() > 0));
        if depends {
            let message = format!("{name} takes whole tensors, and this is an element of an equation");
            self.report(Diagnostic::error("E0309", span, message).help("do it before the equation, or after it"));
        }
        depends
    }
}
