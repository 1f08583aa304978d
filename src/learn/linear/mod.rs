//! Linear heads: least squares with a whole path of regularisations, and multinomial logistic regression.

mod folds;
mod leave;
mod logistic;
pub mod moments;
mod ridge;
mod spectrum;
#[cfg(test)]
mod tests;

use super::LearnError;
use super::lapack::{View, gemm};
pub use folds::{Folds, fold_numbers, stratified_fold_numbers};
pub use leave::LEFT_OUT_ROWS;
pub use logistic::{Labels, Logistic, LogisticFit, LogisticOptions, LogisticScore, logistic_path};
pub use ridge::{RidgeFit, RidgeOptions, RidgeScore, STRENGTHS, ridge_path};

/// Most strengths of regularisation to choose from: each takes as many sums as a fit.
pub const ALPHAS_MAX: usize = 1_000;

/// Linear functions of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Linear {
    /// Number of features.
    pub width: usize,
    /// One row of `width` numbers for each output, for the features as they are given (not scaled).
    pub weights: Vec<f64>,
    /// One for each output.
    pub intercepts: Vec<f64>,
}

impl Linear {
    /// Number of functions.
    pub fn outputs(&self) -> usize {
        self.intercepts.len()
    }

    /// Replaces `into` by the outputs of `count` examples, row-major.
    ///
    /// # Errors
    /// [`LearnError::Shape`].
    pub fn predict(
        &self,
        features: &[f64],
        count: usize,
        into: &mut Vec<f64>,
    ) -> Result<(), LearnError> {
        let outputs = self.outputs();
        let weights = View::new(&self.weights, outputs, self.width)?;
        into.clear();
        for _ in 0..count {
            into.extend_from_slice(&self.intercepts);
        }
        gemm(1.0, View::new(features, count, self.width)?, weights.transposed(), 1.0, into)
    }
}

/// Refuses weights that are not finite, negative, or not as many as examples.
pub(super) fn check_weights(weights: Option<&[f64]>, examples: usize) -> Result<(), LearnError> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != examples {
        return Err(LearnError::Shape {
            what: "weights of examples",
            given: weights.len(),
            expected: examples,
        });
    }
    finite("the weight", weights, 1)?;
    match weights.iter().find(|weight| **weight < 0.0) {
        Some(weight) => Err(LearnError::BadSetting {
            what: "a weight",
            value: weight.to_string(),
            hint: "weights are not negative",
        }),
        None => Ok(()),
    }
}

/// Refuses numbers that are not finite, of which each example has `each`.
fn finite(what: &'static str, values: &[f64], each: usize) -> Result<(), LearnError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(LearnError::NotFinite { what, example: place / each.max(1) }),
        None => Ok(()),
    }
}

/// Refuses more strengths than [`ALPHAS_MAX`].
///
/// # Errors
/// [`LearnError::BadSetting`].
pub fn check_alpha_count(alphas: &[f64]) -> Result<(), LearnError> {
    if alphas.len() <= ALPHAS_MAX {
        return Ok(());
    }
    Err(LearnError::BadSetting {
        what: "the number of strengths (alpha)",
        value: alphas.len().to_string(),
        hint: "give at most 1000 to choose from",
    })
}

/// Refuses strengths that are negative or not finite, and too many.
fn check_alphas(alphas: &[f64], is_zero_possible: bool) -> Result<(), LearnError> {
    check_alpha_count(alphas)?;
    let is_good = |alpha: &f64| {
        alpha.is_finite() && if is_zero_possible { *alpha >= 0.0 } else { *alpha > 0.0 }
    };
    match alphas.iter().find(|alpha| !is_good(alpha)) {
        None => Ok(()),
        Some(alpha) => Err(LearnError::BadSetting {
            what: "a strength of regularisation",
            value: alpha.to_string(),
            hint: if is_zero_possible { "0 or a positive number" } else { "a positive number" },
        }),
    }
}
