//! Training: takes a machine, a recipe and the folder that its files are relative to; changes the machine's weights.
//!
//! What happens is a function of the plan, the recipe, the files and nothing else: not of time, not of the number of threads.
//! Whoever watches is told, and can end it between two steps.

mod evaluate;
mod feed;

use crate::adapters;
use crate::data::batches::Batches;
use crate::error::{Error, Result, code};
use crate::machine::{self, Machine, Named, load};
use dlc_plan::HostState;
use dlc_plan::recipe::{Batch, Data, Length, Part, Recipe, Stop};
use evaluate::evaluate;
use feed::{Feed, Rows};
use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

/// Someone who watches a training.
pub trait Watch {
    /// A step is done.
    fn step(&mut self, progress: &Progress) {
        let _ = progress;
    }

    /// An interval or an epoch is over.
    ///
    /// # Errors
    /// What is wrong with the place where reports go; the training ends.
    fn report(&mut self, report: &Report) -> Result<()> {
        let _ = report;
        Ok(())
    }

    /// Something is odd.
    fn warn(&mut self, text: &str) {
        let _ = text;
    }

    /// The loss of a batch is not finite: what more can be said of that? It is asked before the weights change.
    fn explain(&mut self, machine: &dyn Machine, state: &HostState, batch: &Named) -> Option<String> {
        let _ = (machine, state, batch);
        None
    }

    /// Whether the training is to end after this step.
    fn interrupted(&mut self) -> bool {
        false
    }
}

/// Watches nothing.
impl Watch for () {}

/// How far a training is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Steps that are done.
    pub step: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// The epoch, from 1.
    pub epoch: u64,
    /// The loss of the last step.
    pub loss: f64,
    /// Samples that were trained on, each as often as it was.
    pub samples: u64,
    /// The time since the first step began.
    pub time: Duration,
}

/// What is known when an interval or an epoch is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// How far the training is; the loss is the mean over the samples since the last report.
    pub progress: Progress,
    /// Samples a second since the last report.
    pub samples_per_second: f64,
    /// The metrics of the held-out split; none within an epoch, or where nothing is held out.
    pub metrics: Vec<(String, f64)>,
}

/// Why a training ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Done,
    /// The metric that it is stopped by did not improve any more.
    Stopped,
    /// Whoever watches wanted it.
    Interrupted,
}

/// What a training came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Why it ended.
    pub ended: Ended,
    /// How far it came; the loss is that of the last step.
    pub progress: Progress,
    /// The last metrics of the held-out split.
    pub metrics: Vec<(String, f64)>,
    /// The metrics of the test split.
    pub test: Vec<(String, f64)>,
}

/// Trains from the initial values, or from the recipe's weights.
///
/// # Errors
/// When files cannot be used, an entry cannot be run, or the loss is not finite.
pub fn train(machine: &mut dyn Machine, recipe: &Recipe, folder: &Path, watch: &mut dyn Watch) -> Result<Outcome> {
    let Some(data) = &recipe.data else {
        return Err(Error::spec(code::NO_COLUMN, format!("`{}` has no data to train on", recipe.name)));
    };
    let feed = Feed::open(machine, data, folder)?;
    let rows = feed.part(Part::Train).filter(|rows| !rows.numbers.is_empty()).ok_or_else(|| feed::no_rows(data))?;
    let batched = match feed::fixed_rows(machine) {
        Some(fixed) => whole_batches(data, rows.numbers.len(), fixed, &recipe.model.name, watch)?,
        None => Cow::Borrowed(data),
    };
    let batches = Batches::new(rows.numbers.clone(), &batched, recipe.seed);
    let per_epoch = (batches.per_epoch() as u64).div_ceil(recipe.accumulate.max(1));
    if per_epoch == 0 {
        return Err(feed::no_rows(data));
    }
    let steps = match recipe.length {
        Length::Epochs(epochs) => epochs.saturating_mul(per_epoch),
        Length::Steps(steps) => steps,
    };
    let state = HostState { steps, seed: recipe.seed, ..HostState::default() };
    if machine.ports("init").is_some() {
        machine.run("init", &state, &[])?;
    }
    if let Some(rules) = &recipe.weights {
        load(machine, rules, folder)?.iter().for_each(|text| watch.warn(text));
    }
    if let Some((lora, file)) = recipe.lora.as_ref().and_then(|lora| Some((lora, lora.file.as_ref()?))) {
        adapters::load(machine, lora, &folder.join(file))?.iter().for_each(|text| watch.warn(text));
    }
    let evaluation = match data.batch {
        Batch::All => usize::MAX,
        Batch::Rows(count) => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let tally = Tally { loss: 0.0, rows: 0, since: Instant::now() };
    let began = Instant::now();
    let mut run =
        Run { machine, recipe, feed: &feed, rows, evaluation, watch, state, tally, began, samples: 0, last: f64::NAN };
    run.whole(batches)
}

/// How rows are batched for a model whose text fixes how many a batch has. What is left of an epoch is no batch: it is left
/// out, and that is told, unless the item says so already.
fn whole_batches<'a>(
    data: &'a Data,
    rows: usize,
    fixed: usize,
    model: &str,
    watch: &mut dyn Watch,
) -> Result<Cow<'a, Data>> {
    if rows < fixed || (data.batch == Batch::All && rows != fixed) {
        let message = format!("`{}` has {rows} rows to train on, and `{model}` takes batches of {fixed}", data.name);
        return Err(Error::file(code::BAD_SPLIT, message));
    }
    let left = rows % fixed;
    if left == 0 || data.drop_last {
        return Ok(Cow::Borrowed(data));
    }
    watch.warn(&format!(
        "`{model}` takes batches of {fixed} rows: of the {rows} rows of each epoch the last {left} are left out, as \
         `drop_last = true` says"
    ));
    Ok(Cow::Owned(Data { drop_last: true, ..data.clone() }))
}

/// What the model gives for some rows that it is watched by, or else is trained on, training off. Nothing where there is no
/// data.
///
/// # Errors
/// When files cannot be used, or the model cannot be run.
pub fn probe(machine: &mut dyn Machine, recipe: &Recipe, folder: &Path, rows: usize) -> Result<Named> {
    let Some(data) = &recipe.data else { return Ok(Named::new()) };
    let feed = Feed::open(machine, data, folder)?;
    let Some(of) = [Part::Valid, Part::Test, Part::Train].into_iter().find_map(|part| feed.part(part)) else {
        return Ok(Named::new());
    };
    let fixed = feed::fixed_rows(machine);
    let numbers = feed::filled(&of.numbers[..fixed.unwrap_or(rows).min(of.numbers.len())], fixed);
    let batch = feed.batch(machine, of, &numbers, &feed.lengths(of, &numbers))?;
    batch.run(machine, "forward", &HostState::default())
}

/// A training that goes on.
struct Run<'a> {
    machine: &'a mut dyn Machine,
    recipe: &'a Recipe,
    feed: &'a Feed,
    rows: &'a Rows,
    /// Rows of a batch of an evaluation.
    evaluation: usize,
    watch: &'a mut dyn Watch,
    /// The host's numbers; `step` is the number of steps that are done.
    state: HostState,
    tally: Tally,
    began: Instant,
    samples: u64,
    /// The loss of the last step.
    last: f64,
}

/// What has happened since the last report.
struct Tally {
    /// The sum of the losses, each times its rows.
    loss: f64,
    rows: u64,
    since: Instant,
}

impl Run<'_> {
    fn whole(&mut self, mut batches: Batches) -> Result<Outcome> {
        let mut best = self.recipe.stop.as_ref().map(Best::new);
        let mut ended = Ended::Done;
        let mut metrics = Vec::new();
        while self.state.step < self.state.steps {
            let finished = self.epoch(&mut batches)?;
            if !finished {
                ended = Ended::Interrupted;
                break;
            }
            metrics = self.measure(Part::Valid)?;
            self.report(metrics.clone())?;
            if let (Some(best), Some(stop)) = (&mut best, &self.recipe.stop)
                && best.is_over(stop, &metrics)
            {
                ended = Ended::Stopped;
                break;
            }
            self.state.epoch += 1;
        }
        let test = if ended == Ended::Interrupted { Vec::new() } else { self.measure(Part::Test)? };
        Ok(Outcome { ended, progress: self.progress(self.last), metrics, test })
    }

    /// One epoch, or what is left of the training; false where it was interrupted.
    fn epoch(&mut self, batches: &mut Batches) -> Result<bool> {
        let mut window = Window::default();
        loop {
            let numbers = batches.next_batch().map(<[u32]>::to_vec);
            if let Some(numbers) = &numbers {
                self.micro_batch(numbers, &mut window)?;
            }
            // The last window of an epoch may be short; it is a step like any other.
            let full = window.batches == self.recipe.accumulate.max(1) || numbers.is_none();
            if full && window.batches > 0 {
                self.end_step(&mut window)?;
                if self.watch.interrupted() {
                    return Ok(false);
                }
                let last = numbers.is_none() || batches.position().row == batches.rows_per_epoch();
                let is_due = self.recipe.interval.is_some_and(|every| self.state.step.is_multiple_of(every.max(1)));
                if is_due && !last && self.state.step < self.state.steps {
                    self.report(Vec::new())?;
                }
            }
            if numbers.is_none() || self.state.step >= self.state.steps {
                return Ok(true);
            }
        }
    }

    /// Runs one micro-batch; where nothing is accumulated, that is the step.
    fn micro_batch(&mut self, numbers: &[u32], window: &mut Window) -> Result<()> {
        let entry = if self.machine.ports("step").is_some() { "step" } else { "accumulate" };
        if window.batches == 0 && entry == "accumulate" {
            self.machine.forget_gradients();
        }
        self.state.first_sample = window.rows;
        let raw = self.feed.raw(self.rows, numbers, &self.feed.lengths(self.rows, numbers))?;
        let batch = self.feed.training_batch(self.machine, self.rows, numbers, raw, &self.state)?;
        let outputs = batch.run(self.machine, entry, &self.state)?;
        let loss = evaluate::loss(&outputs)?;
        if !loss.is_finite() {
            return Err(self.not_finite(loss, &batch));
        }
        window.batches += 1;
        window.over += machine::over(&outputs);
        window.rows += batch.rows() as u64;
        window.loss += loss * batch.rows() as f64;
        Ok(())
    }

    /// The end of a step: the update where gradients were accumulated.
    fn end_step(&mut self, window: &mut Window) -> Result<()> {
        if self.machine.ports("step").is_none() {
            machine::update(self.machine, &self.state, window.over)?;
        }
        let window = std::mem::take(window);
        self.state.step += 1;
        self.samples += window.rows;
        self.last = window.loss / window.rows as f64;
        self.tally.loss += window.loss;
        self.tally.rows += window.rows;
        self.watch.step(&self.progress(self.last));
        Ok(())
    }

    fn not_finite(&mut self, loss: f64, batch: &feed::Batch) -> Error {
        let mut message = format!("loss is {loss} at step {}", self.state.step);
        let why = batch.not_finite();
        if let (None, Some(place)) = (&why, self.watch.explain(self.machine, &self.state, &batch.columns)) {
            message.push_str("; ");
            message.push_str(&place);
        }
        let error = Error::run(code::LOSS_NOT_FINITE, message);
        match why {
            Some(why) => error.note(why),
            None => error.help("a smaller learning rate, a longer warm-up, or `clip = 1.0` often mends this"),
        }
    }

    fn progress(&self, loss: f64) -> Progress {
        let HostState { step, steps, epoch, .. } = self.state;
        Progress { step, steps, epoch: epoch + 1, loss, samples: self.samples, time: self.began.elapsed() }
    }

    fn report(&mut self, metrics: Vec<(String, f64)>) -> Result<()> {
        let seconds = self.tally.since.elapsed().as_secs_f64();
        let samples_per_second = if seconds > 0.0 { self.tally.rows as f64 / seconds } else { 0.0 };
        let progress = self.progress(self.tally.loss / self.tally.rows as f64);
        self.tally = Tally { loss: 0.0, rows: 0, since: Instant::now() };
        self.watch.report(&Report { progress, samples_per_second, metrics })
    }

    fn measure(&mut self, part: Part) -> Result<Vec<(String, f64)>> {
        match self.feed.part(part) {
            Some(rows) => evaluate(self.machine, self.feed, rows, self.evaluation),
            None => Ok(Vec::new()),
        }
    }
}

/// The micro-batches of a step.
#[derive(Default)]
struct Window {
    batches: u64,
    rows: u64,
    /// The sum of the losses, each times its rows.
    loss: f64,
    /// What the sum of the gradients is to be divided by.
    over: f64,
}

/// The best value of the metric that a training is stopped by.
struct Best {
    value: f64,
    epochs_since: u64,
}

impl Best {
    fn new(stop: &Stop) -> Best {
        Best { value: if stop.falling { f64::INFINITY } else { f64::NEG_INFINITY }, epochs_since: 0 }
    }

    /// Takes the metrics of an epoch; whether it is time to stop.
    fn is_over(&mut self, stop: &Stop, metrics: &[(String, f64)]) -> bool {
        let Some((_, value)) = metrics.iter().find(|(name, _)| *name == stop.metric) else { return false };
        let better = if stop.falling { *value < self.value } else { *value > self.value };
        if better {
            *self = Best { value: *value, epochs_since: 0 };
        } else {
            self.epochs_since += 1;
        }
        self.epochs_since >= stop.patience.max(1)
    }
}
