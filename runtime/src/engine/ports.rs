//! What enters and leaves a run: inputs give the dynamic sizes, are checked and copied into buffers; buffers are copied
//! into outputs.

use crate::error::Error;
use crate::memory::Ptr;
use crate::stores::place;
use crate::tensor::{self, Element, Tensor};
use dlc_plan::kernel::Elem;
use dlc_plan::plan::{Entry, Guard, Port};
use dlc_plan::{DType, HostState, Plan};
use half::{bf16, f16};

use crate::check::single_dim;

/// Finds the dynamic sizes and checks types, shapes and guards.
pub fn bind_dims(
    plan: &Plan,
    entry: &Entry,
    state: &HostState,
    inputs: &[&Tensor],
    dims: &mut [i64],
) -> Result<(), Error> {
    if inputs.len() != entry.inputs.len() {
        let (found, expected) = (inputs.len(), entry.inputs.len());
        return Err(Error::PortCount { what: "inputs", found, expected });
    }
    // No tensor has an axis of negative length, so this marks what is not known yet.
    dims.fill(-1);
    for (port, input) in entry.inputs.iter().zip(inputs) {
        if !takes(port.dtype, input.dtype()) {
            return Err(Error::InputType { name: port.name.clone(), found: input.dtype(), expected: port.dtype });
        }
        for (size, &extent) in port.shape.iter().zip(input.shape()) {
            if let Some(dim) = single_dim(size).map(usize::from)
                && dims[dim] < 0
            {
                dims[dim] = i64::try_from(extent).unwrap_or(i64::MAX);
            }
        }
    }
    for (port, input) in entry.inputs.iter().zip(inputs) {
        let expected = port.shape.iter().map(|size| usize::try_from(size.eval(dims)).ok());
        if !expected.eq(input.shape().iter().map(|&n| Some(n))) {
            let (name, found) = (port.name.clone(), input.shape().to_vec());
            return Err(Error::InputShape { name, found, expected: show_shape(plan, port, dims) });
        }
    }
    entry.guards.iter().try_for_each(|guard| check_guard(plan, guard, state, dims))
}

/// A port's shape in the names of the spec, and what these are: `[B, 64] where B = 3`.
fn show_shape(plan: &Plan, port: &Port, dims: &[i64]) -> String {
    let axes: Vec<String> = port.shape.iter().map(|size| size.show(&plan.dims).to_string()).collect();
    let mut used: Vec<u16> = port.shape.iter().flat_map(|size| size.dims()).collect();
    used.sort_unstable();
    used.dedup();
    match dlc_plan::shown_sizes(&used, &plan.dims, dims) {
        known if known.is_empty() => format!("[{}]", axes.join(", ")),
        known => format!("[{}] where {known}", axes.join(", ")),
    }
}

fn check_guard(plan: &Plan, guard: &Guard, state: &HostState, dims: &[i64]) -> Result<(), Error> {
    if guard.holds.eval(state, dims, &[], 0) != 0.0 {
        return Ok(());
    }
    Err(Error::Guard { message: guard.holds.refused(&guard.message, &plan.dims, dims) })
}

/// Whether a port takes elements of a type: its own, or one whose values it has, or integers that are checked to fit.
fn takes(port: DType, from: tensor::DType) -> bool {
    use tensor::DType as T;
    match port {
        DType::F32 => matches!(from, T::F32 | T::F16 | T::BF16),
        DType::I64 | DType::I32 => {
            matches!(from, T::I64 | T::I32 | T::I16 | T::I8 | T::U64 | T::U32 | T::U16 | T::U8)
        }
        DType::F16 | DType::BF16 | DType::U8 | DType::Bool => from == T::from(port),
    }
}

/// Copies an input into its buffer and checks its integers.
///
/// # Safety
/// The buffer has as many elements as the input, of the type that the port's is kept in, and nobody else uses it.
pub unsafe fn copy_in(port: &Port, input: &Tensor, elem: Elem, to: Ptr, dims: &[i64]) -> Result<(), Error> {
    use tensor::DType as T;
    // SAFETY: passed on; `T` below is always the type of the input's elements.
    unsafe {
        match input.dtype() {
            from if from == kept(elem) || from == T::Bool && elem == Elem::U8 => {
                to.0.copy_from_nonoverlapping(input.bytes().as_ptr(), input.bytes().len());
            }
            T::F16 => convert::<f16, f32>(port, input, to, |x| Some(x.to_f32()))?,
            T::BF16 => convert::<bf16, f32>(port, input, to, |x| Some(x.to_f32()))?,
            T::I64 => whole::<i64>(port, input, elem, to)?,
            T::U64 => whole::<u64>(port, input, elem, to)?,
            T::U32 => whole::<u32>(port, input, elem, to)?,
            T::I32 => whole::<i32>(port, input, elem, to)?,
            T::I16 => whole::<i16>(port, input, elem, to)?,
            T::U16 => whole::<u16>(port, input, elem, to)?,
            T::I8 => whole::<i8>(port, input, elem, to)?,
            T::U8 => whole::<u8>(port, input, elem, to)?,
            T::F64 | T::F32 | T::Bool => return Err(wrong_type(port, input)),
        }
        match &port.limit {
            None => Ok(()),
            Some(bound) => check_limit(port, input, elem, to, bound.below.eval(dims), bound.except),
        }
    }
}

/// The type of tensors whose elements a buffer keeps as they are.
fn kept(elem: Elem) -> tensor::DType {
    match elem {
        Elem::F32 => tensor::DType::F32,
        Elem::I32 => tensor::DType::I32,
        Elem::I64 => tensor::DType::I64,
        Elem::U8 => tensor::DType::U8,
    }
}

/// Copies integers into a buffer of integers; what does not fit is an error.
///
/// # Safety
/// As for [`copy_in`].
unsafe fn whole<T>(port: &Port, input: &Tensor, elem: Elem, to: Ptr) -> Result<(), Error>
where
    T: Element + Wide + TryInto<i32> + TryInto<i64>,
{
    // SAFETY: passed on; the buffer's elements are of the type that is written.
    unsafe {
        match elem {
            Elem::I32 => convert::<T, i32>(port, input, to, |x| x.try_into().ok()),
            Elem::I64 => convert::<T, i64>(port, input, to, |x| x.try_into().ok()),
            Elem::F32 | Elem::U8 => Err(wrong_type(port, input)),
        }
    }
}

fn wrong_type(port: &Port, input: &Tensor) -> Error {
    Error::InputType { name: port.name.clone(), found: input.dtype(), expected: port.dtype }
}

/// Copies elements of one type into a buffer of another; what gives nothing does not fit.
///
/// # Safety
/// As for [`copy_in`], with a buffer of type `U`.
unsafe fn convert<T: Element + Wide, U>(
    port: &Port,
    input: &Tensor,
    to: Ptr,
    f: impl Fn(T) -> Option<U>,
) -> Result<(), Error> {
    let from = input.view::<T>().map_err(|_| wrong_type(port, input))?;
    for (index, &x) in from.iter().enumerate() {
        let Some(y) = f(x) else {
            let at = place(index, input.shape());
            return Err(Error::Wide { name: port.name.clone(), value: x.wide(), at });
        };
        // SAFETY: the caller's buffer has an element for each of the input's.
        unsafe { to.of::<U>().add(index).write(y) };
    }
    Ok(())
}

/// A number as an error shows it.
trait Wide: Copy {
    fn wide(self) -> i128;
}

/// Implements [`Wide`] for numbers that widen.
macro_rules! wide {
    ($($int:ty)*) => {
        $(impl Wide for $int {
            fn wide(self) -> i128 {
                self.into()
            }
        })*
    };
}
wide! { i64 u64 i32 u32 i16 u16 i8 u8 }

impl Wide for f16 {
    fn wide(self) -> i128 {
        self.to_f32() as i128
    }
}

impl Wide for bf16 {
    fn wide(self) -> i128 {
        self.to_f32() as i128
    }
}

/// Checks that all integers of a port index something.
///
/// # Safety
/// As for [`copy_in`].
unsafe fn check_limit(
    port: &Port,
    input: &Tensor,
    elem: Elem,
    buffer: Ptr,
    limit: i64,
    except: Option<i64>,
) -> Result<(), Error> {
    let len = input.elements();
    let outside = |value: i64| !(0..limit).contains(&value) && Some(value) != except;
    // SAFETY: the caller's buffer, whose elements are kept so.
    let found = unsafe {
        match elem {
            Elem::I64 => {
                let ids = std::slice::from_raw_parts(buffer.of::<i64>(), len);
                ids.iter().position(|&x| outside(x)).map(|i| (i, ids[i]))
            }
            Elem::I32 => {
                let ids = std::slice::from_raw_parts(buffer.of::<i32>(), len);
                ids.iter().position(|&x| outside(x.into())).map(|i| (i, i64::from(ids[i])))
            }
            Elem::U8 => {
                let ids = std::slice::from_raw_parts(buffer.0, len);
                ids.iter().position(|&x| outside(x.into())).map(|i| (i, i64::from(ids[i])))
            }
            Elem::F32 => None,
        }
    };
    match found {
        None => Ok(()),
        Some((i, value)) => Err(Error::Index { name: port.name.clone(), value, at: place(i, input.shape()), limit }),
    }
}

/// Copies a buffer into an output; the output's memory is used again if its type and shape are right.
///
/// # Safety
/// The buffer has as many elements as the port, of the type that the port's is kept in.
pub unsafe fn copy_out(port: &Port, elem: Elem, from: Ptr, dims: &[i64], output: &mut Tensor) -> Result<(), Error> {
    let dtype = tensor::DType::from(port.dtype);
    // The buffer's length was checked to be that of this shape, so no extent is negative, or the shape is empty.
    let shape = || port.shape.iter().map(|size| size.eval(dims).max(0) as usize);
    if output.dtype() != dtype || !shape().eq(output.shape().iter().copied()) {
        let shape: Vec<usize> = shape().collect();
        *output = Tensor::zeros(dtype, &shape).map_err(|_| Error::Memory { bytes: u64::MAX })?;
    }
    // SAFETY: the caller's buffer.
    unsafe {
        match port.dtype {
            DType::I64 if elem == Elem::I32 => fill::<i32, i64>(from, output, i64::from),
            DType::F32 | DType::I64 | DType::I32 | DType::U8 => {
                let to = output.bytes_mut();
                to.as_mut_ptr().copy_from_nonoverlapping(from.0, to.len());
            }
            DType::Bool => {
                let to = output.bytes_mut();
                let truths = std::slice::from_raw_parts(from.0, to.len());
                to.iter_mut().zip(truths).for_each(|(to, &x)| *to = u8::from(x != 0));
            }
            DType::F16 => fill::<f32, f16>(from, output, f16::from_f32),
            DType::BF16 => fill::<f32, bf16>(from, output, bf16::from_f32),
        }
    }
    Ok(())
}

/// Fills an output of type `U` from a buffer of type `T`.
///
/// # Safety
/// The buffer has as many elements of type `T` as the output.
unsafe fn fill<T: Copy, U: Element>(from: Ptr, output: &mut Tensor, f: impl Fn(T) -> U) {
    let to = output.view_mut::<U>().expect("the output was made with the port's type");
    // SAFETY: the caller's buffer.
    let from = unsafe { std::slice::from_raw_parts(from.of::<T>(), to.len()) };
    to.iter_mut().zip(from).for_each(|(to, &x)| *to = f(x));
}
