//! Metrics of a whole part of the samples: takes the model's outputs batch by batch, training off, and gives one number for
//! each metric over all rows at once, since most metrics are no means of batches.

use super::feed::{Batch, Feed, Rows, filled, find, fixed_rows};
use crate::error::{Error, Result, code};
use crate::machine::{Machine, Named};
use dlc_plan::{HostState, Size};
use dlc_runtime::tensor::Tensor;

/// The metrics of a part, in the order of the spec; none where the plan has no metrics or the part no rows.
pub fn evaluate(machine: &mut dyn Machine, feed: &Feed, rows: &Rows, size: usize) -> Result<Vec<(String, f64)>> {
    let Some((asked, _)) = machine.ports("evaluate").filter(|_| !rows.numbers.is_empty()) else {
        return Ok(Vec::new());
    };
    let wanted: Vec<String> = asked.iter().map(|port| port.name.clone()).collect();
    // What is joined has rows of one length; otherwise each batch is as long as it must be.
    let joins = asked.iter().flat_map(|port| port.shape.iter().skip(1)).any(|axis| !axis.dims().is_empty());
    let longest = joins.then(|| feed.lengths(rows, &rows.numbers));
    let state = HostState::default();
    // A batch that the model fixes is filled up, and what the model gives for the rows that fill it is left out.
    let fixed = fixed_rows(machine);
    let size = fixed.unwrap_or(if is_by_rows(machine) { size.max(1) } else { rows.numbers.len() });
    let mut whole: Vec<(String, Vec<Tensor>)> = Vec::new();
    for numbers in rows.numbers.chunks(size) {
        let lengths = longest.clone().unwrap_or_else(|| feed.lengths(rows, numbers));
        let full = filled(numbers, fixed);
        let batch = feed.batch(machine, rows, &full, &lengths)?;
        let outputs = batch.run(machine, "forward", &state)?;
        for (name, tensor) in outputs.into_iter().chain(batch.columns).filter(|(name, _)| wanted.contains(name)) {
            let tensor =
                if full.len() > numbers.len() { first_rows(tensor, full.len(), numbers.len())? } else { tensor };
            match whole.iter_mut().find(|(known, _)| *known == name) {
                Some((_, parts)) => parts.push(tensor),
                None => whole.push((name, vec![tensor])),
            }
        }
    }
    let given: Named = whole.into_iter().map(|(name, parts)| Ok((name, joined(parts)?))).collect::<Result<_>>()?;
    let metrics = Batch::of(rows, given).run(machine, "evaluate", &state)?;
    Ok(metrics.into_iter().map(|(name, tensor)| (name, number(&tensor))).collect())
}

/// The first of the rows of a tensor that has so many; any other stays as it is.
fn first_rows(tensor: Tensor, rows: usize, count: usize) -> Result<Tensor> {
    let Some((first, rest)) = tensor.shape().split_first().filter(|(first, _)| **first == rows) else {
        return Ok(tensor);
    };
    let shape: Vec<usize> = std::iter::once(count).chain(rest.iter().copied()).collect();
    let bytes = &tensor.bytes()[..tensor.bytes().len() / first * count];
    Tensor::from_bytes(tensor.dtype(), &shape, bytes).map_err(|error| Error::run(code::CANNOT_RUN, error.to_string()))
}

/// Whether the model's outputs have a row for each row of its inputs, so that batches can be joined: the first axis of all
/// is one dynamic size.
fn is_by_rows(machine: &dyn Machine) -> bool {
    let (inputs, outputs) = machine.ports("forward").unwrap_or_default();
    let mut axes = inputs.iter().chain(outputs).map(|port| port.shape.first());
    let Some(Some(first)) = axes.next() else { return false };
    first.dims().len() == 1 && *first == Size::dim(first.dims()[0]) && axes.all(|axis| axis == Some(first))
}

/// Tensors one after the other along axis 0.
fn joined(mut parts: Vec<Tensor>) -> Result<Tensor> {
    if parts.len() == 1 {
        return Ok(parts.remove(0));
    }
    let mut shape = parts[0].shape().to_vec();
    let rest = |tensor: &Tensor| tensor.shape().get(1..).map(<[usize]>::to_vec);
    if parts.iter().any(|part| rest(part) != rest(&parts[0]) || part.shape().is_empty()) {
        let message = format!("batches of the held-out samples have the shapes {shape:?} and others");
        return Err(Error::run(code::BAD_INPUT, message));
    }
    shape[0] = parts.iter().map(|part| part.shape()[0]).sum();
    let bytes: Vec<u8> = parts.iter().flat_map(|part| part.bytes()).copied().collect();
    Tensor::from_bytes(parts[0].dtype(), &shape, &bytes)
        .map_err(|error| Error::run(code::CANNOT_RUN, error.to_string()))
}

/// A tensor without axes, as a number.
pub fn number(tensor: &Tensor) -> f64 {
    tensor.to_f32_vec().first().map_or(f64::NAN, |number| f64::from(*number))
}

/// The loss among the outputs of an entry.
pub fn loss(outputs: &Named) -> Result<f64> {
    let loss =
        find(outputs, "loss").ok_or_else(|| Error::run(code::CANNOT_RUN, "the plan gives no loss".to_owned()))?;
    Ok(number(loss))
}
