//! Attention pooling: a learned query weighs an object's tokens and collects them.

use super::super::LearnError;
use super::layer::{Layer, softmax};
use super::shape::{AttentionShape, NamedTensor};

/// The query and the projections of one member.
///
/// The weights of the tokens depend on the product of query and key projection alone, and a weighted mean of projected
/// tokens is the projection of their weighted mean: so one product with each token is all that the tokens cost.
#[derive(Debug, Clone)]
pub(super) struct Attention {
    input: usize,
    /// Heads x features of a token.
    query: Vec<f64>,
    /// One layer for each head, from a token's features to the head's share of the width.
    values: Vec<Layer>,
    out: Layer,
}

impl Attention {
    /// Takes the first five tensors of a member whose shapes were checked.
    pub(super) fn new(shape: AttentionShape, tensors: &[NamedTensor]) -> Result<Self, LearnError> {
        let [query, value, value_bias, out, out_bias] = tensors else {
            let (given, expected) = (tensors.len(), 5);
            return Err(LearnError::Shape { what: "tensors of the attention", given, expected });
        };
        let input = query.values.len() / shape.heads;
        let share = shape.width / shape.heads;
        let part = |head: usize| {
            let weight = NamedTensor {
                name: value.name.clone(),
                shape: vec![share, input],
                values: value.values[head * share * input..(head + 1) * share * input].to_vec(),
            };
            Layer::new(&weight, &value_bias.values[head * share..(head + 1) * share])
        };
        Ok(Self {
            input,
            query: query.values.iter().map(|value| f64::from(*value)).collect(),
            values: (0..shape.heads).map(part).collect::<Result<_, _>>()?,
            out: Layer::new(out, &out_bias.values)?,
        })
    }

    /// What the query collects from the tokens of an object, which are some.
    pub(super) fn pool(&self, tokens: &[f64]) -> Vec<f64> {
        let mut joined = Vec::new();
        for (query, value) in self.query.chunks_exact(self.input).zip(&self.values) {
            let mut weights: Vec<f64> =
                tokens.chunks_exact(self.input).map(|token| product(token, query)).collect();
            softmax(&mut weights);
            let mut mean = vec![0.0; self.input];
            for (token, weight) in tokens.chunks_exact(self.input).zip(&weights) {
                for (sum, x) in mean.iter_mut().zip(token) {
                    *sum += weight * x;
                }
            }
            joined.extend(value.apply(&mean));
        }
        self.out.apply(&joined)
    }
}

/// Inner product, in eight sums side by side, which the compiler turns into vector instructions.
fn product(first: &[f64], second: &[f64]) -> f64 {
    let (firsts, first_rest) = first.as_chunks::<8>();
    let (seconds, second_rest) = second.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in firsts.iter().zip(seconds) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest: f64 = first_rest.iter().zip(second_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}
