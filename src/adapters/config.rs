//! PEFT's `adapter_config.json`, key by key: what is honoured, what is ignored because it says nothing about the numbers,
//! and what is refused because ignoring it would give others. A key that is not known is refused where it is active.

use super::keys::{CHANGES_BASE, KEYS, LEAVES_BASE, Policy, policy};
use super::patterns::{Pattern, Patterns};
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
    ordered: Ordered,
    modules: Modules,
}

/// The patterns for names of modules.
#[derive(Clone, Debug)]
struct Modules {
    targets: Option<Pattern>,
    excluded: Option<Pattern>,
    saved: Vec<Pattern>,
    layers: Vec<Pattern>,
}

/// The keys whose members' order counts.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Ordered {
    rank_pattern: Patterns,
    alpha_pattern: Patterns,
}

/// A layer with an adapter, as a configuration describes it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The module.
    pub module: String,
    /// The rank.
    pub rank: u64,
    /// How many groups the convolution has that it is; PEFT counts a rank for each.
    pub groups: u64,
    /// The scale.
    pub scale: f64,
    /// The share of elements that training drops.
    pub dropout: f64,
    /// Whether it has a magnitude of its own.
    pub magnitude: bool,
    /// Whether what it adds has a bias of its own.
    pub bias: bool,
    /// Whether its weight is [in, out].
    pub inner_first: bool,
    /// Whether its weight is the matrix of a product, not a table nor the kernel of a convolution.
    pub linear: bool,
}

impl Layer {
    /// Its rank as PEFT counts.
    fn their_rank(&self) -> u64 {
        self.rank * self.groups
    }
}

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
    /// When it is no object of JSON, or has a pattern that cannot be followed.
    pub fn parse(text: &str, shown: &str) -> Result<Config> {
        let bad = |error: serde_json::Error| Error::file(code::BAD_FILE, format!("{shown}: {error}"));
        match serde_json::from_str(text).map_err(bad)? {
            Value::Object(keys) => {
                let ordered = serde_json::from_str(text).map_err(bad)?;
                Ok(Config { shown: shown.to_owned(), modules: Modules::of(&keys)?, keys, ordered })
            }
            _ => Err(Error::file(code::BAD_FILE, format!("{shown} is no object of JSON"))),
        }
    }

    /// A configuration for layers; `beside` are the weights that were trained besides, some of which may be `tied` to others.
    ///
    /// # Errors
    /// When a module's name cannot be the pattern that it has to be there.
    pub fn of(layers: &[Layer], beside: &[&str], tied: bool, carried: Option<&Config>) -> Result<Config> {
        let mut keys = Map::new();
        for key in KEYS.iter().filter(|key| key.policy == Policy::Carried) {
            if let Some(value) = carried.and_then(|config| config.keys.get(key.name)) {
                keys.insert(key.name.into(), value.clone());
            }
        }
        let (rank, scale) = (common(layers, Layer::their_rank), common(layers, |l| l.scale.to_bits()));
        let scale = f64::from_bits(scale);
        keys.insert("peft_type".into(), "LORA".into());
        keys.insert("peft_version".into(), VERSION.into());
        keys.insert("inference_mode".into(), true.into());
        keys.insert("r".into(), rank.into());
        keys.insert("lora_alpha".into(), number(scale * rank as f64));
        keys.insert("lora_dropout".into(), number(layers.first().map_or(0.0, |l| l.dropout)));
        keys.insert("target_modules".into(), layers.iter().map(|l| l.module.as_str()).collect());
        if tied {
            keys.insert("ensure_weight_tying".into(), true.into());
        }
        if layers.iter().any(|l| l.bias) {
            keys.insert("lora_bias".into(), true.into());
        }
        keys.insert("use_dora".into(), layers.iter().any(|l| l.magnitude).into());
        keys.insert("fan_in_fan_out".into(), (!layers.is_empty() && layers.iter().all(|l| l.inner_first)).into());
        let others = layers.iter().filter(|l| l.their_rank() != rank);
        let ranks: Map<String, Value> = others.map(|l| (pattern(&l.module), l.their_rank().into())).collect();
        keys.insert("rank_pattern".into(), ranks.into());
        let alpha = |l: &Layer| l.scale * l.their_rank() as f64;
        let others = layers.iter().filter(|l| alpha(l) != scale * rank as f64);
        let alphas: Map<String, Value> = others.map(|l| (pattern(&l.module), number(alpha(l)))).collect();
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
        Config::parse(&Value::Object(keys).to_string(), "an adapter's configuration")
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let sorted: BTreeMap<&String, &Value> = self.keys.iter().collect();
        serde_json::to_string_pretty(&sorted).unwrap_or_default() + "\n"
    }

    /// Holds it against the layers of a spec; `residual` says whether the spec's base is what first values have left of
    /// another. Gives what there is to say.
    ///
    /// # Errors
    /// Everything in which it differs, or asks for what is not here.
    pub fn check(&self, layers: &[Layer], residual: bool) -> Result<Vec<String>> {
        let mut trouble: Vec<String> = Vec::new();
        let mut notes: Vec<String> = Vec::new();
        for (name, value) in self.keys.iter().filter(|(_, value)| is_active(value)) {
            match policy(name) {
                Some(key) if key.policy == Policy::Refused => {
                    trouble.push(format!("`{name}` is not here: {}", key.words));
                }
                Some(_) => {}
                None => trouble.push(format!("`{name}` is not known, and it is active: {value}")),
            }
        }
        self.check_kind(&mut trouble);
        self.check_first_values(residual, &mut trouble, &mut notes);
        for layer in layers {
            self.check_layer(layer, &mut trouble)?;
        }
        let dropout = self.dropout();
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

    fn check_kind(&self, trouble: &mut Vec<String>) {
        match self.keys.get("peft_type").and_then(Value::as_str) {
            Some("LORA") => {}
            Some(other) => trouble.push(format!("`peft_type` is {other}, and adapters here are LORA")),
            None => trouble.push("it has no `peft_type`".into()),
        }
    }

    /// First values no longer matter, unless they have taken their part out of the base.
    fn check_first_values(&self, residual: bool, trouble: &mut Vec<String>, notes: &mut Vec<String>) {
        let named = match self.keys.get("init_lora_weights") {
            None | Some(Value::Null | Value::Bool(_)) => None,
            Some(Value::String(name)) => Some(name.as_str()),
            Some(other) => return trouble.push(format!("`init_lora_weights` is {other}, which is not known")),
        };
        let changes = named.filter(|_| self.is_residual());
        match (named, changes, residual) {
            (_, Some(name), true) => notes.push(format!("its base is what `{name}` has left of another")),
            (_, Some(name), false) => trouble.push(format!(
                "`init_lora_weights` is {name}, which takes its part out of the base: with the base that was saved after that, \
                 `base = residual`; or save it as PEFT's `path_initial_model_for_weight_conversion` does, as plain LoRA"
            )),
            (_, None, true) => trouble.push("it is for the base as it was: leave `base = residual` out".into()),
            (None, None, false) => {}
            (Some(name), None, false) if LEAVES_BASE.contains(&name) => {
                notes.push(format!("its first values were `{name}`, which no longer matters"));
            }
            (Some(name), None, false) => trouble.push(format!("`init_lora_weights` is {name}, which is not known")),
        }
    }

    fn check_layer(&self, layer: &Layer, trouble: &mut Vec<String>) -> Result<()> {
        let module = layer.module.as_str();
        let rank = self.rank_of(module)?;
        if rank != layer.their_rank() as f64 {
            let each = rank / layer.groups as f64;
            trouble.push(format!("`{module}` has rank {each} there and {} here: `rank = {each}`", layer.rank));
            return Ok(());
        }
        let scale = self.scale_of(module, rank)?;
        if (scale - layer.scale).abs() > 1e-6 * scale.abs() {
            trouble.push(format!("`{module}` has scale {scale} there and {} here: `scale = {scale}`", layer.scale));
        }
        for (key, there, here) in
            [("use_dora", self.has_magnitudes(), layer.magnitude), ("lora_bias", self.has_biases(), layer.bias)]
        {
            if there != here {
                trouble.push(format!("`{key}` is {there} there, and `{module}` is otherwise here"));
            }
        }
        if !self.targets(module, layer.linear)? {
            trouble.push(format!("`{module}` is no target there"));
        }
        Ok(())
    }

    /// The rank of a module's adapter.
    ///
    /// # Errors
    /// When a pattern is too much work to follow.
    pub fn rank_of(&self, module: &str) -> Result<f64> {
        let own = self.ordered.rank_pattern.of(module)?;
        Ok(own.or_else(|| self.number("r")).unwrap_or(8.0))
    }

    /// The scale of a module's adapter of a rank.
    ///
    /// # Errors
    /// When a pattern is too much work to follow.
    pub fn scale_of(&self, module: &str, rank: f64) -> Result<f64> {
        Ok(self.alpha_of(module)? / if self.is_stable() { rank.sqrt() } else { rank })
    }

    /// What the scale of a module's adapter is a quotient of.
    ///
    /// # Errors
    /// When a pattern is too much work to follow.
    pub fn alpha_of(&self, module: &str) -> Result<f64> {
        let own = self.ordered.alpha_pattern.of(module)?;
        Ok(own.or_else(|| self.number("lora_alpha")).unwrap_or(8.0))
    }

    /// Whether scales are quotients by the root of the rank.
    pub fn is_stable(&self) -> bool {
        self.flag("use_rslora")
    }

    /// Whether adapters have a magnitude of their own.
    pub fn has_magnitudes(&self) -> bool {
        self.flag("use_dora")
    }

    /// Whether what adapters add has a bias of its own.
    pub fn has_biases(&self) -> bool {
        self.flag("lora_bias")
    }

    /// The share of elements that training dropped.
    pub fn dropout(&self) -> f64 {
        self.number("lora_dropout").unwrap_or(0.0)
    }

    /// Whether its first values have taken their part out of the base.
    pub fn is_residual(&self) -> bool {
        let first = self.keys.get("init_lora_weights").and_then(Value::as_str);
        first.is_some_and(|name| CHANGES_BASE.iter().any(|known| name.starts_with(known)))
    }

    /// Whether a module is one of its targets; `linear` says whether it is the matrix of a product.
    pub(super) fn targets(&self, module: &str, linear: bool) -> Result<bool> {
        let excluded = match self.keys.get("exclude_modules") {
            Some(Value::Array(names)) => names_end(names, module),
            Some(_) | None => matches(self.modules.excluded.as_slice(), module)?,
        };
        let saved = matches(&self.modules.saved, module)?;
        let listed = match self.keys.get("target_modules") {
            Some(Value::String(all)) if all.eq_ignore_ascii_case("all-linear") => linear,
            Some(Value::String(_)) => matches(self.modules.targets.as_slice(), module)?,
            // Only a name that is given as a whole counts in every layer.
            Some(Value::Array(names)) if names.iter().any(|name| name == module) => true,
            Some(Value::Array(names)) => names_end(names, module) && self.in_layers(module)?,
            // Without any, the tensors of the file say what is adapted.
            Some(_) | None => true,
        };
        Ok(listed && !excluded && !saved)
    }

    /// Whether a module is in one of the layers that are adapted.
    fn in_layers(&self, module: &str) -> Result<bool> {
        let layers: Vec<u64> = match self.keys.get("layers_to_transform") {
            Some(Value::Array(layers)) if !layers.is_empty() => layers.iter().filter_map(Value::as_u64).collect(),
            Some(Value::Number(layer)) => layer.as_u64().into_iter().collect(),
            Some(_) | None => return Ok(true),
        };
        for pattern in &self.modules.layers {
            if let Some(layer) = pattern.number(module)? {
                return Ok(layers.contains(&layer));
            }
        }
        Ok(false)
    }

    /// Whether what is tied in the base was trained as one.
    pub fn ties(&self) -> bool {
        self.flag("ensure_weight_tying")
    }

    /// The rows of the table in a module that are the adapter's, in the order of its tensor.
    pub fn rows_of(&self, module: &str) -> Option<Vec<u64>> {
        let rows = match self.keys.get("trainable_token_indices")? {
            Value::Object(modules) => modules.iter().find(|(name, _)| ends(module, name))?.1.as_array()?,
            Value::Array(rows) => rows,
            _ => return None,
        };
        rows.iter().map(Value::as_u64).collect()
    }

    fn number(&self, key: &str) -> Option<f64> {
        self.keys.get(key).and_then(Value::as_f64)
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.keys.get(key).and_then(Value::as_bool).unwrap_or(false)
    }
}

impl Modules {
    fn of(keys: &Map<String, Value>) -> Result<Modules> {
        let one = |key: &str| keys.get(key).and_then(Value::as_str).map(Pattern::whole).transpose();
        let all = |key: &str| match keys.get(key) {
            Some(Value::String(text)) if !text.is_empty() => vec![text.as_str()],
            Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
            Some(_) | None => Vec::new(),
        };
        let layers = all("layers_pattern");
        Ok(Modules {
            targets: one("target_modules")?,
            excluded: one("exclude_modules")?,
            saved: all("modules_to_save").into_iter().map(Pattern::inside).collect::<Result<_>>()?,
            layers: match layers.is_empty() {
                true => vec![Pattern::layer(None)?],
                false => layers.into_iter().map(|text| Pattern::layer(Some(text))).collect::<Result<_>>()?,
            },
        })
    }
}

/// Whether any of some patterns matches a name.
fn matches(patterns: &[Pattern], name: &str) -> Result<bool> {
    for pattern in patterns {
        if pattern.matches(name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a name is a module's or what it ends with, from a dot on.
fn ends(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn names_end(names: &[Value], module: &str) -> bool {
    names.iter().filter_map(Value::as_str).any(|name| ends(module, name))
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
