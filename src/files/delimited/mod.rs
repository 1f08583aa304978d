//! Text tables with a header line (CSV and its relatives).

mod guess;
mod head;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float32Builder, Float64Builder, Int64Builder, RecordBatch,
    RecordBatchOptions, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use csv::ByteRecord;

use self::guess::Evidence;
use super::reader::{Progress, ReadOptions, SkippedColumn, TableBatch, TableReader, unique_names};
use super::{FileError, RefusedRow};
use crate::schema::ColumnType;

/// Types are guessed from at most this many rows...
const SAMPLE_ROWS: usize = 50_000;

/// ...and bytes.
const SAMPLE_BYTES: usize = 32 << 20;

/// Reads one text table. Types come from a sample of its first rows; a later row that does not fit is refused.
pub(super) struct DelimitedReader {
    path: String,
    reader: csv::Reader<BufReader<File>>,
    /// First byte of the rows; the reader counts from there.
    start: u64,
    bytes_total: u64,
    /// Sampled records that are not handed out yet.
    sample: VecDeque<ByteRecord>,
    columns: Vec<(String, ColumnType)>,
    schema: SchemaRef,
    /// Columns whose type nothing has told.
    untold: Vec<String>,
    /// Rows that the types were guessed from.
    sampled: usize,
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
        let mut file = BufReader::with_capacity(1 << 20, file);
        let head = head::read(&mut file)
            .map_err(unreadable)?
            .map_err(|detail| FileError::NoHeader { path: shown.clone(), detail })?;
        file.seek(SeekFrom::Start(head.start)).map_err(unreadable)?;
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(head.delimiter)
            .from_reader(file);
        let mut this = Self {
            path: shown,
            reader,
            start: head.start,
            bytes_total,
            sample: VecDeque::new(),
            columns: Vec::new(),
            schema: Arc::new(Schema::empty()),
            untold: Vec::new(),
            sampled: 0,
            batch_rows: options.batch_rows.max(1),
            row: 0,
            is_at_end: false,
        };
        let names = unique_names(head.names);
        this.take_sample()?;
        this.columns = this.guess_types(names, options);
        let fields: Vec<Field> = this
            .columns
            .iter()
            .map(|(name, kind)| Field::new(name, arrow_type(*kind), true))
            .collect();
        this.schema = Arc::new(Schema::new(fields));
        Ok(this)
    }

    fn take_sample(&mut self) -> Result<(), FileError> {
        let mut bytes = 0;
        while self.sample.len() < SAMPLE_ROWS && bytes < SAMPLE_BYTES {
            let Some(record) = self.read_record()? else {
                return Ok(());
            };
            bytes += record.as_slice().len();
            self.sample.push_back(record);
        }
        Ok(())
    }

    fn guess_types(
        &mut self,
        names: Vec<String>,
        options: &ReadOptions,
    ) -> Vec<(String, ColumnType)> {
        self.sampled = self.sample.len();
        let mut evidence = vec![Evidence::new(); names.len()];
        for record in self.sample.iter().filter(|record| record.len() == names.len()) {
            for (evidence, value) in evidence.iter_mut().zip(record) {
                evidence.see(&String::from_utf8_lossy(value));
            }
        }
        names
            .into_iter()
            .zip(evidence)
            .map(|(name, evidence)| {
                let known = options.column_types.get(&name.to_lowercase()).copied();
                // Bytes and lists have no text form here: such columns stay what they look like.
                let known = known
                    .filter(|kind| !matches!(kind, ColumnType::Binary | ColumnType::FloatList));
                if known.is_none() && evidence.is_none() {
                    self.untold.push(name.clone());
                }
                (name, known.unwrap_or_else(|| evidence.column_type()))
            })
            .collect()
    }

    fn read_record(&mut self) -> Result<Option<ByteRecord>, FileError> {
        let mut record = ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(true) => Ok(Some(record)),
            Ok(false) => Ok(None),
            Err(error) => Err(FileError::Read {
                path: self.path.clone(),
                source: std::io::Error::other(error.to_string()),
            }),
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
        if record.len() != self.columns.len() {
            let lines = record.as_slice().split(|byte| *byte == b'\n').count() - 1;
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
            .map(|(value, (name, kind))| {
                let text = std::str::from_utf8(value)
                    .map_err(|_| format!("column `{name}` is not UTF-8 text"))?;
                parse_value(text, *kind).ok_or_else(|| {
                    let shown: String = text.chars().take(40).collect();
                    format!("column `{name}` is {kind} in this file, its value is `{shown}`")
                })
            })
            .collect()
    }
}

impl TableReader for DelimitedReader {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn skipped(&self) -> &[SkippedColumn] {
        &[]
    }

    fn doubts(&self) -> Vec<String> {
        // Of an empty file there is nothing to say.
        let untold = self.untold.iter().filter(|_| self.sampled > 0);
        let doubt = |name| {
            format!(
                "column `{name}` is stored as text: its first {} rows have no value that tells its type; \
                 `sidereus collection create --schema` makes the collection with another",
                self.sampled
            )
        };
        untold.map(doubt).collect()
    }

    fn row_count(&self) -> Option<u64> {
        None
    }

    fn progress(&self) -> Progress {
        let read = self.start + self.reader.position().byte();
        let waiting: usize = self.sample.iter().map(|record| record.as_slice().len()).sum();
        Progress {
            rows_done: self.row,
            rows_total: None,
            bytes_done: read.saturating_sub(waiting as u64),
            bytes_total: self.bytes_total,
        }
    }

    fn next_batch(&mut self) -> Result<Option<TableBatch>, FileError> {
        let mut builders: Vec<Builder> =
            self.columns.iter().map(|(_, kind)| Builder::new(*kind)).collect();
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
                    let object_id = String::new();
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
                    path: self.path.clone(),
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
        ColumnType::Int64 => trimmed.parse().ok().map(Parsed::Int64),
        ColumnType::Float32 | ColumnType::Float64 => trimmed.parse().ok().map(Parsed::Float64),
        ColumnType::Text | ColumnType::Binary | ColumnType::FloatList => Some(Parsed::Text(text)),
    }
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
