//! Rows into messages of a useful size.

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use arrow::ipc::writer::StreamWriter;
use tokio::sync::mpsc::Sender;

use crate::files::{IngestBatches, RefusedRow};
use crate::storage::OBJECT_BYTES;

/// Bytes at which a message is sent; the server takes four times as much.
const MESSAGE_BYTES: usize = 8 << 20;

/// Bytes, as the server counts them, at which the first message is sent, so that the server begins sooner. It writes files from
/// 4 MiB on, and would log what is smaller.
const FIRST_MESSAGE_BYTES: usize = 9 << 19;

/// Bytes of the pieces that a message is filled with.
const PIECE_BYTES: usize = 2 << 20;

/// Bytes of a message that the server takes, less its envelope.
const MESSAGE_BYTES_MAX: usize = 31 << 20;

/// Rows of a message, by row and in bulk.
const MESSAGE_ROWS: usize = 8_192;
const MESSAGE_ROWS_BULK: usize = 65_536;

/// A message on its way.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Rows in the ingest layout as an Arrow IPC stream; empty when there are none.
    pub(super) arrow_ipc: Vec<u8>,
    /// The same as they are, for a database of this program.
    pub(super) batches: Vec<RecordBatch>,
    /// For each of them its row in the file.
    pub(super) numbers: Vec<u64>,
    /// Rows that were refused before they were sent.
    pub(super) refused: Vec<RefusedRow>,
}

/// Rows that wait until they fill a message.
struct Pending {
    layout: SchemaRef,
    batches: Vec<RecordBatch>,
    message: Message,
    bytes: usize,
    /// Whether no message has been sent.
    is_first: bool,
    /// Bytes of a row, as the server counts them.
    counted_bytes: usize,
    /// Whether the rows stay in this program.
    is_here: bool,
}

/// Reads a table to its end and sends it in messages. Returns early when nobody takes them any more.
pub(super) fn produce(
    mut table: IngestBatches,
    is_bulk: bool,
    is_here: bool,
    messages: &Sender<Message>,
) -> Result<()> {
    let rows_max = if is_bulk { MESSAGE_ROWS_BULK } else { MESSAGE_ROWS };
    let mut pending = Pending { is_here, ..Pending::new(table.layout()) };
    while let Some(taken) = table.next_batch()? {
        // Rows that are all refused fill no message, which would tell it.
        if messages.is_closed() {
            return Ok(());
        }
        pending.message.refused.extend(taken.refused);
        for (batch, numbers) in pieces(&taken.batch, &taken.numbers) {
            if pending.is_full(&batch, rows_max) && !pending.send(messages)? {
                return Ok(());
            }
            pending.add(batch, numbers);
        }
    }
    pending.send(messages)?;
    Ok(())
}

/// A batch in consecutive pieces of about [`PIECE_BYTES`] at most.
fn pieces(batch: &RecordBatch, numbers: &[u64]) -> Vec<(RecordBatch, Vec<u64>)> {
    let (rows, bytes) = (batch.num_rows(), batch.get_array_memory_size());
    let count = bytes.div_ceil(PIECE_BYTES).clamp(1, rows.max(1));
    let step = rows.div_ceil(count).max(1);
    (0..rows)
        .step_by(step)
        .map(|start| {
            let length = step.min(rows - start);
            (batch.slice(start, length), numbers[start..start + length].to_vec())
        })
        .collect()
}

impl Pending {
    fn new(layout: SchemaRef) -> Self {
        let dimension = |field: &FieldRef| match field.data_type() {
            DataType::FixedSizeList(_, dimension) => *dimension as usize,
            _ => 0,
        };
        let components: usize = layout.fields().iter().map(dimension).sum();
        Self {
            layout,
            batches: Vec::new(),
            message: Message::default(),
            bytes: 0,
            is_first: true,
            counted_bytes: OBJECT_BYTES + components * size_of::<f32>(),
            is_here: false,
        }
    }

    fn is_full(&self, next: &RecordBatch, rows_max: usize) -> bool {
        let rows = self.message.numbers.len();
        !self.batches.is_empty()
            && (rows + next.num_rows() > rows_max
                || self.bytes + sliced_bytes(next) > MESSAGE_BYTES
                || self.is_first && rows * self.counted_bytes >= FIRST_MESSAGE_BYTES)
    }

    fn add(&mut self, batch: RecordBatch, numbers: Vec<u64>) {
        self.bytes += sliced_bytes(&batch);
        self.message.numbers.extend(numbers);
        self.batches.push(batch);
    }

    /// Sends what is there; `false` when nobody takes it.
    fn send(&mut self, messages: &Sender<Message>) -> Result<bool> {
        let batches = std::mem::take(&mut self.batches);
        let mut message = std::mem::take(&mut self.message);
        (self.bytes, self.is_first) = (0, false);
        let refused = std::mem::take(&mut message.refused);
        let mut goes_on = true;
        if !refused.is_empty() {
            goes_on = messages.blocking_send(Message { refused, ..Message::default() }).is_ok();
        }
        if self.is_here {
            let numbers = message.numbers;
            let whole = Message { batches, numbers, ..Message::default() };
            return Ok(
                goes_on && (whole.numbers.is_empty() || messages.blocking_send(whole).is_ok())
            );
        }
        let mut start = 0;
        for (arrow_ipc, rows) in encode(&self.layout, &batches)? {
            let numbers = message.numbers.get(start..start + rows).unwrap_or_default().to_vec();
            start += rows;
            let part = Message { arrow_ipc, numbers, ..Message::default() };
            goes_on = goes_on && messages.blocking_send(part).is_ok();
        }
        Ok(goes_on)
    }
}

/// Bytes of the rows of a slice, by its share of the whole.
fn sliced_bytes(batch: &RecordBatch) -> usize {
    batch
        .columns()
        .iter()
        .map(|column| {
            column
                .to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| column.get_array_memory_size())
        })
        .sum()
}

/// Batches as Arrow IPC streams that the server takes, with the rows of each: one, unless a few rows are
/// much larger than the others.
fn encode(layout: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<(Vec<u8>, usize)>> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows == 0 {
        return Ok(Vec::new());
    }
    let bytes = encode_stream(layout, batches).context("cannot encode the rows")?;
    if bytes.len() <= MESSAGE_BYTES_MAX || rows == 1 {
        return Ok(vec![(bytes, rows)]);
    }
    let (mut first, mut second, mut before) = (Vec::new(), Vec::new(), 0);
    for batch in batches {
        let own = (rows / 2).saturating_sub(before).min(batch.num_rows());
        first.push(batch.slice(0, own));
        second.push(batch.slice(own, batch.num_rows() - own));
        before += batch.num_rows();
    }
    let mut parts = encode(layout, &first)?;
    parts.extend(encode(layout, &second)?);
    Ok(parts)
}

fn encode_stream(layout: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<u8>> {
    let rows_bytes: usize = batches.iter().map(sliced_bytes).sum();
    let room = Vec::with_capacity(rows_bytes + rows_bytes / 16 + (64 << 10));
    let mut writer = StreamWriter::try_new(room, layout)?;
    for batch in batches.iter().filter(|batch| batch.num_rows() > 0) {
        writer.write(batch)?;
    }
    writer.finish()?;
    Ok(writer.into_inner()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, Int64Array};
    use arrow::datatypes::{Field, Schema};
    use arrow::ipc::reader::StreamReader;

    use super::*;

    fn batch(sizes: &[usize]) -> RecordBatch {
        let layout = Arc::new(Schema::new(vec![
            Field::new("object_id", DataType::Int64, true),
            Field::new("image", DataType::Binary, true),
        ]));
        let ids = Int64Array::from_iter_values(0..sizes.len() as i64);
        let images = BinaryArray::from_iter_values(sizes.iter().map(|size| vec![7_u8; *size]));
        RecordBatch::try_new(layout, vec![Arc::new(ids), Arc::new(images)]).expect("a batch")
    }

    fn ids_of(bytes: &[u8]) -> Vec<i64> {
        let reader = StreamReader::try_new(bytes, None).expect("a stream");
        let mut ids = Vec::new();
        for batch in reader {
            let batch = batch.expect("a batch");
            let column = batch.column(0).as_any().downcast_ref::<Int64Array>().expect("ids");
            ids.extend(column.values().iter().copied());
        }
        ids
    }

    #[test]
    fn large_rows_are_cut_into_pieces_in_order() {
        let batch = batch(&[3 << 20; 10]);
        let numbers: Vec<u64> = (100..110).collect();
        let pieces = pieces(&batch, &numbers);
        assert!(pieces.len() >= 4, "{}", pieces.len());
        let joined: Vec<u64> = pieces.iter().flat_map(|(_, numbers)| numbers.clone()).collect();
        assert_eq!(joined, numbers);
        for (piece, _) in &pieces {
            assert!(sliced_bytes(piece) <= MESSAGE_BYTES + (3 << 20));
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_halved() {
        let batch = batch(&[20 << 20, 20 << 20, 10, 10]);
        let layout = batch.schema();
        let parts = encode(&layout, &[batch]).expect("encoded");
        assert!(parts.len() >= 2);
        assert!(parts.iter().all(|(bytes, _)| bytes.len() <= MESSAGE_BYTES_MAX));
        let ids: Vec<i64> = parts.iter().flat_map(|(bytes, _)| ids_of(bytes)).collect();
        assert_eq!(ids, [0, 1, 2, 3]);
        assert_eq!(parts.iter().map(|(_, rows)| rows).sum::<usize>(), 4);
    }

    #[test]
    fn the_first_message_is_full_once_the_server_writes_it_as_files() {
        let (rows, dimension) = (2_000, 512);
        let item = Arc::new(Field::new("item", DataType::Float32, true));
        let values = Float32Array::from(vec![0.5; rows * dimension as usize]);
        let vectors = FixedSizeListArray::new(item, dimension, Arc::new(values), None);
        let vectors: ArrayRef = Arc::new(vectors);
        let batch = RecordBatch::try_from_iter([("vector.image", vectors)]).expect("a batch");
        let next = batch.slice(0, 300);
        let mut pending = Pending::new(batch.schema());
        pending.add(batch, (0..rows as u64).collect());
        assert!(!pending.is_full(&next, MESSAGE_ROWS_BULK), "the server would log so few");
        pending.add(next.clone(), (0..300).collect());
        assert!(pending.is_full(&next, MESSAGE_ROWS_BULK));
        pending.is_first = false;
        assert!(!pending.is_full(&next, MESSAGE_ROWS_BULK), "later messages are larger");
    }

    #[test]
    fn no_rows_are_no_message() {
        let batch = batch(&[]);
        assert!(encode(&batch.schema(), &[batch]).expect("nothing").is_empty());
    }
}
