//! The binary files of CIFAR-10 and CIFAR-100, perhaps gzipped. Takes files, or the folder that they were unpacked to; gives
//! the columns `pixels` and `label`, and for CIFAR-100 `coarse` as well.
//!
//! A record is a byte for the class (of CIFAR-100 one for the coarse class before it) and 3 planes of 32 by 32 bytes.

use super::{Columns, Wanted};
use crate::error::{Error, Result, code};
use dlc_runtime::tensor::{DType, Tensor};
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of a picture.
const PICTURE: usize = 3 * 32 * 32;
/// What a folder's files for training are called: those of CIFAR-10, or that of CIFAR-100.
const TRAINING: [(&str, &str); 2] = [("data_batch_", ".bin"), ("train", ".bin")];

/// Reads files one after the other; of folders, the files for training.
pub fn read(paths: &[PathBuf], wanted: Option<&[Wanted]>) -> Result<Columns> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(in_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    let (mut pixels, mut labels, mut coarse) = (Vec::new(), Vec::new(), Vec::new());
    let mut classes = None;
    for path in &files {
        let mut bytes = Vec::new();
        super::open(path)?.read_to_end(&mut bytes).map_err(|error| Error::reading(path, &error))?;
        let labels_of = labels_in(bytes.len(), path)?;
        if *classes.get_or_insert(labels_of) != labels_of {
            let message = format!("{} has {labels_of} labels a picture, unlike the file before it", path.display());
            return Err(Error::file(code::BAD_FILE, message));
        }
        for record in bytes.chunks_exact(labels_of + PICTURE) {
            let (classes, picture) = record.split_at(labels_of);
            pixels.extend_from_slice(picture);
            labels.push(classes[labels_of - 1]);
            coarse.extend(classes[..labels_of - 1].first());
        }
    }
    let names: &[&str] = if classes == Some(2) { &["pixels", "label", "coarse"] } else { &["pixels", "label"] };
    super::expect_names(wanted, names.iter().copied(), paths)?;
    let rows = labels.len();
    let column = |name: &str, shape: &[usize], bytes: &[u8]| {
        let tensor = Tensor::from_bytes(DType::U8, shape, bytes);
        (name.to_owned(), tensor.expect("each record gave as many bytes as the shape says"))
    };
    let mut columns = vec![column("pixels", &[rows, 3, 32, 32], &pixels), column("label", &[rows], &labels)];
    if names.len() == 3 {
        columns.push(column("coarse", &[rows], &coarse));
    }
    Columns::new(columns)
}

/// The files for training in a folder, in the order of their names.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let names = super::names_in(folder)?;
    let is_training =
        |name: &&String| TRAINING.iter().any(|(start, end)| name.starts_with(start) && name.ends_with(end));
    let found: Vec<PathBuf> = names.iter().filter(is_training).map(|name| folder.join(name)).collect();
    if found.is_empty() {
        let message = format!("{} has no files called data_batch_1.bin and so on, nor train.bin", folder.display());
        return Err(Error::file(code::CANNOT_READ, message));
    }
    Ok(found)
}

/// How many labels each picture of a file has: its length says so.
fn labels_in(length: usize, path: &Path) -> Result<usize> {
    let fits = |labels: &usize| length.is_multiple_of(labels + PICTURE);
    [1, 2].into_iter().find(fits).ok_or_else(|| {
        let (ten, hundred) = (1 + PICTURE, 2 + PICTURE);
        let message = format!(
            "{} is not a sound file of CIFAR: {length} bytes are no whole number of records, of {ten} bytes (CIFAR-10) or \
             {hundred} (CIFAR-100)",
            path.display()
        );
        Error::file(code::BAD_FILE, message)
    })
}
