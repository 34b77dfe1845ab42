//! Kernels written by hand: what they do, as the compiler would describe it, and a function that does it.

use dlc_plan::kernel::*;

/// Element (row, col) of a buffer of `Arg(1)` columns.
fn at(buf: u16, gap: Ext) -> Access {
    let terms = vec![(Axis::Row(0), gap), (Axis::Col(0), Ext::Const(1))];
    Access { buf, at: Affine { offset: Ext::Const(0), terms }, base: None, bounds: vec![] }
}

/// Element (col) of a buffer.
pub fn along(buf: u16) -> Access {
    let terms = vec![(Axis::Col(0), Ext::Const(1))];
    Access { buf, at: Affine { offset: Ext::Const(0), terms }, base: None, bounds: vec![] }
}

/// The only element of a buffer.
fn first(buf: u16) -> Access {
    Access { buf, at: Affine { offset: Ext::Const(0), terms: vec![] }, base: None, bounds: vec![] }
}

fn def(val: Val, op: Op) -> Def {
    Def { val, kind: Kind::F32, op }
}

fn instr(val: Val, instr: Instr, args: &[Val]) -> Def {
    def(val, Op::Instr(instr, args.to_vec()))
}

fn f32s(written: &[bool]) -> Vec<BufTy> {
    written.iter().map(|&written| BufTy { elem: Elem::F32, written }).collect()
}

fn sweep(defs: Vec<Def>, stores: Vec<Store>, folds: Vec<Fold>) -> Phase {
    Phase { sweep: true, defs, stores, folds, elsewhere: 0 }
}

/// Rows and columns are the call's extents.
fn kernel(bufs: Vec<BufTy>, uniforms: usize, folds: u16, phases: Vec<Phase>) -> Kernel {
    let (rows, cols) = (vec![Ext::Arg(0)], vec![Ext::Arg(1)]);
    Kernel { rows, cols, bufs, uniforms: vec![Kind::F32; uniforms], exts: 2, folds, run: RUN, setup: vec![], phases }
}

/// A buffer of a call, as its kernel sees it.
///
/// # Safety
/// `args` is that of a running call, and no other thread writes what is read here.
unsafe fn floats<'a>(args: &Args, buf: usize) -> &'a mut [f32] {
    // SAFETY: the engine gives an address and a length for each buffer.
    unsafe { std::slice::from_raw_parts_mut((*args.bufs.add(buf)).cast(), *args.lens.add(buf) as usize) }
}

/// # Safety
/// As for [`floats`].
unsafe fn uniform(args: &Args, i: usize) -> f32 {
    // SAFETY: the engine gives as many scalars as the kernel takes.
    f32::from_bits(unsafe { *args.uniforms.add(i) })
}

/// # Safety
/// As for [`floats`].
unsafe fn ext(args: &Args, i: usize) -> usize {
    // SAFETY: the engine gives as many extents as the kernel takes.
    unsafe { *args.exts.add(i) as usize }
}

/// # Safety
/// As for [`floats`].
unsafe fn partial<'a>(args: &Args, slot: usize) -> &'a mut [f32] {
    // SAFETY: the engine gives a partial result for each slot.
    unsafe { std::slice::from_raw_parts_mut((*args.folds.add(slot)).cast(), *args.fold_lens.add(slot) as usize) }
}

/// Adds a number to a total of a slot.
///
/// # Safety
/// As for [`floats`].
unsafe fn add(args: &Args, slot: usize, column: usize, x: f32) {
    // SAFETY: the caller's promise.
    let kept = unsafe { partial(args, slot) };
    let columns = kept.len() / 3;
    let total = Total { high: kept[columns + column], low: kept[2 * columns + column] }.plus(x);
    (kept[columns + column], kept[2 * columns + column]) = (total.high, total.low);
}

/// x[r, c] = max(x[r, c] + bias[c], 0) * scale, in place.
pub fn bias_relu() -> (Kernel, KernelFn) {
    let gap = Ext::Arg(1);
    let defs = vec![
        def(0, Op::Uniform(0)),
        def(1, Op::Load(at(0, gap))),
        def(2, Op::Load(along(1))),
        instr(3, Instr::FAdd, &[1, 2]),
        def(4, Op::Float(0)),
        instr(5, Instr::FMax, &[3, 4]),
        instr(6, Instr::FMul, &[5, 0]),
    ];
    let phase = sweep(defs, vec![Store { to: at(0, gap), value: 6 }], vec![]);
    unsafe extern "C" fn run(args: *const Args, first: u64, last: u64) {
        // SAFETY: the engine calls with what the kernel takes; rows belong to one thread.
        unsafe {
            let args = &*args;
            let (cols, scale) = (ext(args, 1), uniform(args, 0));
            let (x, bias) = (*args.bufs, floats(args, 1));
            for r in first as usize..last as usize {
                for (c, bias) in bias.iter().enumerate() {
                    let x = x.cast::<f32>().add(r * cols + c);
                    *x = (*x + bias).max(0.0) * scale;
                }
            }
        }
    }
    (kernel(f32s(&[true, false]), 1, 0, vec![phase]), run)
}

/// The sum and the maximum of each column, and the sum and the product of all rows' sums, of x[rows, cols].
pub fn all_folds() -> (Kernel, KernelFn) {
    let load = def(0, Op::Load(at(0, Ext::Arg(1))));
    let fold = |op, value, over| Fold { op, value, kind: Kind::F32, over };
    let columns = vec![
        fold(FoldOp::Sum, 0, Over::Rows(0)),
        fold(FoldOp::Max, 0, Over::Rows(1)),
        fold(FoldOp::Sum, 0, Over::Cols(1)),
    ];
    let all = vec![fold(FoldOp::Sum, 1, Over::All(2)), fold(FoldOp::Min, 1, Over::All(3))];
    let phases = vec![
        sweep(vec![load], vec![], columns),
        Phase { sweep: false, defs: vec![], stores: vec![], folds: all, elsewhere: 0 },
    ];
    unsafe extern "C" fn run(args: *const Args, first: u64, last: u64) {
        // SAFETY: the engine calls with what the kernel takes; partial results belong to one chunk.
        unsafe {
            let args = &*args;
            let cols = ext(args, 1);
            let x = floats(args, 0);
            for r in first as usize..last as usize {
                let row = &x[r * cols..(r + 1) * cols];
                for (c, x) in row.iter().enumerate() {
                    add(args, 0, c, *x);
                    let max = &mut partial(args, 1)[c];
                    *max = if *max < *x || x.is_nan() { *x } else { *max };
                }
                let sum: f32 = row.iter().sum();
                add(args, 2, 0, sum);
                let min = &mut partial(args, 3)[0];
                *min = if *min > sum || sum.is_nan() { sum } else { *min };
            }
        }
    }
    (kernel(f32s(&[false]), 0, 4, phases), run)
}

/// y = x * w + u, of vectors.
pub fn scale_add() -> (Kernel, KernelFn) {
    let defs = vec![
        def(0, Op::Uniform(0)),
        def(1, Op::Load(along(0))),
        def(2, Op::Load(along(1))),
        instr(3, Instr::FMul, &[1, 2]),
        instr(4, Instr::FAdd, &[3, 0]),
    ];
    let phase = sweep(defs, vec![Store { to: along(2), value: 4 }], vec![]);
    unsafe extern "C" fn run(args: *const Args, _first: u64, _last: u64) {
        // SAFETY: the engine calls with what the kernel takes.
        unsafe {
            let args = &*args;
            let (x, w, y) = (floats(args, 0), floats(args, 1), floats(args, 2));
            let u = uniform(args, 0);
            for ((x, w), y) in x.iter().zip(w).zip(y) {
                *y = x * *w + u;
            }
        }
    }
    (kernel(f32s(&[false, false, true]), 1, 0, vec![phase]), run)
}

/// The description of kernels that go over pieces of segments.
fn pieces(bufs: Vec<BufTy>, uniforms: usize, folds: u16, phases: Vec<Phase>) -> Kernel {
    let mut k = kernel(bufs, uniforms, folds, phases);
    (k.rows, k.cols, k.exts) = (vec![], vec![Ext::Arg(0)], 1);
    k
}

/// p = p - rate * g * scale[0], over segments.
pub fn descend() -> (Kernel, KernelFn) {
    let defs = vec![
        def(0, Op::Uniform(0)),
        def(1, Op::Load(along(0))),
        def(2, Op::Load(along(1))),
        def(3, Op::Load(first(2))),
        instr(4, Instr::FMul, &[2, 0]),
        instr(5, Instr::FMul, &[4, 3]),
        instr(6, Instr::FSub, &[1, 5]),
    ];
    let phase = sweep(defs, vec![Store { to: along(0), value: 6 }], vec![]);
    unsafe extern "C" fn run(args: *const Args, first: u64, last: u64) {
        // SAFETY: the engine calls with what the kernel takes.
        unsafe {
            let args = &*args;
            assert_eq!((first, last), (0, 1));
            let (p, g, scale) = (floats(args, 0), floats(args, 1), floats(args, 2)[0]);
            assert!(p.len() == ext(args, 0) && g.len() == p.len() && p.len() <= 4096);
            for (p, g) in p.iter_mut().zip(g) {
                *p -= *g * uniform(args, 0) * scale;
            }
        }
    }
    (pieces(f32s(&[true, false, false]), 1, 0, vec![phase]), run)
}

/// The sum of all squares, over segments.
pub fn squares() -> (Kernel, KernelFn) {
    let defs = vec![def(0, Op::Load(along(0))), instr(1, Instr::FMul, &[0, 0])];
    let columns = Fold { op: FoldOp::Sum, value: 1, kind: Kind::F32, over: Over::Cols(2) };
    let all = Fold { op: FoldOp::Sum, value: 2, kind: Kind::F32, over: Over::All(0) };
    let phases = vec![
        sweep(defs, vec![], vec![columns]),
        Phase { sweep: false, defs: vec![], stores: vec![], folds: vec![all], elsewhere: 0 },
    ];
    unsafe extern "C" fn run(args: *const Args, _first: u64, _last: u64) {
        // SAFETY: the engine calls with what the kernel takes.
        unsafe {
            let args = &*args;
            add(args, 0, 0, floats(args, 0).iter().map(|x| x * x).sum::<f32>());
        }
    }
    (pieces(f32s(&[false]), 0, 1, phases), run)
}

/// x = value, for all of a buffer.
pub fn set() -> (Kernel, KernelFn) {
    let phase = sweep(vec![def(0, Op::Uniform(0))], vec![Store { to: at(0, Ext::Arg(1)), value: 0 }], vec![]);
    unsafe extern "C" fn run(args: *const Args, first: u64, last: u64) {
        // SAFETY: the engine calls with what the kernel takes; rows belong to one thread.
        unsafe {
            let args = &*args;
            let cols = ext(args, 1);
            let start = (*args.bufs).cast::<f32>().add(first as usize * cols);
            std::slice::from_raw_parts_mut(start, (last - first) as usize * cols).fill(uniform(args, 0));
        }
    }
    (kernel(f32s(&[true]), 1, 0, vec![phase]), run)
}
