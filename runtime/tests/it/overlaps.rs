//! Steps whose memory overlaps what they write, and kernels whose values are not what they say: all of them are refused.

use crate::draft::*;
use crate::kernels;
use dlc_plan::kernel::{Axis, Elem, Instr, Kind, Op};
use dlc_plan::plan::{BufId, Gemm, Matrix, Panels, Place, Product, Repeat, RowOp, Step, Store};
use dlc_plan::{DType, HostState, Size};
use dlc_runtime::{Error, ValidPlan};

/// What a run of a plan says that reads x: f32[4, 4] and a store of 64 numbers.
fn refusal(spoil: impl FnOnce(&mut Draft, BufId, BufId)) -> String {
    let mut d = Draft::new();
    let x = d.input("x", DType::F32, &[n(4), n(4)], 1000);
    let w = d.weight("w", &[64], Store::Trained);
    let w = d.stored(Store::Trained, w);
    spoil(&mut d, x, w);
    let (mut engine, _) = d.engine(2);
    match engine.run("go", &HostState::default(), &[("x", &noise(1, &[4, 4]))]) {
        Ok(_) => "nothing".into(),
        Err(Error::Plan(text)) => text,
        Err(other) => panic!("{other} is no error of the plan"),
    }
}

fn part(d: &mut Draft, of: BufId, offset: i64, len: i64) -> BufId {
    let elem = d.entry.buffers[of as usize].elem;
    d.buffer(elem, n(len), Place::Part { of, offset: n(offset) })
}

fn product(a: BufId, b: BufId, c: BufId) -> Step {
    let terms = vec![Product { k: n(4), a: matrix(a, n(4)), b: matrix(b, n(4)) }];
    let (c, note) = (matrix(c, n(4)), String::new());
    Step::Gemm(Box::new(Gemm { m: n(4), n: n(4), terms, c, batch: vec![], accumulate: false, then: None, note }))
}

#[test]
fn a_product_does_not_write_what_it_reads() {
    for offset in [0, 1, 15] {
        let left = refusal(|d, x, w| {
            let (a, c) = (part(d, w, 0, 16), part(d, w, offset, 16));
            d.step(product(a, x, c));
        });
        assert!(left.contains("overlaps"), "{offset}: {left}");
        let right = refusal(|d, x, w| {
            let (b, c) = (part(d, w, 16, 16), part(d, w, 16 - offset, 16));
            d.step(product(x, b, c));
        });
        assert!(right.contains("overlaps"), "{offset}: {right}");
    }
    let beside = refusal(|d, x, w| {
        let (a, c) = (part(d, w, 0, 16), part(d, w, 16, 16));
        d.step(product(a, x, c));
    });
    assert_eq!(beside, "nothing");
}

#[test]
fn a_product_writes_no_element_twice() {
    let strides = |row: i64, col: i64| {
        refusal(|d, x, w| {
            let mut step = product(x, x, w);
            let Step::Gemm(gemm) = &mut step else { return };
            gemm.c = Matrix { row: n(row), col: n(col), ..matrix(w, n(4)) };
            d.step(step);
        })
    };
    for (row, col) in [(1, 1), (0, 1), (3, 1), (1, 3), (2, 2), (2, 3)] {
        assert!(strides(row, col).contains("more than once"), "{row}, {col}");
    }
    for (row, col) in [(4, 1), (1, 4), (5, 1), (2, 8)] {
        assert_eq!(strides(row, col), "nothing", "{row}, {col}");
    }
}

#[test]
fn what_a_loop_moves_is_looked_at_in_each_iteration() {
    let slots = |count: u32, ahead: u32| {
        refusal(|d, x, w| {
            let slot = |ahead| Place::Slot { of: w, stride: n(16), depth: 0, ahead, slots: 4 };
            let (a, c) = (d.buffer(Elem::F32, n(16), slot(0)), d.buffer(Elem::F32, n(16), slot(ahead)));
            let steps = vec![product(a, x, c)];
            d.step(Step::Repeat(Box::new(Repeat { count, reverse: false, steps, note: String::new() })));
        })
    };
    assert_eq!(slots(4, 1), "nothing");
    assert!(slots(4, 4).contains("overlaps"));
    // A buffer that stays is met by the third iteration alone.
    let fixed = |count: u32| {
        refusal(|d, x, w| {
            let place = Place::Slot { of: w, stride: n(16), depth: 0, ahead: 0, slots: 4 };
            let (a, c) = (part(d, w, 32, 16), d.buffer(Elem::F32, n(16), place));
            let steps = vec![product(a, x, c)];
            d.step(Step::Repeat(Box::new(Repeat { count, reverse: false, steps, note: String::new() })));
        })
    };
    assert_eq!(fixed(2), "nothing");
    assert!(fixed(3).contains("overlaps"));
}

#[test]
fn copies_scatters_and_rows_do_not_write_what_they_read() {
    let copy = |offset: i64| {
        refusal(|d, _, w| {
            let (from, to) = (part(d, w, 0, 16), part(d, w, offset, 16));
            d.step(Step::Copy { from, to });
        })
    };
    assert_eq!([copy(0), copy(16)], ["nothing", "nothing"]);
    assert!(copy(1).contains("overlaps") && copy(15).contains("overlaps"));
    let sums = |offset: i64| {
        refusal(|d, _, w| {
            let (from, to) = (part(d, w, 0, 16), part(d, w, offset, 16));
            let (rows, len, keep) = (n(4), n(4), n(4));
            d.step(Step::Rows { op: RowOp::RunningSum, from, to, rows, len, keep });
        })
    };
    assert_eq!(sums(16), "nothing");
    assert!(sums(0).contains("overlaps") && sums(8).contains("overlaps"));
    let scatter = |offset: i64| {
        refusal(|d, _, w| {
            let ids = d.buffer(Elem::I32, n(4), Place::Arena { first: 1, last: 1 });
            let (from, to) = (part(d, w, 0, 16), part(d, w, offset, 16));
            d.step(Step::Scatter { ids, count: n(4), from, to, rows: n(4), width: n(4) });
        })
    };
    assert_eq!(scatter(32), "nothing");
    assert!(scatter(0).contains("overlaps") && scatter(12).contains("overlaps"));
}

/// Panels of all rows of x side by side, that write pieces which begin `stride` elements after each other.
fn panels(stride: i64, serial: bool) -> String {
    let mut d = Draft::new();
    d.plan.dims.extend(["height".into(), "first".into(), "head".into()]);
    let x = d.input("x", DType::F32, &[b(), n(4)], 1000);
    let y = d.output("y", DType::F32, &[n(64), n(4)], 1);
    let (cut, len) = (n(8), n(4));
    let place = Place::Piece { of: y, offset: Size::dim(3).times(&n(stride)) };
    let to = d.buffer(Elem::F32, len.clone(), place);
    let from = d.buffer(Elem::F32, len, Place::Piece { of: x, offset: n(0) });
    let steps = vec![Step::Copy { from, to }];
    let (cuts, serial, zero) = (vec![b(), cut], vec![true, serial], vec![y]);
    let note = String::new();
    d.step(Step::Panels(Box::new(Panels { cuts, serial, width: n(4), first: 1, zero, steps, note })));
    match d.engine(2).0.run("go", &HostState::default(), &[("x", &noise(1, &[3, 4]))]) {
        Ok(_) => "nothing".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn panels_side_by_side_do_not_write_the_same_memory() {
    assert_eq!([panels(4, false), panels(8, false), panels(0, true)], ["nothing", "nothing", "nothing"]);
    for stride in [0, 1, 3] {
        assert!(panels(stride, false).contains("side by side"), "{stride}: {}", panels(stride, false));
    }
}

/// What is said of a kernel that was spoilt.
fn spoilt(spoil: impl FnOnce(&mut dlc_plan::Kernel)) -> String {
    let mut d = Draft::new();
    d.kernel(kernels::bias_relu());
    spoil(&mut d.plan.kernels[0]);
    match ValidPlan::new(d.finished()) {
        Ok(_) => "nothing".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn values_are_defined_once_before_they_are_used_and_of_their_kind() {
    assert_eq!(spoilt(|_| {}), "nothing");
    let early = spoilt(|k| k.phases[0].defs.reverse());
    assert!(early.contains("not defined"), "{early}");
    let twice = spoilt(|k| {
        let def = k.phases[0].defs[0].clone();
        k.phases[0].defs.push(def);
    });
    assert!(twice.contains("defined twice"), "{twice}");
    let kind = spoilt(|k| k.phases[0].defs[0].kind = Kind::I64);
    assert!(kind.contains("is said to be I64"), "{kind}");
    let stored = spoilt(|k| k.phases[0].stores[0].value = u32::MAX);
    assert!(stored.contains("not defined"), "{stored}");
    let far = spoilt(|k| k.phases[0].defs[0].val = u32::MAX);
    assert!(far.contains("a value with the number"), "{far}");
    let index = spoilt(|k| {
        let mut def = k.phases[0].defs[0].clone();
        (def.op, def.kind, def.val) = (Op::Index(Axis::Col(0)), Kind::I32, 1000);
        k.setup.push(def);
    });
    assert!(index.contains("no index there"), "{index}");
    let shift = spoilt(|k| {
        let mut def = k.phases[0].defs[0].clone();
        (def.op, def.kind, def.val) = (Op::Int(1), Kind::I32, 1000);
        k.setup.push(def.clone());
        (def.op, def.val) = (Op::Instr(Instr::IShl(32), vec![1000]), 1001);
        k.setup.push(def);
    });
    assert!(shift.contains("a shift by 32"), "{shift}");
    let lanes = spoilt(|k| {
        let mut next = k.phases[0].clone();
        next.defs.clear();
        k.phases.push(next);
    });
    assert!(lanes.contains("not defined"), "{lanes}");
    let run = spoilt(|k| k.run = 0);
    assert!(run.contains("runs of 0"), "{run}");
}
