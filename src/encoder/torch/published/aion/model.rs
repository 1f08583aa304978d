//! AION-1 as a whole: codecs, encoder, and what can be made of their tokens.

use std::collections::BTreeMap;

use serde_json::Value;
use sidereus::encoder::{
    AION_CATALOG_OFFSET, Features, Made, ModelError, Pooling, RegisteredModel, aion_modality,
};
use sidereus::wire::v1::{TokenRun, TokenSequence};
use tch::{Kind, TchError, Tensor};

use super::super::super::device::Computing;
use super::super::super::staging::Staging;
use super::super::super::weights::WeightsError;
use super::super::network::{parsed, stacked, states, strictly, vectors};
use super::super::trace::Trace;
use super::encoder::AionError;
use super::image_codec::ImageError;
use super::{
    AionConfig, AionEncoder, CatalogCodec, ImageCodec, ScalarCodec, ScalarConfig, SegmapCodec,
    Spectra, SpectrumCodec, Tokens,
};

/// Numbers of an object of a catalogue.
const FIELDS: usize = 5;

/// The encoder and its codecs, by the names of their folders.
pub(crate) struct AionModel {
    encoder: AionEncoder,
    codecs: BTreeMap<&'static str, Codec>,
    tokens_max: i64,
    computing: Computing,
}

enum Codec {
    Image(ImageCodec),
    Spectrum(SpectrumCodec),
    Map(SegmapCodec),
    Catalog(CatalogCodec),
    Scalar(ScalarCodec),
}

/// Why objects cannot be encoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    /// The encoder refuses tokens.
    #[error(transparent)]
    Encoder(#[from] AionError),
    /// The codec of images refuses them.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// libtorch failed.
    #[error(transparent)]
    Torch(#[from] TchError),
    /// Something that no codec was made for.
    #[error("no codec for `{name}`")]
    NoCodec {
        /// The array.
        name: String,
    },
}

impl AionModel {
    /// Loads the encoder from the model's weights, and every codec that is among its files.
    pub(crate) fn load(model: &RegisteredModel, computing: Computing) -> Result<Self, ModelError> {
        let bad = |reason: String| ModelError::BadWeights { path: model.weights_path(), reason };
        let no_config = || bad(WeightsError::NoConfig.to_string());
        let sizes = model.config.as_ref().ok_or_else(no_config)?.sizes();
        let config: AionConfig = parsed(sizes).map_err(|error| bad(error.to_string()))?;
        let mut codecs = BTreeMap::new();
        for info in config.domains_in.iter().filter_map(|key| aion_modality(key)) {
            let file = format!("codecs/{}/model.safetensors", info.codec);
            if model.spec.files.contains_key(&file) && !codecs.contains_key(info.codec) {
                codecs.insert(info.codec, codec(model, info.codec, &file, computing)?);
            }
        }
        let encoder = strictly(model, &model.spec.weights, computing, |weights| {
            AionEncoder::load(weights, &config)
        })?;
        let tokens_max = model.spec.tokens_max.map_or(i64::MAX, |count| count as i64);
        Ok(Self { encoder, codecs, tokens_max, computing })
    }

    /// One of the outputs for rows of one layout.
    pub(crate) fn make(
        &self,
        rows: &[&Features],
        pooling: Pooling,
        staging: &Staging,
    ) -> Result<Vec<Made>, MakeError> {
        let tokens = self.tokens(rows, staging)?;
        if pooling == Pooling::TokenIds {
            return ids(&tokens, rows.len());
        }
        let encoded = self.encoder.forward(&tokens, self.tokens_max, &mut Trace::off())?;
        if pooling == Pooling::Tokens {
            let count = |part: &Tokens| part.ids.numel() / rows.len().max(1);
            let runs: Vec<_> = tokens.iter().map(|part| (&*part.modality, count(part))).collect();
            Ok(states(&encoded.embeddings, &runs)?)
        } else {
            let [_, valid] = encoded.means()?;
            Ok(vectors(&valid)?)
        }
    }

    /// Tokens of all modalities of the rows.
    fn tokens(&self, rows: &[&Features], staging: &Staging) -> Result<Vec<Tokens>, MakeError> {
        let layout = rows.first().map(|row| row.layout()).unwrap_or_default();
        let mut tokens: Vec<Tokens> = Vec::new();
        for (place, part) in layout.iter().enumerate() {
            let (key, array) = part.name.split_once('.').unwrap_or((&part.name, ""));
            let input = || stacked(rows, place, (staging, place), self.computing);
            let ids = match array {
                "ids" => input()?.f_to_kind(Kind::Int64)?,
                "flux" => self.spectrum_ids(key, rows, place, staging)?,
                // Read with the flux, which comes before them.
                "ivar" | "mask" | "wavelength" => continue,
                _ => self.ids(key, &input()?, &part.bands)?,
            };
            tokens.push(Tokens { modality: key.to_owned(), ids, missing: None });
        }
        Ok(tokens)
    }

    fn codec(&self, key: &str) -> Result<&Codec, MakeError> {
        let codec = aion_modality(key).and_then(|info| self.codecs.get(info.codec));
        codec.ok_or_else(|| MakeError::NoCodec { name: key.to_owned() })
    }

    fn ids(&self, key: &str, input: &Tensor, bands: &[String]) -> Result<Tensor, MakeError> {
        let off = &mut Trace::off();
        Ok(match self.codec(key)? {
            Codec::Image(codec) => codec.forward(input, bands, off)?,
            Codec::Map(codec) => codec.forward(input, off)?,
            Codec::Scalar(codec) => codec.forward(input)?.tokens,
            Codec::Catalog(codec) => {
                // rows x objects x fields.
                let field = |field: usize| input.f_select(2, field as i64);
                let fields: [Tensor; FIELDS] =
                    [field(0)?, field(1)?, field(2)?, field(3)?, field(4)?];
                codec.forward(&fields, AION_CATALOG_OFFSET)?.ids
            }
            Codec::Spectrum(_) => return Err(MakeError::NoCodec { name: key.to_owned() }),
        })
    }

    /// The arrays of a spectrum lie beside each other: flux, inverse variance, mask, wavelength.
    fn spectrum_ids(
        &self,
        key: &str,
        rows: &[&Features],
        place: usize,
        staging: &Staging,
    ) -> Result<Tensor, MakeError> {
        let Codec::Spectrum(codec) = self.codec(key)? else {
            return Err(MakeError::NoCodec { name: key.to_owned() });
        };
        let part = |offset: usize| {
            stacked(rows, place + offset, (staging, place + offset), self.computing)
        };
        let spectra =
            Spectra { flux: part(0)?, ivar: part(1)?, mask: part(2)?, wavelength: part(3)? };
        Ok(codec.forward(&spectra, &mut Trace::off())?)
    }
}

fn codec(
    model: &RegisteredModel,
    name: &str,
    file: &str,
    computing: Computing,
) -> Result<Codec, ModelError> {
    // Codes are exact: codecs stay in single precision, whatever the encoder computes in.
    let computing = Computing { kind: Kind::Float, ..computing };
    let config = format!("codecs/{name}/config.json");
    let bad = |reason: String| ModelError::Parse { path: model.folder.join(&config), reason };
    // Those of the catalogue are fixed.
    let sizes = if name == "catalog" {
        Value::Null
    } else {
        let text = model.read_file(&config)?;
        let whole: Value = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        whole.get("hparams").cloned().unwrap_or(whole)
    };
    strictly(model, file, computing, |weights| {
        Ok(match name {
            "image" => Codec::Image(ImageCodec::load(weights, &parsed(&sizes)?, computing.device)?),
            "spectrum" => Codec::Spectrum(SpectrumCodec::load(weights, &parsed(&sizes)?)?),
            "segmentation_map" => {
                Codec::Map(SegmapCodec::load(weights, &parsed(&sizes)?, computing.device)?)
            }
            "catalog" => Codec::Catalog(CatalogCodec::load(weights)?),
            _ => Codec::Scalar(ScalarCodec::load(weights, &scalar_config(name, &sizes)?)?),
        })
    })
}

/// The published files do not name the class of a codec of numbers: it follows from its sizes.
fn scalar_config(name: &str, sizes: &Value) -> Result<ScalarConfig, WeightsError> {
    let class = match () {
        () if sizes.get("num_quantizers").is_some() => "MultiScalarCodec",
        () if sizes.get("min_log_value").is_some() => "LogScalarCodec",
        () if name == "Z" => "GridScalarCodec",
        () => "ScalarCodec",
    };
    parsed(&serde_json::json!({ "class": class, "config": sizes }))
}

/// Token ids for each row, in two bytes each.
fn ids(tokens: &[Tokens], rows: usize) -> Result<Vec<Made>, MakeError> {
    let mut sequences = vec![TokenSequence::default(); rows];
    for Tokens { modality, ids, .. } in tokens {
        let ids = ids.f_reshape([rows as i64, -1])?.f_to_device(tch::Device::Cpu)?;
        let ids = ids.f_to_kind(Kind::Int64)?.f_contiguous()?;
        let mut values = vec![0_i64; ids.numel()];
        ids.f_copy_data(&mut values, ids.numel())?;
        let count = values.len() / rows.max(1);
        for (sequence, values) in sequences.iter_mut().zip(values.chunks_exact(count.max(1))) {
            let mut bytes = Vec::with_capacity(2 * count);
            for value in values {
                let id = u16::try_from(*value)
                    .map_err(|_| TchError::Convert(format!("token {value} of `{modality}`")))?;
                bytes.extend(id.to_le_bytes());
            }
            sequence.runs.push(TokenRun {
                modality: modality.clone(),
                count: u32::try_from(count).unwrap_or(u32::MAX),
                ids: bytes,
                ..TokenRun::default()
            });
        }
    }
    Ok(sequences.into_iter().map(Made::Tokens).collect())
}
