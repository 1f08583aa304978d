//! Binary tables of FITS files (FITS standard 4.0, section 7.3), read row by row straight from the file.
//!
//! Fixed-width columns become Arrow columns: logical, unsigned bytes, 16-, 32- and 64-bit integers with TNULL,
//! TSCAL and TZERO (the unsigned conventions included), singles, doubles, strings, and fixed-length vectors of them.
//! Bits, complex numbers and variable-length arrays are reported as skipped. NaN stays NaN.

mod decode;
mod header;
mod layout;

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Schema, SchemaRef};

use self::header::{Header, HeaderFault, padded};
use self::layout::ColumnLayout;
use super::reader::{Progress, ReadOptions, SkippedColumn, TableBatch, TableReader};
use super::{FileError, Location};

/// Bytes of rows held at once; wide tables come in batches of fewer rows.
const CHUNK_BYTES: usize = 64 << 20;

/// Most header-data units looked through.
const UNITS_MAX: u64 = 100_000;

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

struct Table {
    number: u64,
    header: Header,
    start: u64,
}

impl FitsReader {
    pub(super) fn open(location: &Location, options: &ReadOptions) -> Result<Self, FileError> {
        let path = location.path.display().to_string();
        let file = File::open(&location.path)
            .map_err(|source| FileError::Open { path: path.clone(), source })?;
        let file_bytes =
            file.metadata().map_err(|source| FileError::Read { path: path.clone(), source })?.len();
        let mut file = BufReader::with_capacity(1 << 20, file);
        let table = find_table(&mut file, &path, location.extension.as_deref(), file_bytes)?;
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
fn find_table(
    file: &mut BufReader<File>,
    path: &str,
    wanted: Option<&str>,
    file_bytes: u64,
) -> Result<Table, FileError> {
    let damaged =
        |detail: String| FileError::Damaged { path: path.to_owned(), format: "FITS", detail };
    let mut seen = Vec::new();
    let mut start = 0_u64;
    for number in 0..UNITS_MAX {
        let header = match Header::read(file) {
            Ok(Some((header, length))) if is_unit(&header, number) => {
                start += length;
                header
            }
            // Bytes behind the last unit are allowed; a file that does not begin as FITS is none.
            Ok(Some(_)) if number == 0 => {
                return Err(damaged("it does not begin with SIMPLE".to_owned()));
            }
            Err(HeaderFault::Damaged(detail)) if number == 0 => return Err(damaged(detail)),
            Err(HeaderFault::Io(source)) => {
                return Err(FileError::Read { path: path.to_owned(), source });
            }
            Err(HeaderFault::Ends) => {
                let detail = format!("it ends inside the header of extension {number}");
                return Err(FileError::Truncated { path: path.to_owned(), format: "FITS", detail });
            }
            Ok(_) | Err(HeaderFault::Damaged(_)) => break,
        };
        let name = header.text("EXTNAME").unwrap_or("").to_owned();
        let kind = header.text("XTENSION").unwrap_or("PRIMARY").to_owned();
        if is_wanted(&header, number, wanted) {
            check_kind(&header, path, number)?;
            return Ok(Table { number, header, start });
        }
        seen.push(format!("{number} {name} ({kind})").replace("  ", " "));
        let data = header
            .data_bytes()
            .and_then(padded)
            .and_then(|bytes| start.checked_add(bytes))
            .ok_or_else(|| damaged(format!("the size of extension {number} makes no sense")))?;
        start = data;
        if start > file_bytes {
            let detail = format!("it ends inside the data of extension {number}");
            return Err(FileError::Truncated { path: path.to_owned(), format: "FITS", detail });
        }
        file.seek(SeekFrom::Start(start))
            .map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    }
    let wanted = wanted.map_or_else(|| "at all".to_owned(), |wanted| format!("`[{wanted}]`"));
    Err(FileError::NoTable { path: path.to_owned(), wanted, available: seen.join(", ") })
}

fn is_unit(header: &Header, number: u64) -> bool {
    header.first_keyword() == if number == 0 { "SIMPLE" } else { "XTENSION" }
}

fn is_wanted(header: &Header, number: u64, wanted: Option<&str>) -> bool {
    let Some(wanted) = wanted else {
        // A tile-compressed image is stored as a binary table that nobody means.
        return header.text("XTENSION") == Some("BINTABLE")
            && header.logical("ZIMAGE") != Some(true);
    };
    if let Ok(wanted) = wanted.parse::<u64>() {
        return wanted == number;
    }
    let (name, version) = wanted.split_once(',').unwrap_or((wanted, ""));
    let version_fits = match version.trim().parse::<i64>() {
        Ok(version) => header.integer("EXTVER").unwrap_or(1) == version,
        Err(_) => version.is_empty(),
    };
    version_fits
        && header.text("EXTNAME").is_some_and(|own| own.trim().eq_ignore_ascii_case(name.trim()))
}

fn check_kind(header: &Header, path: &str, number: u64) -> Result<(), FileError> {
    let unsupported = |what: &str, hint: &str| {
        Err(FileError::Unsupported {
            path: format!("{path}[{number}]"),
            what: what.to_owned(),
            hint: hint.to_owned(),
        })
    };
    let kind = header.text("XTENSION").unwrap_or("PRIMARY");
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
