//! What can be written on the command line. Gives the one description from which arguments are parsed and help is printed.

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use dlc_runtime::pool::Pool;
use std::path::PathBuf;

/// The whole, with these commands.
pub fn command(commands: impl Iterator<Item = Command>) -> Command {
    Command::new("dlc")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Checks, trains, runs and compiles descriptions of neural networks")
        .after_help("Exit codes: 0 fine, 1 the spec, 2 data or weights, 3 failed while running, 130 interrupted.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .arg(flag("json", "Print errors and warnings as JSON, one to a line").global(true))
        .subcommands(commands)
}

/// A folder to begin with.
pub fn new() -> Command {
    Command::new("new")
        .about("Make a folder with a small spec and its data, ready to be trained")
        .arg(path("FOLDER", "The folder to make").required(true))
}

/// The mistakes of a spec.
pub fn check() -> Command {
    Command::new("check").about("Find the mistakes in a spec").arg(spec()).arg(set())
}

/// The stages of a spec.
pub fn compile() -> Command {
    Command::new("compile")
        .about("Print what becomes of a spec, at any stage")
        .arg(spec())
        .arg(text("ITEM", "The model or training, where the spec has several"))
        .arg(option("emit", "STAGE", "What to print").required(true).value_parser(super::compile::STAGES))
        .arg(path("output", "Write to a file [default: standard output]").short('o').long("output").value_name("FILE"))
        .arg(set())
}

/// A training.
pub fn train() -> Command {
    Command::new("train")
        .about("Train a model on its data")
        .arg(spec())
        .arg(text("TRAIN", "The training, where the spec has several"))
        .arg(path("out", "The folder of the run [default: a new one below runs/TRAIN]").long("out").value_name("DIR"))
        .arg(
            path("resume", "Go on from the last checkpoint of a run [default: --out, or runs/TRAIN/latest]")
                .long("resume")
                .value_name("DIR")
                .num_args(0..=1),
        )
        .arg(
            option("checkpoint-every", "STEPS", "Write a checkpoint every so many steps besides")
                .value_parser(value_parser!(u64).range(1..)),
        )
        .arg(set())
        .arg(threads())
}

/// A model on tensors.
pub fn run() -> Command {
    Command::new("run")
        .about("Run a model on tensors")
        .arg(spec())
        .arg(text("MODEL", "The model, or the training whose model it is, where there are several; with --adapter, the training that has one"))
        .arg(weights())
        .arg(
            adapter(
                "An adapter to run it with, of any rank: a folder that PEFT or dlc has written; several are summed",
            )
            .action(ArgAction::Append)
            .conflicts_with("training"),
        )
        .arg(tensors("in", "The inputs, under the names that the model gives them"))
        .arg(tensors("out", "Where the outputs go, under the names that the model gives them"))
        .arg(engine())
        .arg(flag("training", "Run as in training: with dropout, and statistics of the batch"))
        .arg(option("seed", "N", "The seed of random numbers").value_parser(value_parser!(u64)).default_value("0"))
        .arg(set())
        .arg(threads())
}

/// Gradients of a batch.
pub fn grad() -> Command {
    Command::new("grad")
        .about("Compute the loss of a batch and the gradient of every trained weight")
        .arg(spec())
        .arg(text("TRAIN", "The training, where the spec has several"))
        .arg(weights())
        .arg(tensors("in", "The batch: the model's inputs and what else the loss speaks of"))
        .arg(tensors("out", "Where the gradients go, under the weights' names, and the loss as `loss`"))
        .arg(engine())
        .arg(
            option("seed", "N", "The seed of random numbers [default: the training's]")
                .value_parser(value_parser!(u64)),
        )
        .arg(set())
        .arg(threads())
}

/// An adapter into its base.
pub fn merge() -> Command {
    Command::new("merge")
        .about("Take an adapter into the weights that it adapts, and write the plain model")
        .after_help("On rows of the training's data, where that is there, the outputs before and after are compared.")
        .arg(spec())
        .arg(text("TRAIN", "The training with the adapter, where the spec has several"))
        .arg(adapter("The adapter: a folder that PEFT or dlc has written, or the file in it").required(true))
        .arg(path("out", "The safetensors file to write").long("out").value_name("FILE").required(true))
        .arg(
            path("keep", "Also write what merging changes, as it was, for `dlc unmerge`")
                .long("keep")
                .value_name("FILE"),
        )
        .arg(weights())
        .arg(set())
        .arg(threads())
}

/// The base again.
pub fn unmerge() -> Command {
    Command::new("unmerge")
        .about("Take a merge back: the base as it was, bit by bit")
        .arg(path("MERGED", "The merged model, as `dlc merge` has written it").required(true))
        .arg(path("kept", "What `dlc merge --keep` has written").long("kept").value_name("FILE").required(true))
        .arg(path("out", "The safetensors file to write").long("out").value_name("FILE").required(true))
}

/// Weights in another format.
pub fn convert() -> Command {
    Command::new("convert")
        .about("Write the weights of any file that dlc reads as safetensors, or list them")
        .after_help(
            "Read are safetensors and its index of several files, NumPy's .npz, PyTorch's .pth, .pt and .bin, and GGUF;\n\
             what a file is, its content says. Nothing in a file is run.",
        )
        .arg(path("IN", "The file, or the folder of an adapter").required(true))
        .arg(path("OUT", "The safetensors file to write").required_unless_present_any(["list", "lora"]))
        .arg(
            option("dtype", "TYPE", "Write real numbers as f32, f16 or bf16 [default: as they are; quantised ones as f32]")
                .value_parser(["f32", "f16", "bf16"]),
        )
        .arg(flag("list", "Only print types, shapes and names").conflicts_with_all(["OUT", "dtype"]))
        .arg(
            flag("lora", "Print the `lora` item for an adapter that PEFT or dlc has written")
                .conflicts_with_all(["OUT", "dtype", "list"]),
        )
        .arg(option("prefix", "NAME", "What the adapter's names have before the model's").requires("lora"))
}

/// The prelude's items.
pub fn doc() -> Command {
    Command::new("doc")
        .about("Show what an activation, norm, layer, loss, optimizer or schedule is")
        .arg(text("ITEM", "Its name [default: tables of all]"))
}

/// The one style.
pub fn fmt() -> Command {
    Command::new("fmt")
        .about("Rewrite specs in the one style")
        .arg(path("FILE", "The specs, or - for standard input").required(true).num_args(1..))
        .arg(flag("check", "Only tell which files would change; exit code 1 if there are any"))
}

fn spec() -> Arg {
    path("SPEC", "The spec").required(true)
}

fn set() -> Arg {
    option("set", "ITEM.NAME=VALUE", "Give a parameter or entry of an item another value").action(ArgAction::Append)
}

fn threads() -> Arg {
    option("threads", "N", "How many threads to use [default: all cores, or DLC_THREADS]")
        .value_parser(value_parser!(u16).range(1..=1024))
}

fn weights() -> Arg {
    path("weights", "The model's weights, in any format that `dlc convert` reads [default: the spec's own]")
        .long("weights")
        .value_name("FILE")
}

fn engine() -> Arg {
    option("engine", "ENGINE", "Machine code, or the plain interpreter that it is tested against")
        .value_parser(["jit", "interp"])
        .default_value("jit")
}

fn adapter(help: &'static str) -> Arg {
    path("adapter", help).long("adapter").value_name("FOLDER")
}

fn tensors(name: &'static str, help: &'static str) -> Arg {
    path(name, help).long(name).value_name("FILE.safetensors").required(true)
}

fn path(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).help(help).value_parser(value_parser!(PathBuf))
}

fn text(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).help(help)
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn flag(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

/// A path that the command requires.
pub fn required_path<'a>(args: &'a ArgMatches, name: &str) -> &'a PathBuf {
    args.get_one(name).expect("the command line requires this argument")
}

/// A text, if it was given.
pub fn text_of<'a>(args: &'a ArgMatches, name: &str) -> Option<&'a str> {
    args.get_one::<String>(name).map(String::as_str)
}

/// All values of `--set`.
pub fn sets(args: &ArgMatches) -> Vec<String> {
    args.get_many("set").into_iter().flatten().cloned().collect()
}

/// Starts as many threads as were asked for, before anything else does.
pub fn start_threads(args: &ArgMatches) {
    if let Some(threads) = args.get_one::<u16>("threads") {
        Pool::init_global(usize::from(*threads));
    }
}
