//! Records of the server as a whole that the store keeps and does not read: tokens, groups, grants and policies, by name.

use super::engine::{Batch, Patience};
use super::error::StorageError;
use super::key::{Key, KeyRange, ServerKey};
use super::named::RECORD_BYTES_MAX;
use super::record::{decode_named, encode_named};
use super::store::Store;

/// Most bytes of a name.
pub const SERVER_NAME_BYTES_MAX: usize = 256;

/// What a record of the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ServerRecordKind {
    /// A token, by its public prefix.
    Token,
    /// A group of identities.
    Group,
    /// What a group or an identity may do.
    Grant,
    /// Which rows a group sees of a collection.
    Policy,
}

impl ServerRecordKind {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Group => "group",
            Self::Grant => "grant",
            Self::Policy => "policy",
        }
    }

    /// The first byte of its keys; never changed, and never given to another kind.
    fn tag(self) -> u8 {
        match self {
            Self::Token => 1,
            Self::Group => 2,
            Self::Grant => 3,
            Self::Policy => 4,
        }
    }

    /// The key of one of its names.
    pub(super) fn key(self, name: &str) -> ServerKey {
        ServerKey { kind: self.tag(), name: name.to_owned() }
    }
}

impl Store {
    /// Keeps a record of the server under a name, in place of one that has it already; names are compared byte by byte.
    /// It is on the disk when this returns.
    ///
    /// # Errors
    /// [`StorageError::ServerName`] for what is not a name (1 to [`SERVER_NAME_BYTES_MAX`] bytes without control
    /// characters), [`StorageError::RecordTooLarge`] beyond [`RECORD_BYTES_MAX`], and those of the disk.
    pub fn put_server_record(
        &self,
        kind: ServerRecordKind,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), StorageError> {
        let what = kind.name();
        let is_name = (1..=SERVER_NAME_BYTES_MAX).contains(&name.len());
        if !is_name || name.chars().any(char::is_control) {
            let name = name.chars().take(SERVER_NAME_BYTES_MAX).collect();
            return Err(StorageError::ServerName { what, name });
        }
        let size_bytes = bytes.len();
        if size_bytes > RECORD_BYTES_MAX {
            let (name, size_bytes_max) = (name.to_owned(), RECORD_BYTES_MAX);
            return Err(StorageError::RecordTooLarge { what, name, size_bytes, size_bytes_max });
        }
        let mut batch = Batch::default();
        batch.put(&kind.key(name), encode_named(name, bytes));
        self.engine.commit(&batch, Patience::Long)
    }

    /// Removes a record of the server; says whether there was one. It is gone from the disk when this returns.
    ///
    /// # Errors
    /// Those of the disk. What the record holds is not looked at: a damaged one can be removed.
    pub fn delete_server_record(
        &self,
        kind: ServerRecordKind,
        name: &str,
    ) -> Result<bool, StorageError> {
        let key = kind.key(name);
        let was_there = self.engine.view().fetch(&key)?.is_some();
        if was_there {
            let mut batch = Batch::default();
            batch.delete(&key);
            self.engine.commit(&batch, Patience::Long)?;
        }
        Ok(was_there)
    }

    /// All records of the server of a kind, ordered by the bytes of their names.
    ///
    /// # Errors
    /// [`StorageError::Corrupt`] for one that does not have its checksum or its name, and those of the disk.
    pub fn server_records(
        &self,
        kind: ServerRecordKind,
    ) -> Result<Vec<(String, Vec<u8>)>, StorageError> {
        let view = self.engine.view();
        let mut cursor = view.cursor(KeyRange::server_records(kind.tag()))?;
        let mut records = Vec::new();
        while let Some((key, bytes)) = cursor.advance()? {
            let key = ServerKey::decode(key)?;
            let (name, contents) = decode_named(bytes)?;
            if name != key.name {
                let detail = format!("the {} `{}` calls itself `{name}`", kind.name(), key.name);
                return Err(StorageError::corrupt("server record", detail));
            }
            records.push((name, contents));
        }
        Ok(records)
    }
}
