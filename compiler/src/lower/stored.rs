//! The stored tensors of a program. Takes the functions of entries with the weights they use; gives each weight one number,
//! under one name, in whatever mode or entry it is used, and the roles of parameters and results.

use crate::check::{Checker, Decl, EntryFn, Slot, SlotKind};
use crate::program::{Role, Weight, WeightId};
use dlc_grammar::Diagnostic;
use std::collections::HashMap;
use std::rc::Rc;

/// The weights of the program being made, by name.
#[derive(Default)]
pub struct Stored {
    /// How each weight was declared.
    pub decls: Vec<Rc<Decl>>,
    ids: HashMap<Rc<str>, WeightId>,
}

impl Stored {
    /// Adds the weights that an entry uses and that are not known yet. A weight has one type in all entries.
    pub fn add(&mut self, ck: &mut Checker, entry: &EntryFn) {
        for slot in &entry.slots {
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

    /// All of them, as an entry names those that it uses.
    pub fn slots(&self, ck: &Checker) -> Vec<Slot> {
        let named = ck.program.weights.iter().zip(&self.decls);
        named.map(|(w, decl)| Slot { path: w.name.as_str().into(), decl: decl.clone() }).collect()
    }

    /// The roles of the parameters that follow an entry's inputs.
    pub fn roles(&self, entry: &EntryFn) -> Vec<Role> {
        entry.slots.iter().map(|slot| Role::Weight(self.ids[&slot.path])).collect()
    }

    /// The roles of the results that follow an entry's outputs: states with a new value.
    pub fn updated(&self, entry: &EntryFn) -> Vec<Role> {
        entry.updated.iter().map(|slot| Role::Weight(self.ids[&entry.slots[*slot].path])).collect()
    }
}

/// The names of the weights, each with its aliases.
pub fn names(ck: &Checker) -> Vec<Vec<String>> {
    let names = |w: &Weight| std::iter::once(&w.name).chain(&w.aliases).cloned().collect();
    ck.program.weights.iter().map(names).collect()
}
