//! Answers that pass through a layer as the messages that they are.

use futures::Stream;
use prost::bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::body::Body;
use tonic::codec::{
    BufferSettings, DecodeBuf, Decoder, EncodeBody, EncodeBuf, Encoder,
    SingleMessageCompressionOverride, Streaming,
};
use tonic::codegen::http::StatusCode;

/// Buffers of an answer that is passed on: they grow with its messages.
const BUFFER_BYTES: usize = 1 << 10;
const YIELD_BYTES: usize = 32 << 10;

/// The messages of an answer, and its status at their end.
pub(super) fn messages(body: Body) -> Streaming<Bytes> {
    Streaming::new_response(Raw, body, StatusCode::OK, None, Some(usize::MAX))
}

/// An answer of messages.
pub(super) fn body(messages: impl Stream<Item = Result<Bytes, Status>> + Send + 'static) -> Body {
    let compression = SingleMessageCompressionOverride::default();
    Body::new(EncodeBody::new_server(Raw, messages, None, compression, None))
}

/// Messages as bytes.
#[derive(Debug, Clone, Copy)]
struct Raw;

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = from.remaining();
        Ok(Some(from.copy_to_bytes(length)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}
