//! Second moments of pairs of vectors, summed up in one pass.

use super::linear::{add_gram, complete};
use super::map::scale_to_unit;
use crate::learn::crew::divide;
use crate::learn::{Features, LearnError, Progress};

/// Fold of examples that are held out for measuring.
pub const HELD_OUT: u8 = u8::MAX;

/// Fold of examples that are neither learned from nor measured.
pub const UNUSED: u8 = u8::MAX - 1;

/// Objects that have vectors in both spaces.
#[derive(Clone, Copy)]
pub struct Pairs<'a> {
    /// One row for each: the vector of FROM, then that of TO.
    pub features: &'a dyn Features,
    /// Length of the vectors of FROM.
    pub from_width: usize,
    /// Vectors of FROM are compared by angle: each counts at unit length.
    pub from_unit: bool,
    /// So are those of TO.
    pub to_unit: bool,
    /// For each example the fold it belongs to, from 0, or [`HELD_OUT`] or [`UNUSED`].
    pub folds: &'a [u8],
}

impl std::fmt::Debug for Pairs<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Pairs")
            .field("count", &self.features.count())
            .field("from_width", &self.from_width)
            .field("to_width", &self.target_width())
            .finish_non_exhaustive()
    }
}

impl Pairs<'_> {
    /// Length of the vectors of TO.
    pub fn target_width(&self) -> usize {
        self.features.width().saturating_sub(self.from_width)
    }

    /// Examples of the folds that are learned from.
    pub fn train_count(&self) -> usize {
        self.folds.iter().filter(|fold| **fold < UNUSED).count()
    }

    /// How many folds there are: one more than the greatest number.
    pub fn fold_count(&self) -> usize {
        let learned = self.folds.iter().filter(|fold| **fold < UNUSED);
        learned.max().map_or(0, |greatest| usize::from(*greatest) + 1)
    }

    /// Refuses widths and lengths that do not fit together.
    pub(super) fn check(&self) -> Result<(), LearnError> {
        if self.from_width == 0 || self.target_width() == 0 {
            return Err(LearnError::Shape {
                what: "length of a pair of vectors",
                given: self.features.width(),
                expected: self.from_width + 1,
            });
        }
        if self.folds.len() != self.features.count() {
            return Err(LearnError::Shape {
                what: "folds of pairs",
                given: self.folds.len(),
                expected: self.features.count(),
            });
        }
        Ok(())
    }

    /// Scales what counts at unit length in rows of both vectors.
    pub fn prepare(&self, rows: &mut [f64]) {
        if !self.from_unit && !self.to_unit {
            return;
        }
        for row in rows.chunks_exact_mut(self.features.width()) {
            let (from, to) = row.split_at_mut(self.from_width);
            if self.from_unit {
                let width = from.len();
                scale_to_unit(from, width);
            }
            if self.to_unit {
                let width = to.len();
                scale_to_unit(to, width);
            }
        }
    }
}

/// Count, sum and products of rows, taken from an origin near their mean so that little is lost by cancellation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moments {
    pub(super) width: usize,
    pub(super) count: f64,
    /// What was subtracted from every row.
    origin: Vec<f64>,
    /// Sum of the rows from the origin.
    sum: Vec<f64>,
    /// Sum of their products, `width` rows of `width` numbers.
    gram: Vec<f64>,
}

impl Moments {
    fn new(origin: &[f64]) -> Self {
        let width = origin.len();
        Self {
            width,
            count: 0.0,
            origin: origin.to_vec(),
            sum: vec![0.0; width],
            gram: vec![0.0; width * width],
        }
    }

    /// Adds rows from which the origin has been subtracted.
    fn add_rows(&mut self, rows: &[f64]) -> Result<(), LearnError> {
        if rows.is_empty() {
            return Ok(());
        }
        self.count += (rows.len() / self.width) as f64;
        for row in rows.chunks_exact(self.width) {
            for (sum, value) in self.sum.iter_mut().zip(row) {
                *sum += value;
            }
        }
        add_gram(rows, self.width, &mut self.gram)
    }

    /// Adds or, with -1, takes away other moments from the same origin.
    pub(super) fn add(&mut self, other: &Self, sign: f64) {
        self.count += sign * other.count;
        for (mine, theirs) in self.sum.iter_mut().zip(&other.sum) {
            *mine += sign * theirs;
        }
        for (mine, theirs) in self.gram.iter_mut().zip(&other.gram) {
            *mine += sign * theirs;
        }
    }

    /// The mean of the rows.
    pub(super) fn mean(&self) -> Vec<f64> {
        let mean = |(origin, sum): (&f64, &f64)| origin + sum / self.count;
        self.origin.iter().zip(&self.sum).map(mean).collect()
    }

    /// The sum of products of rows from a point, `width` rows of `width` numbers.
    pub(super) fn about(&self, point: &[f64]) -> Vec<f64> {
        // With u = x - origin and d = point - origin: sum (u - d)(u - d)' = gram - s d' - d s' + n d d'.
        let shift: Vec<f64> = point.iter().zip(&self.origin).map(|(p, o)| p - o).collect();
        let mut about = self.gram.clone();
        for ((row, a_shift), a_sum) in about.chunks_exact_mut(self.width).zip(&shift).zip(&self.sum)
        {
            for ((value, b_shift), b_sum) in row.iter_mut().zip(&shift).zip(&self.sum) {
                *value += self.count * a_shift * b_shift - a_sum * b_shift - a_shift * b_sum;
            }
        }
        about
    }
}

/// A block of a square matrix.
pub(super) fn block(
    matrix: &[f64],
    width: usize,
    rows: std::ops::Range<usize>,
    columns: &std::ops::Range<usize>,
) -> Vec<f64> {
    let mut out = Vec::with_capacity(rows.len() * columns.len());
    for row in rows {
        out.extend_from_slice(&matrix[row * width + columns.start..row * width + columns.end]);
    }
    out
}

/// Sums the moments of each fold in one pass, on several threads.
pub(super) fn gather(
    pairs: &Pairs<'_>,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Vec<Moments>, LearnError> {
    pairs.check()?;
    let width = pairs.features.width();
    let origin = near_mean(pairs)?;
    let threads = threads.max(1);
    // As many sums as there are threads, so that these need not wait for each other, and no more: each is large.
    let each = threads.div_ceil(pairs.fold_count().max(1));
    let sums = vec![Moments::new(&origin); pairs.fold_count() * each];
    let add = |moments: &mut Moments, rows: Vec<f64>| moments.add_rows(&rows);
    let sums = divide(sums, threads, add, |hand_in| {
        let mut buffers = vec![Vec::new(); pairs.fold_count()];
        let mut turn = 0;
        let total = pairs.features.count() as u64;
        let mut hand_in = |fold: usize, rows: Vec<f64>| {
            turn = (turn + 1) % each;
            hand_in(fold * each + turn, rows)
        };
        pairs.features.pass(&mut |first, block| {
            progress.step("summing up", first as u64, total)?;
            let mut block = block.to_vec();
            pairs.prepare(&mut block);
            for (place, row) in block.chunks_exact(width).enumerate() {
                let fold = pairs.folds.get(first + place).copied().unwrap_or(UNUSED);
                let Some(buffer) = buffers.get_mut(usize::from(fold)) else { continue };
                buffer.extend(row.iter().zip(&origin).map(|(value, origin)| value - origin));
            }
            for (fold, buffer) in buffers.iter_mut().enumerate() {
                if buffer.len() >= FULL_ROWS * width {
                    hand_in(fold, std::mem::take(buffer))?;
                }
            }
            Ok(())
        })?;
        progress.step("summing up", total, total)?;
        buffers.into_iter().enumerate().try_for_each(|(fold, rows)| hand_in(fold, rows))
    })?;
    let mut folds = Vec::with_capacity(pairs.fold_count());
    for of_fold in sums.chunks(each) {
        let Some((first, others)) = of_fold.split_first() else { continue };
        let mut all = first.clone();
        for other in others {
            all.add(other, 1.0);
        }
        complete(&mut all.gram, width);
        folds.push(all);
    }
    Ok(folds)
}

/// A point near the mean, from a few of the pairs.
fn near_mean(pairs: &Pairs<'_>) -> Result<Vec<f64>, LearnError> {
    let width = pairs.features.width();
    let count = pairs.features.count();
    let step = count.div_ceil(ORIGIN_ROWS).max(1);
    let places: Vec<u32> = (0..count as u32).step_by(step).collect();
    let mut rows = Vec::new();
    pairs.features.read(&places, &mut rows)?;
    pairs.prepare(&mut rows);
    let mut mean = vec![0.0; width];
    for row in rows.chunks_exact(width) {
        for (mean, value) in mean.iter_mut().zip(row) {
            *mean += value / places.len() as f64;
        }
    }
    Ok(mean)
}

/// Pairs of which the origin is the mean.
const ORIGIN_ROWS: usize = 64;

/// Rows that are worth a matrix product.
const FULL_ROWS: usize = 1_024;

/// The moments of all folds together.
pub(super) fn together(folds: &[Moments]) -> Result<Moments, LearnError> {
    let mut folds = folds.iter();
    let too_few = |given: f64| LearnError::TooFew {
        what: "objects with a vector in both spaces to learn from",
        given: given as usize,
        needed: 2,
    };
    let mut all = folds.next().ok_or_else(|| too_few(0.0))?.clone();
    for fold in folds {
        all.add(fold, 1.0);
    }
    if all.count < 2.0 { Err(too_few(all.count)) } else { Ok(all) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::Matrix;

    #[test]
    fn moments_are_those_of_the_rows_far_from_the_origin() {
        let rows: Vec<f64> =
            (0..3_000).map(|place| 1e6 + f64::from(place * 37 % 101) / 7.0).collect();
        let matrix = Matrix::new(3, rows.clone()).expect("rows");
        let folds: Vec<u8> = (0..1_000_u32)
            .map(|place| match place % 5 {
                4 => HELD_OUT,
                3 => UNUSED,
                fold => fold as u8,
            })
            .collect();
        let pairs = Pairs {
            features: &matrix,
            from_width: 2,
            from_unit: false,
            to_unit: false,
            folds: &folds,
        };
        assert_eq!((pairs.fold_count(), pairs.train_count(), pairs.target_width()), (3, 600, 1));
        let moments = gather(&pairs, 3, Progress::silent()).expect("in memory");
        let mut all = together(&moments).expect("enough");
        all.add(&moments[2], -1.0);
        let learned: Vec<&[f64]> = rows
            .chunks_exact(3)
            .zip(&folds)
            .filter(|(_, fold)| **fold < 2)
            .map(|(row, _)| row)
            .collect();
        assert!((all.count - learned.len() as f64).abs() < 1e-9);
        let mean = all.mean();
        let scatter = all.about(&mean);
        for a in 0..3 {
            let true_mean = learned.iter().map(|row| row[a] - 1e6).sum::<f64>() / all.count;
            assert!((mean[a] - 1e6 - true_mean).abs() < 1e-8);
            for b in 0..3 {
                let product = |row: &&[f64]| (row[a] - mean[a]) * (row[b] - mean[b]);
                let wanted: f64 = learned.iter().map(product).sum();
                assert!((scatter[a * 3 + b] - wanted).abs() < 1e-6 * wanted.abs().max(1.0));
            }
        }
    }
}
