//! The folder of a run: one training, whole. A run has its folder to itself while it goes on; a finished run is replaced by
//! the next one when that has its first checkpoint, and not before.

use super::fail::Fail;
use crate::error::{Error, Result, code};
use crate::files::make_folder;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// What a run leaves in its folder.
const OURS: [&str; 7] =
    ["resolved.dl", "metrics.jsonl", "model.safetensors", "checkpoint.safetensors", "adapter", CHECKPOINTS, LOCK];

/// The folder of checkpoints in that of a run.
pub const CHECKPOINTS: &str = "checkpoints";

/// The file that a run holds while it goes on.
const LOCK: &str = ".lock";

/// The folder of a run.
pub struct RunFolder {
    /// Where the run writes: the folder that was asked for, or one beside it until the run takes its place.
    path: PathBuf,
    /// The folder that the run is to replace.
    replaces: Option<PathBuf>,
    /// What no other process can have in the meantime.
    _locks: Vec<File>,
}

impl RunFolder {
    /// The folder `path` for a run that begins. A finished run that is there stays until [`RunFolder::settle`].
    ///
    /// # Errors
    /// When another process is at work there, when it holds files that no run writes, or `spec`, or it cannot be written.
    pub fn begin(path: &Path, spec: &Path) -> std::result::Result<RunFolder, Fail> {
        let old = path.is_dir() && !is_empty(path)?;
        if let Some(stray) = stray(path)? {
            let message = format!("{} holds `{stray}`, which no run has written", path.display());
            return Err(Error::file(code::RUN_FOLDER, message).help("choose another folder with `--out`").into());
        }
        if lies_in(spec, path) {
            let message = format!("{} is the spec to be trained, and a new run would replace it", spec.display());
            let error = Error::file(code::RUN_FOLDER, message);
            return Err(error.help("`--resume` goes on with the run there; `--out` takes another folder").into());
        }
        make_folder(path)?;
        let mut locks = vec![lock(path)?];
        clean(path);
        if !old {
            return Ok(RunFolder { path: path.to_owned(), replaces: None, _locks: locks });
        }
        let path = &path.canonicalize().map_err(|error| Error::reading(path, &error))?;
        let beside = beside(path);
        let _ = fs::remove_dir_all(&beside);
        make_folder(&beside)?;
        locks.push(lock(&beside)?);
        Ok(RunFolder { path: beside, replaces: Some(path.to_owned()), _locks: locks })
    }

    /// The folder `path` of a run that goes on; it need not be there.
    ///
    /// # Errors
    /// When another process is at work there, or it cannot be written.
    pub fn resume(path: &Path) -> Result<RunFolder> {
        make_folder(path)?;
        let lock = lock(path)?;
        clean(path);
        Ok(RunFolder { path: path.to_owned(), replaces: None, _locks: vec![lock] })
    }

    /// A new folder below `parent`, to which `latest` there leads from now on.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new_below(parent: &Path, spec: &Path) -> std::result::Result<RunFolder, Fail> {
        make_folder(parent)?;
        let number = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u64>().ok();
        let taken = fs::read_dir(parent).into_iter().flatten().flatten().filter_map(number).max();
        let mut next = taken.unwrap_or(0) + 1;
        // Another run may begin at the same time: whoever makes the folder has it.
        let path = loop {
            let path = parent.join(next.to_string());
            match fs::create_dir(&path) {
                Ok(()) => break path,
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => next += 1,
                Err(error) => return Err(Error::writing(&path, &error).into()),
            }
        };
        let folder = RunFolder::begin(&path, spec)?;
        latest(parent, &next.to_string());
        Ok(folder)
    }

    /// Where the run writes now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the place of the run that was there before; gives the folder that the run writes to from now on.
    ///
    /// # Errors
    /// When folders cannot be renamed; then the old run is where it was.
    pub fn settle(&mut self) -> Result<&Path> {
        let Some(place) = self.replaces.take() else { return Ok(&self.path) };
        let old = place.with_file_name(hidden(&place, "old"));
        let _ = fs::remove_dir_all(&old);
        let renamed = fs::rename(&place, &old)
            .and_then(|()| fs::rename(&self.path, &place).inspect_err(|_| drop(fs::rename(&old, &place))));
        if let Err(error) = renamed {
            let error = Error::writing(&place, &error);
            self.replaces = Some(place);
            return Err(error);
        }
        // What is left of the old run costs space and nothing else.
        let _ = fs::remove_dir_all(&old);
        self.path = place;
        Ok(&self.path)
    }
}

impl Drop for RunFolder {
    fn drop(&mut self) {
        // A run that ends before it has taken the other's place leaves nothing.
        if self.replaces.is_some() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// Takes the lock of a folder.
fn lock(folder: &Path) -> Result<File> {
    let path = folder.join(LOCK);
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|error| Error::writing(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("another training is at work in {}", folder.display());
            Err(Error::file(code::RUN_FOLDER, message).help("wait for it, or choose another folder with `--out`"))
        }
        // A file system without locks: whoever shares a folder there has to see to it.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

fn is_empty(folder: &Path) -> Result<bool> {
    let mut entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, &error))?;
    Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == LOCK)))
}

/// A file of the folder that no run writes.
fn stray(folder: &Path) -> Result<Option<String>> {
    if !folder.exists() {
        return Ok(None);
    }
    let entries = fs::read_dir(folder).map_err(|error| Error::reading(folder, &error))?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| !OURS.contains(&name.as_str()) && !name.ends_with(".part")).min())
}

/// Removes what killed processes have left in a folder that this process has the lock of.
fn clean(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".part") {
            let path = entry.path();
            let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        }
    }
}

/// Whether a file lies in a folder, however both are written.
fn lies_in(file: &Path, folder: &Path) -> bool {
    let parent = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    matches!((parent.canonicalize(), folder.canonicalize()), (Ok(parent), Ok(folder)) if parent == folder)
}

/// The folder in which a run begins that is to replace another. It has one name, so that the next run finds what a killed
/// one has left; the lock of the folder that it is beside keeps others away.
fn beside(path: &Path) -> PathBuf {
    path.with_file_name(hidden(path, "new"))
}

fn hidden(path: &Path, what: &str) -> OsString {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{what}.part"));
    name
}

/// Lets `latest` lead to a run, where the system has such links.
fn latest(parent: &Path, name: &str) {
    #[cfg(unix)]
    {
        let temporary = parent.join(format!(".latest.{}.part", std::process::id()));
        let _ = fs::remove_file(&temporary);
        if std::os::unix::fs::symlink(name, &temporary).is_ok() {
            let _ = fs::rename(&temporary, parent.join("latest"));
        }
    }
    #[cfg(not(unix))]
    let _ = (parent, name);
}
