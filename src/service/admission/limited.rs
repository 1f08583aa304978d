//! Why a call is refused for now.

use std::time::Duration;

use thiserror::Error;

/// Why a call is refused for now: a limit of the configuration, by its name there, and when it is worth to try again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} (limit `{name}`); try again in {} s", seconds(*.retry_after))]
pub struct Limited {
    /// The limit, as the configuration calls it.
    pub name: &'static str,
    /// When the call may be served.
    pub retry_after: Duration,
    /// What was met.
    pub what: String,
}

/// Seconds with as many digits as tell something; never 0.
fn seconds(time: Duration) -> String {
    let seconds = time.as_secs_f64().max(0.001);
    if seconds < 10.0 { format!("{seconds:.3}") } else { format!("{seconds:.0}") }
}

impl Limited {
    pub(super) fn new(name: &'static str, retry_after: Duration, what: impl Into<String>) -> Self {
        Self { name, retry_after, what: what.into() }
    }

    /// An answer that its reader did not go on with for so long.
    pub(in crate::service) fn unread(time: Duration) -> Self {
        let what = format!("the answer was not read for {:.1} s", time.as_secs_f64());
        Self::new("admission.stall_s", Duration::from_millis(100), what)
    }
}
