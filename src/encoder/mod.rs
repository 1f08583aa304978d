//! Encoders: what turns an image or a row of fluxes into a vector, and who runs it.
//!
//! The networks run in a process of their own (`sidereus-encoder`, the only program that links libtorch); the
//! database holds an [`EncoderHandle`] to it. What is not libtorch lives here and is shared by both programs: the
//! operator's [`ModelSpec`]s and their [`Registry`], [preprocessing](Preprocessor), the [batching queue](Batcher), the
//! [check](check_model) of a model against its golden outputs, and what a [training](TrainSpec) of a small head is.
//!
//! - **ENC-1**: a client names a model by its id; no path, URL or code comes from a client.
//! - **ENC-2**: weights are used only when their BLAKE3 digest is the pinned one and every tensor has the expected name,
//!   type and shape.
//! - **ENC-3**: the death of the encoder process is an [`EncoderError::Unavailable`] to its callers and nothing else; with
//!   several hosts, it is one only when none of them answers.
//! - **ENC-4**: every vector comes with the [`Provenance`](crate::schema::Provenance) of the weights that made it. Hosts
//!   that serve a model of one id with different weights are not asked for it side by side.
//! - **ENC-5**: what comes with a model is read and run behind the [walls](enter_sandbox) of the process.

mod batch;
mod check;
mod child;
mod client;
mod error;
mod handle;
mod model;
mod network;
mod pool;
mod preprocess;
mod register;
mod registry;
mod sandbox;
mod train;

pub use batch::{
    Answer, BATCH_SIZE_BUCKETS, BatchMetrics, BatchOptions, BatchedNetwork, Batcher, LoadNetwork,
    Place, QueueFull, Stopped,
};
pub use check::{CHECK_TOLERANCE, CheckError, TensorCheck, check_model};
pub use child::ADDRESS_LINE;
pub use client::{
    Encoded, Inputs, MESSAGE_BYTES_MAX, ModelInfo, ModelList, ModelOutput, PAYLOADS_MAX,
};
pub use error::EncoderError;
pub use handle::{EncoderHandle, EncoderOptions, HostOptions};
pub use model::{
    Architecture, ModelError, ModelSpec, NetworkConfig, Pooling, Preprocessing, PublishedConfig,
    ScriptConfig,
};
pub use network::{FeaturePart, Features, Made, Network, NetworkError, Stage};
pub use preprocess::{
    AION_CATALOG_OFFSET, AION_MODALITIES, ARRAY_NUMBERS_MAX, AionLayout, AionModality, AsinhFlux,
    IMAGE_BYTES_MAX, IMAGE_PIXELS_MAX, LegacyRgb, Observations, PayloadError, Preprocessor,
    ResizedRgb, SpectrumWindows, aion_modality,
};
pub use register::{RegisterOptions, digest, register};
pub use registry::{BrokenModel, RegisteredModel, Registry};
pub use sandbox::{SandboxError, SandboxMode, SandboxOptions, enter_sandbox, gpu_devices};
pub use train::{
    Beginning, CHUNK_EXAMPLES_MAX, CHUNK_NUMBERS_MAX, Chunk, ChunkRows, ChunkSource, TowerInput,
    TrainError, TrainSpec, TrainStep, TrainTask, Trained, head_from_bytes, head_to_bytes,
};
