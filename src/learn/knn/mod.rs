//! Nearest neighbours: what is true of the training examples that are nearest.

mod search;

use super::scale::Scale;
use super::{Features, LearnError, Progress};

/// How far apart two examples are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Distance {
    /// Length of the difference.
    #[default]
    Euclidean,
    /// One minus the cosine of the angle; an example whose features are all 0 is at distance 1 from all.
    Cosine,
}

/// How neighbours are found.
#[derive(Debug, Clone, PartialEq)]
pub struct KnnOptions {
    /// Number of neighbours.
    pub k: usize,
    /// What near means.
    pub distance: Distance,
    /// Subtract the training set's mean of each feature and divide by its standard deviation.
    pub standardize: bool,
    /// Bytes for the test examples that are compared in one pass over the training set.
    pub memory: usize,
}

impl Default for KnnOptions {
    fn default() -> Self {
        Self { k: 20, distance: Distance::Euclidean, standardize: false, memory: 256 << 20 }
    }
}

/// Neighbours of test examples among training examples.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Neighbours of each test example.
    pub k: usize,
    /// Row-major: places of the neighbours in the training set, nearest first; of equally near ones the first come first.
    pub places: Vec<u32>,
    /// How far they are.
    pub distances: Vec<f64>,
}

/// Finds the exact nearest training examples of each test example; without a test set, of each training example among all
/// others.
///
/// Single-precision products tell what may be near; distances of those are computed in double precision, so that the result
/// is that of double precision throughout. Memory: `options.memory`, and 12 bytes for each neighbour.
///
/// # Errors
/// [`LearnError::TooFew`] with fewer training examples than neighbours; [`LearnError::Shape`]; [`LearnError::BadSetting`] for
/// no neighbours; those of reading.
pub fn neighbours(
    train: &dyn Features,
    test: Option<&dyn Features>,
    options: &KnnOptions,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Neighbours, LearnError> {
    if options.k == 0 {
        return Err(LearnError::BadSetting {
            what: "the number of neighbours",
            value: "0".to_owned(),
            hint: "1 or more",
        });
    }
    let others = if test.is_none() { train.count().saturating_sub(1) } else { train.count() };
    if others < options.k {
        let what = "training examples beside the example itself";
        return Err(LearnError::TooFew { what, given: others, needed: options.k });
    }
    if let Some(test) = test.filter(|test| test.width() != train.width()) {
        let (given, expected) = (test.width(), train.width());
        return Err(LearnError::Shape { what: "features of test examples", given, expected });
    }
    let scale = Scale::fit(train, None, progress)?;
    search::search(train, test, scale, options, threads, progress)
}

impl Neighbours {
    /// Means of the neighbours' targets (row-major, `outputs` for each training example), row-major. By distance, each counts
    /// by the inverse of its distance; where some are at distance 0, those alone count.
    ///
    /// # Errors
    /// [`LearnError::Shape`].
    pub fn regress(
        &self,
        targets: &[f64],
        outputs: usize,
        by_distance: bool,
    ) -> Result<Vec<f64>, LearnError> {
        self.collect(outputs, by_distance, |place, weight, into| {
            let known = targets.get(place * outputs..(place + 1) * outputs);
            let known = known.ok_or_else(|| missing(place, targets.len() / outputs.max(1)))?;
            into.iter_mut().zip(known).for_each(|(sum, target)| *sum += weight * target);
            Ok(())
        })
    }

    /// Fraction of each class among the neighbours, row-major, weighed as by [`Self::regress`]. The prediction is the class of
    /// the largest, the first of equals.
    ///
    /// # Errors
    /// [`LearnError::Shape`].
    pub fn classify(
        &self,
        labels: &[u32],
        classes: usize,
        by_distance: bool,
    ) -> Result<Vec<f64>, LearnError> {
        self.collect(classes, by_distance, |place, weight, into| {
            let label = *labels.get(place).ok_or_else(|| missing(place, labels.len()))? as usize;
            let sum = into.get_mut(label).ok_or(LearnError::Shape {
                what: "the class of a training example",
                given: label,
                expected: classes,
            })?;
            *sum += weight;
            Ok(())
        })
    }

    fn collect(
        &self,
        outputs: usize,
        by_distance: bool,
        add: impl Fn(usize, f64, &mut [f64]) -> Result<(), LearnError>,
    ) -> Result<Vec<f64>, LearnError> {
        let k = self.k.max(1);
        let mut sums = vec![0.0; self.places.len() / k * outputs];
        let rows = self.places.chunks(k).zip(self.distances.chunks(k));
        for ((places, distances), into) in rows.zip(sums.chunks_mut(outputs.max(1))) {
            let is_any_equal = distances.contains(&0.0);
            let weight = |distance: f64| match (by_distance, is_any_equal) {
                (false, _) => 1.0,
                (true, false) => 1.0 / distance,
                (true, true) => f64::from(u8::from(distance == 0.0)),
            };
            let whole: f64 = distances.iter().map(|distance| weight(*distance)).sum();
            for (place, distance) in places.iter().zip(distances) {
                add(*place as usize, weight(*distance), into)?;
            }
            for sum in into {
                *sum /= whole;
            }
        }
        Ok(sums)
    }
}

fn missing(place: usize, count: usize) -> LearnError {
    LearnError::Shape { what: "place of a neighbour", given: place, expected: count }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Matrix;
    use super::*;

    fn plain(distance: Distance, a: &[f64], b: &[f64]) -> f64 {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let length = |a: &[f64]| dot(a, a).sqrt();
        match distance {
            Distance::Euclidean => length(&a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<_>>()),
            Distance::Cosine if length(a) == 0.0 || length(b) == 0.0 => 1.0,
            Distance::Cosine => 1.0 - dot(a, b) / length(a) / length(b),
        }
    }

    proptest! {
        #[test]
        fn neighbours_are_those_of_the_definition(
            width in 1usize..6,
            train in prop::collection::vec(-2.0f64..2.0, 60..300),
            test in prop::collection::vec(-2.0f64..2.0, 6..90),
            k in 1usize..10,
            distance in prop::sample::select(vec![Distance::Euclidean, Distance::Cosine]),
            offset in prop::sample::select(vec![0.0, 1e4]),
            threads in 1usize..4,
            itself in any::<bool>(),
        ) {
            let matrix = |values: &[f64]| {
                let whole = values.len() / width * width;
                Matrix::new(width, values[..whole].iter().map(|v| v + offset).collect()).expect("whole")
            };
            let (train, test) = (matrix(&train), matrix(&test));
            // A small memory, so that there are several passes.
            let options = KnnOptions { k, distance, memory: 12 * 7 * width, ..KnnOptions::default() };
            let of = if itself { &train } else { &test };
            let given: Option<&dyn Features> = if itself { None } else { Some(&test) };
            let found = neighbours(&train, given, &options, threads, Progress::silent()).expect("enough");
            for query in 0..of.count() {
                let mut all: Vec<(f64, u32)> = (0..train.count())
                    .filter(|place| !itself || *place != query)
                    .map(|place| (plain(distance, of.row(query), train.row(place)), place as u32))
                    .collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                for (at, (nearest, _)) in all.iter().take(k).enumerate() {
                    let given = found.distances[query * k + at];
                    prop_assert!((given - nearest).abs() < 1e-7, "{given} {nearest}");
                    let place = found.places[query * k + at];
                    let own = plain(distance, of.row(query), train.row(place as usize));
                    prop_assert!((given - own).abs() < 1e-7);
                }
            }
        }
    }

    #[test]
    fn equal_examples_count_alone() {
        let train =
            Matrix::new(1, vec![0.0, 1.0, 1.0, 4.0, f64::from(1_u32 << 20)]).expect("whole");
        let test = Matrix::new(1, vec![1.0, 2.0]).expect("whole");
        let options = KnnOptions { k: 3, ..KnnOptions::default() };
        let found =
            neighbours(&train, Some(&test), &options, 2, Progress::silent()).expect("enough");
        assert_eq!(found.places, [1, 2, 0, 1, 2, 0]);
        assert_eq!(found.distances, [0.0, 0.0, 1.0, 1.0, 1.0, 2.0]);
        let targets = [10.0, 2.0, 4.0, 0.0, 0.0];
        assert_eq!(found.regress(&targets, 1, true).expect("known"), [3.0, 4.4]);
        let means = found.regress(&targets, 1, false).expect("known");
        assert!((means[0] - 16.0 / 3.0).abs() < 1e-12);
        let classes = found.classify(&[1, 0, 0, 0, 0], 2, true).expect("known");
        assert_eq!(classes, [1.0, 0.0, 0.8, 0.2]);
        assert!(found.classify(&[2, 0, 0], 2, true).is_err());
        assert!(found.regress(&[0.0], 1, true).is_err());
    }

    #[test]
    fn more_neighbours_than_examples_are_refused() {
        let train = Matrix::new(1, vec![0.0, 1.0]).expect("whole");
        let options = KnnOptions { k: 2, ..KnnOptions::default() };
        let find = |test: Option<&dyn Features>, options: &KnnOptions| {
            neighbours(&train, test, options, 1, Progress::silent())
        };
        assert!(find(Some(&train), &options).is_ok());
        assert!(find(None, &options).is_err());
        assert!(find(None, &KnnOptions { k: 0, ..options.clone() }).is_err());
        let wide = Matrix::new(2, vec![0.0, 1.0]).expect("whole");
        assert!(find(Some(&wide), &options).is_err());
    }
}
