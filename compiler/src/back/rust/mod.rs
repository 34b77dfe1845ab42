//! A plan as Rust: a struct to use it by, the kernels as loops that a person can read, and the plan that calls them.
//!
//! Takes a plan, and a recipe where there is one; gives the text of items. The text is a function of the spec, never of
//! the machine.

mod face;
mod kernel;
mod names;
mod plan;
mod recipe;

pub use face::Face;
pub use names::{clash, type_name};

use std::collections::HashMap;

/// What emits items that stand in one file: a kernel that several of them have is compiled once.
#[derive(Clone, Debug, Default)]
pub struct Emitter {
    /// Where each kernel is that there is already, by its text.
    known: HashMap<String, String>,
}

impl Emitter {
    /// The items for one model or training: its struct, and a private module with its kernels, its plan and its recipe. Kernels
    /// of items before it are taken from their modules.
    pub fn item(&mut self, f: &Face) -> String {
        let module = names::module_name(f.name);
        let mut inner = String::from("use ::dlc::emitted::*;\n\n");
        let mut list = Vec::new();
        for (i, k) in f.plan.kernels.iter().enumerate() {
            let text = kernel::kernel(k);
            if let Some(path) = self.known.get(&text) {
                list.push(format!("code::<super::{path}>()"));
                continue;
            }
            inner.push_str(&text.replace(kernel::NAME, &format!("K{i}")));
            inner.push('\n');
            list.push(format!("code::<K{i}>()"));
            self.known.insert(text, format!("{module}::K{i}"));
        }
        inner.push_str("/// The kernels' code, in the order of their numbers.\n");
        inner.push_str(&format!("fn kernels() -> Vec<RustKernel> {{\n    vec![{}]\n}}\n\n", list.join(", ")));
        inner.push_str(&plan::plan(f.plan));
        inner.push('\n');
        let recipe = match f.recipe {
            Some(r) => {
                inner.push_str(&recipe::recipe(r));
                inner.push('\n');
                "Some(recipe())"
            }
            None => "None",
        };
        let weights = f.weights.map_or("None".to_owned(), |rules| format!("Some({})", recipe::weights(rules)));
        inner.push_str(&format!(
            "/// All of it.\npub fn network() -> Parts {{\n    Parts {{ plan: PLAN, kernels: kernels(), recipe: {recipe}, weights: {weights} }}\n}}\n"
        ));
        let made_of = format!("/// What `{}` is made of.", type_name(f.name));
        let inner: String =
            inner.lines().map(|line| if line.is_empty() { "\n".into() } else { format!("    {line}\n") }).collect();
        format!(
            "{}\n{made_of}\n#[allow(clippy::all, unused, non_snake_case)]\nmod {module} {{\n{inner}}}\n",
            face::face(f)
        )
    }
}
