//! Files that appear whole or not at all. Takes a path and what writes the bytes; the path has the old file, or none,
//! until the new one is complete and on the disk. And files that are read: those that have an end.

use crate::error::{Error, Result};
use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a file: `fill` writes its bytes, which take the place of what `path` had before only when all of them are on
/// the disk. A path that is there and is not a regular file, such as a pipe, is written to directly.
pub fn write_whole(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    try_write(path, fill).map_err(|error| Error::writing(path, &error))
}

/// Opens a file to be read, and says what is known about it. A folder has no bytes, and a device such as `/dev/zero` may have
/// them without end.
pub fn open(path: &Path) -> io::Result<(File, Metadata)> {
    // What a device does when it is opened is not known either.
    let kind = fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "this is a folder"));
    }
    if is_device(kind) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is a device, whose bytes may have no end"));
    }
    let file = File::open(path)?;
    let about = file.metadata()?;
    Ok((file, about))
}

/// All bytes of a file.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let (mut file, about) = open(path)?;
    let mut bytes = Vec::with_capacity(usize::try_from(about.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(unix)]
fn is_device(kind: FileType) -> bool {
    std::os::unix::fs::FileTypeExt::is_char_device(&kind)
}

/// As above.
#[cfg(not(unix))]
fn is_device(_: FileType) -> bool {
    false
}

/// Makes a folder, and those above it, if they are not there.
pub fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::writing(path, &error))
}

/// Whether two paths lead to one file, which need not be there yet.
pub fn is_one(a: &Path, b: &Path) -> bool {
    let folder = |path: &Path| match path.parent() {
        Some(folder) if folder != Path::new("") => fs::canonicalize(folder),
        Some(_) | None => fs::canonicalize("."),
    };
    let there = |path: &Path| {
        let new = || Ok::<_, io::Error>(folder(path)?.join(path.file_name().unwrap_or_default()));
        fs::canonicalize(path).or_else(|_| new()).unwrap_or_else(|_| path.to_owned())
    };
    there(a) == there(b)
}

fn try_write(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // A link stays a link: what it points at is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(about) = fs::metadata(path) {
        if about.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "this is a folder"));
        }
        if !about.is_file() {
            let mut out = BufWriter::new(OpenOptions::new().write(true).open(path)?);
            fill(&mut out)?;
            return out.flush();
        }
    }
    let temporary = beside(path)?;
    let done = fill_and_rename(&temporary, path, fill);
    if done.is_err() {
        // The error that is reported is the first one; a file that cannot even be removed adds nothing to it.
        let _ = fs::remove_file(&temporary);
    }
    done
}

fn fill_and_rename(
    temporary: &Path,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(temporary)?;
    if let Ok(old) = fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    let mut out = BufWriter::with_capacity(1 << 16, file);
    fill(&mut out)?;
    let file = out.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()?;
    drop(file);
    fs::rename(temporary, path)?;
    // The rename is on the disk when the folder is. Not every file system can be asked for that.
    if let Some(Ok(folder)) = folder_of(path).map(File::open) {
        let _ = folder.sync_all();
    }
    Ok(())
}

/// A new name in the same folder, so that the rename stays on one file system.
fn beside(path: &Path) -> io::Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "this names no file"))?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}.{}.part", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    Ok(path.with_file_name(temporary))
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}
