//! When there is more than can be done, and who asks for more than he can have.

use std::time::{Duration, Instant};

use super::{Flow, Kind, LATELY, Lane, Sender, State};

/// How long a shortage lasts after the queue was full; twice as long each time that the next one follows at once: whoever is
/// served while the queue fills again has waited.
const LASTS: Duration = Duration::from_secs(1);
const LASTS_MAX: Duration = Duration::from_secs(64);

/// Who asks for less than somebody else by this factor asks for far less.
const FAR_LESS: f64 = 2.0;

/// A time in which there is more than can be done. It ends by itself, and not only when nobody is refused any more: callers who
/// are refused ask again, and would keep it going for ever. Where there is still too much, the queue is full again at once.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    until: Option<Instant>,
    length: Duration,
    /// Since when a slot is free, or since when somebody was refused although one is.
    free: Option<Instant>,
}

impl Shortage {
    pub(super) fn is_there(&self) -> bool {
        let now = Instant::now();
        let is_lately = |free| now.saturating_duration_since(free) < LATELY;
        self.until.is_some_and(|until| now < until) && self.free.is_none_or(is_lately)
    }

    /// Some slots, or none, are free from now on. Where one is for a second the shortage is over, however long it was to last.
    pub(super) fn slots(&mut self, are_free: bool) {
        self.end_early();
        self.free = are_free.then(|| self.free.unwrap_or_else(Instant::now));
    }

    /// There is too little, also where a slot is free.
    pub(super) fn goes_on(&mut self) {
        self.end_early();
        self.free = self.free.map(|_| Instant::now());
    }

    fn end_early(&mut self) {
        if !self.is_there() {
            let now = Instant::now();
            self.until = self.until.filter(|until| *until <= now);
        }
    }

    #[cfg(test)]
    pub(super) fn lasts(&mut self, length: Duration) {
        (self.until, self.free) = (Instant::now().checked_add(length), None);
    }

    /// Begins one; `false` where there is one.
    pub(super) fn begins(&mut self) -> bool {
        let now = Instant::now();
        self.goes_on();
        if self.until.is_some_and(|until| now < until) {
            return false;
        }
        let follows = self.until.is_some_and(|until| now < until + self.length);
        self.length = if follows { (self.length * 2).min(LASTS_MAX) } else { LASTS };
        self.until = Some(now + self.length);
        true
    }
}

/// How somebody stands among those who ask lately.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody else asks.
    Alone,
    /// He asks for no more than he can have beside the others.
    Modest,
    /// He asks for more.
    Hungry,
    /// He asks for more, has had more than an equal share, and beside him are those who ask for far less and have not.
    Greedy,
}

/// How somebody stands.
pub(super) fn standing(lane: &Lane, state: &State, sender: &Sender) -> Standing {
    let now = Instant::now();
    let weight = f64::from(sender.weight.max(1));
    let own = state.flows.get(&sender.name).copied().unwrap_or_default();
    let recent = state.flows.iter().filter(|(_, flow)| flow.is_recent(now));
    let others = recent.filter(|(name, _)| **name != sender.name);
    let weight_of = |flow: &Flow| f64::from(flow.weight.max(1));
    // Weights, and what is wanted and had for each unit of weight.
    let per_weight = |flow: &Flow| {
        let weight = weight_of(flow);
        (weight, flow.wanted.rate(now) / weight, flow.used.rate(now) / weight)
    };
    let others: Vec<(f64, f64, f64)> = others.map(|(_, flow)| per_weight(flow)).collect();
    if others.is_empty() {
        return Standing::Alone;
    }
    let slots = lane.slots as f64;
    let all: f64 = weight + others.iter().map(|(weight, ..)| weight).sum::<f64>();
    let share = slots / all;
    if lane.kind == Kind::Long {
        let is_modest = ((own.running + own.waiting) as f64) < (share * weight).ceil();
        return if is_modest { Standing::Modest } else { Standing::Greedy };
    }
    let (_, wanted, used) = per_weight(&own);
    let wants =
        others.iter().map(|(weight, wanted, _)| (*weight, *wanted)).chain([(weight, wanted)]);
    let level = level(slots, wants.collect());
    if wanted <= level {
        return Standing::Modest;
    }
    // Equals who all ask for too much do not stand behind each other, whoever is ahead by chance.
    let protects = others
        .iter()
        .any(|(_, theirs, had)| *theirs <= level || (*had < share && *theirs * FAR_LESS < wanted));
    if protects && used > share { Standing::Greedy } else { Standing::Hungry }
}

/// Slots for each unit of weight that nobody can have more of, if those who want less have what they want: shares that are fair
/// in the sense of max-min. Without bound where there is enough for all.
fn level(slots: f64, mut all: Vec<(f64, f64)>) -> f64 {
    all.sort_by(|(_, left), (_, right)| left.total_cmp(right));
    let mut weights: f64 = all.iter().map(|(weight, _)| weight).sum();
    let mut left = slots;
    for (weight, wanted) in all {
        if wanted * weights > left {
            return left / weights;
        }
        left -= weight * wanted;
        weights -= weight;
    }
    f64::INFINITY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_does_not_want_is_there_for_the_rest() {
        let close = |left: f64, right: f64| (left - right).abs() < 1e-9;
        assert!(level(2.0, vec![(1.0, 0.5), (1.0, 1.4)]).is_infinite());
        let light = (1.0, 0.2);
        assert!(close(level(2.0, vec![light, light, (1.0, 20.0), light, light]), 1.2));
        assert!(close(level(2.0, vec![(1.0, 5.0); 8]), 0.25));
        // Three units of weight share what the modest one leaves.
        assert!(close(level(2.0, vec![(2.0, 9.0), (1.0, 0.5), (1.0, 9.0)]), 0.5));
        assert!(close(level(1.0, vec![(1.0, 9.0)]), 1.0));
    }

    #[test]
    fn a_shortage_ends_and_lasts_longer_when_it_comes_back_at_once() {
        let mut shortage = Shortage::default();
        assert!(!shortage.is_there());
        let mut lengths = Vec::new();
        for _ in 0..8 {
            assert!(shortage.begins() && shortage.is_there() && !shortage.begins());
            lengths.push(shortage.length.as_secs());
            shortage.until = Some(Instant::now());
        }
        assert_eq!(lengths, [1, 2, 4, 8, 16, 32, 64, 64]);
        shortage.until = Instant::now().checked_sub(LASTS_MAX + LASTS);
        assert!(shortage.begins());
        assert_eq!(shortage.length, LASTS);
        // It ends before its time where slots are free.
        shortage.until = Instant::now().checked_add(LASTS_MAX);
        shortage.slots(true);
        assert!(shortage.is_there());
        shortage.free = Instant::now().checked_sub(LATELY);
        shortage.goes_on();
        assert!(!shortage.is_there() && shortage.begins() && shortage.is_there());
        shortage.free = Instant::now().checked_sub(LATELY);
        assert!(!shortage.is_there());
        shortage.slots(false);
        assert!(!shortage.is_there() && shortage.begins() && shortage.is_there());
        assert_eq!(shortage.length, LASTS);
    }
}
