//! The integration tests: one program, so that it is linked once.

mod architecture;
mod cli;
mod index;
mod encoder;
mod files;
mod fake_encoder;
mod grpc;
mod support;
