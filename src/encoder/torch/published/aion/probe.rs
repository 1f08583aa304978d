//! Heads on the tokens of AION-1, as its authors train them: a linear map of the mean, and attentive pooling.

use tch::{TchError, Tensor};

use super::super::super::weights::{Weights, WeightsError};
use super::super::layers::{Linear, Norm, attend, mean};

/// Normalisation of queries and keys: not that of the backbone.
const EPSILON: f64 = 1e-5;

/// A linear map of the mean over all tokens.
pub(crate) struct LinearProbe {
    linear: Linear,
}

impl LinearProbe {
    /// Takes the tensors of `<prefix>`.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        dim: i64,
        outputs: i64,
    ) -> Result<Self, WeightsError> {
        Ok(Self { linear: Linear::load(weights, &format!("{prefix}.linear"), dim, outputs)? })
    }

    /// rows x tokens x `dim`; rows x outputs.
    pub(crate) fn forward(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        self.linear.forward(&mean(tokens, 1)?.f_to_kind(self.linear.kind())?)
    }
}

/// A learned query for each output, which attends to the tokens.
pub(crate) struct AttentiveProbe {
    query: Tensor,
    project_query: Linear,
    project_tokens: Linear,
    query_norm: Norm,
    key_norm: Norm,
    out: Linear,
    decoders: Vec<Linear>,
    heads: i64,
}

impl AttentiveProbe {
    /// Takes the tensors of `<prefix>`.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        prefix: &str,
        dim: i64,
        outputs: i64,
        heads: i64,
    ) -> Result<Self, WeightsError> {
        if heads <= 0 || dim % heads != 0 {
            let reason = "num_heads of a probe must divide the model's dim".to_owned();
            return Err(WeightsError::BadConfig { reason });
        }
        let attention = |name: &str| format!("{prefix}.attention.{name}");
        let query = weights.take(&format!("{prefix}.query"), &[1, outputs, dim])?;
        let bare = |weights: &mut Weights<'_>, name: &str, to: i64| {
            Linear::load_with(weights, &attention(name), dim, to, false)
        };
        let (project_query, project_tokens) =
            (bare(weights, "q", dim)?, bare(weights, "kv", 2 * dim)?);
        let out = bare(weights, "proj", dim)?;
        let query_norm = Norm::load(weights, &attention("q_norm"), dim / heads, EPSILON)?;
        let key_norm = Norm::load(weights, &attention("k_norm"), dim / heads, EPSILON)?;
        let decoders = (0..outputs)
            .map(|output| Linear::load(weights, &format!("{prefix}.decoders.{output}"), dim, 1))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            query,
            project_query,
            project_tokens,
            query_norm,
            key_norm,
            out,
            decoders,
            heads,
        })
    }

    /// rows x tokens x `dim`; rows x outputs.
    pub(crate) fn forward(&self, tokens: &Tensor) -> Result<Tensor, TchError> {
        let (rows, _, dim) = tokens.size3()?;
        let asked = self.project_query.forward(&self.query.f_expand([rows, -1, -1], false)?)?;
        let both = self.project_tokens.forward(tokens)?;
        let (key, value) = (both.f_narrow(2, 0, dim)?, both.f_narrow(2, dim, dim)?);
        // Each head is normalised on its own.
        let normed = |norm: &Norm, tensor: &Tensor| -> Result<Tensor, TchError> {
            let heads = tensor.f_reshape([rows, -1, self.heads, dim / self.heads])?;
            norm.forward(&heads)?.f_reshape([rows, -1, dim])
        };
        let (query, key) = (normed(&self.query_norm, &asked)?, normed(&self.key_norm, &key)?);
        let pooled = self.out.forward(&attend([&query, &key, &value], self.heads, None)?)?;
        let outputs = self.decoders.iter().enumerate();
        let outputs =
            outputs.map(|(output, decoder)| decoder.forward(&pooled.f_select(1, output as i64)?));
        Tensor::f_cat(&outputs.collect::<Result<Vec<_>, TchError>>()?, 1)
    }
}
