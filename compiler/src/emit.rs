//! A spec as Rust: what `model!` expands to, and what `--emit rust` prints.
//!
//! Takes a text and the folder that its imports and files are relative to; gives items for every model and training, and
//! the files that were read.

pub use crate::back::rust::Emitter;
use crate::back::rust::{Face, clash, type_name};
use crate::check::{Checker, Loaded, Loader};
use crate::limits;
use crate::lower::{Cells, Files, SourceColumn, Target, targets};
use crate::pipeline::{Compiled, Findings, Goal, Request, compile};
use dlc_grammar::ast::Ident;
use dlc_grammar::{Diagnostic, Sources, Span};
use dlc_plan::DType;
use dlc_plan::recipe::{Source, SourceKind};
use safetensors::tensor::{Dtype, Metadata};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The number of the text itself among the sources.
pub const MAIN_FILE: u16 = crate::prelude::FILES.len() as u16;

/// A spec as Rust.
#[derive(Clone, Debug, Default)]
pub struct Items {
    /// The items.
    pub text: String,
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// What can be used and may not be meant.
    pub warnings: Vec<Warning>,
}

/// A warning, told apart from the texts that it speaks of.
#[derive(Clone, Debug, PartialEq)]
pub struct Warning {
    /// Its code.
    pub code: &'static str,
    /// Where it is, if that is in the text itself.
    pub span: Option<Span>,
    /// What it says, with its place in it.
    pub text: String,
    /// What it says, for whoever underlines the place.
    pub at_place: String,
}

impl Warning {
    fn new(d: &Diagnostic, sources: &Sources) -> Warning {
        let span = d.span().filter(|span| span.file == MAIN_FILE);
        Warning { code: d.code, span, text: message(d, sources, true), at_place: message(d, sources, span.is_none()) }
    }
}

/// A folder to find imports in.
#[derive(Debug, Default)]
pub struct Folder {
    root: PathBuf,
    read: Vec<PathBuf>,
}

impl Folder {
    /// A folder; imports of the text itself are relative to it.
    pub fn new(root: &Path) -> Folder {
        Folder { root: root.to_path_buf(), read: Vec::new() }
    }
}

impl Loader for Folder {
    fn load(&mut self, path: &str, from: &str) -> Result<Loaded, String> {
        let beside = Path::new(from).parent().unwrap_or(Path::new(""));
        let path = self.root.join(beside).join(path);
        let text = limits::read_text(&path).map_err(|e| format!("{} cannot be read: {e}", path.display()))?;
        let whole = path.canonicalize().unwrap_or(path);
        self.read.push(whole.clone());
        Ok(Loaded { name: whole.display().to_string(), text })
    }
}

impl Files for Folder {
    fn columns(&mut self, source: &Source) -> Result<Vec<SourceColumn>, String> {
        let paths: Vec<PathBuf> = source.paths.iter().map(|p| self.root.join(p)).collect();
        match (source.kind, paths.as_slice()) {
            (SourceKind::Safetensors, [path]) => safetensors_columns(path),
            (SourceKind::Idx, [..]) if paths.len() <= IDX_COLUMNS.len() => {
                IDX_COLUMNS.iter().zip(&paths).map(|(name, path)| idx_column(name, path)).collect()
            }
            _ => Err(format!("the columns of {} are not known inside of a crate", source.paths.join(" and "))),
        }
    }
}

/// What the files of an `idx` source are.
const IDX_COLUMNS: [&str; 2] = ["pixels", "label"];

/// The column of a file in MNIST's format, as its header says; what is gzipped is not unpacked here.
fn idx_column(name: &str, path: &Path) -> Result<SourceColumn, String> {
    let bad = |why: String| format!("{} cannot be used inside of a crate: {why}", path.display());
    let mut file = File::open(path).map_err(|e| bad(e.to_string()))?;
    let mut start = [0; 4];
    file.read_exact(&mut start).map_err(|e| bad(e.to_string()))?;
    let dtype = match start {
        [0, 0, 0x08, 1..=8] => DType::U8,
        [0, 0, 0x09 | 0x0B | 0x0C, 1..=8] => DType::I32,
        [0, 0, 0x0D | 0x0E, 1..=8] => DType::F32,
        _ => return Err(bad("its header is not that of idx, or it is packed".into())),
    };
    let mut row = Vec::new();
    for _ in 0..start[3] {
        let mut extent = [0; 4];
        file.read_exact(&mut extent).map_err(|e| bad(e.to_string()))?;
        row.push(u32::from_be_bytes(extent) as usize);
    }
    row.remove(0);
    Ok(SourceColumn { name: name.to_string(), dtype, row, cells: Cells::Numbers })
}

/// The longest header that is read, as in the format's own implementation.
const LONGEST_HEADER: u64 = 100_000_000;

/// The columns of a safetensors file, as its header says: each tensor is one, its rows along axis 0.
fn safetensors_columns(path: &Path) -> Result<Vec<SourceColumn>, String> {
    let bad = |why: String| format!("{} cannot be used: {why}", path.display());
    let mut file = File::open(path).map_err(|e| bad(e.to_string()))?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|e| bad(e.to_string()))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(bad(format!("its header should have {length} bytes; {LONGEST_HEADER} are allowed")));
    }
    let mut json = Vec::new();
    file.take(length).read_to_end(&mut json).map_err(|e| bad(e.to_string()))?;
    let header: Metadata = serde_json::from_slice(&json).map_err(|e| bad(format!("its header says: {e}")))?;
    let mut columns = Vec::new();
    for (name, info) in header.tensors() {
        let dtype = match info.dtype {
            Dtype::F64 | Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 | Dtype::U64 | Dtype::U32 => DType::I64,
            Dtype::I32 | Dtype::I16 | Dtype::I8 | Dtype::U16 => DType::I32,
            Dtype::U8 => DType::U8,
            Dtype::BOOL => DType::Bool,
            other => return Err(bad(format!("the elements of `{name}` are {other}"))),
        };
        let row = info.shape.get(1..).unwrap_or_default().to_vec();
        columns.push(SourceColumn { name, dtype, row, cells: Cells::Numbers });
    }
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(columns)
}

/// The items of a text.
///
/// # Errors
/// Everything that is wrong with it.
pub fn items_of_text(text: &str, folder: &Path) -> Result<Items, Findings> {
    items("model!", text, folder)
}

/// The items of a file.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub fn items_of_file(path: &Path) -> Result<Items, Findings> {
    let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let text = limits::read_text(path).map_err(|e| Findings {
        sources: Sources::new(),
        diagnostics: vec![Diagnostic::global("E0008", format!("{} cannot be read: {e}", path.display()))],
    })?;
    let mut made = items(&name, &text, path.parent().unwrap_or(Path::new("")))?;
    made.files.insert(0, path.to_path_buf());
    Ok(made)
}

fn items(name: &str, text: &str, folder: &Path) -> Result<Items, Findings> {
    let mut made = Items::default();
    let mut emitter = Emitter::default();
    let mut files = Folder::new(folder);
    // Names alone say what there is to compile; each is then compiled with all its mistakes told.
    let mut checker = Checker::new();
    let module = checker.load(name, text, &mut files);
    let goals = targets(&checker, module);
    if checker.failed() || goals.is_empty() {
        return Err(all_mistakes(name, text, &mut files));
    }
    let names: Vec<&Ident> = goals.iter().map(named).collect();
    if let Some(clash) = clash_of(&names) {
        return Err(Findings { sources: checker.modules.sources, diagnostics: vec![clash] });
    }
    for target in &goals {
        let goal = match target {
            Target::Model { net, .. } => Goal::Run { model: Some(&net.ast.name.text), training: false },
            Target::Trained { item, training } => Goal::Run { model: Some(&item.ast.name.text), training: *training },
            Target::Train(item) => Goal::Train { item: Some(&item.ast.name.text) },
            Target::Adapted(item) => Goal::Adapted { item: Some(&item.ast.name.text) },
        };
        let (item, docs) = match target {
            Target::Model { net, .. } => (&net.ast.name.text, &net.ast.docs),
            Target::Train(item) | Target::Trained { item, .. } | Target::Adapted(item) => {
                (&item.ast.name.text, &item.ast.docs)
            }
        };
        let request = Request { name, text, sets: &[], goal };
        let compiled = compile(&request, &mut files, &mut |_, _| {}).map_err(|own| {
            // What is wrong elsewhere is told as well, but nothing that keeps this item from being compiled is lost.
            let all = all_mistakes(name, text, &mut files);
            if all.diagnostics.iter().any(Diagnostic::is_error) { all } else { own }
        })?;
        for warning in compiled.warnings.iter().map(|d| Warning::new(d, &compiled.sources)) {
            if !made.warnings.contains(&warning) {
                made.warnings.push(warning);
            }
        }
        made.text.push_str(&one(&mut emitter, item, docs.as_ref().map_or("", |d| &d.text), &compiled));
        made.text.push('\n');
    }
    files.read.sort();
    files.read.dedup();
    made.files = files.read;
    Ok(made)
}

/// What is wrong with the names of models and trainings, if two of them would have a struct of the same name.
pub fn clash_of(names: &[&Ident]) -> Option<Diagnostic> {
    let (first, second) = clash(names.iter().map(|name| name.text.as_str()))?;
    let [first, second] = [names[first], names[second]];
    let ty = type_name(&second.text);
    let message = format!("`{}` and `{}` would both be the struct `{ty}` in Rust", first.text, second.text);
    let error = Diagnostic::error("E0115", second.span, message).label(first.span, "first here");
    Some(error.help("give one of them another name"))
}

/// The name of what is to be compiled.
fn named(target: &Target) -> &Ident {
    match target {
        Target::Model { net, .. } => &net.ast.name,
        Target::Train(item) | Target::Trained { item, .. } | Target::Adapted(item) => &item.ast.name,
    }
}

/// The items of one model or training, beside those that were emitted before it.
pub fn one(emitter: &mut Emitter, item: &str, docs: &str, compiled: &Compiled) -> String {
    let weights = compiled.rules.as_ref().map(|rules| &rules.weights);
    emitter.item(&Face { name: item, docs, plan: &compiled.plan, recipe: compiled.recipe.as_ref(), weights })
}

fn all_mistakes(name: &str, text: &str, files: &mut Folder) -> Findings {
    let request = Request { name, text, sets: &[], goal: Goal::Run { model: None, training: false } };
    crate::pipeline::check(&request, files)
}

/// A diagnostic as the text of a compile error; with its place where rustc does not underline it.
pub fn message(d: &Diagnostic, sources: &Sources, place: bool) -> String {
    let mut text = String::new();
    if let (true, Some(span)) = (place, d.span()) {
        text.push_str(&format!("{}: ", sources.place(span)));
    }
    text.push_str(&format!("[{}] {}", d.code, d.message));
    for l in d.labels.iter().filter(|l| !l.text.is_empty()) {
        match l.primary && !place {
            true => text.push_str(&format!("\n  {}", l.text)),
            false => text.push_str(&format!("\n  {}: {}", sources.place(l.span), l.text)),
        }
    }
    for n in &d.notes {
        text.push_str(&format!("\n  = {n}"));
    }
    for h in &d.help {
        text.push_str(&format!("\n  help: {h}"));
    }
    text
}
