//! Progress on standard error: a bar on a terminal, nothing elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Redraws a second; more is only heat.
const REDRAWS_PER_SECOND: u8 = 8;

/// A bar over so many rows; without a number, a count that runs.
pub(super) fn rows_bar(total: Option<u64>, label: &str) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
    let bar = ProgressBar::with_draw_target(total, target);
    let template = if total.is_some() {
        "{msg} {wide_bar} {human_pos}/{human_len} rows  {per_sec}  {eta} left"
    } else {
        "{msg} {spinner} {human_pos} rows  {per_sec}"
    };
    bar.set_style(style(template));
    bar.set_message(label.to_owned());
    bar
}

/// A bar over the steps of one stage of a longer work.
pub(super) fn stage_bar() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
    let bar = ProgressBar::with_draw_target(Some(0), target);
    bar.set_style(style("{msg} {wide_bar} {human_pos}/{human_len}  {eta} left"));
    bar
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file, checked by the test below.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_can_be_drawn() {
        for bar in [rows_bar(Some(10), "a"), rows_bar(None, "b"), stage_bar()] {
            bar.inc(1);
            bar.finish_and_clear();
        }
    }
}
