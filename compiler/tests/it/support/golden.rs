//! Golden tensors: safetensors files that PyTorch's numbers were written to.

use dlc_compiler::program::interp::Tensor;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;
use std::path::Path;

/// The tensors of a file.
pub struct Golden {
    tensors: HashMap<String, Tensor>,
    /// What the file says about itself.
    pub metadata: HashMap<String, String>,
}

impl Golden {
    /// Reads a file below the folder `tests` of the whole project.
    pub fn read(path: &str) -> Golden {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(path);
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |(name, view): (String, safetensors::tensor::TensorView)| {
            let data: Vec<f64> = match view.dtype() {
                Dtype::F32 => {
                    view.data().chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
                }
                Dtype::I64 => view.data().chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
                other => panic!("{name} is {other:?}"),
            };
            (name, Tensor::new(view.shape(), data))
        };
        let tensors = file.tensors().into_iter().map(tensor).collect();
        Golden {
            tensors,
            metadata: metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect(),
        }
    }

    /// All of them by name.
    pub fn all(&self) -> HashMap<String, Tensor> {
        self.tensors.clone()
    }
}
