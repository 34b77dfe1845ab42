//! Training: takes a machine, a recipe and the folder that its files are relative to; changes the machine's weights.
//!
//! What happens is a function of the plan, the recipe, the files and nothing else: not of time, not of the number of threads.
//! Whoever watches is told, and can end it between two steps.

mod best;
pub mod checkpoint;
mod evaluate;
mod feed;

use crate::adapters;
use crate::data::batches::{Batches, Position};
use crate::error::{Error, Result, code};
use crate::machine::{self, Counts, Machine, Named, SHARES, load, not_finite};
use best::Best;
use checkpoint::{Checkpoint, Checkpoints, Exact, State};
use dlc_plan::HostState;
use dlc_plan::recipe::{Batch, Data, Length, Part, Recipe};
use dlc_runtime::tensor::Tensor;
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

    /// What is trained on: how many rows, and which class is which number.
    fn begin(&mut self, data: &str) {
        let _ = data;
    }

    /// A checkpoint is about to be written: what was reported has to outlast it.
    ///
    /// # Errors
    /// What is wrong with the place where reports go; the training goes on without a checkpoint.
    fn checkpoint(&mut self) -> Result<()> {
        Ok(())
    }

    /// A checkpoint has been written; whoever moves the folder that it is in says so.
    ///
    /// # Errors
    /// What is wrong with the place where results go; the training goes on.
    fn written(&mut self, checkpoints: &mut Checkpoints) -> Result<()> {
        let _ = checkpoints;
        Ok(())
    }

    /// The training goes on from a checkpoint; or, where it was to and there is none, from the beginning.
    ///
    /// # Errors
    /// What is wrong with the place where reports go; the training ends.
    fn resumed(&mut self, state: &State) -> Result<()> {
        let _ = state;
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
    /// The metrics of the held-out split that the weights have at the end.
    pub metrics: Vec<(String, f64)>,
    /// The step of the best validation, where the weights are those of that step.
    pub best: Option<u64>,
    /// The metrics of the test split.
    pub test: Vec<(String, f64)>,
}

/// What a training begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The seed of all random choices.
    pub seed: u64,
    /// Whether the machine has its weights already; otherwise they are the initial values, or the recipe's file.
    pub has_weights: bool,
    /// Whether the machine has its adapter already; otherwise it is the recipe's file, where there is one.
    pub has_adapter: bool,
}

impl Start {
    /// The beginning that a recipe says.
    pub fn anew(recipe: &Recipe) -> Start {
        Start { seed: recipe.seed, has_weights: false, has_adapter: false }
    }
}

/// Trains from the initial values, or from the recipe's weights, by the recipe's seed.
///
/// # Errors
/// As [`train_from`].
pub fn train(machine: &mut dyn Machine, recipe: &Recipe, folder: &Path, watch: &mut dyn Watch) -> Result<Outcome> {
    train_from(machine, recipe, folder, watch, Start::anew(recipe))
}

/// Trains from what is said. The optimizer begins anew.
///
/// # Errors
/// When files cannot be used, an entry cannot be run, or something is not finite.
pub fn train_from(
    machine: &mut dyn Machine,
    recipe: &Recipe,
    folder: &Path,
    watch: &mut dyn Watch,
    start: Start,
) -> Result<Outcome> {
    train_with(machine, recipe, folder, watch, start, None)
}

/// As [`train_from`], with checkpoints: perhaps from one of them on, and writing more.
///
/// # Errors
/// As [`train_from`]; and when the training is to go on from a checkpoint that cannot be read or is of another training. One
/// that cannot be written is a warning.
pub fn train_with(
    machine: &mut dyn Machine,
    recipe: &Recipe,
    folder: &Path,
    watch: &mut dyn Watch,
    start: Start,
    mut checkpoints: Option<&mut Checkpoints>,
) -> Result<Outcome> {
    let Some(data) = &recipe.data else {
        return Err(Error::spec(code::NO_COLUMN, format!("`{}` has no data to train on", recipe.name)));
    };
    let feed = Feed::open(machine, data, folder)?;
    let rows = feed.part(Part::Train).filter(|rows| !rows.numbers.is_empty()).ok_or_else(|| feed::no_rows(data))?;
    feed.left_out().for_each(|text| watch.warn(text));
    watch.begin(&feed.summary());
    let batched = match feed::fixed_rows(machine) {
        Some(fixed) => whole_batches(data, rows.numbers.len(), fixed, &recipe.model.name, watch)?,
        None => Cow::Borrowed(data),
    };
    let mut batches = Batches::new(rows.numbers.clone(), &batched, start.seed);
    let per_epoch = (batches.per_epoch() as u64).div_ceil(recipe.accumulate.max(1));
    if per_epoch == 0 {
        return Err(feed::no_rows(data));
    }
    let steps = match recipe.length {
        Length::Epochs(epochs) => epochs.saturating_mul(per_epoch),
        Length::Steps(steps) => steps,
    };
    let state = HostState { steps, seed: start.seed, ..HostState::default() };
    begin(machine, recipe, folder, watch, (start, &state))?;
    let unsound = unsound_weights(machine)?;
    let evaluation = match data.batch {
        Batch::All => usize::MAX,
        Batch::Rows(count) => usize::try_from(count).unwrap_or(usize::MAX),
    };
    let tally = Tally { loss: 0.0, rows: 0, since: Instant::now() };
    let began = Instant::now();
    let resumed = match &mut checkpoints {
        Some(checkpoints) => checkpoints.open(&mut |text| watch.warn(text))?,
        None => None,
    };
    if let Some(checkpoints) = &mut checkpoints {
        checkpoints.begin();
    }
    let (samples, reports, last) = (0, 0, f64::NAN);
    let mut run = Run {
        machine,
        recipe,
        feed: &feed,
        rows,
        evaluation,
        watch,
        state,
        tally,
        began,
        unsound,
        samples,
        reports,
        last,
        metrics: Vec::new(),
        best: Best::default(),
        checkpoints,
    };
    match resumed {
        Some(checkpoint) => run.resume(checkpoint, &mut batches)?,
        None if run.checkpoints.as_ref().is_some_and(|all| all.resumes()) => {
            let state = State::new(run.state.steps, run.state.seed);
            run.watch.resumed(&state)?;
        }
        None => {}
    }
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

/// Gives the weights the values that a training begins with, and the optimizer's states theirs.
fn begin(
    machine: &mut dyn Machine,
    recipe: &Recipe,
    folder: &Path,
    watch: &mut dyn Watch,
    (start, state): (Start, &HostState),
) -> Result<()> {
    let keeps = start.has_weights || start.has_adapter;
    let names: Vec<String> = machine.weights().iter().filter(|_| keeps).map(|weight| weight.name.clone()).collect();
    let kept: Vec<_> = names.iter().map(|name| machine.weight(name)).collect::<std::result::Result<_, _>>()?;
    machine.forget_states();
    if machine.ports("init").is_some() {
        machine.run("init", state, &[])?;
    }
    for (name, value) in names.iter().zip(&kept) {
        machine.set_weight(name, value)?;
    }
    if let Some(rules) = recipe.weights.as_ref().filter(|_| !start.has_weights) {
        load(machine, rules, folder)?.iter().for_each(|text| watch.warn(text));
    }
    let adapter = recipe.lora.as_ref().filter(|_| !start.has_adapter);
    if let Some((lora, file)) = adapter.and_then(|lora| Some((lora, lora.file.as_ref()?))) {
        adapters::load(machine, lora, &folder.join(file))?.iter().for_each(|text| watch.warn(text));
    }
    Ok(())
}

/// The weights that have something that is not finite, with the first such number.
fn unsound_weights(machine: &dyn Machine) -> Result<Vec<(String, f32)>> {
    let mut found = Vec::new();
    for weight in machine.weights().iter().filter(|weight| weight.dtype.is_float()) {
        let value = not_finite(&machine.weight(&weight.name)?);
        found.extend(value.map(|value| (weight.name.clone(), value)));
    }
    Ok(found)
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
    /// The weights that are not finite from the start, such as masks.
    unsound: Vec<(String, f32)>,
    samples: u64,
    /// Reports that were made.
    reports: u64,
    /// The loss of the last step.
    last: f64,
    /// The metrics of the last validation.
    metrics: Vec<(String, f64)>,
    best: Best,
    checkpoints: Option<&'a mut Checkpoints>,
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
        // An epoch whose steps are all done may still have to be measured.
        let mut open = batches.position().row > 0;
        let ended = loop {
            if self.recipe.stop.as_ref().is_some_and(|stop| self.best.is_over(stop)) {
                break Ended::Stopped;
            }
            if self.state.step >= self.state.steps && !open {
                break Ended::Done;
            }
            if !self.epoch(&mut batches)? {
                break Ended::Interrupted;
            }
            open = false;
            self.metrics = self.measure(Part::Valid)?;
            self.report(self.metrics.clone())?;
            if let Some(stop) = &self.recipe.stop {
                self.best.take(stop, self.state.step, &self.metrics, self.machine)?;
            }
            self.state.epoch += 1;
            if self.state.step < self.state.steps {
                self.checkpoint(0, true)?;
            }
        };
        self.end(ended, &batches)
    }

    /// The end of a training: the last checkpoint, the best weights, the test.
    fn end(&mut self, ended: Ended, batches: &Batches) -> Result<Outcome> {
        let row = if ended == Ended::Interrupted { batches.position().row } else { 0 };
        self.write_checkpoint(row);
        let progress = self.progress(self.last);
        if ended == Ended::Interrupted {
            return Ok(Outcome { ended, progress, metrics: self.metrics.clone(), best: None, test: Vec::new() });
        }
        let mut best = None;
        if let Some(state) = self.best.state.take() {
            checkpoint::put_back(self.machine, &self.best.weights)?;
            self.metrics = inexact(state.metrics);
            best = Some(state.step);
        }
        let test = self.measure(Part::Test)?;
        Ok(Outcome { ended, progress, metrics: self.metrics.clone(), best, test })
    }

    /// Goes on from a checkpoint.
    fn resume(&mut self, checkpoint: Checkpoint, batches: &mut Batches) -> Result<()> {
        checkpoint.restore(self.machine)?;
        let State { step, steps, epoch, row, seed, samples, reports, loss, tally, rows, .. } = checkpoint.state;
        if seed != self.state.seed {
            let message =
                format!("the checkpoint was written with the seed {seed}, and this training has {}", self.state.seed);
            return Err(Error::spec(code::CHECKPOINT, message));
        }
        if steps != self.state.steps {
            let text =
                format!("this training has {} steps; the checkpoint is of one that had {steps}", self.state.steps);
            self.watch.warn(&text);
        }
        self.watch.resumed(&checkpoint.state)?;
        self.state.step = step;
        self.state.epoch = epoch;
        batches.seek(Position { epoch, row });
        (self.samples, self.reports, self.last) = (samples, reports, loss);
        self.tally = Tally { loss: tally, rows, since: Instant::now() };
        self.metrics = inexact(checkpoint.state.metrics);
        self.best.since = checkpoint.state.since_best;
        if let Some(state) = checkpoint.state.best {
            // A checkpoint without weights of its own for the best has them as its weights.
            self.best.weights = checkpoint.best.map_or_else(|| checkpoint::snapshot(self.machine), Ok)?;
            self.best.state = Some(state);
        }
        Ok(())
    }

    /// Writes a checkpoint if one is due; `row` is the row of the epoch that comes next.
    fn checkpoint(&mut self, row: usize, validated: bool) -> Result<()> {
        let step = self.state.step;
        if self.checkpoints.as_ref().is_some_and(|all| all.is_due(self.machine, step, validated)) {
            // What is not finite must not take the place of what is.
            self.check_weights()?;
            self.write_checkpoint(row);
        }
        Ok(())
    }

    /// Writes a checkpoint where they are wanted. A training does not end because one cannot be written.
    fn write_checkpoint(&mut self, row: usize) {
        let Some(checkpoints) = &mut self.checkpoints else { return };
        let own = self.best.state.as_ref().is_none_or(|best| best.step == self.state.step);
        let exact =
            |metrics: &[(String, f64)]| metrics.iter().map(|(name, value)| (name.clone(), Exact(*value))).collect();
        let state = State {
            step: self.state.step,
            epoch: self.state.epoch,
            row,
            samples: self.samples,
            reports: self.reports,
            loss: self.last,
            tally: self.tally.loss,
            rows: self.tally.rows,
            metrics: exact(&self.metrics),
            best: self.best.state.clone(),
            since_best: self.best.since,
            ..State::new(self.state.steps, self.state.seed)
        };
        let best = (!own).then_some(&self.best.weights);
        let done = self.watch.checkpoint().and_then(|()| checkpoints.write(self.machine, &state, best));
        let done = done.and_then(|()| self.watch.written(checkpoints));
        if let Err(error) = done {
            self.watch.warn(&format!("no checkpoint after step {}: {}", self.state.step, error.message));
        }
    }

    /// One epoch, or what is left of the training; false where it was interrupted.
    fn epoch(&mut self, batches: &mut Batches) -> Result<bool> {
        let mut window = Window::default();
        while self.state.step < self.state.steps {
            let numbers = batches.next_batch().map(<[u32]>::to_vec);
            let is_none = numbers.is_none();
            if let Some(numbers) = numbers {
                self.micro_batch(numbers, &mut window)?;
            }
            // The last window of an epoch may be short; it is a step like any other.
            let full = window.batches.len() as u64 == self.recipe.accumulate.max(1) || is_none;
            if full && !window.batches.is_empty() {
                let row = if is_none { batches.rows_per_epoch() } else { batches.position().row };
                let last = row == batches.rows_per_epoch();
                self.step(std::mem::take(&mut window))?;
                let interrupted = self.watch.interrupted();
                if last || interrupted || self.state.step >= self.state.steps {
                    self.check_weights()?;
                }
                let is_due = self.recipe.interval.is_some_and(|every| self.state.step.is_multiple_of(every.max(1)));
                if is_due && !last && self.state.step < self.state.steps {
                    self.report(Vec::new())?;
                }
                if interrupted {
                    batches.seek(Position { epoch: self.state.epoch, row });
                    return Ok(false);
                }
                self.checkpoint(row, false)?;
            }
            if is_none {
                break;
            }
        }
        Ok(true)
    }

    /// Reads one micro-batch, and counts what the terms of the loss are divided by.
    fn micro_batch(&mut self, numbers: Vec<u32>, window: &mut Window) -> Result<()> {
        self.state.first_sample = window.rows;
        let raw = self.feed.raw(self.rows, &numbers, &self.feed.lengths(self.rows, &numbers))?;
        let batch = self.feed.training_batch(self.machine, self.rows, &numbers, raw, &self.state)?;
        if let Some(counts) = batch.counts(self.machine, &self.state)? {
            window.counts.get_or_insert_default().add(counts);
        }
        window.rows += batch.rows() as u64;
        let columns = batch.columns;
        window.batches.push((numbers, columns));
        Ok(())
    }

    /// One step: the micro-batches, then the update.
    fn step(&mut self, mut window: Window) -> Result<()> {
        self.machine.forget_gradients();
        let shares = window.counts.as_ref().map(Counts::shares).transpose()?;
        let (mut sum, mut last) = (0.0, None);
        self.state.first_sample = 0;
        for (numbers, columns) in &mut window.batches {
            let batch = feed::Batch::some(self.rows, numbers, std::mem::take(columns));
            let more: Vec<_> = shares.iter().map(|shares| (SHARES, shares)).collect();
            let outputs = batch.run_with(self.machine, "accumulate", &self.state, &more)?;
            let loss = evaluate::loss(&outputs)?;
            if !loss.is_finite() {
                let message = format!("loss is {loss} at step {}", self.state.step);
                return Err(self.not_finite(message, &batch, shares.as_ref()));
            }
            self.state.first_sample += batch.rows() as u64;
            sum += loss;
            last = Some(batch);
        }
        if let (Some((weight, value)), Some(batch)) = (self.machine.unsound_gradient(), last) {
            let message = format!("the gradient of `{weight}` is {value} at step {}", self.state.step);
            return Err(self.not_finite(message, &batch, shares.as_ref()));
        }
        let done = machine::update(self.machine, &self.state, 1.0);
        done.map_err(|error| Error::from(error).note(format!("at step {}", self.state.step)))?;
        self.state.step += 1;
        self.samples += window.rows;
        self.last = sum;
        self.tally.loss += sum * window.rows as f64;
        self.tally.rows += window.rows;
        self.watch.step(&self.progress(self.last));
        Ok(())
    }

    /// Looks for what is not finite after an update, before it is kept.
    fn check_weights(&mut self) -> Result<()> {
        let after = format!("after step {}", self.state.step.saturating_sub(1));
        let known = |name: &str| self.unsound.iter().any(|(known, _)| known == name);
        let message = match unsound_weights(self.machine)?.into_iter().find(|(name, _)| !known(name)) {
            Some((name, value)) => format!("weight `{name}` is {value} {after}"),
            None => match self.machine.unsound_state() {
                Some((state, (name, value))) => format!("the optimizer's `{state}` of `{name}` is {value} {after}"),
                None => return Ok(()),
            },
        };
        Err(Error::run(code::LOSS_NOT_FINITE, message).help(TAMER))
    }

    /// Says where it began that something is not finite.
    fn not_finite(&mut self, mut message: String, batch: &feed::Batch, shares: Option<&Tensor>) -> Error {
        let why = batch.not_finite();
        let mut given = batch.columns.clone();
        given.extend(shares.map(|shares| (SHARES.to_owned(), shares.clone())));
        if let (None, Some(place)) = (&why, self.watch.explain(self.machine, &self.state, &given)) {
            message.push_str("; ");
            message.push_str(&place);
        }
        let error = Error::run(code::LOSS_NOT_FINITE, message);
        match why {
            Some(why) => error.note(why),
            None => error.help(TAMER),
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
        self.reports += 1;
        self.watch.report(&Report { progress, samples_per_second, metrics })
    }

    fn measure(&mut self, part: Part) -> Result<Vec<(String, f64)>> {
        match self.feed.part(part) {
            Some(rows) => evaluate(self.machine, self.feed, rows, self.evaluation),
            None => Ok(Vec::new()),
        }
    }
}

/// What often helps where numbers grow beyond all bounds.
const TAMER: &str = "a smaller learning rate, a longer warm-up, or `clip = 1.0` often mends this";

/// The micro-batches of a step.
#[derive(Default)]
struct Window {
    /// Which rows each has, and its columns.
    batches: Vec<(Vec<u32>, Named)>,
    rows: u64,
    /// What the terms of the loss are divided by.
    counts: Option<Counts>,
}

/// Numbers as a checkpoint has kept them.
fn inexact(metrics: Vec<(String, Exact)>) -> Vec<(String, f64)> {
    metrics.into_iter().map(|(name, value)| (name, value.0)).collect()
}
