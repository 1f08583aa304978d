//! The integration tests: one program, so that it is linked once.

mod architecture;
mod at_ingest;
mod bridge;
mod brief;
mod cli;
mod convert;
mod crash;
mod derived;
mod discovery;
mod encoder;
mod encoder_kill;
mod encoder_train;
mod evaluate;
mod fake_encoder;
mod files;
mod grpc;
mod index;
mod learn;
mod metrics;
mod probes;
mod published;
mod query;
mod storage;
mod support;
mod tail;
mod tokens;
