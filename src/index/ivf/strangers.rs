//! Queries that are like no row: made up, to learn how searches for them have to be made.
//!
//! Sampled rows say how their own like are found. Who asks with a vector of another instrument, with a direction of interest or
//! with a mistake asks from farther away, where the neighbours lie in more lists and codes err more. Three kinds are made, each at
//! several distances from the mean of the rows: the opposite of a row, the difference of two rows (which has the shape of the
//! whole, and none of its clusters), and a direction without any preference.

use super::IvfSpec;
use super::encode;
use super::neighbours::{NORM_MAX, find_neighbours};
use super::reach::Reach;
use super::tune::Truth;
use crate::index::IndexError;
use crate::index::random::{SplitMix64, stratified_rows};
use crate::index::recall::Recall;
use crate::vector::{Metric, VectorView, norm};

/// Queries of each kind.
const QUERIES: usize = 64;

/// How many times as far from the mean as a row they are.
const SCALES: [f32; 3] = [1.0, 3.0, 10.0];

/// Rows that tell the mean.
const MEAN_ROWS: usize = 4096;

/// How searches are made for queries that lie farther from the rows than nearly all of these.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Far {
    /// Which lists beyond the planned ones may hold a hit.
    pub(super) reach: Reach,
    /// Standard errors of an estimate within which a row is compared at full precision.
    pub(super) margin: f64,
    /// Recall@10 of such searches; [`Recall::UNKNOWN`] in files of earlier versions.
    pub(super) recall: Recall,
}

/// Makes the queries, a truth for each kind, and finds their neighbours.
pub(super) fn strangers(
    spec: &IvfSpec,
    metric: Metric,
    vectors: VectorView<'_>,
    depth: usize,
    progress: &mut dyn FnMut(&str, u64, u64),
) -> Result<Vec<Truth>, IndexError> {
    let sample = encode::sampled(vectors, MEAN_ROWS, spec.seed ^ 4);
    let mean = encode::mean(vectors.dimension(), &sample);
    let rows = stratified_rows(vectors.count(), 2 * QUERIES, spec.seed ^ 5);
    // From the mean; the two of a pair lie in different parts of the sky.
    let pairs: Vec<[Vec<f32>; 2]> = (0..rows.len() / 2)
        .map(|place| {
            [rows[place], rows[place + rows.len() / 2]].map(|row| {
                let row = vectors.row(row).unwrap_or_default();
                row.iter().zip(&mean).map(|(value, mean)| value - mean).collect()
            })
        })
        .collect();
    let mut random = SplitMix64::new(spec.seed ^ 6);
    let mut truths: [Truth; 3] = Default::default();
    for ([one, other], scale) in pairs.iter().zip(SCALES.into_iter().cycle()) {
        let length = norm(one) as f32;
        let direction: Vec<f32> = one.iter().map(|_| random.normal() as f32).collect();
        let unit = length / (norm(&direction) as f32).max(f32::MIN_POSITIVE);
        let half = std::f32::consts::FRAC_1_SQRT_2;
        let kinds: [Vec<f32>; 3] = [
            one.iter().map(|value| -value).collect(),
            one.iter().zip(other).map(|(one, other)| (one - other) * half).collect(),
            direction.iter().map(|value| value * unit).collect(),
        ];
        for (truth, centred) in truths.iter_mut().zip(kinds) {
            let mut query: Vec<f32> =
                mean.iter().zip(&centred).map(|(mean, value)| mean + scale * value).collect();
            // A query of the greatest length that a row may have is still compared in single precision.
            if metric.prepare_in_place(&mut query) && norm(&query) <= NORM_MAX {
                truth.queries.extend_from_slice(&query);
                truth.own_rows.push(None);
            }
        }
    }
    let mut made: Vec<Truth> =
        truths.into_iter().filter(|truth| !truth.own_rows.is_empty()).collect();
    for truth in &mut made {
        find_neighbours(spec, metric, vectors, truth, depth, progress)?;
    }
    Ok(made)
}

impl Far {
    /// What is known before anything was measured: the most careful of what the rows themselves taught.
    pub(super) fn unmeasured(reach: Reach, margin: f64) -> Self {
        Self { reach, margin, recall: Recall::UNKNOWN }
    }
}
