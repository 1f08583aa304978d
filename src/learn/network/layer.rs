//! A linear layer and the activations.

use super::super::LearnError;
use super::erf::normal_cdf;
use super::shape::{Activation, NamedTensor};

/// Rows that share one pass over the weights.
const ROWS_AT_ONCE: usize = 4;

/// `y = W x + b`.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    inputs: usize,
    /// Inputs x outputs: the inner loop then runs along the outputs, without sums across lanes.
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Layer {
    /// Takes weights (outputs x inputs) and, with them, one number for each output.
    pub(super) fn new(weight: &NamedTensor, bias: &[f32]) -> Result<Self, LearnError> {
        let outputs = bias.len();
        let inputs = weight.values.len() / outputs.max(1);
        if inputs * outputs != weight.values.len() || outputs == 0 {
            let (given, expected) = (weight.values.len(), inputs * outputs);
            return Err(LearnError::Shape { what: "weights of a layer", given, expected });
        }
        let mut weights = vec![0.0; inputs * outputs];
        for (output, row) in weight.values.chunks_exact(inputs).enumerate() {
            for (input, value) in row.iter().enumerate() {
                weights[input * outputs + output] = f64::from(*value);
            }
        }
        let bias = bias.iter().map(|value| f64::from(*value)).collect();
        Ok(Self { inputs, weights, bias })
    }

    /// Numbers that come out.
    pub(super) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Applies it to rows.
    pub(super) fn apply(&self, rows: &[f64]) -> Vec<f64> {
        let width = self.outputs();
        let count = rows.len() / self.inputs;
        let mut out = Vec::with_capacity(count * width);
        for _ in 0..count {
            out.extend_from_slice(&self.bias);
        }
        let blocks = rows.chunks(ROWS_AT_ONCE * self.inputs);
        for (rows, out) in blocks.zip(out.chunks_mut(ROWS_AT_ONCE * width)) {
            if rows.len() == ROWS_AT_ONCE * self.inputs {
                self.four(rows, out);
            } else {
                for (row, out) in rows.chunks_exact(self.inputs).zip(out.chunks_exact_mut(width)) {
                    self.one(row, out);
                }
            }
        }
        out
    }

    fn one(&self, row: &[f64], out: &mut [f64]) {
        for (x, weights) in row.iter().zip(self.weights.chunks_exact(self.outputs())) {
            for (out, weight) in out.iter_mut().zip(weights) {
                *out += x * weight;
            }
        }
    }

    fn four(&self, rows: &[f64], out: &mut [f64]) {
        let width = self.outputs();
        let (first, second) = out.split_at_mut(2 * width);
        let (a, b) = first.split_at_mut(width);
        let (c, d) = second.split_at_mut(width);
        for (input, weights) in self.weights.chunks_exact(width).enumerate() {
            let x = |row: usize| rows[row * self.inputs + input];
            let (x0, x1, x2, x3) = (x(0), x(1), x(2), x(3));
            let outs = a.iter_mut().zip(b.iter_mut()).zip(c.iter_mut().zip(d.iter_mut()));
            for (((a, b), (c, d)), weight) in outs.zip(weights) {
                *a += x0 * weight;
                *b += x1 * weight;
                *c += x2 * weight;
                *d += x3 * weight;
            }
        }
    }
}

impl Activation {
    /// Applies it in place.
    pub(super) fn apply(self, values: &mut [f64]) {
        match self {
            Self::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
            Self::Gelu => values.iter_mut().for_each(|value| *value *= normal_cdf(*value)),
        }
    }
}

/// Turns logits into probabilities that add up to 1, in place.
pub(super) fn softmax(logits: &mut [f64]) {
    let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for logit in logits.iter_mut() {
        *logit = (*logit - highest).exp();
        sum += *logit;
    }
    for logit in logits {
        *logit /= sum;
    }
}
