//! What is asked of a collection, and what came of it.

use super::key::ObjectKey;
use crate::schema::{Object, ObjectId, SpaceId, Value};
use crate::wire::v1::TokenSequence;

/// One operation of a batch. Operations are applied in order: the last one on an object wins.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Inserts the object, or replaces it whole: columns, position, and all vectors (those not given are removed, as
    /// are all of its tokens).
    Put(Object),
    /// Does the same, but the object keeps the tokens that it has, also where it moves.
    Update {
        /// The object.
        object: Object,
        /// Spaces of tokens that are emptied all the same.
        forgets: Vec<SpaceId>,
    },
    /// Adds or replaces the given vectors of a stored object; its other vectors and its columns stay.
    SetVectors {
        /// The object.
        id: ObjectId,
        /// The new vectors.
        vectors: Vec<(SpaceId, Vec<f32>)>,
    },
    /// Adds or replaces the given tokens of a stored object; everything else stays.
    SetTokens {
        /// The object.
        id: ObjectId,
        /// The new tokens.
        tokens: Vec<(SpaceId, TokenSequence)>,
    },
    /// Sets values of some columns of a stored object; its position, its other columns, its vectors and its tokens stay, but
    /// for those of spaces that are filled at ingest from a column that is another now.
    SetColumns {
        /// The object.
        id: ObjectId,
        /// The new values, each with the place of its column in the schema; of several for one column the last one wins.
        columns: Vec<(usize, Value)>,
    },
    /// Removes the object, its vectors and its tokens.
    Delete(ObjectId),
}

impl Operation {
    /// The object that the operation is about.
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Put(object) | Self::Update { object, .. } => &object.id,
            Self::SetVectors { id, .. }
            | Self::SetTokens { id, .. }
            | Self::SetColumns { id, .. }
            | Self::Delete(id) => id,
        }
    }
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The object is new.
    Inserted {
        /// Where it is.
        key: ObjectKey,
    },
    /// The object was there and has been replaced.
    Replaced {
        /// Where it is.
        key: ObjectKey,
        /// Where it was; the same unless it has moved.
        previous: ObjectKey,
    },
    /// The vectors have been set.
    VectorsSet {
        /// Where the object is.
        key: ObjectKey,
    },
    /// The tokens have been set.
    TokensSet {
        /// Where the object is.
        key: ObjectKey,
    },
    /// The values of columns have been set.
    ColumnsSet {
        /// Where the object is.
        key: ObjectKey,
    },
    /// The object has been removed.
    Deleted {
        /// Where it was.
        previous: ObjectKey,
    },
    /// There is no such object; nothing was done.
    Absent,
}

/// An acknowledged batch: it survives a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Version of the collection after the batch; unchanged when the batch changed nothing.
    pub version: u64,
    /// One outcome for each operation, in order.
    pub outcomes: Vec<Outcome>,
}

/// What a commit did at a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The object at the key is new, replaced, or has new vectors or new values of columns.
    Put,
    /// The object at the key has new tokens and nothing else: who keeps no tokens need not heed it.
    Tokens,
    /// The key holds nothing any more.
    Delete,
}

/// One key that a commit changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: ObjectKey,
    /// What became of it.
    pub kind: ChangeKind,
}
