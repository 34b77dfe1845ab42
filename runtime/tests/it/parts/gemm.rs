//! Products against their definition, at every layout, size class, instruction set and number of threads.

use dlc_plan::kernel::Total;
use dlc_runtime::gemm::walk::{CHAIN, Job, LONG, Team, walk};
use dlc_runtime::gemm::*;
use dlc_runtime::isa::Isa;
use dlc_runtime::pool::Pool;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How a matrix lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Layout {
    Rows,
    Columns,
    /// Rows that are longer than the matrix is wide.
    Padded,
    /// No unit distance anywhere.
    Spread,
    /// One row for all.
    SameRow,
    /// One column for all.
    SameColumn,
}

const READ: [Layout; 6] =
    [Layout::Rows, Layout::Columns, Layout::Padded, Layout::Spread, Layout::SameRow, Layout::SameColumn];
const WRITTEN: [Layout; 4] = [Layout::Rows, Layout::Columns, Layout::Padded, Layout::Spread];

/// A matrix that owns its memory. What the matrix does not cover is NaN, so that a stray read shows.
struct Owned {
    data: Vec<f32>,
    rs: usize,
    cs: usize,
}

impl Owned {
    /// Numbers in (-1, 1) that look random.
    fn new(layout: Layout, rows: usize, cols: usize, seed: u32) -> Owned {
        let (rs, cs) = match layout {
            Layout::Rows => (cols, 1),
            Layout::Columns => (1, rows),
            Layout::Padded => (cols + 5, 1),
            Layout::Spread => (2 * cols + 3, 2),
            Layout::SameRow => (0, 1),
            Layout::SameColumn => (1, 0),
        };
        let len = if rows * cols == 0 { 0 } else { (rows - 1) * rs + (cols - 1) * cs + 1 };
        let mut owned = Owned { data: vec![f32::NAN; len], rs, cs };
        let mut state = seed;
        for row in 0..rows {
            for col in 0..cols {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                owned.data[row * rs + col * cs] = (state >> 8) as f32 / 8_388_608.0 - 1.0;
            }
        }
        owned
    }

    fn get(&self, row: usize, col: usize) -> f32 {
        self.data[row * self.rs + col * self.cs]
    }

    fn mat(&mut self) -> Mat {
        Mat { ptr: self.data.as_mut_ptr(), rs: self.rs as isize, cs: self.cs as isize }
    }
}

struct Case {
    sizes: [usize; 3],
    layouts: [Layout; 3],
    accumulate: bool,
}

impl Case {
    fn operands(&self) -> [Owned; 3] {
        let [m, n, k] = self.sizes;
        let [a, b, c] = self.layouts;
        [Owned::new(a, m, k, 1), Owned::new(b, k, n, 2), Owned::new(c, m, n, 3)]
    }

    /// C by the rule at the top of `gemm`, one element at a time.
    fn by_definition(&self) -> Vec<f32> {
        let [m, n, k] = self.sizes;
        let [a, b, mut c] = self.operands();
        let length = k.div_ceil(k.div_ceil(CHAIN).max(1)).max(1);
        for row in 0..m {
            for col in 0..n {
                let mut sum = self.accumulate.then(|| c.get(row, col));
                let mut total = Total { high: sum.unwrap_or(0.0), low: 0.0 };
                for first in (0..k).step_by(length) {
                    let block = first..(first + length).min(k);
                    let chain = block.fold(0.0_f32, |sum, p| a.get(row, p).mul_add(b.get(p, col), sum));
                    sum = Some(sum.map_or(chain, |sum| sum + chain));
                    total = total.plus(chain);
                }
                c.data[row * c.rs + col * c.cs] = if k > LONG { total.value() } else { sum.unwrap_or(0.0) };
            }
        }
        c.data
    }

    fn by_gemm(&self, isa: Isa, pool: Option<&Pool>) -> Vec<f32> {
        let [m, n, k] = self.sizes;
        let [mut a, mut b, mut c] = self.operands();
        let mut scratch = vec![f32::NAN; scratch_len(pool.map_or(1, Pool::threads), m, n, k)];
        let (a, b, to) = (a.mat(), b.mat(), c.mat());
        let terms = [Term::new(k, a, b)];
        let job = Job { m, n, terms: &terms, c: to, accumulate: self.accumulate, done: None, isa };
        // SAFETY: the matrices own memory for these sizes, and callers ask only for instruction sets that are here.
        unsafe { walk(&job, Team(pool), &mut scratch) };
        c.data
    }

    /// Every instruction set of this machine gives the bits of the definition, and those are near the sum in f64.
    fn check(&self, pool: Option<&Pool>) {
        let [m, n, k] = self.sizes;
        let name = format!("{:?} {:?} accumulate {}", self.sizes, self.layouts, self.accumulate);
        let wanted = self.by_definition();
        self.check_near_f64(&wanted, &name);
        // Where the program was not compiled for multiply-adds, each one is a call: slow.
        let slow = |isa| isa == Isa::Baseline && cfg!(target_arch = "x86_64") && m * n * k > 1 << 19;
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here() && !slow(*isa)) {
            let got = self.by_gemm(isa, pool);
            assert_eq!(bits(&got), bits(&wanted), "{name} {isa:?}");
        }
    }

    fn check_near_f64(&self, got: &[f32], name: &str) {
        let [m, n, k] = self.sizes;
        let [a, b, c] = self.operands();
        for row in 0..m {
            for col in 0..n {
                let products = (0..k).map(|p| f64::from(a.get(row, p)) * f64::from(b.get(p, col)));
                let wanted = products.sum::<f64>() + if self.accumulate { f64::from(c.get(row, col)) } else { 0.0 };
                let error = (f64::from(got[row * c.rs + col * c.cs]) - wanted).abs();
                assert!(error <= 1e-6 * (1.0 + k as f64).sqrt() * 4.0, "{name}: row {row} column {col} is {error} off");
            }
        }
    }
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|x| x.to_bits()).collect()
}

const SIZES: [usize; 6] = [0, 1, 15, 16, 17, 257];

#[test]
fn sizes() {
    for m in SIZES {
        for n in SIZES {
            for k in SIZES {
                let cheap = m * n * k < 1 << 20;
                for accumulate in [false, true].into_iter().filter(|_| cheap || m == n) {
                    Case { sizes: [m, n, k], layouts: [Layout::Rows; 3], accumulate }.check(None);
                }
            }
        }
    }
}

#[test]
fn layouts() {
    for sizes in [[5, 3, 4], [1, 40, 33], [3, 100, 9], [33, 16, 17], [50, 70, 20], [90, 10, 33]] {
        for a in READ {
            for b in READ {
                for c in WRITTEN {
                    Case { sizes, layouts: [a, b, c], accumulate: sizes[0] % 2 == 1 }.check(None);
                }
            }
        }
    }
}

#[test]
fn every_number_of_rows_and_columns_around_a_tile() {
    for m in 1..=30 {
        for n in [1, 7, 8, 9, 31, 32, 33, 48, 63, 65, 97, 130] {
            let layouts = [Layout::Rows, if n % 2 == 0 { Layout::Rows } else { Layout::Columns }, Layout::Rows];
            Case { sizes: [m, n, 5], layouts, accumulate: true }.check(None);
        }
    }
}

#[test]
fn long_sums_are_cut_into_equal_chains() {
    for k in [CHAIN - 1, CHAIN, CHAIN + 1, 2 * CHAIN, 2 * CHAIN + 1, 3000] {
        for [m, n] in [[1, 20], [9, 5], [20, 40]] {
            for b in [Layout::Rows, Layout::Columns] {
                Case { sizes: [m, n, k], layouts: [Layout::Rows, b, Layout::Rows], accumulate: false }.check(None);
            }
        }
    }
}

#[test]
fn very_long_sums_keep_what_their_additions_lose() {
    let pool = Pool::new(3);
    for k in [LONG, LONG + 1, 2 * LONG + 700] {
        for sizes in [[1, 1, k], [2, 33, k], [13, 4, k]] {
            for layout in [Layout::Rows, Layout::Columns] {
                let case = |accumulate| Case { sizes, layouts: [Layout::Rows, layout, layout], accumulate };
                case(false).check(Some(&pool));
                case(true).check(None);
            }
        }
    }
    let k = 1_000_000;
    let (a, b) = (vec![0.1_f32; k], vec![1.0_f32; k]);
    let (mut c, mut scratch) = (vec![0.0_f32; 1], vec![0.0_f32; scratch_len(1, 1, 1, k)]);
    let terms = [Term::new(k, Mat::rows(&a, k), Mat::rows(&b, 1))];
    // SAFETY: the matrices are those of these sizes.
    unsafe { gemm(None, [1, 1], &terms, Mat::rows_mut(&mut c, 1), false, &mut scratch, None) };
    let exact = f64::from(0.1_f32) * k as f64;
    assert!((f64::from(c[0]) - exact).abs() < 1e-6 * exact, "{} is not {exact}", c[0]);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let pools = [1, 2, 3, 16].map(Pool::new);
    for sizes in [[1, 3000, 130], [40, 257, 100], [90, 200, 50], [257, 40, 100], [700, 33, 20], [300, 100, 800]] {
        for layouts in [[Layout::Rows; 3], [Layout::Columns, Layout::Columns, Layout::Padded]] {
            for accumulate in [false, true] {
                let case = Case { sizes, layouts, accumulate };
                let wanted = bits(&case.by_definition());
                for pool in &pools {
                    let got = case.by_gemm(Isa::best(), Some(pool));
                    assert_eq!(bits(&got), wanted, "{sizes:?} {layouts:?} {} threads", pool.threads());
                }
            }
        }
    }
}

/// Large enough that the packed operand does not fit the shared scratch at once.
#[test]
fn operands_larger_than_the_scratch() {
    let pool = Pool::new(3);
    for sizes in [[85, 6000, 400], [100, 40, 60_000], [30, 30, 80_000]] {
        let case = Case { sizes, layouts: [Layout::Rows; 3], accumulate: false };
        assert_eq!(bits(&case.by_gemm(Isa::best(), Some(&pool))), bits(&case.by_definition()), "{sizes:?}");
    }
}

/// Runs a product of ones with a callback that checks and counts rows.
fn check_done(threads: usize, [m, n, k]: [usize; 3]) {
    let pool = Pool::new(threads);
    let (a, b, mut c) = (vec![1.0; m * k], vec![1.0; k * n], vec![f32::NAN; m * n]);
    let mut scratch = vec![0.0; scratch_len(threads, m, n, k)];
    let seen: Vec<AtomicUsize> = (0..m).map(|_| AtomicUsize::new(0)).collect();
    let panels = Mutex::new(Vec::new());
    let to = Mat::rows_mut(&mut c, n);
    let out = to.ptr as usize;
    let done = |first: usize, last: usize| {
        panels.lock().expect("no panic holds the lock").push((first, last));
        for (row, seen) in seen.iter().enumerate().take(last).skip(first) {
            seen.fetch_add(1, Ordering::Relaxed);
            for col in 0..n {
                let element = (out as *mut f32).wrapping_add(row * n + col);
                // SAFETY: the element is in C, whose rows `first..last` are this call's to touch.
                unsafe {
                    assert_eq!(*element, k as f32, "row {row} column {col} of {m} {n} {k}");
                    *element = -1.0;
                }
            }
        }
    };
    // SAFETY: the vectors have these sizes.
    unsafe {
        gemm(
            Some(&pool),
            [m, n],
            &[Term::new(k, Mat::rows(&a, k), Mat::rows(&b, n))],
            to,
            false,
            &mut scratch,
            Some(&done),
        )
    };
    assert!(seen.into_iter().all(|count| count.into_inner() == 1), "{m} {n} {k}: a row was not reported once");
    assert!(c.iter().all(|x| *x == -1.0), "{m} {n} {k}: C was written after it was reported");
    let mut panels = panels.into_inner().expect("no panic holds the lock");
    panels.sort_unstable();
    let height = panel_rows(m);
    let wanted: Vec<_> = (0..m).step_by(height).map(|first| (first, (first + height).min(m))).collect();
    assert_eq!(panels, wanted, "{m} {n} {k}");
}

#[test]
fn rows_are_reported_once_and_when_they_are_final() {
    for threads in [1, 3] {
        for sizes in [
            [0, 5, 5],
            [5, 0, 5],
            [5, 5, 0],
            [1, 1, 1],
            [7, 300, 900],
            [64, 100, 30],
            [200, 100, 30],
            [300, 100, 1000],
            [1000, 10, 40],
            [170, 6000, 400],
        ] {
            check_done(threads, sizes);
        }
    }
}

#[test]
fn nan_and_infinity_go_through() {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
        let mut a = vec![0.0; 4 * 3];
        a[4] = f32::INFINITY; // row 1
        a[7] = f32::NAN; // row 2
        let mut b = vec![0.0; 3 * 40];
        let mut c = vec![7.0; 4 * 40];
        let mut scratch = vec![0.0; scratch_len(1, 4, 40, 3)];
        let (am, bm, cm) = (Mat::rows_mut(&mut a, 3), Mat::rows_mut(&mut b, 40), Mat::rows_mut(&mut c, 40));
        let terms = [Term::new(3, am, bm)];
        let job = Job { m: 4, n: 40, terms: &terms, c: cm, accumulate: false, done: None, isa };
        // SAFETY: the vectors have these sizes, and the instruction set is here.
        unsafe { walk(&job, Team(None), &mut scratch) };
        assert!(c[..40].iter().chain(&c[120..]).all(|x| *x == 0.0), "{isa:?}");
        // Infinity and NaN times zero are NaN.
        assert!(c[40..120].iter().all(|x| x.is_nan()), "{isa:?}");
    }
}

#[test]
fn scratch_grows_with_every_size() {
    let sizes = [0, 1, 16, 17, 97, 400, 3000, 100_000];
    for (small, large) in sizes.iter().zip(&sizes[1..]) {
        for other in sizes {
            assert!(scratch_len(1, *small, other, other) <= scratch_len(1, *large, other, other));
            assert!(scratch_len(1, other, *small, other) <= scratch_len(1, other, *large, other));
            assert!(scratch_len(1, other, other, *small) <= scratch_len(1, other, other, *large));
        }
    }
}

/// A sum of products, read where it lies or through windows, against its products added one after the other.
#[test]
fn a_sum_of_products_gives_the_bits_of_adding_them_in_turn() {
    let layouts = [(Layout::Rows, Layout::Rows), (Layout::Columns, Layout::Padded), (Layout::Spread, Layout::Columns)];
    for (sizes, inner) in [
        ([5, 7], [3, 0, 2]),
        ([1, 40], [400, 8, 385]),
        ([170, 16], [8, 384, 1]),
        ([300, 33], [500, 4, 900]),
        ([700, 260], [96, 8, 12]),
        ([9, 3000], [64, 2, 0]),
    ] {
        let [m, n] = sizes;
        let mut owned: Vec<[Owned; 2]> = (inner.iter().zip(layouts).enumerate())
            .map(|(i, (k, (a, b)))| [Owned::new(a, m, *k, 7 + i as u32), Owned::new(b, *k, n, 70 + i as u32)])
            .collect();
        let mut terms: Vec<Term> =
            owned.iter_mut().zip(inner).map(|([a, b], k)| Term::new(k, a.mat(), b.mat())).collect();
        let image = Owned::new(Layout::Rows, 1, m + 30, 5).data;
        let weights = Owned::new(Layout::Rows, 9, n, 6).data;
        // Row r, column (i, j) of the windows is element r + 7 i + j, with three of i and three of j.
        let a = Operand { mat: Mat::read(image.as_ptr(), 1, 7), rows: &[], cols: &[(3, 1)] };
        let spread = Term::new(9, a, Mat::rows(&weights, n));
        for with_windows in [false, true] {
            if with_windows {
                terms.insert(1, spread);
            }
            for (threads, accumulate) in [(1, false), (3, true)] {
                let pool = Pool::new(threads);
                let k = terms.iter().map(|t| t.k).sum();
                let mut scratch = vec![f32::NAN; scratch_len(threads, m, n, k)];
                let start = Owned::new(Layout::Rows, m, n, 3).data;
                let (mut found, mut expected) = (start.clone(), start);
                // SAFETY: the operands own memory for these sizes, and the results are their own memory.
                unsafe {
                    gemm(Some(&pool), sizes, &terms, Mat::rows_mut(&mut found, n), accumulate, &mut scratch, None);
                    for (i, term) in terms.iter().enumerate() {
                        let c = Mat::rows_mut(&mut expected, n);
                        gemm(Some(&pool), sizes, &[*term], c, accumulate || i > 0, &mut scratch, None);
                    }
                }
                assert_eq!(
                    bits(&found),
                    bits(&expected),
                    "{sizes:?} {inner:?}, {threads} threads, windows {with_windows}"
                );
            }
        }
    }
}

#[test]
fn panels_are_neither_low_nor_high() {
    for m in 1..5000 {
        let height = panel_rows(m);
        assert!((1..=168).contains(&height), "{m} rows in panels of {height}");
        assert!(m <= 168 || height >= 84, "{m} rows in panels of {height}");
    }
}

/// An image of 5 by 9 by 8, of which A takes windows: rows (row, column), columns (channel, row, column); against the same
/// windows copied out.
#[test]
fn an_operand_of_several_axes_gives_the_bits_of_its_copy() {
    let (c, high, wide, k) = (5, 9, 8, 3);
    let (rows, cols) = (high - k + 1, (wide - k) / 2 + 1);
    let noise = |seed: u32, len: usize| Owned::new(Layout::Rows, 1, len, seed).data;
    let image = noise(11, c * high * wide);
    let mut windows = Vec::new();
    for (y, x) in (0..rows).flat_map(|y| (0..cols).map(move |x| (y, x))) {
        for i in 0..c * k * k {
            let (channel, dy, dx) = (i / (k * k), i / k % k, i % k);
            windows.push(image[(channel * high + y + dy) * wide + 2 * x + dx]);
        }
    }
    let (m, inner) = (rows * cols, c * k * k);
    let spread = Operand {
        mat: Mat::read(image.as_ptr(), wide as isize, (high * wide) as isize),
        rows: &[(cols, 2)],
        cols: &[(k, wide as isize), (k, 1)],
    };
    let turned = spread.transposed();
    for n in [1, 3, 16, 40, 200] {
        let other = noise(12, inner * n);
        let plain = [Mat::rows(&windows, inner), Mat::rows(&other, n)];
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let mut scratch = vec![0.0; scratch_len(threads, m.max(n), m.max(n), inner)];
            let (mut found, mut expected) = (vec![0.0; m * n], vec![0.0; m * n]);
            // SAFETY: the operands were made for these sizes, and the results are their own memory.
            unsafe {
                let c = Mat::rows_mut(&mut expected, n);
                gemm(Some(&pool), [m, n], &[Term::new(inner, plain[0], plain[1])], c, false, &mut scratch, None);
                let c = Mat::rows_mut(&mut found, n);
                gemm(Some(&pool), [m, n], &[Term::new(inner, spread, plain[1])], c, false, &mut scratch, None);
                assert_eq!(found, expected, "{n} columns, {threads} threads");
                let c = Mat::rows_mut(&mut found, m);
                let term = Term::new(inner, plain[1].transposed(), turned);
                gemm(Some(&pool), [n, m], &[term], c, false, &mut scratch, None);
            }
            let turned_back = (0..m * n).map(|i| found[i % n * m + i / n]).collect::<Vec<_>>();
            assert_eq!(turned_back, expected, "{n} rows, {threads} threads");
        }
    }
}

/// Windows of an image as panels: lanes along its rows, and steps of k along them; images that are narrower and wider than
/// what is copied or turned over at once, windows that are neighbours and windows apart; every instruction set.
#[test]
fn windows_are_packed_alike_whatever_their_axes() {
    use dlc_runtime::gemm::spread::{Axes, pack_spread};
    let (channels, high, k) = (3, 6, 3);
    for (wide, step) in [(6, 1), (9, 1), (10, 1), (18, 1), (19, 1), (35, 1), (36, 1), (9, 2), (21, 3)] {
        let image: Vec<f32> = (0..channels * high * wide).map(|i| i as f32).collect();
        let (rows, cols) = (high - k + 1, (wide - k) / step + 1);
        let inner = [(k, wide as isize), (k, 1)];
        let window = Axes { outer: (high * wide) as isize, inner: &inner };
        let along = [(cols, step as isize)];
        let place = Axes { outer: wide as isize, inner: &along };
        let of_window = |i: usize| i / (k * k) * high * wide + i / k % k * wide + i % k;
        let of_place = |i: usize| i / cols * wide + i % cols * step;
        let (windows, places) = (channels * k * k, rows * cols);
        for turned in [false, true] {
            let (axes, [lanes, steps]) =
                if turned { ([window, place], [windows, places]) } else { ([place, window], [places, windows]) };
            let at = |lane: usize, p: usize| match turned {
                false => of_place(lane) + of_window(p),
                true => of_window(lane) + of_place(p),
            };
            for (width, fill) in [(1, false), (6, false), (13, false), (16, true), (32, true)] {
                for range in [[0..lanes, 0..steps], [1..lanes - 1, 2..steps - 3]] {
                    let mut expected = Vec::new();
                    for first in range[0].clone().step_by(width) {
                        let count = width.min(range[0].end - first);
                        let zeros = if fill { width - count } else { 0 };
                        for p in range[1].clone() {
                            expected.extend((first..first + count).map(|lane| image[at(lane, p)]));
                            expected.extend(std::iter::repeat_n(0.0, zeros));
                        }
                    }
                    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_here()) {
                        let mut found = vec![f32::NAN; expected.len()];
                        // SAFETY: the axes are those of the image, and there is room for what is expected.
                        unsafe {
                            pack_spread(isa, image.as_ptr(), axes, range.clone(), (width, fill), found.as_mut_ptr())
                        };
                        assert_eq!(found, expected, "{wide} in steps of {step}, {width} lanes, {range:?}, {isa:?}");
                    }
                }
            }
        }
    }
}
