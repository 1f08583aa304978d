//! Making, listing and revoking API tokens.

use std::sync::Arc;

use super::{DAY_S, Registry};
use crate::access::principal::{group_name, user_name};
use crate::access::token::{HeldToken, Shown, TokenRecord};
use crate::access::{AccessError, AccessRecord, Principal, Role, Scope, Secret};

/// Most tokens of a server, those that have ended among them.
const TOKENS_MAX: usize = 100_000;

/// Tokens that ended this long ago are forgotten when another is made.
const REMEMBERED_S: u64 = 400 * DAY_S;

/// What may be told of a token. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The public id.
    pub id: String,
    /// Whose it is.
    pub owner: String,
    /// Who made it.
    pub created_by: String,
    /// When it was made.
    pub created: u64,
    /// The first second in which it opens nothing any more.
    pub expires: u64,
    /// When it was revoked.
    pub revoked: Option<u64>,
    /// When it was used last, if ever.
    pub last_used: Option<u64>,
}

impl TokenInfo {
    /// Whether it opens anything at a moment.
    pub fn is_in_force(&self, now: u64) -> bool {
        self.revoked.is_none() && now < self.expires
    }
}

impl From<TokenRecord> for TokenInfo {
    fn from(record: TokenRecord) -> Self {
        Self {
            last_used: (record.last_used > 0).then_some(record.last_used),
            id: record.id,
            owner: record.owner,
            created_by: record.created_by,
            created: record.created,
            expires: record.expires,
            revoked: record.revoked,
        }
    }
}

impl Registry {
    /// Makes a token for somebody, who becomes a member of `groups`, too. It lasts `life_s` seconds, or as long as the
    /// operator's default. The secret is told here and never again.
    ///
    /// # Errors
    /// [`AccessError::BadName`], [`AccessError::BadLife`], [`AccessError::NoGroup`], [`AccessError::TooMany`], and those of the
    /// store.
    pub fn create_token(
        &self,
        owner: &str,
        life_s: Option<u64>,
        groups: &[String],
        by: &str,
    ) -> Result<(Secret, TokenInfo), AccessError> {
        let owner = user_name(owner)?;
        let max_days = self.inner.token_days_max;
        let default_days = self.inner.token_days.min(max_days);
        let life_s = life_s.unwrap_or(default_days.saturating_mul(DAY_S));
        if life_s == 0 || life_s > max_days.saturating_mul(DAY_S) {
            return Err(AccessError::BadLife { given_s: life_s, max_days });
        }
        let groups: Vec<String> =
            groups.iter().map(|name| group_name(name)).collect::<Result<_, _>>()?;
        for group in groups {
            self.add_member(&group, &owner)?;
        }
        let now = self.now();
        self.forget_ended(now)?;
        self.change(|state, records| {
            if state.tokens.len() >= TOKENS_MAX {
                return Err(AccessError::TooMany { what: "tokens", max: TOKENS_MAX });
            }
            let (secret, held) = loop {
                let secret = Secret::draw()?;
                let shown = Shown::parse(secret.reveal()).filter(|shown| {
                    // Two ids of 40 bits may be equal.
                    !state.tokens.contains_key(shown.id)
                });
                let Some(shown) = shown else { continue };
                let expires = now.saturating_add(life_s);
                let record = TokenRecord::new(&shown, owner, by, now, expires);
                break (secret, record.hold()?);
            };
            put(records, &held.record)?;
            let info = TokenInfo::from(held.record.clone());
            state.tokens.insert(info.id.clone(), Arc::new(held));
            Ok((secret, info))
        })
    }

    /// Makes somebody an administrator of the server, and gives him a token: how a server without one gets the first. To be
    /// called by whoever holds the data directory, and by nobody else.
    ///
    /// # Errors
    /// Those of [`Registry::create_token`].
    pub fn bootstrap(
        &self,
        owner: &str,
        life_s: Option<u64>,
    ) -> Result<(Secret, TokenInfo), AccessError> {
        const BY: &str = "the holder of the data directory";
        let principal = Principal::User(user_name(owner)?);
        self.give_role(&principal, &Scope::Everything, Role::Administer, BY)?;
        self.create_token(owner, life_s, &[], BY)
    }

    /// Every token, by owner and then by age: those of one owner, or all.
    pub fn tokens(&self, owner: Option<&str>) -> Vec<TokenInfo> {
        let state = self.state();
        let all = state.tokens.values().map(|token| TokenInfo::from(token.now()));
        let mut tokens: Vec<TokenInfo> =
            all.filter(|token| owner.is_none_or(|owner| token.owner == owner)).collect();
        tokens.sort_by(|left, right| {
            (&left.owner, left.created, &left.id).cmp(&(&right.owner, right.created, &right.id))
        });
        tokens
    }

    /// Revokes a token: it opens nothing any more when this returns. One of somebody else than `owner`, where that is given,
    /// does not exist for the caller. To revoke it again changes nothing.
    ///
    /// # Errors
    /// [`AccessError::NoToken`], and those of the store: a token that could not be written down as revoked opens nothing until
    /// the next start, for a full disk must not keep a stolen one alive.
    pub fn revoke_token(&self, id: &str, owner: Option<&str>) -> Result<TokenInfo, AccessError> {
        let now = self.now();
        self.change(|state, records| -> Result<_, AccessError> {
            let token = state
                .tokens
                .get(id)
                .filter(|token| owner.is_none_or(|owner| token.record.owner == owner))
                .ok_or_else(|| AccessError::NoToken { id: crate::access::principal::cut(id) })?;
            let mut record = token.now();
            record.revoked.get_or_insert(now);
            let held = record.hold()?;
            let written = put(records, &held.record);
            let info = TokenInfo::from(held.record.clone());
            state.tokens.insert(info.id.clone(), Arc::new(held));
            Ok(written.map(|()| info))
        })?
    }

    /// Revokes every token that is not, and says how many: for a database whose record of what was revoked is an old one.
    ///
    /// # Errors
    /// Those of [`Registry::revoke_token`], at the first token; those before it are revoked.
    pub fn revoke_all_tokens(&self) -> Result<usize, AccessError> {
        let open = self.tokens(None).into_iter().filter(|token| token.revoked.is_none());
        let mut revoked = 0;
        for token in open {
            self.revoke_token(&token.id, None)?;
            revoked += 1;
        }
        Ok(revoked)
    }

    /// Writes down when tokens were used last, where that has changed since: to be called from time to time and at the end.
    ///
    /// # Errors
    /// Those of the store.
    pub fn write_uses(&self) -> Result<(), AccessError> {
        let changed = |token: &HeldToken| token.now().last_used != token.record.last_used;
        if !self.state().tokens.values().any(|token| changed(token)) {
            return Ok(());
        }
        self.change(|state, records| {
            for token in state.tokens.values_mut().filter(|token| changed(token)) {
                let held = token.now().hold()?;
                put(records, &held.record)?;
                *token = Arc::new(held);
            }
            Ok(())
        })
    }

    /// Forgets tokens that ended long ago.
    fn forget_ended(&self, now: u64) -> Result<(), AccessError> {
        let is_past = |token: &HeldToken| {
            let ended = token.record.revoked.unwrap_or(u64::MAX).min(token.record.expires);
            ended.saturating_add(REMEMBERED_S) < now
        };
        if !self.state().tokens.values().any(|token| is_past(token)) {
            return Ok(());
        }
        self.change(|state, records| {
            let past: Vec<String> = state
                .tokens
                .iter()
                .filter(|(_, token)| is_past(token))
                .map(|(id, _)| id.clone())
                .collect();
            for id in past {
                records.delete(AccessRecord::Token, &id)?;
                state.tokens.remove(&id);
            }
            Ok(())
        })
    }
}

fn put(records: &dyn crate::access::Records, record: &TokenRecord) -> Result<(), AccessError> {
    super::manage::put(records, AccessRecord::Token, &record.id, record)
}
