//! Which classes are taken for which.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::axes::{anchored, words};
use super::colour::{INK, rising};
use super::{SCALE, draw};
use crate::cli::render::thousands;

/// Beyond so many classes cells have no numbers.
const NUMBERS_MAX: usize = 12;

/// Letters of a class that are shown.
const NAME_MAX: usize = 16;

/// Draws counts, row by row: true class, then predicted class. Colours are shares of the true class.
pub(in crate::cli::report) fn confusion(classes: &[String], counts: &[u64]) -> Result<String> {
    let number = classes.len().max(1);
    let cell = (420 / number).clamp(12, 96) as u32;
    let side = cell * number as u32;
    let longest = classes.iter().map(|name| shortened(name).chars().count()).max().unwrap_or(0);
    let room = 44 + 7 * longest as u32;
    draw(room + side + 20, side + room + 14, |area| {
        let scale = SCALE as i32;
        let (left, top) = (room as i32 * scale, 10 * scale);
        let step = cell as i32 * scale;
        for (row, line) in counts.chunks(number).enumerate() {
            let whole = line.iter().sum::<u64>().max(1) as f64;
            for (column, count) in line.iter().enumerate() {
                let (x, y) = (left + column as i32 * step, top + row as i32 * step);
                let share = *count as f64 / whole;
                let corners = [(x, y), (x + step, y + step)];
                let fill = if *count == 0 { WHITE } else { rising(share) };
                area.draw(&Rectangle::new(corners, fill.filled()))?;
                if number > NUMBERS_MAX {
                    continue;
                }
                let ink = if share > 0.5 { WHITE } else { INK };
                let middle = Pos::new(HPos::Center, VPos::Center);
                let at = |down: i32| (x + step / 2, y + step / 2 + down * scale);
                let percent = format!("{:.0} %", 100.0 * share);
                let style = words(if cell < 44 { 11.0 } else { 13.0 }, ink).pos(middle);
                let up = if cell < 44 { 0 } else { -8 };
                area.draw(&Text::new(percent, at(up), style))?;
                if cell >= 44 {
                    let style = words(11.0, ink).pos(middle);
                    area.draw(&Text::new(thousands(*count), at(10), style))?;
                }
            }
        }
        for place in 0..=number as i32 {
            let (at, end) = (place * step, number as i32 * step);
            let style = WHITE.stroke_width(SCALE);
            area.draw(&PathElement::new(vec![(left + at, top), (left + at, top + end)], style))?;
            area.draw(&PathElement::new(vec![(left, top + at), (left + end, top + at)], style))?;
        }
        let end = number as i32 * step;
        let corners = [(left, top), (left + end, top + end)];
        area.draw(&Rectangle::new(corners, INK.stroke_width(SCALE)))?;
        names(area, classes, (left, top), step)
    })
}

fn names(
    area: &super::Area<'_>,
    classes: &[String],
    (left, top): (i32, i32),
    step: i32,
) -> Result<()> {
    let scale = SCALE as i32;
    let end = step * classes.len() as i32;
    for (place, name) in classes.iter().enumerate() {
        let middle = step * place as i32 + step / 2;
        let style = anchored(12.0, INK, HPos::Right);
        let at = (left - 7 * scale, top + middle);
        area.draw(&Text::new(shortened(name), at, style))?;
        let at = (left + middle, top + end + 8 * scale);
        let style = words(12.0, INK).transform(FontTransform::Rotate270);
        area.draw(&Text::new(shortened(name), at, style.pos(Pos::new(HPos::Right, VPos::Center))))?;
    }
    let (_, height) = area.dim_in_pixel();
    let centre = Pos::new(HPos::Center, VPos::Center);
    let at = (left + end / 2, height as i32 - 12 * scale);
    area.draw(&Text::new("predicted class", at, words(13.0, INK).pos(centre)))?;
    let style = words(13.0, INK).transform(FontTransform::Rotate270).pos(centre);
    area.draw(&Text::new("true class", (12 * scale, top + end / 2), style))?;
    Ok(())
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_MAX {
        return name.to_owned();
    }
    name.chars().take(NAME_MAX - 1).chain(['…']).collect()
}
