//! The plain interpreter as a machine: slow, in double precision, and what machine code is tested against. Takes a program;
//! runs its entries on tensors by name.

use crate::machine::{Machine, Named};
use dlc_compiler::program::interp::{self, first_unsound, run_entry};
use dlc_compiler::program::{Entry, Param, Program, Role, Ty, WeightId};
use dlc_plan::plan::{Port, Store, Weight};
use dlc_plan::{DType, HostState, Size};
use dlc_runtime::Error;
use dlc_runtime::engine::defaults;
use dlc_runtime::tensor::Tensor;

/// A program with its weights.
pub struct Interp {
    program: Program,
    stored: Vec<Weight>,
    /// The value of each weight; zeros at first.
    values: Vec<interp::Tensor>,
    /// The inputs and outputs of each entry.
    ports: Vec<(String, Vec<Port>, Vec<Port>)>,
}

impl Interp {
    /// All weights are zero.
    pub fn new(program: Program) -> Interp {
        let shape = |ty: &Ty| -> Vec<usize> {
            ty.shape.iter().map(|size| size.known().and_then(|n| usize::try_from(n).ok()).unwrap_or(0)).collect()
        };
        let weight = |(i, weight): (u32, &dlc_compiler::program::Weight)| Weight {
            name: weight.name.clone(),
            aliases: weight.aliases.clone(),
            shape: shape(&weight.ty),
            dtype: weight.ty.dtype,
            store: Store::Frozen,
            offset: 0,
            unread: program.unread.contains(&WeightId(i)),
        };
        let stored: Vec<Weight> = (0..).zip(&program.weights).map(weight).collect();
        let values = stored.iter().map(|w| interp::Tensor::new(w.shape.clone(), vec![0.0; w.len()])).collect();
        let ports = program.entries.iter().map(|entry| entry_ports(&program, entry)).collect();
        Interp { program, stored, values, ports }
    }
}

fn entry_ports(program: &Program, entry: &Entry) -> (String, Vec<Port>, Vec<Port>) {
    let function = program.function(entry.function);
    let port = |(role, ty): (&Role, Ty)| {
        let (name, limit) = match role {
            Role::Named(name) => (name, None),
            Role::Index(name, limit) | Role::Narrow(name, limit) => (name, Some(limit.clone())),
            Role::Weight(_) | Role::Grad(_) | Role::Trained | Role::Grads | Role::State(_) | Role::StateOf(..) => {
                return None;
            }
        };
        let default = entry.defaults.iter().find(|(own, _)| own == name).map(|(_, x)| x.clone());
        Some(Port { name: name.clone(), dtype: ty.dtype, shape: ty.shape, buffer: 0, limit, default })
    };
    let inputs =
        entry.inputs.iter().zip(function.params.iter().map(|param| param.ty.clone())).filter_map(port).collect();
    let outputs = entry.outputs.iter().zip(function.result_tys()).filter_map(port).collect();
    (entry.name.clone(), inputs, outputs)
}

fn refused(message: impl Into<String>) -> Error {
    Error::Guard { message: message.into() }
}

impl Machine for Interp {
    fn ports(&self, entry: &str) -> Option<(&[Port], &[Port])> {
        self.ports.iter().find(|(name, _, _)| name == entry).map(|(_, inputs, outputs)| (&inputs[..], &outputs[..]))
    }

    fn run(&mut self, name: &str, state: &HostState, inputs: &[(&str, &Tensor)]) -> Result<Named, Error> {
        let Some(entry) = self.program.entry(name) else {
            let known = self.program.entries.iter().map(|entry| entry.name.clone()).collect();
            return Err(Error::NoEntry { name: name.into(), known });
        };
        let ports = self.ports(name).map_or(&[][..], |(inputs, _)| inputs);
        let defaults = defaults(ports, self.program.dims.len(), state, inputs)?;
        let defaults = defaults.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().copied().chain(defaults).collect();
        let args = self.args(entry, &inputs)?;
        let results = run_entry(&self.program, entry, args, state).map_err(|error| refused(error.0))?;
        let dtypes: Vec<DType> = self.program.function(entry.function).result_tys().iter().map(|ty| ty.dtype).collect();
        let mut named = Named::new();
        for ((role, value), dtype) in entry.outputs.iter().zip(results).zip(dtypes) {
            match role {
                Role::Named(output) | Role::Index(output, _) | Role::Narrow(output, _) => {
                    named.push((output.clone(), write(&value, dtype)?))
                }
                Role::Weight(row) => {
                    for (WeightId(number), value) in row.iter().zip(value.unstack(row.len())) {
                        self.values[*number as usize] = value;
                    }
                }
                Role::Grad(_) | Role::Trained | Role::Grads | Role::State(_) | Role::StateOf(..) => {}
            }
        }
        Ok(named)
    }

    fn forget_gradients(&mut self) {}

    fn weights(&self) -> &[Weight] {
        &self.stored
    }

    fn weight(&self, name: &str) -> Result<Tensor, Error> {
        let number = self.number(name)?;
        write(&self.values[number], self.stored[number].dtype)
    }

    fn set_weight(&mut self, name: &str, value: &Tensor) -> Result<(), Error> {
        let number = self.number(name)?;
        let expected = &self.stored[number].shape;
        if value.shape() != expected {
            let (found, expected) = (value.shape().to_vec(), expected.clone());
            return Err(Error::WeightShape { name: name.into(), found, expected });
        }
        self.values[number] = read(value)?;
        Ok(())
    }
}

impl Interp {
    /// Where an entry that runs on a machine's weights first makes a number that is not finite in single precision.
    pub fn first_unsound(
        mut self,
        name: &str,
        machine: &dyn Machine,
        state: &HostState,
        inputs: &Named,
    ) -> Option<String> {
        for weight in machine.weights() {
            self.set_weight(&weight.name, &machine.weight(&weight.name).ok()?).ok()?;
        }
        let entry = self.program.entry(name)?;
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let args = self.args(entry, &inputs).ok()?;
        first_unsound(&self.program, entry, args, state).ok()?
    }

    /// What an entry takes: the inputs, and weights.
    fn args(&self, entry: &Entry, inputs: &[(&str, &Tensor)]) -> Result<Vec<interp::Tensor>, Error> {
        let params = &self.program.function(entry.function).params;
        let arg = |(role, param): (&Role, &Param)| match role {
            Role::Named(input) | Role::Index(input, _) | Role::Narrow(input, _) => {
                let given = inputs.iter().find(|(name, _)| name == input).map(|(_, tensor)| *tensor);
                read(given.ok_or_else(|| Error::NoInput { name: input.clone(), entry: entry.name.clone() })?)
            }
            Role::Weight(row) => {
                let each = row.iter().map(|WeightId(number)| self.values[*number as usize].clone());
                Ok(interp::Tensor::stack(each.collect(), &param.ty))
            }
            // Nothing has been added up so far.
            Role::Grad(_) => {
                let each = |size: &Size| size.known().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
                let shape: Vec<usize> = param.ty.shape.iter().map(each).collect();
                let zeros = vec![0.0; shape.iter().product()];
                Ok(interp::Tensor::new(shape, zeros))
            }
            Role::Trained | Role::Grads | Role::State(_) | Role::StateOf(..) => {
                Err(refused(format!("`{}` is for machine code: the interpreter keeps no gradients", entry.name)))
            }
        };
        entry.inputs.iter().zip(params).map(arg).collect()
    }

    fn number(&self, name: &str) -> Result<usize, Error> {
        let found = self.stored.iter().position(|weight| weight.name == name);
        found.ok_or_else(|| Error::NoWeight { name: name.into() })
    }
}

/// A tensor in double precision: exact, as no type that is read has more digits, or as integers.
fn read(tensor: &Tensor) -> Result<interp::Tensor, Error> {
    let data: Vec<f64> = match tensor.view::<f64>() {
        Ok(numbers) => numbers.to_vec(),
        Err(_) => match tensor.to_i64_vec() {
            Ok(whole) => return Ok(interp::Tensor::whole(tensor.shape(), whole)),
            Err(_) => tensor.to_f32_vec().into_iter().map(f64::from).collect(),
        },
    };
    Ok(interp::Tensor::new(tensor.shape(), data))
}

/// A tensor in the type that the program gives it.
fn write(tensor: &interp::Tensor, dtype: DType) -> Result<Tensor, Error> {
    let (shape, data) = (&tensor.shape[..], &tensor.data);
    let made = match dtype {
        DType::F32 => Tensor::from_slice(shape, &data.iter().map(|x| *x as f32).collect::<Vec<_>>()),
        DType::F16 | DType::BF16 => Tensor::from_slice(shape, data).and_then(|exact| exact.to_float(dtype.into())),
        DType::I64 => Tensor::from_slice(shape, &tensor.integers()),
        DType::I32 => Tensor::from_slice(shape, &tensor.integers().iter().map(|n| *n as i32).collect::<Vec<_>>()),
        DType::U8 => Tensor::from_slice(shape, &tensor.integers().iter().map(|n| *n as u8).collect::<Vec<_>>()),
        DType::Bool => Tensor::from_bool(shape.to_vec(), data.iter().map(|x| *x != 0.0).collect()),
    };
    made.map_err(|error| refused(error.to_string()))
}
