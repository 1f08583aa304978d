//! A frame with labelled axes.

use std::ops::Range;

use anyhow::Result;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::colour::{FAINT, GRID, INK};
use super::{Area, SCALE};
use crate::cli::render::significant;

/// Size of words in pixels as shown; the backend makes them a quarter smaller than it is told.
pub(super) const WORDS: f64 = 13.0;

pub(super) type Chart<'a, 'b> =
    ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// What a frame shows.
pub(super) struct Axes<'a> {
    pub(super) x: Range<f64>,
    pub(super) y: Range<f64>,
    /// Empty: no words and no numbers along this axis.
    pub(super) x_label: &'a str,
    pub(super) y_label: &'a str,
    pub(super) x_numbers: &'a dyn Fn(f64) -> String,
    pub(super) y_numbers: &'a dyn Fn(f64) -> String,
    /// Numbers along an axis, about.
    pub(super) x_count: usize,
    pub(super) y_count: usize,
    /// Room above the frame, as shown.
    pub(super) top: u32,
    /// Room to the right of the frame, as shown.
    pub(super) right: u32,
}

/// A number on an axis.
pub(super) fn plain(value: f64) -> String {
    significant(value, 5).replace('-', "−")
}

/// A number on an axis of this range: what rounding left of 0 is 0.
fn without_dust(value: f64, range: &Range<f64>) -> f64 {
    if value.abs() < 1e-9 * (range.end - range.start).abs() { 0.0 } else { value }
}

impl<'a> Axes<'a> {
    /// Axes with plain numbers.
    pub(super) fn new(x: Range<f64>, y: Range<f64>, x_label: &'a str, y_label: &'a str) -> Self {
        Self {
            x,
            y,
            x_label,
            y_label,
            x_numbers: &plain,
            y_numbers: &plain,
            x_count: 7,
            y_count: 7,
            top: 10,
            right: 16,
        }
    }

    /// Draws frame, grid, numbers and words.
    pub(super) fn draw<'b, 'c>(&self, area: &'c Area<'b>) -> Result<Chart<'c, 'b>> {
        let mut builder = ChartBuilder::on(area);
        builder
            .margin_top(self.top * SCALE)
            .margin_right(self.right * SCALE)
            .x_label_area_size(if self.x_label.is_empty() { 6 } else { 46 } * SCALE)
            .y_label_area_size(68 * SCALE);
        let mut chart = builder.build_cartesian_2d(self.x.clone(), self.y.clone())?;
        let numbers = words(12.0, INK);
        let labels = words(WORDS, INK);
        let x_numbers = |value: &f64| {
            if self.x_label.is_empty() {
                String::new()
            } else {
                (self.x_numbers)(without_dust(*value, &self.x))
            }
        };
        let y_numbers = |value: &f64| (self.y_numbers)(without_dust(*value, &self.y));
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID.stroke_width(SCALE))
            .axis_style(INK.stroke_width(SCALE))
            .set_all_tick_mark_size(5 * SCALE)
            .x_labels(self.x_count)
            .y_labels(self.y_count)
            .label_style(numbers)
            .axis_desc_style(labels)
            .x_label_formatter(&x_numbers)
            .y_label_formatter(&y_numbers)
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .draw()?;
        Ok(chart)
    }
}

/// Draws the frame once more, above what was drawn inside.
pub(super) fn frame(chart: &Chart<'_, '_>) -> Result<()> {
    let (x, y) = (chart.x_range(), chart.y_range());
    let corners = [(x.start, y.start), (x.end, y.end)];
    chart.plotting_area().draw(&Rectangle::new(corners, INK.stroke_width(SCALE)))?;
    Ok(())
}

/// Words of a size as shown.
pub(super) fn words(size: f64, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size * 1.24 * f64::from(SCALE)).into_font().color(&colour)
}

/// Words placed by where they begin, end, or have their middle.
pub(super) fn anchored(size: f64, colour: RGBColor, h_pos: HPos) -> TextStyle<'static> {
    words(size, colour).pos(Pos::new(h_pos, VPos::Center))
}

/// A range that holds all values with a little room on both sides; from 0 to 1 without values.
pub(super) fn range_of(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let ends = finite.fold(None, |ends: Option<(f64, f64)>, value| {
        Some(ends.map_or((value, value), |(low, high)| (low.min(value), high.max(value))))
    });
    let (low, high) = ends.unwrap_or((0.0, 1.0));
    let room = if high > low { 0.04 * (high - low) } else { 0.5 * high.abs().max(1e-3) };
    low - room..high + room
}

/// Lists what the lines are, from the upper left corner of an area downwards, each with its colour.
pub(super) fn legend(
    area: &Area<'_>,
    entries: &[(String, RGBColor)],
    at: (i32, i32),
) -> Result<()> {
    let step = 19 * SCALE as i32;
    for (place, (text, colour)) in entries.iter().enumerate() {
        let y = at.1 + place as i32 * step;
        let x = at.0;
        let line = vec![(x, y), (x + 22 * SCALE as i32, y)];
        area.draw(&PathElement::new(line, colour.stroke_width(3 * SCALE)))?;
        let words = anchored(12.0, INK, HPos::Left);
        area.draw(&Text::new(text.clone(), (x + 29 * SCALE as i32, y), words))?;
    }
    Ok(())
}

/// A bar that tells what colours mean, along the right edge of an area, with numbers at its ends and its middle.
pub(super) fn colour_bar(
    area: &Area<'_>,
    colour: &dyn Fn(f64) -> RGBColor,
    numbers: [&str; 3],
    label: &str,
) -> Result<()> {
    const STEPS: i32 = 64;
    let scale = SCALE as i32;
    let (width, height) = area.dim_in_pixel();
    let (left, top) = (width as i32 - 82 * scale, 40 * scale);
    let tall = (height as i32 - 100 * scale).max(STEPS);
    for step in 0..STEPS {
        let y = |step: i32| top + tall - tall * step / STEPS;
        let share = f64::from(step) / f64::from(STEPS - 1);
        let corners = [(left, y(step + 1)), (left + 13 * scale, y(step))];
        area.draw(&Rectangle::new(corners, colour(share).filled()))?;
    }
    for (place, number) in (0..).zip(numbers) {
        let at = (left + 18 * scale, top + tall - tall * place / 2);
        area.draw(&Text::new(number.to_owned(), at, anchored(12.0, INK, HPos::Left)))?;
    }
    let at = (left + 64 * scale, top - 20 * scale);
    area.draw(&Text::new(label.to_owned(), at, anchored(12.0, FAINT, HPos::Right)))?;
    Ok(())
}
