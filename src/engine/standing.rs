//! A collection between two commits.

use super::error::EngineError;
use super::row_policy::{self, RowPolicy};
use super::state::State;
use crate::schema::{CollectionId, CollectionSchema, Object, ObjectId, SpaceId};
use crate::storage::{Change, StorageError, Store};
use crate::wire::v1::TokenSequence;

/// What a collection holds at a moment in which nobody else can write to it: a batch that is made of it is written before it
/// becomes another.
#[derive(Debug)]
pub struct Standing<'c> {
    store: &'c Store,
    collection: CollectionId,
    state: &'c State,
}

impl<'c> Standing<'c> {
    pub(super) fn new(store: &'c Store, collection: CollectionId, state: &'c State) -> Self {
        Self { store, collection, state }
    }

    /// Number of the collection: another one may have its name by now.
    pub fn collection(&self) -> CollectionId {
        self.collection
    }

    /// What later commits than `version` changed; `None` where the store does not remember them all.
    ///
    /// # Errors
    /// When the store cannot be read.
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

    /// Schema of the collection.
    pub fn schema(&self) -> &CollectionSchema {
        &self.state.schema
    }

    /// Number of the last commit.
    pub fn version(&self) -> u64 {
        self.state.version
    }

    /// Objects by id, without their vectors; `None` for those that do not exist.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn get(&self, ids: &[ObjectId]) -> Result<Vec<Option<Object>>, EngineError> {
        let found = self.store.get(self.collection, ids, false)?;
        Ok(found.into_iter().map(|entry| entry.map(|(_, object)| object)).collect())
    }

    /// Whether each of some objects is there and a policy hides it.
    pub(super) fn hidden(
        &self,
        ids: &[ObjectId],
        policy: &dyn RowPolicy,
    ) -> Result<Vec<bool>, EngineError> {
        let found = self.store.get(self.collection, ids, false)?;
        let is_there: Vec<bool> = found.iter().map(Option::is_some).collect();
        let rows: Vec<_> = found.into_iter().flatten().collect();
        let (schema, arrow_schema) = (&self.state.schema, &self.state.arrow_schema);
        let admitted = row_policy::admits(policy, schema, arrow_schema, &rows)?;
        let mut admitted = admitted.into_iter();
        Ok(is_there.into_iter().map(|there| there && admitted.next() != Some(true)).collect())
    }

    /// Whether objects have a vector or tokens in a space.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn have(&self, space: SpaceId, ids: &[ObjectId]) -> Result<Vec<bool>, EngineError> {
        Ok(self.store.snapshot(self.collection)?.have(space, ids)?)
    }

    /// Tokens of objects in a space; `None` for objects that do not exist or have none.
    ///
    /// # Errors
    /// When the collection has no such space of tokens, or the store cannot be read.
    pub fn tokens(
        &self,
        space: SpaceId,
        ids: &[ObjectId],
    ) -> Result<Vec<Option<TokenSequence>>, EngineError> {
        Ok(self.store.snapshot(self.collection)?.tokens(space, ids)?)
    }
}
