//! Lines and their hashes.

use super::entry::Content;

/// What stands between an entry and the hash of its line.
const HASH_MARK: &str = ",\"hash\":\"";

/// What ends a line.
const END: &str = "\"}";

/// Digits of a hash.
pub(super) const HASH_DIGITS: usize = 64;

/// The hash before the first line.
pub(super) const BEFORE_ALL: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// The end of a chain: how many lines it has, and the hash of the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) n: u64,
    pub(super) hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { n: 0, hash: BEFORE_ALL.to_owned() }
    }
}

impl Head {
    /// The line that follows, with its newline; moves the head onto it.
    pub(super) fn follow(&mut self, content: &Content) -> Result<String, serde_json::Error> {
        let n = self.n + 1;
        let mut line = content.body(n, &self.hash)?;
        let hash = hash_of(line.as_bytes());
        line.push_str(HASH_MARK);
        line.push_str(&hash);
        line.push_str(END);
        line.push('\n');
        *self = Self { n, hash };
        Ok(line)
    }

    /// Whether a line (without its newline) follows; moves the head onto it, or says what is wrong.
    pub(super) fn accept(&mut self, line: &[u8]) -> Result<serde_json::Value, String> {
        let (body, hash) = taken_apart(line).ok_or("it is no line of the log")?;
        if hash_of(body) != hash {
            return Err("its content does not have its hash: it was changed".to_owned());
        }
        let value: serde_json::Value =
            serde_json::from_slice(line).map_err(|error| format!("it is no JSON: {error}"))?;
        let n = value.get("n").and_then(serde_json::Value::as_u64).ok_or("it has no number")?;
        let prev = value.get("prev").and_then(serde_json::Value::as_str).unwrap_or_default();
        let expected = self.n + 1;
        if n != expected {
            return Err(format!("it is entry {n} where entry {expected} belongs"));
        }
        if prev != self.hash {
            return Err(format!(
                "it does not follow the entry before it, whose hash is {}",
                self.hash
            ));
        }
        *self = Self { n, hash: hash.to_owned() };
        Ok(value)
    }

    /// What the file beside the log says.
    pub(super) fn text(&self) -> String {
        // Of one length, so that it is written over in place and never made longer or shorter.
        format!("{:020} {}\n", self.n, self.hash)
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?.strip_suffix('\n')?;
        let (n, hash) = text.split_once(' ')?;
        let is_head = n.len() == 20 && n.bytes().all(|each| each.is_ascii_digit()) && is_hash(hash);
        let n = n.parse().ok().filter(|_| is_head)?;
        Some(Self { n, hash: hash.to_owned() })
    }
}

pub(super) fn hash_of(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

fn is_hash(text: &str) -> bool {
    text.len() == HASH_DIGITS && text.bytes().all(|each| matches!(each, b'0'..=b'9' | b'a'..=b'f'))
}

/// The hashed part of a line, and the hash that it names.
fn taken_apart(line: &[u8]) -> Option<(&[u8], &str)> {
    let rest = line.strip_suffix(END.as_bytes())?;
    let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(HASH_DIGITS)?)?;
    let body = rest.strip_suffix(HASH_MARK.as_bytes())?;
    let hash = std::str::from_utf8(hash).ok().filter(|hash| is_hash(hash))?;
    Some((body, hash))
}
