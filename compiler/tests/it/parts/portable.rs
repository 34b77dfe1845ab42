//! Machine code for processors without instructions of their own for an operation.

use dlc_plan::kernel::{Access, Affine, Axis, BufTy, Def, Elem, Ext, Instr, Kind, Op, Phase, RUN, Store};

use dlc_compiler::back::clif::Code;
use dlc_compiler::back::clif::machine::{Compiler, isa};
use dlc_compiler::back::reference::{self, Buf, Memory};
use dlc_plan::Kernel;

/// Both dialects run here, whatever the processor is, where the portable one has its own form.
#[test]
fn the_portable_conversion_gives_the_same_bits() {
    let at = |buf| Access {
        buf,
        at: Affine { offset: Ext::Const(0), terms: vec![(Axis::Col(0), Ext::Const(1))] },
        base: None,
        bounds: vec![],
    };
    let defs = vec![
        Def { val: 0, kind: Kind::F32, op: Op::Load(at(0)) },
        Def { val: 1, kind: Kind::I32, op: Op::Instr(Instr::FToI, vec![0]) },
    ];
    let stores = vec![Store { to: at(1), value: 1 }];
    let kernel = Kernel {
        rows: vec![],
        cols: vec![Ext::Const(16)],
        bufs: vec![BufTy { elem: Elem::F32, written: false }, BufTy { elem: Elem::I32, written: true }],
        uniforms: vec![],
        exts: 0,
        folds: 0,
        run: RUN,
        setup: vec![],
        phases: vec![Phase { sweep: true, defs, stores, folds: vec![], elsewhere: 0 }],
    };
    let limit = 2_147_483_648f32;
    let below = 2_147_483_520f32;
    let mut numbers = vec![0.0, -0.0, 0.9, -0.9, 1.5, -2.5, 1e-40, below, limit, -limit, -below, -2_147_483_904.0];
    numbers.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e30]);
    let words = numbers.iter().map(|x| x.to_bits()).collect();
    let bufs = vec![Buf::Words(words), Buf::Words(vec![0; 16])];
    let mut memory = Memory { bufs, uniforms: vec![], exts: vec![], folds: vec![] };
    let mut expected = memory.clone();
    reference::run(&kernel, &mut expected, 0..1);
    let isa = isa().expect("the machine that runs the tests is supported");
    let mut compiler = Compiler::portable(&*isa);
    let bytes = compiler.compile(&kernel).expect("the kernel compiles");
    // SAFETY: the code was compiled from the kernel.
    let code = unsafe { Code::install(&[bytes], std::slice::from_ref(&kernel)) }.expect("there is memory");
    // SAFETY: the code is alive, and the memory has sixteen elements for each of the kernel's two buffers.
    unsafe { memory.call(&kernel, code.function(0), 0..1) };
    assert_eq!(memory, expected);
}
