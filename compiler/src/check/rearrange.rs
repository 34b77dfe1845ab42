//! `[B, T, (H, K) => B, H, T, K]`: axes split, moved, merged, added and dropped.

use super::Checker;
use super::scope::Scope;
use super::value::{Axis, Num, NumVal, Tag, Tensor, Val};
use crate::program::Value;
use dlc_grammar::ast::{self, ExprKind, Rearrange};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::Size;
use std::rc::Rc;

/// An axis of the finest division that a pattern speaks of.
#[derive(Clone, Debug)]
struct Atom {
    id: AtomId,
    /// Its extent; unknown where the left side has yet to be solved for it.
    size: Option<Size>,
    tag: Option<Tag>,
    span: Span,
}

#[derive(Clone, Debug, PartialEq)]
enum AtomId {
    Named(Rc<str>),
    /// A number or an expression; equal sizes are matched in order.
    Sized(Size),
    /// One of the axes under `..`, by its number among them.
    Rest(usize),
}

/// One axis of a side: the atoms it is made of.
type Group = Vec<Atom>;

/// The right side: for each axis its atoms, each with the number of the left atom it is, or none where it is new.
type Right = Vec<Vec<(Atom, Option<usize>)>>;

impl Checker {
    /// Rearranges a tensor's axes.
    pub(super) fn rearrange(&mut self, r: &Rearrange, input: Val, sc: &Scope) -> Val {
        let t = match self.list_tensor(&input, r.span) {
            Val::Poison => return Val::Poison,
            v @ Val::Tensor(_) if self.refuse_lanes("a rearrangement", [&v], r.span) => return Val::Poison,
            Val::Tensor(t) => t,
            other => {
                let message = format!("a tensor is rearranged, got {}", self.show(&other));
                return self.error(Diagnostic::error("E0310", r.span, message));
            }
        };
        self.at(r.span);
        match self.rearranged(r, &t, sc) {
            Some((value, tags)) => Val::Tensor(self.tensor(value, tags)),
            None => Val::Poison,
        }
    }

    fn rearranged(&mut self, r: &Rearrange, t: &Tensor, sc: &Scope) -> Option<(Value, Vec<Option<Tag>>)> {
        let rests = |axes: &[ast::Axis]| {
            let group = |a: &ast::Axis| match a {
                ast::Axis::Group(inner, _) => inner.iter().filter(|a| matches!(a, ast::Axis::Rest(_))).count(),
                ast::Axis::Rest(_) => 1,
                ast::Axis::Expr(_) => 0,
            };
            axes.iter().map(group).sum::<usize>()
        };
        if rests(&r.left) > 1 || rests(&r.right) > 1 || rests(&r.right) > rests(&r.left) {
            let message = "`..` may stand once on each side, and on the right if it stands on the left";
            return self.refuse("E0310", r.span, message.to_string());
        }
        let left = self.left_groups(r, t, sc)?;
        let rest = left.iter().flatten().filter(|a| matches!(a.id, AtomId::Rest(_))).count();
        let atoms: Vec<Atom> = left.iter().flatten().cloned().collect();
        let (groups, order) = self.right_groups(r, &atoms, rest, sc)?;
        Some(self.arrange(t, &left, &groups, &order))
    }

    fn refuse<T>(&mut self, code: &'static str, span: Span, message: String) -> Option<T> {
        self.report(Diagnostic::error(code, span, message));
        None
    }

    /// The left side: the value's axes, divided into atoms whose sizes are all known in the end.
    fn left_groups(&mut self, r: &Rearrange, t: &Tensor, sc: &Scope) -> Option<Vec<Group>> {
        let plain = r.left.iter().filter(|a| !matches!(a, ast::Axis::Rest(_))).count();
        let has_rest = plain < r.left.len();
        if plain > t.rank() || (!has_rest && plain < t.rank()) {
            let message = format!("the pattern has {plain} axes and the value is {}", self.show_tensor(t));
            return self.refuse("E0310", r.span, message);
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut axes = t.axes.iter();
        for a in &r.left {
            if let ast::Axis::Rest(span) = a {
                for (i, axis) in axes.by_ref().take(t.rank() - plain).enumerate() {
                    let (size, tag) = (Some(axis.size.clone()), axis.tag.clone());
                    groups.push(vec![Atom { id: AtomId::Rest(i), size, tag, span: *span }]);
                }
                continue;
            }
            let axis = axes.next().expect("the ranks agree").clone();
            let group = self.left_group(a, &axis, &groups, sc)?;
            groups.push(group);
        }
        Some(groups)
    }

    fn left_group(&mut self, a: &ast::Axis, axis: &Axis, before: &[Group], sc: &Scope) -> Option<Group> {
        let parts: &[ast::Axis] = if let ast::Axis::Group(parts, _) = a { parts } else { std::slice::from_ref(a) };
        let mut group: Group = Vec::new();
        for part in parts {
            let ast::Axis::Expr(e) = part else {
                return self.refuse("E0310", part.span(), "a group on the left is made of names and sizes".into());
            };
            let atom = self.left_atom(e, sc)?;
            let twice = |g: &Group| g.iter().any(|b| matches!(b.id, AtomId::Named(_)) && b.id == atom.id);
            if before.iter().any(twice) || twice(&group) {
                return self.refuse("E0310", e.span, format!("`{}` stands twice on the left", self.text(e.span)));
            }
            group.push(atom);
        }
        self.solve(&mut group, axis, a.span(), sc)?;
        Some(group)
    }

    fn left_atom(&mut self, e: &ast::Expr, sc: &Scope) -> Option<Atom> {
        if let ExprKind::Name(name) = &e.kind {
            let id = AtomId::Named(name.as_str().into());
            let tag = Some(Tag { name: Some(name.as_str().into()), env: sc.env(), origin: e.span });
            let known = match self.known_name(name, e.span, sc) {
                Some(v @ Val::Num(_)) => Some(self.as_size(&v, e.span)?.0),
                Some(Val::Poison) => return None,
                _ => None,
            };
            return Some(Atom { id, size: known, tag, span: e.span });
        }
        let v = self.eval(e, sc);
        let (size, _) = self.as_size(&v, e.span)?;
        Some(Atom { id: AtomId::Sized(size.clone()), size: Some(size), tag: None, span: e.span })
    }

    /// A name's value where it is a number of the body or a constant; other names are free for axes.
    fn known_name(&mut self, name: &str, span: Span, sc: &Scope) -> Option<Val> {
        if let Some(v) = sc.get(name) {
            return Some(v);
        }
        let module = sc.module_number();
        let mut quiet = Vec::new();
        match self.modules.find(module, name, &mut quiet) {
            super::load::Found::Item(item @ super::load::ItemRef::Const(_)) => Some(self.item(&item, span)),
            _ => None,
        }
    }

    /// Finds the one unknown size of a group, and checks the known ones.
    fn solve(&mut self, group: &mut Group, axis: &Axis, span: Span, sc: &Scope) -> Option<()> {
        let unknown: Vec<usize> = (0..group.len()).filter(|i| group[*i].size.is_none()).collect();
        let known = Size::product(group.iter().filter_map(|a| a.size.as_ref()));
        match unknown[..] {
            [] if known == axis.size => Some(()),
            [] => {
                let message =
                    format!("the axis is {}, and the pattern says {}", self.show_axis(axis), self.show_group(group));
                self.refuse("E0310", span, message)
            }
            [i] => {
                let Some(size) = axis.size.divided(&known).filter(|_| !known.is(0)) else {
                    return self.not_divisible(group, axis, &known, span);
                };
                self.not_negative(&size, group[i].span)?;
                group[i].size = Some(size.clone());
                if let AtomId::Named(name) = &group[i].id
                    && sc.get(name).is_none()
                {
                    let num = Num { value: Num::size(&size), tag: group[i].tag.clone() };
                    sc.define(name.clone(), Val::Num(num), group[i].span);
                }
                Some(())
            }
            [i, j, ..] => {
                let (a, b) = (self.text(group[i].span).to_string(), self.text(group[j].span).to_string());
                let d = Diagnostic::error("E0310", span, format!("`{a}` and `{b}` are both unknown"));
                self.report(d.help(format!("give one of them a size: `{a} = ..`")));
                None
            }
        }
    }

    fn not_divisible<T>(&mut self, group: &Group, axis: &Axis, known: &Size, span: Span) -> Option<T> {
        let factors: Vec<Atom> = group.iter().filter(|a| a.size.is_some()).cloned().collect();
        let message = format!("{} is not divisible by {}", self.show_axis(axis), self.show_group(&factors));
        let mut d = Diagnostic::error("E0303", span, message);
        if let (Some(n), Some(k), Some(name)) = (axis.size.known(), known.known(), axis.name())
            && k > 0
        {
            let below = n - n % k;
            d = match below {
                0 => d.help(format!("{name} = {k}")),
                _ => d.help(format!("{name} = {below} or {}", below + k)),
            };
        }
        self.report(d);
        None
    }

    fn show_group(&self, group: &Group) -> String {
        let show = |a: &Atom| {
            let axis = Axis { size: a.size.clone().unwrap_or_default(), tag: a.tag.clone() };
            self.show_axis(&axis)
        };
        group.iter().map(show).collect::<Vec<_>>().join(" * ")
    }

    /// The right side, and the left atoms in the order in which it takes them.
    fn right_groups(&mut self, r: &Rearrange, atoms: &[Atom], rest: usize, sc: &Scope) -> Option<(Right, Vec<usize>)> {
        let mut used = vec![false; atoms.len()];
        let mut order = Vec::new();
        let mut groups = Vec::new();
        for a in &r.right {
            let parts: &[ast::Axis] = if let ast::Axis::Group(parts, _) = a { parts } else { std::slice::from_ref(a) };
            let mut found: Vec<(Atom, Option<usize>)> = Vec::new();
            for part in parts {
                match part {
                    ast::Axis::Rest(_) => {
                        for i in 0..rest {
                            let at = atoms.iter().position(|a| a.id == AtomId::Rest(i)).expect("`..` is on the left");
                            found.push((atoms[at].clone(), Some(at)));
                        }
                    }
                    ast::Axis::Expr(e) => found.push(self.right_atom(e, atoms, &used, sc)?),
                    ast::Axis::Group(_, span) => {
                        return self.refuse("E0310", *span, "a group cannot hold a group".into());
                    }
                }
                for at in found.iter().filter_map(|(_, at)| *at).filter(|at| !order.contains(at)).collect::<Vec<_>>() {
                    used[at] = true;
                    order.push(at);
                }
            }
            // `..` outside of a group stands for as many axes as it holds.
            match a {
                ast::Axis::Rest(_) => groups.extend(found.into_iter().map(|f| vec![f])),
                ast::Axis::Group(..) | ast::Axis::Expr(_) => groups.push(found),
            }
        }
        for atom in atoms.iter().zip(&used).filter(|(_, used)| !**used).map(|(atom, _)| atom) {
            if !atom.size.as_ref().is_some_and(|s| s.is(1)) {
                let text = self.text(atom.span).to_string();
                let message = format!("`{text}` is not on the right, and only an axis of 1 may vanish");
                let d = Diagnostic::error("E0310", atom.span, message);
                let axis = r.left.iter().position(|a| a.span() == atom.span);
                self.report(match axis {
                    Some(axis) => d.help(format!("reduce it first: `mean[{axis}]`")),
                    None => d,
                });
                return None;
            }
        }
        Some((groups, order))
    }

    fn right_atom(
        &mut self,
        e: &ast::Expr,
        atoms: &[Atom],
        used: &[bool],
        sc: &Scope,
    ) -> Option<(Atom, Option<usize>)> {
        let left = |id: &AtomId| (0..atoms.len()).find(|i| !used[*i] && atoms[*i].id == *id);
        if let ExprKind::Name(name) = &e.kind {
            let id = AtomId::Named(name.as_str().into());
            if let Some(i) = left(&id) {
                return Some((atoms[i].clone(), Some(i)));
            }
            let stands = atoms.iter().any(|a| a.id == id);
            if stands {
                return self.refuse("E0310", e.span, format!("`{name}` stands twice on the right"));
            }
            let value = self.known_name(name, e.span, sc);
            let Some(v @ Val::Num(_)) = value else {
                let message = format!("`{name}` is not on the left and has no size");
                let d = Diagnostic::error("E0305", e.span, message).help("bind it, or write the number");
                self.report(d);
                return None;
            };
            let (size, _) = self.as_size(&v, e.span)?;
            let tag = Some(Tag { name: Some(name.as_str().into()), env: sc.env(), origin: e.span });
            return Some((Atom { id, size: Some(size), tag, span: e.span }, None));
        }
        let v = self.eval(e, sc);
        let (size, _) = self.as_size(&v, e.span)?;
        let id = AtomId::Sized(size.clone());
        Some(match left(&id) {
            Some(i) => (atoms[i].clone(), Some(i)),
            None => {
                let num = matches!(&v, Val::Num(Num { value: NumVal::Int(_), .. }));
                let tag = Some(Tag { name: None, env: sc.env(), origin: e.span }).filter(|_| num);
                (Atom { id, size: Some(size), tag, span: e.span }, None)
            }
        })
    }

    /// Splits, drops, permutes, adds and merges, in this order.
    fn arrange(&mut self, t: &Tensor, left: &[Group], right: &Right, order: &[usize]) -> (Value, Vec<Option<Tag>>) {
        let size = |a: &Atom| a.size.clone().expect("the left side is solved");
        let mut v = self.use_(t);
        let mut axis = 0;
        for group in left {
            let sizes: Vec<Size> = group.iter().map(size).collect();
            v = self.b().split(v, axis, &sizes);
            axis += group.len();
        }
        let count = axis;
        for i in (0..count).rev().filter(|i| !order.contains(i)) {
            v = self.b().split(v, i, &[]);
        }
        let kept: Vec<usize> = (0..count).filter(|i| order.contains(i)).collect();
        let permutation: Vec<usize> =
            order.iter().map(|i| kept.iter().position(|k| k == i).expect("what is ordered is kept")).collect();
        v = self.b().permute(v, &permutation);
        let flat: Vec<&(Atom, Option<usize>)> = right.iter().flatten().collect();
        let places: Vec<usize> = (0..flat.len()).filter(|i| flat[*i].1.is_some()).collect();
        let shape: Vec<Size> = flat.iter().map(|(a, _)| size(a)).collect();
        v = self.b().broadcast(v, places, &shape);
        let mut tags = Vec::new();
        for (axis, group) in right.iter().enumerate() {
            v = self.b().merge(v, axis, group.len());
            tags.push(match &group[..] {
                [(atom, _)] => atom.tag.clone(),
                _ => None,
            });
        }
        (v, tags)
    }
}
