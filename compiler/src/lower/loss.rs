//! What a training computes from a batch: the entry `loss`, from which gradients are made, and `evaluate`. Takes a `train`
//! item and the columns of its batches; gives functions over columns, outputs and weights.

use super::columns::Column;
use super::index;
use super::item;
use super::rows::Fixed;
use super::stored::Stored;
use super::train::Train;
use crate::check::{Checker, EntryFn, Given, Judged, Scope, Tensor, Val, names_in};
use crate::program::{Entry, FnId, Role, Ty};
use dlc_grammar::ast::Expr;
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::DType;

/// Adds the weights of an entry, and gives it with its roles. `inputs` are the names of its first parameters, `outputs`
/// those of its first results.
pub fn entry(
    ck: &mut Checker,
    stored: &mut Stored,
    name: &str,
    f: &EntryFn,
    inputs: &[String],
    outputs: &[String],
) -> Entry {
    stored.add(ck, f);
    let inputs = named_inputs(ck, f, inputs);
    let outputs = outputs.iter().map(|n| Role::Named(n.clone()));
    let (function, weights) = stored.laid_out(ck, f);
    Entry {
        name: name.into(),
        function,
        inputs: inputs.into_iter().chain(weights).collect(),
        outputs: outputs.chain(stored.updated(f)).collect(),
        guards: f.conditions(),
        defaults: Vec::new(),
    }
}

/// The roles of a function's first parameters, which are given by name.
fn named_inputs(ck: &Checker, f: &EntryFn, names: &[String]) -> Vec<Role> {
    let limits = index::limits(&ck.program, f.function);
    let role = |(name, limit): (&String, _)| match limit {
        Some(limit) => Role::Index(name.clone(), limit),
        None => Role::Named(name.clone()),
    };
    names.iter().zip(limits).map(role).collect()
}

/// Adds the entry `loss`: from the columns that the model and the loss read to the loss, and the model's new states.
pub fn loss(ck: &mut Checker, stored: &mut Stored, train: &Train, columns: &[Column]) -> Option<FnId> {
    ck.training = true;
    ck.open_entry("loss");
    let made = loss_value(ck, train, columns);
    ck.training = false;
    let Some((inputs, value)) = made else {
        ck.drop_entry();
        return None;
    };
    let made = ck.close_entry(&value);
    let function = made.function;
    let entry = entry(ck, stored, "loss", &made, &inputs, &["loss".to_string()]);
    ck.program.entries.push(entry);
    Some(function)
}

fn loss_value(ck: &mut Checker, train: &Train, columns: &[Column]) -> Option<(Vec<String>, Val)> {
    let sc = item::inner_scope(ck, &train.reading.scope);
    let used = |c: &&Column| feeds(train, &c.name) || names_in(&train.loss).iter().any(|(n, _)| *n == c.name);
    let used: Vec<&Column> = columns.iter().filter(used).collect();
    let (inputs, outputs) = applied(ck, train, &used, &sc)?;
    let made = outputs.iter().map(|(_, t)| t.clone()).collect();
    define_outputs(ck, outputs, columns, &sc)?;
    let before = ck.diagnostics.len();
    judge(ck, &sc, &used, made);
    let v = eval_near(ck, &train.loss, columns, &sc);
    ck.judged = None;
    if train.data.is_none() {
        let unknown = ck.diagnostics[before..].iter_mut().find(|d| d.code == "E0102" && d.help.is_empty());
        if let Some(d) = unknown {
            d.help.push(
                "`data = ..` names an item whose columns a loss may speak of; `dlc grad` takes them from its batch"
                    .into(),
            );
        }
    }
    let v = scalar(ck, "loss", v, train.loss.span)?;
    Some((inputs, v))
}

/// Says what of an entry are columns and what are outputs, before its expression is worked through.
fn judge(ck: &mut Checker, sc: &Scope, columns: &[&Column], outputs: Vec<Tensor>) {
    let column = |c: &&Column| match sc.get(&c.name) {
        Some(Val::Tensor(t)) => Some(t.value),
        _ => None,
    };
    let columns = columns.iter().filter_map(column).collect();
    let Some(frame) = outputs.first().map(|t| t.frame) else { return };
    ck.judged = Some(Judged { frame, columns, outputs: outputs.iter().map(|t| t.value).collect() });
}

/// The value of an expression in which columns may be misspelled: those that it does not use are no names in it.
fn eval_near(ck: &mut Checker, e: &Expr, columns: &[Column], sc: &Scope) -> Val {
    ck.hints = columns.iter().map(|c| c.name.clone()).collect();
    let v = ck.eval(e, sc);
    ck.hints.clear();
    v
}

/// Whether a column of that name is an input of the model.
fn feeds(train: &Train, name: &str) -> bool {
    train.model.0.net.ast.inputs.iter().any(|p| p.name.text == name)
}

/// The names of an entry's inputs, and the outputs of the model that was applied to them.
type Applied = (Vec<String>, Vec<(String, Tensor)>);

/// Applies the model to columns, which are inputs of the entry from here on; gives their names, and the outputs.
fn applied(ck: &mut Checker, train: &Train, columns: &[&Column], sc: &Scope) -> Option<Applied> {
    for c in columns {
        let val = ck.entry_input(&c.name, c.ty.clone(), c.tags.clone());
        sc.define(c.name.as_str(), val, c.span);
    }
    let (ctor, span) = &train.model;
    let model = &ctor.net.ast;
    let mut given = Vec::new();
    for param in &model.inputs {
        let name = &param.name.text;
        match columns.iter().find(|c| c.name == *name) {
            Some(c) => {
                let val = sc.get(name).expect("the column was defined above");
                given.push(Given { name: Some((name.as_str().into(), c.span)), val, span: c.span });
            }
            None if param.default.is_some() => {}
            None => {
                no_input(ck, train, name, columns);
                return None;
            }
        }
    }
    let v = ck.apply_model(ctor, given, *span);
    if v.is_poison() {
        return None;
    }
    let outputs = ck.named_outputs(ctor, &v)?;
    Some((columns.iter().map(|c| c.name.clone()).collect(), outputs))
}

fn no_input(ck: &mut Checker, train: &Train, name: &str, columns: &[&Column]) {
    let model = &train.model.0.net.ast.name.text;
    let d = match &train.data {
        Some(data) => {
            let item = &data.reading.item.ast.name;
            let message = format!("`{model}` takes `{name}`, and `{}` has no such column", item.text);
            let key = train.reading.item.ast.name.span;
            let d = Diagnostic::error("E0510", item.span, message).label(key, "trained here");
            d.did_you_mean(nearest(name, columns.iter().map(|c| c.name.as_str())))
        }
        None => {
            let message = format!("`{model}` takes `{name}`, and there is no `data`");
            Diagnostic::error("E0510", train.model.1, message).help("`data = ..` names where samples come from")
        }
    };
    ck.report(d);
}

/// Makes the model's outputs names of a loss or a metric.
fn define_outputs(ck: &mut Checker, outputs: Vec<(String, Tensor)>, columns: &[Column], sc: &Scope) -> Option<()> {
    for (name, t) in outputs {
        if let Some(c) = columns.iter().find(|c| c.name == name) {
            let message = format!("`{name}` is both a column and an output of the model");
            ck.report(Diagnostic::error("E0115", c.span, message).help("rename one of them"));
            return None;
        }
        sc.define(name.as_str(), Val::Tensor(t), Span::default());
    }
    Some(())
}

/// A value that must be one real number made of tensors.
fn scalar(ck: &mut Checker, what: &str, v: Val, span: Span) -> Option<Val> {
    let message = match v {
        Val::Poison => return None,
        Val::Tensor(t) if t.rank() == 0 && t.dtype.is_float() => return Some(ck.cast_tensor(&t, DType::F32)),
        Val::Tensor(t) if t.rank() > 0 => {
            let message = format!("a {what} is one number, got {}", ck.show(&Val::Tensor(t)));
            ck.report(Diagnostic::error("E0511", span, message).help("`mean(..)` makes one of many"));
            return None;
        }
        v => format!("a {what} is a real number made of tensors, got {}", ck.show(&v)),
    };
    ck.report(Diagnostic::error("E0511", span, message));
    None
}

/// Adds the entry `evaluate`: from outputs and columns of many rows to the metrics. The outputs' types come from applying
/// the model outside of training to the columns that feed it.
pub fn evaluate(
    ck: &mut Checker,
    stored: &mut Stored,
    train: &Train,
    columns: &[Column],
    fixed: Option<&Fixed>,
) -> Option<()> {
    let outputs = match fixed {
        Some(fixed) => fixed.of_all(&output_types(ck, train, &fixed.of_batch(columns))?),
        None => output_types(ck, train, columns)?,
    };
    ck.open_entry("evaluate");
    ck.trained = stored.slots(ck);
    let values = metric_values(ck, train, columns, &outputs);
    ck.trained.clear();
    let Some((inputs, results)) = values else {
        ck.drop_entry();
        return None;
    };
    let made = ck.close_entry(&Val::Tuple(results.into()));
    let names: Vec<String> = train.metrics.iter().map(|(name, _)| name.text.clone()).collect();
    let evaluate = entry(ck, stored, "evaluate", &made, &inputs, &names);
    ck.program.entries.push(evaluate);
    Some(())
}

/// The model's outputs as columns: what they would be for a batch of these columns.
fn output_types(ck: &mut Checker, train: &Train, columns: &[Column]) -> Option<Vec<Column>> {
    ck.open_entry("outputs");
    let sc = item::inner_scope(ck, &train.reading.scope);
    let used: Vec<&Column> = columns.iter().filter(|c| feeds(train, &c.name)).collect();
    let outputs = applied(ck, train, &used, &sc);
    ck.drop_entry();
    let column = |(name, t): (String, Tensor)| Column {
        name,
        ty: Ty { dtype: t.dtype, shape: t.shape() },
        tags: t.tags(),
        span: train.model.1,
    };
    Some(outputs?.1.into_iter().map(column).collect())
}

fn metric_values(
    ck: &mut Checker,
    train: &Train,
    columns: &[Column],
    outputs: &[Column],
) -> Option<(Vec<String>, Vec<Val>)> {
    let sc = item::inner_scope(ck, &train.reading.scope);
    let used: Vec<String> = train.metrics.iter().flat_map(|(_, e)| names_in(e)).map(|(n, _)| n).collect();
    let mut inputs = Vec::new();
    for c in outputs.iter().chain(columns).filter(|c| used.contains(&c.name)) {
        let val = ck.entry_input(&c.name, c.ty.clone(), c.tags.clone());
        sc.define(c.name.as_str(), val, c.span);
        inputs.push(c.name.clone());
    }
    let made = outputs.iter().filter_map(|c| match sc.get(&c.name) {
        Some(Val::Tensor(t)) => Some(t),
        _ => None,
    });
    judge(ck, &sc, &columns.iter().collect::<Vec<_>>(), made.collect());
    let mut results = Vec::new();
    let mut fine = true;
    for (_, e) in &train.metrics {
        let v = match eval_near(ck, e, columns, &sc) {
            // A count is a number too.
            Val::Tensor(t) if t.rank() == 0 => ck.cast_tensor(&t, DType::F32),
            v => v,
        };
        match scalar(ck, "metric", v, e.span) {
            Some(v) => results.push(v),
            None => fine = false,
        }
    }
    ck.judged = None;
    fine.then_some((inputs, results))
}
