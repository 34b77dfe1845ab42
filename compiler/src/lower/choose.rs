//! Which item of a spec is meant. Takes a spec's own items and perhaps a name; gives a model or a training.

use super::data::{self, Files};
use super::{item, lora, weights};
use crate::check::{Checker, ConfigItem, ItemRef, NetItem};
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
            Target::Train(_) | Target::Adapted(_) => self,
        }
    }

    /// The model of a training, to be run with adapters; a model is what it is.
    pub fn adapted(self) -> Target {
        match self {
            Target::Train(item) => Target::Adapted(item),
            Target::Model { .. } | Target::Adapted(_) => self,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Target::Model { .. } => "model",
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
        Target::Train(item) | Target::Adapted(item) => &item.ast.name.text,
    }
}

/// The model (`kind` is `model`) or training (`train`) that is meant: that of the name, or the only one there is.
pub fn choose(ck: &mut Checker, module: u16, kind: &'static str, wanted: Option<&str>) -> Option<Target> {
    let all: Vec<Target> = targets(ck, module).into_iter().filter(|t| t.kind() == kind).collect();
    let names: Vec<&str> = all.iter().map(name).collect();
    let list = || names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    let d = match (wanted, all.as_slice()) {
        (None, [one]) => return Some(one.clone()),
        (_, []) => Diagnostic::global("E0512", format!("the spec has no `{kind}` item")),
        (None, _) => {
            let message = format!("the spec has several `{kind}` items: {}", list());
            Diagnostic::global("E0512", message).help("name one of them")
        }
        (Some(wanted), _) => match all.iter().find(|t| name(t) == wanted) {
            Some(found) => return Some(found.clone()),
            None => {
                let near = nearest(wanted, names.iter().copied());
                let d = Diagnostic::global("E0512", format!("no `{kind}` item is called `{wanted}`"));
                if near.is_some() { d.did_you_mean(near) } else { d.help(format!("there is {}", list())) }
            }
        },
    };
    ck.report(d);
    None
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
                    "data" => drop(data::read(ck, files, reading)),
                    "weights" => drop(weights::read(ck, &reading, None)),
                    _ => drop(lora::read(ck, reading)),
                }
            }
            _ => {}
        }
    }
}
