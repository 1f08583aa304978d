//! The data directory: whether it is ours, which format it has, and that nobody else has it open.
//!
//! `FORMAT` holds the newest format that was ever begun in the directory. It is read before anything else is touched,
//! and raised before a migration begins, so that an older program never opens what a newer one has changed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::error::StorageError;
use super::seal;

const FORMAT: &str = "FORMAT";
const FORMAT_NEW: &str = "FORMAT.new";
const LOCK: &str = "LOCK";

/// Names that may lie in an otherwise empty directory: what an interrupted first start leaves, and what file systems
/// put at their root.
const HARMLESS: [&str; 3] = [LOCK, FORMAT_NEW, "lost+found"];

/// A directory that this process has locked.
#[derive(Debug)]
pub(crate) struct DataDirectory {
    path: PathBuf,
    /// Holds the lock as long as it is open.
    lock: File,
}

impl DataDirectory {
    /// Checks the directory, makes it when it is not there, and locks it.
    pub(crate) fn open(path: &Path, supported: u32) -> Result<Self, StorageError> {
        match fs::metadata(path) {
            Ok(metadata) if !metadata.is_dir() => {
                return Err(StorageError::NotADirectory { path: path.to_path_buf() });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // What is in it is its owner's to show: rows may be proprietary.
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(path)
                    .map_err(|error| StorageError::file("making", path, error))?;
            }
            Err(error) => return Err(StorageError::file("opening", path, error)),
        }
        check(path, supported)?;
        let lock = lock(path)?;
        // Once more: another process may have been at it until just now.
        check(path, supported)?;
        seal::open(path)?;
        Ok(Self { path: path.to_path_buf(), lock })
    }

    /// The path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Raises the format to `format`, durably; never lowers it.
    pub(crate) fn raise_format(&self, format: u32) -> Result<(), StorageError> {
        Self::mark(&self.path, format)
    }

    /// The same for a folder that nobody has open.
    pub(crate) fn mark(path: &Path, format: u32) -> Result<(), StorageError> {
        if read_format(path)?.is_some_and(|found| found >= format) {
            return Ok(());
        }
        let fresh = path.join(FORMAT_NEW);
        let text = format!("sidereus data directory\nformat = {format}\n");
        let write = || {
            let mut file = File::create(&fresh)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&fresh, path.join(FORMAT))?;
            File::open(path)?.sync_all()
        };
        write().map_err(|error| StorageError::file("writing", &fresh, error))
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        // The database is closed: whatever becomes of its files from here on is damage.
        if let Err(error) = seal::close(&self.path) {
            tracing::warn!(%error, "the data directory is not sealed: damage while it is closed may go unnoticed");
        }
        // Closing the file unlocks it too; nothing can be done about an error here.
        let _ = self.lock.unlock();
    }
}

/// Refuses a directory that is someone else's or of a newer format.
fn check(path: &Path, supported: u32) -> Result<(), StorageError> {
    match read_format(path)? {
        Some(found) if found > supported => {
            Err(StorageError::NewerFormat { path: path.to_path_buf(), found, supported })
        }
        Some(_) => Ok(()),
        None => {
            let failed = |error| StorageError::file("listing", path, error);
            for entry in fs::read_dir(path).map_err(failed)? {
                let name = entry.map_err(failed)?.file_name();
                if !HARMLESS.iter().any(|harmless| name == *harmless) {
                    return Err(StorageError::Foreign { path: path.to_path_buf() });
                }
            }
            Ok(())
        }
    }
}

/// Whether a directory holds a database: not where it is not there, or nothing was made in it yet.
///
/// # Errors
/// [`StorageError::File`] where the file system does not tell.
pub fn holds_database(path: &Path) -> Result<bool, StorageError> {
    let file = path.join(FORMAT);
    match fs::metadata(&file) {
        Ok(_) => Ok(true),
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(false)
        }
        Err(error) => Err(StorageError::file("reading", file, error)),
    }
}

fn read_format(path: &Path) -> Result<Option<u32>, StorageError> {
    let file = path.join(FORMAT);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(StorageError::corrupt("FORMAT file", error.to_string()));
        }
        Err(error) => return Err(StorageError::file("reading", file, error)),
    };
    let number = text.lines().find_map(|line| line.strip_prefix("format = "));
    match number.and_then(|number| number.trim().parse().ok()) {
        Some(format) => Ok(Some(format)),
        None => Err(StorageError::corrupt("FORMAT file", "no line `format = NUMBER`")),
    }
}

fn lock(path: &Path) -> Result<File, StorageError> {
    let name = path.join(LOCK);
    let failed = |error| StorageError::file("opening", &name, error);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number is a help for people only: unreadable is as good as unknown.
            let _ = file.take(64).read_to_string(&mut holder);
            let holder = match holder.trim().parse::<u32>() {
                Ok(process) => format!("process {process}"),
                Err(_) => "another process".to_owned(),
            };
            return Err(StorageError::Locked { path: path.to_path_buf(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    file.set_len(0)
        .and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()))
        .map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::class::Class;

    fn refused(path: &Path) -> StorageError {
        DataDirectory::open(path, 1).expect_err("the directory is refused")
    }

    #[test]
    fn a_new_directory_is_made_and_locked() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("a/b");
        let directory = DataDirectory::open(&path, 1).expect("opens");
        directory.raise_format(1).expect("writes");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "its owner's alone");
        let error = refused(&path);
        assert!(matches!(error, StorageError::Locked { .. }), "{error}");
        assert_eq!(error.class(), Class::Conflict);
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
        drop(directory);
        DataDirectory::open(&path, 1).expect("opens again");
    }

    #[test]
    fn a_newer_format_is_refused_with_both_versions() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = DataDirectory::open(place.path(), 9).expect("opens");
        directory.raise_format(7).expect("writes");
        drop(directory);
        let error = refused(place.path());
        let text = error.to_string();
        assert!(text.contains("format 7") && text.contains("up to 1"), "{text}");
        assert_eq!(error.class(), Class::Conflict);
    }

    #[test]
    fn the_format_is_never_lowered() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directory = DataDirectory::open(place.path(), 9).expect("opens");
        directory.raise_format(7).expect("writes");
        directory.raise_format(3).expect("does nothing");
        assert_eq!(read_format(place.path()).expect("readable"), Some(7));
    }

    #[test]
    fn other_peoples_directories_and_files_are_refused() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let file = place.path().join("thesis.tex");
        fs::write(&file, "x").expect("writes");
        assert!(matches!(refused(place.path()), StorageError::Foreign { .. }));
        assert!(!place.path().join(LOCK).exists(), "nothing is left in it");
        assert!(matches!(refused(&file), StorageError::NotADirectory { .. }));
        assert!(matches!(refused(&file.join("below")), StorageError::NotADirectory { .. }));
    }

    #[test]
    fn a_damaged_format_file_is_corrupt() {
        let place = tempfile::tempdir().expect("a temporary directory");
        for bytes in [&b"format = many"[..], b"", b"\xff\xfe"] {
            fs::write(place.path().join(FORMAT), bytes).expect("writes");
            assert_eq!(refused(place.path()).class(), Class::Corrupt);
        }
    }
}
