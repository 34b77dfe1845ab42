//! Pictures in folders. Takes a folder with a folder for each class; gives the columns `pixels`, of bytes with axes channel
//! (red, green, blue), height and width, and `label`, the number of the class among the names of folders with pictures, in order.
//!
//! Pictures that fit into memory are decoded once; of more than that, each batch's are decoded when it is asked for.

mod decode;
mod listed;
mod orientation;
mod resize;

pub use decode::{Picture, decode, size_of};
pub use resize::{Fit, fitted};

use super::{Columns, Wanted};
use crate::error::{Error, Result, code};
use dlc_plan::recipe::{Arg, Source};
use dlc_runtime::tensor::{DType, Tensor};
use listed::{listed, no_pictures};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of decoded pictures that are kept.
const MOST_KEPT: usize = 1 << 30;
/// Pictures that are decoded when they are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Pictures {
    files: Arc<[PathBuf]>,
    size: (usize, usize),
    fit: Option<Fit>,
}

/// Reads a folder. Where `classes` are known from another source, the folders must be among them.
pub fn read(
    source: &Source,
    paths: &[PathBuf],
    wanted: Option<&[Wanted]>,
    classes: Option<&[String]>,
) -> Result<Columns> {
    super::expect_names(wanted, ["pixels", "label"].into_iter(), paths)?;
    let fit = fit_of(&source.args);
    let found = listed(paths, classes)?;
    let note = found.left_out.note(paths);
    let size = match (source.picture_size(), found.files.first()) {
        (Some(size), _) => size,
        (None, Some((first, _))) => size_in(first)?,
        (None, None) => return Err(no_pictures(paths, &found.left_out)),
    };
    let (files, labels): (Vec<PathBuf>, Vec<i64>) = found.files.into_iter().unzip();
    let rows = files.len();
    let labels = Tensor::from_slice(&[rows], &labels).expect("there is a label for each picture");
    let pictures = Pictures { files: files.into(), size, fit };
    let mut columns = Columns::new(vec![("label".to_owned(), labels)])?;
    let bytes = rows.saturating_mul(pictures.bytes());
    if wanted.is_none_or(|wanted| wanted.iter().any(|wanted| wanted.name == "pixels")) {
        match bytes <= MOST_KEPT {
            true => {
                let all: Vec<u32> = (0..rows).map(|row| u32::try_from(row).expect("1 GB has fewer pictures")).collect();
                columns =
                    Columns::new(vec![("pixels".to_owned(), pictures.select(&all)?), columns.into_named().remove(0)])?;
            }
            false => columns.pictures = Some(("pixels".to_owned(), pictures)),
        }
    }
    columns.classes = found.classes;
    columns.notes.extend(note);
    Ok(columns)
}

/// The height and width of the pictures, from the first of them.
pub fn size(paths: &[PathBuf]) -> Result<(usize, usize)> {
    let found = listed(paths, None)?;
    match found.files.first() {
        Some((first, _)) => size_in(first),
        None => Err(no_pictures(paths, &found.left_out)),
    }
}

fn fit_of(args: &[(String, Arg)]) -> Option<Fit> {
    args.iter().find_map(|(name, arg)| match (name.as_str(), arg) {
        ("fit", Arg::Text(how)) if how == "stretch" => Some(Fit::Stretch),
        ("fit", Arg::Text(how)) if how == "crop" => Some(Fit::Crop),
        _ => None,
    })
}

fn bad(path: &Path, why: &str) -> Error {
    Error::file(code::BAD_FILE, format!("{} is not a sound picture: {why}", path.display()))
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    crate::files::read(path).map_err(|error| Error::reading(path, &error))
}

fn size_in(path: &Path) -> Result<(usize, usize)> {
    size_of(&bytes_of(path)?).map_err(|why| bad(path, &why))
}

impl Pictures {
    /// Bytes of one picture.
    fn bytes(&self) -> usize {
        3_usize.saturating_mul(self.size.0).saturating_mul(self.size.1)
    }

    /// The number of pictures.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Some pictures as a tensor, in the order given. They are decoded by as many threads as there are cores; which one
    /// decodes a picture makes no difference.
    pub fn select(&self, rows: &[u32]) -> Result<Tensor> {
        let each = self.bytes();
        let shape = [rows.len(), 3, self.size.0, self.size.1];
        let mut tensor = Tensor::zeros(DType::U8, &shape)?;
        let all = tensor.view_mut::<u8>()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = rows.len().div_ceil(threads).max(1);
        let done: Vec<Result<()>> = std::thread::scope(|scope| {
            let pieces = rows.chunks(share).zip(all.chunks_mut((share * each).max(1)));
            let fill = |(rows, piece): (&[u32], &mut [u8])| {
                rows.iter().zip(piece.chunks_exact_mut(each)).try_for_each(|(row, place)| self.fill(*row, place))
            };
            let started: Vec<_> = pieces.map(|piece| scope.spawn(move || fill(piece))).collect();
            started.into_iter().map(|thread| thread.join().expect("decoding does not panic")).collect()
        });
        done.into_iter().collect::<Result<()>>()?;
        Ok(tensor)
    }

    /// One picture, plane after plane.
    fn fill(&self, row: u32, place: &mut [u8]) -> Result<()> {
        let path = &self.files[row as usize];
        let picture = decode(&bytes_of(path)?).map_err(|why| bad(path, &why))?;
        let (height, width) = self.size;
        let picture = match self.fit {
            Some(fit) => fitted(picture, height, width, fit),
            None if (picture.height, picture.width) == self.size => picture,
            None => {
                let (found, found_width) = (picture.height, picture.width);
                let message = format!(
                    "{} is {found} high and {found_width} wide; the others are {height} and {width}",
                    path.display()
                );
                let help =
                    format!("`images(\"..\", height = {height}, width = {width}, fit = \"crop\")` or \"stretch\"");
                return Err(Error::file(code::BAD_FILE, message).help(help));
            }
        };
        let plane = height * width;
        for (at, color) in picture.rgb.chunks_exact(3).enumerate() {
            for (channel, value) in color.iter().enumerate() {
                place[channel * plane + at] = *value;
            }
        }
        Ok(())
    }
}
