//! What the server tells its operator: lines on standard error.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

/// Why nothing will be told.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// A filter that cannot be read.
    #[error(
        "log filter `{filter}` is not understood: {reason}; write a level such as `info`, or `info,sidereus=debug`"
    )]
    BadFilter {
        /// What was given.
        filter: String,
        /// The parser's words.
        reason: String,
    },
    /// Somebody else listens already.
    #[error("logging was started twice in this process")]
    StartedTwice,
}

/// Checks a log filter without listening to anything.
///
/// # Errors
/// [`TelemetryError::BadFilter`].
pub fn check_log_filter(filter: &str) -> Result<(), TelemetryError> {
    parse_filter(filter).map(|_| ())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|error| TelemetryError::BadFilter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

/// Starts to write events of this process that pass the filter to standard error.
///
/// # Errors
/// [`TelemetryError::BadFilter`], or [`TelemetryError::StartedTwice`].
pub fn start_telemetry(filter: &str) -> Result<(), TelemetryError> {
    tracing_subscriber::fmt()
        .with_env_filter(parse_filter(filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .try_init()
        .map_err(|_| TelemetryError::StartedTwice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_checked_before_anything_starts() {
        assert!(parse_filter("info").is_ok());
        assert!(parse_filter("warn,sidereus=debug").is_ok());
        let refused = parse_filter("sidereus=loud").expect_err("no such level");
        assert!(refused.to_string().contains("sidereus=loud"));
    }
}
