//! Mixtures of Gaussians: what a density head says of a number.

use std::f64::consts::PI;

use super::erf::normal_cdf;

/// Halvings of the interval in which a quantile lies: enough for every bit of a double.
const HALVINGS: usize = 200;

/// Standard deviations around the outermost means between which quantiles are looked for.
const REACH: f64 = 40.0;

/// A density: the sum of weighted Gaussians (Bishop 1994). The three lists are equally long, and the weights add up to 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Mixture {
    /// Weight of each Gaussian.
    pub weights: Vec<f64>,
    /// Mean of each, in the unit of the target.
    pub means: Vec<f64>,
    /// Standard deviation of each, in the unit of the target; above zero.
    pub sigmas: Vec<f64>,
}

impl Mixture {
    fn parts(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let parts = self.weights.iter().zip(&self.means).zip(&self.sigmas);
        parts.map(|((weight, mean), sigma)| (*weight, *mean, *sigma))
    }

    /// The expected value.
    pub fn mean(&self) -> f64 {
        self.parts().map(|(weight, mean, _)| weight * mean).sum()
    }

    /// The standard deviation.
    pub fn sigma(&self) -> f64 {
        let centre = self.mean();
        let second = |(weight, mean, sigma): (f64, f64, f64)| {
            weight * (sigma * sigma + (mean - centre) * (mean - centre))
        };
        self.parts().map(second).sum::<f64>().sqrt()
    }

    /// Natural logarithm of the density at a value.
    pub fn log_density(&self, value: f64) -> f64 {
        let logarithm = |(weight, mean, sigma): (f64, f64, f64)| {
            let z = (value - mean) / sigma;
            weight.ln() - 0.5 * z * z - sigma.ln() - 0.5 * (2.0 * PI).ln()
        };
        let highest = self.parts().map(logarithm).fold(f64::NEG_INFINITY, f64::max);
        if !highest.is_finite() {
            return highest;
        }
        let sum: f64 = self.parts().map(|part| (logarithm(part) - highest).exp()).sum();
        highest + sum.ln()
    }

    /// Probability that the number is below a value.
    pub fn cdf(&self, value: f64) -> f64 {
        self.parts().map(|(weight, mean, sigma)| weight * normal_cdf((value - mean) / sigma)).sum()
    }

    /// The value below which the number is with probability `p`, which is inside of 0 to 1; NaN otherwise.
    pub fn quantile(&self, p: f64) -> f64 {
        if !(p > 0.0 && p < 1.0) || self.weights.is_empty() {
            return f64::NAN;
        }
        let ends =
            self.parts().map(|(_, mean, sigma)| (mean - REACH * sigma, mean + REACH * sigma));
        let (mut low, mut high) = ends
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (left, right)| {
                (low.min(left), high.max(right))
            });
        for _ in 0..HALVINGS {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if self.cdf(middle) < p { low = middle } else { high = middle }
        }
        0.5 * (low + high)
    }
}
