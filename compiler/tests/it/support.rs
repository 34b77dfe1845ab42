//! What several tests share: short ways to make types, tensors and programs.

pub mod bits;
pub mod golden;
pub mod random;
pub mod spec;

use dlc_compiler::program::build::Builder;
use dlc_compiler::program::interp::{self, Tensor};
use dlc_compiler::program::verify::verify;
use dlc_compiler::program::{Function, Program, Repeat, Ty, Value};
use dlc_plan::{DType, HostState, Size};

/// A type with static extents.
pub fn ty(dtype: DType, shape: &[i64]) -> Ty {
    Ty { dtype, shape: sizes(shape) }
}

/// An f32 type with static extents.
pub fn f32s(shape: &[i64]) -> Ty {
    ty(DType::F32, shape)
}

pub fn sizes(shape: &[i64]) -> Vec<Size> {
    shape.iter().map(|n| Size::from(*n)).collect()
}

pub fn tensor(shape: &[usize], data: &[f64]) -> Tensor {
    Tensor::new(shape, data)
}

/// 1, 2, 3 .. in a shape.
pub fn counting(shape: &[usize]) -> Tensor {
    Tensor::new(shape, (1..=shape.iter().product::<usize>()).map(|i| i as f64).collect::<Vec<_>>())
}

/// A program of one function without dynamic sizes, and what it gives.
pub fn single(f: Function) -> Program {
    let mut p = Program::default();
    p.add(f);
    p
}

/// Verifies a program and runs its last function.
pub fn run_last(p: &Program, args: Vec<Tensor>, host: &HostState) -> Vec<Tensor> {
    if let Err(e) = verify(p) {
        panic!("{e}");
    }
    let f = dlc_compiler::program::FnId(p.functions.len() as u32 - 1);
    let dims = interp::bind(p, f, &args).unwrap();
    interp::run(p, f, args, &dims, host).unwrap()
}

/// Builds a function of parameters `types`, verifies it, and runs it on `args`.
pub fn run(types: &[Ty], args: Vec<Tensor>, build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>) -> Vec<Tensor> {
    run_last(&single(function("f", types, build)), args, &HostState::default())
}

/// A function of parameters `types`.
pub fn function(name: &str, types: &[Ty], build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>) -> Function {
    let mut b = Builder::new(name);
    let params: Vec<Value> = types.iter().enumerate().map(|(i, t)| b.param(format!("x{i}"), t.clone())).collect();
    let results = build(&mut b, &params);
    b.finish(results)
}

/// A loop of `count` iterations that carries nothing and has no arguments; fill in the rest.
pub fn repeat(body: dlc_compiler::program::FnId, count: usize) -> Repeat {
    Repeat {
        body,
        count,
        reverse: false,
        carried: 0,
        invariant: 0,
        stacks: 0,
        rows: 0,
        stacked: 0,
        row_results: 0,
        members: Vec::new(),
    }
}
