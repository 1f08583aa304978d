//! Records in the database's store.

use super::{AccessError, AccessRecord, Records};
use crate::engine::{Db, ServerRecordKind};

fn kind_of(kind: AccessRecord) -> ServerRecordKind {
    match kind {
        AccessRecord::Token => ServerRecordKind::Token,
        AccessRecord::Group => ServerRecordKind::Group,
        AccessRecord::Grant => ServerRecordKind::Grant,
        AccessRecord::Policy => ServerRecordKind::Policy,
    }
}

impl Records for Db {
    fn put(&self, kind: AccessRecord, name: &str, bytes: &[u8]) -> Result<(), AccessError> {
        Ok(self.put_server_record(kind_of(kind), name, bytes)?)
    }

    fn all(&self, kind: AccessRecord) -> Result<Vec<(String, Vec<u8>)>, AccessError> {
        Ok(self.server_records(kind_of(kind))?)
    }

    fn delete(&self, kind: AccessRecord, name: &str) -> Result<(), AccessError> {
        self.delete_server_record(kind_of(kind), name)?;
        Ok(())
    }
}
