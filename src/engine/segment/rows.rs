//! Reading `rows.arrow` through a memory map: columns are views of the file, so that opening a segment does not read
//! what no query asks for.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, root_as_footer, root_as_message};

use super::rows_path;
use crate::engine::columns::{ORDINAL, nulls_beyond};
use crate::engine::error::EngineError;
use crate::engine::mapped::MappedColumns;
use crate::files::contain;

/// Bytes at the end of an Arrow IPC file: the length of the footer, and the magic word.
const TRAILER_BYTES: usize = 10;

/// Bytes before the description of a block: a marker and a length.
const PREFIX_BYTES: usize = 8;

/// The rows of a segment.
pub(super) struct Rows {
    /// Resident columns, in blocks.
    pub(super) batches: Vec<RecordBatch>,
    /// Ordinals of the keys, in the same blocks.
    pub(super) ordinals: Vec<ArrayRef>,
    /// The file that both are views of.
    pub(super) file: MappedColumns,
}

/// Maps the rows of a segment.
pub(super) fn read_rows(folder: &Path, arrow_schema: &SchemaRef) -> Result<Rows, EngineError> {
    let path = rows_path(folder);
    let file = MappedColumns::open(&path)?;
    let damaged = |what| EngineError::DamagedSegment { path: path.display().to_string(), what };
    let buffer = file.buffer().ok_or_else(|| damaged("an empty file".to_owned()))?;
    // The decoder slices by lengths that it reads, and a length beyond the file makes it panic.
    let blocks = contain(|| decode(&buffer)).map_err(damaged)?;
    let mut batches = Vec::with_capacity(blocks.len());
    let mut ordinals = Vec::with_capacity(blocks.len());
    let known = blocks.first().map_or(0, |block| block.num_columns().saturating_sub(1));
    let rows = blocks.first().map_or(0, RecordBatch::num_rows);
    let nulls = nulls_beyond(arrow_schema, known, rows);
    for block in blocks {
        let place = block.schema().index_of(ORDINAL)?;
        ordinals.push(Arc::clone(block.column(place)));
        let mut resident = block.columns()[..place].to_vec();
        // Of a column that was added after the segment was built.
        let there = |array: &ArrayRef| array.slice(0, block.num_rows().min(array.len()));
        resident.extend(nulls.iter().map(there));
        batches.push(RecordBatch::try_new(Arc::clone(arrow_schema), resident)?);
    }
    Ok(Rows { batches, ordinals, file })
}

/// Decodes an Arrow IPC file. Its buffers are aligned by the writer, so that none is copied.
fn decode(file: &Buffer) -> Result<Vec<RecordBatch>, ArrowError> {
    let (rest, trailer) = file
        .as_slice()
        .split_last_chunk::<TRAILER_BYTES>()
        .ok_or_else(|| broken("shorter than its trailer"))?;
    let footer_start = rest
        .len()
        .checked_sub(read_footer_length(*trailer)?)
        .ok_or_else(|| broken("shorter than its footer"))?;
    let footer =
        root_as_footer(&rest[footer_start..]).map_err(|error| broken(&error.to_string()))?;
    let schema = footer.schema().ok_or_else(|| broken("no schema"))?;
    let decoder = FileDecoder::new(Arc::new(fb_to_schema(schema)), footer.version());
    let blocks = footer.recordBatches().ok_or_else(|| broken("no list of blocks"))?;
    blocks.iter().map(|block| decode_block(&decoder, block, file)).collect()
}

fn decode_block(
    decoder: &FileDecoder,
    block: &Block,
    file: &Buffer,
) -> Result<RecordBatch, ArrowError> {
    let place = usize::try_from(block.offset()).ok();
    let head = usize::try_from(block.metaDataLength()).ok();
    let body = usize::try_from(block.bodyLength()).ok();
    let len = head.zip(body).and_then(|(head, body)| head.checked_add(body));
    let (place, len) = place
        .zip(len)
        .filter(|&(place, len)| place.checked_add(len).is_some_and(|end| end <= file.len()))
        .ok_or_else(|| broken("a block beyond the end"))?;
    let block_bytes = file.slice_with_length(place, len);
    let message = root_as_message(block_bytes.get(PREFIX_BYTES..).unwrap_or_default())
        .map_err(|error| broken(&error.to_string()))?;
    // Segments are never compressed; a damaged flag would have a number of the data taken for a length to reserve.
    if message.header_as_record_batch().is_none_or(|batch| batch.compression().is_some()) {
        return Err(broken("a block that is not one of plain columns"));
    }
    decoder.read_record_batch(block, &block_bytes)?.ok_or_else(|| broken("a block without columns"))
}

fn broken(what: &str) -> ArrowError {
    ArrowError::ParseError(what.to_owned())
}
