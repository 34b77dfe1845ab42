//! Inputs that are not given and have a default. Takes the ports of an entry and the inputs that there are; gives tensors that
//! stand for those that are missing, as far as the sizes of the others say how large they are.

use crate::check::single_dim;
use crate::error::Error;
use crate::tensor::{self, Tensor};
use dlc_plan::plan::Port;
use dlc_plan::{DType, HostState, Size};
use half::{bf16, f16};

/// Tensors for the inputs of `ports` that are not among those `given` and have a default. An input whose size is known from it
/// alone must be given. `dims` is the number of the plan's dynamic sizes.
///
/// # Errors
/// When memory is short.
pub fn defaults(
    ports: &[Port],
    dims: usize,
    state: &HostState,
    given: &[(&str, &Tensor)],
) -> Result<Vec<(String, Tensor)>, Error> {
    let mut known = vec![None; dims];
    for port in ports {
        let Some((_, tensor)) = given.iter().find(|(name, _)| *name == port.name) else { continue };
        for (size, extent) in port.shape.iter().zip(tensor.shape()) {
            if let Some(dim) = single_dim(size).and_then(|dim| known.get_mut(usize::from(dim))) {
                let _ = dim.get_or_insert(i64::try_from(*extent).unwrap_or(i64::MAX));
            }
        }
    }
    let values: Vec<i64> = known.iter().map(|extent| extent.unwrap_or(-1)).collect();
    let is_known =
        |size: &Size| size.dims().into_iter().all(|dim| known.get(usize::from(dim)).is_some_and(Option::is_some));
    let mut made = Vec::new();
    for port in ports.iter().filter(|port| !given.iter().any(|(name, _)| *name == port.name)) {
        let Some(default) = port.default.as_ref().filter(|_| port.shape.iter().all(is_known)) else { continue };
        let extents = port.shape.iter().map(|size| usize::try_from(size.eval(&values)).unwrap_or(0));
        let value = default.eval(state, &values, &[], 0);
        let tensor = full(port.dtype, &extents.collect::<Vec<_>>(), value);
        made.push((port.name.clone(), tensor.map_err(|_| Error::Memory { bytes: u64::MAX })?));
    }
    Ok(made)
}

/// A tensor whose elements are all one number.
fn full(dtype: DType, shape: &[usize], value: f64) -> Result<Tensor, tensor::TensorError> {
    let mut made = Tensor::zeros(dtype.into(), shape)?;
    match dtype {
        DType::F32 => made.view_mut::<f32>()?.fill(value as f32),
        DType::F16 => made.view_mut::<f16>()?.fill(f16::from_f64(value)),
        DType::BF16 => made.view_mut::<bf16>()?.fill(bf16::from_f64(value)),
        DType::I64 => made.view_mut::<i64>()?.fill(value as i64),
        DType::I32 => made.view_mut::<i32>()?.fill(value as i32),
        DType::U8 => made.view_mut::<u8>()?.fill(value as u8),
        DType::Bool => made.bytes_mut().fill(u8::from(value != 0.0)),
    }
    Ok(made)
}
