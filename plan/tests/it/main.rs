//! The plan's tests, in one binary.

mod chunks;
mod glob;
mod layout;
mod prim;
mod random;
mod read;
mod show;
mod size;
