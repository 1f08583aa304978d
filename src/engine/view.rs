//! What one query works on.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::cost::CostModel;
use super::derived::{Derivation, DerivedCache, DerivedValues, Formulas, derive};
use super::error::EngineError;
use super::state::{LivePart, State};
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId, SpaceId};
use crate::storage::{Change, ObjectKey, Snapshot, StorageError, Store};
use crate::wire::v1::TokenSequence;

/// A consistent view of a collection: what was committed when it was made, and nothing later.
#[derive(Debug, Clone)]
pub struct CollectionView {
    pub(super) collection: CollectionId,
    pub(super) state: Arc<State>,
    pub(super) store: Arc<Store>,
    pub(super) cost: CostModel,
    pub(super) formulas: Arc<Formulas>,
    pub(super) derived: Arc<DerivedCache>,
}

impl CollectionView {
    /// Number of the collection.
    pub fn collection(&self) -> CollectionId {
        self.collection
    }

    /// Schema of the collection.
    pub fn schema(&self) -> &CollectionSchema {
        &self.state.schema
    }

    /// The columns that parts have.
    pub fn arrow_schema(&self) -> &SchemaRef {
        &self.state.arrow_schema
    }

    /// The columns that predicates see: those that parts have, and the derived ones behind them.
    pub fn predicate_schema(&self) -> SchemaRef {
        self.formulas.extended(&self.state.arrow_schema)
    }

    /// The derived columns that there were when the view was made.
    pub fn formulas(&self) -> &Formulas {
        &self.formulas
    }

    /// Values of derived columns, by their places, for rows of a part, which ascend; `None` when `should_stop` said so.
    ///
    /// # Errors
    /// When vectors cannot be read.
    ///
    /// # Complexity
    /// That of the formula for the rows, or for all rows around where they are many; next to nothing for what was computed
    /// before and is still held.
    pub fn derive(
        &self,
        live: &LivePart,
        columns: &[usize],
        rows: &[u32],
        should_stop: &(dyn Fn() -> bool + Sync),
    ) -> Result<Option<Vec<DerivedValues>>, EngineError> {
        let derivation = Derivation {
            formulas: &self.formulas,
            cache: &self.derived,
            collection: self.collection,
            store: &self.store,
            should_stop,
        };
        derive(&derivation, live.part(), columns, rows)
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

    /// recall@10 that the segment's index of a space measured of itself, when it was built, for a recall wish.
    pub fn measured_recall(&self, space: SpaceId, wish: f64) -> Option<f64> {
        let (segment, _) = self.state.segment.as_ref()?;
        let index = segment.part().vectors(space)?.index()?;
        Some(index.measured_recall(wish).mean)
    }

    /// What the steps of a search cost on this machine.
    pub fn cost(&self) -> &CostModel {
        &self.cost
    }

    /// Objects by id, as the store has them now (which may be later than the view).
    pub fn get(&self, ids: &[ObjectId]) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError> {
        Ok(self.store.get(self.collection, ids, true)?)
    }

    /// The same, without their vectors.
    pub fn columns_of(
        &self,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<(ObjectKey, Object)>>, EngineError> {
        Ok(self.store.get(self.collection, ids, false)?)
    }

    /// What later commits than `version` changed, as far as the store remembers; `None` where it does not remember them all.
    /// Some of them may be later than the view.
    pub fn changes_since(
        &self,
        version: u64,
    ) -> Result<Option<Vec<(u64, Vec<Change>)>>, EngineError> {
        match self.store.changes_since(self.collection, version) {
            Ok(changes) => Ok(Some(changes)),
            Err(StorageError::ChangesTrimmed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Tokens of objects in a space, as the store has them now; `None` for objects that are gone or have none.
    pub fn tokens(
        &self,
        space: SpaceId,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<TokenSequence>>, EngineError> {
        Ok(self.store.snapshot(self.collection)?.tokens(space, ids)?)
    }

    /// Whether objects have a vector or tokens in a space, as the store has it now.
    pub fn have(&self, space: SpaceId, ids: &[ObjectId]) -> Result<Vec<bool>, EngineError> {
        Ok(self.store.snapshot(self.collection)?.have(space, ids)?)
    }

    /// Shows every vector of a space as it was given, in the order of the keys, as the store has them now; the first error of
    /// `visit` ends the walk.
    ///
    /// # Errors
    /// Those of the disk, and those of `visit`.
    pub fn visit_vectors(
        &self,
        space: SpaceId,
        visit: &mut dyn FnMut(ObjectKey, &[f32]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.store.snapshot(self.collection)?.visit_vectors(space, visit)
    }

    /// The store as it is now, which later writes do not change: for long walks.
    pub fn snapshot(&self) -> Result<Snapshot<'_>, EngineError> {
        Ok(self.store.snapshot(self.collection)?)
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
