//! Names and what they stand for in a body, statement by statement.
//!
//! Scopes form a chain: statements of an `if` or a `repeat`, the body around them, the module. Assigning a name that
//! exists further out in the body rebinds it there, except that an iteration of a `repeat` keeps such changes to itself
//! until it ends, so that what it changes can be told from what it reads.

use super::value::Val;
use dlc_grammar::Span;
use rustc_hash::FxHashMap as HashMap;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A scope.
#[derive(Clone, Debug)]
pub struct Scope(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    parent: Option<Scope>,
    vars: RefCell<Vars>,
    /// Names of the body around an iteration that the iteration has given another value.
    rebound: RefCell<Vars>,
    /// Names that statements within have defined and taken with them, and in what.
    gone: RefCell<HashMap<Rc<str>, &'static str>>,
    /// An iteration's own variables: the item and its number.
    items: RefCell<Vec<Rc<str>>>,
    /// Whether something besides labels has asked for one of them.
    asked: Cell<bool>,
}

/// Names in the order in which they were defined. There may be as many as layers, so that each is found by its text.
#[derive(Debug, Default)]
struct Vars {
    list: Vec<Var>,
    at: HashMap<Rc<str>, usize>,
}

/// What a scope is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A module's items; it holds no names of its own.
    Module(u16),
    /// The body of a function, net or configuration.
    Body(Owner),
    /// The statements of an `if`.
    Block,
    /// An iteration of a `repeat`.
    Iteration,
    /// The right side of an equation.
    Equation,
    /// The holes of a label.
    Label,
}

/// Whose body a scope is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Whether the body may have weights.
    pub net: bool,
    /// The call that gives its names meaning.
    pub env: u32,
}

/// A name and its value.
#[derive(Clone, Debug)]
pub struct Var {
    /// The name; a layer's or a weight's may have dots.
    pub name: Rc<str>,
    /// What it stands for.
    pub val: Val,
    /// The argument's expression, or where it was assigned.
    pub span: Span,
}

impl Scope {
    /// The scope of a module.
    pub fn module(number: u16) -> Scope {
        Scope::make(Kind::Module(number), None)
    }

    /// A scope within another.
    pub fn child(&self, kind: Kind) -> Scope {
        Scope::make(kind, Some(self.clone()))
    }

    fn make(kind: Kind, parent: Option<Scope>) -> Scope {
        let (vars, rebound, gone, items, asked) = Default::default();
        Scope(Rc::new(Inner { kind, parent, vars, rebound, gone, items, asked }))
    }

    fn chain(&self) -> impl Iterator<Item = &Scope> {
        std::iter::successors(Some(self), |s| s.0.parent.as_ref())
    }

    /// The number of the module that the body stands in.
    pub fn module_number(&self) -> u16 {
        self.chain()
            .find_map(|s| match s.0.kind {
                Kind::Module(n) => Some(n),
                Kind::Body(_) | Kind::Block | Kind::Iteration | Kind::Equation | Kind::Label => None,
            })
            .expect("every chain of scopes ends in a module")
    }

    /// Whose body it is; `None` outside of all.
    pub fn owner(&self) -> Option<Owner> {
        self.chain().find_map(|s| match s.0.kind {
            Kind::Body(owner) => Some(owner),
            Kind::Module(_) | Kind::Block | Kind::Iteration | Kind::Equation | Kind::Label => None,
        })
    }

    /// The call that gives the body's names meaning.
    pub fn env(&self) -> u32 {
        self.owner().map_or(0, |o| o.env)
    }

    /// Whether it is inside a `repeat` of its body.
    pub fn in_repeat(&self) -> bool {
        self.chain().any(|s| s.0.kind == Kind::Iteration)
    }

    /// Whether it is the right side of an equation.
    pub fn in_equation(&self) -> bool {
        self.0.kind == Kind::Equation
    }

    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<Val> {
        self.var(name).map(|v| v.val)
    }

    /// A name with its value and its place.
    pub fn var(&self, name: &str) -> Option<Var> {
        let mut for_label = false;
        self.chain().find_map(|s| {
            for_label |= s.0.kind == Kind::Label;
            let found = |vars: &RefCell<Vars>| vars.borrow().get(name).cloned();
            let var = found(&s.0.vars).or_else(|| found(&s.0.rebound));
            if var.is_some() && !for_label && s.is_item(name) {
                s.0.asked.set(true);
            }
            var
        })
    }

    /// Defines a variable of an iteration's own.
    pub fn define_item(&self, name: &str, val: Val, span: Span) {
        self.0.items.borrow_mut().push(name.into());
        self.define(name, val, span);
    }

    /// Whether that is a variable of this iteration's own.
    pub fn is_item(&self, name: &str) -> bool {
        self.0.items.borrow().iter().any(|item| **item == *name)
    }

    /// Whether this iteration's own variables have been more than parts of names.
    pub fn asked_item(&self) -> bool {
        self.0.asked.get()
    }

    /// Defines a name here, whatever it stands for further out.
    pub fn define(&self, name: impl Into<Rc<str>>, val: Val, span: Span) {
        self.0.vars.borrow_mut().put(name.into(), val, span);
    }

    /// Assigns a name: where it lives in this body, else here.
    pub fn set(&self, name: &Rc<str>, val: Val, span: Span) {
        for s in self.chain() {
            if let Kind::Module(_) = s.0.kind {
                break;
            }
            let here = s.0.vars.borrow().get(name).is_some();
            if here {
                if s.is_item(name) {
                    s.0.asked.set(true);
                }
                return s.0.vars.borrow_mut().put(name.clone(), val, span);
            }
            let further = s.0.kind == Kind::Iteration && s.0.parent.as_ref().is_some_and(|p| p.in_body(name));
            if further {
                return s.0.rebound.borrow_mut().put(name.clone(), val, span);
            }
            if let Kind::Body(_) = s.0.kind {
                break;
            }
        }
        self.define(name.clone(), val, span);
    }

    /// Whether the body defines a name, here or further out.
    fn in_body(&self, name: &str) -> bool {
        for s in self.chain() {
            let found = |vars: &RefCell<Vars>| vars.borrow().get(name).is_some();
            match s.0.kind {
                Kind::Module(_) => return false,
                Kind::Body(_) => return found(&s.0.vars),
                Kind::Block | Kind::Iteration | Kind::Equation | Kind::Label
                    if found(&s.0.vars) || found(&s.0.rebound) =>
                {
                    return true;
                }
                Kind::Block | Kind::Iteration | Kind::Equation | Kind::Label => {}
            }
        }
        false
    }

    /// What an iteration has given another value, in the order of the first change.
    pub fn rebound(&self) -> Vec<Var> {
        self.0.rebound.borrow().list.clone()
    }

    /// Ends the scope of an `if` or a `repeat`: the names it takes with it are remembered for messages.
    pub fn end(&self, inside: &'static str) {
        let Some(parent) = &self.0.parent else { return };
        let mut gone = parent.0.gone.borrow_mut();
        for v in &self.0.vars.borrow().list {
            gone.entry(v.name.clone()).or_insert(inside);
        }
        for (name, inside) in self.0.gone.borrow().iter() {
            gone.entry(name.clone()).or_insert(inside);
        }
    }

    /// In what a name was defined that is not known any more.
    pub fn gone(&self, name: &str) -> Option<&'static str> {
        self.chain().find_map(|s| s.0.gone.borrow().get(name).copied())
    }

    /// All names that can be seen, the nearest first.
    pub fn names(&self) -> Vec<Rc<str>> {
        self.chain()
            .flat_map(|s| s.0.vars.borrow().list.iter().rev().map(|v| v.name.clone()).collect::<Vec<_>>())
            .collect()
    }

    /// The same names as they are now, in one scope that later changes do not reach; tensors are left out.
    pub fn snapshot(&self) -> Scope {
        let root = Scope::module(self.module_number());
        let copy = root.child(Kind::Body(self.owner().unwrap_or(Owner { net: false, env: 0 })));
        let scopes: Vec<&Scope> = self.chain().collect();
        for s in scopes.into_iter().rev() {
            // Whoever gets the copy may ask for any of them.
            s.0.asked.set(true);
            for v in s.0.vars.borrow().list.iter().chain(&s.0.rebound.borrow().list).filter(|v| !v.val.has_tensor()) {
                copy.define(v.name.clone(), v.val.clone(), v.span);
            }
        }
        copy
    }
}

impl Vars {
    fn get(&self, name: &str) -> Option<&Var> {
        self.at.get(name).map(|i| &self.list[*i])
    }

    fn put(&mut self, name: Rc<str>, val: Val, span: Span) {
        match self.at.get(&name) {
            Some(i) => (self.list[*i].val, self.list[*i].span) = (val, span),
            None => {
                self.at.insert(name.clone(), self.list.len());
                self.list.push(Var { name, val, span });
            }
        }
    }
}
