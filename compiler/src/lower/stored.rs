//! The stored tensors of a program. Takes the functions of entries with the weights they use; gives each weight one number,
//! under one name, in whatever mode or entry it is used, and the roles of parameters and results.

use crate::check::{Checker, Decl, EntryFn, Slot, SlotKind, SlotParam};
use crate::program::build::Builder;
use crate::program::{FnId, Role, Value, Weight, WeightId};
use dlc_grammar::Diagnostic;
use dlc_plan::recipe::AdapterInput;
use rustc_hash::FxHashMap as HashMap;
use std::rc::Rc;

/// The weights of the program being made, by name.
#[derive(Default)]
pub struct Stored {
    /// How each weight was declared.
    pub decls: Vec<Rc<Decl>>,
    ids: HashMap<Rc<str>, WeightId>,
    /// For each weight in a row, which row it is and where in it.
    placed: HashMap<WeightId, (usize, usize)>,
    /// What entries take by name in place of what adapters add; none where that is stored like all other weights.
    given: Option<Vec<AdapterInput>>,
    /// What adapters add, where it is not stored.
    outside: Vec<Slot>,
}

impl Stored {
    /// None yet; what adapters add will not be stored.
    pub fn without_adapters() -> Stored {
        Stored { given: Some(Vec::new()), ..Stored::default() }
    }

    /// Whether a slot is given to entries by name.
    fn is_given(&self, slot: &Slot) -> bool {
        self.given.is_some() && slot.decl.added
    }

    /// What entries take by name in place of what adapters add, and which of that each is.
    pub fn given(&self) -> &[AdapterInput] {
        self.given.as_deref().unwrap_or_default()
    }

    /// Adds the weights that an entry uses and that are not known yet. A weight has one type in all entries.
    pub fn add(&mut self, ck: &mut Checker, entry: &EntryFn) {
        for slot in &entry.slots {
            if self.is_given(slot) {
                self.outside.push(slot.clone());
                continue;
            }
            if let Some(id) = self.ids.get(&slot.path) {
                let known = &ck.program.weights[id.0 as usize];
                if known.ty != slot.decl.ty {
                    let message = format!("`{}` has another shape in training than outside of it", slot.path);
                    ck.report(Diagnostic::error("E0205", slot.decl.span, message).label(known.span, "first here"));
                }
                continue;
            }
            let id = WeightId(ck.program.weights.len() as u32);
            ck.program.weights.push(Weight {
                name: slot.path.to_string(),
                aliases: Vec::new(),
                ty: slot.decl.ty.clone(),
                param: slot.decl.kind == SlotKind::Param,
                trained: false,
                added: slot.decl.added,
                span: slot.decl.span,
            });
            self.decls.push(slot.decl.clone());
            self.ids.insert(slot.path.clone(), id);
        }
        for (alias, slot, _) in &entry.aliases {
            let weight = &mut ck.program.weights[self.ids[&entry.slots[*slot].path].0 as usize];
            if weight.name != **alias && !weight.aliases.iter().any(|a| **a == **alias) {
                weight.aliases.push(alias.to_string());
            }
        }
    }

    /// Lets the weights that a function takes as a stack lie end to end, so that the stack is there. Gives the function, or,
    /// where weights lie in another order already, one that takes these apart and puts them together; and what its
    /// parameters are.
    pub fn laid_out(&mut self, ck: &mut Checker, entry: &EntryFn) -> (FnId, Vec<Role>) {
        let roles: Vec<Role> = entry.params.iter().map(|p| self.role(entry, p)).collect();
        let fits: Vec<bool> = roles.iter().map(|role| self.lay(ck, role)).collect();
        if fits.iter().all(|fits| *fits) {
            return (entry.function, roles);
        }
        let f = ck.program.function(entry.function);
        let (params, results) = (f.params.clone(), f.result_tys());
        let mut b = Builder::new(f.name.clone());
        let inputs = params.len() - roles.len();
        let mut takes = Vec::new();
        let mut args: Vec<Vec<Value>> = Vec::new();
        for param in &params[..inputs] {
            args.push(vec![b.param(param.name.clone(), param.ty.clone())]);
        }
        for ((param, role), fits) in params[inputs..].iter().zip(roles).zip(&fits) {
            match role {
                Role::Weight(row) if !fits => {
                    let weights = row.iter().map(|id| &ck.program.weights[id.0 as usize]);
                    args.push(weights.map(|w| b.param(w.name.clone(), w.ty.clone())).collect());
                    takes.extend(row.iter().map(|id| Role::weight(*id)));
                }
                role => {
                    args.push(vec![b.param(param.name.clone(), param.ty.clone())]);
                    takes.push(role);
                }
            }
        }
        let args = args
            .into_iter()
            .zip(&params)
            .map(|(own, param)| if let [v] = own[..] { v } else { b.stack(&own, &param.ty) });
        let args = args.collect::<Vec<_>>();
        let gives = b.call(entry.function, args, results);
        (ck.program.add(b.finish(gives)), takes)
    }

    /// The weights of a parameter, or, where they are given, the name of its first, which stands for all.
    fn role(&mut self, entry: &EntryFn, param: &SlotParam) -> Role {
        let slots = || param.slots().iter().map(|slot| &entry.slots[*slot]);
        let Some(given) = self.given.as_mut().filter(|_| entry.slots[param.first()].decl.added) else {
            return Role::Weight(slots().map(|slot| self.ids[&slot.path]).collect());
        };
        let name = entry.slots[param.first()].path.to_string();
        given.push(AdapterInput { name: name.clone(), weights: slots().map(|slot| slot.path.to_string()).collect() });
        Role::Named(name)
    }

    /// Whether the weights of a parameter can lie end to end in this order, which they do from now on.
    fn lay(&mut self, ck: &mut Checker, role: &Role) -> bool {
        let Role::Weight(row) = role else { return true };
        if row.len() == 1 {
            return true;
        }
        let own: Vec<Option<(usize, usize)>> = row.iter().map(|id| self.placed.get(id).copied()).collect();
        if own.iter().all(Option::is_none) {
            let number = ck.program.rows.len();
            self.placed.extend(row.iter().enumerate().map(|(i, id)| (*id, (number, i))));
            ck.program.rows.push(row.clone());
            return true;
        }
        let next = |w: &[Option<(usize, usize)>]| matches!(w, [Some((a, i)), Some((b, j))] if a == b && i + 1 == *j);
        own.windows(2).all(next)
    }

    /// All of them, as an entry names those that it uses.
    pub fn slots(&self, ck: &Checker) -> Vec<Slot> {
        let named = ck.program.weights.iter().zip(&self.decls);
        let named = named.map(|(w, decl)| Slot { path: w.name.as_str().into(), decl: decl.clone() });
        named.chain(self.outside.iter().cloned()).collect()
    }

    /// The roles of the results that follow an entry's outputs: states with a new value.
    pub fn updated(&self, entry: &EntryFn) -> Vec<Role> {
        entry.updated.iter().map(|slot| Role::weight(self.ids[&entry.slots[*slot].path])).collect()
    }
}

/// The names of the weights, each with its aliases.
pub fn names(ck: &Checker) -> Vec<Vec<String>> {
    let names = |w: &Weight| std::iter::once(&w.name).chain(&w.aliases).cloned().collect();
    ck.program.weights.iter().map(names).collect()
}
