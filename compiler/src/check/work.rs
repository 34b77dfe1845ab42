//! An end to what working through a spec costs. Calls within calls multiply, and so do loops within loops: a few lines can
//! ask for more than there is time. Steps are counted, and what takes most of them is said.

use super::Checker;
use super::value::Val;
use crate::limits::{self, STEPS};
use dlc_grammar::{Diagnostic, Span};
use rustc_hash::FxHashMap as HashMap;
use std::rc::Rc;

/// The steps so far.
pub(super) struct Work {
    done: u64,
    most: u64,
    /// What runs more than once: functions, blocks and loops by their place, each with what it is and how often.
    often: HashMap<Span, (Rc<str>, u64)>,
}

/// An iteration costs as much as so many expressions, even one that is made of the iteration before it.
const ITERATION: u64 = 8;

/// A weight of a layer that is used costs as much as so many expressions.
const SLOT: u64 = 4;

/// The elements of a list, those of lists and layers in it counted too.
const MOST_ELEMENTS: usize = 65_536;

impl Work {
    pub fn new() -> Work {
        Work { done: 0, most: limits::most_steps(), often: HashMap::default() }
    }

    fn count(&mut self, place: Span, what: impl FnOnce() -> Rc<str>) {
        self.often.entry(place).or_insert_with(|| (what(), 0)).1 += 1;
    }

    fn is_over(&self) -> bool {
        self.done > self.most
    }
}

impl Checker {
    /// Counts a step; false, and a report the first time, where there have been too many.
    pub(super) fn step(&mut self, span: Span) -> bool {
        self.steps(1, span)
    }

    /// Counts a call of a function, or a block that is worked through.
    pub(super) fn called(&mut self, name: &str, place: Span, span: Span) -> bool {
        self.work.count(place, || format!("`{name}` is called").into());
        self.step(span)
    }

    /// Counts an iteration of the loop with that body.
    pub(super) fn iterated(&mut self, body: Span) -> bool {
        if !self.work.often.contains_key(&body) {
            let what = format!("the `repeat` at {} runs", self.line_column(body)).into();
            self.work.count(body, || what);
            return self.steps(ITERATION, body);
        }
        self.work.count(body, || "".into());
        self.steps(ITERATION, body)
    }

    /// Counts the weights and random sites of a layer, which multiply where layers of layers are used more than once.
    pub(super) fn handed_on(&mut self, slots: usize, span: Span) -> bool {
        self.steps(SLOT.saturating_mul(slots as u64), span)
    }

    fn steps(&mut self, n: u64, span: Span) -> bool {
        let before = self.work.is_over();
        self.work.done = self.work.done.saturating_add(n);
        if !self.work.is_over() {
            return true;
        }
        match before {
            true => self.failures += 1,
            false => self.too_much(span),
        }
        false
    }

    fn too_much(&mut self, span: Span) {
        let message = format!("this spec takes more than {} steps to work through", self.work.most);
        let mut d = Diagnostic::error("E0117", self.users_place(span), message);
        let mut often: Vec<(&Span, &(Rc<str>, u64))> = self.work.often.iter().filter(|(_, (_, n))| *n > 1).collect();
        often.sort_by_key(|(place, (_, n))| (std::cmp::Reverse(*n), **place));
        for (_, (what, n)) in often.into_iter().take(3) {
            d.notes.push(format!("{what} {n} times so far"));
        }
        let help =
            format!("calls in calls multiply, and so do loops in loops; {STEPS} sets how many steps there may be");
        self.report(d.help(help));
    }

    /// The value, unless it is made of too many: what doubles in every statement has no end.
    pub(super) fn of_bearable_size(&mut self, v: Val, span: Span) -> Val {
        match elements(&v, MOST_ELEMENTS) {
            n if n > MOST_ELEMENTS => {
                let message = format!("this is made of more than {MOST_ELEMENTS} values");
                self.error(Diagnostic::error("E0117", span, message))
            }
            _ => v,
        }
    }
}

/// How many values one is made of, counted no further than just past `most`.
fn elements(v: &Val, most: usize) -> usize {
    let inner: Vec<&Val> = match v {
        Val::List(items) | Val::Tuple(items) => items.iter().collect(),
        Val::Ctor(c) => c.config.iter().flatten().map(|given| &given.val).collect(),
        _ => return 1,
    };
    let mut n = 1;
    for v in inner {
        n += elements(v, most.saturating_sub(n));
        if n > most {
            break;
        }
    }
    n
}
