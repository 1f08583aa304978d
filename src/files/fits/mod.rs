//! Binary tables of FITS files (FITS standard 4.0, section 7.3), read row by row straight from the file.
//!
//! Fixed-width columns become Arrow columns: logical, unsigned bytes, 16-, 32- and 64-bit integers with TNULL,
//! TSCAL and TZERO (the unsigned conventions included), singles, doubles, strings, and fixed-length vectors of them.
//! Bits, complex numbers and variable-length arrays are reported as skipped. NaN stays NaN.

mod decode;
mod header;
mod image;
mod layout;
mod sip;
mod unit;
mod wcs;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use self::layout::ColumnLayout;
use super::reader::{Progress, ReadOptions, SkippedColumn, TableBatch, TableReader};
use super::{FileError, Location};

pub(super) use self::header::Header;
pub(super) use self::image::ImageUnit;
pub(super) use self::unit::{Unit, Units};
pub(super) use self::wcs::Wcs;

/// Bytes of rows held at once; wide tables come in batches of fewer rows.
const CHUNK_BYTES: usize = 64 << 20;

/// Reads one binary table.
pub(super) struct FitsReader {
    path: String,
    file: BufReader<File>,
    schema: SchemaRef,
    columns: Vec<ColumnLayout>,
    skipped: Vec<SkippedColumn>,
    row_bytes: usize,
    batch_rows: usize,
    rows_total: u64,
    rows_done: u64,
}

impl FitsReader {
    pub(super) fn open(location: &Location, options: &ReadOptions) -> Result<Self, FileError> {
        let mut units = Units::open(&location.path)?;
        let table = find_table(&mut units, location.extension.as_deref())?;
        let (path, file_bytes) = (units.path().to_owned(), units.file_bytes());
        let mut file = units.into_file();
        let damaged =
            |detail: String| FileError::Damaged { path: path.clone(), format: "FITS", detail };
        let size = |keyword: &str| {
            table
                .header
                .integer(keyword)
                .and_then(|value| u64::try_from(value).ok())
                .ok_or_else(|| damaged(format!("{keyword} of extension {} is wrong", table.number)))
        };
        let (row_bytes, rows_total) = (size("NAXIS1")?, size("NAXIS2")?);
        let (columns, skipped) = layout::columns(&table.header, row_bytes).map_err(damaged)?;
        if columns.is_empty() {
            return Err(FileError::Unsupported {
                path: format!("{path}[{}]", table.number),
                what: "a table without a column that can be read".to_owned(),
                hint: "name another extension in brackets".to_owned(),
            });
        }
        let present = file_bytes.saturating_sub(table.start);
        let needed = row_bytes.checked_mul(rows_total);
        if needed.is_none_or(|needed| needed > present) {
            let complete = present.checked_div(row_bytes).unwrap_or(0);
            return Err(FileError::Truncated {
                path,
                format: "FITS",
                detail: format!(
                    "extension {} declares {rows_total} rows of {row_bytes} bytes, {complete} are there",
                    table.number
                ),
            });
        }
        file.seek(SeekFrom::Start(table.start))
            .map_err(|source| FileError::Read { path: path.clone(), source })?;
        let fields: Vec<_> = columns.iter().map(|column| column.field.clone()).collect();
        let row_bytes = row_bytes as usize;
        let rows_that_fit = (CHUNK_BYTES / row_bytes.max(1)).max(1);
        Ok(Self {
            path,
            file,
            schema: Arc::new(Schema::new(fields)),
            columns,
            skipped,
            row_bytes,
            batch_rows: options.batch_rows.clamp(1, rows_that_fit),
            rows_total,
            rows_done: 0,
        })
    }
}

/// Walks the header-data units up to the table that is wanted.
fn find_table(units: &mut Units, wanted: Option<&str>) -> Result<Unit, FileError> {
    let mut seen = Vec::new();
    while let Some(unit) = units.next_unit()? {
        let is_wanted = wanted.map_or_else(|| is_table(&unit), |wanted| unit.is_called(wanted));
        if is_wanted {
            check_kind(&unit, units.path())?;
            return Ok(unit);
        }
        let (number, name, kind) = (unit.number, unit.name(), unit.kind());
        seen.push(format!("{number} {name} ({kind})").replace("  ", " "));
    }
    let wanted = wanted.map_or_else(|| "at all".to_owned(), |wanted| format!("`[{wanted}]`"));
    let path = units.path().to_owned();
    Err(FileError::NoTable { path, wanted, available: seen.join(", ") })
}

/// Whether somebody who names no extension may mean this one: a tile-compressed image is stored as a binary table
/// that nobody means.
fn is_table(unit: &Unit) -> bool {
    unit.kind() == "BINTABLE" && unit.header.logical("ZIMAGE") != Some(true)
}

fn check_kind(unit: &Unit, path: &str) -> Result<(), FileError> {
    let (header, number) = (&unit.header, unit.number);
    let unsupported = |what: &str, hint: &str| {
        Err(FileError::Unsupported {
            path: format!("{path}[{number}]"),
            what: what.to_owned(),
            hint: hint.to_owned(),
        })
    };
    let kind = unit.kind();
    if kind == "TABLE" {
        return unsupported(
            "an ASCII table",
            "convert it to a binary table, for example with TOPCAT",
        );
    }
    if kind != "BINTABLE" {
        return unsupported("an image, not a table", "name a binary table extension in brackets");
    }
    if header.logical("ZIMAGE") == Some(true) {
        return unsupported("a compressed image", "name a binary table extension in brackets");
    }
    if header.logical("ZTABLE") == Some(true) {
        return unsupported("a compressed table", "uncompress it first with funpack");
    }
    Ok(())
}

impl TableReader for FitsReader {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn skipped(&self) -> &[SkippedColumn] {
        &self.skipped
    }

    fn row_count(&self) -> Option<u64> {
        Some(self.rows_total)
    }

    fn progress(&self) -> Progress {
        let row_bytes = self.row_bytes as u64;
        Progress {
            rows_done: self.rows_done,
            rows_total: Some(self.rows_total),
            bytes_done: self.rows_done * row_bytes,
            bytes_total: self.rows_total * row_bytes,
        }
    }

    fn next_batch(&mut self) -> Result<Option<TableBatch>, FileError> {
        let count = (self.rows_total - self.rows_done).min(self.batch_rows as u64) as usize;
        if count == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; count * self.row_bytes];
        if let Err(source) = self.file.read_exact(&mut bytes) {
            self.rows_total = self.rows_done;
            return Err(FileError::Read { path: self.path.clone(), source });
        }
        let columns: Result<Vec<_>, _> = self
            .columns
            .iter()
            .map(|layout| decode::column(layout, &bytes, self.row_bytes))
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let rows = columns
            .and_then(|columns| {
                RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
            })
            .map_err(|error| FileError::Damaged {
                path: self.path.clone(),
                format: "FITS",
                detail: error.to_string(),
            })?;
        let batch = TableBatch::consecutive(rows, self.rows_done);
        self.rows_done += count as u64;
        Ok(Some(batch))
    }
}
