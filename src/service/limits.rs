//! Everything a caller may ask for has a largest size; these are the sizes.

use std::time::Duration;

use super::RequestError;
use crate::query;

/// Limits of one server. The defaults are those of `deploy/sidereus.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Most hits of a search by rank; at most [`query::K_MAX`].
    pub k_max: usize,
    /// Most vector terms of a search.
    pub terms_max: usize,
    /// Most objects, vectors and payloads together of one vector term.
    pub examples_max: usize,
    /// Most ids of one `GetObjects` or `DeleteObjects`.
    pub ids_max: usize,
    /// Most rows of one ingest batch.
    pub batch_rows_max: usize,
    /// Batches of one ingest stream that are read before earlier ones are answered.
    pub ingest_window: usize,
    /// Batches of all ingest streams that are held at once.
    pub batches_in_flight_max: usize,
    /// Longest predicate, in bytes.
    pub predicate_bytes_max: usize,
    /// Most vertices of a polygon.
    pub polygon_vertices_max: usize,
    /// Most cells of a cell list.
    pub cells_max: usize,
    /// Longest text of a coverage map, in bytes.
    pub moc_bytes_max: usize,
    /// Largest ingest message, in bytes.
    pub ingest_message_bytes_max: usize,
    /// Largest message of every other request, in bytes.
    pub request_bytes_max: usize,
    /// Largest reply that is one message, in bytes.
    pub reply_bytes_max: usize,
    /// Size at which a streamed reply begins a new message, in bytes.
    pub chunk_bytes: usize,
    /// Longest time a request that is answered once may take, whatever its caller allows.
    pub request_time_max: Duration,
    /// Objects that an encoding job reads, encodes and writes at a time.
    pub encode_batch: usize,
    /// How often an encoding job asks again when the encoder is not there.
    pub encode_retries_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1 << 20;
        Self {
            k_max: query::K_MAX,
            terms_max: 16,
            examples_max: 256,
            ids_max: 10_000,
            batch_rows_max: 100_000,
            ingest_window: 32,
            batches_in_flight_max: 48,
            predicate_bytes_max: 64 << 10,
            polygon_vertices_max: 1_000,
            cells_max: 100_000,
            moc_bytes_max: MIB,
            ingest_message_bytes_max: 32 * MIB,
            request_bytes_max: 16 * MIB,
            reply_bytes_max: 16 * MIB,
            chunk_bytes: MIB,
            request_time_max: Duration::from_mins(5),
            encode_batch: 64,
            encode_retries_max: 8,
        }
    }
}

/// The limit of what is bounded by the program itself and has no name in the configuration.
pub(super) const FIXED: &str = "fixed";

/// Refuses `count` things when they are more than `max`, which the configuration calls `limit`.
pub(super) fn at_most(
    what: &'static str,
    limit: &'static str,
    count: usize,
    max: usize,
) -> Result<(), RequestError> {
    if count > max { Err(RequestError::TooMany { what, limit, count, max }) } else { Ok(()) }
}

#[cfg(test)]
#[path = "limits_tests.rs"]
mod names;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_is_allowed_and_one_beyond_is_not() {
        assert!(at_most("ids", "limits.ids", 10, 10).is_ok());
        let refused = at_most("ids", "limits.ids", 11, 10).expect_err("one too many");
        let told = "11 ids are more than the limit of 10 (`limits.ids`); split the request";
        assert_eq!(refused.to_string(), told);
    }
}
