//! Tensors on the host, as they enter and leave the engine and as files hold them: an element type, a shape, and bytes
//! aligned to a line of the cache. Views are typed and checked; conversions say what does not fit.

use half::{bf16, f16};
use std::fmt;

/// The type of a tensor's elements in memory or in a file; more than the types that a model computes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U64,
    U32,
    U16,
    U8,
    /// A byte that is 0 or 1.
    Bool,
}

impl DType {
    /// Every type, with its name and the size of an element in bytes, in the order of the variants.
    pub const ALL: [(DType, &'static str, usize); 13] = [
        (DType::F64, "f64", 8),
        (DType::F32, "f32", 4),
        (DType::F16, "f16", 2),
        (DType::BF16, "bf16", 2),
        (DType::I64, "i64", 8),
        (DType::I32, "i32", 4),
        (DType::I16, "i16", 2),
        (DType::I8, "i8", 1),
        (DType::U64, "u64", 8),
        (DType::U32, "u32", 4),
        (DType::U16, "u16", 2),
        (DType::U8, "u8", 1),
        (DType::Bool, "bool", 1),
    ];

    /// Whether values are real numbers.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32 | DType::F16 | DType::BF16)
    }

    /// The name, in the language's spelling.
    pub fn name(self) -> &'static str {
        DType::ALL[self as usize].1
    }

    /// The size of an element in bytes.
    pub fn bytes(self) -> usize {
        DType::ALL[self as usize].2
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<dlc_plan::DType> for DType {
    fn from(dtype: dlc_plan::DType) -> DType {
        match dtype {
            dlc_plan::DType::F32 => DType::F32,
            dlc_plan::DType::F16 => DType::F16,
            dlc_plan::DType::BF16 => DType::BF16,
            dlc_plan::DType::I64 => DType::I64,
            dlc_plan::DType::I32 => DType::I32,
            dlc_plan::DType::U8 => DType::U8,
            dlc_plan::DType::Bool => DType::Bool,
        }
    }
}

/// What is wrong with a tensor for what it was to be used for.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorError {
    /// Another element type was expected.
    Type {
        /// The tensor's own.
        found: DType,
        /// What was asked for.
        expected: &'static str,
    },
    /// The data have another length than the shape.
    Length {
        /// The shape.
        shape: Vec<usize>,
        /// Elements, or bytes where data came as bytes.
        found: usize,
        /// What the shape has, in the same unit.
        expected: usize,
        /// The unit.
        unit: &'static str,
    },
    /// A shape with another number of elements than the tensor.
    Shape {
        /// The tensor's own.
        found: Vec<usize>,
        /// What was asked for.
        expected: Vec<usize>,
    },
    /// A shape with more elements than a machine can hold.
    TooLarge {
        /// The shape.
        shape: Vec<usize>,
    },
    /// An integer that the narrower type does not have.
    Range {
        /// Its place in the tensor, counted through.
        index: usize,
        /// The integer.
        value: i128,
        /// The narrower type.
        expected: &'static str,
    },
    /// A truth that is neither 0 nor 1.
    NotBool {
        /// Its place in the tensor, counted through.
        index: usize,
        /// The byte found there.
        value: u8,
    },
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TensorError::Type { found, expected } => write!(f, "the tensor's type is {found}, expected {expected}"),
            TensorError::Length { shape, found, expected, unit } => {
                write!(f, "a tensor of shape {shape:?} has {expected} {unit}, found {found}")
            }
            TensorError::Shape { found, expected } => {
                write!(
                    f,
                    "a tensor of shape {found:?} cannot have the shape {expected:?}: the number of elements differs"
                )
            }
            TensorError::TooLarge { shape } => write!(f, "a tensor of shape {shape:?} is too large for memory"),
            TensorError::Range { index, value, expected } => {
                write!(f, "element {index} is {value}, which does not fit {expected}")
            }
            TensorError::NotBool { index, value } => {
                write!(f, "element {index} is {value}, expected 0 or 1 for a bool")
            }
        }
    }
}

impl std::error::Error for TensorError {}

/// A Rust type of which a tensor's elements can be seen.
///
/// # Safety
/// Every pattern of bits is a value of the type, and its size is that of [`Element::DTYPE`].
pub unsafe trait Element: Copy {
    /// The element type.
    const DTYPE: DType;
}

/// Implements [`Element`] for plain numbers.
macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {
        // SAFETY: plain numbers have a value for every pattern of bits, and sizes are compared in a test.
        $(unsafe impl Element for $rust { const DTYPE: DType = DType::$dtype; })*
    };
}

elements! {
    f64 => F64, f32 => F32, f16 => F16, bf16 => BF16,
    i64 => I64, i32 => I32, i16 => I16, i8 => I8, u64 => U64, u32 => U32, u16 => U16, u8 => U8
}

/// A line of the cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; Line::LEN]);

impl Line {
    const LEN: usize = 64;
}

/// A tensor: elements lie row after row, the last axis fastest, in the machine's order of bytes.
#[derive(Clone)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    /// Enough lines for the elements; what is left of the last one is zero.
    lines: Vec<Line>,
    /// Bytes of elements.
    len: usize,
}

impl Tensor {
    /// A tensor of zeros.
    ///
    /// # Errors
    /// When the shape is too large for memory.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let too_large = || TensorError::TooLarge { shape: shape.to_vec() };
        let bytes = element_count(shape).and_then(|count| count.checked_mul(dtype.bytes())).ok_or_else(too_large)?;
        let wanted = bytes.div_ceil(Line::LEN);
        let mut lines = Vec::new();
        lines.try_reserve_exact(wanted).map_err(|_| too_large())?;
        lines.resize(wanted, Line([0; Line::LEN]));
        Ok(Tensor { dtype, shape: shape.to_vec(), lines, len: bytes })
    }

    /// A tensor from the bytes of its elements; truths are checked to be 0 or 1.
    ///
    /// # Errors
    /// When the bytes are not as many as the shape says, or a truth is something else.
    pub fn from_bytes(dtype: DType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorError> {
        check_length(shape, bytes.len(), dtype.bytes(), "bytes")?;
        if let (DType::Bool, Some(index)) = (dtype, bytes.iter().position(|byte| *byte > 1)) {
            return Err(TensorError::NotBool { index, value: bytes[index] });
        }
        let mut tensor = Tensor::zeros(dtype, shape)?;
        tensor.bytes_mut().copy_from_slice(bytes);
        Ok(tensor)
    }

    /// A tensor from its elements.
    ///
    /// # Errors
    /// When there are not as many as the shape says.
    pub fn from_slice<T: Element>(shape: &[usize], elements: &[T]) -> Result<Tensor, TensorError> {
        check_length(shape, elements.len(), 1, "elements")?;
        let mut tensor = Tensor::zeros(T::DTYPE, shape)?;
        tensor.view_mut()?.copy_from_slice(elements);
        Ok(tensor)
    }

    /// A tensor of f32.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_f32(shape: Vec<usize>, elements: Vec<f32>) -> Result<Tensor, TensorError> {
        Tensor::from_slice(&shape, &elements)
    }

    /// A tensor of i64.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_i64(shape: Vec<usize>, elements: Vec<i64>) -> Result<Tensor, TensorError> {
        Tensor::from_slice(&shape, &elements)
    }

    /// A tensor of i32.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_i32(shape: Vec<usize>, elements: Vec<i32>) -> Result<Tensor, TensorError> {
        Tensor::from_slice(&shape, &elements)
    }

    /// A tensor of truths.
    ///
    /// # Errors
    /// As [`Tensor::from_slice`].
    pub fn from_bool(shape: Vec<usize>, elements: Vec<bool>) -> Result<Tensor, TensorError> {
        let bytes: Vec<u8> = elements.into_iter().map(u8::from).collect();
        Tensor::from_bytes(DType::Bool, &shape, &bytes)
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The extents, outermost first; none for a single number.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.len / self.dtype.bytes()
    }

    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the shape has another number of elements.
    pub fn reshaped(mut self, shape: &[usize]) -> Result<Tensor, TensorError> {
        if element_count(shape) != Some(self.elements()) {
            return Err(TensorError::Shape { found: self.shape, expected: shape.to_vec() });
        }
        self.shape = shape.to_vec();
        Ok(self)
    }

    /// The bytes of the elements.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes lie within the lines, which are plain bytes.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }

    /// The bytes of the elements, to be written. Not public: truths must stay 0 or 1.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }

    /// The elements.
    ///
    /// # Errors
    /// When they are of another type. Truths have no view but [`Tensor::bytes`].
    pub fn view<T: Element>(&self) -> Result<&[T], TensorError> {
        self.expect_type(T::DTYPE)?;
        // SAFETY: the lines hold `elements` numbers of this type, are aligned for all of them, and any bits are a value.
        Ok(unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.elements()) })
    }

    /// The elements, to be written.
    ///
    /// # Errors
    /// As [`Tensor::view`].
    pub fn view_mut<T: Element>(&mut self) -> Result<&mut [T], TensorError> {
        self.expect_type(T::DTYPE)?;
        // SAFETY: as in `view`.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.elements()) })
    }

    /// The elements of a tensor of f32.
    ///
    /// # Errors
    /// When it is of another type.
    pub fn as_f32(&self) -> Result<&[f32], TensorError> {
        self.view()
    }

    fn expect_type(&self, expected: DType) -> Result<(), TensorError> {
        if self.dtype == expected { Ok(()) } else { Err(self.wrong_type(expected.name())) }
    }

    fn wrong_type(&self, expected: &'static str) -> TensorError {
        TensorError::Type { found: self.dtype, expected }
    }

    /// The elements as f32, each rounded to the nearest; truths become 0 and 1.
    pub fn to_f32_vec(&self) -> Vec<f32> {
        match self.dtype {
            DType::F64 => self.mapped(|x: f64| x as f32),
            DType::F32 => self.mapped(|x: f32| x),
            DType::F16 => self.mapped(f16::to_f32),
            DType::BF16 => self.mapped(bf16::to_f32),
            DType::I64 => self.mapped(|x: i64| x as f32),
            DType::I32 => self.mapped(|x: i32| x as f32),
            DType::I16 => self.mapped(|x: i16| f32::from(x)),
            DType::I8 => self.mapped(|x: i8| f32::from(x)),
            DType::U64 => self.mapped(|x: u64| x as f32),
            DType::U32 => self.mapped(|x: u32| x as f32),
            DType::U16 => self.mapped(|x: u16| f32::from(x)),
            DType::U8 | DType::Bool => self.bytes().iter().map(|x| f32::from(*x)).collect(),
        }
    }

    /// The elements of a tensor of integers or truths as i32.
    ///
    /// # Errors
    /// When the elements are not integers, or one does not fit: the first such is named.
    pub fn to_i32_vec(&self) -> Result<Vec<i32>, TensorError> {
        let narrow = |wide: Vec<i128>| {
            let fit = |(index, value): (usize, i128)| {
                i32::try_from(value).map_err(|_| TensorError::Range { index, value, expected: "i32" })
            };
            wide.into_iter().enumerate().map(fit).collect()
        };
        match self.dtype {
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Err(self.wrong_type("an integer type")),
            DType::I64 => narrow(self.mapped(|x: i64| i128::from(x))),
            DType::U64 => narrow(self.mapped(|x: u64| i128::from(x))),
            DType::U32 => narrow(self.mapped(|x: u32| i128::from(x))),
            DType::I32 => Ok(self.mapped(|x: i32| x)),
            DType::I16 => Ok(self.mapped(|x: i16| i32::from(x))),
            DType::I8 => Ok(self.mapped(|x: i8| i32::from(x))),
            DType::U16 => Ok(self.mapped(|x: u16| i32::from(x))),
            DType::U8 | DType::Bool => Ok(self.bytes().iter().map(|x| i32::from(*x)).collect()),
        }
    }

    /// The elements of a tensor of integers or truths as i64.
    ///
    /// # Errors
    /// When the elements are not integers, or one does not fit: the first such is named.
    pub fn to_i64_vec(&self) -> Result<Vec<i64>, TensorError> {
        match self.dtype {
            DType::I64 => Ok(self.mapped(|x: i64| x)),
            DType::U32 => Ok(self.mapped(|x: u32| i64::from(x))),
            DType::U64 => {
                let fit = |(index, value): (usize, u64)| {
                    i64::try_from(value).map_err(|_| TensorError::Range { index, value: value.into(), expected: "i64" })
                };
                self.mapped(|x: u64| x).into_iter().enumerate().map(fit).collect()
            }
            DType::F64 | DType::F32 | DType::F16 | DType::BF16 => Err(self.wrong_type("an integer type")),
            DType::I32 | DType::I16 | DType::I8 | DType::U16 | DType::U8 | DType::Bool => {
                Ok(self.to_i32_vec()?.into_iter().map(i64::from).collect())
            }
        }
    }

    /// The tensor of real numbers in another type of real numbers, rounded to nearest, ties to even.
    ///
    /// # Errors
    /// When one of the two types is not of real numbers.
    pub fn to_float(&self, dtype: DType) -> Result<Tensor, TensorError> {
        let refused = |found| TensorError::Type { found, expected: "f64, f32, f16 or bf16" };
        if !self.dtype.is_float() {
            return Err(refused(self.dtype));
        }
        let exact: Vec<f64> = if self.dtype == DType::F64 {
            self.mapped(|x: f64| x)
        } else {
            self.to_f32_vec().into_iter().map(f64::from).collect()
        };
        match dtype {
            DType::F64 => Tensor::from_slice(&self.shape, &exact),
            DType::F16 => self.like(&exact, |x| f16::from_f32(round_to_odd(x))),
            DType::BF16 => self.like(&exact, |x| bf16::from_f32(round_to_odd(x))),
            DType::F32 => self.like(&exact, |x| x as f32),
            DType::I64 | DType::I32 | DType::I16 | DType::I8 => Err(refused(dtype)),
            DType::U64 | DType::U32 | DType::U16 | DType::U8 | DType::Bool => Err(refused(dtype)),
        }
    }

    /// A tensor of this shape with a function of each number.
    fn like<T: Element>(&self, numbers: &[f64], f: impl Fn(f64) -> T) -> Result<Tensor, TensorError> {
        Tensor::from_slice(&self.shape, &numbers.iter().map(|x| f(*x)).collect::<Vec<_>>())
    }

    /// Applies a function to each element; the caller has looked at the type.
    fn mapped<T: Element, U>(&self, f: impl Fn(T) -> U) -> Vec<U> {
        self.view().expect("the caller has matched the type").iter().map(|x| f(*x)).collect()
    }
}

/// The f32 next to a number, so chosen that rounding it again, to a half, is as good as rounding once: the number itself where f32 has it, else of its two neighbours the one with an odd last bit
/// (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to odd", 2008).
fn round_to_odd(x: f64) -> f32 {
    let near = x as f32;
    if f64::from(near) == x || near.is_nan() {
        return near;
    }
    let towards_zero = near.to_bits() - u32::from(f64::from(near).abs() > x.abs());
    f32::from_bits(towards_zero | 1)
}

/// The number of elements of a shape, unless it overflows.
fn element_count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |count, extent| count.checked_mul(*extent))
}

/// Whether `found` is what a shape has in units of which each element has `per_element`.
fn check_length(shape: &[usize], found: usize, per_element: usize, unit: &'static str) -> Result<(), TensorError> {
    let expected = element_count(shape).and_then(|count| count.checked_mul(per_element));
    match expected {
        None => Err(TensorError::TooLarge { shape: shape.to_vec() }),
        Some(expected) if expected != found => {
            Err(TensorError::Length { shape: shape.to_vec(), found, expected, unit })
        }
        Some(_) => Ok(()),
    }
}

/// Equal types, shapes and bits: a NaN equals itself, and 0 is not -0.
impl PartialEq for Tensor {
    fn eq(&self, other: &Tensor) -> bool {
        self.dtype == other.dtype && self.shape == other.shape && self.bytes() == other.bytes()
    }
}

/// The type, the shape and the first few elements.
impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        let shown = self.bytes().len().min(SHOWN * self.dtype.bytes());
        let start = Tensor::from_bytes(self.dtype, &[shown / self.dtype.bytes()], &self.bytes()[..shown]);
        let start = start.map_err(|_| fmt::Error)?.to_f32_vec();
        let rest = if self.elements() > SHOWN { " .." } else { "" };
        write!(f, "{}{:?} {start:?}{rest}", self.dtype, self.shape)
    }
}
