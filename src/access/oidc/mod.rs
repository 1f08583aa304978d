//! Bearer tokens of the collaboration's single sign-on: JSON web tokens (RFC 7519) that a configured issuer has signed.
//!
//! The signature is checked before anything that a token says is believed or told. What is checked, and what is refused,
//! follows RFC 8725: the algorithm is one of a list without symmetric ones and without `none`, and fits the key; issuer and
//! audience are compared whole; a token without an end, or from the future, opens nothing.

mod claims;
mod fetch;
mod keys;
mod options;
#[cfg(test)]
mod tests;

use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use self::claims::Rules;
pub(super) use self::claims::Verified;
use self::keys::{KeyFailure, Keys};
pub use self::options::OidcOptions;
use super::{AccessError, Clock, Denied, DeniedKind};

/// Longest token that is looked at, in bytes: it travels in an HTTP/2 header.
const TOKEN_BYTES_MAX: usize = 12 << 10;

/// What checks the tokens of one issuer.
pub(super) struct Oidc {
    rules: Rules,
    keys: Keys,
    clock: Clock,
}

impl Oidc {
    /// Checks the settings. Keys are fetched when the first token comes.
    ///
    /// # Errors
    /// [`AccessError::Oidc`].
    pub(super) fn new(options: OidcOptions, clock: Clock) -> Result<Self, AccessError> {
        let algorithms = options.validate()?;
        let keys = Keys::new(&options)?;
        Ok(Self { rules: Rules::new(options, algorithms), keys, clock })
    }

    /// Who issues the tokens.
    pub(super) fn issuer(&self) -> &str {
        self.rules.issuer()
    }

    /// Who shows a token.
    ///
    /// # Errors
    /// [`DeniedKind::Unauthenticated`], and [`DeniedKind::Unavailable`] while there are no keys.
    pub(super) async fn verify(&self, shown: &str) -> Result<Verified, Denied> {
        if shown.len() > TOKEN_BYTES_MAX {
            return Err(Denied::token(format!("bearer token of {} bytes", shown.len())));
        }
        let header = decode_header(shown)
            .map_err(|error| Denied::token(format!("malformed bearer token: {error}")))?;
        if !self.rules.allows(header.alg) {
            let reason = format!("bearer token signed by {:?}, which is not allowed", header.alg);
            return Err(Denied::token(reason));
        }
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(Denied::token("bearer token with header fields that are not understood"));
        }
        let now = (self.clock)();
        let key = self.keys.find(header.kid.as_deref(), header.alg, now).await;
        let key = key.map_err(|failure| denied(failure, self.issuer()))?;
        let claims = verified_claims(shown, header.alg, &key)?;
        self.rules.check(&claims, now)
    }
}

/// The claims of a token with a good signature. They are judged by [`Rules::check`] alone, by a clock that tests can set.
fn verified_claims(
    shown: &str,
    algorithm: jsonwebtoken::Algorithm,
    key: &DecodingKey,
) -> Result<Map<String, Value>, Denied> {
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    match decode::<Map<String, Value>>(shown, key, &validation) {
        Ok(token) => Ok(token.claims),
        Err(error) => Err(Denied::token(format!("bearer token not verified: {error}"))),
    }
}

fn denied(failure: KeyFailure, issuer: &str) -> Denied {
    match failure {
        KeyFailure::Unknown { reason } => Denied::token(reason),
        KeyFailure::Unreachable { reason } => Denied::new(
            DeniedKind::Unavailable,
            "the keys of the single sign-on cannot be had at the moment; try again in a minute",
            format!("no keys of {issuer}: {reason}"),
        ),
    }
}
