//! One import from end to end: a table, its vectors, and the batches that go to the server.

use std::collections::HashMap;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};

use super::assign::{VectorSource, VectorSpec};
use super::infer::{Inferred, infer_schema};
use super::mapping::{IdSource, Mapping, usual_id_names};
use super::npy::NpyReader;
use super::plan::{IngestRows, Plan};
use super::reader::{
    BATCH_ROWS, Progress, ReadOptions, SkippedColumn, TableBatch, TableReader, open_with,
};
use super::told::with_told;
use super::{FileError, Format};
use crate::schema::{CollectionSchema, ColumnType, IdKind, Provenance};
use crate::vector::Metric;

/// What is imported and how.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The table; FITS files may carry an extension in brackets.
    pub path: PathBuf,
    /// Its format; told by content and name when `None`.
    pub format: Option<Format>,
    /// Which column becomes what.
    pub mapping: Mapping,
    /// Vectors of spaces; columns `vector.<space>` that tell their metric, as exports have them, need not be named.
    pub vectors: Vec<VectorSpec>,
    /// How vectors of new spaces are compared, whatever the file tells.
    pub metric: Option<Metric>,
    /// Whether all of a CSV file is looked through at first. Its types are guessed from all rows then; and an array of vectors that
    /// does not belong to it is found out before its vectors are on the wrong objects.
    pub whole: bool,
    /// Rows of a batch.
    pub batch_rows: usize,
    /// The collection, where it exists: types of text columns are then taken from it instead of guessed.
    pub collection: Option<CollectionSchema>,
}

impl ImportOptions {
    /// Imports a file with everything guessed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            format: None,
            mapping: Mapping::default(),
            vectors: Vec::new(),
            metric: None,
            whole: true,
            batch_rows: BATCH_ROWS,
            collection: None,
        }
    }
}

/// An opened table before it is matched with a collection.
pub struct Import {
    shown: String,
    reader: Box<dyn TableReader>,
    first: Option<TableBatch>,
    mapping: Mapping,
    vectors: Vec<VectorSpec>,
    arrays: Vec<NpyReader>,
}

impl Import {
    /// Opens the table and its vectors, and reads the first rows.
    ///
    /// # Errors
    /// Files that cannot be opened or read, and arrays whose length is known to differ from the table's.
    pub fn open(options: &ImportOptions) -> Result<Self, FileError> {
        let shown = options.path.display().to_string();
        let mut arrays = Vec::new();
        for spec in &options.vectors {
            if let VectorSource::Npy(path) = &spec.source {
                arrays.push(NpyReader::open(path)?);
            }
        }
        let read = ReadOptions {
            batch_rows: options.batch_rows.max(1),
            column_types: column_types(options),
        };
        let mut reader = open_with(&options.path, options.format, &read)?;
        let mapping = options.mapping.clone();
        // What is wrong with it is said when the file is matched with the collection; it need not be looked through until then.
        let resolved = mapping.resolve(&reader.schema()).ok();
        if options.whole && resolved.is_some() {
            reader.look_through()?;
        }
        if let Some(IdSource::Column(picked)) = resolved.as_ref().map(|resolved| resolved.id) {
            reader.name_refused_by(picked.place);
        }
        if let Some(expected) = reader.row_count()
            && let Some(array) = arrays.iter().find(|array| array.row_count() != expected)
        {
            return Err(unpaired(array, shown, expected));
        }
        let first = reader.next_batch()?;
        let (file, asked) = (reader.schema(), &options.vectors);
        let known = options.collection.as_ref();
        let vectors = match resolved {
            Some(resolved) => with_told(&file, &resolved, asked, options.metric, known),
            None => asked.clone(),
        };
        Ok(Self { shown, reader, first, mapping, vectors, arrays })
    }

    /// Columns of the file.
    pub fn file_schema(&self) -> SchemaRef {
        self.reader.schema()
    }

    /// Rows of the file, where the format tells.
    pub fn row_count(&self) -> Option<u64> {
        self.reader.row_count()
    }

    /// Whether rows of the file may have vectors.
    pub fn has_vectors(&self) -> bool {
        !self.vectors.is_empty()
    }

    /// Who made the vectors, by space, as far as the file tells.
    pub fn provenances(&self) -> impl Iterator<Item = (&str, &Provenance)> {
        let told = self.vectors.iter().filter_map(|spec| {
            let told = spec.told.as_ref()?;
            Some((spec.space.as_str(), &told.provenance))
        });
        told.filter(|(_, provenance)| !provenance.is_external())
    }

    /// Infers the schema of a new collection that holds this file.
    ///
    /// # Errors
    /// [`FileError::NoRows`] where nothing tells the types of columns; see [`infer_schema`].
    pub fn infer_schema(&self, collection: &str) -> Result<Inferred, FileError> {
        let file = self.reader.schema();
        let is_text = |field: &FieldRef| *field.data_type() == DataType::Utf8;
        if self.first_rows().is_none_or(|rows| rows.num_rows() == 0)
            && file.fields().iter().all(is_text)
        {
            return Err(FileError::NoRows { path: self.shown.clone() });
        }
        let mut inferred = infer_schema(
            collection,
            &self.reader.schema(),
            self.first_rows(),
            &self.mapping,
            &self.vectors,
        )?;
        inferred.warnings.extend(self.reader.skipped().iter().map(left_out));
        inferred.warnings.extend(self.reader.doubts());
        Ok(inferred)
    }

    /// Matches the file with the collection that it goes into.
    ///
    /// # Errors
    /// See [`Plan::new`].
    pub fn into_batches(self, collection: &CollectionSchema) -> Result<IngestBatches, FileError> {
        let file = self.reader.schema();
        let plan = Plan::new(&file, self.first_rows(), &self.mapping, &self.vectors, collection)?;
        Ok(IngestBatches {
            shown: self.shown,
            reader: self.reader,
            first: self.first,
            plan,
            arrays: self.arrays,
            row: 0,
        })
    }

    fn first_rows(&self) -> Option<&RecordBatch> {
        self.first.as_ref().map(|batch| &batch.rows)
    }
}

/// The batches of an import, in the ingest layout.
pub struct IngestBatches {
    shown: String,
    reader: Box<dyn TableReader>,
    first: Option<TableBatch>,
    plan: Plan,
    arrays: Vec<NpyReader>,
    /// Rows of the file that are behind us.
    row: u64,
}

impl IngestBatches {
    /// Schema of the batches.
    pub fn layout(&self) -> SchemaRef {
        self.plan.layout()
    }

    /// Columns of the file that are not imported, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        self.reader.skipped().iter().chain(self.plan.skipped()).map(left_out).collect()
    }

    /// How far the import has read.
    pub fn progress(&self) -> Progress {
        Progress { rows_done: self.row, ..self.reader.progress() }
    }

    /// The next rows; `None` at the end. A batch may consist of refused rows only.
    ///
    /// # Errors
    /// A file that turns out to be truncated or damaged, or an array of vectors of another length than the table.
    pub fn next_batch(&mut self) -> Result<Option<IngestRows>, FileError> {
        let table = match self.first.take() {
            Some(first) => Some(first),
            None => self.reader.next_batch()?,
        };
        let Some(table) = table else {
            return match self.arrays.iter().find(|array| array.row_count() != self.row) {
                Some(array) => Err(unpaired(array, self.shown.clone(), self.row)),
                None => Ok(None),
            };
        };
        let count = table.numbers.len() + table.refused.len();
        let end = self.row + count as u64;
        if let Some(array) = self.arrays.iter().find(|array| array.row_count() < end) {
            let expected = self.reader.row_count().map_or(end, |told| told.max(end));
            return Err(unpaired(array, self.shown.clone(), expected));
        }
        let mut blocks = Vec::new();
        for array in &mut self.arrays {
            let dimension = array.dimension();
            let values = array.next_rows(count)?;
            let values = select(values, dimension, &table, self.row);
            blocks.push(array.lend(values));
        }
        self.row = end;
        self.plan.ingest_batch(&table, blocks).map(Some)
    }
}

/// What is said of an array that has not a vector for each of so many rows of the table at `path`.
fn unpaired(array: &NpyReader, path: String, expected: u64) -> FileError {
    let (vectors, given) = (array.path().to_owned(), array.row_count());
    FileError::VectorCount { vectors, path, expected, given }
}

/// The vectors of the readable rows among all rows of a batch.
fn select(values: Vec<f32>, dimension: usize, table: &TableBatch, first: u64) -> Vec<f32> {
    if table.refused.is_empty() {
        return values;
    }
    let rows: Vec<&[f32]> = values.chunks_exact(dimension).collect();
    table
        .numbers
        .iter()
        .filter_map(|number| rows.get((number - first) as usize))
        .flat_map(|vector| vector.iter().copied())
        .collect()
}

fn left_out(column: &SkippedColumn) -> String {
    format!("column `{}` is left out: {}", column.name, column.reason)
}

/// Types that a collection gives to columns of a file, by the lower-case name in the file.
fn column_types(options: &ImportOptions) -> HashMap<String, ColumnType> {
    let Some(collection) = &options.collection else {
        return HashMap::new();
    };
    let mut types: HashMap<_, _> = collection
        .columns
        .iter()
        .map(|column| {
            let name = options.mapping.source(&column.name).unwrap_or(&column.name);
            (name.to_lowercase(), column.kind)
        })
        .collect();
    let id_kind = match collection.id_kind {
        IdKind::Number => ColumnType::Int64,
        IdKind::Text => ColumnType::Text,
    };
    match options.mapping.source("object_id") {
        Some(source) => {
            types.insert(source.to_lowercase(), id_kind);
        }
        // The id is still to be guessed: digits of text ids keep their leading zeros.
        None if id_kind == ColumnType::Text => {
            for name in usual_id_names() {
                types.entry(name.to_owned()).or_insert(id_kind);
            }
        }
        None => {}
    }
    types
}
