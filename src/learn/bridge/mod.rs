//! Bridges: maps from one embedding space into another, learned from objects that have vectors in both.
//!
//! Every fit needs the second moments of the pairs alone, which one pass sums up: memory grows with the square of the
//! dimensions and not with the number of objects.

mod begin;
mod cca;
mod evaluate;
mod judge;
mod linear;
mod map;
mod moments;
mod procrustes;
mod ridge;
#[cfg(test)]
mod tests;
mod towers;

pub use begin::{Beginning, Towers, begin};
pub use evaluate::{Likeness, Measured, Measuring, RECALL_AT, evaluate};
pub use judge::finds_as_much;
pub use map::{Activation, BridgeMap, Layer, SideMap};
pub use moments::{HELD_OUT, Pairs, UNUSED};
pub use towers::{scaling, tower};

use super::{LearnError, Progress};

/// How a bridge is fitted from moments.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// The nearest rotation.
    Procrustes {
        /// Bring the means of both spaces together, too.
        centre: bool,
        /// Stretch or shrink by one number.
        scale: bool,
    },
    /// The linear map with the least squared error and small weights.
    Ridge {
        /// Strengths to choose from by folds; empty for a grid around the mean variance.
        alphas: Vec<f64>,
    },
    /// The directions of both spaces that are most correlated.
    Cca {
        /// Components of the shared space; 0 for as many as the smaller space has.
        components: usize,
        /// Share of the mean variance that is added to the variance in every direction, against overfitting.
        regularisation: f64,
        /// Each component counts by its correlation to this power.
        power: f64,
    },
}

/// What was learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// The map.
    pub map: BridgeMap,
    /// Objects that were learned from.
    pub trained_on: usize,
    /// Ridge: the strength that was chosen.
    pub alpha: Option<f64>,
    /// Ridge: the strengths that were tried.
    pub alphas: Vec<f64>,
    /// Ridge: the share of the variance of TO that each explains in the folds left out.
    pub alpha_scores: Vec<f64>,
    /// Procrustes: what the rotation is multiplied by.
    pub scale: Option<f64>,
    /// CCA: correlation of each component in the training set.
    pub correlations: Vec<f64>,
}

impl Fitted {
    /// A map that was learned from so many objects, of which nothing else is told.
    pub fn of(map: BridgeMap, trained_on: usize) -> Self {
        Self {
            map,
            trained_on,
            alpha: None,
            alphas: Vec::new(),
            alpha_scores: Vec::new(),
            scale: None,
            correlations: Vec::new(),
        }
    }
}

/// Fits a bridge to the pairs that belong to folds; the moments are summed up on several threads.
///
/// # Errors
/// [`LearnError::TooFew`]; [`LearnError::BadSetting`]; [`LearnError::NoResult`]; [`LearnError::Unreadable`];
/// [`LearnError::Stopped`].
pub fn fit(
    pairs: &Pairs<'_>,
    method: &Method,
    threads: usize,
    progress: Progress<'_>,
) -> Result<Fitted, LearnError> {
    let folds = moments::gather(pairs, threads, progress)?;
    let all = moments::together(&folds)?;
    progress.step("solving", 0, 1)?;
    let trained_on = pairs.train_count();
    match method {
        Method::Procrustes { centre, scale } => {
            let fitted = procrustes::fit(pairs, &all, *centre, *scale)?;
            Ok(Fitted { scale: Some(fitted.scale), ..Fitted::of(fitted.map, trained_on) })
        }
        Method::Ridge { alphas } => {
            let fitted = ridge::fit(pairs, &folds, alphas, progress)?;
            Ok(Fitted {
                alpha: Some(fitted.alpha),
                alphas: fitted.alphas,
                alpha_scores: fitted.scores,
                ..Fitted::of(fitted.map, trained_on)
            })
        }
        Method::Cca { components, regularisation, power } => {
            let settings = cca::Settings {
                components: *components,
                regularisation: *regularisation,
                power: *power,
            };
            let fitted = cca::fit(pairs, &all, &settings)?;
            let correlations = fitted.correlations;
            Ok(Fitted { correlations, ..Fitted::of(fitted.map, trained_on) })
        }
    }
}
