//! The operator's directory of models: one folder each.

use std::path::{Path, PathBuf};

use super::model::MODEL_FILE;
use super::{ModelError, ModelSpec};

/// A model whose description is in order.
#[derive(Debug, Clone)]
pub struct RegisteredModel {
    /// Its description.
    pub spec: ModelSpec,
    /// Its folder.
    pub folder: PathBuf,
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
            match ModelSpec::read(&folder) {
                Ok(spec) => registry.models.push(RegisteredModel { spec, folder }),
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
        Ok(Self { spec: ModelSpec::read(&absolute)?, folder: absolute })
    }

    /// Place of the weights file.
    pub fn weights_path(&self) -> PathBuf {
        self.folder.join(&self.spec.weights)
    }

    /// Place of the golden inputs and outputs.
    pub fn goldens_path(&self) -> PathBuf {
        self.folder.join(&self.spec.goldens)
    }

    /// Reads the weights file; its bytes are returned only when their digest is the pinned one (ENC-2).
    pub fn read_weights(&self) -> Result<Vec<u8>, ModelError> {
        let path = self.weights_path();
        let bytes = std::fs::read(&path)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let found = blake3::hash(&bytes).to_hex().to_string();
        if found != self.spec.weights_blake3 {
            return Err(ModelError::WrongDigest {
                path,
                expected: self.spec.weights_blake3.clone(),
                found,
            });
        }
        Ok(bytes)
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
