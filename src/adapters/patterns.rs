//! What the patterns of an `adapter_config.json` match. They are Python's regular expressions, look-around included, on names
//! of modules; which of them counts is their order in the file.

use crate::error::{Error, Result, code};
use fancy_regex::{Captures, Regex};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// Numbers of modules by patterns, as a file has them: `rank_pattern`, `alpha_pattern`.
#[derive(Clone, Debug, Default)]
pub struct Patterns(pub Vec<(String, f64)>);

impl Patterns {
    /// The number of the first pattern that a module's name ends with, from a dot or the beginning on.
    ///
    /// # Errors
    /// When one of them is no regular expression.
    pub fn of(&self, module: &str) -> Result<Option<f64>> {
        for (pattern, number) in &self.0 {
            if matched(&format!(r"\A(.*\.)?({pattern})\z"), pattern, module)?.is_some() {
                return Ok(Some(*number));
            }
        }
        Ok(None)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Patterns, D::Error> {
        from.deserialize_any(InOrder)
    }
}

/// Takes an object's members in their order, which a map of JSON would lose.
struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Patterns;

    fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("numbers by patterns")
    }

    fn visit_unit<E>(self) -> std::result::Result<Patterns, E> {
        Ok(Patterns::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Patterns, A::Error> {
        let mut found = Vec::new();
        while let Some(entry) = map.next_entry()? {
            found.push(entry);
        }
        Ok(Patterns(found))
    }
}

/// Whether a pattern matches the whole of a name.
///
/// # Errors
/// When it is no regular expression.
pub fn whole(pattern: &str, name: &str) -> Result<bool> {
    matched(&format!(r"\A(?:{pattern})\z"), pattern, name).map(|found| found.is_some())
}

/// The number of the layer that a module is in: that behind a segment that a pattern matches, or behind any that is not the
/// first.
///
/// # Errors
/// When the pattern is no regular expression.
pub fn layer(pattern: Option<&str>, name: &str) -> Result<Option<u64>> {
    let before = match pattern {
        Some(pattern) => format!(r"(?:|.*?\.){pattern}"),
        None => r".*?\.[^.]*".to_owned(),
    };
    let found = matched(&format!(r"\A{before}\.(?P<number>\d+)\."), pattern.unwrap_or_default(), name)?;
    Ok(found.and_then(|groups| groups.name("number")?.as_str().parse().ok()))
}

/// Whether a name is that of a module or of something in it.
///
/// # Errors
/// When the pattern is no regular expression.
pub fn inside(pattern: &str, name: &str) -> Result<bool> {
    matched(&format!(r"\A(?:|.*\.){pattern}(?:\z|\..*)"), pattern, name).map(|found| found.is_some())
}

fn matched<'t>(regex: &str, pattern: &str, name: &'t str) -> Result<Option<Captures<'t>>> {
    let found = Regex::new(regex).and_then(|regex| regex.captures(name));
    found
        .map_err(|error| Error::file(code::ADAPTER, format!("`{pattern}` is no pattern that can be followed: {error}")))
}
