//! The keys of PEFT's `adapter_config.json`, and what is done about each. A key that is not known is refused where it is
//! active. `docs/lora.md` has this table; a test holds it to be the same.

use Policy::{Carried, Honoured, Ignored, Refused};

/// What is done about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is held against the spec, or says which tensors there are.
    Honoured,
    /// It is written again as it was read.
    Carried,
    /// It says nothing about the numbers of an adapter that is there.
    Ignored,
    /// It changes what is computed in a way that is not here.
    Refused,
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What is done about it.
    pub policy: Policy,
    /// How it is honoured, or why it is ignored or refused.
    pub words: &'static str,
}

const fn key(name: &'static str, policy: Policy, words: &'static str) -> Key {
    Key { name, policy, words }
}

const ABOUT: &str = "says where the adapter is from or what it is for";

/// Every key of PEFT 0.21, and what is done about it.
pub const KEYS: [Key; 41] = [
    key("alora_invocation_tokens", Refused, "the adapter would be at work from a certain token on"),
    key(
        "alpha_pattern",
        Honoured,
        "`scale` of single targets: regular expressions for the ends of names, the first that matches",
    ),
    key("arrow_config", Refused, "several adapters would be chosen from token by token"),
    key("auto_mapping", Carried, ABOUT),
    key("base_model_name_or_path", Carried, ABOUT),
    key("bias", Honoured, "which biases the file has besides: `unfreeze \"**.bias\"`"),
    key("corda_config", Ignored, "how first values were made; `init_lora_weights` says whether the base was changed"),
    key(
        "ensure_weight_tying",
        Honoured,
        "has to be true where the file has a weight whole that the spec ties to another",
    ),
    key("eva_config", Ignored, "how first values were made"),
    key("exclude_modules", Honoured, "names or their ends, or a regular expression for a whole name: `exclude`"),
    key("fan_in_fan_out", Honoured, "says how the base lies; here that is seen"),
    key("inference_mode", Carried, ABOUT),
    key(
        "init_lora_weights",
        Honoured,
        "what leaves the base as it is no longer matters; what changes it asks for `base = residual`",
    ),
    key("kasa_config", Refused, "a diagonal matrix would stand between A and B, and the base would be another"),
    key("layer_replication", Refused, "layers would be used more than once"),
    key("layers_pattern", Honoured, "what stands before a layer's number"),
    key("layers_to_transform", Honoured, "numbers of layers: `layers = [0, 5]`"),
    key("loftq_config", Ignored, "how first values were made; `init_lora_weights` says whether the base was changed"),
    key("lora_alpha", Honoured, "`scale = alpha / rank`"),
    key("lora_bias", Honoured, "`adapter = BiasedLoRA`"),
    key("lora_dropout", Honoured, "`dropout`; a spec may say another for what comes"),
    key("lora_ga_config", Ignored, "how first values were made; `init_lora_weights` says whether the base was changed"),
    key("megatron_config", Refused, "matrices would be parts of larger ones"),
    key("megatron_core", Ignored, "names a module of Python"),
    key("modules_to_save", Honoured, "which modules the file has whole: `unfreeze`"),
    key("monteclora_config", Refused, "what is added would be drawn at random"),
    key("peft_type", Honoured, "LORA, and nothing else"),
    key("peft_version", Carried, ABOUT),
    key("qalora_group_size", Ignored, "says something where `use_qalora` is active"),
    key("r", Honoured, "`rank`"),
    key(
        "rank_pattern",
        Honoured,
        "`rank` of single targets: regular expressions for the ends of names, the first that matches",
    ),
    key("revision", Carried, ABOUT),
    key(
        "target_modules",
        Honoured,
        "names or their ends, a regular expression for a whole name, or `all-linear`: `target`",
    ),
    key("target_parameters", Refused, "tensors inside of modules would be adapted under names that are not here"),
    key("task_type", Carried, ABOUT),
    key(
        "trainable_token_indices",
        Honoured,
        "rows of a table that go into the base when the adapter is read, and are trained no further",
    ),
    key("use_bdlora", Refused, "A or B would be block-diagonal"),
    key("use_dora", Honoured, "`adapter = DoRA`"),
    key("use_qalora", Refused, "what goes in would be pooled first"),
    key("use_rslora", Honoured, "`scale = alpha / rank ^ 0.5`"),
    key("velora_config", Refused, "the gradient would be another"),
];

/// What is done about a key; none where it is not known.
pub fn policy(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The line of an item that says what a key does, where its words are that line.
pub fn line(name: &str) -> &'static str {
    policy(name).map_or("", |key| key.words.trim_matches('`'))
}

/// First values that take their part out of the base: without what was left of it, an adapter's numbers mean nothing.
pub const CHANGES_BASE: [&str; 5] = ["pissa", "olora", "corda", "loftq", "lora_ga"];

/// First values that leave the base as it is.
pub const LEAVES_BASE: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];
