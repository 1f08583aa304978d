//! Layers that the published networks are made of.

use tch::{Kind, TchError, Tensor};

use super::super::load::{channels_last, fold};
use super::super::weights::{Weights, WeightsError};

/// Largest width, depth or count of a network.
const SIZE_MAX: i64 = 1 << 20;

/// Refuses sizes of a configuration that make no network: what follows may multiply and divide by them.
///
/// # Errors
/// [`WeightsError::BadConfig`] that names the first one.
pub(super) fn check_sizes(sizes: &[(&str, i64)]) -> Result<(), WeightsError> {
    match sizes.iter().find(|(_, size)| !(1..=SIZE_MAX).contains(size)) {
        None => Ok(()),
        Some((name, size)) => Err(WeightsError::BadConfig {
            reason: format!("`{name}` is {size}; it must be 1 to {SIZE_MAX}"),
        }),
    }
}

/// How much wider a hidden layer is.
///
/// # Errors
/// [`WeightsError::BadConfig`] for a ratio that is none.
pub(super) fn widened(width: i64, ratio: f64) -> Result<i64, WeightsError> {
    if ratio > 0.0 && ratio <= 64.0 {
        return Ok((width as f64 * ratio) as i64);
    }
    Err(WeightsError::BadConfig { reason: format!("`mlp_ratio` is {ratio}; it must be up to 64") })
}

/// A linear map of the last axis.
pub(super) struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    /// Takes `<prefix>.weight` and `<prefix>.bias`.
    pub(super) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        from: i64,
        to: i64,
    ) -> Result<Self, WeightsError> {
        let (weight, bias) = weights.take_pair(prefix, &[to, from], &[to])?;
        Ok(Self { weight, bias: Some(bias) })
    }

    /// The same, where a bias may be left out by the model's own configuration.
    pub(super) fn load_with(
        weights: &mut Weights<'_>,
        prefix: &str,
        from: i64,
        to: i64,
        has_bias: bool,
    ) -> Result<Self, WeightsError> {
        if has_bias {
            return Self::load(weights, prefix, from, to);
        }
        Ok(Self { weight: weights.take(&format!("{prefix}.weight"), &[to, from])?, bias: None })
    }

    /// From a weight and a bias that are parts of larger tensors.
    pub(super) fn of(weight: Tensor, bias: Tensor) -> Self {
        Self { weight, bias: Some(bias) }
    }

    /// The precision of its numbers.
    pub(super) fn kind(&self) -> Kind {
        self.weight.kind()
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        input.f_linear(&self.weight, self.bias.as_ref())
    }
}

/// Layer normalisation over the last axis.
pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
    epsilon: f64,
}

impl Norm {
    /// Takes `<prefix>.weight` and `<prefix>.bias`.
    pub(super) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        width: i64,
        epsilon: f64,
    ) -> Result<Self, WeightsError> {
        let (weight, bias) = weights.take_pair(prefix, &[width], &[width])?;
        Ok(Self { weight, bias, width, epsilon })
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        input.f_layer_norm(self.width, Some(&self.weight), Some(&self.bias), self.epsilon, true)
    }

    /// The same over the second axis, as networks of pictures and of sequences have their channels.
    pub(super) fn over_channels(&self, input: &Tensor) -> Result<Tensor, TchError> {
        self.forward(&input.f_movedim_int(1, -1)?)?.f_movedim_int(-1, 1)
    }
}

/// A convolution, over one axis or two by the shape of its weight.
pub(super) struct Convolution {
    weight: Tensor,
    bias: Option<Tensor>,
    stride: i64,
    padding: i64,
    groups: i64,
    is_flat: bool,
}

/// Shape of a convolution beside its channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    pub(super) size: i64,
    pub(super) stride: i64,
    pub(super) padding: i64,
}

impl Kernel {
    /// One that keeps the size of its input.
    pub(super) fn same(size: i64) -> Self {
        Self { size, stride: 1, padding: size / 2 }
    }
}

impl Convolution {
    /// The precision of its numbers.
    pub(super) fn kind(&self) -> Kind {
        self.weight.kind()
    }

    /// Takes `<prefix>.weight` and `<prefix>.bias` of a convolution over two axes.
    pub(super) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        channels: (i64, i64),
        kernel: Kernel,
    ) -> Result<Self, WeightsError> {
        let bare = Self::load_bare(weights, prefix, channels, kernel)?;
        let bias = weights.take(&format!("{prefix}.bias"), &[channels.1])?;
        Ok(Self { bias: Some(bias), ..bare })
    }

    /// The same without a bias, as it is before a batch normalisation.
    pub(super) fn load_bare(
        weights: &mut Weights<'_>,
        prefix: &str,
        (from, to): (i64, i64),
        kernel: Kernel,
    ) -> Result<Self, WeightsError> {
        let shape = [to, from, kernel.size, kernel.size];
        let weight = weights.take(&format!("{prefix}.weight"), &shape)?;
        Ok(Self::of(weight, None, kernel, 1, false))
    }

    /// A convolution with the batch normalisation behind it: one map instead of two, folded in double precision.
    pub(super) fn load_normed(
        weights: &mut Weights<'_>,
        [convolution, norm]: [&str; 2],
        (from, to): (i64, i64),
        kernel: Kernel,
    ) -> Result<Self, WeightsError> {
        let name = format!("{convolution}.weight");
        let weight = weights.take_single(&name, &[to, from, kernel.size, kernel.size])?;
        let within = |part: &str| format!("{norm}.{part}");
        let mut column = |part: &str| weights.take_single(&within(part), &[to]);
        let (gamma, beta) = (column("weight")?, column("bias")?);
        let (mean, variance) = (column("running_mean")?, column("running_var")?);
        weights.skip(&[&within("num_batches_tracked")]);
        let kind = weights.kind();
        let folded = fold(&weight, [&gamma, &beta, &mean, &variance], BatchNorm::EPSILON);
        let (weight, bias) = folded
            .and_then(|(weight, bias)| {
                // As the pictures lie that it is applied to.
                Ok((channels_last(&weight.f_to_kind(kind)?)?, bias.f_to_kind(kind)?))
            })
            .map_err(|source| WeightsError::Torch { name, source })?;
        Ok(Self::of(weight, Some(bias), kernel, 1, false))
    }

    /// Over one axis; with as many groups as channels each channel is on its own.
    pub(super) fn load_flat(
        weights: &mut Weights<'_>,
        prefix: &str,
        (from, to): (i64, i64),
        kernel: Kernel,
        groups: i64,
    ) -> Result<Self, WeightsError> {
        let shape = [to, from / groups, kernel.size];
        let (weight, bias) = weights.take_pair(prefix, &shape, &[to])?;
        Ok(Self::of(weight, Some(bias), kernel, groups, true))
    }

    fn of(
        weight: Tensor,
        bias: Option<Tensor>,
        kernel: Kernel,
        groups: i64,
        is_flat: bool,
    ) -> Self {
        let Kernel { stride, padding, .. } = kernel;
        Self { weight, bias, stride, padding, groups, is_flat }
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let (stride, padding, bias) = (self.stride, self.padding, self.bias.as_ref());
        if self.is_flat {
            return input.f_conv1d(&self.weight, bias, stride, padding, 1i64, self.groups);
        }
        input.f_conv2d(
            &self.weight,
            bias,
            [stride, stride],
            [padding, padding],
            [1, 1],
            self.groups,
        )
    }
}

/// Batch normalisation by the statistics of the training.
pub(super) struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    variance: Tensor,
}

impl BatchNorm {
    const EPSILON: f64 = 1e-5;

    /// Takes the five tensors of `<prefix>`; the count of batches is of no use.
    pub(super) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        channels: i64,
    ) -> Result<Self, WeightsError> {
        let (weight, bias) = weights.take_pair(prefix, &[channels], &[channels])?;
        let mean = weights.take(&format!("{prefix}.running_mean"), &[channels])?;
        let variance = weights.take(&format!("{prefix}.running_var"), &[channels])?;
        weights.skip(&[&format!("{prefix}.num_batches_tracked")]);
        Ok(Self { weight, bias, mean, variance })
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        input.f_batch_norm(
            Some(&self.weight),
            Some(&self.bias),
            Some(&self.mean),
            Some(&self.variance),
            false,
            0.0,
            Self::EPSILON,
            false,
        )
    }
}

/// Two linear maps with a GELU (the exact one) between them.
pub(super) struct Perceptron {
    first: Linear,
    second: Linear,
}

impl Perceptron {
    /// Takes the layers by their names within `<prefix>`.
    pub(super) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        [first, second]: [&str; 2],
        width: i64,
        hidden: i64,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            first: Linear::load(weights, &format!("{prefix}.{first}"), width, hidden)?,
            second: Linear::load(weights, &format!("{prefix}.{second}"), hidden, width)?,
        })
    }

    pub(super) fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        self.second.forward(&self.first.forward(input)?.f_gelu("none")?)
    }
}

/// Attention of many heads, scaled by the root of a head's width.
///
/// # Shape
/// `query`: rows x n x width, `key` and `value`: rows x m x width; `mask` is added to the scores and
/// broadcasts to rows x heads x n x m.
pub(super) fn attend(
    [query, key, value]: [&Tensor; 3],
    heads: i64,
    mask: Option<&Tensor>,
) -> Result<Tensor, TchError> {
    let split = |tensor: &Tensor| -> Result<Tensor, TchError> {
        let (rows, count, width) = tensor.size3()?;
        tensor.f_reshape([rows, count, heads, width / heads])?.f_transpose(1, 2)
    };
    let attended = Tensor::f_scaled_dot_product_attention(
        &split(query)?,
        &split(key)?,
        &split(value)?,
        mask,
        0.0,
        false,
        None,
        false,
    )?;
    let (rows, count, width) = query.size3()?;
    attended.f_transpose(1, 2)?.f_reshape([rows, count, width])
}

/// Normalisation and attention of tokens to each other: the first half of a transformer's block.
pub(super) struct SelfAttention {
    norm: Norm,
    /// Query, key and value.
    joined: Linear,
    projection: Linear,
    heads: i64,
}

impl SelfAttention {
    /// Takes the layers by their names: normalisation, joined map, and projection.
    pub(super) fn load(
        weights: &mut Weights<'_>,
        [norm, joined, projection]: [&str; 3],
        (width, heads): (i64, i64),
        epsilon: f64,
        [has_joined_bias, has_bias]: [bool; 2],
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            norm: Norm::load(weights, norm, width, epsilon)?,
            joined: Linear::load_with(weights, joined, width, 3 * width, has_joined_bias)?,
            projection: Linear::load_with(weights, projection, width, width, has_bias)?,
            heads,
        })
    }

    /// What is to be added to the tokens; `mask` as in [`attend`].
    pub(super) fn forward(
        &self,
        tokens: &Tensor,
        mask: Option<&Tensor>,
    ) -> Result<Tensor, TchError> {
        let [query, key, value] = thirds(&self.joined.forward(&self.norm.forward(tokens)?)?)?;
        self.projection.forward(&attend([&query, &key, &value], self.heads, mask)?)
    }
}

/// The thirds of the last axis: query, key and value.
pub(super) fn thirds(joined: &Tensor) -> Result<[Tensor; 3], TchError> {
    let width = joined.size().last().copied().unwrap_or(0) / 3;
    Ok([
        joined.f_narrow(-1, 0, width)?,
        joined.f_narrow(-1, width, width)?,
        joined.f_narrow(-1, 2 * width, width)?,
    ])
}

/// The mean over an axis, in single precision.
pub(super) fn mean(tensor: &Tensor, axis: i64) -> Result<Tensor, TchError> {
    tensor.f_mean_dim(axis, false, Kind::Float)
}
