//! Changing groups, roles and row policies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use serde::Serialize;

use super::Registry;
use crate::access::principal::{base_of, cut, group_name, user_name};
use crate::access::state::{GroupRecord, PolicyRecord, RoleRecord, State};
use crate::access::{AccessError, AccessRecord, EVERYONE, Principal, Records, Role, Scope};

/// Most groups, roles and policies of a server, and most members of a group.
const GROUPS_MAX: usize = 10_000;
const MEMBERS_MAX: usize = 100_000;
const GRANTS_MAX: usize = 100_000;
const POLICIES_MAX: usize = 100_000;

/// A group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its name, in lower case.
    pub name: String,
    /// Its members, in order.
    pub members: Vec<String>,
}

/// A role that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleInfo {
    /// Who.
    pub principal: Principal,
    /// Which.
    pub role: Role,
    /// On what.
    pub scope: Scope,
    /// When it was given, seconds since 1970.
    pub given: u64,
    /// By whom.
    pub given_by: String,
}

/// A row policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyInfo {
    /// Whose view it restricts.
    pub principal: Principal,
    /// Of which collection, in lower case.
    pub collection: String,
    /// To the rows that satisfy this.
    pub predicate: String,
    /// When it was written, seconds since 1970.
    pub written: u64,
    /// By whom.
    pub written_by: String,
}

/// Says whether a collection can answer a predicate, before a policy with it is kept.
pub trait PolicyCheck {
    /// An error that says which column there is not, or what is wrong with the expression.
    fn check(&self, collection: &str, predicate: &str) -> Result<(), String>;
}

impl<F: Fn(&str, &str) -> Result<(), String>> PolicyCheck for F {
    fn check(&self, collection: &str, predicate: &str) -> Result<(), String> {
        self(collection, predicate)
    }
}

impl Registry {
    /// Makes a new state of the one there is. What `make` writes to the records is durable before anybody sees the new state;
    /// where it fails, what it had written until then is seen after the next start, so that it must write what takes rights
    /// away first.
    pub(super) fn change<T, E>(
        &self,
        make: impl FnOnce(&mut State, &dyn Records) -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = State::clone(&self.state());
        let made = make(&mut state, &*self.inner.records)?;
        *self.inner.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
        Ok(made)
    }

    /// Makes a group, or gives it other members.
    ///
    /// # Errors
    /// [`AccessError::BadName`], [`AccessError::Everyone`], [`AccessError::TooMany`], and those of the store.
    pub fn set_group(&self, name: &str, members: &[String]) -> Result<GroupInfo, AccessError> {
        let name = group_name(name)?;
        let members: BTreeSet<String> =
            members.iter().map(|member| user_name(member)).collect::<Result<_, _>>()?;
        self.change(|state, records| keep_group(state, records, GroupRecord { name, members }))
    }

    /// Adds somebody to a group, which must exist.
    pub(super) fn add_member(&self, group: &str, member: &str) -> Result<GroupInfo, AccessError> {
        let no_group = || AccessError::NoGroup { name: cut(group) };
        self.change(|state, records| {
            let mut record = GroupRecord::clone(state.groups.get(group).ok_or_else(no_group)?);
            record.members.insert(member.to_owned());
            keep_group(state, records, record)
        })
    }

    /// Every group, by name.
    pub fn groups(&self) -> Vec<GroupInfo> {
        self.state().groups.values().map(|group| info_of(group)).collect()
    }

    /// Forgets a group. Roles and policies that name it stay, for an issuer may vouch for its members.
    ///
    /// # Errors
    /// [`AccessError::NoGroup`], and those of the store.
    pub fn drop_group(&self, name: &str) -> Result<(), AccessError> {
        let folded = group_name(name)?;
        self.change(|state, records| {
            if state.groups.remove(&folded).is_none() {
                return Err(AccessError::NoGroup { name: cut(name) });
            }
            records.delete(AccessRecord::Group, &folded)
        })
    }

    /// Gives a principal a role on something, in place of the one that it has there.
    ///
    /// # Errors
    /// [`AccessError::LastAdministrator`] where that takes the server its last one, [`AccessError::TooMany`], and those of the
    /// store.
    pub fn give_role(
        &self,
        principal: &Principal,
        scope: &Scope,
        role: Role,
        by: &str,
    ) -> Result<RoleInfo, AccessError> {
        let given = self.now();
        self.change(|state, records| {
            let before = state.administrators();
            if state.roles.values().map(BTreeMap::len).sum::<usize>() >= GRANTS_MAX {
                return Err(AccessError::TooMany { what: "grants", max: GRANTS_MAX });
            }
            let record = RoleRecord {
                principal: principal.to_string(),
                collection: scope.to_string(),
                role: role.name().to_owned(),
                given,
                given_by: by.to_owned(),
            };
            let of_scope = state.roles.entry(scope.clone()).or_default();
            of_scope.insert(principal.clone(), (role, Arc::new(record.clone())));
            if before > 0 && state.administrators() == 0 {
                return Err(AccessError::LastAdministrator);
            }
            put(records, AccessRecord::Grant, &name_of(scope, principal), &record)?;
            Ok(role_info(scope, principal, role, &record))
        })
    }

    /// Takes the role away that a principal has on something.
    ///
    /// # Errors
    /// [`AccessError::NoGrant`], [`AccessError::LastAdministrator`], and those of the store.
    pub fn take_role(&self, principal: &Principal, scope: &Scope) -> Result<Role, AccessError> {
        self.change(|state, records| {
            let before = state.administrators();
            let of_scope = state.roles.get_mut(scope);
            let Some((role, _)) = of_scope.and_then(|of| of.remove(principal)) else {
                return Err(AccessError::NoGrant {
                    principal: principal.to_string(),
                    collection: scope.to_string(),
                });
            };
            if before > 0 && state.administrators() == 0 {
                return Err(AccessError::LastAdministrator);
            }
            state.roles.retain(|_, of| !of.is_empty());
            records.delete(AccessRecord::Grant, &name_of(scope, principal))?;
            Ok(role)
        })
    }

    /// Roles, those on `*` first and then by collection: those on one scope, or all.
    pub fn roles(&self, scope: Option<&Scope>) -> Vec<RoleInfo> {
        let state = self.state();
        let wanted = state.roles.iter().filter(|(of, _)| scope.is_none_or(|scope| scope == *of));
        let infos = wanted.flat_map(|(scope, of)| {
            of.iter().map(|(principal, (role, record))| role_info(scope, principal, *role, record))
        });
        infos.collect()
    }

    /// Restricts what a principal sees of a collection to the rows that satisfy a predicate, in place of the policy that it has
    /// for it.
    ///
    /// # Errors
    /// [`AccessError::PolicyRefused`] where the collection cannot answer the predicate, [`AccessError::PolicyOnEverything`],
    /// [`AccessError::TooMany`], and those of the store.
    pub fn set_policy(
        &self,
        principal: &Principal,
        scope: &Scope,
        predicate: &str,
        by: &str,
        check: &dyn PolicyCheck,
    ) -> Result<PolicyInfo, AccessError> {
        let Scope::Collection(collection) = scope else {
            return Err(AccessError::PolicyOnEverything);
        };
        let predicate = predicate.trim();
        if predicate.is_empty() {
            let reason = "it is empty, which says nothing: give a condition on columns".to_owned();
            return Err(AccessError::PolicyRefused { reason });
        }
        check
            .check(collection, predicate)
            .map_err(|reason| AccessError::PolicyRefused { reason })?;
        let record = PolicyRecord {
            principal: principal.to_string(),
            collection: collection.clone(),
            predicate: predicate.to_owned(),
            written: self.now(),
            written_by: by.to_owned(),
        };
        self.change(|state, records| {
            if state.policies.values().map(BTreeMap::len).sum::<usize>() >= POLICIES_MAX {
                return Err(AccessError::TooMany { what: "row policies", max: POLICIES_MAX });
            }
            put(records, AccessRecord::Policy, &name_of(scope, principal), &record)?;
            let info = policy_info(principal, &record);
            let of_collection = state.policies.entry(collection.clone()).or_default();
            of_collection.insert(principal.clone(), Arc::new(record));
            Ok(info)
        })
    }

    /// Row policies, by collection: those of one, or all.
    pub fn policies(&self, collection: Option<&str>) -> Vec<PolicyInfo> {
        let (state, wanted) = (self.state(), collection.map(base_of));
        let wanted = state
            .policies
            .iter()
            .filter(|(of, _)| wanted.as_ref().is_none_or(|wanted| wanted == *of));
        wanted.flat_map(|(_, of)| of.iter().map(|(who, record)| policy_info(who, record))).collect()
    }

    /// Forgets a row policy: the principal sees all rows again, where it may read.
    ///
    /// # Errors
    /// [`AccessError::NoPolicy`], and those of the store.
    pub fn drop_policy(&self, principal: &Principal, scope: &Scope) -> Result<(), AccessError> {
        let no_policy = || AccessError::NoPolicy {
            principal: principal.to_string(),
            collection: scope.to_string(),
        };
        self.change(|state, records| {
            let of_collection = match scope {
                Scope::Collection(collection) => state.policies.get_mut(collection),
                Scope::Everything => None,
            };
            of_collection.and_then(|of| of.remove(principal)).ok_or_else(no_policy)?;
            state.policies.retain(|_, of| !of.is_empty());
            records.delete(AccessRecord::Policy, &name_of(scope, principal))
        })
    }

    /// Has a collection dropped with its roles and policies, so that another of its name begins with none.
    ///
    /// `drop` is given the records of them by name, and must remove these with the collection in one commit, or nothing: a role
    /// that outlived its collection would hold for the next of its name, and one that went before it would, with its policy, show
    /// what was hidden. Until it returns no other change is made.
    ///
    /// # Errors
    /// Those of `drop`.
    pub fn drop_collection<E>(
        &self,
        collection: &str,
        drop: impl FnOnce(&[(AccessRecord, String)]) -> Result<(), E>,
    ) -> Result<(), E> {
        let base = base_of(collection);
        let scope = Scope::Collection(base.clone());
        self.change(|state, _| {
            let roles = state.roles.remove(&scope).unwrap_or_default().into_keys();
            let policies = state.policies.remove(&base).unwrap_or_default().into_keys();
            let roles = roles.map(|who| (AccessRecord::Grant, name_of(&scope, &who)));
            let policies = policies.map(|who| (AccessRecord::Policy, name_of(&scope, &who)));
            drop(&roles.chain(policies).collect::<Vec<_>>())
        })
    }
}

fn keep_group(
    state: &mut State,
    records: &dyn Records,
    record: GroupRecord,
) -> Result<GroupInfo, AccessError> {
    if record.name == EVERYONE {
        return Err(AccessError::Everyone);
    }
    if record.members.len() > MEMBERS_MAX {
        return Err(AccessError::TooMany { what: "members of a group", max: MEMBERS_MAX });
    }
    if state.groups.len() >= GROUPS_MAX && !state.groups.contains_key(&record.name) {
        return Err(AccessError::TooMany { what: "groups", max: GROUPS_MAX });
    }
    put(records, AccessRecord::Group, &record.name, &record)?;
    let info = info_of(&record);
    state.groups.insert(record.name.clone(), Arc::new(record));
    Ok(info)
}

fn info_of(group: &GroupRecord) -> GroupInfo {
    let members = group.members.iter().cloned().collect();
    GroupInfo { name: group.name.clone(), members }
}

fn role_info(scope: &Scope, principal: &Principal, role: Role, record: &RoleRecord) -> RoleInfo {
    RoleInfo {
        principal: principal.clone(),
        role,
        scope: scope.clone(),
        given: record.given,
        given_by: record.given_by.clone(),
    }
}

fn policy_info(principal: &Principal, record: &PolicyRecord) -> PolicyInfo {
    PolicyInfo {
        principal: principal.clone(),
        collection: record.collection.clone(),
        predicate: record.predicate.clone(),
        written: record.written,
        written_by: record.written_by.clone(),
    }
}

/// Writes a record.
pub(super) fn put<T: Serialize>(
    records: &dyn Records,
    kind: AccessRecord,
    name: &str,
    record: &T,
) -> Result<(), AccessError> {
    let damaged = |error: serde_json::Error| AccessError::Damaged {
        what: kind.name(),
        name: name.to_owned(),
        reason: error.to_string(),
    };
    records.put(kind, name, &serde_json::to_vec(record).map_err(damaged)?)
}

/// The name of the record of a role or policy: a hash, for both names together may be longer than a record's name.
fn name_of(scope: &Scope, principal: &Principal) -> String {
    blake3::hash(format!("{scope}\n{principal}").as_bytes()).to_hex().to_string()
}
