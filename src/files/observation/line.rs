//! Spectra in arrays of one axis of FITS files, with wavelengths in the header (CRVAL1, CDELT1) or in an array of their own.
//!
//! Read are linear axes, logarithms to base 10 (DC-FLAG = 1, or COEFF0 and COEFF1), and the standard's WAVE-LOG. Air
//! wavelengths stay what they are.

use super::cells::{Cell, Row, Value};
use super::fits_file::Contents;
use super::names::{Role, role_of};
use super::{Observation, ObservationOptions, VALUES_MAX};
use crate::files::FileError;
use crate::files::fits::{Header, ImageUnit};

/// Reads the arrays of one axis as a spectrum; `None` when there is none.
///
/// # Errors
/// [`FileError::NotObservation`] for arrays that do not fit together.
pub(super) fn read(contents: &mut Contents) -> Result<Option<Observation>, FileError> {
    let is_line = |image: &&ImageUnit| image.shape.len() == 1 && image.len() <= VALUES_MAX;
    let lines: Vec<&ImageUnit> = contents.images.iter().filter(is_line).collect();
    let mut row = Row::default();
    let mut flux: Option<&ImageUnit> = None;
    for line in lines {
        let name = meaning(line.name());
        let role = role_of(&name).map(|(role, _)| role);
        let is_known = role.is_some_and(Role::is_along_pixels);
        if !is_known || (role == Some(Role::Flux) && flux.is_some()) {
            continue;
        }
        if role == Some(Role::Flux) {
            flux = Some(line);
        }
        let values = line
            .read(&mut contents.file, 0, line.len())
            .map_err(|source| FileError::Read { path: contents.path.clone(), source })?;
        let unit = line.header.text("BUNIT").unwrap_or("").to_owned();
        let value = Value::Numbers { shape: vec![values.len()], values };
        row.cells.push(Cell { name, unit, value });
    }
    let Some(flux) = flux else { return Ok(None) };
    let has_own = row.cells.iter().any(|cell| {
        let role = role_of(&cell.name).map(|(role, _)| role);
        matches!(role, Some(Role::Wavelength | Role::LogWavelength))
    });
    if !has_own {
        row.cells.extend(axis(&flux.header, flux.len()));
    }
    let read = row.into_observation(&ObservationOptions::default());
    read.map(Some).map_err(|detail| contents.refused(detail))
}

/// What an extension is called in tables; the array without a name is the flux.
fn meaning(name: &str) -> String {
    match name.to_uppercase().as_str() {
        "" | "PRIMARY" | "SCI" | "DATA" => "flux".to_owned(),
        _ => name.to_owned(),
    }
}

/// The wavelengths that a header describes.
fn axis(header: &Header, count: usize) -> Option<Cell> {
    let step = |place: usize, reference: f64| place as f64 + 1.0 - reference;
    let unit = header.text("CUNIT1").unwrap_or("").to_owned();
    let cell = |name: &str, unit: String, values: Vec<f64>| {
        let value = Value::Numbers { shape: vec![values.len()], values };
        Some(Cell { name: name.to_owned(), unit, value })
    };
    if let (Some(first), Some(each)) = (header.real("COEFF0"), header.real("COEFF1")) {
        let values = (0..count).map(|place| first + each * place as f64).collect();
        return cell("loglam", String::new(), values);
    }
    let start = header.real("CRVAL1")?;
    let each = header.real("CDELT1").or_else(|| header.real("CD1_1"))?;
    let reference = header.real("CRPIX1").unwrap_or(1.0);
    let kind = header.text("CTYPE1").unwrap_or("").to_uppercase();
    let linear: Vec<f64> = (0..count).map(|place| each * step(place, reference)).collect();
    if header.integer("DC-FLAG") == Some(1) {
        return cell("loglam", String::new(), linear.iter().map(|value| start + value).collect());
    }
    if kind.starts_with("WAVE-LOG") || kind.starts_with("AWAV-LOG") {
        let values = linear.iter().map(|value| start * (value / start).exp()).collect();
        return cell("wavelength", unit, values);
    }
    cell("wavelength", unit, linear.iter().map(|value| start + value).collect())
}
