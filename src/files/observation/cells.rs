//! One row of named values, whatever table it comes from, into an observation.

use super::ObservationOptions;
use super::bands::{self, BANDS_MAX, Survey};
use super::names::{Role, band_of, role_of};
use super::payload::{IMAGE, NamedArray, Observation, Observed, too_large};
use super::spectrum::RawSpectrum;
use crate::sky::{Degrees, Position};

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// Numbers along axes; without axes, one number.
    Numbers { shape: Vec<usize>, values: Vec<f64> },
    /// Texts, such as names of bands; one is an id.
    Texts(Vec<String>),
    /// Bytes of an image file.
    Bytes(Vec<u8>),
}

/// A value under the name that the file has for it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) name: String,
    /// Unit, as the file writes it; may be empty.
    pub(super) unit: String,
    pub(super) value: Value,
}

/// The values of one row.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
}

impl Row {
    /// The value with a meaning, by the name that stands for it best.
    fn find(&self, role: Role) -> Option<&Cell> {
        let rank = |cell: &&Cell| role_of(&cell.name).map_or(usize::MAX, |(_, rank)| rank);
        let fits = |cell: &&Cell| role_of(&cell.name).is_some_and(|(found, _)| found == role);
        self.cells.iter().filter(fits).min_by_key(rank)
    }

    fn numbers(&self, role: Role) -> Option<(&[usize], &[f64])> {
        match &self.find(role)?.value {
            Value::Numbers { shape, values } => Some((shape, values)),
            Value::Texts(_) | Value::Bytes(_) => None,
        }
    }

    /// The object's id as text.
    pub(super) fn object(&self) -> Option<String> {
        match &self.find(Role::Object)?.value {
            Value::Texts(texts) => texts.first().map(|text| text.trim().to_owned()),
            Value::Numbers { values, .. } => values.first().map(f64::to_string),
            Value::Bytes(_) => None,
        }
    }

    /// The object's position.
    pub(super) fn position(&self) -> Option<Position> {
        let one = |role| self.numbers(role).and_then(|(_, values)| values.first().copied());
        Position::new(Degrees(one(Role::Ra)?), Degrees(one(Role::Dec)?)).ok()
    }

    /// The observation that the row holds.
    ///
    /// # Errors
    /// A sentence about values that do not fit together, or that nothing looks like an observation.
    pub(super) fn into_observation(
        self,
        options: &ObservationOptions,
    ) -> Result<Observation, String> {
        let (object, position) = (self.object(), self.position());
        let whole = |content| Observation { object: object.clone(), position, content };
        let mut arrays = Vec::new();
        match self.image()? {
            Some(Picture::Encoded(bytes)) => return Ok(whole(Observed::Picture(bytes))),
            Some(Picture::Array(mut image)) => {
                bands::choose(&mut image, &options.bands)?;
                if let Some(side) = options.size {
                    bands::cut_middle(&mut image, side)?;
                }
                arrays.push(image);
            }
            None => {}
        }
        if let Some(spectrum) = self.spectrum() {
            arrays.extend(spectrum.into_arrays()?);
        }
        if arrays.is_empty() {
            let names: Vec<&str> = self.cells.iter().map(|cell| cell.name.as_str()).collect();
            return Err(format!(
                "none of its columns is called like a spectrum (flux) or a cutout (image): {}",
                shortened(&names)
            ));
        }
        Ok(whole(Observed::Arrays(arrays)))
    }

    fn spectrum(&self) -> Option<RawSpectrum> {
        let column = |role| self.numbers(role).map(|(_, values)| values.to_vec());
        let (_, flux) = self.numbers(Role::Flux).filter(|(shape, _)| is_line(shape))?;
        let mut spectrum = RawSpectrum {
            flux: flux.to_vec(),
            ivar: column(Role::Ivar),
            sigma: column(Role::Sigma),
            mask: column(Role::Mask),
            ..RawSpectrum::default()
        };
        if let Some(cell) = self.find(Role::Wavelength) {
            spectrum.unit.clone_from(&cell.unit);
            spectrum.wavelength = column(Role::Wavelength);
        } else if let Some(values) = column(Role::LogWavelength) {
            spectrum.is_logarithmic = true;
            spectrum.wavelength = Some(values);
        }
        Some(spectrum)
    }

    fn image(&self) -> Result<Option<Picture>, String> {
        let mut image = match self.find(Role::Image).map(|cell| &cell.value) {
            Some(Value::Bytes(bytes)) => return Ok(Some(Picture::Encoded(bytes.clone()))),
            Some(Value::Numbers { shape, values }) => {
                let stored = self.numbers(Role::Shape).map(|(_, lengths)| lengths);
                image_array(&stored_shape(shape, stored), values)?
            }
            Some(Value::Texts(_)) | None => match self.stacked_bands()? {
                Some(image) => return Ok(Some(Picture::Array(image))),
                None => return Ok(None),
            },
        };
        if let Some(Value::Texts(names)) = self.find(Role::Bands).map(|cell| &cell.value) {
            let count = image.shape.first().copied().unwrap_or(0);
            let names = match names.as_slice() {
                [one] if count != 1 => bands::listed(one, count).unwrap_or_default(),
                names => names.to_vec(),
            };
            if names.len() == count {
                let survey = Survey::of(&names.join(" "));
                image.bands = names.iter().map(|name| bands::canonical(name, survey)).collect();
            }
        }
        Ok(Some(Picture::Array(image)))
    }

    /// The cutouts of single bands, in the order of the file.
    fn stacked_bands(&self) -> Result<Option<NamedArray>, String> {
        let mut stacked: Option<NamedArray> = None;
        for cell in &self.cells {
            let (Some((Role::ImageOfBand, _)), Value::Numbers { shape, values }) =
                (role_of(&cell.name), &cell.value)
            else {
                continue;
            };
            if shape.len() != 2 {
                continue;
            }
            let mut image = image_array(shape, values)?;
            image.bands.extend(band_of(&cell.name));
            stacked = Some(match stacked.take() {
                None => image,
                Some(whole) => whole.stacked(image)?,
            });
        }
        Ok(stacked)
    }
}

enum Picture {
    Encoded(Vec<u8>),
    Array(NamedArray),
}

/// Whether the values lie along one axis; axes of length one do not count.
fn is_line(shape: &[usize]) -> bool {
    !shape.is_empty() && shape.iter().filter(|length| **length != 1).count() <= 1
}

/// The shape that a flat array is said to have elsewhere in its row, where it fits.
fn stored_shape(shape: &[usize], stored: Option<&[f64]>) -> Vec<usize> {
    let stored: Vec<usize> = stored.unwrap_or(&[]).iter().map(|length| *length as usize).collect();
    let product = |shape: &[usize]| {
        shape.iter().try_fold(1_usize, |product, length| product.checked_mul(*length))
    };
    if shape.len() == 1 && stored.len() > 1 && product(&stored) == product(shape) {
        return stored;
    }
    shape.to_vec()
}

/// An image of bands, rows and columns; one plane is one band. Bands may also be the last axis, which is told by its being
/// short beside a long first one.
pub(super) fn image_array(shape: &[usize], values: &[f64]) -> Result<NamedArray, String> {
    const LAST_AXIS_MAX: usize = 16;
    if values.len() > super::VALUES_MAX {
        return Err(too_large(values.len()));
    }
    let (bands, rows, columns, is_last) = match *shape {
        [rows, columns] => (1, rows, columns, false),
        [rows, columns, bands] if rows > LAST_AXIS_MAX && bands <= LAST_AXIS_MAX => {
            (bands, rows, columns, true)
        }
        [bands, rows, columns] => (bands, rows, columns, false),
        _ => {
            return Err(format!(
                "its image has the shape {shape:?}; (bands, rows, columns) or (rows, columns) is read"
            ));
        }
    };
    if bands == 0 || rows == 0 || columns == 0 || bands > BANDS_MAX {
        return Err(format!(
            "its image has the shape {shape:?}, and no more than {BANDS_MAX} bands are read"
        ));
    }
    let single = |value: &f64| *value as f32;
    let values: Vec<f32> = if is_last {
        let plane = |band: usize| values.iter().skip(band).step_by(bands).map(single);
        (0..bands).flat_map(plane).collect()
    } else {
        values.iter().map(single).collect()
    };
    if values.len() != bands * rows * columns {
        return Err(format!("its image of shape {shape:?} has {} numbers", values.len()));
    }
    Ok(NamedArray {
        name: IMAGE.to_owned(),
        shape: vec![bands, rows, columns],
        bands: Vec::new(),
        values,
    })
}

/// Names for a message, the first few of many.
pub(super) fn shortened(names: &[&str]) -> String {
    const SHOWN: usize = 12;
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    match names.len() {
        0 => "it has none".to_owned(),
        count if count > SHOWN => format!("{shown} and {} more", count - SHOWN),
        _ => shown,
    }
}
