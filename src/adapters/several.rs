//! Several adapters on one base: each is read once, and one or a weighted sum of them is put in place without compiling
//! anything. Their ranks may differ: a sum of adapters is one whose rank is the sum of theirs, and what is left of the rank that
//! was compiled is filled with zeros, which add nothing.

use super::config::Config;
use super::exchange::{joined, module};
use crate::error::{Error, Result, code};
use crate::machine::Machine;
use crate::weights::cast;
use crate::weights::file::TensorFile;
use dlc_plan::recipe::{Adapted, Lora};
use dlc_runtime::tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// An adapter that has been read.
#[derive(Clone, Debug)]
pub struct Adapter {
    shown: String,
    /// For each adapted weight that it adapts too, by its label.
    layers: BTreeMap<String, Layer>,
}

/// The two thin matrices of a layer, as a file has them: A as [rank, in], B as [out, rank].
#[derive(Clone, Debug)]
struct Layer {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    scale: f64,
}

impl Adapter {
    /// Reads an adapter for a model, whatever its rank and scale. It may leave layers out that the model's adapts.
    ///
    /// # Errors
    /// When the file is no adapter, is for another base, or has more than the two matrices of LoRA.
    pub fn open(lora: &Lora, path: &Path) -> Result<Adapter> {
        let (tensors, config) = super::exchange::files(path);
        let file = TensorFile::open(&tensors)?;
        let config = config.map(|path| Config::read(&path)).transpose()?;
        config.as_ref().map_or(Ok(()), Config::check_alone)?;
        let shown = path.display().to_string();
        let mut layers = BTreeMap::new();
        let mut used = 0;
        for adapted in &lora.adapted {
            let name =
                |param| joined(lora, module(adapted), super::exchange::name(param, adapted.table).unwrap_or(param));
            let (a, b) = (name("A"), name("B"));
            let (Some(first), Some(_)) = (file.get(&a), file.get(&b)) else { continue };
            let rank = first.shape.first().copied().unwrap_or(0);
            let read = |name: &str| -> Result<Vec<f32>> {
                Ok(cast(file.read(name).expect("it was found above")?, DType::F32).to_f32_vec())
            };
            let module = &joined(lora, module(adapted), "")[super::exchange::PREFIX.len()..];
            let scale = match &config {
                Some(config) => config.scale_of(module, rank as f64)?,
                None => adapted.scale,
            };
            layers.insert(adapted.label.clone(), Layer { a: read(&a)?, b: read(&b)?, rank, scale });
            used += 2;
        }
        if layers.is_empty() || used != file.names().count() {
            let message = match layers.is_empty() {
                true => format!("{shown} has nothing that `{}` adapts: it is for another base", lora.name),
                false => format!("{shown} has more than the two matrices of what `{}` adapts", lora.name),
            };
            return Err(Error::file(code::ADAPTER, message));
        }
        Ok(Adapter { shown, layers })
    }
}

/// Puts a weighted sum of adapters in the place of a machine's own; of none, nothing is added to the base.
///
/// # Errors
/// When their ranks together are above the one that the machine was compiled for, or an adapter has another shape; then
/// nothing is changed.
pub fn activate(machine: &mut dyn Machine, lora: &Lora, sum: &[(&Adapter, f64)]) -> Result<()> {
    let mut all: Vec<(String, Tensor)> = Vec::new();
    for adapted in &lora.adapted {
        let [a, b] = ["A", "B"].map(|param| format!("{}.{param}", adapted.label));
        let (shape_a, shape_b) = (machine.weight(&a)?.shape().to_vec(), machine.weight(&b)?.shape().to_vec());
        let (&[rows, rank], &[_, columns]) = (shape_a.as_slice(), shape_b.as_slice()) else {
            return Err(Error::run(code::ADAPTER, format!("`{}` is no adapter of two matrices", adapted.block)));
        };
        let (mut whole_a, mut whole_b) = (vec![0.0; rows * rank], vec![0.0; rank * columns]);
        let mut at = 0;
        for (adapter, weight) in sum {
            let Some(layer) = adapter.layers.get(&adapted.label) else { continue };
            fits(adapter, adapted, layer, (rows, columns), rank, at)?;
            let factor = weight * layer.scale / adapted.scale;
            for r in 0..layer.rank {
                for i in 0..rows {
                    whole_a[i * rank + at + r] = layer.a[r * rows + i];
                }
                for o in 0..columns {
                    whole_b[(at + r) * columns + o] = (f64::from(layer.b[o * layer.rank + r]) * factor) as f32;
                }
            }
            at += layer.rank;
        }
        all.push((a, Tensor::from_f32(shape_a, whole_a)?));
        all.push((b, Tensor::from_f32(shape_b, whole_b)?));
    }
    for (name, tensor) in &all {
        machine.set_weight(name, tensor)?;
    }
    Ok(())
}

/// Whether a layer of an adapter fits into what is left of a rank.
fn fits(
    adapter: &Adapter,
    adapted: &Adapted,
    layer: &Layer,
    (rows, columns): (usize, usize),
    rank: usize,
    taken: usize,
) -> Result<()> {
    let Adapter { shown, .. } = adapter;
    if layer.a.len() != rows * layer.rank || layer.b.len() != columns * layer.rank {
        let message = format!("{shown} has another shape for `{}`: it is for another base", adapted.weight);
        return Err(Error::file(code::ADAPTER, message));
    }
    if taken + layer.rank > rank {
        let message = format!(
            "{shown} takes rank {} of `{}`, and {} of {rank} are left",
            layer.rank,
            adapted.weight,
            rank - taken
        );
        return Err(Error::run(code::ADAPTER, message).help(format!("`rank = {}` makes room", taken + layer.rank)));
    }
    Ok(())
}
