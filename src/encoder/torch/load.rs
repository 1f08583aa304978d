//! From a model's folder to a network that is ready to compute.

use std::panic::{AssertUnwindSafe, catch_unwind};

use safetensors::SafeTensors;
use sidereus::encoder::{
    Architecture, BatchedNetwork, ModelError, Network, Preprocessor, RegisteredModel, Registry,
};
use tch::{Device, Kind, TchError, Tensor};

use super::device::Computing;
use super::efficientnet_lite0::EfficientnetLite0;
use super::photometry_mm::PhotometryMm;
use super::published;
use super::weights::{Weights, WeightsError};

/// A network and what goes before it.
pub(crate) struct Loaded {
    /// From payload to features.
    pub(crate) preprocessor: Preprocessor,
    /// From features to vectors.
    pub(crate) network: Box<dyn Network>,
}

/// A model that is served.
pub(crate) struct Served {
    /// Its description and files.
    pub(crate) model: RegisteredModel,
    /// From payload to features.
    pub(crate) preprocessor: Preprocessor,
    /// What the queue computes with.
    pub(crate) batched: BatchedNetwork,
}

/// All models of a directory.
pub(crate) struct LoadedModels {
    /// Models that are served.
    pub(crate) served: Vec<Served>,
    /// Folder names of models that are not, with the reason.
    pub(crate) broken: Vec<(String, String)>,
}

/// Loads all models that can be loaded; the others are logged and remembered with what is wrong with them. Every model
/// is loaded once, so that a broken one is known at the start; those beyond `memory_max` bytes are put away again.
pub(crate) fn load_all(registry: Registry, computing: Computing, memory_max: u64) -> LoadedModels {
    let broken =
        registry.broken.into_iter().map(|model| (model.id, model.error.to_string())).collect();
    let mut models = LoadedModels { served: Vec::new(), broken };
    let mut resident = 0_u64;
    for model in registry.models {
        match load_and_warm_up(&model, computing) {
            Ok(Loaded { preprocessor, network }) => {
                let bytes = model.bytes();
                let fits = resident == 0 || resident.saturating_add(bytes) <= memory_max;
                resident += if fits { bytes } else { 0 };
                let outputs = model.outputs().into_iter().map(|(_, output)| output).collect();
                let again = model.clone();
                let load = move || {
                    load(&again, computing)
                        .map(|loaded| loaded.network)
                        .map_err(|error| error.to_string())
                };
                let network = fits.then_some(network);
                let batched = BatchedNetwork { network, load: Box::new(load), bytes, outputs };
                models.served.push(Served { model, preprocessor, batched });
            }
            Err(reason) => models.broken.push((model.spec.id, reason)),
        }
    }
    models.broken.sort();
    for (model, reason) in &models.broken {
        tracing::error!(%model, %reason, "a model is broken and will not be served");
    }
    models
}

/// A fault in one model's files must not keep the others from being served.
fn load_and_warm_up(model: &RegisteredModel, computing: Computing) -> Result<Loaded, String> {
    let loaded = catch_unwind(AssertUnwindSafe(|| -> Result<Loaded, ModelError> {
        let loaded = load(model, computing)?;
        warm_up(&loaded.preprocessor, loaded.network.as_ref());
        Ok(loaded)
    }));
    match loaded {
        Ok(loaded) => loaded.map_err(|error| error.to_string()),
        Err(_) => {
            Err("its files contradict themselves: the program broke down over them".to_owned())
        }
    }
}

/// Computes once on zeros: the first caller does not wait for libraries to be chosen and memory to be taken.
fn warm_up(preprocessor: &Preprocessor, network: &dyn Network) {
    if let Some(example) = preprocessor.example()
        && let Err(error) = network.make(&[&example], 0)
    {
        tracing::warn!(%error, "the network failed on its first batch");
    }
}

/// Loads one model strictly: pinned digests, every tensor, no other tensor (ENC-2).
pub(crate) fn load(model: &RegisteredModel, computing: Computing) -> Result<Loaded, ModelError> {
    let architecture = model.spec.architecture;
    if architecture.has_own_config() || architecture == Architecture::Torchscript {
        let bad = |reason: String| ModelError::BadWeights { path: model.weights_path(), reason };
        let preprocessor = Preprocessor::new(model, None).map_err(bad)?;
        return Ok(Loaded { preprocessor, network: published::load(model, computing)? });
    }
    let bytes = model.read_weights()?;
    let bad = |reason: String| ModelError::BadWeights { path: model.weights_path(), reason };
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| bad(format!("not a safetensors file: {error}")))?;
    let preprocessor = Preprocessor::new(model, Some(&file)).map_err(bad)?;
    let network = own(model, &file, computing.device).map_err(|error| bad(error.to_string()))?;
    Ok(Loaded { preprocessor, network })
}

/// The networks that are described in `model.toml` alone.
fn own(
    model: &RegisteredModel,
    file: &SafeTensors<'_>,
    device: Device,
) -> Result<Box<dyn Network>, WeightsError> {
    let mut weights = Weights::new(file, device);
    let spec = &model.spec;
    let network: Box<dyn Network> = match (spec.architecture, &spec.config) {
        (Architecture::PhotometryMm, Some(config)) => {
            Box::new(PhotometryMm::load(spec, config, &mut weights, device)?)
        }
        (Architecture::EfficientnetLite0, _) => {
            Box::new(EfficientnetLite0::load(&mut weights, device)?)
        }
        _ => return Err(WeightsError::NoConfig),
    };
    weights.finish()?;
    Ok(network)
}

/// Pictures whose channels lie beside each other in memory, as convolutions are quickest; what comes of them lies so, too.
///
/// # Shape
/// rows x channels x height x width, before and afterwards.
pub(crate) fn channels_last(pictures: &Tensor) -> Result<Tensor, TchError> {
    pictures.f_permute([0i64, 2, 3, 1])?.f_contiguous()?.f_permute([0i64, 3, 1, 2])
}

/// Folds `gamma (x - mean) / sqrt(variance + epsilon) + beta` into a convolution's weight and a bias, in double precision.
///
/// # Shape
/// `weight`: outputs x inputs x height x width; `norm`: gamma, beta, mean and variance, a number for each output.
pub(crate) fn fold(
    weight: &Tensor,
    norm: [&Tensor; 4],
    epsilon: f64,
) -> Result<(Tensor, Tensor), TchError> {
    let double = |tensor: &Tensor| tensor.f_to_kind(Kind::Double);
    let [gamma, beta, mean, variance] = norm;
    let scale = double(gamma)?.f_div(&double(variance)?.f_add_scalar(epsilon)?.f_sqrt()?)?;
    let weight = double(weight)?.f_mul(&scale.f_reshape([-1, 1, 1, 1])?)?;
    let bias = double(beta)?.f_sub(&double(mean)?.f_mul(&scale)?)?;
    Ok((weight.f_to_kind(Kind::Float)?, bias.f_to_kind(Kind::Float)?))
}

/// The numbers of a tensor, row by row.
pub(crate) fn to_rows(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}
