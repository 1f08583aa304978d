//! Arrow IPC, file and stream form. The file form is a stream between a magic and a footer, and is read as one.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamDecoder;

use super::FileError;
use super::contain::contain;
use super::message::{CONTINUATION, Message};
use super::reader::{
    Progress, ReadOptions, SkippedColumn, TableBatch, TableReader, begins_with, ends_with,
};

const MAGIC: &[u8] = b"ARROW1";

/// The magic and its padding, before the stream of a file; writers that align to cache lines pad it up to so many bytes.
const HEAD_BYTES: u64 = 8;
const HEAD_BYTES_MAX: u64 = 64;

/// The length of the footer and the magic, behind it.
const TAIL_BYTES: u64 = 10;

/// The end of a stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// Reads one Arrow IPC file; large batches of the file are cut into smaller ones without copying.
pub(super) struct ArrowReader {
    path: String,
    messages: Messages,
    decoder: StreamDecoder,
    /// Bytes of a message that the decoder has not taken yet.
    unread: Buffer,
    /// Whether the decoder has been told of the end.
    is_ended: bool,
    schema: SchemaRef,
    pending: Option<RecordBatch>,
    batch_rows: usize,
    rows_done: u64,
    bytes_total: u64,
    is_at_end: bool,
}

/// The messages of a stream, one at a time; every length is checked against the bytes that are left.
struct Messages {
    file: BufReader<File>,
    place: u64,
    end: u64,
}

/// Why there is no next message.
enum Fault {
    Io(std::io::Error),
    Ends,
    Damaged(String),
}

impl Messages {
    /// The next message as the decoder wants it; `None` at the end of the stream.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        if self.place == self.end {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.take(4, &mut bytes)?;
        // Before Arrow 0.15 a message began with its length.
        if bytes == CONTINUATION {
            self.take(4, &mut bytes)?;
        }
        let length = bytes
            .last_chunk::<4>()
            .map(|length| u64::from(u32::from_le_bytes(*length)))
            .ok_or(Fault::Ends)?;
        if length == 0 {
            self.end = self.place;
            return Ok(None);
        }
        let head = bytes.len();
        self.take(length, &mut bytes)?;
        let metadata = bytes.get(head..).unwrap_or(&[]);
        let message = Message::inspect(metadata).map_err(Fault::Damaged)?;
        let head = bytes.len();
        self.take(message.body_bytes as u64, &mut bytes)?;
        message.check_claims(bytes.get(head..).unwrap_or(&[])).map_err(Fault::Damaged)?;
        Ok(Some(bytes))
    }

    fn take(&mut self, count: u64, bytes: &mut Vec<u8>) -> Result<(), Fault> {
        if count > self.end - self.place {
            return Err(Fault::Ends);
        }
        let read = self.file.by_ref().take(count).read_to_end(bytes).map_err(Fault::Io)?;
        self.place += read as u64;
        if read as u64 == count { Ok(()) } else { Err(Fault::Ends) }
    }
}

impl ArrowReader {
    pub(super) fn open(path: &Path, options: &ReadOptions) -> Result<Self, FileError> {
        let shown = path.display().to_string();
        let mut file =
            File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
        let (place, end, bytes_total) = stream_of(&mut file, &shown)?;
        file.seek(SeekFrom::Start(place))
            .map_err(|source| FileError::Read { path: shown.clone(), source })?;
        let messages = Messages { file: BufReader::with_capacity(1 << 20, file), place, end };
        let mut this = Self {
            path: shown,
            messages,
            decoder: StreamDecoder::new(),
            unread: Buffer::from_vec(Vec::<u8>::new()),
            is_ended: false,
            schema: SchemaRef::new(arrow::datatypes::Schema::empty()),
            pending: None,
            batch_rows: options.batch_rows.max(1),
            rows_done: 0,
            bytes_total,
            is_at_end: false,
        };
        // The schema is the first message; decoding on to the first batch is the way to get it decoded.
        this.pending = this.decode_next()?;
        this.schema = this.decoder.schema().ok_or_else(|| FileError::Damaged {
            path: this.path.clone(),
            format: "Arrow",
            detail: "it has no schema".to_owned(),
        })?;
        Ok(this)
    }

    /// Decodes up to the next batch.
    fn decode_next(&mut self) -> Result<Option<RecordBatch>, FileError> {
        while !self.is_at_end {
            if self.unread.is_empty() {
                let bytes = match self.messages.next() {
                    Ok(Some(bytes)) => bytes,
                    // A message without a body is decoded when something follows it: the mark of the end does.
                    Ok(None) if !self.is_ended => {
                        self.is_ended = true;
                        END.to_vec()
                    }
                    Ok(None) => {
                        self.is_at_end = true;
                        break;
                    }
                    Err(fault) => return Err(self.fail(fault)),
                };
                self.unread = Buffer::from_vec(bytes);
            }
            let (decoder, unread) = (&mut self.decoder, &mut self.unread);
            match contain(|| decoder.decode(unread)) {
                Ok(Some(batch)) => return Ok(Some(batch)),
                Ok(None) => {}
                Err(detail) => return Err(self.fail(Fault::Damaged(detail))),
            }
        }
        Ok(None)
    }

    /// After a fault there is nothing more to read.
    fn fail(&mut self, fault: Fault) -> FileError {
        self.is_at_end = true;
        let path = self.path.clone();
        match fault {
            Fault::Io(source) => FileError::Read { path, source },
            Fault::Damaged(detail) => FileError::Damaged { path, format: "Arrow", detail },
            Fault::Ends => {
                let detail = "it ends in the middle of a message".to_owned();
                FileError::Truncated { path, format: "Arrow", detail }
            }
        }
    }
}

/// First and last byte of the stream, and the length of the file.
fn stream_of(file: &mut File, path: &str) -> Result<(u64, u64, u64), FileError> {
    let unreadable = |source| FileError::Read { path: path.to_owned(), source };
    let bytes = file.metadata().map_err(unreadable)?.len();
    if !begins_with(file, MAGIC).map_err(unreadable)? {
        return Ok((0, bytes, bytes));
    }
    let truncated = || FileError::Truncated {
        path: path.to_owned(),
        format: "Arrow",
        detail: "its footer is missing".to_owned(),
    };
    if !ends_with(file, MAGIC, HEAD_BYTES + TAIL_BYTES).map_err(unreadable)? {
        return Err(truncated());
    }
    let mut length = [0; 4];
    file.seek(SeekFrom::End(-(TAIL_BYTES as i64))).map_err(unreadable)?;
    file.read_exact(&mut length).map_err(unreadable)?;
    let end = u64::try_from(i32::from_le_bytes(length))
        .ok()
        .and_then(|footer| (bytes - TAIL_BYTES).checked_sub(footer))
        .filter(|end| *end >= HEAD_BYTES)
        .ok_or_else(|| FileError::Damaged {
            path: path.to_owned(),
            format: "Arrow",
            detail: "its footer is longer than the file".to_owned(),
        })?;
    Ok((head_of(file, end).map_err(unreadable)?, end, bytes))
}

/// Where the stream of a file begins. No message begins with zeros: what is zero behind the magic is padding.
fn head_of(file: &mut File, end: u64) -> std::io::Result<u64> {
    let mut head = HEAD_BYTES;
    file.seek(SeekFrom::Start(head))?;
    let mut word = [0; 8];
    while head + 8 <= end.min(HEAD_BYTES_MAX) {
        file.read_exact(&mut word)?;
        if word != [0; 8] {
            break;
        }
        head += 8;
    }
    Ok(head)
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
        let is_read = self.is_at_end && self.pending.is_none();
        Progress {
            rows_done: self.rows_done,
            rows_total: None,
            bytes_done: if is_read { self.bytes_total } else { self.messages.place },
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
