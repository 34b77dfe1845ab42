//! What is wrong with a file that a spec names, as far as its beginning says: a header, the first rows. So a spec is checked
//! against files of any size in little time. Takes what is looked at and the folder that paths are relative to.

use super::{As, Wanted, csv, jsonl, schema, texts};
use crate::adapters::exchange;
use crate::error::{Error, Result, code};
use crate::weights::file::TensorFile;
use dlc_compiler::lower::{Look, Trouble, Used};
use dlc_plan::recipe::{Source, SourceKind};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// How many rows of a table or text are looked at.
pub const FIRST_ROWS: usize = 100;
/// How many bytes of these.
pub const FIRST_BYTES: u64 = 1 << 20;
/// The longest tokenizer that is read as a whole.
const LONGEST_TOKENIZER: u64 = 64 << 20;

/// What is wrong, and which column it is about, if it is about one.
pub type Found = std::result::Result<(), (Option<String>, Error)>;

/// Looks at a file.
pub fn look(what: Look, folder: &Path) -> Option<Trouble> {
    let (name, found) = match what {
        Look::Source(source, place, used) => {
            let name = source.paths.get(place)?.as_str();
            (name, source_file(source, place, used, folder))
        }
        Look::Weights(name) => (name, weights(&folder.join(name))),
        Look::Adapter(name) => (name, weights(&exchange::files(&folder.join(name)).0)),
        Look::Tokenizer(name) => (name, tokenizer(&folder.join(name)).map_err(|error| (None, error))),
    };
    let (column, error) = found.err()?;
    let absent = error.code == code::CANNOT_READ;
    let Error { code, message, notes, mut help, .. } = error;
    if absent && Path::new(name).is_relative() {
        help.push("a path is relative to the folder of the spec that says it".into());
    }
    Some(Trouble { code, absent, message, notes, help, column })
}

/// Only what has a length is looked into: a pipe could be read once alone, and a device never ends.
fn is_plain(path: &Path) -> Result<bool> {
    std::fs::metadata(path).map(|about| about.is_file()).map_err(|error| Error::reading(path, &error))
}

fn source_file(source: &Source, place: usize, used: &[Used], folder: &Path) -> Found {
    let whole = |error| (None, error);
    let path = folder.join(&source.paths[place]);
    let plain = is_plain(&path).map_err(whole)?;
    let is_folder = !plain && path.is_dir();
    if matches!(source.kind, SourceKind::Images | SourceKind::Cifar) {
        return if is_folder { folder_of_samples(source.kind, &path).map_err(whole) } else { Ok(()) };
    }
    if is_folder {
        let message = format!("{} is a folder, and `{}` takes files", path.display(), source.kind.name());
        return Err(whole(Error::file(code::BAD_FILE, message)));
    }
    if !plain {
        return Ok(());
    }
    let wanted: Vec<Wanted> = used.iter().map(wanted).collect();
    match source.kind {
        SourceKind::Csv | SourceKind::Tsv => csv::look(source, &path, &wanted),
        SourceKind::Jsonl => jsonl::look(&path, &wanted),
        SourceKind::Text => texts::look(&path).map_err(whole),
        SourceKind::Safetensors | SourceKind::Npz | SourceKind::Idx if place == 0 => tensors(source, used, folder),
        SourceKind::Safetensors | SourceKind::Npz | SourceKind::Idx => Ok(()),
        SourceKind::Tokens | SourceKind::Cifar | SourceKind::Images => Ok(()),
    }
}

fn wanted(used: &Used) -> Wanted {
    let as_ = match used.numbers {
        Some(dtype) => As::Numbers(Some(dtype)),
        None => As::Texts,
    };
    Wanted { name: used.name.clone(), as_ }
}

/// The headers of files of tensors say all that there is to know of their columns.
fn tensors(source: &Source, used: &[Used], folder: &Path) -> Found {
    let absent = source.paths.iter().any(|path| !folder.join(path).exists());
    if absent {
        // That is told of that path.
        return Ok(());
    }
    let columns = schema::columns(source, folder).map_err(|error| (None, error))?;
    let paths: Vec<PathBuf> = source.paths.iter().map(|path| folder.join(path)).collect();
    let wanted: Vec<Wanted> = used.iter().map(wanted).collect();
    super::expect_names(Some(&wanted), columns.iter().map(|column| column.name.as_str()), &paths)
        .map_err(|error| (None, error))?;
    for (used, column) in used.iter().filter_map(|u| Some((u, columns.iter().find(|c| c.name == u.name)?))) {
        let (name, paths) = (&used.name, super::names(&paths));
        if used.numbers.is_none() {
            let message = format!("column `{name}` of {paths} has numbers, expected texts");
            return Err((Some(name.clone()), Error::file(code::NO_COLUMN, message)));
        }
        if used.numbers.is_some_and(|dtype| dtype.is_int()) && column.dtype.is_float() {
            let message = format!("column `{name}` of {paths} is {}, expected whole numbers", column.dtype);
            return Err((Some(name.clone()), Error::file(code::NO_COLUMN, message)));
        }
    }
    Ok(())
}

/// A folder of samples has something in it.
fn folder_of_samples(kind: SourceKind, path: &Path) -> Result<()> {
    let mut entries = std::fs::read_dir(path).map_err(|error| Error::reading(path, &error))?;
    let is_class = |entry: std::io::Result<std::fs::DirEntry>| entry.is_ok_and(|entry| entry.path().is_dir());
    let (has, wants) = match kind {
        SourceKind::Images => (entries.any(is_class), "a folder for each class of pictures"),
        _ => (entries.next().is_some(), "files"),
    };
    if has {
        return Ok(());
    }
    Err(Error::file(code::BAD_FILE, format!("{} has nothing in it that is a sample, expected {wants}", path.display())))
}

fn weights(path: &Path) -> Found {
    match is_plain(path).and_then(|plain| if plain { TensorFile::open(path).map(drop) } else { Ok(()) }) {
        Ok(()) => Ok(()),
        Err(error) => Err((None, error)),
    }
}

fn tokenizer(path: &Path) -> Result<()> {
    if !is_plain(path)? {
        return Ok(());
    }
    let file = File::open(path).map_err(|error| Error::reading(path, &error))?;
    let is_short = file.metadata().is_ok_and(|about| about.len() <= LONGEST_TOKENIZER);
    let mut file = BufReader::new(file);
    let bad = |why: String| Error::file(code::BAD_FILE, format!("{} is not a tokenizer: {why}", path.display()));
    if is_short {
        let read: std::result::Result<serde::de::IgnoredAny, _> = serde_json::from_reader(file);
        return read.map(drop).map_err(|error| bad(error.to_string()));
    }
    let mut first = [0; 1];
    file.read_exact(&mut first).map_err(|error| Error::reading(path, &error))?;
    if first == *b"{" { Ok(()) } else { Err(bad("it does not begin with `{`".into())) }
}
