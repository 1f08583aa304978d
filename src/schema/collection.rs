//! The schema of a collection, and the checks that every object passes before it is stored.

use thiserror::Error;

use super::{
    Column, ColumnType, DIMENSION_MAX, EmbeddingSpace, IdKind, Object, ObjectId, SpaceForm,
    SpaceId, Value, at_ingest,
};
use crate::class::Class;
use crate::vector::{Metric, norm};

/// Most columns of a collection.
pub const COLUMN_COUNT_MAX: usize = 2_000;

/// Longest name of a collection, column or space, in bytes.
pub const NAME_LEN_MAX: usize = 128;

/// Names that every collection has already.
const BUILT_IN_COLUMNS: [&str; 4] = ["object_id", "ra", "dec", "healpix_29"];

/// Whether a name is that of a column that every collection has: `object_id`, `ra`, `dec`, `healpix_29`, in any case of letters.
pub fn is_built_in(name: &str) -> bool {
    BUILT_IN_COLUMNS.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether every object that is returned has a column of this name without being asked for it: all built-in ones but the cell.
pub fn is_always_returned(name: &str) -> bool {
    is_built_in(name) && !name.eq_ignore_ascii_case(BUILT_IN_COLUMNS[3])
}

/// Beginnings of the names of columns that are computed when a query asks for them.
const DERIVED_PREFIXES: [&str; 2] = ["probe.", "misalignment."];

/// Why a schema or an object is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Names are letters, digits, `_`, `-`, `.`, and begin with a letter or `_`.
    #[error(
        "`{name}` is not a name for a {what}: use letters, digits, `_`, `-` or `.`, beginning with a letter or `_`, at most {NAME_LEN_MAX} bytes"
    )]
    BadName {
        /// Collection, column or space.
        what: &'static str,
        /// What was given.
        name: String,
    },
    /// Two columns or two spaces of one name.
    #[error("{what} `{name}` is declared twice (names are compared without regard to case)")]
    Duplicate {
        /// Column or space.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A column with a name that every collection has already.
    #[error("column `{name}` is built in; choose another name")]
    Reserved {
        /// The name.
        name: String,
    },
    /// Too many columns.
    #[error("{count} columns are more than the limit of {COLUMN_COUNT_MAX}")]
    TooManyColumns {
        /// How many were declared.
        count: usize,
    },
    /// A dimension of zero or beyond the limit.
    #[error("space `{space}` has dimension {dimension}; it must be 1 to {DIMENSION_MAX}")]
    BadDimension {
        /// Name of the space.
        space: String,
        /// What was declared.
        dimension: usize,
    },
    /// A dimension where there is nothing that could have one.
    #[error(
        "space `{space}` holds token ids, which have no components: its dimension must be 0, not {dimension}"
    )]
    DimensionOfIds {
        /// Name of the space.
        space: String,
        /// What was declared.
        dimension: usize,
    },
    /// Spaces that are declared shared and cannot be compared.
    #[error(
        "spaces `{one}` and `{other}` are declared to share `{shared}` and differ in {what}: vectors of one cannot be compared with those of the other"
    )]
    NotShared {
        /// Name of a space.
        one: String,
        /// Name of another.
        other: String,
        /// What they are declared to share.
        shared: String,
        /// What is different.
        what: &'static str,
    },
    /// An id of the other kind, empty, or too long.
    #[error("object id `{id}` does not fit: this collection's ids are {expected}")]
    BadId {
        /// The id.
        id: String,
        /// What the collection wants.
        expected: &'static str,
    },
    /// A value that does not belong into its column.
    #[error("column `{column}` is {expected}, the value is {given}")]
    WrongType {
        /// Name of the column.
        column: String,
        /// The column's type.
        expected: ColumnType,
        /// The value's type.
        given: ColumnType,
    },
    /// A row with more or fewer values than there are columns.
    #[error("{given} values for {expected} columns")]
    WrongWidth {
        /// Columns of the collection.
        expected: usize,
        /// Values of the row.
        given: usize,
    },
    /// A value for a column that does not exist.
    #[error("no column at place {place}: there are {count}, counted from 0")]
    NoColumn {
        /// The place.
        place: usize,
        /// Columns of the collection.
        count: usize,
    },
    /// A vector for a space that does not exist.
    #[error("no embedding space number {}", space.0)]
    UnknownSpace {
        /// The number.
        space: SpaceId,
    },
    /// A vector of the wrong length.
    #[error("space `{space}` has dimension {expected}, the vector has {given}")]
    WrongDimension {
        /// Name of the space.
        space: String,
        /// Dimension of the space.
        expected: usize,
        /// Length of the vector.
        given: usize,
    },
    /// A NaN or infinity in a vector.
    #[error("component {component} of the vector for space `{space}` is not a finite number")]
    NotFinite {
        /// Name of the space.
        space: String,
        /// Component, from 0.
        component: usize,
    },
    /// A zero vector in a cosine space.
    #[error("the vector for space `{space}` is zero: it has no direction, so no cosine distance")]
    ZeroNorm {
        /// Name of the space.
        space: String,
    },
    /// A vector for a space of tokens, or the other way round.
    #[error("space `{space}` holds {holds}; {given} do not belong into it")]
    WrongForm {
        /// Name of the space.
        space: String,
        /// What it holds.
        holds: &'static str,
        /// What was given.
        given: &'static str,
    },
    /// A sequence of tokens that its space does not take.
    #[error("the tokens for space `{space}` are refused: {reason}")]
    BadTokens {
        /// Name of the space.
        space: String,
        /// What is wrong with them.
        reason: String,
    },
    /// A space that is to be filled at ingest, by nobody.
    #[error(
        "space `{space}` holds vectors that were made elsewhere: name the model that encodes objects at ingest as the encoder of its provenance"
    )]
    AtIngestWithoutModel {
        /// Name of the space.
        space: String,
    },
    /// A space that is to be filled at ingest, from nothing.
    #[error(
        "space `{space}` is to be encoded at ingest with input `{input}` from `{column}`, which is no column of the collection"
    )]
    AtIngestWithoutColumn {
        /// Name of the space.
        space: String,
        /// Name of the model's input.
        input: String,
        /// What was given for a column.
        column: String,
    },
    /// Two vectors of one object for one space.
    #[error("two vectors for space `{space}` in one object")]
    TwoVectors {
        /// Name of the space.
        space: String,
    },
}

impl SchemaError {
    /// What the caller must do.
    #[expect(clippy::unused_self, reason = "as of every other error")]
    pub fn class(&self) -> Class {
        Class::Invalid
    }
}

/// Names, columns and spaces of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionSchema {
    /// Name, unique on the server.
    pub name: String,
    /// Whether ids are numbers or strings.
    pub id_kind: IdKind,
    /// Columns beside the built-in ones (`object_id`, `ra`, `dec`, `healpix_29`).
    pub columns: Vec<Column>,
    /// Embedding spaces.
    pub spaces: Vec<EmbeddingSpace>,
    /// A sentence for people.
    pub description: String,
}

impl CollectionSchema {
    /// Checks names, duplicates and limits.
    pub fn validate(&self) -> Result<(), SchemaError> {
        check_collection(&self.name)?;
        if self.columns.len() > COLUMN_COUNT_MAX {
            return Err(SchemaError::TooManyColumns { count: self.columns.len() });
        }
        let mut seen = std::collections::HashSet::new();
        for column in &self.columns {
            check_name("column", &column.name)?;
            let lower = column.name.to_lowercase();
            let is_derived = DERIVED_PREFIXES.iter().any(|prefix| lower.starts_with(prefix));
            if is_derived || is_built_in(&lower) {
                return Err(SchemaError::Reserved { name: column.name.clone() });
            }
            if !seen.insert(lower) {
                return Err(SchemaError::Duplicate { what: "column", name: column.name.clone() });
            }
        }
        let mut seen = std::collections::HashSet::new();
        for space in &self.spaces {
            check_name("embedding space", &space.name)?;
            if !seen.insert(space.name.to_lowercase()) {
                return Err(SchemaError::Duplicate {
                    what: "embedding space",
                    name: space.name.clone(),
                });
            }
            check_dimension(space)?;
            at_ingest::check(self, space)?;
        }
        check_shared(&self.spaces)
    }

    /// The space of a name, compared without regard to case.
    pub fn space(&self, name: &str) -> Option<&EmbeddingSpace> {
        self.spaces.iter().find(|space| space.name.eq_ignore_ascii_case(name))
    }

    /// The spaces that hold vectors.
    pub fn vector_spaces(&self) -> impl Iterator<Item = &EmbeddingSpace> {
        self.spaces.iter().filter(|space| space.holds_vectors())
    }

    /// The space of a number.
    pub fn space_by_id(&self, id: SpaceId) -> Option<&EmbeddingSpace> {
        self.spaces.iter().find(|space| space.id == id)
    }

    /// Place of a column by name, compared without regard to case.
    pub fn column_place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Checks everything about an object that the schema decides.
    pub fn check(&self, object: &Object) -> Result<(), SchemaError> {
        self.check_id(&object.id)?;
        if object.columns.len() != self.columns.len() {
            return Err(SchemaError::WrongWidth {
                expected: self.columns.len(),
                given: object.columns.len(),
            });
        }
        for (column, value) in self.columns.iter().zip(&object.columns) {
            check_value(column, value)?;
        }
        for (place, (space, vector)) in object.vectors.iter().enumerate() {
            self.check_vector(*space, vector)?;
            if object.vectors[..place].iter().any(|(other, _)| other == space) {
                let name =
                    self.space_by_id(*space).map(|space| space.name.clone()).unwrap_or_default();
                return Err(SchemaError::TwoVectors { space: name });
            }
        }
        Ok(())
    }

    /// Checks new values of some columns, each by the place of its column.
    pub fn check_columns(&self, columns: &[(usize, Value)]) -> Result<(), SchemaError> {
        let count = self.columns.len();
        columns.iter().try_for_each(|(place, value)| match self.columns.get(*place) {
            Some(column) => check_value(column, value),
            None => Err(SchemaError::NoColumn { place: *place, count }),
        })
    }

    /// Checks the kind and length of an id.
    pub fn check_id(&self, id: &ObjectId) -> Result<(), SchemaError> {
        let expected = match self.id_kind {
            IdKind::Number => "64-bit integers",
            IdKind::Text => "strings of 1 to 256 bytes",
        };
        let fits = match id {
            ObjectId::Number(_) => self.id_kind == IdKind::Number,
            ObjectId::Text(text) => {
                self.id_kind == IdKind::Text
                    && !text.is_empty()
                    && text.len() <= ObjectId::TEXT_LEN_MAX
            }
        };
        if fits { Ok(()) } else { Err(SchemaError::BadId { id: id.to_string(), expected }) }
    }

    /// Checks the length, finiteness and direction of a vector against its space.
    pub fn check_vector(&self, space: SpaceId, vector: &[f32]) -> Result<(), SchemaError> {
        let space = self.space_by_id(space).ok_or(SchemaError::UnknownSpace { space })?;
        if !space.holds_vectors() {
            return Err(SchemaError::WrongForm {
                space: space.name.clone(),
                holds: space.form.plural(),
                given: "vectors",
            });
        }
        if vector.len() != space.dimension {
            return Err(SchemaError::WrongDimension {
                space: space.name.clone(),
                expected: space.dimension,
                given: vector.len(),
            });
        }
        if let Some(component) = vector.iter().position(|value| !value.is_finite()) {
            return Err(SchemaError::NotFinite { space: space.name.clone(), component });
        }
        if space.metric == Metric::Cosine && norm(vector) == 0.0 {
            return Err(SchemaError::ZeroNorm { space: space.name.clone() });
        }
        Ok(())
    }
}

fn check_value(column: &Column, value: &Value) -> Result<(), SchemaError> {
    match value.kind() {
        Some(given) if given != column.kind => Err(SchemaError::WrongType {
            column: column.name.clone(),
            expected: column.kind,
            given,
        }),
        Some(_) | None => Ok(()),
    }
}

fn check_dimension(space: &EmbeddingSpace) -> Result<(), SchemaError> {
    let (name, dimension) = (space.name.clone(), space.dimension);
    match space.form {
        SpaceForm::TokenIds if dimension == 0 => Ok(()),
        SpaceForm::TokenIds => Err(SchemaError::DimensionOfIds { space: name, dimension }),
        SpaceForm::Vector | SpaceForm::Tokens if (1..=DIMENSION_MAX).contains(&dimension) => Ok(()),
        SpaceForm::Vector | SpaceForm::Tokens => {
            Err(SchemaError::BadDimension { space: name, dimension })
        }
    }
}

/// Spaces that share one are compared with each other, so they need one dimension and one metric.
fn check_shared(spaces: &[EmbeddingSpace]) -> Result<(), SchemaError> {
    for (place, space) in spaces.iter().enumerate() {
        let Some(shared) = &space.shared else { continue };
        check_name("shared space", shared)?;
        if !space.holds_vectors() {
            return Err(SchemaError::WrongForm {
                space: space.name.clone(),
                holds: space.form.plural(),
                given: "vectors of a shared space",
            });
        }
        for other in spaces.iter().take(place).filter(|other| other.shares_with(space)) {
            let what = if other.dimension != space.dimension {
                "dimension"
            } else if other.metric != space.metric {
                "metric"
            } else {
                continue;
            };
            let (one, other) = (other.name.clone(), space.name.clone());
            return Err(SchemaError::NotShared { one, other, shared: shared.clone(), what });
        }
    }
    Ok(())
}

/// What stands between the name of a collection and that of its release; no name that is given holds it.
const RELEASE_MARK: char = '@';

/// The name of the collection that holds a release of another.
pub fn release_name(collection: &str, release: &str) -> String {
    format!("{collection}{RELEASE_MARK}{release}")
}

/// Takes the name of a collection that holds a release apart: the collection released, and the release.
pub fn split_release(name: &str) -> Option<(&str, &str)> {
    name.split_once(RELEASE_MARK)
}

/// Refuses what is neither the name of a collection nor that of a release of one.
fn check_collection(name: &str) -> Result<(), SchemaError> {
    match split_release(name) {
        Some((collection, release)) => {
            check_name("collection", collection)?;
            check_name("release", release)
        }
        None => check_name("collection", name),
    }
}

/// Refuses what is not a name for a collection, a column, a space, or whatever `what` says.
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), SchemaError> {
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|first| first.is_alphabetic() || first == '_');
    let goes_on = characters.all(|each| each.is_alphanumeric() || matches!(each, '_' | '-' | '.'));
    if begins && goes_on && name.len() <= NAME_LEN_MAX {
        Ok(())
    } else {
        Err(SchemaError::BadName { what, name: name.to_owned() })
    }
}
