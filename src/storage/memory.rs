//! The engine in memory: the same contract on maps, for tests of everything above and as the oracle of the other one.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::engine::{
    Batch, Entry, KvCursor, KvEngine, KvView, Patience, SortedSource, StageId, Write,
};
use super::error::StorageError;
use super::key::KeyRange;
use super::record::StagedFile;
use super::table::Table;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;
type Tables = BTreeMap<String, Rows>;
type StagedRows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Maps in memory; nothing survives the process.
#[derive(Default)]
pub(crate) struct MemoryEngine {
    tables: RwLock<Arc<Tables>>,
    staged: Mutex<BTreeMap<StageId, BTreeMap<String, StagedRows>>>,
}

fn missing(name: &str) -> StorageError {
    StorageError::Engine { doing: "finding a table", detail: format!("no table `{name}`") }
}

fn rows_mut(tables: &mut Tables, table: Table) -> Result<&mut Rows, StorageError> {
    tables.get_mut(table.name()).ok_or_else(|| missing(table.name()))
}

impl MemoryEngine {
    fn change(
        &self,
        apply: impl FnOnce(&mut Tables) -> Result<(), StorageError>,
    ) -> Result<(), StorageError> {
        let mut current = self.tables.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Tables::clone(&current);
        apply(&mut next)?;
        *current = Arc::new(next);
        Ok(())
    }
}

impl KvEngine for MemoryEngine {
    fn view(&self) -> Box<dyn KvView + '_> {
        let tables = Arc::clone(&self.tables.read().unwrap_or_else(PoisonError::into_inner));
        Box::new(MemoryView { tables })
    }

    fn commit(&self, batch: &Batch, _patience: Patience) -> Result<(), StorageError> {
        self.change(|tables| {
            for write in batch.writes() {
                match write {
                    Write::Put { table, key, value } => {
                        rows_mut(tables, *table)?.insert(key.clone(), value.clone());
                    }
                    Write::Delete { table, key } => {
                        rows_mut(tables, *table)?.remove(key);
                    }
                    Write::DeleteRange(range) => {
                        let KeyRange { table, start, end } = range;
                        rows_mut(tables, *table)?.retain(|key, _| key < start || key >= end);
                    }
                }
            }
            Ok(())
        })
    }

    fn stage(
        &self,
        stage: StageId,
        sources: &[&dyn SortedSource],
    ) -> Result<Vec<StagedFile>, StorageError> {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let folder = staged.entry(stage).or_default();
        let mut files = Vec::new();
        for (place, source) in sources.iter().enumerate() {
            let table = source.table();
            let file = StagedFile { table, name: format!("{}-{place}.sst", table.name()) };
            let mut rows = StagedRows::new();
            source.visit(&mut |key, value| {
                rows.push((key.to_vec(), value.map(<[u8]>::to_vec)));
                Ok(())
            })?;
            folder.insert(file.name.clone(), rows);
            files.push(file);
        }
        Ok(files)
    }

    fn stage_more(
        &self,
        stage: StageId,
        sources: &[&dyn SortedSource],
    ) -> Result<Vec<StagedFile>, StorageError> {
        self.stage(stage, sources)
    }

    fn ingest(&self, stage: StageId, files: &[StagedFile]) -> Result<(), StorageError> {
        let mut staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(folder) = staged.get_mut(&stage) else { return Ok(()) };
        for file in files {
            let Some(staged) = folder.remove(&file.name) else { continue };
            self.change(|tables| {
                let rows = rows_mut(tables, file.table)?;
                for (key, value) in staged {
                    match value {
                        Some(value) => rows.insert(key, value),
                        None => rows.remove(&key),
                    };
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn staged(&self) -> Result<Vec<StageId>, StorageError> {
        let staged = self.staged.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(staged.keys().copied().collect())
    }

    fn discard(&self, stage: StageId) -> Result<(), StorageError> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner).remove(&stage);
        Ok(())
    }

    fn checkpoint(&self, folder: &Path) -> Result<(), StorageError> {
        let detail = format!("nothing in memory can be written into `{}`", folder.display());
        Err(StorageError::Engine { doing: "writing a checkpoint", detail })
    }

    fn create_table(&self, name: &str) -> Result<(), StorageError> {
        self.change(|tables| {
            tables.entry(name.to_owned()).or_default();
            Ok(())
        })
    }

    fn drop_table(&self, name: &str) -> Result<(), StorageError> {
        self.change(|tables| {
            tables.remove(name);
            Ok(())
        })
    }
}

struct MemoryView {
    tables: Arc<Tables>,
}

impl MemoryView {
    fn rows(&self, table: Table) -> Result<&Rows, StorageError> {
        self.tables.get(table.name()).ok_or_else(|| missing(table.name()))
    }
}

impl KvView for MemoryView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StorageError> {
        Ok(self.rows(table)?.get(key).cloned())
    }

    fn get_many(
        &self,
        table: Table,
        keys: &[Vec<u8>],
    ) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        let rows = self.rows(table)?;
        Ok(keys.iter().map(|key| rows.get(key).cloned()).collect())
    }

    fn has_any(&self, table: Table, keys: &[Vec<u8>]) -> Result<bool, StorageError> {
        let rows = self.rows(table)?;
        Ok(keys.iter().any(|key| rows.contains_key(key)))
    }

    fn cursor(&self, range: KeyRange) -> Result<Box<dyn KvCursor + '_>, StorageError> {
        let rows = self.rows(range.table)?;
        // A map panics on a range that ends before it starts.
        let end = range.end.max(range.start.clone());
        let bounds = (Bound::Included(range.start), Bound::Excluded(end));
        Ok(Box::new(MemoryCursor { entries: rows.range::<Vec<u8>, _>(bounds) }))
    }
}

struct MemoryCursor<'v> {
    entries: std::collections::btree_map::Range<'v, Vec<u8>, Vec<u8>>,
}

impl KvCursor for MemoryCursor<'_> {
    fn advance(&mut self) -> Result<Option<Entry<'_>>, StorageError> {
        Ok(self.entries.next().map(|(key, value)| (key.as_slice(), value.as_slice())))
    }
}
