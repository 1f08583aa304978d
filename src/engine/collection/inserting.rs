//! Blocks of new objects on their short way: into files first, beside whatever else is committed, then into the tables.

use std::sync::Arc;

use super::importing::Importing;
use super::{Collection, Publishing};
use crate::engine::error::EngineError;
use crate::engine::insert::{part_of_blocks, writes_of};
use crate::engine::part::Part;
use crate::engine::state::{Keep, MERGED_BYTES_MAX, State};
use crate::engine::vectors::PartVectors;
use crate::engine::write::{WriteMode, WriteOutcome, WriteReport};
use crate::files::ObjectBlock;
use crate::schema::Rows;
use crate::storage::{KnownKeys, Place, StagedInsert};

/// The rows of an insertion, with the tail part that is made of them.
type Staged = StagedInsert<Result<Part, EngineError>>;

/// Rows of blocks that wait to be inserted. Where they seem to be of new objects, they are on the disk already, in files that
/// nobody sees; dropped instead of inserted, they leave nothing.
#[must_use]
pub struct StagedBlocks {
    staged: Option<Staged>,
    blocks: Vec<Arc<ObjectBlock>>,
    collection: Arc<Collection>,
}

impl StagedBlocks {
    pub(in crate::engine) fn collection(&self) -> &Arc<Collection> {
        &self.collection
    }
}

impl Collection {
    /// Does of an insertion what can be done before its turn: rows are put in order, files are written, a tail part is made.
    pub(in crate::engine) fn stage(
        self: &Arc<Self>,
        blocks: Vec<Arc<ObjectBlock>>,
    ) -> Result<StagedBlocks, EngineError> {
        self.check_writable()?;
        let _importing = Importing::new(self);
        let state = self.state()?;
        let mut staged = None;
        if blocks.iter().all(|block| *block.schema() == *state.schema) {
            let rows = rows_of(&blocks);
            let part = |places: &[Place]| self.tail_part(&state, &blocks, places);
            staged = self.store.stage_insert(self.id, &state.schema, &rows, part)?;
        }
        Ok(StagedBlocks { staged, blocks, collection: Arc::clone(self) })
    }

    /// Commits the rows of blocks in one bulk commit. Where one is not new, or the schema has changed since the rows were
    /// checked, they become writes.
    pub(in crate::engine) fn insert(
        &self,
        mut blocks: StagedBlocks,
    ) -> Result<WriteReport, EngineError> {
        if let Some(staged) = blocks.staged.take()
            && let Some(report) = self.insert_new(staged, &blocks.blocks)?
        {
            return Ok(report);
        }
        let writes = writes_of(&blocks.blocks, self.record()?.schema.columns.len());
        self.write(WriteMode::Bulk, |_| Ok(writes))
    }

    /// `None`, and nothing is done, when the rows have to be written one by one.
    fn insert_new(
        &self,
        staged: Staged,
        blocks: &[Arc<ObjectBlock>],
    ) -> Result<Option<WriteReport>, EngineError> {
        let _importing = Importing::new(self);
        let _commit = self.lock_commits();
        let state = self.state_while_committing()?;
        let rows = rows_of(blocks);
        let mut publishing = Publishing { collection: self, is_done: false };
        let taken = |places: &[Place]| state.keys_among(places);
        let known = KnownKeys { version: state.version, taken: &taken };
        let Some(insertion) = self.store.insert_staged(self.id, staged, &rows, Some(&known))?
        else {
            publishing.is_done = true;
            return Ok(None);
        };
        let version = insertion.version;
        match insertion.made.and_then(|part| state.with_part(version, part)) {
            Ok(next) => {
                self.publish(next);
                publishing.is_done = true;
            }
            Err(error) => {
                // The rows are durable; only the derived state is not. It is made again at the next use.
                tracing::error!(collection = self.name, %error, "state will be restored from the store");
            }
        }
        let count = rows.iter().map(|block| block.count()).sum();
        Ok(Some(WriteReport { version, outcomes: vec![WriteOutcome::Inserted; count] }))
    }

    /// What stays in memory of rows until they are indexed.
    fn tail_part(
        &self,
        state: &State,
        blocks: &[Arc<ObjectBlock>],
        places: &[Place],
    ) -> Result<Part, EngineError> {
        if self.keep() == Keep::Keys {
            return Part::of_keys(places.iter().map(|place| (place.key.cell.0, place.key.ordinal)));
        }
        let part = part_of_blocks(&state.schema, &state.arrow_schema, blocks, places)?;
        if self.is_looked_at() || !may_wait(blocks, &part) {
            part.spaces().iter().for_each(PartVectors::make_ready);
        }
        Ok(part)
    }
}

/// Whether the vectors of a part may stay in their blocks. Small parts are merged, which needs the vectors, while commits wait;
/// and blocks of which vectors are the lesser part hold too much beside them.
fn may_wait(blocks: &[Arc<ObjectBlock>], part: &Part) -> bool {
    let (held, own) = (blocks.iter().map(|block| block.size_bytes()), part.vector_bytes());
    2 * own > MERGED_BYTES_MAX && held.sum::<usize>() <= 2 * own
}

fn rows_of(blocks: &[Arc<ObjectBlock>]) -> Vec<&dyn Rows> {
    blocks.iter().map(|block| block.as_ref() as &dyn Rows).collect()
}
