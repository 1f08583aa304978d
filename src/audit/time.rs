//! Moments as people and programs write them: RFC 3339, UTC.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::{civil, days};

const DAY_S: u64 = 86_400;

/// A moment as `2026-03-01T12:00:00.123456Z`. Moments before 1970 are written as its beginning.
pub fn readable(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, of_day) = (since.as_secs() / DAY_S, since.as_secs() % DAY_S);
    let (year, month, day) = civil(days as i64);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Reads a moment: a date, a date with a time of day (UTC, `Z` may be left out), or how long ago (`90s`, `30m`, `12h`, `7d`).
///
/// # Errors
/// One line that says what can be written.
pub fn parse(text: &str, now: SystemTime) -> Result<SystemTime, String> {
    let wrong = || {
        format!(
            "`{text}` is no moment: write 2026-03-01, 2026-03-01T12:00:00Z, or how long ago, such as 90s, 30m, 12h or 7d"
        )
    };
    if let Some(ago) = ago(text) {
        return now.checked_sub(ago).ok_or_else(wrong);
    }
    let text_of = text.strip_suffix('Z').unwrap_or(text);
    let (date, time) = text_of.split_once(['T', ' ']).unwrap_or((text_of, "00:00:00"));
    let numbers = |text: &str, mark: char| -> Option<Vec<u64>> {
        let parts = text.split(mark);
        parts.map(|part| if part.is_empty() { None } else { part.parse().ok() }).collect()
    };
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let date = numbers(date, '-').filter(|date| date.len() == 3).ok_or_else(wrong)?;
    let time = numbers(time, ':').filter(|time| (2..=3).contains(&time.len())).ok_or_else(wrong)?;
    let second = time.get(2).copied().unwrap_or(0);
    let in_range = (1970..=9_999).contains(&date[0])
        && (1..=12).contains(&date[1])
        && (1..=31).contains(&date[2])
        && time[0] < 24
        && time[1] < 60
        && second < 60;
    if !in_range || fraction.is_empty() || !fraction.bytes().all(|each| each.is_ascii_digit()) {
        return Err(wrong());
    }
    let days = days(date[0] as i64, date[1] as i64, date[2] as i64);
    // The 31st of April is no day: it would read as another.
    if civil(days) != (date[0] as i64, date[1] as i64, date[2] as i64) {
        return Err(wrong());
    }
    let seconds = days as u64 * DAY_S + time[0] * 3_600 + time[1] * 60 + second;
    let micros: u64 = format!("{fraction:0<6.6}").parse().map_err(|_| wrong())?;
    Ok(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros))
}

fn ago(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let each = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => DAY_S,
        _ => return None,
    };
    let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some(Duration::from_secs(count.checked_mul(each)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_and_read_again() {
        // 2004-02-29 was a leap day; 1709210096 is `date -u -d @1709210096`.
        let at = UNIX_EPOCH + Duration::from_secs(1_709_210_096) + Duration::from_micros(7);
        assert_eq!(readable(at), "2024-02-29T12:34:56.000007Z");
        assert_eq!(readable(UNIX_EPOCH), "1970-01-01T00:00:00.000000Z");
        for day in (0..30_000).step_by(13) {
            let at = UNIX_EPOCH + Duration::from_secs(day * DAY_S + day % DAY_S);
            assert_eq!(parse(&readable(at), at), Ok(at));
        }
        let now = at;
        assert_eq!(
            parse("2024-02-29", now).map(readable),
            Ok("2024-02-29T00:00:00.000000Z".to_owned())
        );
        assert_eq!(
            parse("2024-02-29T12:34Z", now).map(readable),
            Ok("2024-02-29T12:34:00.000000Z".to_owned())
        );
        assert_eq!(parse("2h", now), Ok(now - Duration::from_hours(2)));
        for bad in [
            "",
            "yesterday",
            "2024-02-30",
            "2024-13-01",
            "2024-02-29T25:00",
            "-1d",
            "99999999999999999999d",
            "2024-02",
            "1é",
        ] {
            assert!(parse(bad, now).is_err(), "{bad}");
        }
    }
}
