//! Progress on standard error: a bar on a terminal, elsewhere a line now and then of what takes long.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use tonic::Streaming;

use super::failure::{of_status, say};
use super::render::thousands;

/// Redraws a second; more is only heat.
const REDRAWS_PER_SECOND: u8 = 8;

/// Time between two lines where there is no terminal; what ends before is silent.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What a long work tells where there is no terminal, such as in the log of a nightly job.
pub(super) struct Lines {
    told: Option<Instant>,
}

impl Lines {
    /// None where there is a terminal: it has a bar.
    pub(super) fn new() -> Self {
        Self { told: (!std::io::stderr().is_terminal()).then(Instant::now) }
    }

    /// Writes how far the work is, if it is time.
    pub(super) fn tell(&mut self, text: impl FnOnce() -> String) {
        let Some(told) = &mut self.told else { return };
        if told.elapsed() >= LINE_EVERY {
            say(&text());
            *told = Instant::now();
        }
    }
}

/// A step of a stage in words.
pub(super) fn step_text(stage: &str, done: u64, total: u64) -> String {
    match total {
        0 => stage.to_owned(),
        _ => format!("{stage}: {} of {}", thousands(done), thousands(total)),
    }
}

/// A bar over so many rows; without a number, a count that runs.
pub(super) fn rows_bar(total: Option<u64>, label: &str) -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
    let bar = ProgressBar::with_draw_target(total, target);
    let template = if total.is_some() {
        "{msg} {wide_bar} {human_pos}/{human_len} rows  {rate}  {eta} left"
    } else {
        "{msg} {spinner} {human_pos} rows  {rate}"
    };
    bar.set_style(style(template));
    bar.set_message(label.to_owned());
    bar
}

/// A bar over the steps of one stage of a longer work.
pub(super) fn stage_bar() -> ProgressBar {
    let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
    let bar = ProgressBar::with_draw_target(Some(0), target);
    bar.set_style(style(COUNTED));
    bar
}

/// A stage whose steps are counted, and one of which nothing is known but that it goes on.
const COUNTED: &str = "{msg} {wide_bar} {human_pos}/{human_len}  {eta} left";
const GOING_ON: &str = "{msg} {spinner}";

/// Shows how far a stage is. What the one before it said of steps and time is forgotten.
pub(super) fn show_stage(bar: &ProgressBar, stage: Option<String>, done: u64, total: u64) {
    if let Some(stage) = stage.filter(|stage| *stage != bar.message()) {
        bar.set_style(style(if total == 0 { GOING_ON } else { COUNTED }));
        bar.reset();
        bar.set_message(stage);
    }
    bar.set_length(total);
    bar.set_position(done);
}

/// Shows the messages of a long work on a bar until the last one. `step` takes what a message says and tells how far it is:
/// the stage, where it has one, the steps that are done, and how many there are.
///
/// # Errors
/// What the server says when the work fails.
pub(super) async fn watch<T>(
    mut messages: Streaming<T>,
    bar: &ProgressBar,
    mut step: impl FnMut(T) -> (Option<String>, u64, u64),
) -> Result<()> {
    let mut lines = Lines::new();
    while let Some(message) = messages.message().await.map_err(|status| of_status(&status))? {
        let (stage, done, total) = step(message);
        show_stage(bar, stage, done, total);
        lines.tell(|| step_text(&bar.message(), done, total));
    }
    bar.finish_and_clear();
    Ok(())
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this file, checked by the test below.
    let style = ProgressStyle::with_template(template);
    style.unwrap_or_else(|_| ProgressStyle::default_bar()).with_key("rate", write_rate)
}

/// Rows a second, without the decimals that nobody reads.
fn write_rate(state: &ProgressState, text: &mut dyn std::fmt::Write) {
    // A line that cannot be drawn is drawn again soon.
    let _ = write!(text, "{} rows/s", thousands(state.per_sec().round() as u64));
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
        let bar = stage_bar();
        for (stage, done, total) in
            [("read", 0, 0), ("train", 3, 7), ("train", 7, 7), ("write", 1, 2)]
        {
            show_stage(&bar, Some(stage.to_owned()), done, total);
            assert_eq!(
                (bar.message().as_str(), bar.position(), bar.length()),
                (stage, done, Some(total))
            );
        }
        bar.finish_and_clear();
    }
}
