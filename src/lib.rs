#![doc = include_str!("ARCHITECTURE.md")]

// Floor 0: ground. Pure: no I/O, no threads, no foreign engine; `idle`, `clock`, `leave` and `pieces` ask the system for one thing each.
pub mod class;
pub mod clock;
pub mod idle;
pub mod leave;
mod pieces;
pub mod schema;
pub mod sky;
pub mod vector;
pub mod wire;

// Floor 1: engines that do not see each other.
pub mod audit;
pub mod encoder;
pub mod files;
pub mod index;
pub mod learn;
pub mod storage;

// Floor 2: collections, segments and the tail, composed of floor 1.
pub mod engine;

// Floor 3: plans.
pub mod query;

// Floor 4: heads on embeddings and what they are worth, and who may do what.
pub mod access;
pub mod backup;
pub mod probes;

// Floor 5: the wire.
pub mod service;

// Floor 6: settings and the command line.
pub mod cli;
pub mod config;
