//! Samples in files. Takes a source of a `data` item, gives its columns: tensors with a row for each sample, along axis 0.

mod bad_rows;
mod cifar;
mod csv;
mod idx;
#[cfg(feature = "images")]
pub mod images;
mod jsonl;
mod lines;
#[cfg(feature = "jit")]
pub mod look;
mod tensors;
pub mod texts;
mod tokens;
mod unpack;

mod encode;
pub mod samples;

pub mod batches;
pub mod schema;
pub mod split;

use crate::error::{Error, Result, code};
use dlc_plan::recipe::{Source, SourceKind};
use dlc_runtime::tensor::{DType, Tensor, TensorError};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use texts::Texts;
use unpack::Unpacked;

/// Columns of samples: tensors with the same number of rows along axis 0, and texts or pictures that will become some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    columns: Vec<(String, Tensor)>,
    texts: Vec<(String, Texts)>,
    /// Ids one after the other, in which there are no rows yet.
    stream: Option<Vec<u32>>,
    /// Pictures that have not been decoded.
    #[cfg(feature = "images")]
    pictures: Option<(String, images::Pictures)>,
    /// The names of the classes, where folders are classes.
    classes: Vec<String>,
    /// What is left out, in a line for each source.
    notes: Vec<String>,
    rows: usize,
}

/// A column that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its name.
    pub name: String,
    /// What it shall be.
    pub as_: As,
}

/// What a column shall be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum As {
    /// Numbers of that type; without one, of what the file suggests.
    Numbers(Option<dlc_plan::DType>),
    /// Texts, a row each.
    Texts,
    /// Texts that go on from row to row: where a file's rows are its lines, all of it is one.
    Documents,
}

impl Columns {
    /// The names of the classes by their numbers, where folders are classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// What is left out of a source, in a line.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Columns of the same number of rows.
    pub fn new(columns: Vec<(String, Tensor)>) -> Result<Columns> {
        let mut rows = None;
        for (name, tensor) in &columns {
            let Some((&length, rest)) = tensor.shape().split_first() else {
                return Err(Error::file(code::NO_COLUMN, format!("`{name}` is a single number; a column has rows")));
            };
            if length > 0 && rest.contains(&0) {
                let message = format!("`{name}` has the shape {:?}: rows without elements", tensor.shape());
                return Err(Error::file(code::NO_COLUMN, message));
            }
            let (first, first_rows) = *rows.get_or_insert((name, length));
            if first_rows != length {
                let message = format!("`{first}` has {first_rows} rows and `{name}` has {length}");
                return Err(Error::file(code::NO_COLUMN, message));
            }
        }
        let rows = rows.map_or(0, |(_, rows)| rows);
        Ok(Columns { columns, rows, ..Columns::default() })
    }

    /// Columns of numbers and of texts with the same number of rows.
    pub fn with_texts(columns: Vec<(String, Tensor)>, texts: Vec<(String, Texts)>) -> Result<Columns> {
        let numbers = Columns::new(columns)?;
        let rows = numbers.columns.first().map(|_| numbers.rows).or(texts.first().map(|(_, texts)| texts.len()));
        let rows = rows.unwrap_or(0);
        match texts.iter().find(|(_, texts)| texts.len() != rows) {
            None => Ok(Columns { texts, rows, ..numbers }),
            Some((name, texts)) => {
                let message = format!("`{name}` has {} rows, and other columns have {rows}", texts.len());
                Err(Error::file(code::NO_COLUMN, message))
            }
        }
    }

    /// The texts of that name.
    pub fn texts(&self, name: &str) -> Option<&Texts> {
        self.texts.iter().find(|(known, _)| known == name).map(|(_, texts)| texts)
    }

    /// The number of samples.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The columns with their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.columns.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// The columns with their names, without the rest.
    pub fn into_named(self) -> Vec<(String, Tensor)> {
        self.columns
    }

    /// The column of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.columns.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor)
    }

    /// The tensors of some rows, in the order given; pictures are decoded.
    ///
    /// # Errors
    /// When a picture is not sound.
    pub fn select(&self, rows: &[u32]) -> Result<Columns> {
        let select = |(name, tensor): &(String, Tensor)| (name.clone(), select_rows(tensor, rows));
        #[allow(unused_mut, reason = "only pictures add to them")]
        let mut columns: Vec<(String, Tensor)> = self.columns.iter().map(select).collect();
        #[cfg(feature = "images")]
        if let Some((name, pictures)) = &self.pictures {
            columns.push((name.clone(), pictures.select(rows)?));
        }
        Ok(Columns { columns, rows: rows.len(), ..Columns::default() })
    }
}

/// Some rows of a tensor, in the order given.
fn select_rows(tensor: &Tensor, rows: &[u32]) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    let width = tensor.bytes().len() / shape[0].max(1);
    shape[0] = rows.len();
    let mut bytes = Vec::with_capacity(rows.len() * width);
    for &row in rows {
        let start = row as usize * width;
        bytes.extend_from_slice(&tensor.bytes()[start..start + width]);
    }
    Tensor::from_bytes(tensor.dtype(), &shape, &bytes).expect("whole rows of a sound tensor are a sound tensor")
}

/// Reads the columns of a source whose files are relative to `folder`. With `wanted`, only those columns, in that order
/// and with those types of elements; without, all that are numbers.
pub fn read(source: &Source, folder: &Path, wanted: Option<&[Wanted]>) -> Result<Columns> {
    read_like(source, folder, wanted, None)
}

/// As [`read`]; classes are numbered as in `like`.
pub fn read_like(source: &Source, folder: &Path, wanted: Option<&[Wanted]>, like: Option<&Columns>) -> Result<Columns> {
    let paths: Vec<PathBuf> = source.paths.iter().map(|path| folder.join(path)).collect();
    let columns = match source.kind {
        SourceKind::Csv | SourceKind::Tsv => csv::read(source, &paths, wanted)?,
        SourceKind::Jsonl => jsonl::read(&paths, wanted)?,
        SourceKind::Text => texts::read(&paths, wanted)?,
        SourceKind::Safetensors | SourceKind::Npz => tensors::read(source.kind, &paths, wanted)?,
        SourceKind::Idx => idx::read(&paths, wanted)?,
        SourceKind::Cifar => cifar::read(&paths, wanted)?,
        SourceKind::Images => pictures(source, &paths, wanted, like)?,
        SourceKind::Tokens => {
            expect_names(wanted, [tokens::NAME].into_iter(), &paths)?;
            Columns { stream: Some(tokens::read(&paths, &source.args)?), ..Columns::default() }
        }
    };
    let columns = match wanted {
        Some(wanted) => convert(columns, wanted, &paths)?,
        None => columns,
    };
    match u32::try_from(columns.rows) {
        Ok(_) => Ok(columns),
        Err(_) => Err(Error::file(code::BAD_FILE, format!("{} has 2^32 rows or more", names(&paths)))),
    }
}

#[cfg(feature = "images")]
fn pictures(source: &Source, paths: &[PathBuf], wanted: Option<&[Wanted]>, like: Option<&Columns>) -> Result<Columns> {
    images::read(source, paths, wanted, like.map(|like| like.classes.as_slice()))
}

#[cfg(not(feature = "images"))]
fn pictures(_: &Source, _: &[PathBuf], _: Option<&[Wanted]>, _: Option<&Columns>) -> Result<Columns> {
    let error = Error::run(code::CANNOT_RUN, "this program was built without readers of pictures");
    Err(error.help("`dlc = { version = \"..\", default-features = false, features = [\"images\"] }`"))
}

/// The wanted columns in the wanted types.
fn convert(mut columns: Columns, wanted: &[Wanted], paths: &[PathBuf]) -> Result<Columns> {
    let mut found = Vec::with_capacity(wanted.len());
    for Wanted { name, as_ } in wanted {
        // What is no tensor yet has no type to convert.
        let Some(at) = columns.columns.iter().position(|(known, _)| known == name) else { continue };
        let tensor = columns.columns.swap_remove(at).1;
        let tensor = match as_ {
            As::Numbers(Some(dtype)) => cast(tensor, *dtype).map_err(|error| {
                let message = format!("column `{name}` of {} cannot be {dtype}: {error}", names(paths));
                Error::file(code::NO_COLUMN, message)
            })?,
            As::Numbers(None) => tensor,
            As::Texts | As::Documents => {
                let message = format!("column `{name}` of {} has numbers, expected texts", names(paths));
                return Err(Error::file(code::NO_COLUMN, message));
            }
        };
        found.push((name.clone(), tensor));
    }
    columns.columns = found;
    Ok(columns)
}

/// Checks that every wanted column is among the known ones.
fn expect_names<'a>(wanted: Option<&[Wanted]>, known: impl Iterator<Item = &'a str>, paths: &[PathBuf]) -> Result<()> {
    let known: Vec<&str> = known.collect();
    let absent: Vec<String> = wanted
        .iter()
        .flat_map(|wanted| wanted.iter())
        .filter(|wanted| !known.contains(&wanted.name.as_str()))
        .map(|wanted| format!("`{}`", wanted.name))
        .collect();
    if absent.is_empty() {
        return Ok(());
    }
    let error = Error::file(code::NO_COLUMN, format!("{} has no column {}", names(paths), absent.join(" and no ")));
    Err(error.note(format!("its columns are {}", known.join(", "))))
}

/// The same numbers in another type. Integers and truths become real numbers; real numbers never become integers.
pub fn cast(tensor: Tensor, dtype: dlc_plan::DType) -> std::result::Result<Tensor, TensorError> {
    let target = DType::from(dtype);
    if tensor.dtype() == target {
        return Ok(tensor);
    }
    let shape = tensor.shape();
    match dtype {
        dlc_plan::DType::F32 => Tensor::from_slice(shape, &tensor.to_f32_vec()),
        dlc_plan::DType::F16 | dlc_plan::DType::BF16 => tensor.to_float(target),
        dlc_plan::DType::I64 => Tensor::from_slice(shape, &tensor.to_i64_vec()?),
        dlc_plan::DType::I32 => Tensor::from_slice(shape, &tensor.to_i32_vec()?),
        dlc_plan::DType::U8 | dlc_plan::DType::Bool => {
            Err(TensorError::Type { found: tensor.dtype(), expected: target.name() })
        }
    }
}

fn names(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
}

/// The names in a folder, in order. Those that are no text are left out.
fn names_in(folder: &Path) -> Result<Vec<String>> {
    let cannot = |error: std::io::Error| Error::reading(folder, &error);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(cannot)? {
        if let Ok(name) = entry.map_err(cannot)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// A file's bytes in order; what is gzipped, whatever it is called, comes unpacked.
fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let cannot = |error: std::io::Error| Error::reading(path, &error);
    let (file, about) = crate::files::open(path).map_err(cannot)?;
    let mut plain = BufReader::with_capacity(1 << 16, file);
    let start = plain.fill_buf().map_err(cannot)?;
    if start.starts_with(&[0x1F, 0x8B]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 16, Unpacked::new(plain, about.len()))));
    }
    Ok(Box::new(plain))
}

/// The first bytes of a file that is looked at.
#[cfg(feature = "jit")]
fn beginning(path: &Path) -> Result<std::io::Take<Box<dyn BufRead>>> {
    Ok(open(path)?.take(look::FIRST_BYTES))
}

/// At most `limit` bytes of a file from where it is.
fn read_at_most(file: &mut dyn BufRead, limit: u64, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes).map_err(|error| Error::reading(path, &error))?;
    Ok(bytes)
}

/// A number of double precision as a whole number, where it is one; those past 2^53 may have been rounded already.
fn whole(x: f64) -> Option<i64> {
    (x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0).then_some(x as i64)
}
