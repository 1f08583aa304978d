//! Which format a file has, and which table inside it is meant.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::FileError;

/// A format of tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Text with a header line; fields apart by comma, semicolon or tab.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, file or stream (Feather 2 is the file form).
    Arrow,
    /// A binary table of a FITS file.
    Fits,
}

impl Format {
    /// The word for it on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
            Self::Fits => "fits",
        }
    }

    /// Tells the format by the first bytes, then by the name.
    ///
    /// # Errors
    /// [`FileError::UnknownFormat`], [`FileError::Unsupported`] for compressed files, or a file that cannot be opened.
    pub fn detect(path: &Path) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let mut head = Vec::new();
        let file =
            File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
        // What is read of a pipe is gone.
        if file.metadata().is_ok_and(|told| !told.is_file() && !told.is_dir()) {
            return Err(FileError::UnknownFormat { path: shown });
        }
        file.take(16)
            .read_to_end(&mut head)
            .map_err(|source| FileError::Read { path: shown.clone(), source })?;
        if head.starts_with(&[0x1f, 0x8b]) {
            return Err(FileError::Unsupported {
                path: shown,
                what: "gzip-compressed".to_owned(),
                hint: "decompress it first with gunzip".to_owned(),
            });
        }
        let by_content = [
            (&b"PAR1"[..], Self::Parquet),
            (&b"ARROW1"[..], Self::Arrow),
            (&[0xff, 0xff, 0xff, 0xff][..], Self::Arrow),
            (&b"SIMPLE  ="[..], Self::Fits),
        ];
        if let Some((_, format)) = by_content.iter().find(|(magic, _)| head.starts_with(magic)) {
            return Ok(*format);
        }
        let ending =
            path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_lowercase();
        match ending.as_str() {
            "csv" | "tsv" | "txt" | "tab" => Ok(Self::Csv),
            "parquet" | "parq" | "pq" => Ok(Self::Parquet),
            "arrow" | "arrows" | "feather" | "ipc" => Ok(Self::Arrow),
            "fits" | "fit" | "fts" => Ok(Self::Fits),
            _ => Err(FileError::UnknownFormat { path: shown }),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = FileError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Csv, Self::Parquet, Self::Arrow, Self::Fits]
            .into_iter()
            .find(|format| format.name() == name)
            .ok_or_else(|| FileError::UnknownFormatName { name: name.to_owned() })
    }
}

/// A file and, for FITS, the extension in brackets behind it: `file.fits[2]`, `file.fits[NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The file.
    pub path: PathBuf,
    /// Number (0 is the primary unit) or name of the extension; `None` for the first binary table.
    pub extension: Option<String>,
}

impl Location {
    /// Splits a bracketed extension off, unless a file has exactly this name.
    pub fn parse(path: &Path) -> Self {
        let whole = Self { path: path.to_owned(), extension: None };
        let Some(text) = path.to_str().filter(|_| !path.exists()) else {
            return whole;
        };
        let split = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
        match split {
            Some((file, extension)) if !file.is_empty() && !extension.trim().is_empty() => {
                Self { path: PathBuf::from(file), extension: Some(extension.trim().to_owned()) }
            }
            _ => whole,
        }
    }
}
