//! The plan: what a program has become when it is ready to run. Steps over buffers, for each entry.
//!
//! Buffers are flat and contiguous. Temporary ones share one arena whose layout the runtime makes from their lifetimes
//! when it first sees the sizes; nothing else is allocated in a step.

use crate::kernel::{Elem, FoldOp, Kernel, Kind};
use crate::{DType, Host, Size};

/// A buffer's number in its entry.
pub type BufId = u32;

/// Everything the runtime needs, besides the code of the kernels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// The names of the dynamic sizes.
    pub dims: Vec<String>,
    /// The kernels, each once.
    pub kernels: Vec<Kernel>,
    /// The stored tensors, in the order in which they were declared.
    pub weights: Vec<Weight>,
    /// The names of the optimizer's states; each has the layout of the trained weights, but for those with parts.
    pub states: Vec<String>,
    /// What states with a layout of their own keep for single weights.
    pub parts: Vec<StatePart>,
    /// The entries.
    pub entries: Vec<Entry>,
    /// What could have been compiled better, and why it was not; for people.
    pub notes: Vec<String>,
}

/// A stored tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// The name in the checkpoint.
    pub name: String,
    /// Further names in the checkpoint, for the same storage.
    pub aliases: Vec<String>,
    /// The shape.
    pub shape: Vec<usize>,
    /// The type of its elements in the checkpoint.
    pub dtype: DType,
    /// Which store it lives in.
    pub store: Store,
    /// Its first element's number in that store: a multiple of 16, or the end of the weight before it.
    pub offset: usize,
    /// Whether it is a state that nothing but its own next value is made of, so that a file may leave it out.
    pub unread: bool,
}

impl Weight {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What a state of the optimizer keeps for a weight, where that has a shape of its own. A state with one such part keeps
/// nothing for weights without.
#[derive(Clone, Debug, PartialEq)]
pub struct StatePart {
    /// The state's number.
    pub state: u16,
    /// The weight's number in the plan.
    pub weight: u32,
    /// The shape.
    pub shape: Vec<usize>,
    /// Its first element's number in that state's store: a multiple of 16, or the end of the part before it.
    pub offset: usize,
}

impl StatePart {
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Plan {
    /// Where a store keeps what it has for a weight, and in which shape: the weight itself, its gradient, a state.
    pub fn kept(&self, store: Store, weight: usize) -> Option<(usize, &[usize])> {
        let w = self.weights.get(weight)?;
        if let Store::State(state) = store
            && self.has_parts(state)
        {
            let part = self.parts.iter().find(|p| p.state == state && p.weight as usize == weight)?;
            return Some((part.offset, &part.shape));
        }
        let companion = match store {
            Store::Trained | Store::Grads => true,
            Store::State(i) => usize::from(i) < self.states.len(),
            Store::Frozen | Store::Ints(_) => false,
        };
        (w.store == store || (w.store == Store::Trained && companion)).then_some((w.offset, &w.shape))
    }

    /// Whether a state has a layout of its own.
    pub fn has_parts(&self, state: u16) -> bool {
        self.parts.iter().any(|p| p.state == state)
    }
}

/// Where stored tensors live: flat arrays that outlast a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Store {
    /// The weights that are trained, f32, each one a segment.
    Trained,
    /// Their gradients.
    Grads,
    /// A state of the optimizer, by its number.
    State(u16),
    /// Weights that are not trained and the model's own float states, f32.
    Frozen,
    /// The model's states of integers and truths, by how they are kept.
    Ints(Elem),
}

impl Store {
    /// How it keeps its elements.
    pub fn elem(self) -> Elem {
        match self {
            Store::Trained | Store::Grads | Store::State(_) | Store::Frozen => Elem::F32,
            Store::Ints(elem) => elem,
        }
    }
}

/// Something that can be asked of a plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entry {
    /// Its name: init, forward, columns, accumulate, update, grad, evaluate; [`crate::recipe`] says what each does.
    pub name: String,
    /// What must be given, in order. An axis that is a single dynamic size gives that size; the rest are checked.
    pub inputs: Vec<Port>,
    /// What comes back, in order.
    pub outputs: Vec<Port>,
    /// Conditions on the dynamic sizes.
    pub guards: Vec<Guard>,
    /// The buffers.
    pub buffers: Vec<Buffer>,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// An input or output of an entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name in the spec.
    pub name: String,
    /// The type of its elements, as people see it. A buffer may keep i64 in 32 bits, where it is checked or known to fit.
    pub dtype: DType,
    /// Its shape.
    pub shape: Vec<Size>,
    /// The buffer that holds it.
    pub buffer: BufId,
    /// For an integer input that indexes something: what its elements may be.
    pub limit: Option<Bound>,
    /// The number that all elements of an input are where it is not given, if there is one.
    pub default: Option<Host>,
}

/// What an integer may be that indexes something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// It must be in `0..below`,
    pub below: Size,
    /// or this.
    pub except: Option<i64>,
}

impl Bound {
    /// The bound, with its size written by `show`: `10`, or `10 or -100`.
    pub fn show(&self, show: impl Fn(&Size) -> String) -> String {
        let below = show(&self.below);
        self.except.map_or(below.clone(), |except| format!("{below} or {except}"))
    }
}

/// A condition on the sizes, checked at entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The condition: true where not 0.
    pub holds: Host,
    /// What to say where it fails.
    pub message: String,
}

/// A flat piece of memory.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// How elements are stored.
    pub elem: Elem,
    /// The number of elements.
    pub len: Size,
    /// Where it is.
    pub place: Place,
    /// What it holds, for people: `fc1.gelu [B, 128]`.
    pub note: String,
}

/// Where a buffer is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the arena, from its first step to its last, both included. Steps are numbered in order of the text, the steps
    /// of a loop's body after the loop's own number.
    Arena {
        /// The first step that uses it.
        first: u32,
        /// The last step that uses it.
        last: u32,
    },
    /// A weight, or what belongs to it in another store of the same layout; and, where the buffer is longer than the weight,
    /// those that lie behind it.
    Weight {
        /// The store: that of the weight, or `Grads` or `State` for a trained one.
        store: Store,
        /// The weight's number in the plan.
        weight: u32,
    },
    /// A whole store.
    Store(Store),
    /// A piece of another buffer.
    Part {
        /// The buffer that it is a piece of.
        of: BufId,
        /// Its first element's number.
        offset: Size,
    },
    /// In iteration i of the loop at `depth` (0 is the outermost): the piece of `of` that begins at
    /// `((i + ahead) mod slots) * stride`. Stacked values have as many slots as iterations; a carried value alternates
    /// between two, its next value being one ahead. Outside of such a loop i is 0, so that `ahead` alone says which piece.
    Slot {
        /// The buffer that it is a piece of.
        of: BufId,
        /// Elements from one slot to the next.
        stride: Size,
        /// The loop's depth.
        depth: u8,
        /// Added to the iteration's number.
        ahead: u32,
        /// The number of slots.
        slots: u32,
    },
    /// In iteration i of the loop at `depth`: the i-th of these buffers.
    Row {
        /// The loop's depth.
        depth: u8,
        /// One buffer for each iteration.
        cells: Vec<BufId>,
    },
    /// In memory that each thread has of its own while it runs panels, from the first step to the last, numbered as for the
    /// arena. All such buffers of an entry share one layout.
    Local {
        /// The first step that uses it.
        first: u32,
        /// The last step that uses it.
        last: u32,
    },
    /// In panels: a piece of another buffer, whose first element depends on where the panel is.
    Piece {
        /// The buffer that it is a piece of.
        of: BufId,
        /// Its first element's number.
        offset: Size,
    },
}

/// A step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Run a kernel.
    Kernel(Call),
    /// A sum of matrix products.
    Gemm(Box<Gemm>),
    /// Copy a buffer into another of the same length.
    Copy {
        /// The source.
        from: BufId,
        /// The target.
        to: BufId,
    },
    /// Add rows: for each position p in ascending order, `to[ids[p], :] += from[p, :]`; `to` starts as zeros.
    Scatter {
        /// Row numbers, I32; what is outside of `0..rows` counts as the nearest row.
        ids: BufId,
        /// How many of them.
        count: Size,
        /// What is added, `count` rows of `width`.
        from: BufId,
        /// The target, `rows` rows of `width`.
        to: BufId,
        /// Rows of the target.
        rows: Size,
        /// Elements in a row.
        width: Size,
    },
    /// Do something to each row of a buffer.
    Rows {
        /// What is done.
        op: RowOp,
        /// The source, `rows` rows of `len` elements.
        from: BufId,
        /// The target, `rows` rows of `keep` elements.
        to: BufId,
        /// How many rows.
        rows: Size,
        /// Elements of a row of the source.
        len: Size,
        /// Elements of a row of the target; at most `len`.
        keep: Size,
    },
    /// Run steps again and again.
    Repeat(Box<Repeat>),
    /// Run steps for some rows after the others.
    Panels(Box<Panels>),
}

/// Steps that are run for each point of all cuts but the first and for each panel of the first cut's rows, as many as
/// [`crate::chunks::panel_height`] says. Where a panel is, sizes say that no input gives; what sizes of buffers, matrices and
/// extents speak of is only the number of its rows. The steps hold no loops.
#[derive(Clone, Debug, PartialEq)]
pub struct Panels {
    /// The extents of the cuts, the rows first.
    pub cuts: Vec<Size>,
    /// For each cut, whether its points come one after the other, in ascending order. The others run side by side.
    pub serial: Vec<bool>,
    /// The elements of the widest row.
    pub width: Size,
    /// The number of the size that is the number of rows of the panel; the next is its first row, then comes the index of
    /// each other cut.
    pub first: u16,
    /// What is filled with zeros before all else.
    pub zero: Vec<BufId>,
    /// The steps.
    pub steps: Vec<Step>,
    /// What it is, for people.
    pub note: String,
}

/// What is done to a row as a whole, by the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowOp {
    /// The places of the elements in ascending or descending order, I32; the earlier of equal ones first, and NaN as if it
    /// were greater than all numbers. Of all places the first `keep` are kept.
    Order {
        /// Whether the greatest comes first.
        descending: bool,
    },
    /// Each element plus all before it, in the row's type; added in order.
    RunningSum,
}

impl RowOp {
    /// Every one.
    pub const ALL: [RowOp; 3] =
        [RowOp::Order { descending: false }, RowOp::Order { descending: true }, RowOp::RunningSum];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            RowOp::Order { descending: false } => "order",
            RowOp::Order { descending: true } => "order.down",
            RowOp::RunningSum => "running.sum",
        }
    }
}

/// A loop.
#[derive(Clone, Debug, PartialEq)]
pub struct Repeat {
    /// How often.
    pub count: u32,
    /// Whether the iterations are numbered downwards.
    pub reverse: bool,
    /// The body.
    pub steps: Vec<Step>,
    /// What it is in the spec, for people: `layers.{0..11}`.
    pub note: String,
}

/// A call of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The kernel's number in the plan.
    pub kernel: u32,
    /// Its buffers.
    pub bufs: Vec<BufId>,
    /// Its scalars.
    pub uniforms: Vec<(Kind, Host)>,
    /// Its extents.
    pub exts: Vec<Size>,
    /// The number of its rows.
    pub rows: Size,
    /// Where its folds go.
    pub folds: Vec<FoldTo>,
    /// Whether it goes over the trained weights, segment by segment: the kernel's only extent is the length of the piece
    /// it is called for, and scalars may differ from segment to segment. Whole stores, and buffers as long as the store
    /// of the trained weights, are moved on with the pieces; other buffers stay.
    pub segments: bool,
}

/// Where a fold over the rows goes.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldTo {
    /// How the chunks are joined.
    pub op: FoldOp,
    /// The kind of its elements.
    pub kind: Kind,
    /// The number of results: the columns, or 1.
    pub len: Size,
    /// The chunks' partial results, 64 times `len`.
    pub partial: BufId,
    /// The result.
    pub to: BufId,
}

/// A sum of matrix products: for each point of `batch`, C = sum over `terms` of A B (+ C where `accumulate`).
#[derive(Clone, Debug, PartialEq)]
pub struct Gemm {
    /// Rows of C.
    pub m: Size,
    /// Columns of C.
    pub n: Size,
    /// The products that are summed.
    pub terms: Vec<Product>,
    /// The result.
    pub c: Matrix,
    /// The batch axes' extents.
    pub batch: Vec<Size>,
    /// Whether the product is added to what C holds.
    pub accumulate: bool,
    /// A kernel that goes over the rows of the result, run on each row panel as soon as it is finished. Its rows are
    /// the rows of C, all batches together.
    pub then: Option<Call>,
    /// What it is, for people: `fc1 [B, 64] @ [64, 128]`.
    pub note: String,
}

/// One matrix product.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// The length of the inner sum.
    pub k: Size,
    /// The left matrix, m by k.
    pub a: Matrix,
    /// The right matrix, k by n.
    pub b: Matrix,
}

/// A matrix in a buffer.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// The buffer.
    pub buf: BufId,
    /// The first element's number.
    pub offset: Size,
    /// Elements from a row to the next.
    pub row: Size,
    /// Elements from a column to the next.
    pub col: Size,
    /// Axes within the rows, as (extent, stride), the last one fastest: `row` is then the stride of what is left of the
    /// rows' number. So the rows of a convolution's windows are (image row, image column). Empty for the result.
    pub rows: Vec<(Size, Size)>,
    /// Axes within the columns, likewise.
    pub cols: Vec<(Size, Size)>,
    /// For each batch axis, elements from one matrix to the next.
    pub batch: Vec<Size>,
}
