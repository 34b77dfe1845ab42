//! Objects in JSON, one a line, perhaps gzipped. Takes files; gives columns of numbers, truths or texts: the members of the
//! objects, `a.b` being the member `b` of the member `a`. A list of numbers, or of lists of them, is a row with axes.

use super::bad_rows::{BadRows, shown};
use super::texts::Texts;
use super::{As, Columns, Wanted};
use crate::error::{Error, Result, code};
use dlc_plan::DType;
use dlc_runtime::tensor::Tensor;
use serde_json::Value;
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// What a member of the first object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Member {
    /// A text.
    Text,
    /// A truth.
    Truth,
    /// Numbers of that shape.
    Numbers(Vec<usize>),
}

/// A column that is being read.
struct Column {
    path: String,
    values: Values,
    /// The shape of a row, once there is one.
    row: Option<Vec<usize>>,
}

enum Values {
    Texts(Texts),
    Whole(Vec<i64>),
    Real(Vec<f32>),
    Truths(Vec<bool>),
}

/// Reads files one after the other. Without `wanted`, the members of the first object are the columns.
pub fn read(paths: &[PathBuf], wanted: Option<&[Wanted]>) -> Result<Columns> {
    let mut columns: Vec<Column> = match wanted {
        Some(wanted) => wanted.iter().map(|w| Column::new(&w.name, w.as_)).collect(),
        None => {
            let as_ = |member: &Member| match member {
                Member::Text => As::Texts,
                Member::Truth => As::Numbers(Some(DType::Bool)),
                Member::Numbers(_) => As::Numbers(None),
            };
            members(paths)?.iter().map(|(name, member)| Column::new(name, as_(member))).collect()
        }
    };
    let mut bad = BadRows::default();
    for path in paths {
        each_line(path, |number, line| {
            if let Err((_, why)) = take_line(&mut columns, line) {
                bad.add(number, || format!("{}:{number}: {why}", path.display()));
            }
            true
        })?;
    }
    if !bad.is_empty() {
        return Err(bad.error(paths));
    }
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for column in columns {
        column.finish(&mut numbers, &mut texts);
    }
    Columns::with_texts(numbers, texts)
}

/// Reads the first lines of a file as [`read`] would; gives what is wrong with the first that cannot be used.
#[cfg(feature = "jit")]
pub fn look(path: &Path, wanted: &[Wanted]) -> super::look::Found {
    let mut columns: Vec<Column> = wanted.iter().map(|w| Column::new(&w.name, w.as_)).collect();
    let whole = |error| (None, error);
    let mut found = Ok(());
    let mut left = super::look::FIRST_ROWS;
    let mut file = super::beginning(path).map_err(whole)?;
    let mut bytes = 0;
    lines_of(&mut file, path, |number, line| {
        // A line that goes on behind what is looked at is not judged.
        bytes += line.len() as u64 + 1;
        if bytes >= super::look::FIRST_BYTES {
            return false;
        }
        if let Err((column, why)) = take_line(&mut columns, line) {
            found = Err((column, Error::file(code::BAD_ROWS, format!("{}:{number}: {why}", path.display()))));
        }
        left -= 1;
        found.is_ok() && left > 0
    })
    .map_err(whole)?;
    found
}

/// The members of the first object, and those of its members.
pub fn members(paths: &[PathBuf]) -> Result<Vec<(String, Member)>> {
    let Some(path) = paths.first() else { return Ok(Vec::new()) };
    let mut first = None;
    let mut file = super::open(path)?;
    lines_of(&mut file, path, |number, line| {
        first = Some((number, serde_json::from_slice::<Value>(line)));
        false
    })?;
    match first {
        None => Ok(Vec::new()),
        Some((_, Ok(Value::Object(object)))) => {
            let mut found = Vec::new();
            leaves("", &Value::Object(object), &mut found);
            Ok(found)
        }
        Some((number, Ok(_))) => bad_first(path, number, "this is no object".to_owned()),
        Some((number, Err(error))) => bad_first(path, number, format!("this is no JSON: {error}")),
    }
}

fn bad_first<T>(path: &Path, number: u64, why: String) -> Result<T> {
    Err(Error::file(code::BAD_ROWS, format!("{}:{number}: {why}", path.display())))
}

/// What can be a column. The depth of a value is bounded by the parser.
fn leaves(name: &str, value: &Value, found: &mut Vec<(String, Member)>) {
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let inner = if name.is_empty() { member.clone() } else { format!("{name}.{member}") };
                leaves(&inner, value, found);
            }
        }
        Value::String(_) => found.push((name.to_owned(), Member::Text)),
        Value::Bool(_) => found.push((name.to_owned(), Member::Truth)),
        Value::Number(_) | Value::Array(_) => {
            if let Some(shape) = shape(value) {
                found.push((name.to_owned(), Member::Numbers(shape)));
            }
        }
        Value::Null => {}
    }
}

/// The shape of nested lists of numbers, judged by the first of each; none where there is anything else.
fn shape(value: &Value) -> Option<Vec<usize>> {
    match value {
        Value::Number(_) => Some(Vec::new()),
        Value::Array(items) => {
            let mut rest = shape(items.first()?)?;
            rest.insert(0, items.len());
            Some(rest)
        }
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Object(_) => None,
    }
}

/// Gives columns their values from a line, or says what is wrong with it, and with which column.
fn take_line(columns: &mut [Column], line: &[u8]) -> std::result::Result<(), (Option<String>, String)> {
    match serde_json::from_slice::<Value>(line) {
        Err(error) => Err((None, format!("this is no JSON: {error}"))),
        Ok(object @ Value::Object(_)) => {
            columns.iter_mut().try_for_each(|c| c.push(&object).map_err(|why| (Some(c.path.clone()), why)))
        }
        Ok(_) => Err((None, format!("{} is no object", shown(line)))),
    }
}

/// Hands over the lines that are not blank, with their numbers, until told to stop.
fn each_line(path: &Path, take: impl FnMut(u64, &[u8]) -> bool) -> Result<()> {
    lines_of(&mut super::open(path)?, path, take)
}

fn lines_of(file: &mut dyn BufRead, path: &Path, mut take: impl FnMut(u64, &[u8]) -> bool) -> Result<()> {
    let mut line = Vec::new();
    for number in 1_u64.. {
        if !super::lines::next(file, &mut line).map_err(|error| Error::reading(path, &error))? {
            return Ok(());
        }
        let text = line.trim_ascii();
        let text = if number == 1 { text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text) } else { text };
        if !text.is_empty() && !take(number, text) {
            return Ok(());
        }
    }
    Ok(())
}

/// The member that a path names: of that very name, or of a member.
fn member<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    object.get(path).or_else(|| {
        let dots = path.match_indices('.').map(|(at, _)| at);
        dots.filter_map(|at| member(object.get(&path[..at])?, &path[at + 1..])).next()
    })
}

impl Column {
    fn new(path: &str, as_: As) -> Column {
        let values = match as_ {
            As::Texts | As::Documents => Values::Texts(Texts::default()),
            As::Numbers(None | Some(DType::F32 | DType::F16 | DType::BF16)) => Values::Real(Vec::new()),
            As::Numbers(Some(DType::I64 | DType::I32 | DType::U8)) => Values::Whole(Vec::new()),
            As::Numbers(Some(DType::Bool)) => Values::Truths(Vec::new()),
        };
        Column { path: path.to_owned(), values, row: None }
    }

    /// Takes its value from an object, or says why it cannot.
    fn push(&mut self, object: &Value) -> std::result::Result<(), String> {
        let Some(value) = member(object, &self.path) else {
            return Err(format!("`{}` is not there", self.path));
        };
        let shape = shape(value).unwrap_or_default();
        let known = self.row.get_or_insert_with(|| shape.clone());
        if *known != shape {
            return Err(format!("`{}` has the shape {shape:?}, and {known:?} in the rows before", self.path));
        }
        self.values
            .push(value, &shape)
            .map_err(|wants| format!("`{}` is {}, expected {wants}", self.path, shown(value.to_string().as_bytes())))
    }

    fn finish(self, numbers: &mut Vec<(String, Tensor)>, texts: &mut Vec<(String, Texts)>) {
        let row = self.row.unwrap_or_default();
        let rows = self.values.len().checked_div(row.iter().product()).unwrap_or(0);
        let shape: Vec<usize> = std::iter::once(rows).chain(row).collect();
        let tensor = match self.values {
            Values::Texts(column) => return texts.push((self.path, column)),
            Values::Whole(values) => Tensor::from_slice(&shape, &values),
            Values::Real(values) => Tensor::from_slice(&shape, &values),
            Values::Truths(values) => Tensor::from_bool(shape, values),
        };
        numbers.push((self.path, tensor.expect("every row gave as many values as the shape says")));
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Texts(texts) => texts.len(),
            Values::Whole(values) => values.len(),
            Values::Real(values) => values.len(),
            Values::Truths(values) => values.len(),
        }
    }

    /// Takes a value, or lists of them of that shape, or says what was expected.
    fn push(&mut self, value: &Value, shape: &[usize]) -> std::result::Result<(), &'static str> {
        if let [length, rest @ ..] = shape {
            let items = value.as_array().filter(|items| items.len() == *length).ok_or("lists of one length")?;
            return items.iter().try_for_each(|item| self.push(item, rest));
        }
        match self {
            Values::Texts(texts) => {
                let text = value.as_str().ok_or("a text")?;
                texts.push(text.as_bytes()).map_err(|_| "a text")
            }
            Values::Whole(values) => {
                let number = value.as_i64().or_else(|| super::whole(value.as_f64()?));
                number.map(|n| values.push(n)).ok_or("a whole number")
            }
            Values::Real(values) => {
                let number = value.as_f64().map(|x| x as f32).filter(|x| x.is_finite());
                number.map(|x| values.push(x)).ok_or("a number")
            }
            Values::Truths(values) => value.as_bool().map(|b| values.push(b)).ok_or("true or false"),
        }
    }
}
