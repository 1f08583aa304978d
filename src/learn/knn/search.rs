//! Finding the nearest: products in single precision tell which distances to compute.

use std::collections::BinaryHeap;
use std::sync::Arc;

use super::super::crew::divide;
use super::super::lapack::{View, gemm};
use super::super::scale::Scale;
use super::super::{Features, LearnError, Progress};
use super::{Distance, KnnOptions, Neighbours};

/// Training examples that are compared at once, and test examples.
const TRAIN_ROWS: usize = 1_024;
const TEST_ROWS: usize = 256;

/// Squared lengths above it, in units of the training set's spread, are beyond single precision.
const HUGE: f64 = 1e30;

/// What is lost below single precision's smallest numbers.
const TINY: f64 = 1e-36;

/// How features become vectors to compare.
struct Space {
    scale: Scale,
    is_standardized: bool,
    distance: Distance,
    /// Factor that brings vectors to a length near 1, so that single precision holds them.
    unit: f64,
    /// Part of the squared lengths that a distance from single precision may be wrong by: the bound of a dot product's
    /// rounding (Higham 2002, section 3.1) and of a few operations more.
    slack: f64,
}

/// Vectors to compare, in both precisions.
#[derive(Default)]
struct Vectors {
    /// Place of the first.
    first: usize,
    exact: Vec<f64>,
    single: Vec<f32>,
    /// Least squared length that rounding leaves possible, in single precision's units.
    least: Vec<f64>,
    is_zero: Vec<bool>,
}

/// A training example that may be among the nearest, ordered by its squared distance and then by its place.
#[derive(PartialEq)]
struct Candidate {
    square: f64,
    place: u32,
}

impl Eq for Candidate {}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.square.total_cmp(&other.square).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The nearest so far, the farthest of them on top.
struct Nearest {
    k: usize,
    heap: BinaryHeap<Candidate>,
}

impl Nearest {
    fn offer(&mut self, candidate: Candidate) {
        if self.heap.len() < self.k {
            self.heap.push(candidate);
        } else if let Some(mut farthest) = self.heap.peek_mut()
            && candidate < *farthest
        {
            *farthest = candidate;
        }
    }

    /// Squared distance beyond which a candidate is none.
    fn reach(&self) -> f64 {
        let farthest = self.heap.peek().filter(|_| self.heap.len() == self.k);
        farthest.map_or(f64::INFINITY, |farthest| farthest.square)
    }
}

/// Test examples of one thread and the nearest so far.
struct Part {
    queries: Vectors,
    nearest: Vec<Nearest>,
    products: Vec<f32>,
    /// Least squared lengths of the training examples in single precision.
    least: Vec<f32>,
}

pub(super) fn search(
    train: &dyn Features,
    test: Option<&dyn Features>,
    scale: Scale,
    options: &KnnOptions,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Neighbours, LearnError> {
    let (k, width) = (options.k, train.width());
    let spread = if options.standardize {
        width as f64
    } else {
        // A constant feature has the divisor 1, which does no harm here.
        scale.scale.iter().map(|scale| scale * scale).sum()
    };
    let is_cosine = options.distance == Distance::Cosine;
    let space = Space {
        scale,
        is_standardized: options.standardize,
        distance: options.distance,
        unit: if is_cosine || spread <= 0.0 { 1.0 } else { 1.0 / spread.sqrt() },
        slack: (width as f64 + 32.0) * f64::from(f32::EPSILON),
    };
    let of = test.unwrap_or(train);
    let at_once = (options.memory / (12 * width)).clamp(1, u32::MAX as usize);
    let passes = of.count().div_ceil(at_once) as u64;
    let mut found = Neighbours { k, places: Vec::new(), distances: Vec::new() };
    let mut rows = Vec::new();
    for (pass, first) in (0_u64..).zip((0..of.count()).step_by(at_once)) {
        let last = (first + at_once).min(of.count());
        let each = (last - first).div_ceil(threads.max(1));
        let mut parts = Vec::new();
        for start in (first..last).step_by(each) {
            let examples: Vec<u32> = (start as u32..(start + each).min(last) as u32).collect();
            of.read(&examples, &mut rows)?;
            parts.push(Part::new(space.vectors(start, &rows), k));
        }
        let step = |at: usize| {
            let count = train.count() as u64;
            progress.step("finding neighbours", pass * count + at as u64, passes * count)
        };
        for part in space.compare(train, parts, test.is_none(), threads, step)? {
            part.into_rows(&space, &mut found);
        }
    }
    Ok(found)
}

impl Space {
    fn vectors(&self, first: usize, rows: &[f64]) -> Vectors {
        let width = self.scale.mean.len();
        let mut made = Vectors { first, exact: rows.to_vec(), ..Vectors::default() };
        for row in made.exact.chunks_mut(width) {
            if self.is_standardized {
                self.scale.apply(row);
            } else if self.distance == Distance::Euclidean {
                // Distances do not change; products lose less.
                row.iter_mut().zip(&self.scale.mean).for_each(|(value, mean)| *value -= mean);
            }
            let square = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>();
            let largest = row.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
            made.is_zero.push(largest == 0.0);
            let length = if self.distance == Distance::Euclidean {
                square(row) * self.unit * self.unit
            } else {
                if largest > 0.0 {
                    // First by the largest, so that squares do not overflow.
                    divide_all(row, largest);
                    let root = square(row).sqrt();
                    divide_all(row, root);
                }
                1.0
            };
            made.least.push(if length < HUGE {
                length * (1.0 - self.slack) - TINY
            } else {
                f64::NEG_INFINITY
            });
            made.single.extend(row.iter().map(|value| (value * self.unit) as f32));
        }
        made
    }

    /// Compares every training example with every test example of the parts.
    fn compare(
        &self,
        train: &dyn Features,
        parts: Vec<Part>,
        is_itself: bool,
        threads: usize,
        step: impl Fn(usize) -> Result<(), LearnError>,
    ) -> Result<Vec<Part>, LearnError> {
        let (width, count) = (train.width(), parts.len());
        let work =
            |part: &mut Part, block: Arc<Vectors>| self.compare_block(part, &block, is_itself);
        divide(parts, threads, work, |hand_in| {
            train.pass(&mut |mut first, shown| {
                step(first)?;
                for rows in shown.chunks(TRAIN_ROWS * width) {
                    let block = Arc::new(self.vectors(first, rows));
                    (0..count).try_for_each(|part| hand_in(part, Arc::clone(&block)))?;
                    first += rows.len() / width;
                }
                Ok(())
            })
        })
    }

    fn compare_block(
        &self,
        part: &mut Part,
        block: &Vectors,
        is_itself: bool,
    ) -> Result<(), LearnError> {
        let width = self.scale.mean.len();
        let Part { queries, nearest, products, least } = part;
        let candidates = block.least.len();
        let vectors = View::new(&block.single, candidates, width)?.transposed();
        least.clear();
        least.extend(block.least.iter().map(|least| *least as f32));
        for (tile, single) in queries.single.chunks(TEST_ROWS * width).enumerate() {
            let count = single.len() / width;
            products.resize(count * candidates, 0.0);
            gemm(1.0, View::new(single, count, width)?, vectors, 0.0, products)?;
            for (of, products) in products.chunks(candidates).enumerate() {
                let query = tile * TEST_ROWS + of;
                let own = if is_itself { Some(queries.first + query) } else { None };
                let nearest = &mut nearest[query];
                let mut limit = self.limit(queries.least[query], nearest);
                for (at, (product, least)) in products.iter().zip(&*least).enumerate() {
                    let place = block.first + at;
                    // Not so for a number beyond single precision, either.
                    if least - 2.0 * product > limit || own == Some(place) {
                        continue;
                    }
                    let square = self.square(queries, query, block, at);
                    nearest.offer(Candidate { square, place: place as u32 });
                    limit = self.limit(queries.least[query], nearest);
                }
            }
        }
        Ok(())
    }

    /// What a training example's least squared length less twice the product must not exceed.
    fn limit(&self, least: f64, nearest: &Nearest) -> f32 {
        if least > f64::NEG_INFINITY {
            (nearest.reach() * self.unit * self.unit - least) as f32
        } else {
            f32::INFINITY
        }
    }

    /// Squared length of a difference, in double precision.
    fn square(&self, queries: &Vectors, query: usize, block: &Vectors, at: usize) -> f64 {
        let width = self.scale.mean.len();
        if self.distance == Distance::Cosine && (queries.is_zero[query] || block.is_zero[at]) {
            return 2.0;
        }
        let query = &queries.exact[query * width..(query + 1) * width];
        let other = &block.exact[at * width..(at + 1) * width];
        square_of_difference(query, other)
    }
}

fn divide_all(row: &mut [f64], divisor: f64) {
    for value in row {
        *value /= divisor;
    }
}

/// Sum of squared differences, in eight sums that the processor adds at once.
fn square_of_difference(left: &[f64], right: &[f64]) -> f64 {
    let (left, left_rest) = left.as_chunks::<8>();
    let (right, right_rest) = right.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (left, right) in left.iter().zip(right) {
        for at in 0..8 {
            sums[at] += (left[at] - right[at]).powi(2);
        }
    }
    let rest: f64 = left_rest.iter().zip(right_rest).map(|(a, b)| (a - b).powi(2)).sum();
    sums.iter().sum::<f64>() + rest
}

impl Part {
    fn new(queries: Vectors, k: usize) -> Self {
        let nearest =
            queries.least.iter().map(|_| Nearest { k, heap: BinaryHeap::new() }).collect();
        Self { queries, nearest, products: Vec::new(), least: Vec::new() }
    }

    /// Appends what was found.
    fn into_rows(self, space: &Space, found: &mut Neighbours) {
        for nearest in self.nearest {
            for candidate in nearest.heap.into_sorted_vec() {
                found.places.push(candidate.place);
                found.distances.push(match space.distance {
                    Distance::Euclidean => candidate.square.sqrt(),
                    Distance::Cosine => (candidate.square / 2.0).min(2.0),
                });
            }
        }
    }
}
