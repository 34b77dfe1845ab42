//! The times that are promised: takes nothing, prints each beside its limit. A time is that of a whole process, from its
//! start to its end, the best of many runs.
//!
//! `cargo bench --bench limits`

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs of each command.
const RUNS: u32 = 20;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let digits = root.join("examples/digits.dl");
    let dlc = || Command::new(env!("CARGO_BIN_EXE_dlc"));
    report("dlc --help", 20, || Some(time(dlc().arg("--help"))));
    report("dlc check examples/digits.dl", 50, || Some(time(dlc().arg("check").arg(&digits))));
    let one = one_step(root);
    report("dlc train, to the end of the first step", 200, || first_step(dlc().arg("train").arg(&one.0), &one.1));
    let expand = expand(root);
    report("model!(\"examples/digits.dl\"), unoptimised", 200, || Some(time(Command::new(&expand).arg(&digits))));
}

/// Prints the best time of many runs.
fn report(what: &str, limit: u64, mut run: impl FnMut() -> Option<Duration>) {
    let best = (0..RUNS).filter_map(|_| run()).min().expect("there are runs");
    let verdict = if best < Duration::from_millis(limit) { "below" } else { "NOT BELOW" };
    println!("{what:<42} {:>7.1} ms, {verdict} {limit} ms", 1e3 * best.as_secs_f64());
}

/// How long a command takes, from before it is started to its end.
fn time(command: &mut Command) -> Duration {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("the command can be started");
    let time = start.elapsed();
    assert!(status.success(), "{command:?} failed");
    time
}

/// The digits, trained for one step and with nothing held out, so that the process ends when the step has: after writing
/// weights and metrics to a folder. Gives the spec and that folder.
fn one_step(root: &Path) -> (PathBuf, PathBuf) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one-step");
    std::fs::create_dir_all(folder.join("data")).expect("the folder can be made");
    let copy = |name: &str| std::fs::copy(root.join("examples").join(name), folder.join(name));
    copy("data/digits.csv.gz").expect("the data can be copied");
    let text = std::fs::read_to_string(root.join("examples/digits.dl")).expect("the spec can be read");
    assert!(text.contains("epochs = 20"), "the spec says how long it trains");
    let spec = folder.join("digits.dl");
    std::fs::write(&spec, text.replace("epochs = 20", "max_steps = 1")).expect("the spec can be written");
    (spec, folder.join("out"))
}

/// The time of a training of one step: more than that to the end of the step, as weights and metrics are written too.
fn first_step(command: &mut Command, out: &Path) -> Option<Duration> {
    Some(time(command.arg("--out").arg(out)))
}

/// Builds what `model!` does as a program, in a profile that optimises nothing; gives the program.
fn expand(root: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target folder");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(root).args(["build", "--quiet", "--profile", "plain", "-p", "dlc-compiler"]);
    cargo.args(["--no-default-features", "--example", "expand", "--target-dir"]).arg(target);
    assert!(cargo.status().expect("cargo can be started").success(), "the example is built");
    target.join("plain/examples").join(format!("expand{}", std::env::consts::EXE_SUFFIX))
}
