//! Messages of Arrow IPC, looked at before they are decoded: the decoder trusts the lengths in them.

use arrow::ipc::{MessageHeader, root_as_message};

/// Four bytes before every message.
pub(super) const CONTINUATION: [u8; 4] = [0xff; 4];

/// What a message says about itself.
pub(super) struct Message {
    pub(super) kind: Kind,
    /// Rows of a record batch.
    pub(super) rows: u64,
    /// Bytes of the body.
    pub(super) body_bytes: usize,
    /// Offset and length of the compressed buffers within the body; all lie inside it.
    pub(super) compressed: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Schema,
    Batch,
    Dictionary,
}

impl Message {
    /// Reads the metadata of a message and checks the places of its buffers.
    pub(super) fn inspect(metadata: &[u8]) -> Result<Self, String> {
        let message = root_as_message(metadata).map_err(|error| {
            let error = error.to_string();
            format!("a message: {}", error.lines().next().unwrap_or("it is no message"))
        })?;
        let body_bytes = usize::try_from(message.bodyLength())
            .map_err(|_| "a body has a negative length".to_owned())?;
        let (kind, batch) = match message.header_type() {
            MessageHeader::Schema => (Kind::Schema, None),
            MessageHeader::RecordBatch => (Kind::Batch, message.header_as_record_batch()),
            MessageHeader::DictionaryBatch => {
                let dictionary = message.header_as_dictionary_batch();
                (Kind::Dictionary, dictionary.and_then(|dictionary| dictionary.data()))
            }
            _ => return Err("a message is neither a schema nor a batch".to_owned()),
        };
        let mut inspected = Self { kind, rows: 0, body_bytes, compressed: Vec::new() };
        let Some(batch) = batch else {
            return if kind == Kind::Schema {
                Ok(inspected)
            } else {
                Err("a batch is empty".to_owned())
            };
        };
        inspected.rows = u64::try_from(batch.length())
            .map_err(|_| "a batch has a negative length".to_owned())?;
        for buffer in batch.buffers().iter().flatten() {
            let place =
                usize::try_from(buffer.offset()).ok().zip(usize::try_from(buffer.length()).ok());
            let (offset, length) = place
                .filter(|(offset, length)| {
                    offset.checked_add(*length).is_some_and(|end| end <= body_bytes)
                })
                .ok_or_else(|| "a buffer lies outside its body".to_owned())?;
            if batch.compression().is_some() && length > 0 {
                inspected.compressed.push((offset, length));
            }
        }
        Ok(inspected)
    }

    /// Refuses compressed buffers that claim to become far larger than compression can make small: the decoder
    /// reserves the claimed size at once.
    pub(super) fn check_claims(&self, body: &[u8]) -> Result<(), String> {
        const CLAIM_BYTES: usize = 256 << 20;
        const CLAIM_RATIO: usize = 2_048;
        for (offset, length) in &self.compressed {
            let claim = body
                .get(*offset..offset + length)
                .and_then(|buffer| buffer.first_chunk::<8>())
                .map(|claim| i64::from_le_bytes(*claim))
                .ok_or_else(|| "a compressed buffer is too short".to_owned())?;
            let most = CLAIM_BYTES.max(length.saturating_mul(CLAIM_RATIO));
            // -1 marks a buffer that is not compressed after all.
            if claim < -1 || usize::try_from(claim).is_ok_and(|claim| claim > most) {
                return Err(format!("a buffer of {length} bytes claims to hold {claim}"));
            }
        }
        Ok(())
    }
}
