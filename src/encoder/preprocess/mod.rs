//! From a payload to the numbers that a network takes.
//!
//! It runs in the encoder process, on its own threads, before a row joins the queue: an image that is not an image
//! never reaches the network.

mod asinh_flux;
mod legacy_rgb;
mod rgb;

use safetensors::SafeTensors;
use thiserror::Error;

pub use asinh_flux::AsinhFlux;
pub use legacy_rgb::LegacyRgb;
pub use rgb::{IMAGE_BYTES_MAX, IMAGE_PIXELS_MAX, ResizedRgb};

use super::model::{ModelSpec, Preprocessing};
use crate::wire::v1::Payload;
use crate::wire::v1::payload::Content;

/// What is wrong with one payload; the others of its request are not touched by it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PayloadError {
    /// An image for a model of tables, or the other way round, or neither.
    #[error("model `{model}` takes {expected}, the input is {given}")]
    WrongKind {
        /// Model id.
        model: String,
        /// What it takes.
        expected: &'static str,
        /// What it got.
        given: &'static str,
    },
    /// A payload that says it is of another modality.
    #[error("model `{model}` takes modality `{expected}`, the input says `{given}`")]
    WrongModality {
        /// Model id.
        model: String,
        /// The model's modality.
        expected: String,
        /// The payload's modality.
        given: String,
    },
    /// A named value that the model does not know; ignoring it would turn a misspelt flux into a missing one.
    #[error("the model has no input `{name}`; its inputs are {inputs}")]
    UnknownInput {
        /// The name.
        name: String,
        /// All names.
        inputs: String,
    },
    /// A row without any measured band.
    #[error("no band has a finite flux with a positive inverse variance")]
    NothingMeasured,
    /// Bytes that begin like neither a PNG nor a JPEG.
    #[error("this is not an image: it is neither a PNG nor a JPEG")]
    NotAnImage,
    /// A PNG or JPEG that cannot be decoded.
    #[error("the {format} image is damaged: {reason}")]
    DamagedImage {
        /// PNG or JPEG.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A cutout that makes no picture.
    #[error("{reason}")]
    BadCutout {
        /// What is wrong and what is needed.
        reason: String,
    },
    /// More bytes or pixels than is decoded.
    #[error(
        "the image has {given} {unit}, more than the limit of {limit}; cut it out or shrink it"
    )]
    TooLarge {
        /// Bytes or pixels of the image.
        given: u64,
        /// What is counted.
        unit: &'static str,
        /// How many are decoded at most.
        limit: u64,
    },
}

/// The preprocessing of one model.
#[derive(Debug, Clone)]
pub struct Preprocessor {
    model: String,
    modality: String,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    AsinhFlux(AsinhFlux),
    ResizedRgb(ResizedRgb),
}

impl Preprocessor {
    /// Makes the preprocessing that `spec` names, with constants from the weights file where it has any there.
    ///
    /// # Errors
    /// A sentence that names the constant that is missing or wrong.
    pub fn new(spec: &ModelSpec, weights: &SafeTensors<'_>) -> Result<Self, String> {
        let kind = match spec.preprocessing {
            Preprocessing::AsinhFluxV1 => {
                let bands =
                    spec.config.as_ref().map(|config| config.bands.as_slice()).unwrap_or_default();
                let corrected = !spec.optional_inputs.is_empty();
                Kind::AsinhFlux(AsinhFlux::from_weights(bands, corrected, weights)?)
            }
            Preprocessing::Rgb224CatmullRomV1 => Kind::ResizedRgb(ResizedRgb),
        };
        Ok(Self { model: spec.id.clone(), modality: spec.modality.clone(), kind })
    }

    /// Shape of one row of features.
    pub fn shape(&self) -> Vec<usize> {
        match &self.kind {
            Kind::AsinhFlux(table) => vec![table.band_count(), AsinhFlux::FEATURES_PER_BAND],
            Kind::ResizedRgb(_) => vec![3, ResizedRgb::SIDE, ResizedRgb::SIDE],
        }
    }

    /// Numbers in one row of features.
    pub fn feature_count(&self) -> usize {
        self.shape().iter().product()
    }

    /// Turns one payload into one row of features.
    pub fn features(&self, payload: &Payload) -> Result<Vec<f32>, PayloadError> {
        if !payload.modality.is_empty() && payload.modality != self.modality {
            return Err(PayloadError::WrongModality {
                model: self.model.clone(),
                expected: self.modality.clone(),
                given: payload.modality.clone(),
            });
        }
        match (&self.kind, &payload.content) {
            (Kind::AsinhFlux(table), Some(Content::Row(row))) => table.features(&row.values),
            (Kind::ResizedRgb(rgb), Some(Content::Image(bytes))) => rgb.features(bytes),
            (kind, given) => Err(PayloadError::WrongKind {
                model: self.model.clone(),
                expected: match kind {
                    Kind::AsinhFlux(_) => "a row of named numbers",
                    Kind::ResizedRgb(_) => "a PNG or JPEG image",
                },
                given: match given {
                    Some(Content::Image(_)) => "an image",
                    Some(Content::Row(_)) => "a row of named numbers",
                    Some(Content::Arrays(_)) => "named arrays",
                    None => "empty",
                },
            }),
        }
    }

    /// Turns one row of golden inputs, laid out as [`ModelSpec::all_inputs`], into features.
    pub(super) fn features_of_row(
        &self,
        spec: &ModelSpec,
        row: &[f64],
    ) -> Result<Vec<f32>, PayloadError> {
        let named = spec.all_inputs().map(str::to_owned).zip(row.iter().copied());
        let values = crate::wire::v1::NamedValues { values: named.collect() };
        self.features(&Payload { modality: String::new(), content: Some(Content::Row(values)) })
    }

    /// Turns golden pixels of the network's own size into features; `None` for models of tables.
    pub(super) fn features_of_pixels(&self, pixels: &[u8]) -> Option<Vec<f32>> {
        match &self.kind {
            Kind::AsinhFlux(_) => None,
            Kind::ResizedRgb(rgb) => Some(rgb.scaled(pixels)),
        }
    }
}
