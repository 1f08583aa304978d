//! Observations, and the payloads that they become.

use std::collections::HashMap;

use super::bands;
use crate::schema::Modality;
use crate::sky::Position;
use crate::wire::v1::payload::Content;
use crate::wire::v1::{Array, NamedArrays, Payload};

/// Numbers along axes, under a name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedArray {
    /// `image`, `flux`, `ivar`, `mask` or `wavelength`.
    pub name: String,
    /// Lengths of the axes, the slowest first.
    pub shape: Vec<usize>,
    /// Names along the first axis of an image; empty where nobody knows them.
    pub bands: Vec<String>,
    /// The numbers, row by row. NaN is "no value".
    pub values: Vec<f32>,
}

/// What was observed.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// The bytes of a PNG or JPEG file.
    Picture(Vec<u8>),
    /// Cutouts and spectra.
    Arrays(Vec<NamedArray>),
}

/// One observation of one object.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The object's id, where the file names one.
    pub object: Option<String>,
    /// Where the object is, or the middle of the image; `None` where the file does not say.
    pub position: Option<Position>,
    /// What was observed.
    pub content: Observed,
}

impl Observation {
    /// An array by its name.
    pub fn array(&self, name: &str) -> Option<&NamedArray> {
        match &self.content {
            Observed::Picture(_) => None,
            Observed::Arrays(arrays) => arrays.iter().find(|array| array.name == name),
        }
    }

    /// What an observation of this content usually is: an image where there is one, and a spectrum otherwise.
    pub fn modality(&self) -> &'static str {
        match &self.content {
            Observed::Arrays(_) if self.array(IMAGE).is_none() => Modality::SPECTRUM,
            Observed::Picture(_) | Observed::Arrays(_) => Modality::IMAGE,
        }
    }

    /// The payload for an encoder, as of [`Self::modality`] unless another is given.
    pub fn into_payload(self, modality: Option<&str>) -> Payload {
        let modality = modality.unwrap_or(self.modality()).to_owned();
        let content = match self.content {
            Observed::Picture(bytes) => Content::Image(bytes),
            Observed::Arrays(arrays) => {
                let arrays: HashMap<String, Array> =
                    arrays.into_iter().map(NamedArray::into_wire).collect();
                Content::Arrays(NamedArrays { arrays })
            }
        };
        Payload { modality, content: Some(content) }
    }
}

impl NamedArray {
    /// An array as it travels.
    fn into_wire(self) -> (String, Array) {
        // Axes are bounded by `VALUES_MAX`.
        let shape = self.shape.iter().map(|length| *length as u32).collect();
        let float32 = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        (self.name, Array { shape, float32, bands: self.bands })
    }
}

/// Name of a cutout.
pub(super) const IMAGE: &str = "image";

/// Joins the parts of one observation.
pub(super) fn joined(parts: Vec<Observation>, names: &[String]) -> Result<Observation, String> {
    let mut whole =
        Observation { object: None, position: None, content: Observed::Arrays(Vec::new()) };
    let mut image: Option<NamedArray> = None;
    let mut arrays: Vec<NamedArray> = Vec::new();
    let mut are_named = true;
    for part in parts {
        let Observed::Arrays(of_part) = part.content else {
            return Err("PNG and JPEG files are whole observations; give one alone".to_owned());
        };
        whole.object = whole.object.or(part.object);
        whole.position = whole.position.or(part.position);
        for array in of_part {
            if array.name != IMAGE {
                if arrays.iter().any(|other| other.name == array.name) {
                    return Err(format!("two of its files have `{}`", array.name));
                }
                arrays.push(array);
                continue;
            }
            are_named &= !array.bands.is_empty();
            image = Some(match image.take() {
                None => array,
                Some(stacked) => stacked.stacked(array)?,
            });
        }
    }
    if let Some(mut image) = image {
        if !are_named {
            image.bands.clear();
        }
        bands::choose(&mut image, names)?;
        arrays.insert(0, image);
    }
    whole.content = Observed::Arrays(arrays);
    Ok(whole)
}

impl NamedArray {
    /// The bands of another image behind those of this one.
    pub(super) fn stacked(mut self, other: Self) -> Result<Self, String> {
        if self.shape.get(1..) != other.shape.get(1..) {
            return Err(format!(
                "its bands have different shapes, {:?} and {:?} pixels; cut them out by a position, or name one extension in brackets",
                self.shape.get(1..).unwrap_or(&[]),
                other.shape.get(1..).unwrap_or(&[]),
            ));
        }
        if self.values.len() + other.values.len() > super::VALUES_MAX {
            return Err(too_large(self.values.len() + other.values.len()));
        }
        if let (Some(own), Some(more)) = (self.shape.first_mut(), other.shape.first()) {
            *own += more;
        }
        self.values.extend(other.values);
        self.bands.extend(other.bands);
        Ok(self)
    }
}

/// Why an array of so many numbers is not read.
pub(super) fn too_large(given: usize) -> String {
    format!(
        "it has {given} numbers, more than the limit of {}; cut a smaller square out",
        super::VALUES_MAX
    )
}
