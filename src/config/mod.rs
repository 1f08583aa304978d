//! Settings of the server: a versioned TOML file, checked as a whole before anything starts.
//!
//! The defaults are the reference file `deploy/sidereus.toml` itself, compiled in, so that they are written once.
//! Nothing here reads the environment.

mod error;
mod merge;
mod settings;

pub use error::ConfigError;
pub use settings::{
    BackupSettings, EncoderChoice, EncoderSettings, IndexSettings, LimitSettings, ServerSettings,
    Settings, StorageSettings,
};
