//! The command line through its binary: what it prints, which files it makes, how it ends.

use crate::scratch::Scratch;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// How a command ended: exit code, standard output, standard error.
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The command line with these arguments, in a folder.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dlc"));
    command.args(args).current_dir(folder).env_remove("DLC_THREADS").env_remove("NO_COLOR");
    command
}

pub fn dlc(folder: &Path, args: &[&str]) -> Ended {
    ended(command(folder, args).output().expect("the binary runs"))
}

pub fn ended(output: Output) -> Ended {
    let text = |bytes| String::from_utf8(bytes).expect("all that is printed is text");
    let code = output.status.code().expect("it ends by itself");
    Ended { code, out: text(output.stdout), err: text(output.stderr) }
}

fn with_input(folder: &Path, args: &[&str], input: &[u8]) -> Ended {
    let mut command = command(folder, args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().expect("it is piped").write_all(input).expect("it reads its input");
    ended(child.wait_with_output().expect("it ends"))
}

#[test]
fn help_names_every_command_and_a_wrong_use_is_an_error() {
    let dir = Scratch::new();
    let help = dlc(&dir.path(""), &["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for name in ["new", "check", "compile", "train", "run", "grad", "fmt"] {
        assert!(help.out.contains(&format!("\n  {name}")), "{}", help.out);
        assert_eq!(dlc(&dir.path(""), &[name, "--help"]).code, 0);
    }
    let wrong = dlc(&dir.path(""), &["chekc"]);
    assert_eq!((wrong.code, wrong.out.as_str()), (1, ""));
    assert!(wrong.err.contains("similar subcommand exists: 'check'"), "{}", wrong.err);
    assert_eq!(dlc(&dir.path(""), &[]).code, 1);
    assert_eq!(dlc(&dir.path(""), &["compile", "x.dl", "--emit", "wasm"]).code, 1);
}

const UGLY: &str = "// kept\nfn   double(x)=2*x ; const A=1\n";
const NEAT: &str = "// kept\nfn double(x) = 2 * x\nconst A = 1\n";

#[test]
fn fmt_rewrites_files_and_check_only_tells() {
    let dir = Scratch::new();
    let (ugly, neat) = (dir.file("ugly.dl", UGLY), dir.file("neat.dl", NEAT));
    let told = dlc(&dir.path(""), &["fmt", "--check", "ugly.dl", "neat.dl"]);
    assert_eq!((told.code, told.out.as_str(), told.err.as_str()), (1, "ugly.dl is not formatted\n", ""));
    assert_eq!(std::fs::read_to_string(&ugly).expect("it is there"), UGLY);
    let done = dlc(&dir.path(""), &["fmt", "ugly.dl", "neat.dl"]);
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "", ""));
    assert_eq!(std::fs::read_to_string(&ugly).expect("it is there"), NEAT);
    assert_eq!(std::fs::read_to_string(&neat).expect("it is there"), NEAT);
    assert_eq!(dlc(&dir.path(""), &["fmt", "--check", "ugly.dl", "neat.dl"]).code, 0);
    assert_eq!(dir.names(), ["neat.dl", "ugly.dl"]);
}

#[test]
fn fmt_reads_standard_input() {
    let dir = Scratch::new();
    let done = with_input(&dir.path(""), &["fmt", "-"], UGLY.as_bytes());
    assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, NEAT, ""));
    let told = with_input(&dir.path(""), &["fmt", "--check", "-"], UGLY.as_bytes());
    assert_eq!((told.code, told.out.as_str()), (1, "- is not formatted\n"));
    assert_eq!(with_input(&dir.path(""), &["fmt", "-", "--check"], NEAT.as_bytes()).code, 0);
}

#[test]
fn fmt_shows_mistakes_and_goes_on() {
    let dir = Scratch::new();
    let bad = dir.file("bad.dl", "fn f(x) = (x\n");
    let ugly = dir.file("ugly.dl", UGLY);
    let done = dlc(&dir.path(""), &["fmt", "bad.dl", "none.dl", "ugly.dl"]);
    assert_eq!(done.code, 1);
    assert!(done.err.contains("bad.dl:1:"), "{}", done.err);
    assert!(done.err.contains("cannot read none.dl: no such file or directory"), "{}", done.err);
    assert_eq!(std::fs::read_to_string(bad).expect("it is there"), "fn f(x) = (x\n");
    assert_eq!(std::fs::read_to_string(ugly).expect("it is there"), NEAT);
    let done = with_input(&dir.path(""), &["fmt", "-"], b"fn f(x) = x\n\xFF\n");
    assert_eq!(done.code, 1);
    assert!(done.err.contains("standard input is not UTF-8 text: see line 2"), "{}", done.err);
}

#[test]
fn mistakes_can_be_had_as_json() {
    let dir = Scratch::new();
    dir.file("bad.dl", "fn f(x) = 1\nfn g(x) = x # note\n");
    let done = dlc(&dir.path(""), &["--json", "fmt", "bad.dl"]);
    let first = done.err.lines().next().expect("there is a mistake");
    let said: serde_json::Value = serde_json::from_str(first).expect("a line is an object");
    assert_eq!(said["code"], "E0001");
    assert_eq!(said["severity"], "error");
    assert_eq!(said["labels"][0]["file"], "bad.dl");
    assert_eq!((&said["labels"][0]["line"], &said["labels"][0]["column"]), (&2.into(), &13.into()));
    assert_eq!(said["labels"][0]["primary"], true);
}

#[test]
fn a_closed_pipe_is_no_error() {
    let dir = Scratch::new();
    let long: String = (0..6_000).map(|i| format!("const A{i} = {i}\n")).collect();
    dir.file("long.dl", &long);
    let mut command = command(&dir.path(""), &["fmt", "-"]);
    command.stdin(Stdio::from(std::fs::File::open(dir.path("long.dl")).expect("it is there")));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    drop(child.stdout.take());
    let done = child.wait_with_output().expect("it ends");
    assert_eq!((done.status.code(), done.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn new_makes_a_formatted_spec_and_its_data_once() {
    let dir = Scratch::new();
    let done = dlc(&dir.path(""), &["new", "a/b"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(done.out.contains("dlc train a/b/spirals.dl"), "{}", done.out);
    assert_eq!(dlc(&dir.path(""), &["fmt", "--check", "a/b/spirals.dl"]).code, 0);
    let data = std::fs::read_to_string(dir.path("a/b/spirals.csv")).expect("it is there");
    assert_eq!(data.lines().count(), 601);
    let again = dlc(&dir.path(""), &["new", "a/b"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("a/b is there already, and not empty"), "{}", again.err);
    dir.file("file", "");
    let below = dlc(&dir.path(""), &["new", "file/x"]);
    assert_eq!(below.code, 2);
    assert!(below.err.contains("cannot write file/x: not a directory"), "{}", below.err);
}

#[test]
fn the_tree_of_a_spec_is_printed_with_what_was_set() {
    let dir = Scratch::new();
    dir.file("a.dl", "fn f(x, k = 1) = x * k\n");
    let done = dlc(&dir.path(""), &["compile", "a.dl", "--emit", "ast", "--set", "f.k = 2 ^ 3"]);
    assert_eq!((done.code, done.err.as_str()), (0, ""));
    assert!(done.out.contains("(^ 2 3)"), "{}", done.out);
    let to_file = dlc(&dir.path(""), &["compile", "a.dl", "--emit", "ast", "--set", "f.k=2^3", "-o", "tree.txt"]);
    assert_eq!((to_file.code, to_file.out.as_str()), (0, ""));
    assert_eq!(std::fs::read_to_string(dir.path("tree.txt")).expect("it is there"), done.out);
    let below = dlc(&dir.path(""), &["compile", "a.dl", "--emit", "ast", "-o", "a.dl/tree.txt"]);
    assert_eq!(below.code, 2);
    let wrong = dlc(&dir.path(""), &["compile", "a.dl", "--emit", "ast", "--set", "f.j=2", "--set", "f.k=(1"]);
    assert_eq!(wrong.code, 1);
    assert!(wrong.err.contains("error[E0513]: `f` has no parameter `j`"), "{}", wrong.err);
    assert!(wrong.err.contains(" --> --set:1:5"), "{}", wrong.err);
    let wrong = dlc(&dir.path(""), &["compile", "a.dl", "--emit", "ast", "--set", "f.k"]);
    assert!(wrong.err.contains("`--set f.k` has no `=`"), "{}", wrong.err);
    let missing = dlc(&dir.path(""), &["compile", "b.dl", "--emit", "ast"]);
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("cannot read b.dl: no such file or directory"), "{}", missing.err);
}
