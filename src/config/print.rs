//! The settings as they are, for people and for files.

use std::fmt::Write;

use toml::{Table, Value};

use super::layers::Layered;
use super::reference::{self, Known};

/// What stands for a value that is not shown.
const HIDDEN: &str = "***";

/// Words in the name of a setting whose text is nobody's business.
const SECRET_WORDS: [&str; 5] = ["secret", "password", "token", "credential", "passphrase"];

/// Ends of names of settings that say where a secret is, and hold none.
const PLACES: [&str; 4] = ["_file", "_path", "_dir", "_url"];

/// Whether the value of a setting is not shown.
pub(super) fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    let is_place = PLACES.iter().any(|end| name.ends_with(end));
    !is_place && SECRET_WORDS.iter().any(|word| name.contains(word))
}

impl Layered {
    /// Writes all settings down as TOML, each with its origin. What is secret is not shown; everything else can be used as a
    /// settings file.
    pub fn print(&self) -> String {
        let mut text = String::from(
            "# The settings that `sidereus serve` starts with, and where each comes from.\n",
        );
        let (mut section, mut unset) = (String::new(), Vec::new());
        for key in reference::known().iter().flat_map(|known| self.keys(known)) {
            let (of, name) = key.rsplit_once('.').unwrap_or(("", &key));
            let Some(value) = find(&self.table, &key) else {
                unset.push(key);
                continue;
            };
            if of != section {
                of.clone_into(&mut section);
                let parts: Vec<String> = of.split('.').map(written).collect();
                // Writing to a String cannot fail.
                let _ = writeln!(text, "\n[{}]", parts.join("."));
            }
            let _ = writeln!(text, "{name} = {}  # {}", shown(&key, value), self.origin(&key));
        }
        if !unset.is_empty() {
            let _ = writeln!(text, "\n# Not set: {}", unset.join(", "));
        }
        text
    }

    /// The paths of a setting: one for each name where names are free and some are given.
    fn keys(&self, known: &Known) -> Vec<String> {
        let Some((above, below)) = known.around_name() else { return vec![known.key.clone()] };
        let names = find(&self.table, above.trim_end_matches('.')).and_then(Value::as_table);
        let names = names.into_iter().flat_map(Table::keys);
        let keys: Vec<String> = names.map(|name| format!("{above}{name}{below}")).collect();
        if keys.is_empty() { vec![known.key.clone()] } else { keys }
    }
}

/// A name as the header of a section has it.
fn written(name: &str) -> String {
    let is_bare = |each: char| each.is_ascii_alphanumeric() || matches!(each, '_' | '-');
    if name.chars().all(is_bare) { name.to_owned() } else { Value::from(name).to_string() }
}

fn find<'table>(table: &'table Table, path: &str) -> Option<&'table Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, rest)) => find(table.get(section)?.as_table()?, rest),
    }
}

fn shown(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() && is_secret(key) => {
            Value::from(HIDDEN).to_string()
        }
        Value::String(text) => Value::String(without_user(text)).to_string(),
        Value::Array(_) if is_secret(key) => Value::Array(vec![Value::from(HIDDEN)]).to_string(),
        other => other.to_string(),
    }
}

/// An address without the name and the password that may stand in it.
fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let authority = rest.split('/').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{HIDDEN}{}", &rest[user.len()..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_places_of_secrets_are_not() {
        assert!(is_secret("auth.client_secret") && is_secret("backup.token"));
        assert!(!is_secret("auth.token_file") && !is_secret("limits.k"));
        assert_eq!(shown("a.password", &Value::from("hunter2")), "\"***\"");
        assert_eq!(shown("a.password", &Value::from("")), "\"\"");
        assert_eq!(shown("a.tokens", &Value::Array(vec![Value::from("x")])), "[\"***\"]");
        assert_eq!(without_user("http://me:pw@host:1/a@b"), "http://***@host:1/a@b");
        assert_eq!(without_user("http://host:1/a@b"), "http://host:1/a@b");
        assert_eq!(without_user("plain"), "plain");
    }
}
