//! Telling how far a long fit is, and ending it when nobody waits any more.

use std::sync::atomic::{AtomicBool, Ordering};

use super::LearnError;

/// Who watches a fit.
#[derive(Clone, Copy)]
pub struct Progress<'a> {
    told: &'a (dyn Fn(&str, u64, u64) + Sync),
    stop: &'a AtomicBool,
}

impl std::fmt::Debug for Progress<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Progress").field("stop", self.stop).finish_non_exhaustive()
    }
}

static NEVER: AtomicBool = AtomicBool::new(false);

impl<'a> Progress<'a> {
    /// `told` is called with what is being done, how many steps of it are done, and how many there are (0: not known);
    /// raising `stop` ends the fit at its next step.
    pub fn new(told: &'a (dyn Fn(&str, u64, u64) + Sync), stop: &'a AtomicBool) -> Self {
        Self { told, stop }
    }

    /// Nobody watches.
    pub fn silent() -> Self {
        Self { told: &|_, _, _| {}, stop: &NEVER }
    }

    /// Tells how far it is, and whether to go on.
    ///
    /// # Errors
    /// [`LearnError::Stopped`] when the flag was raised.
    pub fn step(&self, stage: &str, done: u64, total: u64) -> Result<(), LearnError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(LearnError::Stopped);
        }
        (self.told)(stage, done, total);
        Ok(())
    }
}
