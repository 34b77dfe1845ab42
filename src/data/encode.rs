//! Texts as ids. Takes texts and how they are to be encoded; gives the ids of each row, one after the other.

use super::texts::Texts;
use crate::error::{Error, Result, code};
use dlc_plan::recipe::{Encoder, Encoding};
use std::path::Path;

/// The ids of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ids {
    /// All of them.
    pub ids: Vec<u32>,
    /// For each, which text of a pair it belongs to; empty where there are no pairs.
    pub kinds: Vec<u8>,
    /// Where each row ends.
    pub ends: Vec<usize>,
    /// How rows are filled up.
    pub pad: Pad,
}

/// How rows are filled up to the length of the longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pad {
    /// By which id.
    pub id: u32,
    /// Whether before the row and not after it.
    pub left: bool,
}

impl Ids {
    /// Where a row begins and ends.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        row.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[row]
    }

    fn row(&mut self, ids: impl IntoIterator<Item = u32>) {
        self.ids.extend(ids);
        self.ends.push(self.ids.len());
    }
}

/// What turns texts into ids, ready for use.
pub enum Coder {
    /// By characters in order.
    Characters(Vec<char>),
    /// By a tokenizer.
    #[cfg(feature = "tokenize")]
    Tokenizer(Box<by_file::Tokenizer>),
}

impl Coder {
    /// Makes one: `texts` are those of the samples that are trained on. None where there are ids already.
    pub fn new(encoding: &Encoding, folder: &Path, texts: &[&Texts]) -> Result<Option<Coder>> {
        match &encoding.by {
            Encoder::Ids => Ok(None),
            Encoder::Characters(alphabet) => {
                let mut letters: Vec<char> = match alphabet {
                    Some(alphabet) => alphabet.chars().collect(),
                    None => letters_of(texts),
                };
                if alphabet.is_none() {
                    letters.sort_unstable();
                }
                Ok(Some(Coder::Characters(letters)))
            }
            Encoder::File(path) => by_file::coder(encoding, &folder.join(path)).map(Some),
        }
    }

    /// The ids of texts, or of pairs of them. `place` says what a row is called.
    pub fn encode(&self, encoding: &Encoding, texts: &[&Texts], place: &str) -> Result<Ids> {
        match self {
            Coder::Characters(letters) => characters(encoding, letters, texts[0], place),
            #[cfg(feature = "tokenize")]
            Coder::Tokenizer(tokenizer) => by_file::encode(tokenizer, encoding, texts, place),
        }
    }
}

/// Each character that occurs, once.
fn letters_of(texts: &[&Texts]) -> Vec<char> {
    let mut seen = std::collections::HashSet::new();
    texts.iter().for_each(|texts| seen.extend(texts.all().chars()));
    seen.into_iter().collect()
}

fn characters(encoding: &Encoding, letters: &[char], texts: &Texts, place: &str) -> Result<Ids> {
    let numbers: std::collections::HashMap<char, u32> = letters.iter().copied().zip(0..).collect();
    let most = encoding.max.map_or(usize::MAX, |max| usize::try_from(max).unwrap_or(usize::MAX));
    let mut ids = Ids::default();
    for (row, text) in texts.iter().enumerate() {
        for (at, letter) in text.chars().take(most).enumerate() {
            let Some(id) = numbers.get(&letter) else {
                let before: String = text.chars().take(at).collect();
                let line = 1 + before.matches('\n').count();
                let message =
                    format!("{place}, row {row}, line {line}: {letter:?} is none of the {} characters", letters.len());
                let known: String = letters.iter().flat_map(|letter| letter.escape_debug()).collect();
                return Err(Error::file(code::BAD_ROWS, message).note(format!("these are {known}")));
            };
            ids.ids.push(*id);
        }
        ids.row([]);
    }
    Ok(ids)
}

#[cfg(feature = "tokenize")]
mod by_file {
    //! Tokenizers in files.

    use super::{Coder, Error, Ids, Pad, Result, Texts, code};
    use dlc_plan::recipe::Encoding;
    use std::path::Path;
    pub use tokenizers::Tokenizer;
    use tokenizers::utils::truncation::TruncationParams;
    use tokenizers::{EncodeInput, PaddingDirection, PostProcessor};

    /// How many texts are encoded at a time: what a tokenizer knows of each text besides ids takes much more memory.
    const AT_A_TIME: usize = 4096;
    /// What the token that fills up rows is called where a file does not say it.
    const PADS: [&str; 3] = ["[PAD]", "<pad>", "<|endoftext|>"];

    /// What is said where the library panics.
    const DISLIKED: &str = "its parts do not fit together";

    /// What a function gives, unless it panics.
    fn unpanicked<T>(run: impl FnOnce() -> T) -> Option<T> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).ok()
    }

    /// The tokenizer of a file, with the truncation that is asked for.
    pub fn coder(encoding: &Encoding, path: &Path) -> Result<Coder> {
        let bytes = crate::files::read(path).map_err(|error| Error::reading(path, &error))?;
        let bad = |why: String| Error::file(code::BAD_FILE, format!("{} is no tokenizer: {why}", path.display()));
        // The library panics at some files that are no JSON, and at some that are.
        serde_json::from_slice::<serde_json::Value>(&bytes).map_err(|error| bad(error.to_string()))?;
        let read = unpanicked(|| Tokenizer::from_bytes(bytes)).ok_or_else(|| bad(DISLIKED.to_owned()))?;
        let mut tokenizer = read.map_err(|error| bad(error.to_string()))?;
        let known = tokenizer.get_truncation().cloned();
        let truncation = match (encoding.max, encoding.rows) {
            (_, dlc_plan::recipe::EncodedRows::Windows { .. }) => None,
            (Some(max), _) => {
                let max_length = usize::try_from(max).unwrap_or(usize::MAX);
                Some(TruncationParams { max_length, ..known.unwrap_or_default() })
            }
            (None, _) => known,
        };
        let marks = tokenizer.get_post_processor().map_or(0, |marks| marks.added_tokens(encoding.of.len() > 1));
        if let Some(most) = truncation.as_ref().map(|params| params.max_length).filter(|most| *most <= marks) {
            let message = format!("{most} ids have no place for a text beside {marks} marks of its beginning and end");
            return Err(Error::spec(code::BAD_FILE, message).help("a greater `max`"));
        }
        tokenizer.with_truncation(truncation).map_err(|error| bad(error.to_string()))?;
        Ok(Coder::Tokenizer(Box::new(tokenizer)))
    }

    /// The ids of texts, or of pairs of them.
    pub fn encode(tokenizer: &Tokenizer, encoding: &Encoding, texts: &[&Texts], place: &str) -> Result<Ids> {
        let padding = tokenizer.get_padding();
        let named = || PADS.iter().find_map(|name| tokenizer.token_to_id(name));
        let pad = Pad {
            id: padding.map(|padding| padding.pad_id).or_else(named).unwrap_or(0),
            left: padding.is_some_and(|padding| matches!(padding.direction, PaddingDirection::Left)),
        };
        let mut plain = tokenizer.clone();
        plain.with_padding(None);
        let mut ids = Ids { pad, ..Ids::default() };
        let rows: Vec<usize> = (0..texts[0].len()).collect();
        for rows in rows.chunks(AT_A_TIME) {
            let input = |row: &usize| match texts {
                [first, second] => EncodeInput::from((first.row(*row), second.row(*row))),
                _ => EncodeInput::from(texts[0].row(*row)),
            };
            let inputs = rows.iter().map(input).collect();
            let done = unpanicked(|| match encoding.of.len() {
                1 => plain.encode_batch_fast(inputs, encoding.special),
                // The quicker way forgets which text of a pair an id belongs to.
                _ => plain.encode_batch(inputs, encoding.special),
            });
            let bad = |why: String| Error::file(code::BAD_ROWS, format!("{place} cannot be encoded: {why}"));
            let done = done.ok_or_else(|| bad(DISLIKED.to_owned()))?.map_err(|error| bad(error.to_string()))?;
            for one in done {
                if texts.len() > 1 {
                    ids.kinds.extend(one.get_type_ids().iter().map(|kind| u8::try_from(*kind).unwrap_or(u8::MAX)));
                }
                ids.row(one.get_ids().iter().copied());
            }
        }
        Ok(ids)
    }
}

#[cfg(not(feature = "tokenize"))]
mod by_file {
    //! Nothing: tokenizers are left out.

    use super::{Coder, Encoding, Error, Path, Result, code};

    /// Says so.
    pub fn coder(_: &Encoding, _: &Path) -> Result<Coder> {
        let error = Error::run(code::CANNOT_RUN, "this program was built without tokenizers");
        Err(error.help("`dlc = { version = \"..\", default-features = false, features = [\"tokenize\"] }`"))
    }
}
