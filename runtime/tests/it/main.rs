//! Tests of the runtime as its users see it: plans written by hand, with kernels written by hand, run by the engine.

mod allocations;
mod draft;
mod errors;
mod folds;
mod kernels;
mod loops;
mod moves;
mod overlaps;
mod parts;
mod products;
mod segments;
mod stores;

#[global_allocator]
static COUNTING: allocations::Counting = allocations::Counting;
