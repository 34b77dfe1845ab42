//! Products and what follows them: a small network, batches, sums of products.

use crate::draft::*;
use crate::kernels;
use dlc_plan::kernel::{FoldOp, Kind};
use dlc_plan::plan::{Gemm, Matrix, Product, Step, Store};
use dlc_plan::{DType, Host, HostVar, Prim};
use dlc_runtime::Tensor;

/// [rows, inner] times the transpose of [cols, inner], in f64.
fn product(x: &[f64], w: &[f32], inner: usize) -> Vec<f64> {
    let row = |x: &[f64], w: &[f32]| x.iter().zip(w).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
    x.chunks(inner).flat_map(|x| w.chunks(inner).map(move |w| row(x, w))).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// Two layers with a bias, a relu and a scale after the first: scale = 1 / (1 + step).
fn network() -> Draft {
    let mut d = Draft::new();
    let (w1, b1, w2) = (
        d.weight("w1", &[96, 64], Store::Trained),
        d.weight("b1", &[96], Store::Trained),
        d.weight("w2", &[10, 96], Store::Frozen),
    );
    let [w1, b1] = [w1, b1].map(|w| d.stored(Store::Trained, w));
    let w2 = d.stored(Store::Frozen, w2);
    let x = d.input("x", DType::F32, &[b(), n(64)], 1);
    let h = d.temp(b().times(&n(96)), 1, 2);
    let y = d.output("y", DType::F32, &[b(), n(10)], 2);
    let relu = d.kernel(kernels::bias_relu());
    let step = Host::Prim(Prim::Add, vec![Host::Const(1.0), Host::Var(HostVar::Step)]);
    let scale = Host::Prim(Prim::Div, vec![Host::Const(1.0), step]);
    let then = call(relu, &[h, b1], &[(Kind::F32, scale)], &[b(), n(96)], b());
    let layer = |x, w, y, inner: i64, cols: i64, then| {
        let terms = vec![Product { k: n(inner), a: matrix(x, n(inner)), b: transposed(w, n(inner)) }];
        let (c, note) = (matrix(y, n(cols)), String::new());
        Step::Gemm(Box::new(Gemm { m: b(), n: n(cols), terms, c, batch: vec![], accumulate: false, then, note }))
    };
    d.step(layer(x, w1, h, 64, 96, Some(then)));
    d.step(layer(h, w2, y, 96, 10, None));
    d
}

fn network_in_f64(x: &Tensor, w1: &Tensor, b1: &Tensor, w2: &Tensor) -> Vec<f64> {
    let mut h = product(&wide(numbers(x)), numbers(w1), 64);
    for row in h.chunks_mut(96) {
        row.iter_mut().zip(numbers(b1)).for_each(|(h, b)| *h = (*h + f64::from(*b)).max(0.0) / 4.0);
    }
    product(&h, numbers(w2), 96)
}

#[test]
fn a_network_at_many_batch_sizes() {
    let d = network();
    let (w1, b1, w2) = (noise(1, &[96, 64]), noise(2, &[96]), noise(3, &[10, 96]));
    let weights = [("w1", &w1), ("b1", &b1), ("w2", &w2)];
    let all = noise(4, &[1000, 64]);
    for size in [0, 1, 15, 16, 17, 257, 1000] {
        let x = Tensor::from_f32(vec![size, 64], numbers(&all)[..size * 64].to_vec()).expect("the shape fits");
        let y = d.run(&weights, &[("x", &x)]);
        assert_eq!(y[0].shape(), [size, 10]);
        assert!(difference(numbers(&y[0]), &network_in_f64(&x, &w1, &b1, &w2)) < 1e-6, "batch {size}");
    }
}

#[test]
fn one_engine_serves_all_sizes_and_smaller_ones_need_no_memory() {
    let d = network();
    let (mut engine, pool) = d.engine(2);
    let (w1, b1, w2) = (noise(1, &[96, 64]), noise(2, &[96]), noise(3, &[10, 96]));
    for (name, w) in [("w1", &w1), ("b1", &b1), ("w2", &w2)] {
        engine.stores_mut().set_weight(name, w).expect("the weight fits");
    }
    let state = dlc_plan::HostState { step: 3, ..Default::default() };
    let mut y = [Tensor::from_f32(vec![], vec![0.0]).expect("one")];
    let mut first = Vec::new();
    for size in [40, 257, 3, 40, 257, 1] {
        let x = noise(size as u32, &[size, 64]);
        engine.run_into(0, &state, &[&x], &mut y).expect("the input fits");
        assert!(difference(numbers(&y[0]), &network_in_f64(&x, &w1, &b1, &w2)) < 1e-6, "batch {size}");
        first.push((size, y[0].clone()));
    }
    assert_eq!(first[0], first[3]);
    assert_eq!(first[1], first[4]);
    // Sizes below the largest so far find everything in place: nothing is allocated even when they change.
    for size in [256, 20, 100] {
        let x = noise(9, &[size, 64]);
        let mut y = [Tensor::zeros(dlc_runtime::tensor::DType::F32, &[size, 10]).expect("there is memory")];
        let run = || engine.run_into(0, &state, &[&x], &mut y).expect("the input fits");
        let count = crate::allocations::during(&pool, run);
        assert_eq!(count, 0, "a smaller batch of {size} allocates");
    }
}

#[test]
fn entries_share_an_arena_that_grows() {
    let d = network();
    let mut plan = d.finished();
    plan.entries.push(dlc_plan::plan::Entry { name: "again".into(), ..d.entry.clone() });
    let (mut engine, _) = d.engine_of(plan, 2);
    let (w1, b1, w2) = (noise(1, &[96, 64]), noise(2, &[96]), noise(3, &[10, 96]));
    for (name, w) in [("w1", &w1), ("b1", &b1), ("w2", &w2)] {
        engine.stores_mut().set_weight(name, w).expect("the weight fits");
    }
    let state = dlc_plan::HostState { step: 3, ..Default::default() };
    for (entry, size) in [("go", 3), ("again", 500), ("go", 3), ("again", 500), ("go", 900), ("again", 500), ("go", 2)]
    {
        let x = noise(size as u32, &[size, 64]);
        let y = engine.run(entry, &state, &[("x", &x)]).expect("the input fits");
        let expected = network_in_f64(&x, &w1, &b1, &w2);
        assert!(difference(numbers(&y[0].1), &expected) < 1e-6, "{entry} of {size}");
    }
}

/// Batches of C += A B + D E, [2, B] of [m, n], with a relu after; A is read backwards along the batch.
#[test]
fn sums_of_products_in_batches_are_added_and_followed() {
    // The second product is added so many times: sums of a few terms and of many.
    for (m, cols, k, l, times) in [(5, 7, 9, 3, 1), (200, 70, 64, 2, 8), (300, 300, 300, 1, 16)] {
        let mut d = Draft::new();
        let sizes = [n(2), b()];
        let full = |rows: i64, cols: i64| [n(2), b(), n(rows), n(cols)];
        let a = d.input("a", DType::F32, &full(m, k), 2);
        let bb = d.input("b", DType::F32, &full(k, cols), 2);
        let dd = d.input("d", DType::F32, &full(m, l), 2);
        let e = d.input("e", DType::F32, &[n(l), n(cols)], 2);
        let bias = d.input("bias", DType::F32, &[n(cols)], 2);
        let c0 = d.input("c0", DType::F32, &full(m, cols), 2);
        let c = d.output("c", DType::F32, &full(m, cols), 1);
        d.step(Step::Copy { from: c0, to: c });
        let batched = |buf, rows: i64, cols: i64| {
            let one = n(rows * cols);
            Matrix { batch: vec![one.times(&b()), one], ..matrix(buf, n(cols)) }
        };
        let backwards =
            Matrix { offset: n(m * k).times(&b()), batch: vec![n(-m * k).times(&b()), n(m * k)], ..matrix(a, n(k)) };
        let shared = Matrix { batch: vec![n(0), n(0)], ..matrix(e, n(cols)) };
        let mut terms = vec![Product { k: n(k), a: backwards, b: batched(bb, k, cols) }];
        terms.resize(1 + times, Product { k: n(l), a: batched(dd, m, l), b: shared });
        let relu = d.kernel(kernels::bias_relu());
        let rows = b().times(&n(2 * m));
        let then = call(relu, &[c, bias], &[(Kind::F32, Host::Const(1.0))], &[rows.clone(), n(cols)], rows);
        let c = batched(c, m, cols);
        let (batch, note, then) = (sizes.to_vec(), String::new(), Some(then));
        d.step(Step::Gemm(Box::new(Gemm { m: n(m), n: n(cols), terms, c, batch, accumulate: true, then, note })));

        let [m, cols, k, l] = [m, cols, k, l].map(|x| x as usize);
        let size = 3;
        let ta = noise(1, &[2, size, m, k]);
        let tb = noise(2, &[2, size, k, cols]);
        let td = noise(3, &[2, size, m, l]);
        let (te, tbias, tc) = (noise(4, &[l, cols]), noise(5, &[cols]), noise(6, &[2, size, m, cols]));
        let inputs = [("a", &ta), ("b", &tb), ("d", &td), ("e", &te), ("bias", &tbias), ("c0", &tc)];
        let found = d.run(&[], &inputs);
        let mut expected = wide(numbers(&tc));
        let [ta, tb, td, te] = [&ta, &tb, &td, &te].map(numbers);
        for (i, c) in expected.iter_mut().enumerate() {
            let (col, row, point) = (i % cols, i / cols % m, i / cols / m);
            // The first batch axis of A runs backwards.
            let back = (1 - point / size) * size + point % size;
            let ab =
                (0..k).map(|j| f64::from(ta[(back * m + row) * k + j]) * f64::from(tb[(point * k + j) * cols + col]));
            let de = (0..l).map(|j| f64::from(td[(point * m + row) * l + j]) * f64::from(te[j * cols + col]));
            *c = (*c + ab.sum::<f64>() + times as f64 * de.sum::<f64>() + f64::from(numbers(&tbias)[col])).max(0.0);
        }
        assert!(difference(numbers(&found[0]), &expected) < 2e-6, "m = {m}");
    }
}

#[test]
fn folds_may_follow_a_product() {
    // Few rows: one partial result a panel. Many: the folds are a pass of their own.
    for rows in [3_usize, 500, 6000] {
        let mut d = Draft::new();
        let x = d.input("x", DType::F32, &[b(), n(8)], 1);
        let w = d.input("w", DType::F32, &[n(8), n(20)], 1);
        let c = d.output("c", DType::F32, &[b(), n(20)], 1);
        let lens = [n(20), n(20), n(1), n(1)];
        let ops = [FoldOp::Sum, FoldOp::Max, FoldOp::Sum, FoldOp::Min];
        let kernel = d.kernel(kernels::all_folds());
        let mut then = call(kernel, &[c], &[], &[b(), n(20)], b());
        for (i, (op, len)) in ops.into_iter().zip(lens).enumerate() {
            let partial = d.temp(len.times(&n(64 * op.parts(Kind::F32) as i64)), 1, 1);
            let to = d.output(&format!("f{i}"), DType::F32, std::slice::from_ref(&len), 1);
            then.folds.push(fold(op, len, partial, to));
        }
        let terms = vec![Product { k: n(8), a: matrix(x, n(8)), b: matrix(w, n(20)) }];
        let (c, note, then) = (matrix(c, n(20)), String::new(), Some(then));
        d.step(Step::Gemm(Box::new(Gemm { m: b(), n: n(20), terms, c, batch: vec![], accumulate: false, then, note })));
        let (tx, tw) = (noise(1, &[rows, 8]), noise(2, &[8, 20]));
        let found = d.run(&[], &[("x", &tx), ("w", &tw)]);
        let c = wide(numbers(&found[0]));
        let column = |i: usize| c.iter().skip(i).step_by(20);
        let sums: Vec<f64> = (0..20).map(|i| column(i).sum()).collect();
        let maxima: Vec<f64> = (0..20).map(|i| column(i).fold(f64::MIN, |m, x| m.max(*x))).collect();
        assert!(difference(numbers(&found[1]), &sums) < 1e-5, "{rows} rows");
        assert_eq!(wide(numbers(&found[2])), maxima, "{rows} rows");
        assert!(difference(numbers(&found[3]), &[c.iter().sum()]) < 1e-4, "{rows} rows");
        let smallest = c.chunks(20).map(|row| row.iter().sum()).fold(f64::MAX, f64::min);
        assert!(difference(numbers(&found[4]), &[smallest]) < 1e-5, "{rows} rows");
    }
}
