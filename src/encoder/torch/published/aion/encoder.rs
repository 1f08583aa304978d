//! The encoder of AION-1 (Parker et al. 2025, arXiv:2510.17960): tokens of any of its modalities to token embeddings.

use std::collections::BTreeMap;

use serde::Deserialize;
use sidereus::encoder::{AionLayout, AionModality, aion_modality};
use tch::{Kind, TchError, Tensor};

use super::super::super::weights::{Weights, WeightsError};
use super::super::layers::{Linear, Norm, SelfAttention, check_sizes, mean, widened};
use super::super::trace::Trace;

/// Normalisation of the backbone.
const EPSILON: f64 = 1e-6;

/// The sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[expect(clippy::struct_excessive_bools, reason = "as it was published")]
pub(crate) struct AionConfig {
    pub(crate) dim: i64,
    pub(crate) encoder_depth: i64,
    pub(crate) num_heads: i64,
    pub(crate) mlp_ratio: f64,
    pub(crate) domains_in: Vec<String>,
    pub(crate) act_layer: String,
    pub(crate) gated_mlp: bool,
    pub(crate) qk_norm: bool,
    pub(crate) qkv_bias: bool,
    pub(crate) proj_bias: bool,
    pub(crate) mlp_bias: bool,
}

/// Token ids of one modality.
#[derive(Debug)]
pub(crate) struct Tokens {
    pub(crate) modality: String,
    /// rows x tokens, or rows where each has one.
    pub(crate) ids: Tensor,
    /// Where a token is missing (1), of the shape of `ids`.
    pub(crate) missing: Option<Tensor>,
}

/// Why tokens cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AionError {
    /// A modality that these weights do not have.
    #[error("the model has no modality `{key}`; it has {known}")]
    UnknownModality {
        /// What was asked for.
        key: String,
        /// What there is.
        known: String,
    },
    /// Ids that are not in the vocabulary.
    #[error("tokens of `{key}` must be 0 to {last}; there is {found}")]
    BadToken {
        /// The modality.
        key: String,
        /// The last id.
        last: i64,
        /// What was given.
        found: i64,
    },
    /// More tokens than a modality has positions.
    #[error("`{key}` has {count} tokens; it must have {expected}")]
    WrongCount {
        /// The modality.
        key: String,
        /// What was given.
        count: i64,
        /// What it takes.
        expected: String,
    },
    /// No modality, or different numbers of rows.
    #[error("{reason}")]
    BadInput {
        /// What is wrong.
        reason: String,
    },
    /// libtorch failed.
    #[error(transparent)]
    Torch(#[from] TchError),
}

/// What the encoder makes of tokens.
pub(crate) struct Encoded {
    /// rows x tokens x `dim`: those that are there first.
    pub(crate) embeddings: Tensor,
    /// rows x tokens: whether a token is missing.
    pub(crate) missing: Tensor,
}

/// The network.
pub(crate) struct AionEncoder {
    embeddings: BTreeMap<String, Embedding>,
    blocks: Vec<Block>,
    norm: Norm,
    context: Linear,
}

struct Embedding {
    info: &'static AionModality,
    tokens: Tensor,
    positions: Tensor,
    modality: Tensor,
}

struct Block {
    attention: SelfAttention,
    norm2: Norm,
    gate: Linear,
    value: Linear,
    out: Linear,
}

/// Tokens of all modalities, one after the other.
struct Joined {
    values: Tensor,
    offsets: Tensor,
    missing: Tensor,
    /// Number of the modality of each token.
    kinds: Tensor,
    /// Whether anything may be missing.
    has_gaps: bool,
}

impl AionConfig {
    fn check(&self) -> Result<(), WeightsError> {
        check_sizes(&[
            ("dim", self.dim),
            ("encoder_depth", self.encoder_depth),
            ("num_heads", self.num_heads),
        ])?;
        let has_heads = self.dim % self.num_heads == 0;
        let what = match () {
            () if !has_heads => "dim must be a multiple of num_heads",
            () if self.act_layer != "SiLU" => "act_layer must be `SiLU`",
            () if !self.gated_mlp => "gated_mlp must be true",
            () if self.qk_norm => "qk_norm is not supported",
            () => return Ok(()),
        };
        Err(WeightsError::BadConfig { reason: what.to_owned() })
    }
}

impl Embedding {
    fn load(
        weights: &mut Weights<'_>,
        info: &'static AionModality,
        dim: i64,
    ) -> Result<Self, WeightsError> {
        let prefix = format!("encoder_embeddings.{}", info.key);
        let tokens =
            weights.take(&format!("{prefix}.token_emb.weight"), &[info.vocabulary, dim])?;
        let positions = weights.take(&format!("{prefix}.pos_emb"), &[1, info.positions, dim])?;
        // A tensor that encoder and decoder share is in the file once, under the decoder's name.
        let own = format!("{prefix}.mod_emb");
        let name = if weights.has(&own) {
            own
        } else {
            format!("decoder_embeddings.{}.mod_emb", info.key)
        };
        let modality = weights.take(&name, &[1, 1, dim])?;
        Ok(Self { info, tokens, positions, modality })
    }

    /// Values and offsets of tokens.
    fn forward(&self, ids: &Tensor, missing: &Tensor) -> Result<(Tensor, Tensor), AionError> {
        self.check(ids, missing)?;
        let (rows, count) = ids.size2()?;
        // What stands in for a missing token need not be in the vocabulary.
        let ids = &ids.f_masked_fill(missing, 0i64)?;
        let values = Tensor::f_embedding(&self.tokens, ids, -1, false, false)?;
        let positions = match self.info.layout {
            AionLayout::Grid => {
                self.positions.f_narrow(1, 0, count)?.f_expand([rows, -1, -1], false)?
            }
            AionLayout::Sequence => {
                let there = missing.f_logical_not()?.f_to_kind(Kind::Int64)?;
                let numbers = there.f_cumsum(1, Kind::Int64)?.f_sub_scalar(1i64)?.f_mul(&there)?;
                let table = self.positions.f_squeeze_dim(0)?;
                Tensor::f_embedding(&table, &numbers, -1, false, false)?
            }
        };
        Ok((values, positions.f_add(&self.modality)?))
    }

    fn check(&self, ids: &Tensor, missing: &Tensor) -> Result<(), AionError> {
        let key = || self.info.key.to_owned();
        let count = ids.size2()?.1;
        let is_right = match self.info.layout {
            AionLayout::Grid => count == self.info.positions,
            AionLayout::Sequence => (1..=self.info.positions).contains(&count),
        };
        if !is_right {
            let expected = match self.info.layout {
                AionLayout::Grid => self.info.positions.to_string(),
                AionLayout::Sequence => format!("1 to {}", self.info.positions),
            };
            return Err(AionError::WrongCount { key: key(), count, expected });
        }
        let there = ids.f_masked_fill(missing, 0i64)?;
        let (least, most) =
            (there.f_min()?.f_int64_value(&[])?, there.f_max()?.f_int64_value(&[])?);
        let last = self.info.vocabulary - 1;
        match (least, most) {
            (found, _) if found < 0 => Err(AionError::BadToken { key: key(), last, found }),
            (_, found) if found > last => Err(AionError::BadToken { key: key(), last, found }),
            _ => Ok(()),
        }
    }
}

impl Block {
    fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        config: &AionConfig,
    ) -> Result<Self, WeightsError> {
        let dim = config.dim;
        // Two thirds of the usual width, because the gate is a third matrix.
        let hidden = 2 * widened(dim, config.mlp_ratio)? / 3;
        let within = |name: &str| format!("{prefix}.{name}");
        let mlp = config.mlp_bias;
        Ok(Self {
            attention: SelfAttention::load(
                weights,
                [&within("norm1"), &within("attn.qkv"), &within("attn.proj")],
                (dim, config.num_heads),
                EPSILON,
                [config.qkv_bias, config.proj_bias],
            )?,
            norm2: Norm::load(weights, &within("norm2"), dim, EPSILON)?,
            gate: Linear::load_with(weights, &within("mlp.fc1"), dim, hidden, mlp)?,
            value: Linear::load_with(weights, &within("mlp.fc3"), dim, hidden, mlp)?,
            out: Linear::load_with(weights, &within("mlp.fc2"), hidden, dim, mlp)?,
        })
    }

    /// `bias`: what is added to the scores, rows x 1 x 1 x tokens.
    fn forward(&self, tokens: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, TchError> {
        let tokens = tokens.f_add(&self.attention.forward(tokens, bias)?)?;
        let normed = self.norm2.forward(&tokens)?;
        let gated = self.gate.forward(&normed)?.f_silu()?.f_mul(&self.value.forward(&normed)?)?;
        tokens.f_add(&self.out.forward(&gated)?)
    }
}

impl AionEncoder {
    /// Takes the weights of the encoder; those of the decoder are passed over.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &AionConfig,
    ) -> Result<Self, WeightsError> {
        config.check()?;
        let dim = config.dim;
        let mut embeddings = BTreeMap::new();
        for key in &config.domains_in {
            let info = aion_modality(key).ok_or_else(|| WeightsError::BadConfig {
                reason: format!("domains_in has `{key}`, which is no modality of AION-1"),
            })?;
            embeddings.insert(key.clone(), Embedding::load(weights, info, dim)?);
        }
        let blocks = (0..config.encoder_depth)
            .map(|number| Block::load(weights, &format!("encoder.{number}"), config))
            .collect::<Result<_, _>>()?;
        let norm = Norm::load(weights, "encoder_norm", dim, EPSILON)?;
        let context = Linear::load(weights, "decoder_proj_context", dim, dim)?;
        weights.skip_all(|name| {
            let decoder = ["decoder.", "decoder_norm.", "decoder_embeddings."];
            name == "mask_token" || decoder.iter().any(|part| name.starts_with(part))
        });
        Ok(Self { embeddings, blocks, norm, context })
    }

    /// Embeddings of tokens, of those that are there before those that are missing, at most `tokens_max` for each row.
    ///
    /// # Errors
    /// [`AionError`] for tokens that the model cannot take.
    pub(crate) fn forward(
        &self,
        inputs: &[Tokens],
        tokens_max: i64,
        trace: &mut Trace,
    ) -> Result<Encoded, AionError> {
        if tokens_max < 1 {
            let reason = format!("{tokens_max} tokens are no embedding; allow one or more");
            return Err(AionError::BadInput { reason });
        }
        let Joined { values, offsets, missing, kinds, has_gaps } =
            self.join(inputs)?.chosen(tokens_max)?;
        let count = missing.size2()?.1;
        trace.note_with("token_modality_id", || kinds.f_masked_fill(&missing, -1i64))?;
        let mut tokens = values.f_add(&offsets)?;
        let first = |tensor: &Tensor| tensor.f_narrow(1, 0, count.min(8));
        trace.note_with("encoder_input_first8", || first(&tokens))?;
        trace.note_with("emb_first8", || first(&offsets))?;
        // Attention without a mask is quicker.
        let bias = has_gaps.then(|| bias(&missing, self.context.kind())).transpose()?;
        for (number, block) in self.blocks.iter().enumerate() {
            tokens = block.forward(&tokens, bias.as_ref())?;
            if number == 0 {
                trace.note_with("block0_first8", || first(&tokens))?;
            }
        }
        let normed = self.norm.forward(&tokens)?;
        trace.note_with("encoder_norm_first8", || first(&normed))?;
        let embeddings = self.context.forward(&normed)?.f_add(&offsets)?;
        trace.note("embedding_tokens", &embeddings);
        trace.note_with("token_valid", || missing.f_logical_not())?;
        Ok(Encoded { embeddings, missing })
    }

    fn join(&self, inputs: &[Tokens]) -> Result<Joined, AionError> {
        let mut parts: [Vec<Tensor>; 4] = Default::default();
        let mut rows = None;
        let has_gaps = inputs.iter().any(|tokens| tokens.missing.is_some());
        for Tokens { modality, ids, missing } in inputs {
            let embedding =
                self.embeddings.get(modality).ok_or_else(|| AionError::UnknownModality {
                    key: modality.clone(),
                    known: self.embeddings.keys().cloned().collect::<Vec<_>>().join(", "),
                })?;
            let as_table = |tensor: &Tensor| match tensor.dim() {
                1 => tensor.f_unsqueeze(1),
                _ => Ok(tensor.shallow_clone()),
            };
            let ids = as_table(ids)?.f_to_kind(Kind::Int64)?;
            let missing = match missing {
                Some(missing) => as_table(missing)?.f_to_kind(Kind::Bool)?,
                None => ids.f_zeros_like()?.f_to_kind(Kind::Bool)?,
            };
            let count = ids.size2()?.0;
            if *rows.get_or_insert(count) != count || missing.size() != ids.size() {
                let reason = format!("`{modality}` has {count} rows, or a mask of another shape");
                return Err(AionError::BadInput { reason });
            }
            let (values, offsets) = embedding.forward(&ids, &missing)?;
            let kinds = ids.f_full_like(i64::from(embedding.info.id))?;
            for (part, tensor) in parts.iter_mut().zip([values, offsets, missing, kinds]) {
                part.push(tensor);
            }
        }
        if rows.is_none() {
            let reason = "an object without any modality cannot be encoded".to_owned();
            return Err(AionError::BadInput { reason });
        }
        let [values, offsets, missing, kinds] = &parts;
        Ok(Joined {
            values: Tensor::f_cat(values, 1)?,
            offsets: Tensor::f_cat(offsets, 1)?,
            missing: Tensor::f_cat(missing, 1)?,
            kinds: Tensor::f_cat(kinds, 1)?,
            has_gaps,
        })
    }
}

impl Joined {
    /// At most `tokens_max` tokens of each row, those that are there before those that are missing.
    fn chosen(self, tokens_max: i64) -> Result<Self, TchError> {
        let Self { values, offsets, missing, kinds, has_gaps } = self;
        let count = missing.size2()?.1.min(tokens_max);
        if !has_gaps {
            let first = |all: &Tensor| all.f_narrow(1, 0, count);
            return Ok(Self {
                values: first(&values)?,
                offsets: first(&offsets)?,
                missing: first(&missing)?,
                kinds: first(&kinds)?,
                has_gaps,
            });
        }
        // A stable sort: what is there keeps its order, and what is missing comes behind it.
        let order = missing.f_to_kind(Kind::Int64)?.f_argsort_stable(true, 1, false)?;
        let order = order.f_narrow(1, 0, count)?;
        let missing = missing.f_gather(1, &order, false)?;
        let kinds = kinds.f_gather(1, &order, false)?;
        let absent = missing.f_unsqueeze(-1)?;
        let chosen = |all: &Tensor| -> Result<Tensor, TchError> {
            let places = order.f_unsqueeze(-1)?.f_expand([-1, -1, all.size3()?.2], false)?;
            all.f_gather(1, &places, false)?.f_masked_fill(&absent, 0.0)
        };
        let (values, offsets) = (chosen(&values)?, chosen(&offsets)?);
        Ok(Self { values, offsets, missing, kinds, has_gaps })
    }
}

/// What is added to the scores of tokens: the least number where one is missing. Not minus infinity, so that rows without
/// any token stay finite; and the least of the precision, for a smaller one would become that.
fn bias(missing: &Tensor, kind: Kind) -> Result<Tensor, TchError> {
    let least = match kind {
        Kind::Half => half::f16::MIN.to_f64(),
        Kind::BFloat16 => half::bf16::MIN.to_f64(),
        _ => f64::from(f32::MIN),
    };
    let bias = missing.f_zeros_like()?.f_to_kind(kind)?.f_masked_fill(missing, least)?;
    bias.f_unsqueeze(1)?.f_unsqueeze(1)
}

impl Encoded {
    /// Means over all tokens, and over those that are there (0 where none is).
    pub(crate) fn means(&self) -> Result<[Tensor; 2], TchError> {
        let there = self.missing.f_logical_not()?.f_to_kind(Kind::Float)?.f_unsqueeze(-1)?;
        let count = there.f_sum_dim_intlist(1, false, Kind::Float)?.f_clamp_min(1.0)?;
        let sum = self.embeddings.f_mul(&there)?.f_sum_dim_intlist(1, false, Kind::Float)?;
        Ok([mean(&self.embeddings, 1)?, sum.f_div(&count)?])
    }
}
