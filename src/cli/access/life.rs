//! How long a token lasts, as people write it.

use std::str::FromStr;

/// A time in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Life {
    pub(super) seconds: u64,
}

impl FromStr for Life {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const UNITS: [(char, u64); 5] =
            [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400), ('w', 7 * 86_400)];
        let wrong = || format!("`{text}` is not a time such as 45m, 12h, 90d or 8w");
        let unit = text.chars().last().ok_or_else(wrong)?;
        let (_, factor) = UNITS.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let count: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
        let seconds = count.checked_mul(factor).filter(|seconds| *seconds > 0);
        seconds.map(|seconds| Self { seconds }).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_nonsense_is_refused() {
        let seconds = |text: &str| text.parse::<Life>().map(|life| life.seconds).ok();
        assert_eq!(seconds("90d"), Some(7_776_000));
        assert_eq!(seconds("12h"), Some(43_200));
        assert_eq!(seconds("8w"), Some(4_838_400));
        assert_eq!(seconds("1s"), Some(1));
        for text in ["", "90", "d", "-1d", "1.5h", "0d", "9y", "5é", "99999999999999999999d", "1 d"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
