//! `photometry-mm`: a masked-modelling transformer with one token for each band.
//!
//! It was trained to tell a hidden band from the others, so it is asked once for each band with that band hidden: what
//! the other bands say of it is the prior, its own measurement is weighed against that prior by their variances, and
//! the posterior, which is a flux with its noise taken down, goes into the embedding beside the tokens of the whole view.

use sidereus::encoder::{AsinhFlux, ModelSpec, Network, NetworkConfig, NetworkError, Stage};
use tch::{Device, Kind, TchError, Tensor};

use super::load::to_rows;
use super::weights::{Weights, WeightsError};

/// Bounds of the logarithm of a prior variance.
const LOG_VARIANCE: (f64, f64) = (-12.0, 4.0);

/// Numbers of a token's input: value, noise, whether it is seen, level of the object.
const TOKEN_INPUTS: i64 = 4;

/// The network and its weights.
pub(crate) struct PhotometryMm {
    bands: i64,
    embed: (Tensor, Tensor),
    blocks: Vec<Block>,
    norm: Norm,
    head: (Tensor, Tensor),
    whiten: (Tensor, Tensor),
    /// One row for each view: 0 where the view hides a band.
    views: Tensor,
    device: Device,
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    width: i64,
}

struct Block {
    norm1: Norm,
    qkv: (Tensor, Tensor),
    proj: (Tensor, Tensor),
    norm2: Norm,
    fc1: (Tensor, Tensor),
    fc2: (Tensor, Tensor),
    heads: i64,
}

/// What a view of an object gives: tokens, and mean and variance of every band, view by view.
struct Seen {
    /// views x rows x bands x width
    tokens: Tensor,
    /// views x rows x bands
    mean: Tensor,
    /// views x rows x bands
    variance: Tensor,
}

impl PhotometryMm {
    /// Takes its weights.
    pub(crate) fn load(
        spec: &ModelSpec,
        config: &NetworkConfig,
        weights: &mut Weights<'_>,
        device: Device,
    ) -> Result<Self, WeightsError> {
        weights.skip(&AsinhFlux::CONSTANTS);
        let [bands, width, hidden, heads] =
            [config.bands.len(), config.width, config.hidden, config.heads].map(|size| size as i64);
        let dimension = spec.dimension as i64;
        let embed = weights.take_pair("embed", &[bands, width, TOKEN_INPUTS], &[bands, width])?;
        let blocks = (0..config.depth)
            .map(|number| Block::load(&format!("blocks.{number}"), width, hidden, heads, weights))
            .collect::<Result<_, _>>()?;
        let norm = Norm::load("norm", width, weights)?;
        let head = weights.take_pair("head", &[bands, 2, width], &[bands, 2])?;
        let whiten =
            weights.take_pair("whiten", &[dimension, bands * (1 + width)], &[dimension])?;
        let views = views(bands, device)
            .map_err(|source| WeightsError::Torch { name: "views".to_owned(), source })?;
        Ok(Self { bands, embed, blocks, norm, head, whiten, views, device })
    }

    /// What the trunk and the head say of views of objects.
    ///
    /// # Shape
    /// `value`, `noise`, `observed`: rows x bands.
    fn look(&self, value: &Tensor, noise: &Tensor, observed: &Tensor) -> Result<Seen, TchError> {
        let (views, rows, bands) = (self.bands + 1, value.size2()?.0, self.bands);
        let seen = observed.f_unsqueeze(0)?.f_mul(&self.views.f_unsqueeze(1)?)?;
        let total = value.f_mul(&seen)?.f_sum_dim_intlist(-1, true, Kind::Float)?;
        let level =
            total.f_div(&seen.f_sum_dim_intlist(-1, true, Kind::Float)?.f_clamp_min(1.0)?)?;
        let inputs = [
            value.f_sub(&level)?.f_mul(&seen)?,
            noise.f_mul(&seen)?,
            seen.shallow_clone(),
            level.f_expand([views, rows, bands], false)?,
        ];
        // The layers of one token differ from band to band: a product for each band.
        let inputs =
            Tensor::f_stack(&inputs, -1)?.f_reshape([views * rows, bands, TOKEN_INPUTS])?;
        let (weight, bias) = &self.embed;
        let mut tokens = by_band(&inputs, weight)?.f_add(bias)?;
        for block in &self.blocks {
            tokens = block.forward(&tokens)?;
        }
        let tokens = self.norm.forward(&tokens)?;
        let (weight, bias) = &self.head;
        let out = by_band(&tokens, weight)?.f_add(bias)?.f_reshape([views, rows, bands, 2])?;
        let (lowest, highest) = LOG_VARIANCE;
        Ok(Seen {
            tokens: tokens.f_reshape([views, rows, bands, -1])?,
            mean: out.f_select(-1, 0)?.f_add(&level)?,
            variance: out.f_select(-1, 1)?.f_clamp(lowest, highest)?.f_exp()?,
        })
    }

    fn forward(&self, rows: usize, features: &[f32]) -> Result<Vec<Stage>, TchError> {
        let shape = [rows as i64, self.bands, AsinhFlux::FEATURES_PER_BAND as i64];
        let features =
            Tensor::f_from_slice(features)?.f_reshape(shape)?.f_to_device(self.device)?;
        let feature = |place| features.f_select(2, place);
        let (value, noise, variance, observed) =
            (feature(0)?, feature(1)?, feature(2)?, feature(3)?);
        let seen = self.look(&value, &noise, &observed)?;

        // View j hides band j: what it says of band j comes from the others. The last view hides nothing.
        let of_hidden = |all: &Tensor| all.f_narrow(0, 0, self.bands)?.f_diagonal(0, 0, 2);
        let (prior, prior_variance) = (of_hidden(&seen.mean)?, of_hidden(&seen.variance)?);
        let gain = prior_variance.f_div(&prior_variance.f_add(&variance)?)?.f_mul(&observed)?;
        let posterior = prior.f_add(&gain.f_mul(&value.f_sub(&prior)?)?)?;
        let context = seen.tokens.f_select(0, self.bands)?.f_flatten(1, 2)?;
        let (weight, bias) = &self.whiten;
        let joined = Tensor::f_cat(&[&posterior, &context], 1)?;
        let embedding = joined.f_linear(weight, Some(bias))?;
        Ok(vec![
            Stage { name: "posterior", values: to_rows(&posterior)? },
            Stage { name: "context", values: to_rows(&context)? },
            Stage { name: "embedding", values: to_rows(&embedding)? },
        ])
    }
}

impl Network for PhotometryMm {
    fn stages(&self, rows: usize, features: &[f32]) -> Result<Vec<Stage>, NetworkError> {
        tch::no_grad(|| self.forward(rows, features))
            .map_err(|error| NetworkError { rows, reason: error.to_string() })
    }
}

impl Norm {
    fn load(prefix: &str, width: i64, weights: &mut Weights<'_>) -> Result<Self, WeightsError> {
        let (weight, bias) = weights.take_pair(prefix, &[width], &[width])?;
        Ok(Self { weight, bias, width })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        input.f_layer_norm(self.width, Some(&self.weight), Some(&self.bias), 1e-5, true)
    }
}

impl Block {
    fn load(
        prefix: &str,
        width: i64,
        hidden: i64,
        heads: i64,
        weights: &mut Weights<'_>,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            norm1: Norm::load(&format!("{prefix}.norm1"), width, weights)?,
            qkv: weights.take_pair(
                &format!("{prefix}.attn.qkv"),
                &[3 * width, width],
                &[3 * width],
            )?,
            proj: weights.take_pair(&format!("{prefix}.attn.proj"), &[width, width], &[width])?,
            norm2: Norm::load(&format!("{prefix}.norm2"), width, weights)?,
            fc1: weights.take_pair(&format!("{prefix}.mlp.fc1"), &[hidden, width], &[hidden])?,
            fc2: weights.take_pair(&format!("{prefix}.mlp.fc2"), &[width, hidden], &[width])?,
            heads,
        })
    }

    /// Pre-norm attention among the bands and a two-layer perceptron, each added to its input.
    fn forward(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let (rows, bands, width) = tokens.size3()?;
        let linear =
            |input: &Tensor, (weight, bias): &(Tensor, Tensor)| input.f_linear(weight, Some(bias));
        let qkv = linear(&self.norm1.forward(tokens)?, &self.qkv)?
            .f_reshape([rows, bands, 3, self.heads, width / self.heads])?
            .f_permute([2, 0, 3, 1, 4])?;
        let attended = Tensor::f_scaled_dot_product_attention(
            &qkv.f_select(0, 0)?,
            &qkv.f_select(0, 1)?,
            &qkv.f_select(0, 2)?,
            None::<&Tensor>,
            0.0,
            false,
            None,
            false,
        )?;
        let attended = attended.f_transpose(1, 2)?.f_reshape([rows, bands, width])?;
        let tokens = tokens.f_add(&linear(&attended, &self.proj)?)?;
        let hidden = linear(&self.norm2.forward(&tokens)?, &self.fc1)?.f_gelu("none")?;
        tokens.f_add(&linear(&hidden, &self.fc2)?)
    }
}

/// Multiplies rows x bands x n by bands x m x n to rows x bands x m.
fn by_band(input: &Tensor, weight: &Tensor) -> Result<Tensor, TchError> {
    input.f_transpose(0, 1)?.f_matmul(&weight.f_transpose(1, 2)?)?.f_transpose(0, 1)
}

/// One row that hides each band, and one that hides none.
fn views(bands: i64, device: Device) -> Result<Tensor, TchError> {
    let options = (Kind::Float, device);
    let ones = Tensor::f_ones([bands, bands], options)?;
    let hiding = ones.f_sub(&Tensor::f_eye(bands, options)?)?;
    Tensor::f_cat(&[hiding, Tensor::f_ones([1, bands], options)?], 0)
}
