//! The best validation of a training: by which metric, how long ago, and the weights of that moment.

use super::checkpoint::{BestState, Exact, snapshot};
use crate::error::Result;
use crate::machine::{Machine, Named};
use dlc_plan::recipe::Stop;

/// The best validation so far.
#[derive(Default)]
pub struct Best {
    /// What it was; none before the first one.
    pub state: Option<BestState>,
    /// The weights of that moment.
    pub weights: Named,
    /// Validations since then.
    pub since: u64,
}

impl Best {
    /// Takes the metrics of a validation after a step.
    ///
    /// # Errors
    /// When there is no memory for the weights.
    pub fn take(&mut self, stop: &Stop, step: u64, metrics: &[(String, f64)], machine: &dyn Machine) -> Result<()> {
        let Some((_, value)) = metrics.iter().find(|(name, _)| *name == stop.metric) else { return Ok(()) };
        let improves = |best: &BestState| if stop.falling { *value < best.value.0 } else { *value > best.value.0 };
        // A value that is not a number is never the best.
        if !value.is_nan() && self.state.as_ref().is_none_or(improves) {
            let metrics = metrics.iter().map(|(name, value)| (name.clone(), Exact(*value))).collect();
            self.state = Some(BestState { value: Exact(*value), step, metrics });
            self.weights = snapshot(machine)?;
            self.since = 0;
        } else {
            self.since += 1;
        }
        Ok(())
    }

    /// Whether the metric has not improved for as long as is borne.
    pub fn is_over(&self, stop: &Stop) -> bool {
        self.since >= stop.patience.max(1)
    }
}
