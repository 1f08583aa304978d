//! Tables, read batch by batch, whatever their format.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, SchemaRef};

use super::arrow_reader::ArrowReader;
use super::delimited::DelimitedReader;
use super::fits::FitsReader;
use super::parquet_reader::ParquetReader;
use super::{FileError, Format, Location, RefusedRow};
use crate::schema::ColumnType;

/// Rows of a batch unless asked otherwise.
pub const BATCH_ROWS: usize = 8_192;

/// Key of a field's metadata: VOUnit string.
pub const META_UNIT: &str = "unit";
/// Key of a field's metadata: IVOA unified content descriptor.
pub const META_UCD: &str = "ucd";
/// Key of a field's metadata: a sentence for people.
pub const META_DESCRIPTION: &str = "description";

/// How a table is read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Rows of a batch, at least 1.
    pub batch_rows: usize,
    /// Types that columns of a CSV file are known to have, by lower-case name; the others are guessed.
    pub column_types: HashMap<String, ColumnType>,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self { batch_rows: BATCH_ROWS, column_types: HashMap::new() }
    }
}

/// How far a reader has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Rows handed out or refused.
    pub rows_done: u64,
    /// Rows of the table, where the format tells.
    pub rows_total: Option<u64>,
    /// Bytes read; meaningful where `rows_total` is `None`.
    pub bytes_done: u64,
    /// Bytes of the file.
    pub bytes_total: u64,
}

/// A column of the file that is not handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedColumn {
    /// Its name.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct TableBatch {
    /// The readable rows.
    pub rows: RecordBatch,
    /// For each of them its row in the file, from 0.
    pub numbers: Vec<u64>,
    /// Rows that could not be read (only text formats have them).
    pub refused: Vec<RefusedRow>,
}

impl TableBatch {
    /// Consecutive rows without a refusal.
    pub(super) fn consecutive(rows: RecordBatch, first: u64) -> Self {
        let numbers = (first..first + rows.num_rows() as u64).collect();
        Self { rows, numbers, refused: Vec::new() }
    }
}

/// A table that is read once, from its first row to its last.
pub trait TableReader: Send {
    /// Columns, with [`META_UNIT`], [`META_UCD`] and [`META_DESCRIPTION`] in their metadata where known.
    fn schema(&self) -> SchemaRef;
    /// Columns of the file that are left out, with the reasons.
    fn skipped(&self) -> &[SkippedColumn];
    /// What is to be said of the types of columns, one sentence each, where the format leaves them to be guessed.
    fn doubts(&self) -> Vec<String> {
        Vec::new()
    }
    /// Rows of the table, where the format tells without reading it.
    fn row_count(&self) -> Option<u64>;
    /// Reads all of a table whose format tells neither rows nor types, before any row is handed out: both are known then.
    ///
    /// # Errors
    /// [`FileError::Read`].
    fn look_through(&mut self) -> Result<(), FileError> {
        Ok(())
    }
    /// Has rows that cannot be read be told by a column, where their format shows it.
    fn name_refused_by(&mut self, _column: usize) {}
    /// How far the reader has come.
    fn progress(&self) -> Progress;
    /// The next rows; `None` at the end. After an error the reader is at its end.
    fn next_batch(&mut self) -> Result<Option<TableBatch>, FileError>;
}

/// Opens a table; the format is told by content and name when it is not given.
///
/// # Errors
/// A file that cannot be opened, is of no known format, is truncated or contradicts its format.
pub fn open(path: &Path, format: Option<Format>) -> Result<Box<dyn TableReader>, FileError> {
    open_with(path, format, &ReadOptions::default())
}

/// As [`open`], with options.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    path: &Path,
    format: Option<Format>,
    options: &ReadOptions,
) -> Result<Box<dyn TableReader>, FileError> {
    let location = Location::parse(path);
    let format = match format {
        Some(format) => format,
        None => Format::detect(&location.path)?,
    };
    if location.extension.is_some() && format != Format::Fits {
        return Err(FileError::Unsupported {
            path: path.display().to_string(),
            what: format!("a {format} file with an extension in brackets"),
            hint: "only FITS files have extensions; leave the brackets out".to_owned(),
        });
    }
    Ok(match format {
        Format::Csv => Box::new(DelimitedReader::open(&location.path, options)?),
        Format::Parquet => Box::new(ParquetReader::open(&location.path, options)?),
        Format::Arrow => Box::new(ArrowReader::open(&location.path, options)?),
        Format::Fits => Box::new(FitsReader::open(&location, options)?),
    })
}

/// Whether a file begins with `magic`; leaves it at its beginning.
pub(super) fn begins_with(file: &mut File, magic: &[u8]) -> std::io::Result<bool> {
    let mut head = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    Read::by_ref(file).take(magic.len() as u64).read_to_end(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(head == magic)
}

/// Whether a file of at least `shortest` bytes ends with `magic`; leaves it at its beginning.
pub(super) fn ends_with(file: &mut File, magic: &[u8], shortest: u64) -> std::io::Result<bool> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut tail = Vec::new();
    if length >= shortest {
        file.seek(SeekFrom::End(-(magic.len() as i64)))?;
        Read::by_ref(file).take(magic.len() as u64).read_to_end(&mut tail)?;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(tail == magic)
}

/// Names in order, with `_2`, `_3`... behind those that came before (case does not tell names apart).
pub(super) fn unique_names(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = HashSet::new();
    let mut unique = Vec::new();
    for name in names {
        let mut candidate = name.clone();
        let mut copy = 1;
        while !seen.insert(candidate.to_lowercase()) {
            copy += 1;
            candidate = format!("{name}_{copy}");
        }
        unique.push(candidate);
    }
    unique
}

/// A text of a field's metadata; empty when there is none.
pub(super) fn metadata<'a>(field: &'a Field, key: &str) -> &'a str {
    // TOPCAT and astropy write other cases and longer words into Parquet and Arrow metadata.
    let known: &[&str] = match key {
        META_UNIT => &["unit", "units"],
        META_DESCRIPTION => &["description", "comment"],
        _ => &["ucd"],
    };
    field
        .metadata()
        .iter()
        .find(|(name, _)| known.contains(&name.to_lowercase().as_str()))
        .map_or("", |(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_are_numbered() {
        let names = ["a", "A", "b", "a_2", "a"].map(str::to_owned);
        assert_eq!(unique_names(names), ["a", "A_2", "b", "a_2_2", "a_3"]);
    }
}
