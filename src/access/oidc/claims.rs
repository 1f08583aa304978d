//! What a genuine token says, and whether that is enough.

use std::collections::BTreeSet;

use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::OidcOptions;
use crate::access::principal::{cut, group_name, user_name};
use crate::access::{Denied, EVERYONE, utc};

/// The claim of an address, and the one that says whether the issuer has checked that it is his.
const EMAIL: &str = "email";
const EMAIL_VERIFIED: &str = "email_verified";

/// Most values of a groups claim.
const GROUPS_MAX: usize = 1_000;

/// Somebody for whom the issuer vouches.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::access) struct Verified {
    /// His name here.
    pub(in crate::access) name: String,
    /// His groups here by the issuer's word, in order.
    pub(in crate::access) groups: Vec<String>,
    /// The first second in which the token opens nothing any more.
    pub(in crate::access) ends: u64,
}

/// The rules for claims.
pub(super) struct Rules {
    options: OidcOptions,
    algorithms: Vec<Algorithm>,
}

type Claims = Map<String, Value>;

impl Rules {
    pub(super) fn new(options: OidcOptions, algorithms: Vec<Algorithm>) -> Self {
        Self { options, algorithms }
    }

    pub(super) fn issuer(&self) -> &str {
        &self.options.issuer
    }

    /// Whether an algorithm may sign.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Judges the claims of a token with a good signature at a moment.
    pub(super) fn check(&self, claims: &Claims, now: u64) -> Result<Verified, Denied> {
        self.check_parties(claims)?;
        let ends = self.check_times(claims, now)?;
        let name = self.name(claims)?;
        let groups = self.groups(claims, &name)?;
        Ok(Verified { name, groups, ends })
    }

    fn check_parties(&self, claims: &Claims) -> Result<(), Denied> {
        let issuer = claims.get("iss").and_then(Value::as_str).ok_or_else(|| missing("iss"))?;
        if issuer != self.options.issuer {
            let reason = format!("bearer token issued by `{}`", cut(issuer));
            return Err(Denied::genuine("it is of another issuer", reason));
        }
        let audiences: Vec<&str> = match claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return Err(missing("aud")),
        };
        if audiences.iter().any(|each| self.options.audiences.iter().any(|ours| ours == each)) {
            return Ok(());
        }
        let reason = format!("bearer token for `{}`", cut(&audiences.join(" ")));
        Err(Denied::genuine(
            "it was made for another service (its audience is not this one)",
            reason,
        ))
    }

    /// Checks when the token holds, and tells its end.
    fn check_times(&self, claims: &Claims, now: u64) -> Result<u64, Denied> {
        let leeway = self.options.leeway_s;
        let expires = moment(claims, "exp")?.ok_or_else(|| missing("exp"))?;
        let ends = expires.saturating_add(leeway);
        if now >= ends {
            let what = format!("it expired {}", written(expires));
            return Err(Denied::genuine(&what, format!("bearer token: {what}")));
        }
        let (issued, begins) = (moment(claims, "iat")?, moment(claims, "nbf")?);
        // One of them says when the token began; a token from the future is one of a wrong clock, or of nobody.
        let begin = issued.max(begins).ok_or_else(|| missing("iat"))?;
        if begin > now.saturating_add(leeway) {
            let what = format!("it is not valid before {}; are the clocks right?", written(begin));
            return Err(Denied::genuine(&what, format!("bearer token: {what}")));
        }
        Ok(ends)
    }

    fn name(&self, claims: &Claims) -> Result<String, Denied> {
        let claim = &self.options.name_claim;
        let told = find(claims, claim).and_then(Value::as_str);
        let told = told.filter(|name| !name.is_empty()).ok_or_else(|| missing(claim))?;
        // Anybody may write an address of somebody else beside his account.
        if claim == EMAIL && !is_true(claims.get(EMAIL_VERIFIED)) {
            let what =
                format!("its claim `{EMAIL_VERIFIED}` is not true, so that `{EMAIL}` names nobody");
            return Err(Denied::genuine(&what, format!("bearer token: {what}")));
        }
        user_name(&format!("{}{told}", self.options.name_prefix)).map_err(|error| {
            Denied::genuine(&format!("its claim `{claim}` names nobody"), error.to_string())
        })
    }

    fn groups(&self, claims: &Claims, name: &str) -> Result<Vec<String>, Denied> {
        let Some(claim) = &self.options.groups_claim else { return Ok(Vec::new()) };
        let values: Vec<&str> = match find(claims, claim) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => return Err(missing(claim)),
        };
        if values.len() > GROUPS_MAX {
            let what = format!("it lists more than {GROUPS_MAX} groups");
            return Err(Denied::genuine(&what, format!("bearer token of {name}: {what}")));
        }
        let groups: BTreeSet<String> = values
            .into_iter()
            .filter_map(|value| {
                let mapped = match (self.options.groups.get(value), &self.options.group_prefix) {
                    (Some(group), _) => group_name(group).ok(),
                    (None, Some(prefix)) => group_name(&format!("{prefix}{value}")).ok(),
                    (None, None) => None,
                };
                mapped.filter(|group| group != EVERYONE)
            })
            .collect();
        Ok(groups.into_iter().collect())
    }
}

/// Whether a claim is true; some issuers write it as a text.
fn is_true(claim: Option<&Value>) -> bool {
    match claim {
        Some(Value::Bool(told)) => *told,
        Some(Value::String(told)) => told == "true",
        _ => false,
    }
}

/// A claim by its name, which may itself hold dots, or else by its path.
fn find<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let (first, rest) = path.split_once('.')?;
    find(claims.get(first)?.as_object()?, rest)
}

/// A claim that is a moment: seconds since 1970, perhaps with a fraction.
fn moment(claims: &Claims, claim: &str) -> Result<Option<u64>, Denied> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let fraction = || value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds));
    let whole = value.as_u64().or_else(|| fraction().map(|seconds| seconds as u64));
    match whole {
        Some(seconds) => Ok(Some(seconds)),
        None => {
            let what = format!("its claim `{claim}` is not a moment");
            Err(Denied::genuine(&what, format!("bearer token: {what}")))
        }
    }
}

/// A moment for people; one beyond all calendars as a number.
fn written(seconds: u64) -> String {
    if seconds < 253_402_300_800 { utc(seconds) } else { format!("{seconds} s after 1970") }
}

fn missing(claim: &str) -> Denied {
    let what = format!("it lacks the claim `{claim}`");
    Denied::genuine(&what, format!("bearer token: {what}"))
}
