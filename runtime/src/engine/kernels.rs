//! The code of a plan's kernels. It knows what it was made for, and an engine takes it for nothing else.

use crate::call::{RustKernel, Takes};
use dlc_plan::kernel::KernelFn;
use dlc_plan::{MachineCode, Plan};

/// The code of a plan's kernels: machine code, or Rust.
#[derive(Clone, Debug)]
pub struct Kernels {
    fns: Vec<KernelFn>,
    of: Of,
}

/// What the code was made for.
#[derive(Clone, Debug)]
enum Of {
    /// These kernels; it lives as long as this does.
    Machine(MachineCode),
    /// Kernels that give as much as these take.
    Rust(Vec<Takes>),
}

impl From<MachineCode> for Kernels {
    fn from(code: MachineCode) -> Kernels {
        Kernels { fns: code.fns().to_vec(), of: Of::Machine(code) }
    }
}

impl From<Vec<RustKernel>> for Kernels {
    fn from(kernels: Vec<RustKernel>) -> Kernels {
        let (fns, takes) = kernels.iter().map(|kernel| (kernel.function(), kernel.takes())).unzip();
        Kernels { fns, of: Of::Rust(takes) }
    }
}

impl Kernels {
    /// The functions.
    pub(super) fn fns(&self) -> &[KernelFn] {
        &self.fns
    }

    /// What they take, if they are Rust, which stays in its memory and does in it what it likes.
    pub(super) fn takes(&self) -> Option<&[Takes]> {
        match &self.of {
            Of::Machine(_) => None,
            Of::Rust(takes) => Some(takes),
        }
    }

    /// Checks that these are the code of a plan's kernels.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), String> {
        let (found, expected) = (self.fns.len(), plan.kernels.len());
        if found != expected {
            return Err(format!("{expected} kernels have the code of {found}"));
        }
        let other = match &self.of {
            Of::Machine(code) => code.kernels().iter().zip(&plan.kernels).position(|(a, b)| a != b),
            Of::Rust(takes) => takes.iter().zip(&plan.kernels).position(|(takes, kernel)| !takes.fits(kernel)),
        };
        other.map_or(Ok(()), |kernel| Err(format!("kernel {kernel} has the code of another one")))
    }
}
