//! Machine code against the reference evaluator, bit by bit; a NaN equals any NaN.

use dlc_compiler::back::clif;
use dlc_compiler::back::reference::{self, Buf, Memory};
use dlc_plan::Kernel;
use dlc_plan::kernel::{Access, Affine, Axis, BufTy, Def, Elem, Ext, Instr, Kind, Op, Phase, RUN, Store};

use crate::generate::{self, Case, FLOATS, INSTRS, INTS, LONGS};
use crate::support::bits::difference;

/// What the kernel does to the memory by machine code, in two chunks of rows.
fn by_machine(kernel: &Kernel, memory: &Memory, code: dlc_plan::kernel::KernelFn, rows: u64) -> Memory {
    let mut memory = memory.clone();
    let cut = rows / 3;
    for part in [0..cut, cut..rows] {
        // SAFETY: the caller holds the code, which was compiled from this kernel, and the memory was made for it.
        unsafe { memory.call(kernel, code, part) };
    }
    assert_eq!(memory.bufs.len(), kernel.bufs.len());
    memory
}

fn by_reference(kernel: &Kernel, memory: &Memory, rows: u64) -> Memory {
    let mut memory = memory.clone();
    let cut = rows / 3;
    for part in [0..cut, cut..rows] {
        reference::run(kernel, &mut memory, part);
    }
    memory
}

/// Compiles all cases at once and compares each.
fn check(cases: &[Case]) {
    let kernels: Vec<Kernel> = cases.iter().map(|case| case.kernel.clone()).collect();
    let code = clif::compile(&kernels).expect("random kernels compile");
    for (i, Case { kernel, memory, rows }) in cases.iter().enumerate() {
        let machine = by_machine(kernel, memory, code.function(i), *rows);
        let reference = by_reference(kernel, memory, *rows);
        if let Some(what) = difference(kernel, &machine, &reference) {
            panic!("case {i}: {what}\nextents {:?}\n{kernel}", memory.exts);
        }
    }
}

#[test]
fn random_kernels_give_the_reference_bits() {
    let cases: Vec<Case> = (0..1200).map(generate::case).collect();
    // The generator reaches what it should.
    let text: String = cases.iter().map(|case| case.kernel.to_string()).collect();
    for part in ["load", " if 0 <=", "bits(", "over cols", "over rows", "over all", "u8", "setup", "  row\n", "store"] {
        assert!(text.contains(part), "no kernel has {part}");
    }
    for op in INSTRS {
        assert!(text.contains(&format!("= {op} ")), "no kernel has {op}");
    }
    check(&cases);
}

/// `to[col0 * step] = from[col0 * step]`, both of one sort.
fn copy(elem: Elem, cols: Ext, step: Ext) -> Kernel {
    let at = |buf| Access {
        buf,
        at: Affine { offset: Ext::Const(0), terms: vec![(Axis::Col(0), step)] },
        base: None,
        bounds: vec![],
    };
    let kind = elem.kind();
    Kernel {
        rows: vec![],
        cols: vec![cols],
        bufs: vec![BufTy { elem, written: false }, BufTy { elem, written: true }],
        uniforms: vec![],
        exts: 2,
        folds: 0,
        run: RUN,
        setup: vec![],
        phases: vec![Phase {
            elsewhere: 0,
            sweep: true,
            defs: vec![Def { val: 0, kind, op: Op::Load(at(0)) }],
            stores: vec![Store { to: at(1), value: 0 }],
            folds: vec![],
        }],
    }
}

#[test]
fn every_length_of_every_sort_is_copied_whole() {
    let mut cases = vec![];
    let mut random = generate::Random::new(7);
    for len in (0..=34).chain([48, 63, 64, 65, 257]) {
        for (elem, step) in Elem::ALL.into_iter().flat_map(|e| [(e, 1), (e, 3)]) {
            for cols in [Ext::Const(len), Ext::Arg(0)] {
                for by in [Ext::Const(step), Ext::Arg(1)] {
                    let size = (len * step) as usize + 20;
                    let bufs = vec![random.data(elem, size), random.data(elem, size)];
                    let memory = Memory { bufs, uniforms: vec![], exts: vec![len, step], folds: vec![] };
                    cases.push(Case { kernel: copy(elem, cols, by), memory, rows: 1 });
                }
            }
        }
    }
    check(&cases);
}

fn element(buf: u16) -> Access {
    let at = Affine { offset: Ext::Const(0), terms: vec![(Axis::Col(0), Ext::Const(1))] };
    Access { buf, at, base: None, bounds: vec![] }
}

/// `op` over buffers of operands, to a last buffer.
fn one_instr(op: Instr, cols: Ext) -> Kernel {
    let (kinds, kind) = op.signature();
    let elem = |kind: &Kind| match kind {
        Kind::F32 => Elem::F32,
        Kind::I32 | Kind::Mask => Elem::I32,
        Kind::I64 => Elem::I64,
    };
    let mut bufs: Vec<BufTy> = kinds.iter().map(|kind| BufTy { elem: elem(kind), written: false }).collect();
    bufs.push(BufTy { elem: elem(&kind), written: true });
    let mut defs = vec![];
    let mut define = |kind: Kind, op: Op| {
        let val = defs.len() as u32;
        defs.push(Def { val, kind, op });
        val
    };
    let mut args = vec![];
    for (i, kind) in kinds.iter().enumerate() {
        let load_kind = if *kind == Kind::Mask { Kind::I32 } else { *kind };
        let mut arg = define(load_kind, Op::Load(element(i as u16)));
        if *kind == Kind::Mask {
            let zero = define(Kind::I32, Op::Int(0));
            arg = define(Kind::Mask, Op::Instr(Instr::INe, vec![arg, zero]));
        }
        args.push(arg);
    }
    let mut value = define(kind, Op::Instr(op, args));
    if kind == Kind::Mask {
        let [one, two] = [1, 2].map(|n| define(Kind::I32, Op::Int(n)));
        value = define(Kind::I32, Op::Instr(Instr::ISelect, vec![value, one, two]));
    }
    let stores = vec![Store { to: element(kinds.len() as u16), value }];
    Kernel {
        rows: vec![],
        cols: vec![cols],
        bufs,
        uniforms: vec![],
        exts: 1,
        folds: 0,
        run: RUN,
        setup: vec![],
        phases: vec![Phase { sweep: true, defs, stores, folds: vec![], elsewhere: 0 }],
    }
}

/// All tuples of edge values for the operands of `op`, one buffer an operand.
fn edges(op: Instr) -> Vec<Vec<u64>> {
    let mut tuples: Vec<Vec<u64>> = vec![vec![]];
    for kind in op.signature().0 {
        let values: Vec<u64> = match kind {
            Kind::F32 => FLOATS.map(u64::from).to_vec(),
            Kind::I32 => INTS.map(u64::from).to_vec(),
            Kind::I64 => LONGS.to_vec(),
            Kind::Mask => vec![0, 1],
        };
        tuples = values
            .iter()
            .flat_map(|value| tuples.iter().map(|tuple| tuple.iter().copied().chain([*value]).collect()))
            .collect();
    }
    let operands = op.signature().0.len();
    (0..operands).map(|i| tuples.iter().map(|tuple| tuple[i]).collect()).collect()
}

/// A buffer with these bits.
fn buf(elem: Elem, bits: Vec<u64>) -> Buf {
    match elem {
        Elem::I64 => Buf::Longs(bits),
        Elem::F32 | Elem::I32 | Elem::U8 => Buf::Words(bits.into_iter().map(|x| x as u32).collect()),
    }
}

#[test]
fn every_instruction_is_right_at_the_edges() {
    let cases = INSTRS.iter().flat_map(|op| {
        let mut operands = edges(*op);
        let len = operands[0].len();
        operands.push(vec![0; len]);
        let memory = Memory {
            bufs: one_instr(*op, Ext::Arg(0)).bufs.iter().zip(operands).map(|(ty, x)| buf(ty.elem, x)).collect(),
            uniforms: vec![],
            exts: vec![len as i64],
            folds: vec![],
        };
        [Ext::Arg(0), Ext::Const(len as i64)].map(|cols| Case {
            kernel: one_instr(*op, cols),
            memory: memory.clone(),
            rows: 1,
        })
    });
    check(&cases.collect::<Vec<Case>>());
}

#[test]
fn no_kernels_are_no_code() {
    let code = clif::compile(&[]).expect("nothing compiles");
    assert_eq!((code.len(), code.size(), code.is_empty()), (0, 0, true));
}

/// While there is machine code, no page of the process can be both written and executed.
#[test]
#[cfg(target_os = "linux")]
fn pages_of_machine_code_are_never_writable() {
    let code = clif::compile(&[one_instr(Instr::FAdd, Ext::Arg(0))]).expect("it compiles");
    let address = code.function(0) as usize;
    let maps = std::fs::read_to_string("/proc/self/maps").expect("the system tells");
    let mut found = false;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, flags) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        assert!(!(flags.contains('w') && flags.contains('x')), "{line}");
        let bounds = range.split_once('-').map(|(a, b)| [a, b].map(|n| usize::from_str_radix(n, 16).unwrap_or(0)));
        if bounds.is_some_and(|[first, end]| (first..end).contains(&address)) {
            found = true;
            assert!(flags.starts_with("r-x"), "{line}");
        }
    }
    assert!(found, "the code is in none of the pages");
}
