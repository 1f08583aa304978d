//! The gRPC server: the protocol of `proto/sidereus/v1` spoken over the embedded database.
//!
//! Messages become domain values in `convert` and nowhere else; errors become statuses in `error_code` and
//! nowhere else. Handlers hold no state of their own: whatever must survive a request is in the database.
//!
//! - **SVC-1**: a row that an ingest answer does not list as refused is durable.
//! - **SVC-2**: batches of one stream are written and answered in the order in which they came.
//! - **SVC-3**: nothing that a client sends is larger than a limit of [`Limits`]; what is, is refused by name.
//! - **SVC-4**: without the setting that says otherwise, only this machine can reach the server.
//! - **SVC-5**: vectors of different provenance never meet in one space.

mod bridges;
mod collections;
mod context;
mod convert;
mod deadline;
mod discovery;
mod encoding;
mod error;
mod error_code;
mod flight;
mod gate;
mod ingest;
mod limits;
mod maintenance;
mod objects;
mod probes;
mod request_error;
mod rerank;
mod search;
mod server;
mod telemetry;

pub use error::ServiceError;
pub use error_code::code;
pub use flight::collection_of;
pub use limits::Limits;
pub use request_error::RequestError;
pub use server::{Server, ServerError, ServiceOptions};
pub use telemetry::{TelemetryError, check_log_filter, start_telemetry};
