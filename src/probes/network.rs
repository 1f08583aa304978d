//! Trained networks, and where their numbers lie.
//!
//! Networks compute in single precision, which has seven digits: fewer than a date or a frequency has. Features and targets
//! are brought to the order of one in double precision before they are cut, and predictions are taken back after it.

use super::measure::Predicted;
use super::model::{bytes, numbers};
use crate::encoder::{head_from_bytes, head_to_bytes};
use crate::learn::scale::Scale;
use crate::learn::{HeadInputs, HeadOutput, HeadWeights, LearnError, NetworkHead};
use crate::wire::internal::NetworkModel;

/// How a network's numbers are scaled outside of it, in double precision.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Frame {
    /// Of features; `None` where the network sees them as they are.
    pub(super) inputs: Option<Scale>,
    /// Mean and deviation of the target; `None` for classes.
    pub(super) target: Option<(f64, f64)>,
}

/// A trained network, ready to compute.
#[derive(Debug)]
pub(super) struct Network {
    weights: HeadWeights,
    head: NetworkHead,
    frame: Frame,
}

impl Frame {
    /// Mean and standard deviation of a target.
    pub(super) fn target_of(values: &[f64]) -> (f64, f64) {
        let count = values.len().max(1) as f64;
        let first = values.first().copied().unwrap_or(0.0);
        let mean = first + values.iter().map(|value| value - first).sum::<f64>() / count;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
    }

    /// Features as the network sees them, in place.
    pub(super) fn scale_inputs(&self, features: &mut [f64]) {
        if let Some(scale) = &self.inputs {
            scale.apply(features);
        }
    }

    /// Numbers of the target as the network sees them.
    pub(super) fn scale_targets(&self, values: &[f64]) -> Vec<f64> {
        let (mean, scale) = self.target.unwrap_or((0.0, 1.0));
        values.iter().map(|value| (value - mean) / scale).collect()
    }
}

impl Network {
    /// A network whose weights fit together.
    ///
    /// # Errors
    /// [`LearnError`] naming what does not.
    pub(super) fn new(weights: HeadWeights, frame: Frame) -> Result<Self, LearnError> {
        let head = NetworkHead::new(&weights)?;
        if let Some(scale) = &frame.inputs {
            let (given, expected) = (scale.mean.len(), weights.shape.input);
            if given != expected || scale.scale.len() != expected {
                return Err(LearnError::Shape { what: "means of the scaling", given, expected });
            }
        }
        Ok(Self { weights, head, frame })
    }

    /// Numbers of a row, or of a token, that it reads.
    pub(super) fn input(&self) -> usize {
        self.weights.shape.input
    }

    /// Whether it gives a density of the target.
    pub(super) fn is_density(&self) -> bool {
        matches!(self.head.shape().output, HeadOutput::Density { .. })
    }

    /// Predicts for some objects; with the truth of each, densities are measured at it.
    ///
    /// # Errors
    /// Those of [`NetworkHead::apply`].
    pub(super) fn predict(
        &self,
        inputs: HeadInputs<'_>,
        truth: &[f64],
    ) -> Result<Predicted, LearnError> {
        let scaled;
        let inputs = match inputs {
            HeadInputs::Rows(rows) if self.frame.inputs.is_some() => {
                let mut rows = rows.to_vec();
                self.frame.scale_inputs(&mut rows);
                scaled = rows;
                HeadInputs::Rows(&scaled)
            }
            inputs => inputs,
        };
        let (mean, scale) = self.frame.target.unwrap_or((0.0, 1.0));
        let back = |value: f64| value * scale + mean;
        if !self.is_density() {
            let values = self.head.apply(inputs)?.into_iter().map(back).collect();
            return Ok(Predicted::new(values, self.head.width()));
        }
        let densities = self.head.densities(inputs)?;
        let mut predicted = Predicted { width: 1, ..Predicted::default() };
        for (number, density) in densities.iter().enumerate() {
            predicted.values.push(back(density.mean()));
            predicted.sigmas.push(density.sigma() * scale);
            if let Some(&truth) = truth.get(number) {
                let at = (truth - mean) / scale;
                predicted.log_densities.push(density.log_density(at) - scale.ln());
                // Rounding may lead a hair beyond.
                predicted.below.push(density.cdf(at).clamp(0.0, 1.0));
            }
        }
        Ok(predicted)
    }

    pub(super) fn to_wire(&self) -> NetworkModel {
        let of = |numbers: fn(&Scale) -> &Vec<f64>| {
            self.frame.inputs.as_ref().map(|scale| bytes(numbers(scale))).unwrap_or_default()
        };
        let target = self.frame.target.map(|(mean, scale)| bytes(&[mean, scale]));
        NetworkModel {
            head: head_to_bytes(&self.weights),
            mean: of(|scale| &scale.mean),
            scale: of(|scale| &scale.scale),
            target: target.unwrap_or_default(),
        }
    }

    pub(super) fn from_wire(model: &NetworkModel) -> Result<Self, String> {
        let (mean, scale) = (numbers(&model.mean)?, numbers(&model.scale)?);
        let inputs = (!mean.is_empty()).then_some(Scale { mean, scale });
        let target = match numbers(&model.target)?.as_slice() {
            [] => None,
            [mean, scale] if *scale > 0.0 => Some((*mean, *scale)),
            _ => return Err("its target has no mean and deviation".to_owned()),
        };
        let weights = head_from_bytes(&model.head).map_err(|error| error.to_string())?;
        Self::new(weights, Frame { inputs, target }).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Activation, HeadShape, NamedTensor};

    const DAY: f64 = 2_459_000.5;

    /// One layer: each number of its last layer is a weight times the feature.
    fn linear(output: HeadOutput, weights: &[f32]) -> Network {
        let rows = weights.len();
        let tensor = |name: &str, shape: Vec<usize>, values: &[f32]| NamedTensor {
            name: format!("layers.0.{name}"),
            shape,
            values: values.to_vec(),
        };
        let tensors = vec![
            tensor("weight", vec![rows, 1], weights),
            tensor("bias", vec![rows], &vec![0.0; rows]),
        ];
        let shape = HeadShape {
            input: 1,
            attention: None,
            hidden: Vec::new(),
            activation: Activation::default(),
            output,
        };
        let weights = HeadWeights { shape, inputs: None, targets: None, members: vec![tensors] };
        let inputs = Some(Scale { mean: vec![DAY], scale: vec![0.01] });
        let frame = Frame { inputs, target: Some((DAY, 0.5)) };
        Network::new(weights, frame).expect("fits together")
    }

    #[test]
    fn dates_are_read_and_predicted_beyond_single_precision() {
        let network = linear(HeadOutput::Values(1), &[1.0]);
        let kept = Network::from_wire(&network.to_wire()).expect("read");
        for network in [&network, &kept] {
            // Single precision tells dates apart by a quarter of a day.
            let rows = [DAY + 0.01, DAY - 0.005];
            let predicted = network.predict(HeadInputs::Rows(&rows), &[]).expect("predicted");
            for (found, expected) in predicted.values.iter().zip([DAY + 0.5, DAY - 0.25]) {
                assert!((found - expected).abs() < 1e-6, "{found}");
            }
        }
        let values = [DAY - 0.5, DAY + 0.5];
        assert_eq!(Frame::target_of(&values), (DAY, 0.5));
        assert_eq!(network.frame.scale_targets(&values), [-1.0, 1.0]);
    }

    #[test]
    fn densities_are_those_of_the_target_as_given() {
        // One Gaussian around the scaled feature, of the scaled deviation 1.
        let network = linear(HeadOutput::Density { components: 1 }, &[0.0, 1.0, 0.0]);
        let truth = [DAY + 1.0];
        let predicted = network.predict(HeadInputs::Rows(&[DAY + 0.01]), &truth).expect("some");
        assert!((predicted.values[0] - (DAY + 0.5)).abs() < 1e-6);
        assert!((predicted.sigmas[0] - 0.5).abs() < 1e-9);
        // A deviation away from the mean.
        let normal = -0.5 - (0.5 * (2.0 * std::f64::consts::PI).sqrt()).ln();
        assert!((predicted.log_densities[0] - normal).abs() < 1e-6);
        assert!((predicted.below[0] - 0.841_344_7).abs() < 1e-5, "{}", predicted.below[0]);
    }

    #[test]
    fn frames_that_do_not_fit_are_refused() {
        let good = linear(HeadOutput::Values(1), &[1.0]).to_wire();
        let wide = NetworkModel { mean: bytes(&[1.0, 2.0]), ..good.clone() };
        assert!(Network::from_wire(&wide).is_err());
        let flat = NetworkModel { target: bytes(&[1.0, 0.0]), ..good.clone() };
        assert!(Network::from_wire(&flat).is_err());
        Network::from_wire(&good).expect("whole");
    }
}
