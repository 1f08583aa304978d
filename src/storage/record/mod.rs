//! What the values of the tables look like. Every record begins with the version of its own layout and describes
//! itself; damaged bytes are [`StorageError::Corrupt`](super::StorageError::Corrupt), never a panic.

mod bytes;
mod head;
mod named;
mod row;
mod schema;
#[cfg(test)]
mod tests;
mod tokens;

pub(crate) use head::{Head, Intent, StagedFile, decode_changes, encode_changes};
pub(crate) use named::{decode_named, encode_named};
pub(crate) use row::{
    Located, append_row, decode_row, decode_row_id, decode_vector, decode_vector_into, encode_row,
    encode_vector, vector_bytes,
};
pub(crate) use schema::CollectionMeta;
pub(crate) use tokens::{decode_tokens, encode_tokens};

use super::error::StorageError;

/// The bytes of a plain number.
pub(crate) fn encode_number(number: u32) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

/// Reads a plain number back.
pub(crate) fn decode_number(what: &'static str, bytes: &[u8]) -> Result<u32, StorageError> {
    let array = bytes
        .try_into()
        .map_err(|_| StorageError::corrupt(what, format!("{} bytes for a number", bytes.len())))?;
    Ok(u32::from_le_bytes(array))
}
