//! The gRPC server: the protocol of `proto/sidereus/v1` spoken over the embedded database.
//!
//! Messages become domain values in `convert` and nowhere else; errors become statuses in `error_code` and
//! nowhere else. Handlers hold no state of their own: whatever must survive a request is in the database.
//!
//! - **SVC-1**: a row that an ingest answer does not list as refused is durable.
//! - **SVC-2**: batches of one stream are written and answered in the order in which they came.
//! - **SVC-3**: nothing that a client sends is larger than a limit of [`Limits`]; what is, is refused by name.
//! - **SVC-4**: without the setting that says otherwise, other machines can reach only a server that encrypts and asks who they
//!   are.
//! - **SVC-5**: vectors of different provenance never meet in one space.
//! - **SVC-6**: objects are seen through the `door` alone, by a grant for their collection; hidden ones do not exist.
//! - **SVC-7**: over plain HTTP there are figures and health, and no data.

mod access;
mod admission;
mod auditing;
mod backups;
mod bridges;
mod collections;
mod context;
mod convert;
mod deadline;
mod denials;
mod discovery;
mod door;
mod encoding;
mod error;
mod error_code;
mod flight;
mod gate;
mod http;
mod ingest;
mod jobs;
mod layers;
mod limits;
mod local;
mod maintenance;
mod metrics;
mod objects;
mod precheck;
mod probes;
mod raw;
mod readiness;
mod releases;
mod request_error;
mod rerank;
mod search;
mod server;
mod stop;
mod target;
mod telemetry;
mod tls;
mod transport;
mod upkeep;

pub use admission::{AdmissionOptions, Limited, Pass, Quota, QuotaChange, QuotaOptions, Quotas};
pub use error::ServiceError;
pub use error_code::code;
pub use http::HttpOptions;
pub use ingest::IngestInput;
pub use limits::Limits;
pub use local::Local;
pub use request_error::RequestError;
pub use server::{Server, ServerError, ServiceOptions};
pub use telemetry::{
    LogFormat, Telemetry, TelemetryError, TelemetryOptions, check_collector, check_log_filter,
    start_telemetry,
};
pub use tls::{ClientCertificates, ConnectionLimits, TlsError, TlsOptions};
pub use upkeep::UpkeepOptions;
