//! What the patterns of an `adapter_config.json` match. They are Python's regular expressions, look-around included, on names
//! of modules; which of them counts is their order in the file.

use crate::error::{Error, Result, code};
use fancy_regex::Regex;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

/// A pattern, read once.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// One that matches the whole of a name.
    ///
    /// # Errors
    /// When it is no regular expression; so for the others.
    pub fn whole(text: &str) -> Result<Pattern> {
        Pattern::new(text, &format!(r"\A(?:{text})\z"))
    }

    /// One that matches what a name ends with, from a dot or the beginning on.
    ///
    /// # Errors
    /// As [`Pattern::whole`].
    pub fn end(text: &str) -> Result<Pattern> {
        Pattern::new(text, &format!(r"\A(.*\.)?({text})\z"))
    }

    /// One that matches the name of a module and of what is in it.
    ///
    /// # Errors
    /// As [`Pattern::whole`].
    pub fn inside(text: &str) -> Result<Pattern> {
        Pattern::new(text, &format!(r"\A(?:|.*\.){text}(?:\z|\..*)"))
    }

    /// One that matches what has the number of a layer: behind a segment that the text matches, or behind any that is not the
    /// first.
    ///
    /// # Errors
    /// As [`Pattern::whole`].
    pub fn layer(text: Option<&str>) -> Result<Pattern> {
        let before = match text {
            Some(text) => format!(r"(?:|.*?\.){text}"),
            None => r".*?\.[^.]*".to_owned(),
        };
        Pattern::new(text.unwrap_or_default(), &format!(r"\A{before}\.(?P<number>\d+)\."))
    }

    fn new(text: &str, regex: &str) -> Result<Pattern> {
        let regex = Regex::new(regex).map_err(|error| unfollowed(text, &error))?;
        Ok(Pattern { text: text.to_owned(), regex })
    }

    /// Whether it matches a name.
    ///
    /// # Errors
    /// When that is too much work.
    pub fn matches(&self, name: &str) -> Result<bool> {
        self.regex.is_match(name).map_err(|error| unfollowed(&self.text, &error))
    }

    /// The number of the layer that a module is in.
    ///
    /// # Errors
    /// As [`Pattern::matches`].
    pub fn number(&self, name: &str) -> Result<Option<u64>> {
        let found = self.regex.captures(name).map_err(|error| unfollowed(&self.text, &error))?;
        Ok(found.and_then(|groups| groups.name("number")?.as_str().parse().ok()))
    }
}

fn unfollowed(text: &str, error: &fancy_regex::Error) -> Error {
    Error::file(code::ADAPTER, format!("`{text}` is no pattern that can be followed: {error}"))
}

/// Numbers of modules by patterns, as a file has them: `rank_pattern`, `alpha_pattern`.
#[derive(Clone, Debug, Default)]
pub struct Patterns(Vec<(Pattern, f64)>);

impl Patterns {
    /// The number of the first pattern that a module's name ends with.
    ///
    /// # Errors
    /// As [`Pattern::matches`].
    pub fn of(&self, module: &str) -> Result<Option<f64>> {
        for (pattern, number) in &self.0 {
            if pattern.matches(module)? {
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
        while let Some((text, number)) = map.next_entry::<String, f64>()? {
            found.push((Pattern::end(&text).map_err(|error| A::Error::custom(error.message))?, number));
        }
        Ok(Patterns(found))
    }
}
