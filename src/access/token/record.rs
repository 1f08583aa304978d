//! What is kept of a token.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::access::AccessError;

/// What is kept of a token. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::access) struct TokenRecord {
    /// The public id.
    pub(in crate::access) id: String,
    /// Hash of the secret, in hexadecimal digits.
    hash: String,
    /// Whose it is.
    pub(in crate::access) owner: String,
    /// Who made it.
    pub(in crate::access) created_by: String,
    /// When it was made.
    pub(in crate::access) created: u64,
    /// The first second in which it opens nothing any more.
    pub(in crate::access) expires: u64,
    /// When it was revoked.
    pub(in crate::access) revoked: Option<u64>,
    /// About when it was used last, zero for never.
    pub(in crate::access) last_used: u64,
}

impl TokenRecord {
    /// A record of a new token.
    pub(in crate::access) fn new(
        shown: &super::Shown<'_>,
        owner: String,
        created_by: &str,
        created: u64,
        expires: u64,
    ) -> Self {
        Self {
            id: shown.id.to_owned(),
            hash: shown.hash.to_hex().to_string(),
            owner,
            created_by: created_by.to_owned(),
            created,
            expires,
            revoked: None,
            last_used: 0,
        }
    }

    /// The record as it is held, with its hash ready to be compared.
    pub(in crate::access) fn hold(self) -> Result<HeldToken, AccessError> {
        let hash = blake3::Hash::from_hex(&self.hash).map_err(|error| AccessError::Damaged {
            what: "token",
            name: self.id.clone(),
            reason: error.to_string(),
        })?;
        Ok(HeldToken { hash, used: AtomicU64::new(self.last_used), record: self })
    }
}

/// A token in memory.
#[derive(Debug)]
pub(in crate::access) struct HeldToken {
    /// Compared in constant time.
    pub(in crate::access) hash: blake3::Hash,
    pub(in crate::access) record: TokenRecord,
    /// When it was used last; the record knows it from time to time.
    used: AtomicU64,
}

impl HeldToken {
    /// Notes a use.
    pub(in crate::access) fn use_at(&self, now: u64) {
        self.used.fetch_max(now, Ordering::Relaxed);
    }

    /// The record with the last use that is known.
    pub(in crate::access) fn now(&self) -> TokenRecord {
        let last_used = self.used.load(Ordering::Relaxed);
        TokenRecord { last_used, ..self.record.clone() }
    }
}
