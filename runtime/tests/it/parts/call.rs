//! What kernels in Rust see of a call.

use dlc_plan::kernel::{Args, Elem, Kind};
use dlc_runtime::call::*;
use dlc_runtime::isa::Isa;
use dlc_runtime::lanes::ops::{fadd, fmax, fmul, fsub, iadd};
use dlc_runtime::lanes::{LANES, Simd};
use std::ops::Range;
use std::sync::atomic::AtomicBool;

/// Buffers: 0 f32 rows of `cols`; 1 bytes, one a column; 2 f32 results, columns exchanged with rows; 3 bytes, results.
struct Mixed;

impl Code for Mixed {
    const TAKES: Takes = Takes {
        bufs: &[reads(Elem::F32), reads(Elem::U8), writes(Elem::F32), writes(Elem::U8)],
        uniforms: 1,
        exts: 2,
        folds: &[Kind::F32, Kind::F32],
        touches: &[],
    };

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn run<S: Simd>(x: &Call<S>, rows: Range<i64>) {
        let (e0, e1) = (x.ext(0), x.ext(1));
        let v0 = x.real(0);
        for r0 in x.rows(rows) {
            let mut f1 = x.splat(f32::NEG_INFINITY);
            for c0 in (0..e0).step_by(LANES) {
                let n = LANES.min((e0 - c0) as usize);
                let v2 = x.load::<f32>(0, r0 * e0 + c0, 1, n);
                f1 = x.fold::<f32>(f1, v2, n, fmax);
            }
            let v1 = x.halve::<f32>(f1, fmax);
            for c0 in (0..e0).step_by(LANES) {
                let n = LANES.min((e0 - c0) as usize);
                let v3 = x.load::<f32>(0, r0 * e0 + c0, 1, n);
                let v4 = x.load::<u8>(1, c0, 1, n);
                let v5 = {
                    let from = x.array(v4);
                    x.pick::<f32>(0, n, |l| (from[l] != 3).then_some(r0 * e0 + i64::from(from[l])))
                };
                let v6 = fadd(fsub(v3, x.splat(v1)), fmul(v5, x.splat(v0)));
                x.store::<f32>(2, c0 * e1 + r0, e1, v6, n);
                x.store::<u8>(3, r0 * e0 + c0, 1, iadd(v4, x.ramp(c0 as i32)), n);
                x.fold_rows::<f32>(0, c0, v6, n, fadd);
            }
            x.fold_all::<f32>(1, v1, fadd);
        }
    }
}

#[derive(Debug, PartialEq)]
struct Results {
    two: Vec<f32>,
    three: Vec<u8>,
    columns: Vec<f32>,
    all: f32,
}

fn zero(rows: usize, cols: usize) -> Results {
    Results { two: vec![0.0; rows * cols], three: vec![0; rows * cols], columns: vec![0.0; cols], all: 0.0 }
}

fn operands(rows: usize, cols: usize) -> (Vec<f32>, Vec<u8>) {
    let numbers = (0..rows * cols).map(|i| ((i * 37 + 11) % 101) as f32 * 0.37 - 9.0).collect();
    (numbers, (0..cols).map(|c| ((c * 5 + 1) % cols.min(7)) as u8).collect())
}

fn by_hand(rows: usize, cols: usize) -> Results {
    let (numbers, picks) = operands(rows, cols);
    let mut r = zero(rows, cols);
    for (i, row) in numbers.chunks_exact(cols).enumerate() {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for c in 0..cols {
            let pick = if picks[c] == 3 { 0.0 } else { row[picks[c] as usize] };
            let y = (row[c] - top) + pick * 0.5;
            r.two[c * rows + i] = y;
            r.three[i * cols + c] = picks[c].wrapping_add(c as u8);
            r.columns[c] += y;
        }
        r.all += top;
    }
    r
}

fn by_kernel(code: RustKernel, rows: usize, cols: usize) -> Results {
    let (mut numbers, mut picks) = operands(rows, cols);
    let mut r = zero(rows, cols);
    let bufs: [*mut u8; 4] =
        [numbers.as_mut_ptr().cast(), picks.as_mut_ptr(), r.two.as_mut_ptr().cast(), r.three.as_mut_ptr()];
    let all = (rows * cols) as u64;
    let lens = [all, cols as u64, all, all];
    let folds: [*mut u8; 2] = [r.columns.as_mut_ptr().cast(), (&raw mut r.all).cast()];
    let (uniforms, exts) = ([0.5_f32.to_bits()], [cols as i64, rows as i64]);
    let fold_lens = [cols as u64, 1];
    let mut windows = lens.map(|len| [0, len]);
    let fault = AtomicBool::new(false);
    let args = Args {
        bufs: bufs.as_ptr(),
        lens: lens.as_ptr(),
        uniforms: uniforms.as_ptr(),
        exts: exts.as_ptr(),
        folds: folds.as_ptr(),
        fold_lens: fold_lens.as_ptr(),
        limits: [].as_ptr(),
        windows: windows.as_mut_ptr(),
        by_row: std::ptr::null(),
        fault: &raw const fault,
    };
    // SAFETY: the arguments are those of the kernel, and live until the end of this function.
    unsafe { (code.function())(&args, 0, rows as u64) };
    assert!(!fault.into_inner());
    r
}

#[test]
fn kernels_give_the_same_in_all_registers() {
    for isa in Isa::ALL {
        let Some(code) = code_for::<Mixed>(isa) else { continue };
        for cols in [1, 15, 16, 17, 257] {
            for rows in [0, 1, 3] {
                assert_eq!(by_kernel(code, rows, cols), by_hand(rows, cols), "{isa:?} {rows} {cols}");
            }
        }
    }
}
