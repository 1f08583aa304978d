//! Colours that are told apart by people who see fewer of them, and on paper.

use plotters::style::RGBColor;

/// Words and axes.
pub(super) const INK: RGBColor = RGBColor(38, 42, 51);

/// Words of less weight.
pub(super) const FAINT: RGBColor = RGBColor(108, 115, 128);

/// Lines behind everything.
pub(super) const GRID: RGBColor = RGBColor(228, 231, 236);

/// Colours of lines (Okabe and Ito 2008, "Color Universal Design").
const LINES: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(120, 94, 60),
    RGBColor(90, 90, 90),
];

/// From little to much.
const RISING: [RGBColor; 5] = [
    RGBColor(226, 237, 248),
    RGBColor(158, 200, 226),
    RGBColor(74, 145, 198),
    RGBColor(20, 86, 152),
    RGBColor(8, 37, 84),
];

/// From too low over right to too high.
const SIGNED: [RGBColor; 5] = [
    RGBColor(33, 92, 168),
    RGBColor(134, 180, 218),
    RGBColor(222, 222, 222),
    RGBColor(236, 156, 118),
    RGBColor(178, 42, 42),
];

/// The colour of the n-th line.
pub(super) fn line(place: usize) -> RGBColor {
    LINES[place % LINES.len()]
}

/// The colour of a share from 0, little, to 1, much.
pub(super) fn rising(share: f64) -> RGBColor {
    between(&RISING, share)
}

/// The colour of a number from -1, too low, to 1, too high.
pub(super) fn signed(value: f64) -> RGBColor {
    between(&SIGNED, f64::midpoint(value, 1.0))
}

fn between(stops: &[RGBColor; 5], share: f64) -> RGBColor {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let place = share * (stops.len() - 1) as f64;
    let below = (place.floor() as usize).min(stops.len() - 2);
    let (from, to) = (stops[below], stops[below + 1]);
    let part = place - below as f64;
    let mix = |from: u8, to: u8| {
        (f64::from(from) + (f64::from(to) - f64::from(from)) * part).round() as u8
    };
    RGBColor(mix(from.0, to.0), mix(from.1, to.1), mix(from.2, to.2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middle_are_the_stops() {
        assert_eq!(rising(0.0), RISING[0]);
        assert_eq!(rising(1.0), RISING[4]);
        assert_eq!(rising(7.0), RISING[4]);
        assert_eq!(rising(f64::NAN), RISING[0]);
        assert_eq!(signed(0.0), SIGNED[2]);
        assert_eq!(signed(-1.0), SIGNED[0]);
    }
}
