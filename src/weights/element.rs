//! How the elements of a tensor lie in a file: as numbers of a type that dlc knows, as blocks of quantised numbers, or as
//! something that dlc does not read.

use super::blocks::Blocks;
use dlc_runtime::tensor::DType;

/// The elements of a tensor, as a file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Elements {
    /// Numbers, or truths.
    Plain(DType),
    /// Quantised numbers, which are read as f32.
    Blocks(Blocks),
    /// What dlc does not read, in the file's words.
    Other(String),
}

impl Elements {
    /// The name: the language's for what it knows, else the file's.
    pub fn name(&self) -> &str {
        match self {
            Elements::Plain(dtype) => dtype.name(),
            Elements::Blocks(blocks) => blocks.name(),
            Elements::Other(name) => name,
        }
    }

    /// The type in which they are read; none if they are not.
    pub fn read_as(&self) -> Option<DType> {
        match self {
            Elements::Plain(dtype) => Some(*dtype),
            Elements::Blocks(_) => Some(DType::F32),
            Elements::Other(_) => None,
        }
    }

    /// Whether they are read as real numbers.
    pub fn is_real(&self) -> bool {
        self.read_as().is_some_and(is_real)
    }

    /// How many bytes `count` of them take; none if that overflows, or is not known, or if there are no such blocks.
    pub fn bytes(&self, count: usize) -> Option<usize> {
        match self {
            Elements::Plain(dtype) => count.checked_mul(dtype.bytes()),
            Elements::Blocks(blocks) => blocks.bytes(count),
            Elements::Other(_) => None,
        }
    }
}

/// Whether a type is one of real numbers.
pub fn is_real(dtype: DType) -> bool {
    matches!(dtype, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
}

/// How many elements a shape has, unless that overflows.
pub fn count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) { Some(0) } else { shape.iter().try_fold(1_usize, |count, axis| count.checked_mul(*axis)) }
}
