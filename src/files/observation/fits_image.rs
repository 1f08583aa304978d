//! Images of FITS files: planes of one or several extensions, or one cube, whole or cut out.
//!
//! The square that is cut out around a position has the position's pixel in its middle (of an even side, the middle that is
//! nearest). It lies within the image as a whole: a position outside of the image is an error, and so is a square that hangs over
//! the edge, because made-up pixels would make a vector of something that was not observed.
//!
//! Extensions called MASK, IVAR, ERR and the like are no bands and are passed over.

use std::fs::File;

use super::bands::{self, BANDS_MAX, Survey};
use super::fits_file::Contents;
use super::payload::{IMAGE, NamedArray, Observation, Observed, too_large};
use super::{ObservationOptions, VALUES_MAX};
use crate::files::FileError;
use crate::files::fits::{Header, ImageUnit, Wcs};
use crate::sky::Position;

/// Names of extensions that accompany an image.
const NOT_PICTURES: [&str; 22] = [
    "MASK",
    "DQ",
    "ERR",
    "ERROR",
    "VAR",
    "VARIANCE",
    "IVAR",
    "INVVAR",
    "WEIGHT",
    "WHT",
    "PSF",
    "CTX",
    "CON",
    "STAT",
    "NOISE",
    "SIGMA",
    "FLAGS",
    "EXP",
    "RESOLUTION",
    "CHI2",
    "DEPTH",
    "UNCERT",
];

/// Names of extensions that say nothing about a band.
const SILENT_NAMES: [&str; 7] =
    ["SCI", "IMAGE", "PRIMARY", "COMPRESSED_IMAGE", "DATA", "FLUX", "CUTOUT"];

/// What a header says about an image as a whole.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    filter: Option<String>,
    survey: String,
}

impl Words {
    pub(super) fn of(header: &Header) -> Self {
        let text = |word: &&str| {
            header.text(word).map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let clear = |text: &String| !text.to_uppercase().starts_with("CLEAR");
        let filters = ["FILTER", "BAND", "FILTER1", "FILTER2", "BANDS", "FILTNAM"];
        let surveys = ["SURVEY", "INSTRUME", "CAMERA", "TELESCOP", "ORIGIN"];
        Self {
            filter: filters.iter().filter_map(text).find(clear),
            survey: surveys.iter().filter_map(text).collect::<Vec<_>>().join(" "),
        }
    }
}

/// Whether an array is an image of the sky.
pub(super) fn is_picture(image: &ImageUnit) -> bool {
    let name = image.name().to_uppercase();
    let accompanies = |known: &&str| {
        name == **known
            || name.ends_with(&format!("_{known}"))
            || name.starts_with(&format!("{known}_"))
    };
    image.shape.len() >= 2 && !NOT_PICTURES.iter().any(accompanies)
}

/// A rectangle of pixels.
#[derive(Debug, Clone, Copy)]
struct Window {
    top: usize,
    left: usize,
    rows: usize,
    columns: usize,
}

/// Reads the images of a file as one.
///
/// # Errors
/// [`FileError::Cutout`] for a square that the image does not have; [`FileError::NotObservation`] for shapes that are no image.
pub(super) fn read(
    contents: &mut Contents,
    options: &ObservationOptions,
) -> Result<Observation, FileError> {
    let images = std::mem::take(&mut contents.images);
    let pictures: Vec<&ImageUnit> = images.iter().filter(|image| is_picture(image)).collect();
    if pictures.is_empty() {
        return Err(contents.refused(
            "it has neither a table with a column `flux` nor an image of two or more axes"
                .to_owned(),
        ));
    }
    let mut whole: Option<NamedArray> = None;
    let mut position = options.center;
    let mut are_named = true;
    let is_single = pictures.len() == 1;
    for picture in pictures {
        let (mut image, middle) = read_one(contents, picture, options)?;
        image.bands = names(picture, image.shape[0], &contents.words, is_single);
        are_named &= !image.bands.is_empty();
        position = position.or(middle);
        whole = Some(match whole.take() {
            None => image,
            Some(stacked) => stacked.stacked(image).map_err(|detail| contents.refused(detail))?,
        });
    }
    let Some(mut whole) = whole else {
        return Err(contents.refused("it has no image".to_owned()));
    };
    if !are_named {
        whole.bands.clear();
    }
    bands::choose(&mut whole, &options.bands).map_err(|detail| contents.refused(detail))?;
    Ok(Observation {
        // OBJECT is a field as often as it is an object, and never the id of a catalogue.
        object: None,
        position,
        content: Observed::Arrays(vec![whole]),
    })
}

/// One extension, and the position of its middle.
fn read_one(
    contents: &mut Contents,
    image: &ImageUnit,
    options: &ObservationOptions,
) -> Result<(NamedArray, Option<Position>), FileError> {
    let (bands, rows, columns) = match image.shape[..] {
        [rows, columns] => (1, rows, columns),
        [bands, rows, columns] if bands <= BANDS_MAX => (bands, rows, columns),
        _ => {
            return Err(contents.refused(format!(
                "extension {} has the shape {:?}; (bands, rows, columns) with at most {BANDS_MAX} bands is read",
                image.number, image.shape
            )));
        }
    };
    let cutout = |detail: String| FileError::Cutout { path: contents.path.clone(), detail };
    let wcs = Wcs::of(&image.header);
    let window = match options.size {
        None => Window { top: 0, left: 0, rows, columns },
        Some(side) => {
            let middle = match &options.center {
                None => [columns, rows].map(|length| (length as f64 - 1.0) / 2.0),
                Some(center) => place(&wcs, center, rows, columns).map_err(cutout)?,
            };
            square(middle, side, rows, columns).map_err(cutout)?
        }
    };
    let count = window.rows.saturating_mul(window.columns).saturating_mul(bands);
    if count > VALUES_MAX {
        return Err(cutout(too_large(count)));
    }
    let values = read_window(&mut contents.file, image, bands, (rows, columns), window)
        .map_err(|source| FileError::Read { path: contents.path.clone(), source })?;
    let shape = vec![bands, window.rows, window.columns];
    let array = NamedArray { name: IMAGE.to_owned(), shape, bands: Vec::new(), values };
    let middle = [
        window.left as f64 + (window.columns as f64 - 1.0) / 2.0,
        window.top as f64 + (window.rows as f64 - 1.0) / 2.0,
    ];
    let position = wcs.ok().flatten().and_then(|wcs| wcs.position(middle));
    Ok((array, position))
}

fn read_window(
    file: &mut File,
    image: &ImageUnit,
    bands: usize,
    (rows, columns): (usize, usize),
    window: Window,
) -> std::io::Result<Vec<f32>> {
    let mut values = Vec::with_capacity(bands * window.rows * window.columns);
    let mut take = |first: usize, count: usize| -> std::io::Result<()> {
        values.extend(image.read(file, first, count)?.into_iter().map(|value| value as f32));
        Ok(())
    };
    for band in 0..bands {
        let top = band * rows + window.top;
        if window.columns == columns {
            take(top * columns, window.rows * columns)?;
            continue;
        }
        for row in top..top + window.rows {
            take(row * columns + window.left, window.columns)?;
        }
    }
    Ok(values)
}

/// The pixel of a position, which must be one of the image's.
fn place(
    wcs: &Result<Option<Wcs>, String>,
    center: &Position,
    rows: usize,
    columns: usize,
) -> Result<[f64; 2], String> {
    let wcs = match wcs {
        Ok(Some(wcs)) => wcs,
        Ok(None) => return Err("its header has no coordinates to cut out by".to_owned()),
        Err(detail) => return Err(detail.clone()),
    };
    let outside = |place: String| {
        format!("ra {}, dec {} lies outside of the image{place}", center.ra().0, center.dec().0)
    };
    let [x, y] = wcs.pixel(center).ok_or_else(|| outside(String::new()))?;
    let is_inside = |place: f64, length: usize| place >= -0.5 && place < length as f64 - 0.5;
    if is_inside(x, columns) && is_inside(y, rows) {
        return Ok([x, y]);
    }
    Err(outside(format!(", at pixel {x:.0}, {y:.0} of {columns} x {rows}")))
}

/// The square of a side around a place.
fn square(middle: [f64; 2], side: usize, rows: usize, columns: usize) -> Result<Window, String> {
    if side == 0 {
        return Err("a square of 0 pixels has nothing in it".to_owned());
    }
    let start = |place: f64, length: usize| {
        let first = (place - side as f64 / 2.0).ceil();
        (first >= 0.0 && first + side as f64 <= length as f64).then_some(first as usize)
    };
    match (start(middle[0], columns), start(middle[1], rows)) {
        (Some(left), Some(top)) => Ok(Window { top, left, rows: side, columns: side }),
        _ => Err(format!(
            "a square of {side} pixels around pixel {:.0}, {:.0} hangs over the edge of the {columns} x {rows} pixels; ask for a smaller one",
            middle[0], middle[1]
        )),
    }
}

/// The names of an extension's bands; empty where nothing names them all.
fn names(image: &ImageUnit, count: usize, file: &Words, is_single: bool) -> Vec<String> {
    let own = Words::of(&image.header);
    let survey = Survey::of(&own.survey).or_else(|| Survey::of(&file.survey));
    let canonical = |name: &String| bands::canonical(name, survey);
    if count > 1 {
        let numbered = |first: usize| -> Option<Vec<String>> {
            let word = |place: usize| {
                let text = ["BAND", "FILTER"]
                    .iter()
                    .find_map(|word| image.header.text(&format!("{word}{}", first + place)));
                text.map(str::to_owned)
            };
            (0..count).map(word).collect()
        };
        let listed = image.header.text("BANDS").or_else(|| image.header.text("FILTERS"));
        let listed = listed.and_then(|word| bands::listed(word, count));
        let names = numbered(0).or_else(|| numbered(1)).or(listed);
        return names.unwrap_or_default().iter().map(canonical).collect();
    }
    let extension = Some(image.name().to_owned())
        .filter(|name| !name.is_empty() && !SILENT_NAMES.contains(&name.to_uppercase().as_str()));
    // The primary header speaks of the one image that the file has.
    let of_file = file.filter.clone().filter(|_| is_single);
    own.filter.or(of_file).or(extension).iter().map(canonical).collect()
}
