//! Predicted against true, and what is left.

use std::ops::Range;

use anyhow::Result;
use plotters::prelude::*;

use super::axes::{Axes, Chart, frame};
use super::colour::{INK, line, rising};
use super::{Area, SCALE, draw, quantile};

/// Beyond so many points a map of their density is drawn.
const POINTS_MAX: usize = 1_500;

/// Cells of the density map along the horizontal axis.
const CELLS: usize = 80;

/// What is drawn.
pub(in crate::cli::report) struct Scatter<'a> {
    /// What is true and what is predicted, in the target's unit.
    pub(in crate::cli::report) points: &'a [(f64, f64)],
    /// The target's name, with its unit.
    pub(in crate::cli::report) target: &'a str,
    /// Whether residuals are divided by 1 + true.
    pub(in crate::cli::report) is_redshift: bool,
}

impl Scatter<'_> {
    /// What the upper panel shows of both axes.
    fn range(&self) -> Range<f64> {
        let both: Vec<f64> = self.points.iter().flat_map(|(x, y)| [*x, *y]).collect();
        let truths: Vec<f64> = self.points.iter().map(|(truth, _)| *truth).collect();
        // A few wild predictions do not squeeze all others into a corner.
        let low = quantile(&both, 0.002).min(quantile(&truths, 0.0));
        let high = quantile(&both, 0.998).max(quantile(&truths, 1.0));
        let room = 0.03 * (high - low).max(1e-9);
        low - room..high + room
    }

    /// What is left of a point: predicted - true, of a redshift over 1 + true.
    fn residual(&self, (truth, predicted): (f64, f64)) -> f64 {
        let error = predicted - truth;
        if self.is_redshift { error / (1.0 + truth) } else { error }
    }

    /// How far the panel of residuals reaches on both sides of 0.
    fn reach(&self) -> f64 {
        let sizes: Vec<f64> = self.points.iter().map(|point| self.residual(*point).abs()).collect();
        (1.15 * quantile(&sizes, 0.98)).max(1e-9)
    }

    /// Objects that lie beyond the upper panel, and beyond that of the residuals.
    pub(in crate::cli::report) fn beyond(&self) -> (usize, usize) {
        let (range, reach) = (self.range(), self.reach());
        let above = self.points.iter().filter(|(_, predicted)| !range.contains(predicted));
        let below = self.points.iter().filter(|point| self.residual(**point).abs() >= reach);
        (above.count(), below.count())
    }
}

/// Draws predicted against true with the line on which they are equal, and below it the residuals.
pub(in crate::cli::report) fn scatter(scatter: &Scatter<'_>) -> Result<String> {
    draw(450, 540, |area| {
        let (upper, lower) = area.split_vertically(360 * SCALE);
        let range = scatter.range();
        above(&upper, scatter, &range)?;
        below(&lower, scatter, &range)
    })
}

fn above(area: &Area<'_>, scatter: &Scatter<'_>, range: &Range<f64>) -> Result<()> {
    let predicted = format!("predicted {}", scatter.target);
    let axes = Axes::new(range.clone(), range.clone(), "", &predicted);
    let mut chart = axes.draw(area)?;
    points(&mut chart, scatter.points, 1.0)?;
    let equal = vec![(range.start, range.start), (range.end, range.end)];
    chart.draw_series([PathElement::new(equal, line(1).stroke_width(2 * SCALE))])?;
    frame(&chart)
}

fn below(area: &Area<'_>, scatter: &Scatter<'_>, range: &Range<f64>) -> Result<()> {
    let with_residual = |point: &(f64, f64)| (point.0, scatter.residual(*point));
    let residuals: Vec<(f64, f64)> = scatter.points.iter().map(with_residual).collect();
    let most = scatter.reach();
    let truth = format!("true {}", scatter.target);
    let label = if scatter.is_redshift { "Δz / (1 + z)" } else { "predicted − true" };
    let mut axes = Axes::new(range.clone(), -most..most, &truth, label);
    axes.y_count = 5;
    let mut chart = axes.draw(area)?;
    points(&mut chart, &residuals, CELL_ASPECT)?;
    let zero = vec![(range.start, 0.0), (range.end, 0.0)];
    chart.draw_series([PathElement::new(zero, line(1).stroke_width(2 * SCALE))])?;
    let medians = running_medians(&residuals);
    // With a rim, so that it is seen on many points.
    chart.draw_series([PathElement::new(medians.clone(), WHITE.stroke_width(5 * SCALE))])?;
    chart.draw_series([PathElement::new(medians, INK.stroke_width(3 * SCALE))])?;
    frame(&chart)
}

/// How tall the panel of residuals is for its width.
const CELL_ASPECT: f64 = 0.35;

/// Draws points, or how many there are in each cell where they are too many; those outside of the frame are left out.
fn points(chart: &mut Chart<'_, '_>, points: &[(f64, f64)], aspect: f64) -> Result<()> {
    let (x, y) = (chart.x_range(), chart.y_range());
    let inside = |point: &&(f64, f64)| x.contains(&point.0) && y.contains(&point.1);
    let points: Vec<(f64, f64)> = points.iter().filter(inside).copied().collect();
    if points.len() <= POINTS_MAX {
        let opacity = if points.len() > 300 { 0.45 } else { 0.7 };
        let style = line(0).mix(opacity).filled();
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 2 * SCALE + 1, style)))?;
        return Ok(());
    }
    let rows = ((CELLS as f64 * aspect) as usize).max(1);
    let (wide, tall) = ((x.end - x.start) / CELLS as f64, (y.end - y.start) / rows as f64);
    let mut counts = std::collections::BTreeMap::new();
    for (at_x, at_y) in points {
        let cell = (((at_x - x.start) / wide) as usize, ((at_y - y.start) / tall) as usize);
        *counts.entry(cell).or_insert(0_u32) += 1;
    }
    let most = f64::from(counts.values().copied().max().unwrap_or(1)).ln_1p();
    chart.draw_series(counts.into_iter().map(|((column, row), count)| {
        let corner = |column: usize, row: usize| {
            (x.start + wide * column as f64, y.start + tall * row as f64)
        };
        let colour = rising(f64::from(count).ln_1p() / most);
        Rectangle::new([corner(column, row), corner(column + 1, row + 1)], colour.filled())
    }))?;
    Ok(())
}

/// The median residual along the truth, in up to 20 bins of equal counts.
fn running_medians(residuals: &[(f64, f64)]) -> Vec<(f64, f64)> {
    const BINS: usize = 20;
    const OBJECTS_MIN: usize = 15;
    let mut sorted = residuals.to_vec();
    sorted.sort_by(|first, second| first.0.total_cmp(&second.0));
    let size = sorted.len().div_ceil(BINS).max(OBJECTS_MIN);
    let bins = sorted.chunks(size).filter(|bin| bin.len() >= OBJECTS_MIN);
    bins.map(|bin| {
        let (x, y): (Vec<f64>, Vec<f64>) = bin.iter().copied().unzip();
        (quantile(&x, 0.5), quantile(&y, 0.5))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_seen_is_counted() {
        let mut points: Vec<(f64, f64)> =
            (0..1_000).map(|at| (f64::from(at), f64::from(at) + 1.0)).collect();
        points[500].1 = 1e6;
        let scatter = Scatter { points: &points, target: "z", is_redshift: false };
        assert_eq!(scatter.beyond(), (1, 1));
    }
}
