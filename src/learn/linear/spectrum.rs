//! One training set in the coordinates of its principal axes, where every strength of regularisation is a division.

use super::super::LearnError;
use super::super::lapack::{View, eigh, gemm};
use super::Linear;
use super::moments::Summary;

/// A least-squares problem, diagonalised.
pub(super) struct Spectrum {
    pub(super) mean: Vec<f64>,
    /// Divisors of the features, all 1 unless they are standardised.
    pub(super) scale: Vec<f64>,
    target_mean: Vec<f64>,
    /// Eigenvalues of the scaled Gram matrix, none negative.
    pub(super) values: Vec<f64>,
    /// Row `i` is the eigenvector of value `i`.
    pub(super) axes: Vec<f64>,
    /// `outputs x width`: products of the targets with the features along the axes.
    pub(super) cross: Vec<f64>,
    /// Below it an eigenvalue is rounding.
    cutoff: f64,
    /// Features that are constant.
    pub(super) constant: usize,
    pub(super) count: u64,
    pub(super) weight: f64,
    pub(super) target_square: Vec<f64>,
}

impl Spectrum {
    pub(super) fn of(summary: Summary, standardize: bool) -> Result<Self, LearnError> {
        let width = summary.mean.len();
        let outputs = summary.target_mean.len();
        let (deviations, constant) = summary.deviations();
        let Summary { count, weight, mean, target_mean, mut gram, mut cross, target_square } =
            summary;
        let scale = if standardize { deviations } else { vec![1.0; width] };
        if standardize {
            for (row, of_row) in gram.chunks_mut(width).zip(&scale) {
                row.iter_mut().zip(&scale).for_each(|(cell, scale)| *cell /= of_row * scale);
            }
            for row in cross.chunks_mut(width) {
                row.iter_mut().zip(&scale).for_each(|(cell, scale)| *cell /= scale);
            }
        }
        let eigen = eigh(gram, width)?;
        let mut turned = vec![0.0; outputs * width];
        let axes = View::new(&eigen.vectors, width, width)?;
        gemm(1.0, View::new(&cross, outputs, width)?, axes.transposed(), 0.0, &mut turned)?;
        let largest = eigen.values.last().copied().unwrap_or(0.0).max(0.0);
        let cutoff = largest * f64::EPSILON * (width as f64).max(count as f64).min(1e6);
        Ok(Self {
            mean,
            scale,
            target_mean,
            values: eigen.values.into_iter().map(|value| value.max(0.0)).collect(),
            axes: eigen.vectors,
            cross: turned,
            cutoff,
            constant,
            count,
            weight,
            target_square,
        })
    }

    pub(super) fn width(&self) -> usize {
        self.mean.len()
    }

    pub(super) fn outputs(&self) -> usize {
        self.target_mean.len()
    }

    /// `1 / (value + alpha)` of each axis; 0 where nothing but rounding is divided by, which makes the solution without
    /// regularisation the one of minimum norm.
    pub(super) fn inverses(&self, alpha: f64) -> impl Iterator<Item = f64> {
        self.values.iter().map(move |value| {
            let divisor = value + alpha;
            if divisor > self.cutoff { 1.0 / divisor } else { 0.0 }
        })
    }

    /// Coefficients along the axes for each strength: `alphas * outputs` rows of `width`.
    pub(super) fn along_axes(&self, alphas: &[f64]) -> Vec<f64> {
        let mut rows = Vec::with_capacity(alphas.len() * self.cross.len());
        for alpha in alphas {
            let inverses: Vec<f64> = self.inverses(*alpha).collect();
            for cross in self.cross.chunks(self.width()) {
                rows.extend(cross.iter().zip(&inverses).map(|(cross, inverse)| cross * inverse));
            }
        }
        rows
    }

    /// The fit of each strength, for the features as they were given.
    pub(super) fn fits(&self, alphas: &[f64]) -> Result<Vec<Linear>, LearnError> {
        let (width, outputs) = (self.width(), self.outputs());
        let along = self.along_axes(alphas);
        let rows = alphas.len() * outputs;
        let mut weights = vec![0.0; rows * width];
        let axes = View::new(&self.axes, width, width)?;
        gemm(1.0, View::new(&along, rows, width)?, axes, 0.0, &mut weights)?;
        for row in weights.chunks_mut(width) {
            row.iter_mut().zip(&self.scale).for_each(|(weight, scale)| *weight /= scale);
        }
        let fit = |weights: &[f64]| Linear {
            width,
            weights: weights.to_vec(),
            intercepts: weights
                .chunks(width)
                .zip(&self.target_mean)
                .map(|(row, target)| target - dot(row, &self.mean))
                .collect(),
        };
        Ok(weights.chunks(outputs * width).map(fit).collect())
    }
}

pub(super) fn dot(left: &[f64], right: &[f64]) -> f64 {
    left.iter().zip(right).map(|(a, b)| a * b).sum()
}

/// Weighted squared residuals of each output of a fit over the examples of a summary: with the residuals' part that varies
/// and the mean residual apart, so that large means cost no digits.
pub(super) fn residuals(fit: &Linear, over: &Summary) -> Result<Vec<f64>, LearnError> {
    let (width, outputs) = (fit.width, fit.outputs());
    let mut turned = vec![0.0; outputs * width];
    let gram = View::new(&over.gram, width, width)?;
    gemm(1.0, View::new(&fit.weights, outputs, width)?, gram, 0.0, &mut turned)?;
    Ok((0..outputs)
        .map(|output| {
            let range = output * width..(output + 1) * width;
            let weights = &fit.weights[range.clone()];
            let offset =
                over.target_mean[output] - fit.intercepts[output] - dot(weights, &over.mean);
            let varying = over.target_square[output]
                - 2.0 * dot(weights, &over.cross[range.clone()])
                + dot(weights, &turned[range]);
            varying.max(0.0) + over.weight * offset.powi(2)
        })
        .collect())
}
