//! Numbers for people.

use std::time::Duration;

/// A count with commas between thousands.
pub(crate) fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A size in the unit that leaves one to three digits before the point.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1_000.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        if value < 999.5 {
            break;
        }
        value /= 1_000.0;
        unit = larger;
    }
    if value < 9.95 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A length of time with two or three significant digits.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 1.0 {
        format!("{} ms", significant(seconds * 1_000.0, 2))
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
    }
}

/// A real number with so many significant digits, without trailing zeros.
pub(crate) fn significant(value: f64, digits: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !value.is_finite() {
        return value.to_string();
    }
    let exponent = value.abs().log10().floor() as i32;
    if !(-4..=9).contains(&exponent) {
        let text = format!("{value:.*e}", digits.saturating_sub(1));
        return match text.split_once('e') {
            Some((mantissa, exponent)) => format!("{}e{exponent}", trimmed(mantissa)),
            None => text,
        };
    }
    let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
    trimmed(&format!("{value:.decimals$}")).to_owned()
}

fn trimmed(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_commas() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_000), "1,000");
        assert_eq!(thousands(12_345_678), "12,345,678");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(bytes(17), "17 B");
        assert_eq!(bytes(340_123), "340 kB");
        assert_eq!(bytes(1_500_000), "1.5 MB");
        assert_eq!(bytes(999_900), "1.0 MB");
    }

    #[test]
    fn reals_keep_their_significant_digits() {
        assert_eq!(significant(0.1, 6), "0.1");
        assert_eq!(significant(0.123_456_789, 6), "0.123457");
        assert_eq!(significant(123.456_789, 6), "123.457");
        assert_eq!(significant(-1234.0, 6), "-1234");
        assert_eq!(significant(1.5e-9, 6), "1.5e-9");
        assert_eq!(significant(6.022e23, 4), "6.022e23");
        assert_eq!(significant(1_234_567.0, 3), "1234567");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(duration(Duration::from_micros(1_230)), "1.2 ms");
        assert_eq!(duration(Duration::from_millis(2_340)), "2.3 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 05 s");
    }
}
