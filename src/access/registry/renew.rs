//! Deciding again on calls that go on: what was revoked or taken meanwhile ends them.

use super::Registry;
use crate::access::token::TokenRecord;
use crate::access::{Denied, Grant, Identity, Proof, Role, utc};

impl Registry {
    /// Decides again on a call that has been going on for a while, by what it showed when it began: the token must still be in
    /// force, and whose it is must still have the role. It takes as long as [`Registry::decide`].
    ///
    /// # Errors
    /// Those of [`Registry::authenticate_token`] and [`Registry::decide`].
    pub fn renew(&self, grant: &Grant, needed: Role) -> Result<Grant, Denied> {
        if grant.open {
            return Ok(grant.clone());
        }
        let identity = self.still(&grant.identity)?;
        self.decide(&identity, needed, grant.collection.as_deref())
    }

    /// Who somebody is now by what he showed before.
    fn still(&self, identity: &Identity) -> Result<Identity, Denied> {
        let (state, now) = (self.state(), self.now());
        let vouched = match &identity.proof {
            Proof::Open | Proof::Certificate => Vec::new(),
            Proof::Token { id } => {
                let unknown = || Denied::token(format!("unknown API token {id}"));
                in_force(&state.tokens.get(id).ok_or_else(unknown)?.record, now)?;
                Vec::new()
            }
            Proof::Oidc { ends, .. } if now >= *ends => {
                let reason = format!("bearer token of {} expired while in use", identity.name);
                return Err(Denied::genuine("it has expired", reason));
            }
            Proof::Oidc { groups, .. } => groups.clone(),
        };
        let groups = state.groups_of(&identity.name, vouched);
        Ok(Identity { name: identity.name.clone(), groups, proof: identity.proof.clone() })
    }
}

/// Refuses an API token that was revoked, or has expired.
pub(super) fn in_force(record: &TokenRecord, now: u64) -> Result<(), Denied> {
    if let Some(revoked) = record.revoked {
        let (id, owner, when) = (&record.id, &record.owner, utc(revoked));
        return Err(Denied::token(format!("API token {id} of {owner} was revoked {when}")));
    }
    if now >= record.expires {
        let when = utc(record.expires);
        return Err(Denied::genuine(
            &format!("it expired {when}; ask an administrator for another"),
            format!("API token {} of {} expired {when}", record.id, record.owner),
        ));
    }
    Ok(())
}
