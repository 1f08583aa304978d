//! Everything that decides, in memory, and the decision itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::principal::base_of;
use super::token::{HeldToken, TokenRecord};
use super::{AccessError, AccessRecord, EVERYONE, Identity, Principal, Records, Role, Rows, Scope};

/// A group as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupRecord {
    /// In lower case.
    pub(super) name: String,
    /// Names of people and programs.
    pub(super) members: BTreeSet<String>,
}

/// A role as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleRecord {
    pub(super) principal: String,
    pub(super) collection: String,
    pub(super) role: String,
    /// When it was given, and by whom.
    pub(super) given: u64,
    pub(super) given_by: String,
}

/// A row policy as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyRecord {
    pub(super) principal: String,
    pub(super) collection: String,
    pub(super) predicate: String,
    /// When it was written, and by whom.
    pub(super) written: u64,
    pub(super) written_by: String,
}

/// Everything that decides. A change makes a new one.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// By public id.
    pub(super) tokens: HashMap<String, Arc<HeldToken>>,
    /// By name.
    pub(super) groups: BTreeMap<String, Arc<GroupRecord>>,
    pub(super) roles: BTreeMap<Scope, BTreeMap<Principal, (Role, Arc<RoleRecord>)>>,
    /// By collection.
    pub(super) policies: BTreeMap<String, BTreeMap<Principal, Arc<PolicyRecord>>>,
}

impl State {
    /// Reads everything.
    ///
    /// # Errors
    /// [`AccessError::Damaged`] for a record that cannot be read: to go on without it could let somebody see too much.
    pub(super) fn read(records: &dyn Records) -> Result<Self, AccessError> {
        let mut state = Self::default();
        for (name, record) in read_all::<TokenRecord>(records, AccessRecord::Token)? {
            state.tokens.insert(name, Arc::new(record.hold()?));
        }
        for (name, group) in read_all::<GroupRecord>(records, AccessRecord::Group)? {
            state.groups.insert(name, Arc::new(group));
        }
        for (name, record) in read_all::<RoleRecord>(records, AccessRecord::Grant)? {
            state.put_role(record).map_err(|reason| damaged(AccessRecord::Grant, &name, reason))?;
        }
        for (name, record) in read_all::<PolicyRecord>(records, AccessRecord::Policy)? {
            let put = state.put_policy(record);
            put.map_err(|reason| damaged(AccessRecord::Policy, &name, reason))?;
        }
        Ok(state)
    }

    fn put_role(&mut self, record: RoleRecord) -> Result<(), String> {
        let scope: Scope = record.collection.parse().map_err(|why: AccessError| why.to_string())?;
        let principal = record.principal.parse().map_err(|why: AccessError| why.to_string())?;
        let role: Role = record.role.parse()?;
        self.roles.entry(scope).or_default().insert(principal, (role, Arc::new(record)));
        Ok(())
    }

    fn put_policy(&mut self, record: PolicyRecord) -> Result<(), String> {
        let principal = record.principal.parse().map_err(|why: AccessError| why.to_string())?;
        let of_collection = self.policies.entry(record.collection.clone()).or_default();
        of_collection.insert(principal, Arc::new(record));
        Ok(())
    }

    /// The groups of somebody: those that list him, those of `others` that his issuer vouches for, and everyone; in order.
    pub(super) fn groups_of(&self, name: &str, others: Vec<String>) -> Vec<String> {
        let listing = self.groups.values().filter(|group| group.members.contains(name));
        let mut groups: BTreeSet<String> = listing.map(|group| group.name.clone()).collect();
        groups.extend(others);
        groups.insert(EVERYONE.to_owned());
        groups.into_iter().collect()
    }

    /// The roles by which somebody may read a collection: principal by principal, the strongest of each.
    fn roles_on(&self, identity: &Identity, collection: &str) -> BTreeMap<Principal, Role> {
        let scopes = [Scope::Everything, Scope::Collection(base_of(collection))];
        let given: Vec<_> = scopes.iter().filter_map(|scope| self.roles.get(scope)).collect();
        principals_of(identity)
            .filter_map(|principal| {
                let roles = given.iter().filter_map(|of| of.get(&principal).map(|(role, _)| *role));
                roles.max().map(|role| (principal, role))
            })
            .collect()
    }

    /// What somebody may do with a collection, and what he sees of it; `None` where he may not know of it.
    pub(super) fn on_collection(
        &self,
        identity: &Identity,
        collection: &str,
    ) -> Option<(Role, Rows)> {
        let roles = self.roles_on(identity, collection);
        let strongest = roles.values().copied().max()?;
        if strongest >= Role::Curate {
            return Some((strongest, Rows::All));
        }
        let policies = self.policies.get(&base_of(collection));
        let mut predicates = BTreeSet::new();
        for principal in roles.keys() {
            match policies.and_then(|of| of.get(principal)) {
                None => return Some((strongest, Rows::All)),
                Some(policy) => predicates.insert(policy.predicate.clone()),
            };
        }
        Some((strongest, Rows::Any(predicates.into_iter().collect())))
    }

    /// What somebody may do with the server: what he has on `*`. Who has a role on any collection may read what the server
    /// tells about itself, too, of which every service leaves out what he may not know.
    pub(super) fn on_server(&self, identity: &Identity) -> Option<Role> {
        let everywhere = self.roles.get(&Scope::Everything);
        let mut strongest = None;
        for principal in principals_of(identity) {
            let here = everywhere.and_then(|of| of.get(&principal)).map(|(role, _)| *role);
            let anywhere = || {
                let has_any = self.roles.values().any(|of| of.contains_key(&principal));
                has_any.then_some(Role::Read)
            };
            strongest = strongest.max(here.or_else(anywhere));
        }
        strongest
    }

    /// Grants of `administer` on `*`.
    pub(super) fn administrators(&self) -> usize {
        let everywhere = self.roles.get(&Scope::Everything);
        everywhere.map_or(0, |of| of.values().filter(|(role, _)| *role == Role::Administer).count())
    }
}

/// As whom somebody acts: himself and each of his groups.
fn principals_of(identity: &Identity) -> impl Iterator<Item = Principal> + '_ {
    let groups = identity.groups.iter().map(|name| Principal::Group(name.clone()));
    groups.chain([Principal::User(identity.name.clone())])
}

fn read_all<T: DeserializeOwned>(
    records: &dyn Records,
    kind: AccessRecord,
) -> Result<Vec<(String, T)>, AccessError> {
    let read = |(name, bytes): (String, Vec<u8>)| match serde_json::from_slice(&bytes) {
        Ok(record) => Ok((name, record)),
        Err(error) => Err(damaged(kind, &name, error.to_string())),
    };
    records.all(kind)?.into_iter().map(read).collect()
}

fn damaged(kind: AccessRecord, name: &str, reason: String) -> AccessError {
    AccessError::Damaged { what: kind.name(), name: name.to_owned(), reason }
}
