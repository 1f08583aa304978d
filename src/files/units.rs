//! Positions of files into degrees.

use super::FileError;
use crate::sky::{Degrees, Radians};

/// Unit of a coordinate column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AngleUnit {
    Degrees,
    Radians,
    /// Hours of right ascension, 15 degrees each.
    Hours,
}

/// `ra` or `dec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coordinate {
    Ra,
    Dec,
}

impl Coordinate {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ra => "ra",
            Self::Dec => "dec",
        }
    }
}

impl AngleUnit {
    /// The unit that a column declares; degrees when it declares none.
    pub(super) fn parse(
        coordinate: Coordinate,
        column: &str,
        unit: &str,
    ) -> Result<Self, FileError> {
        match unit.trim().trim_matches(['[', ']']).to_lowercase().as_str() {
            "" | "deg" | "degs" | "degree" | "degrees" | "d" | "°" => Ok(Self::Degrees),
            "rad" | "rads" | "radian" | "radians" => Ok(Self::Radians),
            "hourangle" | "hour" | "hours" | "h" | "hr" if coordinate == Coordinate::Ra => {
                Ok(Self::Hours)
            }
            _ => Err(FileError::PositionUnit {
                role: coordinate.name(),
                name: column.to_owned(),
                unit: unit.to_owned(),
            }),
        }
    }

    pub(super) fn degrees(self, value: f64) -> f64 {
        match self {
            Self::Degrees => value,
            Self::Radians => Degrees::from(Radians(value)).0,
            Self::Hours => value * 15.0,
        }
    }
}

/// Reads a coordinate given as text: a plain number in `unit`, or sexagesimal with `:` or blanks between its parts
/// (`12:34:56.7` of ra is hours, of dec degrees), or with units (`01h33m50.9s`, `+30d39m36s`).
pub(super) fn parse_text(coordinate: Coordinate, unit: AngleUnit, text: &str) -> Option<f64> {
    let text = text.trim();
    if let Ok(value) = text.parse::<f64>() {
        return Some(unit.degrees(value));
    }
    let (negative, digits) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let units: String = digits.chars().filter_map(unit_letter).collect();
    let is_hours = match (coordinate, units.as_str()) {
        (Coordinate::Ra, "hms") => true,
        (_, "dms") => false,
        // Text such as `12:34:56` is hours by custom, also in columns without a declared unit.
        (_, "") => coordinate == Coordinate::Ra,
        _ => return None,
    };
    let is_between = |each: char| matches!(each, ':' | ' ') || unit_letter(each).is_some();
    let parts: Vec<&str> =
        digits.split(is_between).map(str::trim).filter(|part| !part.is_empty()).collect();
    let [whole, minutes, seconds] = parts[..] else {
        return None;
    };
    let whole = f64::from(whole.parse::<u16>().ok()?);
    let minutes = f64::from(minutes.parse::<u8>().ok().filter(|minutes| *minutes < 60)?);
    let begins = seconds.starts_with(|first: char| first.is_ascii_digit());
    let seconds: f64 = seconds.parse().ok().filter(|value| begins && *value <= 60.0)?;
    let value = whole + minutes / 60.0 + seconds / 3_600.0;
    let value = if negative { -value } else { value };
    match (unit, is_hours) {
        (AngleUnit::Radians, _) => None,
        (_, true) => Some(value * 15.0),
        (_, false) => Some(value),
    }
}

/// What a letter or a mark behind a part says that the part is.
fn unit_letter(mark: char) -> Option<char> {
    match mark {
        'h' => Some('h'),
        'd' | '\u{b0}' => Some('d'),
        'm' | '\'' | '\u{2032}' => Some('m'),
        's' | '"' | '\u{2033}' => Some('s'),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn angles_become_degrees() {
        let ra = |unit| AngleUnit::parse(Coordinate::Ra, "RA", unit);
        assert_eq!(ra(" deg ").expect("known"), AngleUnit::Degrees);
        assert_eq!(ra("").expect("none"), AngleUnit::Degrees);
        assert_eq!(ra("Radian").expect("known").degrees(std::f64::consts::PI), 180.0);
        assert_eq!(ra("hourangle").expect("known").degrees(1.5), 22.5);
        assert!(AngleUnit::parse(Coordinate::Dec, "DE", "h").is_err());
        let message = ra("arcsec").expect_err("not converted").to_string();
        assert!(message.contains("`arcsec`") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn sexagesimal_text_is_read() {
        let dec = |text| parse_text(Coordinate::Dec, AngleUnit::Degrees, text);
        let ra = |text| parse_text(Coordinate::Ra, AngleUnit::Degrees, text);
        assert_eq!(ra("12:30:36"), Some(12.51 * 15.0));
        assert_eq!(ra("187.65"), Some(187.65));
        assert_eq!(dec("-00 30 00"), Some(-0.5));
        assert_eq!(dec("+12:15:00.0"), Some(12.25));
        assert_eq!((ra("12h30m36.0s"), ra("12d15m00s")), (Some(12.51 * 15.0), Some(12.25)));
        assert_eq!((dec("-00d30m00s"), dec("12°15'00\"")), (Some(-0.5), Some(12.25)));
        assert_eq!((dec("12h15m00s"), ra("12m15h00s")), (None, None));
        for wrong in ["12:60:00", "12:30", "a:b:c", "12:-3:1", "1:2:3:4", "1:2:nan", ""] {
            assert_eq!(dec(wrong), None, "{wrong}");
        }
    }
}
