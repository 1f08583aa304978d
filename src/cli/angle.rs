//! Angles as people write them.

use anyhow::{Context, Result, bail};

const ARCMIN_PER_DEGREE: f64 = 60.0;
const ARCSEC_PER_DEGREE: f64 = 3_600.0;
const DEGREES_PER_HOUR: f64 = 15.0;

/// Ends of angles, and how many of their units make a degree; the longer ones come first.
const UNITS: [(&str, f64); 10] = [
    ("arcmin", ARCMIN_PER_DEGREE),
    ("arcsec", ARCSEC_PER_DEGREE),
    ("deg", 1.0),
    ("\u{b0}", 1.0),
    ("\u{2032}", ARCMIN_PER_DEGREE),
    ("\u{2033}", ARCSEC_PER_DEGREE),
    ("'", ARCMIN_PER_DEGREE),
    ("\"", ARCSEC_PER_DEGREE),
    ("m", ARCMIN_PER_DEGREE),
    ("d", 1.0),
];

/// Reads an angle with a unit (`deg`, `arcmin`, `arcsec`, `d`, `m`, `'`, `"`), or in bare degrees.
///
/// # Units
/// Returns degrees.
pub(super) fn parse_angle(text: &str) -> Result<f64> {
    let text = text.trim();
    let with_unit = UNITS.iter().find_map(|(unit, each)| Some((text.strip_suffix(unit)?, *each)));
    let (number, per_degree) = with_unit.unwrap_or((text, 1.0));
    Ok(parse_number(number).with_context(|| {
        format!("`{text}` is not an angle; write it like 0.5deg, 30arcmin or 12arcsec")
    })? / per_degree)
}

/// Reads a right ascension: degrees from 0 to 360, or `10h00m24s`.
///
/// # Units
/// Returns degrees.
pub(super) fn parse_ra(text: &str) -> Result<f64> {
    let text = text.trim();
    if let Some(hours) = sexagesimal(text, ['h']) {
        if !(0.0..24.0).contains(&hours) {
            bail!("`{text}` is no right ascension: hours are 0 to 24");
        }
        return Ok(hours * DEGREES_PER_HOUR);
    }
    let ra =
        sexagesimal(text, ['d', '\u{b0}']).map_or_else(|| plain(text, "RA", "10h00m24s"), Ok)?;
    if !(0.0..360.0).contains(&ra) {
        bail!(
            "RA is from 0 to 360 degrees, and {ra} is not; the same meridian is {}",
            ra.rem_euclid(360.0)
        );
    }
    Ok(ra)
}

/// Reads a declination: degrees, or `+02d12m00s`.
///
/// # Units
/// Returns degrees.
pub(super) fn parse_dec(text: &str) -> Result<f64> {
    let text = text.trim();
    sexagesimal(text, ['d', '\u{b0}']).map_or_else(|| plain(text, "Dec", "+02d12m00s"), Ok)
}

/// Decimal degrees; what may be hours or degrees is refused.
fn plain(text: &str, what: &str, example: &str) -> Result<f64> {
    if text.contains(':') {
        bail!("{what} is in decimal degrees, or with units like {example}; `{text}` has none");
    }
    parse_number(text.strip_suffix("deg").unwrap_or(text))
}

/// Reads `+02d12m00.5s`, whose first unit is one of some, or a part of it from the left; `None` for what is written otherwise.
fn sexagesimal<const N: usize>(text: &str, first: [char; N]) -> Option<f64> {
    let (sign, rest) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_plain = |part: &str| part.starts_with(|each: char| each.is_ascii_digit());
    let (whole, rest) = rest.split_once(first)?;
    let mut value: f64 = whole.trim().parse().ok().filter(|_| is_plain(whole.trim()))?;
    let mut rest = rest.trim();
    for (units, per_whole) in [(['m', '\u{2032}', '\''], 60.0), (['s', '\u{2033}', '"'], 3_600.0)] {
        let Some((part, behind)) = rest.split_once(units) else { continue };
        let part = part.trim();
        let number: f64 = part.parse().ok().filter(|_| is_plain(part))?;
        if number >= 60.0 {
            return None;
        }
        value += number / per_whole;
        rest = behind.trim();
    }
    rest.is_empty().then_some(sign * value)
}

/// Reads numbers separated by commas, exactly `count` of them.
pub(super) fn parse_numbers(text: &str, count: usize, form: &str) -> Result<Vec<f64>> {
    let numbers = text
        .split(',')
        .map(|part| parse_number(part).with_context(|| format!("`{text}` is not {form}")))
        .collect::<Result<Vec<_>>>()?;
    if numbers.len() != count {
        bail!("`{text}` has {} numbers, {form} has {count}", numbers.len());
    }
    Ok(numbers)
}

/// Reads one finite number.
pub(super) fn parse_number(text: &str) -> Result<f64> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => bail!("`{text}` is not a finite number"),
        Err(_) => bail!("`{text}` is not a number"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        let degrees = |text| parse_angle(text).expect(text);
        assert_eq!(degrees("5"), 5.0);
        assert_eq!(degrees("5deg"), 5.0);
        assert_eq!(degrees("30 arcmin"), 0.5);
        assert_eq!(degrees("36arcsec"), 0.01);
        assert_eq!(degrees("1e-3deg"), 0.001);
        assert_eq!((degrees("3'"), degrees("30m"), degrees("36\"")), (0.05, 0.5, 0.01));
    }

    #[test]
    fn positions_are_read_in_hours_and_degrees() {
        let near = |given: f64, wanted: f64| assert!((given - wanted).abs() < 1e-12, "{given}");
        near(parse_ra("10h00m24s").expect("hours"), 150.1);
        near(parse_ra("10h").expect("hours"), 150.0);
        near(parse_ra("150d06m").expect("degrees"), 150.1);
        near(parse_ra("150.1").expect("degrees"), 150.1);
        near(parse_ra("150.1deg").expect("degrees"), 150.1);
        near(parse_dec("+02d12m00s").expect("north"), 2.2);
        near(parse_dec("-00d30m").expect("south"), -0.5);
        near(parse_dec("-45").expect("south"), -45.0);
        for wrong in ["10:00:24", "24h", "360", "-10", "10h61m", "10h00m24s5", "h", "10hm", ""] {
            assert!(parse_ra(wrong).is_err(), "{wrong}");
        }
        let told = parse_ra("10:00:24").expect_err("no units").to_string();
        assert!(told.contains("decimal degrees") && told.contains("10h00m24s"), "{told}");
    }

    #[test]
    fn what_is_no_angle_is_refused_by_its_text() {
        for text in ["", "deg", "5 parsec", "nan", "inf", "1,2"] {
            let error = format!("{:#}", parse_angle(text).expect_err(text));
            assert!(error.contains("arcmin"), "{error}");
        }
    }

    #[test]
    fn a_wrong_count_says_what_is_wanted() {
        let error = parse_numbers("1,2", 4, "RA1,DEC1,RA2,DEC2").expect_err("two for four");
        assert!(error.to_string().contains("RA1,DEC1,RA2,DEC2"));
    }
}
