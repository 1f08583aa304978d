//! A head that is ready to compute.

use super::super::LearnError;
use super::attention::Attention;
use super::layer::{Layer, softmax};
use super::mixture::Mixture;
use super::shape::{HeadOutput, HeadShape, HeadWeights, NamedTensor, Scaling};

/// Rows that go through all layers together, so that what lies between the layers stays in the cache.
const ROWS_AT_ONCE: usize = 64;

/// Tensors of the attention, which come before those of the layers.
const ATTENTION_TENSORS: usize = 5;

/// Objects to be looked at.
#[derive(Debug, Clone, Copy)]
pub enum HeadInputs<'a> {
    /// One row of features for each object, row-major.
    Rows(&'a [f64]),
    /// One sequence of tokens for each object.
    Tokens {
        /// The tokens of all objects one after the other, row-major.
        values: &'a [f32],
        /// Tokens of each object; at least one.
        lengths: &'a [u32],
    },
}

/// A trained head.
#[derive(Debug, Clone)]
pub struct NetworkHead {
    shape: HeadShape,
    inputs: Option<Scaler>,
    targets: Option<Scaler>,
    members: Vec<Member>,
}

/// A scaling in double precision.
#[derive(Debug, Clone)]
struct Scaler {
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// 1 / scale: a product is quicker than a division.
    inverse: Vec<f64>,
}

impl Scaler {
    fn new(scaling: &Scaling) -> Self {
        let wide = |values: &[f32]| values.iter().map(|value| f64::from(*value)).collect();
        let scale: Vec<f64> = wide(&scaling.scale);
        let inverse = scale.iter().map(|scale| 1.0 / scale).collect();
        Self { mean: wide(&scaling.mean), scale, inverse }
    }

    fn forth(&self, rows: &mut [f64]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), inverse) in row.iter_mut().zip(&self.mean).zip(&self.inverse) {
                *value = (*value - mean) * inverse;
            }
        }
    }

    fn back(&self, rows: &mut [f64]) {
        for row in rows.chunks_exact_mut(self.mean.len()) {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = *value * scale + mean;
            }
        }
    }
}

/// One network of the ensemble.
#[derive(Debug, Clone)]
struct Member {
    attention: Option<Attention>,
    layers: Vec<Layer>,
}

impl Member {
    fn new(shape: &HeadShape, tensors: &[NamedTensor]) -> Result<Self, LearnError> {
        let split = if shape.attention.is_some() { ATTENTION_TENSORS } else { 0 };
        let (attention, layers) = tensors.split_at(split.min(tensors.len()));
        let attention = shape.attention.map(|sizes| Attention::new(sizes, attention));
        let (pairs, _) = layers.as_chunks::<2>();
        let layers = pairs.iter().map(|[weight, bias]| Layer::new(weight, &bias.values));
        Ok(Self { attention: attention.transpose()?, layers: layers.collect::<Result<_, _>>()? })
    }

    /// What the last layer gives for rows of features, or of what was collected from tokens.
    fn raw(&self, shape: &HeadShape, rows: &[f64]) -> Vec<f64> {
        let Some((first, others)) = self.layers.split_first() else { return Vec::new() };
        let mut values = first.apply(rows);
        for layer in others {
            shape.activation.apply(&mut values);
            values = layer.apply(&values);
        }
        values
    }
}

impl NetworkHead {
    /// Takes weights.
    ///
    /// # Errors
    /// Those of [`HeadWeights::check`].
    pub fn new(weights: &HeadWeights) -> Result<Self, LearnError> {
        weights.check()?;
        let members = weights.members.iter().map(|tensors| Member::new(&weights.shape, tensors));
        Ok(Self {
            shape: weights.shape.clone(),
            inputs: weights.inputs.as_ref().map(Scaler::new),
            targets: weights.targets.as_ref().map(Scaler::new),
            members: members.collect::<Result<_, _>>()?,
        })
    }

    /// Its sizes.
    pub fn shape(&self) -> &HeadShape {
        &self.shape
    }

    /// Numbers of an answer: outputs, classes, components of the vector, or 1 for a density.
    pub fn width(&self) -> usize {
        self.shape.output.width()
    }

    /// What it says of objects, row-major: for numbers their mean over the ensemble, for classes the mean of the
    /// probabilities, for a density its mean, for an embedding the vector of unit length.
    ///
    /// # Errors
    /// [`LearnError::Shape`] where inputs are not of the head's kind or width; [`LearnError::TooFew`] for an object without
    /// tokens.
    pub fn apply(&self, inputs: HeadInputs<'_>) -> Result<Vec<f64>, LearnError> {
        if let HeadOutput::Density { .. } = self.shape.output {
            return Ok(self.densities(inputs)?.iter().map(Mixture::mean).collect());
        }
        let width = self.shape.output.raw_width();
        let mut answers = Vec::new();
        self.visit(inputs, |outputs| {
            let from = answers.len();
            for (place, mut raw) in outputs.into_iter().enumerate() {
                self.finish(&mut raw);
                if place == 0 {
                    answers.extend(raw);
                } else {
                    answers[from..].iter_mut().zip(raw).for_each(|(sum, value)| *sum += value);
                }
            }
            let count = self.members.len() as f64;
            answers[from..].iter_mut().for_each(|sum| *sum /= count);
            if let HeadOutput::Embedding(_) = self.shape.output {
                answers[from..].chunks_exact_mut(width).for_each(to_unit_length);
            }
        })?;
        Ok(answers)
    }

    /// The density of each object's number, over the whole ensemble.
    ///
    /// # Errors
    /// Those of [`Self::apply`]; [`LearnError::BadSetting`] for a head that gives no densities.
    pub fn densities(&self, inputs: HeadInputs<'_>) -> Result<Vec<Mixture>, LearnError> {
        let HeadOutput::Density { components } = self.shape.output else {
            return Err(LearnError::BadSetting {
                what: "the head's output",
                value: format!("{:?}", self.shape.output),
                hint: "only a density head tells densities",
            });
        };
        let mut mixtures: Vec<Mixture> = Vec::new();
        self.visit(inputs, |outputs| {
            let from = mixtures.len();
            let rows = outputs.first().map_or(0, |raw| raw.len() / (3 * components));
            mixtures.resize(from + rows, Mixture::default());
            for raw in outputs {
                let rows = raw.chunks_exact(3 * components);
                for (mixture, row) in mixtures[from..].iter_mut().zip(rows) {
                    self.add(mixture, row, components);
                }
            }
        })?;
        Ok(mixtures)
    }

    /// Adds the Gaussians of one member.
    fn add(&self, mixture: &mut Mixture, row: &[f64], components: usize) {
        let (logits, rest) = row.split_at(components);
        let (means, log_sigmas) = rest.split_at(components);
        let (mean, scale) = match &self.targets {
            Some(scaler) => (scaler.mean[0], scaler.scale[0]),
            None => (0.0, 1.0),
        };
        let mut weights = logits.to_vec();
        softmax(&mut weights);
        let count = self.members.len() as f64;
        mixture.weights.extend(weights.iter().map(|weight| weight / count));
        mixture.means.extend(means.iter().map(|value| value * scale + mean));
        let (lowest, highest) = HeadOutput::LOG_SIGMA;
        let sigma = |logarithm: &f64| logarithm.clamp(lowest, highest).exp() * scale;
        mixture.sigmas.extend(log_sigmas.iter().map(sigma));
    }

    /// What the numbers of the last layer mean, in place.
    fn finish(&self, raw: &mut [f64]) {
        let width = self.shape.output.raw_width();
        match self.shape.output {
            HeadOutput::Values(_) => {
                if let Some(targets) = &self.targets {
                    targets.back(raw);
                }
            }
            HeadOutput::Classes(_) => raw.chunks_exact_mut(width).for_each(softmax),
            HeadOutput::Embedding(_) => raw.chunks_exact_mut(width).for_each(to_unit_length),
            HeadOutput::Density { .. } => {}
        }
    }

    /// Shows, for some objects at a time, what the last layer of each member gives for them.
    fn visit(
        &self,
        inputs: HeadInputs<'_>,
        mut see: impl FnMut(Vec<Vec<f64>>),
    ) -> Result<(), LearnError> {
        match (inputs, self.shape.attention.is_some()) {
            (HeadInputs::Rows(rows), false) => self.visit_rows(rows, &mut see),
            (HeadInputs::Tokens { values, lengths }, true) => {
                self.visit_tokens(values, lengths, &mut see)
            }
            (_, reads_tokens) => Err(LearnError::BadSetting {
                what: "what is given to the head",
                value: if reads_tokens { "rows" } else { "tokens" }.to_owned(),
                hint: "a head with attention reads tokens, every other one rows",
            }),
        }
    }

    fn visit_rows(
        &self,
        rows: &[f64],
        see: &mut impl FnMut(Vec<Vec<f64>>),
    ) -> Result<(), LearnError> {
        let input = self.shape.input;
        if !rows.len().is_multiple_of(input) {
            let what = "features of rows";
            let expected = rows.len() / input * input;
            return Err(LearnError::Shape { what, given: rows.len(), expected });
        }
        for block in rows.chunks(ROWS_AT_ONCE * input) {
            let scaled = self.scaled(block.to_vec());
            see(self.members.iter().map(|member| member.raw(&self.shape, &scaled)).collect());
        }
        Ok(())
    }

    fn visit_tokens(
        &self,
        values: &[f32],
        lengths: &[u32],
        see: &mut impl FnMut(Vec<Vec<f64>>),
    ) -> Result<(), LearnError> {
        let input = self.shape.input;
        let numbers = |lengths: &[u32]| {
            lengths.iter().map(|length| *length as usize).sum::<usize>().saturating_mul(input)
        };
        if values.len() != numbers(lengths) {
            let what = "numbers of tokens";
            return Err(LearnError::Shape {
                what,
                given: values.len(),
                expected: numbers(lengths),
            });
        }
        if lengths.contains(&0) {
            return Err(LearnError::TooFew { what: "tokens of an object", given: 0, needed: 1 });
        }
        let mut rest = values;
        for block in lengths.chunks(ROWS_AT_ONCE) {
            let mut pooled = vec![Vec::new(); self.members.len()];
            for length in block {
                let (tokens, others) = rest.split_at(*length as usize * input);
                rest = others;
                let tokens = self.scaled(tokens.iter().map(|value| f64::from(*value)).collect());
                for (pooled, member) in pooled.iter_mut().zip(&self.members) {
                    if let Some(attention) = &member.attention {
                        pooled.extend(attention.pool(&tokens));
                    }
                }
            }
            let members = self.members.iter().zip(&pooled);
            see(members.map(|(member, pooled)| member.raw(&self.shape, pooled)).collect());
        }
        Ok(())
    }

    fn scaled(&self, mut rows: Vec<f64>) -> Vec<f64> {
        if let Some(scaler) = &self.inputs {
            scaler.forth(&mut rows);
        }
        rows
    }
}

fn to_unit_length(vector: &mut [f64]) {
    let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
    // As in training: a vector of almost no length stays short.
    let length = length.max(1e-12);
    for value in vector {
        *value /= length;
    }
}
