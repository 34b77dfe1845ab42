//! A plan in Rust: its text, which the runtime reads when a network is made. So neither rustc nor a person goes through
//! expressions for what is a table.

use dlc_plan::Plan;

/// The constant that holds the plan's text. The kernels' own work is not in it, only what the runtime checks.
pub fn plan(p: &Plan) -> String {
    let text = p.outline().to_string();
    let fence = fence(&text);
    format!("/// What is done, and where everything is.\nconst PLAN: &str = r{fence}\"\n{text}\"{fence};\n")
}

/// As many `#` as it takes that no quotation mark in the text ends it.
fn fence(text: &str) -> String {
    let run = |part: &str| part.len() - part.trim_start_matches('#').len();
    let longest = text.split('"').skip(1).map(|part| run(part) + 1).max();
    "#".repeat(longest.unwrap_or(0))
}
