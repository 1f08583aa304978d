//! What time it is, as this machine says. Moments are counted from 1970-01-01 UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The time since 1970; `None` on a machine whose clock is before.
pub fn since_1970() -> Option<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()
}

/// Seconds since 1970; 0 on a machine whose clock is before.
pub fn now_s() -> u64 {
    since_1970().map_or(0, |since| since.as_secs())
}

/// Milliseconds since 1970; 0 on a machine whose clock is before.
pub fn now_ms() -> u64 {
    since_1970().map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
