//! To whom roles and policies are given, and on what.

use std::fmt;
use std::str::FromStr;

use super::AccessError;
use crate::schema::check_name;

/// The group of everybody who has shown who he is.
pub const EVERYONE: &str = "everyone";

/// Longest name of a person or group, in bytes.
const NAME_BYTES_MAX: usize = 120;

/// To whom a role or a policy is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// A group, by its name in lower case.
    Group(String),
    /// A person or a program, by exactly this name.
    User(String),
}

/// On what a role is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// `*`: every collection, and the server itself.
    Everything,
    /// One collection with its releases, by its name in lower case.
    Collection(String),
}

/// The name of a person or program.
///
/// # Errors
/// [`AccessError::BadName`] for one that is empty, too long, or holds what cannot be seen.
pub(super) fn user_name(name: &str) -> Result<String, AccessError> {
    let visible = |each: char| !each.is_control() && (each == ' ' || !each.is_whitespace());
    let good = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.trim() == name
        && name.chars().all(visible);
    if good {
        return Ok(name.to_owned());
    }
    Err(AccessError::BadName {
        what: "somebody",
        name: cut(name),
        rule: "up to 120 bytes that can be seen, without blanks at the ends",
    })
}

/// The name of a group, in lower case.
///
/// # Errors
/// [`AccessError::BadName`].
pub(super) fn group_name(name: &str) -> Result<String, AccessError> {
    let folded = name.to_lowercase();
    let mut letters = folded.chars();
    let begins = letters.next().is_some_and(char::is_alphanumeric);
    let goes_on = letters.all(|each| each.is_alphanumeric() || matches!(each, '_' | '-' | '.'));
    if begins && goes_on && folded.len() <= NAME_BYTES_MAX {
        return Ok(folded);
    }
    Err(AccessError::BadName {
        what: "a group",
        name: cut(name),
        rule: "letters, digits, `_`, `-` and `.`, beginning with a letter or digit, up to 120 bytes",
    })
}

/// As much of a name as a message should hold, on one line.
pub(super) fn cut(name: &str) -> String {
    name.chars().take(128).map(|each| if each.is_control() { '?' } else { each }).collect()
}

/// The collection whose roles and policies hold for a name: its own, or that of the release. In lower case.
pub(super) fn base_of(collection: &str) -> String {
    collection.split_once('@').map_or(collection, |(base, _)| base).to_lowercase()
}

impl fmt::Display for Principal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(out, "group:{name}"),
            Self::User(name) => write!(out, "user:{name}"),
        }
    }
}

impl FromStr for Principal {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        match text.split_once(':') {
            Some(("user", name)) => Ok(Self::User(user_name(name)?)),
            Some(("group", name)) => Ok(Self::Group(group_name(name)?)),
            _ => Err(AccessError::NoPrincipal { given: cut(text) }),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Everything => "*",
            Self::Collection(name) => name,
        })
    }
}

impl FromStr for Scope {
    type Err = AccessError;

    fn from_str(text: &str) -> Result<Self, AccessError> {
        if text == "*" {
            return Ok(Self::Everything);
        }
        if let Some((collection, _)) = text.split_once('@') {
            return Err(AccessError::OfRelease { given: cut(text), collection: cut(collection) });
        }
        check_name("collection", text).map_err(|_| AccessError::BadName {
            what: "a collection",
            name: cut(text),
            rule: "`*`, or letters, digits, `_`, `-` and `.`, beginning with a letter or `_`",
        })?;
        Ok(Self::Collection(text.to_lowercase()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn principals_and_scopes_read_their_own_words() {
        for text in ["user:Ada Lovelace", "user:oidc:auth0|17", "group:team.a", "group:everyone"] {
            assert_eq!(text.parse::<Principal>().expect("a principal").to_string(), text);
        }
        assert_eq!("group:TEAM".parse::<Principal>().expect("a group").to_string(), "group:team");
        for text in ["ada", "user:", "user: ada", "user:a\nb", "group:a b", "role:x", "group:*"] {
            assert!(text.parse::<Principal>().is_err(), "{text}");
        }
        assert_eq!("*".parse::<Scope>().expect("everything"), Scope::Everything);
        assert_eq!("Galaxies".parse::<Scope>().expect("a name").to_string(), "galaxies");
        for text in ["", "a/b", "galaxies@dr1", "**", "a\n"] {
            assert!(text.parse::<Scope>().is_err(), "{text}");
        }
        assert_eq!(base_of("Galaxies@dr1"), "galaxies");
    }
}
