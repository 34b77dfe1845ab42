//! Specs compiled and run: by machine code on one thread and on two, and by the interpreter, on the same inputs and weights.

use super::dice::Dice;
use super::spec::{DYNAMIC, Spec, Value};
use crate::support::spec::{Columns, compile, shown};
use dlc_compiler::back::clif;
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::{Tensor, run_entry};
use dlc_compiler::program::{Program, Role, WeightId};
use dlc_plan::plan::Port;
use dlc_plan::{DType, HostState, MachineCode, Plan};
use dlc_runtime::pool::Pool;
use dlc_runtime::tensor::{DType as Stored, Tensor as Given};
use dlc_runtime::{Engine, ValidPlan};
use std::collections::HashMap;
use std::sync::Arc;

/// Tensors by name, in double precision.
pub type Named = HashMap<String, Tensor>;

/// A spec that has been compiled, and the engines that run it.
pub struct Ready {
    pub compiled: Compiled,
    pub code: MachineCode,
    pub engines: [Engine; 2],
    /// Every weight, as it is at first.
    pub weights: Named,
}

/// Compiles a text as a training, and makes initial weights.
pub fn ready(text: &str, host: &HostState) -> Result<Ready, String> {
    let mut files = Columns(vec![]);
    let compiled = compile(text, Goal::Train { item: None }, &[], &mut files, &mut |_, _| {})
        .map_err(|findings| format!("it is refused: {}", shown(&findings).join("\n")))?;
    let code = clif::compile(&compiled.plan.kernels).map_err(|e| format!("no machine code: {e}"))?.share();
    let plan = ValidPlan::new(compiled.plan.clone()).map_err(|e| e.to_string())?;
    let mut engines = [1, 2].map(|threads| {
        Engine::with_pool(plan.clone(), code.clone().into(), Arc::new(Pool::new(threads))).expect("there is memory")
    });
    for engine in &mut engines {
        engine.run("init", host, &[]).map_err(|e| format!("init: {e}"))?;
    }
    let weight = |name: &str| engines[0].stores().weight(name).map(|t| number(&t)).map_err(|e| e.to_string());
    let weights = compiled.plan.weights.iter().map(|w| Ok((w.name.clone(), weight(&w.name)?)));
    let weights = weights.collect::<Result<_, String>>()?;
    Ok(Ready { compiled, code, engines, weights })
}

/// A tensor of an engine, in double precision.
pub fn number(t: &Given) -> Tensor {
    let data: Vec<f64> = match t.dtype() {
        Stored::I64 => t.view::<i64>().expect("it is of that type").iter().map(|x| *x as f64).collect(),
        _ => t.to_f32_vec().iter().map(|x| f64::from(*x)).collect(),
    };
    Tensor::new(t.shape(), data)
}

/// A tensor for an engine.
pub fn given(dtype: DType, t: &Tensor) -> Given {
    let (shape, data) = (&t.shape[..], &t.data);
    let made = match dtype {
        DType::I64 => Given::from_slice(shape, &data.iter().map(|x| *x as i64).collect::<Vec<_>>()),
        DType::I32 => Given::from_slice(shape, &data.iter().map(|x| *x as i32).collect::<Vec<_>>()),
        DType::U8 => Given::from_slice(shape, &data.iter().map(|x| *x as u8).collect::<Vec<_>>()),
        DType::Bool => Given::from_bool(shape.to_vec(), data.iter().map(|x| *x != 0.0).collect()),
        _ => Given::from_slice(shape, &data.iter().map(|x| *x as f32).collect::<Vec<_>>()),
    };
    made.expect("the shape has as many elements")
}

/// Inputs of a spec where the dynamic sizes are these.
pub fn inputs(spec: &Spec, sizes: [i64; 2], dice: &mut Dice) -> Named {
    let each = spec.inputs.iter().map(|id| &spec.values[*id]);
    each.map(|v| (v.name.clone(), input(v, sizes, dice))).collect()
}

/// Inputs that a plan takes: reals, and integers that may index something.
pub fn by_ports(plan: &Plan, sizes: [i64; 2], dice: &mut Dice) -> Named {
    let of = |name: &str| DYNAMIC.iter().position(|d| *d == name).map_or(1, |k| sizes[k]);
    let dims: Vec<i64> = plan.dims.iter().map(|name| of(name)).collect();
    let ports = &plan.entries.iter().find(|e| e.name == "forward").expect("every model has it").inputs;
    let mut input = |p: &Port| {
        let shape: Vec<usize> = p.shape.iter().map(|s| s.eval(&dims) as usize).collect();
        let below = p.limit.as_ref().map_or(3, |limit| limit.below.eval(&dims).clamp(1, 3));
        let mut element = || if p.dtype.is_float() { 2.0 * dice.real() } else { dice.below(below as usize) as f64 };
        let data: Vec<f64> = (0..shape.iter().product()).map(|_| element()).collect();
        (p.name.clone(), Tensor::new(shape, data))
    };
    ports.iter().map(&mut input).collect()
}

fn input(v: &Value, sizes: [i64; 2], dice: &mut Dice) -> Tensor {
    let shape: Vec<usize> = v.ty.shape.iter().map(|dim| dim.at(sizes).max(0) as usize).collect();
    let len = shape.iter().product();
    let sign = |dice: &mut Dice| if dice.one_in(2) { 1.0 } else { -1.0 };
    let element = |dice: &mut Dice| match v.ty.dtype {
        DType::F32 => f64::from((dice.real() * v.most) as f32),
        _ if v.index => dice.below(v.most as usize) as f64,
        DType::Bool => dice.below(2) as f64,
        DType::U8 => dice.below(256) as f64,
        _ => (dice.real().abs() * v.most).floor() * sign(dice),
    };
    Tensor::new(shape, (0..len).map(|_| element(dice)).collect::<Vec<_>>())
}

/// What an entry gives by the interpreter, by name.
pub fn by_interpreter(
    p: &Program,
    entry: &str,
    weights: &Named,
    inputs: &Named,
    host: &HostState,
) -> Result<Named, String> {
    let e = p.entry(entry).ok_or("there is no such entry")?;
    let f = p.function(e.function);
    let weight = |w: &WeightId| p.weights[w.0 as usize].name.clone();
    let zeros = |w: &WeightId| {
        let t = &weights[&weight(w)];
        Tensor::new(t.shape.clone(), vec![0.0; t.data.len()])
    };
    let joined = |mut each: Vec<Tensor>, ty| if each.len() == 1 { each.remove(0) } else { Tensor::stack(each, ty) };
    let args = e.inputs.iter().zip(&f.params).map(|(role, param)| match role {
        Role::Named(n) | Role::Index(n, _) | Role::Narrow(n, _) => inputs[n].clone(),
        Role::Weight(row) => joined(row.iter().map(|w| weights[&weight(w)].clone()).collect(), &param.ty),
        Role::Grad(row) => joined(row.iter().map(zeros).collect(), &param.ty),
        other => panic!("{entry} takes {other:?}"),
    });
    let results = run_entry(p, e, args.collect(), host).map_err(|e| e.0)?;
    let mut found = Named::new();
    for (role, t) in e.outputs.iter().zip(results) {
        match role {
            Role::Named(n) | Role::Index(n, _) | Role::Narrow(n, _) => drop(found.insert(n.clone(), t)),
            Role::Weight(row) | Role::Grad(row) => {
                let parts = if row.len() == 1 { vec![t] } else { t.unstack(row.len()) };
                found.extend(row.iter().map(|w| format!("{} after", weight(w))).zip(parts));
            }
            other => panic!("{entry} gives {other:?}"),
        }
    }
    Ok(found)
}

/// What an entry gives by an engine, as it is.
pub fn by_engine(
    engine: &mut Engine,
    entry: &str,
    inputs: &Named,
    host: &HostState,
) -> Result<Vec<(String, Given)>, String> {
    let plan = engine.plan().clone();
    let ports = &plan.entries.iter().find(|e| e.name == entry).ok_or("there is no such entry")?.inputs;
    let tensors: Vec<Given> = ports.iter().map(|p| given(p.dtype, &inputs[&p.name])).collect();
    let named: Vec<(&str, &Given)> = ports.iter().map(|p| p.name.as_str()).zip(&tensors).collect();
    engine.run(entry, host, &named).map_err(|e| e.to_string())
}
