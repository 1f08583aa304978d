//! Newton's method with conjugate gradients, preconditioned by the principal axes of the features.
//!
//! The second derivatives of an example's loss are the product of two matrices: that of its features, and `diag(p) - p p'`
//! between the classes. With the mean of the latter in place of each, the regularised matrix is inverted by one division
//! along each pair of axes, and conjugate gradients have little left to do. The direction in which all classes move
//! together, where only the penalty resists, is one of the axes.

use super::super::super::lapack::{Eigen, View, eigh, gemm};
use super::super::super::{LearnError, Progress};
use super::super::spectrum::{Spectrum, dot};
use super::objective::{ABSENT, Data, Functions};

const STEPS: usize = 200;
const INNER_STEPS: usize = 500;
const HALVINGS: usize = 40;

/// Part of the largest curvature between classes below which one is rounding.
const FLAT: f64 = 1e-13;

/// Squared length of a Newton step, in units of the objective, after which the next one would change nothing.
const SMALL: f64 = 1e-12;

/// Relative residual to which the last step is solved.
const EXACT: f64 = 1e-3;

/// Minimising the loss of one training set plus `alpha / 2 ||w||^2`.
///
/// Coefficients belong to features less the training mean, divided by their scale, and are followed by the intercepts.
pub(super) struct Problem<'a> {
    pub(super) data: Data<'a>,
    /// Of the training set.
    pub(super) spectrum: &'a Spectrum,
    /// Mean of the training set less the centre of all.
    pub(super) offset: Vec<f64>,
    /// Of the classes, in training.
    pub(super) class_weights: Vec<f64>,
    pub(super) alpha: f64,
    pub(super) progress: Progress<'a>,
}

/// A point and what is known of the objective there.
struct Point {
    at: Vec<f64>,
    functions: Functions,
    value: f64,
    gradient: Vec<f64>,
    /// Axes of the mean curvature between the functions.
    classes: Eigen,
}

impl Problem<'_> {
    fn width(&self) -> usize {
        self.data.width
    }

    fn functions(&self) -> usize {
        self.data.functions()
    }

    /// Whether the training set has the class of a function.
    fn is_present(&self, function: usize) -> bool {
        let fixed = self.data.classes - self.functions();
        self.class_weights[function + fixed] > 0.0
    }

    /// Where to start: at what is known without features.
    pub(super) fn start(&self) -> Vec<f64> {
        let mut at = vec![0.0; self.functions() * (self.width() + 1)];
        let (_, intercepts) = at.split_at_mut(self.functions() * self.width());
        if self.data.classes == 2 {
            intercepts[0] = (self.class_weights[1] / self.class_weights[0]).ln();
        } else {
            for (intercept, weight) in intercepts.iter_mut().zip(&self.class_weights) {
                *intercept = if *weight > 0.0 { weight.ln() } else { 0.0 };
            }
            self.level(intercepts);
        }
        at
    }

    /// Subtracts the mean of the intercepts: a constant added to all of them changes nothing.
    fn level(&self, intercepts: &mut [f64]) {
        if self.data.classes == 2 {
            return;
        }
        let present = |function: &usize| self.is_present(*function);
        let count = (0..intercepts.len()).filter(present).count();
        let mean = (0..intercepts.len()).filter(present).map(|at| intercepts[at]).sum::<f64>()
            / count.max(1) as f64;
        for (function, intercept) in intercepts.iter_mut().enumerate() {
            *intercept = if self.is_present(function) { *intercept - mean } else { 0.0 };
        }
    }

    /// Coefficients as functions of features less the centre.
    pub(super) fn functions_at(&self, at: &[f64]) -> Functions {
        let (weights, intercepts) = at.split_at(self.functions() * self.width());
        let unscale = |row: &[f64]| -> Vec<f64> {
            row.iter().zip(&self.spectrum.scale).map(|(weight, scale)| weight / scale).collect()
        };
        let weights: Vec<f64> = weights.chunks(self.width()).flat_map(unscale).collect();
        let rows = weights.chunks(self.width()).zip(intercepts);
        let intercepts = rows.map(|(row, intercept)| intercept - dot(row, &self.offset)).collect();
        Functions { weights, intercepts }
    }

    /// The same for the objective, which gives classes that the training set lacks no probability.
    pub(super) fn predictor(&self, at: &[f64]) -> Functions {
        let mut functions = self.functions_at(at);
        for (function, intercept) in functions.intercepts.iter_mut().enumerate() {
            if !self.is_present(function) {
                *intercept = ABSENT;
            }
        }
        functions
    }

    /// Derivatives by the coefficients, from those by the functions.
    fn derivatives(&self, weights: &[f64], intercepts: &[f64], at: &[f64]) -> Vec<f64> {
        let mut derivatives = Vec::with_capacity(at.len());
        for (row, pull) in weights.chunks(self.width()).zip(intercepts) {
            let scaled = row.iter().zip(&self.offset).zip(&self.spectrum.scale);
            derivatives.extend(scaled.map(|((sum, offset), scale)| (sum - offset * pull) / scale));
        }
        derivatives.iter_mut().zip(at).for_each(|(each, at)| *each += self.alpha * at);
        derivatives.extend_from_slice(intercepts);
        derivatives
    }

    fn step(&self, stage: &str) -> Result<(), LearnError> {
        self.progress.step(stage, 0, 0)
    }

    fn point(&self, at: Vec<f64>) -> Result<Point, LearnError> {
        let functions = self.predictor(&at);
        let sums = self.data.gradient(&functions, |_| self.step("fitting"))?;
        let weights = &at[..self.functions() * self.width()];
        let value = sums.loss + 0.5 * self.alpha * dot(weights, weights);
        let gradient = self.derivatives(&sums.weights, &sums.intercepts, &at);
        let mut curvature = sums.curvature;
        for each in &mut curvature {
            *each /= self.spectrum.weight;
        }
        let mut classes = eigh(curvature, self.functions())?;
        let largest = classes.values.last().copied().unwrap_or(0.0);
        for value in &mut classes.values {
            *value = if *value > FLAT * largest { *value } else { 0.0 };
        }
        Ok(Point { at, functions, value, gradient, classes })
    }

    fn curve(&self, point: &Point, along: &[f64]) -> Result<Vec<f64>, LearnError> {
        let step = |_| self.step("fitting");
        let sums = self.data.curve(&point.functions, &self.functions_at(along), step)?;
        Ok(self.derivatives(&sums.weights, &sums.intercepts, along))
    }

    /// Applies the inverse of the approximate second derivatives.
    fn precondition(&self, point: &Point, residual: &[f64]) -> Result<Vec<f64>, LearnError> {
        let (width, functions) = (self.width(), self.functions());
        let (rows, intercepts) = residual.split_at(functions * width);
        let axes = View::new(&self.spectrum.axes, width, width)?;
        let classes = View::new(&point.classes.vectors, functions, functions)?;
        let (mut half, mut turned) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
        gemm(1.0, classes, View::new(rows, functions, width)?, 0.0, &mut half)?;
        gemm(1.0, View::new(&half, functions, width)?, axes.transposed(), 0.0, &mut turned)?;
        for (row, curvature) in turned.chunks_mut(width).zip(&point.classes.values) {
            for (value, eigenvalue) in row.iter_mut().zip(&self.spectrum.values) {
                *value /= curvature * eigenvalue + self.alpha;
            }
        }
        gemm(1.0, View::new(&turned, functions, width)?, axes, 0.0, &mut half)?;
        let mut solved = turned;
        gemm(1.0, classes.transposed(), View::new(&half, functions, width)?, 0.0, &mut solved)?;
        let mut along = vec![0.0; functions];
        gemm(1.0, classes, View::new(intercepts, functions, 1)?, 0.0, &mut along)?;
        for (value, curvature) in along.iter_mut().zip(&point.classes.values) {
            let divisor = curvature * self.spectrum.weight;
            *value = if divisor > 0.0 { *value / divisor } else { 0.0 };
        }
        let mut intercepts = vec![0.0; functions];
        gemm(1.0, classes.transposed(), View::new(&along, functions, 1)?, 0.0, &mut intercepts)?;
        solved.extend(intercepts);
        Ok(solved)
    }

    /// Solves for Newton's step until the residual has shrunk to `exact`.
    fn direction(&self, point: &Point, exact: f64) -> Result<Vec<f64>, LearnError> {
        let mut residual: Vec<f64> = point.gradient.iter().map(|each| -each).collect();
        let mut solved = self.precondition(point, &residual)?;
        let mut along = solved.clone();
        let mut direction = vec![0.0; residual.len()];
        let mut square = dot(&residual, &solved);
        let enough = square * exact.powi(2);
        for _ in 0..INNER_STEPS {
            let curved = self.curve(point, &along)?;
            let bend = dot(&along, &curved);
            if bend <= 0.0 {
                break;
            }
            let length = square / bend;
            for at in 0..direction.len() {
                direction[at] += length * along[at];
                residual[at] -= length * curved[at];
            }
            solved = self.precondition(point, &residual)?;
            let next = dot(&residual, &solved);
            if next <= enough {
                break;
            }
            let ratio = next / square;
            along
                .iter_mut()
                .zip(&solved)
                .for_each(|(along, solved)| *along = solved + ratio * *along);
            square = next;
        }
        Ok(direction)
    }

    /// The coefficients of the minimum.
    pub(super) fn solve(&self, start: Vec<f64>) -> Result<Vec<f64>, LearnError> {
        let mut point = self.point(start)?;
        let mut first_square = None;
        for _ in 0..STEPS {
            let square = dot(&point.gradient, &self.precondition(&point, &point.gradient)?);
            if square <= f64::MIN_POSITIVE {
                return Ok(point.at);
            }
            let first_square = *first_square.get_or_insert(square);
            let exact = (square / first_square).powf(0.25).clamp(1e-6, 0.1);
            let exact = if square <= SMALL.sqrt() * point.value { exact.min(EXACT) } else { exact };
            let direction = self.direction(&point, exact)?;
            let slope = dot(&point.gradient, &direction);
            if -slope <= SMALL * point.value && exact <= EXACT {
                point.at.iter_mut().zip(&direction).for_each(|(at, step)| *at += step);
                return Ok(point.at);
            }
            point = self.advance(&point, &direction, slope)?;
        }
        Err(no_result())
    }

    /// Goes along a direction as far as the objective falls.
    fn advance(&self, point: &Point, direction: &[f64], slope: f64) -> Result<Point, LearnError> {
        let mut length = 1.0;
        for _ in 0..HALVINGS {
            let at = point.at.iter().zip(direction).map(|(at, step)| at + length * step).collect();
            let next = self.point(at)?;
            if next.value <= point.value + 1e-4 * length * slope + 1e-13 * point.value {
                return Ok(next);
            }
            length /= 2.0;
        }
        Err(no_result())
    }
}

fn no_result() -> LearnError {
    let hint = "standardise the features, or give a larger regularisation".to_owned();
    LearnError::NoResult { what: "logistic regression", hint }
}
