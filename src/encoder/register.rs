//! Writing a `model.toml` for a folder with a published model's files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::model::{CONFIG_FILE, MODEL_FILE, read_text};
use super::{AION_MODALITIES, Architecture, ModelError, Pooling, PublishedConfig, RegisteredModel};
use crate::vector::Metric;

/// Names that weights files have, in the order in which they are looked for.
const WEIGHTS_FILES: [&str; 2] = ["weights.safetensors", "model.safetensors"];

/// What the operator says beside what the files say.
#[derive(Debug, Clone, Default)]
pub struct RegisterOptions {
    /// Which network, where the files leave it open.
    pub architecture: Option<Architecture>,
    /// What is made of an input where nothing is said; the network's own first pooling otherwise.
    pub pooling: Option<Pooling>,
    /// A sentence for people.
    pub description: Option<String>,
    /// How vectors are compared; cosine where nothing is said.
    pub metric: Option<Metric>,
    /// Most tokens that AION-1 looks at.
    pub tokens_max: Option<usize>,
    /// Whether a description that is there is written anew.
    pub replace: bool,
}

/// Writes the `model.toml` of a folder from its `config.json`, its weights, and their digests, and reads it back.
///
/// # Errors
/// [`ModelError`] that names the file that is missing, or what of it makes no model.
pub fn register(folder: &Path, options: &RegisterOptions) -> Result<RegisteredModel, ModelError> {
    let folder = std::path::absolute(folder)
        .map_err(|source| ModelError::Read { path: folder.to_owned(), source })?;
    let path = folder.join(MODEL_FILE);
    if path.exists() && !options.replace {
        let reason = "is there already; --replace writes it anew".to_owned();
        return Err(ModelError::BadValue { path, key: MODEL_FILE, reason });
    }
    let config_path = folder.join(CONFIG_FILE);
    let text = read_text(&config_path)?;
    let bad = |reason: String| ModelError::Parse { path: config_path.clone(), reason };
    let config = PublishedConfig::parse(&text).map_err(bad)?;
    let architecture = architecture(&config, options).map_err(bad)?;
    let pooling = options.pooling.unwrap_or_else(|| architecture.poolings()[0]);
    let dimension = config.dimension(architecture, pooling).map_err(bad)?;
    let weights = WEIGHTS_FILES.iter().find(|name| folder.join(name).is_file());
    let weights = *weights.ok_or_else(|| ModelError::Read {
        path: folder.join(WEIGHTS_FILES[0]),
        source: std::io::ErrorKind::NotFound.into(),
    })?;
    let mut files = BTreeMap::from([(CONFIG_FILE.to_owned(), digest(&config_path)?)]);
    if architecture == Architecture::Aion {
        codec_files(&folder, &config, &mut files)?;
        if files.len() == 1 {
            let reason = "no codecs/NAME/model.safetensors beside it: it would take nothing";
            return Err(bad(reason.to_owned()));
        }
    }
    let text = description(&Described {
        id: folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        architecture,
        pooling,
        dimension,
        weights,
        weights_digest: digest(&folder.join(weights))?,
        files,
        options,
    });
    super::ModelSpec::parse(&path, &text)?;
    // Beside it and renamed: a crash leaves the old description or the new one, never half of one.
    let beside = folder.join(format!("{MODEL_FILE}.new"));
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, &path))
        .map_err(|source| ModelError::Write { path: path.clone(), source })?;
    RegisteredModel::read(&folder)
}

/// Which network the files are of: as they say, or as the operator says where they do not.
fn architecture(
    config: &PublishedConfig,
    options: &RegisterOptions,
) -> Result<Architecture, String> {
    let told = config.architecture();
    let has_tower = |name: &str| config.sizes().get(name).is_some();
    match options.architecture {
        Some(given) if !given.has_own_config() => {
            Err("the model.toml of such a network is written by hand; see deploy/models/README.md"
                .to_owned())
        }
        Some(Architecture::AstroclipImage) if has_tower("image") => {
            Ok(Architecture::AstroclipImage)
        }
        Some(Architecture::AstroclipSpectrum) if has_tower("spectrum") => {
            Ok(Architecture::AstroclipSpectrum)
        }
        Some(given) if told.is_some_and(|told| told != given) => {
            Err("its `kind` is another than --architecture says".to_owned())
        }
        Some(given) => Ok(given),
        None => told.ok_or_else(|| {
            "it tells of no network that can be registered; say which with --architecture"
                .to_owned()
        }),
    }
}

/// Codecs of the modalities that the encoder takes, where their folders are there.
fn codec_files(
    folder: &Path,
    config: &PublishedConfig,
    files: &mut BTreeMap<String, String>,
) -> Result<(), ModelError> {
    let path = folder.join(CONFIG_FILE);
    let keys = config.domains().map_err(|reason| ModelError::Parse { path, reason })?;
    for info in AION_MODALITIES.iter().filter(|info| keys.iter().any(|key| key == info.key)) {
        for file in ["config.json", "model.safetensors"] {
            let name = format!("codecs/{}/{file}", info.codec);
            let path = folder.join(&name);
            if path.is_file() {
                files.insert(name, digest(&path)?);
            }
        }
    }
    Ok(())
}

struct Described<'a> {
    id: String,
    architecture: Architecture,
    pooling: Pooling,
    dimension: usize,
    weights: &'a str,
    weights_digest: String,
    files: BTreeMap<String, String>,
    options: &'a RegisterOptions,
}

fn description(it: &Described<'_>) -> String {
    let (name, modality, about) = words(it.architecture);
    let about = it.options.description.clone().unwrap_or_else(|| about.to_owned());
    let mut text = String::new();
    let mut line = |key: &str, value: &str| {
        // A basic string of TOML is quoted as one of JSON.
        let _infallible = writeln!(text, "{key} = {}", serde_json::Value::from(value));
    };
    line("id", &it.id);
    line("architecture", name);
    line("modality", modality);
    line("description", &about);
    line("weights", it.weights);
    line("weights_blake3", &it.weights_digest);
    line("preprocessing", it.architecture.preprocessings()[0].name());
    line("pooling", it.pooling.name());
    line("metric", &it.options.metric.unwrap_or(Metric::Cosine).to_string());
    let _infallible = writeln!(text, "dimension = {}", it.dimension);
    if let Some(count) = it.options.tokens_max {
        let _infallible = writeln!(text, "tokens_max = {count}");
    }
    let _infallible = writeln!(text, "\n[files]");
    for (name, digest) in &it.files {
        let _infallible = writeln!(text, "\"{name}\" = \"{digest}\"");
    }
    text
}

/// Name, modality and a sentence.
fn words(architecture: Architecture) -> (&'static str, &'static str, &'static str) {
    match architecture {
        Architecture::AstroclipImage => (
            "astroclip-image",
            "image",
            "AstroCLIP, image tower: g, r, z cutouts in the space that it shares with spectra",
        ),
        Architecture::AstroclipSpectrum => (
            "astroclip-spectrum",
            "spectrum",
            "AstroCLIP, spectrum tower: DESI spectra in the space that it shares with images",
        ),
        Architecture::Astrodino => {
            ("astrodino", "image", "AstroDINO: self-supervised embedding of g, r, z cutouts")
        }
        Architecture::Specformer => {
            ("specformer", "spectrum", "SpecFormer: self-supervised embedding of DESI spectra")
        }
        Architecture::SteinMoco => {
            ("stein-moco", "image", "Stein et al. 2021: contrastive embedding of g, r, z cutouts")
        }
        Architecture::Aion => {
            ("aion", "multimodal", "AION-1: one embedding of whatever was observed of an object")
        }
        Architecture::PhotometryMm => ("photometry-mm", "photometry", ""),
        Architecture::EfficientnetLite0 => ("efficientnet-lite0", "image", ""),
        Architecture::Torchscript => ("torchscript", "image", ""),
    }
}

/// BLAKE3 of a file, read piece by piece.
///
/// # Errors
/// [`ModelError::Read`].
pub fn digest(path: &Path) -> Result<String, ModelError> {
    let hash = || -> std::io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut std::fs::File::open(path)?, &mut hasher)?;
        Ok(hasher.finalize().to_hex().to_string())
    };
    hash().map_err(|source| ModelError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(config: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().expect("a folder");
        let folder = directory.path().join("dino");
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join(CONFIG_FILE), config).expect("a file");
        std::fs::write(folder.join("weights.safetensors"), b"weights").expect("a file");
        (directory, folder)
    }

    const DINO: &str = r#"{"kind": "astrodino", "hparams": {"embed_dim": 32, "img_size": 48}}"#;

    #[test]
    fn a_folder_is_described_by_what_it_holds() {
        let (_directory, folder) = folder(DINO);
        let options = RegisterOptions {
            description: Some("a \"quoted\"\nsentence".to_owned()),
            ..RegisterOptions::default()
        };
        let model = register(&folder, &options).expect("registers");
        assert_eq!((model.spec.id.as_str(), model.spec.dimension), ("dino", 32));
        assert_eq!(model.spec.description, "a \"quoted\"\nsentence");
        let poolings: Vec<_> =
            model.outputs().into_iter().map(|(_, output)| output.pooling).collect();
        assert_eq!(poolings, ["cls", "mean", "tokens"]);
        assert_eq!(model.read_weights().expect("its digest is pinned"), b"weights");
        let error = register(&folder, &options).expect_err("it is there").to_string();
        assert!(error.contains("--replace"), "{error}");
        let pooling = Some(Pooling::Mean);
        let again = RegisterOptions { replace: true, pooling, ..RegisterOptions::default() };
        assert_eq!(register(&folder, &again).expect("registers").spec.pooling, Pooling::Mean);
        std::fs::write(folder.join(CONFIG_FILE), DINO.replace("48", "60")).expect("a file");
        let error = RegisteredModel::read(&folder).expect_err("another digest");
        assert!(matches!(error, ModelError::WrongDigest { .. }), "{error}");
    }

    #[test]
    fn folders_that_are_no_model_are_refused() {
        let refused = |config: &str| {
            let (_directory, folder) = folder(config);
            register(&folder, &RegisterOptions::default()).expect_err(config).to_string()
        };
        assert!(refused("{\"kind\": \"other\"}").contains("--architecture"));
        assert!(refused("{\"kind\": \"torchscript\"}").contains("--architecture"));
        assert!(refused("{\"kind\": \"astrodino\"}").contains("embed_dim"));
        assert!(refused("nonsense").contains("config.json"));
        let (_directory, folder) = folder(DINO);
        std::fs::remove_file(folder.join("weights.safetensors")).expect("removed");
        let error = register(&folder, &RegisterOptions::default()).expect_err("no weights");
        assert!(error.to_string().contains("weights.safetensors"), "{error}");
    }
}
