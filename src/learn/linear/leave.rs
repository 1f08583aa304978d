//! Leaving one example out at a time, without fitting again.
//!
//! The residual of an example under the fit to all others is its residual under the fit to all, divided by one minus its
//! leverage; with the axes of the training set at hand, one pass over the features gives both for every strength.

use super::super::LearnError;
use super::super::crew::{Block, Source};
use super::super::lapack::{View, gemm};
use super::RidgeScore;
use super::moments::Examples;
use super::spectrum::Spectrum;

/// Rows that are turned to the axes, and predicted for every strength, at once by each thread.
pub const LEFT_OUT_ROWS: usize = 256;

/// A leverage this near to 1 means that the fit follows the example wherever it is.
const FREE: f64 = 1e-10;

/// What the pass needs of the training set.
struct Path<'a> {
    spectrum: &'a Spectrum,
    examples: Examples<'a>,
    alphas: usize,
    /// `alphas x width`: what each axis adds to a leverage.
    inverses: Vec<f64>,
    /// `alphas * outputs x width`: coefficients along the axes.
    along: Vec<f64>,
    target_mean: Vec<f64>,
}

/// Sums of one thread, and its working memory.
struct Sums {
    /// `alphas x outputs`.
    squares: Vec<f64>,
    scaled: Vec<f64>,
    turned: Vec<f64>,
    predicted: Vec<f64>,
    leverages: Vec<f64>,
}

/// Scores of each strength.
pub(super) fn leave_one_out(
    source: &Source<'_>,
    spectrum: &Spectrum,
    target_mean: Vec<f64>,
    examples: Examples<'_>,
    alphas: &[f64],
    threads: usize,
    step: impl FnMut(usize) -> Result<(), LearnError>,
) -> Result<Vec<RidgeScore>, LearnError> {
    let outputs = spectrum.outputs();
    let path = Path {
        spectrum,
        examples,
        alphas: alphas.len(),
        inverses: alphas.iter().flat_map(|alpha| spectrum.inverses(*alpha)).collect(),
        along: spectrum.along_axes(alphas),
        target_mean,
    };
    let empty = || Sums {
        squares: vec![0.0; alphas.len() * outputs],
        scaled: Vec::new(),
        turned: vec![0.0; LEFT_OUT_ROWS * spectrum.width()],
        predicted: vec![0.0; LEFT_OUT_ROWS * alphas.len() * outputs],
        leverages: vec![0.0; LEFT_OUT_ROWS * alphas.len()],
    };
    let sums = (0..threads.max(1)).map(|_| empty()).collect();
    let sums = source.sweep(sums, |sums, block| path.add(sums, block), step)?;
    let mut squares = vec![0.0; alphas.len() * outputs];
    for each in &sums {
        squares.iter_mut().zip(&each.squares).for_each(|(sum, square)| *sum += square);
    }
    Ok(squares
        .chunks(outputs)
        .map(|squares| RidgeScore::of(squares, &spectrum.target_square, spectrum.weight))
        .collect())
}

impl Path<'_> {
    fn add(&self, sums: &mut Sums, block: &Block<'_>) -> Result<(), LearnError> {
        let width = self.spectrum.width();
        for (number, rows) in block.rows.chunks(LEFT_OUT_ROWS * width).enumerate() {
            self.add_rows(sums, block.first + number * LEFT_OUT_ROWS, rows)?;
        }
        Ok(())
    }

    fn add_rows(&self, sums: &mut Sums, first: usize, rows: &[f64]) -> Result<(), LearnError> {
        let Spectrum { mean, scale, axes, .. } = self.spectrum;
        let (width, outputs) = (self.spectrum.width(), self.spectrum.outputs());
        let count = rows.len() / width;
        sums.scaled.clear();
        for row in rows.chunks(width) {
            let centred =
                row.iter().zip(mean).zip(scale).map(|((x, mean), scale)| (x - mean) / scale);
            sums.scaled.extend(centred);
        }
        let turned = &mut sums.turned[..count * width];
        let axes = View::new(axes, width, width)?.transposed();
        gemm(1.0, View::new(&sums.scaled, count, width)?, axes, 0.0, turned)?;
        let every = self.alphas * outputs;
        let predicted = &mut sums.predicted[..count * every];
        let along = View::new(&self.along, every, width)?.transposed();
        gemm(1.0, View::new(turned, count, width)?, along, 0.0, predicted)?;
        for value in &mut *turned {
            *value *= *value;
        }
        let leverages = &mut sums.leverages[..count * self.alphas];
        let inverses = View::new(&self.inverses, self.alphas, width)?.transposed();
        gemm(1.0, View::new(turned, count, width)?, inverses, 0.0, leverages)?;
        for at in 0..count {
            let example = first + at;
            let weight = self.examples.weights.map_or(1.0, |weights| weights[example]);
            let targets = &self.examples.targets[example * outputs..(example + 1) * outputs];
            for alpha in 0..self.alphas {
                let leverage = leverages[at * self.alphas + alpha] + 1.0 / self.spectrum.weight;
                let left = 1.0 - weight * leverage;
                // The fit to the others says nothing about such an example; the strength is not to be chosen.
                let divisor = if left > FREE { left } else { 0.0 };
                for (output, target) in targets.iter().enumerate() {
                    let place = alpha * outputs + output;
                    let residual =
                        target - self.target_mean[output] - predicted[at * every + place];
                    if weight > 0.0 {
                        sums.squares[place] += if divisor > 0.0 {
                            weight * (residual / divisor).powi(2)
                        } else {
                            f64::INFINITY
                        };
                    }
                }
            }
        }
        Ok(())
    }
}
