//! Loops: values that are carried, stacked and different in each iteration.

use crate::draft::*;
use crate::kernels;
use dlc_plan::kernel::{Elem, Kind};
use dlc_plan::plan::{BufId, Place, Repeat, Step, Store};
use dlc_plan::{DType, Host, HostState, Prim, Size};
use dlc_runtime::Tensor;

const WIDTH: usize = 20;

fn wide() -> Size {
    n(WIDTH as i64)
}

fn slot(d: &mut Draft, of: BufId, ahead: u32, slots: u32) -> BufId {
    d.buffer(Elem::F32, wide(), Place::Slot { of, stride: wide(), depth: 0, ahead, slots })
}

fn part(d: &mut Draft, of: BufId, at: i64) -> BufId {
    d.buffer(Elem::F32, wide(), Place::Part { of, offset: wide().times(&n(at)) })
}

/// x -> x * w[i] + (i + 1) / 8 in `count` layers, and back: the gradients of x and of each w, for the gradient dy.
fn layers(count: u32) -> Draft {
    let mut d = Draft::new();
    let k = d.kernel(kernels::scale_add());
    let weights: Vec<u32> = (0..count).map(|i| d.weight(&format!("w.{i}"), &[WIDTH], Store::Trained)).collect();
    let mut row = |store| {
        let cells: Vec<BufId> = weights.iter().map(|&w| d.stored(store, w)).collect();
        d.buffer(Elem::F32, wide(), Place::Row { depth: 0, cells })
    };
    let (w, dw) = (row(Store::Trained), row(Store::Grads));
    let x = d.input("x", DType::F32, &[wide()], 1);
    let dy = d.input("dy", DType::F32, &[wide()], 6);
    let carried = d.temp(wide().times(&n(2)), 1, 5);
    let stack = d.temp(wide().times(&n(count.into())), 2, 10);
    let gradient = d.temp(wide().times(&n(2)), 6, 10);
    let y = d.output("y", DType::F32, &[wide()], 5);
    let dx = d.output("dx", DType::F32, &[wide()], 10);

    let (now, next) = (slot(&mut d, carried, 0, 2), slot(&mut d, carried, 1, 2));
    let kept = slot(&mut d, stack, 0, count);
    let bias = Host::Row(0, (0..count).map(|i| Host::Const(f64::from(i + 1) / 8.0)).collect());
    let forward = |bufs: &[BufId], bias| Step::Kernel(call(k, bufs, &[(Kind::F32, bias)], &[n(1), wide()], n(1)));
    let body = vec![Step::Copy { from: now, to: kept }, forward(&[now, w, next], bias)];
    let to = part(&mut d, carried, 0);
    d.step(Step::Copy { from: x, to });
    d.step(Step::Repeat(Box::new(Repeat { count, reverse: false, steps: body, note: "layers".into() })));
    let from = part(&mut d, carried, i64::from(count % 2));
    d.step(Step::Copy { from, to: y });

    let (now, next) = (slot(&mut d, gradient, 1, 2), slot(&mut d, gradient, 0, 2));
    let zero = || Host::Const(0.0);
    let body = vec![forward(&[now, kept, dw], zero()), forward(&[now, w, next], zero())];
    let to = part(&mut d, gradient, i64::from(count % 2));
    d.step(Step::Copy { from: dy, to });
    d.step(Step::Repeat(Box::new(Repeat { count, reverse: true, steps: body, note: "layers".into() })));
    let from = part(&mut d, gradient, 0);
    d.step(Step::Copy { from, to: dx });
    d
}

#[test]
fn a_loop_forwards_and_backwards_is_the_loop_written_out() {
    for count in [1, 2, 5, 64] {
        let d = layers(count);
        let w: Vec<Tensor> = (0..count).map(|i| noise(10 + i, &[WIDTH])).collect();
        let names: Vec<String> = (0..count).map(|i| format!("w.{i}")).collect();
        let weights: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&w).collect();
        let (x, dy) = (noise(1, &[WIDTH]), noise(2, &[WIDTH]));

        let mut stack = vec![numbers(&x).to_vec()];
        for (i, w) in w.iter().enumerate() {
            let bias = (i + 1) as f32 / 8.0;
            stack.push(stack[i].iter().zip(numbers(w)).map(|(x, w)| x * w + bias).collect());
        }
        let mut g = numbers(&dy).to_vec();
        let mut dw = vec![Vec::new(); w.len()];
        for (i, w) in w.iter().enumerate().rev() {
            dw[i] = g.iter().zip(&stack[i]).map(|(g, x)| g * x).collect::<Vec<f32>>();
            g = g.iter().zip(numbers(w)).map(|(g, w)| g * w).collect();
        }

        let found = d.run(&weights, &[("x", &x), ("dy", &dy)]);
        assert_eq!(numbers(&found[0]), stack[count as usize]);
        assert_eq!(numbers(&found[1]), g);
        let (mut engine, _) = d.engine(2);
        weights.iter().for_each(|(name, w)| engine.stores_mut().set_weight(name, w).expect("it fits"));
        engine.run("go", &HostState::default(), &[("x", &x), ("dy", &dy)]).expect("the inputs fit");
        for (name, dw) in names.iter().zip(&dw) {
            let found = engine.stores().kept(Store::Grads, name).expect("it has a gradient");
            assert_eq!(numbers(&found), dw, "{name} of {count}");
        }
    }
}

#[test]
fn loops_nest() {
    // out[i, j, :] = 10 i + j, i counting down, j up.
    let mut d = Draft::new();
    let k = d.kernel(kernels::set());
    let out = d.output("out", DType::F32, &[n(3), n(2), n(4)], 1);
    let outer = d.buffer(Elem::F32, n(8), Place::Slot { of: out, stride: n(8), depth: 0, ahead: 0, slots: 3 });
    let inner = d.buffer(Elem::F32, n(4), Place::Slot { of: outer, stride: n(4), depth: 1, ahead: 0, slots: 2 });
    let row =
        |depth, step: f64, count| Host::Row(depth, (0..count).map(|i| Host::Const(step * f64::from(i))).collect());
    let value = Host::Prim(Prim::Add, vec![row(0, 10.0, 3), row(1, 1.0, 2)]);
    let body = vec![Step::Kernel(call(k, &[inner], &[(Kind::F32, value)], &[n(1), n(4)], n(1)))];
    let body = vec![Step::Repeat(Box::new(Repeat { count: 2, reverse: false, steps: body, note: String::new() }))];
    d.step(Step::Repeat(Box::new(Repeat { count: 3, reverse: true, steps: body, note: String::new() })));
    let found = d.run(&[], &[]);
    let expected: Vec<f32> = (0..24).map(|e| (10 * (e / 8) + e / 4 % 2) as f32).collect();
    assert_eq!(numbers(&found[0]), expected);
}

#[test]
fn a_loop_of_no_turns_changes_nothing() {
    let mut d = Draft::new();
    let k = d.kernel(kernels::set());
    let x = d.input("x", DType::F32, &[b(), n(4)], 2);
    let y = d.output("y", DType::F32, &[b(), n(4)], 1);
    let body = vec![Step::Kernel(call(k, &[x], &[(Kind::F32, Host::Const(7.0))], &[b(), n(4)], b()))];
    d.step(Step::Repeat(Box::new(Repeat { count: 0, reverse: false, steps: body, note: String::new() })));
    d.step(Step::Copy { from: x, to: y });
    let x = noise(1, &[3, 4]);
    assert_eq!(d.run(&[], &[("x", &x)]), [x]);
}
