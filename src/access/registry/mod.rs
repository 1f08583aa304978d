//! The registry of identities, roles and policies: what the gate asks for every call.
//!
//! Everything is in memory. A change is written to the store first and seen by the next question; a question takes a lock for
//! as long as it takes to copy a pointer.

mod manage;
#[cfg(test)]
mod oracle_tests;
mod renew;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

pub use self::manage::{GroupInfo, PolicyCheck, PolicyInfo, RoleInfo};
pub use self::tokens::TokenInfo;
use super::oidc::Oidc;
use super::principal::{cut, user_name};
use super::state::State;
use super::token::{Shown, is_token};
use super::{
    AccessError, Clock, Denied, DeniedKind, Grant, Identity, OidcOptions, Proof, Records, Role,
    Rows,
};
use crate::engine::Db;

const DAY_S: u64 = 86_400;

/// What an operator decides about identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessOptions {
    /// Days that a token lasts when nobody says how long.
    pub token_days: u64,
    /// Most days that a token may last.
    pub token_days_max: u64,
    /// The single sign-on, if there is one.
    pub oidc: Option<OidcOptions>,
}

impl Default for AccessOptions {
    fn default() -> Self {
        Self { token_days: 90, token_days_max: 365, oidc: None }
    }
}

/// Identities, roles and policies of a server. Cheap to clone; every clone is the same registry.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
}

struct Inner {
    records: Arc<dyn Records>,
    clock: Clock,
    token_days: u64,
    token_days_max: u64,
    oidc: Option<Oidc>,
    state: RwLock<Arc<State>>,
    /// Held from the reading of a state to its replacement, so that no change is lost.
    changing: Mutex<()>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Registry(..)")
    }
}

impl Registry {
    /// Reads the identities, roles and policies of a database, with the default options.
    ///
    /// # Errors
    /// [`AccessError::Damaged`] for a record that cannot be read, and those of the store.
    pub fn open(db: Db, clock: Clock) -> Result<Self, AccessError> {
        Self::open_with(Arc::new(db), clock, AccessOptions::default())
    }

    /// Reads the identities, roles and policies that are kept somewhere.
    ///
    /// # Errors
    /// [`AccessError::Oidc`] for settings of the single sign-on that cannot work, [`AccessError::Damaged`] for a record that
    /// cannot be read, and those of the store.
    pub fn open_with(
        records: Arc<dyn Records>,
        clock: Clock,
        options: AccessOptions,
    ) -> Result<Self, AccessError> {
        let state = RwLock::new(Arc::new(State::read(&*records)?));
        let oidc = options.oidc.map(|oidc| Oidc::new(oidc, Arc::clone(&clock))).transpose()?;
        let AccessOptions { token_days, token_days_max, .. } = options;
        let changing = Mutex::new(());
        let inner = Inner { records, clock, token_days, token_days_max, oidc, state, changing };
        Ok(Self { inner: Arc::new(inner) })
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&self.inner.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn now(&self) -> u64 {
        (self.inner.clock)()
    }

    /// Whether anybody may administer the server. Where nobody may, `sidereus access bootstrap` makes somebody.
    pub fn has_administrator(&self) -> bool {
        self.state().administrators() > 0
    }

    /// Who shows a bearer token of either kind.
    ///
    /// # Errors
    /// Those of [`Registry::authenticate_token`] and [`Registry::authenticate_oidc`].
    pub async fn authenticate_bearer(&self, shown: &str) -> Result<Identity, Denied> {
        if is_token(shown) {
            return self.authenticate_token(shown);
        }
        self.authenticate_oidc(shown).await
    }

    /// Who shows an API token.
    ///
    /// # Errors
    /// [`DeniedKind::Unauthenticated`]: nothing is told about a token that is malformed, unknown or revoked. The holder of one
    /// that has expired is told so.
    pub fn authenticate_token(&self, shown: &str) -> Result<Identity, Denied> {
        let Some(shown) = Shown::parse(shown) else {
            return Err(Denied::token("malformed API token"));
        };
        let (state, now) = (self.state(), self.now());
        let Some(token) = state.tokens.get(shown.id) else {
            return Err(Denied::token(format!("unknown API token {}", shown.id)));
        };
        if token.hash != shown.hash {
            return Err(Denied::token(format!("wrong secret for API token {}", shown.id)));
        }
        let record = &token.record;
        renew::in_force(record, now)?;
        token.use_at(now);
        let groups = state.groups_of(&record.owner, Vec::new());
        let proof = Proof::Token { id: record.id.clone() };
        Ok(Identity { name: record.owner.clone(), groups, proof })
    }

    /// Who shows a token of the single sign-on.
    ///
    /// # Errors
    /// [`DeniedKind::Unauthenticated`] for a token that is not the issuer's, is for somebody else, is out of its time, or lacks
    /// a claim; [`DeniedKind::Unavailable`] while the issuer's keys cannot be had.
    pub async fn authenticate_oidc(&self, shown: &str) -> Result<Identity, Denied> {
        let Some(oidc) = &self.inner.oidc else {
            return Err(Denied::token("bearer token that is none of ours, and no single sign-on"));
        };
        let verified = oidc.verify(shown).await?;
        let (issuer, ends) = (oidc.issuer().to_owned(), verified.ends);
        let proof = Proof::Oidc { issuer, groups: verified.groups.clone(), ends };
        let groups = self.state().groups_of(&verified.name, verified.groups);
        Ok(Identity { name: verified.name, groups, proof })
    }

    /// Who shows a client certificate for a name; that it is genuine has been checked.
    ///
    /// # Errors
    /// [`DeniedKind::Unauthenticated`] for what is not the name of somebody.
    pub fn identity_of_certificate(&self, name: &str) -> Result<Identity, Denied> {
        let name = user_name(name).map_err(|error| {
            let public = "the certificate is not valid: its subject is not the name of somebody";
            Denied::new(DeniedKind::Unauthenticated, public, error.to_string())
        })?;
        let groups = self.state().groups_of(&name, Vec::new());
        Ok(Identity { name, groups, proof: Proof::Certificate })
    }

    /// Decides on a call that needs a role, on a collection (or one of its releases) or, where it names none, on the server.
    ///
    /// # Errors
    /// [`DeniedKind::Forbidden`]; the text is the same whether there is no such collection or the caller may not know of it.
    pub fn decide(
        &self,
        identity: &Identity,
        needed: Role,
        collection: Option<&str>,
    ) -> Result<Grant, Denied> {
        let collection = collection.filter(|name| !name.is_empty() && *name != "*");
        let state = self.state();
        let (role, rows) = match collection {
            Some(name) => state.on_collection(identity, name).unzip(),
            None => (state.on_server(identity), Some(Rows::Any(Arc::default()))),
        };
        match (role, rows) {
            (Some(role), Some(rows)) if role >= needed => Ok(Grant {
                identity: Arc::new(identity.clone()),
                role,
                collection: collection.map(Arc::from),
                rows,
                open: false,
            }),
            (role, _) => Err(forbidden(identity, needed, role, collection)),
        }
    }

    /// Whether somebody may know that there is a collection of a name.
    pub fn may_know(&self, identity: &Identity, collection: &str) -> bool {
        self.state().on_collection(identity, collection).is_some()
    }
}

fn forbidden(
    identity: &Identity,
    needed: Role,
    role: Option<Role>,
    collection: Option<&str>,
) -> Denied {
    let on = collection.map_or("the server (`*`)".to_owned(), |name| format!("`{}`", cut(name)));
    let public = match (role, collection) {
        (Some(role), _) => format!(
            "this needs the role `{needed}` on {on}, and you have `{role}`: ask its administrator"
        ),
        (None, Some(_)) => format!("there is no collection {on}, or you have no role on it"),
        (None, None) => format!("this needs the role `{needed}` on {on}, and you have none"),
    };
    let has = role.map_or("none", Role::name);
    let reason = format!("{} needs {needed} on {on} and has {has}", identity.name);
    Denied::new(DeniedKind::Forbidden, public, reason)
}
