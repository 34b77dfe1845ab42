//! Kernels as text.

use dlc_plan::kernel::*;
use dlc_plan::kernel::{BufTy, Phase};

fn at(terms: &[(Axis, Ext)], offset: i64) -> Affine {
    Affine { offset: Ext::Const(offset), terms: terms.to_vec() }
}

#[test]
fn a_kernel_reads_like_its_loops() {
    let (row, col) = (Axis::Row(0), Axis::Col(0));
    let element = Access {
        buf: 0,
        at: at(&[(row, Ext::Const(64)), (col, Ext::Const(1))], 0),
        base: None,
        bounds: vec![Bound { index: at(&[(col, Ext::Const(1))], -1), extent: Ext::Arg(0) }],
    };
    let to = Access { buf: 1, at: at(&[(col, Ext::Arg(1))], 3), base: Some((0, Ext::Const(64))), bounds: vec![] };
    let def = |val, kind, op| Def { val, kind, op };
    let bits = Bits { seed: [0, 0], site: 0, step: 0, first: 0, row: at(&[], 0), col: at(&[(col, Ext::Const(1))], 0) };
    let kernel = Kernel {
        rows: vec![Ext::Arg(0)],
        cols: vec![Ext::Const(64)],
        bufs: vec![BufTy { elem: Elem::U8, written: false }, BufTy { elem: Elem::F32, written: true }],
        uniforms: vec![Kind::I32],
        exts: 2,
        folds: 1,
        run: RUN,
        setup: vec![def(0, Kind::I32, Op::Uniform(0)), def(1, Kind::F32, Op::Float(1.5f32.to_bits()))],
        phases: vec![Phase {
            elsewhere: 0,
            sweep: true,
            defs: vec![
                def(2, Kind::I32, Op::Load(element)),
                def(3, Kind::I32, Op::Instr(Instr::IShr(8), vec![2])),
                def(4, Kind::F32, Op::Instr(Instr::IToF, vec![3])),
                def(5, Kind::I32, Op::Bits(bits)),
            ],
            stores: vec![Store { to, value: 4 }],
            folds: vec![
                Fold { op: FoldOp::Max, value: 4, kind: Kind::F32, over: Over::Cols(6) },
                Fold { op: FoldOp::Sum, value: 4, kind: Kind::F32, over: Over::Rows(0) },
            ],
        }],
    };
    let expected = "\
kernel rows($0) cols(64) bufs(b0: u8, b1: mut f32) uniforms(u0: i32)
  setup
    %0 = u0
    %1 = f32 1.5
  sweep
    %2 = load b0[row0*64 + col0] if 0 <= col0 - 1 < $0
    %3 = ishr.8 %2
    %4 = itof %3
    %5 = bits(seed %0 %0, site %0, step %0, row 0 + %0, col col0)
    store b1[col0*$1 + 3 + %0*64] = %4
    %6 = max over cols %4
    fold0 = sum over rows %4
";
    assert_eq!(kernel.to_string(), expected);
}
