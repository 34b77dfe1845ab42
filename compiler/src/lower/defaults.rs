//! Inputs of a model that a training's data does not have and that have a default: outside of training they are that number, as
//! they are in the loss. Takes the entry `forward` and the columns of a batch; gives an entry without those inputs.

use super::columns::Column;
use crate::check::{Checker, Input, ModelFn};
use crate::program::Value;
use crate::program::build::Builder;
use std::collections::BTreeSet;

/// Takes the inputs that batches of these columns do not have out of a model and its entry `forward`, where a default stands
/// for them and no size is known from them alone.
pub fn leave_out(ck: &mut Checker, model: &mut ModelFn, columns: &[Column]) {
    let absent = |i: &Input| i.default.filter(|_| columns.iter().all(|c| c.name != i.name));
    let sizes = |i: &Input| i.ty.shape.iter().flat_map(|size| size.dims()).collect::<Vec<u16>>();
    let known: BTreeSet<u16> = model.inputs.iter().filter(|i| absent(i).is_none()).flat_map(sizes).collect();
    let number = |i: &Input| absent(i).filter(|_| sizes(i).iter().all(|size| known.contains(size)));
    let left: Vec<Option<f64>> = model.inputs.iter().map(number).collect();
    let Some(at) = ck.program.entries.iter().position(|e| e.name == "forward") else { return };
    if left.iter().all(Option::is_none) {
        return;
    }
    let function = ck.program.entries[at].function;
    let f = ck.program.function(function);
    let (params, results) = (f.params.clone(), f.result_tys());
    let mut b = Builder::new(f.name.clone());
    let is_left = |i: usize| left.get(i).copied().flatten();
    // All parameters come before all else.
    let mut args: Vec<Option<Value>> = Vec::new();
    for (i, param) in params.iter().enumerate() {
        args.push(is_left(i).is_none().then(|| b.param(param.name.clone(), param.ty.clone())));
    }
    let full = |(i, arg): (usize, Option<Value>)| {
        let ty = &params[i].ty;
        arg.unwrap_or_else(|| b.full(ty.dtype, is_left(i).unwrap_or_default(), &ty.shape))
    };
    let args: Vec<Value> = args.into_iter().enumerate().map(full).collect();
    let gives = b.call(function, args, results);
    let function = ck.program.add(b.finish(gives));
    let entry = &mut ck.program.entries[at];
    entry.function = function;
    let mut place = 0..;
    entry.inputs.retain(|_| place.next().is_none_or(|i| is_left(i).is_none()));
    let mut place = 0..;
    model.inputs.retain(|_| place.next().is_none_or(|i| is_left(i).is_none()));
}
