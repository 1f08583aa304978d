//! Which lists may hold a row within a distance of the query.
//!
//! A row `x` of a list with centroid `c` is no nearer to the query than `|q - c| - |x - c|`. In many dimensions that bound
//! is met by no row: differences of vectors are nearly orthogonal. So a list's radius (root mean square of `|x - c|`) is
//! multiplied by a slack that is measured: the least with which the lists of the true neighbours of sampled rows pass.
//! Other than a number of lists, this adapts to queries far from all allowed rows, where many lists are about equally near.
//!
//! Under cosine, unit vectors are taken as points: `|q - c|^2 = 2 - 2 <q, c>`. Under the inner product, which has no
//! triangle, `<q, x> <= <q, c> + |q| |x - c|` takes its place.

use super::RECALL_TARGET;
use crate::index::recall::RecallMeter;
use crate::vector::{Distance, Metric, norm};

/// How numbers of a metric become lengths, for one query.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryScale {
    metric: Metric,
    query_norm: f64,
}

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

/// The radii of the lists and the slack that they are multiplied by.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reach {
    slack: f64,
    radii: Vec<f32>,
}

impl QueryScale {
    pub(super) fn new(metric: Metric, query: &[f32]) -> Self {
        let length = match metric {
            Metric::Cosine | Metric::L2 => 1.0,
            Metric::Ip => norm(query),
        };
        Self { metric, query_norm: if length > 0.0 { length } else { 1.0 } }
    }

    /// The length from the query to a centroid of which FAISS gave the squared distance or the inner product.
    pub(super) fn gap(&self, closeness: f32) -> f64 {
        let closeness = f64::from(closeness);
        match self.metric {
            Metric::L2 => closeness.max(0.0).sqrt(),
            Metric::Cosine => (2.0 - 2.0 * closeness).max(0.0).sqrt(),
            Metric::Ip => -closeness / self.query_norm,
        }
    }

    /// The length that goes with a distance.
    pub(super) fn limit(&self, distance: Distance) -> f64 {
        match self.metric {
            Metric::L2 => distance.value(),
            Metric::Cosine => (2.0 * distance.value()).max(0.0).sqrt(),
            Metric::Ip => distance.value() / self.query_norm,
        }
    }
}

impl Reach {
    /// Takes a slack and the radii, all finite and not negative; `None` if they are not.
    pub(super) fn new(slack: f64, radii: Vec<f32>) -> Option<Self> {
        let sound = |value: f64| value.is_finite() && value >= 0.0;
        let all_sound = sound(slack) && radii.iter().all(|&radius| sound(radius.into()));
        all_sound.then_some(Self { slack, radii })
    }

    /// Measures the slack on the neighbours of each sampled row, nearest first.
    pub(super) fn measured(radii: Vec<f32>, gaps: &[Vec<Gap>], depths: &[usize]) -> Self {
        let slack = depths.iter().map(|&depth| least_slack(gaps, depth)).fold(0.0, f64::max);
        Self { slack, radii }
    }

    /// Whether the list, whose centroid is `gap` away, may hold a row within `limit`.
    pub(super) fn covers(&self, list: usize, gap: f64, limit: f64) -> bool {
        let radius = self.radii.get(list).copied().unwrap_or(f32::INFINITY);
        gap - self.slack * f64::from(radius) <= limit
    }

    pub(super) fn slack(&self) -> f64 {
        self.slack
    }

    pub(super) fn radii(&self) -> &[f32] {
        &self.radii
    }
}

/// The least slack with which the lists of the last ten of the `depth` nearest neighbours pass, where the farthest of them
/// is the limit: as if a predicate had excluded all that are nearer.
fn least_slack(gaps: &[Vec<Gap>], depth: usize) -> f64 {
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
        meter.recall().is_some_and(|recall| recall.lower >= RECALL_TARGET)
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
    fn lengths_of_every_metric_are_of_one_kind() {
        let (query, centroid) = ([0.6f32, 0.8], [1.0f32, 0.0]);
        let cosine = QueryScale::new(Metric::Cosine, &query);
        let l2 = QueryScale::new(Metric::L2, &query);
        let between = Metric::L2.distance(&query, &centroid);
        assert!((cosine.gap(0.6) - between.value()).abs() < 1e-6);
        assert!(
            (cosine.limit(Metric::Cosine.distance(&query, &centroid)) - between.value()).abs()
                < 1e-6
        );
        assert!((l2.gap(0.8) - between.value()).abs() < 1e-6);
        assert_eq!(l2.limit(between), between.value());
        let ip = QueryScale::new(Metric::Ip, &[3.0, 4.0]);
        assert_eq!(ip.gap(10.0), -2.0);
        assert_eq!(ip.limit(Metric::Ip.distance(&[3.0, 4.0], &[2.0, 1.0])), -2.0);
        assert_eq!(QueryScale::new(Metric::Ip, &[0.0, 0.0]).gap(0.0), 0.0);
    }

    #[test]
    fn the_slack_lets_the_measured_neighbours_pass_and_little_more() {
        // Every centroid is 3 away, every radius 2, the tenth neighbour 1 and the hundredth 2.5.
        let gap = |place: u32| Gap {
            neighbour: if place < 10 { 1.0 } else { 2.5 },
            centroid: 3.0,
            radius: 2.0,
        };
        let gaps: Vec<Vec<Gap>> = (0..256).map(|_| (0..100).map(gap).collect()).collect();
        let reach = Reach::measured(vec![2.0, 0.5], &gaps, &[10, 100]);
        assert_eq!(reach.slack(), 1.0);
        assert!(reach.covers(0, 3.0, 1.0) && !reach.covers(1, 3.0, 1.0));
        assert_eq!(Reach::measured(vec![2.0], &gaps, &[100]).slack(), 0.25);
    }

    #[test]
    fn unsound_numbers_are_refused() {
        assert!(Reach::new(0.5, vec![0.0, 1.0]).is_some());
        assert_eq!(Reach::new(f64::NAN, vec![]), None);
        assert_eq!(Reach::new(1.0, vec![-1.0]), None);
        assert_eq!(Reach::new(1.0, vec![f32::INFINITY]), None);
    }
}
