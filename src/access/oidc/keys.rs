//! The issuer's keys: which of them checks a token, and when they are read again.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use tokio::sync::Mutex;

use super::OidcOptions;
use super::fetch::{self, Fetcher};
use crate::access::AccessError;

/// Seconds between two readings of the keys: whoever makes up key ids cannot have the issuer asked more often.
const PAUSE_S: u64 = 60;

/// Keys this old are read again before they are used, so that one that the issuer withdraws ends.
const FRESH_S: u64 = 3_600;

/// Keys this old open nothing any more, when the issuer does not answer.
const STALE_S: u64 = 24 * 3_600;

/// Most keys of a set.
const KEYS_MAX: usize = 100;

/// Shortest modulus of an RSA key, in letters of base 64: 2,048 bits.
const RSA_LETTERS_MIN: usize = 342;

/// 32 and 48 bytes in letters of base 64.
const BYTES_32: usize = 43;
const BYTES_48: usize = 64;

/// Why there is no key.
#[derive(Debug)]
pub(super) enum KeyFailure {
    /// The issuer has no such key.
    Unknown {
        /// For the audit log.
        reason: String,
    },
    /// Nobody knows which keys the issuer has.
    Unreachable {
        /// For the audit log.
        reason: String,
    },
}

/// A key, and what it is good for.
#[derive(Clone)]
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

#[derive(Default)]
struct KeySet {
    keys: Vec<Key>,
    /// When they were read, seconds since 1970.
    read_at: Option<u64>,
}

enum Source {
    File(PathBuf),
    Issuer(Fetcher),
}

/// The last attempt to read the keys.
#[derive(Default)]
struct Attempt {
    at: Option<u64>,
    failure: String,
}

/// The keys of an issuer.
pub(super) struct Keys {
    source: Source,
    set: RwLock<Arc<KeySet>>,
    attempt: Mutex<Attempt>,
}

impl Keys {
    /// Keys that nobody has read yet.
    ///
    /// # Errors
    /// [`AccessError::Oidc`] for a file that cannot be read, or an issuer who can never be asked.
    pub(super) fn new(options: &OidcOptions) -> Result<Self, AccessError> {
        let wrong = |key| move |reason| AccessError::Oidc { key, reason };
        let source = match &options.keys {
            Some(path) => {
                // A file that is wrong now is a mistake of the operator, who is there to mend it.
                fetch::read_file(path).and_then(|text| parse(&text)).map_err(wrong("keys"))?;
                Source::File(path.clone())
            }
            None => Source::Issuer(Fetcher::new(&options.issuer).map_err(wrong("issuer"))?),
        };
        Ok(Self { source, set: RwLock::default(), attempt: Mutex::default() })
    }

    /// The key that checks a token.
    ///
    /// Without a key id there must be one key only that the algorithm fits.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        now: u64,
    ) -> Result<DecodingKey, KeyFailure> {
        let set = self.set();
        let is_fresh = set.age(now).is_some_and(|age| age < FRESH_S);
        match set.find(id, algorithm) {
            Some(key) if is_fresh => return Ok(key),
            // One call reads the keys again; the others go on with those there are.
            Some(_) => {
                if let Ok(attempt) = self.attempt.try_lock() {
                    self.read_again(attempt, now).await;
                }
            }
            None => self.read_again(self.attempt.lock().await, now).await,
        }
        let set = self.set();
        if set.age(now).is_none_or(|age| age >= STALE_S) {
            let reason = self.attempt.lock().await.failure.clone();
            return Err(KeyFailure::Unreachable { reason });
        }
        set.find(id, algorithm).ok_or_else(|| {
            let id = id.map_or_else(|| "no key id".to_owned(), crate::access::principal::cut);
            KeyFailure::Unknown { reason: format!("bearer token of an unknown key: {id}") }
        })
    }

    fn set(&self) -> Arc<KeySet> {
        Arc::clone(&self.set.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn read_again(&self, mut attempt: tokio::sync::MutexGuard<'_, Attempt>, now: u64) {
        if attempt.at.is_some_and(|at| now.abs_diff(at) < PAUSE_S) {
            return;
        }
        // Noted before the issuer is asked, so that a caller who gives up meanwhile does not have him asked again.
        attempt.at = Some(now);
        let text = match &self.source {
            Source::File(path) => fetch::read_file(path),
            Source::Issuer(fetcher) => fetcher.key_set().await,
        };
        match text.and_then(|text| parse(&text)) {
            Ok(keys) => {
                let set = Arc::new(KeySet { keys, read_at: Some(now) });
                *self.set.write().unwrap_or_else(PoisonError::into_inner) = set;
                attempt.failure.clear();
            }
            Err(reason) => {
                tracing::warn!(%reason, "the keys of the single sign-on were not read");
                attempt.failure = reason;
            }
        }
    }
}

impl KeySet {
    fn age(&self, now: u64) -> Option<u64> {
        self.read_at.map(|at| now.saturating_sub(at))
    }

    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let mut fitting = self.keys.iter().filter(|key| {
            key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id)
        });
        let key = fitting.next()?;
        // Two keys of one id, or none to choose by: whichever were tried, it would be a guess.
        fitting.next().is_none().then(|| key.key.clone())
    }
}

/// Reads a key set (RFC 7517). Keys of other kinds and for other purposes are passed over, as the RFC asks.
fn parse(text: &[u8]) -> Result<Vec<Key>, String> {
    let set: Value =
        serde_json::from_slice(text).map_err(|error| format!("no key set: {error}"))?;
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        return Err("no key set: it has no list `keys`".to_owned());
    };
    if keys.len() > KEYS_MAX {
        return Err(format!("a key set of {} keys, more than {KEYS_MAX}", keys.len()));
    }
    let keys: Vec<Key> = keys.iter().filter_map(key_of).collect();
    if keys.is_empty() {
        return Err("the key set holds no key that signs".to_owned());
    }
    Ok(keys)
}

fn key_of(value: &Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value.clone()).ok()?;
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let mut algorithms = match &jwk.algorithm {
        AlgorithmParameters::RSA(rsa) if rsa.n.len() >= RSA_LETTERS_MIN => vec![
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(point) => match point.curve {
            EllipticCurve::P256 if are_letters(BYTES_32, [&point.x, &point.y]) => {
                vec![Algorithm::ES256]
            }
            EllipticCurve::P384 if are_letters(BYTES_48, [&point.x, &point.y]) => {
                vec![Algorithm::ES384]
            }
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(pair)
            if pair.curve == EllipticCurve::Ed25519 && are_letters(BYTES_32, [&pair.x]) =>
        {
            vec![Algorithm::EdDSA]
        }
        // Weak keys, and secrets, which have no business here.
        _ => return None,
    };
    if let Some(only) = value.get("alg") {
        algorithms.retain(|each| only.as_str() == Some(format!("{each:?}").as_str()));
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, algorithms, key })
}

/// Whether coordinates have the length that they must have; the library takes that for granted.
fn are_letters<const N: usize>(count: usize, coordinates: [&String; N]) -> bool {
    coordinates.iter().all(|each| each.len() == count)
}
