//! One training step of `examples/digits.dl`: takes the number of threads and batch sizes, prints the median and the best
//! time of a step in microseconds. The same step as `benches/pytorch_step.py`; `benches/compare.py` runs both.
//!
//! `cargo bench --bench step -- [--threads N] [--batch N ..] [--steps N]`

use dlc::{Network, Tensor, jit};
use dlc_compiler::pipeline::{Goal, Request, compile};
use std::path::Path;
use std::time::Instant;

/// Steps before those that are timed.
const WARM: usize = 100;
/// Batches that are taken in turn.
const BATCHES: usize = 16;

fn main() -> dlc::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let numbers = |name: &str| -> Vec<usize> {
        let after = args.iter().skip_while(|arg| *arg != name).skip(1).take_while(|arg| !arg.starts_with("--"));
        after.map(|arg| arg.parse().expect("a number")).collect()
    };
    let one = |name: &str, otherwise: usize| numbers(name).first().copied().unwrap_or(otherwise);
    let (threads, steps) = (one("--threads", 1), one("--steps", 2000));
    let batches = Some(numbers("--batch")).filter(|sizes| !sizes.is_empty()).unwrap_or(vec![32, 256]);
    dlc_runtime::pool::Pool::init_global(threads);
    println!("dlc, {threads} thread(s), {steps} steps each");
    let mut net = network()?;
    for size in batches {
        let mut times = measure(&mut net, size, steps)?;
        times.sort_by(f64::total_cmp);
        let (median, best) = (times[times.len() / 2], times[0]);
        println!("batch {size:4}  dlc       median {median:7.1} us  quickest {best:7.1} us");
    }
    Ok(())
}

fn network() -> dlc::Result<Network> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/digits.dl");
    let text = std::fs::read_to_string(&path).expect("the spec can be read");
    let request = Request { name: "digits.dl", text: &text, sets: &[], goal: Goal::Steps { item: None } };
    let compiled = compile(&request, &mut jit::Beside::new(&path), &mut |_, _| {}).expect("the spec is sound");
    let mut net = jit::network(compiled.plan, compiled.recipe, 42)?;
    net.plan_steps(900);
    Ok(net)
}

/// The microseconds that each of so many steps took.
fn measure(net: &mut Network, size: usize, steps: usize) -> dlc::Result<Vec<f64>> {
    let batch = |seed: usize| -> dlc::Result<(Tensor, Tensor)> {
        let pixels = (0..size * 64).map(|i| ((i * 37 + i / 64 + seed * 5) % 17) as f32 / 16.0).collect();
        let labels = (0..size).map(|i| ((i * 7 + seed) % 10) as i64).collect();
        Ok((Tensor::from_f32(vec![size, 64], pixels)?, Tensor::from_i64(vec![size], labels)?))
    };
    let batches = (0..BATCHES).map(batch).collect::<dlc::Result<Vec<_>>>()?;
    let mut times = Vec::with_capacity(steps);
    for step in 0..WARM + steps {
        let (pixels, label) = &batches[step % BATCHES];
        let start = Instant::now();
        net.step(&[("pixels", pixels), ("label", label)])?;
        times.push(1e6 * start.elapsed().as_secs_f64());
    }
    Ok(times.split_off(WARM))
}
