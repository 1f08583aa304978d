//! What can be written, and what became of it.

use std::collections::HashMap;

use crate::schema::{CollectionSchema, FedSpace, Object, ObjectId, SpaceId, Value};
use crate::storage::{Operation, Outcome};
use crate::wire::v1::TokenSequence;

/// How a batch reaches the disk. Both are durable when the call returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteMode {
    /// Through the write-ahead log, synced: low latency.
    Logged,
    /// As sorted table files, ingested whole: high throughput for batches of thousands of rows.
    Bulk,
}

/// One row of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// The whole object; what exists under its id is replaced, and tokens that it has are removed.
    Put(Object),
    /// An object of which only some columns and vectors are given; an existing object keeps the others, and its tokens.
    /// What a space that is filled at ingest held goes all the same where it was made of a column that is another now: it is
    /// made again.
    Merge {
        /// The object; columns that are not given are null.
        object: Object,
        /// For each column of the schema, whether it is given.
        columns_given: Vec<bool>,
    },
    /// Vectors of an existing object.
    SetVectors {
        /// The object.
        id: ObjectId,
        /// Its new vectors; those of other spaces stay.
        vectors: Vec<(SpaceId, Vec<f32>)>,
    },
    /// Tokens of an existing object.
    SetTokens {
        /// The object.
        id: ObjectId,
        /// Its new tokens; those of other spaces stay.
        tokens: Vec<(SpaceId, TokenSequence)>,
    },
    /// Values of some columns of an existing object. What a space that is filled at ingest held goes where it was made of a
    /// column that is another now: it is made again.
    SetColumns {
        /// The object.
        id: ObjectId,
        /// The new values, each with the place of its column in the schema; everything else stays.
        columns: Vec<(usize, Value)>,
    },
    /// Removes an object.
    Delete(ObjectId),
}

/// What became of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOutcome {
    /// A new object.
    Inserted,
    /// An existing object, or an earlier row of the batch, was replaced.
    Replaced,
    /// Vectors or tokens were added to an object.
    VectorsSet,
    /// Values of columns of an object were set.
    ColumnsSet,
    /// The object is gone.
    Deleted,
    /// There was no such object.
    Absent,
    /// The row is not stored, for this reason.
    Refused(String),
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteReport {
    /// Version of the collection that holds the batch.
    pub version: u64,
    /// One outcome for each row, in order.
    pub outcomes: Vec<WriteOutcome>,
}

impl From<&Outcome> for WriteOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Inserted { .. } => Self::Inserted,
            Outcome::Replaced { .. } => Self::Replaced,
            Outcome::VectorsSet { .. } | Outcome::TokensSet { .. } => Self::VectorsSet,
            Outcome::ColumnsSet { .. } => Self::ColumnsSet,
            Outcome::Deleted { .. } => Self::Deleted,
            Outcome::Absent => Self::Absent,
        }
    }
}

impl Write {
    /// The object that it is about.
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Put(object) | Self::Merge { object, .. } => &object.id,
            Self::SetVectors { id, .. }
            | Self::SetTokens { id, .. }
            | Self::SetColumns { id, .. }
            | Self::Delete(id) => id,
        }
    }

    /// A row that was read before columns were added to the collection has null in them, or keeps what is there.
    pub(super) fn padded(mut self, width: usize) -> Self {
        let object = match &mut self {
            Self::Put(object) => object,
            Self::Merge { object, columns_given } => {
                if columns_given.len() == object.columns.len() && columns_given.len() < width {
                    columns_given.resize(width, false);
                }
                object
            }
            Self::SetVectors { .. }
            | Self::SetTokens { .. }
            | Self::SetColumns { .. }
            | Self::Delete(_) => return self,
        };
        if object.columns.len() < width {
            object.columns.resize(width, Value::Null);
        }
        self
    }

    /// Turns a merging write into a whole object, given the objects known so far, which learn it; tells the spaces whose
    /// tokens do not go with it.
    pub(super) fn completed(
        self,
        schema: &CollectionSchema,
        fed: &[FedSpace],
        known: &mut HashMap<ObjectId, Object>,
    ) -> (Self, Vec<SpaceId>) {
        let mut forgets = Vec::new();
        let (object, keeps) = match self {
            Self::Put(object) => (object, None),
            Self::Merge { object, columns_given } => match known.get(&object.id) {
                Some(existing) => {
                    let (object, stale) = merged(existing, object, &columns_given, fed);
                    forgets = stale;
                    (object, Some(columns_given))
                }
                None => (object, Some(columns_given)),
            },
            Self::Delete(id) => {
                known.remove(&id);
                return (Self::Delete(id), forgets);
            }
            Self::SetVectors { id, vectors } => {
                if let Some(existing) = known.get_mut(&id) {
                    add_vectors(&mut existing.vectors, vectors.clone());
                }
                return (Self::SetVectors { id, vectors }, forgets);
            }
            Self::SetTokens { id, tokens } => return (Self::SetTokens { id, tokens }, forgets),
            Self::SetColumns { id, columns } => {
                if let Some(existing) = known.get_mut(&id)
                    && schema.check_columns(&columns).is_ok()
                {
                    let before = existing.columns.clone();
                    for (place, value) in &columns {
                        if let Some(column) = existing.columns.get_mut(*place) {
                            column.clone_from(value);
                        }
                    }
                    let now = &existing.columns;
                    let stale = fed.iter().filter(|fed| fed.differs(&before, now));
                    let stale: Vec<SpaceId> = stale.map(|fed| fed.space).collect();
                    existing.vectors.retain(|(space, _)| !stale.contains(space));
                }
                return (Self::SetColumns { id, columns }, forgets);
            }
        };
        // A row that will be refused must not become what later rows of the batch build on.
        if schema.check(&object).is_ok() {
            known.insert(object.id.clone(), object.clone());
        }
        let whole = match keeps {
            Some(columns_given) => Self::Merge { object, columns_given },
            None => Self::Put(object),
        };
        (whole, forgets)
    }

    /// Checks a row against the schema; the reason is for the writer.
    pub(super) fn check(
        self,
        schema: &CollectionSchema,
        forgets: Vec<SpaceId>,
    ) -> Result<Operation, String> {
        match self {
            Self::Put(object) => {
                schema.check(&object).map_err(|error| error.to_string())?;
                Ok(Operation::Put(object))
            }
            Self::Merge { object, .. } => {
                schema.check(&object).map_err(|error| error.to_string())?;
                Ok(Operation::Update { object, forgets })
            }
            Self::SetVectors { id, vectors } => {
                schema.check_id(&id).map_err(|error| error.to_string())?;
                for (space, vector) in &vectors {
                    schema.check_vector(*space, vector).map_err(|error| error.to_string())?;
                }
                Ok(Operation::SetVectors { id, vectors })
            }
            Self::SetTokens { id, tokens } => {
                schema
                    .check_id(&id)
                    .and_then(|()| schema.check_all_tokens(&tokens))
                    .map_err(|error| error.to_string())?;
                Ok(Operation::SetTokens { id, tokens })
            }
            Self::SetColumns { id, columns } => {
                schema
                    .check_id(&id)
                    .and_then(|()| schema.check_columns(&columns))
                    .map_err(|error| error.to_string())?;
                Ok(Operation::SetColumns { id, columns })
            }
            Self::Delete(id) => {
                schema.check_id(&id).map_err(|error| error.to_string())?;
                Ok(Operation::Delete(id))
            }
        }
    }
}

/// What becomes of an object, and the spaces whose content was made of other columns than it has now.
fn merged(
    existing: &Object,
    given: Object,
    columns_given: &[bool],
    fed: &[FedSpace],
) -> (Object, Vec<SpaceId>) {
    let columns: Vec<Value> = given
        .columns
        .into_iter()
        .enumerate()
        .map(|(place, value)| {
            if columns_given.get(place).copied().unwrap_or(false) {
                value
            } else {
                existing.columns.get(place).cloned().unwrap_or(Value::Null)
            }
        })
        .collect();
    let stale = fed.iter().filter(|fed| fed.differs(&existing.columns, &columns));
    let stale: Vec<SpaceId> = stale.map(|fed| fed.space).collect();
    let mut vectors = existing.vectors.clone();
    vectors.retain(|(space, _)| !stale.contains(space));
    add_vectors(&mut vectors, given.vectors);
    (Object { id: given.id, position: given.position, columns, vectors }, stale)
}

fn add_vectors(vectors: &mut Vec<(SpaceId, Vec<f32>)>, given: Vec<(SpaceId, Vec<f32>)>) {
    for (space, vector) in given {
        vectors.retain(|(other, _)| *other != space);
        vectors.push((space, vector));
    }
}
