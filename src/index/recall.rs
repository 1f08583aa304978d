//! How much of the true answer an approximate one holds, and how sure that is.

use crate::vector::Distance;

/// Normal quantile of a two-sided 95 % interval.
const QUANTILE_95: f64 = 1.959_964;

/// Recall@k over a number of queries, with its 95 % confidence interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// Share of the true neighbours that were found, from 0 to 1.
    pub mean: f64,
    /// Lower end of the interval.
    pub lower: f64,
    /// Upper end of the interval.
    pub upper: f64,
    /// Queries asked.
    pub queries: u64,
}

impl Recall {
    /// Before anything was measured: anything from 0 to 1.
    pub const UNKNOWN: Self = Self { mean: 0.0, lower: 0.0, upper: 1.0, queries: 0 };

    /// Whether the mean, less one standard error, is at least `target`.
    pub fn reaches(&self, target: f64) -> bool {
        self.mean - (self.mean - self.lower) / QUANTILE_95 >= target
    }
}

/// Collects the outcome of queries one by one.
#[derive(Debug, Clone, Default)]
pub struct RecallMeter {
    queries: u64,
    found: u64,
    wanted: u64,
    sum: f64,
    sum_of_squares: f64,
}

impl RecallMeter {
    /// Counts how many of the `k` true neighbours an answer holds.
    ///
    /// A hit as near as the last true neighbour counts whichever row it is, since equal distances are equally good. Both
    /// lists are sorted by distance; without a true neighbour the query counts for nothing.
    pub fn compare<T, F>(&mut self, truth: &[(Distance, T)], found: &[(Distance, F)], k: usize) {
        let truth = &truth[..k.min(truth.len())];
        let Some((farthest, _)) = truth.last() else { return };
        let hits = found.iter().take(k).filter(|(distance, _)| distance <= farthest).count();
        self.push(hits.min(truth.len()), truth.len());
    }

    /// Counts a query that found `found` of `wanted` neighbours.
    pub fn push(&mut self, found: usize, wanted: usize) {
        if wanted == 0 {
            return;
        }
        let share = found as f64 / wanted as f64;
        self.queries += 1;
        self.found += found as u64;
        self.wanted += wanted as u64;
        self.sum += share;
        self.sum_of_squares += share * share;
    }

    /// Mean and interval; `None` before the first query.
    ///
    /// The variance is that between queries, since neighbours of one query are found or missed together, but never less
    /// than the binomial one with a hit and a miss added, so that a run without a miss does not claim certainty.
    pub fn recall(&self) -> Option<Recall> {
        if self.queries == 0 {
            return None;
        }
        let queries = self.queries as f64;
        let wanted = self.wanted as f64;
        let mean = self.sum / queries;
        let between = (self.sum_of_squares / queries - mean * mean).max(0.0) / queries;
        let smoothed = (self.found as f64 + 1.0) / (wanted + 2.0);
        let binomial = smoothed * (1.0 - smoothed) / wanted;
        let half_width = QUANTILE_95 * between.max(binomial).sqrt();
        Some(Recall {
            mean,
            lower: (mean - half_width).max(0.0),
            upper: (mean + half_width).min(1.0),
            queries: self.queries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(distances: &[f64]) -> Vec<(Distance, usize)> {
        let number = |&value: &f64| Distance::new(value).expect("a number");
        distances.iter().map(number).zip(0..).collect()
    }

    #[test]
    fn counts_by_distance_so_that_ties_are_equally_good() {
        let mut meter = RecallMeter::default();
        meter.compare(&at(&[0.0, 1.0, 1.0, 1.0]), &at(&[0.0, 1.0, 1.0]), 3);
        assert_eq!(meter.recall().map(|recall| recall.mean), Some(1.0));
        meter.compare(&at(&[0.0, 1.0]), &at(&[0.0, 1.5]), 2);
        assert_eq!(meter.recall().map(|recall| recall.mean), Some(0.75));
        meter.compare(&at(&[]), &at(&[0.0]), 2);
        assert_eq!(meter.recall().map(|recall| recall.queries), Some(2));
    }

    #[test]
    fn the_interval_covers_and_shrinks() {
        let mut meter = RecallMeter::default();
        assert_eq!(meter.recall(), None);
        meter.push(10, 10);
        let one = meter.recall().expect("one query");
        assert!(one.lower < 0.9 && one.upper == 1.0, "{one:?}");
        (0..999).for_each(|_| meter.push(10, 10));
        let many = meter.recall().expect("queries");
        assert!(many.lower > 0.999 && many.lower < 1.0 && many.mean == 1.0, "{many:?}");
    }

    #[test]
    fn half_found_gives_the_textbook_interval() {
        let mut meter = RecallMeter::default();
        (0..400).for_each(|query| meter.push(query % 2, 1));
        let recall = meter.recall().expect("queries");
        assert!((recall.mean - 0.5).abs() < 1e-12);
        assert!(
            (recall.lower - 0.451).abs() < 1e-3 && (recall.upper - 0.549).abs() < 1e-3,
            "{recall:?}"
        );
    }
}
