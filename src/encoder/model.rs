//! `model.toml`: what the operator says about a model.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::class::Class;
use crate::schema::{DIMENSION_MAX, Modality, Provenance};
use crate::vector::Metric;

/// Name of the file in a model's folder.
pub(super) const MODEL_FILE: &str = "model.toml";

/// Longest `model.toml`, in bytes.
const MODEL_FILE_BYTES_MAX: u64 = 1 << 20;

/// Largest width, depth, head count or hidden size of a network.
const LAYER_SIZE_MAX: usize = 16_384;

/// Why a model of the operator's directory is not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, an unknown or missing key, or a value of the wrong type.
    #[error("{} is not a model description: {reason}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said, with the line.
        reason: String,
    },
    /// A value that makes no sense.
    #[error("{}: `{key}` {reason}", path.display())]
    BadValue {
        /// The file.
        path: PathBuf,
        /// Key of the value.
        key: &'static str,
        /// What is wrong and what to write.
        reason: String,
    },
    /// The weights are not the ones that were pinned.
    #[error("{}: its BLAKE3 is {found}, model.toml pins {expected}; fetch the right file, or pin the new digest if the change is meant", path.display())]
    WrongDigest {
        /// The weights file.
        path: PathBuf,
        /// The pinned digest.
        expected: String,
        /// Digest of the file.
        found: String,
    },
    /// The weights file does not fit the architecture.
    #[error("{}: {reason}", path.display())]
    BadWeights {
        /// The weights file.
        path: PathBuf,
        /// Which tensor is missing, unknown, or of the wrong type or shape.
        reason: String,
    },
}

impl ModelError {
    /// What the operator must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Read { .. } => Class::NotFound,
            Self::Parse { .. } | Self::BadValue { .. } => Class::Invalid,
            Self::WrongDigest { .. } | Self::BadWeights { .. } => Class::Corrupt,
        }
    }
}

/// The networks that this program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// A masked-modelling transformer over the bands of a catalogue.
    PhotometryMm,
    /// EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946, without squeeze-and-excitation), up to the pooled features.
    EfficientnetLite0,
}

/// How a payload becomes numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Preprocessing {
    /// Asinh magnitudes and their errors, standardised with constants of the weights file.
    #[serde(rename = "asinh-flux-v1")]
    AsinhFluxV1,
    /// Whole image to 224 x 224 RGB, `(byte - 127) / 128`.
    #[serde(rename = "rgb224-catmullrom-127-128-v1")]
    Rgb224CatmullRomV1,
}

impl Preprocessing {
    /// The name that goes into the provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::AsinhFluxV1 => "asinh-flux-v1",
            Self::Rgb224CatmullRomV1 => "rgb224-catmullrom-127-128-v1",
        }
    }
}

/// How tokens or feature maps become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// The posterior of every band and all tokens side by side, then a linear map that whitens them.
    PosteriorWhiten,
    /// Mean over the feature map.
    GlobalAverage,
}

impl Pooling {
    /// The name that goes into the provenance.
    pub fn name(self) -> &'static str {
        match self {
            Self::PosteriorWhiten => "posterior-whiten",
            Self::GlobalAverage => "global-average",
        }
    }
}

/// Sizes of a transformer over bands.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkConfig {
    /// Bands, one token each, in order.
    pub bands: Vec<String>,
    /// Components of a token.
    pub width: usize,
    /// Blocks.
    pub depth: usize,
    /// Attention heads; they divide the width.
    pub heads: usize,
    /// Components between the two linear maps of a block.
    pub hidden: usize,
}

/// A checked `model.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// The name by which clients choose the model; the folder has the same name.
    pub id: String,
    /// Which network.
    pub architecture: Architecture,
    /// What kind of observation it takes: `photometry`, `image`.
    pub modality: String,
    /// A sentence for people.
    pub description: String,
    /// Safetensors file in the model's folder.
    pub weights: String,
    /// BLAKE3 of the weights file, 64 hexadecimal digits.
    pub weights_blake3: String,
    /// How a payload becomes numbers.
    pub preprocessing: Preprocessing,
    /// How tokens or feature maps become one vector.
    pub pooling: Pooling,
    /// Components of a vector.
    pub dimension: usize,
    /// How the model's author compares its vectors: `cosine`, `l2` or `ip`.
    #[serde(deserialize_with = "metric")]
    pub metric: Metric,
    /// Inputs; for images the one input `image`.
    pub inputs: Vec<String>,
    /// Inputs that a payload, or a collection, may lack altogether.
    pub optional_inputs: Vec<String>,
    /// Safetensors file with golden inputs and outputs in the model's folder.
    pub goldens: String,
    /// Sizes, for networks that come in several.
    pub config: Option<NetworkConfig>,
}

fn metric<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Metric, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

impl ModelSpec {
    /// Reads and checks the `model.toml` of a folder.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(MODEL_FILE);
        let read = |path: &Path| {
            let length = std::fs::metadata(path)?.len();
            if length > MODEL_FILE_BYTES_MAX {
                return Err(std::io::Error::other(format!(
                    "it has {length} bytes, more than a model description has"
                )));
            }
            std::fs::read_to_string(path)
        };
        let text = read(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
        let spec = Self::parse(&path, &text)?;
        let folder_name = folder.file_name().unwrap_or_default();
        if folder_name != std::ffi::OsStr::new(&spec.id) {
            let reason = format!(
                "is `{}`, but the folder is named `{}`; name both the same",
                spec.id,
                folder_name.display()
            );
            return Err(ModelError::BadValue { path, key: "id", reason });
        }
        Ok(spec)
    }

    /// Parses and checks the text of a `model.toml`; `path` is for the messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ModelError> {
        let spec: Self = toml::from_str(text).map_err(|error| ModelError::Parse {
            path: path.to_owned(),
            reason: one_line(&error, text),
        })?;
        spec.validate().map_err(|(key, reason)| ModelError::BadValue {
            path: path.to_owned(),
            key,
            reason,
        })?;
        Ok(spec)
    }

    /// Where the vectors of this model come from.
    pub fn provenance(&self) -> Provenance {
        Provenance {
            encoder: self.id.clone(),
            weights_hash: self.weights_blake3.clone(),
            preprocessing: self.preprocessing.name().to_owned(),
            pooling: self.pooling.name().to_owned(),
        }
    }

    /// The modality as a type.
    pub fn modality(&self) -> Modality {
        Modality(self.modality.clone())
    }

    /// Required inputs, then optional ones.
    pub fn all_inputs(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().chain(&self.optional_inputs).map(String::as_str)
    }

    fn validate(&self) -> Result<(), (&'static str, String)> {
        for (key, name) in [("id", &self.id), ("modality", &self.modality)] {
            if !is_name(name) {
                let rule = "must be letters, digits, `-`, `_` or `.`, beginning with a letter";
                return Err((key, format!("is `{name}`; it {rule}")));
            }
        }
        for (key, file) in [("weights", &self.weights), ("goldens", &self.goldens)] {
            if !is_file_name(file) {
                return Err((
                    key,
                    format!("is `{file}`; name a file of the model's own folder, without a path"),
                ));
            }
        }
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if self.weights_blake3.len() != 64 || !self.weights_blake3.as_bytes().iter().all(is_digit) {
            let advice = "`sidereus-encoder digest FILE` prints it";
            return Err((
                "weights_blake3",
                format!("must be 64 lower-case hexadecimal digits; {advice}"),
            ));
        }
        if self.dimension == 0 || self.dimension > DIMENSION_MAX {
            return Err((
                "dimension",
                format!("is {}; it must be 1 to {DIMENSION_MAX}", self.dimension),
            ));
        }
        self.validate_inputs()?;
        self.validate_architecture()
    }

    fn validate_inputs(&self) -> Result<(), (&'static str, String)> {
        if self.inputs.is_empty() {
            return Err(("inputs", "names no input".to_owned()));
        }
        let mut seen = std::collections::HashSet::new();
        for input in self.all_inputs() {
            if !is_name(input) {
                return Err(("inputs", format!("has `{input}`, which is not a name")));
            }
            if !seen.insert(input) {
                return Err(("inputs", format!("names `{input}` twice")));
            }
        }
        let is_image = self.inputs == ["image"] && self.optional_inputs.is_empty();
        match self.preprocessing {
            Preprocessing::Rgb224CatmullRomV1 if !is_image => Err((
                "inputs",
                "must be [\"image\"], and optional_inputs empty, with this preprocessing"
                    .to_owned(),
            )),
            Preprocessing::Rgb224CatmullRomV1 => Ok(()),
            Preprocessing::AsinhFluxV1 => self.validate_bands(),
        }
    }

    fn validate_bands(&self) -> Result<(), (&'static str, String)> {
        let Some(config) = &self.config else {
            return Err(("config", "is missing; this preprocessing needs its bands".to_owned()));
        };
        let expected = |prefix: &str| {
            config.bands.iter().map(|band| format!("{prefix}_{band}")).collect::<Vec<_>>()
        };
        let required = [expected("flux"), expected("ivar")].concat();
        if self.inputs != required {
            return Err(("inputs", format!("must be {required:?} for these bands")));
        }
        let optional = expected("extinction");
        if !self.optional_inputs.is_empty() && self.optional_inputs != optional {
            return Err((
                "optional_inputs",
                format!("must be {optional:?}, or empty, for these bands"),
            ));
        }
        Ok(())
    }

    fn validate_architecture(&self) -> Result<(), (&'static str, String)> {
        let (preprocessing, pooling) = match self.architecture {
            Architecture::PhotometryMm => (Preprocessing::AsinhFluxV1, Pooling::PosteriorWhiten),
            Architecture::EfficientnetLite0 => {
                (Preprocessing::Rgb224CatmullRomV1, Pooling::GlobalAverage)
            }
        };
        if self.preprocessing != preprocessing {
            return Err((
                "preprocessing",
                format!("must be `{}` for this architecture", preprocessing.name()),
            ));
        }
        if self.pooling != pooling {
            return Err(("pooling", format!("must be `{}` for this architecture", pooling.name())));
        }
        match (self.architecture, &self.config) {
            (Architecture::EfficientnetLite0, None) if self.dimension == 1_280 => Ok(()),
            (Architecture::EfficientnetLite0, None) => {
                Err(("dimension", format!("is {}; this architecture makes 1280", self.dimension)))
            }
            (Architecture::EfficientnetLite0, Some(_)) => {
                Err(("config", "is not for this architecture, which has one size".to_owned()))
            }
            (Architecture::PhotometryMm, Some(config)) => config.validate(),
            (Architecture::PhotometryMm, None) => Err(("config", "is missing".to_owned())),
        }
    }
}

impl NetworkConfig {
    fn validate(&self) -> Result<(), (&'static str, String)> {
        let sizes = [self.bands.len(), self.width, self.depth, self.heads, self.hidden];
        if sizes.iter().any(|size| !(1..=LAYER_SIZE_MAX).contains(size)) {
            return Err(("config", format!("has a size outside 1 to {LAYER_SIZE_MAX}")));
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err((
                "config",
                format!("has width {}, which {} heads do not divide", self.width, self.heads),
            ));
        }
        Ok(())
    }
}

fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && characters.all(|each| each.is_ascii_alphanumeric() || matches!(each, '-' | '_' | '.'))
        && name.len() <= crate::schema::NAME_LEN_MAX
}

fn is_file_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(std::path::Component::Normal(part)), None) if *part == *name)
}

/// The parser's message on one line, with the line of the file.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map(|before| before.matches('\n').count() + 1);
    let message = error.message().replace('\n', " ");
    match line {
        Some(line) => format!("line {line}: {message}"),
        None => message,
    }
}

#[cfg(test)]
pub(super) mod tests;
