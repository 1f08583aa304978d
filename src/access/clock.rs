//! What time it is: handed in, so that tests can say so.

use std::sync::Arc;

use crate::clock::{civil, since_1970};

/// Tells the seconds since 1970-01-01 UTC.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

const DAY_S: u64 = 86_400;

/// The clock of this machine.
pub fn system_clock() -> Clock {
    // A clock before 1970 tells the end of time, in which every token has expired: nobody is let in by it.
    Arc::new(|| since_1970().map_or(u64::MAX, |since| since.as_secs()))
}

/// A moment as people write it: `2026-11-26 12:58 UTC`.
///
/// `seconds` counts from 1970-01-01 UTC.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / DAY_S, seconds % DAY_S);
    let (year, month, day) = civil(i64::try_from(days).unwrap_or(i64::MAX));
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3_600, rest % 3_600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_people_write_them() {
        // From `date -u -d @N`.
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(utc(1_795_697_877), "2026-11-26 12:57 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00 UTC");
    }
}
