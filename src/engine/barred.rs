//! Writes of somebody who does not see every row.
//!
//! What he writes over must be his to see. An object that is hidden from him is not there: it cannot be deleted or added to.
//! An id that one has is taken all the same, and a whole object under it is refused: two objects of one id there cannot be.

use std::sync::Arc;

use super::db::Db;
use super::error::EngineError;
use super::insert::writes_of;
use super::row_policy::RowPolicy;
use super::standing::Standing;
use super::write::{Write, WriteMode, WriteOutcome, WriteReport};
use crate::files::ObjectBlock;
use crate::schema::{CollectionId, ObjectId};

/// Why a row is refused whose id a hidden object has.
const TAKEN: &str = "this id is taken: choose another";

impl Db {
    /// Writes a batch as [`Db::write`] does, for somebody who sees what a policy admits: what would change a hidden object is
    /// absent, or refused where it is a whole object. Objects that he will not see himself may be written.
    ///
    /// # Errors
    /// Those of [`Db::write`].
    pub fn write_restricted(
        &self,
        name: &str,
        mode: WriteMode,
        writes: Vec<Write>,
        policy: &dyn RowPolicy,
    ) -> Result<WriteReport, EngineError> {
        self.write_through(name, None, mode, writes, Some(policy))
    }

    /// Writes a batch into a collection that must be the one of a number, and not one that has its name by now: as
    /// [`Db::write_restricted`] does where there is a policy, and else as [`Db::write`].
    ///
    /// # Errors
    /// Those of [`Db::write`]; [`EngineError::NoCollection`] where the name has another collection.
    pub fn write_pinned(
        &self,
        name: &str,
        id: CollectionId,
        mode: WriteMode,
        writes: Vec<Write>,
        policy: Option<&dyn RowPolicy>,
    ) -> Result<WriteReport, EngineError> {
        self.write_through(name, Some(id), mode, writes, policy)
    }

    /// The number of the collection that has a name now.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`].
    pub fn collection_id(&self, name: &str) -> Result<CollectionId, EngineError> {
        Ok(self.find(name)?.id())
    }

    fn write_through(
        &self,
        name: &str,
        id: Option<CollectionId>,
        mode: WriteMode,
        writes: Vec<Write>,
        policy: Option<&dyn RowPolicy>,
    ) -> Result<WriteReport, EngineError> {
        let mut barred: Vec<Option<WriteOutcome>> = Vec::new();
        let report = self.write_made(name, mode, |standing| {
            if id.is_some_and(|id| id != standing.collection()) {
                return Err(EngineError::NoCollection { name: name.to_owned() });
            }
            let Some(policy) = policy else { return Ok(writes) };
            barred = outcomes(standing, &writes, policy)?;
            let allowed = writes.into_iter().zip(&barred);
            let allowed = allowed.filter(|(_, outcome)| outcome.is_none());
            Ok(allowed.map(|(write, _)| write).collect())
        })?;
        if policy.is_none() {
            return Ok(report);
        }
        let mut written = report.outcomes.into_iter();
        let outcome = |barred: Option<WriteOutcome>| {
            barred.or_else(|| written.next()).unwrap_or(WriteOutcome::Absent)
        };
        let outcomes = barred.into_iter().map(outcome).collect();
        Ok(WriteReport { version: report.version, outcomes })
    }

    /// Writes the rows of blocks as [`Db::insert`] does, for somebody who sees what a policy admits: rows whose ids hidden
    /// objects have are refused one by one.
    ///
    /// # Errors
    /// Those of [`Db::write_pinned`].
    pub fn insert_restricted(
        &self,
        name: &str,
        pinned: Option<CollectionId>,
        blocks: &[Arc<ObjectBlock>],
        policy: &dyn RowPolicy,
    ) -> Result<WriteReport, EngineError> {
        let writes = writes_of(blocks, self.schema(name)?.columns.len());
        self.write_through(name, pinned, WriteMode::Bulk, writes, Some(policy))
    }
}

/// For each write what becomes of it where it is not carried out.
fn outcomes(
    standing: &Standing<'_>,
    writes: &[Write],
    policy: &dyn RowPolicy,
) -> Result<Vec<Option<WriteOutcome>>, EngineError> {
    let ids: Vec<ObjectId> = writes.iter().map(|write| write.id().clone()).collect();
    let hidden = standing.hidden(&ids, policy)?;
    let outcome = |(write, is_hidden): (&Write, bool)| {
        is_hidden.then(|| match write {
            Write::Put(_) | Write::Merge { .. } => WriteOutcome::Refused(TAKEN.to_owned()),
            Write::SetVectors { .. }
            | Write::SetTokens { .. }
            | Write::SetColumns { .. }
            | Write::Delete(_) => WriteOutcome::Absent,
        })
    };
    Ok(writes.iter().zip(hidden).map(outcome).collect())
}
