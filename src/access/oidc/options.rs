//! Settings of the single sign-on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jsonwebtoken::Algorithm;
use serde::Deserialize;

use super::fetch::check_url;
use crate::access::principal::group_name;
use crate::access::{AccessError, EVERYONE};

/// Longest clock skew that makes sense, in seconds.
const LEEWAY_S_MAX: u64 = 300;

/// Whose bearer tokens are accepted, and what their claims mean here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OidcOptions {
    /// The issuer, exactly as tokens name it.
    pub issuer: String,
    /// Audiences that this server answers to; a token must name one.
    pub audiences: Vec<String>,
    /// The claim that names somebody. Choose one that people cannot change themselves. `email` counts in tokens alone whose
    /// `email_verified` is true.
    #[serde(default = "defaults::name_claim")]
    pub name_claim: String,
    /// What such names begin with here, so that nobody at the issuer takes the name of a token's owner.
    #[serde(default = "defaults::name_prefix")]
    pub name_prefix: String,
    /// The claim that lists groups, such as `groups` or `realm_access.roles`; without it no group comes from the issuer, with
    /// it a token must have the claim.
    #[serde(default)]
    pub groups_claim: Option<String>,
    /// Which group here a value of the claim stands for.
    #[serde(default)]
    pub groups: BTreeMap<String, String>,
    /// For values that are not among [`OidcOptions::groups`]: what their groups' names here begin with. Without it they count
    /// for nothing.
    #[serde(default)]
    pub group_prefix: Option<String>,
    /// Algorithms that sign: RS, PS and ES with 256 or 384, RS and PS with 512, and EdDSA.
    #[serde(default = "defaults::algorithms")]
    pub algorithms: Vec<String>,
    /// Seconds by which the issuer's clock may differ from this machine's.
    #[serde(default = "defaults::leeway_s")]
    pub leeway_s: u64,
    /// A file of the issuer's keys (a JSON web key set); without it they are fetched from the issuer.
    #[serde(default)]
    pub keys: Option<PathBuf>,
}

mod defaults {
    //! What serde fills in.

    pub(super) fn name_claim() -> String {
        "sub".to_owned()
    }

    pub(super) fn name_prefix() -> String {
        "oidc:".to_owned()
    }

    pub(super) fn algorithms() -> Vec<String> {
        ["RS256", "ES256", "EdDSA"].map(str::to_owned).to_vec()
    }

    pub(super) fn leeway_s() -> u64 {
        60
    }
}

impl OidcOptions {
    /// The defaults for an issuer and an audience.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: vec![audience.into()],
            name_claim: defaults::name_claim(),
            name_prefix: defaults::name_prefix(),
            groups_claim: None,
            groups: BTreeMap::new(),
            group_prefix: None,
            algorithms: defaults::algorithms(),
            leeway_s: defaults::leeway_s(),
            keys: None,
        }
    }

    /// Checks what could never work, or would let too many in, and reads the algorithms.
    ///
    /// # Errors
    /// [`AccessError::Oidc`].
    pub(super) fn validate(&self) -> Result<Vec<Algorithm>, AccessError> {
        let wrong = |key, reason: String| Err(AccessError::Oidc { key, reason });
        if self.issuer.is_empty() {
            return wrong("issuer", "name whose tokens are accepted".to_owned());
        }
        if self.keys.is_none() {
            check_url(&self.issuer)
                .map_err(|reason| AccessError::Oidc { key: "issuer", reason })?;
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            let reason = "name this server's client id at the issuer: a token that was made for another service must not \
                          open this one";
            return wrong("audiences", reason.to_owned());
        }
        if self.name_claim.is_empty() {
            return wrong(
                "name_claim",
                "name the claim that names somebody, such as sub".to_owned(),
            );
        }
        if self.name_prefix.is_empty() {
            let reason = "say what names of the single sign-on begin with, such as oidc: (without it somebody there could have the \
                          name of a token's owner)";
            return wrong("name_prefix", reason.to_owned());
        }
        if self.leeway_s > LEEWAY_S_MAX {
            let reason =
                format!("{} s are more than {LEEWAY_S_MAX}: mend the clock", self.leeway_s);
            return wrong("leeway_s", reason);
        }
        if self.groups_claim.is_none() && !(self.groups.is_empty() && self.group_prefix.is_none()) {
            return wrong("groups_claim", "name the claim whose values the groups are".to_owned());
        }
        if self.groups_claim.is_some() && self.groups.is_empty() && self.group_prefix.is_none() {
            let reason = "say which group a value stands for in auth.oidc.groups, or set auth.oidc.group_prefix";
            return wrong("groups_claim", reason.to_owned());
        }
        for (value, group) in &self.groups {
            match group_name(group) {
                Ok(folded) if folded != EVERYONE => {}
                _ => return wrong("groups", format!("`{value}` cannot stand for `{group}`")),
            }
        }
        if self.algorithms.is_empty() {
            return wrong("algorithms", "name at least one".to_owned());
        }
        self.algorithms.iter().map(|name| algorithm(name)).collect()
    }
}

/// The algorithms whose keys are public: with a symmetric one, everybody who can check a token could make one.
fn algorithm(name: &str) -> Result<Algorithm, AccessError> {
    Ok(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        other => {
            let reason = format!(
                "`{other}` is none of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA"
            );
            return Err(AccessError::Oidc { key: "algorithms", reason });
        }
    })
}
