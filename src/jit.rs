//! Specs compiled while the program runs: takes a spec's text and what to make of it; gives a network as machine code, or
//! the program that the interpreter runs.

use crate::data::look::look;
use crate::data::schema;
use crate::error::{Error, Result, code};
use crate::network::Network;
use dlc_compiler::back::clif;
use dlc_compiler::check::{Loaded, Loader};
use dlc_compiler::emit::Folder;
use dlc_compiler::lower::{Cells, Files, Look, SourceColumn, Trouble};
use dlc_plan::Plan;
use dlc_plan::recipe::{Adaptable, Recipe, Source};
use dlc_runtime::{Engine, Kernels, ValidPlan};
use std::path::{Path, PathBuf};

/// Finds what a spec speaks of: imports, and the columns of its data.
pub struct Beside {
    imports: Folder,
    folder: PathBuf,
}

impl Beside {
    /// Files beside the spec at `path`. Imports are found if the spec's name in messages is that path.
    pub fn new(path: &Path) -> Beside {
        Beside { imports: Folder::new(Path::new("")), folder: folder_of(path) }
    }
}

/// The folder that a spec's files are relative to.
pub fn folder_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

impl Loader for Beside {
    fn load(&mut self, path: &str, from: &str) -> std::result::Result<Loaded, String> {
        self.imports.load(path, from)
    }
}

impl Files for Beside {
    fn columns(&mut self, source: &Source) -> std::result::Result<Vec<SourceColumn>, String> {
        let columns = schema::columns(source, &self.folder).map_err(|error| error.message)?;
        let column = |schema::Column { name, dtype, row, texts }| SourceColumn {
            name,
            dtype,
            row,
            cells: match texts {
                schema::Texts::Never => Cells::Numbers,
                schema::Texts::Always => Cells::Texts,
                schema::Texts::AsUsed => Cells::Either,
            },
        };
        Ok(columns.into_iter().map(column).collect())
    }

    fn look(&mut self, what: Look) -> Option<Trouble> {
        look(what, &self.folder)
    }
}

/// Makes machine code of a plan, and a network of both.
///
/// # Errors
/// When memory is short, or this machine has no machine code.
pub fn network(plan: Plan, recipe: Option<Recipe>, seed: u64) -> Result<Network> {
    Network::of(engine(plan)?, recipe, seed)
}

/// As [`network`], of a model that was compiled to be run with adapters of any rank. It has none to begin with.
///
/// # Errors
/// As [`network`].
pub fn adaptable(plan: Plan, adaptable: Adaptable) -> Result<Network> {
    Network::adaptable(engine(plan)?, adaptable)
}

fn engine(plan: Plan) -> Result<Engine> {
    let plan = ValidPlan::new(plan)?;
    let made = clif::compile(&plan.kernels).map_err(|error| Error::run(code::CANNOT_RUN, error.to_string()))?;
    Ok(Engine::new(plan, Kernels::from(made.share()))?)
}
