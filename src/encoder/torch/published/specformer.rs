//! Specformer: the spectrum backbone of AstroCLIP (Parker et al. 2024, arXiv:2310.03024, section 4).

use serde::Deserialize;
use sidereus::encoder::SpectrumWindows;
use tch::{Kind, TchError, Tensor};

use super::super::weights::{Weights, WeightsError};
use super::layers::{Linear, Norm, Perceptron, SelfAttention, check_sizes, mean};
use super::trace::Trace;

/// Hidden components of a block, for each component of a token.
const WIDENING: i64 = 4;

/// Numbers of a token that do not come from the window: place for the statistics of the spectrum.
const STATISTICS: i64 = 2;

/// The sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct SpecformerConfig {
    pub(crate) input_dim: i64,
    pub(crate) embed_dim: i64,
    pub(crate) num_layers: i64,
    pub(crate) num_heads: i64,
    /// Most tokens.
    pub(crate) max_len: i64,
    /// Bins of a window.
    pub(crate) slice_section_length: i64,
    /// Bins that two neighbouring windows share.
    pub(crate) slice_overlap: i64,
    #[serde(default = "epsilon")]
    pub(crate) layernorm_eps: f64,
    #[serde(default = "least_deviation")]
    pub(crate) std_clip_min: f64,
}

fn epsilon() -> f64 {
    1e-5
}

fn least_deviation() -> f64 {
    0.2
}

/// The network.
pub(crate) struct Specformer {
    config: SpecformerConfig,
    embed: Linear,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
}

struct Block {
    attention: SelfAttention,
    norm2: Norm,
    perceptron: Perceptron,
}

impl SpecformerConfig {
    fn check(&self) -> Result<(), WeightsError> {
        check_sizes(&[
            ("input_dim", self.input_dim),
            ("embed_dim", self.embed_dim),
            ("num_layers", self.num_layers),
            ("num_heads", self.num_heads),
            ("max_len", self.max_len),
            ("slice_section_length", self.slice_section_length),
        ])?;
        let has_heads = self.embed_dim % self.num_heads == 0;
        let steps = self.slice_overlap >= 0 && self.slice_overlap < self.slice_section_length;
        let what = match () {
            () if !has_heads => "embed_dim must be a multiple of num_heads",
            () if !steps => "slice_overlap must be shorter than slice_section_length",
            () if self.input_dim != self.slice_section_length + STATISTICS => {
                "input_dim must be slice_section_length + 2"
            }
            () => return Ok(()),
        };
        Err(WeightsError::BadConfig { reason: what.to_owned() })
    }

    /// How spectra are cut into windows; the sizes have been checked.
    fn cut(&self) -> SpectrumWindows {
        let [section, overlap, tokens_max] =
            [self.slice_section_length, self.slice_overlap, self.max_len]
                .map(|size| usize::try_from(size).unwrap_or(0));
        SpectrumWindows { section, overlap, tokens_max }
    }

    /// Windows of a spectrum.
    pub(crate) fn windows(&self, bins: i64) -> i64 {
        self.cut().windows(usize::try_from(bins).unwrap_or(0)) as i64
    }

    /// Whether a spectrum of so many bins can be encoded.
    pub(crate) fn takes(&self, bins: i64) -> bool {
        usize::try_from(bins).is_ok_and(|bins| self.cut().takes(bins))
    }
}

impl Specformer {
    /// Takes the tensors whose names begin with `prefix` (which ends with a dot, or is empty).
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        config: &SpecformerConfig,
    ) -> Result<Self, WeightsError> {
        config.check()?;
        let width = config.embed_dim;
        let within = |name: &str| format!("{prefix}{name}");
        // Reconstructs hidden windows in training.
        let _head = Linear::load(weights, &within("head"), width, config.input_dim)?;
        let embed = Linear::load(weights, &within("data_embed"), config.input_dim, width)?;
        let positions = weights.take(&within("position_embed.weight"), &[config.max_len, width])?;
        let blocks = (0..config.num_layers)
            .map(|number| Block::load(weights, &within(&format!("blocks.{number}")), config))
            .collect::<Result<_, _>>()?;
        let norm = Norm::load(weights, &within("final_layernorm"), width, config.layernorm_eps)?;
        Ok(Self { config: config.clone(), embed, positions, blocks, norm })
    }

    /// The sizes.
    pub(crate) fn config(&self) -> &SpecformerConfig {
        &self.config
    }

    /// Windows of standardised spectra behind a token with mean and deviation.
    ///
    /// # Shape
    /// rows x bins; rows x tokens x `input_dim`.
    fn tokens(&self, spectra: &Tensor) -> Result<Tensor, TchError> {
        let (section, overlap) = (self.config.slice_section_length, self.config.slice_overlap);
        let (rows, bins) = spectra.size2()?;
        let mean = spectra.f_mean_dim(1, true, Kind::Float)?;
        let deviation = spectra.f_std_dim(1, true, true)?.f_clamp_min(self.config.std_clip_min)?;
        let windows = spectra
            .f_sub(&mean)?
            .f_div(&deviation)?
            .f_unfold(1, section, section - overlap)?
            .f_narrow(1, 0, self.config.windows(bins))?
            .f_constant_pad_nd([STATISTICS, 0])?;
        let statistics = Tensor::f_cat(
            &[
                mean.f_sub_scalar(2.0)?.f_div_scalar(2.0)?,
                deviation.f_sub_scalar(2.0)?.f_div_scalar(8.0)?,
                Tensor::f_zeros([rows, section], (Kind::Float, spectra.device()))?,
            ],
            1,
        )?;
        Tensor::f_cat(&[&statistics.f_unsqueeze(1)?, &windows], 1)
    }

    /// Tokens of spectra, the first one of each for its statistics.
    ///
    /// # Shape
    /// rows x bins of raw flux, a length that [`SpecformerConfig::takes`]; rows x tokens x width.
    pub(crate) fn forward(&self, spectra: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        let tokens = self.tokens(spectra)?;
        trace.note("preprocessed", &tokens);
        let embedded = self.embed.forward(&tokens.f_to_kind(self.embed.kind())?)?;
        trace.note_with("data_embed_first3_last3", || ends(&embedded))?;
        let count = embedded.size3()?.1;
        let mut tokens = embedded.f_add(&self.positions.f_narrow(0, 0, count)?)?;
        for (number, block) in self.blocks.iter().enumerate() {
            tokens = block.forward(&tokens)?;
            if number == 0 {
                trace.note_with("block0_first3_last3", || ends(&tokens))?;
            }
        }
        let tokens = self.norm.forward(&tokens)?;
        trace.note("final_layernorm", &tokens);
        Ok(tokens)
    }

    /// Means over all tokens, and over all but the first: both are in use, and they differ.
    pub(crate) fn pooled(tokens: &Tensor) -> Result<[Tensor; 2], TchError> {
        let without_first = tokens.f_narrow(1, 1, tokens.size3()?.1 - 1)?;
        Ok([mean(tokens, 1)?, mean(&without_first, 1)?])
    }
}

impl Block {
    fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        config: &SpecformerConfig,
    ) -> Result<Self, WeightsError> {
        let (width, epsilon) = (config.embed_dim, config.layernorm_eps);
        let within = |name: &str| format!("{prefix}.{name}");
        let layers = ["encoder", "decoder"];
        Ok(Self {
            attention: SelfAttention::load(
                weights,
                [
                    &within("layernorm1"),
                    &within("attention.attention"),
                    &within("attention.projection"),
                ],
                (width, config.num_heads),
                epsilon,
                [true, true],
            )?,
            norm2: Norm::load(weights, &within("layernorm2"), width, epsilon)?,
            perceptron: Perceptron::load(weights, &within("mlp"), layers, width, WIDENING * width)?,
        })
    }

    fn forward(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let tokens = tokens.f_add(&self.attention.forward(tokens, None)?)?;
        tokens.f_add(&self.perceptron.forward(&self.norm2.forward(&tokens)?)?)
    }
}

/// The first three and the last three tokens.
fn ends(tokens: &Tensor) -> Result<Tensor, TchError> {
    let count = tokens.size3()?.1;
    Tensor::f_cat(&[tokens.f_narrow(1, 0, 3)?, tokens.f_narrow(1, count - 3, 3)?], 1)
}
