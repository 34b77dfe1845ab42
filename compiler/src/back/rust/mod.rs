//! A plan as Rust: a struct to use it by, the kernels as loops that a person can read, and the plan that calls them.
//!
//! Takes a plan, and a recipe where there is one; gives the text of items. The text is a function of the spec, never of
//! the machine.

mod face;
mod kernel;
mod plan;
mod recipe;

pub use face::{Face, type_name};

/// The items for one model or training: its struct, and a private module with its kernels, its plan and its recipe.
pub fn emit(f: &Face) -> String {
    let mut inner = String::from("use ::dlc::emitted::*;\n\n");
    for (i, k) in f.plan.kernels.iter().enumerate() {
        inner.push_str(&kernel::kernel(&format!("K{i}"), k));
        inner.push('\n');
    }
    inner.push_str("/// The kernels' code, in the order of their numbers.\n");
    let list: Vec<String> = (0..f.plan.kernels.len()).map(|i| format!("code::<K{i}>()")).collect();
    inner.push_str(&format!("fn kernels() -> Vec<KernelFn> {{\n    vec![{}]\n}}\n\n", list.join(", ")));
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
        "/// All of it.\npub fn network() -> Parts {{\n    Parts {{ plan: plan(), kernels: kernels(), recipe: {recipe}, weights: {weights} }}\n}}\n"
    ));
    let mut out = face::face(f);
    out.push_str(&format!(
        "\n/// What `{}` is made of.\n#[allow(clippy::all, unused)]\nmod {} {{\n",
        type_name(f.name),
        face::module_name(f.name)
    ));
    for line in inner.lines() {
        if line.is_empty() {
            out.push('\n');
        } else {
            out.push_str(&format!("    {line}\n"));
        }
    }
    out.push_str("}\n");
    out
}
