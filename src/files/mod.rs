//! Tables and vectors in files, and the batches in which rows travel to the server.
//!
//! Reading: [`open`] gives a [`TableReader`] for CSV, Parquet, Arrow IPC and FITS binary tables, [`NpyReader`] reads
//! `.npy` vectors, [`Import`] joins both, matches them with a collection ([`Mapping`], [`infer_schema`], [`Plan`])
//! and hands out [`IngestRows`]. Observations: [`read_observation`] and [`read_observations`] make arrays for
//! encoders of cutouts and spectra. [`TableWriter`] makes files of tables. Receiving: [`decode_ipc`] and [`decode_ingest`] turn bytes of anybody into objects
//! that the collection accepts. Nothing here stores, searches or talks to the network.
//!
//! Invariants: FIL-1, a bad row never costs a good one: it becomes a [`RefusedRow`] with its number and reason.
//! FIL-2, no content of a file or message makes the program panic or reserve memory that the content does not back.
//! FIL-3, memory is bounded by the batch, not by the file.

mod arrow_reader;
mod assign;
mod block;
mod cast;
mod contain;
mod decode;
mod delimited;
mod error;
mod fits;
mod format;
mod import;
mod infer;
mod mapping;
mod message;
mod npy;
mod observation;
mod parquet_reader;
mod plan;
mod reader;
mod refused;
mod spare;
mod told;
mod units;
mod wire;
mod write;

pub use assign::{VECTOR_PREFIX, VectorSource, VectorSpec};
pub use block::ObjectBlock;
pub use cast::arrow_type;
pub(crate) use contain::contain;
pub use decode::{DecodedBatch, DecodedBlock, decode_block, decode_ingest};
pub use error::FileError;
pub use format::{Format, Location};
pub use import::{Import, ImportOptions, IngestBatches};
pub use infer::{Inferred, infer_schema};
pub use mapping::Mapping;
pub use npy::NpyReader;
pub use observation::{
    NamedArray, Observation, ObservationOptions, ObservationRow, Observations, Observed,
    VALUES_MAX, is_observation_file, read_observation, read_observations, read_together,
};
pub use plan::{IngestRows, Plan};
pub use reader::{
    BATCH_ROWS, META_DESCRIPTION, META_UCD, META_UNIT, Progress, ReadOptions, SkippedColumn,
    TableBatch, TableReader, open, open_with,
};
pub use refused::{RefusedReport, RefusedRow};
pub use told::META_PROVENANCE;
pub use wire::{IpcLimits, decode_ipc, decode_ipc_owned, encode_ipc};
pub use write::TableWriter;
