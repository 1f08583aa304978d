//! Observations in files: cutouts and spectra as astronomers have them, as arrays that encoders take.
//!
//! A cutout becomes an array `image` of shape [bands, rows, columns] with the names of its bands. A spectrum becomes
//! `flux` and, where the file has them, `ivar` (inverse variance), `mask` (1 = bad) and `wavelength` (Angstrom, ascending),
//! each of shape [pixels]. A file with both gives both. PNG and JPEG files pass through as bytes.
//!
//! [`read_observation`] reads one, [`read_together`] one whose parts are several files (a file a band), and
//! [`read_observations`] all of a file of many. Formats are told by their first bytes: FITS, HDF5, NumPy, Parquet,
//! Arrow IPC, PNG and JPEG. What each of them may look like is said in the module of that name.

mod arrow_rows;
mod bands;
mod cells;
mod desi;
mod fits_file;
mod fits_image;
mod fits_table;
mod hdf5;
mod line;
mod names;
mod npy;
mod payload;
mod spectrum;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

pub use self::payload::{NamedArray, Observation, Observed};

use super::{FileError, Location};
use crate::sky::Position;

/// Most numbers of one array: 64 MiB of single precision.
pub const VALUES_MAX: usize = 16 << 20;

/// Most bytes of a PNG or JPEG file.
const PICTURE_BYTES_MAX: u64 = 64 << 20;

/// Most files that make one observation together.
const FILES_MAX: usize = 64;

/// What is wanted of a file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservationOptions {
    /// Cut a square of `size` pixels out of an image around this position, by the image's own coordinates.
    pub center: Option<Position>,
    /// Pixels of the side. Without `center` the square is cut out of the middle. Also in images without coordinates.
    pub size: Option<usize>,
    /// Names for the bands of an image, in order. Where the file names its bands and has all of these, they choose and
    /// order instead.
    pub bands: Vec<String>,
    /// The observation that is meant in a file of many, from 0.
    pub row: Option<u64>,
}

/// An observation of a file of many: its id where the file names one, and what came of reading it.
pub type ObservationRow = (Option<String>, Result<Observation, FileError>);

/// Where observations come from, by number. Sources of formats that are read in sequence are quick only in ascending order.
trait Source: Send {
    /// Observation number `row`; `None` behind the last.
    fn row(&mut self, row: u64) -> Option<ObservationRow>;

    /// How many there are, where that is known without reading.
    fn count(&self) -> Option<u64>;

    /// Rows of the file that are no observation of an object, such as fibres on empty sky.
    fn skipped(&self) -> u64 {
        0
    }
}

/// One observation that has been read.
struct Single(Observation);

impl Source for Single {
    fn row(&mut self, row: u64) -> Option<ObservationRow> {
        (row == 0).then(|| (self.0.object.clone(), Ok(self.0.clone())))
    }

    fn count(&self) -> Option<u64> {
        Some(1)
    }
}

/// The observations of a file, one after the other. Those that cannot be read are errors among the others.
pub struct Observations {
    source: Box<dyn Source>,
    next: u64,
    is_done: bool,
}

impl Observations {
    /// How many there are, where the format tells without reading them.
    pub fn count_known(&self) -> Option<u64> {
        self.source.count()
    }

    /// Rows that are no observation of an object and are passed over: DESI's fibres on sky, for example.
    pub fn skipped(&self) -> u64 {
        self.source.skipped()
    }
}

impl Iterator for Observations {
    type Item = ObservationRow;

    fn next(&mut self) -> Option<ObservationRow> {
        if self.is_done {
            return None;
        }
        let row = self.source.row(self.next);
        self.next += 1;
        // Behind a file that cannot be read on there is nothing; a row that makes no sense is one of many.
        self.is_done = match &row {
            None => true,
            Some((_, Err(error))) => ends_reading(error),
            Some((_, Ok(_))) => false,
        };
        row
    }
}

fn ends_reading(error: &FileError) -> bool {
    matches!(
        error,
        FileError::Read { .. }
            | FileError::Open { .. }
            | FileError::Damaged { .. }
            | FileError::Truncated { .. }
    )
}

/// Reads the one observation of a file, or the one that `options.row` chooses.
///
/// # Errors
/// A file that cannot be read or holds no observation; [`FileError::WhichObservation`] for a file of many without a
/// `row`; [`FileError::Cutout`] for a square that the image does not have.
pub fn read_observation(
    path: &Path,
    options: &ObservationOptions,
) -> Result<Observation, FileError> {
    let mut source = open(path, options)?;
    let which = |given: String, count: Option<u64>| FileError::WhichObservation {
        path: path.display().to_string(),
        given,
        count: count.map_or_else(|| "several".to_owned(), |count| count.to_string()),
    };
    let Some((_, read)) = source.row(options.row.unwrap_or(0)) else {
        let given =
            options.row.map_or_else(|| "no".to_owned(), |row| format!("no number {row} among its"));
        return Err(which(given, source.count()));
    };
    let is_one = match source.count() {
        Some(count) => count == 1,
        None => options.row.is_some() || source.row(1).is_none(),
    };
    if options.row.is_none() && !is_one {
        return Err(which("not one but".to_owned(), source.count()));
    }
    read
}

/// Reads one observation whose parts are in several files, such as a file for each band: images are stacked in the order of
/// the files, other arrays are put beside each other.
///
/// # Errors
/// Those of [`read_observation`] for each file; [`FileError::NotObservation`] for parts that do not fit together.
pub fn read_together(
    paths: &[PathBuf],
    options: &ObservationOptions,
) -> Result<Observation, FileError> {
    let [path] = paths else {
        let (Some(first), true) = (paths.first(), paths.len() <= FILES_MAX) else {
            return Err(FileError::NotObservation {
                path: String::new(),
                detail: format!("an observation is made of 1 to {FILES_MAX} files"),
            });
        };
        // The words for bands are for all of the files.
        let each = ObservationOptions { bands: Vec::new(), ..options.clone() };
        let parts: Result<Vec<_>, _> =
            paths.iter().map(|path| read_observation(path, &each)).collect();
        let joined = payload::joined(parts?, &options.bands);
        let path = first.display().to_string();
        return joined.map_err(|detail| not_observation(&path, &detail));
    };
    read_observation(path, options)
}

/// Reads all observations of a file. `options.row` is not regarded.
///
/// # Errors
/// A file that cannot be read, or holds no observation. Rows that cannot be read are errors of the iterator.
pub fn read_observations(
    path: &Path,
    options: &ObservationOptions,
) -> Result<Observations, FileError> {
    Ok(Observations { source: open(path, options)?, next: 0, is_done: false })
}

/// [`FileError::NotObservation`], on one line whatever names the file has for its columns.
fn not_observation(path: &str, detail: &str) -> FileError {
    let readable = |each: char| if each.is_control() { ' ' } else { each };
    let detail = detail.chars().map(readable).collect();
    FileError::NotObservation { path: path.to_owned(), detail }
}

/// A format of observations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Picture,
    Npy,
    Hdf5,
    Fits,
    Table,
}

/// Whether the file begins like one that [`read_observation`] may read. A file that cannot be opened is none.
pub fn is_observation_file(path: &Path) -> bool {
    kind_of(&Location::parse(path).path).is_ok()
}

fn kind_of(path: &Path) -> Result<Kind, FileError> {
    let shown = path.display().to_string();
    let mut head = Vec::new();
    let file =
        File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
    file.take(16)
        .read_to_end(&mut head)
        .map_err(|source| FileError::Read { path: shown.clone(), source })?;
    let by_content: [(&[u8], Kind); 8] = [
        (b"\x89PNG\r\n\x1a\n", Kind::Picture),
        (&[0xff, 0xd8, 0xff], Kind::Picture),
        (b"\x93NUMPY", Kind::Npy),
        (b"\x89HDF\r\n\x1a\n", Kind::Hdf5),
        (b"SIMPLE  =", Kind::Fits),
        (b"PAR1", Kind::Table),
        (b"ARROW1", Kind::Table),
        (&[0xff, 0xff, 0xff, 0xff], Kind::Table),
    ];
    if let Some((_, kind)) = by_content.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Ok(*kind);
    }
    let unsupported = |what: &str, hint: &str| FileError::Unsupported {
        path: shown.clone(),
        what: what.to_owned(),
        hint: hint.to_owned(),
    };
    Err(match head.as_slice() {
        [0x1f, 0x8b, ..] => unsupported("gzip-compressed", "decompress it first with gunzip"),
        [b'P', b'K', 3 | 5, ..] => unsupported(
            "a zip archive (.npz?)",
            "save its arrays with numpy.save, or together with h5py or pyarrow",
        ),
        _ => FileError::NotObservation {
            path: shown,
            detail: "it is neither FITS, HDF5, .npy, Parquet, Arrow, PNG nor JPEG".to_owned(),
        },
    })
}

fn open(path: &Path, options: &ObservationOptions) -> Result<Box<dyn Source>, FileError> {
    let location = Location::parse(path);
    let kind = kind_of(&location.path)?;
    let shown = path.display().to_string();
    if location.extension.is_some() && kind != Kind::Fits {
        return Err(FileError::Unsupported {
            path: shown,
            what: "no FITS file, but has an extension in brackets".to_owned(),
            hint: "leave the brackets out".to_owned(),
        });
    }
    if options.center.is_some() && options.size.is_none() {
        let detail = "a position to cut out around needs the pixels of the side too".to_owned();
        return Err(FileError::Cutout { path: shown, detail });
    }
    if options.center.is_some() && kind != Kind::Fits {
        let detail = "only FITS images have coordinates to cut out by".to_owned();
        return Err(FileError::Cutout { path: shown, detail });
    }
    match kind {
        Kind::Picture => Ok(Box::new(Single(picture(&location.path)?))),
        Kind::Npy => npy::open(&location.path, options),
        Kind::Hdf5 => hdf5::open(&location.path, options),
        Kind::Fits => fits_file::open(&location, options),
        Kind::Table => arrow_rows::open(&location.path, options),
    }
}

/// The bytes of a PNG or JPEG file: they are decoded where they are used.
fn picture(path: &Path) -> Result<Observation, FileError> {
    let shown = path.display().to_string();
    let mut bytes = Vec::new();
    let file =
        File::open(path).map_err(|source| FileError::Open { path: shown.clone(), source })?;
    file.take(PICTURE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| FileError::Read { path: shown, source })?;
    if bytes.len() as u64 > PICTURE_BYTES_MAX {
        return Err(FileError::TooLarge {
            what: "bytes of a picture",
            given: bytes.len() as u64,
            limit: PICTURE_BYTES_MAX,
        });
    }
    Ok(Observation { object: None, position: None, content: Observed::Picture(bytes) })
}
