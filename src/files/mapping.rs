//! Which column of a file becomes what.

use std::collections::HashSet;

use arrow::datatypes::{DataType, Field, Schema};

use super::FileError;
use super::cast::list_item;
use super::reader::{META_UCD, metadata};

/// What the user said about columns: `object_id=COL,ra=COL,dec=COL,new=COL,new=COL[i],object_id=#row`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mapping {
    entries: Vec<(String, String)>,
}

/// A column of the file, or one element of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Picked {
    pub(super) place: usize,
    pub(super) element: Option<usize>,
}

/// Where object ids come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IdSource {
    /// The number of the row, from 0.
    Row,
    Column(Picked),
}

/// A mapping with every name found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) id: IdSource,
    pub(super) ra: Picked,
    pub(super) dec: Picked,
    /// New names, in the order given.
    pub(super) named: Vec<(String, Picked)>,
}

const OBJECT_ID: &str = "object_id";
const ROLES: [&str; 3] = [OBJECT_ID, "ra", "dec"];

/// The word that stands for the number of the row.
const ROW: &str = "#row";

/// Usual names of ids; the first group with a match decides.
const ID_NAMES: [&[&str]; 4] = [
    &["object_id"],
    &["objid", "obj_id", "objectid", "source_id", "sourceid", "targetid", "target_id", "ls_id"],
    &["id"],
    &["name", "designation", "iau_name", "iauname", "main_id", "id_str"],
];

/// Usual names of positions, in pairs; the first pair wins, two of the others are ambiguous.
const POSITION_NAMES: [(&str, &str); 22] = [
    ("ra", "dec"),
    ("ra", "de"),
    ("ra_deg", "dec_deg"),
    ("radeg", "decdeg"),
    ("radeg", "dedeg"),
    ("raj2000", "dej2000"),
    ("raj2000", "decj2000"),
    ("ra_j2000", "dec_j2000"),
    ("ra_icrs", "de_icrs"),
    ("ra_icrs", "dec_icrs"),
    ("_raj2000", "_dej2000"),
    ("_ra", "_de"),
    ("_ra_icrs", "_de_icrs"),
    ("ra2000", "dec2000"),
    ("ramean", "decmean"),
    ("target_ra", "target_dec"),
    ("plug_ra", "plug_dec"),
    ("fiber_ra", "fiber_dec"),
    ("alpha_j2000", "delta_j2000"),
    ("alpha", "delta"),
    ("right_ascension", "declination"),
    ("raj2000_deg", "dej2000_deg"),
];

impl Mapping {
    /// Reads a mapping; an empty text leaves everything to be guessed.
    ///
    /// # Errors
    /// [`FileError::BadMapping`].
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let mut mapping = Self::default();
        let mut seen = HashSet::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let bad = |detail: &str| FileError::BadMapping {
                given: entry.to_owned(),
                detail: detail.to_owned(),
            };
            let (target, source) = entry.split_once('=').ok_or_else(|| bad("it has no `=`"))?;
            let (target, source) = (target.trim(), source.trim());
            if target.is_empty() || source.is_empty() {
                return Err(bad("both sides of `=` are needed"));
            }
            let role = ROLES.iter().find(|role| role.eq_ignore_ascii_case(target));
            if source.eq_ignore_ascii_case(ROW) && role != Some(&OBJECT_ID) {
                return Err(bad("only object_id can be #row"));
            }
            if !seen.insert(target.to_lowercase()) {
                return Err(bad("it is mapped twice"));
            }
            let target = role.map_or_else(|| target.to_owned(), |role| (*role).to_owned());
            mapping.entries.push((target, source.to_owned()));
        }
        Ok(mapping)
    }

    /// Maps one more column; a later entry replaces an earlier one of the same name.
    #[must_use]
    pub fn with(mut self, target: &str, source: &str) -> Self {
        self.entries.retain(|(known, _)| !known.eq_ignore_ascii_case(target));
        self.entries.push((target.to_owned(), source.to_owned()));
        self
    }

    /// The file's name for a column of the collection, where the mapping gives one.
    pub(super) fn source(&self, target: &str) -> Option<&str> {
        self.entries
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(target))
            .map(|(_, source)| source.as_str())
    }

    /// Finds every name in the file, and guesses those of id and position that are not given.
    pub(super) fn resolve(&self, file: &Schema) -> Result<Resolved, FileError> {
        let pick =
            |role: &str| self.source(role).map(|source| find(file, source, role)).transpose();
        let id = match self.source(OBJECT_ID) {
            Some(source) if source.eq_ignore_ascii_case(ROW) => IdSource::Row,
            Some(source) => IdSource::Column(find(file, source, OBJECT_ID)?),
            None => IdSource::Column(guess_id(file)?),
        };
        let (ra, dec) = match (pick("ra")?, pick("dec")?) {
            (Some(ra), Some(dec)) => (ra, dec),
            (ra, dec) => guess_position(file, ra, dec)?,
        };
        let named = self
            .entries
            .iter()
            .filter(|(target, _)| !ROLES.contains(&target.as_str()))
            .map(|(target, source)| Ok((target.clone(), find(file, source, target)?)))
            .collect::<Result<Vec<_>, FileError>>()?;
        Ok(Resolved { id, ra, dec, named })
    }
}

/// Names that are looked for when the id is not given.
pub(super) fn usual_id_names() -> impl Iterator<Item = &'static str> {
    ID_NAMES.into_iter().flatten().copied()
}

/// Names of a file's columns, for messages.
pub(super) fn listed(file: &Schema) -> String {
    const MOST: usize = 60;
    let mut names: Vec<&str> =
        file.fields().iter().take(MOST).map(|field| field.name().as_str()).collect();
    let more = format!("and {} more", file.fields().len().saturating_sub(MOST));
    if file.fields().len() > MOST {
        names.push(&more);
    }
    names.join(", ")
}

/// Place of a column: its exact name, else its name without regard to case.
pub(super) fn place_of(file: &Schema, name: &str, role: &str) -> Result<Option<usize>, FileError> {
    if let Some(place) = file.fields().iter().position(|field| field.name() == name) {
        return Ok(Some(place));
    }
    let alike: Vec<usize> = file
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name().to_lowercase() == name.to_lowercase())
        .map(|(place, _)| place)
        .collect();
    match alike[..] {
        [] => Ok(None),
        [place] => Ok(Some(place)),
        _ => Err(ambiguous(file, &alike, role)),
    }
}

fn find(file: &Schema, source: &str, role: &str) -> Result<Picked, FileError> {
    if let Some(place) = place_of(file, source, role)? {
        return Ok(Picked { place, element: None });
    }
    let missing = || FileError::NoColumn {
        name: source.to_owned(),
        role: role.to_owned(),
        available: listed(file),
    };
    let (name, element) =
        source.strip_suffix(']').and_then(|source| source.rsplit_once('[')).ok_or_else(missing)?;
    let element: usize = element.trim().parse().map_err(|_| missing())?;
    let name = name.trim_end();
    let place = place_of(file, name, role)?.ok_or_else(missing)?;
    let no_element =
        |detail: String| FileError::NoElement { name: name.to_owned(), element, detail };
    let kind = file.field(place).data_type();
    if list_item(kind).is_none() {
        return Err(no_element(format!("the column is {kind}, not a vector")));
    }
    if let DataType::FixedSizeList(_, length) = kind
        && element >= *length as usize
    {
        return Err(no_element(format!("the column has elements 0 to {}", length - 1)));
    }
    Ok(Picked { place, element: Some(element) })
}

fn ambiguous(file: &Schema, places: &[usize], role: &str) -> FileError {
    let names: Vec<String> =
        places.iter().map(|place| format!("`{}`", file.field(*place).name())).collect();
    FileError::Ambiguous { names: names.join(", "), role: role.to_owned() }
}

/// Columns of a name, without regard to case.
fn named(file: &Schema, name: &str) -> Vec<usize> {
    let is_named = |field: &Field| field.name().eq_ignore_ascii_case(name);
    (0..file.fields().len()).filter(|place| is_named(file.field(*place))).collect()
}

/// The one column whose UCD says that it is the main one of its kind.
fn main_by_ucd(file: &Schema, ucd: &str) -> Option<usize> {
    let is_main = |field: &Field| {
        let given = metadata(field, META_UCD).to_lowercase();
        given.starts_with(ucd) && given.contains("meta.main")
    };
    let found: Vec<usize> =
        (0..file.fields().len()).filter(|place| is_main(file.field(*place))).collect();
    match found[..] {
        [place] => Some(place),
        _ => None,
    }
}

fn guess_id(file: &Schema) -> Result<Picked, FileError> {
    let whole = |place| Picked { place, element: None };
    if let Some(place) = main_by_ucd(file, "meta.id") {
        return Ok(whole(place));
    }
    for group in ID_NAMES {
        let found: Vec<usize> = group.iter().flat_map(|name| named(file, name)).collect();
        match found[..] {
            [] => {}
            [place] => return Ok(whole(place)),
            _ => return Err(ambiguous(file, &found, OBJECT_ID)),
        }
    }
    Err(FileError::NothingFits {
        role: OBJECT_ID,
        or_row: " (or =#row for the row number)",
        available: listed(file),
    })
}

/// Coordinates from one pair of names; a coordinate that is given stays.
fn guess_position(
    file: &Schema,
    ra: Option<Picked>,
    dec: Option<Picked>,
) -> Result<(Picked, Picked), FileError> {
    let whole = |place| Picked { place, element: None };
    let main = (main_by_ucd(file, "pos.eq.ra"), main_by_ucd(file, "pos.eq.dec"));
    match (ra, dec, main) {
        (Some(ra), Some(dec), _) => Ok((ra, dec)),
        (ra, dec, (Some(main_ra), Some(main_dec))) => {
            Ok((ra.unwrap_or(whole(main_ra)), dec.unwrap_or(whole(main_dec))))
        }
        (Some(ra), None, _) => {
            let names = POSITION_NAMES.map(|(_, dec)| dec);
            Ok((ra, whole(guess_one(file, "dec", &names)?)))
        }
        (None, Some(dec), _) => {
            let names = POSITION_NAMES.map(|(ra, _)| ra);
            Ok((whole(guess_one(file, "ra", &names)?), dec))
        }
        (None, None, _) => guess_pair(file).map(|(ra, dec)| (whole(ra), whole(dec))),
    }
}

fn guess_one(file: &Schema, role: &'static str, names: &[&str]) -> Result<usize, FileError> {
    let mut found: Vec<usize> = names.iter().flat_map(|name| named(file, name)).collect();
    found.dedup();
    let plain = named(file, role);
    match (&plain[..], &found[..]) {
        ([place], _) | ([], [place]) => Ok(*place),
        ([], []) => Err(FileError::NothingFits { role, or_row: "", available: listed(file) }),
        _ => Err(ambiguous(file, &found, role)),
    }
}

fn guess_pair(file: &Schema) -> Result<(usize, usize), FileError> {
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (ra_name, dec_name) in POSITION_NAMES {
        let (ras, decs) = (named(file, ra_name), named(file, dec_name));
        if ras.is_empty() || decs.is_empty() {
            continue;
        }
        match (&ras[..], &decs[..]) {
            ([ra], [dec]) => pairs.push((*ra, *dec)),
            ([_], _) => return Err(ambiguous(file, &decs, "dec")),
            _ => return Err(ambiguous(file, &ras, "ra")),
        }
        if (ra_name, dec_name) == POSITION_NAMES[0] {
            break;
        }
    }
    match pairs[..] {
        [pair] => Ok(pair),
        [] => Err(FileError::NothingFits { role: "ra", or_row: "", available: listed(file) }),
        _ => {
            let ras: Vec<usize> = pairs.iter().map(|(ra, _)| *ra).collect();
            let decs: Vec<usize> = pairs.iter().map(|(_, dec)| *dec).collect();
            let is_one_ra = ras.windows(2).all(|two| two[0] == two[1]);
            Err(if is_one_ra { ambiguous(file, &decs, "dec") } else { ambiguous(file, &ras, "ra") })
        }
    }
}
