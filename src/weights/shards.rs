//! Weights in several files: an index in JSON says which tensor is in which file, as in `model.safetensors.index.json`. Takes
//! the text of the index, gives the files and what each has to hold.

use super::listing::Bad;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Component, Path};

/// An index.
#[derive(serde::Deserialize)]
struct Text {
    #[serde(default)]
    metadata: serde_json::Map<String, serde_json::Value>,
    weight_map: Pairs,
}

/// A JSON object with all its entries, also those of one name.
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Pairs, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the names of tensors, each with its file")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(All)
    }
}

/// Which file has to hold which tensors.
#[derive(Debug)]
pub struct Index {
    /// Files beside the index, each with its tensors.
    pub shards: BTreeMap<String, BTreeSet<String>>,
    /// What the index says about itself.
    pub about: BTreeMap<String, String>,
}

/// Whether bytes look like JSON.
pub fn is_json(file: &[u8]) -> bool {
    without_mark(file).trim_ascii_start().starts_with(b"{") && !file[..file.len().min(8)].contains(&0)
}

/// Text without the mark of UTF-8 that some editors begin it with.
fn without_mark(file: &[u8]) -> &[u8] {
    file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file)
}

/// Reads an index.
pub fn index(file: &[u8]) -> Result<Index, Bad> {
    let read: Text = serde_json::from_slice(without_mark(file)).map_err(|error| format!("it says: {error}"))?;
    let mut shards: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for (name, shard) in read.weight_map.0 {
        let mut parts = Path::new(&shard).components();
        if shard.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("`{name}` should be in `{shard}`, which is no file beside the index").into());
        }
        if !seen.insert(name.clone()) {
            return Err(format!("it says twice where `{name}` is").into());
        }
        shards.entry(shard).or_default().insert(name);
    }
    let word = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Ok(Index { shards, about: read.metadata.into_iter().map(|(key, value)| (key, word(value))).collect() })
}
