//! What the collections and the disk are at the moment, in plain numbers for whoever watches the server.

use std::path::PathBuf;
use std::sync::Arc;

use super::collection::Collection;
use super::db::Db;
use super::error::EngineError;
use super::state::State;
use super::status::BuildStanding;
use crate::storage::{DiskSpace, StoreFigures, disk_space};

/// Sizes of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionFigures {
    /// Its name.
    pub name: String,
    /// Objects, exactly.
    pub objects: u64,
    /// Commits so far.
    pub version: u64,
    /// Live rows written after the last build, which are searched exactly; none before the collection was first used.
    pub tail_rows: u64,
    /// Rows of the segment.
    pub segment_rows: u64,
    /// Those of them that were deleted or written again since.
    pub dead_rows: u64,
    /// Whether a build runs.
    pub is_building: bool,
}

/// What is stored, and what it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DbFigures {
    /// The store.
    pub store: StoreFigures,
    /// Collections, by name.
    pub collections: Vec<CollectionFigures>,
    /// Room on the disk of the data directory; `None` where the system does not tell.
    pub disk: Option<DiskSpace>,
}

impl Db {
    /// Reads the figures. Collections that nobody has used since the start are not made ready for it.
    ///
    /// # Errors
    /// Those of reading the list of collections.
    pub fn figures(&self) -> Result<DbFigures, EngineError> {
        let mut collections = Vec::new();
        for collection in self.at_work() {
            collections.extend(of(&collection)?);
        }
        collections.sort_by(|left: &CollectionFigures, right| left.name.cmp(&right.name));
        Ok(DbFigures { store: self.store().figures(), collections, disk: self.disk_space() })
    }

    /// The build of a collection's segment that goes on, waits, or failed last.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`].
    pub fn build_standing(&self, collection: &str) -> Result<BuildStanding, EngineError> {
        Ok(self.find(collection)?.builds.standing())
    }

    /// Room on the disk of the data directory; `None` where the system does not tell.
    pub fn disk_space(&self) -> Option<DiskSpace> {
        disk_space(self.folder()).ok()
    }

    /// Whether writes fail at the moment, for example since the disk was full; see [`crate::storage::Store::writes_fail`].
    pub fn writes_fail(&self) -> bool {
        self.store().writes_fail()
    }

    /// Bytes of all files in the data directory.
    ///
    /// # Complexity
    /// Looks at every file: some thousands in a large database.
    pub fn disk_bytes(&self) -> u64 {
        let mut folders: Vec<PathBuf> = vec![self.folder().to_path_buf()];
        let mut bytes = 0;
        while let Some(folder) = folders.pop() {
            // Files come and go meanwhile: what cannot be looked at is not there.
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                match entry.metadata() {
                    Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                    Ok(metadata) => bytes += metadata.len(),
                    Err(_) => {}
                }
            }
        }
        bytes
    }
}

/// `None` for a collection that was dropped meanwhile.
fn of(collection: &Arc<Collection>) -> Result<Option<CollectionFigures>, EngineError> {
    let record = match collection.record() {
        Ok(record) => record,
        Err(EngineError::NoCollection { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let state = collection.published();
    let state = state.as_deref();
    Ok(Some(CollectionFigures {
        name: record.schema.name.clone(),
        objects: record.object_count,
        version: record.version,
        tail_rows: state.map_or(0, State::tail_rows),
        segment_rows: state.map_or(0, State::segment_rows),
        dead_rows: state.map_or(0, State::dead_rows),
        is_building: collection.builds.is_running(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::DbOptions;

    #[test]
    fn an_empty_database_has_files_and_no_collections() {
        let folder = tempfile::tempdir().expect("a folder");
        let db = Db::open(DbOptions::new(folder.path())).expect("opens");
        let figures = db.figures().expect("told");
        assert!(figures.collections.is_empty());
        assert!(figures.store.cache_bytes_max > 0, "{:?}", figures.store);
        assert!(figures.disk.is_some_and(|disk| disk.free_bytes > 0));
        assert!(db.disk_bytes() > 0);
    }
}
