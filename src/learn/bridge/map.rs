//! Maps from one space into another, as they are kept and applied.

use super::linear::product_nt;
use crate::learn::LearnError;
use crate::learn::network::normal_cdf;

/// What follows the matrix of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(0, x)`.
    Relu,
    /// `x Phi(x)`, the Gaussian error linear unit (Hendrycks & Gimpel 2016, arXiv:1606.08415).
    Gelu,
}

/// `activation(W x + b)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Length of what comes in.
    pub inputs: usize,
    /// Length of what goes out.
    pub outputs: usize,
    /// `outputs` rows of `inputs` numbers.
    pub weights: Vec<f64>,
    /// `outputs` numbers.
    pub bias: Vec<f64>,
    /// What follows.
    pub activation: Activation,
}

/// What becomes of the vectors of one space: perhaps scaled to unit length, then through layers, perhaps scaled again.
/// Without layers the vector stays as it is.
#[derive(Debug, Clone, PartialEq)]
pub struct SideMap {
    /// Length of the vectors that it takes.
    pub width: usize,
    /// Vectors are scaled to unit length first.
    pub unit_input: bool,
    /// The layers, the first one first.
    pub layers: Vec<Layer>,
    /// Results are scaled to unit length.
    pub unit_output: bool,
}

/// A bridge between two spaces.
///
/// Where `to` changes nothing, `from` leads into the space TO itself, whose stored vectors and index can be searched.
/// Otherwise both lead into a space that they share.
#[derive(Debug, Clone, PartialEq)]
pub struct BridgeMap {
    /// What becomes of vectors of the space FROM.
    pub from: SideMap,
    /// What becomes of vectors of the space TO.
    pub to: SideMap,
}

impl Layer {
    /// An affine map from its matrix (row-major, one row for each output) and offsets.
    ///
    /// # Errors
    /// [`LearnError::Shape`]; [`LearnError::NotFinite`].
    pub fn new(
        inputs: usize,
        weights: Vec<f64>,
        bias: Vec<f64>,
        activation: Activation,
    ) -> Result<Self, LearnError> {
        let outputs = bias.len();
        if inputs == 0 || outputs == 0 || weights.len() != inputs * outputs {
            return Err(LearnError::Shape {
                what: "numbers of a layer's matrix",
                given: weights.len(),
                expected: inputs * outputs,
            });
        }
        match weights.iter().chain(&bias).position(|value| !value.is_finite()) {
            Some(place) => {
                Err(LearnError::NotFinite { what: "a weight of a layer", example: place })
            }
            None => Ok(Self { inputs, outputs, weights, bias, activation }),
        }
    }

    /// Maps rows. Of a few rows each number is a sum of its own: a matrix product pays from some dozens on.
    fn apply(&self, rows: &[f64]) -> Result<Vec<f64>, LearnError> {
        let count = rows.len() / self.inputs;
        let mut out = if count < FEW_ROWS {
            let mut out = Vec::with_capacity(count * self.outputs);
            for row in rows.chunks_exact(self.inputs) {
                out.extend(self.weights.chunks_exact(self.inputs).map(|weights| dot(weights, row)));
            }
            out
        } else {
            product_nt(rows, &self.weights, self.inputs)?
        };
        for row in out.chunks_exact_mut(self.outputs) {
            for (value, bias) in row.iter_mut().zip(&self.bias) {
                *value = self.activation.of(*value + bias);
            }
        }
        Ok(out)
    }
}

/// Rows below which [`Layer::apply`] does without a matrix product.
const FEW_ROWS: usize = 8;

impl Activation {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::None => value,
            Self::Relu => value.max(0.0),
            Self::Gelu => value * normal_cdf(value),
        }
    }
}

impl SideMap {
    /// Leaves vectors of that length as they are.
    pub fn identity(width: usize) -> Self {
        Self { width, unit_input: false, layers: Vec::new(), unit_output: false }
    }

    /// One affine map.
    ///
    /// # Errors
    /// As [`Layer::new`].
    pub fn affine(
        unit_input: bool,
        width: usize,
        weights: Vec<f64>,
        bias: Vec<f64>,
    ) -> Result<Self, LearnError> {
        let layer = Layer::new(width, weights, bias, Activation::None)?;
        Ok(Self { width, unit_input, layers: vec![layer], unit_output: false })
    }

    /// Length of what comes out.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(self.width, |layer| layer.outputs)
    }

    /// Whether vectors stay as they are.
    pub fn is_identity(&self) -> bool {
        self.layers.is_empty() && !self.unit_input && !self.unit_output
    }

    /// Checks that each layer takes what the one before it gives.
    ///
    /// # Errors
    /// [`LearnError::Shape`].
    pub fn check(&self) -> Result<(), LearnError> {
        let mut width = self.width;
        for layer in &self.layers {
            let shape = |what, given, expected| LearnError::Shape { what, given, expected };
            if layer.inputs != width || width == 0 {
                return Err(shape("inputs of a layer", layer.inputs, width));
            }
            if layer.bias.len() != layer.outputs {
                return Err(shape("offsets of a layer", layer.bias.len(), layer.outputs));
            }
            if layer.weights.len() != layer.inputs * layer.outputs {
                let expected = layer.inputs * layer.outputs;
                return Err(shape("numbers of a layer's matrix", layer.weights.len(), expected));
            }
            width = layer.outputs;
        }
        Ok(())
    }

    /// Maps vectors that lie one after the other.
    ///
    /// # Errors
    /// [`LearnError::Shape`] for numbers that do not divide into vectors of this length.
    pub fn apply(&self, rows: &[f64]) -> Result<Vec<f64>, LearnError> {
        if self.width == 0 || !rows.len().is_multiple_of(self.width) {
            return Err(LearnError::Shape {
                what: "numbers of vectors to map",
                given: rows.len(),
                expected: self.width,
            });
        }
        let mut rows = rows.to_vec();
        if self.unit_input {
            scale_to_unit(&mut rows, self.width);
        }
        for layer in &self.layers {
            rows = layer.apply(&rows)?;
        }
        if self.unit_output {
            scale_to_unit(&mut rows, self.outputs());
        }
        Ok(rows)
    }

    /// Maps stored vectors that lie one after the other.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_stored(&self, vectors: &[f32]) -> Result<Vec<f32>, LearnError> {
        let wide: Vec<f64> = vectors.iter().copied().map(f64::from).collect();
        Ok(self.apply(&wide)?.into_iter().map(|value| value as f32).collect())
    }
}

impl BridgeMap {
    /// The same with all weights in single precision, as vectors are stored: what is measured is then what is kept.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        for side in [&mut self.from, &mut self.to] {
            for layer in &mut side.layers {
                for value in layer.weights.iter_mut().chain(&mut layer.bias) {
                    *value = f64::from(*value as f32);
                }
            }
        }
        self
    }

    /// Whether FROM is mapped into the space TO itself.
    pub fn leads_into_target(&self) -> bool {
        self.to.is_identity()
    }

    /// Checks that the layers fit together and both sides end in vectors of one length.
    ///
    /// # Errors
    /// [`LearnError::Shape`].
    pub fn check(&self) -> Result<(), LearnError> {
        self.from.check()?;
        self.to.check()?;
        if self.from.outputs() == self.to.outputs() {
            return Ok(());
        }
        Err(LearnError::Shape {
            what: "length of what the bridge makes of FROM, against TO",
            given: self.from.outputs(),
            expected: self.to.outputs(),
        })
    }
}

/// The inner product.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums, so that one addition need not wait for the one before it.
    let (mut sums, a4, b4) = ([0.0; 4], a.chunks_exact(4), b.chunks_exact(4));
    let rest: f64 = a4.remainder().iter().zip(b4.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a4.zip(b4) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// Scales each row to length 1; zeros stay zeros.
pub(super) fn scale_to_unit(rows: &mut [f64], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let length = dot(row, row).sqrt();
        if length > 0.0 {
            for value in row {
                *value /= length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_follow_each_other_and_mistakes_are_named() {
        let first = Layer::new(
            2,
            vec![1.0, 2.0, -1.0, 0.0, 0.0, 1.0],
            vec![0.5, 0.0, 0.0],
            Activation::Relu,
        )
        .expect("a layer");
        let second =
            Layer::new(3, vec![1.0, 10.0, 100.0], vec![1.0], Activation::None).expect("a layer");
        let map = SideMap {
            width: 2,
            unit_input: false,
            layers: vec![first, second],
            unit_output: false,
        };
        map.check().expect("fits");
        assert_eq!(map.apply(&[1.0, 1.0, -2.0, 0.0]), Ok(vec![104.5, 21.0]));
        let many: Vec<f64> = [1.0, 1.0].repeat(2 * FEW_ROWS);
        assert_eq!(map.apply(&many), Ok([104.5].repeat(2 * FEW_ROWS)));
        assert_eq!(map.apply_stored(&[1.0, 1.0]), Ok(vec![104.5]));
        assert!(map.apply_stored(&[1.0]).is_err());
        let wrong = SideMap { width: 3, ..map.clone() };
        assert!(wrong.check().is_err());
        let bridge = BridgeMap { from: map, to: SideMap::identity(2) };
        assert!(bridge.leads_into_target());
        assert!(bridge.check().is_err());
        assert!(Layer::new(2, vec![1.0; 3], vec![0.0], Activation::None).is_err());
        assert!(Layer::new(1, vec![f64::NAN], vec![0.0], Activation::None).is_err());
    }

    #[test]
    fn unit_length_is_one_and_zero_stays_zero() {
        let map = SideMap { unit_input: true, ..SideMap::identity(2) };
        assert!(!map.is_identity());
        assert_eq!(map.apply(&[3.0, 4.0, 0.0, 0.0]), Ok(vec![0.6, 0.8, 0.0, 0.0]));
    }
}
