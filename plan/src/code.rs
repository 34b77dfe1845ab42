//! Machine code of kernels, together with the kernels that it was made of, so that nobody can run it for others.

use crate::kernel::{Kernel, KernelFn};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Machine code. A copy is the same code, which lives as long as any of its copies.
#[derive(Clone)]
pub struct MachineCode {
    fns: Vec<KernelFn>,
    kernels: Arc<[Kernel]>,
    keep: Arc<dyn Any + Send + Sync>,
}

impl MachineCode {
    /// The functions of kernels, in their order. `keep` is the memory that their code is in.
    ///
    /// # Safety
    /// Each function can be called as long as `keep` lives. Given arguments that fit its kernel, it does what the kernel
    /// says, touches the elements that the kernel's accesses name and no others, and returns.
    pub unsafe fn new(fns: Vec<KernelFn>, kernels: Arc<[Kernel]>, keep: Arc<dyn Any + Send + Sync>) -> MachineCode {
        MachineCode { fns, kernels, keep }
    }

    /// The functions, which can be called as long as this or a copy of it lives.
    pub fn fns(&self) -> &[KernelFn] {
        &self.fns
    }

    /// What they were made of.
    pub fn kernels(&self) -> &[Kernel] {
        &self.kernels
    }
}

impl fmt::Debug for MachineCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MachineCode").field("fns", &self.fns).field("alive", &Arc::strong_count(&self.keep)).finish()
    }
}
