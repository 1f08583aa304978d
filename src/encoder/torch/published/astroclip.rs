//! The towers of AstroCLIP (Parker et al. 2024, arXiv:2310.03024), which put images and spectra into one space.

use serde::Deserialize;
use tch::{TchError, Tensor};

use super::super::weights::{Weights, WeightsError};
use super::layers::{Linear, Norm, Perceptron, attend, check_sizes, thirds};
use super::specformer::{Specformer, SpecformerConfig};
use super::trace::Trace;
use super::vit::{Vit, VitConfig};

/// Normalisation of a head.
const HEAD_EPSILON: f64 = 1e-5;

/// Least norm that an embedding is divided by, as in the contrastive loss.
const NORM_MIN: f64 = 1e-3;

/// Hidden components of a head's perceptron, for each of its components.
const WIDENING: i64 = 4;

/// Sizes of a head, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct HeadConfig {
    pub(crate) embed_dim: i64,
    pub(crate) n_head: i64,
    /// Components of the backbone's tokens.
    pub(crate) model_embed_dim: i64,
}

/// A tower's sizes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct TowerConfig<Backbone> {
    pub(crate) backbone: Backbone,
    pub(crate) head: HeadConfig,
}

/// A learned query that attends to the tokens of a backbone.
struct CrossAttention {
    query: Tensor,
    projections: [Linear; 3],
    out: Linear,
    norm: Norm,
    heads: i64,
}

/// The tower of images.
pub(crate) struct ImageTower {
    vit: Vit,
    attention: CrossAttention,
    perceptron: Perceptron,
}

/// The tower of spectra.
pub(crate) struct SpectrumTower {
    specformer: Specformer,
    attention: CrossAttention,
    perceptron: Perceptron,
}

impl CrossAttention {
    fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        config: &HeadConfig,
    ) -> Result<Self, WeightsError> {
        let (width, tokens) = (config.embed_dim, config.model_embed_dim);
        check_sizes(&[
            ("embed_dim", width),
            ("model_embed_dim", tokens),
            ("n_head", config.n_head),
        ])?;
        if width % config.n_head != 0 {
            let reason = "embed_dim of a head must be a multiple of n_head".to_owned();
            return Err(WeightsError::BadConfig { reason });
        }
        let within = |name: &str| format!("{prefix}.{name}");
        let attention = |name: &str| within(&format!("multihead_attn.{name}"));
        let query = weights.take(&within("query"), &[1, 1, width])?;
        // One tensor where query and tokens are equally wide, three where they are not.
        let parts = if width == tokens {
            let packed = weights.take(&attention("in_proj_weight"), &[3 * width, width])?;
            thirds_of_rows(&packed, "in_proj_weight")?
        } else {
            [
                weights.take(&attention("q_proj_weight"), &[width, width])?,
                weights.take(&attention("k_proj_weight"), &[width, tokens])?,
                weights.take(&attention("v_proj_weight"), &[width, tokens])?,
            ]
        };
        let bias = weights.take(&attention("in_proj_bias"), &[3 * width])?;
        let biases = thirds_of_rows(&bias, "in_proj_bias")?;
        let [query_weight, key_weight, value_weight] = parts;
        let [query_bias, key_bias, value_bias] = biases;
        Ok(Self {
            query,
            projections: [
                Linear::of(query_weight, query_bias),
                Linear::of(key_weight, key_bias),
                Linear::of(value_weight, value_bias),
            ],
            out: Linear::load(weights, &attention("out_proj"), width, width)?,
            norm: Norm::load(weights, &within("layernorm"), width, HEAD_EPSILON)?,
            heads: config.n_head,
        })
    }

    /// rows x tokens x width of the backbone; rows x 1 x width of the head.
    fn forward(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let [query, key, value] = &self.projections;
        let asked = self.query.f_expand([tokens.size3()?.0, -1, -1], false)?;
        let [query, key, value] =
            [query.forward(&asked)?, key.forward(tokens)?, value.forward(tokens)?];
        let attended = attend([&query, &key, &value], self.heads, None)?;
        self.norm.forward(&self.out.forward(&attended)?)
    }
}

fn thirds_of_rows(joined: &Tensor, name: &str) -> Result<[Tensor; 3], WeightsError> {
    let parts = joined.f_transpose(0, -1).and_then(|turned| thirds(&turned)).and_then(|parts| {
        let [first, second, third] = parts;
        let back = |part: Tensor| part.f_transpose(0, -1)?.f_contiguous();
        Ok([back(first)?, back(second)?, back(third)?])
    });
    parts.map_err(|source| WeightsError::Torch { name: name.to_owned(), source })
}

/// The perceptron of a head.
fn perceptron(
    weights: &mut Weights<'_>,
    prefix: &str,
    config: &HeadConfig,
) -> Result<Perceptron, WeightsError> {
    let width = config.embed_dim;
    Perceptron::load(weights, prefix, ["encoder", "decoder"], width, WIDENING * width)
}

/// Notes an embedding as it is and as the contrastive loss saw it.
fn embedding(pooled: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
    let embedding = pooled.f_squeeze_dim(1)?;
    trace.note("embedding", &embedding);
    trace.note_with("embedding_l2", || {
        let norm = embedding.f_norm_scalaropt_dim(2.0, [1i64], true)?.f_clamp_min(NORM_MIN)?;
        embedding.f_div(&norm)
    })?;
    Ok(embedding)
}

impl ImageTower {
    /// Takes the tensors of `image_encoder`; the other tower's may be in the same file.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &TowerConfig<VitConfig>,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            vit: Vit::load(weights, "image_encoder.backbone.", &config.backbone)?,
            attention: CrossAttention::load(
                weights,
                "image_encoder.cross_attention",
                &config.head,
            )?,
            perceptron: perceptron(weights, "image_encoder.mlp", &config.head)?,
        })
    }

    /// Side of the pictures it takes.
    pub(crate) fn side(&self) -> i64 {
        self.vit.side()
    }

    /// Embeddings of pictures. As published, neither a class token nor positions go into them, and the perceptron's input
    /// is not added to its output.
    ///
    /// # Shape
    /// rows x 3 x side x side; rows x width.
    pub(crate) fn forward(&self, pictures: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        self.pooled(&self.tokens(pictures, trace)?, trace)
    }

    /// Patch tokens behind the backbone's last normalisation: rows x patches x width of the backbone.
    pub(crate) fn tokens(&self, pictures: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        let patches = self.vit.patches(pictures, trace)?;
        let tokens = self.vit.transform(patches, trace)?;
        trace.note("backbone_norm", &tokens);
        Ok(tokens)
    }

    /// What the head makes of tokens.
    fn pooled(&self, tokens: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        let attended = self.attention.forward(tokens)?;
        trace.note("cross_attention", &attended);
        let pooled = self.perceptron.forward(&attended)?;
        trace.note("mlp", &pooled);
        embedding(&pooled, trace)
    }
}

impl SpectrumTower {
    /// Takes the tensors of `spectrum_encoder`.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &TowerConfig<SpecformerConfig>,
    ) -> Result<Self, WeightsError> {
        Ok(Self {
            specformer: Specformer::load(weights, "spectrum_encoder.backbone.", &config.backbone)?,
            attention: CrossAttention::load(
                weights,
                "spectrum_encoder.cross_attention",
                &config.head,
            )?,
            perceptron: perceptron(weights, "spectrum_encoder.mlp", &config.head)?,
        })
    }

    /// The backbone's sizes.
    pub(crate) fn config(&self) -> &SpecformerConfig {
        self.specformer.config()
    }

    /// Tokens of spectra, the first one for mean and deviation: rows x tokens x width of the backbone.
    pub(crate) fn tokens(&self, spectra: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        self.specformer.forward(spectra, trace)
    }

    /// Embeddings of spectra. The perceptron's input is added to its output, unlike that of images.
    ///
    /// # Shape
    /// rows x bins of raw flux; rows x width.
    pub(crate) fn forward(&self, spectra: &Tensor, trace: &mut Trace) -> Result<Tensor, TchError> {
        let tokens = self.tokens(spectra, trace)?;
        let attended = self.attention.forward(&tokens)?;
        trace.note("cross_attention", &attended);
        let refined = self.perceptron.forward(&attended)?;
        trace.note("mlp", &refined);
        embedding(&attended.f_add(&refined)?, trace)
    }
}
