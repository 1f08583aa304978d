//! The published networks behind the queue: rows of features in, vectors or tokens out.

use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use sidereus::encoder::{
    Architecture, Features, Made, ModelError, Network, NetworkError, Pooling, PublishedConfig,
    RegisteredModel,
};
use sidereus::wire::v1::{TokenRun, TokenSequence};
use tch::{Kind, TchError, Tensor};

use super::super::device::Computing;
use super::super::load::to_rows;
use super::super::staging::Staging;
use super::super::weights::{Weights, WeightsError};
use super::aion::AionModel;
use super::astroclip::{ImageTower, SpectrumTower};
use super::astrodino::AstroDino;
use super::layers::mean;
use super::resnet::{MocoResNet, ResNetConfig};
use super::script::Script;
use super::specformer::Specformer;
use super::trace::Trace;

/// Rows from which on a batch goes to a GPU in two parts.
const ROWS_IN_PARTS: usize = 128;

/// A batch in the parts that are put together and sent one after the other. In half precision a GPU is so quick that it is
/// worth while to have it compute a first quarter while the rest is put together. In single precision it is not, and a
/// larger batch is computed better.
fn parts<'batch, 'rows>(
    rows: &'batch [&'rows Features],
    computing: Computing,
) -> Vec<&'batch [&'rows Features]> {
    let is_quick = computing.device.is_cuda() && computing.kind != Kind::Float;
    if is_quick && rows.len() >= ROWS_IN_PARTS {
        let (first, rest) = rows.split_at(rows.len() / 4);
        return vec![first, rest];
    }
    vec![rows]
}

/// A network, and the order of its outputs.
pub(crate) struct Published {
    network: Kinds,
    poolings: Vec<Pooling>,
    computing: Computing,
    staging: Staging,
}

enum Kinds {
    ImageTower(ImageTower),
    SpectrumTower(SpectrumTower),
    AstroDino(AstroDino),
    Specformer(Specformer),
    Moco(MocoResNet),
    Aion(Box<AionModel>),
    Script(Script),
}

/// Loads a model of which [`Architecture::has_own_config`] is true, or an archive.
///
/// # Errors
/// [`ModelError`] for files that are not the pinned ones, or do not fit the sizes.
pub(crate) fn load(
    model: &RegisteredModel,
    computing: Computing,
) -> Result<Box<dyn Network>, ModelError> {
    let network = match model.spec.architecture {
        Architecture::Torchscript => Kinds::Script(Script::load(model, computing)?),
        Architecture::Aion => Kinds::Aion(Box::new(AionModel::load(model, computing)?)),
        architecture => from_weights(model, architecture, computing)?,
    };
    let poolings = model.outputs().into_iter().map(|(pooling, _)| pooling).collect();
    Ok(Box::new(Published { network, poolings, computing, staging: Staging::default() }))
}

fn from_weights(
    model: &RegisteredModel,
    architecture: Architecture,
    computing: Computing,
) -> Result<Kinds, ModelError> {
    let config = model.config.as_ref();
    let config = config.ok_or_else(|| bad_weights(model, &WeightsError::NoConfig))?;
    strictly(model, &model.spec.weights, computing, |weights| {
        Ok(match architecture {
            Architecture::AstroclipImage => {
                weights.skip_all(|name| name.starts_with("spectrum_encoder."));
                Kinds::ImageTower(ImageTower::load(weights, &sizes(config, "/image")?)?)
            }
            Architecture::AstroclipSpectrum => {
                weights.skip_all(|name| name.starts_with("image_encoder."));
                Kinds::SpectrumTower(SpectrumTower::load(weights, &sizes(config, "/spectrum")?)?)
            }
            Architecture::Astrodino => {
                Kinds::AstroDino(AstroDino::load(weights, &sizes(config, "")?)?)
            }
            Architecture::Specformer => {
                Kinds::Specformer(Specformer::load(weights, "", &sizes(config, "")?)?)
            }
            Architecture::SteinMoco => {
                let residual = match config.whole().get("architecture") {
                    Some(given) => parsed(given)?,
                    None => ResNetConfig::default(),
                };
                Kinds::Moco(MocoResNet::load(weights, &sizes(config, "")?, &residual)?)
            }
            Architecture::PhotometryMm
            | Architecture::EfficientnetLite0
            | Architecture::Aion
            | Architecture::Torchscript => return Err(WeightsError::NoConfig),
        })
    })
}

/// Loads something from a file of a model's folder: every tensor of the file is taken, or the file is refused.
pub(super) fn strictly<Made>(
    model: &RegisteredModel,
    file: &str,
    computing: Computing,
    load: impl FnOnce(&mut Weights<'_>) -> Result<Made, WeightsError>,
) -> Result<Made, ModelError> {
    let bytes = model.read_file(file)?;
    let bad = |reason: String| ModelError::BadWeights { path: model.folder.join(file), reason };
    let parsed = SafeTensors::deserialize(&bytes)
        .map_err(|error| bad(format!("not a safetensors file: {error}")))?;
    let mut weights = Weights::new(&parsed, computing.device).in_precision(computing.kind);
    let made = load(&mut weights).map_err(|error| bad(error.to_string()))?;
    weights.finish().map_err(|error| bad(error.to_string()))?;
    Ok(made)
}

fn bad_weights(model: &RegisteredModel, error: &WeightsError) -> ModelError {
    let path = model.folder.join(&model.spec.weights);
    ModelError::BadWeights { path, reason: error.to_string() }
}

/// The sizes at a path of a model's configuration.
fn sizes<Sizes: DeserializeOwned>(
    config: &PublishedConfig,
    path: &str,
) -> Result<Sizes, WeightsError> {
    let given = config.sizes().pointer(path).ok_or_else(|| WeightsError::BadConfig {
        reason: format!("`{}` is missing", path.trim_start_matches('/')),
    })?;
    parsed(given)
}

pub(super) fn parsed<Sizes: DeserializeOwned>(
    given: &serde_json::Value,
) -> Result<Sizes, WeightsError> {
    Sizes::deserialize(given).map_err(|error| WeightsError::BadConfig { reason: error.to_string() })
}

/// One array of every row as one tensor, by way of a slot of pinned memory.
///
/// # Shape
/// rows x shape of the array.
pub(super) fn stacked<'rows>(
    rows: &[&'rows Features],
    place: usize,
    (staging, slot): (&Staging, usize),
    computing: Computing,
) -> Result<Tensor, TchError> {
    let shape = rows.first().and_then(|row| row.layout().get(place)).map(|part| &part.shape);
    let shape = shape.ok_or_else(|| TchError::Shape(format!("no array {place}")))?;
    let sizes: Vec<i64> =
        std::iter::once(rows.len()).chain(shape.iter().copied()).map(|size| size as i64).collect();
    let array =
        |row: &'rows Features| row.arrays().get(place).map(Vec::as_slice).unwrap_or_default();
    let arrays: Vec<&[f32]> = rows.iter().map(|row| array(row)).collect();
    staging.put(slot, &arrays, computing.device)?.f_reshape(&sizes)
}

/// A vector for each row.
pub(super) fn vectors(tensor: &Tensor) -> Result<Vec<Made>, TchError> {
    let (rows, width) = tensor.size2()?;
    let values = to_rows(tensor)?;
    let vectors = values.chunks_exact(width.max(1) as usize);
    let vectors: Vec<Made> = vectors.map(|vector| Made::Vector(vector.to_vec())).collect();
    if vectors.len() as i64 == rows {
        return Ok(vectors);
    }
    Err(TchError::Shape(format!("{} vectors for {rows} rows", vectors.len())))
}

/// States of tokens for each row, in half precision, in runs of so many tokens under these names.
///
/// # Shape
/// rows x tokens x width.
pub(super) fn states(tensor: &Tensor, runs: &[(&str, usize)]) -> Result<Vec<Made>, TchError> {
    let (_, count, width) = tensor.size3()?;
    let (count, width) = (count.max(1) as usize, width.max(1) as usize);
    let told: usize = runs.iter().map(|(_, count)| count).sum();
    // Where tokens were left out nobody knows any more which modality the others are of.
    let runs = if told == count { runs } else { &[("", count)] };
    let values = to_rows(tensor)?;
    let row = |values: &[f32]| {
        let mut rest = values;
        let mut sequence = TokenSequence::default();
        for (name, count) in runs {
            let (values, behind) = rest.split_at(count * width);
            rest = behind;
            sequence.runs.push(TokenRun {
                modality: (*name).to_owned(),
                count: u32::try_from(*count).unwrap_or(u32::MAX),
                width: u32::try_from(width).unwrap_or(u32::MAX),
                states: halves(values)?,
                ids: Vec::new(),
            });
        }
        Ok(Made::Tokens(sequence))
    };
    values.chunks_exact(count * width).map(row).collect()
}

/// Numbers in half precision, little-endian.
fn halves(values: &[f32]) -> Result<Vec<u8>, TchError> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    for value in values {
        let half = half::f16::from_f32(*value);
        if !half.is_finite() {
            let reason = format!("a state of {value} is beyond half precision");
            return Err(TchError::Convert(reason));
        }
        bytes.extend(half.to_le_bytes());
    }
    Ok(bytes)
}

impl Published {
    fn run(&self, rows: &[&Features], pooling: Pooling) -> Result<Vec<Made>, String> {
        match &self.network {
            Kinds::Aion(model) => {
                return model.make(rows, pooling, &self.staging).map_err(|error| error.to_string());
            }
            Kinds::Script(script) => {
                return script.make(rows, &self.staging).map_err(|error| error.to_string());
            }
            _ => {}
        }
        let parts = parts(rows, self.computing).into_iter().enumerate().map(|(slot, rows)| {
            let input = stacked(rows, 0, (&self.staging, slot), self.computing)?;
            self.compute(&input, pooling)
        });
        let made = || -> Result<Vec<Made>, TchError> {
            let made = Tensor::f_cat(&parts.collect::<Result<Vec<_>, _>>()?, 0)?;
            if pooling == Pooling::Tokens { states(&made, &[]) } else { vectors(&made) }
        };
        made().map_err(|error| error.to_string())
    }

    /// What is made of rows, still on the device.
    fn compute(&self, input: &Tensor, pooling: Pooling) -> Result<Tensor, TchError> {
        let off = &mut Trace::off();
        match &self.network {
            Kinds::ImageTower(tower) => match pooling {
                Pooling::Attentive => tower.forward(input, off),
                pooling => of_tokens(tower.tokens(input, off)?, pooling),
            },
            Kinds::SpectrumTower(tower) => match pooling {
                Pooling::Attentive => tower.forward(input, off),
                pooling => of_tokens(tower.tokens(input, off)?, pooling),
            },
            Kinds::AstroDino(model) => {
                let (class, patches) = model.forward(input, off)?;
                if pooling == Pooling::Cls { Ok(class) } else { of_tokens(patches, pooling) }
            }
            Kinds::Specformer(model) => of_tokens(model.forward(input, off)?, pooling),
            Kinds::Moco(model) => {
                let [representation, contrastive] = model.forward(input, off)?;
                let is_behind = pooling == Pooling::ContrastiveHead;
                Ok(if is_behind { contrastive } else { representation })
            }
            Kinds::Aion(_) | Kinds::Script(_) => {
                Err(TchError::Shape("this network takes more than one array".to_owned()))
            }
        }
    }
}

/// Tokens as they are, or a mean of them.
fn of_tokens(tokens: Tensor, pooling: Pooling) -> Result<Tensor, TchError> {
    match pooling {
        Pooling::Tokens => Ok(tokens),
        Pooling::MeanWithoutStatistics => {
            let [_, without_first] = Specformer::pooled(&tokens)?;
            Ok(without_first)
        }
        _ => mean(&tokens, 1),
    }
}

impl Network for Published {
    fn make(&self, rows: &[&Features], output: usize) -> Result<Vec<Made>, NetworkError> {
        let failed = |reason: String| NetworkError { rows: rows.len(), reason };
        let pooling = self.poolings.get(output).copied();
        let pooling = pooling.ok_or_else(|| failed(format!("it has no output {output}")))?;
        tch::no_grad(|| self.run(rows, pooling)).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn only_a_quick_gpu_gets_a_large_batch_in_parts() {
        let row = Features::plain([1], vec![0.0]);
        let counts = |rows: usize, device: Device, kind: Kind| {
            let rows = vec![&row; rows];
            let parts = parts(&rows, Computing { device, kind });
            parts.iter().map(|part| part.len()).collect::<Vec<_>>()
        };
        assert_eq!(counts(256, Device::Cuda(0), Kind::BFloat16), [64, 192]);
        assert_eq!(counts(129, Device::Cuda(1), Kind::Half), [32, 97]);
        for (rows, device, kind) in [
            (127, Device::Cuda(0), Kind::BFloat16),
            (256, Device::Cuda(0), Kind::Float),
            (256, Device::Cpu, Kind::BFloat16),
        ] {
            assert_eq!(counts(rows, device, kind), [rows]);
        }
    }
}
