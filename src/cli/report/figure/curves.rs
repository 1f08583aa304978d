//! Curves: what a threshold costs, whether probabilities are honest, and what few examples teach.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::axes::{Axes, anchored, frame, legend, plain, range_of};
use super::colour::{FAINT, INK, line};
use super::{SCALE, draw, thinned};
use crate::cli::render::{significant, thousands};
use crate::learn::metrics::CalibrationBin;

/// Points of a curve that are drawn at most.
const CURVE_POINTS: usize = 300;

/// The label of a number that has no lower end, and the end of its axis.
const R2: &str = "R²";
const R2_MIN: f64 = -0.25;

/// A curve with a name.
pub(in crate::cli::report) struct Curve {
    pub(in crate::cli::report) name: String,
    /// Where it goes.
    pub(in crate::cli::report) points: Vec<(f64, f64)>,
    /// The interval at each point, where there is one.
    pub(in crate::cli::report) band: Vec<Option<(f64, f64)>>,
}

impl Curve {
    /// Puts the points into the order of the horizontal axis, each with its interval.
    pub(in crate::cli::report) fn sort(&mut self) {
        let mut both: Vec<_> = self.points.iter().copied().zip(self.band.iter().copied()).collect();
        both.sort_by(|(first, _), (second, _)| first.0.total_cmp(&second.0));
        (self.points, self.band) = both.into_iter().unzip();
    }
}

/// Draws receiver operating characteristics.
pub(in crate::cli::report) fn roc(curves: &[Curve]) -> Result<String> {
    draw(440, 420, |area| {
        let axes = Axes::new(-0.01..1.01, -0.01..1.01, "false positive rate", "true positive rate");
        let mut chart = axes.draw(area)?;
        let chance = vec![(0.0, 0.0), (1.0, 1.0)];
        chart.draw_series(DashedLineSeries::new(chance, 10, 8, FAINT.stroke_width(SCALE)))?;
        for (place, curve) in curves.iter().enumerate() {
            let last = curve.points.last().copied();
            let points = thinned(curve.points.iter().copied(), CURVE_POINTS).chain(last);
            let style = line(place).stroke_width(2 * SCALE + 1);
            chart.draw_series([PathElement::new(points.collect::<Vec<_>>(), style)])?;
        }
        frame(&chart)?;
        let entries: Vec<_> = names(curves);
        let rows = entries.len() as i32;
        let scale = SCALE as i32;
        legend(area, &entries, (200 * scale, (352 - 19 * rows) * scale))
    })
}

fn names(curves: &[Curve]) -> Vec<(String, RGBColor)> {
    curves.iter().enumerate().map(|(place, curve)| (curve.name.clone(), line(place))).collect()
}

/// Draws observed against predicted, and below it how many objects are in each bin.
pub(in crate::cli::report) fn calibration(bins: &[CalibrationBin], label: &str) -> Result<String> {
    draw(440, 420, |area| {
        let (upper, lower) = area.split_vertically(290 * SCALE);
        let axes = Axes::new(-0.01..1.01, -0.01..1.01, "", "fraction observed");
        let mut chart = axes.draw(&upper)?;
        let honest = vec![(0.0, 0.0), (1.0, 1.0)];
        chart.draw_series(DashedLineSeries::new(honest, 10, 8, FAINT.stroke_width(SCALE)))?;
        let points: Vec<(f64, f64)> =
            bins.iter().map(|bin| (bin.predicted, bin.observed)).collect();
        // Two standard errors of a share.
        let bars = bins.iter().map(|bin| {
            let spread = 2.0 * (bin.observed * (1.0 - bin.observed) / bin.count as f64).sqrt();
            let ends = [bin.observed - spread, bin.observed + spread];
            let ends = ends.map(|end| (bin.predicted, end.clamp(0.0, 1.0)));
            PathElement::new(ends.to_vec(), line(0).stroke_width(SCALE))
        });
        chart.draw_series(bars)?;
        chart.draw_series([PathElement::new(points.clone(), line(0).stroke_width(2 * SCALE))])?;
        let dot = line(0).filled();
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 4 * SCALE, dot)))?;
        frame(&chart)?;

        let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1) as f64;
        let mut axes = Axes::new(-0.01..1.01, 0.0..1.12 * most, label, "objects");
        let count = |value: f64| thousands(value.round() as u64);
        axes.y_numbers = &count;
        axes.y_count = 3;
        let mut chart = axes.draw(&lower)?;
        chart.draw_series(bins.iter().map(|bin| {
            let corners = [(bin.predicted - 0.03, 0.0), (bin.predicted + 0.03, bin.count as f64)];
            Rectangle::new(corners, line(0).mix(0.55).filled())
        }))?;
        frame(&chart)
    })
}

/// Draws a number, named by the label, against the number of training examples.
pub(in crate::cli::report) fn few_shot(curves: &[Curve], label: &str) -> Result<String> {
    const PLOT_WIDTH: u32 = 480;
    draw(720, 400, |area| {
        let points = || curves.iter().flat_map(|curve| &curve.points);
        let ends = curves.iter().flat_map(|curve| curve.band.iter().flatten());
        let values = points().map(|(_, y)| *y).chain(ends.flat_map(|(low, high)| [*low, *high]));
        // Far below what a mean would predict, how far is of no interest.
        let floor = if label == R2 { R2_MIN } else { f64::NEG_INFINITY };
        let mut y = range_of(values.map(|value| value.max(floor)));
        y.start = y.start.max(floor);
        let floor = y.start;
        let x = range_of(points().map(|(x, _)| x.log10()));
        let mut counts: Vec<u64> = points().map(|(x, _)| x.round() as u64).collect();
        counts.sort_unstable();
        counts.dedup();
        let mut axes = Axes::new(x, y, "training examples", label);
        let number = |x: f64| power(x);
        axes.x_numbers = &number;
        axes.right = 720 - PLOT_WIDTH - 4;
        axes.x_count = 5;
        let mut chart = axes.draw(area)?;
        for (place, curve) in curves.iter().enumerate() {
            let colour = line(place);
            let at: Vec<(f64, f64)> = curve.points.iter().map(|(x, y)| (x.log10(), *y)).collect();
            for (band, (x, _)) in curve.band.iter().zip(&at) {
                let Some((low, high)) = band else { continue };
                if *high < floor {
                    continue;
                }
                let bar = vec![(*x, low.max(floor)), (*x, *high)];
                chart.draw_series([PathElement::new(bar, colour.stroke_width(SCALE))])?;
            }
            let dots = at.iter().filter(|(_, y)| *y >= floor);
            chart.draw_series(dots.map(|at| Circle::new(*at, 4 * SCALE, colour.filled())))?;
            for line in above(&at, floor) {
                chart.draw_series([PathElement::new(line, colour.stroke_width(2 * SCALE))])?;
            }
        }
        let plot = chart.plotting_area();
        let y = chart.y_range().start;
        // A small stroke for each number of examples that was tried.
        let tall = 0.015 * (chart.y_range().end - y);
        for count in &counts {
            let x = (*count as f64).log10();
            plot.draw(&PathElement::new(vec![(x, y), (x, y + tall)], INK.stroke_width(SCALE)))?;
        }
        // The whole training set is seldom a number of the axis.
        if let Some(count) = counts.last() {
            let at = ((*count as f64).log10(), y + 3.0 * tall);
            plot.draw(&Text::new(thousands(*count), at, anchored(12.0, INK, HPos::Right)))?;
        }
        frame(&chart)?;
        let scale = SCALE as i32;
        let mut entries = names(curves);
        for ((name, _), curve) in entries.iter_mut().zip(curves) {
            name.push_str(&outside(curve, floor));
        }
        legend(area, &entries, ((PLOT_WIDTH as i32 + 12) * scale, 24 * scale))
    })
}

/// What the legend says of a curve that is not seen, or only a part of which is.
fn outside(curve: &Curve, floor: f64) -> String {
    let below = curve.points.iter().filter(|(_, y)| *y < floor).count();
    match below {
        0 => String::new(),
        all if all == curve.points.len() => format!(" (below {})", plain(floor)),
        _ => format!(" (partly below {})", plain(floor)),
    }
}

/// The parts of a line that lie above a floor.
fn above(points: &[(f64, f64)], floor: f64) -> Vec<Vec<(f64, f64)>> {
    let part = |ends: &[(f64, f64)]| {
        let [first, second] = ends else { return None };
        let crossing = || {
            let share = (floor - first.1) / (second.1 - first.1);
            (first.0 + share * (second.0 - first.0), floor)
        };
        match (first.1 >= floor, second.1 >= floor) {
            (true, true) => Some(vec![*first, *second]),
            (true, false) => Some(vec![*first, crossing()]),
            (false, true) => Some(vec![crossing(), *second]),
            (false, false) => None,
        }
    };
    points.windows(2).filter_map(part).collect()
}

/// The number of examples at a place of a logarithmic axis.
fn power(x: f64) -> String {
    let count = 10.0_f64.powf(x);
    if count >= 1e4 { thousands(count.round() as u64) } else { significant(count, 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_that_is_not_seen_is_told() {
        let curve = |points: &[(f64, f64)]| Curve {
            name: "mlp".to_owned(),
            points: points.to_vec(),
            band: vec![None; points.len()],
        };
        assert_eq!(outside(&curve(&[(30.0, 0.1), (100.0, 0.2)]), -0.25), "");
        assert_eq!(
            outside(&curve(&[(30.0, -498.0), (100.0, 0.2)]), -0.25),
            " (partly below −0.25)"
        );
        let hidden = curve(&[(30.0, -498.0), (1_000.0, -9.0)]);
        assert_eq!(outside(&hidden, -0.25), " (below −0.25)");
        let seen = curve(&[(30.0, 0.1), (8_030.0, 0.2)]);
        let svg = few_shot(&[seen, hidden], R2).expect("drawn");
        assert!(svg.contains("(below −0.25)") && svg.contains("8,030"), "{svg}");
    }
}
