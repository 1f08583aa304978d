//! Batches as Arrow IPC stream bytes, with limits that are checked before anything is decoded.

use arrow::array::{Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;

use super::FileError;
use super::contain::contain;
use super::message::{CONTINUATION, Kind, Message};

/// What bytes from elsewhere may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpcLimits {
    /// Bytes of a stream.
    pub bytes_max: usize,
    /// Rows of all its batches.
    pub rows_max: u64,
    /// Messages: the schema and the batches.
    pub messages_max: u64,
}

impl Default for IpcLimits {
    /// 64 MiB, 1,000,000 rows, 1,000 messages.
    fn default() -> Self {
        Self { bytes_max: 64 << 20, rows_max: 1_000_000, messages_max: 1_000 }
    }
}

/// Bytes of an Arrow IPC stream that holds one batch.
///
/// # Errors
/// [`FileError::BadIpc`] for types that IPC cannot carry.
pub fn encode_ipc(batch: &RecordBatch) -> Result<Vec<u8>, FileError> {
    let write = || {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        writer.write(batch)?;
        writer.into_inner()
    };
    write().map_err(|error: ArrowError| FileError::BadIpc { detail: error.to_string() })
}

/// Batches of an Arrow IPC stream. The bytes may come from anybody: every length in them is checked against the bytes
/// that are there, compressed bodies and dictionaries (whose decoded size the bytes do not bound) are refused, the
/// arrays are validated, and what the decoder allocates stays within a small multiple of the bytes.
///
/// # Errors
/// [`FileError::TooLarge`] beyond a limit; [`FileError::BadIpc`] for everything that is not a sound stream.
pub fn decode_ipc(bytes: &[u8], limits: &IpcLimits) -> Result<Vec<RecordBatch>, FileError> {
    check(bytes, limits)?;
    decode_checked(Buffer::from(bytes))
}

/// Does the same as [`decode_ipc`] without copying the bytes: the batches keep them.
///
/// # Errors
/// As [`decode_ipc`].
pub fn decode_ipc_owned(bytes: Vec<u8>, limits: &IpcLimits) -> Result<Vec<RecordBatch>, FileError> {
    check(&bytes, limits)?;
    decode_checked(Buffer::from_vec(bytes))
}

fn decode_checked(bytes: Buffer) -> Result<Vec<RecordBatch>, FileError> {
    let given = bytes.len();
    let decode = || {
        let mut decoder = StreamDecoder::new();
        let mut rest = bytes;
        let mut batches = Vec::new();
        while !rest.is_empty() {
            if let Some(batch) = decoder.decode(&mut rest)? {
                batches.push(batch);
            }
        }
        decoder.finish()?;
        Ok::<_, ArrowError>(batches)
    };
    let batches = contain(decode).map_err(|detail| FileError::BadIpc { detail })?;
    // Columns may point at the same bytes; what they hold together must not exceed what was sent.
    let held: Result<usize, ArrowError> = batches
        .iter()
        .flat_map(RecordBatch::columns)
        .map(|column| column.to_data().get_slice_memory_size())
        .sum();
    let held = contain(|| held).map_err(|detail| FileError::BadIpc { detail })?;
    if held > given {
        return Err(bad("its columns share their bytes"));
    }
    Ok(batches)
}

fn bad(detail: impl Into<String>) -> FileError {
    FileError::BadIpc { detail: detail.into() }
}

/// Walks the messages without decoding them.
fn check(bytes: &[u8], limits: &IpcLimits) -> Result<(), FileError> {
    let too_large = |what, given, limit| FileError::TooLarge { what, given, limit };
    if bytes.len() > limits.bytes_max {
        return Err(too_large("bytes", bytes.len() as u64, limits.bytes_max as u64));
    }
    let (mut rest, mut rows, mut messages) = (bytes, 0_u64, 0_u64);
    while let Some(message) = next_message(&mut rest)? {
        messages += 1;
        if messages > limits.messages_max {
            return Err(too_large("messages", messages, limits.messages_max));
        }
        if message.kind == Kind::Dictionary {
            return Err(bad("it has dictionary columns; send plain ones"));
        }
        if (message.kind == Kind::Schema) != (messages == 1) {
            return Err(bad("it must begin with one schema and go on with record batches"));
        }
        if !message.compressed.is_empty() {
            return Err(bad("its bodies are compressed; send it uncompressed, gRPC compresses"));
        }
        rows = rows.saturating_add(message.rows);
        if rows > limits.rows_max {
            return Err(too_large("rows", rows, limits.rows_max));
        }
    }
    if messages == 0 { Err(bad("it is empty")) } else { Ok(()) }
}

/// Inspects one message and steps behind it; `None` at the end of the stream.
fn next_message(rest: &mut &[u8]) -> Result<Option<Message>, FileError> {
    let cut = || bad("it ends in the middle of a message");
    let Some((mark, behind)) = rest.split_first_chunk::<4>() else {
        return if rest.is_empty() { Ok(None) } else { Err(cut()) };
    };
    // Streams before Arrow 0.15 had no continuation mark; the alignment that they break is not worth supporting.
    if *mark != CONTINUATION {
        return Err(bad("a message does not begin with the continuation mark"));
    }
    let (length, behind) = behind.split_first_chunk::<4>().ok_or_else(cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    if length == 0 {
        *rest = &[];
        return if behind.is_empty() { Ok(None) } else { Err(bad("bytes follow its end")) };
    }
    let (metadata, behind) = behind.split_at_checked(length).ok_or_else(cut)?;
    let message = Message::inspect(metadata).map_err(bad)?;
    let (_, behind) = behind.split_at_checked(message.body_bytes).ok_or_else(cut)?;
    *rest = behind;
    Ok(Some(message))
}
