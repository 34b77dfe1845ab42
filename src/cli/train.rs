//! `dlc train`: trains a model on its data, shows how that goes, and writes what came of it.

use super::args::{start_threads, text_of};
use super::fail::{Fail, Outcome, print};
use super::folder::{CHECKPOINTS, RunFolder};
use super::progress::{Show, catch_interrupts, short};
use super::spec::{Source, Training};
use crate::adapters;
use crate::error::{Error, Result, code};
use crate::files::write_whole;
use crate::jit::network;
use crate::machine::{Types, save, short_types};
use crate::network::Network;
use crate::train::checkpoint::Checkpoints;
use crate::train::{self, Ended, Start, train_with};
use clap::ArgMatches;
use dlc_compiler::pipeline::Goal;
use dlc_plan::recipe::{Finish, Length, Lora, Recipe, Stop};
use std::path::{Path, PathBuf};

/// Trains, and leaves weights, metrics and the spec as it was used in a folder.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    start_threads(args);
    let source = Source::open(args)?;
    let goal = Goal::Steps { item: text_of(args, "TRAIN") };
    let Training { said, program, plan, recipe } = source.training(goal, json)?;
    let (folder, resume) = run_folder(args, &recipe.name, &source)?;
    // What cannot be written is better known before the training than after it.
    let resolved = source.resolved(folder.path());
    if resume {
        same_spec(folder.path(), &resolved);
    }
    write_whole(&folder.path().join("resolved.dl"), |file| file.write_all(resolved.as_bytes()))?;
    let epochs = match recipe.length {
        Length::Epochs(epochs) => Some(epochs),
        Length::Steps(_) => None,
    };
    let mut checkpoints = Checkpoints::new(folder.path().join(CHECKPOINTS))
        .every(args.get_one::<u64>("checkpoint-every").copied())
        .resume(resume);
    let mut show = Show::new(epochs, folder, program);
    catch_interrupts();
    let mut net = network(plan, None, recipe.seed)?;
    let done = {
        let start = Start::anew(&recipe);
        train_with(net.engine_mut(), &recipe, &source.folder(), &mut show, start, Some(&mut checkpoints))
    };
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            // What was reported is worth keeping, and the error of the training more worth saying.
            let _ = show.finish();
            return Err(said.place(with_way_back(error, &checkpoints)));
        }
    };
    if done.ended == Ended::Interrupted && checkpoints.newest().is_none() {
        let error = Error::run(code::CANNOT_WRITE, "interrupted, and no checkpoint could be written");
        return Err(error.into());
    }
    show.finish()?;
    let out = show.settle()?.to_owned();
    if done.ended == Ended::Interrupted {
        let step = done.progress.step;
        eprintln!("interrupted after step {step}; `--resume` goes on from {}", checkpoints.folder().display());
        return Err(Fail::Interrupted);
    }
    let mut text = String::new();
    match &recipe.lora {
        None => write(&net, &out.join("model.safetensors"), &done)?,
        Some(lora) => text = finish(&mut net, &recipe, lora, &source, &done, &out)?,
    }
    print(&(text + &summary(&done, recipe.stop.as_ref(), &out)))
}

/// The folder of the run, and whether it goes on with what is there.
fn run_folder(args: &ArgMatches, name: &str, source: &Source) -> std::result::Result<(RunFolder, bool), Fail> {
    let below = Path::new("runs").join(name);
    let out = args.get_one::<PathBuf>("out").cloned();
    let resume = args.value_source("resume").is_some();
    let named = args.get_one::<PathBuf>("resume").cloned();
    match (named.or(out), resume) {
        (path, true) => {
            let path = path.unwrap_or_else(|| below.join("latest"));
            Ok((RunFolder::resume(&path)?, true))
        }
        (Some(path), false) => Ok((RunFolder::begin(&path, source.path())?, false)),
        (None, false) => Ok((RunFolder::new_below(&below, source.path())?, false)),
    }
}

/// Says where a run that is gone on with was begun with another spec.
fn same_spec(folder: &Path, resolved: &str) {
    let path = folder.join("resolved.dl");
    if std::fs::read_to_string(&path).is_ok_and(|before| before != resolved) {
        eprintln!("warning: the spec is not the one that the run was begun with, {}", path.display());
    }
}

/// An error of a training, with the way back to the last checkpoint.
fn with_way_back(error: Error, checkpoints: &Checkpoints) -> Error {
    match checkpoints.newest() {
        Some(step) => error.help(format!("the checkpoint after step {step} is in {}", checkpoints.folder().display())),
        None => error,
    }
}

/// Writes an adapter, and, where it is to be merged, the plain model. Says what merging changed.
fn finish(
    net: &mut Network,
    recipe: &Recipe,
    lora: &Lora,
    source: &Source,
    done: &train::Outcome,
    out: &Path,
) -> Result<String> {
    let folder = source.folder();
    let carried = lora.file.as_ref().map(|file| adapters::exchange::config_of(&folder.join(file))).transpose()?;
    adapters::save(net.engine(), lora, &out.join("adapter"), carried.flatten().as_ref())?;
    if lora.finish == Finish::Keep {
        return Ok(String::new());
    }
    let machine = net.engine_mut();
    let before = train::probe(machine, recipe, &folder, PROBES)?;
    adapters::merge(machine, lora)?;
    let after = train::probe(machine, recipe, &folder, PROBES)?;
    let types = match &recipe.weights {
        Some(rules) => short_types(machine, Some(rules), &folder.join(&rules.file))?,
        None => Types::new(),
    };
    adapters::merge::save_plain(machine, lora, &out.join("model.safetensors"), &about(done), &types)?;
    let change = adapters::compare(&before, &after);
    Ok(merged(lora, change))
}

/// Rows that are looked at before and after a merge.
pub const PROBES: usize = 32;

/// What a merge came to, for people.
pub fn merged(lora: &Lora, change: adapters::Change) -> String {
    let adapters::Change { largest, mean, rows } = change;
    let weights = lora.adapted.len();
    format!(
        "merged into {weights} weights; on {rows} rows outputs change by {largest:.1e} at most, {mean:.1e} in the mean\n"
    )
}

/// Writes the weights; the file says how far the training came.
fn write(net: &Network, path: &Path, done: &train::Outcome) -> Result<()> {
    save(net.engine(), path, &about(done))
}

/// How far the training came, for a file to say.
fn about(done: &train::Outcome) -> [(&'static str, String); 2] {
    [("step", done.progress.step.to_string()), ("epoch", done.progress.epoch.to_string())]
}

/// What came of it, for people.
fn summary(done: &train::Outcome, stop: Option<&Stop>, out: &Path) -> String {
    let mut text = String::new();
    let line = |what: &str, metrics: &[(String, f64)]| {
        let metrics: Vec<String> = metrics.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
        if metrics.is_empty() { String::new() } else { format!("{what}: {}\n", metrics.join(", ")) }
    };
    if let (Ended::Stopped, Some(Stop { metric, patience, falling })) = (done.ended, stop) {
        let moved = if *falling { "fallen" } else { "risen" };
        let epochs = if *patience == 1 { "an epoch".to_string() } else { format!("{patience} epochs") };
        text.push_str(&format!("stopped: `{metric}` has not {moved} for {epochs}\n"));
    }
    text.push_str(&line("held out", &done.metrics));
    if let Some(step) = done.best.filter(|step| *step < done.progress.step) {
        text.push_str(&format!("the weights are those of the best validation, after step {step}\n"));
    }
    text.push_str(&line("test", &done.test));
    let seconds = done.progress.time.as_secs_f64();
    text + &format!("{} steps in {seconds:.1} s, written to {}\n", done.progress.step, out.display())
}
