//! What one query works on.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::error::EngineError;
use super::state::{LivePart, State};
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId};
use crate::storage::{ObjectKey, Store};

/// A consistent view of a collection: what was committed when it was made, and nothing later.
#[derive(Debug, Clone)]
pub struct CollectionView {
    collection: CollectionId,
    state: Arc<State>,
    store: Arc<Store>,
}

impl CollectionView {
    pub(super) fn new(collection: CollectionId, state: Arc<State>, store: Arc<Store>) -> Self {
        Self { collection, state, store }
    }

    /// Number of the collection.
    pub fn collection(&self) -> CollectionId {
        self.collection
    }

    /// Schema of the collection.
    pub fn schema(&self) -> &CollectionSchema {
        &self.state.schema
    }

    /// Columns that predicates see.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.state.arrow_schema
    }

    /// Commit that the view shows.
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// The segment and the parts of the tail.
    pub fn parts(&self) -> Vec<&LivePart> {
        self.state.parts().collect()
    }

    /// Objects in the view.
    pub fn live_count(&self) -> u64 {
        self.state.live_count()
    }

    /// recall@10 that the segment's index of a space measured of itself when it was built.
    pub fn measured_recall(&self, space: crate::schema::SpaceId) -> Option<f64> {
        let (_, manifest) = self.state.segment.as_ref()?;
        let stored = manifest.spaces.iter().find(|stored| stored.space == space.0)?;
        stored.index.as_ref().map(|index| index.measured_recall)
    }

    /// Objects by id, as the store has them now (which may be later than the view).
    pub fn get(&self, ids: &[ObjectId]) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError> {
        Ok(self.store.get(self.collection, ids, true)?)
    }

    /// Objects by key, as the store has them now: for columns that are not resident, and for given vectors.
    pub fn fetch(
        &self,
        keys: &[ObjectKey],
        with_vectors: bool,
    ) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError> {
        Ok(self.store.get_keys(keys, with_vectors)?)
    }
}
