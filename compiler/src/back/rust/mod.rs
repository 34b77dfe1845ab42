//! A plan as Rust: the kernels as loops that a person can read, and the plan that calls them.
//!
//! Takes a plan; gives the text of a module's items. The text is a function of the plan, never of the machine. What it
//! names is brought into scope by `use dlc::emitted::*`.

mod kernel;
mod plan;

use dlc_plan::Plan;

/// The kernels, the plan, and the function `kernels` that gives the kernels' code in the plan's order.
pub fn emit(p: &Plan) -> String {
    let mut out = String::new();
    for (i, k) in p.kernels.iter().enumerate() {
        out.push_str(&kernel::kernel(&format!("K{i}"), k));
        out.push('\n');
    }
    out.push_str("/// The kernels' code, in the order of their numbers.\n");
    let list: Vec<String> = (0..p.kernels.len()).map(|i| format!("code::<K{i}>()")).collect();
    out.push_str(&format!("fn kernels() -> Vec<KernelFn> {{\n    vec![{}]\n}}\n\n", list.join(", ")));
    out.push_str(&plan::plan(p));
    out
}
