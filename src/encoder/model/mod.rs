//! `model.toml`: what the operator says about a model.

mod error;
mod kinds;
mod published;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::schema::{DIMENSION_MAX, Modality, Provenance};
use crate::vector::Metric;

pub use error::ModelError;
pub use kinds::{Architecture, Pooling, Preprocessing};
pub use published::PublishedConfig;

/// Name of the file in a model's folder.
pub(super) const MODEL_FILE: &str = "model.toml";

/// Name of the file with a published model's own sizes.
pub(super) const CONFIG_FILE: &str = "config.json";

/// Longest `model.toml` or `config.json`, in bytes.
const MODEL_FILE_BYTES_MAX: u64 = 1 << 20;

/// Largest width, depth, head count or hidden size of a network.
const LAYER_SIZE_MAX: usize = 16_384;

/// Most folders within a model's folder that the path of a file goes through.
const FILE_DEPTH_MAX: usize = 3;

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

/// How an archive is called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptConfig {
    /// Method of the module.
    #[serde(default = "forward")]
    pub method: String,
    /// Which of the returned tensors holds the vectors, where it returns several.
    #[serde(default)]
    pub output: usize,
}

fn forward() -> String {
    "forward".to_owned()
}

impl Default for ScriptConfig {
    fn default() -> Self {
        Self { method: forward(), output: 0 }
    }
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
    /// Safetensors file, or TorchScript archive, in the model's folder.
    pub weights: String,
    /// BLAKE3 of the weights file, 64 hexadecimal digits.
    pub weights_blake3: String,
    /// BLAKE3 of every other file that says what the network computes, by its path within the folder.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// How a payload becomes numbers.
    pub preprocessing: Preprocessing,
    /// What is made of an input where nothing is said; the network's other poolings can be asked for.
    pub pooling: Pooling,
    /// Components of a vector.
    pub dimension: usize,
    /// How the model's author compares its vectors: `cosine`, `l2` or `ip`.
    #[serde(deserialize_with = "metric")]
    pub metric: Metric,
    /// Inputs; for images the one input `image`. Those of published models follow from their architecture.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// Inputs that a payload, or a collection, may lack altogether.
    #[serde(default)]
    pub optional_inputs: Vec<String>,
    /// Safetensors file with golden inputs and outputs in the model's folder.
    pub goldens: Option<String>,
    /// Most tokens of an object that AION-1 looks at; all of them where nothing is said.
    pub tokens_max: Option<usize>,
    /// Whether tokens beyond `tokens_max` are left out; otherwise an object that has more is refused.
    #[serde(default)]
    pub truncate: bool,
    /// Sizes, for networks that come in several.
    pub config: Option<NetworkConfig>,
    /// How a TorchScript archive is called.
    pub script: Option<ScriptConfig>,
}

fn metric<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Metric, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

/// Reads a short text file.
pub(super) fn read_text(path: &Path) -> Result<String, ModelError> {
    let read = || {
        let length = std::fs::metadata(path)?.len();
        if length > MODEL_FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "it has {length} bytes, more than a model description has"
            )));
        }
        std::fs::read_to_string(path)
    };
    read().map_err(|source| ModelError::Read { path: path.to_owned(), source })
}

impl ModelSpec {
    /// Reads and checks the `model.toml` of a folder.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let path = folder.join(MODEL_FILE);
        let spec = Self::parse(&path, &read_text(&path)?)?;
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

    /// Where the vectors of this model's first output come from.
    ///
    /// The hash is that of the weights file; where further files say what the network computes, it is that of all of them.
    pub fn provenance(&self) -> Provenance {
        let preprocessing = match self.tokens_max {
            Some(count) => format!("{} tokens={count}", self.preprocessing.name()),
            None => self.preprocessing.name().to_owned(),
        };
        Provenance {
            encoder: self.id.clone(),
            weights_hash: self.whole_hash(),
            preprocessing,
            pooling: self.pooling.name().to_owned(),
        }
    }

    fn whole_hash(&self) -> String {
        let is_archive = self.architecture == Architecture::Torchscript;
        if self.files.is_empty() && !is_archive {
            return self.weights_blake3.clone();
        }
        let mut hasher = blake3::Hasher::new();
        let weights = std::iter::once((&self.weights, &self.weights_blake3));
        for (name, digest) in weights.chain(&self.files) {
            hasher.update(format!("{digest}  {name}\n").as_bytes());
        }
        if is_archive {
            let ScriptConfig { method, output } = self.script.clone().unwrap_or_default();
            // The order of the inputs is that of the arguments.
            let inputs = self.inputs.join(" ");
            hasher.update(format!("{method} {output} {inputs}\n").as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The modality as a type.
    pub fn modality(&self) -> Modality {
        Modality(self.modality.clone())
    }

    /// Required inputs, then optional ones, as the description names them.
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
        let goldens = self.goldens.as_ref().map(|file| ("goldens", file));
        for (key, file) in std::iter::once(("weights", &self.weights)).chain(goldens) {
            if !is_file_within(file, 1) {
                return Err((
                    key,
                    format!("is `{file}`; name a file of the model's own folder, without a path"),
                ));
            }
        }
        if let Some(file) = self.files.keys().find(|file| !is_file_within(file, FILE_DEPTH_MAX)) {
            return Err(("files", format!("has `{file}`; name files within the model's folder")));
        }
        if self.files.contains_key(&self.weights) {
            return Err(("files", format!("has `{}`, which weights_blake3 pins", self.weights)));
        }
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_digest = |digest: &str| digest.len() == 64 && digest.as_bytes().iter().all(is_digit);
        let digests = std::iter::once(("weights_blake3", &self.weights_blake3));
        for (key, digest) in digests.chain(self.files.values().map(|digest| ("files", digest))) {
            if !is_digest(digest) {
                let advice = "`sidereus-encoder digest FILE` prints it";
                return Err((key, format!("must be 64 lower-case hexadecimal digits; {advice}")));
            }
        }
        if self.dimension == 0 || self.dimension > DIMENSION_MAX {
            return Err((
                "dimension",
                format!("is {}; it must be 1 to {DIMENSION_MAX}", self.dimension),
            ));
        }
        self.validate_choice()?;
        self.validate_inputs()?;
        self.validate_architecture()
    }

    fn validate_choice(&self) -> Result<(), (&'static str, String)> {
        let listed = |names: Vec<&str>| names.join("`, `");
        let preprocessings = self.architecture.preprocessings();
        if !preprocessings.contains(&self.preprocessing) {
            let names = listed(preprocessings.iter().map(|each| each.name()).collect());
            return Err(("preprocessing", format!("must be `{names}` for this architecture")));
        }
        let poolings = self.architecture.poolings();
        if !poolings.contains(&self.pooling) {
            let names = listed(poolings.iter().map(|each| each.name()).collect());
            return Err(("pooling", format!("must be `{names}` for this architecture")));
        }
        if matches!(self.pooling, Pooling::Tokens | Pooling::TokenIds) {
            let advice = "ask for tokens with `sidereus encode --pooling`";
            return Err(("pooling", format!("must give a vector; {advice}")));
        }
        Ok(())
    }

    fn validate_inputs(&self) -> Result<(), (&'static str, String)> {
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
            Preprocessing::AsinhFluxV1 => self.validate_bands(),
            Preprocessing::ArraysV1 if self.inputs.is_empty() => {
                Err(("inputs", "names no input; name the archive's arguments in order".to_owned()))
            }
            Preprocessing::ArraysV1 | Preprocessing::Rgb224CatmullRomV1 => Ok(()),
            Preprocessing::GrzRgbAstroclipV1
            | Preprocessing::GrzRgbSteinV1
            | Preprocessing::DesiFluxV1
            | Preprocessing::AionCodecsV1 => match self.all_inputs().next() {
                Some(_) => Err((
                    "inputs",
                    "must be left out: they follow from this preprocessing".to_owned(),
                )),
                None => Ok(()),
            },
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
        let only = |key, is_given: bool, owner| match is_given {
            true => Err((key, format!("is for `{owner}` only"))),
            false => Ok(()),
        };
        if self.architecture != Architecture::Torchscript {
            only("script", self.script.is_some(), "torchscript")?;
        }
        if self.architecture != Architecture::Aion {
            let is_given = self.tokens_max.is_some() || self.truncate;
            only("tokens_max", is_given, "aion")?;
        }
        if self.tokens_max == Some(0) || (self.truncate && self.tokens_max.is_none()) {
            return Err(("tokens_max", "must be 1 or more, and is needed to truncate".to_owned()));
        }
        if self.architecture.has_own_config() && !self.files.contains_key(CONFIG_FILE) {
            let advice = "`sidereus encoder register FOLDER` writes it";
            return Err(("files", format!("must pin the model's {CONFIG_FILE}; {advice}")));
        }
        match (self.architecture, &self.config) {
            (Architecture::EfficientnetLite0, None) if self.dimension == 1_280 => Ok(()),
            (Architecture::EfficientnetLite0, None) => {
                Err(("dimension", format!("is {}; this architecture makes 1280", self.dimension)))
            }
            (Architecture::PhotometryMm, Some(config)) => config.validate(),
            (Architecture::PhotometryMm, None) => Err(("config", "is missing".to_owned())),
            (_, Some(_)) => Err(("config", "is not for this architecture".to_owned())),
            (_, None) => Ok(()),
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

/// Whether a path names a file within a folder, through at most so many parts.
fn is_file_within(path: &str, parts_max: usize) -> bool {
    let mut parts = Vec::new();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(part) => parts.push(part.to_string_lossy()),
            _ => return false,
        }
    }
    // A path that was written otherwise than it is read, as with a slash at its end, is refused.
    (1..=parts_max).contains(&parts.len()) && parts.join("/") == path
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
