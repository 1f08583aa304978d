//! Settings of what the server tells: figures and health over HTTP, logs, and traces.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::ConfigError;
use super::settings::{ServerSettings, Settings};
use crate::service::{self, HttpOptions, LogFormat, TelemetryOptions};

/// Figures and health.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSettings {
    /// Whether there is a listener.
    pub enabled: bool,
    /// Its address.
    pub listen: SocketAddr,
    /// Whether other machines may connect.
    pub allow_remote: bool,
}

/// Traces.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TelemetrySettings {
    /// Address of the collector.
    pub otlp: Option<String>,
    /// Share of calls that are traced.
    pub sample: f64,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogStyle {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl ServerSettings {
    /// From how long on a query is slow.
    pub(super) fn slow_query(&self) -> Option<Duration> {
        (self.slow_query_ms > 0).then(|| Duration::from_millis(self.slow_query_ms))
    }
}

impl HttpSettings {
    /// Options of the listener; `is_required` says that somebody has chosen its address.
    pub(super) fn options(&self, is_required: bool) -> Option<HttpOptions> {
        self.enabled.then_some(HttpOptions {
            listen: self.listen,
            allow_remote: self.allow_remote,
            is_required,
        })
    }
}

impl Settings {
    /// What is told, and to whom.
    pub fn telemetry_options(&self) -> TelemetryOptions {
        TelemetryOptions {
            filter: self.server.log.clone(),
            format: match self.server.log_format {
                LogStyle::Text => LogFormat::Text,
                LogStyle::Json => LogFormat::Json,
            },
            otlp: self.telemetry.otlp.clone(),
            sample: self.telemetry.sample,
        }
    }

    /// Checks what is told.
    pub(super) fn check_telling(&self) -> Result<(), ConfigError> {
        let bad = |key, value: String, wanted: String| ConfigError::BadValue { key, value, wanted };
        let filter = &self.server.log;
        service::check_log_filter(filter)
            .map_err(|error| bad("server.log", format!("`{filter}`"), error.to_string()))?;
        if let Some(address) = &self.telemetry.otlp {
            service::check_collector(address).map_err(|error| {
                bad("telemetry.otlp", "an address".to_owned(), error.to_string())
            })?;
        }
        let sample = self.telemetry.sample;
        if !(0.0..=1.0).contains(&sample) {
            let wanted = "it must be 0 to 1".to_owned();
            return Err(bad("telemetry.sample", sample.to_string(), wanted));
        }
        Ok(())
    }
}
