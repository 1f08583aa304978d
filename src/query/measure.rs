//! What makes a distance of an object's vector: the nearness to one vector, to any of several, or a fitted head.

use std::sync::Arc;

use super::error::QueryError;
use super::request::StopFlag;
use super::sample::sample;
use crate::engine::CollectionView;
use crate::learn::discover::{Even, Examples, LinearHead};
use crate::learn::{LearnError, Progress};
use crate::schema::EmbeddingSpace;
use crate::storage::ObjectKey;
use crate::vector::{Distance, Metric, dot, reference};

/// How far the target moves away from the mean of the negatives, as a share of the difference of means; and what the nearest
/// negative counts beside the nearest positive.
///
/// # Reference
/// The idea of relevance feedback: Rocchio 1971, in "The SMART Retrieval System", 313.
pub(super) const NEGATIVE_SHARE: f32 = 0.5;

/// Objects of the collection that a head is fitted against.
pub(super) const BACKGROUND: usize = 2_048;

/// Strength of the penalty of a head that is fitted to a few examples.
const ALPHA: f64 = 1e-3;

/// How a vector of the space becomes a distance.
#[derive(Debug, Clone)]
pub(super) enum Measure {
    /// The metric's distance to the target's vector.
    Nearest,
    /// The distance to the nearest positive, less a share of that to the nearest negative.
    MaxSim {
        /// Prepared; at least one.
        positives: Vec<Vec<f32>>,
        /// Prepared.
        negatives: Vec<Vec<f32>>,
    },
    /// Minus a linear score.
    Linear {
        /// One for each component.
        weights: Vec<f32>,
        /// Score of the origin.
        intercept: f64,
    },
    /// Minus a linear score of the vector as it is made even: for spaces whose vectors may be of any length.
    Evened {
        even: Arc<Even>,
        /// One for each component.
        weights: Vec<f64>,
        intercept: f64,
    },
}

impl Measure {
    /// The distance of a prepared vector; `vector` is the target's own.
    pub(super) fn distance(&self, metric: Metric, vector: &[f32], stored: &[f32]) -> Distance {
        let nearest = |to: &[Vec<f32>]| to.iter().map(|each| metric.distance(each, stored)).min();
        let value = match self {
            Self::Nearest => return metric.distance(vector, stored),
            Self::MaxSim { positives, negatives } => {
                let near = nearest(positives).map_or(f64::INFINITY, Distance::value);
                let far = nearest(negatives).map_or(0.0, Distance::value);
                near - f64::from(NEGATIVE_SHARE) * far
            }
            Self::Linear { weights, intercept } => {
                let fast = dot(weights, stored);
                let product = if fast.is_finite() {
                    f64::from(fast)
                } else {
                    reference::dot(weights, stored)
                };
                0.0 - (product + intercept)
            }
            Self::Evened { even, weights, intercept } => {
                0.0 - (even.dot(weights, stored) + intercept)
            }
        };
        // No number at all comes of no finite vectors, and those are refused at the door.
        Distance::new(value).unwrap_or_else(|| metric.distance(stored, stored))
    }

    /// Vectors of which the nearest objects, together, are the nearest by this measure; `None` where there are none such.
    pub(super) fn probes<'a>(&'a self, vector: &'a [f32]) -> Option<Vec<&'a [f32]>> {
        match self {
            Self::Nearest => Some(vec![vector]),
            Self::MaxSim { positives, negatives } if negatives.is_empty() => {
                Some(positives.iter().map(Vec::as_slice).collect())
            }
            Self::MaxSim { .. } | Self::Linear { .. } | Self::Evened { .. } => None,
        }
    }

    /// Whether a distance is one of the metric's own.
    pub(super) fn is_of_metric(&self) -> bool {
        match self {
            Self::Nearest => true,
            Self::MaxSim { negatives, .. } => negatives.is_empty(),
            Self::Linear { .. } | Self::Evened { .. } => false,
        }
    }
}

/// Fits a head that tells positives from negatives and from a sample of the collection, in a space.
///
/// Positives count as much together as all others do; negatives that were named count as much together as the sample. Where
/// lengths mean something (all but cosine), vectors are made even by the sample first: otherwise the objects that score most are
/// those that lie farthest out, whatever they are.
///
/// # Errors
/// Those of reading vectors; [`QueryError::Learn`] where nothing can be learned.
pub(super) fn fit(
    view: &CollectionView,
    space: &EmbeddingSpace,
    [positives, negatives]: [&[Vec<f32>]; 2],
    without: &[ObjectKey],
    stop: &StopFlag,
) -> Result<Measure, QueryError> {
    let background = sample(view, space, BACKGROUND, without)?;
    let width = space.dimension;
    let counts = [positives.len(), negatives.len(), background.len() / width];
    let shares = match counts {
        [_, 0, _] => [0.5, 0.0, 0.5],
        [_, _, 0] => [0.5, 0.5, 0.0],
        [..] => [0.5, 0.25, 0.25],
    };
    let even = match space.metric {
        Metric::Cosine => None,
        Metric::L2 | Metric::Ip => even_by(&background, [positives, negatives], width),
    };
    let named = positives.iter().chain(negatives).map(Vec::as_slice);
    let mut features = Vec::with_capacity(width * counts.iter().sum::<usize>());
    for vector in named.chain(background.chunks_exact(width)) {
        match &even {
            Some(even) => even.apply(vector, &mut features),
            None => features.extend(vector.iter().copied().map(f64::from)),
        }
    }
    let (mut labels, mut weights) = (Vec::new(), Vec::new());
    for (place, (count, share)) in counts.into_iter().zip(shares).enumerate() {
        labels.extend(std::iter::repeat_n(place == 0, count));
        weights.extend(std::iter::repeat_n(share / count.max(1) as f64, count));
    }
    let examples = Examples { width, features: &features, labels: &labels, weights: &weights };
    let progress = Progress::new(&|_, _, _| {}, stop.flag());
    let head = LinearHead::fit(&examples, ALPHA, progress).map_err(|error| match error {
        LearnError::Stopped => QueryError::Stopped,
        other => QueryError::Learn { space: space.name.clone(), source: other },
    })?;
    let LinearHead { weights, intercept } = head;
    Ok(match even {
        Some(even) => Measure::Evened { even: Arc::new(even), weights, intercept },
        None => {
            let weights = weights.iter().map(|&weight| weight as f32).collect();
            Measure::Linear { weights, intercept }
        }
    })
}

/// By a sample of the collection; by the examples where that is empty.
fn even_by(background: &[f32], named: [&[Vec<f32>]; 2], width: usize) -> Option<Even> {
    Even::of(background, width).or_else(|| {
        let named: Vec<f32> = named.into_iter().flatten().flatten().copied().collect();
        Even::of(&named, width)
    })
}
