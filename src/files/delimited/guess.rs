//! What the values of a text column are.

use crate::schema::ColumnType;

/// Whole numbers beyond this are rounded where they are stored as numbers with a point.
pub(super) const EXACT_MAX: u64 = 1 << 53;

/// Values among which one may be a slip.
const SLIPS: u64 = 1_000;

/// What the values seen so far allow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Evidence {
    /// Values that say something.
    seen: u64,
    booleans: u64,
    numbers: u64,
    /// Numbers with a point, an exponent, or that are not finite.
    points: u64,
    /// Whole numbers beyond 64 bits.
    large: u64,
    /// Digits behind a leading zero: codes such as `00123`, whose zeros would be lost in a number.
    codes: u64,
    /// Whether some whole number would be rounded.
    is_exact: bool,
}

impl Evidence {
    /// Takes one value into account, and says what keeps it from being a plain number; blank and missing ones say nothing.
    pub(super) fn see(&mut self, value: &str) -> Option<&'static str> {
        let value = value.trim();
        if value.is_empty() || is_missing(value) {
            return None;
        }
        self.seen += 1;
        self.booleans += u64::from(boolean(value).is_some());
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            self.numbers += 1;
            if digits.len() > 1 && digits.starts_with('0') {
                self.codes += 1;
                return Some("would lose its zeros as a number");
            }
            let Ok(number) = value.parse::<i64>() else {
                self.large += 1;
                return Some("is too large for a whole number");
            };
            self.is_exact |= number.unsigned_abs() > EXACT_MAX;
            return None;
        }
        if value.parse::<f64>().is_err() {
            return Some("is no number");
        }
        self.numbers += 1;
        self.points += 1;
        None
    }

    /// How many values were plain numbers, and how many said anything, where most were plain numbers.
    pub(super) fn mostly_numbers(self) -> Option<(u64, u64)> {
        let plain = self.numbers - self.codes - self.large;
        (2 * plain > self.seen).then_some((plain, self.seen))
    }

    /// Whether no value has told anything.
    pub(super) fn is_none(self) -> bool {
        self.seen == 0
    }

    /// The narrowest type that holds every value seen but for slips: where no more than one in a thousand is of another kind, it
    /// should not make texts of all numbers. Text when there was no value.
    pub(super) fn column_type(self) -> ColumnType {
        let slips = self.seen / SLIPS;
        // One number with a point widens whole numbers, unless that rounds them.
        let is_whole = self.points == 0 || self.is_exact && self.points <= slips;
        if self.seen == 0 {
            ColumnType::Text
        } else if self.seen - self.booleans <= slips {
            ColumnType::Boolean
        } else if self.seen - self.numbers > slips
            || is_whole && (self.codes > slips || self.large > slips)
        {
            ColumnType::Text
        } else if is_whole {
            ColumnType::Int64
        } else {
            ColumnType::Float64
        }
    }
}

/// Words that stand for a missing value where numbers are expected: those of databases, of pandas, of R, and of masked columns
/// that Astropy has written.
const MISSING: [&str; 6] = ["null", "none", "na", "n/a", "--", "\\n"];

/// Whether a word stands for a missing value in a column of numbers or truth values; in texts it is a word like others.
pub(super) fn is_missing(value: &str) -> bool {
    MISSING.iter().any(|word| value.eq_ignore_ascii_case(word))
}

/// `true` or `false` in any case.
pub(super) fn boolean(value: &str) -> Option<bool> {
    if value.eq_ignore_ascii_case("true") {
        Some(true)
    } else if value.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(values: &[&str]) -> ColumnType {
        let mut evidence = Evidence::default();
        for value in values {
            evidence.see(value);
        }
        evidence.column_type()
    }

    #[test]
    fn the_narrowest_type_that_loses_nothing_is_chosen() {
        assert_eq!(guess(&["1", "", "-22", "+3", "0"]), ColumnType::Int64);
        assert_eq!(guess(&["1", "2.5", "NaN"]), ColumnType::Float64);
        assert_eq!(guess(&["1e5", "-inf"]), ColumnType::Float64);
        assert_eq!(guess(&["True", "false", " "]), ColumnType::Boolean);
        assert_eq!(guess(&["true", "1"]), ColumnType::Text);
        assert_eq!(guess(&["00123", "456"]), ColumnType::Text);
        assert_eq!(guess(&["00.5", "456"]), ColumnType::Float64);
        assert_eq!(guess(&["18446744073709551615", "1"]), ColumnType::Text);
        assert_eq!(guess(&["9223372036854775807", "-9223372036854775808"]), ColumnType::Int64);
        assert_eq!(guess(&["1.5", "abc"]), ColumnType::Text);
        assert_eq!(guess(&["", "  "]), ColumnType::Text);
        assert_eq!(guess(&["-"]), ColumnType::Text);
        assert_eq!(guess(&["1", "NULL", "--", "2"]), ColumnType::Int64);
        assert_eq!(guess(&["n/a", "1.5", "None", "\\N"]), ColumnType::Float64);
        assert_eq!(guess(&["true", "NA"]), ColumnType::Boolean);
        assert_eq!(guess(&["null", "STAR"]), ColumnType::Text);
        assert_eq!(guess(&["null", "null"]), ColumnType::Text);
    }

    #[test]
    fn few_slips_leave_a_column_what_it_is() {
        let kind = |many: &str, count: usize, others: &[&str]| {
            let mut evidence = Evidence::default();
            for value in others.iter().chain(std::iter::repeat_n(&many, count)) {
                evidence.see(value);
            }
            evidence.column_type()
        };
        assert_eq!(kind("7", 2_000, &["seven", "VII"]), ColumnType::Int64);
        assert_eq!(kind("7", 2_000, &["seven", "VII", "sept"]), ColumnType::Text);
        assert_eq!(kind("7", 900, &["seven"]), ColumnType::Text);
        assert_eq!(kind("7.5", 2_000, &["seven", "VII"]), ColumnType::Float64);
        assert_eq!(kind("7", 2_000, &["seven", "7.5"]), ColumnType::Float64);
        assert_eq!(kind("true", 2_000, &["1"]), ColumnType::Boolean);
        assert_eq!(kind("true", 900, &["1"]), ColumnType::Text);
        assert_eq!(kind("7", 2_000, &["007"]), ColumnType::Int64);
        assert_eq!(kind("7", 2_000, &["007", "008", "009"]), ColumnType::Text, "codes");
        let gaia = "4295806720123456789";
        assert_eq!(kind(gaia, 2_000, &["nan"]), ColumnType::Int64, "nothing is rounded");
        assert_eq!(kind(gaia, 2_000, &["99999999999999999999"]), ColumnType::Int64);
        assert_eq!(kind(gaia, 2_000, &["1.5", "2.5", "3.5"]), ColumnType::Float64);
    }

    #[test]
    fn what_keeps_a_value_from_being_a_number_is_said() {
        let mut evidence = Evidence::default();
        for plain in ["1", "", "2.5", "null", "-inf"] {
            assert_eq!(evidence.see(plain), None, "{plain}");
        }
        assert_eq!(evidence.see("STAR"), Some("is no number"));
        assert!(evidence.see("007").is_some_and(|why| why.contains("zeros")));
        assert!(evidence.see("99999999999999999999").is_some_and(|why| why.contains("large")));
        assert_eq!(evidence.mostly_numbers(), None, "3 of 6");
    }
}
