//! A model against its own golden inputs and outputs, which another implementation made.

use std::path::PathBuf;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use thiserror::Error;

use super::{Network, NetworkError, PayloadError, Preprocessor, RegisteredModel};
use crate::class::Class;

/// Largest error, relative to the largest magnitude in the golden tensor, that passes.
pub const CHECK_TOLERANCE: f64 = 1e-4;

/// Rows that are computed at once.
const ROWS_AT_ONCE: usize = 16;

/// Why a model could not be compared with its golden file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The golden file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The model's description names no golden file.
    #[error("model `{model}` has no golden outputs: name their file as `goldens` in model.toml")]
    NoGoldens {
        /// Its id.
        model: String,
    },
    /// The golden file is not one, or lacks a tensor, or one has a wrong shape.
    #[error("{}: {reason}", path.display())]
    BadGoldens {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A golden input is refused by the preprocessing.
    #[error("golden input {row}: {source}")]
    Refused {
        /// Row, from 0.
        row: usize,
        /// Why.
        source: PayloadError,
    },
    /// The network failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

impl CheckError {
    /// What the operator must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Read { .. } => Class::NotFound,
            Self::NoGoldens { .. } | Self::BadGoldens { .. } | Self::Refused { .. } => {
                Class::Invalid
            }
            Self::Network(_) => Class::Internal,
        }
    }
}

/// How far one tensor is from its golden twin.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorCheck {
    /// Name in the golden file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Largest absolute difference over the largest magnitude of the golden tensor; infinite for a NaN.
    pub relative_error: f64,
}

impl TensorCheck {
    /// Whether the error is within [`CHECK_TOLERANCE`].
    pub fn passes(&self) -> bool {
        self.relative_error <= CHECK_TOLERANCE
    }
}

/// Runs a model on its golden inputs and measures every golden tensor: features, stages and embeddings.
///
/// # Shape
/// The file holds `inputs.rows` (F64, rows x inputs, NaN where absent) or `inputs.pixels` (U8, rows x side x side x 3),
/// optionally `inputs.features` (F32), and `outputs.<stage>` (F32) with at least `outputs.embedding`.
pub fn check_model(
    model: &RegisteredModel,
    preprocessor: &Preprocessor,
    network: &dyn Network,
) -> Result<Vec<TensorCheck>, CheckError> {
    let Some(path) = model.goldens_path() else {
        return Err(CheckError::NoGoldens { model: model.spec.id.clone() });
    };
    let bad = |reason: String| CheckError::BadGoldens { path: path.clone(), reason };
    let bytes =
        std::fs::read(&path).map_err(|source| CheckError::Read { path: path.clone(), source })?;
    let goldens = SafeTensors::deserialize(&bytes).map_err(|error| bad(error.to_string()))?;
    let rows = golden_features(model, preprocessor, &goldens, &bad)?;
    if rows.is_empty() {
        return Err(bad("it has no golden inputs".to_owned()));
    }

    let mut checks = Vec::new();
    if let Ok(golden) = goldens.tensor("inputs.features") {
        checks.push(compare("inputs.features", &golden, &rows.concat()).map_err(&bad)?);
    }
    let mut stages: Vec<(String, Vec<f32>)> = Vec::new();
    for batch in rows.chunks(ROWS_AT_ONCE) {
        for (place, stage) in network.stages(batch.len(), &batch.concat())?.into_iter().enumerate()
        {
            match stages.get_mut(place) {
                Some((_, values)) => values.extend(stage.values),
                None => stages.push((format!("outputs.{}", stage.name), stage.values)),
            }
        }
    }
    let mut names: Vec<&str> =
        goldens.names().into_iter().filter(|name| name.starts_with("outputs.")).collect();
    names.sort_unstable();
    if !names.contains(&"outputs.embedding") {
        return Err(bad("tensor `outputs.embedding` is missing".to_owned()));
    }
    for name in names {
        let golden = goldens.tensor(name).map_err(|error| bad(error.to_string()))?;
        let (_, values) = stages
            .iter()
            .find(|(stage, _)| stage == name)
            .ok_or_else(|| bad(format!("tensor `{name}` is no stage of this network")))?;
        checks.push(compare(name, &golden, values).map_err(&bad)?);
    }
    Ok(checks)
}

/// Preprocesses the golden inputs.
fn golden_features(
    model: &RegisteredModel,
    preprocessor: &Preprocessor,
    goldens: &SafeTensors<'_>,
    bad: &dyn Fn(String) -> CheckError,
) -> Result<Vec<Vec<f32>>, CheckError> {
    if let Ok(tensor) = goldens.tensor("inputs.rows") {
        let width = model.spec.all_inputs().count();
        if tensor.dtype() != Dtype::F64 || tensor.shape().len() != 2 || tensor.shape()[1] != width {
            return Err(bad(format!("`inputs.rows` must be F64 [rows, {width}]")));
        }
        let (numbers, _) = tensor.data().as_chunks::<8>();
        let numbers: Vec<f64> = numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let rows = numbers.chunks_exact(width).enumerate();
        return rows
            .map(|(row, values)| {
                let features = preprocessor.features_of_row(&model.spec, values);
                features.map_err(|source| CheckError::Refused { row, source })
            })
            .collect();
    }
    let tensor = goldens
        .tensor("inputs.pixels")
        .map_err(|_| bad("it has neither `inputs.rows` nor `inputs.pixels`".to_owned()))?;
    let count = preprocessor.pixel_count();
    if tensor.dtype() != Dtype::U8 || tensor.shape().iter().skip(1).product::<usize>() != count {
        return Err(bad(format!("`inputs.pixels` must be U8, {count} bytes a row")));
    }
    let rows =
        tensor.data().chunks_exact(count).map(|pixels| preprocessor.features_of_pixels(pixels));
    rows.collect::<Option<_>>()
        .ok_or_else(|| bad("`inputs.pixels` in the goldens of a model of tables".to_owned()))
}

fn compare(name: &str, golden: &TensorView<'_>, values: &[f32]) -> Result<TensorCheck, String> {
    if golden.dtype() != Dtype::F32 {
        return Err(format!("`{name}` is {:?}, expected F32", golden.dtype()));
    }
    let (numbers, _) = golden.data().as_chunks::<4>();
    if numbers.len() != values.len() {
        return Err(format!(
            "`{name}` has {} numbers, the network gives {}",
            numbers.len(),
            values.len()
        ));
    }
    let mut largest = f64::MIN_POSITIVE;
    let mut error = 0.0_f64;
    for (bytes, value) in numbers.iter().zip(values) {
        let golden = f64::from(f32::from_le_bytes(*bytes));
        let difference = (golden - f64::from(*value)).abs();
        largest = largest.max(golden.abs());
        error = error.max(if difference.is_nan() { f64::INFINITY } else { difference });
    }
    Ok(TensorCheck {
        name: name.to_owned(),
        shape: golden.shape().to_vec(),
        relative_error: error / largest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn golden(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|value| value.to_le_bytes()).collect()
    }

    #[test]
    fn the_error_is_relative_to_the_largest_golden_value() {
        let bytes = golden(&[0.0, -8.0, 2.0]);
        let view = TensorView::new(Dtype::F32, vec![3], &bytes).expect("a tensor");
        let check = compare("outputs.x", &view, &[0.5, -8.0, 2.25]).expect("compares");
        assert_eq!((check.relative_error, check.passes()), (0.5 / 8.0, false));
        assert!(compare("outputs.x", &view, &[0.0, -8.0, 2.0]).expect("compares").passes());
        assert!(!compare("outputs.x", &view, &[0.0, f32::NAN, 2.0]).expect("compares").passes());
        let message = compare("outputs.x", &view, &[0.0]).expect_err("must fail");
        assert_eq!(message, "`outputs.x` has 3 numbers, the network gives 1");
        let zeros = golden(&[0.0]);
        let view = TensorView::new(Dtype::F32, vec![1], &zeros).expect("a tensor");
        assert!(compare("outputs.x", &view, &[0.0]).expect("compares").passes());
    }
}
