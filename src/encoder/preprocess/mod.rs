//! From a payload to the numbers that a network takes.
//!
//! It runs in the encoder process, on its own threads, before a row joins the queue: an image that is not an image
//! never reaches the network.

mod aion_modalities;
mod arrays;
mod asinh_flux;
mod cutout;
mod legacy_rgb;
mod observation;
mod rgb;
mod spectrum;

use safetensors::SafeTensors;
use thiserror::Error;

pub use aion_modalities::{
    AION_CATALOG_OFFSET, AION_MODALITIES, AionLayout, AionModality, aion_modality,
};
pub use arrays::ARRAY_NUMBERS_MAX;
pub use asinh_flux::AsinhFlux;
pub use legacy_rgb::LegacyRgb;
pub use observation::Observations;
pub use rgb::{IMAGE_BYTES_MAX, IMAGE_PIXELS_MAX, ResizedRgb};
pub use spectrum::SpectrumWindows;

use super::model::{ModelSpec, Preprocessing, PublishedConfig};
use super::{FeaturePart, Features, RegisteredModel};
use crate::wire::v1::payload::Content;
use crate::wire::v1::{Payload, TokenSequence};
use arrays::Arrays;
use cutout::Cutout;
use spectrum::Spectrum;

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
    /// More tokens than the operator lets the model look at.
    #[error(
        "it has {tokens} tokens, the model looks at {limit}; give it fewer modalities, or let the operator raise tokens_max or set truncate in model.toml"
    )]
    TooManyTokens {
        /// Tokens of the object.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// An observation without any of the model's inputs.
    #[error("there is nothing in it that the model takes")]
    NothingObserved,
    /// Bytes over which a decoder broke down.
    #[error("it cannot be decoded: it contradicts itself")]
    Undecodable,
    /// An array that is missing, or of a shape or with values that the model cannot take.
    #[error("`{name}` {reason}")]
    BadArray {
        /// Name of the array.
        name: String,
        /// What is wrong with it and what is needed.
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
    Picture(LegacyRgb),
    Spectrum(SpectrumWindows),
    Observations(Observations),
    /// Names in the order of a network's arguments.
    Arrays(Vec<String>),
}

/// Bands of an image of three planes that names none.
const GRZ: [&str; 3] = ["g", "r", "z"];

/// Names of what a model takes, and of those among them that an input may lack.
pub(super) fn inputs(model: &RegisteredModel) -> (Vec<String>, Vec<String>) {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let spec = &model.spec;
    match (spec.preprocessing, &model.config) {
        (Preprocessing::GrzRgbAstroclipV1 | Preprocessing::GrzRgbSteinV1, _) => {
            (owned(&[cutout::IMAGE]), Vec::new())
        }
        (Preprocessing::DesiFluxV1, _) => {
            let optional = owned(&[spectrum::IVAR, spectrum::MASK, spectrum::WAVELENGTH]);
            ([owned(&[spectrum::FLUX]), optional.clone()].concat(), optional)
        }
        (Preprocessing::AionCodecsV1, Some(config)) => {
            let all = Observations::new(spec, config.domains().unwrap_or_default()).inputs();
            (all.clone(), all)
        }
        _ => (spec.all_inputs().map(str::to_owned).collect(), spec.optional_inputs.clone()),
    }
}

impl Preprocessor {
    /// Makes the preprocessing that a model names, with constants from the weights file where it has any there.
    ///
    /// # Errors
    /// A sentence that names the constant or size that is missing or wrong.
    pub fn new(model: &RegisteredModel, weights: Option<&SafeTensors<'_>>) -> Result<Self, String> {
        let spec = &model.spec;
        let config = model.config.as_ref();
        let config = || config.ok_or_else(|| "the model has no config.json".to_owned());
        let kind = match spec.preprocessing {
            Preprocessing::AsinhFluxV1 => {
                let bands =
                    spec.config.as_ref().map(|config| config.bands.as_slice()).unwrap_or_default();
                let corrected = !spec.optional_inputs.is_empty();
                let weights = weights.ok_or("the constants must be in a safetensors file")?;
                Kind::AsinhFlux(AsinhFlux::from_weights(bands, corrected, weights)?)
            }
            Preprocessing::Rgb224CatmullRomV1 => Kind::ResizedRgb(ResizedRgb),
            Preprocessing::GrzRgbAstroclipV1 => {
                Kind::Picture(LegacyRgb::astroclip(picture_side(model, LegacyRgb::ASTROCLIP_SIDE)?))
            }
            Preprocessing::GrzRgbSteinV1 => {
                Kind::Picture(LegacyRgb::stein(picture_side(model, LegacyRgb::STEIN_SIDE)?))
            }
            Preprocessing::DesiFluxV1 => {
                let path = PublishedConfig::spectrum_path(spec.architecture);
                Kind::Spectrum(SpectrumWindows::new(config()?, path)?)
            }
            Preprocessing::AionCodecsV1 => {
                Kind::Observations(Observations::new(spec, config()?.domains()?))
            }
            Preprocessing::ArraysV1 => Kind::Arrays(spec.inputs.clone()),
        };
        Ok(Self { model: spec.id.clone(), modality: spec.modality.clone(), kind })
    }

    /// Features of an input that stands for any other, to warm the network up with; `None` where no input is usual.
    pub fn example(&self) -> Option<Features> {
        let zeros = |shape: Vec<usize>| {
            let count = shape.iter().product();
            Features::plain(shape, vec![0.0; count])
        };
        match &self.kind {
            Kind::AsinhFlux(table) => {
                Some(zeros(vec![table.band_count(), AsinhFlux::FEATURES_PER_BAND]))
            }
            Kind::ResizedRgb(_) => Some(zeros(vec![3, ResizedRgb::SIDE, ResizedRgb::SIDE])),
            Kind::Picture(picture) => Some(zeros(vec![3, picture.side(), picture.side()])),
            Kind::Spectrum(windows) => Some(zeros(vec![windows.usual_pixels()])),
            Kind::Observations(model) => model.example(),
            Kind::Arrays(_) => None,
        }
    }

    /// Turns one payload into one row of features.
    pub fn features(&self, payload: &Payload) -> Result<Features, PayloadError> {
        self.check_modality(&payload.modality)?;
        let Some(content) = &payload.content else { return Err(self.wrong_kind(None)) };
        let arrays = cutout::arrays_of(content).transpose()?;
        match (&self.kind, content, arrays) {
            (Kind::AsinhFlux(table), Content::Row(row), _) => {
                let shape = [table.band_count(), AsinhFlux::FEATURES_PER_BAND];
                Ok(Features::plain(shape, table.features(&row.values)?))
            }
            (Kind::ResizedRgb(_), Content::Image(bytes), None) => {
                let shape = [3, ResizedRgb::SIDE, ResizedRgb::SIDE];
                Ok(Features::plain(shape, ResizedRgb::features(bytes)?))
            }
            (Kind::Picture(kind), _, Some(arrays)) => {
                check_names(&arrays)?;
                picture(*kind, &arrays)
            }
            (Kind::Spectrum(windows), _, Some(arrays)) => {
                check_names(&arrays)?;
                let spectrum = Spectrum::of(&arrays, "")?;
                let spectrum = spectrum.ok_or_else(|| arrays::bad(spectrum::FLUX, "is missing"))?;
                let flux = windows.flux(&spectrum)?;
                Ok(Features::plain([flux.len()], flux))
            }
            (Kind::Observations(model), _, Some(arrays)) => model.features(&arrays),
            (Kind::Observations(model), Content::Row(row), _) => model.numbers(row),
            (Kind::Arrays(names), _, Some(arrays)) => in_order(names, arrays),
            (Kind::Arrays(names), Content::Row(row), _) => {
                in_order(names, arrays::from_numbers(row))
            }
            _ => Err(self.wrong_kind(Some(content))),
        }
    }

    /// Turns token ids that the model made earlier into one row of features.
    pub fn features_of_ids(&self, tokens: &TokenSequence) -> Result<Features, PayloadError> {
        match &self.kind {
            Kind::Observations(model) => model.ids(tokens),
            _ => Err(PayloadError::WrongKind {
                model: self.model.clone(),
                expected: self.expected(),
                given: "a sequence of token ids",
            }),
        }
    }

    /// A payload may name the model's modality, or none; AION-1 takes any.
    fn check_modality(&self, given: &str) -> Result<(), PayloadError> {
        let takes_any = matches!(self.kind, Kind::Observations(_));
        if given.is_empty() || given == self.modality || takes_any {
            return Ok(());
        }
        Err(PayloadError::WrongModality {
            model: self.model.clone(),
            expected: self.modality.clone(),
            given: given.to_owned(),
        })
    }

    fn wrong_kind(&self, given: Option<&Content>) -> PayloadError {
        PayloadError::WrongKind {
            model: self.model.clone(),
            expected: self.expected(),
            given: match given {
                Some(Content::Image(_)) => "an image file",
                Some(Content::Row(_)) => "a row of named numbers",
                Some(Content::Arrays(_)) => "named arrays",
                None => "empty",
            },
        }
    }

    fn expected(&self) -> &'static str {
        match &self.kind {
            Kind::AsinhFlux(_) => "a row of named numbers",
            Kind::ResizedRgb(_) => "a PNG or JPEG image",
            Kind::Picture(_) => "an array `image` of fluxes in g, r, z (or an .npy file of it)",
            Kind::Spectrum(_) => "an array `flux`",
            Kind::Observations(_) => "named arrays or numbers",
            Kind::Arrays(_) => "named arrays",
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
        let payload = Payload { modality: String::new(), content: Some(Content::Row(values)) };
        Ok(self.features(&payload)?.arrays().concat())
    }

    /// Turns golden pixels of the network's own size into features; `None` for other models.
    pub(super) fn features_of_pixels(&self, pixels: &[u8]) -> Option<Vec<f32>> {
        match &self.kind {
            Kind::ResizedRgb(_) => Some(ResizedRgb::scaled(pixels)),
            _ => None,
        }
    }

    /// Numbers in one row of golden pixels.
    pub(super) fn pixel_count(&self) -> usize {
        self.example().map_or(0, |features| features.arrays().iter().map(Vec::len).sum())
    }
}

/// Side of a model's pictures: its own, or the usual one where an archive does not tell.
fn picture_side(model: &RegisteredModel, usual: usize) -> Result<usize, String> {
    match &model.config {
        Some(config) => config.picture_side(model.spec.architecture),
        None => Ok(usual),
    }
}

/// Refuses arrays that no cutout and no spectrum has: a misspelt one would be taken as not given. What an observation has
/// beside the model's own inputs is left out.
fn check_names(arrays: &Arrays) -> Result<(), PayloadError> {
    let known =
        [cutout::IMAGE, spectrum::FLUX, spectrum::IVAR, spectrum::MASK, spectrum::WAVELENGTH];
    match arrays.keys().filter(|name| !known.contains(&name.as_str())).min() {
        None => Ok(()),
        Some(name) => {
            Err(PayloadError::UnknownInput { name: name.clone(), inputs: known.join(", ") })
        }
    }
}

fn picture(kind: LegacyRgb, arrays: &Arrays) -> Result<Features, PayloadError> {
    let cutout = Cutout::of(arrays, |planes| (planes == GRZ.len()).then_some(&GRZ[..]))?;
    let picture = kind.picture(&cutout.grz()?, cutout.height, cutout.width)?;
    Ok(Features::plain([3, kind.side(), kind.side()], picture))
}

/// Arrays in the order of a network's arguments; one too few or too many is refused.
fn in_order(names: &[String], mut arrays: Arrays) -> Result<Features, PayloadError> {
    let mut parts = Vec::with_capacity(names.len());
    for name in names {
        let array = arrays.remove(name).ok_or_else(|| arrays::bad(name, "is missing"))?;
        if array.values.iter().any(|value| !value.is_finite()) {
            return Err(arrays::bad(name, "has numbers that are not finite"));
        }
        parts.push((FeaturePart::new(name.as_str(), array.shape), array.values));
    }
    match arrays.into_keys().min() {
        None => Ok(Features::new(parts)),
        Some(name) => Err(PayloadError::UnknownInput { name, inputs: names.join(", ") }),
    }
}
