//! Whom the gate asks.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::credentials::Credentials;
use super::refusal::Refusal;
use crate::access::{Grant, Identity, Role, Rows};

/// The answer to who somebody is.
pub(in crate::service) type Identified<'a> =
    Pin<Box<dyn Future<Output = Result<Arc<Identity>, Refusal>> + Send + 'a>>;

/// Tells who calls and what he may do.
pub(in crate::service) trait Authority: Send + Sync {
    /// Who shows these credentials. It may wait for the keys of an issuer.
    fn identify<'a>(&'a self, credentials: Credentials<'a>) -> Identified<'a>;

    /// What he may do with a collection, or without one with the server.
    ///
    /// # Errors
    /// [`Refusal::Denied`] where he lacks the role, in words that do not tell whether there is such a collection.
    fn decide(
        &self,
        identity: &Arc<Identity>,
        needed: Role,
        collection: Option<&str>,
    ) -> Result<Grant, Refusal>;

    /// Whether nobody is asked who he is.
    fn is_open(&self) -> bool {
        false
    }
}

/// The authority of a server that asks nobody.
pub(in crate::service) struct OpenAuthority {
    everybody: Arc<Identity>,
}

impl OpenAuthority {
    /// Lets everybody do everything.
    pub(in crate::service) fn new() -> Self {
        Self { everybody: Arc::new(Identity::open()) }
    }
}

impl Authority for OpenAuthority {
    fn identify<'a>(&'a self, _credentials: Credentials<'a>) -> Identified<'a> {
        Box::pin(std::future::ready(Ok(Arc::clone(&self.everybody))))
    }

    fn decide(
        &self,
        identity: &Arc<Identity>,
        _needed: Role,
        _collection: Option<&str>,
    ) -> Result<Grant, Refusal> {
        Ok(Grant {
            identity: Arc::clone(identity),
            role: Role::Administer,
            // Good for every collection: a handler may find the one that was meant.
            collection: None,
            rows: Rows::All,
            open: true,
        })
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// The grant of a call that touches no collection: its answer tells what its caller may know of.
pub(super) fn listing(identity: &Arc<Identity>) -> Grant {
    Grant {
        identity: Arc::clone(identity),
        role: Role::Read,
        collection: None,
        rows: Rows::Any(Arc::from([])),
        open: false,
    }
}
