//! Inputs of a model that have a default. An entry that takes the model's inputs need not be given them. Those that a training's
//! data does not have are that number outside of training too, as they are in the loss: takes the entry `forward` and the
//! columns of a batch; gives an entry without those inputs.

use super::columns::Column;
use crate::check::{Checker, Input, ModelFn};
use crate::program::build::Builder;
use crate::program::{Entry, Role, Value};
use dlc_plan::Host;
use std::collections::BTreeSet;

/// Lets the defaults of a model's inputs hold in an entry that takes them under their names.
pub fn hold(inputs: &[Input], entry: &mut Entry) {
    let takes = |i: &&Input| {
        entry.inputs.iter().any(
            |role| matches!(role, Role::Named(name) | Role::Index(name, _) | Role::Narrow(name, _) if *name == i.name),
        )
    };
    let default = |i: &Input| Some((i.name.clone(), i.default.clone()?));
    entry.defaults = inputs.iter().filter(takes).filter_map(default).collect();
}

/// Takes the inputs that batches of these columns do not have out of a model and its entry `forward`, where a default stands
/// for them and no size is known from them alone.
pub fn leave_out(ck: &mut Checker, model: &mut ModelFn, columns: &[Column]) {
    let absent = |i: &Input| i.default.clone().filter(|_| columns.iter().all(|c| c.name != i.name));
    let sizes = |i: &Input| i.ty.shape.iter().flat_map(|size| size.dims()).collect::<Vec<u16>>();
    let known: BTreeSet<u16> = model.inputs.iter().filter(|i| absent(i).is_none()).flat_map(sizes).collect();
    let number = |i: &Input| absent(i).filter(|_| sizes(i).iter().all(|size| known.contains(size)));
    let left: Vec<Option<Host>> = model.inputs.iter().map(number).collect();
    let Some(at) = ck.program.entries.iter().position(|e| e.name == "forward") else { return };
    if left.iter().all(Option::is_none) {
        return;
    }
    let function = ck.program.entries[at].function;
    let f = ck.program.function(function);
    let (params, results) = (f.params.clone(), f.result_tys());
    let mut b = Builder::new(f.name.clone());
    let is_left = |i: usize| left.get(i).cloned().flatten();
    // All parameters come before all else.
    let mut args: Vec<Option<Value>> = Vec::new();
    for (i, param) in params.iter().enumerate() {
        args.push(is_left(i).is_none().then(|| b.param(param.name.clone(), param.ty.clone())));
    }
    let full = |(i, arg): (usize, Option<Value>)| {
        let ty = &params[i].ty;
        arg.unwrap_or_else(|| {
            let x = b.host(ty.dtype, is_left(i).unwrap_or(Host::Const(0.0)));
            b.stretch(x, &ty.shape)
        })
    };
    let args: Vec<Value> = args.into_iter().enumerate().map(full).collect();
    let gives = b.call(function, args, results);
    let function = ck.program.add(b.finish(gives));
    let entry = &mut ck.program.entries[at];
    entry.function = function;
    let mut place = 0..;
    entry.inputs.retain(|_| place.next().is_none_or(|i| is_left(i).is_none()));
    let gone: Vec<String> =
        model.inputs.iter().zip(&left).filter_map(|(i, l)| l.as_ref().map(|_| i.name.clone())).collect();
    entry.defaults.retain(|(name, _)| !gone.contains(name));
    let mut place = 0..;
    model.inputs.retain(|_| place.next().is_none_or(|i| is_left(i).is_none()));
}
