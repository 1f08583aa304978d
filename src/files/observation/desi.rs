//! Coadded spectra of DESI: for each camera arrays WAVELENGTH, FLUX, IVAR and MASK, and a row in each of them for each fibre.
//!
//! The cameras of a fibre become one spectrum on the grid that they share (3600 to 9824 Angstrom in steps of 0.8: 7781 pixels).
//! Where cameras overlap, fluxes are averaged by inverse variance over the pixels that are good, and inverse variances add up;
//! a pixel that no camera measured well has flux 0, inverse variance 0 and mask 1. Fibres with negative TARGETID (none was
//! assigned a target) and those on sky are passed over and counted.
//!
//! # Reference
//! Guy et al. 2023, AJ 165, 144, section 4.

use std::fs::File;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use super::fits_file::Contents;
use super::spectrum::{RawSpectrum, angstroms};
use super::{Observation, ObservationRow, Observed, Source, VALUES_MAX, not_observation};
use crate::files::fits::{FitsReader, ImageUnit};
use crate::files::{FileError, Location, ReadOptions, TableReader};
use crate::sky::{Degrees, Position};

/// How far wavelengths of two cameras may be apart to be the same pixel, in Angstrom. The grids' own rounding is 1e-12.
const TOLERANCE: f64 = 1e-4;

/// Places of a camera's arrays among the images of a file.
pub(super) struct Arm {
    wavelength: usize,
    flux: usize,
    ivar: Option<usize>,
    mask: Option<usize>,
}

/// The cameras of a file: whatever has a flux with a row for each fibre and wavelengths as long as its rows.
pub(super) fn arms(contents: &Contents) -> Vec<Arm> {
    let place = |name: &str| {
        contents.images.iter().position(|image| image.name().eq_ignore_ascii_case(name))
    };
    let mut arms = Vec::new();
    for (flux, image) in contents.images.iter().enumerate() {
        let name = image.name().to_uppercase();
        let Some(camera) = name.strip_suffix("FLUX") else { continue };
        let Some(wavelength) = place(&format!("{camera}WAVELENGTH")) else { continue };
        let pixels = contents.images[wavelength].len();
        let rows = rows_of(image);
        if contents.images[wavelength].shape.len() != 1 || image.len() != rows * pixels {
            continue;
        }
        // Only the arrays of all fibres: a file of one axis is one spectrum of another kind.
        let fits = |place: &usize| contents.images[*place].shape == image.shape;
        let ivar = place(&format!("{camera}IVAR")).filter(fits);
        let mask = place(&format!("{camera}MASK")).filter(fits);
        arms.push(Arm { wavelength, flux, ivar, mask });
    }
    if contents.tables.iter().any(|table| table.name().eq_ignore_ascii_case("FIBERMAP")) {
        return arms;
    }
    arms.retain(|arm| contents.images[arm.flux].shape.len() == 2);
    arms
}

/// Spectra of an array; one whose only row was dropped as an axis of length one is one.
fn rows_of(image: &ImageUnit) -> usize {
    if image.shape.len() == 2 { image.shape[0] } else { 1 }
}

struct Camera {
    flux: ImageUnit,
    ivar: Option<ImageUnit>,
    mask: Option<ImageUnit>,
    pixels: usize,
    /// Place of its first pixel on the common grid.
    start: usize,
}

struct Fibre {
    row: usize,
    object: Option<String>,
    position: Option<Position>,
}

struct DesiSource {
    path: String,
    file: File,
    cameras: Vec<Camera>,
    grid: Vec<f64>,
    fibres: Vec<Fibre>,
    skipped: u64,
}

pub(super) fn open(mut contents: Contents, arms: &[Arm]) -> Result<Box<dyn Source>, FileError> {
    let rows = arms.first().map_or(0, |arm| rows_of(&contents.images[arm.flux]));
    if arms.iter().any(|arm| rows_of(&contents.images[arm.flux]) != rows) {
        return Err(contents.refused("its cameras have different numbers of fibres".to_owned()));
    }
    let (fibres, skipped) = fibres(&contents, rows)?;
    let mut grids = Vec::new();
    for arm in arms {
        grids.push(grid(&mut contents, arm.wavelength)?);
    }
    // Cameras from blue to red.
    let mut order: Vec<usize> = (0..arms.len()).collect();
    order.sort_by(|a, b| grids[*a][0].total_cmp(&grids[*b][0]));
    let mut common: Vec<f64> = Vec::new();
    let mut starts = vec![0; arms.len()];
    for place in &order {
        starts[*place] = join(&mut common, &grids[*place])
            .ok_or_else(|| contents.refused("its cameras are not on one grid".to_owned()))?;
    }
    let mut images: Vec<Option<ImageUnit>> = contents.images.into_iter().map(Some).collect();
    let mut take = |place: usize| images.get_mut(place).and_then(Option::take);
    let mut cameras = Vec::new();
    for place in order {
        let arm = &arms[place];
        let Some(flux) = take(arm.flux) else { continue };
        let (ivar, mask) = (arm.ivar.and_then(&mut take), arm.mask.and_then(&mut take));
        cameras.push(Camera { flux, ivar, mask, pixels: grids[place].len(), start: starts[place] });
    }
    let (path, file) = (contents.path, contents.file);
    Ok(Box::new(DesiSource { path, file, cameras, grid: common, fibres, skipped }))
}

/// A camera's wavelengths in Angstrom, ascending.
fn grid(contents: &mut Contents, place: usize) -> Result<Vec<f64>, FileError> {
    let image = &contents.images[place];
    if image.len() > VALUES_MAX {
        return Err(contents.refused(super::payload::too_large(image.len())));
    }
    let unit = image.header.text("BUNIT").unwrap_or("");
    let each = angstroms(unit)
        .ok_or_else(|| contents.refused(format!("its wavelengths are in `{unit}`")))?;
    let grid = image
        .read(&mut contents.file, 0, image.len())
        .map_err(|source| FileError::Read { path: contents.path.clone(), source })?;
    let grid: Vec<f64> = grid.into_iter().map(|value| value * each).collect();
    let is_rising = grid.windows(2).all(|pair| pair[0] < pair[1]);
    if is_rising && grid.first().is_some_and(|first| *first > 0.0) {
        return Ok(grid);
    }
    Err(contents.refused(format!("the wavelengths of {} do not rise", image.name())))
}

/// Puts a camera's wavelengths behind those of the bluer ones; gives the place of its first one. `None` when they do not coincide
/// where they overlap.
fn join(common: &mut Vec<f64>, grid: &[f64]) -> Option<usize> {
    let first = *grid.first()?;
    let start = common.partition_point(|wavelength| *wavelength < first - TOLERANCE);
    let shared = common.len() - start;
    let (overlap, more) = grid.split_at(shared.min(grid.len()));
    let coincide = |(own, theirs): (&f64, &f64)| (own - theirs).abs() < TOLERANCE;
    if !common[start..].iter().zip(overlap).all(coincide) {
        return None;
    }
    common.extend(more);
    Some(start)
}

/// The fibres on objects, and how many are not.
fn fibres(contents: &Contents, rows: usize) -> Result<(Vec<Fibre>, u64), FileError> {
    let is_map = |name: &str| name.eq_ignore_ascii_case("FIBERMAP");
    let Some(map) = contents.tables.iter().find(|table| is_map(table.name())) else {
        let all = (0..rows).map(|row| Fibre { row, object: None, position: None });
        return Ok((all.collect(), 0));
    };
    let location =
        Location { path: contents.location.path.clone(), extension: Some(map.number.to_string()) };
    let mut reader = FitsReader::open(&location, &ReadOptions::default())?;
    let (mut fibres, mut row) = (Vec::new(), 0);
    while let Some(batch) = reader.next_batch()? {
        let batch = batch.rows;
        let column = |name: &str, kind: &DataType| -> Option<ArrayRef> {
            cast(batch.column_by_name(name)?, kind).ok()
        };
        let ids = column("TARGETID", &DataType::Int64);
        let kinds = column("OBJTYPE", &DataType::Utf8);
        let ra = column("TARGET_RA", &DataType::Float64);
        let dec = column("TARGET_DEC", &DataType::Float64);
        let double = |column: &Option<ArrayRef>, place: usize| {
            column.as_ref().map(|column| Degrees(column.as_primitive::<Float64Type>().value(place)))
        };
        for place in 0..batch.num_rows() {
            let id = ids.as_ref().map(|ids| ids.as_primitive::<Int64Type>().value(place));
            let is_sky = kinds.as_ref().is_some_and(|kinds| {
                kinds.is_valid(place) && kinds.as_string::<i32>().value(place).trim() == "SKY"
            });
            if !is_sky && id.is_none_or(|id| id >= 0) {
                let position = double(&ra, place).zip(double(&dec, place));
                let position = position.and_then(|(ra, dec)| Position::new(ra, dec).ok());
                fibres.push(Fibre { row, object: id.map(|id| id.to_string()), position });
            }
            row += 1;
        }
    }
    if row != rows {
        return Err(contents.refused(format!("FIBERMAP has {row} fibres and FLUX has {rows}")));
    }
    let skipped = (rows - fibres.len()) as u64;
    Ok((fibres, skipped))
}

impl Source for DesiSource {
    fn row(&mut self, row: u64) -> Option<ObservationRow> {
        let fibre = self.fibres.get(usize::try_from(row).ok()?)?;
        let (row, object, position) = (fibre.row, fibre.object.clone(), fibre.position);
        let read = self
            .coadd(row)
            .map_err(|source| FileError::Read { path: self.path.clone(), source })
            .and_then(|spectrum| {
                let path = self.path.clone();
                let refused = |detail: String| not_observation(&path, &detail);
                spectrum.into_arrays().map_err(refused)
            });
        let read = read.map(|arrays| Observation {
            object: object.clone(),
            position,
            content: Observed::Arrays(arrays),
        });
        Some((object, read))
    }

    fn count(&self) -> Option<u64> {
        Some(self.fibres.len() as u64)
    }

    fn skipped(&self) -> u64 {
        self.skipped
    }
}

impl DesiSource {
    /// The cameras of one fibre, together.
    fn coadd(&mut self, row: usize) -> std::io::Result<RawSpectrum> {
        let mut flux = vec![0.0; self.grid.len()];
        let mut weight = vec![0.0; self.grid.len()];
        let has_ivar = self.cameras.iter().all(|camera| camera.ivar.is_some());
        let has_mask = self.cameras.iter().any(|camera| camera.mask.is_some());
        for camera in &self.cameras {
            let mut read =
                |image: &ImageUnit| image.read(&mut self.file, row * camera.pixels, camera.pixels);
            let fluxes = read(&camera.flux)?;
            let ivars = camera.ivar.as_ref().map(&mut read).transpose()?;
            let masks = camera.mask.as_ref().map(&mut read).transpose()?;
            for (place, value) in fluxes.iter().enumerate() {
                let is_bad = masks.as_ref().is_some_and(|mask| mask[place] != 0.0);
                let ivar = ivars.as_ref().map_or(1.0, |ivar| ivar[place]);
                if !is_bad && ivar > 0.0 && ivar.is_finite() && value.is_finite() {
                    flux[camera.start + place] += ivar * value;
                    weight[camera.start + place] += ivar;
                }
            }
        }
        for (value, weight) in flux.iter_mut().zip(&weight) {
            if *weight > 0.0 {
                *value /= weight;
            }
        }
        let unmeasured = weight.iter().map(|weight| f64::from(u8::from(*weight <= 0.0)));
        let mask = (has_mask || has_ivar).then(|| unmeasured.collect());
        Ok(RawSpectrum {
            flux,
            ivar: has_ivar.then_some(weight),
            mask,
            wavelength: Some(self.grid.clone()),
            ..RawSpectrum::default()
        })
    }
}
