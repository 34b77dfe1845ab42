//! Element types of tensors, as the language names them.

use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of a single.
    BF16,
    /// A signed integer of 64 bits.
    I64,
    /// A signed integer of 32 bits.
    I32,
    /// An unsigned byte.
    U8,
    /// Truth, stored as a byte that is 0 or 1.
    Bool,
}

impl DType {
    /// Every element type with its name in the language, in the order of the variants.
    pub const ALL: [(DType, &'static str); 7] = [
        (DType::F32, "f32"),
        (DType::F16, "f16"),
        (DType::BF16, "bf16"),
        (DType::I64, "i64"),
        (DType::I32, "i32"),
        (DType::U8, "u8"),
        (DType::Bool, "bool"),
    ];

    /// The name in the language.
    pub fn name(self) -> &'static str {
        DType::ALL[self as usize].1
    }

    /// The element type of that name.
    pub fn parse(name: &str) -> Option<DType> {
        DType::ALL.iter().find(|(_, n)| *n == name).map(|(d, _)| *d)
    }

    /// Whether values are real numbers.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F16 | DType::BF16)
    }

    /// Whether values are integers (truth is not a number).
    pub fn is_int(self) -> bool {
        matches!(self, DType::I64 | DType::I32 | DType::U8)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
