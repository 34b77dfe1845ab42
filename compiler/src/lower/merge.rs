//! The entry `merge`: takes adapters into the weights that they adapt. Takes the weights of a program with how each is read;
//! adds a function from the adapted weights and their adapters' to the weights that do the same alone.
//!
//! Weights that are merged alike and lie end to end are merged by one loop, as they are run by one.

use super::biases;
use super::stored::Stored;
use crate::check::{Checker, Decl, Identity, label_of};
use crate::program::build::Builder;
use crate::program::{Entry, Repeat, Role, Ty, Value, WeightId, WeightRow};
use dlc_grammar::Diagnostic;
use dlc_plan::Size;
use dlc_plan::recipe::Finish;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Weights that one function merges.
struct Group {
    how: Rc<Identity>,
    ty: Ty,
    weights: Vec<WeightId>,
    /// The bias beside each, where the adapters add something whatever the operand is.
    biases: Vec<WeightId>,
    /// For each of the adapter's weights, which it is of each of the weights.
    params: Vec<Vec<WeightId>>,
}

/// By the names of adapted weights: the biases that merging changes besides.
pub type Takers = BTreeMap<String, String>;

/// Why there are no groups.
enum Unmerged {
    /// Something is wrong with an adapter, and has been told.
    Wrong,
    /// An adapter is fine, but cannot be merged.
    Unable(Diagnostic),
}

/// Adds the entry, where anything is adapted; gives the biases that it changes. An adapter that cannot be merged has none,
/// which is a mistake where it is to be. None where something is wrong with an adapter.
pub fn entry(ck: &mut Checker, stored: &Stored, finish: Finish) -> Option<Takers> {
    if stored.decls.iter().all(|d| d.adapted.is_none()) {
        return Some(Takers::new());
    }
    // What merges is not itself adapted.
    let adapters = std::mem::take(&mut ck.adapters);
    let groups = groups(ck, stored);
    ck.adapters = adapters;
    match groups {
        Ok(groups) => {
            add(ck, &groups);
            let name = |id: &WeightId| ck.program.weights[id.0 as usize].name.clone();
            let pairs = groups.iter().flat_map(|group| group.weights.iter().zip(&group.biases));
            Some(pairs.map(|(weight, bias)| (name(weight), name(bias))).collect())
        }
        Err(Unmerged::Unable(_)) if finish == Finish::Keep && !ck.merging => Some(Takers::new()),
        Err(Unmerged::Unable(d)) => {
            ck.report(d);
            None
        }
        Err(Unmerged::Wrong) => None,
    }
}

/// Adds the entry that merges these.
fn add(ck: &mut Checker, groups: &[Group]) {
    let mut b = Builder::new("merge");
    let mut roles: Vec<Role> = Vec::new();
    let takes: Vec<Vec<Vec<WeightRow>>> = groups.iter().map(|g| g.takes(ck)).collect();
    let mut args: Vec<Vec<Value>> = Vec::new();
    // All parameters come before all else.
    for rows in takes.iter().flatten() {
        let mut values = Vec::new();
        for row in rows {
            let one = &ck.program.weights[row[0].0 as usize];
            let shape = (row.len() > 1).then(|| (row.len() as i64).into()).into_iter().chain(one.ty.shape.clone());
            values.push(b.param(one.name.clone(), Ty { dtype: one.ty.dtype, shape: shape.collect() }));
            roles.push(Role::Weight(row.clone()));
        }
        args.push(values);
    }
    let (mut results, mut outputs) = (Vec::new(), Vec::new());
    let mut args = args.into_iter();
    for group in groups {
        let own: Vec<Vec<Value>> = args.by_ref().take(group.all().count()).collect();
        results.extend(group.values(ck, &mut b, &own));
        for changed in group.changed() {
            match own[0].len() == group.weights.len() {
                true => outputs.extend(changed.iter().map(|w| Role::weight(*w))),
                false => outputs.push(Role::Weight(changed.as_slice().into())),
            }
        }
    }
    let function = ck.program.add(b.finish(results));
    ck.program.entries.push(Entry {
        name: "merge".into(),
        function,
        inputs: roles,
        outputs,
        guards: Vec::new(),
        defaults: Vec::new(),
    });
}

/// The adapted weights in groups: those of one row that are merged alike.
fn groups(ck: &mut Checker, stored: &Stored) -> Result<Vec<Group>, Unmerged> {
    let names: HashMap<String, WeightId> =
        (0..).zip(&ck.program.weights).map(|(i, w)| (w.name.clone(), WeightId(i))).collect();
    let takers = biases::found(ck, stored);
    let mut known: Vec<(Rc<Decl>, Rc<Identity>)> = Vec::new();
    let mut groups: Vec<Group> = Vec::new();
    for row in ck.program.layout() {
        let first = groups.len();
        for id in row.iter() {
            let decl = &stored.decls[id.0 as usize];
            if decl.adapted.is_none() {
                continue;
            }
            let how = match known.iter().find(|(other, _)| alike(other, decl)) {
                Some((_, how)) => how.clone(),
                None => {
                    let how = Rc::new(ck.merged(decl).ok_or(Unmerged::Wrong)?);
                    known.push((decl.clone(), how.clone()));
                    how
                }
            };
            let label = label_of(&ck.program.weights[id.0 as usize].name);
            if how.loops {
                let why = |block: &str, _: &str| format!("`{block}` has a loop with weights, so it cannot be merged");
                return Err(Unmerged::Unable(unable(ck, *id, decl, &why)));
            }
            let bias = match how.shifts.then(|| fitting(ck, &takers, *id, decl)) {
                None => None,
                Some(None) => return Err(Unmerged::Unable(unable(ck, *id, decl, &untaken))),
                Some(found) => found,
            };
            let own = |param: &String| names.get(&format!("{label}.{param}")).copied();
            let params: Vec<WeightId> =
                how.params.iter().map(|p| own(p).expect("an adapted weight has an adapter")).collect();
            match groups[first..].iter_mut().find(|g| Rc::ptr_eq(&g.how, &how)) {
                Some(group) => {
                    group.weights.push(*id);
                    group.biases.extend(bias);
                    group.params.iter_mut().zip(params).for_each(|(all, one)| all.push(one));
                }
                None => groups.push(Group {
                    how,
                    ty: decl.ty.clone(),
                    weights: vec![*id],
                    biases: bias.into_iter().collect(),
                    params: params.into_iter().map(|p| vec![p]).collect(),
                }),
            }
        }
    }
    Ok(groups)
}

/// What is wrong where the adapter of a weight cannot be merged; `why` says it of a block and a weight.
fn unable(ck: &Checker, id: WeightId, decl: &Decl, why: &dyn Fn(&str, &str) -> String) -> Diagnostic {
    let adapter = &decl.adapted.as_ref().expect("it is one of the adapted").adapter;
    let message = why(&adapter.product.net.ast.name.text, &ck.program.weights[id.0 as usize].name);
    let d = Diagnostic::error("E0515", adapter.spans.1, message);
    d.help("another `adapter` for this target, which a weight can take alone, or `finish = keep`")
}

fn untaken(block: &str, weight: &str) -> String {
    format!(
        "`{block}` adds something to what `{weight}` gives whatever goes in, and there is no bias to take that: one that is \
         added to this product, in one place, and to nothing else"
    )
}

/// The bias of as many elements as the product of an adapted weight has columns.
fn fitting(ck: &Checker, takers: &HashMap<WeightId, WeightId>, id: WeightId, decl: &Decl) -> Option<WeightId> {
    let adapted = decl.adapted.as_ref().expect("it is one of the adapted");
    let outer = (0..decl.ty.rank()).filter(|i| !adapted.inner.contains(i)).map(|i| &decl.ty.shape[i]);
    let columns = Size::product(outer);
    takers.get(&id).copied().filter(|bias| ck.program.weights[bias.0 as usize].ty.shape == [columns.clone()])
}

/// Whether two weights are merged by one function.
fn alike(a: &Decl, b: &Decl) -> bool {
    match (&a.adapted, &b.adapted) {
        (Some(x), Some(y)) => {
            (x.adapter.number, &x.inner, x.table) == (y.adapter.number, &y.inner, y.table) && a.ty == b.ty
        }
        _ => false,
    }
}

impl Group {
    /// The weights that the entry changes: those that are adapted, and their biases where these take something.
    fn changed(&self) -> impl Iterator<Item = &Vec<WeightId>> {
        [&self.weights, &self.biases].into_iter().filter(|ids| !ids.is_empty())
    }

    /// All that it takes.
    fn all(&self) -> impl Iterator<Item = &Vec<WeightId>> {
        self.changed().chain(&self.params)
    }

    /// What the entry takes for the weights and for each of the adapters' weights: stacks, if all of them lie end to end,
    /// or each by itself.
    fn takes(&self, ck: &Checker) -> Vec<Vec<WeightRow>> {
        let all: Vec<&Vec<WeightId>> = self.all().collect();
        let stacked =
            self.weights.len() > 1 && all.iter().all(|ids| ck.program.rows.iter().any(|row| **row == ids[..]));
        let take = |ids: &Vec<WeightId>| match stacked {
            true => vec![ids.as_slice().into()],
            false => ids.iter().map(|id| [*id].into()).collect(),
        };
        all.into_iter().map(take).collect()
    }

    /// The merged weights, and then their biases: one for each, or all of them as a stack.
    fn values(&self, ck: &Checker, b: &mut Builder, args: &[Vec<Value>]) -> Vec<Value> {
        let (count, each) = (self.weights.len(), args[0].len());
        let tys = ck.program.function(self.how.function).result_tys();
        debug_assert!(tys.first() == Some(&self.ty), "a weight keeps its type");
        let flat: Vec<Value> = args.iter().flatten().copied().collect();
        if count == 1 {
            return b.call(self.how.function, flat, tys);
        }
        let stacked = each == 1;
        let results = self.changed().count();
        let name = |w: &WeightId| ck.program.weights[w.0 as usize].name.as_str().into();
        let repeat = Repeat {
            body: self.how.function,
            count,
            reverse: false,
            carried: 0,
            invariant: 0,
            stacks: if stacked { args.len() } else { 0 },
            rows: if stacked { 0 } else { args.len() },
            stacked: if stacked { results } else { 0 },
            row_results: if stacked { 0 } else { results },
            members: self.weights.iter().map(name).collect(),
        };
        let tys = repeat.result_tys(&tys);
        b.repeat(repeat, flat, tys)
    }
}
