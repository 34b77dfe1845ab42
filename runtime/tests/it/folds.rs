//! Folds over rows: chunks of rows, joined in pairs.

use crate::draft::*;
use crate::kernels;
use dlc_plan::DType;
use dlc_plan::chunks::Cut;
use dlc_plan::kernel::{FoldOp, Kind, Total};
use dlc_plan::plan::Step;
use dlc_runtime::Tensor;

const OPS: [FoldOp; 4] = [FoldOp::Sum, FoldOp::Max, FoldOp::Sum, FoldOp::Min];

fn draft(cols: i64) -> Draft {
    let mut d = Draft::new();
    let x = d.input("x", DType::F32, &[b(), n(cols)], 1);
    let kernel = d.kernel(kernels::all_folds());
    let mut step = call(kernel, &[x], &[], &[b(), n(cols)], b());
    for (i, (op, len)) in OPS.into_iter().zip([n(cols), n(cols), n(1), n(1)]).enumerate() {
        let partial = d.temp(len.times(&n(64 * op.parts(Kind::F32) as i64)), 1, 1);
        let to = d.output(&format!("f{i}"), DType::F32, std::slice::from_ref(&len), 1);
        step.folds.push(fold(op, len, partial, to));
    }
    d.step(Step::Kernel(step));
    d
}

/// What two partial results make; a sum is a total, everything else its high part.
fn join(op: FoldOp, a: Total, b: Total) -> Total {
    let high = match op {
        FoldOp::Sum => return a.join(b),
        FoldOp::Prod => a.high * b.high,
        FoldOp::Max if a.high < b.high || b.high.is_nan() => b.high,
        FoldOp::Min if a.high > b.high || b.high.is_nan() => b.high,
        FoldOp::Max | FoldOp::Min => a.high,
    };
    Total { high, low: 0.0 }
}

/// What the contract says, step by step: rows in order within a chunk, chunks in pairs.
fn expected(x: &[f32], cols: usize, cut: Cut) -> [Vec<f32>; 4] {
    let start = [0.0, f32::NEG_INFINITY, 0.0, f32::INFINITY].map(|high| Total { high, low: 0.0 });
    let lens = [cols, cols, 1, 1];
    let mut chunks = Vec::new();
    for c in 0..cut.chunks {
        let mut partial: [Vec<Total>; 4] = std::array::from_fn(|i| vec![start[i]; lens[i]]);
        let (first, last) = cut.range(c);
        for row in x[first as usize * cols..last as usize * cols].chunks(cols) {
            let sum: f32 = row.iter().sum();
            for (i, p) in partial.iter_mut().enumerate() {
                let values = if i < 2 { row } else { &[sum] };
                let whole = |x: &f32| Total { high: *x, low: 0.0 };
                p.iter_mut().zip(values).for_each(|(p, x)| *p = join(OPS[i], *p, whole(x)));
            }
        }
        chunks.push(partial);
    }
    while chunks.len() > 1 {
        let pairs = chunks.chunks(2).map(|pair| match pair {
            [a, b] => std::array::from_fn(|i| a[i].iter().zip(&b[i]).map(|(a, b)| join(OPS[i], *a, *b)).collect()),
            alone => alone[0].clone(),
        });
        chunks = pairs.collect();
    }
    let last = chunks.pop().unwrap_or_else(|| std::array::from_fn(|i| vec![start[i]; lens[i]]));
    last.map(|results| results.into_iter().map(Total::value).collect())
}

#[test]
fn chunks_are_joined_in_pairs_whatever_the_threads() {
    let mut most = 0;
    for (rows, cols) in [(0, 5), (1, 5), (15, 16), (16, 17), (1000, 17), (20_000, 64), (9_973, 16), (300, 5000)] {
        let d = draft(cols as i64);
        let x = noise(rows as u32, &[rows, cols]);
        let work = kernels::all_folds().0.row_work(&[rows as i64, cols as i64]);
        let cut = Cut::new(rows as u64, work, true);
        most = most.max(cut.chunks);
        let found = d.run(&[], &[("x", &x)]);
        for (found, expected) in found.iter().zip(expected(numbers(&x), cols, cut)) {
            let [found, expected] =
                [numbers(found), &expected].map(|x| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            assert_eq!(found, expected, "{rows} rows of {cols}, {} chunks", cut.chunks);
        }
    }
    assert!(most > 20, "the sizes are such that there are several chunks, not {most}");
}

#[test]
fn a_nan_is_not_lost() {
    let d = draft(16);
    for at in [0, 5_000 * 16 + 3, 19_999 * 16 + 15] {
        let mut x = vec![1.0; 20_000 * 16];
        x[at] = f32::NAN;
        let x = Tensor::from_f32(vec![20_000, 16], x).expect("the shape fits");
        let found = d.run(&[], &[("x", &x)]);
        for of_column in [&found[0], &found[1]] {
            let nans: Vec<usize> = (0..16).filter(|&c| numbers(of_column)[c].is_nan()).collect();
            assert_eq!(nans, [at % 16]);
        }
        assert!(numbers(&found[2])[0].is_nan() && numbers(&found[3])[0].is_nan());
    }
}
