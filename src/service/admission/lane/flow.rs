//! What is known of somebody who sends queries.

use std::time::{Duration, Instant};

use super::{LATELY, Slot};

/// What lies back so long counts for a third.
const MEMORY: Duration = Duration::from_secs(1);

/// Seconds of processor time in each second, of late.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Meter {
    sum: f64,
    at: Option<Instant>,
}

impl Meter {
    fn now(&self, now: Instant) -> f64 {
        let Some(at) = self.at else { return 0.0 };
        let passed = now.saturating_duration_since(at).as_secs_f64();
        self.sum * (-passed / MEMORY.as_secs_f64()).exp()
    }

    /// Adds seconds, or takes them back.
    pub(super) fn add(&mut self, seconds: f64) {
        let now = Instant::now();
        (self.sum, self.at) = ((self.now(now) + seconds).max(0.0), Some(now));
    }

    pub(super) fn rate(&self, now: Instant) -> f64 {
        self.now(now) / MEMORY.as_secs_f64()
    }
}

/// What is known of somebody who sends queries.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Flow {
    /// Virtual time at which his next query may begin.
    pub(super) next: u64,
    pub(super) waiting: usize,
    pub(super) running: usize,
    pub(super) weight: u32,
    /// What his queries took.
    pub(super) used: Meter,
    /// What they would have taken, had none been refused.
    pub(super) wanted: Meter,
    /// When he asked last.
    asked: Option<Instant>,
}

/// Virtual time that a query takes, in nanoseconds.
pub(super) fn tag_length(cost: Duration, weight: u32) -> u64 {
    let nanos = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX);
    (nanos / u64::from(weight.max(1))).max(1)
}

impl Flow {
    /// Whether he has asked lately, or something of his waits or runs.
    pub(super) fn is_recent(&self, now: Instant) -> bool {
        let is_lately = |asked| now.saturating_duration_since(asked) < LATELY;
        self.running + self.waiting > 0 || self.asked.is_some_and(is_lately)
    }

    /// He asks for a query of such a cost.
    pub(super) fn asks(&mut self, weight: u32, cost: Duration) {
        (self.weight, self.asked) = (weight, Some(Instant::now()));
        self.wanted.add(cost.as_secs_f64());
    }

    /// What was charged beforehand becomes what a query took. One that ran behind the others had no tag, and took as long as
    /// they let it.
    pub(super) fn took(&mut self, slot: &Slot, took: Duration) {
        if slot.behind.is_none() {
            let length = |time| tag_length(time, slot.sender.weight);
            let more = took.as_secs_f64() - slot.cost.as_secs_f64();
            self.used.add(more);
            self.wanted.add(more);
            self.next = self.next.saturating_sub(length(slot.cost)).saturating_add(length(took));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_tells_what_was_lately_and_forgets() {
        let mut meter = Meter::default();
        assert!(meter.rate(Instant::now()).abs() < 1e-12);
        meter.add(0.5);
        assert!(
            (0.49..=0.5).contains(&meter.rate(Instant::now())),
            "{}",
            meter.rate(Instant::now())
        );
        meter.add(-0.3);
        assert!(
            (0.18..=0.2).contains(&meter.rate(Instant::now())),
            "{}",
            meter.rate(Instant::now())
        );
        meter.add(-5.0);
        assert!(meter.rate(Instant::now()).abs() < 1e-12, "{}", meter.rate(Instant::now()));
        let before = Instant::now().checked_sub(MEMORY).expect("up for so long");
        let meter = Meter { sum: 1.0, at: Some(before) };
        assert!(
            (0.36..0.37).contains(&meter.rate(Instant::now())),
            "{}",
            meter.rate(Instant::now())
        );
    }
}
