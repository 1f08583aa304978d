//! FITS files as observations: what is in one, and which of the readers it is for.
//!
//! In this order: a DESI coadd (`desi`), a table with a column `flux` (`fits_table`), arrays of one axis (`line`), and images
//! (`fits_image`). A file with one spectrum and images gives both. An extension in brackets is read alone.

use std::fs::File;

use super::fits_image::Words;
use super::payload::joined;
use super::{
    Observation, ObservationOptions, Single, Source, desi, fits_image, fits_table, line,
    not_observation,
};
use crate::files::fits::{ImageUnit, Unit, Units};
use crate::files::{FileError, Location};

/// What a FITS file has.
pub(super) struct Contents {
    pub(super) location: Location,
    pub(super) path: String,
    pub(super) file: File,
    pub(super) images: Vec<ImageUnit>,
    pub(super) tables: Vec<Unit>,
    /// What the primary header says about the whole file.
    pub(super) words: Words,
}

impl Contents {
    /// Looks through the headers.
    fn read(location: &Location) -> Result<Self, FileError> {
        let mut units = Units::open(&location.path)?;
        let (mut images, mut tables, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        let mut words = Words::default();
        let mut compressed = None;
        while let Some(unit) = units.next_unit()? {
            if unit.number == 0 {
                words = Words::of(&unit.header);
            }
            let (number, name, kind) = (unit.number, unit.name(), unit.kind());
            seen.push(format!("{number} {name} ({kind})").replace("  ", " "));
            if location.extension.as_ref().is_some_and(|wanted| !unit.is_called(wanted)) {
                continue;
            }
            if unit.kind() == "BINTABLE" && unit.header.logical("ZIMAGE") != Some(true) {
                tables.push(unit);
                continue;
            }
            match ImageUnit::of(unit, &units) {
                Ok(image) => images.extend(image),
                Err(error @ FileError::Unsupported { .. }) => compressed = Some(error),
                Err(error) => return Err(error),
            }
        }
        let path = units.path().to_owned();
        if images.is_empty() && tables.is_empty() {
            let wanted = location.extension.as_deref().unwrap_or("image or table");
            let detail = format!("it has no `{wanted}` with data; it has {}", seen.join(", "));
            return Err(compressed.unwrap_or_else(|| not_observation(&path, &detail)));
        }
        let file = units.into_file().into_inner();
        Ok(Self { location: location.clone(), path, file, images, tables, words })
    }

    #[expect(clippy::needless_pass_by_value, reason = "so that it stands in `map_err`")]
    pub(super) fn refused(&self, detail: String) -> FileError {
        not_observation(&self.path, &detail)
    }
}

pub(super) fn open(
    location: &Location,
    options: &ObservationOptions,
) -> Result<Box<dyn Source>, FileError> {
    let mut contents = Contents::read(location)?;
    let arms = desi::arms(&contents);
    if !arms.is_empty() {
        return no_cut(options, &contents).and_then(|()| desi::open(contents, &arms));
    }
    let table = fits_table::find(&contents)?;
    let has_images = contents.images.iter().any(fits_image::is_picture);
    let spectrum = match table {
        Some(table) => Some(fits_table::open(&contents, &table, options)?),
        None => line::read(&mut contents)?
            .map(|observation| Box::new(Single(observation)) as Box<dyn Source>),
    };
    let Some(mut spectrum) = spectrum else {
        let image = fits_image::read(&mut contents, options)?;
        return Ok(Box::new(Single(image)));
    };
    if !has_images || spectrum.count() != Some(1) {
        return no_cut(options, &contents).map(|()| spectrum);
    }
    let image = fits_image::read(&mut contents, options)?;
    match spectrum.row(0) {
        Some((_, Ok(spectrum))) => Ok(Box::new(Single(both(&contents, spectrum, image)?))),
        Some((_, Err(error))) => Err(error),
        None => Ok(Box::new(Single(image))),
    }
}

/// A spectrum and an image of one file; the spectrum's table knows the object better.
fn both(
    contents: &Contents,
    spectrum: Observation,
    image: Observation,
) -> Result<Observation, FileError> {
    let position = image.position;
    let mut whole =
        joined(vec![spectrum, image], &[]).map_err(|detail| contents.refused(detail))?;
    whole.position = whole.position.or(position);
    Ok(whole)
}

/// Spectra are not cut out.
fn no_cut(options: &ObservationOptions, contents: &Contents) -> Result<(), FileError> {
    if options.center.is_none() {
        return Ok(());
    }
    Err(FileError::Cutout {
        path: contents.path.clone(),
        detail: "it holds spectra, and only images are cut out by a position".to_owned(),
    })
}
