//! Checks a spec by working through it: names are resolved, sizes inferred, weights named, and what is computed becomes
//! functions of a [`Program`].
//!
//! Takes files (through a [`Loader`]), gives functions, weights and every mistake found on the way. A value that failed is
//! poison: it was reported once, and what uses it says nothing more.
//!
//! The way to use it: [`Checker::new`], [`Checker::load`], then [`Checker::model`] for each model and mode, or
//! [`Checker::open_entry`] and [`Checker::eval`] for expressions over models' outputs.

mod access;
mod adapt;
mod again;
mod beyond;
mod bounds;
mod builtin;
mod call;
mod config;
mod derivative;
mod equation;
mod errors;
mod eval;
mod frame;
mod index;
mod init;
mod joined;
mod key;
mod lanes;
mod load;
mod mode;
mod model;
mod net;
mod num;
mod ops;
mod ranges;
mod raw;
mod rearrange;
mod reduce;
mod repeat;
mod require;
mod rows;
mod scope;
mod shift;
mod sides;
mod stacks;
mod stmt;
mod sums;
mod types;
mod unreached;
mod value;
mod work;

pub use adapt::{Adapted, Adapter, Identity, label_of};
pub use builtin::Builtin;

pub use frame::{Decl, Guard, Init, Judged, Slot, SlotKind};
pub use init::near_glob;
pub use load::{ConfigItem, ConstItem, FnItem, Found, ItemRef, Loaded, Loader, Modules, NetItem, NoFiles, PRELUDE};
pub use model::{BatchTensor, EntryFn, Input, ModelFn};
pub use net::Instance;
pub(crate) use num::to_host;
pub use raw::Raw;
pub(crate) use require::names_in;
pub use scope::{Kind, Owner, Scope, Var};
pub use stacks::SlotParam;
pub use value::{Axis, AxisArgs, AxisSel, Ctor, Func, Given, Layer, Num, NumVal, Tag, Target, Tensor, Val};

use crate::prelude;
use crate::program::{FnId, Program};
use dlc_grammar::{Diagnostic, Sources, Span};
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// What has been made for a key. The key's first byte is the mode, see [`Checker::recall`].
type Memo<T> = HashMap<Vec<u8>, Option<Rc<T>>>;

/// Functions by [`key::function`], to find equal ones.
type Interned = HashMap<u64, Vec<FnId>>;

/// A spec being checked.
pub struct Checker {
    /// The functions made so far, and the names of dynamic sizes.
    pub program: Program,
    /// The mistakes found so far.
    pub diagnostics: Vec<Diagnostic>,
    /// The files and their items.
    pub modules: Modules,
    /// Names that are no names where they are written but may have been meant, for messages.
    pub hints: Vec<String>,
    /// The batch that a training without `data` is compiled for, if there is one. Sizes of the model's inputs are its.
    pub batch: Option<Vec<BatchTensor>>,
    /// Whether `training` is true in what is worked through.
    pub training: bool,
    /// The modules of the model being worked through that find `training` false, whatever it is around them.
    pub evaluated: BTreeSet<String>,
    /// What the weights of the model being worked through are adapted by, by their full names.
    pub adapters: BTreeMap<String, Rc<Adapter>>,
    /// Whether adapters have to be such as can be merged, whatever their items say becomes of them.
    pub merging: bool,
    /// The functions that adapters are, where they are called in the place of products.
    adapter_functions: HashSet<FnId>,
    /// The adapter whose block is about to be worked through.
    adapting: Option<Rc<Adapter>>,
    /// The weight whose first value is being worked out.
    first: Option<config::First>,
    frames: Vec<frame::Frame>,
    frame_count: u32,
    env_count: u32,
    levels: Vec<errors::Level>,
    loops: Vec<repeat::Loop>,
    /// The functions of nets by what they are specialised by; `None` where that failed.
    instances: Memo<Instance>,
    fn_instances: Memo<derivative::FnInstance>,
    interned: Interned,
    /// Which item each function with a derivative is made of.
    function_items: HashMap<FnId, u32>,
    /// The equations being worked on, the innermost last.
    equations: Vec<equation::Equation>,
    /// The named stages of pipes worked through so far, for advice.
    stages: Vec<Span>,
    /// For places in the prelude that speak of a parameter: the argument it has at present.
    arguments: HashMap<Span, Span>,
    /// The entry of a loss or of metrics, while its expression is worked through.
    pub(crate) judged: Option<Judged>,
    /// The functions and nets that something has used.
    reached: HashSet<u32>,
    /// What `statistic` does, where it has a meaning.
    pub(crate) statistics: Option<Statistics>,
    /// The weights that `tensor` can speak of besides those of the entry's own model.
    pub(crate) trained: Vec<Slot>,
    /// The tensor that was last asked about by `made_by`.
    asked_about: Option<Span>,
    depth: usize,
    failures: usize,
    said_too_deep: bool,
    said_too_large: bool,
    /// Whether what is being worked through has asked for `training`.
    asked_mode: bool,
    /// What it has cost so far.
    work: work::Work,
}

/// What is known of the values over the whole training split that a data item's columns ask for, in their order.
pub(crate) enum Statistics {
    /// They are being collected: what is worked through are all rows of the split, or stands for them.
    Measured(Vec<Tensor>),
    /// They are given. The next one to be asked for is the first of the rest.
    Known(VecDeque<Tensor>),
}

/// The first byte of a key whose function never asks for `training`.
const ANY_MODE: u8 = 2;

impl Default for Checker {
    fn default() -> Checker {
        Checker::new()
    }
}

impl Checker {
    /// Knows the prelude only.
    pub fn new() -> Checker {
        let mut checker = Checker {
            program: Program::default(),
            diagnostics: Vec::new(),
            modules: Modules::new(prelude::FILES),
            hints: Vec::new(),
            training: false,
            evaluated: BTreeSet::new(),
            adapters: BTreeMap::new(),
            merging: false,
            batch: None,
            adapter_functions: HashSet::default(),
            adapting: None,
            first: None,
            frames: Vec::new(),
            frame_count: 0,
            env_count: 0,
            levels: Vec::new(),
            loops: Vec::new(),
            instances: Memo::default(),
            fn_instances: Memo::default(),
            interned: HashMap::default(),
            function_items: HashMap::default(),
            equations: Vec::new(),
            stages: Vec::new(),
            arguments: HashMap::default(),
            judged: None,
            reached: HashSet::default(),
            statistics: None,
            trained: Vec::new(),
            asked_about: None,
            depth: 0,
            failures: 0,
            said_too_deep: false,
            said_too_large: false,
            asked_mode: false,
            work: work::Work::new(),
        };
        // Expressions outside of all entries have somewhere to put their nodes, which then go nowhere.
        checker.open_root("nowhere");
        checker
    }

    /// Parses a file and its imports; gives its module.
    pub fn load(&mut self, name: &str, text: &str, loader: &mut dyn Loader) -> u16 {
        self.modules.load(name, text, loader, &mut self.diagnostics)
    }

    /// A key's first byte: training, or not.
    fn mode(&self) -> u8 {
        u8::from(self.training)
    }

    /// What was made for a key before, in this mode or in any.
    fn recall<T>(&mut self, memo: fn(&Checker) -> &Memo<T>, key: &mut [u8]) -> Option<Option<Rc<T>>> {
        let mode = std::mem::replace(&mut key[0], ANY_MODE);
        if let Some(known) = memo(self).get(&*key) {
            let known = known.clone();
            key[0] = mode;
            return Some(known);
        }
        key[0] = mode;
        let known = memo(self).get(&*key).cloned();
        self.asked_mode |= known.is_some();
        known
    }

    /// Works something out, and says by the key's first byte whether it depends on the mode.
    fn for_key<T>(&mut self, key: &mut [u8], make: impl FnOnce(&mut Checker) -> T) -> T {
        let before = std::mem::replace(&mut self.asked_mode, false);
        let made = make(self);
        if !self.asked_mode {
            key[0] = ANY_MODE;
        }
        self.asked_mode |= before;
        made
    }

    /// The texts that places speak of.
    pub fn sources(&self) -> &Sources {
        &self.modules.sources
    }

    /// Whether anything is wrong that is not only worth a warning.
    pub fn failed(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}
