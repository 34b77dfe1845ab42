//! Executable memory: takes finished functions without relocations, gives their addresses for as long as it lives.

use std::io;
use std::mem;
use std::sync::Arc;

use dlc_plan::kernel::KernelFn;
use dlc_plan::{Kernel, MachineCode};
use memmap2::{Mmap, MmapMut};

/// Each function starts a cache line.
const ALIGN: usize = 64;

/// Compiled kernels. Their functions are valid until this is dropped.
#[derive(Debug)]
pub struct Code {
    /// None where there is no kernel.
    memory: Option<Mmap>,
    starts: Vec<usize>,
    size: usize,
    /// What it was made of.
    kernels: Arc<[Kernel]>,
}

impl Code {
    /// Copies functions into fresh memory, which is writable first and executable after, never both.
    ///
    /// # Safety
    /// They are what [`super::machine::Compiler`] made of the kernels, in their order.
    pub unsafe fn install(functions: &[Vec<u8>], kernels: &[Kernel]) -> io::Result<Code> {
        let kernels = Arc::from(kernels);
        let mut size = 0;
        let mut starts = Vec::with_capacity(functions.len());
        for function in functions {
            starts.push(size);
            size += function.len().next_multiple_of(ALIGN);
        }
        if size == 0 {
            return Ok(Code { memory: None, starts, size, kernels });
        }
        let mut memory = MmapMut::map_anon(size)?;
        for (start, function) in starts.iter().zip(functions) {
            memory[*start..*start + function.len()].copy_from_slice(function);
        }
        let memory = memory.make_exec()?;
        synchronise(&memory);
        Ok(Code { memory: Some(memory), starts, size, kernels })
    }

    /// The number of kernels.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are no kernels.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The size of the machine code in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The code with what it was made of, as an engine takes it.
    pub fn share(self) -> MachineCode {
        let (fns, kernels) = ((0..self.len()).map(|kernel| self.function(kernel)).collect(), self.kernels.clone());
        // SAFETY: the functions lie in the memory that is kept, and were compiled from these kernels.
        unsafe { MachineCode::new(fns, kernels, Arc::new(self)) }
    }

    /// A kernel's function, to be called only while this lives.
    ///
    /// # Panics
    /// If there is no such kernel.
    pub fn function(&self, kernel: usize) -> KernelFn {
        let start = self.starts[kernel];
        let memory = self.memory.as_ref().expect("there is memory where there is a kernel");
        // SAFETY: at `start` lies a whole function that was compiled with exactly this signature and calling convention.
        unsafe { mem::transmute::<*const u8, KernelFn>(memory[start..].as_ptr()) }
    }
}

/// Makes the instructions visible to the processor that fetches them; x86 keeps its caches coherent by itself.
#[cfg(not(target_arch = "aarch64"))]
fn synchronise(_: &[u8]) {}

/// Makes the instructions visible to the processor that fetches them (Arm Architecture Reference Manual, B2.4.4): writes
/// the data cache back, then drops what the instruction cache holds. 16 bytes is the smallest line that there can be.
#[cfg(target_arch = "aarch64")]
fn synchronise(memory: &[u8]) {
    use std::arch::asm;
    // SAFETY: cache maintenance by address changes no data, and every address is inside live memory.
    unsafe {
        for line in memory.chunks(16) {
            asm!("dc cvau, {}", in(reg) line.as_ptr(), options(nostack));
        }
        asm!("dsb ish", options(nostack));
        for line in memory.chunks(16) {
            asm!("ic ivau, {}", in(reg) line.as_ptr(), options(nostack));
        }
        asm!("dsb ish", "isb", options(nostack));
    }
}
