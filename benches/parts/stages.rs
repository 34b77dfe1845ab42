//! How long each stage takes: takes nothing, prints criterion's figures for `examples/digits.dl`, and for the whole
//! compilation of `tests/specs/deep.dl` at 4 and at 64 layers and of GPT-2 at 12 and at 48, with the ratio of the two.
//!
//! `cargo bench -p dlc-benches --bench stages [NAME]`

use criterion::{BatchSize, Criterion};
use dlc_compiler::back::{clif, rust};
use dlc_compiler::check::{Checker, Loaded, Loader};
use dlc_compiler::lower::{self, Cells, Files, Lowered, SourceColumn};
use dlc_compiler::passes::{self, BEFORE_GRADIENTS, PASSES};
use dlc_compiler::pipeline::{self, Goal, Request};
use dlc_compiler::plan::plan;
use dlc_compiler::program::Program;
use dlc_compiler::program::verify::verify;
use dlc_compiler::{emit, grad};
use dlc_grammar::parse::parse;
use dlc_plan::DType;
use dlc_plan::recipe::Source;
use std::hint::black_box;
use std::path::Path;
use std::time::{Duration, Instant};

/// The columns of the data that a spec names.
enum Columns {
    Digits,
    Deep,
}

impl Loader for Columns {
    fn load(&mut self, path: &str, from: &str) -> Result<Loaded, String> {
        emit::Folder::new(Path::new("")).load(path, from)
    }
}

impl Files for Columns {
    fn columns(&mut self, _: &Source) -> Result<Vec<SourceColumn>, String> {
        let column = |name: &str, dtype, row: &[usize]| SourceColumn {
            name: name.into(),
            dtype,
            row: row.to_vec(),
            cells: Cells::Numbers,
        };
        match self {
            Columns::Deep => Ok(vec![column("x", DType::F32, &[8]), column("label", DType::I64, &[])]),
            Columns::Digits => Ok(vec![column("pixels", DType::F32, &[64]), column("label", DType::F32, &[])]),
        }
    }
}

/// A stack of layers whose depth is a number.
struct Stack {
    /// What it is called here.
    name: &'static str,
    /// The spec, and the path that its imports are relative to.
    path: String,
    text: String,
    /// The setting that is the depth, and the two depths to compare.
    depth: &'static str,
    layers: [usize; 2],
    /// Compilations of each depth; of each stage the best counts, as other programs only ever slow one down.
    rounds: usize,
}

/// The small stack of the tests.
fn small() -> Stack {
    let text = text("tests/specs/deep.dl");
    Stack { name: "deep.dl", path: "deep.dl".into(), text, depth: "Deep.L", layers: [4, 64], rounds: 40 }
}

/// A training of GPT-2, 124M, and of as wide a one of 48 layers.
fn gpt2() -> Stack {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/train.dl").display().to_string();
    let text = "import { GPT2 } from \"gpt2.dl\"
        train fit(L = 12) {
          model = GPT2(L = L)
          loss = cross_entropy(logits, input_ids)
          optimizer = AdamW(lr = 1e-3)
          max_steps = 1
        }";
    Stack { name: "GPT-2", path, text: text.into(), depth: "fit.L", layers: [12, 48], rounds: 10 }
}

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn request<'a>(text: &'a str, sets: &'a [(String, String)]) -> Request<'a> {
    Request { name: "spec.dl", text, sets, goal: Goal::Train { item: None } }
}

/// The program of the only training of a text.
fn lowered(text: &str) -> Lowered {
    let mut checker = Checker::new();
    let module = checker.load("spec.dl", text, &mut Columns::Digits);
    let target = lower::choose(&mut checker, module, "train", None).expect("the spec has one training");
    lower::lower(&mut checker, &mut Columns::Digits, &target).expect("the spec is sound")
}

fn with_gradients(text: &str) -> Program {
    let mut program = lowered(text).program;
    before_gradients(&mut program);
    grad::entries(&mut program, true);
    program
}

fn before_gradients(program: &mut Program) {
    passes::run(program, BEFORE_GRADIENTS, false, &mut |_, _, _| {}).expect("the passes keep programs well formed");
}

fn fast(program: &mut Program) {
    passes::run(program, PASSES, false, &mut |_, _, _| {}).expect("the passes keep programs well formed");
}

/// A bench for each stage, from what the stage before it gives.
fn stages(c: &mut Criterion) {
    let text = text("examples/digits.dl");
    let text = text.as_str();
    let mut group = c.benchmark_group("digits");
    group.bench_function("parse", |b| b.iter(|| parse(black_box(text), 0)));
    group.bench_function("parse and check", |b| b.iter(|| pipeline::check(&request(text, &[]), &mut Columns::Digits)));
    group.bench_function("parse, check and lower", |b| b.iter(|| lowered(text).program));
    let program = || lowered(text).program;
    group.bench_function("grad", |b| {
        let made = || {
            let mut program = program();
            before_gradients(&mut program);
            program
        };
        b.iter_batched(made, |mut program| grad::entries(&mut program, true), BatchSize::SmallInput);
    });
    let with = with_gradients(text);
    group.bench_function("passes", |b| {
        b.iter_batched(|| with.clone(), |mut program| fast(&mut program), BatchSize::SmallInput);
    });
    let mut done = with.clone();
    fast(&mut done);
    group.bench_function("verify", |b| b.iter(|| verify(&done)));
    let facts = verify(&done).expect("the program is well formed");
    group.bench_function("fuse and plan", |b| b.iter(|| plan(&done, &facts)));
    let planned = plan(&done, &facts);
    group.bench_function("machine code", |b| b.iter(|| clif::compile(&planned.kernels)));
    let face = rust::Face { name: "fit", docs: "", plan: &planned, recipe: None, weights: None };
    group.bench_function("Rust", |b| b.iter(|| rust::Emitter::default().item(&face)));
    group.bench_function("all, as model! does", |b| {
        let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits.dl");
        b.iter(|| emit::items_of_file(&spec));
    });
    group.finish();
}

/// A stack of layers from text to machine code; gives how long each stage took.
fn deep(stack: &Stack, layers: usize) -> Vec<(String, Duration)> {
    let sets = [(stack.depth.to_owned(), layers.to_string())];
    let mut start = Instant::now();
    let mut stages = Vec::new();
    let mut watch = |stage, _: &dyn Fn() -> String| {
        stages.push((format!("{stage:?}"), start.elapsed()));
        start = Instant::now();
    };
    // As `dlc train` compiles it.
    let request = Request { name: &stack.path, goal: Goal::Steps { item: None }, ..request(&stack.text, &sets) };
    let compiled = pipeline::compile(&request, &mut Columns::Deep, &mut watch).expect("the spec is sound");
    black_box(clif::compile(&compiled.plan.kernels).expect("the kernels compile"));
    stages.push(("machine code".to_owned(), start.elapsed()));
    stages
}

/// The two depths in turn: what disturbs one disturbs the other. Prints how long each took, stage by stage, and the ratio.
fn depths(stack: &Stack, at_most: f64) {
    let mut best: [Vec<(String, Duration)>; 2] = Default::default();
    for _ in 0..stack.rounds {
        for (best, layers) in best.iter_mut().zip(stack.layers) {
            let stages = deep(stack, layers);
            if best.is_empty() {
                *best = stages;
            } else {
                best.iter_mut().zip(stages).for_each(|((_, best), (_, time))| *best = time.min(*best));
            }
        }
    }
    let milliseconds = |time: Duration| 1e3 * time.as_secs_f64();
    let (name, [l, m]) = (stack.name, stack.layers);
    for ((stage, few), (_, many)) in best[0].iter().zip(&best[1]) {
        let [a, b] = [milliseconds(*few), milliseconds(*many)];
        println!("{name}, {stage:<22} L = {l} {a:>6.2} ms, L = {m} {b:>6.2} ms");
    }
    let whole = |stages: &[(String, Duration)]| milliseconds(stages.iter().map(|(_, time)| *time).sum());
    let ([few, many], stages) = ([whole(&best[0]), whole(&best[1])], best[0].len());
    let ratio = many / few;
    println!(
        "{name}, all {stages} stages: L = {l} {few:.2} ms, L = {m} {many:.2} ms, ratio {ratio:.3} (at most {at_most})"
    );
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    stages(&mut criterion);
    for (group, stack) in [("deep", small()), ("gpt2", gpt2())] {
        for layers in stack.layers {
            criterion.bench_function(&format!("{group}/{layers} layers"), |b| b.iter(|| deep(&stack, layers)));
        }
    }
    // A trial run of the benches times nothing.
    if !std::env::args().any(|arg| arg == "--test") {
        depths(&small(), 1.2);
        depths(&gpt2(), 1.2);
    }
    criterion.final_summary();
}
