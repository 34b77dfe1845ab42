//! A file of tensors, whatever its format. Takes a path; gives names, types and shapes, and reads one tensor after the other
//! from where it lies. Files are not read as a whole.
//!
//! Nothing in a file is believed: every place is held against the file's length and the tensor's shape, and nothing is
//! allocated by a number that a file says. What a file is, its first bytes tell and not its name.

use super::element::Elements;
use super::input::{Input, View};
use super::listing::{Bad, Entry, Listing};
use super::{gguf, npz, safetensors, shards, torch, zip};
use crate::error::{Error, Result, code};
use dlc_runtime::tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

/// A file's first bytes, which tell its format.
const START: usize = 1 << 16;
/// Rules are held against every part of a name, so that a very long one would take very long.
const LONGEST_NAME: usize = 4096;

/// What a file of Git LFS begins with where it has not been fetched.
const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";

/// An open file of tensors; an index with its shards counts as one.
pub struct TensorFile {
    path: PathBuf,
    format: Format,
    /// The file, or the shards.
    files: Vec<(PathBuf, Input)>,
    /// Each with the number of its file.
    tensors: BTreeMap<String, (usize, Entry)>,
    about: BTreeMap<String, String>,
    notes: Vec<String>,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Safetensors.
    Safetensors,
    /// An index of several files.
    Index,
    /// NumPy's archive of arrays.
    Npz,
    /// PyTorch's archive of a pickle and records.
    Torch,
    /// PyTorch's pickles and records, as it wrote them before 1.6.
    OldTorch,
    /// The format of llama.cpp.
    Gguf,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::Safetensors => "safetensors",
            Format::Index => "index",
            Format::Npz => "npz",
            Format::Torch | Format::OldTorch => "PyTorch",
            Format::Gguf => "GGUF",
        })
    }
}

/// A tensor as it lies in a file.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// How its elements are stored.
    pub elements: &'a Elements,
    /// Its shape.
    pub shape: &'a [usize],
}

impl TensorFile {
    /// Opens a file, and the shards of an index, and checks all that they say of themselves.
    ///
    /// # Errors
    /// When a file cannot be read, or is not sound, or its format is not known.
    pub fn open(path: &Path) -> Result<TensorFile> {
        let bytes = Input::open(path).map_err(|error| Error::reading(path, &error))?;
        TensorFile::of(path, bytes, &mut Input::open)
    }

    /// As [`TensorFile::open`], from the bytes of a file; an index' shards are asked for.
    ///
    /// # Errors
    /// As [`TensorFile::open`].
    pub fn of(path: &Path, bytes: Input, open: &mut dyn FnMut(&Path) -> std::io::Result<Input>) -> Result<TensorFile> {
        let mut file = TensorFile {
            path: path.to_owned(),
            format: format(&View::new(&bytes)).map_err(|bad| refused(path, None, bad))?,
            files: Vec::new(),
            tensors: BTreeMap::new(),
            about: BTreeMap::new(),
            notes: Vec::new(),
        };
        if file.format == Format::Index {
            let all = bytes.bytes(0..bytes.len()).map_err(|why| refused(path, Some(Format::Index), why.into()))?;
            file.open_shards(&all, open)?;
            return Ok(file);
        }
        let listing = list(file.format, &View::new(&bytes)).map_err(|bad| refused(path, Some(file.format), bad))?;
        file.add(path, bytes, listing)?;
        Ok(file)
    }

    /// Takes the tensors of a file, or of a shard, in.
    fn add(&mut self, path: &Path, bytes: Input, listing: Listing) -> Result<()> {
        let number = self.files.len();
        for (name, entry) in listing.tensors {
            if name.len() > LONGEST_NAME {
                let start: String = name.chars().take(20).collect();
                let why =
                    format!("a name that begins with `{start}` has {} bytes; {LONGEST_NAME} are allowed", name.len());
                return Err(refused(path, Some(self.format), why.into()));
            }
            let bad = |why: String| refused(path, Some(self.format), Bad::from(format!("`{name}`: {why}")));
            entry.check().map_err(bad)?;
            match self.tensors.get(&name) {
                None => drop(self.tensors.insert(name, (number, entry))),
                Some((other, _)) if *other == number => return Err(bad("it is there twice".into())),
                Some((other, _)) => {
                    return Err(bad(format!("it is also in {}", self.files[*other].0.display())));
                }
            }
        }
        self.about.extend(listing.about);
        self.notes.extend(listing.notes);
        self.files.push((path.to_owned(), bytes));
        Ok(())
    }

    /// Opens what an index names. All that is missing is told at once.
    fn open_shards(&mut self, text: &[u8], open: &mut dyn FnMut(&Path) -> std::io::Result<Input>) -> Result<()> {
        let index = shards::index(text).map_err(|bad| refused(&self.path, Some(Format::Index), bad))?;
        let mut trouble = Vec::new();
        for (shard, names) in &index.shards {
            let path = self.path.with_file_name(shard);
            let bytes = match open(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    let said = Error::reading(&path, &error).message;
                    trouble.push(format!("{said}; it has {} of the tensors", names.len()));
                    continue;
                }
            };
            let format = format(&View::new(&bytes)).map_err(|bad| refused(&path, None, bad))?;
            if format == Format::Index {
                return Err(refused(&path, None, "it is an index, and an index names it".into()));
            }
            let mut listing = list(format, &View::new(&bytes)).map_err(|bad| refused(&path, Some(format), bad))?;
            // A file may have what the index says to be elsewhere, or nowhere: the index is right.
            let all = listing.tensors.len();
            listing.tensors.retain(|(name, _)| names.contains(name));
            let there: BTreeSet<&str> = listing.tensors.iter().map(|(name, _)| name.as_str()).collect();
            for name in names.iter().filter(|name| !there.contains(name.as_str())) {
                trouble.push(format!("`{name}` should be in {}, and is not", path.display()));
            }
            if all > listing.tensors.len() {
                let count = all - listing.tensors.len();
                let tensors = if count == 1 { "tensor" } else { "tensors" };
                self.notes
                    .push(format!("{count} {tensors} of {shard} that the index does not say to be there: left out"));
            }
            if trouble.is_empty() {
                self.add(&path, bytes, listing)?;
            }
        }
        self.about.extend(index.about);
        if trouble.is_empty() {
            return Ok(());
        }
        let message = format!("{} and the files that it names do not fit", self.path.display());
        Err(Error::file(code::BAD_FILE, message).note(first_lines(&trouble)))
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its format.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The names of its tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What is known of the tensor of that name.
    pub fn get(&self, name: &str) -> Option<Stored<'_>> {
        let (_, entry) = self.tensors.get(name)?;
        Some(Stored { elements: &entry.elements, shape: &entry.shape })
    }

    /// A copy of the tensor of that name, in memory; none if the file has no such tensor.
    pub fn read(&self, name: &str) -> Option<Result<Tensor>> {
        let (file, entry) = self.tensors.get(name)?;
        let (path, bytes) = &self.files[*file];
        Some(entry.read(bytes).map_err(|why| cannot_use(name, path, &why)))
    }

    /// Whether [`TensorFile::read`] of that tensor can still find something wrong with its elements.
    pub fn can_fail(&self, name: &str) -> bool {
        self.tensors.get(name).is_some_and(|(_, entry)| entry.can_fail())
    }

    /// The type in which the tensor of that name is read, and its shape; none if the file has no such tensor.
    pub fn ty(&self, name: &str) -> Option<Result<(DType, &[usize])>> {
        let (file, entry) = self.tensors.get(name)?;
        let not_read = || {
            let why = format!("its elements are {}, which dlc does not read", entry.elements.name());
            cannot_use(name, &self.files[*file].0, &why)
        };
        Some(entry.elements.read_as().ok_or_else(not_read).map(|dtype| (dtype, entry.shape.as_slice())))
    }

    /// How it was read, where there was a choice.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What the file says about itself.
    pub fn about(&self) -> &BTreeMap<String, String> {
        &self.about
    }
}

/// What a file is. Formats that begin with a magic number are told by it. A safetensors file has none: it begins with a length,
/// whose bytes may be those of any magic number of up to four, so that what the length says is looked at first.
fn format(input: &View) -> std::result::Result<Format, Bad> {
    let file = input.start(START)?;
    if safetensors::has_header(file) {
        return Ok(Format::Safetensors);
    }
    if file.starts_with(gguf::MAGIC) {
        return Ok(Format::Gguf);
    }
    if file.starts_with(b"PK\x03\x04") || file.starts_with(b"PK\x05\x06") {
        let members = zip::members(input)?;
        let has = |end: &str| members.iter().any(|member| member.name.ends_with(end));
        return match (has("data.pkl"), has(".npy")) {
            (true, _) => Ok(Format::Torch),
            (false, true) => Ok(Format::Npz),
            (false, false) => {
                Err("it is a zip archive, with neither NumPy's arrays nor PyTorch's `data.pkl` in it".into())
            }
        };
    }
    if torch::is_old(file) {
        return Ok(Format::OldTorch);
    }
    if let Some(bad) = torch::only_pickle(file) {
        return Err(bad);
    }
    if file.starts_with(npz::MAGIC) {
        let bad = Bad::from("it is one array of NumPy, and has no name");
        return Err(bad.help("write it into an archive: `numpy.savez(\"weights.npz\", name=array)`"));
    }
    if file.starts_with(b"\x89HDF\r\n\x1a\n") {
        return Err("HDF5 is a format that dlc does not read".into());
    }
    if shards::is_json(file) {
        return Ok(Format::Index);
    }
    if file.starts_with(LFS_POINTER) {
        let bad = Bad::from("it is what Git LFS has in the place of a file, and not the file");
        return Err(bad.help("`git lfs pull` fetches it"));
    }
    Ok(Format::Safetensors)
}

fn list(format: Format, file: &View) -> std::result::Result<Listing, Bad> {
    match format {
        Format::Safetensors => safetensors::list(file),
        Format::Npz => npz::list(file),
        Format::Torch => torch::list(file, &zip::members(file)?),
        Format::OldTorch => torch::list_old(file),
        Format::Gguf => gguf::list(file),
        Format::Index => Err("it is an index".into()),
    }
}

/// A file that is not what it should be.
fn refused(path: &Path, format: Option<Format>, bad: Bad) -> Error {
    let path = path.display();
    let message = match format {
        Some(format) => format!("{path} is not a sound {format} file: {}", bad.why),
        None => format!("{path} is no file of tensors that dlc reads: {}", bad.why),
    };
    bad.help.into_iter().fold(Error::file(code::BAD_FILE, message), |error, help| error.help(help))
}

fn cannot_use(name: &str, path: &Path, why: &str) -> Error {
    Error::file(code::BAD_FILE, format!("cannot use `{name}` of {}: {why}", path.display()))
}

/// So many lines of a table that a person reads it.
fn first_lines(lines: &[String]) -> String {
    const MOST: usize = 40;
    let mut shown = lines[..lines.len().min(MOST)].join("\n");
    if lines.len() > MOST {
        shown.push_str(&format!("\nand {} more", lines.len() - MOST));
    }
    shown
}
