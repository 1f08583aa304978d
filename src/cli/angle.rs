//! Angles as people write them.

use anyhow::{Context, Result, bail};

const ARCMIN_PER_DEGREE: f64 = 60.0;
const ARCSEC_PER_DEGREE: f64 = 3_600.0;

/// Reads an angle with the unit suffix `deg`, `arcmin` or `arcsec`, or in bare degrees.
///
/// # Units
/// Returns degrees.
pub(super) fn parse_angle(text: &str) -> Result<f64> {
    let text = text.trim();
    let (number, per_degree) = if let Some(number) = text.strip_suffix("arcmin") {
        (number, ARCMIN_PER_DEGREE)
    } else if let Some(number) = text.strip_suffix("arcsec") {
        (number, ARCSEC_PER_DEGREE)
    } else if let Some(number) = text.strip_suffix("deg") {
        (number, 1.0)
    } else {
        (text, 1.0)
    };
    Ok(parse_number(number).with_context(|| {
        format!("`{text}` is not an angle; write it like 0.5deg, 30arcmin or 12arcsec")
    })? / per_degree)
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
