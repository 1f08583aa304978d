//! Which lists may hold a row within a distance of the query.
//!
//! A row `x` of a list with centroid `c` is no nearer to the query than `|q - c| - |x - c|`. In many dimensions that bound
//! is met by no row: differences of vectors are nearly orthogonal. So a list's radius (root mean square of `|x - c|`) is
//! multiplied by a slack that is measured: the least with which the lists of the true neighbours of sampled rows pass.
//! Other than a number of lists, this adapts to queries far from all allowed rows, where many lists are about equally near.
//!
//! Under cosine, unit vectors are taken as points. Under the inner product, which has no triangle,
//! `<q, x> <= <q, c> + |q| |x - c|` takes its place.

use crate::index::recall::RecallMeter;

/// A true neighbour of a sampled row, in lengths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    /// From the query to the neighbour.
    pub(super) neighbour: f64,
    /// From the query to the centroid of the neighbour's list.
    pub(super) centroid: f64,
    /// Radius of that list.
    pub(super) radius: f64,
}

/// The slack that radii are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reach {
    slack: f64,
}

impl Reach {
    /// Every list that can have a row within the limit, but for the rarest of rows.
    pub(super) const FARTHEST: Self = Self { slack: SLACK_MAX };

    /// Takes a slack; `None` when it is no number, or negative.
    pub(super) fn new(slack: f64) -> Option<Self> {
        (slack.is_finite() && slack >= 0.0).then_some(Self { slack })
    }

    /// Measures the slack on the neighbours of each sampled row, nearest first.
    pub(super) fn measured(gaps: &[Vec<Gap>], depths: &[usize], target: f64) -> Self {
        let slacks = depths.iter().map(|&depth| least_slack(gaps, depth, target));
        Self { slack: slacks.fold(0.0, f64::max) }
    }

    /// The one that reaches farthest.
    pub(super) fn widest(reaches: impl Iterator<Item = Self>) -> Self {
        Self { slack: reaches.map(|reach| reach.slack).fold(0.0, f64::max) }
    }

    /// Whether a list of this radius, whose centroid is `gap` away, may hold a row within `limit`.
    pub(super) fn covers(self, radius: f32, gap: f64, limit: f64) -> bool {
        gap - self.slack * f64::from(radius) <= limit
    }

    pub(super) fn slack(self) -> f64 {
        self.slack
    }
}

/// The least slack with which the lists of the last ten of the `depth` nearest neighbours pass, where the farthest of them
/// is the limit: as if a predicate had excluded all that are nearer.
fn least_slack(gaps: &[Vec<Gap>], depth: usize, target: f64) -> f64 {
    let mut needed: Vec<Vec<f64>> = Vec::with_capacity(gaps.len());
    for gaps in gaps {
        let depth = depth.min(gaps.len());
        let last = &gaps[depth.saturating_sub(WINDOW)..depth];
        let Some(farthest) = last.last() else { continue };
        let mut slacks: Vec<f64> = last
            .iter()
            .map(|gap| {
                ((gap.centroid - farthest.neighbour) / gap.radius.max(f64::MIN_POSITIVE))
                    .clamp(0.0, SLACK_MAX)
            })
            .collect();
        slacks.sort_unstable_by(f64::total_cmp);
        needed.push(slacks);
    }
    let mut choices: Vec<f64> = needed.iter().flatten().copied().collect();
    choices.sort_unstable_by(f64::total_cmp);
    let reaches = |slack: f64| {
        let mut meter = RecallMeter::default();
        for slacks in &needed {
            meter.push(slacks.partition_point(|&each| each <= slack), slacks.len());
        }
        meter.recall().is_some_and(|recall| recall.reaches(target))
    };
    let place = choices.partition_point(|&slack| !reaches(slack));
    choices.get(place).copied().unwrap_or(SLACK_MAX)
}

/// Neighbours that a simulated predicate leaves.
const WINDOW: usize = 10;

/// With it, a list reaches as far as its farthest row may lie.
const SLACK_MAX: f64 = 8.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slack_lets_the_measured_neighbours_pass_and_little_more() {
        // Every centroid is 3 away, every radius 2, the tenth neighbour 1 and the hundredth 2.5.
        let gap = |place: u32| Gap {
            neighbour: if place < 10 { 1.0 } else { 2.5 },
            centroid: 3.0,
            radius: 2.0,
        };
        let gaps: Vec<Vec<Gap>> = (0..256).map(|_| (0..100).map(gap).collect()).collect();
        let reach = Reach::measured(&gaps, &[10, 100], 0.99);
        assert_eq!(reach.slack(), 1.0);
        assert!(reach.covers(2.0, 3.0, 1.0) && !reach.covers(0.5, 3.0, 1.0));
        assert_eq!(Reach::measured(&gaps, &[100], 0.99).slack(), 0.25);
    }

    #[test]
    fn unsound_numbers_are_refused() {
        assert!(Reach::new(0.5).is_some());
        assert_eq!(Reach::new(f64::NAN), None);
        assert_eq!(Reach::new(-1.0), None);
    }
}
