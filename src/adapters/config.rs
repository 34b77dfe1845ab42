//! PEFT's `adapter_config.json`, key by key: what is honoured, what is ignored because it says nothing about the numbers,
//! and what is refused because ignoring it would give others. A key that is not known is refused where it is active.

use crate::error::{Error, Result, code};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// The version of PEFT whose files are written.
const VERSION: &str = "0.21.2";

/// An adapter's configuration.
#[derive(Clone, Debug)]
pub struct Config {
    shown: String,
    keys: Map<String, Value>,
}

/// A layer with an adapter, as a configuration describes it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The module.
    pub module: String,
    /// The rank.
    pub rank: u64,
    /// The scale.
    pub scale: f64,
    /// The share of elements that training drops.
    pub dropout: f64,
    /// Whether it has a magnitude of its own.
    pub magnitude: bool,
    /// Whether its weight is [in, out].
    pub inner_first: bool,
}

/// What is done about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// It is held against the spec, or says which tensors there are.
    Honoured,
    /// It is written again as it was read.
    Carried,
    /// It says nothing about the numbers of an adapter that is there.
    Ignored,
    /// It changes what is computed in a way that is not here: where it is active, this is why.
    Refused(&'static str),
}

use Policy::{Carried, Honoured, Ignored, Refused};

/// Every key of PEFT 0.21, and what is done about it.
pub const KEYS: [(&str, Policy); 41] = [
    ("alora_invocation_tokens", Refused("the adapter would be at work from a certain token on")),
    ("alpha_pattern", Honoured),
    ("arrow_config", Refused("several adapters would be chosen from token by token")),
    ("auto_mapping", Carried),
    ("base_model_name_or_path", Carried),
    ("bias", Honoured),
    ("corda_config", Ignored),
    ("ensure_weight_tying", Refused("weights that are one here are one anyway; those that are two stay two")),
    ("eva_config", Ignored),
    ("exclude_modules", Honoured),
    ("fan_in_fan_out", Honoured),
    ("inference_mode", Carried),
    ("init_lora_weights", Honoured),
    ("kasa_config", Refused("the base would be changed")),
    ("layer_replication", Refused("layers would be used more than once")),
    ("layers_pattern", Honoured),
    ("layers_to_transform", Honoured),
    ("loftq_config", Ignored),
    ("lora_alpha", Honoured),
    ("lora_bias", Refused("a bias of B's own cannot be merged into a weight")),
    ("lora_dropout", Honoured),
    ("lora_ga_config", Ignored),
    ("megatron_config", Ignored),
    ("megatron_core", Ignored),
    ("modules_to_save", Honoured),
    ("monteclora_config", Refused("what is added would be drawn at random")),
    ("peft_type", Honoured),
    ("peft_version", Carried),
    ("qalora_group_size", Ignored),
    ("r", Honoured),
    ("rank_pattern", Honoured),
    ("revision", Carried),
    ("target_modules", Honoured),
    ("target_parameters", Refused("tensors inside of modules would be adapted under names that are not here")),
    ("task_type", Carried),
    ("trainable_token_indices", Refused("single rows of a table would be replaced")),
    ("use_bdlora", Refused("A or B would be block-diagonal")),
    ("use_dora", Honoured),
    ("use_qalora", Refused("what goes in would be pooled first")),
    ("use_rslora", Honoured),
    ("velora_config", Refused("the gradient would be another")),
];

/// First values that change the base: without that other base, an adapter's numbers mean nothing.
const CHANGES_BASE: [&str; 6] = ["pissa", "olora", "corda", "loftq", "lora_ga", "kasa"];

/// First values that leave the base as it is.
const LEAVES_BASE: [&str; 4] = ["gaussian", "eva", "orthogonal", "mica"];

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is no object of JSON.
    pub fn read(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::reading(path, &error))?;
        Config::parse(&text, &path.display().to_string())
    }

    /// Reads a text; `shown` is what messages call it.
    ///
    /// # Errors
    /// When it is no object of JSON.
    pub fn parse(text: &str, shown: &str) -> Result<Config> {
        match serde_json::from_str(text) {
            Ok(Value::Object(keys)) => Ok(Config { shown: shown.to_owned(), keys }),
            Ok(_) => Err(Error::file(code::BAD_FILE, format!("{shown} is no object of JSON"))),
            Err(error) => Err(Error::file(code::BAD_FILE, format!("{shown}: {error}"))),
        }
    }

    /// A configuration for layers; `beside` are the weights that were trained besides.
    pub fn of(layers: &[Layer], beside: &[&str], carried: Option<&Config>) -> Config {
        let mut keys = Map::new();
        for (key, policy) in KEYS {
            let value = carried.and_then(|config| config.keys.get(key)).filter(|_| policy == Carried);
            if let Some(value) = value {
                keys.insert(key.into(), value.clone());
            }
        }
        let (rank, scale) = (common(layers, |l| l.rank), common(layers, |l| l.scale.to_bits()));
        let scale = f64::from_bits(scale);
        keys.insert("peft_type".into(), "LORA".into());
        keys.insert("peft_version".into(), VERSION.into());
        keys.insert("inference_mode".into(), true.into());
        keys.insert("r".into(), rank.into());
        keys.insert("lora_alpha".into(), number(scale * rank as f64));
        keys.insert("lora_dropout".into(), number(layers.first().map_or(0.0, |l| l.dropout)));
        keys.insert("target_modules".into(), layers.iter().map(|l| l.module.as_str()).collect());
        keys.insert("use_dora".into(), layers.iter().any(|l| l.magnitude).into());
        keys.insert("fan_in_fan_out".into(), (!layers.is_empty() && layers.iter().all(|l| l.inner_first)).into());
        let others: Vec<&Layer> = layers.iter().filter(|l| l.rank != rank).collect();
        let ranks: Map<String, Value> = others.iter().map(|l| (pattern(&l.module), l.rank.into())).collect();
        keys.insert("rank_pattern".into(), ranks.into());
        let alpha = |l: &&Layer| l.scale * l.rank as f64 != scale * rank as f64;
        let others = layers.iter().filter(alpha);
        let alphas: Map<String, Value> =
            others.map(|l| (pattern(&l.module), number(l.scale * l.rank as f64))).collect();
        keys.insert("alpha_pattern".into(), alphas.into());
        let biases = beside.iter().filter(|name| name.contains(".base_layer.")).count();
        keys.insert("bias".into(), if biases > 0 { "lora_only" } else { "none" }.into());
        let mut modules: Vec<&str> = beside
            .iter()
            .filter(|name| !name.contains(".base_layer."))
            .map(|name| name.rsplit_once('.').map_or(*name, |(module, _)| module))
            .collect();
        modules.dedup();
        keys.insert("modules_to_save".into(), if modules.is_empty() { Value::Null } else { json!(modules) });
        Config { shown: String::new(), keys }
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let sorted: BTreeMap<&String, &Value> = self.keys.iter().collect();
        serde_json::to_string_pretty(&sorted).unwrap_or_default() + "\n"
    }

    /// Holds it against the layers of a spec. Gives what there is to say.
    ///
    /// # Errors
    /// Everything in which it differs, or asks for what is not here.
    pub fn check(&self, layers: &[Layer]) -> Result<Vec<String>> {
        let mut trouble: Vec<String> = Vec::new();
        let mut notes: Vec<String> = Vec::new();
        for (key, value) in self.keys.iter().filter(|(_, value)| is_active(value)) {
            match KEYS.iter().find(|(known, _)| known == key) {
                Some((_, Refused(why))) => trouble.push(format!("`{key}` is not here: {why}")),
                Some((_, Honoured | Carried | Ignored)) => {}
                None => trouble.push(format!("`{key}` is not known, and it is active: {value}")),
            }
        }
        self.check_kind(&mut trouble, &mut notes);
        for layer in layers {
            self.check_layer(layer, &mut trouble);
        }
        let dropout = self.number("lora_dropout").unwrap_or(0.0);
        if layers.iter().any(|l| l.dropout != dropout) {
            notes.push(format!("it was trained with a dropout of {dropout}; from here on the spec's counts"));
        }
        if trouble.is_empty() {
            return Ok(notes);
        }
        trouble.dedup();
        let message = format!("{} asks for what this spec does not do", self.shown);
        let shown: Vec<String> = trouble.iter().take(8).map(|line| format!("  {line}")).collect();
        Err(Error::file(code::ADAPTER, message).note(shown.join("\n")))
    }

    fn check_kind(&self, trouble: &mut Vec<String>, notes: &mut Vec<String>) {
        match self.keys.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            Some(other) => trouble.push(format!("`peft_type` is {other}, and adapters here are LORA")),
            None => trouble.push("it has no `peft_type`".into()),
        }
        match self.keys.get("init_lora_weights") {
            None | Some(Value::Null | Value::Bool(_)) => {}
            Some(Value::String(name)) if LEAVES_BASE.contains(&name.as_str()) => {
                notes.push(format!("its first values were `{name}`, which no longer matters"));
            }
            Some(Value::String(name)) if CHANGES_BASE.iter().any(|known| name.starts_with(known)) => {
                trouble.push(format!(
                    "`init_lora_weights` is {name}, which changes the base: save it as PEFT's \
                     `path_initial_model_for_weight_conversion` does, as plain LoRA"
                ));
            }
            Some(other) => trouble.push(format!("`init_lora_weights` is {other}, which is not known")),
        }
    }

    fn check_layer(&self, layer: &Layer, trouble: &mut Vec<String>) {
        let module = layer.module.as_str();
        let rank = self.pattern("rank_pattern", module).or_else(|| self.number("r")).unwrap_or(8.0);
        if rank != layer.rank as f64 {
            trouble.push(format!("`{module}` has rank {rank} there and {} here: `rank = {rank}`", layer.rank));
            return;
        }
        let scale = self.scale_of(module, rank);
        if (scale - layer.scale).abs() > 1e-6 * scale.abs() {
            trouble.push(format!("`{module}` has scale {scale} there and {} here: `scale = {scale}`", layer.scale));
        }
        if self.flag("use_dora") != layer.magnitude {
            trouble.push(format!("`use_dora` is {} there, and `{module}` is otherwise here", self.flag("use_dora")));
        }
        if !self.targets(module) {
            trouble.push(format!("`{module}` is no target there"));
        }
    }

    /// The scale of a module's adapter.
    pub fn scale_of(&self, module: &str, rank: f64) -> f64 {
        let alpha = self.pattern("alpha_pattern", module).or_else(|| self.number("lora_alpha")).unwrap_or(8.0);
        alpha / if self.flag("use_rslora") { rank.sqrt() } else { rank }
    }

    /// Everything in which it asks for what is not here, whatever the layers.
    ///
    /// # Errors
    /// When there is anything.
    pub fn check_alone(&self) -> Result<()> {
        self.check(&[]).map(drop)
    }

    /// Whether a module is one of its targets, where these are a list of names.
    fn targets(&self, module: &str) -> bool {
        let covers = |names: &Vec<Value>| {
            let names = names.iter().filter_map(Value::as_str);
            names.into_iter().any(|name| module == name || module.ends_with(&format!(".{name}")))
        };
        let listed = match self.keys.get("target_modules") {
            Some(Value::Array(names)) => covers(names),
            // What a pattern covers, the tensors of the file say.
            Some(_) | None => true,
        };
        let excluded = matches!(self.keys.get("exclude_modules"), Some(Value::Array(names)) if covers(names));
        let layer = module.split('.').find_map(|segment| segment.parse::<u64>().ok());
        let chosen = match (self.keys.get("layers_to_transform"), layer) {
            (Some(Value::Array(layers)), Some(layer)) => layers.iter().any(|n| n.as_u64() == Some(layer)),
            (Some(Value::Number(n)), Some(layer)) => n.as_u64() == Some(layer),
            _ => true,
        };
        listed && !excluded && chosen
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.keys.get(key).and_then(Value::as_f64)
    }

    fn flag(&self, key: &str) -> bool {
        self.keys.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The value of the first pattern that the end of a module's name matches.
    fn pattern(&self, key: &str, module: &str) -> Option<f64> {
        let Some(Value::Object(patterns)) = self.keys.get(key) else { return None };
        patterns.iter().find(|(pattern, _)| ends_like(module, pattern)).and_then(|(_, value)| value.as_f64())
    }
}

/// Whether a pattern matches a module's name or an end of it that begins after a dot. Patterns are names here, with their
/// dots escaped or not, perhaps between `^` and `$`; `\d+` and `.*` stand for a number and anything.
fn ends_like(module: &str, pattern: &str) -> bool {
    let anchored = pattern.starts_with('^');
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$').replace("\\.", ".");
    let starts = std::iter::once(0).chain(module.match_indices('.').map(|(at, _)| at + 1));
    starts.into_iter().take(if anchored { 1 } else { usize::MAX }).any(|at| matches(&module[at..], &pattern))
}

fn matches(text: &str, pattern: &str) -> bool {
    if let Some(rest) = pattern.strip_prefix("\\d+") {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        return digits > 0 && matches(&text[digits..], rest);
    }
    if let Some(rest) = pattern.strip_prefix(".*") {
        return (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| matches(&text[at..], rest));
    }
    match (text.chars().next(), pattern.chars().next()) {
        (None, None) => true,
        (Some(a), Some(b)) if a == b => matches(&text[a.len_utf8()..], &pattern[b.len_utf8()..]),
        _ => false,
    }
}

/// A pattern that matches one module.
fn pattern(module: &str) -> String {
    format!("^{}", module.replace('.', "\\."))
}

/// The value that most layers have; the first of several.
fn common<T: PartialEq + Copy + Default>(layers: &[Layer], of: impl Fn(&Layer) -> T) -> T {
    let count = |value: T| layers.iter().filter(|l| of(l) == value).count();
    let mut best = layers.first().map(&of).unwrap_or_default();
    for layer in layers {
        if count(of(layer)) > count(best) {
            best = of(layer);
        }
    }
    best
}

/// A number, whole if it is.
fn number(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { json!(x as i64) } else { json!(x) }
}

/// Whether a key says anything: null, false, nothing and the empty do not.
fn is_active(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        Value::Bool(true) | Value::Number(_) => true,
    }
}
