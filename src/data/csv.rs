//! Tables: values separated by commas or tabs, perhaps gzipped. Takes files, gives columns of numbers or texts.
//!
//! The first line names the columns. Where the source has named arguments (`csv("f.csv", pixels = 64, label = 1)`), there is
//! no such line: they name the columns in order, each with the number of values that it takes from a row. Rows that cannot
//! be read are all named, up to a limit, with their place, what was found and what was expected.

use super::bad_rows::{BadRows, shown};
use super::lines::Rows;
use super::texts::Texts;
use super::{As, Columns, Wanted};
use crate::error::{Error, Result, code};
use csv::{ByteRecord, ReaderBuilder};
use dlc_plan::DType;
use dlc_plan::recipe::{Arg, Source, SourceKind};
use dlc_runtime::tensor::Tensor;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

/// A column that is being read.
struct Column {
    name: String,
    /// Its first value's place in a row.
    first: usize,
    /// How many values it takes from a row. One value has no axis of its own.
    width: usize,
    values: Values,
}

/// What a column has so far.
enum Values {
    /// No one asked for it, or it is a text that no one asked for.
    Skipped,
    /// Whole numbers.
    Whole {
        values: Vec<i64>,
        /// Whether they must be; otherwise a real number makes all of them real.
        must: bool,
        /// Whether the column may turn out to be a text.
        may_be_text: bool,
    },
    /// Real numbers.
    Real(Vec<f32>),
    /// Texts.
    Texts(Texts),
}

/// What a column has come to.
enum Finished {
    Numbers(Tensor),
    Texts(Texts),
}

/// How a table is written.
#[derive(Clone, Copy)]
struct Format {
    separator: u8,
    /// Whether values may stand in quotation marks; else these are letters like any other.
    quotes: bool,
    /// Whether there are named arguments, which stand for the line of names.
    has_names: bool,
}

impl Format {
    fn of(kind: SourceKind, args: &[(String, Arg)]) -> Format {
        let is_tsv = kind == SourceKind::Tsv;
        let quote = args.iter().any(|(name, arg)| name == "quote" && *arg == Arg::Bool(true));
        let has_names = widths(args).next().is_none();
        Format { separator: if is_tsv { b'\t' } else { b',' }, quotes: !is_tsv || quote, has_names }
    }

    fn reader<R: Read>(self, file: R) -> csv::Reader<Rows<R>> {
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(self.separator).quoting(self.quotes);
        builder.from_reader(Rows::new(file))
    }
}

/// The arguments that name columns; the others are settings.
fn widths(args: &[(String, Arg)]) -> impl Iterator<Item = &(String, Arg)> {
    args.iter().filter(|(_, arg)| !matches!(arg, Arg::Bool(_)))
}

/// A value that cannot be used, and what was expected.
type BadValue = (usize, &'static str);

/// Reads files with the same columns, one after the other.
pub fn read(source: &Source, paths: &[PathBuf], wanted: Option<&[Wanted]>) -> Result<Columns> {
    let mut columns = named_by(&source.args)?;
    let format = Format::of(source.kind, &source.args);
    let mut bad = BadRows::default();
    for path in paths {
        read_file(path, format, &mut columns, wanted, &mut bad)?;
    }
    if !bad.is_empty() {
        let named_in_vain = bad.has_first_line() && !format.has_names;
        let error = bad.error(paths);
        let help = "if the first line names the columns, leave the widths out: `csv(\"..\")`";
        return Err(if named_in_vain { error.help(help) } else { error });
    }
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for column in columns {
        match column.finish() {
            None => {}
            Some((name, Finished::Numbers(tensor))) => numbers.push((name, tensor)),
            Some((name, Finished::Texts(column))) => texts.push((name, column)),
        }
    }
    Columns::with_texts(numbers, texts)
}

/// Reads the first rows of a file as [`read`] would; gives what is wrong with the first that cannot be used.
#[cfg(feature = "jit")]
pub fn look(source: &Source, path: &Path, wanted: &[Wanted]) -> super::look::Found {
    let whole = |error| (None, error);
    let mut columns = named_by(&source.args).map_err(whole)?;
    let format = Format::of(source.kind, &source.args);
    let mut reader = format.reader(super::beginning(path).map_err(whole)?);
    let mut row = ByteRecord::new();
    let is_cut = |reader: &csv::Reader<_>| reader.position().byte() >= super::look::FIRST_BYTES;
    if format.has_names {
        first_line(&mut reader, &mut row, path).map_err(whole)?;
        if is_cut(&reader) {
            return Ok(());
        }
        names_of(&row, path, &mut columns).map_err(whole)?;
    }
    let names = columns.iter().map(|column| column.name.as_str());
    super::expect_names(Some(wanted), names, &[path.to_owned()]).map_err(whole)?;
    columns.iter_mut().for_each(|column| column.choose(Some(wanted)));
    let expected = columns.last().map_or(0, |last| last.first.saturating_add(last.width));
    for _ in 0..super::look::FIRST_ROWS {
        if !next(&mut reader, &mut row, path).map_err(whole)? || is_cut(&reader) {
            break;
        }
        if let Err((column, why)) = take_row(&mut columns, &row, expected, path) {
            return Err((column, Error::file(code::BAD_ROWS, why)));
        }
    }
    Ok(())
}

/// The names of the columns and how many values each takes from a row, from the arguments or the first file's first line.
pub fn names(source: &Source, paths: &[PathBuf]) -> Result<Vec<(String, usize)>> {
    let mut columns = named_by(&source.args)?;
    let format = Format::of(source.kind, &source.args);
    if let (Some(path), true) = (paths.first(), format.has_names) {
        let mut reader = format.reader(super::open(path)?);
        let mut row = ByteRecord::new();
        first_line(&mut reader, &mut row, path)?;
        names_of(&row, path, &mut columns)?;
    }
    Ok(columns.into_iter().map(|column| (column.name, column.width)).collect())
}

/// The columns that named arguments describe.
fn named_by(args: &[(String, Arg)]) -> Result<Vec<Column>> {
    let mut columns: Vec<Column> = Vec::new();
    let mut first = 0_usize;
    for (name, arg) in widths(args) {
        let Some(width) = as_width(arg) else {
            let message = format!("column `{name}` takes a whole number of values, 1 or more; this is {arg:?}");
            return Err(Error::spec(code::NO_COLUMN, message));
        };
        if columns.iter().any(|column| column.name == *name) {
            return Err(Error::spec(code::NO_COLUMN, format!("two columns are called `{name}`")));
        }
        columns.push(Column { name: name.clone(), first, width, values: Values::Skipped });
        first = first.saturating_add(width);
    }
    Ok(columns)
}

fn as_width(arg: &Arg) -> Option<usize> {
    match arg {
        Arg::Int(n) => usize::try_from(*n).ok().filter(|&n| n > 0),
        Arg::Float(_) | Arg::Bool(_) | Arg::Text(_) => None,
    }
}

fn read_file(
    path: &Path,
    format: Format,
    columns: &mut Vec<Column>,
    wanted: Option<&[Wanted]>,
    bad: &mut BadRows,
) -> Result<()> {
    let mut reader = open(path, format)?;
    let mut row = ByteRecord::new();
    let new = columns.iter().all(|column| matches!(column.values, Values::Skipped));
    if format.has_names {
        first_line(&mut reader, &mut row, path)?;
        names_of(&row, path, columns)?;
    }
    if new {
        super::expect_names(wanted, columns.iter().map(|column| column.name.as_str()), &[path.to_owned()])?;
        columns.iter_mut().for_each(|column| column.choose(wanted));
    }
    let expected = columns.last().map_or(0, |last| last.first.saturating_add(last.width));
    while next(&mut reader, &mut row, path)? {
        if let Err((_, why)) = take_row(columns, &row, expected, path) {
            bad.add(row.position().map_or(0, csv::Position::line), || why);
        }
    }
    Ok(())
}

/// Gives columns their values from a row, or says what is wrong with it, and with which column.
fn take_row(
    columns: &mut [Column],
    row: &ByteRecord,
    expected: usize,
    path: &Path,
) -> std::result::Result<(), (Option<String>, String)> {
    let place = || format!("{}:{}", path.display(), row.position().map_or(0, csv::Position::line));
    if row.len() != expected {
        return Err((None, format!("{}: {} values, expected {expected}", place(), row.len())));
    }
    match columns.iter_mut().find_map(|c| c.push(row).err().map(|bad| (&*c, bad))) {
        None => Ok(()),
        Some((column, (at, kind))) => {
            let found = format!("{} has {}, expected {kind}", column.place(at), shown(&row[at]));
            Err((Some(column.name.clone()), format!("{}: {found}", place())))
        }
    }
}

fn open(path: &Path, format: Format) -> Result<csv::Reader<Rows<Box<dyn BufRead>>>> {
    Ok(format.reader(super::open(path)?))
}

fn first_line(reader: &mut csv::Reader<Rows<impl Read>>, row: &mut ByteRecord, path: &Path) -> Result<()> {
    if next(reader, row, path)? {
        return Ok(());
    }
    let message = format!("{} is empty; its first line should name the columns", path.display());
    Err(Error::file(code::BAD_FILE, message))
}

fn next(reader: &mut csv::Reader<Rows<impl Read>>, row: &mut ByteRecord, path: &Path) -> Result<bool> {
    reader.get_mut().begin();
    reader.read_byte_record(row).map_err(|error| match error.into_kind() {
        csv::ErrorKind::Io(error) => Error::reading(path, &error),
        other => Error::file(code::BAD_FILE, format!("{}: {other:?}", path.display())),
    })
}

/// Takes the columns from a line of names, or checks that it has the same names as an earlier file's.
fn names_of(row: &ByteRecord, path: &Path, columns: &mut Vec<Column>) -> Result<()> {
    let names: Vec<String> = row.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
    if !columns.is_empty() {
        if columns.iter().map(|column| &column.name).eq(&names) {
            return Ok(());
        }
        let message = format!("{} has other columns than the file before it", path.display());
        return Err(Error::file(code::NO_COLUMN, message).note(format!("its columns are {}", names.join(", "))));
    }
    for (first, name) in names.iter().enumerate() {
        if names[..first].contains(name) {
            let message = format!("{}:1: two columns are called `{name}`", path.display());
            let error = Error::file(code::NO_COLUMN, message);
            let numbers = names.iter().all(|name| name.parse::<f64>().is_ok());
            let help = "a file whose first line is numbers needs names: `csv(\"..\", pixels = 64, label = 1)`";
            return Err(if numbers { error.help(help) } else { error });
        }
        columns.push(Column { name: name.clone(), first, width: 1, values: Values::Skipped });
    }
    Ok(())
}

impl Column {
    /// Decides what the column is to have.
    fn choose(&mut self, wanted: Option<&[Wanted]>) {
        let whole = |must, may_be_text| Values::Whole { values: Vec::new(), must, may_be_text };
        self.values = match wanted.map(|wanted| wanted.iter().find(|wanted| wanted.name == self.name)) {
            None => whole(false, true),
            Some(None) => Values::Skipped,
            Some(Some(Wanted { as_, .. })) => match as_ {
                As::Texts | As::Documents => Values::Texts(Texts::default()),
                As::Numbers(None) => whole(false, false),
                As::Numbers(Some(DType::F32 | DType::F16 | DType::BF16)) => Values::Real(Vec::new()),
                As::Numbers(Some(DType::I64 | DType::I32 | DType::U8 | DType::Bool)) => whole(true, false),
            },
        };
    }

    /// Takes its values from a row.
    fn push(&mut self, row: &ByteRecord) -> std::result::Result<(), BadValue> {
        (self.first..self.first + self.width).try_for_each(|at| self.values.push(&row[at]).map_err(|kind| (at, kind)))
    }

    /// Which value of a row, for people.
    fn place(&self, at: usize) -> String {
        match self.width {
            1 => format!("column `{}`", self.name),
            _ => format!("column `{}`, value {},", self.name, at - self.first + 1),
        }
    }

    /// The column with its name; none if it was skipped.
    fn finish(self) -> Option<(String, Finished)> {
        let shape = |values: usize| match self.width {
            1 => vec![values],
            width => vec![values / width, width],
        };
        let tensor = match self.values {
            Values::Skipped => return None,
            Values::Whole { values, .. } => Tensor::from_slice(&shape(values.len()), &values),
            Values::Real(values) => Tensor::from_slice(&shape(values.len()), &values),
            Values::Texts(texts) => return Some((self.name, Finished::Texts(texts))),
        };
        Some((self.name, Finished::Numbers(tensor.expect("every row gave as many values as the shape says"))))
    }
}

impl Values {
    /// Takes a value, or says what was expected.
    fn push(&mut self, text: &[u8]) -> std::result::Result<(), &'static str> {
        let cell = text;
        let text = cell.trim_ascii();
        match self {
            Values::Skipped => Ok(()),
            Values::Texts(texts) => texts.push(cell).map_err(|_| "text in UTF-8"),
            Values::Real(values) => {
                values.push(real(text).ok_or("a number")?);
                Ok(())
            }
            Values::Whole { values, must, may_be_text } => {
                if let Some(value) = whole(text) {
                    values.push(value);
                    return Ok(());
                }
                if *must {
                    return Err("a whole number");
                }
                match real(text) {
                    Some(value) => {
                        let earlier = values.iter().map(|&value| value as f32);
                        *self = Values::Real(earlier.chain([value]).collect());
                        Ok(())
                    }
                    None if *may_be_text && values.is_empty() => {
                        *self = Values::Skipped;
                        Ok(())
                    }
                    None => Err("a number"),
                }
            }
        }
    }
}

/// A whole number, which may have a point and zeros behind it.
fn whole(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().or_else(|| super::whole(text.parse().ok()?))
}

/// A finite number: a value that says `nan` or `inf` stands for one that is not there.
fn real(text: &[u8]) -> Option<f32> {
    std::str::from_utf8(text).ok()?.parse().ok().filter(|value: &f32| value.is_finite())
}
