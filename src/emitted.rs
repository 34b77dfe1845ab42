//! What emitted Rust is written with: the runtime's kernels, and a training's recipe as data. Not for use by hand.

pub use crate::network::Parts;
pub use dlc_plan::DType;
pub use dlc_plan::kernel::{Axis, Elem, Ext, Kind};
pub use dlc_plan::random::bits;
pub use dlc_plan::recipe::{
    Adapted, Arg, Batch, Data, EncodedRows, Encoder, Encoding, Finish, Form, Length, Lora, Model, Part, Recipe, Share,
    Source, SourceKind, Stop, Weights,
};
pub use dlc_runtime::call::{Call, Code, RustKernel, Takes, Touch, code, reads, writes};
pub use dlc_runtime::lanes::ops::*;
pub use dlc_runtime::lanes::{LANES, Simd};
pub use std::ops::Range;
