//! EfficientNet-Lite0 up to its 1,280 pooled features.
//!
//! Tan & Le 2019 (arXiv:1905.11946) in the Lite variant: ReLU6, no squeeze-and-excitation. Batch normalisation is folded
//! into the convolutions when the weights are loaded.

use sidereus::encoder::{Network, NetworkError, ResizedRgb, Stage};
use tch::{Device, Kind, TchError, Tensor};

use super::load::{channels_last, fold, to_rows};
use super::weights::{Weights, WeightsError};

/// Added to the variance in batch normalisation.
const EPSILON: f64 = 1e-3;

/// Features before the classifier.
const FEATURES: i64 = 1_280;

/// Classes of ImageNet; the classifier is in the weights file and is not used.
const CLASSES: i64 = 1_000;

/// Stages: repeats, kernel, stride of the first block, expansion, channels out.
const STAGES: [(usize, i64, i64, i64, i64); 7] = [
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
];

/// Channels after the stem.
const STEM: i64 = 32;

/// The network and its weights.
pub(crate) struct EfficientnetLite0 {
    stem: Convolution,
    blocks: Vec<Block>,
    head: Convolution,
    device: Device,
}

/// An inverted residual.
struct Block {
    expand: Option<Convolution>,
    depthwise: Convolution,
    project: Convolution,
    is_residual: bool,
}

/// A convolution with its batch normalisation folded in.
struct Convolution {
    weight: Tensor,
    bias: Tensor,
    kernel: i64,
    stride: i64,
    groups: i64,
    is_activated: bool,
}

/// What distinguishes a convolution before its weights are known.
struct Shape {
    inputs: i64,
    outputs: i64,
    kernel: i64,
    stride: i64,
    is_depthwise: bool,
    is_activated: bool,
}

impl EfficientnetLite0 {
    /// Takes its weights, the unused classifier included.
    pub(crate) fn load(weights: &mut Weights<'_>, device: Device) -> Result<Self, WeightsError> {
        let stem = Shape {
            inputs: 3,
            outputs: STEM,
            kernel: 3,
            stride: 2,
            is_depthwise: false,
            is_activated: true,
        };
        let stem = Convolution::load("_conv_stem", "_bn0", &stem, weights)?;
        let mut blocks = Vec::new();
        let mut inputs = STEM;
        for (repeats, kernel, first_stride, expansion, outputs) in STAGES {
            for repeat in 0..repeats {
                let stride = if repeat == 0 { first_stride } else { 1 };
                let prefix = format!("_blocks.{}", blocks.len());
                blocks.push(Block::load(
                    &prefix,
                    [inputs, outputs, kernel, stride, expansion],
                    weights,
                )?);
                inputs = outputs;
            }
        }
        let head = Shape { stride: 1, ..Shape::pointwise(inputs, FEATURES, true) };
        let head = Convolution::load("_conv_head", "_bn1", &head, weights)?;
        let _classifier = weights.take_pair("_fc", &[CLASSES, FEATURES], &[CLASSES])?;
        Ok(Self { stem, blocks, head, device })
    }

    fn forward(&self, rows: usize, features: &[f32]) -> Result<Vec<Stage>, TchError> {
        let side = ResizedRgb::SIDE as i64;
        let shape = [rows as i64, 3, side, side];
        let mut maps =
            Tensor::f_from_slice(features)?.f_reshape(shape)?.f_to_device(self.device)?;
        maps = self.stem.forward(&channels_last(&maps)?)?;
        for block in &self.blocks {
            maps = block.forward(&maps)?;
        }
        let pooled =
            self.head.forward(&maps)?.f_mean_dim([2_i64, 3].as_slice(), false, Kind::Float)?;
        Ok(vec![Stage { name: "embedding", values: to_rows(&pooled)? }])
    }
}

impl Network for EfficientnetLite0 {
    fn stages(&self, rows: usize, features: &[f32]) -> Result<Vec<Stage>, NetworkError> {
        tch::no_grad(|| self.forward(rows, features))
            .map_err(|error| NetworkError { rows, reason: error.to_string() })
    }
}

impl Block {
    fn load(
        prefix: &str,
        [inputs, outputs, kernel, stride, expansion]: [i64; 5],
        weights: &mut Weights<'_>,
    ) -> Result<Self, WeightsError> {
        let inner = inputs * expansion;
        let mut load = |convolution: &str, norm: &str, shape: Shape| {
            Convolution::load(
                &format!("{prefix}.{convolution}"),
                &format!("{prefix}.{norm}"),
                &shape,
                weights,
            )
        };
        let expand = (expansion != 1)
            .then(|| load("_expand_conv", "_bn0", Shape::pointwise(inputs, inner, true)))
            .transpose()?;
        let depthwise = Shape {
            inputs: inner,
            outputs: inner,
            kernel,
            stride,
            is_depthwise: true,
            is_activated: true,
        };
        let depthwise = load("_depthwise_conv", "_bn1", depthwise)?;
        let project = load("_project_conv", "_bn2", Shape::pointwise(inner, outputs, false))?;
        Ok(Self { expand, depthwise, project, is_residual: stride == 1 && inputs == outputs })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let expanded = match &self.expand {
            Some(expand) => expand.forward(input)?,
            None => input.shallow_clone(),
        };
        let mut output = self.project.forward(&self.depthwise.forward(&expanded)?)?;
        if self.is_residual { output.f_add_(input) } else { Ok(output) }
    }
}

impl Shape {
    fn pointwise(inputs: i64, outputs: i64, is_activated: bool) -> Self {
        Self { inputs, outputs, kernel: 1, stride: 1, is_depthwise: false, is_activated }
    }
}

impl Convolution {
    fn load(
        name: &str,
        norm: &str,
        shape: &Shape,
        weights: &mut Weights<'_>,
    ) -> Result<Self, WeightsError> {
        let &Shape { inputs, outputs, kernel, stride, is_depthwise, is_activated } = shape;
        let groups = if is_depthwise { inputs } else { 1 };
        let raw =
            weights.take(&format!("{name}.weight"), &[outputs, inputs / groups, kernel, kernel])?;
        let (gamma, beta) = weights.take_pair(norm, &[outputs], &[outputs])?;
        let mean = weights.take(&format!("{norm}.running_mean"), &[outputs])?;
        let variance = weights.take(&format!("{norm}.running_var"), &[outputs])?;
        let (weight, bias) = fold(&raw, [&gamma, &beta, &mean, &variance], EPSILON)
            .map_err(|source| WeightsError::Torch { name: name.to_owned(), source })?;
        Ok(Self { weight, bias, kernel, stride, groups, is_activated })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let [top, bottom] = self.padding(input.size4()?.2);
        let [left, right] = self.padding(input.size4()?.3);
        let strides = [self.stride, self.stride];
        let convolve = |input: &Tensor, padding: [i64; 2]| {
            input.f_conv2d(&self.weight, Some(&self.bias), strides, padding, [1, 1], self.groups)
        };
        let mut output = if top == bottom && left == right {
            convolve(input, [top, left])?
        } else {
            convolve(&input.f_constant_pad_nd([left, right, top, bottom])?, [0, 0])?
        };
        if self.is_activated { output.f_clamp_(0.0, 6.0) } else { Ok(output) }
    }

    /// TensorFlow's "same" padding: the odd pixel goes behind.
    fn padding(&self, size: i64) -> [i64; 2] {
        let steps = (size + self.stride - 1) / self.stride - 1;
        let total = (steps * self.stride + self.kernel - size).max(0);
        [total / 2, total - total / 2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_tensorflows() {
        let padding = |kernel, stride, size| {
            let empty = || Tensor::zeros([1], (Kind::Float, Device::Cpu));
            let convolution = Convolution {
                weight: empty(),
                bias: empty(),
                kernel,
                stride,
                groups: 1,
                is_activated: false,
            };
            convolution.padding(size)
        };
        assert_eq!(padding(3, 1, 112), [1, 1]);
        assert_eq!(padding(5, 1, 14), [2, 2]);
        assert_eq!(padding(3, 2, 224), [0, 1]);
        assert_eq!(padding(5, 2, 56), [1, 2]);
        assert_eq!(padding(3, 2, 7), [1, 1]);
        assert_eq!(padding(1, 1, 7), [0, 0]);
    }

    #[test]
    fn folding_gives_the_normalised_convolution() {
        let options = (Kind::Float, Device::Cpu);
        tch::manual_seed(1);
        let weight = Tensor::randn([4, 3, 3, 3], options);
        let input = Tensor::randn([2, 3, 8, 8], options);
        let norm = [0.5, 1.0, 2.0, 0.25].map(|shift| Tensor::rand([4], options) + shift);
        let (folded, bias) = fold(&weight, norm.each_ref(), EPSILON).expect("folds");
        let [gamma, beta, mean, variance] = &norm;
        let plain = input.conv2d(&weight, None::<&Tensor>, [1, 1], [0, 0], [1, 1], 1);
        let plain = plain.batch_norm(
            Some(gamma),
            Some(beta),
            Some(mean),
            Some(variance),
            false,
            0.1,
            EPSILON,
            false,
        );
        let ours = input.conv2d(&folded, Some(&bias), [1, 1], [0, 0], [1, 1], 1);
        let error = (plain - ours).abs().max().double_value(&[]);
        assert!(error < 1e-4, "{error}");
    }
}
