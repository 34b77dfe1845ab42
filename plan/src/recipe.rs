//! The recipe: all that a training needs to know besides its plan. How long, in which batches, from which files, from
//! which weights. The compiler makes it from a spec's `train`, `data` and `weights` items; emitted Rust holds one as well.
//!
//! What is computed is in the plan's entries. A training uses these, each where the plan has it:
//! - `init` gives every weight its first value, and the optimizer's states where these do not begin as 0;
//! - `where` takes all rows of a source's columns and gives a truth for each, whether it is a sample; where there is none,
//!   all are;
//! - `statistics` takes all rows of the training split, once, and gives what `columns` takes besides a batch's own rows;
//! - `columns` takes some rows of the source's columns and gives the columns of a batch under their names; where there is
//!   none, the source's columns are the batch;
//! - `augment` takes the same and gives the same, for a batch that is trained on; where there is none, `columns` does;
//! - `accumulate` takes a batch, gives `loss`, and leaves the gradients in their store; states of the model get their next
//!   values;
//! - `update` changes the weights by the gradients in their store. The two make a step;
//! - where [`Recipe::accumulate`] is more than 1, `count` takes a micro-batch and gives what it adds to what each term of the
//!   loss is divided by, `loss.counts`, and the least that the sums of these divide by, `loss.least`; `accumulate` takes a
//!   micro-batch and 1 / max(sum, least) of each term, `loss.shares`, adds to the gradients that are there (so the store is
//!   cleared before the first), and gives the micro-batch's part of the loss; `update` takes what the sum of the gradients is
//!   still to be divided by, `loss.over`;
//! - `grad` takes a batch and gives `loss` and the gradient of every trained weight under its name; it changes nothing;
//! - `merge` takes an adapter into the weights that it adapts; its own weights stay as they are;
//! - `forward` takes the model's inputs and gives its outputs, training off;
//! - `evaluate` takes the outputs and columns of a whole split and gives one number for each metric.

use crate::DType;

/// A training.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The name of the `train` item.
    pub name: String,
    /// The model.
    pub model: Model,
    /// Where samples come from; none for a training that is fed by a program.
    pub data: Option<Data>,
    /// Where weights come from; none to start from the spec's initial values.
    pub weights: Option<Weights>,
    /// What adapts the model; none where its weights are trained themselves.
    pub lora: Option<Lora>,
    /// How long it goes on.
    pub length: Length,
    /// How many micro-batches make one step; at least 1.
    pub accumulate: u64,
    /// The seed of all random choices.
    pub seed: u64,
    /// Steps between two reports; none for one report an epoch.
    pub interval: Option<u64>,
    /// The names of the metrics, as `evaluate` gives them.
    pub metrics: Vec<String>,
    /// When to end before the length is reached.
    pub stop: Option<Stop>,
}

/// A model, as seen from outside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The name of the `model` item.
    pub name: String,
    /// The names of its inputs, in order.
    pub inputs: Vec<String>,
    /// The names of its outputs, in order.
    pub outputs: Vec<String>,
}

/// How long a training goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// So many times over the training split.
    Epochs(u64),
    /// So many steps of the optimizer.
    Steps(u64),
}

/// Ends a training when a metric of the held-out split has not improved for a while.
#[derive(Clone, Debug, PartialEq)]
pub struct Stop {
    /// The metric's name.
    pub metric: String,
    /// How many epochs without a better value are borne.
    pub patience: u64,
    /// Whether less is better, as for a loss.
    pub falling: bool,
}

/// A `data` item.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// Its name.
    pub name: String,
    /// The samples to train on, or all samples if `split` takes held-out ones from them.
    pub source: Source,
    /// Samples of its own to watch the training by.
    pub valid: Option<Source>,
    /// Samples of its own for a last test.
    pub test: Option<Source>,
    /// How `source` is shared out.
    pub split: Vec<(Part, Share)>,
    /// The size of a micro-batch.
    pub batch: Batch,
    /// Whether every epoch goes through the rows in an order of its own.
    pub shuffle: bool,
    /// Whether a last batch that is not full is left out.
    pub drop_last: bool,
    /// The columns of ids that are made of the source's texts before anything is computed.
    pub encodings: Vec<Encoding>,
}

/// Ids made of texts: columns beside those of the source, which the entries take under the names that are given here.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoding {
    /// The column of texts, or two whose texts belong together in pairs; or the column that has ids already.
    pub of: Vec<String>,
    /// How texts become ids.
    pub by: Encoder,
    /// The most ids that a row has; what is more is cut off.
    pub max: Option<u64>,
    /// Whether the tokenizer's own marks, such as those of beginning and end, are added.
    pub special: bool,
    /// What a row is.
    pub rows: EncodedRows,
    /// The size that the ids of a row are counted by: encodings that share it are padded to the same length.
    pub length: String,
    /// The names of the columns: of rows of their own, ids, then a mask with 1 where an id is real, then which text of a
    /// pair an id belongs to; of windows, ids, then the ids that follow each of them.
    pub columns: Vec<String>,
}

/// How texts become ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoder {
    /// By a `tokenizer.json`, relative to the spec's folder.
    File(String),
    /// Each character is one id: its place among those of this alphabet, or else of all that the samples have, in order.
    Characters(Option<String>),
    /// They are ids already.
    Ids,
}

/// What a row of ids is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodedRows {
    /// The ids of one row of the source, padded to so many, or to the longest row of a batch.
    Padded(Option<u64>),
    /// So many ids of all rows of the source one after the other, beginning so many after the window before.
    Windows {
        /// How many ids.
        length: u64,
        /// How much later the next window begins.
        stride: u64,
    },
}

/// A file, or several, with the columns of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Its kind.
    pub kind: SourceKind,
    /// The files as the spec names them, relative to the spec's folder.
    pub paths: Vec<String>,
    /// The named arguments, in order.
    pub args: Vec<(String, Arg)>,
}

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SourceKind {
    /// Comma-separated values, perhaps gzipped. The first line names the columns, or, where there are named arguments,
    /// they do: in order, each with the number of values it takes from a line.
    Csv,
    /// The same with tabs; a quotation mark is a letter like any other unless `quote = true`.
    Tsv,
    /// A JSON object in each line, perhaps gzipped: its members are the columns, `a.b` those of a member.
    Jsonl,
    /// Lines of text, perhaps gzipped: the column `text`.
    Text,
    /// Tensors; each is a column with its rows along axis 0.
    Safetensors,
    /// Arrays of NumPy, likewise.
    Npz,
    /// A file of images and one of labels in MNIST's format, perhaps gzipped: columns `pixels` and `label`.
    Idx,
    /// CIFAR's binary files, or a folder of them: columns `pixels` and `label`.
    Cifar,
    /// A folder of pictures, in a folder for each class: columns `pixels` and `label`.
    Images,
    /// Ids one after the other, all of one type: the column `tokens`.
    Tokens,
}

/// The value of a source's named argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A truth.
    Bool(bool),
    /// A text, or the name of an element type.
    Text(String),
}

/// A part of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// What is trained on.
    Train,
    /// What the training is watched by.
    Valid,
    /// What is kept for a last test.
    Test,
}

/// How much of the samples a part gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// A fraction of all rows, from 0 to 1.
    Fraction(f64),
    /// So many rows.
    Rows(u64),
}

/// The size of a micro-batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batch {
    /// The whole training split.
    All,
    /// So many rows; the last batch of an epoch has what is left.
    Rows(u64),
}

/// A `weights` item: a file and what may differ between it and the model. Globs are those of [`crate::glob`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Its name.
    pub name: String,
    /// The file as the spec names it, relative to the spec's folder.
    pub file: String,
    /// Weights of the model that may be absent from the file.
    pub missing: Vec<String>,
    /// Tensors of the file that the model has no use for.
    pub ignore: Vec<String>,
    /// Names in the file and what they are called in the model; the last rule that matches a name counts.
    pub rename: Vec<(String, String)>,
    /// What real numbers are rounded to as they are read; none to leave them.
    pub dtype: Option<DType>,
}

/// A `lora` item, aimed at a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Its name.
    pub name: String,
    /// What becomes of the adapter after a training.
    pub finish: Finish,
    /// A file of an adapter to begin with, relative to the spec's folder.
    pub file: Option<String>,
    /// What files of adapters have before a module's name; empty where they have nothing.
    pub prefix: String,
    /// Whether its base is what an adapter's first values have left of another.
    pub residual: bool,
    /// What is adapted, in the order of the model's weights.
    pub adapted: Vec<Adapted>,
}

/// What becomes of an adapter after a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It goes into the weights that it adapts.
    Merge,
    /// It is kept by itself.
    Keep,
}

/// What an adapted weight is to what reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A matrix.
    Matrix,
    /// A table whose rows are looked up.
    Table,
    /// As a table; and a product reads it across.
    Tied,
    /// The kernel of a convolution, [out, in, ..], whose outputs are so many groups one after the other, each with inputs of
    /// its own.
    Kernel(u64),
    /// Something else that has rows and columns.
    Other,
}

/// A weight with an adapter.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapted {
    /// The weight.
    pub weight: String,
    /// The path that the adapter's own weights are below.
    pub label: String,
    /// What those are called below it.
    pub params: Vec<String>,
    /// The rank.
    pub rank: u64,
    /// The scale.
    pub scale: f64,
    /// The share of the operand's elements that training drops.
    pub dropout: f64,
    /// The block that is the adapter.
    pub block: String,
    /// Whether the weight's first axis is summed over: it is [in, out].
    pub inner_first: bool,
    /// What the weight is.
    pub form: Form,
    /// The bias that merging changes besides, where the adapter adds something whatever goes in.
    pub bias: Option<String>,
}

/// A model that runs with adapters of any rank: their weights are inputs of `forward`, beside the model's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Adaptable {
    /// What is adapted. Its ranks are 0 and its scales the item's: neither is in what was compiled.
    pub lora: Lora,
    /// The seed of first values.
    pub seed: u64,
    /// How weights come from a file, if the spec says so.
    pub weights: Option<Weights>,
    /// The inputs.
    pub inputs: Vec<AdapterInput>,
}

/// An input that is some weights of adapters.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterInput {
    /// Its name.
    pub name: String,
    /// The weights. Where they are those of a loop's layers they are a stack, the last of whose first axes goes fastest.
    pub weights: Vec<String>,
}

/// The longest side of a picture.
const LONGEST_SIDE: usize = 1 << 15;

impl Source {
    /// The height and width that its pictures are given, if it says one.
    pub fn picture_size(&self) -> Option<(usize, usize)> {
        let side = |wanted: &str| {
            let found = self.args.iter().rev().find(|(name, _)| name == wanted || name == "size")?;
            match found.1 {
                Arg::Int(n) => usize::try_from(n).ok().filter(|n| (1..=LONGEST_SIDE).contains(n)),
                Arg::Float(_) | Arg::Bool(_) | Arg::Text(_) => None,
            }
        };
        Some((side("height")?, side("width")?))
    }
}

impl SourceKind {
    /// Every kind with its name in the language.
    pub const ALL: [(SourceKind, &'static str); 10] = [
        (SourceKind::Csv, "csv"),
        (SourceKind::Tsv, "tsv"),
        (SourceKind::Jsonl, "jsonl"),
        (SourceKind::Text, "text"),
        (SourceKind::Safetensors, "safetensors"),
        (SourceKind::Npz, "npz"),
        (SourceKind::Idx, "idx"),
        (SourceKind::Cifar, "cifar"),
        (SourceKind::Images, "images"),
        (SourceKind::Tokens, "tokens"),
    ];

    /// The name in the language.
    pub fn name(self) -> &'static str {
        SourceKind::ALL[self as usize].1
    }

    /// The kind of that name.
    pub fn parse(name: &str) -> Option<SourceKind> {
        SourceKind::ALL.iter().find(|(_, n)| *n == name).map(|(kind, _)| *kind)
    }
}

impl Part {
    /// Every part with its name in the language.
    pub const ALL: [(Part, &'static str); 3] = [(Part::Train, "train"), (Part::Valid, "valid"), (Part::Test, "test")];

    /// The name in the language.
    pub fn name(self) -> &'static str {
        Part::ALL[self as usize].1
    }

    /// The part of that name.
    pub fn parse(name: &str) -> Option<Part> {
        Part::ALL.iter().find(|(_, n)| *n == name).map(|(part, _)| *part)
    }
}
