//! API tokens: what they look like, and what is kept of them.
//!
//! `sid_k3v7q2ma_` and 43 letters: a public id of 40 random bits, by which the token is listed and revoked, and a secret of 256.
//! Kept is a hash of the secret. It needs neither salt nor work factor, which slow down guessing where people choose the
//! secret: nobody guesses one of 2^256.

mod record;

use std::fmt;

pub(super) use self::record::{HeldToken, TokenRecord};
use super::AccessError;

/// What every token begins with, so that scanners for leaked secrets find it.
const MARK: &str = "sid_";

const ID_BYTES: usize = 5;
const ID_LETTERS: usize = 8;
const SECRET_BYTES: usize = 32;
const SECRET_LETTERS: usize = 43;

/// Base 32 without letters that are mistaken for others (RFC 4648, in lower case).
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Base 64 for URLs (RFC 4648 section 5).
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What the hash is for: the same secret would have another hash elsewhere.
const HASH_CONTEXT: &str = "sidereus 2026-11 secret of an API token";

/// A new token: shown once, kept by nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    text: String,
}

impl Secret {
    /// Draws a token from the system's random numbers.
    pub(super) fn draw() -> Result<Self, AccessError> {
        let (mut id, mut secret) = ([0_u8; ID_BYTES], [0_u8; SECRET_BYTES]);
        getrandom::fill(&mut id).map_err(AccessError::Random)?;
        getrandom::fill(&mut secret).map_err(AccessError::Random)?;
        let (id, secret) = (letters(&id, 5, BASE32), letters(&secret, 6, BASE64));
        Ok(Self { text: format!("{MARK}{id}_{secret}") })
    }

    /// The token as its holder sends it.
    pub fn reveal(&self) -> &str {
        &self.text
    }
}

/// Says nothing, so that it gets into no log.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(..)")
    }
}

/// The parts of a token that somebody shows.
pub(super) struct Shown<'a> {
    /// The public id.
    pub(super) id: &'a str,
    /// The hash of the secret.
    pub(super) hash: blake3::Hash,
}

impl<'a> Shown<'a> {
    /// Takes a token apart; `None` for what cannot be one.
    pub(super) fn parse(text: &'a str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(MARK)?.split_at_checked(ID_LETTERS)?;
        let secret = secret.strip_prefix('_')?;
        let good = id.bytes().all(|each| BASE32.contains(&each))
            && secret.len() == SECRET_LETTERS
            && secret.bytes().all(|each| BASE64.contains(&each));
        // The letters themselves are hashed, so that no other spelling of the same bits opens anything.
        good.then(|| Self { id, hash: hash_of(secret) })
    }
}

/// Whether something is meant as a token of this kind.
pub(super) fn is_token(text: &str) -> bool {
    text.starts_with(MARK)
}

fn hash_of(secret: &str) -> blake3::Hash {
    blake3::Hasher::new_derive_key(HASH_CONTEXT).update(secret.as_bytes()).finalize()
}

/// Bytes as letters of `bits` bits each, the first bit first; the last letter is filled up with zeros.
fn letters(bytes: &[u8], bits: u32, alphabet: &[u8]) -> String {
    let (mut held, mut count) = (0_u32, 0_u32);
    let mut text = String::new();
    let mask = (1 << bits) - 1;
    for byte in bytes {
        held = held << 8 | u32::from(*byte);
        count += 8;
        while count >= bits {
            count -= bits;
            text.push(char::from(alphabet[(held >> count & mask) as usize]));
        }
        held &= (1 << count) - 1;
    }
    if count > 0 {
        text.push(char::from(alphabet[(held << (bits - count) & mask) as usize]));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn letters_are_those_of_rfc_4648() {
        // Section 10 of the RFC, without padding.
        for (plain, base32, base64) in [
            ("f", "my", "Zg"),
            ("fo", "mzxq", "Zm8"),
            ("foo", "mzxw6", "Zm9v"),
            ("foob", "mzxw6yq", "Zm9vYg"),
            ("fooba", "mzxw6ytb", "Zm9vYmE"),
            ("foobar", "mzxw6ytboi", "Zm9vYmFy"),
        ] {
            assert_eq!(letters(plain.as_bytes(), 5, BASE32), base32);
            assert_eq!(letters(plain.as_bytes(), 6, BASE64), base64);
        }
        assert_eq!(letters(&[0xfb, 0xff, 0xfe], 6, BASE64), "-__-");
    }

    #[test]
    fn tokens_differ_and_are_read_again() {
        let drawn: Vec<Secret> = (0..200).map(|_| Secret::draw().expect("random")).collect();
        let mut hashes = HashSet::new();
        for token in &drawn {
            let text = token.reveal();
            assert_eq!(text.len(), 4 + 8 + 1 + 43);
            let shown = Shown::parse(text).expect("its own form");
            assert_eq!(shown.id, &text[4..12]);
            assert!(hashes.insert(shown.hash.to_hex()));
            assert!(!format!("{token:?}").contains(&text[13..]));
        }
    }

    proptest! {
        #[test]
        fn anything_is_taken_apart_or_refused(text in "\\PC*", at in 0_usize..56, put in any::<char>()) {
            let _ = Shown::parse(&text);
            let token = Secret::draw().expect("random");
            let mut other: Vec<char> = token.reveal().chars().collect();
            other[at] = put;
            let other: String = other.into_iter().collect();
            let was = Shown::parse(token.reveal()).expect("its own form");
            // Another letter is another token, or none.
            if let Some(read) = Shown::parse(&other) {
                prop_assert!(other == token.reveal() || read.id != was.id || read.hash != was.hash);
            }
        }
    }
}
