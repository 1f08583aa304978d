//! A network while it learns.

use sidereus::encoder::TowerInput;
use sidereus::learn::{Activation, AttentionShape, HeadOutput, HeadShape, NamedTensor};
use tch::{Device, Kind, TchError, Tensor};

use super::super::load::to_rows;
use super::inputs::{Group, Inputs, Scale, tensor};
use super::random::Random;

/// One network and its parameters.
pub(super) struct Net {
    shape: HeadShape,
    /// Scales the features.
    pub(super) scale: Option<Scale>,
    attention: Option<Attention>,
    layers: Vec<(Tensor, Tensor)>,
    device: Device,
}

/// Parameters of the attention pooling.
struct Attention {
    heads: i64,
    /// Heads x share.
    query: Tensor,
    /// Width x features.
    key: Tensor,
    value: (Tensor, Tensor),
    out: (Tensor, Tensor),
}

/// A parameter that begins uniform within the bound.
fn parameter(
    shape: &[i64],
    bound: f64,
    random: &mut Random,
    device: Device,
) -> Result<Tensor, TchError> {
    let count = shape.iter().product::<i64>() as usize;
    tensor(&random.uniform(count, bound), shape, device)?.f_set_requires_grad(true)
}

/// A linear layer that begins as PyTorch's does: uniform within one over the root of the number of inputs.
fn linear(
    outputs: i64,
    inputs: i64,
    random: &mut Random,
    device: Device,
) -> Result<(Tensor, Tensor), TchError> {
    let bound = 1.0 / (inputs as f64).sqrt();
    Ok((
        parameter(&[outputs, inputs], bound, random, device)?,
        parameter(&[outputs], bound, random, device)?,
    ))
}

impl Attention {
    fn new(
        shape: AttentionShape,
        input: i64,
        random: &mut Random,
        device: Device,
    ) -> Result<Self, TchError> {
        let (heads, width) = (shape.heads as i64, shape.width as i64);
        let bound = 1.0 / (input as f64).sqrt();
        Ok(Self {
            heads,
            // Of unit variance.
            query: parameter(&[heads, width / heads], 3.0_f64.sqrt(), random, device)?,
            key: parameter(&[width, input], bound, random, device)?,
            value: linear(width, input, random, device)?,
            out: linear(width, width, random, device)?,
        })
    }

    /// What a token's features are multiplied with for each part of the query: heads x features.
    fn folded(&self) -> Result<Tensor, TchError> {
        let (width, input) = self.key.size2()?;
        let share = width / self.heads;
        let key = self.key.f_reshape([self.heads, share, input])?;
        self.query
            .f_unsqueeze(1)?
            .f_bmm(&key)?
            .f_squeeze_dim(1)?
            .f_div_scalar((share as f64).sqrt())
    }

    /// Examples x width.
    fn pool(&self, groups: &[Group]) -> Result<Tensor, TchError> {
        let query = self.folded()?;
        let of_group = |group: &Group| {
            let scores = group.tokens.f_matmul(&query.f_transpose(0, 1)?)?.f_transpose(1, 2)?;
            let scores = match &group.padding {
                Some(padding) => scores.f_add(padding)?,
                None => scores,
            };
            scores.f_softmax(-1, Kind::Float)?.f_bmm(&group.tokens)
        };
        let collected = groups.iter().map(of_group).collect::<Result<Vec<_>, _>>()?;
        let collected = Tensor::f_cat(&collected, 0)?;
        let (examples, _, input) = collected.size3()?;
        let (weight, bias) = &self.value;
        let width = bias.size1()?;
        let weight = weight.f_reshape([self.heads, width / self.heads, input])?;
        let values = collected.f_transpose(0, 1)?.f_bmm(&weight.f_transpose(1, 2)?)?;
        let joined = values.f_transpose(0, 1)?.f_reshape([examples, width])?.f_add(bias)?;
        joined.f_linear(&self.out.0, Some(&self.out.1))
    }
}

impl Net {
    /// A network at its beginning.
    pub(super) fn new(
        shape: HeadShape,
        input: &TowerInput,
        random: &mut Random,
        device: Device,
    ) -> Result<Self, TchError> {
        let attention = shape
            .attention
            .map(|sizes| Attention::new(sizes, shape.input as i64, random, device))
            .transpose()?;
        let mut from = shape.pooled_width() as i64;
        let mut layers = Vec::new();
        for to in shape.hidden.iter().copied().chain([shape.output.raw_width()]) {
            layers.push(linear(to as i64, from, random, device)?);
            from = to as i64;
        }
        let scale = input.scaling.as_ref();
        let scale = scale.map(|scaling| Scale::new(&scaling.mean, &scaling.scale, device));
        let net = Self { scale: scale.transpose()?, shape, attention, layers, device };
        net.spread()?;
        Ok(net)
    }

    /// Lets the means of a density's Gaussians begin apart, two standard deviations to both sides of the targets' mean, so
    /// that they do not all learn the same.
    fn spread(&self) -> Result<(), TchError> {
        let HeadOutput::Density { components } = self.shape.output else { return Ok(()) };
        let Some((_, bias)) = self.layers.last() else { return Ok(()) };
        let mean = |place: usize| 4.0 * (place as f32 + 0.5) / components as f32 - 2.0;
        let mut beginning = vec![0.0; 3 * components];
        for (place, value) in beginning[components..2 * components].iter_mut().enumerate() {
            *value = mean(place);
        }
        tch::no_grad(|| {
            bias.shallow_clone()
                .f_copy_(&Tensor::f_from_slice(&beginning)?.f_to_device(self.device)?)
        })
    }

    /// Lets the layers begin with the numbers of tensors that were checked to be theirs; none of them is the attention's.
    pub(super) fn set(&self, tensors: &[NamedTensor]) -> Result<(), TchError> {
        let layers = self.layers.iter().flat_map(|(weight, bias)| [weight, bias]);
        tch::no_grad(|| {
            layers.zip(tensors).try_for_each(|(parameter, given)| {
                let given = tensor(&given.values, &parameter.size(), self.device)?;
                parameter.shallow_clone().f_copy_(&given)
            })
        })
    }

    /// What is learned, and whether it decays.
    pub(super) fn parameters(&self) -> Vec<(Tensor, bool)> {
        let mut all = Vec::new();
        let pair = |(weight, bias): &(Tensor, Tensor)| {
            [(weight.shallow_clone(), true), (bias.shallow_clone(), false)]
        };
        if let Some(attention) = &self.attention {
            all.push((attention.query.shallow_clone(), false));
            all.push((attention.key.shallow_clone(), true));
            all.extend(pair(&attention.value));
            all.extend(pair(&attention.out));
        }
        all.extend(self.layers.iter().flat_map(pair));
        all
    }

    /// What the last layer gives; with a probability and random numbers, hidden numbers are left out.
    ///
    /// # Shape
    /// Examples x the raw width of the output.
    pub(super) fn forward(
        &self,
        inputs: &Inputs,
        mut dropout: Option<(f64, &mut Random)>,
    ) -> Result<Tensor, TchError> {
        let mut values = match (inputs, &self.attention) {
            (Inputs::Tokens(groups), Some(attention)) => attention.pool(groups)?,
            (Inputs::Rows(rows), None) => rows.shallow_clone(),
            _ => return Err(TchError::Shape("rows for tokens, or tokens for rows".to_owned())),
        };
        for (number, (weight, bias)) in self.layers.iter().enumerate() {
            if number > 0 {
                values = match self.shape.activation {
                    Activation::Relu => values.f_relu()?,
                    Activation::Gelu => values.f_gelu("none")?,
                };
                if let Some((p, random)) = &mut dropout
                    && *p > 0.0
                {
                    let mask = random.mask(values.numel(), *p);
                    values = values.f_mul(&tensor(&mask, &values.size(), self.device)?)?;
                }
            }
            values = values.f_linear(weight, Some(bias))?;
        }
        Ok(values)
    }

    /// The tensors by their names.
    pub(super) fn export(&self) -> Result<Vec<NamedTensor>, TchError> {
        let mut tensors = Vec::new();
        tch::no_grad(|| {
            if let Some(attention) = &self.attention {
                tensors.push(attention.folded()?);
                for (weight, bias) in [&attention.value, &attention.out] {
                    tensors.extend([weight.shallow_clone(), bias.shallow_clone()]);
                }
            }
            for (weight, bias) in &self.layers {
                tensors.extend([weight.shallow_clone(), bias.shallow_clone()]);
            }
            let named = self.shape.tensors().into_iter().zip(&tensors);
            named
                .map(|((name, shape), tensor)| {
                    Ok(NamedTensor { name, shape, values: to_rows(&tensor.f_detach()?)? })
                })
                .collect()
        })
    }
}
