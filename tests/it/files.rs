//! Files appear whole or not at all.

use crate::scratch::Scratch;
use dlc::error::Kind;
use dlc::files::{make_folder, write_whole};
use std::io::{Error, ErrorKind};

#[test]
fn a_file_is_replaced_when_all_of_it_is_written() {
    let dir = Scratch::new();
    let path = dir.file("a.txt", "old");
    write_whole(&path, |out| {
        out.write_all(b"new, ")?;
        // Another reader still sees the old file.
        assert_eq!(std::fs::read(&path)?, b"old");
        out.write_all(b"whole")
    })
    .expect("the folder can be written");
    assert_eq!(std::fs::read(&path).expect("it is there"), b"new, whole");
    assert_eq!(dir.names(), ["a.txt"]);
}

#[test]
fn a_failure_in_the_middle_leaves_the_old_file_and_nothing_else() {
    let dir = Scratch::new();
    let path = dir.file("a.txt", "old");
    let failed = write_whole(&path, |out| {
        out.write_all(&[b'x'; 1 << 20])?;
        Err(Error::new(ErrorKind::StorageFull, "No space left on device"))
    })
    .expect_err("the writer failed");
    assert_eq!((failed.kind, failed.code), (Kind::Files, "E0621"));
    assert_eq!(failed.message, format!("cannot write {}: no space left on device", path.display()));
    assert_eq!(std::fs::read(&path).expect("it is there"), b"old");
    assert_eq!(dir.names(), ["a.txt"]);
    assert!(write_whole(&dir.path("b.txt"), |_| Err(ErrorKind::Other.into())).is_err());
    assert_eq!(dir.names(), ["a.txt"]);
}

#[test]
fn places_that_cannot_be_written_are_named() {
    let dir = Scratch::new();
    let below_a_file = dir.file("a.txt", "old").join("b.txt");
    let error = write_whole(&below_a_file, |out| out.write_all(b"x")).expect_err("a file has nothing below it");
    assert_eq!(error.message, format!("cannot write {}: not a directory", below_a_file.display()));
    assert!(make_folder(&below_a_file).is_err());
    let folder = dir.path("");
    let error = write_whole(&folder, |out| out.write_all(b"x")).expect_err("a folder is no file");
    assert!(error.message.ends_with("this is a folder"), "{}", error.message);
    let missing = dir.path("none").join("b.txt");
    assert!(write_whole(&missing, |out| out.write_all(b"x")).is_err());
    assert_eq!(dir.names(), ["a.txt"]);
}

#[cfg(unix)]
#[test]
fn links_and_permissions_stay_and_devices_are_written_to() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Scratch::new();
    let target = dir.file("target.txt", "old");
    let link = dir.path("link.txt");
    std::os::unix::fs::symlink(&target, &link).expect("a link can be made");
    write_whole(&link, |out| out.write_all(b"new")).expect("the folder can be written");
    assert_eq!(std::fs::read(&target).expect("it is there"), b"new");
    assert!(link.is_symlink());
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
    write_whole(&target, |out| out.write_all(b"newer")).expect("the folder can be written");
    let mode = std::fs::metadata(&target).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    write_whole("/dev/null".as_ref(), |out| out.write_all(b"gone")).expect("it takes all");
    let about = std::fs::metadata("/dev/null").expect("it is still there");
    assert!(!about.is_file());
}
