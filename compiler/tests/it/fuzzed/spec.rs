//! A spec in pieces, from which its text is made and of which parts can be left out: values with their types, statements that
//! make some of others, functions and blocks, a model, and a training of it.

use dlc_plan::DType;
use std::fmt;

/// The names of the dynamic sizes, which are the batch's and a length.
pub const DYNAMIC: [&str; 2] = ["B", "T"];

/// An extent: a number, plus so many times each dynamic size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Dim {
    pub known: i64,
    pub times: [i64; 2],
}

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ty {
    pub dtype: DType,
    pub shape: Vec<Dim>,
}

/// The number of a value.
pub type Id = usize;

/// A value: an input, a weight, or what a statement gives.
#[derive(Clone, Debug)]
pub struct Value {
    pub name: String,
    pub ty: Ty,
    /// No element is larger, as far as can be told.
    pub most: f64,
    /// How many statements read it.
    pub read: usize,
    /// For an integer input: its elements are at least 0 and less than `most`.
    pub index: bool,
}

/// A statement. In its text `$0` is the first argument, `$=` the first value that it gives, `$+` the second, and `$#` a
/// number that no other statement has. A text without `$=` is what stands after `=`.
#[derive(Clone, Debug)]
pub struct Stmt {
    pub gives: Vec<Id>,
    pub args: Vec<Id>,
    pub text: String,
    pub body: Option<Body>,
}

/// What is done again and again, and what it gives then.
#[derive(Clone, Debug)]
pub struct Body {
    pub stmts: Vec<Stmt>,
    pub result: Id,
}

/// A function or a block of one result.
#[derive(Clone, Debug)]
pub struct Item {
    pub block: bool,
    pub name: String,
    pub params: Vec<Id>,
    pub body: Body,
}

/// A spec.
#[derive(Clone, Debug, Default)]
pub struct Spec {
    pub values: Vec<Value>,
    pub items: Vec<Item>,
    pub inputs: Vec<Id>,
    pub stmts: Vec<Stmt>,
    pub outputs: Vec<Id>,
    /// What the loss makes of an output, `$0`.
    pub terms: Vec<String>,
    /// What stands below `train` besides.
    pub recipe: String,
    /// The index spaces of products.
    pub products: Vec<Vec<Dim>>,
}

impl Dim {
    /// A number.
    pub fn of(n: i64) -> Dim {
        Dim { known: n, times: [0; 2] }
    }

    /// A dynamic size.
    pub fn dynamic(which: usize) -> Dim {
        let mut times = [0; 2];
        times[which] = 1;
        Dim { known: 0, times }
    }

    /// The number, where it is one.
    pub fn number(self) -> Option<i64> {
        (self.times == [0; 2]).then_some(self.known)
    }

    pub fn plus(self, n: i64) -> Dim {
        Dim { known: self.known + n, ..self }
    }

    pub fn by(self, n: i64) -> Dim {
        Dim { known: self.known * n, times: self.times.map(|k| k * n) }
    }

    /// Its value.
    pub fn at(self, sizes: [i64; 2]) -> i64 {
        self.known + self.times[0] * sizes[0] + self.times[1] * sizes[1]
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        for (times, name) in self.times.iter().zip(DYNAMIC) {
            match times {
                0 => {}
                1 => parts.push(name.into()),
                n => parts.push(format!("{n} * {name}")),
            }
        }
        match self.known {
            0 if !parts.is_empty() => f.write_str(&parts.join(" + ")),
            n if n < 0 && !parts.is_empty() => write!(f, "{} - {}", parts.join(" + "), -n),
            n => {
                parts.push(n.to_string());
                f.write_str(&parts.join(" + "))
            }
        }
    }
}

impl Ty {
    pub fn new(dtype: DType, shape: &[Dim]) -> Ty {
        Ty { dtype, shape: shape.to_vec() }
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The same axes with other elements.
    pub fn with(&self, dtype: DType) -> Ty {
        Ty { dtype, shape: self.shape.clone() }
    }
}

impl fmt::Display for Ty {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let axes: Vec<String> = self.shape.iter().map(Dim::to_string).collect();
        // No axes need the type's name: `[]` alone is a list.
        let dtype = if self.dtype == DType::F32 && !axes.is_empty() { "" } else { self.dtype.name() };
        write!(f, "{dtype}[{}]", axes.join(", "))
    }
}

/// Leaves out statements that give nothing that is read, `last` being read at the end. The weight `w` stays.
fn prune(stmts: &mut Vec<Stmt>, last: &[Id]) {
    let mut read = last.to_vec();
    let mut keep = Vec::new();
    while let Some(mut s) = stmts.pop() {
        if s.gives.iter().any(|id| read.contains(id)) || s.text.starts_with("$=: param") && stmts.is_empty() {
            if let Some(body) = &mut s.body {
                prune(&mut body.stmts, &[body.result]);
            }
            read.extend(s.reads());
            keep.push(s);
        }
    }
    keep.reverse();
    *stmts = keep;
}

/// The text of a statement, and of those in it.
fn calls(s: &Stmt) -> String {
    let inner = s.body.iter().flat_map(|body| &body.stmts).map(calls);
    s.text.clone() + &inner.collect::<String>()
}

impl Item {
    /// What stands for its name in statements.
    pub fn tag(&self) -> String {
        format!("{}{}", if self.block { "block" } else { "fn" }, self.name)
    }
}

impl Stmt {
    /// All values that it reads from outside of it.
    pub fn reads(&self) -> Vec<Id> {
        let mut found = self.args.clone();
        if let Some(body) = &self.body {
            found.extend(body.stmts.iter().flat_map(Stmt::reads));
            found.push(body.result);
        }
        // What a loop carries is its own.
        found.retain(|id| !self.gives.contains(id));
        found
    }
}

impl Spec {
    /// About how many elements are computed where the dynamic sizes are these.
    pub fn work(&self, sizes: [i64; 2]) -> i64 {
        let spaces = self.values.iter().map(|v| &v.ty.shape).chain(&self.products);
        spaces.map(|dims| dims.iter().map(|dim| dim.at(sizes).max(0)).product::<i64>()).sum()
    }

    /// Leaves out what nothing reads.
    pub fn prune(&mut self) {
        prune(&mut self.stmts, &self.outputs);
        for item in &mut self.items {
            prune(&mut item.body.stmts, &[item.body.result]);
        }
        let text: String = self.stmts.iter().map(calls).collect();
        let called = |item: &Item, text: &str| text.contains(&format!("@{}(", item.tag()));
        let inner: String = self.items.iter().flat_map(|item| &item.body.stmts).map(calls).collect();
        self.items.retain(|item| called(item, &text) || called(item, &inner));
    }

    fn name(&self, id: Id) -> &str {
        &self.values[id].name
    }

    fn filled(&self, s: &Stmt, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            match (c, if c == '$' { rest.next() } else { None }) {
                ('$', Some('=')) => out += self.name(s.gives[0]),
                ('$', Some('+')) => out += self.name(s.gives[1]),
                ('$', Some('#')) => out += &s.gives[0].to_string(),
                ('$', Some(n)) => {
                    out += self.name(s.args[n.to_digit(10).expect("`$` is followed by a digit") as usize])
                }
                (c, _) => out.push(c),
            }
        }
        out
    }

    fn write_stmts(&self, out: &mut String, stmts: &[Stmt], indent: usize) {
        let pad = "  ".repeat(indent);
        for s in stmts {
            let text = self.filled(s, &s.text);
            match &s.body {
                None if s.text.contains("$=") => *out += &format!("{pad}{text}\n"),
                None => *out += &format!("{pad}{} = {text}\n", self.name(s.gives[0])),
                Some(body) => {
                    let carried = self.name(s.gives[0]);
                    *out += &format!("{pad}{carried} = {}\n{pad}{text} {{\n", self.name(s.args[0]));
                    self.write_stmts(out, &body.stmts, indent + 1);
                    *out += &format!("{pad}  {carried} = {}\n{pad}}}\n", self.name(body.result));
                }
            }
        }
    }

    fn declared(&self, ids: &[Id]) -> String {
        let each: Vec<String> = ids.iter().map(|id| format!("{}: {}", self.name(*id), self.values[*id].ty)).collect();
        each.join(", ")
    }

    /// A parameter of a function or a block: it may have any axes.
    fn param(&self, id: Id) -> String {
        let dtype = self.values[id].ty.dtype;
        format!("{}: {}[..]", self.name(id), if dtype == DType::F32 { "" } else { dtype.name() })
    }

    /// The items and the model, the latter under that name.
    pub fn model(&self, name: &str) -> String {
        let mut out = String::new();
        for item in &self.items {
            let params: Vec<String> = item.params.iter().map(|id| self.param(*id)).collect();
            let head = match item.block {
                true => format!("block {name}{}()({}) -> [..]", item.name, params.join(", ")),
                false => format!("fn {}{}({})", name.to_lowercase(), item.name, params.join(", ")),
            };
            out += &format!("{head} {{\n");
            self.write_stmts(&mut out, &item.body.stmts, 1);
            out += &format!("  return {}\n}}\n\n", self.name(item.body.result));
        }
        let outputs: Vec<String> =
            self.outputs.iter().enumerate().map(|(k, id)| format!("y{k}: {}", self.values[*id].ty)).collect();
        out += &format!("model {name}()({}) -> ({}) {{\n", self.declared(&self.inputs), outputs.join(", "));
        self.write_stmts(&mut out, &self.stmts, 1);
        let results: Vec<&str> = self.outputs.iter().map(|id| self.name(*id)).collect();
        out += &format!("  return {}\n}}\n", results.join(", "));
        out.replace("@fn", &name.to_lowercase()).replace("@block", name)
    }

    /// The loss, by the outputs' names.
    pub fn loss(&self) -> String {
        let real = |id: &Id| self.values[*id].ty.dtype == DType::F32;
        let terms = self.outputs.iter().zip(&self.terms).enumerate().filter(|(_, (id, _))| real(id));
        let terms: Vec<String> = terms.map(|(k, (_, term))| term.replace("$0", &format!("y{k}"))).collect();
        if terms.is_empty() { "mean(tensor(\"w\") ^ 2)".into() } else { terms.join(" + ") }
    }

    /// The whole text: the model, and a training of it.
    pub fn text(&self) -> String {
        format!(
            "{}
train fit {{
  model = M()
  loss = {}
  optimizer = SGD(lr = 0.1)
  epochs = 1
{}}}
",
            self.model("M"),
            self.loss(),
            self.recipe
        )
    }
}
