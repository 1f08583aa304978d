//! The authority of a server that asks who calls: its registry of identities, roles and policies.

use std::sync::Arc;

use super::authority::{Authority, Identified};
use super::credentials::Credentials;
use super::refusal::Refusal;
use crate::access::{Grant, Identity, Registry, Role};

/// Asks the registry.
pub(in crate::service) struct RegistryAuthority {
    registry: Registry,
}

impl RegistryAuthority {
    /// The authority of a registry.
    pub(in crate::service) fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl Authority for RegistryAuthority {
    fn identify<'a>(&'a self, credentials: Credentials<'a>) -> Identified<'a> {
        Box::pin(async move {
            let identity = match credentials {
                Credentials::Bearer(token) => self.registry.authenticate_bearer(token).await,
                Credentials::Certificate(name) => self.registry.identity_of_certificate(name),
                Credentials::Nothing => return Err(Refusal::Nobody),
            };
            identity.map(Arc::new).map_err(Refusal::Denied)
        })
    }

    fn decide(
        &self,
        identity: &Arc<Identity>,
        needed: Role,
        collection: Option<&str>,
    ) -> Result<Grant, Refusal> {
        self.registry.decide(identity, needed, collection).map_err(Refusal::Denied)
    }
}
