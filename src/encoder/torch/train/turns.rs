//! Between two batches a training lets encoding go first.

use std::time::{Duration, Instant};

/// How often it is looked whether there is still something to be encoded.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A training waits at most so many times as long as it has learned: it is sure of a tenth of the time.
const PATIENCE: u32 = 9;

/// Keeps account of how long a training has learned since it waited.
#[derive(Debug)]
pub(super) struct Courtesy {
    /// Since when it learns.
    since: Instant,
}

impl Default for Courtesy {
    fn default() -> Self {
        Self { since: Instant::now() }
    }
}

impl Courtesy {
    /// Waits while there is something to be encoded and the training's share of the time allows it; `go_on` is asked all the
    /// while, and its error ends the waiting.
    pub(super) fn give_way<E>(
        &mut self,
        is_busy: impl Fn() -> bool,
        go_on: impl Fn() -> Result<(), E>,
    ) -> Result<(), E> {
        go_on()?;
        let allowance = self.since.elapsed().saturating_mul(PATIENCE);
        let began = Instant::now();
        while is_busy() && began.elapsed() < allowance {
            std::thread::sleep(LOOK_EVERY);
            go_on()?;
        }
        self.since = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_for_others_no_longer_than_its_share_allows() {
        let mut courtesy = Courtesy::default();
        let always = || true;
        let go_on = || Ok::<(), ()>(());
        std::thread::sleep(Duration::from_millis(5));
        let began = Instant::now();
        courtesy.give_way(always, go_on).expect("goes on");
        assert!(began.elapsed() >= Duration::from_millis(9 * 5), "{:?}", began.elapsed());
        let began = Instant::now();
        std::thread::sleep(Duration::from_millis(5));
        courtesy.give_way(|| false, go_on).expect("goes on");
        assert!(began.elapsed() < Duration::from_millis(45), "it waits for nobody");
        assert_eq!(courtesy.give_way(always, || Err("gone")), Err("gone"));
    }
}
