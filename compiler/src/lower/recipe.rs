//! The recipe of a training. Takes a `train` item that has been read; gives the plain data that runs it.

use super::train::Train;
use crate::check::ModelFn;
use dlc_plan::recipe::{Data, Encoding, Lora, Model, Recipe, Weights};

/// A model, as seen from outside.
pub fn model(model: &ModelFn) -> Model {
    Model {
        name: model.name.clone(),
        inputs: model.inputs.iter().map(|i| i.name.clone()).collect(),
        outputs: model.outputs.iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// The recipe.
pub fn recipe(
    train: &Train,
    of: &ModelFn,
    weights: Option<Weights>,
    lora: Option<Lora>,
    encodings: Vec<Encoding>,
) -> Recipe {
    Recipe {
        name: train.reading.item.ast.name.text.clone(),
        model: model(of),
        data: train.data.as_ref().map(|d| Data { encodings, ..d.recipe.clone() }),
        weights,
        lora,
        length: train.length,
        accumulate: train.accumulate,
        seed: train.seed,
        interval: train.interval,
        metrics: train.metrics.iter().map(|(name, _)| name.text.clone()).collect(),
        stop: train.stop.clone(),
    }
}
