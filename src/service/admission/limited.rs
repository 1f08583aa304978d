//! Why a call is refused.

use std::time::Duration;

use thiserror::Error;

/// Why a call is refused: a limit of the configuration, by its name there, and when it is worth to try again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what} (limit `{name}`); {}", self.advice())]
pub struct Limited {
    /// The limit, as the configuration calls it.
    pub name: &'static str,
    /// When the call may be served; `None` where it is refused as long as the configuration stays as it is.
    pub retry_after: Option<Duration>,
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
        Self { name, retry_after: Some(retry_after), what: what.into() }
    }

    /// What no time helps: the caller has to ask for something else.
    pub(super) fn for_ever(name: &'static str, what: impl Into<String>) -> Self {
        Self { name, retry_after: None, what: what.into() }
    }

    /// What the caller is to do.
    fn advice(&self) -> String {
        match self.retry_after {
            Some(time) => format!("try again in {} s", seconds(time)),
            None => "to try again does not help".to_owned(),
        }
    }

    /// An answer that its reader did not go on with for so long.
    pub(in crate::service) fn unread(time: Duration) -> Self {
        let what = format!("the answer was not read for {:.1} s", time.as_secs_f64());
        Self::new("admission.stall_s", Duration::from_millis(100), what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_no_wait_helps_is_not_told_to_wait() {
        assert_eq!(
            Limited::for_ever("a.limit", "too much").to_string(),
            "too much (limit `a.limit`); to try again does not help"
        );
        let told = |after| Limited::new("a.limit", after, "too much").to_string();
        assert_eq!(told(Duration::ZERO), "too much (limit `a.limit`); try again in 0.001 s");
        let an_hour = told(Duration::from_hours(1));
        assert_eq!(an_hour, "too much (limit `a.limit`); try again in 3600 s");
    }
}
