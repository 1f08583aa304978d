//! HDF5 files as observations: datasets called like spectra and cutouts, at the root or in groups.
//!
//! Names are those of tables (`flux` or `spectrum/flux` or `spectrum_flux`, ...). A file holds many observations when its
//! datasets have an axis of objects before the others: as many as there are ids, or rows of `flux`, or cutouts of four axes. A
//! dataset without that axis, such as one grid of wavelengths, belongs to all of them. Rows are read one by one, so that
//! memory is bounded by an observation (and a chunk of the file), not by the file.

use std::path::Path;

use hdf5_pure::{DType, Dataset, Datatype, DatatypeByteOrder, File, Group};

use super::cells::{Cell, Row, Value, shortened};
use super::names::{Role, role_of};
use super::payload::too_large;
use super::{ObservationOptions, ObservationRow, Source, VALUES_MAX, not_observation};
use crate::files::FileError;
use crate::files::contain::contain;

/// Most datasets and groups that are looked at.
const MEMBERS_MAX: usize = 2_000;

/// How deep groups are looked into.
const DEPTH_MAX: usize = 4;

/// Most bytes of the texts of one dataset's row.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A dataset whose name means something.
struct Known {
    name: String,
    role: Role,
    unit: String,
    shape: Vec<u64>,
    kind: Kind,
    dataset: Dataset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed,
    Unsigned,
    Real,
    /// Half precision, big-endian or not. The crate knows its layout and not its numbers.
    Half {
        is_big: bool,
    },
    Text,
}

struct Hdf5Source {
    path: String,
    datasets: Vec<Known>,
    /// How many observations; `None` for a file that is one, whose datasets have no axis of objects.
    rows: Option<u64>,
    options: ObservationOptions,
}

pub(super) fn open(
    path: &Path,
    options: &ObservationOptions,
) -> Result<Box<dyn Source>, FileError> {
    let shown = path.display().to_string();
    let damaged =
        |detail: String| FileError::Damaged { path: shown.clone(), format: "HDF5", detail };
    let (datasets, names) = contain(|| {
        let file = File::open_streaming(path)?;
        let (mut known, mut names) = (Vec::new(), Vec::new());
        collect(&file.root(), "", 0, &mut known, &mut names)?;
        Ok::<_, hdf5_pure::Error>((known, names))
    })
    .map_err(damaged)?;
    let is_observed =
        |each: &Known| matches!(each.role, Role::Flux | Role::Image | Role::ImageOfBand);
    if !datasets.iter().any(is_observed) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let detail = format!(
            "none of its datasets is called like a spectrum (flux) or a cutout (image): {}",
            shortened(&names)
        );
        return Err(not_observation(&shown, &detail));
    }
    let rows = rows_of(&datasets);
    Ok(Box::new(Hdf5Source { path: shown, datasets, rows, options: options.clone() }))
}

/// Walks through groups.
fn collect(
    group: &Group,
    prefix: &str,
    depth: usize,
    known: &mut Vec<Known>,
    names: &mut Vec<String>,
) -> Result<(), hdf5_pure::Error> {
    for (name, dataset) in group.iter_datasets()? {
        if names.len() >= MEMBERS_MAX {
            return Ok(());
        }
        let name = format!("{prefix}{name}");
        names.push(name.clone());
        let Some((role, _)) = role_of(&name) else { continue };
        let Some(kind) = kind_of(&dataset)? else { continue };
        let shape = dataset.shape()?;
        // A file need not have attributes that can be read.
        let unit = dataset.attrs().ok().and_then(|attributes| {
            let words = ["unit", "units", "UNIT", "UNITS"];
            words.iter().find_map(|word| attributes.get(*word)?.as_str().map(str::to_owned))
        });
        let unit = unit.unwrap_or_default();
        known.push(Known { name, role, unit, shape, kind, dataset });
    }
    if depth >= DEPTH_MAX {
        return Ok(());
    }
    for (name, inner) in group.iter_groups()? {
        if names.len() >= MEMBERS_MAX {
            return Ok(());
        }
        collect(&inner, &format!("{prefix}{name}/"), depth + 1, known, names)?;
    }
    Ok(())
}

/// What the values of a dataset are; `None` for structures, references and other things that are no numbers.
fn kind_of(dataset: &Dataset) -> Result<Option<Kind>, hdf5_pure::Error> {
    Ok(match dataset.dtype()? {
        DType::F32 | DType::F64 => Some(Kind::Real),
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => Some(Kind::Signed),
        // Booleans are enumerations.
        DType::U8 | DType::U16 | DType::U32 | DType::U64 | DType::Enum(_) => Some(Kind::Unsigned),
        DType::String | DType::VariableLengthString => Some(Kind::Text),
        DType::Other(other) => match *other {
            Datatype::FloatingPoint { size: 2, byte_order, layout } => {
                let is_half = layout.exponent_size == 5 && layout.mantissa_size == 10;
                let is_big = byte_order == DatatypeByteOrder::BigEndian;
                is_half.then_some(Kind::Half { is_big })
            }
            _ => None,
        },
        _ => None,
    })
}

/// The length of the axis of objects.
fn rows_of(datasets: &[Known]) -> Option<u64> {
    let find = |role: Role| datasets.iter().find(|each| each.role == role);
    let observed = [Role::Flux, Role::Image, Role::ImageOfBand].map(find);
    let first = |known: &Known| known.shape.first().copied();
    // Ids, and arrays of the same length behind them.
    for role in [Role::Object, Role::Ra] {
        if let Some([count]) = find(role).map(|known| known.shape.as_slice())
            && observed.iter().flatten().all(|known| first(known) == Some(*count))
        {
            return Some(*count);
        }
    }
    let [flux, image, band] = observed;
    let is_many = |known: &&Known, axes: usize| known.shape.len() == axes;
    let many = flux.filter(|flux| is_many(flux, 2));
    let many = many.or_else(|| image.filter(|image| is_many(image, 4)));
    many.or_else(|| band.filter(|band| is_many(band, 3))).and_then(first)
}

impl Source for Hdf5Source {
    fn row(&mut self, row: u64) -> Option<ObservationRow> {
        if row >= self.rows.unwrap_or(1) {
            return None;
        }
        let refused = |detail: String| not_observation(&self.path, &detail);
        if let Some(detail) = self.unpaired_ids() {
            return Some((None, Err(refused(detail))));
        }
        let mut cells = Row::default();
        for known in &self.datasets {
            let is_by_row = self.has_row_for_each(known);
            match contain(|| known.read(is_by_row.then_some(row))) {
                Ok(value) => {
                    let (name, unit) = (known.name.clone(), known.unit.clone());
                    cells.cells.push(Cell { name, unit, value });
                }
                Err(detail) => {
                    let detail = format!("dataset `{}`, row {row}: {detail}", known.name);
                    return Some((cells.object(), Err(refused(detail))));
                }
            }
        }
        let object = cells.object();
        Some((object, cells.into_observation(&self.options).map_err(refused)))
    }

    fn count(&self) -> Option<u64> {
        Some(self.rows.unwrap_or(1))
    }
}

impl Hdf5Source {
    /// What is wrong with ids that are neither one nor one for each observation.
    fn unpaired_ids(&self) -> Option<String> {
        let ids = self.datasets.iter().find(|each| each.role == Role::Object)?;
        let [count] = ids.shape[..] else { return None };
        let rows = self.rows.unwrap_or(1);
        (count != 1 && count != rows)
            .then(|| format!("`{}` has {count} entries for {rows} observations", ids.name))
    }

    /// Whether a dataset has the axis of objects. Where there happen to be as many pixels or bands as objects, one list of
    /// wavelengths or bands is that of all.
    fn has_row_for_each(&self, known: &Known) -> bool {
        let image_axes = self.datasets.iter().find(|each| each.role == Role::Image);
        let may_have = match known.role {
            Role::Wavelength | Role::LogWavelength | Role::Shape => known.shape.len() > 1,
            Role::Bands => {
                known.shape.len() > 1 || image_axes.is_some_and(|image| image.shape.len() == 3)
            }
            _ => true,
        };
        may_have && self.rows.is_some() && self.rows == known.shape.first().copied()
    }
}

impl Known {
    /// One row, or all of a dataset that has no axis of objects.
    fn read(&self, row: Option<u64>) -> Result<Value, String> {
        let text = |error: hdf5_pure::Error| error.to_string();
        let shape = if row.is_some() { self.shape.get(1..).unwrap_or(&[]) } else { &self.shape };
        let count = shape.iter().try_fold(1_u64, |product, length| product.checked_mul(*length));
        let count = count.filter(|count| *count <= VALUES_MAX as u64);
        let count = count.ok_or_else(|| too_large(usize::MAX))?;
        let (first, rows) = match row {
            Some(row) => (row, 1),
            None => (0, self.shape.first().copied().unwrap_or(1)),
        };
        if self.kind == Kind::Text {
            let bytes = self.dataset.element_size().map_err(text)?.saturating_mul(count);
            if bytes > TEXT_BYTES_MAX {
                return Err(format!("its texts have {bytes} bytes, more than {TEXT_BYTES_MAX}"));
            }
            return self.dataset.read_string_rows(first, rows).map(Value::Texts).map_err(text);
        }
        let is_id = self.role == Role::Object;
        if is_id && self.kind == Kind::Signed {
            let ids = self.dataset.read_i64_rows(first, rows).map_err(text)?;
            return Ok(Value::Texts(ids.iter().map(i64::to_string).collect()));
        }
        if is_id && self.kind == Kind::Unsigned {
            let ids = self.dataset.read_u64_rows(first, rows).map_err(text)?;
            return Ok(Value::Texts(ids.iter().map(u64::to_string).collect()));
        }
        let values = match self.kind {
            Kind::Half { is_big } => {
                let bytes = self.dataset.read_raw_rows(first, rows).map_err(text)?;
                let order = if is_big { u16::from_be_bytes } else { u16::from_le_bytes };
                let number = |raw: &[u8; 2]| half::f16::from_bits(order(*raw)).to_f64();
                bytes.as_chunks::<2>().0.iter().map(number).collect()
            }
            _ => self.dataset.read_f64_rows(first, rows).map_err(text)?,
        };
        if values.len() as u64 != count {
            return Err(format!("it has {} numbers instead of {count}", values.len()));
        }
        Ok(Value::Numbers { shape: shape.iter().map(|length| *length as usize).collect(), values })
    }
}
