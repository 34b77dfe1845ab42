//! The processor: takes a kernel, gives its machine code, or the text of its Cranelift code.

use std::sync::Arc;

use cranelift_codegen::Context;
use cranelift_codegen::control::ControlPlane;
use cranelift_codegen::isa::{CallConv, TargetIsa};
use cranelift_codegen::settings::{self, Configurable, Flags};
use cranelift_frontend::FunctionBuilderContext;
use dlc_plan::Kernel;

use super::Error;
use super::emit::{self, Dialect};

/// The host, with all the features it has.
pub fn isa() -> Result<Arc<dyn TargetIsa>, Error> {
    let mut builder = cranelift_native::builder().map_err(|error| Error::Machine(error.into()))?;
    // With this Cranelift takes `vpmullq` for the widening products of random bits, where it has one `vpmuludq` without: of
    // 15 cycles instead of 5. Nothing else that kernels do asks for it.
    if cfg!(target_arch = "x86_64") {
        builder.set("has_avx512dq", "false").expect("x86-64 has this setting");
    }
    let isa = builder.finish(flags()).map_err(|error| Error::Machine(error.to_string()))?;
    lacks()?;
    Ok(isa)
}

/// Kernels need a fused multiply-add and rounding in one instruction; without them they would call functions.
#[cfg(target_arch = "x86_64")]
fn lacks() -> Result<(), Error> {
    let needed = [("FMA", is_x86_feature_detected!("fma")), ("SSE4.1", is_x86_feature_detected!("sse4.1"))];
    match needed.iter().find(|(_, there)| !there) {
        Some((name, _)) => Err(Error::Machine(format!("it has no {name} instructions"))),
        None => Ok(()),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn lacks() -> Result<(), Error> {
    Ok(())
}

fn flags() -> Flags {
    let mut builder = settings::builder();
    // The emitter has shared, hoisted and interleaved already; Cranelift's own passes would only undo the last.
    let verify = if cfg!(debug_assertions) { "true" } else { "false" };
    for (name, value) in [
        ("opt_level", "none"),
        ("enable_verifier", verify),
        ("unwind_info", "false"),
        ("enable_probestack", "true"),
        ("probestack_strategy", "inline"),
    ] {
        builder.set(name, value).expect("these settings exist");
    }
    Flags::new(builder)
}

/// What a thread keeps from kernel to kernel.
pub struct Compiler<'i> {
    isa: &'i dyn TargetIsa,
    dialect: Dialect,
    context: Context,
    frontend: FunctionBuilderContext,
}

impl<'i> Compiler<'i> {
    /// A compiler for a processor.
    pub fn new(isa: &'i dyn TargetIsa) -> Compiler<'i> {
        let dialect = if cfg!(target_arch = "x86_64") { Dialect::X86 } else { Dialect::Portable };
        Compiler { isa, dialect, context: Context::new(), frontend: FunctionBuilderContext::new() }
    }

    /// The same, that uses nothing which only this kind of processor has.
    pub fn portable(isa: &'i dyn TargetIsa) -> Compiler<'i> {
        Compiler { dialect: Dialect::Portable, ..Compiler::new(isa) }
    }

    /// The machine code of a kernel.
    pub fn compile(&mut self, kernel: &Kernel) -> Result<Vec<u8>, String> {
        self.context.clear();
        let func = &mut self.context.func;
        func.signature = emit::signature(self.isa.default_call_conv());
        emit::function(kernel, self.dialect, func, &mut self.frontend, self.isa.frontend_config());
        let compiled = match self.context.compile(self.isa, &mut ControlPlane::default()) {
            Ok(compiled) => compiled,
            Err(error) => return Err(format!("{:?}\n{kernel}", error.inner)),
        };
        let relocations = compiled.buffer.relocs();
        if !relocations.is_empty() {
            return Err(format!("it has relocations: {relocations:?}\n{kernel}"));
        }
        Ok(compiled.code_buffer().to_vec())
    }
}

/// The Cranelift code of a kernel, for x86-64 and the System V convention wherever this runs.
pub fn text(kernel: &Kernel) -> String {
    let builder =
        cranelift_native::builder_with_options(false).expect("Cranelift builds only where it supports the host");
    let isa = builder.finish(flags()).expect("the flags fit every processor");
    let mut context = Context::new();
    context.func.signature = emit::signature(CallConv::SystemV);
    emit::function(kernel, Dialect::X86, &mut context.func, &mut FunctionBuilderContext::new(), isa.frontend_config());
    context.func.display().to_string()
}
