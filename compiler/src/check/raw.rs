//! Columns that are no tensors: texts, and the ids that a host makes of them before anything is computed. `tokenize`,
//! `characters` and `windows` only write down what is to be done; the columns of a `data` item make tensors of it.

use super::Checker;
use super::builtin::Builtin;
use super::value::{Given, Num, NumVal, Val};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::recipe::{EncodedRows, Encoder, Encoding};
use std::rc::Rc;

/// A column that is no tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Texts: a column of the source.
    Texts(Rc<str>),
    /// Ids, and how they are made. The encoding's columns have no names yet.
    Ids(Rc<Encoding>),
}

/// What is done to columns that are no tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Encode {
    /// Texts to ids by a file.
    Tokenize,
    /// Texts to ids by their letters.
    Characters,
    /// Ids of all rows to rows of one length.
    Windows,
}

impl Raw {
    /// Ids that the source has already.
    pub fn stored(column: &str) -> Raw {
        Raw::Ids(Rc::new(encoding(vec![column.to_string()], Encoder::Ids)))
    }
}

fn encoding(of: Vec<String>, by: Encoder) -> Encoding {
    let rows = EncodedRows::Padded(None);
    Encoding { of, by, max: None, special: true, rows, length: String::new(), columns: Vec::new() }
}

/// Arguments by place, and those by name.
type Sorted = (Vec<Given>, Vec<(Rc<str>, Given)>);

impl Checker {
    /// Calls one of the functions that only write down what is to be done.
    pub(super) fn encode(&mut self, what: Encode, b: &Builtin, args: Vec<Given>, span: Span) -> Val {
        if args.iter().any(|a| a.val.is_poison()) {
            return Val::Poison;
        }
        let made = match what {
            Encode::Tokenize => self.tokenize(b, args, span),
            Encode::Characters => self.characters(b, args, span),
            Encode::Windows => self.windows(b, args, span),
        };
        made.map_or(Val::Poison, |e| Val::Raw(Raw::Ids(Rc::new(e))))
    }

    /// `tokenize(sentence, "tokenizer.json", max = 128)`, or with two texts that belong together.
    fn tokenize(&mut self, b: &Builtin, args: Vec<Given>, span: Span) -> Option<Encoding> {
        let (mut placed, named) = self.sorted(b, args, &["max", "pad", "special"])?;
        let Some(file) = (2..=3).contains(&placed.len()).then(|| placed.pop()).flatten() else {
            let message = format!("`tokenize` takes a text, perhaps a second one, and a file; got {}", placed.len());
            let d = Diagnostic::error("E0107", span, message);
            self.report(d.help("`tokenize(sentence, \"tokenizer.json\", max = 128)`"));
            return None;
        };
        let Val::Str(path) = &file.val else {
            let message = format!("a tokenizer is a file in quotes, got {}", self.show(&file.val));
            self.report(Diagnostic::error("E0112", file.span, message).help("`\"tokenizer.json\"`"));
            return None;
        };
        let of = placed.iter().map(|a| self.texts(b, a)).collect::<Option<_>>()?;
        let mut made = encoding(of, Encoder::File(path.to_string()));
        for (name, given) in named {
            match &*name {
                "max" => made.max = Some(self.positive(b, &name, &given)?),
                "pad" => made.rows = EncodedRows::Padded(Some(self.positive(b, &name, &given)?)),
                _ => made.special = self.truth(b, &name, &given)?,
            }
        }
        Some(made)
    }

    /// `characters(text)`, or with an alphabet of one's own.
    fn characters(&mut self, b: &Builtin, args: Vec<Given>, span: Span) -> Option<Encoding> {
        let (placed, named) = self.sorted(b, args, &["alphabet", "max", "pad"])?;
        let [texts] = placed.as_slice() else {
            let message = format!("`characters` takes a text, got {} arguments", placed.len());
            self.report(Diagnostic::error("E0107", span, message));
            return None;
        };
        let mut made = encoding(vec![self.texts(b, texts)?], Encoder::Characters(None));
        for (name, given) in named {
            match (&*name, &given.val) {
                ("max", _) => made.max = Some(self.positive(b, &name, &given)?),
                ("pad", _) => made.rows = EncodedRows::Padded(Some(self.positive(b, &name, &given)?)),
                (_, Val::Str(alphabet)) => made.by = Encoder::Characters(Some(alphabet.to_string())),
                (_, other) => {
                    let message = format!("an alphabet is a text, got {}", self.show(other));
                    self.report(Diagnostic::error("E0112", given.span, message));
                    return None;
                }
            }
        }
        Some(made)
    }

    /// `windows(ids, 128, stride = 64)`.
    fn windows(&mut self, b: &Builtin, args: Vec<Given>, span: Span) -> Option<Encoding> {
        let (placed, named) = self.sorted(b, args, &["stride"])?;
        let [ids, length] = placed.as_slice() else {
            let message = format!("`windows` takes ids and how many are a row, got {} arguments", placed.len());
            let d = Diagnostic::error("E0107", span, message);
            self.report(d.help("`tokens, next = windows(tokenize(text, \"tokenizer.json\"), 128)`"));
            return None;
        };
        let Val::Raw(Raw::Ids(ids)) = &ids.val else {
            let message = format!("`windows` cuts ids, got {}", self.show(&ids.val));
            let d = Diagnostic::error("E0112", ids.span, message);
            self.report(d.help("`tokenize(text, \"tokenizer.json\")` or `characters(text)` makes ids of texts"));
            return None;
        };
        if ids.max.is_some() || ids.rows != EncodedRows::Padded(None) || ids.of.len() != 1 {
            let message = "`windows` cuts whole texts: without `max` or `pad`, no pairs, and once";
            self.report(Diagnostic::error("E0112", placed[0].span, message));
            return None;
        }
        let length = self.positive(b, "length", length)?;
        let stride = match named.first() {
            Some((name, given)) => self.positive(b, name, given)?,
            None => length,
        };
        Some(Encoding { rows: EncodedRows::Windows { length, stride }, ..Encoding::clone(ids) })
    }

    /// Arguments by place, and those by one of these names.
    fn sorted(&mut self, b: &Builtin, args: Vec<Given>, names: &[&str]) -> Option<Sorted> {
        let (mut placed, mut named): Sorted = (Vec::new(), Vec::new());
        for mut a in args {
            let Some((name, at)) = a.name.take() else {
                placed.push(a);
                continue;
            };
            if !names.contains(&&*name) {
                let message = format!("`{}` has no setting `{name}`", b.name);
                let near = nearest(&name, names.iter().copied());
                let d = Diagnostic::error("E0105", at, message);
                let all = format!("its settings are {}", names.join(", "));
                self.report(if near.is_some() { d.did_you_mean(near) } else { d.help(all) });
                return None;
            }
            if named.iter().any(|(known, _)| *known == name) {
                self.report(Diagnostic::error("E0107", at, format!("`{name}` is given twice")));
                return None;
            }
            named.push((name, a));
        }
        Some((placed, named))
    }

    fn texts(&mut self, b: &Builtin, a: &Given) -> Option<String> {
        if let Val::Raw(Raw::Texts(column)) = &a.val {
            return Some(column.to_string());
        }
        let message = format!("`{}` takes a column of texts, got {}", b.name, self.show(&a.val));
        self.report(Diagnostic::error("E0112", a.span, message).help("it stands in the columns of a `data` item"));
        None
    }

    fn positive(&mut self, b: &Builtin, name: &str, a: &Given) -> Option<u64> {
        if let Val::Num(Num { value: NumVal::Int(n @ 1..), .. }) = a.val {
            return Some(n as u64);
        }
        let message = format!("`{name}` of `{}` is a whole number, 1 or more, got {}", b.name, self.show(&a.val));
        self.report(Diagnostic::error("E0112", a.span, message));
        None
    }

    fn truth(&mut self, b: &Builtin, name: &str, a: &Given) -> Option<bool> {
        if let Val::Bool(truth) = a.val {
            return Some(truth);
        }
        let message = format!("`{name}` of `{}` is true or false, got {}", b.name, self.show(&a.val));
        self.report(Diagnostic::error("E0112", a.span, message));
        None
    }
}
