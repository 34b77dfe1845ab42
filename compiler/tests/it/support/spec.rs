//! Specs of the project and of tests, compiled.

use dlc_compiler::check::{Loaded, Loader};
use dlc_compiler::lower::{Cells, Files, SourceColumn};
use dlc_compiler::pipeline::{self, Compiled, Findings, Goal, Request, Stage};
use dlc_plan::recipe::Source;
use dlc_plan::{DType, Plan};
use std::path::Path;

/// Files whose columns are known: name, type, and the shape of one row.
pub struct Columns(pub Vec<(&'static str, DType, Vec<usize>)>);

impl Loader for Columns {
    fn load(&mut self, path: &str, _from: &str) -> Result<Loaded, String> {
        Err(format!("there is no {path}"))
    }
}

impl Files for Columns {
    fn columns(&mut self, _source: &Source) -> Result<Vec<SourceColumn>, String> {
        let column = |(name, dtype, row): &(&str, DType, Vec<usize>)| SourceColumn {
            name: name.to_string(),
            dtype: *dtype,
            row: row.clone(),
            cells: Cells::Numbers,
        };
        match self.0.is_empty() {
            true => Err("there is no file".into()),
            false => Ok(self.0.iter().map(column).collect()),
        }
    }
}

/// The columns of tests/specs/deep.safetensors.
pub fn deep_columns() -> Columns {
    Columns(vec![("x", DType::F32, vec![8]), ("label", DType::I64, vec![])])
}

/// The text of a file of the project.
pub fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Compiles a text, and shows it every stage's text.
pub fn compile(
    text: &str,
    goal: Goal,
    sets: &[(&str, &str)],
    files: &mut Columns,
    watch: &mut dyn FnMut(Stage, &dyn Fn() -> String),
) -> Result<Compiled, Findings> {
    let sets: Vec<(String, String)> = sets.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let done = pipeline::compile(&Request { name: "spec.dl", text, sets: &sets, goal }, files, watch)?;
    reads_back(&done.plan);
    Ok(done)
}

/// The text of a plan gives the plan again, but for its notes and the work of its kernels: so emitted Rust holds it.
fn reads_back(plan: &Plan) {
    let text = plan.outline().to_string();
    let read: Plan = text.parse().unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    assert_eq!(read.outline().to_string(), text);
    let rest = |plan: &Plan| Plan { kernels: Vec::new(), notes: Vec::new(), ..plan.clone() };
    assert_eq!(rest(&read), rest(plan), "{text}");
}

/// The only training of a file of the project.
pub fn train(path: &str, sets: &[(&str, &str)]) -> Compiled {
    let done = compile(&text(path), Goal::Train { item: None }, sets, &mut deep_columns(), &mut |_, _| {});
    done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

/// What is wrong with a text, a line each: code, place, the marked text, message, notes and ways out.
pub fn mistakes(text: &str, files: &mut Columns) -> Vec<String> {
    let request = Request { name: "spec.dl", text, sets: &[], goal: Goal::Train { item: None } };
    shown(&pipeline::check(&request, files))
}

/// Findings, a line each.
pub fn shown(findings: &Findings) -> Vec<String> {
    let line = |d: &dlc_grammar::Diagnostic| {
        let place = d.span().map_or(String::new(), |s| {
            let at = findings.sources.line_column(s);
            format!(" {}:{} `{}`", at.line, at.column, findings.sources.text(s))
        });
        let mut line = format!("{}{place}: {}", d.code, d.message);
        for note in &d.notes {
            line += &format!(" | {note}");
        }
        for help in &d.help {
            line += &format!(" | help: {help}");
        }
        line
    };
    findings.diagnostics.iter().map(line).collect()
}
