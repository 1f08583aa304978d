//! Tables into files.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::csv;
use arrow::datatypes::{DataType, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::{FileError, Format};

/// Rows of a row group of Parquet: what a reader has to hold at once.
const GROUP_ROWS: usize = 131_072;

/// Writes a table batch by batch. The file is there under its name only once it is complete.
pub struct TableWriter {
    path: PathBuf,
    unfinished: PathBuf,
    sink: Sink,
    rows: u64,
}

enum Sink {
    Csv(Box<csv::Writer<BufWriter<File>>>),
    Parquet(Box<ArrowWriter<BufWriter<File>>>),
    Arrow(Box<FileWriter<BufWriter<File>>>),
}

impl std::fmt::Debug for TableWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("TableWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TableWriter {
    /// Opens a file for a table of a schema.
    ///
    /// # Errors
    /// [`FileError::Unsupported`] for a format that is not written, or that cannot hold a column; [`FileError::Write`].
    pub fn create(path: &Path, format: Format, schema: &SchemaRef) -> Result<Self, FileError> {
        check(path, format, schema)?;
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(".unfinished");
        let unfinished = PathBuf::from(unfinished);
        let file = File::create(&unfinished).map_err(|source| written(&unfinished, source))?;
        let file = BufWriter::with_capacity(1 << 20, file);
        let sink = match format {
            Format::Parquet => {
                let writer =
                    ArrowWriter::try_new(file, SchemaRef::clone(schema), Some(properties(schema)));
                Sink::Parquet(Box::new(writer.map_err(|error| parquet_failed(path, error))?))
            }
            Format::Arrow => {
                let writer = FileWriter::try_new(file, schema);
                Sink::Arrow(Box::new(writer.map_err(|error| arrow_failed(path, error))?))
            }
            Format::Csv | Format::Fits => {
                let mut writer = csv::WriterBuilder::new().with_header(true).build(file);
                // Names come with the first rows, but also a table without rows has them.
                let nothing = flat(&RecordBatch::new_empty(SchemaRef::clone(schema)));
                let written = nothing.and_then(|nothing| writer.write(&nothing));
                written.map_err(|error| arrow_failed(path, error))?;
                Sink::Csv(Box::new(writer))
            }
        };
        Ok(Self { path: path.to_owned(), unfinished, sink, rows: 0 })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FileError> {
        self.rows += batch.num_rows() as u64;
        match &mut self.sink {
            Sink::Csv(writer) => flat(batch)
                .and_then(|batch| writer.write(&batch))
                .map_err(|error| arrow_failed(&self.path, error)),
            Sink::Arrow(writer) => {
                writer.write(batch).map_err(|error| arrow_failed(&self.path, error))
            }
            Sink::Parquet(writer) => {
                writer.write(batch).map_err(|error| parquet_failed(&self.path, error))
            }
        }
    }

    /// Ends the table, and gives the file its name; returns its rows.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn finish(self) -> Result<u64, FileError> {
        let Self { path, unfinished, sink, rows } = self;
        let file = match sink {
            Sink::Csv(writer) => writer.into_inner(),
            Sink::Arrow(writer) => {
                writer.into_inner().map_err(|error| arrow_failed(&path, error))?
            }
            Sink::Parquet(writer) => {
                writer.into_inner().map_err(|error| parquet_failed(&path, error))?
            }
        };
        let file = file.into_inner().map_err(|error| written(&unfinished, error.into_error()))?;
        file.sync_all().map_err(|source| written(&unfinished, source))?;
        std::fs::rename(&unfinished, &path).map_err(|source| written(&path, source))?;
        Ok(rows)
    }

    /// Gives up, and removes what was written.
    pub fn abandon(self) {
        // What cannot be removed is there under a name that says what it is.
        let _ = std::fs::remove_file(self.unfinished);
    }
}

/// Refuses what a format cannot hold.
fn check(path: &Path, format: Format, schema: &SchemaRef) -> Result<(), FileError> {
    let unsupported = |what: String, hint: &str| FileError::Unsupported {
        path: path.display().to_string(),
        what,
        hint: hint.to_owned(),
    };
    if format == Format::Fits {
        let what = "to be a FITS file, which is not written here".to_owned();
        return Err(unsupported(
            what,
            "write .parquet, .arrow or .csv; Python's `to_table().write(...)` makes FITS of a search",
        ));
    }
    let is_other = |kind: &DataType| matches!(kind, DataType::FixedSizeList(..) | DataType::Binary);
    let other = schema.fields().iter().find(|field| is_other(field.data_type()));
    match other.filter(|_| format == Format::Csv) {
        None => Ok(()),
        Some(field) => Err(unsupported(
            format!(
                "to be a CSV file, which cannot hold `{}` ({})",
                field.name(),
                field.data_type()
            ),
            "write .parquet or .arrow, or name other columns",
        )),
    }
}

/// The same table with lists of numbers as texts, `[1.5,null]`, as CSV has them in answers, too.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let Some(lists) = array.as_list_opt::<i32>() else {
            fields.push(Arc::clone(field));
            arrays.push(Arc::clone(array));
            continue;
        };
        fields.push(Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)));
        let texts: StringArray = lists.iter().map(|list| list.map(|list| text_of(&list))).collect();
        arrays.push(Arc::new(texts) as ArrayRef);
    }
    // A table may have no column but be as long as it is.
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &rows)
}

/// A list of numbers as JSON has it; what is no finite number is null there.
fn text_of(list: &ArrayRef) -> String {
    let numbers = list.as_primitive_opt::<Float64Type>();
    let number = |number: Option<f64>| match number.filter(|number| number.is_finite()) {
        Some(number) => format!("{number:?}"),
        None => "null".to_owned(),
    };
    let texts: Vec<String> = numbers.into_iter().flatten().map(number).collect();
    format!("[{}]", texts.join(","))
}

/// Numbers of measurements and vectors do not repeat: only texts get a dictionary.
fn properties(schema: &SchemaRef) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_dictionary_enabled(false)
        .set_max_row_group_row_count(Some(GROUP_ROWS));
    for field in schema.fields().iter().filter(|field| field.data_type() == &DataType::Utf8) {
        let column = ColumnPath::new(vec![field.name().clone()]);
        builder = builder.set_column_dictionary_enabled(column, true);
    }
    builder.build()
}

fn written(path: &Path, source: std::io::Error) -> FileError {
    FileError::Write { path: path.display().to_string(), source }
}

fn arrow_failed(path: &Path, error: ArrowError) -> FileError {
    match error {
        ArrowError::IoError(_, source) => written(path, source),
        other => written(path, std::io::Error::other(other)),
    }
}

fn parquet_failed(path: &Path, error: ParquetError) -> FileError {
    written(path, std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use arrow::array::{FixedSizeListArray, Float32Array, Float64Array, Int64Array, ListArray};
    use arrow::datatypes::Field;

    use super::*;
    use crate::files::{META_UNIT, open};

    fn table() -> RecordBatch {
        let unit = [(META_UNIT.to_owned(), "mag".to_owned())].into();
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let vectors = DataType::FixedSizeList(Arc::clone(&item), 2);
        let schema = Schema::new(vec![
            Field::new("object_id", DataType::Int64, false),
            Field::new("mag", DataType::Float64, true).with_metadata(unit),
            Field::new("class", DataType::Utf8, true),
            Field::new("vector.s", vectors, true),
        ]);
        let components = Arc::new(Float32Array::from(vec![1.0, 2.0, 3.0, 4.0]));
        let vectors = FixedSizeListArray::try_new(item, 2, components, None).expect("vectors");
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(Int64Array::from(vec![1, 2])),
                Arc::new(Float64Array::from(vec![Some(17.25), None])),
                Arc::new(StringArray::from(vec!["S", "E"])),
                Arc::new(vectors),
            ],
        )
        .expect("a batch")
    }

    #[test]
    fn what_is_written_is_read_again_with_its_units() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = table();
        for (name, format) in [("t.parquet", Format::Parquet), ("t.arrow", Format::Arrow)] {
            let path = folder.path().join(name);
            let mut writer = TableWriter::create(&path, format, &table.schema()).expect("a writer");
            writer.write(&table).expect("written");
            assert!(!path.exists(), "a file that is not complete has not its name yet");
            assert_eq!(writer.finish().expect("finished"), 2);
            let reader = open(&path, None).expect("a table");
            let unit = reader.schema().field(1).metadata().get(META_UNIT).cloned();
            assert_eq!(unit.as_deref(), Some("mag"), "{name}");
        }
    }

    #[test]
    fn csv_has_no_vectors_and_what_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let table = table();
        let path = folder.path().join("t.csv");
        let refused = TableWriter::create(&path, Format::Csv, &table.schema());
        let refused = refused.expect_err("vectors").to_string();
        assert!(refused.contains("`vector.s`") && refused.contains(".parquet"), "{refused}");
        let flat = table.project(&[0, 1, 2]).expect("columns");
        let mut writer = TableWriter::create(&path, Format::Csv, &flat.schema()).expect("a writer");
        writer.write(&flat).expect("written");
        writer.abandon();
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
        let mut writer = TableWriter::create(&path, Format::Csv, &flat.schema()).expect("a writer");
        writer.write(&flat).expect("written");
        writer.finish().expect("finished");
        let text = std::fs::read_to_string(&path).expect("text");
        assert_eq!(text, "object_id,mag,class\n1,17.25,S\n2,,E\n");
    }

    #[test]
    fn csv_has_lists_as_texts_and_names_without_rows() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t.csv");
        let fluxes =
            vec![Some(vec![Some(1.5), None, Some(f64::NAN), Some(-1e-30)]), None, Some(Vec::new())];
        let fluxes = ListArray::from_iter_primitive::<Float64Type, _, _>(fluxes);
        let ids = Int64Array::from(vec![1, 2, 3]);
        let columns = [("object_id", Arc::new(ids) as ArrayRef), ("flux", Arc::new(fluxes))];
        let table = RecordBatch::try_from_iter(columns).expect("a table");
        let written = |batches: &[RecordBatch]| {
            let mut writer =
                TableWriter::create(&path, Format::Csv, &table.schema()).expect("a writer");
            batches.iter().for_each(|batch| writer.write(batch).expect("written"));
            writer.finish().expect("finished");
            std::fs::read_to_string(&path).expect("text")
        };
        assert_eq!(written(&[]), "object_id,flux\n");
        let text = written(std::slice::from_ref(&table));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "1,\"[1.5,null,null,-1e-30]\"");
        assert_eq!(lines[2..], ["2,", "3,[]"]);
    }
}
