//! Tells how far something long has come.

use std::time::{Duration, Instant};

/// How often. What ends before says nothing.
const EVERY: Duration = Duration::from_secs(30);

/// How far something has come that takes minutes.
pub(crate) struct Progress {
    what: &'static str,
    of: u64,
    done: u64,
    began: Instant,
    told: Instant,
}

impl Progress {
    pub(crate) fn new(what: &'static str, of: u64) -> Self {
        let began = Instant::now();
        Self { what, of, done: 0, began, told: began }
    }

    /// One more is done.
    pub(crate) fn step(&mut self) {
        self.done += 1;
        if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            let took = self.began.elapsed().as_secs_f64();
            let left = took / self.done as f64 * self.of.saturating_sub(self.done) as f64;
            eprintln!(
                "{} of {} {} in {took:.0} s, about {left:.0} s to go",
                self.done, self.of, self.what
            );
        }
    }
}
