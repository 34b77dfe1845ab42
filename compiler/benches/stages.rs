//! How long each stage takes: takes nothing, prints criterion's figures for `examples/digits.dl`, and for the whole
//! compilation of `tests/specs/deep.dl` at 4 and at 64 layers, with the ratio of the two.
//!
//! `cargo bench -p dlc-compiler --bench stages [NAME]`

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

/// Compilations of each depth; the best counts, as other programs only ever slow one down.
const ROUNDS: usize = 40;

/// The columns of the data that a spec names.
enum Columns {
    Digits,
    Deep,
}

impl Loader for Columns {
    fn load(&mut self, path: &str, _: &str) -> Result<Loaded, String> {
        Err(format!("nothing here imports {path}"))
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

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
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
    group.bench_function("Rust", |b| b.iter(|| rust::emit(&face)));
    group.bench_function("all, as model! does", |b| {
        let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/digits.dl");
        b.iter(|| emit::items_of_file(&spec));
    });
    group.finish();
}

/// The stack of layers from text to machine code; gives when each stage was over.
fn deep(text: &str, layers: usize) -> Vec<(String, Duration)> {
    let sets = [("Deep.L".to_owned(), layers.to_string())];
    let start = Instant::now();
    let mut ends = Vec::new();
    let mut watch = |stage, _: &dyn Fn() -> String| ends.push((format!("{stage:?}"), start.elapsed()));
    // As `dlc train` compiles it.
    let request = Request { goal: Goal::Steps { item: None }, ..request(text, &sets) };
    let compiled = pipeline::compile(&request, &mut Columns::Deep, &mut watch).expect("the spec is sound");
    black_box(clif::compile(&compiled.plan.kernels).expect("the kernels compile"));
    ends.push(("machine code".to_owned(), start.elapsed()));
    ends
}

/// The two depths in turn: what disturbs one disturbs the other. Prints how long each took, stage by stage, and the ratio.
fn depths() {
    let text = text("tests/specs/deep.dl");
    let mut best: [Vec<(String, Duration)>; 2] = Default::default();
    for _ in 0..ROUNDS {
        for (best, layers) in best.iter_mut().zip([4, 64]) {
            let ends = deep(&text, layers);
            if best.last().is_none_or(|(_, whole)| ends.last().is_some_and(|(_, time)| time < whole)) {
                *best = ends;
            }
        }
    }
    let milliseconds = |time: Duration| 1e3 * time.as_secs_f64();
    let mut before = [Duration::ZERO; 2];
    for ((stage, few), (_, many)) in best[0].iter().zip(&best[1]) {
        let [a, b] = [milliseconds(*few - before[0]), milliseconds(*many - before[1])];
        println!("deep.dl, {stage:<22} L = 4 {a:>6.2} ms, L = 64 {b:>6.2} ms");
        before = [*few, *many];
    }
    let ([few, many], stages) = (before.map(milliseconds), best[0].len());
    let ratio = many / few;
    println!("deep.dl, all {stages} stages: L = 4 {few:.2} ms, L = 64 {many:.2} ms, ratio {ratio:.3} (at most 1.2)");
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    stages(&mut criterion);
    let deep_text = text("tests/specs/deep.dl");
    for layers in [4, 64] {
        criterion.bench_function(&format!("deep/{layers} layers"), |b| b.iter(|| deep(&deep_text, layers)));
    }
    // A trial run of the benches times nothing.
    if !std::env::args().any(|arg| arg == "--test") {
        depths();
    }
    criterion.final_summary();
}
