//! Which item of a spec is meant. Takes a spec's own items and perhaps a name; gives a model or a training.

use super::data::{self, Files};
use super::look::{self, Look};
use super::{item, lora, weights};
use crate::check::{Checker, ConfigItem, Found, ItemRef, NetItem};
use dlc_grammar::ast::NetKind;
use dlc_grammar::{Diagnostic, nearest};
use std::rc::Rc;

/// What a program is made of.
#[derive(Clone, Debug)]
pub enum Target {
    /// A model with its defaults, outside of training or, if so asked, in it.
    Model {
        /// The model.
        net: Rc<NetItem>,
        /// Whether it is in training.
        training: bool,
    },
    /// The model that a training trains, as the training configures it, without its adapter.
    Trained {
        /// The training.
        item: Rc<ConfigItem>,
        /// Whether the model is in training.
        training: bool,
    },
    /// A training with its defaults.
    Train(Rc<ConfigItem>),
    /// The model of a training, to be run with adapters of any rank like the training's.
    Adapted(Rc<ConfigItem>),
}

impl Target {
    /// The same, in training or outside of it; a training is what it is.
    pub fn in_training(self, on: bool) -> Target {
        match self {
            Target::Model { net, .. } => Target::Model { net, training: on },
            Target::Trained { item, .. } => Target::Trained { item, training: on },
            Target::Train(_) | Target::Adapted(_) => self,
        }
    }

    /// The model of a training, to be run with adapters; a model is what it is.
    pub fn adapted(self) -> Target {
        match self {
            Target::Train(item) => Target::Adapted(item),
            Target::Model { .. } | Target::Trained { .. } | Target::Adapted(_) => self,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Target::Model { .. } | Target::Trained { .. } => "model",
            Target::Train(_) | Target::Adapted(_) => "train",
        }
    }
}

/// The models and trainings of a module, in order.
pub fn targets(ck: &Checker, module: u16) -> Vec<Target> {
    let target = |(_, item): &(String, ItemRef)| match item {
        ItemRef::Net(net) if net.ast.kind == NetKind::Model => {
            Some(Target::Model { net: net.clone(), training: false })
        }
        ItemRef::Config(c) if c.ast.kind.text == "train" => Some(Target::Train(c.clone())),
        ItemRef::Net(_) | ItemRef::Config(_) | ItemRef::Fn(_) | ItemRef::Const(_) | ItemRef::Module(_) => None,
    };
    ck.modules.own(module).iter().filter_map(target).collect()
}

fn name(target: &Target) -> &str {
    match target {
        Target::Model { net, .. } => &net.ast.name.text,
        Target::Train(item) | Target::Trained { item, .. } | Target::Adapted(item) => &item.ast.name.text,
    }
}

/// The model that is meant where one is run: a model of the file, or else one that a training of the file trains, under the
/// training's name, or else one that is imported. Without a name, it is the only one of the first of these kinds that the
/// file has any of.
pub fn choose_model(ck: &mut Checker, module: u16, wanted: Option<&str>) -> Option<Target> {
    let all = targets(ck, module);
    let (own, trainings): (Vec<Target>, Vec<Target>) = all.into_iter().partition(|t| t.kind() == "model");
    let trained = |t: &Target| match t {
        Target::Train(item) => Some(Target::Trained { item: item.clone(), training: false }),
        Target::Model { .. } | Target::Trained { .. } | Target::Adapted(_) => None,
    };
    let kinds = [own, trainings.iter().filter_map(trained).collect(), imported(ck, module)];
    let found = match wanted {
        Some(wanted) => kinds.iter().flatten().find(|t| name(t) == wanted).cloned(),
        None => match kinds.iter().find(|kind| !kind.is_empty()).map(Vec::as_slice) {
            Some([one]) => Some(one.clone()),
            Some(_) | None => None,
        },
    };
    if found.is_some() {
        return found;
    }
    let fallback = kinds.iter().find(|kind| !kind.is_empty()).map_or(&[][..], Vec::as_slice);
    let known: Vec<&str> = match wanted {
        Some(_) => kinds.iter().flatten().map(name).collect(),
        None => fallback.iter().map(name).collect(),
    };
    ck.report(not_chosen("model", wanted, &known));
    None
}

/// The models that a module imports by name.
fn imported(ck: &mut Checker, module: u16) -> Vec<Target> {
    let names: Vec<String> = ck.modules.names(module).map(str::to_string).collect();
    let own: Vec<String> = ck.modules.own(module).iter().map(|(name, _)| name.clone()).collect();
    let mut found = Vec::new();
    for name in names.iter().filter(|name| !own.contains(name)) {
        if let Found::Item(ItemRef::Net(net)) = ck.modules.find(module, name, &mut Vec::new())
            && net.ast.kind == NetKind::Model
        {
            found.push(Target::Model { net, training: false });
        }
    }
    found
}

/// The item of a kind that is meant: that of the name, or the only one there is.
pub fn choose(ck: &mut Checker, module: u16, kind: &'static str, wanted: Option<&str>) -> Option<Target> {
    let all: Vec<Target> = targets(ck, module).into_iter().filter(|t| t.kind() == kind).collect();
    let found = match (wanted, all.as_slice()) {
        (None, [one]) => Some(one),
        (None, _) => None,
        (Some(wanted), _) => all.iter().find(|t| name(t) == wanted),
    };
    if found.is_none() {
        let known: Vec<&str> = all.iter().map(name).collect();
        ck.report(not_chosen(kind, wanted, &known));
    }
    found.cloned()
}

/// Why no item of some kind is the one that is meant, where these are there.
fn not_chosen(kind: &str, wanted: Option<&str>, known: &[&str]) -> Diagnostic {
    let list = || known.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match (wanted, known) {
        (_, []) => Diagnostic::global("E0512", format!("the spec has no `{kind}` item")),
        (None, _) => {
            let message = format!("the spec has several `{kind}` items: {}", list());
            Diagnostic::global("E0512", message).help("name one of them")
        }
        (Some(wanted), _) => {
            let near = nearest(wanted, known.iter().copied());
            let d = Diagnostic::global("E0512", format!("no `{kind}` item is called `{wanted}`"));
            if near.is_some() { d.did_you_mean(near) } else { d.help(format!("there is {}", list())) }
        }
    }
}

/// Checks the items that no training has been checked with, and refuses those of a later version.
pub fn check_rest(ck: &mut Checker, files: &mut dyn Files, module: u16) {
    let configs: Vec<Rc<ConfigItem>> = ck
        .modules
        .own(module)
        .iter()
        .filter_map(|(_, item)| match item {
            ItemRef::Config(c) => Some(c.clone()),
            ItemRef::Net(_) | ItemRef::Fn(_) | ItemRef::Const(_) | ItemRef::Module(_) => None,
        })
        .collect();
    for config in configs {
        let (kind, at) = (config.ast.kind.text.as_str(), config.ast.name.span);
        match kind {
            "generate" => {
                let message = format!("`{kind}` comes with a later version");
                ck.report(Diagnostic::error("E0114", config.ast.kind.span, message));
            }
            // Parameters without a default have a value only where the item is named.
            "data" | "weights" | "lora" if config.ast.params.iter().all(|p| p.default.is_some()) => {
                let Some(reading) = item::read(ck, &config, Vec::new(), at) else { continue };
                match kind {
                    "data" => {
                        if let Some(data) = data::read(ck, files, reading) {
                            look::data(ck, files, &data);
                        }
                    }
                    "weights" => {
                        if let Some(weights) = weights::read(ck, &reading, None) {
                            look::file(ck, files, &config, Look::Weights(&weights.file));
                        }
                    }
                    _ => {
                        if let Some(file) = lora::read(ck, reading).and_then(|lora| lora.file) {
                            look::file(ck, files, &config, Look::Adapter(&file));
                        }
                    }
                }
            }
            _ => {}
        }
    }
}
