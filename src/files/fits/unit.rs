//! The header-data units of a FITS file, one after the other.

use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;

use super::header::{Header, HeaderFault, padded};
use crate::files::FileError;

/// Most header-data units looked through.
const UNITS_MAX: u64 = 100_000;

/// One header-data unit.
#[derive(Debug)]
pub(in crate::files) struct Unit {
    /// Its number in the file; 0 is the primary unit.
    pub(in crate::files) number: u64,
    pub(in crate::files) header: Header,
    /// First byte of the data.
    pub(super) start: u64,
}

impl Unit {
    /// EXTNAME, or nothing.
    pub(in crate::files) fn name(&self) -> &str {
        self.header.text("EXTNAME").unwrap_or("").trim()
    }

    /// XTENSION, or `PRIMARY`.
    pub(in crate::files) fn kind(&self) -> &str {
        self.header.text("XTENSION").unwrap_or("PRIMARY")
    }

    /// Whether this is the extension that somebody means by a number, a `NAME` or a `NAME,VERSION`.
    pub(in crate::files) fn is_called(&self, wanted: &str) -> bool {
        if let Ok(wanted) = wanted.parse::<u64>() {
            return wanted == self.number;
        }
        let (name, version) = wanted.split_once(',').unwrap_or((wanted, ""));
        let version_fits = match version.trim().parse::<i64>() {
            Ok(version) => self.header.integer("EXTVER").unwrap_or(1) == version,
            Err(_) => version.is_empty(),
        };
        let own = self.header.text("EXTNAME");
        version_fits && own.is_some_and(|own| own.trim().eq_ignore_ascii_case(name.trim()))
    }
}

/// Walks through the units of a file. Only headers are read.
pub(in crate::files) struct Units {
    path: String,
    file: BufReader<File>,
    file_bytes: u64,
    number: u64,
    /// Where the data of the last unit begin, and how many bytes they have.
    last: Option<(u64, Option<u64>)>,
}

impl Units {
    /// Opens a file.
    ///
    /// # Errors
    /// [`FileError::Open`] and [`FileError::Read`].
    pub(in crate::files) fn open(path: &Path) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let file =
            File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
        let file_bytes = file
            .metadata()
            .map_err(|source| FileError::Read { path: shown.clone(), source })?
            .len();
        let file = BufReader::with_capacity(1 << 20, file);
        Ok(Self { path: shown, file, file_bytes, number: 0, last: None })
    }

    /// The file, as given.
    pub(in crate::files) fn path(&self) -> &str {
        &self.path
    }

    /// Bytes of the file.
    pub(in crate::files) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The open file, at no place in particular.
    pub(in crate::files) fn into_file(self) -> BufReader<File> {
        self.file
    }

    fn damaged(&self, detail: String) -> FileError {
        FileError::Damaged { path: self.path.clone(), format: "FITS", detail }
    }

    fn truncated(&self, detail: String) -> FileError {
        FileError::Truncated { path: self.path.clone(), format: "FITS", detail }
    }

    /// The next unit; `None` behind the last one.
    ///
    /// # Errors
    /// [`FileError::Damaged`], [`FileError::Truncated`] and [`FileError::Read`].
    pub(in crate::files) fn next_unit(&mut self) -> Result<Option<Unit>, FileError> {
        let number = self.number;
        if number >= UNITS_MAX {
            return Ok(None);
        }
        let mut start = 0;
        if let Some((begin, bytes)) = self.last.take() {
            let before = number - 1;
            let ends = bytes.and_then(|bytes| {
                Some((begin.checked_add(bytes)?, begin.checked_add(padded(bytes)?)?))
            });
            let (end, next) = ends.ok_or_else(|| {
                self.damaged(format!("the size of extension {before} makes no sense"))
            })?;
            if end > self.file_bytes {
                let detail = format!("it ends inside the data of extension {before}");
                return Err(self.truncated(detail));
            }
            // The padding behind the last unit may be missing.
            if next > self.file_bytes {
                self.number = UNITS_MAX;
                return Ok(None);
            }
            start = next;
        }
        let moved = self.file.seek(SeekFrom::Start(start));
        moved.map_err(|source| FileError::Read { path: self.path.clone(), source })?;
        let (header, length) = match Header::read(&mut self.file) {
            Ok(Some((header, length))) if is_unit(&header, number) => (header, length),
            // Bytes behind the last unit are allowed; a file that does not begin as FITS is none.
            Ok(Some(_)) if number == 0 => {
                return Err(self.damaged("it does not begin with SIMPLE".to_owned()));
            }
            Err(HeaderFault::Damaged(detail)) if number == 0 => return Err(self.damaged(detail)),
            Err(HeaderFault::Io(source)) => {
                return Err(FileError::Read { path: self.path.clone(), source });
            }
            Err(HeaderFault::Ends) => {
                let detail = format!("it ends inside the header of extension {number}");
                return Err(self.truncated(detail));
            }
            Ok(_) | Err(HeaderFault::Damaged(_)) => {
                self.number = UNITS_MAX;
                return Ok(None);
            }
        };
        let start = start + length;
        self.last = Some((start, header.data_bytes()));
        self.number += 1;
        Ok(Some(Unit { number, header, start }))
    }
}

fn is_unit(header: &Header, number: u64) -> bool {
    header.first_keyword() == if number == 0 { "SIMPLE" } else { "XTENSION" }
}
