//! Text tables with a header line (CSV and its relatives).

mod guess;
mod head;
mod survey;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int64Builder, RecordBatch,
    RecordBatchOptions, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use csv::ByteRecord;

use self::survey::{Survey, TypedColumn};
use super::reader::{Progress, ReadOptions, SkippedColumn, TableBatch, TableReader, unique_names};
use super::{FileError, RefusedRow};
use crate::schema::ColumnType;

/// Types are guessed from at most this many rows...
const SAMPLE_ROWS: usize = 50_000;

/// ...and bytes.
const SAMPLE_BYTES: usize = 32 << 20;

/// Bytes that are read of a file at once.
const FILE_BUFFER_BYTES: usize = 1 << 20;

/// What rows are read from: what was read of them with the header, and the rest of the file.
type Rows = csv::Reader<Chain<Cursor<Vec<u8>>, BufReader<File>>>;

/// Reads one text table. Types come from a sample of its first rows, or from all where they are looked through; a row that does
/// not fit is refused.
pub(super) struct DelimitedReader {
    path: PathBuf,
    reader: Rows,
    delimiter: u8,
    /// First byte of the rows; the reader counts from there.
    start: u64,
    bytes_total: u64,
    /// Sampled records that are not handed out yet.
    sample: VecDeque<ByteRecord>,
    /// What the rows hold that were looked at.
    survey: Survey,
    columns: Vec<TypedColumn>,
    schema: SchemaRef,
    /// Rows of the file, where it was looked through.
    rows_total: Option<u64>,
    /// The column that names rows which are refused.
    id: Option<usize>,
    /// Where the row begins in which a quotation mark is open until the file ends.
    unclosed: Option<u64>,
    batch_rows: usize,
    row: u64,
    is_at_end: bool,
}

impl DelimitedReader {
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let unreadable = |source| FileError::Read { path: shown.clone(), source };
        let file =
            File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
        let bytes_total = file.metadata().map_err(unreadable)?.len();
        let mut file = BufReader::with_capacity(FILE_BUFFER_BYTES, file);
        let head = head::read(&mut file)
            .map_err(unreadable)?
            .map_err(|detail| FileError::NoHeader { path: shown.clone(), detail })?;
        // A pipe cannot go back to a first line that has been read.
        let reader = rows_of(head.delimiter, Cursor::new(head.again).chain(file));
        let known = |name: &String| {
            let known = options.column_types.get(&name.to_lowercase()).copied();
            // Bytes and lists have no text form here: such columns stay what they look like.
            known.filter(|kind| !matches!(kind, ColumnType::Binary | ColumnType::FloatList))
        };
        let names = unique_names(head.names).into_iter();
        let mut this = Self {
            path: path.to_owned(),
            reader,
            delimiter: head.delimiter,
            start: head.start,
            bytes_total,
            sample: VecDeque::new(),
            survey: Survey::new(names.map(|name| (name.clone(), known(&name)))),
            columns: Vec::new(),
            schema: Arc::new(Schema::empty()),
            rows_total: None,
            id: None,
            unclosed: None,
            batch_rows: options.batch_rows.max(1),
            row: 0,
            is_at_end: false,
        };
        this.take_sample()?;
        this.settle();
        Ok(this)
    }

    fn take_sample(&mut self) -> Result<(), FileError> {
        let mut bytes = 0;
        while self.sample.len() < SAMPLE_ROWS && bytes < SAMPLE_BYTES {
            let Some(record) = self.read_record()? else {
                return Ok(());
            };
            bytes += record.as_slice().len();
            self.survey.see(&record);
            self.sample.push_back(record);
        }
        Ok(())
    }

    /// Gives columns the types that the rows have told so far.
    fn settle(&mut self) {
        self.columns = self.survey.columns();
        let field = |column: &TypedColumn| Field::new(&column.name, arrow_type(column.kind), true);
        self.schema = Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()));
    }

    fn failed(&self, source: io::Error) -> FileError {
        FileError::Read { path: self.path.display().to_string(), source }
    }

    /// Whether a quotation mark is open in a row that ends with the file: all behind it was taken into that row.
    fn is_open_at_end(&self, record: &ByteRecord) -> io::Result<bool> {
        let begin = record.position().map_or(0, |position| self.start + position.byte());
        let is_last = self.start + self.reader.position().byte() >= self.bytes_total;
        if !is_last || !record.as_slice().contains(&b'\n') || !self.path.is_file() {
            return Ok(false);
        }
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(begin))?;
        let mut raw = Vec::new();
        file.take(self.bytes_total - begin).read_to_end(&mut raw)?;
        let marks = raw.split(|byte| *byte == b'"').count() - 1;
        Ok(marks % 2 == 1)
    }

    fn read_record(&mut self) -> Result<Option<ByteRecord>, FileError> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => {
                if self.is_open_at_end(&record).map_err(|source| self.failed(source))? {
                    self.unclosed = record.position().map(csv::Position::byte);
                }
                Ok(Some(record))
            }
            Ok(false) => Ok(None),
            Err(error) => Err(self.failed(error.into())),
        }
    }

    fn next_record(&mut self) -> Result<Option<ByteRecord>, FileError> {
        match self.sample.pop_front() {
            Some(record) => Ok(Some(record)),
            None => self.read_record(),
        }
    }

    /// Parses a row, or says why it is refused.
    fn parse<'a>(&self, record: &'a ByteRecord) -> Result<Vec<Parsed<'a>>, String> {
        let lines = record.as_slice().split(|byte| *byte == b'\n').count() - 1;
        if self.unclosed.is_some() && record.position().map(csv::Position::byte) == self.unclosed {
            return Err(format!(
                "a quotation mark in it is not closed: everything up to the end of the file, {lines} lines later, is part of this row"
            ));
        }
        if record.len() != self.columns.len() {
            let quote = if lines > 0 {
                format!("; a quotation mark in it is not closed, or closed {lines} lines later")
            } else {
                String::new()
            };
            return Err(format!(
                "it has {} fields, the header has {}{quote}",
                record.len(),
                self.columns.len()
            ));
        }
        record
            .iter()
            .zip(&self.columns)
            .map(|(value, TypedColumn { name, kind, is_known })| {
                let text = std::str::from_utf8(value)
                    .map_err(|_| format!("column `{name}` is not UTF-8 text"))?;
                parse_value(text, *kind).ok_or_else(|| {
                    let shown: String = text.chars().take(40).collect();
                    let place = if *is_known { "the collection" } else { "this file" };
                    format!("column `{name}` is {kind} in {place}, its value is `{shown}`")
                })
            })
            .collect()
    }
}

/// Reads records from bytes.
fn rows_of<R: Read>(delimiter: u8, source: R) -> csv::Reader<R> {
    let mut options = csv::ReaderBuilder::new();
    options.has_headers(false).flexible(true).delimiter(delimiter).from_reader(source)
}

impl TableReader for DelimitedReader {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn skipped(&self) -> &[SkippedColumn] {
        &[]
    }

    fn doubts(&self) -> Vec<String> {
        let rows = match self.rows_total {
            Some(_) => "its rows".to_owned(),
            None => format!("its first {} rows", self.survey.rows),
        };
        self.survey.doubts(&rows)
    }

    fn row_count(&self) -> Option<u64> {
        self.rows_total
    }

    /// Counts the rows, and takes types from all of them, instead of the first ones. What can be read only once is not.
    fn look_through(&mut self) -> Result<(), FileError> {
        if !self.path.is_file() {
            return Ok(());
        }
        let file = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.start + self.reader.position().byte()))?;
            Ok(BufReader::with_capacity(FILE_BUFFER_BYTES, file))
        });
        let mut rest = rows_of(self.delimiter, file.map_err(|source| self.failed(source))?);
        let mut record = ByteRecord::new();
        loop {
            match rest.read_byte_record(&mut record) {
                Ok(true) => self.survey.see(&record),
                Ok(false) => break,
                Err(error) => return Err(self.failed(error.into())),
            }
        }
        self.rows_total = Some(self.survey.rows);
        self.settle();
        Ok(())
    }

    fn name_refused_by(&mut self, column: usize) {
        self.id = Some(column);
    }

    fn progress(&self) -> Progress {
        let read = self.start + self.reader.position().byte();
        let waiting: usize = self.sample.iter().map(|record| record.as_slice().len()).sum();
        Progress {
            rows_done: self.row,
            rows_total: self.rows_total,
            bytes_done: read.saturating_sub(waiting as u64),
            bytes_total: self.bytes_total,
        }
    }

    fn next_batch(&mut self) -> Result<Option<TableBatch>, FileError> {
        let mut builders: Vec<Builder> =
            self.columns.iter().map(|column| Builder::new(column.kind)).collect();
        let (mut numbers, mut refused) = (Vec::new(), Vec::new());
        while !self.is_at_end && numbers.len() + refused.len() < self.batch_rows {
            let record = match self.next_record() {
                Ok(Some(record)) => record,
                Ok(None) => {
                    self.is_at_end = true;
                    break;
                }
                Err(error) => {
                    self.is_at_end = true;
                    return Err(error);
                }
            };
            match self.parse(&record) {
                Ok(values) => {
                    numbers.push(self.row);
                    builders
                        .iter_mut()
                        .zip(values)
                        .for_each(|(builder, value)| builder.push(value));
                }
                Err(reason) => {
                    let id = self.id.and_then(|place| record.get(place)).unwrap_or_default();
                    let object_id = String::from_utf8_lossy(id).trim().to_owned();
                    refused.push(RefusedRow { row: self.row, object_id, reason });
                }
            }
            self.row += 1;
        }
        if numbers.is_empty() && refused.is_empty() {
            return Ok(None);
        }
        let columns = builders.into_iter().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(numbers.len()));
        let schema = SchemaRef::clone(&self.schema);
        let rows =
            RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| {
                FileError::Damaged {
                    path: self.path.display().to_string(),
                    format: "csv",
                    detail: error.to_string(),
                }
            })?;
        Ok(Some(TableBatch { rows, numbers, refused }))
    }
}

fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Float32 => DataType::Float32,
        ColumnType::Float64 => DataType::Float64,
        ColumnType::Text | ColumnType::Binary | ColumnType::FloatList => DataType::Utf8,
    }
}

#[derive(Debug)]
enum Parsed<'a> {
    Null,
    Boolean(bool),
    Int64(i64),
    Float64(f64),
    Text(&'a str),
}

fn parse_value(text: &str, kind: ColumnType) -> Option<Parsed<'_>> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Some(Parsed::Null);
    }
    let is_text = matches!(kind, ColumnType::Text | ColumnType::Binary | ColumnType::FloatList);
    if !is_text && guess::is_missing(trimmed) {
        return Some(Parsed::Null);
    }
    match kind {
        ColumnType::Boolean => guess::boolean(trimmed).map(Parsed::Boolean),
        ColumnType::Int64 => whole(trimmed).map(Parsed::Int64),
        ColumnType::Float32 | ColumnType::Float64 => trimmed.parse().ok().map(Parsed::Float64),
        ColumnType::Text | ColumnType::Binary | ColumnType::FloatList => Some(Parsed::Text(text)),
    }
}

/// A whole number, which other programs write as `3.0` in columns that have lost values.
fn whole(text: &str) -> Option<i64> {
    let rounded = || text.parse::<f64>().ok().filter(|number| number.fract() == 0.0);
    let is_exact = |number: &f64| number.abs() <= guess::EXACT_MAX as f64;
    text.parse().ok().or_else(|| rounded().filter(is_exact).map(|number| number as i64))
}

enum Builder {
    Boolean(BooleanBuilder),
    Int64(Int64Builder),
    Float32(Float32Builder),
    Float64(Float64Builder),
    Text(StringBuilder),
}

impl Builder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Boolean => Self::Boolean(BooleanBuilder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Float32 => Self::Float32(Float32Builder::new()),
            ColumnType::Float64 => Self::Float64(Float64Builder::new()),
            ColumnType::Text | ColumnType::Binary | ColumnType::FloatList => {
                Self::Text(StringBuilder::new())
            }
        }
    }

    /// `parse_value` has made the value for this column's type, so the other pairs are nulls only.
    fn push(&mut self, value: Parsed<'_>) {
        match (self, value) {
            (Self::Boolean(builder), Parsed::Boolean(value)) => builder.append_value(value),
            (Self::Boolean(builder), _) => builder.append_null(),
            (Self::Int64(builder), Parsed::Int64(value)) => builder.append_value(value),
            (Self::Int64(builder), _) => builder.append_null(),
            (Self::Float32(builder), Parsed::Float64(value)) => builder.append_value(value as f32),
            (Self::Float32(builder), _) => builder.append_null(),
            (Self::Float64(builder), Parsed::Float64(value)) => builder.append_value(value),
            (Self::Float64(builder), _) => builder.append_null(),
            (Self::Text(builder), Parsed::Text(value)) => builder.append_value(value),
            (Self::Text(builder), _) => builder.append_null(),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Float32(mut builder) => Arc::new(builder.finish()),
            Self::Float64(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
        }
    }
}
