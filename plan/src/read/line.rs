//! A line that is being read: what is left of it, and what can stand in it whatever the plan is.

use super::{NoPlan, Read};
use crate::DType;
use crate::kernel::{Elem, Ext, Kind};
use crate::plan::{BufId, Store};
use std::str::FromStr;

/// Whether a name may stand without quotes: it has no letter that ends one, and is neither a number nor a buffer.
pub fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_alphabetic() || c == '_') && name.chars().all(plain) && !is_buf(name)
}

/// Whether a text begins as a buffer's number does.
fn is_buf(text: &str) -> bool {
    text.strip_prefix('b').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn plain(c: char) -> bool {
    c.is_alphanumeric() || "_.-*/@".contains(c)
}

/// What is left of a line.
#[derive(Clone, Copy)]
pub struct Line<'a> {
    /// Its number, from 1.
    pub number: usize,
    /// What is not read yet.
    pub rest: &'a str,
}

impl<'a> Line<'a> {
    pub fn wrong(&self, expected: &str) -> NoPlan {
        let found: String = self.rest.chars().take(40).collect();
        NoPlan { line: self.number, message: format!("{expected} is expected, and not `{found}`") }
    }

    pub fn eat(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    pub fn expect(&mut self, text: &str) -> Read<()> {
        if self.eat(text) { Ok(()) } else { Err(self.wrong(&format!("`{text}`"))) }
    }

    pub fn end(&self) -> Read<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.wrong("the end of the line")) }
    }

    pub fn number<T: FromStr>(&mut self) -> Read<T> {
        let sign = usize::from(self.rest.starts_with('-'));
        let digits = self.rest[sign..].find(|c: char| !c.is_ascii_digit());
        let end = digits.map_or(self.rest.len(), |digits| sign + digits);
        let number = self.rest[..end].parse().map_err(|_| self.wrong("an integer"))?;
        self.rest = &self.rest[end..];
        Ok(number)
    }

    /// Things with commas between them, up to what closes them. Each is read knowing how many came before it.
    pub fn list<T>(&mut self, close: &str, mut each: impl FnMut(&mut Self, usize) -> Read<T>) -> Read<Vec<T>> {
        let mut all = Vec::new();
        while !self.eat(close) {
            if !all.is_empty() {
                self.expect(", ")?;
            }
            all.push(each(self, all.len())?);
        }
        Ok(all)
    }

    /// `[3, 4]`
    pub fn numbers(&mut self) -> Read<Vec<usize>> {
        self.expect("[")?;
        self.list("]", |line, _| line.number())
    }

    /// Letters, digits and `_`.
    pub fn word(&self) -> &'a str {
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    pub fn name(&mut self) -> Read<String> {
        if self.rest.starts_with('"') {
            return self.quoted();
        }
        let end = self.rest.find(|c| !plain(c)).unwrap_or(self.rest.len());
        if end == 0 {
            return Err(self.wrong("a name"));
        }
        let name = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        Ok(name)
    }

    /// Names up to the end of the line.
    pub fn names(mut self) -> Read<Vec<String>> {
        let mut names = vec![self.name()?];
        while self.eat(", ") {
            names.push(self.name()?);
        }
        self.end()?;
        Ok(names)
    }

    /// A text in quotes, as Rust writes it.
    pub fn quoted(&mut self) -> Read<String> {
        let before = *self;
        let wrong = || before.wrong("a text in quotes");
        self.expect("\"")?;
        let mut text = String::new();
        let mut letters = self.rest.char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Ok(text);
                }
                '\\' => match letters.next().ok_or_else(wrong)?.1 {
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    '0' => text.push('\0'),
                    'u' => {
                        let code: String = letters.by_ref().map(|(_, c)| c).skip(1).take_while(|c| *c != '}').collect();
                        let code = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        text.push(code.ok_or_else(wrong)?);
                    }
                    other => text.push(other),
                },
                other => text.push(other),
            }
        }
        Err(wrong())
    }

    /// What stands at the end for people; nothing else may.
    pub fn note(&mut self) -> Read<String> {
        if self.eat("  // ") {
            Ok(std::mem::take(&mut self.rest).to_owned())
        } else {
            self.end().map(|()| String::new())
        }
    }

    pub fn starts_buf(&self) -> bool {
        is_buf(self.rest)
    }

    pub fn buf(&mut self) -> Read<BufId> {
        if self.starts_buf() && self.eat("b") { self.number() } else { Err(self.wrong("a buffer")) }
    }

    /// Buffers, each after a space.
    pub fn bufs(&mut self) -> Read<Vec<BufId>> {
        let mut bufs = Vec::new();
        while self.rest.strip_prefix(' ').is_some_and(is_buf) {
            self.expect(" ")?;
            bufs.push(self.buf()?);
        }
        Ok(bufs)
    }

    pub fn dtype(&mut self) -> Read<DType> {
        let word = self.word();
        let dtype = DType::parse(word).ok_or_else(|| self.wrong("a type of elements"))?;
        self.rest = &self.rest[word.len()..];
        Ok(dtype)
    }

    pub fn elem(&mut self) -> Read<Elem> {
        let elem = Elem::ALL.into_iter().find(|elem| self.eat(&elem.to_string()));
        elem.ok_or_else(|| self.wrong("how elements are kept"))
    }

    pub fn kind(&mut self) -> Read<Kind> {
        let kind = Kind::ALL.into_iter().find(|kind| self.eat(&kind.to_string()));
        kind.ok_or_else(|| self.wrong("a kind of values"))
    }

    pub fn store(&mut self) -> Read<Store> {
        if self.eat("state ") {
            return self.number().map(Store::State);
        }
        if self.eat("ints ") {
            return self.elem().map(Store::Ints);
        }
        let word = self.word();
        let store = match word {
            "trained" => Store::Trained,
            "grads" => Store::Grads,
            "frozen" => Store::Frozen,
            _ => return Err(self.wrong("a store")),
        };
        self.rest = &self.rest[word.len()..];
        Ok(store)
    }

    /// `1, $0)`
    pub fn exts(&mut self) -> Read<Vec<Ext>> {
        self.list(
            ")",
            |line, _| if line.eat("$") { line.number().map(Ext::Arg) } else { line.number().map(Ext::Const) },
        )
    }
}
