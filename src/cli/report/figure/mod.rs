//! Figures as SVG: light, printable, with words at a size that can be read.
//!
//! Coordinates of the backend are whole pixels. Figures are drawn at twice the size at which they are shown, so that a step
//! of one pixel is not seen.

mod axes;
mod colour;
mod confusion;
mod curves;
mod scatter;
mod sky;

pub(super) use confusion::confusion;
pub(super) use curves::{Curve, calibration, few_shot, roc};
pub(super) use scatter::{Scatter, scatter};
pub(super) use sky::{Shown, sky};

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;

/// What figures are drawn on.
type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Drawn pixels for each that is shown.
pub(super) const SCALE: u32 = 2;

/// Draws on a canvas of this size as shown, and gives the SVG.
fn draw(width: u32, height: u32, paint: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let size = (width * SCALE, height * SCALE);
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        paint(&area)?;
        area.present()?;
    }
    Ok(svg)
}

/// Takes every n-th, so that at most so many remain: enough to see, and few enough to open.
fn thinned<T>(values: impl ExactSizeIterator<Item = T>, most: usize) -> impl Iterator<Item = T> {
    let step = values.len().div_ceil(most.max(1)).max(1);
    values.step_by(step)
}

/// The value below which a share of the values lies; 0 without values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let place = (share * values.len().saturating_sub(1) as f64).round() as usize;
    values.get(place).copied().unwrap_or(0.0)
}
