//! What the server tells its operator: lines on standard error, and traces to a collector where one is named.
//!
//! - **TEL-1**: no vector, no token or password, and no literal of a predicate is ever told; ids only of objects that could not be
//!   encoded, in the log.
//! - **TEL-2**: a collector that does not answer costs spans, and never a call.

mod call;
mod slow;
mod traces;

use std::io::IsTerminal;

use thiserror::Error;
use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::{Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, fmt};

pub(super) use call::{Call, CallLayer, current_id, rejected, watched};
pub(super) use slow::{Asked, SlowQueries};
use traces::Exporter;

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
    /// An address to which no traces can be sent.
    #[error(
        "traces cannot be sent to `{address}`: {reason}; write an address such as http://127.0.0.1:4317"
    )]
    BadCollector {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else listens already.
    #[error("logging was started twice in this process")]
    StartedTwice,
}

/// How lines of the log look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is told, and to whom.
#[derive(Debug, Clone, PartialEq)]
pub struct TelemetryOptions {
    /// Which events are logged.
    pub filter: String,
    /// How they look.
    pub format: LogFormat,
    /// Collector of traces that speaks OTLP over gRPC; `None` for no traces.
    pub otlp: Option<String>,
    /// Share of calls that are traced, of those whose caller has not decided; from 0 to 1.
    pub sample: f64,
}

impl TelemetryOptions {
    /// Lines of text for a filter, and no traces.
    pub fn text(filter: &str) -> Self {
        Self { filter: filter.to_owned(), format: LogFormat::Text, otlp: None, sample: 1.0 }
    }
}

/// What tells, until it is ended.
#[derive(Debug)]
pub struct Telemetry {
    exporter: Option<Exporter>,
}

impl Telemetry {
    /// Sends what is left, for a few seconds at most.
    pub async fn end(self) {
        if let Some(exporter) = self.exporter {
            exporter.end().await;
        }
    }
}

/// Checks a log filter without listening to anything.
///
/// # Errors
/// [`TelemetryError::BadFilter`].
pub fn check_log_filter(filter: &str) -> Result<(), TelemetryError> {
    parse_filter(filter).map(|_| ())
}

/// Checks the address of a collector without connecting to it.
///
/// # Errors
/// [`TelemetryError::BadCollector`].
pub fn check_collector(address: &str) -> Result<(), TelemetryError> {
    traces::endpoint(address).map(|_| ())
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|error| TelemetryError::BadFilter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

/// Starts to write events of this process that pass the filter to standard error, and to send traces.
///
/// # Errors
/// [`TelemetryError::BadFilter`], [`TelemetryError::BadCollector`], or [`TelemetryError::StartedTwice`].
///
/// # Panics
/// Outside of a tokio runtime, where traces are sent.
pub fn start_telemetry(options: &TelemetryOptions) -> Result<Telemetry, TelemetryError> {
    let exporter = match &options.otlp {
        Some(address) => Some(Exporter::new(address, options.sample)?),
        None => None,
    };
    let heard = heard(options)?;
    // Libraries that speak through `log` are not listened to: the parser of predicates tells every literal there. A layer that is
    // not there must not be asked: it wants to hear of everything, and every span of HTTP/2 would be made for nobody.
    let started = match &exporter {
        Some(exporter) => tracing::subscriber::set_global_default(heard.with(exporter.layer())),
        None => tracing::subscriber::set_global_default(heard),
    };
    started.map_err(|_| TelemetryError::StartedTwice)?;
    Ok(Telemetry { exporter })
}

/// What hears of lines.
fn heard(
    options: &TelemetryOptions,
) -> Result<impl Subscriber + for<'span> LookupSpan<'span> + Send + Sync + use<>, TelemetryError> {
    let filter = parse_filter(&options.filter)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match options.format {
        LogFormat::Text => {
            lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    Ok(tracing_subscriber::registry().with(lines.with_filter(told(filter))))
}

/// What is written of what passes a filter: spans for traces are made for the collector alone.
fn told<S>(filter: EnvFilter) -> impl Filter<S> {
    let is_line = filter_fn(|metadata| metadata.target() != traces::TARGET);
    // Without a hint of its own it would hide the filter's, and everything below the level would be looked at.
    filter.and(is_line.with_max_level_hint(LevelFilter::TRACE))
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

    #[test]
    fn what_is_below_the_level_is_not_looked_at() {
        for (filter, level) in [
            ("warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("warn,sidereus=debug", LevelFilter::DEBUG),
        ] {
            let lines = heard(&TelemetryOptions::text(filter)).expect("a filter");
            assert_eq!(lines.max_level_hint(), Some(level), "{filter}");
        }
    }

    #[tokio::test]
    async fn spans_for_a_collector_are_made_whatever_the_log_tells() {
        let exporter = Exporter::new("http://127.0.0.1:1", 1.0).expect("an address");
        for (filter, level) in [("warn", LevelFilter::DEBUG), ("trace", LevelFilter::TRACE)] {
            let lines = heard(&TelemetryOptions::text(filter)).expect("a filter");
            assert_eq!(lines.with(exporter.layer()).max_level_hint(), Some(level), "{filter}");
        }
    }

    #[test]
    fn collectors_have_an_address_with_a_scheme() {
        assert!(check_collector("http://127.0.0.1:4317").is_ok());
        assert!(check_collector("https://collector.example:4317").is_ok());
        for bad in ["", "127.0.0.1:4317", "ftp://a:1", "http://"] {
            let refused = check_collector(bad).expect_err(bad);
            assert!(refused.to_string().contains("http://127.0.0.1:4317"), "{refused}");
        }
    }
}
