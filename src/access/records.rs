//! Where identities, roles and policies are kept: records by name, which must be on the disk when a change returns.

use super::AccessError;

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccessRecord {
    /// An API token, by its public id.
    Token,
    /// A group, by its name.
    Group,
    /// A role, by collection and principal.
    Grant,
    /// A row policy, by collection and principal.
    Policy,
}

impl AccessRecord {
    /// The word for it in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Group => "group",
            Self::Grant => "grant",
            Self::Policy => "row policy",
        }
    }
}

/// Keeps records. What is put or deleted is durable when the call returns.
pub trait Records: Send + Sync {
    /// Keeps a record under a name of up to 256 bytes without control characters, in place of one that has it.
    fn put(&self, kind: AccessRecord, name: &str, bytes: &[u8]) -> Result<(), AccessError>;

    /// Every record of a kind with its name.
    fn all(&self, kind: AccessRecord) -> Result<Vec<(String, Vec<u8>)>, AccessError>;

    /// Forgets a record; there may be none.
    fn delete(&self, kind: AccessRecord, name: &str) -> Result<(), AccessError>;
}

#[cfg(test)]
pub(super) mod testing {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use super::*;

    /// Records in memory, and a disk that can be full.
    #[derive(Default)]
    pub(in crate::access) struct InMemory {
        pub(in crate::access) held: Mutex<BTreeMap<(AccessRecord, String), Vec<u8>>>,
        pub(in crate::access) full: Mutex<bool>,
    }

    impl InMemory {
        fn check(&self, name: &str) -> Result<(), AccessError> {
            assert!(name.len() <= 256 && !name.chars().any(char::is_control), "{name}");
            if *self.full.lock().expect("no panic") {
                let reason = "the disk is full".to_owned();
                return Err(AccessError::Damaged { what: "test", name: name.to_owned(), reason });
            }
            Ok(())
        }
    }

    impl Records for InMemory {
        fn put(&self, kind: AccessRecord, name: &str, bytes: &[u8]) -> Result<(), AccessError> {
            self.check(name)?;
            let mut held = self.held.lock().expect("no panic");
            held.insert((kind, name.to_owned()), bytes.to_vec());
            Ok(())
        }

        fn all(&self, kind: AccessRecord) -> Result<Vec<(String, Vec<u8>)>, AccessError> {
            let held = self.held.lock().expect("no panic");
            let of_kind = held.iter().filter(|((each, _), _)| *each == kind);
            Ok(of_kind.map(|((_, name), bytes)| (name.clone(), bytes.clone())).collect())
        }

        fn delete(&self, kind: AccessRecord, name: &str) -> Result<(), AccessError> {
            self.check(name)?;
            self.held.lock().expect("no panic").remove(&(kind, name.to_owned()));
            Ok(())
        }
    }
}
