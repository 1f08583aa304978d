//! Records in the database's store.

use super::{AccessError, AccessRecord, Records};
use crate::engine::{Db, ServerRecordKind};

impl From<AccessRecord> for ServerRecordKind {
    fn from(kind: AccessRecord) -> Self {
        match kind {
            AccessRecord::Token => Self::Token,
            AccessRecord::Group => Self::Group,
            AccessRecord::Grant => Self::Grant,
            AccessRecord::Policy => Self::Policy,
        }
    }
}

impl Records for Db {
    fn put(&self, kind: AccessRecord, name: &str, bytes: &[u8]) -> Result<(), AccessError> {
        Ok(self.put_server_record(kind.into(), name, bytes)?)
    }

    fn all(&self, kind: AccessRecord) -> Result<Vec<(String, Vec<u8>)>, AccessError> {
        Ok(self.server_records(kind.into())?)
    }

    fn delete(&self, kind: AccessRecord, name: &str) -> Result<(), AccessError> {
        self.delete_server_record(kind.into(), name)?;
        Ok(())
    }
}
