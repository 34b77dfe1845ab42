//! The engine: takes a plan and the code of its kernels, keeps the weights, and runs the plan's entries.
//!
//! A plan is checked once, before there is an engine ([`ValidPlan`]), and the code of its kernels is held against it. Its
//! numbers are checked when sizes are bound, at the first run and whenever sizes change: every element that a step can
//! touch then lies in its buffer. No kernel unwinds: one that fails makes the run an error. A run at bound sizes allocates nothing but its results. What it computes depends on the plan, the stores,
//! the inputs and the host state, not on the number of threads.

mod bind;
mod call;
mod defaults;
mod fold;
mod frame;
mod kernels;
mod moves;
mod node;
mod overlap;
mod panels;
mod ports;
mod product;
mod reach;
mod rows;
mod segments;
mod walk;

pub use crate::check::ValidPlan;
pub use kernels::Kernels;
pub(crate) use reach::ByRow;

use crate::error::Error;
use crate::hands::Hands;
use crate::memory::{Memory, Ptr};
use crate::pool::Pool;
use crate::stores::Stores;
use crate::tensor::{self, Tensor};
use call::{SMALL, Scratch};
pub use defaults::defaults;
use dlc_plan::chunks::FOLD_CHUNKS;
use dlc_plan::{HostState, Plan};
use frame::{Frame, Ground};
use node::{CallNode, Node};
use overlap::Overlaps;
use panels::Slot;
use segments::Segments;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use walk::{Walker, place};

/// A plan that can be run, with its weights.
pub struct Engine {
    plan: Arc<Plan>,
    kernels: Kernels,
    /// The pool of this engine; the global one if there is none.
    pool: Option<Arc<Pool>>,
    stores: Stores,
    segments: Segments,
    frames: Vec<Frame>,
    arena: Memory,
    scratch: Scratch,
    /// What each thread has of its own while panels run; none where there are no panels.
    slots: Vec<Slot>,
    /// The iterations of the loops around the running step.
    rows: Vec<usize>,
    /// The sizes of the run that is being prepared.
    dims: Vec<i64>,
}

impl Engine {
    /// An engine on the global pool.
    ///
    /// # Errors
    /// When the kernels are not those of the plan, or there is no memory for its stores.
    pub fn new(plan: ValidPlan, kernels: Kernels) -> Result<Engine, Error> {
        Engine::build(plan, kernels, None)
    }

    /// An engine on a pool of its own, or shared with other engines.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_pool(plan: ValidPlan, kernels: Kernels, pool: Arc<Pool>) -> Result<Engine, Error> {
        Engine::build(plan, kernels, Some(pool))
    }

    fn build(plan: ValidPlan, kernels: Kernels, pool: Option<Arc<Pool>>) -> Result<Engine, Error> {
        kernels.check(&plan).map_err(Error::Plan)?;
        let plan = plan.share();
        let segments = Segments::new(&plan);
        let frames: Vec<Frame> = plan.entries.iter().map(|e| Frame::new(&plan, e, &segments)).collect();
        let threads = pool.as_deref().unwrap_or_else(|| Pool::global()).threads();
        let panels = frames.iter().any(|f| f.nodes.iter().any(has_panels));
        let slot = |_| Slot::new(&frames, plan.dims.len());
        Ok(Engine {
            kernels,
            slots: (0..if panels { threads } else { 0 }).map(slot).collect::<Result<_, _>>()?,
            stores: Stores::new(&plan)?,
            scratch: scratch(&frames, threads)?,
            frames,
            segments,
            arena: Memory::zeroed(0)?,
            rows: Vec::with_capacity(crate::check::MOST_LOOPS),
            dims: vec![0; plan.dims.len()],
            pool,
            plan,
        })
    }

    /// The plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The weights, gradients and optimizer states.
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// The weights, gradients and optimizer states, to be changed.
    pub fn stores_mut(&mut self) -> &mut Stores {
        &mut self.stores
    }

    /// The number of an entry.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn entry(&self, name: &str) -> Result<usize, Error> {
        let entries = &self.plan.entries;
        entries.iter().position(|e| e.name == name).ok_or_else(|| Error::NoEntry {
            name: name.into(),
            known: entries.iter().map(|e| e.name.clone()).collect(),
        })
    }

    /// Runs an entry on inputs by name, in any order; gives its outputs by name. Inputs that have a default need not be given.
    ///
    /// # Errors
    /// When there is no such entry, an input is missing, unknown, or of a wrong type, shape or range, the sizes are not
    /// ones that the model admits, or memory is short. Stores are changed only if all of this is right.
    pub fn run(
        &mut self,
        entry: &str,
        state: &HostState,
        inputs: &[(&str, &Tensor)],
    ) -> Result<Vec<(String, Tensor)>, Error> {
        let index = self.entry(entry)?;
        let plan = Arc::clone(&self.plan);
        let entry = &plan.entries[index];
        let known = |name: &str| entry.inputs.iter().any(|port| port.name == name);
        if let Some((stray, _)) = inputs.iter().find(|(name, _)| !known(name)) {
            let known = entry.inputs.iter().map(|port| port.name.clone()).collect();
            return Err(Error::StrayInput { name: (*stray).into(), known });
        }
        let defaults = match inputs.len() < entry.inputs.len() {
            true => defaults(&entry.inputs, plan.dims.len(), state, inputs)?,
            false => Vec::new(),
        };
        let mut ordered = Vec::new();
        for port in &entry.inputs {
            let given = inputs.iter().find(|(name, _)| *name == port.name).map(|(_, tensor)| *tensor);
            let default = || defaults.iter().find(|(name, _)| *name == port.name).map(|(_, tensor)| tensor);
            let missing = || Error::NoInput { name: port.name.clone(), entry: entry.name.clone() };
            ordered.push(given.or_else(default).ok_or_else(missing)?);
        }
        let empty = Tensor::zeros(tensor::DType::U8, &[0]).map_err(|_| Error::Memory { bytes: 0 })?;
        let mut outputs = vec![empty; entry.outputs.len()];
        self.run_into(index, state, &ordered, &mut outputs)?;
        Ok(entry.outputs.iter().map(|port| port.name.clone()).zip(outputs).collect())
    }

    /// Runs an entry by its number, on inputs in the order of its ports; outputs come in that order too, into the memory
    /// of the tensors that are there if these have the right type and shape. Allocates nothing at sizes that the entry
    /// was run at last.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub fn run_into(
        &mut self,
        entry: usize,
        state: &HostState,
        inputs: &[&Tensor],
        outputs: &mut [Tensor],
    ) -> Result<(), Error> {
        self.prepare(entry, state, inputs, outputs.len())?;
        let frame = &mut self.frames[entry];
        let entry = &self.plan.entries[entry];
        for (port, input) in entry.inputs.iter().zip(inputs) {
            // SAFETY: the input has the port's shape, and binding has checked that the buffer has that many elements, of
            // the port's type.
            unsafe {
                ports::copy_in(
                    port,
                    input,
                    entry.buffers[port.buffer as usize].elem,
                    frame.ptrs[port.buffer as usize],
                    &self.dims,
                )?
            };
        }
        self.rows.clear();
        let fault = AtomicBool::new(false);
        let mut walker = Walker {
            hands: Hands::All(self.pool.as_deref().unwrap_or_else(|| Pool::global())),
            kernels: &self.plan.kernels,
            fns: self.kernels.fns(),
            segments: &self.segments,
            buffers: &entry.buffers,
            state,
            dims: &self.dims,
            spots: &frame.spots,
            lens: &frame.lens,
            bytes: &frame.bytes,
            ptrs: &mut frame.ptrs,
            rows: &mut self.rows,
            scratch: &mut self.scratch,
            slots: &mut self.slots,
            local: &frame.local,
            fault: &fault,
        };
        walker.steps(&frame.nodes);
        if fault.load(Ordering::Relaxed) {
            let why = format!("entry `{}`: a kernel failed, or asked for memory that is not its own", entry.name);
            return Err(Error::Plan(why));
        }
        for (port, output) in entry.outputs.iter().zip(outputs) {
            // SAFETY: binding has checked that the buffer has as many elements as the port, of its type.
            unsafe {
                ports::copy_out(
                    port,
                    entry.buffers[port.buffer as usize].elem,
                    frame.ptrs[port.buffer as usize],
                    &self.dims,
                    output,
                )?
            };
        }
        Ok(())
    }

    /// Checks the inputs and makes the entry ready to run at their sizes.
    fn prepare(&mut self, entry: usize, state: &HostState, inputs: &[&Tensor], outputs: usize) -> Result<(), Error> {
        let plan = &self.plan;
        let unknown =
            || Error::NoEntry { name: entry.to_string(), known: plan.entries.iter().map(|e| e.name.clone()).collect() };
        let ports = plan.entries.get(entry).ok_or_else(unknown)?;
        if outputs != ports.outputs.len() {
            return Err(Error::PortCount { what: "outputs", found: outputs, expected: ports.outputs.len() });
        }
        ports::bind_dims(plan, ports, state, inputs, &mut self.dims)?;
        let threads = self.pool.as_deref().unwrap_or_else(|| Pool::global()).threads();
        let takes = self.kernels.takes();
        let ground = Ground { plan, entry: ports, segments: &self.segments, stores: &self.stores, threads, takes };
        let frame = &mut self.frames[entry];
        if !frame.bound || frame.dims != self.dims {
            frame.bound = false;
            frame.dims.copy_from_slice(&self.dims);
            frame.bind(&ground, &mut self.arena, &mut self.scratch.products, &mut self.slots)?;
            place(&frame.spots, &mut frame.ptrs, &[], &frame.found);
            Overlaps::check(plan, ports, frame, &mut self.rows).map_err(Error::Plan)?;
            frame.bound = true;
        } else if !frame.is_attached(&self.arena) {
            frame.attach(&ground, &mut self.arena)?;
        }
        place(&frame.spots, &mut frame.ptrs, &[], &frame.found);
        Ok(())
    }
}

/// Scratch for the largest call of any entry.
fn scratch(frames: &[Frame], threads: usize) -> Result<Scratch, Error> {
    let (mut uniforms, mut bufs, mut folds) = (0, 0, 0);
    let mut measure = |call: &CallNode| {
        let classes = call.segments.as_ref().map_or(1, |classes| classes.examples.len());
        uniforms = uniforms.max(call.uniforms.len() * classes);
        bufs = bufs.max(call.bufs.len());
        folds = folds.max(call.folds.len());
    };
    frames.iter().for_each(|f| each_call(&f.nodes, &mut measure));
    let chunks = FOLD_CHUNKS as usize;
    Ok(Scratch {
        uniforms: vec![0; uniforms],
        bufs: vec![Ptr::NULL; bufs],
        lens: vec![0; bufs],
        fold_lens: vec![0; folds],
        folds: vec![Ptr::NULL; chunks * folds],
        small: Memory::zeroed((8 * SMALL * chunks * folds) as u64)?,
        slot_bufs: vec![Ptr::NULL; threads * bufs],
        slot_lens: vec![0; threads * bufs],
        slot_windows: vec![[0; 2]; threads * bufs],
        windows: vec![[0; 2]; bufs],
        products: Vec::new(),
    })
}

fn each_call(nodes: &[Node], f: &mut dyn FnMut(&CallNode)) {
    for node in nodes {
        match node {
            Node::Call(call) => f(call),
            Node::Gemm(gemm) => gemm.then.iter().for_each(&mut *f),
            Node::Copy { .. } | Node::Scatter(_) | Node::Rows(_) => {}
            Node::Repeat { body, .. } => each_call(body, f),
            Node::Panels(panels) => each_call(panels.nodes(), f),
        }
    }
}

/// Whether a step runs panels.
fn has_panels(node: &Node) -> bool {
    match node {
        Node::Panels(_) => true,
        Node::Repeat { body, .. } => body.iter().any(has_panels),
        Node::Call(_) | Node::Gemm(_) | Node::Copy { .. } | Node::Scatter(_) | Node::Rows(_) => false,
    }
}
