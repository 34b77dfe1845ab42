//! What must hold of sizes for a part of a tensor to lie inside of it, and for an axis to exist: proved while checking, or a
//! guard that run time checks at entry. All that takes a part of a tensor or makes an axis asks here, and nowhere else.

use super::Checker;
use super::frame::Guard;
use super::key;
use super::num;
use super::ops::MOST_AXES;
use super::value::{Axis, Num, Tag, Tensor, Val};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{Atom, Host, Prim, Size};

/// The longest axis: indices are numbers of 32 bits wherever they are computed.
pub(super) const LONGEST: i64 = i32::MAX as i64;

/// The most elements of a tensor, counted without its dynamic sizes: the host counts in double precision.
const MOST_ELEMENTS: i64 = 1 << 53;

/// A comparison of two sizes: the left one is [`Prim::Lt`] or [`Prim::Le`] the right one.
pub(super) type Claim<'a> = (&'a Size, Prim, &'a Size);

impl Checker {
    /// Sees to it that comparisons hold whatever the dynamic sizes are. What is not proved becomes one guard; where one of
    /// them never holds, `otherwise` is reported.
    pub(super) fn must_hold(
        &mut self,
        claims: &[Claim],
        span: Span,
        otherwise: impl FnOnce(&Checker) -> Diagnostic,
    ) -> Option<()> {
        let mut open: Vec<Claim> = Vec::new();
        for (a, prim, b) in claims {
            let room = b.minus(a).minus(&Size::from(i64::from(*prim == Prim::Lt)));
            if never_negative(&Size::from(-1).minus(&room)) {
                let d = otherwise(self);
                self.report(d);
                return None;
            }
            if !never_negative(&room) {
                open.push((a, *prim, b));
            }
        }
        let hosts = open.iter().map(|(a, prim, b)| Host::Prim(*prim, vec![host(a), host(b)]));
        let Some(cond) = hosts.reduce(|a, b| Host::Prim(Prim::And, vec![a, b])) else { return Some(()) };
        let show = |(a, prim, b): &Claim| format!("{} {} {}", self.show_size(a), prim.name(), self.show_size(b));
        let needs: Vec<String> = open.iter().map(show).collect();
        let place = self.users_place(span);
        let message = format!("`{}` at {} needs {}", self.text(place), self.line_column(place), needs.join(" and "));
        self.guard(Guard { cond, message, span });
        Some(())
    }

    /// Sees to it that a position lies in an axis of a tensor.
    pub(super) fn lies_in(&mut self, at: &Size, t: &Tensor, axis: usize, span: Span) -> Option<()> {
        let size = &t.axes[axis].size;
        let claims = [(&Size::zero(), Prim::Le, at), (at, Prim::Lt, size)];
        self.must_hold(&claims, span, |c| c.outside(&t.axes[axis], span))
    }

    /// What is said of a position that is never in an axis.
    pub(super) fn outside(&self, axis: &Axis, span: Span) -> Diagnostic {
        let message = format!("{} is outside of {}", self.text(span), self.show_axis(axis));
        Diagnostic::error("E0311", span, message)
    }

    /// The extent of an axis and what the user calls it, from an expression in its place: never negative.
    pub(super) fn as_size(&mut self, v: &Val, span: Span) -> Option<(Size, Option<Tag>)> {
        let (size, tag) = self.as_offset(v, span)?;
        self.not_negative(&size, span)?;
        Some((size, tag))
    }

    /// Says, once, that a tensor of the innermost function is too large for its elements to be counted.
    pub(super) fn refuse_too_large(&mut self, shape: &[Size]) {
        if std::mem::replace(&mut self.said_too_large, true) {
            return;
        }
        let span = self.frame().builder.origin.span;
        if shape.len() > MOST_AXES {
            let message = format!("this has {} axes, and a tensor has at most {MOST_AXES}", shape.len());
            return self.report(Diagnostic::error("E0303", span, message));
        }
        let shown = self.show_sizes(shape);
        let message = match shape.iter().find(|s| factor(s) > LONGEST) {
            Some(size) => format!("an axis of {} is longer than {LONGEST}, in {shown}", self.show_size(size)),
            None => format!("{shown} has more than {MOST_ELEMENTS} elements"),
        };
        self.report(Diagnostic::error("E0303", span, message));
    }

    /// Sees to it that the extent of an axis is not negative, and not longer than any can be.
    pub(super) fn not_negative(&mut self, size: &Size, span: Span) -> Option<()> {
        if let Some(n) = size.known().filter(|n| *n > LONGEST) {
            self.report(Diagnostic::error("E0303", span, format!("an axis of {n} is longer than {LONGEST}")));
            return None;
        }
        self.must_hold(&[(&Size::zero(), Prim::Le, size)], span, |c| {
            let shown = c.show_num(&Num::plain(Num::size(size)));
            Diagnostic::error("E0303", span, format!("a size cannot be {shown}"))
        })
    }

    /// Adds a condition that run time checks at entry.
    pub(super) fn guard(&mut self, guard: Guard) {
        let mut text = Vec::new();
        key::host(&guard.cond, &mut text);
        let root = self.root();
        if root.guarded.insert(text) {
            root.guards.push(guard);
        }
    }
}

/// The greatest number in a size, with which it grows.
fn factor(s: &Size) -> i64 {
    s.terms().iter().map(|t| t.factor.saturating_abs()).max().unwrap_or(0)
}

/// Whether no tensor can have that shape: one with too many axes, or too many elements, if none of its dynamic sizes is 0.
pub(super) fn is_too_large(shape: &[Size]) -> bool {
    let axes = || shape.iter().map(factor);
    shape.len() > MOST_AXES || axes().any(|n| n > LONGEST) || axes().fold(1, i64::saturating_mul) > MOST_ELEMENTS
}

fn host(s: &Size) -> Host {
    num::to_host(&Num::size(s))
}

/// Whether a size is known not to be negative: dynamic sizes are not, and a floor quotient is near its quotient.
pub(super) fn never_negative(s: &Size) -> bool {
    let sum = |s: &Size| s.terms().iter().all(|t| t.factor > 0 && t.atoms.iter().all(atom_never_negative));
    sum(s) || (s.known().is_none() && sum(&least(s)))
}

/// A size that is not greater, in which quotients are replaced by what they are near to.
fn least(s: &Size) -> Size {
    let mut low = Size::zero();
    for t in s.terms() {
        let divides = |b: &Size| b.known().filter(|b| *b > 0 && t.factor % b == 0);
        low = low.plus(&match &t.atoms[..] {
            // a / b >= (a - b + 1) / b, and a / b <= a / b without rounding.
            [Atom::Quot(a, b)] if let Some(b) = divides(b) => {
                let room = if t.factor > 0 { b - 1 } else { 0 };
                a.minus(&Size::from(room)).times(&Size::from(t.factor / b))
            }
            atoms => atoms.iter().fold(Size::from(t.factor), |product, a| {
                product.times(&match a {
                    Atom::Dim(n) => Size::dim(*n),
                    Atom::Quot(a, b) => a.quotient(b).unwrap_or_default(),
                })
            }),
        });
    }
    low
}

fn atom_never_negative(a: &Atom) -> bool {
    match a {
        Atom::Dim(_) => true,
        Atom::Quot(a, b) => never_negative(a) && never_negative(b),
    }
}
