//! Trainings that are interrupted, killed or out of disk, and go on from a checkpoint as if nothing had happened.

use crate::cli::{Ended, command, dlc};
use crate::scratch::Scratch;
use dlc::machine::Machine;
use dlc::train::checkpoint::{Checkpoints, State};
use dlc::train::{Ended as TrainingEnded, Outcome, Report, Start, Watch, train_with};
use dlc::{Error, Network, Tensor};
use dlc_compiler::pipeline::{Goal, Request, compile};
use dlc_plan::Recipe;
use dlc_plan::plan::Store;
use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

/// Points on a line, and pictures, of two classes.
fn table(dir: &Scratch) {
    let picture = |i: u64| (0..16).map(move |j| ((i * 7 + j * i) % 13) as f32 / 6.0 - 1.0);
    let pixels = (0..41).flat_map(picture).collect();
    let pixels = Tensor::from_f32(vec![41, 1, 4, 4], pixels).expect("as many numbers");
    let labels: Vec<i64> = (0..41).map(|i| i % 2).collect();
    let labels = Tensor::from_slice(&[41], &labels).expect("as many numbers");
    let named = [("x", &pixels), ("label", &labels)];
    dlc::weights::save(&dir.path("pictures.safetensors"), &named, &BTreeMap::new()).expect("it can be written");
    let row = |i: i32| format!("{},{}\n", f64::from(i - 20) / 10.0 + 0.01, i32::from(i >= 20));
    dir.file("points.csv", "x,label\n".to_owned() + &(0..41).map(row).collect::<String>());
}

const DATA: &str = "
data points {
  source = csv(\"points.csv\")
  split { train = 0.8  valid = 0.2 }
  columns { x = stack[1](x)  label = i64(label) }
  batch = 5
  shuffle = true
}
";

/// A network with dropout, AdamW, a schedule over all steps, metrics, and a stop that never comes.
const MLP: &str = "
model Side(p = 0.1)(x: [B, 1]) -> logits: [B, 2] {
  return x -> fc1: Linear(8) -> gelu -> dropout(p) -> head: Linear(2)
}
train fit {
  model = Side()
  data = points
  loss = cross_entropy(logits, label)
  optimizer = AdamW(lr = 0.05 * warmup(step, 4) * cosine(step, steps))
  epochs = 3
  interval = 2
  metrics { held = cross_entropy(logits, label) }
  stop { metric = held  patience = 50  falling = true }
}
";

/// Two micro-batches a step, the last one of an epoch short.
const ACCUMULATED: &str = "
model Side()(x: [B, 1]) -> logits: [B, 2] { return x -> fc1: Linear(8) -> tanh -> head: Linear(2) }
train fit {
  model = Side()
  data = points
  loss = cross_entropy(logits, label)
  optimizer = SGD(lr = 0.1, momentum = 0.9)
  accumulate = 2
  epochs = 3
}
";

/// A convolution with batch norm, whose pictures are moved about.
const PICTURES: &str = "
model Cnn()(x: [B, 1, 4, 4]) -> logits: [B, 2] {
  return x -> conv: Conv2d(4, 3, padding = 1) -> bn: BatchNorm() -> relu -> global_avg_pool -> head: Linear(2)
}
data points {
  source = safetensors(\"pictures.safetensors\")
  augment { x = x * rand[0](x) }
  batch = 5
  shuffle = true
}
train fit {
  model = Cnn()
  data = points
  loss = cross_entropy(logits, label)
  optimizer = Adam(lr = 1e-2)
  epochs = 2
}
";

/// An adapter on a frozen network.
const ADAPTED: &str = "
model Side()(x: [B, 1]) -> logits: [B, 2] { return x -> fc1: Linear(8) -> tanh -> head: Linear(2) }
lora Low { rank = 2  scale = 2  dropout = 0.2  freeze \"**\"  target \"fc1\" }
train fit {
  model = Side()
  data = points
  lora = Low()
  loss = cross_entropy(logits, label)
  optimizer = AdamW(lr = 0.05)
  epochs = 2
}
";

/// A report without times: step, samples, the bits of the loss and of metrics.
type Numbers = (u64, u64, u64, Vec<(String, u64)>);

/// What a watcher sees of a training, without times.
#[derive(Default)]
struct Notes {
    steps: u64,
    stop_after: Option<u64>,
    reports: Vec<Numbers>,
    warnings: Vec<String>,
    began_again: Option<u64>,
}

impl Watch for Notes {
    fn step(&mut self, _: &dlc::train::Progress) {
        self.steps += 1;
    }

    fn report(&mut self, report: &Report) -> Result<(), Error> {
        let metrics = report.metrics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect();
        let progress = &report.progress;
        self.reports.push((progress.step, progress.samples, progress.loss.to_bits(), metrics));
        Ok(())
    }

    fn resumed(&mut self, state: &State) -> Result<(), Error> {
        self.began_again = Some(state.step);
        self.reports.truncate(state.reports as usize);
        Ok(())
    }

    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    fn interrupted(&mut self) -> bool {
        self.stop_after.is_some_and(|step| self.steps >= step)
    }
}

/// A network that is about to be trained.
fn network(dir: &Scratch, text: &str) -> (Network, Recipe) {
    let request = Request { name: "spec.dl", text, sets: &[], goal: Goal::Train { item: None } };
    let mut beside = dlc::jit::Beside::new(&dir.path("spec.dl"));
    let compiled = compile(&request, &mut beside, &mut |_, _| {});
    let compiled = compiled.unwrap_or_else(|findings| panic!("{:?}", findings.diagnostics));
    let recipe = compiled.recipe.expect("a training has a recipe");
    (dlc::jit::network(compiled.plan, None, recipe.seed).expect("there is machine code"), recipe)
}

/// Everything that a training changes, by its bits.
fn bits(net: &Network) -> Vec<(String, Vec<u8>)> {
    let engine = net.engine();
    let stores = |name: &str| {
        let states = (0..engine.states().len() as u16).map(Store::State);
        let own = engine.weight(name).expect("it is there");
        let states: Vec<Tensor> = states.filter_map(|state| engine.kept(state, name).ok()).collect();
        std::iter::once(own).chain(states).flat_map(|tensor| tensor.bytes().to_vec()).collect()
    };
    engine.weights().iter().map(|weight| (weight.name.clone(), stores(&weight.name))).collect()
}

/// Trains with checkpoints in `dir` after every step.
fn go(dir: &Scratch, text: &str, resume: bool, notes: &mut Notes) -> (Outcome, Network) {
    let (mut net, recipe) = network(dir, text);
    let mut checkpoints = Checkpoints::new(dir.path("checkpoints")).every(Some(1)).resume(resume);
    let done =
        train_with(net.engine_mut(), &recipe, &dir.path(""), notes, Start::anew(&recipe), Some(&mut checkpoints));
    (done.expect("it runs"), net)
}

/// Trains with checkpoints and no watcher.
fn resumed(net: &mut Network, recipe: &Recipe, dir: &Scratch, checkpoints: &mut Checkpoints) -> Result<Outcome, Error> {
    train_with(net.engine_mut(), recipe, &dir.path(""), &mut (), Start::anew(recipe), Some(checkpoints))
}

/// The numbers of an outcome, without times.
fn numbers(done: &Outcome) -> Numbers {
    let metrics = done.metrics.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect();
    (done.progress.step, done.progress.samples, done.progress.loss.to_bits(), metrics)
}

#[test]
fn a_training_goes_on_as_if_it_had_not_been_interrupted() {
    for (name, text) in [
        ("mlp", [MLP, DATA].concat()),
        ("accumulated", [ACCUMULATED, DATA].concat()),
        ("pictures", PICTURES.to_owned()),
        ("adapted", [ADAPTED, DATA].concat()),
    ] {
        let dir = Scratch::new();
        table(&dir);
        let mut whole = Notes::default();
        let (done, net) = go(&dir, &text, false, &mut whole);
        let steps = done.progress.step;
        assert!(steps > 8 && whole.warnings.is_empty(), "{name}: {steps} {:?}", whole.warnings);
        // After the first step, within an epoch, at its end, and just before the end.
        for at in [1, 2, 5, 7, steps - 1] {
            std::fs::remove_dir_all(dir.path("checkpoints")).expect("there are checkpoints");
            let mut notes = Notes { stop_after: Some(at), ..Notes::default() };
            let (first, _) = go(&dir, &text, false, &mut notes);
            assert_eq!((first.ended, first.progress.step), (TrainingEnded::Interrupted, at), "{name}");
            // A second interruption, later, so that a checkpoint of a training that was resumed is used too.
            let mut notes = Notes { stop_after: Some(1), reports: notes.reports, ..Notes::default() };
            go(&dir, &text, true, &mut notes);
            assert_eq!(notes.began_again, Some(at), "{name}");
            let mut notes = Notes { reports: notes.reports, ..Notes::default() };
            let (again, resumed) = go(&dir, &text, true, &mut notes);
            assert_eq!(notes.warnings, [""; 0], "{name}");
            assert_eq!(numbers(&again), numbers(&done), "{name} from {at}");
            assert_eq!(notes.reports, whole.reports, "{name} from {at}");
            assert!(bits(&resumed) == bits(&net), "{name} from {at}");
        }
    }
}

#[test]
fn a_damaged_checkpoint_gives_way_to_the_one_before() {
    let dir = Scratch::new();
    table(&dir);
    let text = [MLP, DATA].concat();
    go(&dir, &text, false, &mut Notes { stop_after: Some(4), ..Notes::default() });
    assert_eq!(Scratch::names_in(&dir.path("checkpoints")), ["last", "step-3", "step-4"]);
    dir.file("checkpoints/step-4/optimizer.safetensors", "short");
    // A single bit counts too.
    let weights = dir.path("checkpoints/step-3/weights.safetensors");
    let sound = std::fs::read(&weights).expect("it is there");
    let mut flipped = sound.clone();
    *flipped.last_mut().expect("it has bytes") ^= 1;
    std::fs::write(&weights, flipped).expect("it can be written");
    let (mut net, recipe) = network(&dir, &text);
    let mut checkpoints = Checkpoints::new(dir.path("checkpoints")).resume(true);
    let error = resumed(&mut net, &recipe, &dir, &mut checkpoints).expect_err("neither is sound");
    assert!(error.code != "E0703", "{error}");
    std::fs::write(&weights, sound).expect("it can be written");
    std::fs::create_dir(dir.path("checkpoints/.step-9.part")).expect("it can be made");
    let mut notes = Notes::default();
    go(&dir, &text, true, &mut notes);
    assert_eq!(notes.began_again, Some(3));
    assert!(notes.warnings[0].contains("step-4 is left out: "), "{:?}", notes.warnings);
    assert!(!dir.path("checkpoints/.step-9.part").exists());
    for step in Scratch::names_in(&dir.path("checkpoints")).iter().filter(|name| name.starts_with("step")) {
        dir.file(&format!("checkpoints/{step}/training.json"), "{");
    }
    let (mut net, recipe) = network(&dir, &text);
    let mut checkpoints = Checkpoints::new(dir.path("checkpoints")).resume(true);
    let error = resumed(&mut net, &recipe, &dir, &mut checkpoints);
    assert_eq!(error.expect_err("none is sound").code, "E0622");
}

#[test]
fn a_checkpoint_of_another_training_is_refused() {
    let dir = Scratch::new();
    table(&dir);
    go(&dir, &[MLP, DATA].concat(), false, &mut Notes { stop_after: Some(2), ..Notes::default() });
    for (from, to, said) in [
        ("Linear(8)", "Linear(9)", "`fc1.weight` is [8, 1] there and [9, 1] here"),
        ("fc1:", "fc2:", "it has `fc1.bias`, and this training does not"),
        ("AdamW(", "Lion(", "and this training does not"),
        ("epochs = 3", "epochs = 3\n  seed = 8", "the seed"),
    ] {
        let (mut net, recipe) = network(&dir, &[MLP, DATA].concat().replacen(from, to, 1));
        let mut checkpoints = Checkpoints::new(dir.path("checkpoints")).resume(true);
        let error = resumed(&mut net, &recipe, &dir, &mut checkpoints);
        let error = error.expect_err("it is another training");
        assert!(error.code == "E0622" && error.message.contains(said), "{to}: {error}");
    }
}

/// The best weights of a training that gets worse are those that are left.
#[test]
fn the_best_weights_are_kept() {
    let dir = Scratch::new();
    table(&dir);
    // A rate that grows makes the held-out loss worse after a while.
    let text = [MLP, DATA].concat().replace("0.05 * warmup(step, 4) * cosine(step, steps)", "0.02 * 3 ^ (step / 7)");
    let text = text.replace("epochs = 3", "epochs = 12").replace("patience = 50", "patience = 2");
    let mut notes = Notes::default();
    let (done, net) = go(&dir, &text, false, &mut notes);
    let held = |report: &Numbers| report.3.first().map(|(_, bits)| (f64::from_bits(*bits), report.0));
    let best = notes.reports.iter().filter_map(held).min_by(|a, b| a.0.total_cmp(&b.0)).expect("it was validated");
    assert_eq!((done.ended, done.best), (TrainingEnded::Stopped, Some(best.1)));
    assert!(best.1 < done.progress.step && done.metrics[0].1 == best.0, "{done:?}");
    // The weights of that step, trained alone, are the same.
    let mut until = Notes { stop_after: Some(best.1), ..Notes::default() };
    std::fs::remove_dir_all(dir.path("checkpoints")).expect("there are checkpoints");
    let (_, then) = go(&dir, &text, false, &mut until);
    for weight in net.engine().weights() {
        let of = |net: &Network| net.engine().weight(&weight.name).expect("it is there");
        assert_eq!(of(&net), of(&then), "{}", weight.name);
    }
}

fn fine(ended: Ended) -> Ended {
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended
}

/// A spec whose training takes about a second and writes a checkpoint every few steps.
fn long(dir: &Scratch) {
    table(dir);
    let text = [MLP, DATA].concat().replace("epochs = 3", "epochs = 60").replace("interval = 2", "interval = 30");
    dir.file("spec.dl", text + "");
}

#[cfg(unix)]
#[test]
fn kills_at_random_moments_lose_nothing() {
    let dir = Scratch::new();
    long(&dir);
    let args = ["train", "spec.dl", "--checkpoint-every", "5"];
    fine(dlc(&dir.path(""), &[&args[..], &["--out", "whole"]].concat()));
    let mut state = 0x2545_f491_u64;
    let mut kills = 0;
    loop {
        let mut run = command(&dir.path(""), &[&args[..], &["--resume", "killed"]].concat());
        let mut child = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(40 + (state >> 33) % 120));
        // A training that has ended by itself needs no more kills.
        if child.try_wait().expect("it is our child").is_some() || kills == 12 {
            child.kill().ok();
            child.wait().expect("it ends");
            break;
        }
        child.kill().expect("it is our child");
        child.wait().expect("it ends");
        kills += 1;
    }
    let done = dlc(&dir.path(""), &[&args[..], &["--resume", "killed"]].concat());
    assert_eq!(done.code, 0, "{}", done.err);
    for file in ["model.safetensors", "metrics.jsonl", "resolved.dl"] {
        let read = |run: &str| std::fs::read(dir.path(run).join(file)).expect("it is there");
        assert!(read("whole") == read("killed"), "{file} after {kills} kills");
    }
    assert_eq!(Scratch::names_in(&dir.path("killed")), Scratch::names_in(&dir.path("whole")));
}

#[test]
fn a_run_has_its_folder_to_itself() {
    let dir = Scratch::new();
    long(&dir);
    let train = |more: &[&str]| dlc(&dir.path(""), &[&["train", "spec.dl", "--set", "fit.epochs=1"], more].concat());
    fine(train(&[]));
    fine(train(&[]));
    assert_eq!(Scratch::names_in(&dir.path("runs/fit")), ["1", "2", "latest"]);
    let first = std::fs::read(dir.path("runs/fit/latest/model.safetensors")).expect("it is there");
    // A finished run is replaced as a whole.
    fine(train(&["--out", "out"]));
    dir.file("out/checkpoint.safetensors", "of an older version");
    fine(train(&["--out", "out", "--set", "fit.seed=9"]));
    assert_eq!(
        Scratch::names_in(&dir.path("out")),
        [".lock", "checkpoints", "metrics.jsonl", "model.safetensors", "resolved.dl"]
    );
    assert!(first != std::fs::read(dir.path("out/model.safetensors")).expect("it is there"));
    // A run that fails leaves the one before as it was.
    let before = std::fs::read(dir.path("out/resolved.dl")).expect("it is there");
    dir.file("points.csv", "x,label\n1,2\n");
    let failed = train(&["--out", "out"]);
    assert!(failed.code == 2 || failed.code == 3, "{}", failed.err);
    let after = std::fs::read(dir.path("out/resolved.dl")).expect("it is there");
    assert_eq!(String::from_utf8_lossy(&before), String::from_utf8_lossy(&after));
    assert!(!dir.names().iter().any(|name| name.ends_with(".part")), "{:?}", dir.names());
    table(&dir);
    // Files of somebody else are nobody's to remove.
    dir.file("out/notes.txt", "mine");
    let refused = train(&["--out", "out"]);
    assert!(refused.code == 2 && refused.err.contains("holds `notes.txt`"), "{}", refused.err);
    std::fs::remove_file(dir.path("out/notes.txt")).expect("it is there");
    // The spec that is trained is not replaced.
    let refused = dlc(&dir.path(""), &["train", "out/resolved.dl", "--out", "out"]);
    assert!(refused.code == 2 && refused.err.contains("is the spec to be trained"), "{}", refused.err);
}
