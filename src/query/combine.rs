//! How several examples become one term, and several terms one order.

use std::fmt;
use std::str::FromStr;

use super::error::QueryError;
use crate::learn::discover::{Calibration, reciprocal_rank};

/// How the examples of a term become a distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// The example itself where there is one, the mean of several, Rocchio's rule where there are negatives.
    #[default]
    Automatic,
    /// The distance to the mean of the positives.
    Centroid,
    /// The distance to the mean of the positives, moved away from the mean of the negatives by half of their difference.
    Rocchio,
    /// The distance to the nearest positive, less half the distance to the nearest negative.
    MaxSim,
    /// Minus the logit of a logistic regression, fitted to the positives against the negatives and a sample of the collection.
    Probe,
}

impl Method {
    /// The name on the command line and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Centroid => "centroid",
            Self::Rocchio => "rocchio",
            Self::MaxSim => "max-sim",
            Self::Probe => "probe",
        }
    }
}

/// How several terms become one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fusion {
    /// The weighted mean of the distances as they are: for spaces whose distances are alike.
    #[default]
    Distances,
    /// Minus the weighted mean of the calibrated similarities.
    Weighted,
    /// Minus the weighted mean of the reciprocal ranks, moved by a constant of 60.
    ReciprocalRank,
    /// Minus the largest of the calibrated similarities: like in any of the spaces.
    Max,
    /// Minus the smallest of them: like in all of the spaces.
    Min,
}

impl Fusion {
    const ALL: [Self; 5] =
        [Self::Distances, Self::Weighted, Self::ReciprocalRank, Self::Max, Self::Min];

    /// The name on the command line and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distances => "distances",
            Self::Weighted => "weighted",
            Self::ReciprocalRank => "rrf",
            Self::Max => "max",
            Self::Min => "min",
        }
    }

    /// Whether distances are compared by how they are distributed.
    pub(super) fn is_calibrated(self) -> bool {
        matches!(self, Self::Weighted | Self::Max | Self::Min)
    }
}

impl fmt::Display for Fusion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Fusion {
    type Err = QueryError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|fusion| fusion.name() == name);
        found.ok_or_else(|| QueryError::UnknownFusion { fusion: name.to_owned() })
    }
}

/// What becomes of an object that lacks the vector of one of several terms. One that lacks them all is never a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// It is left out: every term's vector is required.
    #[default]
    Require,
    /// The missing term counts as an object of the mean distance does, in ranks as the middle one.
    Neutral,
}

impl Missing {
    /// The name on the command line and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Require => "require",
            Self::Neutral => "neutral",
        }
    }
}

/// Everything that makes one number of several distances.
#[derive(Debug, Clone)]
pub(super) struct Combination {
    pub(super) fusion: Fusion,
    pub(super) missing: Missing,
    /// One for each term; empty where they are not needed.
    pub(super) calibrations: Vec<Calibration>,
}

impl Combination {
    /// One number of the terms' distances, smaller is nearer; `None` for an object that is left out. Not for ranks.
    ///
    /// It never falls when one of the distances grows.
    pub(super) fn fuse(&self, shares: &[f64], distances: &[Option<f64>]) -> Option<f64> {
        if !self.admits(distances) {
            return None;
        }
        let calibrated = |term: usize| {
            let calibration = self.calibrations.get(term);
            distances[term].map_or(0.0, |distance| {
                calibration.map_or(-distance, |calibration| calibration.similarity(distance))
            })
        };
        let terms = 0..distances.len();
        let value = match self.fusion {
            Fusion::Distances | Fusion::ReciprocalRank => {
                let mean =
                    |term: usize| self.calibrations.get(term).map_or(0.0, |known| known.mean);
                let each =
                    |term: usize| shares[term] * distances[term].unwrap_or_else(|| mean(term));
                terms.map(each).sum()
            }
            Fusion::Weighted => -terms.map(|term| shares[term] * calibrated(term)).sum::<f64>(),
            Fusion::Max => -terms.map(calibrated).fold(f64::NEG_INFINITY, f64::max),
            Fusion::Min => -terms.map(calibrated).fold(f64::INFINITY, f64::min),
        };
        // Turns -0 into 0, so that it is also printed as what it is.
        Some(value + 0.0)
    }

    /// Whether an object with these distances can be a hit.
    pub(super) fn admits(&self, distances: &[Option<f64>]) -> bool {
        match self.missing {
            Missing::Require => distances.iter().all(Option::is_some),
            Missing::Neutral => distances.iter().any(Option::is_some),
        }
    }

    /// One number of the terms' ranks, from 1; `ranked` tells how many objects each term ranks.
    pub(super) fn fuse_ranks(shares: &[f64], ranks: &[Option<u32>], ranked: &[u32]) -> f64 {
        let each = |term: usize| {
            let middle = f64::midpoint(f64::from(ranked[term]), 1.0);
            shares[term] * reciprocal_rank(ranks[term].map_or(middle, f64::from))
        };
        -(0..ranks.len()).map(each).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combination(fusion: Fusion, missing: Missing) -> Combination {
        let calibration = |mean, spread| Calibration { mean, spread, count: 10 };
        Combination {
            fusion,
            missing,
            calibrations: vec![calibration(10.0, 2.0), calibration(1.0, 0.1)],
        }
    }

    #[test]
    fn modes_do_what_they_say() {
        let fused = |fusion| {
            combination(fusion, Missing::Require)
                .fuse(&[0.25, 0.75], &[Some(6.0), Some(0.9)])
                .expect("a hit")
        };
        let near = |left: f64, right: f64| assert!((left - right).abs() < 1e-12, "{left} {right}");
        near(fused(Fusion::Distances), 0.25 * 6.0 + 0.75 * 0.9);
        near(fused(Fusion::Weighted), -(0.25 * 2.0 + 0.75 * 1.0));
        near(fused(Fusion::Max), -2.0);
        near(fused(Fusion::Min), -1.0);
    }

    #[test]
    fn what_is_missing_is_left_out_or_the_mean() {
        for fusion in [Fusion::Distances, Fusion::Weighted, Fusion::Max, Fusion::Min] {
            assert_eq!(
                combination(fusion, Missing::Require).fuse(&[0.5, 0.5], &[Some(6.0), None]),
                None
            );
            let neutral = combination(fusion, Missing::Neutral);
            assert_eq!(neutral.fuse(&[0.5, 0.5], &[None, None]), None);
            let missing = neutral.fuse(&[0.5, 0.5], &[Some(6.0), None]).expect("a hit");
            let mean = neutral.fuse(&[0.5, 0.5], &[Some(6.0), Some(1.0)]).expect("a hit");
            assert!((missing - mean).abs() < 1e-12, "{fusion}");
        }
    }

    #[test]
    fn ranks_count_less_the_later_they_are() {
        let fused = Combination::fuse_ranks(&[0.5, 0.5], &[Some(1), None], &[9, 9]);
        assert!((fused + 0.5 / 61.0 + 0.5 / 65.0).abs() < 1e-12);
    }

    #[test]
    fn names_are_read_back() {
        for fusion in Fusion::ALL {
            assert_eq!(fusion.name().parse::<Fusion>().expect("a name"), fusion);
        }
        assert!("mean".parse::<Fusion>().is_err());
    }
}
