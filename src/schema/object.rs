//! One catalogued object.

use super::{ObjectId, SpaceId, Value};
use crate::sky::Position;

/// A catalogued object as it is written and read.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Stable name within the collection.
    pub id: ObjectId,
    /// ICRS position.
    pub position: Position,
    /// One value for each column of the schema, in its order.
    pub columns: Vec<Value>,
    /// At most one vector for each space, as given by the writer (not normalised).
    pub vectors: Vec<(SpaceId, Vec<f32>)>,
}
