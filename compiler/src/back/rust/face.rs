//! The struct that people see: a type for a model or a training, with methods whose arguments are the spec's names.

use super::names::{idents, module_name, type_name};
use dlc_plan::plan::{Entry, Port};
use dlc_plan::recipe::Weights;
use dlc_plan::{Host, Plan, Recipe};
use std::fmt::Write;

/// What a struct is made for.
pub struct Face<'a> {
    /// The item's name in the spec.
    pub name: &'a str,
    /// The item's documentation.
    pub docs: &'a str,
    /// Its plan.
    pub plan: &'a Plan,
    /// Its recipe, if it is a training.
    pub recipe: Option<&'a Recipe>,
    /// What its `weights` item says, if it has one.
    pub weights: Option<&'a Weights>,
}

/// The struct and its methods.
pub fn face(f: &Face) -> String {
    let ty = type_name(f.name);
    let module = module_name(f.name);
    let mut out = String::new();
    for line in f.docs.lines() {
        let _ = writeln!(out, "/// {line}");
    }
    if f.docs.is_empty() {
        let kind = if f.recipe.is_some() { "training" } else { "model" };
        let _ = writeln!(out, "/// The {kind} `{}`.", f.name);
    }
    let _ = writeln!(out, "pub struct {ty}(::dlc::Network);\n");
    let _ = writeln!(out, "impl {ty} {{");
    let _ = writeln!(out, "{}", common(&module));
    if let Some(e) = entry(f.plan, "forward") {
        let _ = writeln!(out, "{}", forward(f.plan, e));
    }
    if let (Some(e), Some(_)) = (batch(f.plan), f.recipe) {
        let _ = writeln!(out, "{}", training(f.plan, e));
    }
    let _ = writeln!(out, "}}\n");
    let _ = writeln!(
        out,
        "impl ::std::ops::Deref for {ty} {{\n    type Target = ::dlc::Network;\n\n    \
         fn deref(&self) -> &::dlc::Network {{\n        &self.0\n    }}\n}}\n"
    );
    let _ = writeln!(
        out,
        "impl ::std::ops::DerefMut for {ty} {{\n    fn deref_mut(&mut self) -> &mut ::dlc::Network {{\n        \
         &mut self.0\n    }}\n}}"
    );
    out
}

fn entry<'a>(plan: &'a Plan, name: &str) -> Option<&'a Entry> {
    plan.entries.iter().find(|e| e.name == name)
}

/// The entry that takes a batch and gives the loss.
fn batch(plan: &Plan) -> Option<&Entry> {
    ["count", "accumulate", "grad"].iter().find_map(|name| entry(plan, name))
}

fn common(module: &str) -> String {
    format!(
        "    /// With the initial weights that the spec says, drawn from a seed.\n    \
         pub fn new(seed: u64) -> ::dlc::Result<Self> {{\n        \
         ::dlc::Network::new({module}::network(), seed).map(Self)\n    }}\n\n    \
         /// With the weights of a file: under the spec's names, or by the rules of its `weights` item.\n    \
         pub fn load(path: impl ::core::convert::AsRef<::std::path::Path>) -> ::dlc::Result<Self> {{\n        \
         let mut made = Self::new(0)?;\n        made.0.load(path.as_ref())?;\n        ::core::result::Result::Ok(made)\n    }}\n"
    )
}

/// A port as people read it: `pixels: f32[B, 64]`.
fn show(plan: &Plan, p: &Port) -> String {
    let shape: Vec<String> = p.shape.iter().map(|s| s.show(&plan.dims).to_string()).collect();
    let default = match p.default.as_ref().map(Host::known) {
        Some(Some(x)) => format!(" = {x}"),
        Some(None) => " = ..".to_string(),
        None => String::new(),
    };
    format!("`{}`: {}[{}]{default}", p.name, p.dtype, shape.join(", "))
}

fn shows(plan: &Plan, ports: &[Port]) -> String {
    ports.iter().map(|p| show(plan, p)).collect::<Vec<_>>().join(", ")
}

/// The parameters of inputs, each with its name.
fn names(ports: &[Port]) -> impl Iterator<Item = (&Port, String)> {
    ports.iter().zip(idents(ports.iter().map(|p| p.name.as_str())))
}

/// The parameters of a method that takes inputs, and the lifetime that those with a default need.
fn parameters(ports: &[Port]) -> (&'static str, String) {
    let parameter = |(p, name): (&Port, String)| match p.default {
        None => format!(", {name}: &::dlc::Tensor"),
        Some(_) => format!(", {name}: impl ::core::convert::Into<::core::option::Option<&'a ::dlc::Tensor>>"),
    };
    let lifetime = if ports.iter().any(|p| p.default.is_some()) { "<'a>" } else { "" };
    (lifetime, names(ports).map(parameter).collect())
}

/// The inputs by name, as a slice; those that are not given are left out.
fn arguments(ports: &[Port]) -> String {
    let named = |(p, name): (&Port, String)| format!("({:?}, {name})", p.name);
    let given = |(p, name): (&Port, String)| match p.default {
        None => format!("::core::option::Option::Some(({:?}, {name}))", p.name),
        Some(_) => format!("{name}.into().map(|given| ({:?}, given))", p.name),
    };
    if ports.iter().all(|p| p.default.is_none()) {
        return format!("&[{}]", names(ports).map(named).collect::<Vec<_>>().join(", "));
    }
    let all = names(ports).map(given).collect::<Vec<_>>().join(", ");
    format!("&[{all}].into_iter().flatten().collect::<::std::vec::Vec<_>>()")
}

fn forward(plan: &Plan, e: &Entry) -> String {
    let (given, gives) = (shows(plan, &e.inputs), shows(plan, &e.outputs));
    let (ty, take) = match e.outputs.len() {
        1 => ("::dlc::Tensor".to_string(), "::core::result::Result::Ok(out.remove(0))".to_string()),
        n => {
            let ty = vec!["::dlc::Tensor"; n].join(", ");
            (format!("({ty})"), format!("::core::result::Result::Ok(({}))", vec!["out.remove(0)"; n].join(", ")))
        }
    };
    let (lifetime, parameters) = parameters(&e.inputs);
    format!(
        "    /// {given} -> {gives}.\n    \
         pub fn run{lifetime}(&mut self{parameters}) -> ::dlc::Result<{ty}> {{\n        \
         let mut out = self.0.outputs(\"forward\", {})?;\n        {take}\n    }}\n",
        arguments(&e.inputs)
    )
}

fn training(plan: &Plan, e: &Entry) -> String {
    let (lifetime, parameters) = parameters(&e.inputs);
    format!(
        "    /// One step of training on a batch: {}. Gives the loss before the step.\n    \
         pub fn step{lifetime}(&mut self{parameters}) -> ::dlc::Result<f32> {{\n        \
         self.0.step({})\n    }}\n",
        shows(plan, &e.inputs),
        arguments(&e.inputs)
    )
}
