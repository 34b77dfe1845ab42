//! Checkpoints: the state of a training between two steps, on disk. A training that goes on from one computes what it would
//! have computed without a pause, bit for bit.
//!
//! A checkpoint is a folder `step-N` that appears whole or not at all:
//! - `weights.safetensors`: every weight and model state that the training changes, as the engine keeps it;
//! - `optimizer.safetensors`: the optimizer's states, named `STATE/WEIGHT`;
//! - `best.safetensors`: the weights of the best validation, where those are not the checkpoint's own;
//! - `training.json`: step, place in the data, counters, seed ([`State`]).
//!
//! The symbolic link `last` leads to the newest one.

use crate::error::{Error, Result, code};
use crate::files::{make_folder, write_whole};
use crate::machine::{Machine, Named};
use crate::weights::file::TensorFile;
use dlc_plan::plan::Store;
use dlc_runtime::tensor::Tensor;
use flate2::Crc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The version of `training.json`.
const VERSION: u32 = 1;

/// The longest time between two checkpoints, unless writing one takes more than a hundredth of it.
const LONGEST_GAP: Duration = Duration::from_secs(300);

/// The share of a training's time that checkpoints may take: one in so many.
const SHARE: u32 = 100;

/// What writing a checkpoint is taken to cost before one was written: a wait for the disk, and so many bytes a second.
const FIRST_COST: (Duration, f64) = (Duration::from_millis(50), 100e6);

/// The numbers of a training between two steps. Real numbers are written as text that is read back to the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The version of this form.
    pub version: u32,
    /// Steps that are done.
    pub step: u64,
    /// Steps of the whole training.
    pub steps: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// Rows of the epoch that have been used.
    pub row: usize,
    /// The seed of all random choices.
    pub seed: u64,
    /// Samples that were trained on, each as often as it was.
    pub samples: u64,
    /// Reports that were made.
    pub reports: u64,
    /// The loss of the last step.
    #[serde(with = "exact")]
    pub loss: f64,
    /// The sum of the losses since the last report, each times its rows.
    #[serde(with = "exact")]
    pub tally: f64,
    /// Rows since the last report.
    pub rows: u64,
    /// The metrics of the last validation.
    pub metrics: Vec<(String, Exact)>,
    /// The best validation.
    pub best: Option<BestState>,
    /// Validations since the best one.
    pub since_best: u64,
    /// The CRC-32 of the checkpoint's other files, by their names.
    pub sums: BTreeMap<String, u32>,
}

/// The best validation of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BestState {
    /// The value of the metric.
    pub value: Exact,
    /// The step that it was measured after.
    pub step: u64,
    /// All metrics of that validation.
    pub metrics: Vec<(String, Exact)>,
}

/// A real number that is written as text with all of its bits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exact(#[serde(with = "exact")] pub f64);

/// Real numbers as the shortest text that is read back to the same bits.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(x: &f64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&format_args!("{x:?}"))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom(format!("`{text}` is no number")))
    }
}

impl State {
    /// The state of a training that is at its beginning.
    pub fn new(steps: u64, seed: u64) -> State {
        State {
            version: VERSION,
            step: 0,
            steps,
            epoch: 0,
            row: 0,
            seed,
            samples: 0,
            reports: 0,
            loss: f64::NAN,
            tally: 0.0,
            rows: 0,
            metrics: Vec::new(),
            best: None,
            since_best: 0,
            sums: BTreeMap::new(),
        }
    }
}

/// What a checkpoint holds.
pub struct Checkpoint {
    /// The numbers.
    pub state: State,
    /// The weights of the best validation, where those are not the checkpoint's own.
    pub best: Option<Named>,
    weights: Named,
    optimizer: Named,
    path: PathBuf,
}

impl Checkpoint {
    /// Gives a machine the weights and the optimizer's states.
    ///
    /// # Errors
    /// When the machine has other weights than the training that wrote the checkpoint; then nothing is changed.
    pub fn restore(&self, machine: &mut dyn Machine) -> Result<()> {
        let expected: Vec<(String, Store, String)> = changed(machine).chain(optimizer(machine)).collect();
        let stray =
            self.weights.iter().chain(&self.optimizer).find(|(name, _)| !expected.iter().any(|(n, ..)| n == name));
        if let Some((name, _)) = stray {
            return Err(self.unfit(&format!("it has `{name}`, and this training does not")));
        }
        let mut found = Vec::new();
        for (name, store, weight) in &expected {
            let tensor = self.weights.iter().chain(&self.optimizer).find(|(known, _)| known == name);
            let tensor = tensor.map(|(_, tensor)| tensor).ok_or_else(|| self.unfit(&format!("it has no `{name}`")))?;
            let here = machine.kept(*store, weight)?;
            if here.shape() != tensor.shape() {
                let (there, here) = (tensor.shape(), here.shape());
                return Err(self.unfit(&format!("`{name}` is {there:?} there and {here:?} here")));
            }
            found.push((*store, weight, tensor));
        }
        for (store, weight, tensor) in found {
            machine.set_kept(store, weight, tensor)?;
        }
        Ok(())
    }

    fn unfit(&self, why: &str) -> Error {
        let message = format!("{} is the checkpoint of another training: {why}", self.path.display());
        Error::file(code::CHECKPOINT, message)
            .help("resume with the spec beside it, `resolved.dl`, or train anew without `--resume`")
    }
}

/// The weights and model states that a training changes: their names, where they are kept, and of which weight.
fn changed(machine: &dyn Machine) -> impl Iterator<Item = (String, Store, String)> + '_ {
    machine.changed().into_iter().map(|number| {
        let weight = &machine.weights()[number];
        (weight.name.clone(), weight.store, weight.name.clone())
    })
}

/// The optimizer's states, likewise.
fn optimizer(machine: &dyn Machine) -> impl Iterator<Item = (String, Store, String)> + '_ {
    let trained = || machine.weights().iter().filter(|weight| weight.store == Store::Trained);
    machine.states().iter().zip(0..).flat_map(move |(state, number)| {
        let store = Store::State(number);
        let kept = trained().filter(move |weight| machine.kept(store, &weight.name).is_ok());
        kept.map(move |weight| (format!("{state}/{}", weight.name), store, weight.name.clone()))
    })
}

/// What a training changes, to be kept as the best so far.
///
/// # Errors
/// When memory is short.
pub fn snapshot(machine: &dyn Machine) -> Result<Named> {
    changed(machine).map(|(name, store, weight)| Ok((name, machine.kept(store, &weight)?))).collect()
}

/// Gives a machine what [`snapshot`] took.
///
/// # Errors
/// When it has no such weights.
pub fn put_back(machine: &mut dyn Machine, best: &Named) -> Result<()> {
    let stores: Vec<(String, Store, String)> = changed(machine).collect();
    for (name, tensor) in best {
        if let Some((_, store, weight)) = stores.iter().find(|(known, ..)| known == name) {
            machine.set_kept(*store, weight, tensor)?;
        }
    }
    Ok(())
}

/// Where a training keeps its checkpoints, and when it writes one.
pub struct Checkpoints {
    folder: PathBuf,
    /// Steps between two checkpoints, besides those that time asks for.
    every: Option<u64>,
    /// How many of the newest are kept.
    keep: usize,
    resume: bool,
    began: Instant,
    written: Instant,
    spent: Duration,
    cost: Option<Duration>,
    /// The newest step of which there is one.
    newest: Option<u64>,
}

impl Checkpoints {
    /// Checkpoints in a folder, which is made with the first of them: after a validation and every five minutes, as long as
    /// that takes under 1 % of the time; the newest two are kept.
    pub fn new(folder: impl Into<PathBuf>) -> Checkpoints {
        let now = Instant::now();
        Checkpoints {
            folder: folder.into(),
            every: None,
            keep: 2,
            resume: false,
            began: now,
            written: now,
            spent: Duration::ZERO,
            cost: None,
            newest: None,
        }
    }

    /// Goes on from the newest checkpoint, where there is one.
    #[must_use]
    pub fn resume(self, resume: bool) -> Checkpoints {
        Checkpoints { resume, ..self }
    }

    /// Writes one every so many steps besides, however long that takes.
    #[must_use]
    pub fn every(self, steps: Option<u64>) -> Checkpoints {
        Checkpoints { every: steps.filter(|steps| *steps > 0), ..self }
    }

    /// How many of the newest checkpoints are kept, at least one.
    #[must_use]
    pub fn keep(self, count: usize) -> Checkpoints {
        Checkpoints { keep: count.max(1), ..self }
    }

    /// Whether the training goes on from the newest checkpoint.
    pub fn resumes(&self) -> bool {
        self.resume
    }

    /// The folder that they are in.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder has another name from now on.
    pub fn moved(&mut self, folder: PathBuf) {
        self.folder = folder;
    }

    /// The step of the newest checkpoint of this training.
    pub fn newest(&self) -> Option<u64> {
        self.newest
    }

    /// The newest sound checkpoint, if this training is to go on from one; what was wrong with newer ones goes to `warn`.
    ///
    /// # Errors
    /// When there are checkpoints and none is sound.
    pub(super) fn open(&mut self, warn: &mut dyn FnMut(&str)) -> Result<Option<Checkpoint>> {
        if !self.resume {
            return Ok(None);
        }
        let mut damaged = None;
        for (step, path) in steps(&self.folder).into_iter().rev() {
            match read(&path) {
                Ok(checkpoint) => {
                    self.newest = Some(step);
                    return Ok(Some(checkpoint));
                }
                Err(error) => {
                    warn(&format!("{} is left out: {}", path.display(), error.message));
                    damaged.get_or_insert(error);
                }
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// The clock of a training starts.
    pub(super) fn begin(&mut self) {
        self.began = Instant::now();
        self.written = self.began;
    }

    /// Whether a checkpoint is due after a step, or, where `validated`, after a validation.
    pub(super) fn is_due(&self, machine: &dyn Machine, step: u64, validated: bool) -> bool {
        if self.newest == Some(step) {
            return false;
        }
        if !validated && self.every.is_some_and(|every| step.is_multiple_of(every)) {
            return true;
        }
        let cost = || self.cost.unwrap_or_else(|| first_cost(machine));
        if validated {
            return (self.spent + cost()) * SHARE <= self.began.elapsed();
        }
        let gap = self.written.elapsed();
        gap >= LONGEST_GAP && gap >= cost() * SHARE
    }

    /// Writes a checkpoint; old ones go.
    ///
    /// # Errors
    /// When it cannot be written; those that are there stay.
    pub(super) fn write(&mut self, machine: &dyn Machine, state: &State, best: Option<&Named>) -> Result<()> {
        let began = Instant::now();
        make_folder(&self.folder)?;
        let (name, temporary) = (name(state.step), self.folder.join(format!(".{}.part", name(state.step))));
        let done = fill(&temporary, machine, state, best).and_then(|()| {
            let path = self.folder.join(&name);
            // A checkpoint of this step may be there from a run that was killed; the same training writes the same.
            let _ = fs::remove_dir_all(&path);
            fs::rename(&temporary, &path).map_err(|error| Error::writing(&path, &error))
        });
        if let Err(error) = done {
            let _ = fs::remove_dir_all(&temporary);
            return Err(error);
        }
        link(&self.folder, &name);
        self.newest = Some(state.step);
        self.prune();
        self.written = Instant::now();
        self.cost = Some(began.elapsed());
        self.spent += began.elapsed();
        Ok(())
    }

    /// Removes what is older than the checkpoints that are kept, and what killed processes have left.
    fn prune(&self) {
        let all = steps(&self.folder);
        let old = all.len().saturating_sub(self.keep);
        // What cannot be removed costs space and nothing else.
        all.iter().take(old).for_each(|(_, path)| drop(fs::remove_dir_all(path)));
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(".part") {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn name(step: u64) -> String {
    format!("step-{step}")
}

/// The checkpoints of a folder with their steps, in order.
fn steps(folder: &Path) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let step = |entry: fs::DirEntry| {
        let step = entry.file_name().to_str()?.strip_prefix("step-")?.parse().ok()?;
        Some((step, entry.path()))
    };
    let mut all: Vec<(u64, PathBuf)> = entries.filter_map(step).collect();
    all.sort();
    all
}

/// Lets `last` lead to a checkpoint, where the system has such links. It is for people; nothing here reads it.
fn link(folder: &Path, name: &str) {
    #[cfg(unix)]
    {
        let temporary = folder.join(".last.part");
        let _ = fs::remove_file(&temporary);
        if std::os::unix::fs::symlink(name, &temporary).is_ok() {
            let _ = fs::rename(&temporary, folder.join("last"));
        }
    }
    #[cfg(not(unix))]
    let _ = (folder, name);
}

fn first_cost(machine: &dyn Machine) -> Duration {
    let (wait, rate) = FIRST_COST;
    let trained = machine.weights().iter().filter(|weight| weight.store == Store::Trained);
    let elements: usize = trained.map(dlc_plan::plan::Weight::len).sum();
    wait + Duration::from_secs_f64((4 * elements * (1 + machine.states().len())) as f64 / rate)
}

/// Writes the files of a checkpoint into a folder that is not there, or that a killed process has left.
fn fill(folder: &Path, machine: &dyn Machine, state: &State, best: Option<&Named>) -> Result<()> {
    let _ = fs::remove_dir_all(folder);
    make_folder(folder)?;
    let read = |all: Vec<(String, Store, String)>| -> Result<Named> {
        all.into_iter().map(|(name, store, weight)| Ok((name, machine.kept(store, &weight)?))).collect()
    };
    save(&folder.join("weights.safetensors"), &read(changed(machine).collect())?)?;
    save(&folder.join("optimizer.safetensors"), &read(optimizer(machine).collect())?)?;
    if let Some(best) = best {
        save(&folder.join("best.safetensors"), best)?;
    }
    let mut sums = BTreeMap::new();
    for name in ["weights.safetensors", "optimizer.safetensors"].into_iter().chain(best.map(|_| "best.safetensors")) {
        sums.insert(name.to_owned(), sum(&folder.join(name))?);
    }
    let state = State { sums, ..state.clone() };
    let text = serde_json::to_string_pretty(&state).map_err(|error| Error::run(code::CANNOT_RUN, error.to_string()))?;
    write_whole(&folder.join("training.json"), |out| out.write_all(text.as_bytes()))
}

fn save(path: &Path, tensors: &Named) -> Result<()> {
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    crate::weights::save(path, &tensors, &BTreeMap::new())
}

fn read(path: &Path) -> Result<Checkpoint> {
    let file = path.join("training.json");
    let text = fs::read_to_string(&file).map_err(|error| Error::reading(&file, &error))?;
    let state: State = serde_json::from_str(&text)
        .map_err(|error| Error::file(code::CHECKPOINT, format!("{} is damaged: {error}", file.display())))?;
    if state.version != VERSION {
        let message = format!("{} has version {}, and this dlc reads {VERSION}", file.display(), state.version);
        return Err(Error::file(code::CHECKPOINT, message));
    }
    for (name, expected) in &state.sums {
        let file = path.join(name);
        if sum(&file)? != *expected {
            return Err(Error::file(code::CHECKPOINT, format!("{} is damaged: its CRC-32 is another", file.display())));
        }
    }
    let best = path.join("best.safetensors");
    Ok(Checkpoint {
        best: best.is_file().then(|| load(&best)).transpose()?,
        weights: load(&path.join("weights.safetensors"))?,
        optimizer: load(&path.join("optimizer.safetensors"))?,
        path: path.to_owned(),
        state,
    })
}

/// The CRC-32 of a file.
fn sum(path: &Path) -> Result<u32> {
    let mut file = fs::File::open(path).map_err(|error| Error::reading(path, &error))?;
    let (mut sum, mut bytes) = (Crc::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut bytes).map_err(|error| Error::reading(path, &error))? {
            0 => return Ok(sum.sum()),
            count => sum.update(&bytes[..count]),
        }
    }
}

fn load(path: &Path) -> Result<Named> {
    let file = TensorFile::open(path)?;
    let names: Vec<String> = file.names().map(str::to_owned).collect();
    let read = |name: String| {
        let tensor = file.read(&name).expect("the name is one of the file's")?;
        Ok((name, tensor))
    };
    names.into_iter().map(read).collect()
}
