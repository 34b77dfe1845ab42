//! Makes a program of a spec: the functions that the checker has made become entries, beside those that `train`, `data` and
//! `weights` items ask for. Takes a checker that has loaded a spec; gives a [`Lowered`] for one model or one training.
//!
//! - [`item`], [`schema`]: what all configuration items have in common; [`train`], [`data`], [`weights`] read one kind each;
//! - [`stored`], [`select`], [`groups`]: weights, the globs that choose them, and what differs between them;
//! - [`columns`], [`defaults`], [`loss`], [`rows`], [`share`], [`mixing`], [`update`], [`each`], [`init`]: the entries;
//! - [`whole`]: columns of tables that are used as whole numbers alone;
//! - [`look`]: whether the files that are named are there, and are what the text says;
//! - [`paths`]: the literals of a text that are paths of files;
//! - [`recipe`]: what a training needs besides its program.

mod item;
pub mod schema;

pub mod data;
mod look;
mod lora;
mod sources;
mod train;
mod weights;

mod groups;
mod index;
pub mod select;
mod stored;

mod biases;
mod columns;
mod defaults;
mod each;
mod init;
mod loss;
mod merge;
mod mixing;
pub(crate) mod paths;
mod recipe;
mod rows;
mod share;
mod texts;
mod update;
mod whole;

mod choose;
mod sets;
mod show;

pub use choose::{Target, choose, choose_model, targets};
pub use data::{Cells, Files, SourceColumn};
pub use index::limits as index_limits;
pub use look::{Look, Trouble, Used};
pub use paths::moved as with_paths;
pub use sets::{apply as apply_sets, written as with_sets};
pub use show::show;
pub use weights::Rules;

use crate::check::{BatchTensor, Checker, ConfigItem, Ctor, Decl, Given, Input, ModelFn, names_in};
use crate::passes;
use crate::program::{Program, Ty, WeightId};
use columns::Column;
use data::{Columns, Data};
use dlc_grammar::Diagnostic;
use dlc_plan::recipe::{Adaptable, Encoding, Finish, Recipe};
use dlc_plan::{Host, Size, recipe as plain};
use merge::Takers;
use select::Names;
use share::Shares;
use std::rc::Rc;
use stored::Stored;
use texts::Counted;
use train::Train;

/// A model, perhaps with a training, as a program.
#[derive(Debug)]
pub struct Lowered {
    /// The program. With a training it has the entry `loss`, of which gradients are to be made.
    pub program: Program,
    /// The model, as seen from outside.
    pub model: plain::Model,
    /// The training.
    pub recipe: Option<Recipe>,
    /// What adapters of any rank it is run with.
    pub adaptable: Option<Adaptable>,
    /// How weights come from a file, if the spec says so for this model or training.
    pub rules: Option<Rules>,
    /// How each weight's first value is written, in the order of the program's weights.
    pub first_values: Vec<String>,
    /// What the optimizer's settings are where they are not the same for all weights.
    pub differing: Vec<(String, Vec<(WeightId, Host)>)>,
}

/// Lowers a target. Mistakes are in the checker's diagnostics; with any, there is nothing to go on with. The checker's
/// program is given away.
pub fn lower(ck: &mut Checker, files: &mut dyn Files, target: &Target) -> Option<Lowered> {
    let before = ck.errors();
    let Made { stored, model, recipe, adaptable, rules, differing } = make(ck, files, target, true)?;
    if ck.errors() > before {
        return None;
    }
    let text = |d: &Rc<Decl>| d.init.as_ref().map_or(String::new(), |i| ck.text(i.value.span).to_string());
    let first_values = stored.decls.iter().map(text).collect();
    let model = recipe::model(&model);
    let program = std::mem::take(&mut ck.program);
    Some(Lowered { program, model, recipe, adaptable, rules, first_values, differing })
}

/// What a target has become, besides its program.
struct Made {
    stored: Stored,
    model: ModelFn,
    recipe: Option<Recipe>,
    adaptable: Option<Adaptable>,
    rules: Option<Rules>,
    differing: Differing,
}

/// Makes the entries of a target; unless it `needs_files`, what cannot be known without them is left out.
fn make(ck: &mut Checker, files: &mut dyn Files, target: &Target, needs_files: bool) -> Option<Made> {
    ck.program.weights.clear();
    ck.program.rows.clear();
    ck.program.states.clear();
    ck.program.parts.clear();
    ck.program.entries.clear();
    ck.adapters.clear();
    ck.evaluated.clear();
    let mut stored = Stored::default();
    match target {
        Target::Model { net, training } => {
            let ctor = ck.configured(net, Vec::<Given>::new(), net.ast.name.span)?;
            let model = forward(ck, &mut stored, &ctor, *training)?;
            init::entry(ck, &stored, &[]);
            let rules = weights::of_model(ck, net);
            Some(Made { stored, model, recipe: None, adaptable: None, rules, differing: Vec::new() })
        }
        Target::Trained { item, training } => {
            let reading = item::read(ck, item, Vec::new(), item.ast.name.span)?;
            let train::Begun { model: (ctor, _), weights } = train::begun(ck, &reading)?;
            let model = forward(ck, &mut stored, &ctor, *training)?;
            init::entry(ck, &stored, &[]);
            let rules = match weights {
                Some(it) => Some(Rules { weights: weights::read(ck, &it, None)?, file: weights::file_span(&it.item) }),
                None => None,
            };
            Some(Made { stored, model, recipe: None, adaptable: None, rules, differing: Vec::new() })
        }
        Target::Train(item) => {
            let reading = item::read(ck, item, Vec::new(), item.ast.name.span)?;
            let train = train::read(ck, files, reading)?;
            // What a `data` item makes of its rows has sizes of its own.
            ck.batch = ck.batch.take().filter(|_| train.data.is_none());
            if let (true, Some((span, why))) = (needs_files, train.data.as_ref().and_then(Data::unknown)) {
                ck.report(Diagnostic::error("E0514", span, why));
                return None;
            }
            if let (false, Some(data)) = (needs_files, &train.data) {
                look::data(ck, files, data);
            }
            let mut model = adapted(ck, &mut stored, &train, false)?;
            let (recipe, differing) = training(ck, &mut stored, &train, &mut model)?;
            if let (false, Some(data), Some(made)) = (needs_files, &train.data, &recipe.data) {
                look::tokenizers(ck, files, data, &made.encodings);
            }
            let rules = recipe.weights.clone().zip(train.weights.as_ref());
            let rules = rules.map(|(rules, it)| Rules { weights: rules, file: weights::file_span(&it.item) });
            Some(Made { stored, model, recipe: Some(recipe), adaptable: None, rules, differing })
        }
        Target::Adapted(item) => with_adapters(ck, files, item),
    }
}

/// The model of a training as an entry that takes its adapters' weights as inputs, of any rank.
fn with_adapters(ck: &mut Checker, files: &mut dyn Files, item: &Rc<ConfigItem>) -> Option<Made> {
    let reading = item::read(ck, item, Vec::new(), item.ast.name.span)?;
    let train = train::read(ck, files, reading)?;
    let Some(lora) = &train.lora else {
        let message = format!("`train {}` has no adapter", item.ast.name.text);
        let d = Diagnostic::error("E0512", item.ast.name.span, message);
        ck.report(d.help("`lora = Adapter()` names one"));
        return None;
    };
    let mut stored = Stored::without_adapters();
    ck.program.operands = train.operands;
    let model = adapted(ck, &mut stored, &train, true)?;
    init::entry(ck, &stored, &[]);
    let names = Names::new(stored::names(ck));
    let rules = match &train.weights {
        Some(it) => Some(Rules { weights: weights::read(ck, it, Some(&names))?, file: weights::file_span(&it.item) }),
        None => None,
    };
    let inputs = stored.given().to_vec();
    let weights = rules.as_ref().map(|rules| rules.weights.clone());
    let adaptable =
        Adaptable { lora: lora::recipe(ck, lora, &stored, &Takers::new()), seed: train.seed, weights, inputs };
    Some(Made { stored, model, recipe: None, adaptable: Some(adaptable), rules, differing: Vec::new() })
}

/// Adds the entry `forward` of a training's model, with its adapter, if it has one.
fn adapted(ck: &mut Checker, stored: &mut Stored, train: &Train, any_rank: bool) -> Option<ModelFn> {
    if let Some(lora) = &train.lora {
        let plain = ck.model(&train.model.0, false)?;
        lora::aim(ck, lora, &plain.entry, any_rank)?;
    }
    let model = forward(ck, stored, &train.model.0, false)?;
    lora::check_read(ck, stored)?;
    Some(model)
}

/// Adds the entry `forward`: the model outside of training, or, if so asked, in it; its states stay as they are.
fn forward(ck: &mut Checker, stored: &mut Stored, ctor: &Rc<Ctor>, training: bool) -> Option<ModelFn> {
    let model = ck.model(ctor, training)?;
    let inputs: Vec<String> = model.inputs.iter().map(|i| i.name.clone()).collect();
    let outputs: Vec<String> = model.outputs.iter().map(|(name, _)| name.clone()).collect();
    let twice = outputs.iter().enumerate().find(|(i, name)| outputs[..*i].contains(name));
    if let Some((_, name)) = twice {
        let message = format!("`{}` has two outputs called `{name}`", model.name);
        ck.report(Diagnostic::error("E0115", ctor.net.ast.name.span, message));
        return None;
    }
    let mut entry = loss::entry(ck, stored, "forward", &model.entry, &inputs, &outputs);
    defaults::hold(&model.inputs, &mut entry);
    entry.outputs.truncate(outputs.len());
    ck.program.functions[entry.function.0 as usize].results.truncate(outputs.len());
    ck.program.entries.push(entry);
    Some(model)
}

type Differing = Vec<(String, Vec<(WeightId, Host)>)>;

/// Adds the entries of a training; gives its recipe, and which settings differ between weights.
fn training(ck: &mut Checker, stored: &mut Stored, train: &Train, model: &mut ModelFn) -> Option<(Recipe, Differing)> {
    let (batch, encodings) = match &train.data {
        Some(data) => columns_of(ck, data, model)?,
        None => (Some(own_columns(ck, train, model)), Vec::new()),
    };
    let inputs = model.inputs.clone();
    if let Some(columns) = &batch {
        defaults::leave_out(ck, model, columns);
    }
    let fixed = batch.as_ref().filter(|_| train.data.is_some()).and_then(|columns| rows::fixed(ck, model, columns));
    if let (Some(fixed), Some(data)) = (&fixed, &train.data) {
        fixed.check(ck, model, data)?;
    }
    let in_batch = match (&batch, &fixed) {
        (Some(columns), Some(fixed)) => Some(fixed.of_batch(columns)),
        (batch, _) => batch.clone(),
    };
    ck.program.operands = train.operands;
    let modules = groups::evaluated(ck, train, &Names::new(stored::names(ck)));
    ck.evaluated = modules.unwrap_or_default();
    let lossy = in_batch.as_ref().map(|columns| loss::loss(ck, stored, train, columns).is_some());
    if let Some(entry) = ck.program.entries.iter_mut().find(|e| e.name == "loss") {
        defaults::hold(&inputs, entry);
    }
    let shares = (train.accumulate > 1).then(|| shares(ck, train)).flatten();
    let names = Names::new(stored::names(ck));
    let weights = train.weights.as_ref().map(|it| weights::read(ck, it, Some(&names)));
    let overrides = groups::apply(ck, train, &names);
    let states = overrides.as_ref().and_then(|o| update::entry(ck, train, o, shares));
    // Gradients of a batch are asked for without metrics, which may speak of what the batch does not have.
    let measured = lossy == Some(true) && !train.metrics.is_empty() && ck.batch.is_none();
    if let Some(columns) = batch.as_ref().filter(|_| measured) {
        loss::evaluate(ck, stored, train, columns, fixed.as_ref())?;
    }
    let takers = merge::entry(ck, stored, train.lora.as_ref().map_or(Finish::Keep, |lora| lora.finish))?;
    init::entry(ck, stored, states.as_deref().unwrap_or_default());
    states?;
    let mut weights = weights.map_or(Some(None), |w| w.map(Some))?;
    if let Some(weights) = &mut weights {
        // No base has what an adapter adds.
        let added = lora::added(stored).into_iter().map(|id| ck.program.weights[id.0 as usize].name.clone());
        weights.missing.extend(added);
    }
    if !warn_frozen(ck, train, weights.as_ref()) {
        something_is_trained(ck, train)?;
    }
    no_loss_name(ck)?;
    let differing = groups::differing(ck, &overrides?);
    let adapter = train.lora.as_ref().map(|lora| lora::recipe(ck, lora, stored, &takers));
    Some((recipe::recipe(train, model, weights, adapter, encodings), differing))
}

/// Adds the entry `share`, where a step has several micro-batches.
fn shares(ck: &mut Checker, train: &Train) -> Option<Shares> {
    let modules = &ck.modules;
    let shares = share::entry(&mut ck.program, &|span| modules.in_prelude(span))?;
    if !shares.exact {
        let message = "this loss is averaged over micro-batches: it is no sum over their rows, divided or not";
        let d = Diagnostic::warning("W0803", train.loss.span, message);
        ck.report(d.help("a loss like `sum(..) / count` makes micro-batches equal to one batch"));
    }
    if let Some(place) = shares.mixing {
        let message = "this takes statistics of the rows of a micro-batch, which are not those of the whole batch";
        let place = if ck.modules.in_prelude(place) { train.loss.span } else { place };
        let d = Diagnostic::warning("W0803", place, message);
        ck.report(
            d.help("a norm of single samples, or `evaluate` on this layer, makes micro-batches equal to one batch"),
        );
    }
    Some(shares)
}

/// The columns of a training's batches; `None` inside where they cannot be known without the files.
fn columns_of(ck: &mut Checker, data: &Data, model: &ModelFn) -> Option<(Option<Vec<Column>>, Vec<Encoding>)> {
    if let Columns::Unknown(_) = data.source {
        return Some((None, Vec::new()));
    }
    let (rows, lengths) = (rows::name(ck, model), lengths(ck, model));
    let batch = columns::batch(ck, data, &Counted { rows: &rows, lengths: &lengths })?;
    ck.program.entries.extend(batch.entries);
    Some((Some(batch.columns), batch.encodings))
}

/// The model's inputs whose rows have a dynamic length, each with what the model calls it.
fn lengths(ck: &Checker, model: &ModelFn) -> Vec<(String, String)> {
    let length = |i: &Input| {
        let [_, second, ..] = i.ty.shape.as_slice() else { return None };
        let [d] = second.dims()[..] else { return None };
        let name = ck.program.dims[usize::from(d)].clone();
        (*second == Size::dim(d)).then(|| (i.name.clone(), name))
    };
    model.inputs.iter().filter_map(length).collect()
}

/// Without a `data` item, a batch has the model's inputs; one that is there, but for inputs with a default that it does not
/// have, and with what else the loss speaks of.
fn own_columns(ck: &mut Checker, train: &Train, model: &ModelFn) -> Vec<Column> {
    let batch = ck.batch.clone().unwrap_or_default();
    let given = |name: &str| batch.iter().any(|tensor| tensor.name == name);
    let left = |i: &&Input| ck.batch.is_none() || i.default.is_none() || given(&i.name);
    let column = |i: &Input| Column { name: i.name.clone(), ty: i.ty.clone(), tags: i.tags.clone(), span: i.span };
    let mut columns: Vec<Column> = model.inputs.iter().filter(left).map(column).collect();
    for (name, span) in names_in(&train.loss) {
        let Some(BatchTensor { dtype, shape, .. }) = batch.iter().find(|tensor| tensor.name == name) else { continue };
        let taken = columns.iter().any(|c| c.name == name) || model.outputs.iter().any(|(output, _)| *output == name);
        if taken || ck.is_known(&name, &train.reading.scope) {
            continue;
        }
        let shape = shape.iter().map(|n| Size::from(i64::try_from(*n).unwrap_or(i64::MAX)));
        let ty = Ty { dtype: *dtype, shape: shape.collect() };
        columns.push(Column { name, tags: vec![None; ty.shape.len()], ty, span });
    }
    columns
}

/// Refuses to train nothing, where a model has weights and all of them are frozen.
fn something_is_trained(ck: &mut Checker, train: &Train) -> Option<()> {
    let mut params = ck.program.weights.iter().filter(|w| w.param).peekable();
    if params.peek().is_none() || params.any(|w| w.trained) {
        return Some(());
    }
    let mut rules = train.lora.iter().flat_map(|lora| &lora.rules).chain(&train.rules);
    let Some(froze) = rules.rfind(|r| r.verb.text == "freeze") else { return Some(()) };
    let d = Diagnostic::error("E0516", froze.globs[0].span, "every weight is frozen, so nothing is trained");
    ck.report(d.help("`unfreeze \"..\"` takes some of them back"));
    None
}

/// A weight that starts at random and is never trained; whether there is one.
fn warn_frozen(ck: &mut Checker, train: &Train, weights: Option<&plain::Weights>) -> bool {
    let mut found = false;
    let Some((weights, item)) = weights.zip(train.weights.as_ref()) else { return found };
    for glob in &weights.missing {
        let Ok(compiled) = dlc_plan::glob::Glob::new(glob) else { continue };
        let mut covered = ck.program.weights.iter().filter(|w| w.param && compiled.covers(&w.name)).peekable();
        if covered.peek().is_none() || covered.any(|w| w.trained) {
            continue;
        }
        let mut rules = train.lora.iter().flat_map(|lora| &lora.rules).chain(&train.rules);
        let froze = rules.rfind(|r| r.verb.text == "freeze").map(|r| r.globs[0].span);
        let Some(froze) = froze else { continue };
        let message = format!("`{glob}` is random and frozen: it can never learn");
        let d = Diagnostic::warning("W0801", froze, message).label(item.item.ast.name.span, "missing from this file");
        let otherwise = if train.lora.is_some() { " or make it a target" } else { ", or take it out of `freeze`" };
        ck.report(d.help(format!("`unfreeze \"{glob}\"`{otherwise}")));
        found = true;
    }
    found
}

/// Gradients come out under the weights' names, beside the loss.
fn no_loss_name(ck: &mut Checker) -> Option<()> {
    let Some(w) = ck.program.weights.iter().find(|w| w.name == "loss") else { return Some(()) };
    let (span, message) = (w.span, "a weight that is trained cannot be called `loss`");
    ck.report(
        Diagnostic::error("E0202", span, message).help("gradients come out under the weights' names, beside `loss`"),
    );
    None
}

/// Warns where scores as wide as a whole sequence will be in memory. A product of the prelude's, such as that of a linear
/// layer, is not what was meant to be attention.
fn near_misses(ck: &mut Checker) {
    for note in passes::near_misses(&ck.program) {
        if ck.modules.in_prelude(note.span) {
            continue;
        }
        let d = Diagnostic::warning("W0804", note.span, note.text);
        ck.report(d.help("it is computed as it is written, with all of its scores in memory"));
    }
}

/// Checks all models, trainings and other items of a module.
pub fn check(ck: &mut Checker, files: &mut dyn Files, module: u16) {
    for target in targets(ck, module) {
        if let Target::Model { net, .. } = &target
            && net.ast.config.iter().any(|p| p.default.is_none())
        {
            // What such a model is can be seen only where it is used.
            continue;
        }
        let before = ck.errors();
        if make(ck, files, &target, false).is_some() && ck.errors() == before {
            near_misses(ck);
        }
    }
    choose::check_rest(ck, files, module);
    ck.check_unreached(module);
}
