//! Heads as bytes, for a record.

use prost::Message;

use crate::learn::{HeadWeights, LearnError};
use crate::wire::internal;

/// A head as bytes, which [`head_from_bytes`] reads.
pub fn head_to_bytes(head: &HeadWeights) -> Vec<u8> {
    internal::HeadWeights::from(head).encode_to_vec()
}

/// A head from bytes, checked.
///
/// # Errors
/// [`LearnError::Unreadable`] for bytes that are no head, and those of [`HeadWeights::check`].
pub fn head_from_bytes(bytes: &[u8]) -> Result<HeadWeights, LearnError> {
    let message = internal::HeadWeights::decode(bytes).map_err(|error| LearnError::Unreadable {
        reason: format!("the head is damaged ({error})"),
    })?;
    message.try_into()
}
