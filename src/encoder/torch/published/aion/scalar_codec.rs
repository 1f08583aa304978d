//! The codecs of AION-1 for numbers and catalogues (Parker et al. 2025, arXiv:2510.17960, appendix C): each number
//! becomes the place among the quantiles that the training set had.

use serde::Deserialize;
use tch::{Kind, TchError, Tensor};

use super::super::super::weights::{Weights, WeightsError};

/// The kind of a codec and its sizes, by the names of the published configuration.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "class", content = "config")]
#[expect(clippy::enum_variant_names, reason = "as they were published")]
pub(crate) enum ScalarConfig {
    /// Quantiles of the number itself.
    ScalarCodec {
        /// Codes.
        codebook_size: i64,
    },
    /// Quantiles of its logarithm.
    LogScalarCodec {
        /// Codes.
        codebook_size: i64,
        /// Natural logarithm below which all numbers are alike.
        min_log_value: f64,
    },
    /// Even steps from 0 to 1.
    GridScalarCodec {
        /// Codes.
        codebook_size: i64,
    },
    /// Several numbers, each with its own quantiles.
    MultiScalarCodec {
        /// Codes of each.
        codebook_size: i64,
        /// Functions that are applied first, by their names.
        compression_fns: Vec<String>,
        /// Numbers.
        num_quantizers: i64,
    },
}

/// A codec of numbers.
pub(crate) enum ScalarCodec {
    /// Quantiles, perhaps of the logarithm of what is not less than `least`.
    Quantiles {
        /// Ascending; the last one is no boundary.
        values: Tensor,
        /// The least number, and that the logarithm is meant.
        least: Option<f64>,
    },
    /// Even steps.
    Grid {
        /// Ascending.
        buckets: Tensor,
    },
    /// Each column on its own, behind the inverse hyperbolic sine where it is asked for.
    Columns {
        /// Quantiles of each column.
        values: Vec<Tensor>,
        /// How often the function is applied.
        asinh: usize,
    },
}

/// What the codec makes of numbers.
pub(crate) struct ScalarTokens {
    /// Of the shape of the numbers.
    pub(crate) tokens: Tensor,
    /// The numbers that the tokens stand for, behind the codec's function.
    pub(crate) decoded: Tensor,
}

impl ScalarCodec {
    /// Takes the weights; the sample of the training set is of no use.
    pub(crate) fn load(
        weights: &mut Weights<'_>,
        config: &ScalarConfig,
    ) -> Result<Self, WeightsError> {
        // Old files have the names of an older program.
        let root = if weights.has_any("quantizer.") { "quantizer" } else { "_quantizer" };
        weights.skip_all(|name| name.ends_with("._reservoir"));
        let mut quantiles =
            |name: &str, codes: i64| weights.take(&format!("{root}.{name}_index_to_val"), &[codes]);
        match config {
            ScalarConfig::ScalarCodec { codebook_size } => {
                Ok(Self::Quantiles { values: quantiles("", *codebook_size)?, least: None })
            }
            ScalarConfig::LogScalarCodec { codebook_size, min_log_value } => Ok(Self::Quantiles {
                values: quantiles("", *codebook_size)?,
                least: Some(min_log_value.exp()),
            }),
            ScalarConfig::GridScalarCodec { codebook_size } => Ok(Self::Grid {
                buckets: weights.take(&format!("{root}.buckets"), &[*codebook_size])?,
            }),
            ScalarConfig::MultiScalarCodec { codebook_size, compression_fns, num_quantizers } => {
                if let Some(other) = compression_fns.iter().find(|name| *name != "arcsinh") {
                    let reason = format!("compression function `{other}`; only `arcsinh` is known");
                    return Err(WeightsError::BadConfig { reason });
                }
                let values = (0..*num_quantizers)
                    .map(|column| quantiles(&format!("quantizers.{column}."), *codebook_size))
                    .collect::<Result<_, _>>()?;
                Ok(Self::Columns { values, asinh: compression_fns.len() })
            }
        }
    }

    /// Tokens of numbers. What is not a number, or infinite, gets the last code.
    ///
    /// # Shape
    /// Any; rows x columns where each column has its own codec.
    pub(crate) fn forward(&self, numbers: &Tensor) -> Result<ScalarTokens, TchError> {
        match self {
            Self::Quantiles { values, least: None } => looked_up(numbers, values),
            Self::Quantiles { values, least: Some(least) } => {
                let least = f64::from(*least as f32);
                let small = numbers.f_le(least)?;
                let found = looked_up(&numbers.f_masked_fill(&small, least)?.f_log()?, values)?;
                Ok(ScalarTokens { decoded: found.decoded.f_exp()?, ..found })
            }
            Self::Grid { buckets } => {
                let last = buckets.size1()? - 1;
                let tokens = numbers.f_bucketize(buckets, true, false)?.f_clamp_max(last)?;
                let decoded = decoded(&tokens, buckets)?;
                Ok(ScalarTokens { tokens, decoded })
            }
            Self::Columns { values, asinh } => {
                let width = numbers.size2()?.1;
                if width != values.len() as i64 {
                    let reason =
                        format!("{width} numbers in a row; the codec takes {}", values.len());
                    return Err(TchError::Shape(reason));
                }
                let mut bent = numbers.shallow_clone();
                for _ in 0..*asinh {
                    bent = bent.f_asinh()?;
                }
                let columns = values
                    .iter()
                    .enumerate()
                    .map(|(column, values)| looked_up(&bent.f_select(1, column as i64)?, values));
                let columns = columns.collect::<Result<Vec<_>, TchError>>()?;
                let stacked = |part: &dyn Fn(&ScalarTokens) -> Tensor| {
                    Tensor::f_stack(&columns.iter().map(part).collect::<Vec<_>>(), 1)
                };
                let mut straight = stacked(&|column| column.decoded.shallow_clone())?;
                for _ in 0..*asinh {
                    straight = straight.f_sinh()?;
                }
                let tokens = stacked(&|column| column.tokens.shallow_clone())?;
                Ok(ScalarTokens { tokens, decoded: straight })
            }
        }
    }
}

/// How many boundaries are below each number.
fn looked_up(numbers: &Tensor, values: &Tensor) -> Result<ScalarTokens, TchError> {
    let boundaries = values.f_narrow(0, 0, values.size1()? - 1)?;
    let tokens = numbers.f_contiguous()?.f_bucketize(&boundaries, false, false)?;
    let decoded = decoded(&tokens, values)?;
    Ok(ScalarTokens { tokens, decoded })
}

fn decoded(tokens: &Tensor, values: &Tensor) -> Result<Tensor, TchError> {
    let places = tokens.f_flatten(0, -1)?.f_to_kind(Kind::Int64)?;
    values.f_index_select(0, &places)?.f_reshape(tokens.size())
}

/// Stands for an object that is not there.
pub(crate) const NO_OBJECT: i64 = 9_999;

/// The codec of the objects around a galaxy: place in the picture and shape of each.
pub(crate) struct CatalogCodec {
    shapes: [Tensor; 3],
}

/// Fields of an object, in the order of its tokens, with the first code of each.
const FIELDS: [(&str, i64); 5] =
    [("X", 0), ("Y", 96), ("SHAPE_E1", 192), ("SHAPE_E2", 1_216), ("SHAPE_R", 2_240)];

/// Tokens of catalogues.
pub(crate) struct CatalogTokens {
    /// rows x (5 x objects), [`NO_OBJECT`] where there is none.
    pub(crate) tokens: Tensor,
    /// The same in the numbers of the encoder's vocabulary, 0 where there is none.
    pub(crate) ids: Tensor,
    /// Where there is none.
    pub(crate) missing: Tensor,
}

impl CatalogCodec {
    /// Fields of an object.
    pub(crate) fn fields() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().map(|(name, _)| *name)
    }

    /// Takes the weights.
    pub(crate) fn load(weights: &mut Weights<'_>) -> Result<Self, WeightsError> {
        weights.skip_all(|name| name.ends_with("._reservoir") || name.ends_with("._codebook_size"));
        let mut quantiles = |field: &str| {
            weights.take(&format!("_quantizer.quantizers.{field}._index_to_val"), &[1024])
        };
        let shapes = [quantiles("SHAPE_E1")?, quantiles("SHAPE_E2")?, quantiles("SHAPE_R")?];
        Ok(Self { shapes })
    }

    /// # Shape
    /// One tensor for each of the fields: rows x objects.
    pub(crate) fn forward(
        &self,
        fields: &[Tensor; 5],
        offset: i64,
    ) -> Result<CatalogTokens, TchError> {
        let missing = fields[0].f_eq(NO_OBJECT)?;
        let mut tokens = Vec::with_capacity(FIELDS.len());
        for (place, ((_, first), values)) in FIELDS.iter().zip(fields).enumerate() {
            let codes = match place.checked_sub(2).and_then(|place| self.shapes.get(place)) {
                Some(quantiles) => looked_up(values, quantiles)?.tokens,
                None => values.f_to_kind(Kind::Int64)?,
            };
            tokens.push(codes.f_add_scalar(*first)?.f_masked_fill(&missing, NO_OBJECT)?);
        }
        let joined = |parts: &[Tensor]| Tensor::f_stack(parts, -1)?.f_flatten(1, -1);
        let tokens = joined(&tokens)?;
        let missing = tokens.f_eq(NO_OBJECT)?;
        let ids = tokens.f_add_scalar(offset)?.f_masked_fill(&missing, 0i64)?;
        Ok(CatalogTokens { tokens, ids, missing })
    }
}
