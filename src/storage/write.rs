//! Commits.

use super::engine::{Batch, Patience, Row};
use super::error::StorageError;
use super::key::{ChangeKey, Key, KeyRange, MetaKey};
use super::operation::{Change, Commit, Operation};
use super::plan::{Plan, plan};
use super::record::{decode_changes, encode_changes};
use super::slot::Slot;
use super::store::{Store, head};
use crate::schema::CollectionId;

/// Changes in one value of the `changes` table.
const PART_CHANGE_COUNT: usize = 65_536;

/// Bytes in one logged batch.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// How a batch gets to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Through the write-ahead log.
    Logged,
    /// As sorted files, when it is large enough.
    Bulk,
}

impl Store {
    /// Applies operations in order, in one atomic and durable commit.
    ///
    /// # Errors
    /// [`StorageError::Row`] when the schema refuses an operation: nothing of the batch is done then;
    /// [`StorageError::UnknownCollection`]; [`StorageError::BatchTooLarge`] beyond 1 GiB; those of the disk.
    #[expect(clippy::needless_pass_by_value, reason = "a batch is written once")]
    pub fn write(
        &self,
        collection: CollectionId,
        operations: Vec<Operation>,
    ) -> Result<Commit, StorageError> {
        self.commit(collection, &operations, Route::Logged)
    }

    /// Does the same as [`Store::write`] through sorted files that are moved into the database: for large imports.
    ///
    /// # Errors
    /// Those of [`Store::write`], without a limit of the size.
    #[expect(clippy::needless_pass_by_value, reason = "a batch is written once")]
    pub fn bulk_write(
        &self,
        collection: CollectionId,
        operations: Vec<Operation>,
    ) -> Result<Commit, StorageError> {
        self.commit(collection, &operations, Route::Bulk)
    }

    /// Does what [`Store::write`] and [`Store::bulk_write`] do with operations that the caller goes on using.
    ///
    /// # Errors
    /// Those of the two.
    pub fn commit(
        &self,
        collection: CollectionId,
        operations: &[Operation],
        route: Route,
    ) -> Result<Commit, StorageError> {
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        self.make_whole(&slot, Patience::Short)?;
        let meta = slot.meta()?;
        let plan = {
            let view = self.engine.view();
            let head = head(&*view, collection)?;
            plan(&*view, collection, &meta.schema, &head, operations)?
        };
        let Plan { outcomes, mut rows, changes, head } = plan;
        let version = head.version;
        if !changes.is_empty() {
            rows.extend(change_rows(collection, version, &changes));
            let size_bytes: usize = rows.iter().map(Row::size_bytes).sum();
            if route == Route::Bulk && size_bytes >= self.options.bulk_bytes_min {
                self.commit_bulk(&slot, head, rows)?;
            } else if size_bytes > BATCH_BYTES_MAX {
                let size_bytes_max = BATCH_BYTES_MAX;
                return Err(StorageError::BatchTooLarge { size_bytes, size_bytes_max });
            } else {
                let mut batch = Batch::default();
                for row in rows {
                    batch.row(row);
                }
                batch.put(&MetaKey::Head(collection), head.encode());
                self.engine.commit(&batch, Patience::Long)?;
            }
        }
        Ok(Commit { version, outcomes })
    }

    /// Returns what the commits after a version changed, oldest first.
    ///
    /// Applied to the keys that the collection had at that version, the changes give the keys that it has now.
    ///
    /// # Errors
    /// [`StorageError::ChangesTrimmed`] when some of them have been trimmed away.
    pub fn changes_since(
        &self,
        collection: CollectionId,
        version: u64,
    ) -> Result<Vec<(u64, Vec<Change>)>, StorageError> {
        let slot = self.slot(collection)?;
        let view = self.view_of(&slot)?.0;
        let head = head(&*view, collection)?;
        if version < head.trimmed_to {
            let kept_after = head.trimmed_to;
            return Err(StorageError::ChangesTrimmed { collection, after: version, kept_after });
        }
        let versions = version.saturating_add(1)..u64::MAX;
        let mut cursor = view.cursor(KeyRange::changes(collection, &versions))?;
        let mut commits: Vec<(u64, Vec<Change>)> = Vec::new();
        while let Some((key, value)) = cursor.advance()? {
            let version = ChangeKey::decode(key)?.version;
            let changes = decode_changes(collection, value)?;
            match commits.last_mut() {
                Some((last, list)) if *last == version => list.extend(changes),
                _ => commits.push((version, changes)),
            }
        }
        Ok(commits)
    }

    /// Forgets the changes up to and including a version, after an index that holds them has been made durable.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`] and those of the disk.
    pub fn trim_changes(&self, collection: CollectionId, up_to: u64) -> Result<(), StorageError> {
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        self.make_whole(&slot, Patience::Short)?;
        slot.meta()?;
        let mut head = head(&*self.engine.view(), collection)?;
        let up_to = up_to.min(head.version);
        if up_to <= head.trimmed_to {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete_range(KeyRange::changes(collection, &(0..up_to + 1)));
        head.trimmed_to = up_to;
        batch.put(&MetaKey::Head(collection), head.encode());
        self.engine.commit(&batch, Patience::Long)
    }

    /// Finishes a bulk import that an error interrupted. The caller holds the turn.
    pub(super) fn make_whole(&self, slot: &Slot, patience: Patience) -> Result<(), StorageError> {
        self.finish_interrupted(slot, patience).map_err(|source| match source {
            StorageError::UnknownCollection { .. } => source,
            source => StorageError::Unfinished { collection: slot.id, source: Box::new(source) },
        })
    }
}

/// The rows of the `changes` table for one commit.
pub(super) fn change_rows(
    collection: CollectionId,
    version: u64,
    changes: &[Change],
) -> impl Iterator<Item = Row> {
    changes.chunks(PART_CHANGE_COUNT).zip(0..).map(move |(portion, part)| {
        Row::put(&ChangeKey { collection, version, part }, encode_changes(portion))
    })
}
