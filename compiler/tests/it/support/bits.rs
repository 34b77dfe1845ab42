//! What two backends leave behind, compared bit by bit; a NaN equals any NaN.

use dlc_compiler::back::reference::{Buf, Memory};
use dlc_plan::Kernel;
use dlc_plan::kernel::{Elem, Kind, Over};

fn same(float: bool, a: u32, b: u32) -> bool {
    a == b || (float && f32::from_bits(a).is_nan() && f32::from_bits(b).is_nan())
}

/// The first difference between what machine code and the evaluator leave behind.
pub fn difference(kernel: &Kernel, machine: &Memory, reference: &Memory) -> Option<String> {
    let words = |name: String, float: bool, a: &[u32], b: &[u32]| {
        let at = (0..a.len()).find(|i| !same(float, a[*i], b[*i]))?;
        Some(format!("{name}[{at}] is {:#x}, not {:#x}", a[at], b[at]))
    };
    let bufs = |name: String, float: bool, a: &Buf, b: &Buf| match (a, b) {
        (Buf::Words(a), Buf::Words(b)) => words(name, float, a, b),
        (Buf::Longs(a), Buf::Longs(b)) => (a != b).then(|| format!("{name} differs: {a:x?} not {b:x?}")),
        (Buf::Bytes(a), Buf::Bytes(b)) => (a != b).then(|| format!("{name} differs: {a:?} not {b:?}")),
        _ => panic!("both have the kernel's sorts"),
    };
    for (i, (a, b)) in machine.bufs.iter().zip(&reference.bufs).enumerate() {
        let found = bufs(format!("b{i}"), kernel.bufs[i].elem == Elem::F32, a, b);
        if found.is_some() {
            return found;
        }
    }
    kernel.phases.iter().flat_map(|phase| &phase.folds).find_map(|fold| match fold.over {
        Over::Cols(_) => None,
        Over::Rows(slot) | Over::All(slot) => {
            let slot = usize::from(slot);
            bufs(format!("fold{slot}"), fold.kind == Kind::F32, &machine.folds[slot], &reference.folds[slot])
        }
    })
}
