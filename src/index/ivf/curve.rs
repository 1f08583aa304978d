//! How many lists hold the nearest rows, as measured on the data itself.

use crate::index::recall::RecallMeter;

/// Lists to probe as a function of depth, the number of nearest rows that have to lie in them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProbeCurve {
    /// `(depth, probes)`, both ascending and at least 1. The last is all rows in all lists.
    points: Vec<(f64, f64)>,
}

impl ProbeCurve {
    /// Takes points that are ascending in depth and not descending in probes; `None` if they are not.
    pub(super) fn new(points: Vec<(f64, f64)>) -> Option<Self> {
        let sound = |&(depth, probes): &(f64, f64)| {
            depth.is_finite() && probes.is_finite() && depth >= 1.0 && probes >= 1.0
        };
        let ascending = points.is_sorted_by(|left, right| left.0 < right.0 && left.1 <= right.1);
        (!points.is_empty() && ascending && points.iter().all(sound)).then_some(Self { points })
    }

    /// Measures the curve.
    ///
    /// `ranks` holds, for each sampled query, the place of the list of each of its neighbours, nearest neighbour first,
    /// where the lists are ordered by nearness to that query.
    pub(super) fn measured(
        ranks: &[Vec<u32>],
        depths: &[usize],
        lists: usize,
        rows: usize,
        target: f64,
    ) -> Self {
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(depths.len() + 1);
        let mut least = 1;
        for &depth in depths.iter().filter(|&&depth| depth < rows) {
            least = fewest_probes(ranks, depth, least, lists, target);
            points.push((depth as f64, least as f64));
        }
        points.push((rows as f64, lists as f64));
        Self { points }
    }

    /// The curve that asks for as many probes as any of some, measured at the same depths.
    pub(super) fn widest(curves: &[Self]) -> Self {
        // Without any, one list is as good as another: of vectors that are all alike.
        let mut points: Vec<(f64, f64)> =
            curves.first().map_or_else(|| vec![(1.0, 1.0)], |curve| curve.points.clone());
        for curve in curves {
            for (point, other) in points.iter_mut().zip(&curve.points) {
                point.1 = point.1.max(other.1);
            }
        }
        Self { points }
    }

    /// Lists to probe so that they hold the `depth` nearest rows: interpolated between the measured depths on logarithmic
    /// axes, since neighbourhoods grow by powers.
    pub(super) fn probes(&self, depth: f64) -> usize {
        let above = self.points.partition_point(|point| point.0 < depth);
        let probes = match (
            above.checked_sub(1).and_then(|below| self.points.get(below)),
            self.points.get(above),
        ) {
            (Some(below), Some(above)) => {
                let share = (depth / below.0).ln() / (above.0 / below.0).ln();
                below.1 * (above.1 / below.1).powf(share)
            }
            (Some(only), None) | (None, Some(only)) => only.1,
            (None, None) => 1.0,
        };
        // A whisker less, so that rounding does not add a list at the measured depths.
        (probes - 1e-9).ceil().max(1.0) as usize
    }

    /// The points, for the index file.
    pub(super) fn points(&self) -> &[(f64, f64)] {
        &self.points
    }
}

/// The fewest probes, not below `least`, whose mean recall at the depth reaches the target. Whether the promise is kept with
/// them is measured afterwards, on all queries together.
fn fewest_probes(
    ranks: &[Vec<u32>],
    depth: usize,
    least: usize,
    lists: usize,
    target: f64,
) -> usize {
    let sorted: Vec<Vec<u32>> = ranks
        .iter()
        .map(|ranks| {
            let mut nearest = ranks[..depth.min(ranks.len())].to_vec();
            nearest.sort_unstable();
            nearest
        })
        .collect();
    let reaches = |probes: usize| {
        let mut meter = RecallMeter::default();
        for ranks in &sorted {
            meter.push(ranks.partition_point(|&rank| (rank as usize) < probes), ranks.len());
        }
        meter.recall().is_some_and(|recall| recall.mean >= target)
    };
    let (mut short, mut enough) = (least.saturating_sub(1), lists);
    while enough - short > 1 {
        let middle = short.midpoint(enough);
        if reaches(middle) { enough = middle } else { short = middle }
    }
    enough
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolates_on_logarithmic_axes_and_ends_with_every_list() {
        let curve =
            ProbeCurve::new(vec![(10.0, 4.0), (1000.0, 16.0), (100_000.0, 400.0)]).expect("sound");
        assert_eq!([1.0, 10.0, 100.0, 1000.0].map(|depth| curve.probes(depth)), [4, 4, 8, 16]);
        assert_eq!(
            [1e4, 1e5, 1e9, f64::INFINITY].map(|depth| curve.probes(depth)),
            [80, 400, 400, 400]
        );
    }

    #[test]
    fn unsound_points_are_refused() {
        for points in [
            vec![],
            vec![(0.0, 1.0)],
            vec![(10.0, f64::NAN)],
            vec![(10.0, 2.0), (10.0, 3.0)],
            vec![(10.0, 3.0), (20.0, 2.0)],
        ] {
            assert_eq!(ProbeCurve::new(points), None);
        }
    }

    #[test]
    fn the_fewest_sufficient_probes_are_found() {
        // Every neighbour of every query lies in the lists at places 0 to 6; ever later ones for deeper neighbours.
        let ranks: Vec<Vec<u32>> =
            (0..256).map(|_| (0..100).map(|place| place / 15).collect()).collect();
        let curve = ProbeCurve::measured(&ranks, &[10, 32, 100, 1000], 50, 500, 0.99);
        assert_eq!(curve.points(), [(10.0, 1.0), (32.0, 3.0), (100.0, 7.0), (500.0, 50.0)]);
    }

    #[test]
    fn a_few_misses_are_tolerated_and_many_are_not() {
        let with_far = |queries: usize| -> Vec<Vec<u32>> {
            (0..256).map(|query| vec![if query < queries { 40 } else { 0 }; 10]).collect()
        };
        assert_eq!(ProbeCurve::measured(&with_far(0), &[10], 50, 500, 0.99).probes(10.0), 1);
        assert_eq!(ProbeCurve::measured(&with_far(3), &[10], 50, 500, 0.99).probes(10.0), 41);
    }
}
