//! What is seen of a training while it goes on: a bar on a terminal, one line for each report everywhere, and
//! `metrics.jsonl`.

use super::fail::{Fail, print};
use super::folder::{CHECKPOINTS, RunFolder};
use super::interp::Interp;
use crate::error::{Error, Result};
use crate::files::{make_folder, write_whole};
use crate::machine::{Machine, Named, not_finite};
use crate::train::checkpoint::{Checkpoints, State};
use crate::train::{Progress, Report, Watch};
use dlc_compiler::program::Program;
use dlc_plan::HostState;
use dlc_plan::plan::Store;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How often lines are written to the file of metrics, at most.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);

/// Whether someone pressed Ctrl-C.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C, SIGTERM or SIGHUP ends a training after its step, and a second one ends the process.
pub fn catch_interrupts() {
    let handler = || {
        if INTERRUPTED.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    };
    // Where the system does not let us listen, Ctrl-C ends the process as it always does.
    let _ = ctrlc::set_handler(handler);
}

/// Shows a training.
pub struct Show {
    bar: Option<ProgressBar>,
    epochs: Option<u64>,
    folder: RunFolder,
    /// Lines that are not in the file of metrics yet.
    lines: String,
    written: Option<Instant>,
    /// Whether the file of metrics could not be written the last time.
    failed: bool,
    /// Whether lines can no longer be printed; a training does not end for that.
    unheard: bool,
    /// The program, to look for the place where a loss went wrong.
    program: Option<Program>,
}

impl Show {
    /// A training of so many epochs, if that is how its length is said; its metrics go to a file in its folder.
    pub fn new(epochs: Option<u64>, folder: RunFolder, program: Program) -> Show {
        let bar = io::stderr().is_terminal().then(|| {
            let style = "{bar:30} {pos}/{len} steps  {msg}  {eta} left";
            let style = ProgressStyle::with_template(style).expect("the template is sound");
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10)).with_style(style)
        });
        let (lines, written, program) = (String::new(), None, Some(program));
        Show { bar, epochs, folder, lines, written, failed: false, unheard: false, program }
    }

    /// Takes the bar away, and writes what is still to be written.
    pub fn finish(&mut self) -> Result<()> {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        self.write()
    }

    /// Takes the place of an older run; gives the folder of the run from now on.
    pub fn settle(&mut self) -> Result<&Path> {
        self.folder.settle()
    }

    fn metrics(&self) -> PathBuf {
        self.folder.path().join("metrics.jsonl")
    }

    /// Adds the lines that wait to the file of metrics.
    fn write(&mut self) -> Result<()> {
        self.written = Some(Instant::now());
        let path = self.metrics();
        let append = || File::options().create(true).append(true).open(&path)?.write_all(self.lines.as_bytes());
        append().map_err(|error| Error::writing(&path, &error))?;
        self.lines.clear();
        Ok(())
    }

    /// Prints a line above the bar.
    fn line(&mut self, text: &str) {
        let unheard = &mut self.unheard;
        let mut say = || *unheard |= matches!(print(text), Err(Fail::Unheard));
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

impl Watch for Show {
    fn step(&mut self, progress: &Progress) {
        let Some(bar) = &self.bar else { return };
        bar.set_length(progress.steps);
        bar.set_position(progress.step);
        let seconds = progress.time.as_secs_f64().max(1e-9);
        bar.set_message(format!(
            "loss {}  {} samples/s",
            short(progress.loss),
            count(progress.samples as f64 / seconds)
        ));
    }

    fn report(&mut self, report: &Report) -> Result<()> {
        let Progress { step, steps, epoch, loss, .. } = report.progress;
        let mut text = match self.epochs {
            Some(epochs) => format!("epoch {epoch}/{epochs}  "),
            None => String::new(),
        };
        write!(text, "step {step}/{steps}  loss {}", short(loss)).expect("memory can be written");
        for (name, value) in &report.metrics {
            write!(text, "  {name} {}", short(*value)).expect("memory can be written");
        }
        writeln!(text, "  {} samples/s", count(report.samples_per_second)).expect("memory can be written");
        self.line(&text);
        writeln!(self.lines, "{}", json(report)).expect("memory can be written");
        if self.written.is_none_or(|written| written.elapsed() > BETWEEN_WRITES) {
            // A file that cannot be written now may be later: the lines wait.
            let done = self.write();
            if let (Err(error), false) = (&done, self.failed) {
                self.warn(&format!("{}; the lines are kept for later", error.message));
            }
            self.failed = done.is_err();
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<()> {
        make_folder(self.folder.path())?;
        self.write()
    }

    fn written(&mut self, checkpoints: &mut Checkpoints) -> Result<()> {
        checkpoints.moved(self.folder.settle()?.join(CHECKPOINTS));
        Ok(())
    }

    fn resumed(&mut self, state: &State) -> Result<()> {
        let path = self.metrics();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let kept: Vec<&str> = text.split_inclusive('\n').take(state.reports as usize).collect();
        if (kept.len() as u64) < state.reports {
            self.warn(&format!("{} has fewer lines than the checkpoint speaks of", path.display()));
        }
        write_whole(&path, |file| file.write_all(kept.concat().as_bytes()))?;
        match state {
            State { step: 0, .. } => self.line("there is no checkpoint: the training begins\n"),
            State { step, steps, .. } => self.line(&format!("resumed after step {step} of {steps}\n")),
        }
        Ok(())
    }

    fn begin(&mut self, data: &str) {
        self.line(data);
    }

    fn warn(&mut self, text: &str) {
        eprintln!("warning: {text}");
    }

    fn explain(&mut self, machine: &dyn Machine, state: &HostState, batch: &Named) -> Option<String> {
        let unsound = |store: Store| {
            let weights = machine.weights().iter().filter(|weight| weight.store == store);
            let mut values = weights.filter_map(|w| Some((w, not_finite(&machine.weight(&w.name).ok()?)?)));
            values.next().map(|(weight, value)| format!("weight `{}` is {value}", weight.name))
        };
        if let Some(weight) = unsound(Store::Trained) {
            return Some(weight);
        }
        let place = Interp::new(self.program.take()?).first_unsound("accumulate", machine, state, batch);
        place.map(|place| format!("the first non-finite value is {place}")).or_else(|| unsound(Store::Frozen))
    }

    fn interrupted(&mut self) -> bool {
        INTERRUPTED.load(Ordering::Relaxed)
    }
}

/// A report as a line of `metrics.jsonl`. There are no times in it, so that equal trainings give equal files.
fn json(report: &Report) -> Value {
    let mut line = Map::new();
    line.insert("epoch".into(), report.progress.epoch.into());
    line.insert("step".into(), report.progress.step.into());
    line.insert("loss".into(), report.progress.loss.into());
    if !report.metrics.is_empty() {
        line.insert(
            "valid".into(),
            report.metrics.iter().map(|(name, value)| (name.clone(), Value::from(*value))).collect(),
        );
    }
    Value::Object(line)
}

/// A number for people: four digits that count.
pub fn short(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return value.to_string();
    }
    match value.abs() {
        small if small < 1e-3 => format!("{value:.3e}"),
        small if small < 10.0 => format!("{value:.4}"),
        middling if middling < 1e4 => format!("{value:.2}"),
        _ => format!("{value:.4e}"),
    }
}

/// A whole number with its thousands set apart.
pub fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0, 0.97214, 2.3125851, 123.456, 5e-7, 1.5e9].map(short),
            ["0", "0.9721", "2.3126", "123.46", "5.000e-7", "1.5000e9"]
        );
        assert_eq!(short(f64::NAN), "NaN");
        assert_eq!([0.4, 999.0, 1000.0, 1234567.0].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_report_is_a_line_of_json_without_times() {
        let progress = Progress { step: 9, steps: 90, epoch: 2, loss: 0.5, samples: 288, time: Duration::from_secs(3) };
        let report = Report { progress, samples_per_second: 96.0, metrics: vec![("accuracy".into(), 0.75)] };
        assert_eq!(json(&report).to_string(), r#"{"epoch":2,"loss":0.5,"step":9,"valid":{"accuracy":0.75}}"#);
    }
}
