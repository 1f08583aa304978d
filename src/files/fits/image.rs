//! Arrays of numbers in FITS files (FITS standard 4.0, sections 3.3 and 7.1): the primary array and IMAGE extensions.

use std::io::{Read, Seek, SeekFrom};

use super::header::Header;
use super::unit::{Unit, Units};
use crate::files::FileError;

/// Most axes of an array that is read.
const AXES_MAX: i64 = 16;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// An array, not read yet.
#[derive(Debug)]
pub(in crate::files) struct ImageUnit {
    /// Number of the unit in the file.
    pub(in crate::files) number: u64,
    pub(in crate::files) header: Header,
    /// Lengths of the axes, the slowest first (the standard's order turned around), without axes of length one at the
    /// slow end.
    pub(in crate::files) shape: Vec<usize>,
    start: u64,
    kind: Kind,
    /// BLANK: the stored integer that means "no value".
    blank: Option<i64>,
    /// BSCALE and BZERO.
    scale: f64,
    zero: f64,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Byte,
    Short,
    Long,
    LongLong,
    Single,
    Double,
}

impl Kind {
    fn of(bitpix: i64) -> Option<Self> {
        Some(match bitpix {
            8 => Self::Byte,
            16 => Self::Short,
            32 => Self::Long,
            64 => Self::LongLong,
            -32 => Self::Single,
            -64 => Self::Double,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Self::Byte => 1,
            Self::Short => 2,
            Self::Long | Self::Single => 4,
            Self::LongLong | Self::Double => 8,
        }
    }
}

impl ImageUnit {
    /// The array of a unit; `None` for a unit without data, and for tables. All of its bytes are there.
    ///
    /// # Errors
    /// [`FileError::Unsupported`] for tile-compressed images, [`FileError::Damaged`], [`FileError::Truncated`].
    pub(in crate::files) fn of(unit: Unit, units: &Units) -> Result<Option<Self>, FileError> {
        let number = unit.number;
        if unit.header.logical("ZIMAGE") == Some(true) {
            return Err(FileError::Unsupported {
                path: format!("{}[{number}]", units.path()),
                what: "a tile-compressed image".to_owned(),
                hint: "uncompress it first with funpack".to_owned(),
            });
        }
        if !matches!(unit.kind(), "PRIMARY" | "IMAGE") {
            return Ok(None);
        }
        let damaged = |detail: String| FileError::Damaged {
            path: units.path().to_owned(),
            format: "FITS",
            detail,
        };
        let header = unit.header;
        let axes = header.integer("NAXIS").unwrap_or(0);
        if !(0..=AXES_MAX).contains(&axes) {
            return Err(damaged(format!("extension {number} has {axes} axes")));
        }
        let length = |axis: i64| {
            let length = header.integer(&format!("NAXIS{axis}"));
            length.and_then(|length| usize::try_from(length).ok())
        };
        let lengths: Option<Vec<usize>> = (1..=axes).rev().map(length).collect();
        let mut shape =
            lengths.ok_or_else(|| damaged(format!("an axis of extension {number} is missing")))?;
        if shape.is_empty() || shape.contains(&0) {
            return Ok(None);
        }
        while shape.len() > 1 && shape.first() == Some(&1) {
            shape.remove(0);
        }
        let bitpix = header.integer("BITPIX").unwrap_or(0);
        let kind = Kind::of(bitpix)
            .ok_or_else(|| damaged(format!("BITPIX of extension {number} is {bitpix}")))?;
        let bytes = shape
            .iter()
            .try_fold(kind.bytes(), |cells, length| cells.checked_mul(*length))
            .ok_or_else(|| damaged(format!("the size of extension {number} makes no sense")))?;
        if bytes as u64 > units.file_bytes().saturating_sub(unit.start) {
            let path = units.path().to_owned();
            let detail = format!("it ends inside the data of extension {number}");
            return Err(FileError::Truncated { path, format: "FITS", detail });
        }
        let is_integer = bitpix > 0;
        Ok(Some(Self {
            number,
            shape,
            start: unit.start,
            kind,
            blank: header.integer("BLANK").filter(|_| is_integer),
            scale: header.real("BSCALE").unwrap_or(1.0),
            zero: header.real("BZERO").unwrap_or(0.0),
            header,
        }))
    }

    /// Values of the whole array.
    pub(in crate::files) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// EXTNAME, or nothing.
    pub(in crate::files) fn name(&self) -> &str {
        self.header.text("EXTNAME").unwrap_or("").trim()
    }

    /// `count` values from the value number `first` on, scaled; blank ones are NaN.
    ///
    /// # Errors
    /// Those of the system. The caller stays within [`Self::len`].
    pub(in crate::files) fn read(
        &self,
        file: &mut (impl Read + Seek),
        first: usize,
        count: usize,
    ) -> std::io::Result<Vec<f64>> {
        let place = self.start + (first * self.kind.bytes()) as u64;
        file.seek(SeekFrom::Start(place))?;
        let mut rest = count * self.kind.bytes();
        let mut values = Vec::with_capacity(count);
        let mut piece = vec![0; rest.min(PIECE_BYTES)];
        while rest > 0 {
            let bytes = &mut piece[..rest.min(PIECE_BYTES)];
            file.read_exact(bytes)?;
            rest -= bytes.len();
            self.append(&mut values, bytes);
        }
        Ok(values)
    }

    fn append(&self, values: &mut Vec<f64>, bytes: &[u8]) {
        let integer = |stored: i64| {
            if self.blank == Some(stored) {
                return f64::NAN;
            }
            self.scaled(stored as f64)
        };
        match self.kind {
            Kind::Byte => values.extend(bytes.iter().map(|byte| integer(i64::from(*byte)))),
            Kind::Short => each(bytes, values, |raw| integer(i16::from_be_bytes(raw).into())),
            Kind::Long => each(bytes, values, |raw| integer(i32::from_be_bytes(raw).into())),
            Kind::LongLong => each(bytes, values, |raw| integer(i64::from_be_bytes(raw))),
            Kind::Single => each(bytes, values, |raw| self.scaled(f32::from_be_bytes(raw).into())),
            Kind::Double => each(bytes, values, |raw| self.scaled(f64::from_be_bytes(raw))),
        }
    }

    fn scaled(&self, stored: f64) -> f64 {
        stored * self.scale + self.zero
    }
}

fn each<const BYTES: usize>(
    bytes: &[u8],
    values: &mut Vec<f64>,
    number: impl Fn([u8; BYTES]) -> f64,
) {
    values.extend(bytes.as_chunks::<BYTES>().0.iter().map(|raw| number(*raw)));
}
