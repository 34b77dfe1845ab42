//! `dlc compile`: prints what becomes of a spec, at any stage.

use super::args::text_of;
use super::fail::{Fail, Outcome, print};
use super::spec::{Item, Source};
use crate::files::write_whole;
use clap::ArgMatches;
use dlc_compiler::back::clif::clif_text;
use dlc_compiler::emit;
use dlc_compiler::pipeline::Stage;
use dlc_grammar::ast::Ident;
use std::path::PathBuf;

/// The stages that can be printed.
pub const STAGES: [&str; 7] = ["ast", "model", "graph", "grad", "plan", "clif", "rust"];

/// Prints one stage, to standard output or a file.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    let source = Source::open(args)?;
    let text = text(&source, text_of(args, "emit").unwrap_or_default(), text_of(args, "ITEM"), json)?;
    match args.get_one::<PathBuf>("output") {
        Some(path) => Ok(write_whole(path, |out| out.write_all(text.as_bytes()))?),
        None => print(&text),
    }
}

/// The text of a stage. Rust is emitted for every item, as `model!` does, unless one is named; the rest is of one item.
fn text(source: &Source, stage: &str, name: Option<&str>, json: bool) -> Result<String, Fail> {
    let items = source.items(name)?;
    let main = || source.main_item(&items);
    match stage {
        "ast" => source.tree(json),
        "model" => source.stage(main()?.goal(), Stage::Model),
        "graph" => source.stage(main()?.goal(), Stage::Graph),
        "grad" => source.stage(main()?.goal(), Stage::Grad),
        "plan" => source.stage(main()?.goal(), Stage::Plan),
        "clif" => {
            let compiled = source.compile(main()?.goal(), json)?;
            Ok(compiled.plan.kernels.iter().map(|kernel| clif_text(kernel) + "\n").collect())
        }
        _ => {
            let names: Vec<&Ident> = items.iter().map(|item| &item.ident).collect();
            if let Some(clash) = emit::clash_of(&names) {
                return Err(Fail::Spec(vec![clash], source.sources()));
            }
            let mut emitter = emit::Emitter::default();
            let mut rust = |item: &Item| {
                let compiled = source.compile(item.goal(), json)?;
                Ok(emit::one(&mut emitter, &item.name, &item.docs, &compiled) + "\n")
            };
            items.iter().map(&mut rust).collect()
        }
    }
}
