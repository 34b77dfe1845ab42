//! Numbers are what double precision says: sums of any length and elementary functions of any float, from machine code and
//! from emitted Rust, with the same bits.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::engines::{compiled_as, machine};
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::Goal;
use std::ops::DerefMut;

dlc::model!("tests/specs/numbers.dl");

const SPEC: &str = "tests/specs/numbers.dl";

/// A model as emitted Rust, and as machine code on 1 and 3 threads.
struct Engines<M> {
    rust: M,
    machines: [Network; 2],
}

impl<M: DerefMut<Target = Network>> Engines<M> {
    fn new(model: &str, rust: M) -> Engines<M> {
        let c = compiled_as(SPEC, Goal::Run { model: Some(model), training: false }, &[]);
        Engines { rust, machines: [1, 3].map(|threads| machine(&c, 0, threads)) }
    }

    /// The outputs for some inputs, after asserting that all engines give the same bits.
    fn run(&mut self, inputs: &[(&str, &Tensor)]) -> Vec<Vec<f32>> {
        let found = Network::run(&mut self.rust, "forward", inputs).unwrap();
        for machine in &mut self.machines {
            for ((name, a), (_, b)) in machine.run("forward", inputs).unwrap().iter().zip(&found) {
                let bits =
                    |t: &Tensor| t.to_f32_vec().iter().map(|x| if x.is_nan() { !0 } else { x.to_bits() }).collect();
                let [a, b]: [Vec<u32>; 2] = [bits(a), bits(b)];
                assert!(a == b, "`{name}` of machine code is not that of emitted Rust");
            }
        }
        found.into_iter().map(|(_, t)| t.to_f32_vec()).collect()
    }
}

impl Engines<Sums> {
    /// The outputs of `Sums`.
    fn sums(&mut self, x: &[f32], (rows, columns, cells): (usize, usize, &[f32])) -> Vec<Vec<f32>> {
        let table = Tensor::from_f32(vec![rows, columns], cells.to_vec()).unwrap();
        self.run(&[("x", &vector(x)), ("table", &table)])
    }
}

fn vector(x: &[f32]) -> Tensor {
    Tensor::from_f32(vec![x.len()], x.to_vec()).unwrap()
}

/// The outputs of `Numbers`.
fn numbers(x: &[f32], y: &[f32]) -> Vec<Vec<f32>> {
    Engines::new("Numbers", Numbers::new(0).unwrap()).run(&[("x", &vector(x)), ("y", &vector(y))])
}

fn sums() -> Engines<Sums> {
    Engines::new("Sums", Sums::new(0).unwrap())
}

/// Numbers that look random, from 0 to 1.
fn noise(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    (0..n).map(|_| next()).collect()
}

/// Floats of every exponent and both signs, some of each.
fn floats(seed: u64, of_each: usize) -> Vec<f32> {
    let fractions = noise(seed, 2 * 255 * of_each);
    let one = |(i, f): (usize, f32)| {
        let (sign, exponent) = ((i % 2) as u32, (i / 2 % 255) as u32);
        f32::from_bits(sign << 31 | exponent << 23 | (f * (1 << 23) as f32) as u32)
    };
    fractions.into_iter().enumerate().map(one).collect()
}

/// How many units in the last place of the exact value a result is off.
fn ulps(found: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if rounded.is_nan() || !rounded.is_finite() || !found.is_finite() {
        let same = found == rounded || found.is_nan() && rounded.is_nan();
        return if same { 0.0 } else { f64::INFINITY };
    }
    let exponent = if exact == 0.0 { -126 } else { exact.abs().log2().floor() as i32 };
    (f64::from(found) - exact).abs() / 2f64.powi(exponent.max(-126) - 23)
}

#[track_caller]
fn assert_near(what: &str, found: &[f32], exact: impl Fn(usize) -> f64, show: impl Fn(usize) -> String) {
    for (i, found) in found.iter().enumerate() {
        let off = ulps(*found, exact(i));
        assert!(off <= 2.0, "{what} of {} is {found:e}, not {:e}: {off} units off", show(i), exact(i));
    }
}

#[test]
fn functions_of_every_exponent_are_near() {
    let mut x = floats(1, 40);
    // The multiples of pi/2, near which little is left.
    x.extend((1..4000).map(|i| (f64::from(i * i) * std::f64::consts::FRAC_PI_2) as f32));
    // A float of all that is nearest to a multiple of pi/2, for its size; the borders of what is reduced at once.
    x.extend([f32::from_bits(0x6f5a_be45), 65_535.996, 65_536.0, 65_536.01, f32::MAX, 0.0, -0.0]);
    // Powers that are neither 0 nor infinite, and some that are.
    let mut y = noise(2, x.len());
    for (y, x) in y.iter_mut().zip(&x) {
        let most = 150.0 / f64::from(x.abs()).log2().abs().max(1e-6);
        *y = ((f64::from(*y) * 2.0 - 1.0) * most.min(1e30)) as f32;
    }
    let found = numbers(&x, &y);
    let wide = |i: usize| (f64::from(x[i]), f64::from(y[i]));
    assert_near("sin", &found[0], |i| wide(i).0.sin(), |i| format!("{:e}", x[i]));
    assert_near("cos", &found[1], |i| wide(i).0.cos(), |i| format!("{:e}", x[i]));
    assert_near("power", &found[2], |i| wide(i).0.powf(wide(i).1), |i| format!("{:e}, {:e}", x[i], y[i]));
}

#[test]
fn powers_have_the_edges_of_ieee() {
    let values =
        [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30];
    let pairs: Vec<(f32, f32)> = values.iter().flat_map(|x| values.map(|y| (*x, y))).collect();
    let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    let found = numbers(&x, &y);
    for ((x, y), power) in pairs.iter().zip(&found[2]) {
        let exact = f64::from(*x).powf(f64::from(*y)) as f32;
        // What is neither 0 nor infinite is as near as elsewhere.
        let same = power.to_bits() == exact.to_bits() || power.is_nan() && exact.is_nan();
        let near = exact.is_normal() && ulps(*power, f64::from(*x).powf(f64::from(*y))) <= 2.0;
        assert!(same || near, "{x} ^ {y} is {power}, not {exact}");
    }
}

#[test]
fn known_powers_are_near() {
    let x: Vec<f32> = floats(3, 20).into_iter().map(f32::abs).filter(|x| *x > 0.0).collect();
    let found = Engines::new("Powers", Powers::new(0).unwrap()).run(&[("x", &vector(&x))]);
    let powers: [f64; 13] = [2.0, 3.0, 4.0, 5.0, 7.0, 8.0, -3.0, -4.0, 0.5, 1.5, 2.5, -0.5, -1.5];
    for (found, y) in found[0].chunks(x.len()).zip(powers) {
        // What is divided by has to be a number.
        let inside = |i: usize| y > 0.0 || f64::from(x[i]).powf(-y) < 3e38 && f64::from(x[i]).powf(-y) > 1.2e-38;
        let exact = |i: usize| if inside(i) { f64::from(x[i]).powf(y) } else { f64::from(found[i]) };
        assert_near(&format!("x ^ {y}"), found, exact, |i| format!("{:e}", x[i]));
    }
    let rows: Vec<&[f32]> = found[0].chunks(x.len()).collect();
    let wide = |i: usize| f64::from(x[i]);
    assert_near("x ^ 0.3", rows[13], |i| wide(i).powf(f64::from(0.3_f32)), |i| format!("{:e}", x[i]));
    assert_near("2 ^ x", rows[14], |i| 2f64.powf(wide(i)), |i| format!("{:e}", x[i]));
    for (x, r) in x.iter().zip(rows[15]) {
        assert_eq!(x % 3.0, *r, "{x:e} % 3");
    }
}

/// PyTorch's `remainder`: that of C, plus the divisor where the signs differ.
fn remainder(a: f32, b: f32) -> f32 {
    let r = a % b;
    if r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
}

#[test]
fn remainders_of_every_pair_of_exponents_are_exact() {
    let some = floats(4, 1);
    let pairs: Vec<(f32, f32)> = some.iter().flat_map(|a| some.iter().skip(3).step_by(7).map(|b| (*a, *b))).collect();
    let near = floats(5, 20).into_iter().zip(noise(6, 2 * 255 * 20)).map(|(a, k)| (a, a / (k * 50.0).ceil()));
    let edges = [(-1e-9, 3.0), (5.0, f32::INFINITY), (-5.0, f32::INFINITY), (-6.0, 2.0), (6.0, -2.0), (0.0, -5.0)];
    let broken = [(1.0, 0.0), (f32::INFINITY, 2.0), (f32::NAN, 1.0), (1.0, f32::NAN), (0.0, 0.0)];
    let pairs: Vec<(f32, f32)> = pairs.into_iter().chain(near).chain(edges).chain(broken).collect();
    let (x, y): (Vec<f32>, Vec<f32>) = pairs.iter().copied().unzip();
    let found = numbers(&x, &y);
    for ((a, b), found) in pairs.iter().zip(&found[3]) {
        let exact = remainder(*a, *b);
        let same = found.to_bits() == exact.to_bits() || found.is_nan() && exact.is_nan();
        assert!(same, "{a:e} % {b:e} is {found:e}, not {exact:e}");
    }
}

/// Whether a sum is within 1e-6 of the sum of absolute values.
#[track_caller]
fn assert_sum(what: &str, found: f32, of: impl Iterator<Item = f64> + Clone) {
    let (exact, size): (f64, f64) = (of.clone().sum(), of.map(f64::abs).sum());
    let off = (f64::from(found) - exact).abs() / size.max(1e-30);
    assert!(off <= 1e-6, "{what} is {found}, not {exact}: {off:e}");
}

#[test]
fn sums_of_any_length_are_near() {
    let mut sums = sums();
    for n in [0, 1, 17, 256, 257, 4097, 1_000_003] {
        for (kind, x) in [("0.1", vec![0.1; n]), ("noise", noise(7, n))] {
            let signed: Vec<f32> = x.iter().zip(noise(8, n)).map(|(x, s)| if s < 0.5 { -x } else { *x }).collect();
            for (kind, x) in [(kind, &x), ("signed", &signed)] {
                let found = sums.sums(x, (0, 3, &[]));
                let wide = x.iter().map(|x| f64::from(*x));
                assert_sum(&format!("the sum of {n} {kind}"), found[0][0], wide.clone());
                if n > 0 {
                    let square = |x: f64| (x - 0.5) * (x - 0.5) / n as f64;
                    assert_sum(&format!("the mean square of {n} {kind}"), found[1][0], wide.clone().map(square));
                    assert_sum(&format!("the last of {n} running sums of {kind}"), found[2][n - 1], wide);
                }
            }
        }
    }
}

#[test]
#[expect(clippy::needless_range_loop, reason = "a column is one of several results and of the cells")]
fn sums_of_rows_and_columns_are_near() {
    let mut sums = sums();
    for (rows, columns) in
        [(0, 3), (1, 1), (3, 5000), (16, 17), (17, 16), (1000, 33), (70_000, 5), (200_003, 1), (2, 300_001)]
    {
        for cells in [vec![0.1; rows * columns], noise(9, rows * columns)] {
            let found = sums.sums(&[], (rows, columns, &cells));
            let wide = |i: usize| f64::from(cells[i]);
            for c in 0..columns {
                let of = (0..rows).map(|r| wide(r * columns + c));
                assert_sum(&format!("column {c} of {rows} x {columns}"), found[3][c], of.clone());
                if rows > 0 {
                    assert_sum(&format!("the mean of column {c}"), found[6][c], of.map(|x| 2.0 * x / rows as f64));
                }
            }
            for r in 0..rows {
                assert_sum(&format!("row {r} of {columns}"), found[4][r], (0..columns).map(|c| wide(r * columns + c)));
            }
            assert_sum(&format!("all of {rows} x {columns}"), found[5][0], (0..rows * columns).map(wide));
        }
    }
}

#[test]
fn infinite_sums_are_infinite() {
    let mut sums = sums();
    for n in [3, 300, 100_000] {
        for (at, cell, sum) in [(n / 2, f32::INFINITY, f32::INFINITY), (n - 1, f32::NEG_INFINITY, f32::NEG_INFINITY)] {
            let mut x = vec![1.0; n];
            x[at] = cell;
            let found = sums.sums(&x, (n, 1, &x));
            assert_eq!([found[0][0], found[3][0], found[5][0], found[2][n - 1]], [sum; 4], "{n} numbers");
        }
        let large = vec![3e38; n];
        let found = sums.sums(&large, (n, 1, &large));
        assert_eq!([found[0][0], found[3][0], found[5][0]], [f32::INFINITY; 3], "{n} large numbers");
    }
}

/// The outputs of `Rows` for rows of 64 numbers.
fn rows(x: &[f32]) -> Vec<Vec<f32>> {
    let x = Tensor::from_f32(vec![x.len() / 64, 64], x.to_vec()).unwrap();
    Engines::new("Rows", Rows::new(0).unwrap()).run(&[("x", &x)])
}

/// (x - mean) / deviation in double precision.
fn normed(x: &[f32]) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
    let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
    x.iter().map(|x| (f64::from(*x) - mean) / variance.sqrt()).collect()
}

#[track_caller]
fn assert_close(what: &str, found: &[f32], exact: &[f64], most: f64) {
    for (i, (a, b)) in found.iter().zip(exact).enumerate() {
        assert!((f64::from(*a) - b).abs() <= most, "{what}: element {i} is {a}, not {b}");
    }
}

#[test]
fn norms_of_numbers_far_from_0_are_near() {
    for (far, seed) in [(0.0, 1), (1.0, 2), (1000.0, 3), (-1e4, 4), (1e6, 5)] {
        let x: Vec<f32> = noise(seed, 9 * 64).iter().map(|x| (x * 2.0 - 1.0) * 1.7 + far).collect();
        let found = rows(&x);
        let by = |part: usize| x.chunks(part).flat_map(normed).collect::<Vec<f64>>();
        assert_close("LayerNorm", &found[0], &by(64), 2e-6);
        assert_close("GroupNorm", &found[1], &by(32), 2e-6);
        assert_close("InstanceNorm", &found[2], &by(32), 2e-6);
        // While training, a channel's statistics are those of the batch.
        let c = compiled_as(SPEC, Goal::Run { model: Some("Rows"), training: true }, &[]);
        let given = Tensor::from_f32(vec![9, 64], x.clone()).unwrap();
        let trained = machine(&c, 0, 2).run("forward", &[("x", &given)]).unwrap();
        let batch = trained.iter().find(|(name, _)| name == "batch").unwrap().1.to_f32_vec();
        for channel in 0..64 {
            let of = |x: &[f32]| x.iter().skip(channel).step_by(64).copied().collect::<Vec<f32>>();
            assert_close("BatchNorm", &of(&batch), &normed(&of(&x)), 2e-6);
        }
    }
}

#[test]
fn what_is_not_a_number_is_the_greatest_and_the_least() {
    let mut x = noise(3, 4 * 64);
    // In the first row nowhere; in the others once, twice, everywhere.
    for at in [64 + 17, 128 + 5, 128 + 60].into_iter().chain(192..256) {
        x[at] = f32::NAN;
    }
    let found = rows(&x);
    assert_eq!(
        [found[4][1], found[4][2], found[4][3]],
        [17.0, 5.0, 0.0],
        "the greatest is the first that is no number"
    );
    assert_eq!([found[5][1], found[5][2], found[5][3]], [17.0, 5.0, 0.0], "the least too");
    let most = (0..64).max_by(|a, b| x[*a].total_cmp(&x[*b])).unwrap();
    assert_eq!((found[4][0], found[6][0]), (most as f32, x[most]));
    assert!(!found[7][0].is_nan() && found[6][1..].iter().chain(&found[7][1..]).all(|x| x.is_nan()));
    assert_eq!(
        [found[8][64 + 63], found[8][128 + 62], found[8][128 + 63]],
        [17.0, 5.0, 60.0],
        "they are the last in order"
    );
    let nans = |row: usize| found[9][row * 3..][..3].iter().filter(|x| x.is_nan()).count();
    assert_eq!([nans(0), nans(1), nans(2), nans(3)], [0, 1, 2, 3], "and the first of the greatest");
}

#[test]
fn what_goes_over_a_split_is_as_near_as_a_float_can_be() {
    let c = compiled_as("tests/specs/split.dl", Goal::Train { item: None }, &[]);
    let mut net = machine(&c, 0, 2);
    for n in [5, 1000, 100_003] {
        let x: Vec<f32> = noise(4, n * 8).iter().map(|x| 1000.0 + x).collect();
        let given = Tensor::from_f32(vec![n, 8], x.clone()).unwrap();
        let label = Tensor::from_i64(vec![n], vec![1; n]).unwrap();
        let wide = |i: usize| f64::from(x[i]);
        let found = net.run("statistics", &[("x", &given), ("label", &label)]).unwrap();
        for (name, t) in found {
            let found = t.to_f32_vec();
            // A mean is a sum and a quotient, each rounded once.
            let exact: Vec<f64> = match found.len() {
                8 => (0..8).map(|c| (0..n).map(|r| wide(r * 8 + c)).sum::<f64>() / n as f64).collect(),
                _ => vec![(0..n * 8).map(wide).sum()],
            };
            for (found, exact) in found.iter().zip(exact) {
                let off = ulps(*found, exact);
                let most = if t.shape().is_empty() { 1.0 } else { 2.0 };
                assert!(off <= most, "{name} of {n} rows is {found}, not {exact}: {off} units off");
            }
        }
        let y = Tensor::from_f32(vec![n], x[..n].to_vec()).unwrap();
        let sum: f64 = (0..n).map(wide).sum();
        let found = net.run("evaluate", &[("y", &y)]).unwrap();
        for (name, t) in found {
            let exact = if name == "mean" { sum / n as f64 } else { (0..n).map(|i| f64::from(x[i] * 3.0)).sum() };
            let off = ulps(t.to_f32_vec()[0], exact);
            let most = if name == "mean" { 2.0 } else { 1.0 };
            assert!(off <= most, "{name} of {n} rows is off by {off} units");
        }
    }
}
