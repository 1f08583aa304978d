//! Records of a collection that the store keeps and does not read: fitted probes and bridges, sessions of labelling, by name.

use super::engine::{Batch, Patience, Row};
use super::error::StorageError;
use super::key::{KeyRange, NameKey};
use super::record::{decode_named, encode_named};
use super::store::Store;
use super::table::Table;
use crate::schema::{CollectionId, check_name};

/// Most bytes of one record: it is written, and read, as one value.
pub const RECORD_BYTES_MAX: usize = 64 << 20;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A fitted probe.
    Probe,
    /// A fitted bridge between spaces.
    Bridge,
    /// Labels that somebody gives, and what is asked next.
    Session,
    /// A release of the collection, or what is left of a withdrawn one.
    Release,
}

impl RecordKind {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Bridge => "bridge",
            Self::Session => "session",
            Self::Release => "release",
        }
    }

    fn table(self) -> Table {
        match self {
            Self::Probe => Table::Probes,
            Self::Bridge => Table::Bridges,
            Self::Session => Table::Labels,
            Self::Release => Table::Releases,
        }
    }
}

impl Store {
    /// Keeps a record under a name, in place of one that has it already; names are compared without regard to case. It is
    /// on the disk when this returns, and goes with the collection. The collection's version stays what it is.
    ///
    /// # Errors
    /// [`StorageError::Schema`] for what is not a name, [`StorageError::RecordTooLarge`] beyond [`RECORD_BYTES_MAX`],
    /// [`StorageError::UnknownCollection`], and those of the disk.
    pub fn put_record(
        &self,
        collection: CollectionId,
        kind: RecordKind,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        check_record(kind, name, bytes)?;
        let slot = self.slot(collection)?;
        // A record that came after the collection was dropped would stay for ever.
        let _turn = slot.turn();
        slot.meta()?;
        self.set_record(collection, kind, name, Some(encode_named(name, bytes)))
    }

    /// Keeps what `make` makes of the record that has the name now (`None` where there is none), or nothing where it refuses.
    /// Nobody else writes to the collection between what `make` sees and what is kept: of two who want a name that is free, one
    /// finds it taken.
    ///
    /// # Errors
    /// As [`Store::put_record`], and those of `make`. It is given the error of a damaged record, and may replace it.
    pub fn make_record<E: From<StorageError>>(
        &self,
        collection: CollectionId,
        kind: RecordKind,
        name: &str,
        make: &mut dyn FnMut(Option<Result<Vec<u8>, StorageError>>) -> Result<Vec<u8>, E>,
    ) -> Result<(), E> {
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        slot.meta()?;
        let key = NameKey::new(collection, name).encode();
        let present = self.engine.view().get(kind.table(), &key)?;
        let bytes = make(present.map(|bytes| Ok(decode_named(&bytes)?.1)))?;
        check_record(kind, name, &bytes)?;
        Ok(self.set_record(collection, kind, name, Some(encode_named(name, &bytes)))?)
    }

    /// Removes a record; says whether there was one.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], and those of the disk. What the record holds is not looked at: a damaged one can
    /// be removed.
    pub fn delete_record(
        &self,
        collection: CollectionId,
        kind: RecordKind,
        name: &str,
    ) -> Result<bool, StorageError> {
        let slot = self.slot(collection)?;
        let _turn = slot.turn();
        slot.meta()?;
        let key = NameKey::new(collection, name).encode();
        let was_there = self.engine.view().get(kind.table(), &key)?.is_some();
        if was_there {
            self.set_record(collection, kind, name, None)?;
        }
        Ok(was_there)
    }

    /// Writes the row of a record; the caller has the collection's turn.
    fn set_record(
        &self,
        collection: CollectionId,
        kind: RecordKind,
        name: &str,
        value: Option<Vec<u8>>,
    ) -> Result<(), StorageError> {
        let mut batch = Batch::default();
        let key = NameKey::new(collection, name).encode();
        batch.row(Row { table: kind.table(), key, value });
        self.engine.commit(&batch, Patience::Long)
    }

    /// The record of a name; `None` where there is none.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], [`StorageError::Corrupt`] and those of the disk.
    pub fn record(
        &self,
        collection: CollectionId,
        kind: RecordKind,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        self.slot(collection)?.meta()?;
        let key = NameKey::new(collection, name).encode();
        let found = self.engine.view().get(kind.table(), &key)?;
        found.map(|bytes| Ok(decode_named(&bytes)?.1)).transpose()
    }

    /// Whether a name has a record, which may be damaged.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], and those of the disk.
    pub fn has_record(
        &self,
        collection: CollectionId,
        kind: RecordKind,
        name: &str,
    ) -> Result<bool, StorageError> {
        self.slot(collection)?.meta()?;
        let key = NameKey::new(collection, name).encode();
        Ok(self.engine.view().get(kind.table(), &key)?.is_some())
    }

    /// Shows all records of a kind with their names as they were given, ordered by the names in lower case, one after the
    /// other: they are large, and not held together. A damaged one is shown as its error, under its name in lower case. The
    /// first error of `visit` ends it.
    ///
    /// # Errors
    /// [`StorageError::UnknownCollection`], those of the disk, and those of `visit`.
    pub fn visit_records<E: From<StorageError>>(
        &self,
        collection: CollectionId,
        kind: RecordKind,
        visit: &mut dyn FnMut(String, Result<Vec<u8>, StorageError>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.slot(collection)?.meta()?;
        let view = self.engine.view();
        let mut cursor = view.cursor(KeyRange::collection(kind.table(), collection))?;
        while let Some((key, bytes)) = cursor.advance()? {
            match decode_named(bytes) {
                Ok((name, record)) => visit(name, Ok(record))?,
                Err(error) => visit(NameKey::name_in(key)?, Err(error))?,
            }
        }
        Ok(())
    }

    /// The same records all together.
    ///
    /// # Errors
    /// As [`Store::record`].
    pub fn records(
        &self,
        collection: CollectionId,
        kind: RecordKind,
    ) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let mut records = Vec::new();
        self.visit_records(collection, kind, &mut |name, bytes| {
            records.push((name, bytes?));
            Ok::<_, StorageError>(())
        })?;
        Ok(records)
    }
}

/// Refuses what is not a name, and what is too large.
fn check_record(kind: RecordKind, name: &str, bytes: &[u8]) -> Result<(), StorageError> {
    check_name(kind.name(), name)?;
    if bytes.len() > RECORD_BYTES_MAX {
        return Err(StorageError::RecordTooLarge {
            what: kind.name(),
            name: name.to_owned(),
            size_bytes: bytes.len(),
            size_bytes_max: RECORD_BYTES_MAX,
        });
    }
    Ok(())
}
