//! What one query works on.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::cost::CostModel;
use super::derived::{Derivation, DerivedCache, DerivedValues, Formulas, derive};
use super::error::EngineError;
use super::live_part::LivePart;
use super::row_policy::{self, RowPolicy};
use super::state::State;
use super::status::{CollectionInfo, IndexStatus};
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId, SpaceId};
use crate::storage::{Change, ObjectKey, Snapshot, StorageError, Store};
use crate::wire::v1::TokenSequence;

/// An object with its key, where there is one.
type Stored = Option<(ObjectKey, Object)>;

/// A consistent view of a collection: what was committed when it was made, and nothing later; with policies, of that what all
/// of them admit. Objects that they hide do not exist in it, whichever method is asked.
#[derive(Debug, Clone)]
pub struct CollectionView {
    pub(super) collection: CollectionId,
    pub(super) state: Arc<State>,
    pub(super) store: Arc<Store>,
    pub(super) cost: CostModel,
    pub(super) formulas: Arc<Formulas>,
    pub(super) derived: Arc<DerivedCache>,
    /// What hides rows; `state` is of the others alone.
    pub(super) policies: Vec<Arc<dyn RowPolicy>>,
}

impl CollectionView {
    /// The view of somebody who sees only the rows that a policy admits.
    ///
    /// # Complexity
    /// Nothing for parts that were shown under this policy before, and did not change; else that of the policy for their rows.
    #[must_use]
    pub fn restricted(mut self, policy: Arc<dyn RowPolicy>) -> Self {
        self.state = Arc::new(self.state.restricted(&*policy));
        self.policies.push(policy);
        self
    }

    /// The same, where nothing has to be found out for it; `None` otherwise.
    pub fn restricted_at_hand(mut self, policy: Arc<dyn RowPolicy>) -> Option<Self> {
        self.state = Arc::new(self.state.restricted_at_hand(policy.key())?);
        self.policies.push(policy);
        Some(self)
    }

    /// Whether there may be rows that the view does not show. Figures that tell of work done on them are then nobody's
    /// business.
    pub fn is_restricted(&self) -> bool {
        !self.policies.is_empty()
    }

    /// Its policies, for the schema that the collection has by now.
    pub(super) fn policies_on(&self, schema: &CollectionSchema) -> Vec<Arc<dyn RowPolicy>> {
        if *self.schema() == *schema {
            return self.policies.clone();
        }
        self.policies.iter().map(|policy| policy.on(schema)).collect()
    }

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
            version: self.version(),
            store: &self.store,
            should_stop,
        };
        derive(&derivation, live, columns, rows)
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

    /// recall@10 that the segment's index of a space measured of itself, when it was built, for a recall wish: on queries like the
    /// rows, or on some that are far from all of them. `None` where nothing was measured on such.
    pub fn measured_recall(&self, space: SpaceId, wish: f64, is_far: bool) -> Option<f64> {
        let (segment, _) = self.state.segment.as_ref()?;
        let index = segment.part().vectors(space)?.index()?;
        match is_far {
            true => index.far_recall(wish).map(|recall| recall.mean),
            false => Some(index.measured_recall(wish).mean),
        }
    }

    /// What the steps of a search cost on this machine.
    pub fn cost(&self) -> &CostModel {
        &self.cost
    }

    /// Schema and exact counts of what the view shows, and the cells that hold it where these are asked for.
    ///
    /// # Errors
    /// When the store cannot tell who has tokens.
    pub fn info(&self, with_footprint: bool) -> Result<CollectionInfo, EngineError> {
        CollectionInfo::of_view(self, with_footprint)
    }

    /// What is indexed of what the view shows. A restricted one tells nothing of the size of an index.
    pub fn index_status(&self) -> IndexStatus {
        let status = IndexStatus::of(&self.schema().name, &self.state);
        if self.is_restricted() { status.of_shown(&self.state) } else { status }
    }

    /// Those of some objects, as the store has them, that all policies admit.
    pub(super) fn admitted(&self, mut found: Vec<Stored>) -> Result<Vec<Stored>, EngineError> {
        for policy in &self.policies {
            let is_there: Vec<bool> = found.iter().map(Option::is_some).collect();
            let rows: Vec<(ObjectKey, Object)> = found.into_iter().flatten().collect();
            let admitted =
                row_policy::admits(&**policy, self.schema(), self.arrow_schema(), &rows)?;
            let shown = rows.into_iter().zip(admitted);
            let mut shown = shown.map(|(row, is_admitted)| is_admitted.then_some(row));
            let next = |is_there: bool| if is_there { shown.next().flatten() } else { None };
            found = is_there.into_iter().map(next).collect();
        }
        Ok(found)
    }

    /// Whether objects that the store has at a moment exist, for this view.
    fn exist(&self, snapshot: &Snapshot<'_>, ids: &[ObjectId]) -> Result<Vec<bool>, EngineError> {
        let found = self.admitted(snapshot.get(ids, false)?)?;
        Ok(found.iter().map(Option::is_some).collect())
    }

    /// Whether a row of the view has this key.
    pub(super) fn shows(&self, key: ObjectKey) -> bool {
        self.state
            .parts()
            .any(|live| live.part.row_of(key).is_some_and(|row| !live.dead.contains(row as u32)))
    }

    /// Objects by id, as the store has them now (which may be later than the view).
    pub fn get(&self, ids: &[ObjectId]) -> Result<Vec<Stored>, EngineError> {
        self.admitted(self.store.get(self.collection, ids, true)?)
    }

    /// The same, without their vectors.
    pub fn columns_of(&self, ids: &[ObjectId]) -> Result<Vec<Stored>, EngineError> {
        self.admitted(self.store.get(self.collection, ids, false)?)
    }

    /// What later commits than `version` changed, as far as the store remembers; `None` where it does not remember them all.
    /// Some of them may be later than the view. A restricted view tells of changes of the rows that it shows alone.
    pub fn changes_since(
        &self,
        version: u64,
    ) -> Result<Option<Vec<(u64, Vec<Change>)>>, EngineError> {
        let mut changes = match self.store.changes_since(self.collection, version) {
            Ok(changes) => changes,
            Err(StorageError::ChangesTrimmed { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if self.is_restricted() {
            for (_, changes) in &mut changes {
                changes.retain(|change| self.shows(change.key));
            }
            changes.retain(|(_, changes)| !changes.is_empty());
        }
        Ok(Some(changes))
    }

    /// Tokens of objects in a space, as the store has them now; `None` for objects that are gone or have none.
    pub fn tokens(
        &self,
        space: SpaceId,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<TokenSequence>>, EngineError> {
        let snapshot = self.store.snapshot(self.collection)?;
        let mut found = snapshot.tokens(space, ids)?;
        if self.is_restricted() {
            for (tokens, exists) in found.iter_mut().zip(self.exist(&snapshot, ids)?) {
                tokens.take_if(|_| !exists);
            }
        }
        Ok(found)
    }

    /// Whether objects have a vector or tokens in a space, as the store has it now.
    pub fn have(&self, space: SpaceId, ids: &[ObjectId]) -> Result<Vec<bool>, EngineError> {
        let snapshot = self.store.snapshot(self.collection)?;
        let mut have = snapshot.have(space, ids)?;
        if self.is_restricted() {
            for (has, exists) in have.iter_mut().zip(self.exist(&snapshot, ids)?) {
                *has &= exists;
            }
        }
        Ok(have)
    }

    /// Objects by key, as the store has them now: for columns that are not resident, and for given vectors.
    pub fn fetch(
        &self,
        keys: &[ObjectKey],
        with_vectors: bool,
    ) -> Result<Vec<Stored>, EngineError> {
        self.admitted(self.store.get_keys(keys, with_vectors)?)
    }
}
