//! `dlc merge`: takes an adapter into the weights that it adapts, and writes the plain model.

use super::args::{required_path, start_threads, text_of};
use super::fail::{Outcome, print};
use super::spec::{Source, Training};
use super::train::{PROBES, merged};
use crate::adapters;
use crate::error::{Error, Result, code};
use crate::files::is_one;
use crate::jit::network;
use crate::machine::{Machine, Named, Types, load_by_names_or_rules, short_types};
use crate::train::probe;
use clap::ArgMatches;
use dlc_compiler::pipeline::Goal;
use dlc_plan::HostState;
use dlc_plan::recipe::{Lora, Recipe};
use std::path::{Path, PathBuf};

/// Merges.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    start_threads(args);
    let (out, keep) = (required_path(args, "out"), args.get_one::<PathBuf>("keep"));
    if keep.is_some_and(|keep| is_one(keep, out)) {
        let error = Error::spec(code::CANNOT_RUN, format!("`--keep` and `--out` are one file: {}", out.display()));
        return Err(error.help("what is kept is a file of its own, beside the merged model").into());
    }
    let source = Source::open(args)?;
    let goal = Goal::Merge { item: text_of(args, "TRAIN") };
    let Training { said, plan, recipe, .. } = source.training(goal, json)?;
    let Some(lora) = recipe.lora.clone() else {
        let error = Error::spec(code::CANNOT_RUN, format!("`train {}` has no adapter", recipe.name));
        return Err(error.help("`lora = Adapter()` names one").into());
    };
    let mut net = network(plan, None, recipe.seed)?;
    let machine = net.engine_mut();
    let types = base(machine, &recipe, &lora, args.get_one("weights"), &source.folder());
    let types = types.map_err(|error| said.place(error))?;
    let was = keep.map(|_| adapters::kept::plain(machine, &lora)).transpose()?;
    let notes = adapters::load(machine, &lora, required_path(args, "adapter"))?;
    notes.iter().for_each(|note| eprintln!("note: {note}"));
    // Whoever merges need not have the data: without it, nothing is compared.
    let look = |machine: &mut dyn Machine| probe(machine, &recipe, &source.folder(), PROBES).unwrap_or_default();
    let before: Named = look(machine);
    adapters::merge(machine, &lora)?;
    let change = adapters::compare(&before, &look(machine));
    adapters::merge::save_plain(machine, &lora, out, &[], &types)?;
    if let Some((path, was)) = keep.zip(was) {
        adapters::kept::keep(machine, &was, path, &types)?;
    }
    print(&format!("{}written to {}\n", merged(&lora, change), out.display()))
}

/// Gives a machine the weights of the base, which has nothing of the adapter's. Gives the types that it has in short.
fn base(
    machine: &mut dyn Machine,
    recipe: &Recipe,
    lora: &Lora,
    path: Option<&PathBuf>,
    folder: &Path,
) -> Result<Types> {
    let own = adapters::base_rules(lora);
    let rules = recipe.weights.as_ref().unwrap_or(&own);
    let path = match path {
        Some(path) => path.clone(),
        None if recipe.weights.is_some() => folder.join(&rules.file),
        None => {
            let error = Error::spec(code::CANNOT_RUN, "no file of weights is given, and the spec names none");
            return Err(error.help("`--weights FILE`"));
        }
    };
    let state = HostState { seed: recipe.seed, ..HostState::default() };
    if machine.ports("init").is_some() {
        machine.run("init", &state, &[])?;
    }
    let warnings = load_by_names_or_rules(machine, Some(rules), &path)?;
    warnings.iter().for_each(|text| eprintln!("warning: {text}"));
    short_types(machine, Some(rules), &path)
}
