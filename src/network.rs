//! A network in a program: takes a plan with the code of its kernels, from `model!` or from machine code made a moment ago;
//! gives its weights by name, its entries, and training.

use crate::adapters::{self, Adapter, Kept};
use crate::error::{Error, Result, code};
use crate::machine::{self, Counts, Machine, Named, SHARES, shares};
use crate::train::checkpoint::Checkpoints;
use crate::train::{self, Outcome, Start, Watch};
use dlc_plan::plan::{Call, Step};
use dlc_plan::recipe::{self, Adaptable, Length, Lora, Recipe};
use dlc_plan::{Host, HostState, HostVar, NoPlan, Plan};
use dlc_runtime::call::RustKernel;
use dlc_runtime::tensor::Tensor;
use dlc_runtime::{Engine, Kernels, ValidPlan};
use std::path::Path;

/// What a network is made of, as `model!` gives it.
pub struct Parts {
    /// What is to be done: the text of a plan.
    pub plan: &'static str,
    /// The code of its kernels, in their order.
    pub kernels: Vec<RustKernel>,
    /// How it is trained, if it is a training.
    pub recipe: Option<Recipe>,
    /// What its spec says about files of weights, if it says anything.
    pub weights: Option<recipe::Weights>,
}

/// A network with its weights.
pub struct Network {
    engine: Engine,
    recipe: Option<Recipe>,
    /// What the spec says about files of weights.
    weights: Option<recipe::Weights>,
    /// The seed, the step that comes next, and how many there will be.
    state: HostState,
    /// Whether its weights were loaded or trained, and whether its adapter was: a training goes on from these.
    touched: (bool, bool),
    /// Micro-batches of the step that is under way.
    micro_batches: u64,
    /// What they add to what the loss is divided by.
    counts: Counts,
    /// What a merge has changed, as it was before.
    kept: Option<Kept>,
    /// The adapters that it runs with.
    active: Option<Active>,
    /// The weights that its file had in short types, in which a merged model is written.
    types: machine::Types,
}

/// Adapters of a network that takes them while it runs.
struct Active {
    adaptable: Adaptable,
    /// What they are for `forward`.
    inputs: Named,
    /// The weights that they replace, as the base has them.
    base: Named,
}

impl Active {
    /// Does something where no adapter has replaced a weight of the base. If it fails, all is as it was.
    fn on_base<T>(&mut self, engine: &mut Engine, act: impl FnOnce(&mut Engine, &Adaptable) -> Result<T>) -> Result<T> {
        let replaced = swapped(engine, &self.base)?;
        match act(engine, &self.adaptable) {
            Ok(done) => {
                self.base.clear();
                Ok(done)
            }
            Err(error) => {
                swapped(engine, &replaced)?;
                Err(error)
            }
        }
    }
}

/// Gives an engine some weights, and gives those that it had in their place.
fn swapped(engine: &mut Engine, weights: &Named) -> Result<Named> {
    let mut before = Named::new();
    for (name, tensor) in weights {
        before.push((name.clone(), Machine::weight(engine, name)?));
        engine.set_weight(name, tensor)?;
    }
    Ok(before)
}

impl Network {
    /// A network with the initial weights that the spec says, drawn from a seed.
    ///
    /// # Errors
    /// When memory is short, or the plan's text is of another version.
    pub fn new(parts: Parts, seed: u64) -> Result<Network> {
        let plan: Plan = parts.plan.parse().map_err(|wrong: NoPlan| {
            Error::run(code::CANNOT_RUN, "this network was made for another version of dlc").note(wrong.to_string())
        })?;
        let engine = Engine::new(ValidPlan::new(plan)?, Kernels::from(parts.kernels))?;
        let network = Network::of(engine, parts.recipe, seed)?;
        Ok(Network { weights: parts.weights, ..network })
    }

    /// As [`Network::new`], from an engine.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn of(mut engine: Engine, recipe: Option<Recipe>, seed: u64) -> Result<Network> {
        let steps = match recipe.as_ref().map(|recipe| recipe.length) {
            Some(Length::Steps(steps)) => steps,
            Some(Length::Epochs(_)) | None => 0,
        };
        let state = HostState { seed, steps, ..HostState::default() };
        if Machine::ports(&engine, "init").is_some() {
            engine.run("init", &state, &[])?;
        }
        let weights = recipe.as_ref().and_then(|recipe| recipe.weights.clone());
        let counts = Counts::default();
        let (touched, types) = ((false, false), machine::Types::new());
        Ok(Network {
            engine,
            recipe,
            weights,
            state,
            touched,
            micro_batches: 0,
            counts,
            kept: None,
            active: None,
            types,
        })
    }

    /// A network that adapters of any rank are put on while it runs ([`Network::activate`]); to begin with, none is.
    ///
    /// # Errors
    /// As [`Network::new`].
    pub fn adaptable(engine: Engine, adaptable: Adaptable) -> Result<Network> {
        let mut network = Network::of(engine, None, adaptable.seed)?;
        network.weights.clone_from(&adaptable.weights);
        let adapters::Sum { inputs, .. } = adapters::sum(&network.engine, &adaptable, &[])?;
        network.active = Some(Active { adaptable, inputs, base: Vec::new() });
        Ok(network)
    }

    /// Lets a weighted sum of adapters take the place of those that were active; of none, the base is as it was. Nothing is
    /// compiled for it.
    ///
    /// # Errors
    /// When this network takes no adapters while it runs, or one is for another base: then nothing is changed.
    pub fn activate(&mut self, sum: &[(&Adapter, f64)]) -> Result<()> {
        let Some(active) = &mut self.active else {
            let error = Error::spec(code::CANNOT_RUN, "this network was not compiled for adapters of any rank");
            return Err(error.help("`load_adapter` takes one of the rank that its training has"));
        };
        let made = active.on_base(&mut self.engine, |engine, adaptable| adapters::sum(engine, adaptable, sum))?;
        active.base = swapped(&mut self.engine, &made.beside)?;
        active.inputs = made.inputs;
        Ok(())
    }

    /// Takes the weights of a file: safetensors, an index of several, `.npz`, PyTorch's or GGUF. All must be there and all be
    /// used, under the weights' own names, or else by the rules of the spec's `weights` item; what these allow to be missing
    /// keeps its value. An adapter's own weights need not be there: a base has none. Of adapters that were active none is.
    ///
    /// # Errors
    /// When the file cannot be read, or its names or shapes are others: then nothing is changed, and the error lists
    /// everything that does not fit.
    pub fn load(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let rules = self.weights.clone().or_else(|| self.lora().ok().map(adapters::base_rules));
        let load = |engine: &mut Engine| machine::load_by_names_or_rules(engine, rules.as_ref(), path.as_ref());
        let Some(active) = &mut self.active else {
            load(&mut self.engine)?;
            self.touched.0 = true;
            self.types = match self.lora() {
                Ok(_) => machine::short_types(&self.engine, rules.as_ref(), path.as_ref())?,
                Err(_) => machine::Types::new(),
            };
            return Ok(());
        };
        active.on_base(&mut self.engine, |engine, _| load(engine))?;
        self.activate(&[])
    }

    /// Writes the weights to a safetensors file, which appears whole or not at all.
    ///
    /// # Errors
    /// When the file cannot be written, or what was trained beside an adapter that is active stands in the base's place.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        if self.active.as_ref().is_some_and(|active| !active.base.is_empty()) {
            let message = "an adapter that is active has brought weights of its own, which are not the base's";
            return Err(Error::spec(code::CANNOT_RUN, message).help("`activate(&[])` takes it off"));
        }
        match (self.lora(), &self.kept) {
            (Ok(lora), Some(_)) => adapters::merge::save_plain(&self.engine, lora, path.as_ref(), &[], &self.types),
            _ => machine::save(&self.engine, path.as_ref(), &[]),
        }
    }

    /// The adapter of its training.
    fn lora(&self) -> Result<&Lora> {
        let lora = self.recipe.as_ref().and_then(|recipe| recipe.lora.as_ref());
        lora.ok_or_else(|| {
            Error::spec(code::CANNOT_RUN, "this network has no adapter: `lora = ..` in a training names one")
        })
    }

    /// Takes an adapter, and what was trained beside it, from a folder that PEFT or dlc has written. Gives what there is to
    /// say about it. The base comes from [`Network::load`].
    ///
    /// # Errors
    /// When it is none, or for another base, or asks for what is not here: then nothing is changed.
    pub fn load_adapter(&mut self, folder: impl AsRef<Path>) -> Result<Vec<String>> {
        let lora = self.lora()?.clone();
        let said = adapters::load(&mut self.engine, &lora, folder.as_ref())?;
        self.touched.1 = true;
        Ok(said)
    }

    /// Writes the adapter, and what was trained beside it, into a folder that PEFT can load.
    ///
    /// # Errors
    /// When there is no adapter, or a file cannot be written.
    pub fn save_adapter(&self, folder: impl AsRef<Path>) -> Result<()> {
        adapters::save(&self.engine, self.lora()?, folder.as_ref(), None)
    }

    /// Takes the adapter into the weights that it adapts: from here on it adds nothing, and [`Network::save`] writes the
    /// plain model.
    ///
    /// # Errors
    /// When there is no adapter, or merging would change nothing.
    pub fn merge(&mut self) -> Result<()> {
        let lora = self.lora()?.clone();
        self.kept = Some(adapters::merge(&mut self.engine, &lora)?);
        Ok(())
    }

    /// Takes a merge back: base and adapter are as they were, bit by bit.
    ///
    /// # Errors
    /// When nothing has been merged.
    pub fn unmerge(&mut self) -> Result<()> {
        match self.kept.take() {
            Some(kept) => adapters::unmerge(&mut self.engine, &kept),
            None => Err(Error::spec(code::CANNOT_RUN, "nothing has been merged")),
        }
    }

    /// Runs an entry on tensors by name; gives its outputs by name.
    ///
    /// # Errors
    /// When there is no such entry, or the tensors are not those that it takes.
    pub fn run(&mut self, entry: &str, inputs: &[(&str, &Tensor)]) -> Result<Named> {
        let takes =
            |name: &str| Machine::ports(&self.engine, entry).is_some_and(|(all, _)| all.iter().any(|p| p.name == name));
        let active = self.active.iter().flat_map(|active| &active.inputs).filter(|(name, _)| takes(name));
        let active = active.map(|(name, tensor)| (name.as_str(), tensor));
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().copied().chain(active).collect();
        Ok(self.engine.run(entry, &self.state, &inputs)?)
    }

    /// As [`Network::run`], with the outputs in the order of the spec.
    ///
    /// # Errors
    /// As [`Network::run`].
    pub fn outputs(&mut self, entry: &str, inputs: &[(&str, &Tensor)]) -> Result<Vec<Tensor>> {
        Ok(self.run(entry, inputs)?.into_iter().map(|(_, tensor)| tensor).collect())
    }

    /// One step of training on a batch: the model's inputs, and what else the loss speaks of, by name. Gives the loss before
    /// the step. Where the spec accumulates, each call is a micro-batch, and the weights change with the last one of a step; a
    /// loss whose terms are divided by different counts is then a mean over micro-batches, since what those have that are
    /// still to come is not known.
    ///
    /// # Errors
    /// When the tensors are not those that it takes, or the schedule asks for the number of steps and no one has said it.
    pub fn step(&mut self, inputs: &[(&str, &Tensor)]) -> Result<f32> {
        if self.state.steps == 0 && uses_steps(self.engine.plan()) {
            let error = Error::run(code::CANNOT_RUN, "a schedule of this training asks how many steps there will be");
            return Err(error.help("say so first: `.plan_steps(1000)`"));
        }
        if self.micro_batches == 0 {
            self.state.first_sample = 0;
            self.engine.forget_gradients();
        }
        let counts = Counts::of(&mut self.engine, &self.state, inputs)?;
        let factors = match &counts {
            // A single count divides the sum of all gradients.
            Some(counts) if counts.only().is_some() => Some(shares(vec![1.0])?),
            counts => counts.as_ref().map(Counts::shares).transpose()?,
        };
        let inputs: Vec<_> = inputs.iter().copied().chain(factors.iter().map(|factors| (SHARES, factors))).collect();
        let outputs = self.engine.run("accumulate", &self.state, &inputs)?;
        let over = counts.as_ref().and_then(Counts::only).unwrap_or(1.0);
        self.micro_batches += 1;
        self.counts.add(counts.unwrap_or_default());
        self.touched = (true, true);
        self.state.first_sample += inputs.first().and_then(|(_, x)| x.shape().first()).map_or(0, |rows| *rows as u64);
        if self.micro_batches == self.recipe.as_ref().map_or(1, |recipe| recipe.accumulate) {
            self.end_step()?;
        }
        let loss = outputs.iter().find(|(name, _)| name == "loss").map(|(_, loss)| loss.to_f32_vec());
        match loss.as_deref() {
            Some([loss]) => Ok((f64::from(*loss) / over) as f32),
            Some(_) | None => Err(Error::run(code::CANNOT_RUN, "this plan gives no loss")),
        }
    }

    /// Ends a step that has had fewer micro-batches than the spec says, such as the last of an epoch.
    ///
    /// # Errors
    /// When memory is short.
    pub fn end_step(&mut self) -> Result<()> {
        if self.micro_batches == 0 {
            return Ok(());
        }
        if Machine::ports(&self.engine, "update").is_some() {
            let over = self.counts.only().unwrap_or(self.micro_batches as f64);
            machine::update(&mut self.engine, &self.state, over)?;
        }
        self.micro_batches = 0;
        self.counts = Counts::default();
        self.state.first_sample = 0;
        self.state.step += 1;
        Ok(())
    }

    /// Says how many steps there will be, for schedules that speak of `steps`.
    pub fn plan_steps(&mut self, steps: u64) {
        self.state.steps = steps;
    }

    /// Trains as the spec says, on its own data, whose files are relative to `folder`; all random choices are by this
    /// network's seed. Weights that were loaded or trained before are trained on, by an optimizer that begins anew; others are
    /// the initial values, or those of the spec's file.
    ///
    /// # Errors
    /// When this is no training, a file cannot be used, or something is not finite.
    pub fn train(&mut self, folder: impl AsRef<Path>, watch: &mut dyn Watch) -> Result<Outcome> {
        self.train_with(folder, None, watch)
    }

    /// As [`Network::train`], with checkpoints: perhaps from one of them on, and writing more.
    ///
    /// # Errors
    /// As [`Network::train`]; and when a checkpoint that the training is to go on from cannot be read, or is of another.
    pub fn train_with(
        &mut self,
        folder: impl AsRef<Path>,
        mut checkpoints: Option<Checkpoints>,
        watch: &mut dyn Watch,
    ) -> Result<Outcome> {
        let Some(recipe) = &self.recipe else {
            return Err(Error::spec(code::CANNOT_RUN, "this is a model and not a training"));
        };
        let (has_weights, has_adapter) = self.touched;
        let start = Start { seed: self.state.seed, has_weights, has_adapter };
        let (machine, folder) = (&mut self.engine, folder.as_ref());
        let done = train::train_with(machine, recipe, folder, watch, start, checkpoints.as_mut());
        self.touched = (true, true);
        done
    }

    /// How it is trained, if it is a training.
    pub fn recipe(&self) -> Option<&Recipe> {
        self.recipe.as_ref()
    }

    /// What runs it.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// What runs it, to be changed.
    pub fn engine_mut(&mut self) -> &mut Engine {
        self.touched = (true, true);
        &mut self.engine
    }
}

/// Whether any scalar of a training depends on the number of all steps.
fn uses_steps(plan: &Plan) -> bool {
    plan.entries.iter().any(|entry| entry.steps.iter().any(step_uses_steps))
}

fn step_uses_steps(step: &Step) -> bool {
    let call = |call: &Call| call.uniforms.iter().any(|(_, host)| host_uses_steps(host));
    match step {
        Step::Kernel(kernel) => call(kernel),
        Step::Gemm(gemm) => gemm.then.as_ref().is_some_and(call),
        Step::Repeat(repeat) => repeat.steps.iter().any(step_uses_steps),
        Step::Panels(panels) => panels.steps.iter().any(step_uses_steps),
        Step::Copy { .. } | Step::Scatter { .. } | Step::Rows { .. } => false,
    }
}

fn host_uses_steps(host: &Host) -> bool {
    match host {
        Host::Var(var) => *var == HostVar::Steps,
        Host::Const(_) | Host::Size(_) => false,
        Host::Prim(_, args) | Host::Row(_, args) | Host::Segment(args) => args.iter().any(host_uses_steps),
    }
}
