//! From a model's folder to a network that is ready to compute.

use safetensors::SafeTensors;
use sidereus::encoder::{
    Architecture, ModelError, ModelSpec, Network, Preprocessor, RegisteredModel, Registry,
};
use tch::{Device, Kind, TchError, Tensor};

use super::efficientnet_lite0::EfficientnetLite0;
use super::photometry_mm::PhotometryMm;
use super::weights::{Weights, WeightsError};

/// A network and what goes before it.
pub(crate) struct Loaded {
    /// From payload to features.
    pub(crate) preprocessor: Preprocessor,
    /// From features to vectors.
    pub(crate) network: Box<dyn Network>,
}

/// All models of a directory.
pub(crate) struct LoadedModels {
    /// Models that are served.
    pub(crate) loaded: Vec<(ModelSpec, Loaded)>,
    /// Folder names of models that are not, with the reason.
    pub(crate) broken: Vec<(String, String)>,
}

/// Loads all models that can be loaded; the others are logged and remembered with what is wrong with them.
pub(crate) fn load_all(registry: Registry, device: Device) -> LoadedModels {
    let broken =
        registry.broken.into_iter().map(|model| (model.id, model.error.to_string())).collect();
    let mut models = LoadedModels { loaded: Vec::new(), broken };
    for model in registry.models {
        match load(&model, device) {
            Ok(loaded) => models.loaded.push((model.spec, loaded)),
            Err(error) => models.broken.push((model.spec.id, error.to_string())),
        }
    }
    models.broken.sort();
    for (model, reason) in &models.broken {
        tracing::error!(%model, %reason, "a model is broken and will not be served");
    }
    models
}

/// Loads one model strictly: pinned digest, every tensor, no other tensor (ENC-2).
pub(crate) fn load(model: &RegisteredModel, device: Device) -> Result<Loaded, ModelError> {
    let bytes = model.read_weights()?;
    let bad = |reason: String| ModelError::BadWeights { path: model.weights_path(), reason };
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| bad(format!("not a safetensors file: {error}")))?;
    let preprocessor = Preprocessor::new(&model.spec, &file).map_err(bad)?;
    let network = network(&model.spec, &file, device).map_err(|error| bad(error.to_string()))?;
    Ok(Loaded { preprocessor, network })
}

fn network(
    spec: &ModelSpec,
    file: &SafeTensors<'_>,
    device: Device,
) -> Result<Box<dyn Network>, WeightsError> {
    let mut weights = Weights::new(file, device);
    let network: Box<dyn Network> = match (spec.architecture, &spec.config) {
        (Architecture::PhotometryMm, Some(config)) => {
            Box::new(PhotometryMm::load(spec, config, &mut weights, device)?)
        }
        (Architecture::PhotometryMm, None) => return Err(WeightsError::NoConfig),
        (Architecture::EfficientnetLite0, _) => {
            Box::new(EfficientnetLite0::load(&mut weights, device)?)
        }
    };
    weights.finish()?;
    Ok(network)
}

/// The numbers of a tensor, row by row.
pub(crate) fn to_rows(tensor: &Tensor) -> Result<Vec<f32>, TchError> {
    let tensor = tensor.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut values = vec![0.0; tensor.numel()];
    tensor.f_copy_data(&mut values, tensor.numel())?;
    Ok(values)
}
