//! Apache Parquet.

use std::fs::File;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::FileError;
use super::contain::contain;
use super::reader::{
    Progress, ReadOptions, SkippedColumn, TableBatch, TableReader, begins_with, ends_with,
};

/// Reads one Parquet file, a row group at a time.
pub(super) struct ParquetReader {
    path: String,
    schema: SchemaRef,
    batches: Option<ParquetRecordBatchReader>,
    rows_total: u64,
    rows_done: u64,
    bytes_total: u64,
}

impl ParquetReader {
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let unreadable = |source| FileError::Read { path: shown.clone(), source };
        let mut file =
            File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
        let bytes_total = file.metadata().map_err(unreadable)?.len();
        if begins_with(&mut file, b"PAR1").map_err(unreadable)?
            && !ends_with(&mut file, b"PAR1", 12).map_err(unreadable)?
        {
            return Err(FileError::Truncated {
                path: shown,
                format: "Parquet",
                detail: "its footer is missing".to_owned(),
            });
        }
        let rows = options.batch_rows.max(1);
        let opened = contain(|| {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            let schema = SchemaRef::clone(builder.schema());
            let rows_total = builder.metadata().file_metadata().num_rows();
            let batches = builder.with_batch_size(rows).build()?;
            Ok::<_, parquet::errors::ParquetError>((schema, rows_total, batches))
        });
        let (schema, rows_total, batches) = opened.map_err(|detail| FileError::Damaged {
            path: shown.clone(),
            format: "Parquet",
            detail,
        })?;
        Ok(Self {
            path: shown,
            schema,
            batches: Some(batches),
            rows_total: u64::try_from(rows_total).unwrap_or(0),
            rows_done: 0,
            bytes_total,
        })
    }
}

impl TableReader for ParquetReader {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn skipped(&self) -> &[SkippedColumn] {
        &[]
    }

    fn row_count(&self) -> Option<u64> {
        Some(self.rows_total)
    }

    fn progress(&self) -> Progress {
        Progress {
            rows_done: self.rows_done,
            rows_total: Some(self.rows_total),
            bytes_done: 0,
            bytes_total: self.bytes_total,
        }
    }

    fn next_batch(&mut self) -> Result<Option<TableBatch>, FileError> {
        let Some(batches) = &mut self.batches else {
            return Ok(None);
        };
        match contain(|| batches.next().transpose()) {
            Ok(Some(rows)) => {
                let batch = TableBatch::consecutive(rows, self.rows_done);
                self.rows_done += batch.numbers.len() as u64;
                Ok(Some(batch))
            }
            Ok(None) => {
                self.batches = None;
                if self.rows_done == self.rows_total {
                    return Ok(None);
                }
                Err(FileError::Truncated {
                    path: self.path.clone(),
                    format: "Parquet",
                    detail: format!("{} of {} rows are there", self.rows_done, self.rows_total),
                })
            }
            Err(detail) => {
                self.batches = None;
                let detail = format!("after row {}: {detail}", self.rows_done);
                Err(FileError::Damaged { path: self.path.clone(), format: "Parquet", detail })
            }
        }
    }
}
