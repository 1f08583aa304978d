//! Generated protocol code, and nothing else: messages, clients and servers of `proto/`.

#![expect(
    missing_docs,
    clippy::pedantic,
    clippy::clone_on_ref_ptr,
    clippy::allow_attributes,
    unused_qualifications,
    reason = "generated code"
)]

/// Client-facing protocol.
pub mod v1 {
    tonic::include_proto!("sidereus.v1");
}

/// Protocol between the database and the encoder process.
pub mod internal {
    pub use v1::*;

    // The generated code finds the client-facing messages at `super::super::v1`.
    pub mod v1 {
        tonic::include_proto!("sidereus.internal.v1");
    }
}

/// Encoded `FileDescriptorSet` of both, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
