//! The image codec of AION-1 (Parker et al. 2025, arXiv:2510.17960, appendix C): fluxes in up to nine bands to tokens.

use serde::Deserialize;
use tch::{Device, Kind, TchError, Tensor};

use super::super::super::weights::{Weights, WeightsError};
use super::super::layers::{Convolution, Kernel, Linear, Norm, check_sizes};
use super::super::trace::Trace;
use super::fsq::Fsq;

/// Pixels of the side that is encoded.
pub(crate) const SIDE: i64 = 96;

/// The bands in their channels, with the greatest flux of each in units of the survey (nanomaggies at zero points of 27
/// and 22.5).
const BANDS: [(&str, f64); 9] = [
    ("HSC-G", 80.0),
    ("HSC-R", 110.0),
    ("HSC-I", 200.0),
    ("HSC-Z", 330.0),
    ("HSC-Y", 500.0),
    ("DES-G", 6.0),
    ("DES-R", 15.0),
    ("DES-I", 20.0),
    ("DES-Z", 25.0),
];

/// Magnitudes between the zero points of HSC and of the Legacy Surveys.
const ZERO_POINTS_APART: f64 = 27.0 - 22.5;

/// The sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct ImageCodecConfig {
    pub(crate) quantizer_levels: Vec<i64>,
    pub(crate) hidden_dims: i64,
    pub(crate) multisurvey_projection_dims: i64,
    pub(crate) n_compressions: u32,
    pub(crate) num_consecutive: i64,
    pub(crate) embedding_dim: i64,
    pub(crate) range_compression_factor: f64,
    pub(crate) mult_factor: f64,
}

/// Why an image cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageError {
    /// A band that the codec does not know.
    #[error("unknown band `{band}`; the codec takes HSC-G, -R, -I, -Z, -Y and DES-G, -R, -I, -Z")]
    UnknownBand {
        /// What was given.
        band: String,
    },
    /// Bands of two surveys, a band twice, or another number of planes.
    #[error("{reason}")]
    BadBands {
        /// What is wrong.
        reason: String,
    },
    /// An image that does not hold the square that is encoded.
    #[error("an image of {height} x {width} pixels; {SIDE} x {SIDE} or more are needed")]
    TooSmall {
        /// Rows of pixels.
        height: i64,
        /// Columns.
        width: i64,
    },
    /// A pixel that is not a number: it would make every token of its image meaningless.
    #[error("the image has pixels that are not finite; set them to 0 or cut them off")]
    NotFinite,
    /// libtorch failed.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// The codec, without its decoder.
pub(crate) struct ImageCodec {
    subsample: Linear,
    first: Convolution,
    layers: Vec<Layer>,
    norm: Norm,
    projection: Convolution,
    quantizer: Fsq,
    compression: f64,
    factor: f64,
}

#[expect(clippy::large_enum_variant, reason = "there are a few of them")]
enum Layer {
    Residual(Residual),
    Residuals(Vec<Residual>),
    Convolution(Convolution),
}

/// `x` and what two convolutions make of it, weighed channel by channel.
struct Residual {
    wide: Convolution,
    narrow: Convolution,
    key: Convolution,
    squeeze: Convolution,
    excite: Convolution,
}

impl Residual {
    fn load(weights: &mut Weights<'_>, prefix: &str, width: i64) -> Result<Self, WeightsError> {
        let within = |name: &str| format!("{prefix}.net.{name}");
        let squeezed = (width / 2).max(16);
        let one = Kernel::same(1);
        let whole = (width, width);
        Ok(Self {
            wide: Convolution::load(weights, &within("0.conv"), whole, Kernel::same(3))?,
            narrow: Convolution::load(weights, &within("2"), whole, one)?,
            key: Convolution::load(weights, &within("4.to_k"), (width, 1), one)?,
            squeeze: Convolution::load(weights, &within("4.net.0"), (width, squeezed), one)?,
            excite: Convolution::load(weights, &within("4.net.2"), (squeezed, width), one)?,
        })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let hidden = self.wide.forward(input)?.f_elu()?;
        let hidden = self.narrow.forward(&hidden)?.f_elu()?;
        // A mean over the picture, weighed by what the picture itself says is important.
        let attention = self.key.forward(&hidden)?.f_flatten(2, -1)?.f_softmax(-1, Kind::Float)?;
        let pooled = hidden.f_flatten(2, -1)?.f_matmul(&attention.f_transpose(1, 2)?)?;
        let squeezed = self.squeeze.forward(&pooled.f_unsqueeze(-1)?)?;
        // LeakyReLU with a slope of 0.1.
        let squeezed = squeezed.f_maximum(&squeezed.f_mul_scalar(0.1)?)?;
        let gate = self.excite.forward(&squeezed)?.f_sigmoid()?;
        hidden.f_mul(&gate)?.f_add(input)
    }
}

impl Layer {
    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Residual(unit) => unit.forward(input),
            Self::Convolution(convolution) => convolution.forward(input),
            Self::Residuals(units) => units
                .iter()
                .try_fold(input.shallow_clone(), |features, unit| unit.forward(&features)),
        }
    }
}

impl ImageCodec {
    /// Takes the weights of the encoding half.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &ImageCodecConfig,
        device: Device,
    ) -> Result<Self, WeightsError> {
        let (projected, hidden) = (config.multisurvey_projection_dims, config.hidden_dims);
        check_sizes(&[
            ("hidden_dims", hidden),
            ("multisurvey_projection_dims", projected),
            ("embedding_dim", config.embedding_dim),
            ("num_consecutive", config.num_consecutive),
        ])?;
        let narrowest = hidden.checked_shr(config.n_compressions).unwrap_or(0);
        if narrowest < 1 || config.quantizer_levels.len() as i64 != config.embedding_dim {
            let reason = "hidden_dims must be divisible by 2 for each compression, and \
                          quantizer_levels one for each of embedding_dim"
                .to_owned();
            return Err(WeightsError::BadConfig { reason });
        }
        let subsample = Linear::load(weights, "subsample_in", BANDS.len() as i64, projected)?;
        let first = Convolution::load(
            weights,
            "model.conv_in.conv",
            (projected, narrowest),
            Kernel::same(7),
        )?;
        let layers = layers(weights, config, narrowest)?;
        let place = layers.len();
        let norm = format!("model.encoder_layers.{place}.1");
        let norm = Norm::load(weights, &norm, hidden, 1e-5)?;
        let channels = (hidden, config.embedding_dim);
        let projection = Convolution::load(weights, "pre_quant_proj", channels, Kernel::same(1))?;
        let quantizer = Fsq::load(weights, &config.quantizer_levels, device)?;
        weights.skip_all(|name| {
            let decoder =
                ["subsample_out.", "post_quant_proj.", "model.decoder_layers.", "model.conv_out."];
            decoder.iter().any(|part| name.starts_with(part))
        });
        Ok(Self {
            subsample,
            first,
            layers,
            norm,
            projection,
            quantizer,
            compression: config.range_compression_factor,
            factor: config.mult_factor,
        })
    }

    /// Tokens of images in one survey's bands.
    ///
    /// # Shape
    /// `flux`: rows x bands x height x width, in the survey's own unit; rows x places, row by row of the picture.
    ///
    /// # Errors
    /// [`ImageError`] for bands or sizes that the codec cannot take.
    pub(crate) fn forward(
        &self,
        flux: &Tensor,
        bands: &[String],
        trace: &mut Trace,
    ) -> Result<Tensor, ImageError> {
        let (padded, count) = self.nine_channels(flux, bands)?;
        let head = |tensor: &Tensor| tensor.f_narrow(0, 0, 1);
        let thinned =
            |tensor: &Tensor| head(tensor)?.f_slice(2, 0, SIDE, 3)?.f_slice(3, 0, SIDE, 3);
        trace.note_with("padded_first", || thinned(&padded))?;
        let scale = (BANDS.len() as f64 / count as f64).sqrt();
        let projected = self
            .subsample
            .forward(&padded.f_movedim_int(1, -1)?)?
            .f_mul_scalar(scale)?
            .f_movedim_int(-1, 1)?;
        trace.note_with("subsample_in_first", || thinned(&projected))?;
        let mut features = self.first.forward(&projected)?;
        trace.note_with("conv_in_first", || thinned(&features))?;
        for (number, layer) in self.layers.iter().enumerate() {
            features = layer.forward(&features)?;
            match number {
                0 => trace.note_with("layer0_first", || thinned(&features))?,
                1 => trace.note_with("layer1_down_first", || thinned(&features))?,
                _ => {}
            }
        }
        let features = self.norm.over_channels(&features)?;
        trace.note_with("final_layernorm_first", || head(&features))?;
        let latent = self.projection.forward(&features)?.f_flatten(2, -1)?;
        trace.note("latent", &latent);
        let (codes, tokens) = self.quantizer.forward(&latent)?;
        trace.note_with("quantized_codes_first", || head(&codes))?;
        trace.note("tokens", &tokens);
        Ok(tokens)
    }

    /// Which of the nine channels bands fill.
    ///
    /// # Errors
    /// [`ImageError`] for bands that the codec cannot take.
    pub(crate) fn present(bands: &[String]) -> Result<[bool; BANDS.len()], ImageError> {
        let channels = channels(bands)?;
        Ok(std::array::from_fn(|channel| channels.contains(&channel)))
    }

    /// What the original leaves of its caller's images: in their middle, clamped and rescaled fluxes.
    pub(crate) fn left_behind(flux: &Tensor, bands: &[String]) -> Result<Tensor, ImageError> {
        let channels = channels(bands)?;
        let (_, _, height, width) = flux.size4()?;
        let mut left = flux.f_zeros_like()?;
        left.f_copy_(flux)?;
        let middle =
            left.f_narrow(2, (height - SIDE) / 2, SIDE)?.f_narrow(3, (width - SIDE) / 2, SIDE)?;
        for (plane, &channel) in channels.iter().enumerate() {
            let mut plane = middle.f_select(1, plane as i64)?;
            let scaled = on_one_scale(&plane, channel)?;
            plane.f_copy_(&scaled)?;
        }
        Ok(left)
    }

    /// The middle of images, on one scale, each band in its channel; and how many bands there are.
    fn nine_channels(
        &self,
        flux: &Tensor,
        bands: &[String],
    ) -> Result<(Tensor, usize), ImageError> {
        let channels = channels(bands)?;
        let (rows, planes, height, width) = flux.size4()?;
        if planes != bands.len() as i64 {
            let reason = format!("{planes} planes for {} bands", bands.len());
            return Err(ImageError::BadBands { reason });
        }
        if height < SIDE || width < SIDE {
            return Err(ImageError::TooSmall { height, width });
        }
        let middle =
            flux.f_narrow(2, (height - SIDE) / 2, SIDE)?.f_narrow(3, (width - SIDE) / 2, SIDE)?;
        if middle.f_isfinite()?.f_logical_not()?.f_any()?.f_int64_value(&[])? != 0 {
            return Err(ImageError::NotFinite);
        }
        let zeros = Tensor::f_zeros([rows, SIDE, SIDE], (Kind::Float, flux.device()))?;
        let mut padded: Vec<Tensor> = (0..BANDS.len()).map(|_| zeros.shallow_clone()).collect();
        for (plane, &channel) in channels.iter().enumerate() {
            let flux = on_one_scale(&middle.f_select(1, plane as i64)?, channel)?;
            let bent = flux.f_div_scalar(self.compression)?.f_asinh()?;
            padded[channel] = bent.f_mul_scalar(self.compression)?.f_mul_scalar(self.factor)?;
        }
        Ok((Tensor::f_stack(&padded, 1)?, channels.len()))
    }
}

/// Fluxes of a band within its bounds and in nanomaggies of the Legacy Surveys.
fn on_one_scale(flux: &Tensor, channel: usize) -> Result<Tensor, TchError> {
    let (band, most) = BANDS[channel];
    let flux = flux.f_clamp(-most, most)?;
    if band.starts_with("HSC") {
        return flux.f_div_scalar(10f64.powf(ZERO_POINTS_APART / 2.5));
    }
    Ok(flux)
}

fn layers(
    weights: &mut Weights<'_>,
    config: &ImageCodecConfig,
    narrowest: i64,
) -> Result<Vec<Layer>, WeightsError> {
    let name = |place: usize| format!("model.encoder_layers.{place}");
    let mut width = narrowest;
    let mut layers = vec![Layer::Residual(Residual::load(weights, &name(0), width)?)];
    let units = |weights: &mut Weights<'_>, place: usize, width: i64| {
        (0..config.num_consecutive)
            .map(|unit| Residual::load(weights, &format!("{}.{unit}", name(place)), width))
            .collect::<Result<_, _>>()
            .map(Layer::Residuals)
    };
    for _ in 0..config.n_compressions {
        let kernel = Kernel { size: 3, stride: 2, padding: 1 };
        let prefix = format!("{}.conv", name(layers.len()));
        let down = Convolution::load(weights, &prefix, (width, 2 * width), kernel)?;
        layers.push(Layer::Convolution(down));
        width *= 2;
        layers.push(units(weights, layers.len(), width)?);
    }
    let prefix = format!("{}.conv", name(layers.len()));
    let last = Convolution::load(weights, &prefix, (width, width), Kernel::same(7))?;
    layers.push(Layer::Convolution(last));
    layers.push(units(weights, layers.len(), width)?);
    Ok(layers)
}

/// The channels of bands, which must be of one survey and different.
fn channels(bands: &[String]) -> Result<Vec<usize>, ImageError> {
    let mut channels = Vec::with_capacity(bands.len());
    for band in bands {
        let place = BANDS.iter().position(|(name, _)| name == band);
        let place = place.ok_or_else(|| ImageError::UnknownBand { band: band.clone() })?;
        if channels.contains(&place) {
            return Err(ImageError::BadBands { reason: format!("band `{band}` twice") });
        }
        channels.push(place);
    }
    let survey = |band: &String| band.split('-').next().map(str::to_owned);
    if bands.is_empty() || bands.iter().any(|band| survey(band) != survey(&bands[0])) {
        let reason = "an image needs bands, and all of one survey".to_owned();
        return Err(ImageError::BadBands { reason });
    }
    Ok(channels)
}
