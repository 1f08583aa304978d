//! A table on its way in, with the vectors that belong to it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Request;
use crate::files::{
    self, Inferred, NpyReader, Plan, Progress, ReadOptions, SkippedColumn, TableBatch, TableReader,
    VectorSource,
};
use crate::schema::CollectionSchema;

/// Rows that are read at once: few, since a row may hold an image.
const READ_ROWS: usize = 4_096;

/// An opened table: its first rows are read already, to see what they are.
pub(super) struct OpenSource {
    reader: Box<dyn TableReader>,
    first: Option<TableBatch>,
    /// The `.npy` files of the request, in its order.
    arrays: Vec<NpyReader>,
    rows_done: u64,
}

/// Some rows, with the vectors of each array for the readable ones.
pub(super) struct SourceRows {
    pub(super) table: TableBatch,
    pub(super) blocks: Vec<Vec<f32>>,
}

impl OpenSource {
    /// Opens a table; a collection that is known says what the columns of a CSV file are.
    pub(super) fn open(
        path: &Path,
        request: &Request,
        known: Option<&CollectionSchema>,
    ) -> Result<Self> {
        let column_types: HashMap<_, _> = known
            .into_iter()
            .flat_map(|schema| &schema.columns)
            .map(|column| (column.name.to_lowercase(), column.kind))
            .collect();
        let options = ReadOptions { batch_rows: READ_ROWS, column_types };
        let mut reader = files::open_with(path, request.format, &options)?;
        let mut arrays = Vec::new();
        for spec in &request.vectors {
            if let VectorSource::Npy(path) = &spec.source {
                arrays.push(NpyReader::open(path)?);
            }
        }
        if let Some(rows) = reader.row_count() {
            arrays.iter().try_for_each(|array| check_length(array, rows))?;
        }
        let first = reader.next_batch()?;
        Ok(Self { reader, first, arrays, rows_done: 0 })
    }

    /// The schema of a collection for this table.
    pub(super) fn infer(&self, name: &str, request: &Request) -> Result<Inferred> {
        let first = self.first.as_ref().map(|batch| &batch.rows);
        let file = self.reader.schema();
        Ok(files::infer_schema(name, &file, first, &request.mapping, &request.vectors)?)
    }

    /// How the columns become those of the collection.
    pub(super) fn plan(&self, schema: &CollectionSchema, request: &Request) -> Result<Plan> {
        let first = self.first.as_ref().map(|batch| &batch.rows);
        let file = self.reader.schema();
        Ok(Plan::new(&file, first, &request.mapping, &request.vectors, schema)?)
    }

    /// Columns that are not read.
    pub(super) fn skipped(&self) -> impl Iterator<Item = &SkippedColumn> {
        self.reader.skipped().iter()
    }

    /// Rows of the table where the format tells, else an estimate from the size of the first rows.
    pub(super) fn rows_expected(&self) -> u64 {
        let Progress { rows_done, bytes_done, bytes_total, .. } = self.reader.progress();
        match self.reader.row_count() {
            Some(rows) => rows,
            None if bytes_done == 0 => rows_done,
            None => (rows_done as f64 * bytes_total as f64 / bytes_done as f64) as u64,
        }
    }

    /// Rows of the table, where the format tells.
    pub(super) fn row_count(&self) -> Option<u64> {
        self.reader.row_count()
    }

    /// The next rows; `None` at the end, which the arrays must reach together with the table.
    pub(super) fn next(&mut self) -> Result<Option<SourceRows>> {
        let table = match self.first.take() {
            Some(batch) => Some(batch),
            None => self.reader.next_batch()?,
        };
        let Some(table) = table else {
            self.arrays.iter().try_for_each(|array| check_length(array, self.rows_done))?;
            return Ok(None);
        };
        let start = self.rows_done;
        let count = table.rows.num_rows() + table.refused.len();
        self.rows_done += count as u64;
        let mut blocks = Vec::with_capacity(self.arrays.len());
        for array in &mut self.arrays {
            let all = array.next_rows(count)?;
            blocks.push(block_of(&all, array, &table.numbers, start)?);
        }
        Ok(Some(SourceRows { table, blocks }))
    }
}

fn check_length(array: &NpyReader, rows: u64) -> Result<()> {
    if array.row_count() != rows {
        bail!(
            "{} has {} vectors, the table has {rows} rows; there must be one for each row, in the same order",
            array.path(),
            array.row_count()
        );
    }
    Ok(())
}

/// The vectors of the readable rows among consecutive ones from `start`.
fn block_of(all: &[f32], array: &NpyReader, numbers: &[u64], start: u64) -> Result<Vec<f32>> {
    let dimension = array.dimension();
    let mut block = Vec::with_capacity(numbers.len() * dimension);
    for number in numbers {
        let vector = number
            .checked_sub(start)
            .and_then(|row| all.chunks_exact(dimension).nth(row as usize))
            .with_context(|| {
                format!("{} has no vector for row {number} of the table", array.path())
            })?;
        block.extend_from_slice(vector);
    }
    Ok(block)
}
