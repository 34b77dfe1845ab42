//! Calls over the trained weights: each weight with its own scalars, nothing between weights touched.

use crate::draft::*;
use crate::kernels;
use dlc_plan::kernel::{Elem, FoldOp, Kind};
use dlc_plan::plan::{BufId, Call, Place, Step, Store};
use dlc_plan::{DType, Host, Size};
use dlc_runtime::Tensor;

/// Sizes with and without rests, several pieces long, and empty.
const SHAPES: [&[usize]; 7] = [&[10], &[100, 50], &[4096], &[], &[0, 3], &[4097], &[700, 301]];

fn rate(i: usize) -> f64 {
    if i.is_multiple_of(2) { 0.5 } else { 0.25 }
}

fn total(d: &Draft) -> Size {
    n(d.plan.weights.iter().map(|w| (w.offset + w.len()).next_multiple_of(16)).max().unwrap_or(0) as i64)
}

/// Fills stores with 9, also between weights; sets the weights from the inputs `p` and `g`, whole stores long; takes
/// p - rate * g * scale; gives the whole store, and the sum of the squares of all gradients.
fn draft() -> Draft {
    let mut d = Draft::new();
    let (set, descend, squares) =
        (d.kernel(kernels::set()), d.kernel(kernels::descend()), d.kernel(kernels::squares()));
    let weights: Vec<u32> =
        SHAPES.iter().enumerate().map(|(i, shape)| d.weight(&format!("w{i}"), shape, Store::Trained)).collect();
    let all = total(&d);
    let scale = d.input("scale", DType::F32, &[], 1000);
    let [p, g] = ["p", "g"].map(|name| d.input(name, DType::F32, std::slice::from_ref(&all), 1000));
    let [trained, grads] = [Store::Trained, Store::Grads].map(|s| d.buffer(Elem::F32, all.clone(), Place::Store(s)));
    let flat = d.temp(all.clone(), 1, 1000);
    for store in [trained, grads, flat] {
        let exts = [n(1), all.clone()];
        d.step(Step::Kernel(call(set, &[store], &[(Kind::F32, Host::Const(9.0))], &exts, n(1))));
    }
    for (store, of) in [(Store::Trained, p), (Store::Grads, g)] {
        for &w in &weights {
            let to = d.stored(store, w);
            let offset = n(d.plan.weights[w as usize].offset as i64);
            let len = d.entry.buffers[to as usize].len.clone();
            let from = d.buffer(Elem::F32, len, Place::Part { of, offset });
            d.step(Step::Copy { from, to });
        }
    }
    // The gradient is used from a temporary buffer that is as long as the store: it moves too. The scale stays.
    d.step(Step::Copy { from: grads, to: flat });
    let rates = Host::Segment((0..SHAPES.len()).map(|i| Host::Const(rate(i))).collect());
    let over = |kernel, bufs: &[BufId], uniforms: &[(Kind, Host)]| Call {
        segments: true,
        ..call(kernel, bufs, uniforms, &[], n(1))
    };
    d.step(Step::Kernel(over(descend, &[trained, flat, scale], &[(Kind::F32, rates)])));
    let (partial, to) = (d.temp(n(3 * 64), 1, 1000), d.output("norm", DType::F32, &[], 1));
    let mut norm = over(squares, &[grads], &[]);
    norm.folds.push(fold(FoldOp::Sum, n(1), partial, to));
    d.step(Step::Kernel(norm));
    let out = d.output("out", DType::F32, &[all], 1);
    d.step(Step::Copy { from: trained, to: out });
    d
}

#[test]
fn each_weight_has_its_scalars_and_nothing_between_is_touched() {
    let d = draft();
    let len = total(&d).known().expect("no dynamic size is in it") as usize;
    let (p, g) = (noise(1, &[len]), noise(2, &[len]));
    let scale = Tensor::from_f32(vec![], vec![0.75]).expect("one");
    let mut expected = vec![9.0_f32; len];
    let mut norm = 0.0;
    for (i, w) in d.plan.weights.iter().enumerate() {
        let own = w.offset..w.offset + w.len();
        let (p, g) = (&numbers(&p)[own.clone()], &numbers(&g)[own.clone()]);
        for ((out, p), g) in expected[own].iter_mut().zip(p).zip(g) {
            *out = p - g * rate(i) as f32 * 0.75;
            norm += f64::from(*g) * f64::from(*g);
        }
    }
    let found = d.run(&[], &[("scale", &scale), ("p", &p), ("g", &g)]);
    assert_eq!(numbers(&found[1]), expected);
    assert!(difference(numbers(&found[0]), &[norm]) < 1e-5);
}

#[test]
fn without_weights_there_is_nothing_to_go_over() {
    let mut d = Draft::new();
    let squares = d.kernel(kernels::squares());
    let grads = d.buffer(Elem::F32, n(0), Place::Store(Store::Grads));
    let (partial, to) = (d.temp(n(3 * 64), 1, 1), d.output("norm", DType::F32, &[], 1));
    let folds = vec![fold(FoldOp::Sum, n(1), partial, to)];
    d.step(Step::Kernel(Call { folds, segments: true, ..call(squares, &[grads], &[], &[], n(1)) }));
    assert_eq!(numbers(&d.run(&[], &[])[0]), [0.0]);
}
