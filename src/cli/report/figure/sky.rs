//! Where on the sky predictions are wrong.

use std::collections::BTreeMap;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, Chart, anchored, colour_bar, frame};
use super::colour::{FAINT, INK, rising, signed};
use super::{Area, SCALE, draw, quantile};
use crate::cli::render::significant;
use crate::sky::{Degrees, Radians};

/// Beyond so many objects the mean of those that lie together is drawn.
const POINTS_MAX: usize = 1_500;

/// An extent up to which a part of the sky is drawn as a plane, in degrees.
const PLANE_DEGREES: f64 = 60.0;

/// Cells of means across the figure.
const CELLS: f64 = 70.0;

/// What colours tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli::report) enum Shown {
    /// Numbers too low and too high.
    Signed,
    /// Shares from 0 to 1.
    Share,
}

/// An object on the map.
type Placed = (f64, f64, f64);

/// Draws values at positions in degrees: `(ra, dec, value)`. All of the sky in Aitoff's projection, or a small part of it as
/// a plane; east is to the left.
pub(in crate::cli::report) fn sky(
    objects: &[(f64, f64, f64)],
    shown: Shown,
    label: &str,
) -> Result<String> {
    // A multiple of ten degrees, from which the numbers along the axis are counted.
    let centre = 10.0 * (centre_of(objects.iter().map(|(ra, _, _)| *ra)) / 10.0).round();
    let offset = |ra: f64| wrapped(ra - centre);
    let decs = || objects.iter().map(|(_, dec, _)| *dec);
    let (low, high) = (decs().fold(90.0, f64::min), decs().fold(-90.0, f64::max));
    let east = objects.iter().map(|(ra, _, _)| offset(*ra).abs()).fold(0.0, f64::max);
    let squeeze = radians(f64::midpoint(low, high)).cos();
    let is_plane = 2.0 * east * squeeze <= PLANE_DEGREES && high - low <= PLANE_DEGREES;
    // One scale for all: beyond it colours stay at their ends.
    let sizes: Vec<f64> = objects.iter().map(|(_, _, value)| value.abs()).collect();
    let most = match shown {
        Shown::Signed => quantile(&sizes, 0.9).max(1e-9),
        Shown::Share => 1.0,
    };
    let colour = |value: f64| match shown {
        Shown::Signed => signed(value / most),
        Shown::Share => rising(value),
    };
    let height = if is_plane { 420 } else { 340 };
    draw(580, height, |area| {
        let placed: Vec<Placed> = if is_plane {
            objects.iter().map(|(ra, dec, value)| (-offset(*ra), *dec, *value)).collect()
        } else {
            let place = |(ra, dec, value): &(f64, f64, f64)| {
                let (x, y) = aitoff(offset(*ra), *dec);
                (x, y, *value)
            };
            objects.iter().map(place).collect()
        };
        if is_plane {
            let chart = plane(area, &placed, centre, squeeze)?;
            values(&chart, &placed, &colour)?;
            frame(&chart)?;
        } else {
            let chart = globe(area)?;
            values(&chart, &placed, &colour)?;
            graticule(area, &chart, centre)?;
        }
        let high = significant(most, 2);
        let low = if shown == Shown::Signed { format!("−{high}") } else { "0".to_owned() };
        let middle = if shown == Shown::Signed { "0" } else { "0.5" };
        let scale = |share: f64| match shown {
            Shown::Signed => signed(2.0 * share - 1.0),
            Shown::Share => rising(share),
        };
        colour_bar(area, &scale, [&low, middle, &high], label)
    })
}

/// A part of the sky, degrees of right ascension as wide as they are at its middle.
fn plane<'a, 'b>(
    area: &'a Area<'b>,
    placed: &[Placed],
    centre: f64,
    squeeze: f64,
) -> Result<Chart<'a, 'b>> {
    const WIDE: f64 = 412.0;
    const TALL: f64 = 364.0;
    let ends = |of: fn(&Placed) -> f64| {
        let least = placed.iter().map(of).fold(f64::INFINITY, f64::min);
        let most = placed.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        (f64::midpoint(least, most), (most - least).max(0.01) * 1.06)
    };
    let ((middle_x, wide), (middle_y, tall)) = (ends(|each| each.0), ends(|each| each.1));
    let squeeze = squeeze.max(0.01);
    // The same number of degrees on the sky for a pixel in both directions.
    let degrees = (wide * squeeze / WIDE).max(tall / TALL);
    let (half_x, half_y) = (degrees * WIDE / squeeze / 2.0, degrees * TALL / 2.0);
    let x = middle_x - half_x..middle_x + half_x;
    let y = (middle_y - half_y).max(-90.0)..(middle_y + half_y).min(90.0);
    let ra = |x: f64| significant(round_off((centre - x).rem_euclid(360.0)), 6);
    let mut axes = Axes::new(x, y, "right ascension (deg)", "declination (deg)");
    axes.x_numbers = &ra;
    axes.right = 100;
    axes.draw(area)
}

/// The whole sky.
fn globe<'a, 'b>(area: &'a Area<'b>) -> Result<Chart<'a, 'b>> {
    let mut builder = ChartBuilder::on(area);
    builder.margin_left(34 * SCALE).margin_right(100 * SCALE).margin_top(22 * SCALE);
    builder.margin_bottom(44 * SCALE);
    let (x, y) = (std::f64::consts::PI, std::f64::consts::FRAC_PI_2);
    Ok(builder.build_cartesian_2d(-x..x, -y..y)?)
}

/// Meridians and parallels every 30 degrees, the edge, and what they are called: above the objects.
fn graticule(area: &Area<'_>, chart: &Chart<'_, '_>, centre: f64) -> Result<()> {
    let plot = chart.plotting_area();
    let along = |from: i32, to: i32| (from..=to).step_by(3).map(f64::from);
    let grid = FAINT.mix(0.35).stroke_width(SCALE);
    for meridian in (-150..=150).step_by(30).map(f64::from) {
        let line: Vec<(f64, f64)> = along(-90, 90).map(|dec| aitoff(meridian, dec)).collect();
        plot.draw(&PathElement::new(line, grid))?;
    }
    for parallel in (-60..=60).step_by(30).map(f64::from) {
        let line: Vec<(f64, f64)> = along(-180, 180).map(|ra| aitoff(ra, parallel)).collect();
        plot.draw(&PathElement::new(line, grid))?;
    }
    for edge in [-180.0, 180.0] {
        let line: Vec<(f64, f64)> = along(-90, 90).map(|dec| aitoff(edge, dec)).collect();
        plot.draw(&PathElement::new(line, INK.stroke_width(2 * SCALE)))?;
    }
    for meridian in (-120..=120).step_by(60).map(f64::from) {
        let text = format!("{:.0}°", round_off(centre + meridian));
        let (x, y) = aitoff(meridian, 0.0);
        plot.draw(&Text::new(text, (x + 0.04, y - 0.09), anchored(11.0, INK, HPos::Left)))?;
    }
    for parallel in [-60.0, -30.0, 30.0, 60.0] {
        let (x, y) = aitoff(180.0, parallel);
        let text = format!("{parallel:+.0}°").replace('-', "−");
        plot.draw(&Text::new(text, (x - 0.18, y), anchored(11.0, FAINT, HPos::Right)))?;
    }
    let (width, height) = area.dim_in_pixel();
    let scale = SCALE as i32;
    let at = ((width as i32 - 66 * scale) / 2, height as i32 - 18 * scale);
    let text = "RA and Dec (deg, ICRS), Aitoff projection, east to the left";
    area.draw(&Text::new(text, at, anchored(12.0, INK, HPos::Center)))?;
    Ok(())
}

/// Draws each object, or the mean of each cell where they are too many.
fn values(
    chart: &Chart<'_, '_>,
    placed: &[Placed],
    colour: &dyn Fn(f64) -> RGBColor,
) -> Result<()> {
    let plot = chart.plotting_area();
    if placed.len() <= POINTS_MAX {
        let mut sorted = placed.to_vec();
        // The large ones lie on top.
        sorted.sort_by(|first, second| first.2.abs().total_cmp(&second.2.abs()));
        let size = if placed.len() > 500 { 2 * SCALE + 1 } else { 3 * SCALE };
        for (x, y, value) in sorted {
            plot.draw(&Circle::new((x, y), size, colour(value).mix(0.85).filled()))?;
        }
        return Ok(());
    }
    let (x_range, y_range) = (chart.x_range(), chart.y_range());
    let (pixels_x, pixels_y) = plot.dim_in_pixel();
    let wide = (x_range.end - x_range.start) / CELLS;
    let rows = CELLS * f64::from(pixels_y) / f64::from(pixels_x.max(1));
    let tall = (y_range.end - y_range.start) / rows.max(1.0);
    let mut cells: BTreeMap<(i64, i64), (f64, f64)> = BTreeMap::new();
    for (x, y, value) in placed {
        let place = |at: f64, start: f64, size: f64| ((at - start) / size).floor() as i64;
        let cell = (place(*x, x_range.start, wide), place(*y, y_range.start, tall));
        let (sum, count) = cells.entry(cell).or_default();
        *sum += value;
        *count += 1.0;
    }
    for ((column, row), (sum, count)) in cells {
        let corner = |column: i64, row: i64| {
            (x_range.start + wide * column as f64, y_range.start + tall * row as f64)
        };
        let corners = [corner(column, row), corner(column + 1, row + 1)];
        plot.draw(&Rectangle::new(corners, colour(sum / count).filled()))?;
    }
    Ok(())
}

fn radians(degrees: f64) -> f64 {
    Radians::from(Degrees(degrees)).0
}

/// Aitoff's projection of degrees east of the middle and degrees north; east is to the left.
fn aitoff(east: f64, dec: f64) -> (f64, f64) {
    let (half, dec) = (radians(east) / 2.0, radians(dec));
    let angle = (dec.cos() * half.cos()).clamp(-1.0, 1.0).acos();
    let stretch = if angle < 1e-9 { 1.0 } else { angle / angle.sin() };
    (-2.0 * dec.cos() * half.sin() * stretch, dec.sin() * stretch)
}

/// The middle of right ascensions: the direction of their mean on the circle; on the whole sky 180 degrees.
fn centre_of(ras: impl Iterator<Item = f64>) -> f64 {
    let (mut x, mut y, mut count) = (0.0, 0.0, 0.0);
    for ra in ras {
        let (sin, cos) = radians(ra).sin_cos();
        (x, y, count) = (x + cos, y + sin, count + 1.0);
    }
    let length = f64::hypot(x, y) / f64::max(count, 1.0);
    if length < 0.8 {
        // Far-spread objects: the usual middles of maps.
        return if x > 0.2 * count { 0.0 } else { 180.0 };
    }
    Degrees::from(Radians(y.atan2(x))).0.rem_euclid(360.0)
}

/// An angle from -180 to 180 degrees.
fn wrapped(degrees: f64) -> f64 {
    (degrees + 180.0).rem_euclid(360.0) - 180.0
}

/// What is left after rounding to a millionth, so that 359.9999999 is 360, which is 0.
fn round_off(degrees: f64) -> f64 {
    ((degrees * 1e6).round() / 1e6).rem_euclid(360.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn east_is_to_the_left_and_poles_are_above_and_below() {
        assert!(aitoff(90.0, 0.0).0 < 0.0);
        let (x, y) = aitoff(0.0, 90.0);
        assert!(x.abs() < 1e-9 && (y - std::f64::consts::FRAC_PI_2).abs() < 1e-9);
        let (x, y) = aitoff(180.0, 0.0);
        assert!((x + std::f64::consts::PI).abs() < 1e-6 && y.abs() < 1e-9);
        assert_eq!(aitoff(0.0, 0.0), (0.0, 0.0));
    }

    #[test]
    fn a_field_across_the_beginning_of_right_ascension_has_its_middle_there() {
        let centre = centre_of([359.0, 1.0, 0.5].into_iter());
        assert!(wrapped(centre).abs() < 1.0, "{centre}");
        assert!((centre_of((0..360).map(f64::from)) - 180.0).abs() < 1e-9);
        assert_eq!(wrapped(359.0), -1.0);
        let svg = sky(&[(359.0, 1.0, 0.1), (1.0, -1.0, -0.1)], Shown::Signed, "x").expect("drawn");
        assert!(svg.contains("right ascension") && svg.contains(">\n359"), "{svg}");
    }
}
