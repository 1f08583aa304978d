//! The columns of a file under the names that they get in a collection.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use arrow::datatypes::Schema;

use super::FileError;
use super::mapping::{IdSource, Picked, Resolved, place_of};
use super::told::ToldSpace;
use crate::schema::{NAME_LEN_MAX, is_built_in};
use crate::vector::Metric;

/// Prefix of the columns of a batch that hold vectors.
pub const VECTOR_PREFIX: &str = "vector.";

/// Where the vectors of a space come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VectorSource {
    /// An array with one row for each row of the table.
    Npy(PathBuf),
    /// A vector column of the table.
    Column(String),
}

/// `SPACE=FILE.npy` or `SPACE=COLUMN`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorSpec {
    /// Name of the space.
    pub space: String,
    /// Where its vectors are.
    pub source: VectorSource,
    /// Metric of the space, when it is created.
    pub metric: Metric,
    /// What the file tells of the space.
    pub(super) told: Option<ToldSpace>,
}

impl VectorSpec {
    /// Reads `SPACE=FILE.npy|COLUMN`.
    ///
    /// # Errors
    /// [`FileError::BadMapping`].
    pub fn parse(text: &str, metric: Metric) -> Result<Self, FileError> {
        let (space, source) = text
            .split_once('=')
            .map(|(space, source)| (space.trim(), source.trim()))
            .filter(|(space, source)| !space.is_empty() && !source.is_empty())
            .ok_or_else(|| FileError::BadMapping {
                given: text.to_owned(),
                detail: "vectors are given as SPACE=FILE.npy or SPACE=COLUMN".to_owned(),
            })?;
        let path = Path::new(source);
        let is_npy = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
        let source = if is_npy {
            VectorSource::Npy(path.to_owned())
        } else {
            VectorSource::Column(source.to_owned())
        };
        Ok(Self { space: space.to_owned(), source, metric, told: None })
    }
}

/// A column of the file with its name in a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assigned {
    pub(super) name: String,
    pub(super) picked: Picked,
    /// Whether the user gave the name.
    pub(super) is_asked_for: bool,
}

/// Names every column of the file that is not an id, a position or a space: those that the mapping names first, then
/// the others under their own names, made fit.
pub(super) fn assign(
    file: &Schema,
    resolved: &Resolved,
    vectors: &[VectorSpec],
) -> Result<(Vec<Assigned>, Vec<String>), FileError> {
    let mut used: HashSet<usize> = HashSet::new();
    let whole = |picked: &Picked| picked.element.is_none().then_some(picked.place);
    if let IdSource::Column(picked) = &resolved.id {
        used.extend(whole(picked));
    }
    used.extend([&resolved.ra, &resolved.dec].into_iter().filter_map(whole));
    used.extend(resolved.named.iter().filter_map(|(_, picked)| whole(picked)));
    for spec in vectors {
        if let VectorSource::Column(column) = &spec.source {
            used.extend(place_of(file, column, &spec.space)?);
        }
    }
    let mut taken: HashSet<String> =
        resolved.named.iter().map(|(name, _)| name.to_lowercase()).collect();
    let mut assigned: Vec<Assigned> = resolved
        .named
        .iter()
        .map(|(name, picked)| Assigned { name: name.clone(), picked: *picked, is_asked_for: true })
        .collect();
    let mut warnings = Vec::new();
    for (place, field) in file.fields().iter().enumerate() {
        if used.contains(&place) {
            continue;
        }
        let name = fit_name(field.name(), &mut taken);
        if &name != field.name() {
            warnings.push(format!("column `{}` is stored as `{name}`", field.name()));
        }
        let picked = Picked { place, element: None };
        assigned.push(Assigned { name, picked, is_asked_for: false });
    }
    Ok((assigned, warnings))
}

/// Makes a name of letters, digits, `_`, `-` and `.` that nobody has yet.
fn fit_name(given: &str, taken: &mut HashSet<String>) -> String {
    let mut name: String = given
        .trim()
        .chars()
        .map(
            |each| {
                if each.is_alphanumeric() || matches!(each, '_' | '-' | '.') { each } else { '_' }
            },
        )
        .collect();
    while name.ends_with('_') && name.len() > 1 && !given.ends_with('_') {
        name.pop();
    }
    if !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
        name.insert(0, '_');
    }
    if let Some(rest) = name.strip_prefix(VECTOR_PREFIX) {
        name = format!("vector_{rest}");
    }
    if is_built_in(&name) {
        name.push_str("_column");
    }
    // Room for a number behind the name.
    let longest = name
        .char_indices()
        .map(|(place, each)| place + each.len_utf8())
        .take_while(|end| *end <= NAME_LEN_MAX - 6)
        .last()
        .unwrap_or(0);
    if name.len() > NAME_LEN_MAX {
        name.truncate(longest);
    }
    let mut candidate = name.clone();
    let mut copy = 1;
    while !taken.insert(candidate.to_lowercase()) {
        copy += 1;
        candidate = format!("{name}_{copy}");
    }
    candidate
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_fit_and_unique() {
        let mut taken = HashSet::new();
        let mut fit = |name: &str| fit_name(name, &mut taken);
        assert_eq!(fit("mag_r"), "mag_r");
        assert_eq!(fit("MAG_R"), "MAG_R_2");
        assert_eq!(fit("flux (nJy)"), "flux__nJy");
        assert_eq!(fit("2mass"), "_2mass");
        assert_eq!(fit("ra"), "ra_column");
        assert_eq!(fit("vector.image"), "vector_image");
        assert_eq!(fit("δ"), "δ");
        let long = fit(&"x".repeat(500));
        assert!(long.len() <= NAME_LEN_MAX);
        assert_ne!(fit(&"x".repeat(501)), long);
    }

    #[test]
    fn vectors_come_from_arrays_or_columns() {
        let parse = |text| VectorSpec::parse(text, Metric::L2);
        let npy = parse("image = a/b.NPY").expect("sound");
        assert_eq!(npy.source, VectorSource::Npy(PathBuf::from("a/b.NPY")));
        let column = parse("image=emb").expect("sound");
        assert_eq!(column.source, VectorSource::Column("emb".to_owned()));
        assert!(parse("image").is_err() && parse("=x").is_err());
    }
}
