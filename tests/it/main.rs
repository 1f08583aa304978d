//! The integration tests: one program, so that it is linked once.

mod architecture;
mod brief;
mod cli;
mod convert;
mod crash;
mod discovery;
mod encoder;
mod encoder_kill;
mod fake_encoder;
mod files;
mod grpc;
mod index;
mod published;
mod query;
mod storage;
mod support;
mod tail;
mod tokens;
