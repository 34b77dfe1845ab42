//! The spec that a command is about: its text, what `--set` changes in it, and what becomes of it.

use super::args::{required_path, sets};
use super::fail::{Fail, tell};
use super::weights::Said;
use crate::error::{Error, Kind, code};
use crate::jit::{Beside, folder_of};
use clap::ArgMatches;
use dlc_compiler::limits;
use dlc_compiler::lower::{apply_sets, with_paths, with_sets};
use dlc_compiler::pipeline::{self, Compiled, Findings, Goal, Request, Stage};
use dlc_compiler::program::Program;
use dlc_grammar::parse::parse;
use dlc_grammar::print::{format, print_spec};
use dlc_grammar::tree::tree;
use dlc_grammar::{Diagnostic, Sources, ast, nearest};
use dlc_plan::Plan;
use dlc_plan::recipe::Recipe;
use std::path::{Component, Path, PathBuf};

/// A model or a training of a spec.
pub struct Item {
    /// Its name.
    pub name: String,
    /// Where that stands.
    pub ident: ast::Ident,
    /// Its documentation.
    pub docs: String,
    is_training: bool,
    /// Whether it is a training with an adapter.
    pub is_adapted: bool,
}

impl Item {
    /// What is to be compiled.
    pub fn goal(&self) -> Goal<'_> {
        match self.is_training {
            true => Goal::Train { item: Some(&self.name) },
            false => Goal::Run { model: Some(&self.name), training: false },
        }
    }
}

/// A training that has been compiled.
pub struct Training {
    /// What its spec says of weights.
    pub said: Said,
    /// What the interpreter runs.
    pub program: Program,
    /// What engines run.
    pub plan: Plan,
    /// How it goes on.
    pub recipe: Recipe,
}

/// A spec, and what is set in it.
pub struct Source {
    path: PathBuf,
    name: String,
    text: String,
    sets: Vec<(String, String)>,
}

impl Source {
    /// The spec that the command line names, with what it sets.
    pub fn open(args: &ArgMatches) -> Result<Source, Fail> {
        let path = required_path(args, "SPEC").clone();
        let text = read(&path)?;
        let sets = sets(args).iter().map(|set| pair(set)).collect::<Result<_, _>>()?;
        Ok(Source { name: path.display().to_string(), path, text, sets })
    }

    /// The folder that its files are relative to.
    pub fn folder(&self) -> PathBuf {
        folder_of(&self.path)
    }

    /// The file that it is in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What messages call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its models and trainings, or those of a name.
    pub fn items(&self, name: Option<&str>) -> Result<Vec<Item>, Fail> {
        let (spec, _) = parse(&self.text, 0);
        let item = |item: &ast::Item| {
            let is_training = match item {
                ast::Item::Net(net) if net.kind == ast::NetKind::Model => false,
                ast::Item::Config(config) if config.kind.text == "train" => true,
                ast::Item::Import(_) | ast::Item::Const(_) | ast::Item::Fn(_) => return None,
                ast::Item::Net(_) | ast::Item::Config(_) => return None,
            };
            let adapts = |entry: &ast::Entry| matches!(&entry.kind, ast::EntryKind::Attr { names, .. } if names[0].text == "lora");
            let is_adapted =
                matches!(item, ast::Item::Config(config) if is_training && config.entries.iter().any(adapts));
            let docs = item.docs().map_or_else(String::new, |docs| docs.text.clone());
            let ident = item.name()?.clone();
            Some(Item { name: ident.text.clone(), ident, docs, is_training, is_adapted })
        };
        let all: Vec<Item> = spec.items.iter().filter_map(item).collect();
        let Some(wanted) = name else { return Ok(all) };
        let near = nearest(wanted, all.iter().map(|item| item.name.as_str())).map(str::to_owned);
        let found: Vec<Item> = all.into_iter().filter(|item| item.name == wanted).collect();
        if found.is_empty() {
            let error = Diagnostic::global("E0512", format!("no model or training is called `{wanted}`"));
            return Err(Fail::Spec(vec![error.did_you_mean(near.as_deref())], Sources::new()));
        }
        Ok(found)
    }

    /// The one training among some items, or else the one model.
    pub fn main_item<'a>(&self, items: &'a [Item]) -> Result<&'a Item, Fail> {
        let trainings: Vec<&Item> = items.iter().filter(|item| item.is_training).collect();
        let all: Vec<&Item> = if trainings.is_empty() { items.iter().collect() } else { trainings };
        match all.as_slice() {
            [one] => Ok(one),
            [] => Err(Fail::Spec(vec![Diagnostic::global("E0512", "the spec has no model")], Sources::new())),
            several => {
                let names: Vec<String> = several.iter().map(|item| format!("`{}`", item.name)).collect();
                let error = Diagnostic::global("E0512", format!("there are several: {}", names.join(", ")));
                Err(Fail::Spec(vec![error.help("name one of them after the spec")], Sources::new()))
            }
        }
    }

    /// The text, for what is said of it.
    pub fn sources(&self) -> Sources {
        Sources::single(self.name.as_str(), self.text.as_str())
    }

    /// The structure of its tree; warnings are told.
    pub fn tree(&self, json: bool) -> Result<String, Fail> {
        let mut sources = self.sources();
        let (mut spec, mut diagnostics) = parse(&self.text, 0);
        apply_sets(&mut spec, &self.sets, &mut sources, &mut diagnostics);
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(Fail::Spec(diagnostics, sources));
        }
        tell(&diagnostics, &sources, json);
        Ok(tree(&spec))
    }

    /// Compiles it without a word.
    pub fn compiled(&self, goal: Goal) -> Result<Compiled, Fail> {
        self.watched(goal, &mut |_, _| {})
    }

    /// Compiles it; warnings are told.
    pub fn compile(&self, goal: Goal, json: bool) -> Result<Compiled, Fail> {
        let compiled = self.watched(goal, &mut |_, _| {})?;
        tell(&compiled.warnings, &compiled.sources, json);
        Ok(compiled)
    }

    /// The text of a stage; what is wrong after that stage does not matter.
    pub fn stage(&self, goal: Goal, wanted: Stage) -> Result<String, Fail> {
        let mut text = None;
        let done = self.watched(goal, &mut |stage, show| {
            if stage == wanted {
                text = Some(show());
            }
        });
        match (text, done) {
            (Some(text), _) => Ok(text),
            (None, Err(fail)) => Err(fail),
            (None, Ok(_)) => Err(Error::run(code::CANNOT_RUN, format!("the stage {wanted:?} was not reached")).into()),
        }
    }

    /// Compiles a training; warnings are told.
    pub fn training(&self, goal: Goal, json: bool) -> Result<Training, Fail> {
        let compiled = self.compile(goal, json)?;
        let said = Said::of(&compiled);
        let Compiled { program, plan, recipe, .. } = compiled;
        Ok(Training { said, program, plan, recipe: recipe.expect("a training has a recipe") })
    }

    fn watched(&self, goal: Goal, watch: &mut pipeline::Watch) -> Result<Compiled, Fail> {
        let request = self.request(goal);
        pipeline::compile(&request, &mut Beside::new(&self.path), watch)
            .map_err(|Findings { sources, diagnostics }| Fail::Spec(diagnostics, sources))
    }

    /// Everything that is wrong with it.
    pub fn check(&self) -> Findings {
        let request = self.request(Goal::Run { model: None, training: false });
        pipeline::check(&request, &mut Beside::new(&self.path))
    }

    fn request<'a>(&'a self, goal: Goal<'a>) -> Request<'a> {
        Request { name: &self.name, text: &self.text, sets: &self.sets, goal }
    }

    /// Its text as it was used, formatted, with paths that are relative to `folder`. Comments that a setting leaves no place
    /// for are left out.
    pub fn resolved(&self, folder: &Path) -> String {
        let text = with_sets(&self.text, &self.sets).unwrap_or_else(|| {
            let (mut spec, _) = parse(&self.text, 0);
            apply_sets(&mut spec, &self.sets, &mut Sources::new(), &mut Vec::new());
            print_spec(&spec)
        });
        let own = relative(&self.folder(), folder);
        let text = with_paths(&text, &|path| match Path::new(path).is_absolute() || own.as_os_str().is_empty() {
            true => path.to_owned(),
            false => format!("{}/{path}", own.display().to_string().replace('\\', "/")),
        });
        format(&text).unwrap_or(text)
    }
}

/// A folder as seen from another; empty if they are the same.
fn relative(folder: &Path, from: &Path) -> PathBuf {
    let whole = |path: &Path| {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        path.canonicalize()
    };
    let (Ok(folder), Ok(from)) = (whole(folder), whole(from)) else { return folder.to_owned() };
    let (own, other): (Vec<_>, Vec<_>) = (folder.components().collect(), from.components().collect());
    let shared = own.iter().zip(&other).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return folder;
    }
    let up = other[shared..].iter().map(|_| Component::ParentDir);
    up.chain(own[shared..].iter().copied()).collect()
}

/// `fit.lr=1e-3` as a path and a value.
fn pair(set: &str) -> Result<(String, String), Fail> {
    match set.split_once('=') {
        Some((path, value)) => Ok((path.trim().to_owned(), value.trim().to_owned())),
        None => {
            let error = Diagnostic::global("E0513", format!("`--set {set}` has no `=`"));
            Err(Fail::Spec(vec![error.help("`--set ITEM.NAME=VALUE`, such as `--set fit.lr=1e-3`")], Sources::new()))
        }
    }
}

/// The text of a spec.
pub fn read(path: &Path) -> Result<String, Fail> {
    let bytes = limits::read(path).map_err(|error| cannot_read(path, &error))?;
    text_of(bytes, path)
}

/// Bytes as text; a spec that is no text is a mistake in the spec.
pub fn text_of(bytes: Vec<u8>, path: &Path) -> Result<String, Fail> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        Error::spec(code::BAD_FILE, format!("{} is not UTF-8 text: see line {line}", path.display())).into()
    })
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    let error = Error::reading(path, error);
    Error { kind: Kind::Spec, ..error }
}
