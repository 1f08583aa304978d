//! The spectrum codec of AION-1 (Parker et al. 2025, arXiv:2510.17960, appendix C): spectra on any grid to tokens.

use serde::Deserialize;
use tch::{Kind, TchError, Tensor};

use super::super::super::weights::{Weights, WeightsError};
use super::super::layers::{Convolution, Kernel, Linear, Norm, check_sizes};
use super::super::trace::Trace;

/// Normalisations of the network, and of what is quantised.
const EPSILON: f64 = 1e-6;
const EPSILON_BEFORE_CODES: f64 = 1e-5;

/// Components behind the first layer of a block, for each of its components.
const WIDENING: i64 = 4;

/// The least flux that a spectrum is divided by.
const NORM_MIN: f64 = 0.1;

/// The sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct SpectrumCodecConfig {
    pub(crate) encoder_depths: Vec<i64>,
    pub(crate) encoder_dims: Vec<i64>,
    pub(crate) num_pixels: i64,
    pub(crate) latent_channels: i64,
    pub(crate) embedding_dim: i64,
    pub(crate) clip_ivar: Option<f64>,
    pub(crate) clip_flux: Option<f64>,
    pub(crate) input_scaling: f64,
    pub(crate) codebook_size: i64,
}

/// Spectra, each on its own wavelengths.
#[derive(Debug)]
pub(crate) struct Spectra {
    /// rows x pixels.
    pub(crate) flux: Tensor,
    /// Inverse variance of the flux.
    pub(crate) ivar: Tensor,
    /// Bad pixels (1).
    pub(crate) mask: Tensor,
    /// Ascending, in Angstrom.
    pub(crate) wavelength: Tensor,
}

/// The codec, without its decoder.
pub(crate) struct SpectrumCodec {
    config: SpectrumCodecConfig,
    grid: Tensor,
    /// Logarithms that a norm can have.
    norms: Tensor,
    stages: Vec<Stage>,
    norm: Norm,
    before_codes: Norm,
    projection: Convolution,
}

struct Stage {
    down: Down,
    blocks: Vec<Block>,
}

/// What comes before a stage's blocks: the stem normalises behind its convolution, the others before it.
enum Down {
    Stem(Convolution, Norm),
    Halving(Norm, Convolution),
}

/// A block of ConvNeXt V2 (Woo et al. 2023, arXiv:2301.00808), over one axis.
struct Block {
    depthwise: Convolution,
    norm: Norm,
    first: Linear,
    gamma: Tensor,
    beta: Tensor,
    second: Linear,
}

impl Block {
    fn load(weights: &mut Weights<'_>, prefix: &str, width: i64) -> Result<Self, WeightsError> {
        let within = |name: &str| format!("{prefix}.{name}");
        let hidden = WIDENING * width;
        let channels = (width, width);
        Ok(Self {
            depthwise: Convolution::load_flat(
                weights,
                &within("dwconv"),
                channels,
                Kernel::same(7),
                width,
            )?,
            norm: Norm::load(weights, &within("norm"), width, EPSILON)?,
            first: Linear::load(weights, &within("pwconv1"), width, hidden)?,
            gamma: weights.take(&within("grn.gamma"), &[1, 1, hidden])?,
            beta: weights.take(&within("grn.beta"), &[1, 1, hidden])?,
            second: Linear::load(weights, &within("pwconv2"), hidden, width)?,
        })
    }

    /// rows x channels x pixels.
    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let features = self.depthwise.forward(input)?.f_transpose(1, 2)?;
        let features = self.first.forward(&self.norm.forward(&features)?)?.f_gelu("none")?;
        // Global response: how strong a channel is over the whole spectrum, beside the mean channel.
        let strength = features.f_norm_scalaropt_dim(2.0, [1i64], true)?;
        let typical = strength.f_mean_dim(-1, true, Kind::Float)?.f_add_scalar(EPSILON)?;
        let response = features.f_mul(&strength.f_div(&typical)?)?;
        let features = response.f_mul(&self.gamma)?.f_add(&self.beta)?.f_add(&features)?;
        self.second.forward(&features)?.f_transpose(1, 2)?.f_add(input)
    }
}

impl SpectrumCodec {
    /// Takes the weights of the encoding half.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &SpectrumCodecConfig,
    ) -> Result<Self, WeightsError> {
        let dims = &config.encoder_dims;
        let last = dims.last().copied().unwrap_or(0);
        for &width in dims {
            check_sizes(&[("encoder_dims", width)])?;
        }
        check_sizes(&[
            ("num_pixels", config.num_pixels),
            ("codebook_size", config.codebook_size),
            ("embedding_dim", config.embedding_dim),
        ])?;
        let has_stages = dims.len() == config.encoder_depths.len();
        if !has_stages || last != config.latent_channels || config.embedding_dim > 32 {
            let reason = "encoder_dims and encoder_depths must be equally many, the last of the \
                          dims latent_channels, and embedding_dim at most 32"
                .to_owned();
            return Err(WeightsError::BadConfig { reason });
        }
        let mut stages = Vec::with_capacity(dims.len());
        for (number, &depth) in config.encoder_depths.iter().enumerate() {
            stages.push(Stage::load(weights, dims, number, depth)?);
        }
        let norm = Norm::load(weights, "encoder.norm", last, EPSILON)?;
        let before_codes = Norm::load(weights, "pre_quant_norm", last, EPSILON_BEFORE_CODES)?;
        let channels = (last, config.embedding_dim);
        let projection =
            Convolution::load_flat(weights, "quant_conv", channels, Kernel::same(1), 1)?;
        let grid = weights.take("latent_grid._wavelength", &[1, config.num_pixels])?;
        let norms = weights.take("normalization_quantizer.buckets", &[config.codebook_size])?;
        weights.skip_all(|name| {
            ["decoder.", "post_quant_conv.", "_quantizer._quantizer.", "latent_grid."]
                .iter()
                .any(|part| name.starts_with(part))
        });
        Ok(Self { config: config.clone(), grid, norms, stages, norm, before_codes, projection })
    }

    /// Tokens of spectra: one for the norm, then those of the shape.
    ///
    /// # Shape
    /// rows x (1 + tokens), integers.
    pub(crate) fn forward(&self, spectra: &Spectra, trace: &mut Trace) -> Result<Tensor, TchError> {
        let (input, norm_token) = self.on_the_grid(spectra, trace)?;
        trace.note_with("encoder_input", || input.f_slice(2, 0, self.config.num_pixels, 4))?;
        let mut features = input;
        for (number, stage) in self.stages.iter().enumerate() {
            let start = |tensor: &Tensor| tensor.f_narrow(2, 0, 32);
            features = stage.down.forward(&features)?;
            if number == 0 {
                trace.note_with("stem_first32", || start(&features))?;
            }
            for block in &stage.blocks {
                features = block.forward(&features)?;
            }
            if number == 0 {
                trace.note_with("stage0_first32", || start(&features))?;
            }
        }
        let features = self.norm.over_channels(&features)?;
        trace.note("encoder_output", &features);
        let latent = self.projection.forward(&self.before_codes.over_channels(&features)?)?;
        trace.note("latent", &latent);
        let tokens = Tensor::f_cat(&[norm_token, signs(&latent)?], 1)?;
        trace.note("tokens", &tokens);
        Ok(tokens)
    }

    /// Scaled flux and error on the codec's wavelengths, and the token of the norm.
    fn on_the_grid(
        &self,
        spectra: &Spectra,
        trace: &mut Trace,
    ) -> Result<(Tensor, Tensor), TchError> {
        let finite =
            |tensor: &Tensor| tensor.f_nan_to_num(0.0, f64::from(f32::MAX), f64::from(f32::MIN));
        let mut flux = finite(&spectra.flux)?;
        if let Some(most) = self.config.clip_flux {
            flux = flux.f_clamp(-most, most)?;
        }
        let mut ivar = finite(&spectra.ivar)?.f_clamp_min(0.0)?;
        if let Some(most) = self.config.clip_ivar {
            ivar = ivar.f_clamp_max(most)?;
        }
        let good = spectra.mask.f_eq(0i64)?.f_to_kind(Kind::Float)?;
        let total = flux.f_mul(&good)?.f_sum_dim_intlist(1, false, Kind::Float)?;
        let count = good.f_sum_dim_intlist(1, false, Kind::Float)?.f_add_scalar(1.0)?;
        let logarithm = total.f_div(&count)?.f_clamp_min(NORM_MIN)?.f_add_scalar(1.0)?.f_log10()?;
        let token = logarithm
            .f_bucketize(&self.norms, false, false)?
            .f_clamp_max(self.config.codebook_size - 1)?;
        let quantised = self.norms.f_index_select(0, &token)?;
        trace.note("log10_norm_quantised", &quantised);
        let ten = Tensor::f_full_like(&quantised, 10.0)?;
        let norm = ten.f_pow(&quantised)?.f_sub_scalar(1.0)?.f_clamp_min(NORM_MIN)?;
        let norm = norm.f_unsqueeze(1)?;
        let scaling = self.config.input_scaling;
        let shape = flux.f_div(&norm)?.f_sub_scalar(1.0)?.f_mul_scalar(scaling)?;
        let error = ivar.f_sqrt()?.f_div(&norm)?.f_mul_scalar(scaling)?;
        let at = |values: &Tensor| interpolate(&spectra.wavelength, values, &self.grid);
        let input = Tensor::f_stack(&[at(&shape)?, at(&error)?], 1)?.f_asinh()?;
        Ok((input, token.f_unsqueeze(1)?))
    }
}

impl Stage {
    fn load(
        weights: &mut Weights<'_>,
        dims: &[i64],
        number: usize,
        depth: i64,
    ) -> Result<Self, WeightsError> {
        let name = |place: usize| format!("encoder.downsample_layers.{number}.{place}");
        let width = dims[number];
        let kernel = |size: i64| Kernel { size, stride: size, padding: 0 };
        let down = if number == 0 {
            let stem = Convolution::load_flat(weights, &name(0), (2, width), kernel(4), 1)?;
            Down::Stem(stem, Norm::load(weights, &name(1), width, EPSILON)?)
        } else {
            let from = dims[number - 1];
            let norm = Norm::load(weights, &name(0), from, EPSILON)?;
            let halving = Convolution::load_flat(weights, &name(1), (from, width), kernel(2), 1)?;
            Down::Halving(norm, halving)
        };
        let blocks = (0..depth)
            .map(|block| Block::load(weights, &format!("encoder.stages.{number}.{block}"), width))
            .collect::<Result<_, _>>()?;
        Ok(Self { down, blocks })
    }
}

impl Down {
    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Stem(convolution, norm) => norm.over_channels(&convolution.forward(input)?),
            Self::Halving(norm, convolution) => convolution.forward(&norm.over_channels(input)?),
        }
    }
}

/// Linear interpolation row by row; 0 outside of a row's own wavelengths.
fn interpolate(from: &Tensor, values: &Tensor, to: &Tensor) -> Result<Tensor, TchError> {
    let (rows, pixels) = values.size2()?;
    let to = to.f_expand([rows, -1], false)?.f_contiguous()?;
    let from = from.f_contiguous()?;
    let place = to
        .f_searchsorted(&from, false, false, "left", None::<&Tensor>)?
        .f_sub_scalar(1i64)?
        .f_clamp(0, pixels - 2)?;
    let steps = |tensor: &Tensor| tensor.f_diff(1, 1, None::<&Tensor>, None::<&Tensor>);
    let slope = steps(values)?.f_div(&steps(&from)?)?;
    let at = |tensor: &Tensor| tensor.f_gather(1, &place, false);
    let line = at(values)?.f_add(&at(&slope)?.f_mul(&to.f_sub(&at(&from)?)?)?)?;
    let outside = to
        .f_lt_tensor(&from.f_narrow(1, 0, 1)?)?
        .f_logical_or(&to.f_gt_tensor(&from.f_narrow(1, pixels - 1, 1)?)?)?;
    line.f_masked_fill(&outside, 0.0)
}

/// Codes of the signs (Yu et al. 2023, arXiv:2310.05737), the first channel the most significant bit.
fn signs(latent: &Tensor) -> Result<Tensor, TchError> {
    let channels = latent.size3()?.1;
    let weights: Vec<i64> = (0..channels).rev().map(|bit| 1 << bit).collect();
    let weights = Tensor::f_from_slice(&weights)?.f_to_device(latent.device())?.f_unsqueeze(1)?;
    let bits = latent.f_gt(0.0)?.f_to_kind(Kind::Int64)?;
    bits.f_mul(&weights)?.f_sum_dim_intlist(1, false, Kind::Int64)
}
