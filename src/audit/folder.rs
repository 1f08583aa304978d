//! The files of a log, and where it ends.

use std::fs;
use std::path::{Path, PathBuf};

use super::AuditError;
use super::chain::{Head, hash_of};

/// The file that tells how far the log is known to be on the disk.
pub(super) const HEAD: &str = "head";

/// What the file of a number is called.
pub(super) fn file_name(number: u64) -> String {
    format!("{number:04}.jsonl")
}

/// Numbers of the files that there are, ascending.
pub(super) fn numbers(folder: &Path) -> Result<Vec<u64>, AuditError> {
    let unreadable = |error| AuditError::unreadable(folder, error);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".jsonl")?.parse().ok());
        if let Some(number) =
            number.filter(|number| *number > 0 && name.to_str() == Some(&file_name(*number)))
        {
            found.push(number);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What the file beside the log says; `None` where it is missing, and a head without a meaning is an error of its own.
pub(super) fn head(folder: &Path) -> Result<Option<Result<Head, ()>>, AuditError> {
    let path = folder.join(HEAD);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(Head::parse(&bytes).ok_or(()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::unreadable(&path, error)),
    }
}

/// The end of a log that is opened.
#[derive(Debug)]
pub(super) struct End {
    /// Number of the file to append to.
    pub(super) file: u64,
    /// Its length without what is torn.
    pub(super) length: u64,
    /// The last whole line.
    pub(super) head: Head,
    /// What a crash left of lines that were not waited for.
    pub(super) torn: Vec<u8>,
    /// What else has to be told.
    pub(super) remark: Option<String>,
}

/// Finds the end of the log, which must reach to what its head says.
pub(super) fn end(folder: &Path) -> Result<End, AuditError> {
    let numbers = numbers(folder)?;
    let told = head(folder)?;
    let file = numbers.last().copied().unwrap_or(1);
    let (mut length, mut last, mut torn) = (0, Head::default(), Vec::new());
    for number in numbers.iter().rev() {
        let path = folder.join(file_name(*number));
        let bytes = fs::read(&path).map_err(|error| AuditError::unreadable(&path, error))?;
        let known = told.as_ref().and_then(|told| told.as_ref().ok());
        let (good, head) = whole_lines(&bytes, known, &path)?;
        if *number == file {
            length = good as u64;
            torn = bytes[good..].to_vec();
        }
        if let Some(head) = head {
            last = head;
            break;
        }
        // A file that was begun and has no whole line: the end is in the one before it.
    }
    let remark = match told {
        Some(Ok(told)) if told.n > last.n => {
            let reason = format!(
                "{} entries were written, and the last that is there is number {}",
                told.n, last.n
            );
            return Err(AuditError::damaged(folder, reason));
        }
        Some(Err(())) => Some("the file `head` could not be read and was written anew".to_owned()),
        None if last.n > 0 => Some("the file `head` was missing and was written anew".to_owned()),
        Some(Ok(_)) | None => None,
    };
    Ok(End { file, length, head: last, torn, remark })
}

/// How far a file consists of lines that follow each other, and the last of them. A file takes its place in the chain from its own
/// first line.
fn whole_lines(
    bytes: &[u8],
    told: Option<&Head>,
    path: &Path,
) -> Result<(usize, Option<Head>), AuditError> {
    let mut head: Option<Head> = None;
    let mut good = 0;
    while let Some(length) = bytes[good..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[good..good + length];
        let mut next = head.clone().or_else(|| before(line)).unwrap_or_default();
        if next.accept(line).is_err() {
            break;
        }
        if let Some(told) = told.filter(|told| told.n == next.n && told.hash != next.hash) {
            let reason =
                format!("entry {} has hash {}, and {} was written", next.n, next.hash, told.hash);
            return Err(AuditError::damaged(path, reason));
        }
        head = Some(next);
        good += length + 1;
    }
    Ok((good, head))
}

/// The head that a line says it follows.
pub(super) fn before(line: &[u8]) -> Option<Head> {
    let value: serde_json::Value = serde_json::from_slice(line).ok()?;
    let n = value.get("n")?.as_u64()?.checked_sub(1)?;
    Some(Head { n, hash: value.get("prev")?.as_str()?.to_owned() })
}

/// Puts torn bytes aside; their file's name and hash.
pub(super) fn keep_torn(
    folder: &Path,
    torn: &[u8],
    before: u64,
) -> Result<(String, String), AuditError> {
    let mut name = format!("torn-before-{before}");
    let mut path: PathBuf = folder.join(&name);
    for again in 1_u64.. {
        if !path.exists() {
            break;
        }
        name = format!("torn-before-{before}-{again}");
        path = folder.join(&name);
    }
    let unreadable = |error| AuditError::unreadable(&path, error);
    fs::write(&path, torn).map_err(unreadable)?;
    fs::File::open(&path).and_then(|file| file.sync_all()).map_err(unreadable)?;
    fs::File::open(folder).and_then(|file| file.sync_all()).map_err(unreadable)?;
    Ok((name, hash_of(torn)))
}
