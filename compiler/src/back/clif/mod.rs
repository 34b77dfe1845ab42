//! Machine code: takes kernels, gives a function for each, in executable memory that is freed with the [`Code`].
//!
//! A kernel becomes one Cranelift function, a leaf without calls and relocations. The sixteen lanes of a sweep are four
//! 128-bit vectors whose operations are interleaved, so that four dependency chains run side by side. Everything is
//! compiled on all cores and installed at once.

mod access;
mod bits;
mod code;
mod emit;
mod instr;
mod lanes;
pub mod machine;
mod memory;
mod num;
mod sums;
mod sweep;
mod turn;
mod wide;

use std::cell::Cell;
use std::fmt;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dlc_plan::Kernel;

pub use code::Code;
use machine::Compiler;

/// Why there is no machine code.
#[derive(Debug)]
pub enum Error {
    /// The processor lacks something that kernels need; it is named.
    Machine(String),
    /// A kernel did not compile. This is a bug in dlc.
    Kernel {
        /// The kernel's number.
        kernel: usize,
        /// What the compiler said.
        message: String,
    },
    /// The system gave no executable memory.
    Memory(std::io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Machine(what) => write!(f, "this processor cannot run compiled kernels: {what}"),
            Error::Kernel { kernel, message } => {
                write!(f, "kernel {kernel} did not compile, which is a bug in dlc: {message}")
            }
            Error::Memory(error) => write!(f, "the system gave no memory for machine code: {error}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Memory(error) => Some(error),
            Error::Machine(_) | Error::Kernel { .. } => None,
        }
    }
}

thread_local! {
    /// How often this thread has asked for machine code.
    static COMPILATIONS: Cell<u64> = const { Cell::new(0) };
}

/// How often this thread has compiled kernels: what is only given other weights, such as another adapter, compiles nothing.
pub fn compilations() -> u64 {
    COMPILATIONS.get()
}

/// Compiles kernels, on all cores.
///
/// # Errors
/// If the processor is not supported or the system gives no executable memory.
pub fn compile(kernels: &[Kernel]) -> Result<Code, Error> {
    COMPILATIONS.set(COMPILATIONS.get() + 1);
    let isa = machine::isa()?;
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(kernels.len()));
    let work = || {
        let mut compiler = Compiler::new(&*isa);
        while let Some((number, kernel)) = take(&next, kernels) {
            let bytes = compiler.compile(kernel).map_err(|message| Error::Kernel { kernel: number, message });
            done.lock().expect("no thread panics while it holds the lock").push((number, bytes));
        }
    };
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(kernels.len());
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut done = done.into_inner().expect("no thread panics while it holds the lock");
    done.sort_by_key(|(number, _)| *number);
    let functions: Vec<Vec<u8>> = done.into_iter().map(|(_, bytes)| bytes).collect::<Result<_, Error>>()?;
    // SAFETY: they were compiled from these kernels a moment ago, and sorted.
    unsafe { Code::install(&functions, kernels) }.map_err(Error::Memory)
}

fn take<'k>(next: &AtomicUsize, kernels: &'k [Kernel]) -> Option<(usize, &'k Kernel)> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    Some((number, kernels.get(number)?))
}

/// A kernel's Cranelift code as text, a function of the kernel alone: it is the code for x86-64 before the machine's
/// own instructions are chosen.
pub fn clif_text(kernel: &Kernel) -> String {
    machine::text(kernel)
}
