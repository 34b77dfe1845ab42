//! The pictures in folders of classes. Takes folders; gives the files with their classes, and what lies beside them and is not read.

use super::super::{names, names_in};
use crate::error::{Error, Result, code};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The ends of the names of pictures.
const ENDS: [&str; 3] = ["png", "jpg", "jpeg"];
/// How many names a line has.
const MOST_NAMES: usize = 8;

/// The pictures of some folders, with their classes' numbers, and the classes.
pub struct Listed {
    /// The files, each with the number of its class.
    pub files: Vec<(PathBuf, i64)>,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// What is not read.
    pub left_out: LeftOut,
}

/// What lies beside pictures. What is hidden counts nowhere.
#[derive(Debug, Default)]
pub struct LeftOut {
    /// Files of a class that are called otherwise than pictures, by the ends of their names.
    files: BTreeMap<String, usize>,
    /// Folders in folders of classes.
    nested: usize,
    /// Files beside the folders of classes.
    beside: usize,
    /// Folders without pictures.
    empty: BTreeSet<String>,
}

/// What is in some folders. Without `known` classes, these are the folders with pictures.
pub fn listed(paths: &[PathBuf], known: Option<&[String]>) -> Result<Listed> {
    let mut left_out = LeftOut::default();
    let mut folders: Vec<(String, PathBuf, Vec<PathBuf>)> = Vec::new();
    for path in paths {
        for name in visible(path)? {
            let folder = path.join(&name);
            match folder.is_dir() {
                true => {
                    let pictures = left_out.pictures(&folder)?;
                    folders.push((name, folder, pictures));
                }
                false => left_out.beside += 1,
            }
        }
    }
    let with_pictures = folders.iter().filter(|(.., pictures)| !pictures.is_empty()).map(|(name, ..)| name.clone());
    let own: BTreeSet<String> = with_pictures.collect();
    left_out.empty = folders.iter().map(|(name, ..)| name).filter(|name| !own.contains(*name)).cloned().collect();
    let classes = known.map_or_else(|| own.into_iter().collect(), <[String]>::to_vec);
    let mut files = Vec::new();
    for (name, folder, pictures) in folders.into_iter().filter(|(.., pictures)| !pictures.is_empty()) {
        let Some(class) = classes.iter().position(|class| *class == name) else {
            let message = format!("{} is no class of the pictures that are trained on", folder.display());
            return Err(Error::file(code::NO_COLUMN, message).note(format!("these are {}", classes.join(", "))));
        };
        files.extend(pictures.into_iter().map(|picture| (picture, class as i64)));
    }
    if files.is_empty() {
        return Err(no_pictures(paths, &left_out));
    }
    Ok(Listed { files, classes, left_out })
}

/// The names in a folder that are not hidden.
fn visible(folder: &Path) -> Result<Vec<String>> {
    Ok(names_in(folder)?.into_iter().filter(|name| !name.starts_with('.')).collect())
}

/// What is said where there is no picture.
pub fn no_pictures(paths: &[PathBuf], left_out: &LeftOut) -> Error {
    let message = format!("{} has no folders with pictures called .png, .jpg or .jpeg", names(paths));
    let error = Error::file(code::CANNOT_READ, message).help("each class has a folder of its own: `photos/cats/1.jpg`");
    left_out.note(paths).into_iter().fold(error, Error::note)
}

impl LeftOut {
    /// The pictures of a class. All else is counted.
    fn pictures(&mut self, folder: &Path) -> Result<Vec<PathBuf>> {
        let mut pictures = Vec::new();
        for name in visible(folder)? {
            let path = folder.join(&name);
            let end = path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).unwrap_or_default();
            if path.is_dir() {
                self.nested += 1;
            } else if ENDS.contains(&end.as_str()) {
                pictures.push(path);
            } else {
                *self.files.entry(end).or_default() += 1;
            }
        }
        Ok(pictures)
    }

    /// One line on it all; none where nothing is left out.
    pub fn note(&self, paths: &[PathBuf]) -> Option<String> {
        let mut parts = Vec::new();
        let files: usize = self.files.values().sum();
        if files > 0 {
            let end = |(end, count): (&String, &usize)| match end.as_str() {
                "" => format!("{count} without an ending"),
                end => format!("{count} .{end}"),
            };
            let ends = some(self.files.iter().map(end));
            parts.push(format!("{} in a format that is not read ({ends})", counted(files, "file", "files")));
        }
        if self.nested > 0 {
            parts.push(format!("{} within a class", counted(self.nested, "folder", "folders")));
        }
        if self.beside > 0 {
            parts.push(format!("{} beside the classes", counted(self.beside, "file", "files")));
        }
        if !self.empty.is_empty() {
            let empty = some(self.empty.iter().cloned());
            parts.push(format!("{} without pictures ({empty})", counted(self.empty.len(), "folder", "folders")));
        }
        (!parts.is_empty()).then(|| format!("{}: left out: {}", names(paths), parts.join(", ")))
    }
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn some(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let mut text = all[..all.len().min(MOST_NAMES)].join(", ");
    if all.len() > MOST_NAMES {
        text.push_str(&format!(" and {} more", all.len() - MOST_NAMES));
    }
    text
}
