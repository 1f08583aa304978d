//! Why settings are refused.

use thiserror::Error;

use crate::class::Class;

/// Why settings are refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read settings file {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or type that is not known.
    #[error("settings file {path}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// The parser's words.
        reason: String,
    },
    /// The file does not say which form it has.
    #[error("settings file {path} does not say its version; begin it with `version = {version}`")]
    NoVersion {
        /// The file.
        path: String,
        /// The version that this program reads.
        version: i64,
    },
    /// The file has a form of another program version.
    #[error(
        "settings file {path} has version {given}, this program reads version {version}; compare it with the \
         reference file deploy/sidereus.toml"
    )]
    OtherVersion {
        /// The file.
        path: String,
        /// Its version.
        given: i64,
        /// The version that this program reads.
        version: i64,
    },
    /// A setting that does not exist.
    #[error("there is no setting `{key}`: {hint}")]
    UnknownKey {
        /// Path that was given.
        key: String,
        /// What may have been meant.
        hint: String,
    },
    /// A value of another kind than the setting's.
    #[error("setting `{key}` is {given}: it must be {wanted}")]
    WrongKind {
        /// Path of the setting.
        key: String,
        /// What was given.
        given: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A value that its type does not take.
    #[error("setting `{key}`: {reason}")]
    Unfit {
        /// Path of the setting.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// One of the others, and where it was written.
    #[error("{place}: {error}")]
    At {
        /// The line, the variable or the word.
        place: String,
        /// What is wrong there.
        error: Box<ConfigError>,
    },
    /// Several of the others.
    #[error("{} settings are wrong: {}", .0.len(), joined(.0))]
    Several(Vec<ConfigError>),
    /// A value that cannot be.
    #[error("setting `{key}` is {value}: {wanted}")]
    BadValue {
        /// Path of the setting.
        key: &'static str,
        /// What was given.
        value: String,
        /// What it must be.
        wanted: String,
    },
}

fn joined(errors: &[ConfigError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl ConfigError {
    /// Several errors as one.
    pub(super) fn of(errors: impl IntoIterator<Item = Self>) -> Self {
        let mut errors: Vec<Self> = errors.into_iter().flat_map(Self::parts).collect();
        match errors.pop() {
            Some(only) if errors.is_empty() => only,
            last => Self::Several(errors.into_iter().chain(last).collect()),
        }
    }

    /// The errors that it consists of.
    pub(super) fn parts(self) -> Vec<Self> {
        match self {
            Self::Several(errors) => errors,
            one => vec![one],
        }
    }

    /// What the operator must do.
    pub fn class(&self) -> Class {
        match self {
            Self::Unreadable { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Class::NotFound
            }
            Self::Unreadable { .. } => Class::Unavailable,
            Self::Malformed { .. }
            | Self::NoVersion { .. }
            | Self::OtherVersion { .. }
            | Self::UnknownKey { .. }
            | Self::WrongKind { .. }
            | Self::Unfit { .. }
            | Self::Several(_)
            | Self::BadValue { .. } => Class::Invalid,
            Self::At { error, .. } => error.class(),
        }
    }

    /// Path of the setting that is wrong.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::UnknownKey { key, .. }
            | Self::WrongKind { key, .. }
            | Self::Unfit { key, .. } => Some(key),
            Self::BadValue { key, .. } => Some(key),
            Self::At { error, .. } => error.key(),
            Self::Unreadable { .. }
            | Self::Malformed { .. }
            | Self::NoVersion { .. }
            | Self::Several(_)
            | Self::OtherVersion { .. } => None,
        }
    }
}
