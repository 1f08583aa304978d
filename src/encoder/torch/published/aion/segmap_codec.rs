//! The codec of AION-1 for segmentation maps (Parker et al. 2025, arXiv:2510.17960, appendix C.4).

use serde::Deserialize;
use tch::{Device, TchError, Tensor};

use super::super::super::weights::{Weights, WeightsError};
use super::super::layers::{BatchNorm, Convolution, Kernel, check_sizes};
use super::super::trace::Trace;
use super::fsq::Fsq;
use super::image_codec::SIDE;

/// The sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct SegmapCodecConfig {
    pub(crate) encoder_output_dim: i64,
    pub(crate) embedding_dim: i64,
    pub(crate) res_hidden_dims: i64,
    pub(crate) num_res_layers: i64,
    pub(crate) num_downsamples: u32,
    pub(crate) levels: Vec<i64>,
}

/// The codec, without its decoder.
pub(crate) struct SegmapCodec {
    down: Vec<Convolution>,
    last: Convolution,
    residuals: Vec<Residual>,
    projection: Convolution,
    quantizer: Fsq,
}

struct Residual {
    wide: Convolution,
    norm: BatchNorm,
    narrow: Convolution,
}

impl SegmapCodec {
    /// Takes the weights of the encoding half.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &SegmapCodecConfig,
        device: Device,
    ) -> Result<Self, WeightsError> {
        let (width, downs) = (config.encoder_output_dim, config.num_downsamples);
        check_sizes(&[
            ("encoder_output_dim", width),
            ("embedding_dim", config.embedding_dim),
            ("res_hidden_dims", config.res_hidden_dims),
        ])?;
        let narrowest = downs.checked_sub(1).and_then(|halvings| width.checked_shr(halvings));
        let has_levels = config.levels.len() as i64 == config.embedding_dim;
        if narrowest.is_none_or(|narrowest| narrowest < 1) || !has_levels {
            let reason = "encoder_output_dim must be divisible by 2 for each downsampling, and \
                          levels one for each of embedding_dim"
                .to_owned();
            return Err(WeightsError::BadConfig { reason });
        }
        let net = |place: u32| format!("encoder.net.{place}");
        let kernel = Kernel { size: 4, stride: 2, padding: 1 };
        let mut down = Vec::new();
        let mut from = 1;
        for number in 0..downs {
            let to = width >> (downs - 1 - number);
            // Every other layer is an activation.
            down.push(Convolution::load(weights, &net(2 * number), (from, to), kernel)?);
            from = to;
        }
        let last = Convolution::load(weights, &net(2 * downs), (width, width), Kernel::same(3))?;
        let residuals = (0..config.num_res_layers)
            .map(|number| {
                let prefix = format!("{}.net.{number}", net(2 * downs + 1));
                Residual::load(weights, &prefix, width, config.res_hidden_dims)
            })
            .collect::<Result<_, _>>()?;
        let channels = (width, config.embedding_dim);
        let projection = Convolution::load(weights, "encode_proj", channels, Kernel::same(1))?;
        let quantizer = Fsq::load(weights, &config.levels, device)?;
        weights.skip_all(|name| {
            ["decoder.", "decode_proj.", "ema."].iter().any(|part| name.starts_with(part))
        });
        Ok(Self { down, last, residuals, projection, quantizer })
    }

    /// Tokens of the middle of maps.
    ///
    /// # Shape
    /// rows x height x width of numbers from 0 to 1, both at least [`SIDE`]; rows x places.
    pub(crate) fn forward(&self, field: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        let (_, height, width) = field.size3()?;
        let mut features = field
            .f_narrow(1, (height - SIDE) / 2, SIDE)?
            .f_narrow(2, (width - SIDE) / 2, SIDE)?
            .f_unsqueeze(1)?;
        for (number, convolution) in self.down.iter().enumerate() {
            features = convolution.forward(&features)?;
            if number == 0 {
                trace.note_with("conv0_first", || features.f_narrow(0, 0, 1))?;
            }
            features = features.f_relu()?;
        }
        features = self.last.forward(&features)?;
        for residual in &self.residuals {
            features = residual.forward(&features)?;
        }
        trace.note_with("encoder_first", || features.f_narrow(0, 0, 1))?;
        let latent = self.projection.forward(&features)?.f_flatten(2, -1)?;
        trace.note("latent", &latent);
        let (_, tokens) = self.quantizer.forward(&latent)?;
        trace.note("tokens", &tokens);
        Ok(tokens)
    }
}

impl Residual {
    fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        width: i64,
        hidden: i64,
    ) -> Result<Self, WeightsError> {
        let within = |place: i64| format!("{prefix}.net.{place}");
        Ok(Self {
            wide: Convolution::load(weights, &within(1), (width, hidden), Kernel::same(3))?,
            norm: BatchNorm::load(weights, &within(2), hidden)?,
            narrow: Convolution::load(weights, &within(4), (hidden, width), Kernel::same(1))?,
        })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor, TchError> {
        let hidden = self.norm.forward(&self.wide.forward(&input.f_relu()?)?)?;
        self.narrow.forward(&hidden.f_relu()?)?.f_add(input)
    }
}
