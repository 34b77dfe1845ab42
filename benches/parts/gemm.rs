//! Matrix products beside the crate `gemm`: takes the number of threads, prints for each shape the best rates of both in
//! GFLOP/s and their ratio. The two run in turn, so that what disturbs one disturbs the other.
//!
//! `cargo bench -p dlc-benches --bench gemm [-- THREADS]`

use dlc_runtime::gemm::{self, Mat};
use dlc_runtime::pool::Pool;
use gemm_common::Parallelism;
use gemm_f32::gemm::f32::get_gemm_fn;
use std::time::{Duration, Instant};

/// m, n, k.
const SHAPES: [[usize; 3]; 22] = [
    [256, 256, 256],
    [384, 384, 384],
    [512, 512, 512],
    [768, 768, 768],
    [1024, 1024, 1024],
    [1536, 1536, 1536],
    [2048, 2048, 2048],
    [32, 128, 64],
    [32, 64, 128],
    [32, 10, 64],
    [64, 128, 32],
    [128, 64, 32],
    [256, 128, 64],
    [256, 128, 784],
    [784, 128, 256],
    [256, 10, 64],
    [1, 1024, 1024],
    [1024, 1, 1024],
    [1, 4096, 1024],
    [4096, 1, 1024],
    [8, 1024, 1024],
    [1024, 1024, 8],
];
/// What each of the two may take for a shape.
const BUDGET: Duration = Duration::from_millis(300);
/// The fewest multiply-adds that are timed at once.
const AT_ONCE: usize = 1 << 22;

fn main() {
    let threads = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(1);
    let pool = Pool::new(threads);
    println!("{threads} thread(s), GFLOP/s of the best run");
    for shape in SHAPES {
        let [ours, theirs] = rates(&pool, shape);
        let [m, n, k] = shape;
        let name = format!("[{m}, {k}] x [{k}, {n}]");
        println!("{name:<28} dlc {ours:>6.1}  gemm {theirs:>6.1}  ratio {:.2}", ours / theirs);
    }
}

/// The rates of both.
fn rates(pool: &Pool, [m, n, k]: [usize; 3]) -> [f64; 2] {
    let numbers = |len: usize| (0..len).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect::<Vec<f32>>();
    let (a, b, mut c) = (numbers(m * k), numbers(k * n), vec![0.0_f32; m * n]);
    let mut scratch = vec![0.0; gemm::scratch_len(pool.threads(), m, n, k)];
    let repeats = AT_ONCE.div_ceil(m * n * k);
    let mut ours = || {
        let (a, b, c) = (Mat::rows(&a, k), Mat::rows(&b, n), Mat::rows_mut(&mut c, n));
        // SAFETY: the matrices lie in their vectors, and C is none of the others.
        unsafe { gemm::gemm(Some(pool), [m, n], &[gemm::Term::new(k, a, b)], c, false, &mut scratch, None) }
    };
    let mut best = [Duration::MAX; 2];
    let mut spent = Duration::ZERO;
    let mut other = vec![0.0_f32; m * n];
    while spent < 2 * BUDGET {
        for (which, best) in best.iter_mut().enumerate() {
            let start = Instant::now();
            for _ in 0..repeats {
                if which == 0 { ours() } else { theirs(pool.threads(), [m, n, k], &a, &b, &mut other) }
            }
            let time = start.elapsed();
            spent += time;
            *best = time.min(*best);
        }
    }
    best.map(|time| 2.0 * (repeats * m * n * k) as f64 / time.as_secs_f64() / 1e9)
}

/// C = A B as the crate likes it, column after column: what lies row after row is a transpose, and C' = B' A'.
fn theirs(threads: usize, [m, n, k]: [usize; 3], a: &[f32], b: &[f32], c: &mut [f32]) {
    let parallel = if threads > 1 { Parallelism::Rayon(threads) } else { Parallelism::None };
    let (across_a, across_b) = (k as isize, n as isize);
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    let gemm = get_gemm_fn();
    // SAFETY: the matrices lie in their slices row after row, and C is none of the others.
    unsafe {
        gemm(n, m, k, c, across_b, 1, false, b, across_b, 1, a, across_a, 1, 0.0, 1.0, false, false, false, parallel);
    }
}
