//! The training loop, on a machine that computes by itself.

use crate::scratch::Scratch;
use crate::toy::{Call, Toy};
use dlc::error::Kind;
use dlc::machine::save;
use dlc::train::{Ended, Progress, Report, Watch, train};
use dlc::{Error, Tensor};
use dlc_plan::recipe::{Batch, Data, Length, Model, Part, Recipe, Share, Source, SourceKind, Stop, Weights};

/// 20 rows of raw = 0, 1, .. and y = raw / 5 + 1, so that y = 2 x + 1 where x = raw / 10.
fn points(dir: &Scratch) -> String {
    let rows: String = (0..20).map(|i| format!("{i},{}\n", i as f32 / 5.0 + 1.0)).collect();
    dir.file("points.csv", format!("raw,y\n{rows}"));
    "points.csv".into()
}

fn recipe(path: String) -> Recipe {
    let source = Source { kind: SourceKind::Csv, paths: vec![path], args: Vec::new() };
    let data = Data {
        name: "points".into(),
        source,
        valid: None,
        test: None,
        split: vec![(Part::Train, Share::Rows(14)), (Part::Valid, Share::Rows(4)), (Part::Test, Share::Rows(2))],
        batch: Batch::Rows(4),
        shuffle: true,
        drop_last: false,
        encodings: Vec::new(),
    };
    Recipe {
        name: "fit".into(),
        model: Model { name: "Line".into(), inputs: vec!["x".into()], outputs: vec!["out".into()] },
        data: Some(data),
        weights: None,
        lora: None,
        length: Length::Epochs(3),
        accumulate: 1,
        seed: 7,
        interval: None,
        metrics: vec!["error".into()],
        stop: None,
    }
}

/// Writes down what it is told, and interrupts after a step.
#[derive(Default)]
struct Notes {
    steps: Vec<Progress>,
    reports: Vec<Report>,
    warnings: Vec<String>,
    stop_after: Option<u64>,
}

impl Watch for Notes {
    fn step(&mut self, progress: &Progress) {
        self.steps.push(progress.clone());
    }

    fn report(&mut self, report: &Report) -> Result<(), Error> {
        self.reports.push(report.clone());
        Ok(())
    }

    fn warn(&mut self, text: &str) {
        self.warnings.push(text.to_owned());
    }

    fn interrupted(&mut self) -> bool {
        self.stop_after.is_some_and(|step| self.steps.len() as u64 >= step)
    }
}

fn shapes(calls: &[Call]) -> Vec<(usize, u64, u64, u64)> {
    calls.iter().map(|call| (call.rows, call.step, call.epoch, call.first_sample)).collect()
}

#[test]
fn every_epoch_goes_through_all_rows_in_steps() {
    let dir = Scratch::new();
    let (mut toy, mut notes) = (Toy::new(), Notes::default());
    let done = train(&mut toy, &recipe(points(&dir)), &dir.path(""), &mut notes).expect("it runs");
    assert_eq!(done.ended, Ended::Done);
    assert_eq!(toy.calls[0].entry, "init");
    let one_epoch = |e: u64| [(4, 4 * e, e, 0), (4, 4 * e + 1, e, 0), (4, 4 * e + 2, e, 0), (2, 4 * e + 3, e, 0)];
    assert_eq!(shapes(&toy.called("accumulate")), [one_epoch(0), one_epoch(1), one_epoch(2)].concat());
    assert_eq!(
        notes.steps.iter().map(|p| (p.step, p.steps, p.epoch, p.samples)).take(5).collect::<Vec<_>>(),
        [(1, 12, 1, 4), (2, 12, 1, 8), (3, 12, 1, 12), (4, 12, 1, 14), (5, 12, 2, 18)]
    );
    // One report an epoch, with metrics; the loss is the mean over rows, not over batches.
    assert_eq!(
        notes.reports.iter().map(|r| (r.progress.step, r.metrics.len())).collect::<Vec<_>>(),
        [(4, 1), (8, 1), (12, 1)]
    );
    let sizes = [4.0, 4.0, 4.0, 2.0];
    let mean = notes.steps[..4].iter().zip(sizes).map(|(p, n)| p.loss * n).sum::<f64>() / 14.0;
    assert!((notes.reports[0].progress.loss - mean).abs() < 1e-12);
    assert!(notes.reports[2].progress.loss < notes.reports[0].progress.loss);
    // The held-out rows, all at once, and never the same as those of the training; the test split comes last.
    assert_eq!(done.metrics, notes.reports[2].metrics);
    assert_eq!(done.test[0].0, "error");
    assert_eq!(toy.called("evaluate").iter().map(|call| call.rows).collect::<Vec<_>>(), [4, 4, 4, 2]);
    assert_eq!(toy.called("forward").iter().map(|call| call.rows).collect::<Vec<_>>(), [4, 4, 4, 2]);
}

#[test]
fn it_learns_the_line_and_two_runs_are_the_same() {
    let dir = Scratch::new();
    let path = points(&dir);
    let recipe = Recipe { length: Length::Epochs(200), ..recipe(path) };
    let run = || {
        let mut toy = Toy::new();
        let done = train(&mut toy, &recipe, &dir.path(""), &mut ()).expect("it runs");
        assert!((toy.weights[0] - 2.0).abs() < 1e-3 && (toy.weights[1] - 1.0).abs() < 1e-3, "{:?}", toy.weights);
        assert!(done.metrics[0].1 < 1e-2);
        (toy.weights.map(f32::to_bits), done.metrics, done.test)
    };
    assert_eq!(run(), run());
}

#[test]
fn micro_batches_make_steps_and_a_short_window_counts() {
    let dir = Scratch::new();
    let path = points(&dir);
    let (mut toy, mut notes) = (Toy::new(), Notes::default());
    let three = Recipe { accumulate: 3, length: Length::Epochs(2), ..recipe(path.clone()) };
    train(&mut toy, &three, &dir.path(""), &mut notes).expect("it runs");
    let one = |e: u64| [(4, 2 * e, e, 0), (4, 2 * e, e, 4), (4, 2 * e, e, 8), (2, 2 * e + 1, e, 0)];
    assert_eq!(shapes(&toy.called("accumulate")), [one(0), one(1)].concat());
    assert_eq!(toy.called("update").iter().map(|call| call.step).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(
        notes.steps.iter().map(|p| (p.step, p.steps, p.samples)).collect::<Vec<_>>(),
        [(1, 4, 12), (2, 4, 14), (3, 4, 26), (4, 4, 28)]
    );

    // The same steps as with batches of 12 rows: no other numbers than those of rounding.
    let mut whole = Toy::new();
    let mut twelve = Recipe { length: Length::Epochs(2), ..recipe(path) };
    twelve.data.as_mut().expect("there is data").batch = Batch::Rows(12);
    train(&mut whole, &twelve, &dir.path(""), &mut ()).expect("it runs");
    assert!(whole.weights.iter().zip(toy.weights).all(|(a, b)| (a - b).abs() < 1e-5));
}

#[test]
fn a_number_of_steps_ends_in_the_middle_of_an_epoch() {
    let dir = Scratch::new();
    let (mut toy, mut notes) = (Toy::new(), Notes::default());
    let recipe = Recipe { length: Length::Steps(6), interval: Some(2), ..recipe(points(&dir)) };
    train(&mut toy, &recipe, &dir.path(""), &mut notes).expect("it runs");
    assert_eq!(toy.called("accumulate").len(), 6);
    let told: Vec<_> = notes.reports.iter().map(|r| (r.progress.step, r.progress.epoch, r.metrics.len())).collect();
    assert_eq!(told, [(2, 1, 0), (4, 1, 1), (6, 2, 1)]);
}

#[test]
fn it_can_be_interrupted_between_steps() {
    let dir = Scratch::new();
    let (mut toy, mut notes) = (Toy::new(), Notes { stop_after: Some(5), ..Notes::default() });
    let done = train(&mut toy, &recipe(points(&dir)), &dir.path(""), &mut notes).expect("it runs");
    assert_eq!((done.ended, done.progress.step), (Ended::Interrupted, 5));
    assert_eq!(toy.called("accumulate").len(), 5);
    assert_eq!(done.test, []);
}

#[test]
fn it_stops_when_the_metric_does_not_improve() {
    let dir = Scratch::new();
    let path = points(&dir);
    let stop = |falling| Some(Stop { metric: "error".into(), patience: 3, falling });
    let (mut toy, mut notes) = (Toy::new(), Notes::default());
    // The error falls, so to one who waits for it to rise every epoch after the first is in vain.
    let recipe = Recipe { stop: stop(false), length: Length::Epochs(50), ..recipe(path) };
    let done = train(&mut toy, &recipe, &dir.path(""), &mut notes).expect("it runs");
    assert_eq!(done.ended, Ended::Stopped);
    assert_eq!(notes.reports.len(), 4);
    let recipe = Recipe { stop: stop(true), length: Length::Epochs(6), ..recipe };
    let done = train(&mut Toy::new(), &recipe, &dir.path(""), &mut ()).expect("it runs");
    assert_eq!(done.ended, Ended::Done);
}

#[test]
fn a_loss_that_is_no_number_ends_it() {
    let dir = Scratch::new();
    let mut toy = Toy::new();
    toy.rate = 1e30;
    let recipe = recipe(points(&dir));
    let error = train(&mut toy, &recipe, &dir.path(""), &mut ()).expect_err("it diverges");
    assert_eq!((error.kind, error.code), (Kind::Run, "E0703"));
    assert!(error.message.starts_with("loss is inf at step ") || error.message.starts_with("loss is NaN at step "));
    assert_eq!(error.help.len(), 1);

    let x = Tensor::from_f32(vec![3], vec![1.0, f32::NAN, 2.0]).expect("three numbers");
    dlc::weights::save(&dir.path("x"), &[("raw", &x), ("y", &x)], &Default::default()).expect("it can be written");
    let mut with_nan = recipe;
    let data = with_nan.data.as_mut().expect("there is data");
    data.source = Source { kind: SourceKind::Safetensors, paths: vec!["x".into()], args: Vec::new() };
    (data.split, data.shuffle) = (Vec::new(), false);
    let error = train(&mut Toy::new(), &with_nan, &dir.path(""), &mut ()).expect_err("the data are no numbers");
    assert_eq!(error.message, "loss is NaN at step 0");
    assert_eq!(error.notes, ["column `x` is NaN in row 1"]);
}

#[test]
fn errors_speak_of_rows_of_the_file() {
    let dir = Scratch::new();
    let rows: String = (0..20).map(|i| format!("{},0\n", if i == 13 { 2000 } else { i })).collect();
    dir.file("bad.csv", format!("raw,y\n{rows}"));
    let error = train(&mut Toy::new(), &recipe("bad.csv".into()), &dir.path(""), &mut ()).expect_err("2000 is wide");
    assert_eq!((error.kind, error.code), (Kind::Files, "E0702"));
    assert_eq!(error.message, "raw 2000 at row 13 is outside 0..1000");
}

#[test]
fn it_begins_with_the_weights_of_a_file() {
    let dir = Scratch::new();
    let mut toy = Toy::new();
    toy.weights = [2.0, 0.5];
    save(&toy, &dir.path("w.safetensors"), &[("step", "3".into())]).expect("it can be written");
    let ignore = vec!["nothing".to_owned()];
    let weights = Weights { name: "w".into(), file: "w.safetensors".into(), ignore, ..Weights::default() };
    let recipe = Recipe { weights: Some(weights), length: Length::Steps(0), ..recipe(points(&dir)) };
    let (mut other, mut notes) = (Toy::new(), Notes::default());
    train(&mut other, &recipe, &dir.path(""), &mut notes).expect("it runs");
    assert_eq!(other.weights, [2.0, 0.5]);
    assert_eq!(notes.warnings.len(), 1);
    let mut recipe = recipe;
    recipe.weights.as_mut().expect("there are weights").file = "none".into();
    assert_eq!(train(&mut other, &recipe, &dir.path(""), &mut ()).expect_err("there is none").code, "E0620");
}

#[test]
fn statistics_are_of_the_training_rows_only() {
    let dir = Scratch::new();
    let mut toy = Toy::new().with_statistics();
    let mut recipe = recipe(points(&dir));
    recipe.length = Length::Epochs(1);
    train(&mut toy, &recipe, &dir.path(""), &mut ()).expect("it runs");
    assert_eq!(toy.called("statistics").iter().map(|call| call.rows).collect::<Vec<_>>(), [14]);
}

#[test]
fn without_metrics_or_held_out_rows_there_are_none() {
    let dir = Scratch::new();
    let path = points(&dir);
    let done = train(&mut Toy::new().without("evaluate"), &recipe(path.clone()), &dir.path(""), &mut ());
    assert_eq!(done.expect("it runs").metrics, []);
    let mut all = recipe(path.clone());
    all.data.as_mut().expect("there is data").split = Vec::new();
    assert_eq!(train(&mut Toy::new(), &all, &dir.path(""), &mut ()).expect("it runs").metrics, []);
    let mut none = recipe(path.clone());
    none.data.as_mut().expect("there is data").split =
        vec![(Part::Train, Share::Rows(0)), (Part::Valid, Share::Rows(20))];
    let error = train(&mut Toy::new(), &none, &dir.path(""), &mut ()).expect_err("nothing to train on");
    assert_eq!((error.code, error.message.as_str()), ("E0613", "`points` has no rows to train on"));
    let mut missing = recipe(path);
    missing.data = None;
    assert!(train(&mut Toy::new(), &missing, &dir.path(""), &mut ()).is_err());
}

#[test]
fn a_held_out_file_of_its_own_is_not_split() {
    let dir = Scratch::new();
    let mut recipe = recipe(points(&dir));
    dir.file("valid.csv", "raw,y\n0,1\n5,2\n10,3\n");
    let data = recipe.data.as_mut().expect("there is data");
    data.split = Vec::new();
    data.valid = Some(Source { kind: SourceKind::Csv, paths: vec!["valid.csv".into()], args: Vec::new() });
    recipe.length = Length::Epochs(1);
    let mut toy = Toy::new();
    train(&mut toy, &recipe, &dir.path(""), &mut ()).expect("it runs");
    assert_eq!(toy.called("accumulate").iter().map(|call| call.rows).sum::<usize>(), 20);
    assert_eq!(toy.evaluated[1], ("target".to_owned(), vec![1.0, 2.0, 3.0]));
}
