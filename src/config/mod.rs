//! Settings of the server: a versioned TOML file, the environment, and words of the command line, checked as a whole before
//! anything starts.
//!
//! The defaults are the reference file `deploy/sidereus.toml` itself, compiled in, so that they are written once. Nothing here
//! reads the environment: whoever starts the server hands its variables over.

mod error;
mod hosting;
mod layers;
mod merge;
mod observe;
mod print;
mod reference;
mod security;
mod settings;

pub use error::ConfigError;
pub use hosting::{
    AdmissionSettings, AuditMode, AuditSettings, QuotaChangeSettings, QuotaSettings, audit_folder,
};
pub use layers::{Flag, Layered, Origin};
pub use observe::{HttpSettings, LogStyle, TelemetrySettings};
pub(crate) use reference::distance;
pub use security::{AuthMode, AuthSettings, ConnectionSettings, TlsSettings};
pub use settings::{
    BackupSettings, EncoderChoice, EncoderSettings, IndexSettings, LimitSettings, ServerSettings,
    Settings, StorageSettings,
};
