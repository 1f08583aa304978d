//! Arrow IPC, file and stream form.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamDecoder};

use super::FileError;
use super::contain::contain;
use super::reader::{
    Progress, ReadOptions, SkippedColumn, TableBatch, TableReader, begins_with, ends_with,
};

/// Bytes of a stream handed to the decoder at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads one Arrow IPC file; batches of the file are cut into smaller ones without copying.
pub(super) struct ArrowReader {
    path: String,
    schema: SchemaRef,
    batches: Option<Batches>,
    pending: Option<RecordBatch>,
    batch_rows: usize,
    rows_done: u64,
    bytes_done: u64,
    bytes_total: u64,
}

enum Batches {
    File(FileReader<BufReader<File>>),
    Stream(Stream),
}

/// A stream is fed to the decoder in chunks, so that a damaged length never makes us reserve memory for it.
struct Stream {
    file: File,
    decoder: StreamDecoder,
    unread: Buffer,
}

impl Stream {
    fn next(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        loop {
            if self.unread.is_empty() {
                let mut chunk = Vec::with_capacity(CHUNK_BYTES);
                (&mut self.file).take(CHUNK_BYTES as u64).read_to_end(&mut chunk)?;
                if chunk.is_empty() {
                    self.decoder.finish()?;
                    return Ok(None);
                }
                self.unread = Buffer::from_vec(chunk);
            }
            if let Some(batch) = self.decoder.decode(&mut self.unread)? {
                return Ok(Some(batch));
            }
        }
    }

    /// Reads up to the schema; a batch that is decoded on the way is returned.
    fn start(&mut self) -> Result<(SchemaRef, Option<RecordBatch>), ArrowError> {
        let first = self.next()?;
        let schema = self
            .decoder
            .schema()
            .ok_or_else(|| ArrowError::IpcError("it has no schema".to_owned()))?;
        Ok((schema, first))
    }
}

impl ArrowReader {
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let unreadable = |source| FileError::Read { path: shown.clone(), source };
        let mut file =
            File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
        let bytes_total = file.metadata().map_err(unreadable)?.len();
        let is_file = begins_with(&mut file, b"ARROW1").map_err(unreadable)?;
        if is_file && !ends_with(&mut file, b"ARROW1", 18).map_err(unreadable)? {
            return Err(FileError::Truncated {
                path: shown,
                format: "Arrow",
                detail: "its footer is missing".to_owned(),
            });
        }
        file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let opened = contain(|| {
            if is_file {
                let reader = FileReader::try_new(BufReader::new(file), None)?;
                return Ok((reader.schema(), None, Batches::File(reader)));
            }
            let unread = Buffer::from_vec(Vec::<u8>::new());
            let mut stream = Stream { file, decoder: StreamDecoder::new(), unread };
            let (schema, first) = stream.start()?;
            Ok::<_, ArrowError>((schema, first, Batches::Stream(stream)))
        });
        match opened {
            Ok((schema, pending, batches)) => Ok(Self {
                path: shown,
                schema,
                batches: Some(batches),
                pending,
                batch_rows: options.batch_rows.max(1),
                rows_done: 0,
                bytes_done: 0,
                bytes_total,
            }),
            Err(detail) => Err(Self::fault(shown, detail)),
        }
    }

    fn fault(path: String, detail: String) -> FileError {
        if detail.contains("End of Stream") || detail.contains("failed to fill whole buffer") {
            let detail = "it ends in the middle of a message".to_owned();
            FileError::Truncated { path, format: "Arrow", detail }
        } else {
            FileError::Damaged { path, format: "Arrow", detail }
        }
    }

    fn decode_next(&mut self) -> Result<Option<RecordBatch>, FileError> {
        let Some(batches) = &mut self.batches else {
            return Ok(None);
        };
        let decoded = contain(|| {
            let (batch, place) = match batches {
                Batches::File(reader) => {
                    (reader.next().transpose()?, reader.get_mut().stream_position()?)
                }
                Batches::Stream(stream) => {
                    let batch = stream.next()?;
                    (batch, stream.file.stream_position()? - stream.unread.len() as u64)
                }
            };
            Ok::<_, ArrowError>((batch, place))
        });
        match decoded {
            Ok((batch, place)) => {
                self.bytes_done = place;
                if batch.is_none() {
                    self.batches = None;
                    self.bytes_done = self.bytes_total;
                }
                Ok(batch)
            }
            Err(detail) => {
                self.batches = None;
                Err(Self::fault(self.path.clone(), detail))
            }
        }
    }
}

impl TableReader for ArrowReader {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    fn skipped(&self) -> &[SkippedColumn] {
        &[]
    }

    fn row_count(&self) -> Option<u64> {
        None
    }

    fn progress(&self) -> Progress {
        Progress {
            rows_done: self.rows_done,
            rows_total: None,
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
        }
    }

    fn next_batch(&mut self) -> Result<Option<TableBatch>, FileError> {
        let whole = loop {
            let next = match self.pending.take() {
                Some(batch) => Some(batch),
                None => self.decode_next()?,
            };
            match next {
                None => return Ok(None),
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => break batch,
            }
        };
        let rows = if whole.num_rows() > self.batch_rows {
            let rest = whole.num_rows() - self.batch_rows;
            self.pending = Some(whole.slice(self.batch_rows, rest));
            whole.slice(0, self.batch_rows)
        } else {
            whole
        };
        let batch = TableBatch::consecutive(rows, self.rows_done);
        self.rows_done += batch.numbers.len() as u64;
        Ok(Some(batch))
    }
}
