//! The keys of configuration items. Takes the entries of an item or section and the table of what may stand there; gives
//! them by name, after every key has been checked: unknown, written in the wrong form, given twice, missing.

use dlc_grammar::ast::{Config, Entry, EntryKind, Expr, Ident, Rule};
use dlc_grammar::{Diagnostic, Span, nearest};

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `key = value`.
    Value,
    /// `key { .. }`.
    Section,
    /// `key "glob", ..`, any number of times.
    Rule,
}

/// A key.
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// How it is written.
    pub form: Form,
    /// An example, for messages.
    pub example: &'static str,
}

const fn value(name: &'static str, example: &'static str) -> Key {
    Key { name, form: Form::Value, example }
}

const fn section(name: &'static str, example: &'static str) -> Key {
    Key { name, form: Form::Section, example }
}

const fn rule(name: &'static str, example: &'static str) -> Key {
    Key { name, form: Form::Rule, example }
}

/// The keys of a `train` item.
pub const TRAIN: [Key; 23] = [
    value("model", "model = Mlp()"),
    value("data", "data = digits"),
    value("weights", "weights = pretrained"),
    value("lora", "lora = Adapter()"),
    value("loss", "loss = cross_entropy(logits, label)"),
    value("optimizer", "optimizer = AdamW(lr = 1e-3)"),
    value("epochs", "epochs = 10"),
    value("max_steps", "max_steps = 1000"),
    value("accumulate", "accumulate = 4"),
    value("clip", "clip = 1.0"),
    value("clip_value", "clip_value = 0.5"),
    value("l1", "l1 = 1e-4"),
    value("l2", "l2 = 1e-4"),
    value("prox_l1", "prox_l1 = 1e-4"),
    value("precision", "precision = f32"),
    value("seed", "seed = 42"),
    value("interval", "interval = 50"),
    section("metrics", "metrics { accuracy = mean(f32(argmax[-1](logits) == label)) }"),
    section("stop", "stop { metric = accuracy  patience = 3 }"),
    rule("group", "group \"**.bias\" { weight_decay = 0 }"),
    rule("freeze", "freeze \"**\""),
    rule("unfreeze", "unfreeze \"classifier\""),
    rule("evaluate", "evaluate \"**.norm\""),
];

/// A key of a `train` item that a function of the prelude around the optimizer takes by that name.
pub struct Step {
    /// The key.
    pub key: &'static str,
    /// The function.
    pub function: &'static str,
    /// Whether it means something for one weight, so that groups may override it.
    pub each: bool,
}

/// Those keys; the functions say what they mean and in which order they apply.
pub const STEP: [Step; 5] = [
    Step { key: "clip_value", function: BEFORE, each: false },
    Step { key: "clip", function: BEFORE, each: false },
    Step { key: "l2", function: BEFORE, each: true },
    Step { key: "l1", function: BEFORE, each: true },
    Step { key: "prox_l1", function: AFTER, each: true },
];

/// The function that gives the gradient of a loss from what its micro-batches gave.
pub const GATHERED: &str = "gathered";

/// The function that gives the gradient as the optimizer gets it.
pub const BEFORE: &str = "prepared";

/// The function that gives the factor that `prepared` takes, from all gradients.
pub const SHRINKAGE: &str = "shrinkage";

/// The key that bounds the norm of all gradients.
pub const BOUNDS_NORM: &str = "clip";

/// The key that bounds each element, before that.
pub const BOUNDS_EACH: &str = "clip_value";

/// The function that gives the weights as they are kept.
pub const AFTER: &str = "settled";

/// The constant that is the adapter of a `lora` item that names none.
pub const ADAPTER: &str = "default_adapter";

/// The keys of a `data` item.
pub const DATA: [Key; 10] = [
    value("source", "source = csv(\"data.csv\")"),
    value("valid", "valid = csv(\"valid.csv\")"),
    value("test", "test = csv(\"test.csv\")"),
    section("split", "split { train = 0.9  valid = 0.1 }"),
    value("where", "where = abs(score) >= 1"),
    section("columns", "columns { label = i64(label) }"),
    section("augment", "augment { image = image -> random_flip(0.5) }"),
    value("batch", "batch = 32"),
    value("shuffle", "shuffle = true"),
    value("drop_last", "drop_last = true"),
];

/// The keys of a `weights` item.
pub const WEIGHTS: [Key; 5] = [
    value("file", "file = \"model.safetensors\""),
    value("dtype", "dtype = bf16"),
    rule("missing", "missing \"classifier\""),
    rule("ignore", "ignore \"vocab_*\""),
    rule("rename", "rename \"**.gamma\" => \"**.weight\""),
];

/// The keys of a `lora` item.
pub const LORA: [Key; 14] = [
    value("rank", "rank = 8"),
    value("scale", "scale = 2"),
    value("dropout", "dropout = 0.05"),
    value("adapter", "adapter = LoRA"),
    value("layers", "layers = [0, 1]"),
    value("finish", "finish = merge"),
    value("file", "file = \"adapter\""),
    value("prefix", "prefix = \"transformer\""),
    value("base", "base = residual"),
    section("init", "init { A = normal(rank ^ -0.5)  B = zeros }"),
    rule("target", "target \"**.q_lin\""),
    rule("exclude", "exclude \"**.0.**\""),
    rule("freeze", "freeze \"**\""),
    rule("unfreeze", "unfreeze \"classifier\""),
];

/// The keys that a `target` overrides.
pub const TARGET: [Key; 5] = [
    value("rank", "rank = 8"),
    value("scale", "scale = 2"),
    value("dropout", "dropout = 0.05"),
    value("adapter", "adapter = LoRA"),
    value("layers", "layers = [0, 1]"),
];

/// Keys that people may expect because of what others call them, why there are none, and what to write.
const NOT_OURS: [(&str, &str, &str); 1] =
    [("alpha", "conventions differ", "`scale = alpha` (the notes) or `scale = alpha / rank` (PEFT)")];

/// The keys of a `stop` section.
pub const STOP: [Key; 3] =
    [value("metric", "metric = accuracy"), value("patience", "patience = 3"), value("falling", "falling = true")];

/// The keys of a `split` section.
pub const SPLIT: [Key; 3] = [value("train", "train = 0.8"), value("valid", "valid = 0.1"), value("test", "test = 0.1")];

/// What has entries: an item or a section of it.
#[derive(Clone, Copy)]
pub struct Owner<'a> {
    /// What it is to the user: `train fit`, `split`.
    pub name: &'a str,
    /// Where its name stands.
    pub span: Span,
    /// Its keys.
    pub keys: &'static [Key],
}

/// Entries that have been checked, by name.
#[derive(Default)]
pub struct Entries<'a> {
    values: Vec<(&'a Ident, &'a Expr)>,
    sections: Vec<(&'a Ident, &'a [Entry])>,
    /// The rules, in order, with their places.
    pub rules: Vec<(&'a Rule, Span)>,
}

impl<'a> Entries<'a> {
    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&'a Expr> {
        self.values.iter().find(|(name, _)| name.text == key).map(|(_, value)| *value)
    }

    /// Where the key of a value stands, and the value.
    pub fn entry(&self, key: &str) -> Option<(&'a Ident, &'a Expr)> {
        self.values.iter().find(|(name, _)| name.text == key).copied()
    }

    /// The entries of a section.
    pub fn section(&self, key: &str) -> Option<(&'a Ident, &'a [Entry])> {
        self.sections.iter().find(|(name, _)| name.text == key).copied()
    }
}

/// What an item is to the user.
pub fn title(item: &Config) -> String {
    format!("{} {}", item.kind.text, item.name.text)
}

/// Checks entries against their owner's keys.
pub fn check<'a>(owner: Owner, entries: &'a [Entry], errors: &mut Vec<Diagnostic>) -> Entries<'a> {
    let mut found = Entries::default();
    let mut seen: Vec<&Ident> = Vec::new();
    for entry in entries {
        let (names, form): (Vec<&Ident>, Form) = match &entry.kind {
            EntryKind::Attr { names, .. } => (names.iter().collect(), Form::Value),
            EntryKind::Section { name, .. } => (vec![name], Form::Section),
            EntryKind::Rule(rule) => (vec![&rule.verb], Form::Rule),
        };
        let fine = names.iter().all(|name| is_known(owner, name, form, names.len(), errors));
        if !fine {
            continue;
        }
        let name = names[0];
        if form != Form::Rule {
            if let Some(first) = seen.iter().find(|n| n.text == name.text) {
                let message = format!("`{}` is given twice", name.text);
                errors.push(Diagnostic::error("E0506", name.span, message).label(first.span, "first here"));
                continue;
            }
            seen.push(name);
        }
        match &entry.kind {
            EntryKind::Attr { value, .. } => found.values.push((name, value)),
            EntryKind::Section { entries, .. } => found.sections.push((name, entries)),
            EntryKind::Rule(rule) => found.rules.push((rule, entry.span)),
        }
    }
    found
}

fn is_known(owner: Owner, name: &Ident, form: Form, names: usize, errors: &mut Vec<Diagnostic>) -> bool {
    let Some(key) = owner.keys.iter().find(|k| k.name == name.text) else {
        errors.push(unknown(owner, name));
        return false;
    };
    if key.form != form || names > 1 {
        let what = match key.form {
            Form::Value => "is a value",
            Form::Section => "is a section",
            Form::Rule => "takes globs",
        };
        let message = format!("`{}` {what}", key.name);
        errors.push(Diagnostic::error("E0505", name.span, message).help(format!("`{}`", key.example)));
        return false;
    }
    true
}

/// A key that the owner does not have.
fn unknown(owner: Owner, name: &Ident) -> Diagnostic {
    let message = format!("`{}` has no key `{}`", owner.name, name.text);
    let scales = owner.keys.iter().any(|key| key.name == "scale");
    if let Some((_, why, help)) = NOT_OURS.iter().find(|(key, ..)| scales && *key == name.text) {
        return Diagnostic::error("E0502", name.span, format!("{message}: {why}")).help(*help);
    }
    let d = Diagnostic::error("E0502", name.span, message);
    let near = nearest(&name.text, owner.keys.iter().map(|k| k.name));
    if near.is_some() {
        return d.did_you_mean(near);
    }
    let names: Vec<&str> = owner.keys.iter().map(|k| k.name).collect();
    d.help(format!("its keys are {}", names.join(", ")))
}

/// A key that must be there and is not.
pub fn missing(owner: Owner, key: &str) -> Diagnostic {
    let d = Diagnostic::error("E0504", owner.span, format!("`{}` has no `{key}`", owner.name));
    match owner.keys.iter().find(|k| k.name == key) {
        Some(key) => d.help(format!("`{}`", key.example)),
        None => d,
    }
}
