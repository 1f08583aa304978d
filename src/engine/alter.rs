//! What a database does to a collection beside writing its objects: spaces, columns, and records that others read.

use std::sync::Arc;

use super::db::Db;
use super::derived::{DerivedColumn, Formula, Formulas};
use super::error::EngineError;
use super::status::{CollectionInfo, same_space};
use super::view::CollectionView;
use crate::schema::{AtIngest, CollectionSchema, Column, EmbeddingSpace};
use crate::storage::{RecordKind, ServerRecordKind, StorageError};

/// Why a walk ended: an error of the store, or of who is shown its records.
struct Ended<E>(E);

impl<E: From<EngineError>> From<StorageError> for Ended<E> {
    fn from(error: StorageError) -> Self {
        Self(EngineError::from(error).into())
    }
}

impl Db {
    /// Adds an embedding space, or confirms that an equal one is there. One that shares nothing yet can be declared to share a
    /// space with others.
    ///
    /// # Errors
    /// [`EngineError::SpaceMismatch`] when a space of that name has another form, dimension, metric or provenance.
    pub fn add_space(
        &self,
        name: &str,
        space: EmbeddingSpace,
    ) -> Result<CollectionInfo, EngineError> {
        self.add_spaces(name, vec![space])
    }

    /// Adds several embedding spaces as [`Db::add_space`] does, all of them or none.
    ///
    /// # Errors
    /// Those of [`Db::add_space`] for any of them.
    pub fn add_spaces(
        &self,
        name: &str,
        spaces: Vec<EmbeddingSpace>,
    ) -> Result<CollectionInfo, EngineError> {
        let collection = self.find(name)?;
        let record = collection.record()?;
        let (mut new, mut shares) = (Vec::new(), Vec::new());
        for space in spaces {
            let Some(existing) = record.schema.space(&space.name) else {
                new.push(space);
                continue;
            };
            same_space(name, existing, &space)?;
            if let (Some(shared), None) = (space.shared, &existing.shared) {
                shares.push((existing.id, shared));
            }
        }
        if new.is_empty() && shares.is_empty() {
            return Ok(CollectionInfo::of(&record, None));
        }
        let mut extended = CollectionSchema::clone(&record.schema);
        extended.spaces.extend(new.iter().cloned());
        for (id, shared) in &shares {
            let mut found = extended.spaces.iter_mut().filter(|space| space.id == *id);
            found.by_ref().for_each(|space| space.shared = Some(shared.clone()));
        }
        extended.validate()?;
        collection.alter(|store| store.add_spaces(collection.id(), new, shares))?;
        Ok(CollectionInfo::of(&collection.record()?, None))
    }

    /// Adds a column behind the others, or confirms that one of its name and type is there. Every object has null in it;
    /// the next build gives it an index.
    ///
    /// # Errors
    /// [`EngineError::ColumnMismatch`] when a column of that name has another type; [`EngineError::Schema`] for a name that
    /// is refused.
    pub fn add_column(&self, name: &str, column: Column) -> Result<CollectionInfo, EngineError> {
        let collection = self.find(name)?;
        let record = collection.record()?;
        let existing = record.schema.column_place(&column.name);
        if let Some(existing) = existing.and_then(|place| record.schema.columns.get(place)) {
            if existing.kind == column.kind {
                return Ok(CollectionInfo::of(&record, None));
            }
            return Err(EngineError::ColumnMismatch {
                collection: name.to_owned(),
                column: existing.name.clone(),
                existing: existing.kind,
                given: column.kind,
            });
        }
        if collection.formulas.get().place(&column.name).is_some() {
            return Err(EngineError::Formula {
                collection: name.to_owned(),
                names: column.name.clone(),
                what: "a stored column of that name is to be added; choose another name".to_owned(),
            });
        }
        collection.alter(|store| store.add_column(collection.id(), column))?;
        Ok(CollectionInfo::of(&collection.record()?, None))
    }

    /// Gives a collection these formulas in place of those that it has: their outputs are columns that predicates, orders and
    /// answers can name. A query sees those of the moment at which it began. What was computed is kept for formulas that are
    /// in the new set, too (the same `Arc`). Formulas are not stored: they are to be given again after a restart.
    ///
    /// # Errors
    /// [`EngineError::Formula`] when a formula needs what is not there, or the name of an output is taken.
    pub fn set_formulas(
        &self,
        collection: &str,
        formulas: Vec<Arc<dyn Formula>>,
    ) -> Result<(), EngineError> {
        let collection = self.find(collection)?;
        let schema = collection.record()?.schema;
        collection.formulas.set(Formulas::new(&schema, formulas)?);
        Ok(())
    }

    /// Refuses to go on where a view's collection was dropped, also when another one has its name since.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`].
    pub fn check_there(&self, view: &CollectionView) -> Result<(), EngineError> {
        let name = &view.schema().name;
        if self.find(name)?.id() == view.collection() {
            return Ok(());
        }
        Err(EngineError::NoCollection { name: name.clone() })
    }

    /// The derived columns of a collection.
    ///
    /// # Errors
    /// When there is no such collection.
    pub fn derived_columns(&self, collection: &str) -> Result<Vec<DerivedColumn>, EngineError> {
        Ok(self.find(collection)?.formulas.get().columns().cloned().collect())
    }

    /// Keeps a record of a collection under a name, in place of one that has it; names are compared without regard to case.
    /// It is on the disk when this returns, and goes with the collection.
    ///
    /// # Errors
    /// Those of [`Store::put_record`](crate::storage::Store::put_record).
    pub fn put_record(
        &self,
        collection: &str,
        kind: RecordKind,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        let collection = self.find(collection)?;
        collection.check_writable()?;
        Ok(self.store().put_record(collection.id(), kind, name, bytes)?)
    }

    /// Keeps what `make` makes of the record that has the name now, or nothing where it refuses. Nobody else writes to the
    /// collection in between, and it is the collection of the view: not another one that has its name since.
    ///
    /// # Errors
    /// [`EngineError::NoCollection`], those of [`Store::make_record`](crate::storage::Store::make_record), and those of `make`.
    pub fn make_record<E: From<EngineError>>(
        &self,
        view: &CollectionView,
        kind: RecordKind,
        name: &str,
        make: &mut dyn FnMut(Option<Result<Vec<u8>, EngineError>>) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        self.check_there(view)?;
        let collection = self.find(&view.schema().name)?;
        collection.check_writable()?;
        let mut each = |present: Option<Result<Vec<u8>, StorageError>>| {
            make(present.map(|bytes| bytes.map_err(EngineError::from))).map_err(Ended)
        };
        let made = self.store().make_record(view.collection(), kind, name, &mut each);
        made.map_err(|Ended(error)| error)
    }

    /// The record of a name; `None` where there is none.
    ///
    /// # Errors
    /// When there is no such collection, or the store cannot be read.
    pub fn record(
        &self,
        collection: &str,
        kind: RecordKind,
        name: &str,
    ) -> Result<Option<Vec<u8>>, EngineError> {
        let collection = self.find(collection)?;
        Ok(self.store().record(collection.id(), kind, name)?)
    }

    /// Whether a name has a record, which may be damaged.
    ///
    /// # Errors
    /// When there is no such collection, or the store cannot be read.
    pub fn has_record(
        &self,
        collection: &str,
        kind: RecordKind,
        name: &str,
    ) -> Result<bool, EngineError> {
        let collection = self.find(collection)?;
        Ok(self.store().has_record(collection.id(), kind, name)?)
    }

    /// Shows all records of a kind with their names, ordered by the names in lower case, one after the other, a damaged one as
    /// its error; the first error of `visit` ends it.
    ///
    /// # Errors
    /// As [`Db::record`], and those of `visit`.
    pub fn visit_records<E: From<EngineError>>(
        &self,
        collection: &str,
        kind: RecordKind,
        visit: &mut dyn FnMut(String, Result<Vec<u8>, EngineError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let collection = self.find(collection)?;
        let mut each = |name, bytes: Result<Vec<u8>, StorageError>| {
            visit(name, bytes.map_err(EngineError::from)).map_err(Ended)
        };
        let walked = self.store().visit_records(collection.id(), kind, &mut each);
        walked.map_err(|Ended(error)| error)
    }

    /// The same records all together.
    ///
    /// # Errors
    /// As [`Db::record`].
    pub fn records(
        &self,
        collection: &str,
        kind: RecordKind,
    ) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let collection = self.find(collection)?;
        Ok(self.store().records(collection.id(), kind)?)
    }

    /// Removes a record; says whether there was one.
    ///
    /// # Errors
    /// As [`Db::record`].
    pub fn delete_record(
        &self,
        collection: &str,
        kind: RecordKind,
        name: &str,
    ) -> Result<bool, EngineError> {
        let collection = self.find(collection)?;
        collection.check_writable()?;
        Ok(self.store().delete_record(collection.id(), kind, name)?)
    }

    /// Keeps a record of the server as a whole under a name of 1 to 256 bytes, in place of one that has it; names are
    /// compared byte by byte. It is on the disk when this returns.
    ///
    /// # Errors
    /// Those of [`Store::put_server_record`](crate::storage::Store::put_server_record).
    pub fn put_server_record(
        &self,
        kind: ServerRecordKind,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), EngineError> {
        Ok(self.store().put_server_record(kind, name, bytes)?)
    }

    /// All records of the server of a kind with their names, ordered by the bytes of the names.
    ///
    /// # Errors
    /// When one is damaged, or the store cannot be read.
    pub fn server_records(
        &self,
        kind: ServerRecordKind,
    ) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        Ok(self.store().server_records(kind)?)
    }

    /// Removes a record of the server; says whether there was one.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn delete_server_record(
        &self,
        kind: ServerRecordKind,
        name: &str,
    ) -> Result<bool, EngineError> {
        Ok(self.store().delete_server_record(kind, name)?)
    }

    /// Has a space filled as objects arrive, or no more; objects that are there count as arrived.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`], or [`EngineError::Storage`] for a space that cannot be filled so.
    pub fn set_at_ingest(
        &self,
        name: &str,
        space: &str,
        at_ingest: Option<AtIngest>,
    ) -> Result<CollectionInfo, EngineError> {
        let collection = self.find(name)?;
        let record = collection.record()?;
        let found = record.schema.space(space).ok_or_else(|| {
            let names = record.schema.spaces.iter().map(|space| space.name.as_str());
            EngineError::NoSpace {
                collection: name.to_owned(),
                space: space.to_owned(),
                known: names.collect::<Vec<_>>().join(", "),
            }
        })?;
        if found.at_ingest != at_ingest {
            collection.alter(|store| store.set_at_ingest(collection.id(), found.id, at_ingest))?;
        }
        Ok(CollectionInfo::of(&collection.record()?, None))
    }
}
