//! The vision transformer of DINOv2 (Oquab et al. 2023, arXiv:2304.07193), as AstroCLIP and AstroDINO use it.

use serde::Deserialize;
use tch::{TchError, Tensor};

use super::super::weights::{Weights, WeightsError};
use super::layers::{Convolution, Kernel, Norm, Perceptron, SelfAttention, check_sizes, widened};
use super::trace::Trace;

/// Bands of a picture.
const CHANNELS: i64 = 3;

/// The sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct VitConfig {
    /// Side of a picture in pixels.
    pub(crate) img_size: i64,
    /// Side of a patch in pixels.
    pub(crate) patch_size: i64,
    pub(crate) embed_dim: i64,
    pub(crate) depth: i64,
    pub(crate) num_heads: i64,
    pub(crate) mlp_ratio: f64,
    /// Chunks that the blocks are stored in; 0 for none.
    pub(crate) block_chunks: i64,
    #[serde(default)]
    pub(crate) num_register_tokens: i64,
    #[serde(default = "perceptron")]
    pub(crate) ffn_layer: String,
    #[serde(default = "epsilon")]
    pub(crate) layernorm_eps: f64,
}

fn perceptron() -> String {
    "mlp".to_owned()
}

fn epsilon() -> f64 {
    1e-6
}

/// Blocks over patches, and what goes before and behind them.
pub(super) struct Vit {
    patches: Convolution,
    class_token: Tensor,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    side: i64,
}

struct Block {
    attention: SelfAttention,
    scale1: Tensor,
    norm2: Norm,
    perceptron: Perceptron,
    scale2: Tensor,
}

impl VitConfig {
    fn check(&self) -> Result<(), WeightsError> {
        check_sizes(&[
            ("img_size", self.img_size),
            ("patch_size", self.patch_size),
            ("embed_dim", self.embed_dim),
            ("depth", self.depth),
            ("num_heads", self.num_heads),
        ])?;
        let is_whole = self.img_size % self.patch_size == 0;
        let has_heads = self.embed_dim % self.num_heads == 0;
        let has_chunks = self.block_chunks >= 0
            && (self.block_chunks == 0 || self.depth % self.block_chunks == 0);
        let what = match () {
            () if !is_whole => "img_size must be a multiple of patch_size",
            () if !has_heads => "embed_dim must be a multiple of num_heads",
            () if !has_chunks => "depth must be a multiple of block_chunks",
            () if self.num_register_tokens != 0 => "register tokens are not supported",
            () if self.ffn_layer != "mlp" => "ffn_layer must be `mlp`",
            () => return Ok(()),
        };
        Err(WeightsError::BadConfig { reason: what.to_owned() })
    }
}

impl Vit {
    /// Takes the tensors whose names begin with `prefix` (which ends with a dot, or is empty).
    pub(super) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        config: &VitConfig,
    ) -> Result<Self, WeightsError> {
        config.check()?;
        let width = config.embed_dim;
        let count = (config.img_size / config.patch_size).pow(2);
        let patch = Kernel { size: config.patch_size, stride: config.patch_size, padding: 0 };
        let name = format!("{prefix}patch_embed.proj");
        let patches = Convolution::load(weights, &name, (CHANNELS, width), patch)?;
        let class_token = weights.take(&format!("{prefix}cls_token"), &[1, 1, width])?;
        let positions = weights.take(&format!("{prefix}pos_embed"), &[1, count + 1, width])?;
        // Stands for hidden patches in training.
        let _mask_token = weights.take(&format!("{prefix}mask_token"), &[1, width])?;
        let blocks = (0..config.depth)
            .map(|number| {
                let chunk = match config.block_chunks {
                    0 => String::new(),
                    chunks => format!("{}.", number / (config.depth / chunks)),
                };
                Block::load(weights, &format!("{prefix}blocks.{chunk}{number}"), config)
            })
            .collect::<Result<_, _>>()?;
        let norm = Norm::load(weights, &format!("{prefix}norm"), width, config.layernorm_eps)?;
        Ok(Self { patches, class_token, positions, blocks, norm, side: config.img_size })
    }

    /// Side of the pictures.
    pub(super) fn side(&self) -> i64 {
        self.side
    }

    /// Patches of pictures as tokens, row by row.
    ///
    /// # Shape
    /// `pictures`: rows x 3 x side x side; rows x patches x width.
    pub(super) fn patches(&self, pictures: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        let pictures = pictures.f_to_kind(self.patches.kind())?;
        let tokens = self.patches.forward(&pictures)?.f_flatten(2, -1)?.f_transpose(1, 2)?;
        trace.note("patch_embed", &tokens);
        Ok(tokens)
    }

    /// The class token before the patches, and positions added to all of them.
    pub(super) fn with_positions(
        &self,
        patches: &Tensor,
        trace: &mut Trace,
    ) -> Result<Tensor, TchError> {
        let class = self.class_token.f_expand([patches.size3()?.0, -1, -1], false)?;
        let tokens = Tensor::f_cat(&[&class, patches], 1)?.f_add(&self.positions)?;
        trace.note("tokens_after_pos_embed", &tokens);
        Ok(tokens)
    }

    /// All blocks and the last normalisation.
    pub(super) fn transform(&self, tokens: Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        let mut tokens = tokens;
        for (number, block) in self.blocks.iter().enumerate() {
            tokens = block.forward(&tokens)?;
            if number == 0 {
                trace.note("block0", &tokens);
            }
        }
        self.norm.forward(&tokens)
    }
}

impl Block {
    fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        config: &VitConfig,
    ) -> Result<Self, WeightsError> {
        let (width, epsilon) = (config.embed_dim, config.layernorm_eps);
        let hidden = widened(width, config.mlp_ratio)?;
        let within = |name: &str| format!("{prefix}.{name}");
        Ok(Self {
            attention: SelfAttention::load(
                weights,
                [&within("norm1"), &within("attn.qkv"), &within("attn.proj")],
                (width, config.num_heads),
                epsilon,
                [true, true],
            )?,
            scale1: weights.take(&within("ls1.gamma"), &[width])?,
            norm2: Norm::load(weights, &within("norm2"), width, epsilon)?,
            perceptron: Perceptron::load(weights, &within("mlp"), ["fc1", "fc2"], width, hidden)?,
            scale2: weights.take(&within("ls2.gamma"), &[width])?,
        })
    }

    fn forward(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let attended = self.attention.forward(tokens, None)?;
        let tokens = tokens.f_add(&attended.f_mul(&self.scale1)?)?;
        let refined = self.perceptron.forward(&self.norm2.forward(&tokens)?)?;
        tokens.f_add(&refined.f_mul(&self.scale2)?)
    }
}
