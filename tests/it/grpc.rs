//! The protocol, spoken by generated clients to a real server.

mod arrow_rows;
mod bulk_rows;
mod collections;
mod discovery;
mod encoding;
mod ingest;
mod objects;
mod regions;
mod search;
mod serving;
mod tokens;
