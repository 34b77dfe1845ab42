//! What emitted Rust is written with: the runtime's kernels, and the plan as data. Not for use by hand.

pub use crate::network::Parts;
pub use dlc_plan::kernel::{Elem, Ext, FoldOp, KernelFn, Kind, Over};
pub use dlc_plan::plan::{
    Bound, BufId, Buffer, Call as KernelCall, Entry, FoldTo, Gemm, Guard, Matrix, Panels, Place, Port, Product, Repeat,
    RowOp, StatePart, Step, Store, Weight,
};
pub use dlc_plan::random::bits;
pub use dlc_plan::recipe::{
    Adapted, Arg, Batch, Data, EncodedRows, Encoder, Encoding, Finish, Form, Length, Lora, Model, Part, Recipe, Share,
    Source, SourceKind, Stop, Weights,
};
pub use dlc_plan::{DType, Host, HostVar, Kernel, Plan, Prim, Size};
pub use dlc_runtime::call::{Call, Code, code};
pub use dlc_runtime::lanes::ops::*;
pub use dlc_runtime::lanes::{LANES, Simd};
pub use std::ops::Range;

/// A size that is known.
pub fn n(k: i64) -> Size {
    Size::from(k)
}

/// A dynamic size, by its number.
pub fn d(dim: u16) -> Size {
    Size::dim(dim)
}

/// A quotient rounded down.
pub fn quot(a: Size, b: Size) -> Size {
    a.quotient(&b).unwrap_or_default()
}

/// A buffer.
pub fn buffer(elem: Elem, len: Size, place: Place, note: &str) -> Buffer {
    Buffer { elem, len, place, note: note.into() }
}

/// The parts of a list, each made by a function of its own, in order.
pub fn joined<T>(parts: &[fn() -> Vec<T>]) -> Vec<T> {
    parts.iter().flat_map(|part| part()).collect()
}
