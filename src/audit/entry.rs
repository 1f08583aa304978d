//! What one entry says.

use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::time::readable;

/// Longest text of one field, in bytes; what is longer is cut and ends in `...`.
const TEXT_BYTES_MAX: usize = 256;

/// The same for reasons.
const REASON_BYTES_MAX: usize = 512;

/// What the gate decided about a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It was served.
    Allowed,
    /// It was not.
    Denied {
        /// Why, in words for the operator.
        reason: String,
    },
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When it came.
    pub at: SystemTime,
    /// Who called; empty where nobody could be told.
    pub identity: String,
    /// How he has shown it: the kind of proof and what names it, such as `token:k3f9`. Never the proof itself.
    pub proof: String,
    /// The address that it came from.
    pub peer: String,
    /// The method, as its path.
    pub verb: String,
    /// The collection that it names.
    pub collection: Option<String>,
    /// The role that it needs.
    pub role: Option<String>,
    /// What was decided.
    pub decision: Decision,
    /// The gRPC code of its answer, as a word.
    pub code: String,
    /// Rows that it returned or wrote.
    pub rows: u64,
    /// Bytes of its answer.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// The form of a call on its line, without the hashes.
#[derive(Serialize)]
struct Call<'a> {
    n: u64,
    at: String,
    identity: String,
    proof: String,
    peer: String,
    verb: String,
    collection: Option<String>,
    role: Option<String>,
    decision: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    code: String,
    rows: u64,
    bytes: u64,
    duration_ms: f64,
    prev: &'a str,
}

/// The form of what the log says about itself.
#[derive(Serialize)]
struct Remark<'a> {
    n: u64,
    at: String,
    note: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_hash: Option<&'a str>,
    prev: &'a str,
}

/// What one line is to say.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A call.
    Call(Box<Entry>),
    /// Something that happened to the log itself.
    Note {
        at: SystemTime,
        text: String,
        /// A file in which something was kept, and the hash of it.
        kept: Option<(String, String)>,
    },
}

impl Content {
    /// The JSON object with number and hash of the line before, without its own hash and without the closing brace.
    pub(super) fn body(&self, n: u64, prev: &str) -> Result<String, serde_json::Error> {
        let mut text = match self {
            Self::Call(entry) => serde_json::to_string(&call(entry, n, prev))?,
            Self::Note { at, text, kept } => serde_json::to_string(&Remark {
                n,
                at: readable(*at),
                note: text,
                kept: kept.as_ref().map(|(name, _)| name.as_str()),
                kept_hash: kept.as_ref().map(|(_, hash)| hash.as_str()),
                prev,
            })?,
        };
        text.pop();
        Ok(text)
    }
}

fn call<'a>(entry: &'a Entry, n: u64, prev: &'a str) -> Call<'a> {
    let (decision, reason) = match &entry.decision {
        Decision::Allowed => ("allowed", None),
        Decision::Denied { reason } => ("denied", Some(bounded(reason, REASON_BYTES_MAX))),
    };
    let text = |text: &str| bounded(text, TEXT_BYTES_MAX);
    Call {
        n,
        at: readable(entry.at),
        identity: text(&entry.identity),
        proof: text(&entry.proof),
        peer: text(&entry.peer),
        verb: text(&entry.verb),
        collection: entry.collection.as_deref().map(text),
        role: entry.role.as_deref().map(text),
        decision,
        reason,
        code: text(&entry.code),
        rows: entry.rows,
        bytes: entry.bytes,
        duration_ms: (entry.duration.as_secs_f64() * 1e6).round() / 1e3,
        prev,
    }
}

/// A text that fits one field and can be shown on any terminal: control characters, and those that turn the direction of
/// writing or cannot be seen, are written as `\u{...}`.
pub(super) fn bounded(text: &str, bytes_max: usize) -> String {
    let mut out = String::with_capacity(text.len().min(bytes_max));
    for each in text.chars() {
        if is_hidden(each) {
            out.extend(each.escape_unicode());
        } else {
            out.push(each);
        }
        if out.len() > bytes_max {
            out.truncate(out.floor_char_boundary(bytes_max.saturating_sub(3)));
            out.push_str("...");
            break;
        }
    }
    out
}

fn is_hidden(each: char) -> bool {
    each.is_control()
        || matches!(each, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_bounded_and_show_what_they_hold() {
        assert_eq!(bounded("a\nb\u{7f}\u{202e}c", 100), "a\\u{a}b\\u{7f}\\u{202e}c");
        let long = bounded(&"é".repeat(1_000), 256);
        assert!(long.len() <= 256 && long.ends_with("..."), "{}", long.len());
        assert_eq!(bounded("plain", 5), "plain");
        let cut = bounded(&"\u{1}".repeat(1_000), 256);
        assert!(cut.len() <= 256);
    }
}
