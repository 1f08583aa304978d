//! The logistic loss of a training set, its gradient and its curvature, by passes over the features.

use super::super::super::LearnError;
use super::super::super::crew::{Block, Source};
use super::super::super::lapack::{View, gemm, syrk};
use super::super::spectrum::dot;
use super::Labels;

/// Logit of a class that a training set lacks: its probability is 0, whatever the others say.
pub(super) const ABSENT: f64 = -1e4;

/// Smallest probability that a score takes a logarithm of, as scikit-learn has it.
const LEAST: f64 = f64::EPSILON;

/// Examples and their labels; those of one fold may be held out.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    /// Features less a centre.
    pub(super) source: &'a Source<'a>,
    pub(super) width: usize,
    pub(super) labels: Labels<'a>,
    pub(super) classes: usize,
    pub(super) weights: Option<&'a [f64]>,
    /// Fold of each example and the fold that is held out.
    pub(super) held: Option<(&'a [u32], u32)>,
    pub(super) threads: usize,
}

/// Linear functions as the passes compute them: for features less the centre, not scaled.
pub(super) struct Functions {
    /// Row-major, one row of `width` for each.
    pub(super) weights: Vec<f64>,
    pub(super) intercepts: Vec<f64>,
}

/// What a pass sums up.
#[derive(Default)]
pub(super) struct Sums {
    /// Like the weights of the functions.
    pub(super) weights: Vec<f64>,
    pub(super) intercepts: Vec<f64>,
    /// Cross entropy.
    pub(super) loss: f64,
    /// Between the functions: sum of `diag(p) - p p'`, its upper triangle.
    pub(super) curvature: Vec<f64>,
    logits: Vec<f64>,
    pulls: Vec<f64>,
    /// Probabilities of the block's examples, times the roots of their weights.
    chances: Vec<f64>,
    row: Vec<f64>,
}

/// How good predictions of held-out examples are.
#[derive(Default)]
pub(super) struct Judged {
    pub(super) loss: f64,
    pub(super) right: f64,
    /// Weights of examples, and of their labels.
    pub(super) weight: f64,
    pub(super) labelled: f64,
    logits: Vec<f64>,
    row: Vec<f64>,
}

impl Data<'_> {
    /// Number of linear functions: one logit for two classes, otherwise one for each.
    pub(super) fn functions(&self) -> usize {
        if self.classes == 2 { 1 } else { self.classes }
    }

    /// Weight of an example in training.
    fn weight(&self, example: usize) -> f64 {
        if self.is_held(example) { 0.0 } else { self.own_weight(example) }
    }

    fn own_weight(&self, example: usize) -> f64 {
        self.weights.map_or(1.0, |weights| weights[example])
    }

    fn is_held(&self, example: usize) -> bool {
        self.held.is_some_and(|(of, fold)| of[example] == fold)
    }

    /// Weight of each class in training.
    pub(super) fn class_weights(&self, examples: usize) -> Vec<f64> {
        let mut sums = vec![0.0; self.classes];
        for example in 0..examples {
            let weight = self.weight(example);
            for (class, sum) in sums.iter_mut().enumerate() {
                *sum += weight * self.labels.of(example, class, self.classes);
            }
        }
        sums
    }

    /// Loss, its gradient, and the curvature.
    pub(super) fn gradient(
        &self,
        at: &Functions,
        step: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Sums, LearnError> {
        self.sweep(at, None, step)
    }

    /// Product of the loss's second derivatives with a direction.
    pub(super) fn curve(
        &self,
        at: &Functions,
        along: &Functions,
        step: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Sums, LearnError> {
        self.sweep(at, Some(along), step)
    }

    fn sweep(
        &self,
        at: &Functions,
        along: Option<&Functions>,
        step: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Sums, LearnError> {
        let functions = self.functions();
        let empty = || Sums {
            weights: vec![0.0; functions * self.width],
            intercepts: vec![0.0; functions],
            curvature: vec![0.0; functions * functions],
            ..Sums::default()
        };
        // Both sets of functions in one product, so that a row is read once.
        let mut stacked = at.weights.clone();
        stacked.extend(along.iter().flat_map(|along| &along.weights));
        let mut intercepts = at.intercepts.clone();
        intercepts.extend(along.iter().flat_map(|along| &along.intercepts));
        let stacked = Functions { weights: stacked, intercepts };
        let work = |sums: &mut Sums, block: &Block<'_>| self.add(sums, block, &stacked);
        let all = (0..self.threads.max(1)).map(|_| empty()).collect();
        let parts = self.source.sweep(all, work, step)?;
        let mut total = empty();
        for part in &parts {
            let add = |sum: &mut [f64], part: &[f64]| {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            };
            add(&mut total.weights, &part.weights);
            add(&mut total.intercepts, &part.intercepts);
            add(&mut total.curvature, &part.curvature);
            total.loss += part.loss;
        }
        Ok(total)
    }

    /// Adds a block. With as many functions as logits it is the gradient that is added; with twice as many, the curvature
    /// along the second half.
    fn add(&self, sums: &mut Sums, block: &Block<'_>, at: &Functions) -> Result<(), LearnError> {
        let (functions, columns) = (self.functions(), at.intercepts.len());
        let count = block.rows.len() / self.width;
        logits(&mut sums.logits, &block.rows, count, at, self.width)?;
        for cleared in [&mut sums.pulls, &mut sums.chances] {
            cleared.clear();
            cleared.resize(count * functions, 0.0);
        }
        sums.row.resize(self.classes, 0.0);
        // Out of the sums while they change.
        let logits = std::mem::take(&mut sums.logits);
        for (row, of) in logits.chunks(columns).zip(0..count) {
            let weight = self.weight(block.first + of);
            if weight > 0.0 {
                let (row, along) = row.split_at(functions);
                if along.is_empty() {
                    self.pull(sums, row, block.first + of, of, weight);
                } else {
                    self.turn(sums, row, along, block.first + of, of, weight);
                }
            }
        }
        sums.logits = logits;
        for pulls in sums.pulls.chunks(functions) {
            sums.intercepts.iter_mut().zip(pulls).for_each(|(sum, pull)| *sum += pull);
        }
        if columns == functions {
            let chances = View::new(&sums.chances, count, functions)?;
            syrk(-1.0, chances, 1.0, &mut sums.curvature)?;
        }
        let pulls = View::new(&sums.pulls, count, functions)?.transposed();
        gemm(1.0, pulls, View::new(&block.rows, count, self.width)?, 1.0, &mut sums.weights)
    }

    /// Loss of an example, and its derivatives by the logits.
    fn pull(&self, sums: &mut Sums, logits: &[f64], example: usize, row: usize, weight: f64) {
        let functions = logits.len();
        let fixed = self.classes - functions;
        let log_sum = softmax(logits, &mut sums.row);
        let whole = weight * self.labels.whole(example, self.classes);
        let root = whole.sqrt();
        for class in 0..self.classes {
            let logit = if class < fixed { 0.0 } else { logits[class - fixed] };
            let label = self.labels.of(example, class, self.classes);
            if label > 0.0 {
                sums.loss += weight * label * (log_sum - logit);
            }
            if class >= fixed {
                let (function, p) = (class - fixed, sums.row[class]);
                sums.pulls[row * functions + function] = whole * p - weight * label;
                sums.chances[row * functions + function] = root * p;
                sums.curvature[function * (functions + 1)] += whole * p;
            }
        }
    }

    /// How the derivatives of an example change along a direction.
    fn turn(
        &self,
        sums: &mut Sums,
        logits: &[f64],
        along: &[f64],
        example: usize,
        row: usize,
        weight: f64,
    ) {
        let functions = logits.len();
        let fixed = self.classes - functions;
        softmax(logits, &mut sums.row);
        let whole = weight * self.labels.whole(example, self.classes);
        let chances = &sums.row[fixed..];
        let mean = dot(chances, along);
        let pulls = &mut sums.pulls[row * functions..(row + 1) * functions];
        for ((pull, p), along) in pulls.iter_mut().zip(chances).zip(along) {
            *pull = whole * p * (along - mean);
        }
    }

    /// Judges functions on the examples that are held out.
    pub(super) fn judge(
        &self,
        at: &Functions,
        step: impl FnMut(usize) -> Result<(), LearnError>,
    ) -> Result<Judged, LearnError> {
        let functions = self.functions();
        let work = |sums: &mut Judged, block: &Block<'_>| {
            let count = block.rows.len() / self.width;
            if (0..count).all(|of| !self.is_held(block.first + of)) {
                return Ok(());
            }
            logits(&mut sums.logits, &block.rows, count, at, self.width)?;
            sums.row.resize(self.classes, 0.0);
            for (row, of) in sums.logits.chunks(functions).zip(0..) {
                let example = block.first + of;
                let weight = self.own_weight(example);
                if weight == 0.0 || !self.is_held(example) {
                    continue;
                }
                softmax(row, &mut sums.row);
                let labels = || (0..self.classes).map(|c| self.labels.of(example, c, self.classes));
                for (p, label) in sums.row.iter().zip(labels()) {
                    sums.loss -= weight * label * p.clamp(LEAST, 1.0 - LEAST).ln();
                }
                sums.weight += weight;
                sums.labelled += weight * self.labels.whole(example, self.classes);
                if largest(sums.row.iter().copied()) == largest(labels()) {
                    sums.right += weight;
                }
            }
            Ok(())
        };
        let all = (0..self.threads.max(1)).map(|_| Judged::default()).collect();
        let parts = self.source.sweep(all, work, step)?;
        Ok(parts.into_iter().fold(Judged::default(), |sum, part| Judged {
            loss: sum.loss + part.loss,
            right: sum.right + part.right,
            weight: sum.weight + part.weight,
            labelled: sum.labelled + part.labelled,
            ..sum
        }))
    }
}

/// Place of the largest number, the first of equals.
fn largest(values: impl Iterator<Item = f64>) -> usize {
    let pick = |best: (usize, f64), each: (usize, f64)| if each.1 > best.1 { each } else { best };
    values.enumerate().fold((0, f64::NEG_INFINITY), pick).0
}

fn logits(
    into: &mut Vec<f64>,
    rows: &[f64],
    count: usize,
    at: &Functions,
    width: usize,
) -> Result<(), LearnError> {
    into.clear();
    for _ in 0..count {
        into.extend_from_slice(&at.intercepts);
    }
    let weights = View::new(&at.weights, at.intercepts.len(), width)?.transposed();
    gemm(1.0, View::new(rows, count, width)?, weights, 1.0, into)
}

/// Probabilities of all classes from logits, the first class's being 0 when it has none; returns the logarithm of the sum of
/// their exponentials.
pub(super) fn softmax(logits: &[f64], probabilities: &mut [f64]) -> f64 {
    let fixed = probabilities.len() - logits.len();
    let start = if fixed > 0 { 0.0 } else { f64::NEG_INFINITY };
    let largest = logits.iter().fold(start, |most, each| most.max(*each));
    probabilities[..fixed].fill(0.0);
    probabilities[fixed..].copy_from_slice(logits);
    for each in &mut *probabilities {
        *each = (*each - largest).exp();
    }
    let sum: f64 = probabilities.iter().sum();
    for each in probabilities {
        *each /= sum;
    }
    largest + sum.ln()
}
