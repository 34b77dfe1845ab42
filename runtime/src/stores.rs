//! The stored tensors of a plan: flat arrays that outlast a step. Takes and gives weights by their names in the
//! checkpoint, with conversion; kernels see the arrays as they are.

use crate::error::Error;
use crate::memory::{Memory, Ptr};
use crate::tensor::{self, Tensor, TensorError};
use dlc_plan::kernel::Elem;
use dlc_plan::layout::ALIGN;
use dlc_plan::plan::{Store, Weight};
use dlc_plan::{DType, Plan};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// The flat arrays, zero at first.
pub struct Stores {
    plan: Arc<Plan>,
    /// Weights by name and alias.
    names: HashMap<String, usize>,
    trained: Memory,
    grads: Memory,
    states: Vec<Memory>,
    frozen: Memory,
    ints: [Memory; Elem::ALL.len()],
}

impl Stores {
    /// Arrays for the weights of a plan, which has been checked.
    pub(crate) fn new(plan: &Arc<Plan>) -> Result<Stores, Error> {
        let bytes = |store: Store| {
            let own = plan.weights.iter().filter(|w| w.store == store);
            let end = own.map(|w| w.offset + w.len()).max().unwrap_or(0);
            (store.elem().bytes() as u64 * end as u64).next_multiple_of(ALIGN)
        };
        let mut names = HashMap::new();
        for (i, w) in plan.weights.iter().enumerate() {
            names.extend(w.aliases.iter().chain([&w.name]).map(|name| (name.clone(), i)));
        }
        let trained = bytes(Store::Trained);
        let state = |k: u16| match plan.has_parts(k) {
            true => {
                let own = plan.parts.iter().filter(|p| p.state == k);
                let end = own.map(|p| p.offset + p.len()).max().unwrap_or(0);
                (4 * end as u64).next_multiple_of(ALIGN)
            }
            false => trained,
        };
        let ints = |i: usize| Memory::zeroed(bytes(Store::Ints(Elem::ALL[i])));
        Ok(Stores {
            names,
            trained: Memory::zeroed(trained)?,
            grads: Memory::zeroed(trained)?,
            states: (0..plan.states.len()).map(|k| Memory::zeroed(state(k as u16))).collect::<Result<_, _>>()?,
            frozen: Memory::zeroed(bytes(Store::Frozen))?,
            ints: [ints(0)?, ints(1)?, ints(2)?, ints(3)?],
            plan: Arc::clone(plan),
        })
    }

    /// What is known about a weight of this name or alias.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, name: &str) -> Result<&Weight, Error> {
        let i = self.names.get(name).ok_or_else(|| Error::NoWeight { name: name.into() })?;
        Ok(&self.plan.weights[*i])
    }

    /// A weight, in its type in the checkpoint: what was rounded to that type before comes back as it was.
    ///
    /// # Errors
    /// When there is none of this name, or no memory for it.
    pub fn weight(&self, name: &str) -> Result<Tensor, Error> {
        let w = self.find(name)?;
        let kept = self.kept(w.store, name)?;
        let dtype = tensor::DType::from(w.dtype);
        match w.dtype {
            DType::F32 | DType::I32 | DType::I64 | DType::U8 => Ok(kept),
            DType::F16 | DType::BF16 => kept.to_float(dtype).map_err(|e| refused(w, &kept, e)),
            DType::Bool => {
                let truths: Vec<bool> = kept.bytes().iter().map(|&x| x != 0).collect();
                Tensor::from_bool(w.shape.clone(), truths).map_err(|e| refused(w, &kept, e))
            }
        }
    }

    /// Sets a weight: one of real numbers from f32, f16 or bf16, one of integers from any integers that fit its type,
    /// one of truths from truths.
    ///
    /// # Errors
    /// When there is none of this name, or the tensor has another shape, or elements that cannot become the weight's.
    pub fn set_weight(&mut self, name: &str, value: &Tensor) -> Result<(), Error> {
        let store = self.find(name)?.store;
        self.set_kept(store, name, value)
    }

    /// What a store keeps for a weight, as it is kept, in f32 or an integer type: the weight itself, its gradient, or a state of the
    /// optimizer.
    ///
    /// # Errors
    /// When there is no weight of this name, or the store has nothing for it.
    pub fn kept(&self, store: Store, name: &str) -> Result<Tensor, Error> {
        let (_, range, shape) = self.within(store, name)?;
        let (memory, bytes) = (self.memory(store), (store.elem().bytes() * range.len()) as u64);
        let tensor = match store.elem() {
            Elem::F32 => Tensor::from_slice(shape, &memory.words::<f32>()[range]),
            Elem::I32 => Tensor::from_slice(shape, &memory.words::<i32>()[range]),
            Elem::I64 => Tensor::from_slice(shape, &memory.words::<i64>()[range]),
            Elem::U8 => Tensor::from_slice(shape, &memory.words::<u8>()[range]),
        };
        tensor.map_err(|_| Error::Memory { bytes })
    }

    /// Sets what a store keeps for a weight, from the types that [`Stores::set_weight`] takes.
    ///
    /// # Errors
    /// As [`Stores::kept`] and [`Stores::set_weight`].
    pub fn set_kept(&mut self, store: Store, name: &str, value: &Tensor) -> Result<(), Error> {
        let (w, range, shape) = self.within(store, name)?;
        if value.shape() != shape {
            let (found, expected) = (value.shape().to_vec(), shape.to_vec());
            return Err(Error::WeightShape { name: name.into(), found, expected });
        }
        if !takes(w.dtype, value.dtype()) {
            return Err(Error::WeightType { name: name.into(), found: value.dtype(), expected: w.dtype });
        }
        match store.elem() {
            Elem::F32 => {
                let numbers = value.to_f32_vec();
                self.memory_mut(store).words_mut::<f32>()[range].copy_from_slice(&numbers);
            }
            Elem::I32 => {
                let numbers = value.to_i32_vec().map_err(|e| refused(w, value, e))?;
                self.memory_mut(store).words_mut::<i32>()[range].copy_from_slice(&numbers);
            }
            Elem::I64 => {
                let numbers = value.to_i64_vec().map_err(|e| refused(w, value, e))?;
                self.memory_mut(store).words_mut::<i64>()[range].copy_from_slice(&numbers);
            }
            // Only bytes are taken for bytes, and truths for truths.
            Elem::U8 => self.memory_mut(store).words_mut::<u8>()[range].copy_from_slice(value.bytes()),
        }
        Ok(())
    }

    /// Whether all numbers of a store of real numbers are finite.
    pub fn is_finite(&self, store: Store) -> bool {
        // Without branches within a block, so that many numbers are looked at in one step.
        let exponent = |most: i32, word: &i32| most.max(word & EXPONENT);
        self.memory(store).words::<i32>().chunks(4096).all(|block| block.iter().fold(0, exponent) < EXPONENT)
    }

    /// Makes all of a store zero.
    pub fn clear(&mut self, store: Store) {
        self.memory_mut(store).words_mut::<u8>().fill(0);
    }

    /// The weight of this name, and the elements and shape of what the store has for it.
    fn within(&self, store: Store, name: &str) -> Result<(&Weight, Range<usize>, &[usize]), Error> {
        let i = *self.names.get(name).ok_or_else(|| Error::NoWeight { name: name.into() })?;
        let (start, shape) = self.plan.kept(store, i).ok_or_else(|| Error::NotKept { name: name.into(), store })?;
        Ok((&self.plan.weights[i], start..start + shape.iter().product::<usize>(), shape))
    }

    /// Elements of the store of the trained weights, with what lies between them.
    pub(crate) fn trained_len(&self) -> u64 {
        self.trained.bytes() as u64 / 4
    }

    pub(crate) fn bytes(&self, store: Store) -> usize {
        self.memory(store).bytes()
    }

    /// Where a store begins; it stays there.
    pub(crate) fn start(&self, store: Store) -> Ptr {
        self.memory(store).start()
    }

    /// A store's memory; states are numbered as the plan was checked to do, or as [`Stores::within`] has seen.
    fn memory(&self, store: Store) -> &Memory {
        match store {
            Store::Trained => &self.trained,
            Store::Grads => &self.grads,
            Store::State(i) => &self.states[usize::from(i)],
            Store::Frozen => &self.frozen,
            Store::Ints(elem) => &self.ints[elem as usize],
        }
    }

    fn memory_mut(&mut self, store: Store) -> &mut Memory {
        match store {
            Store::Trained => &mut self.trained,
            Store::Grads => &mut self.grads,
            Store::State(i) => &mut self.states[usize::from(i)],
            Store::Frozen => &mut self.frozen,
            Store::Ints(elem) => &mut self.ints[elem as usize],
        }
    }
}

/// The bits that are all set in a number that is not finite.
const EXPONENT: i32 = 0x7f80_0000;

/// Whether a weight of a type can be set from elements of another.
fn takes(weight: DType, from: tensor::DType) -> bool {
    use tensor::DType as T;
    match weight {
        DType::F32 | DType::F16 | DType::BF16 => matches!(from, T::F32 | T::F16 | T::BF16),
        DType::I64 | DType::I32 => {
            matches!(from, T::I64 | T::I32 | T::I16 | T::I8 | T::U64 | T::U32 | T::U16 | T::U8)
        }
        DType::U8 => from == T::U8,
        DType::Bool => from == T::Bool,
    }
}

/// What a tensor refused, as said of a weight.
fn refused(w: &Weight, value: &Tensor, error: TensorError) -> Error {
    match error {
        TensorError::Range { index, value: integer, .. } => {
            Error::Wide { name: w.name.clone(), value: integer, at: place(index, value.shape()) }
        }
        TensorError::Type { found, .. } => Error::WeightType { name: w.name.clone(), found, expected: w.dtype },
        TensorError::Length { .. } | TensorError::Shape { .. } | TensorError::NotBool { .. } => {
            let (found, expected) = (value.shape().to_vec(), w.shape.clone());
            Error::WeightShape { name: w.name.clone(), found, expected }
        }
        TensorError::TooLarge { .. } => Error::Memory { bytes: 8 * w.len() as u64 },
    }
}

/// The place along each axis of an element that is counted through.
pub(crate) fn place(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut at = vec![0; shape.len()];
    for (at, &extent) in at.iter_mut().zip(shape).rev() {
        *at = index % extent.max(1);
        index /= extent.max(1);
    }
    at
}
