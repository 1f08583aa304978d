//! The seal of a closed data directory: hashes of those files of the database whose damage could look like an earlier end.
//!
//! Blocks of tables have checksums, and so has every record of a log; but a log that was cut off by a crash is a sound one,
//! and a flipped bit in a length looks just the same. While a database is closed nothing is written, so that its logs are
//! hashed when it is closed and compared when it is opened. A database that was killed has no seal: its logs end where the
//! crash has cut them off.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::error::StorageError;

const SEAL: &str = "SEAL";
const SEAL_NEW: &str = "SEAL.new";
const RECORDS: &str = "records";

/// Whether a file of the database is a log, or says which files there are.
#[expect(
    clippy::case_sensitive_file_extension_comparisons,
    reason = "the database names its files in small letters"
)]
fn is_sealed(name: &str) -> bool {
    name == "CURRENT" || name.starts_with("MANIFEST-") || name.ends_with(".log")
}

/// Hash and name of every sealed file, in order; the last line is the hash of those before.
fn text(path: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    let records = path.join(RECORDS);
    match fs::read_dir(&records) {
        Ok(entries) => {
            for entry in entries {
                let name = entry?.file_name().to_string_lossy().into_owned();
                if is_sealed(&name) {
                    let mut hasher = blake3::Hasher::new();
                    hasher.update_reader(File::open(records.join(&name))?)?;
                    lines.push(format!("{} {name}\n", hasher.finalize().to_hex()));
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    lines.sort_unstable();
    let body = lines.concat();
    let hash = blake3::hash(body.as_bytes()).to_hex();
    Ok(format!("{body}{hash}\n"))
}

/// Seals a directory whose database was closed.
pub(super) fn close(path: &Path) -> Result<(), StorageError> {
    if !path.join(RECORDS).is_dir() {
        return Ok(());
    }
    let fresh = path.join(SEAL_NEW);
    let write = || {
        let text = text(path)?;
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path.join(SEAL))?;
        File::open(path)?.sync_all()
    };
    write().map_err(|error| StorageError::file("sealing", path, error))
}

/// Compares a directory with its seal, if it has one, and breaks it.
pub(super) fn open(path: &Path) -> Result<(), StorageError> {
    let seal = path.join(SEAL);
    let failed = |error| StorageError::file("reading", &seal, error);
    let sealed = match fs::read(&seal) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    let found = text(path).map_err(failed)?;
    if found.as_bytes() != sealed {
        let was = String::from_utf8_lossy(&sealed).into_owned();
        let differs = found.lines().find(|line| !was.lines().any(|other| other == *line));
        let name = differs.and_then(|line| line.split_once(' ')).map_or(SEAL, |(_, name)| name);
        let detail = format!(
            "`{name}` is not as it was when the server stopped; restore a backup, or remove `{}` to open what is \
             left all the same",
            seal.display()
        );
        return Err(StorageError::corrupt("database", detail));
    }
    fs::remove_file(&seal)
        .and_then(|()| File::open(path)?.sync_all())
        .map_err(|error| StorageError::file("opening", &seal, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    #[test]
    fn what_changed_while_closed_is_told() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let records = place.path().join(RECORDS);
        fs::create_dir(&records).expect("makes");
        for name in ["CURRENT", "MANIFEST-000005", "000004.log", "000007.sst"] {
            fs::write(records.join(name), name).expect("writes");
        }
        open(place.path()).expect("was never sealed");
        for (name, bytes, is_told) in [
            ("000007.sst", "other", false),
            ("000004.log", "000004.lo", true),
            ("MANIFEST-000005", "MANIFEST-000004", true),
        ] {
            let before = fs::read(records.join(name)).expect("reads");
            close(place.path()).expect("seals");
            fs::write(records.join(name), bytes).expect("writes");
            match open(place.path()) {
                Err(error) => {
                    assert!(is_told && error.class() == Class::Corrupt, "{error}");
                    assert!(error.to_string().contains(name), "{error}");
                }
                Ok(()) => assert!(!is_told, "{name}"),
            }
            fs::write(records.join(name), before).expect("writes");
            let _ = fs::remove_file(place.path().join(SEAL));
        }
        close(place.path()).expect("seals");
        fs::write(place.path().join(SEAL), "x").expect("writes");
        assert_eq!(open(place.path()).expect_err("is told").class(), Class::Corrupt);
    }

    #[test]
    fn a_seal_is_broken_by_opening() {
        let place = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(place.path().join(RECORDS)).expect("makes");
        close(place.path()).expect("seals");
        open(place.path()).expect("is as it was");
        assert!(!place.path().join(SEAL).exists());
    }
}
