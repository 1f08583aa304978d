//! What time it is: handed in, so that tests can say so.

use std::sync::Arc;

use crate::clock::since_1970;

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
/// `seconds` counts from 1970-01-01 UTC. The date follows from the number of days by the proleptic Gregorian calendar, in
/// whose years, begun in March, the lengths of the months repeat every five.
pub fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / DAY_S, seconds % DAY_S);
    // Days since 0000-03-01, then the 400-year era they fall into.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
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
