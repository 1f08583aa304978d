//! How connections speak HTTP/2, and how much each of them may hold.

use std::time::Duration;

use tonic::transport::Server;

/// Streams that one connection may have open.
const STREAMS_PER_CONNECTION_MAX: u32 = 128;

/// Requests of one connection that may wait for their first answer; more are refused at once.
const REQUESTS_PER_CONNECTION_MAX: usize = 64;

/// Header bytes of one request.
const HEADER_BYTES_MAX: u32 = 16 << 10;

/// Flow-control windows. A stream has room for half of the next message of an import while the one before it is decoded; a
/// stream that is not read leaves three quarters to the others of its connection.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Bytes of the frames that clients may send. The least that HTTP/2 allows, 16 KiB, cuts a message of an import into
/// hundreds; but a frame is held until it is whole, also from somebody who has not said who he is.
const FRAME_BYTES_MAX: u32 = 256 << 10;

/// After this long without a sign of life a client is asked for one, and given up after as long again.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// A server that keeps every connection within these bounds.
pub(super) fn builder() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .concurrency_limit_per_connection(REQUESTS_PER_CONNECTION_MAX)
        .load_shed(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
}
