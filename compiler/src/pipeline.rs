//! From a spec's text to a plan, stage by stage. Takes a text, what to make of it and where to find files; gives what can be
//! run, or everything that is wrong.

pub use crate::check::BatchTensor;
use crate::check::Checker;
use crate::grad;
use crate::lower::{self, Files, Lowered, Target};
use crate::passes::{self, BEFORE_GRADIENTS, PASSES, PassError};
use crate::plan;
use crate::program::{Program, print};
use dlc_grammar::ast::Spec;
use dlc_grammar::diagnostic::tidy;
use dlc_grammar::parse::parse;
use dlc_grammar::tree::tree;
use dlc_grammar::{Diagnostic, Sources};
use dlc_plan::Plan;
use dlc_plan::recipe::{self, Adaptable, Recipe};

/// A spec and what to make of it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The file's name, for messages and for imports.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// Settings: `fit.lr` and `1e-3`.
    pub sets: &'a [(String, String)],
    /// What to make.
    pub goal: Goal<'a>,
}

/// What to make of a spec.
#[derive(Clone, Copy, Debug)]
pub enum Goal<'a> {
    /// A model that can be run.
    Run {
        /// The model's name, or that of a training whose model is meant; none for the only one.
        model: Option<&'a str>,
        /// Whether it runs as in training.
        training: bool,
    },
    /// A training.
    Train {
        /// The name of the `train` item; none for the only one.
        item: Option<&'a str>,
    },
    /// The gradients of a training for a batch that is there. Without a `data` item the batch's tensors are the columns.
    Grad {
        /// The name of the `train` item; none for the only one.
        item: Option<&'a str>,
        /// The batch.
        batch: &'a [BatchTensor],
    },
    /// The model of a training, run with adapters of any rank that are like the training's.
    Adapted {
        /// The name of the `train` item; none for the only one.
        item: Option<&'a str>,
    },
    /// The steps of a training whose adapter is to be merged, whatever its item says becomes of it.
    Merge {
        /// The name of the `train` item; none for the only one.
        item: Option<&'a str>,
    },
    /// The steps of a training: the same, but for the entry `grad`, which gives gradients by name and is not planned.
    Steps {
        /// The name of the `train` item; none for the only one.
        item: Option<&'a str>,
    },
}

/// What a spec has become.
#[derive(Debug)]
pub struct Compiled {
    /// The texts that warnings speak of.
    pub sources: Sources,
    /// What can be used and may not be meant.
    pub warnings: Vec<Diagnostic>,
    /// The program before the passes that make it fast: what the interpreter runs.
    pub program: Program,
    /// The plan: what engines run.
    pub plan: Plan,
    /// The model, as seen from outside.
    pub model: recipe::Model,
    /// The training, if there is one.
    pub recipe: Option<Recipe>,
    /// What adapters of any rank it is run with, if these were asked for.
    pub adaptable: Option<Adaptable>,
    /// How weights come from a file, if the spec says so.
    pub rules: Option<lower::Rules>,
}

/// What has been found out about a spec, or what is wrong with it.
#[derive(Debug)]
pub struct Findings {
    /// The texts that the diagnostics speak of.
    pub sources: Sources,
    /// The diagnostics, in order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

/// A stage whose result can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The syntax tree.
    Ast,
    /// The model: its inputs, outputs and weights.
    Model,
    /// The program.
    Graph,
    /// The program with gradients.
    Grad,
    /// The program after a pass.
    Pass(&'static str),
    /// The plan.
    Plan,
}

/// Is told of each stage, and may ask for its text.
pub type Watch<'a> = dyn FnMut(Stage, &dyn Fn() -> String) + 'a;

/// Compiles a spec.
///
/// # Errors
/// Everything that is wrong with it.
pub fn compile(request: &Request, files: &mut dyn Files, watch: &mut Watch) -> Result<Compiled, Findings> {
    let mut checker = Checker::new();
    let (spec, module) = load(&mut checker, request, files);
    watch(Stage::Ast, &|| tree(&spec));
    let Some(lowered) = lowered(&mut checker, request, files, module) else { return Err(findings(checker)) };
    watch(Stage::Model, &|| lower::show(&lowered));
    watch(Stage::Graph, &|| print::program(&lowered.program));
    let Lowered { program, model, recipe, adaptable, rules, .. } = lowered;
    let by_name = !matches!(request.goal, Goal::Steps { .. } | Goal::Merge { .. });
    match planned(program, by_name, watch) {
        Ok((program, plan)) => {
            let Findings { sources, diagnostics: warnings } = findings(checker);
            Ok(Compiled { sources, warnings, program, plan, model, recipe, adaptable, rules })
        }
        Err(bug) => {
            checker.diagnostics.push(Diagnostic::global("E0999", bug.to_string()));
            Err(findings(checker))
        }
    }
}

/// Whether the program is verified after each pass: where we look for our own mistakes.
const EACH: bool = cfg!(debug_assertions);

/// A program with its gradients, and its plan, in which these can be asked for by name or not.
fn planned(mut program: Program, by_name: bool, watch: &mut Watch) -> Result<(Program, Plan), PassError> {
    let mut each = |pass, p: &Program, _| watch(Stage::Pass(pass), &|| print::program(p));
    program.unread = passes::unread(&program);
    passes::run(&mut program, BEFORE_GRADIENTS, EACH, &mut each)?;
    grad::entries(&mut program, by_name);
    passes::round_operands(&mut program);
    watch(Stage::Grad, &|| print::program(&program));
    let mut fast = passes::reached_part(&program);
    let facts =
        passes::run(&mut fast, PASSES, EACH, &mut |pass, p, _| watch(Stage::Pass(pass), &|| print::program(p)))?;
    let plan = plan::plan(&fast, &facts);
    watch(Stage::Plan, &|| plan.to_string());
    Ok((program, plan))
}

/// Checks all of a spec; the request's goal plays no part.
pub fn check(request: &Request, files: &mut dyn Files) -> Findings {
    let mut checker = Checker::new();
    let (_, module) = load(&mut checker, request, files);
    lower::check(&mut checker, files, module);
    findings(checker)
}

/// Parses a spec and what it imports, with its settings.
fn load(checker: &mut Checker, request: &Request, files: &mut dyn Files) -> (Spec, u16) {
    let file = checker.modules.sources.add(request.name, request.text);
    let (mut spec, mut errors) = parse(request.text, file);
    lower::apply_sets(&mut spec, request.sets, &mut checker.modules.sources, &mut errors);
    checker.diagnostics.append(&mut errors);
    let module = checker.modules.add(request.name, spec.clone(), file, files, &mut checker.diagnostics);
    (spec, module)
}

/// The program that the request asks for, if nothing is wrong.
fn lowered(checker: &mut Checker, request: &Request, files: &mut dyn Files, module: u16) -> Option<Lowered> {
    checker.merging = matches!(request.goal, Goal::Merge { .. });
    let target = match request.goal {
        Goal::Run { model, training } => lower::choose_model(checker, module, model).map(|t| t.in_training(training)),
        Goal::Grad { item, batch } => {
            checker.batch = Some(batch.to_vec());
            lower::choose(checker, module, "train", item)
        }
        Goal::Train { item } | Goal::Steps { item } | Goal::Merge { item } => {
            lower::choose(checker, module, "train", item)
        }
        Goal::Adapted { item } => lower::choose(checker, module, "train", item).map(Target::adapted),
    };
    let lowered = lower::lower(checker, files, &target?);
    lowered.filter(|_| !checker.failed())
}

fn findings(checker: Checker) -> Findings {
    let Checker { modules, mut diagnostics, .. } = checker;
    tidy(&mut diagnostics);
    Findings { sources: modules.sources, diagnostics }
}
