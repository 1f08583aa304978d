//! From vectors to codes and back to distances.
//!
//! Embeddings fill few of their dimensions. A vector `x` is moved by the mean of all and turned onto their principal axes, of
//! which the strongest are kept, one byte each. What is left out is nearly orthogonal between two vectors, and its length is
//! known: every code begins with a constant from which, with the bytes, half the squared distance follows:
//!
//! `|q - x|^2 / 2 = |x - m|^2 / 2 - <q - m, x - m> + |q - m|^2 / 2`
//!
//! The first term is the constant, the second is summed over the kept axes, the third is one number a query. Unit vectors
//! under cosine are points like any others; under the inner product, `-<q, x>` has the constant `-<x, m>` instead. The
//! *estimate* of a row is the sum of the first two; a query's [`CodedQuery::estimate_of`] turns true distances into the same
//! units.
//!
//! The standard error of an estimate is known, too: the axes that were left out contribute `|q_left| |x_left| / sqrt(axes
//! left)`, and each byte is off by a uniform share of its step. A query that lies far from where the rows lie, of another
//! modality for instance, so gets the larger error that it has.

use super::super::section::Section;
use crate::vector::{CODE_STEP, CONSTANT_BYTES, CodeWeights, Distance, Metric, dot, norm};

/// Rounding of single precision, in errors of the codes, beyond which estimates tell nothing.
const SINGLE_MAX: f64 = 100.0;

/// Codes along the sky are so many bytes long, or a multiple of it: half a line of the cache.
pub(super) const SKY_STEP: usize = 32;

/// Steps of a byte.
const STEPS: f32 = 255.0;

/// Turns vectors of one space into codes.
#[derive(Debug, Clone)]
pub(super) struct Coder {
    pub(super) metric: Metric,
    pub(super) dimension: usize,
    /// Axes kept.
    pub(super) kept: usize,
    /// Bytes of a code along the sky: rows are also picked from there one by one, and whole lines of the cache come soonest.
    pub(super) code_bytes: usize,
    /// Bytes of it that lists and centroids have: they are gone through in order, where padding is only more to read.
    pub(super) list_bytes: usize,
    /// Mean of the rows.
    pub(super) mean: Section<f32>,
    /// `kept x dimension`.
    pub(super) axes: Section<f32>,
    /// Value of the byte 0 on each axis.
    pub(super) low: Section<f32>,
    /// What one unit of a byte is worth on each axis.
    pub(super) step: Section<f32>,
    /// Root mean square of the rows' components on an axis that was left out.
    pub(super) left_out: f64,
}

/// A query in the units of the codes.
#[derive(Debug, Clone)]
pub(super) struct CodedQuery {
    pub(super) weights: CodeWeights,
    metric: Metric,
    /// What an estimate lacks of half the squared distance, or of minus the inner product.
    shift: f64,
    /// `|q - m|^2`.
    centred_square: f64,
    /// `|q|`, or 1 for metrics that need it not.
    length: f64,
    /// Standard error of an estimate.
    pub(super) sigma: f64,
    /// The query from the mean, and on the kept axes, and what a unit of each byte is worth.
    pub(super) centred: Vec<f32>,
    pub(super) rotated: Vec<f32>,
    pub(super) factors: Vec<f32>,
}

impl Coder {
    /// Moves a vector to the mean and turns it onto the kept axes. `centred` and `rotated` are overwritten.
    pub(super) fn rotate(&self, vector: &[f32], centred: &mut Vec<f32>, rotated: &mut Vec<f32>) {
        centred.clear();
        centred.extend(vector.iter().zip(self.mean.as_slice()).map(|(value, mean)| value - mean));
        rotated.clear();
        let axes = self.axes.as_slice().chunks_exact(self.dimension);
        rotated.extend(axes.map(|axis| dot(axis, centred)));
    }

    /// The constant of a vector, given what [`Coder::rotate`] made of it.
    pub(super) fn constant(&self, vector: &[f32], centred: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::L2 => 0.5 * dot(centred, centred),
            Metric::Ip => -dot(vector, self.mean.as_slice()),
        }
    }

    /// Appends the code of a rotated vector, as it is along the sky.
    pub(super) fn encode(&self, constant: f32, rotated: &[f32], codes: &mut Vec<u8>) {
        let start = codes.len();
        codes.extend_from_slice(&constant.to_le_bytes());
        let scales = self.low.as_slice().iter().zip(self.step.as_slice());
        codes.extend(
            rotated
                .iter()
                .zip(scales)
                .map(|(value, (low, step))| ((value - low) / step).round().clamp(0.0, STEPS) as u8),
        );
        codes.resize(start + self.code_bytes, 0);
    }

    /// The constant of a centroid, which is known on the kept axes alone.
    pub(super) fn centroid_constant(&self, rotated: &[f32]) -> f32 {
        match self.metric {
            Metric::Cosine | Metric::L2 => 0.5 * dot(rotated, rotated),
            Metric::Ip => {
                let mean = self.mean.as_slice();
                let axes = self.axes.as_slice().chunks_exact(self.dimension);
                let along: f32 =
                    axes.zip(rotated).map(|(axis, value)| dot(axis, mean) * value).sum();
                -(dot(mean, mean) + along)
            }
        }
    }

    /// The length of a centroid under the inner product, of its code: `|c|^2 = 2 <m, c> - |m|^2 + |c - m|^2`.
    pub(super) fn centroid_length(&self, code: &[u8]) -> f64 {
        let constant = code.first_chunk().map_or(0.0, |bytes| f32::from_le_bytes(*bytes));
        let scales = self.low.as_slice().iter().zip(self.step.as_slice());
        let values = code.iter().skip(CONSTANT_BYTES).zip(scales);
        let from_mean: f64 = values
            .map(|(&byte, (low, step))| f64::from(low + step * f32::from(byte)).powi(2))
            .sum();
        let along = -f64::from(constant);
        (2.0 * along - norm(self.mean.as_slice()).powi(2) + from_mean).max(0.0).sqrt()
    }

    /// A query in the units of the codes along the sky; `None` where single precision cannot hold it.
    pub(super) fn query(&self, query: &[f32]) -> Option<CodedQuery> {
        self.query_for(query, self.code_bytes)
    }

    /// The same for the codes of lists and centroids.
    pub(super) fn list_query(&self, query: &[f32]) -> Option<CodedQuery> {
        self.query_for(query, self.list_bytes)
    }

    fn query_for(&self, query: &[f32], code_bytes: usize) -> Option<CodedQuery> {
        let (mut centred, mut rotated) = (Vec::new(), Vec::new());
        self.rotate(query, &mut centred, &mut rotated);
        let (low, step) = (self.low.as_slice(), self.step.as_slice());
        let base: f32 = rotated.iter().zip(low).map(|(value, low)| value * low).sum();
        let factors: Vec<f32> =
            rotated.iter().zip(step).map(|(value, step)| value * step).collect();
        let centred_square = norm(&centred).powi(2);
        let kept_square = norm(&rotated).powi(2);
        let (length, shift) = match self.metric {
            Metric::Cosine | Metric::L2 => (1.0, 0.5 * centred_square),
            Metric::Ip => {
                let mean = self.mean.as_slice();
                (norm(query), f64::from(dot(mean, mean)) - f64::from(dot(query, mean)))
            }
        };
        let rounding: f64 = factors.iter().map(|&factor| f64::from(factor).powi(2) / 12.0).sum();
        let left_square = (centred_square - kept_square).max(0.0);
        // Sums and distances in single precision: matters for numbers so large that all rows look alike.
        let largest: f64 = factors.iter().map(|factor| f64::from(factor.abs() * STEPS)).sum();
        let single = f64::from(f32::EPSILON) * (f64::from(base.abs()) + largest + centred_square);
        let coding = left_square * self.left_out.powi(2) + rounding;
        let sigma = (coding + single.powi(2)).sqrt();
        let is_sound = base.is_finite()
            && factors.iter().all(|factor| factor.is_finite())
            && shift.is_finite()
            && sigma.is_finite()
            && single <= SINGLE_MAX * coding.sqrt();
        is_sound.then(|| CodedQuery {
            weights: CodeWeights::new(&factors, base, code_bytes),
            metric: self.metric,
            shift,
            centred_square,
            length: if length > 0.0 { length } else { 1.0 },
            sigma,
            centred,
            rotated,
            factors,
        })
    }
}

impl CodedQuery {
    /// The estimate that a row at a true distance would have without error.
    pub(super) fn estimate_of(&self, distance: Distance) -> f64 {
        match self.metric {
            Metric::L2 => 0.5 * distance.value().powi(2) - self.shift,
            Metric::Cosine | Metric::Ip => distance.value() - self.shift,
        }
    }

    /// The length from the query to a centroid with this estimate.
    pub(super) fn gap(&self, estimate: f32) -> f64 {
        let estimate = f64::from(estimate);
        match self.metric {
            Metric::L2 | Metric::Cosine => (2.0 * estimate + self.centred_square).max(0.0).sqrt(),
            Metric::Ip => (estimate + self.shift) / self.length,
        }
    }

    /// The length that goes with a true distance.
    pub(super) fn limit(&self, distance: Distance) -> f64 {
        match self.metric {
            Metric::L2 => distance.value(),
            Metric::Cosine => (2.0 * distance.value()).max(0.0).sqrt(),
            Metric::Ip => distance.value() / self.length,
        }
    }
}

/// Bytes of a code with so many components along the sky.
pub(super) fn code_bytes(components: usize) -> usize {
    (CONSTANT_BYTES + components).next_multiple_of(SKY_STEP)
}

/// The same in a list.
pub(super) fn list_bytes(components: usize) -> usize {
    (CONSTANT_BYTES + components).next_multiple_of(CODE_STEP)
}
