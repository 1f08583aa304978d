//! A day of the calendar: what `today` is in row policies.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::civil;

const DAY_SECONDS: i64 = 86_400;

/// Modified Julian Date of 1970-01-01.
const MJD_OF_EPOCH: i64 = 40_587;

/// A day in UTC. Its text is `YYYY-MM-DD`, as the dates of catalogues are written (ISO 8601), so that texts compare as dates do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day {
    /// Days since 1970-01-01.
    since_epoch: i64,
}

impl Day {
    /// The day of a moment.
    pub fn of(moment: SystemTime) -> Self {
        let seconds = match moment.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(before) => {
                let before = before.duration();
                let whole = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                whole.saturating_add(i64::from(before.subsec_nanos() > 0)).saturating_neg()
            }
        };
        Self { since_epoch: seconds.div_euclid(DAY_SECONDS) }
    }

    /// The day that it is now.
    pub fn today() -> Self {
        Self::of(SystemTime::now())
    }

    /// Modified Julian Date of its beginning.
    pub fn mjd(self) -> i64 {
        self.since_epoch.saturating_add(MJD_OF_EPOCH)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.since_epoch);
        write!(out, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn day(seconds: u64) -> Day {
        Day::of(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        // Seconds by `date -u -d ... +%s`, Modified Julian Dates by astropy.
        for (seconds, text, mjd) in [
            (0, "1970-01-01", 40_587),
            (951_782_399, "2000-02-28", 51_602),
            (951_782_400, "2000-02-29", 51_603),
            (951_868_800, "2000-03-01", 51_604),
            (1_709_164_800, "2024-02-29", 60_369),
            (1_735_689_599, "2024-12-31", 60_675),
            (1_735_689_600, "2025-01-01", 60_676),
            (4_107_542_400, "2100-03-01", 88_128),
        ] {
            assert_eq!((day(seconds).to_string().as_str(), day(seconds).mjd()), (text, mjd));
        }
        let before = Day::of(UNIX_EPOCH - Duration::from_millis(1));
        assert_eq!((before.to_string().as_str(), before.mjd()), ("1969-12-31", 40_586));
    }

    #[test]
    fn texts_of_days_ascend_one_by_one() {
        let mut last = day(0).to_string();
        for number in 1..60_000_u64 {
            let next = day(number * 86_400).to_string();
            assert!(last < next, "{last} {next}");
            let (month, date) = (&next[5..7], &next[8..]);
            assert!(date == "01" || last[..7] == next[..7], "{last} {next}");
            assert!(("01"..="12").contains(&month) && ("01"..="31").contains(&date));
            last = next;
        }
    }
}
