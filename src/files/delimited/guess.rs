//! What the values of a text column are.

use crate::schema::ColumnType;

/// What the values seen so far allow.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Evidence {
    any: bool,
    booleans: bool,
    integers: bool,
    reals: bool,
    /// A number with a point, an exponent, or that is not finite.
    point: bool,
    /// Digits beyond 64 bits.
    large: bool,
    /// Digits behind a leading zero: a code such as `00123`, whose zeros would be lost in a number.
    code: bool,
}

impl Evidence {
    pub(super) fn new() -> Self {
        Self {
            any: false,
            booleans: true,
            integers: true,
            reals: true,
            point: false,
            large: false,
            code: false,
        }
    }

    /// Takes one value into account; blank and missing ones say nothing.
    pub(super) fn see(&mut self, value: &str) {
        let value = value.trim();
        if value.is_empty() || is_missing(value) {
            return;
        }
        self.any = true;
        self.booleans &= boolean(value).is_some();
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.is_empty();
        if all_digits {
            self.code |= digits.len() > 1 && digits.starts_with('0');
            self.large |= value.parse::<i64>().is_err();
        } else {
            self.integers = false;
            match value.parse::<f64>() {
                Ok(_) => self.point = true,
                Err(_) => self.reals = false,
            }
        }
    }

    /// Whether no value has told anything.
    pub(super) fn is_none(self) -> bool {
        !self.any
    }

    /// The narrowest type that holds every value seen; text when there was none.
    pub(super) fn column_type(self) -> ColumnType {
        if !self.any {
            ColumnType::Text
        } else if self.booleans {
            ColumnType::Boolean
        } else if !self.reals || (self.code && !self.point) || (self.large && !self.point) {
            ColumnType::Text
        } else if self.integers {
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
        let mut evidence = Evidence::new();
        values.iter().for_each(|value| evidence.see(value));
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
}
