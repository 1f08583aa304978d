//! Tokens, groups, roles and row policies.

use crate::access::{
    Grant, GroupInfo, PolicyInfo, Principal, Proof, Role, RoleInfo, Scope, TokenInfo,
};
use crate::service::{RequestError, ServiceError};
use crate::wire::v1;

/// Reads a principal.
pub(in crate::service) fn principal(text: &str) -> Result<Principal, ServiceError> {
    if text.is_empty() {
        return Err(RequestError::Missing { field: "principal" }.into());
    }
    Ok(text.parse::<Principal>()?)
}

/// Reads a collection, or `*`.
pub(in crate::service) fn scope(text: &str) -> Result<Scope, ServiceError> {
    if text.is_empty() {
        return Err(RequestError::Missing { field: "collection" }.into());
    }
    Ok(text.parse::<Scope>()?)
}

/// Reads a role.
pub(in crate::service) fn role(text: &str) -> Result<Role, ServiceError> {
    Ok(text.parse::<Role>().map_err(|reason| RequestError::UnknownRole { reason })?)
}

/// Writes what may be told of a token.
pub(in crate::service) fn token(token: TokenInfo, now: u64) -> v1::TokenInfo {
    v1::TokenInfo {
        in_force: token.is_in_force(now),
        id: token.id,
        owner: token.owner,
        created_by: token.created_by,
        created: token.created,
        expires: token.expires,
        revoked: token.revoked,
        last_used: token.last_used,
    }
}

/// Writes a group.
pub(in crate::service) fn group(group: GroupInfo) -> v1::Group {
    v1::Group { name: group.name, members: group.members }
}

/// Writes a role that somebody has.
pub(in crate::service) fn role_given(role: RoleInfo) -> v1::RoleGiven {
    v1::RoleGiven {
        principal: role.principal.to_string(),
        role: role.role.name().to_owned(),
        collection: role.scope.to_string(),
        given: role.given,
        given_by: role.given_by,
    }
}

/// Writes a row policy.
pub(in crate::service) fn row_policy(policy: PolicyInfo) -> v1::RowPolicy {
    v1::RowPolicy {
        principal: policy.principal.to_string(),
        collection: policy.collection,
        predicate: policy.predicate,
        written: policy.written,
        written_by: policy.written_by,
    }
}

/// Writes who calls, with the roles that he has and the end of his token.
pub(in crate::service) fn who(
    grant: &Grant,
    roles: Vec<RoleInfo>,
    expires: Option<u64>,
) -> v1::WhoAmIResponse {
    let (proof, proof_id) = match &grant.identity.proof {
        Proof::Open => ("open", ""),
        Proof::Token { id } => ("token", id.as_str()),
        Proof::Certificate => ("certificate", ""),
        Proof::Oidc { issuer, .. } => ("oidc", issuer.as_str()),
    };
    v1::WhoAmIResponse {
        name: grant.identity.name.clone(),
        groups: grant.identity.groups.clone(),
        proof: proof.to_owned(),
        proof_id: proof_id.to_owned(),
        expires,
        roles: roles.into_iter().map(role_given).collect(),
    }
}
