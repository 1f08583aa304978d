//! What time it is, as this machine says, and what day of the calendar that is. Moments are counted from 1970-01-01 UTC.

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

/// Days from 0000-03-01 to 1970-01-01, and days of 400 years: the calendar repeats after them.
const FROM_MARCH_0: i64 = 719_468;
const DAYS_400: i64 = 146_097;

/// Year, month and day of so many days after 1970-01-01, in the proleptic Gregorian calendar.
///
/// # Reference
/// The arithmetic of eras of 400 years, whose years begin in March: the day that some of them lack is their last, and the
/// lengths of months repeat every five.
pub fn civil(days: i64) -> (i64, i64, i64) {
    let since = days.saturating_add(FROM_MARCH_0);
    let (era, of_era) = (since.div_euclid(DAYS_400), since.rem_euclid(DAYS_400));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// Days from 1970-01-01 to a date: the inverse of [`civil`]. A day that the month does not have is one of the next month.
pub fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    era * DAYS_400 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - FROM_MARCH_0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        // From `date -u -d DATE +%s`.
        for (count, date) in [
            (-1, (1969, 12, 31)),
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_783, (2026, 11, 26)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(civil(count), date);
            assert_eq!(days(date.0, date.1, date.2), count);
        }
        let mut last = civil(-800_000);
        for count in -799_999..800_000 {
            let date = civil(count);
            assert!(date > last, "{date:?} after {last:?}");
            assert_eq!(days(date.0, date.1, date.2), count);
            last = date;
        }
    }
}
