//! How much less dense it is around an object than around its neighbours.

use crate::learn::LearnError;

/// Keeps objects that coincide from an infinite density.
const LEAST_REACH: f64 = 1e-10;

/// The `k` nearest other objects of each of some objects, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    k: usize,
    places: Vec<u32>,
    distances: Vec<f64>,
}

impl Neighbours {
    /// Takes, object by object, the places of `k` others among the objects, and their distances.
    ///
    /// # Errors
    /// [`LearnError::Shape`] when the lengths differ or a place lies outside; [`LearnError::TooFew`] without neighbours.
    pub fn new(k: usize, places: Vec<u32>, distances: Vec<f64>) -> Result<Self, LearnError> {
        if k == 0 {
            return Err(LearnError::TooFew { what: "neighbours", given: 0, needed: 1 });
        }
        let shape = |what, given, expected| Err(LearnError::Shape { what, given, expected });
        if places.len() != distances.len() || !places.len().is_multiple_of(k) {
            return shape("distances of neighbours", distances.len(), places.len());
        }
        let count = places.len() / k;
        match places.iter().find(|&&place| place as usize >= count) {
            Some(&place) => shape("place of a neighbour", place as usize, count),
            None => Ok(Self { k, places, distances }),
        }
    }

    /// Number of objects.
    pub fn count(&self) -> usize {
        self.places.len() / self.k
    }

    fn of(&self, object: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = object * self.k..(object + 1) * self.k;
        let places = self.places[range.clone()].iter().map(|&place| place as usize);
        places.zip(self.distances[range].iter().copied())
    }

    /// Distance to the last of an object's neighbours.
    fn last(&self, object: usize) -> f64 {
        self.distances[(object + 1) * self.k - 1]
    }
}

/// The local outlier factor of each object: about 1 amid objects of like density, larger where it is lonelier than its
/// neighbours are. Each object counts exactly `k` neighbours, also where more are as far.
///
/// # Reference
/// Breunig, Kriegel, Ng & Sander 2000, SIGMOD, "LOF: identifying density-based local outliers".
pub fn local_outlier_factors(neighbours: &Neighbours) -> Vec<f64> {
    let k = neighbours.k as f64;
    let density = |object: usize| {
        let reach =
            neighbours.of(object).map(|(other, distance)| distance.max(neighbours.last(other)));
        1.0 / (reach.sum::<f64>() / k + LEAST_REACH)
    };
    let densities: Vec<f64> = (0..neighbours.count()).map(density).collect();
    let factor = |object: usize| {
        let others = neighbours.of(object).map(|(other, _)| densities[other] / densities[object]);
        others.sum::<f64>() / k
    };
    (0..neighbours.count()).map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_a_line(points: &[f64], k: usize) -> Neighbours {
        let (mut places, mut distances) = (Vec::new(), Vec::new());
        for (place, point) in points.iter().enumerate() {
            let others = points.iter().enumerate().filter(|(other, _)| *other != place);
            let mut all: Vec<(f64, u32)> =
                others.map(|(other, at)| ((at - point).abs(), other as u32)).collect();
            all.sort_by(|left, right| left.0.total_cmp(&right.0).then(left.1.cmp(&right.1)));
            places.extend(all[..k].iter().map(|each| each.1));
            distances.extend(all[..k].iter().map(|each| each.0));
        }
        Neighbours::new(k, places, distances).expect("whole")
    }

    #[test]
    fn evenly_spread_objects_have_one_and_a_lonely_one_has_more() {
        let mut points: Vec<f64> = (0..40).map(f64::from).collect();
        let even = local_outlier_factors(&on_a_line(&points, 4));
        assert!(even[10..30].iter().all(|factor| (factor - 1.0).abs() < 1e-6), "{even:?}");
        points.push(100.0);
        let factors = local_outlier_factors(&on_a_line(&points, 4));
        assert!(factors[40] > 10.0, "{}", factors[40]);
    }

    #[test]
    fn coinciding_objects_have_a_factor() {
        let factors = local_outlier_factors(&on_a_line(&[2.0; 9], 3));
        assert!(factors.iter().all(|factor| (factor - 1.0).abs() < 1e-9));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Neighbours::new(0, vec![], vec![]).is_err());
        assert!(Neighbours::new(2, vec![0, 1, 0], vec![0.0; 3]).is_err());
        assert!(Neighbours::new(1, vec![2, 0], vec![0.0; 2]).is_err());
    }
}
