//! One training step of an example, or one forward pass of `examples/resnet50.dl`: takes the number of threads and batch
//! sizes, prints the median and the best time in microseconds. The same steps as `benches/pytorch_step.py`;
//! `benches/compare.py` runs both.
//!
//! `cargo bench --bench step -- [--model digits|mnist_cnn|resnet20|resnet50] [--threads N] [--batch N ..] [--steps N]`

use dlc::{Network, Tensor, jit};
use dlc_compiler::pipeline::{Goal, Request, compile};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Batches that are taken in turn.
const BATCHES: usize = 16;

/// What is timed of an example.
struct Case {
    name: &'static str,
    /// The input and the shape of a sample.
    input: (&'static str, &'static [usize]),
    /// Whether it is trained; else its forward pass is timed.
    trained: bool,
    /// The size of a batch, and how many steps, where nothing else is said.
    batches: &'static [usize],
    steps: usize,
}

const CASES: [Case; 4] = [
    Case { name: "digits", input: ("pixels", &[64]), trained: true, batches: &[32, 256], steps: 2000 },
    Case { name: "mnist_cnn", input: ("image", &[1, 28, 28]), trained: true, batches: &[64], steps: 60 },
    Case { name: "resnet20", input: ("image", &[3, 32, 32]), trained: true, batches: &[128], steps: 6 },
    Case { name: "resnet50", input: ("image", &[3, 224, 224]), trained: false, batches: &[1], steps: 20 },
];

fn main() -> dlc::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let given = |name: &str| -> Vec<&String> {
        args.iter().skip_while(|arg| *arg != name).skip(1).take_while(|arg| !arg.starts_with("--")).collect()
    };
    let numbers = |name: &str| -> Vec<usize> { given(name).iter().map(|arg| arg.parse().expect("a number")).collect() };
    let one = |name: &str, otherwise: usize| numbers(name).first().copied().unwrap_or(otherwise);
    let name = given("--model").first().map_or("digits", |name| name.as_str());
    let case = CASES.iter().find(|case| case.name == name).expect("one of the models that the first lines name");
    let (threads, steps) = (one("--threads", 1), one("--steps", case.steps));
    let batches = Some(numbers("--batch")).filter(|sizes| !sizes.is_empty()).unwrap_or(case.batches.to_vec());
    dlc_runtime::pool::Pool::init_global(threads);
    println!("dlc, {name}, {threads} thread(s), {steps} steps each");
    let mut net = network(case)?;
    for size in batches {
        let mut times = measure(&mut net, case, size, steps)?;
        times.sort_by(f64::total_cmp);
        let (median, best) = (times[times.len() / 2], times[0]);
        println!("batch {size:4}  dlc       median {median:7.1} us  quickest {best:7.1} us");
    }
    Ok(())
}

fn network(case: &Case) -> dlc::Result<Network> {
    let file = format!("{}.dl", case.name);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(&file);
    let mut text = std::fs::read_to_string(&path).expect("the spec can be read");
    if case.name == "mnist_cnn" {
        text = text.replace("../target/assets/mnist", &a_digit().display().to_string());
    }
    let goal = if case.trained { Goal::Steps { item: None } } else { Goal::Run { model: None, training: false } };
    let request = Request { name: &file, text: &text, sets: &[], goal };
    let compiled = compile(&request, &mut jit::Beside::new(&path), &mut |_, _| {}).expect("the spec is sound");
    let mut net = jit::network(compiled.plan, compiled.recipe, 42)?;
    net.plan_steps(900);
    Ok(net)
}

/// A folder with one digit in MNIST's files, whose headers are read when the spec is compiled.
fn a_digit() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    for part in ["train", "t10k"] {
        let header = |kind: u8, sizes: &[u32]| -> Vec<u8> {
            [0, 0, 8, kind].into_iter().chain(sizes.iter().flat_map(|size| size.to_be_bytes())).collect()
        };
        let images = [header(3, &[1, 28, 28]), vec![0; 784]].concat();
        let labels = [header(1, &[1]), vec![0]].concat();
        std::fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).expect("the folder can be written");
        std::fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).expect("the folder can be written");
    }
    folder
}

/// The microseconds that each of so many steps took, after some that are not counted.
fn measure(net: &mut Network, case: &Case, size: usize, steps: usize) -> dlc::Result<Vec<f64>> {
    let (input, sample) = case.input;
    let shape: Vec<usize> = [size].iter().chain(sample).copied().collect();
    let batch = |seed: usize| -> dlc::Result<(Tensor, Tensor)> {
        let count = shape.iter().product();
        let pixels = (0..count).map(|i: usize| ((i * 37 + i / 64 + seed * 5) % 17) as f32 / 16.0).collect();
        let labels = (0..size).map(|i| ((i * 7 + seed) % 10) as i64).collect();
        Ok((Tensor::from_f32(shape.clone(), pixels)?, Tensor::from_i64(vec![size], labels)?))
    };
    let batches = (0..BATCHES.min(steps)).map(batch).collect::<dlc::Result<Vec<_>>>()?;
    let warm = (steps / 20).clamp(1, 100);
    let mut times = Vec::with_capacity(warm + steps);
    for step in 0..warm + steps {
        let (pixels, label) = &batches[step % batches.len()];
        let start = Instant::now();
        if case.trained {
            net.step(&[(input, pixels), ("label", label)])?;
        } else {
            net.run("forward", &[(input, pixels)])?;
        }
        times.push(1e6 * start.elapsed().as_secs_f64());
    }
    Ok(times.split_off(warm))
}
