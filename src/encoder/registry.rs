//! The operator's directory of models: one folder each.

use std::path::{Path, PathBuf};

use super::model::{CONFIG_FILE, MODEL_FILE, read_text};
use super::{
    Architecture, ModelError, ModelOutput, ModelSpec, Pooling, PublishedConfig, preprocess,
};
use crate::schema::SpaceForm;

/// A model whose description is in order.
#[derive(Debug, Clone)]
pub struct RegisteredModel {
    /// Its description.
    pub spec: ModelSpec,
    /// Its folder.
    pub folder: PathBuf,
    /// The published model's own sizes, where the architecture has them.
    pub config: Option<PublishedConfig>,
}

/// A folder whose model is not served.
#[derive(Debug)]
pub struct BrokenModel {
    /// Name of the folder.
    pub id: String,
    /// What is wrong.
    pub error: ModelError,
}

/// What the operator's directory holds.
#[derive(Debug, Default)]
pub struct Registry {
    /// Models in order, sorted by id.
    pub models: Vec<RegisteredModel>,
    /// Folders with a `model.toml` that cannot be served, sorted by name.
    pub broken: Vec<BrokenModel>,
}

impl Registry {
    /// Reads `DIR/*/model.toml`. A broken model does not keep the others from being served.
    ///
    /// # Errors
    /// [`ModelError::Read`] when the directory itself cannot be read.
    pub fn scan(directory: &Path) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Read { path: directory.to_owned(), source };
        let mut registry = Self::default();
        let mut folders = Vec::new();
        for entry in std::fs::read_dir(directory).map_err(failed)? {
            let folder = entry.map_err(failed)?.path();
            if folder.join(MODEL_FILE).exists() {
                folders.push(folder);
            }
        }
        folders.sort();
        for folder in folders {
            match RegisteredModel::read(&folder) {
                Ok(model) => registry.models.push(model),
                Err(error) => {
                    let id = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    registry.broken.push(BrokenModel { id, error });
                }
            }
        }
        Ok(registry)
    }
}

impl RegisteredModel {
    /// Reads one model's folder.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let absolute = std::path::absolute(folder)
            .map_err(|source| ModelError::Read { path: folder.to_owned(), source })?;
        let spec = ModelSpec::read(&absolute)?;
        let mut model = Self { spec, folder: absolute, config: None };
        if model.spec.architecture.has_own_config() {
            let path = model.folder.join(CONFIG_FILE);
            let text = read_text(&path)?;
            model.verify(CONFIG_FILE, text.as_bytes())?;
            let bad = |reason: String| ModelError::Parse { path: path.clone(), reason };
            let config = PublishedConfig::parse(&text).map_err(bad)?;
            let made =
                config.dimension(model.spec.architecture, model.spec.pooling).map_err(bad)?;
            if made != model.spec.dimension {
                return Err(ModelError::BadValue {
                    path: model.folder.join(MODEL_FILE),
                    key: "dimension",
                    reason: format!("is {}; {CONFIG_FILE} makes it {made}", model.spec.dimension),
                });
            }
            model.config = Some(config);
        }
        Ok(model)
    }

    /// What the model can make of an input; that of its description first.
    pub fn outputs(&self) -> Vec<(Pooling, ModelOutput)> {
        let architecture = self.spec.architecture;
        let first = std::iter::once(self.spec.pooling);
        let poolings = architecture.poolings().iter().copied();
        let all = first.chain(poolings.filter(|pooling| *pooling != self.spec.pooling));
        let output = |pooling: Pooling| {
            let dimension = match &self.config {
                Some(config) => config.dimension(architecture, pooling).ok()?,
                None => self.spec.dimension,
            };
            let form = match pooling {
                Pooling::Tokens => SpaceForm::Tokens,
                Pooling::TokenIds => SpaceForm::TokenIds,
                _ => SpaceForm::Vector,
            };
            Some((pooling, ModelOutput { pooling: pooling.name().to_owned(), form, dimension }))
        };
        all.filter_map(output).collect()
    }

    /// Names of what it takes, and of those among them that an input may lack.
    pub fn inputs(&self) -> (Vec<String>, Vec<String>) {
        preprocess::inputs(self)
    }

    /// Reads a file of the model's folder; its bytes are returned only when their digest is the pinned one (ENC-2).
    pub fn read_file(&self, name: &str) -> Result<Vec<u8>, ModelError> {
        let path = self.folder.join(name);
        let bytes = std::fs::read(&path).map_err(|source| ModelError::Read { path, source })?;
        self.verify(name, &bytes)?;
        Ok(bytes)
    }

    fn verify(&self, name: &str, bytes: &[u8]) -> Result<(), ModelError> {
        let path = || self.folder.join(name);
        let expected = match self.spec.files.get(name) {
            Some(digest) => digest,
            None if name == self.spec.weights => &self.spec.weights_blake3,
            None => {
                let reason = format!("does not pin `{name}`, which the model needs");
                let path = self.folder.join(MODEL_FILE);
                return Err(ModelError::BadValue { path, key: "files", reason });
            }
        };
        let found = blake3::hash(bytes).to_hex().to_string();
        if found == *expected {
            return Ok(());
        }
        Err(ModelError::WrongDigest { path: path(), expected: expected.clone(), found })
    }

    /// Bytes of all files that are loaded.
    pub fn bytes(&self) -> u64 {
        let files = self.spec.files.keys().chain(std::iter::once(&self.spec.weights));
        let length =
            |name: &String| std::fs::metadata(self.folder.join(name)).map_or(0, |it| it.len());
        files.map(length).sum()
    }

    /// Whether the model brings code of its own.
    pub fn is_code(&self) -> bool {
        self.spec.architecture == Architecture::Torchscript
    }

    /// Place of the weights file.
    pub fn weights_path(&self) -> PathBuf {
        self.folder.join(&self.spec.weights)
    }

    /// Place of the golden inputs and outputs, where it has any.
    pub fn goldens_path(&self) -> Option<PathBuf> {
        self.spec.goldens.as_ref().map(|name| self.folder.join(name))
    }

    /// Reads the weights file.
    pub fn read_weights(&self) -> Result<Vec<u8>, ModelError> {
        self.read_file(&self.spec.weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoder::model::tests::PHOTOMETRY;

    fn write_model(directory: &Path, id: &str, text: &str) {
        let folder = directory.join(id);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join(MODEL_FILE), text).expect("a file");
    }

    #[test]
    fn a_broken_model_does_not_hide_the_others() {
        let directory = tempfile::tempdir().expect("a folder");
        write_model(directory.path(), "photometry-mm", PHOTOMETRY);
        write_model(directory.path(), "broken", "id = 3");
        write_model(directory.path(), "renamed", PHOTOMETRY);
        std::fs::create_dir(directory.path().join("no-model-here")).expect("a folder");
        std::fs::write(directory.path().join("README"), "text").expect("a file");
        let registry = Registry::scan(directory.path()).expect("scans");
        let ids: Vec<_> = registry.models.iter().map(|model| model.spec.id.as_str()).collect();
        assert_eq!(ids, ["photometry-mm"]);
        let broken: Vec<_> = registry.broken.iter().map(|model| model.id.as_str()).collect();
        assert_eq!(broken, ["broken", "renamed"]);
        let message = registry.broken[1].error.to_string();
        assert!(message.contains("the folder is named `renamed`"), "{message}");
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = Registry::scan(Path::new("/nowhere/models")).expect_err("must fail");
        assert!(error.to_string().contains("/nowhere/models"), "{error}");
    }

    #[test]
    fn weights_with_another_digest_are_refused() {
        let directory = tempfile::tempdir().expect("a folder");
        let bytes = b"weights".to_vec();
        let digest = blake3::hash(&bytes).to_hex().to_string();
        write_model(
            directory.path(),
            "photometry-mm",
            &PHOTOMETRY.replace(&"0".repeat(64), &digest),
        );
        let folder = directory.path().join("photometry-mm");
        std::fs::write(folder.join("weights.safetensors"), &bytes).expect("a file");
        let model = RegisteredModel::read(&folder).expect("reads");
        assert_eq!(model.read_weights().expect("right digest"), bytes);
        std::fs::write(folder.join("weights.safetensors"), b"Weights").expect("a file");
        let error = model.read_weights().expect_err("must fail");
        assert!(
            matches!(&error, ModelError::WrongDigest { expected, .. } if *expected == digest),
            "{error}"
        );
        std::fs::remove_file(folder.join("weights.safetensors")).expect("removed");
        assert!(matches!(model.read_weights(), Err(ModelError::Read { .. })));
    }
}
