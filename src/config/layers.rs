//! Where settings come from: the defaults, a file over them, the environment over that, and words of the command line over all.
//!
//! Every value remembers its origin, so that what is wrong is told with the place where it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::reference::{self, Known, kind, nearest};
use super::settings::{Settings, VERSION, malformed};
use super::{ConfigError, merge};

/// How variables of the environment begin that are settings; what follows is `SECTION__KEY`.
const PREFIX: &str = "SIDEREUS_";

/// What stands between section and key in such a name. Other variables of the program do without it.
const SEPARATOR: &str = "__";

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: it is the default.
    Default,
    /// In a settings file.
    File {
        /// The file.
        path: String,
        /// Its line, from 1.
        line: usize,
    },
    /// In a variable of the environment.
    Environment {
        /// Its name.
        variable: String,
    },
    /// In a word of the command line.
    Flag {
        /// The word, such as `--grpc`.
        word: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line } => write!(formatter, "file {path}, line {line}"),
            Self::Environment { variable } => write!(formatter, "environment variable {variable}"),
            Self::Flag { word } => write!(formatter, "flag {word}"),
        }
    }
}

/// A setting that was given on the command line.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// The word.
    pub word: &'static str,
    /// Path of the setting.
    pub key: &'static str,
    /// Its value.
    pub value: Value,
}

/// Settings, and where each was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Layered {
    settings: Settings,
    pub(super) table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Layered {
    /// Reads all layers, and tells all that is wrong with them. `variables` are those of the environment; what is none of ours is passed over.
    ///
    /// # Errors
    /// [`ConfigError`], with the line, the variable or the word that is wrong.
    pub fn read(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: Vec<Flag>,
    ) -> Result<Self, ConfigError> {
        let file = match file {
            None => None,
            Some(path) => {
                let name = path.display().to_string();
                match std::fs::read_to_string(path) {
                    Ok(text) => Some((text, name)),
                    Err(source) => return Err(ConfigError::Unreadable { path: name, source }),
                }
            }
        };
        let file = file.as_ref().map(|(text, name)| (text.as_str(), name.as_str()));
        Self::of_text(file, variables, flags)
    }

    /// The same for the text of a file and its name.
    pub(super) fn of_text(
        file: Option<(&str, &str)>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: Vec<Flag>,
    ) -> Result<Self, ConfigError> {
        let known = reference::known();
        let mut table = reference::defaults()?;
        let (mut origins, mut wrong) = (BTreeMap::new(), Vec::new());
        if let Some((text, name)) = file {
            merge::merge(&mut table, of_file(&known, text, name, &mut origins, &mut wrong)?);
        }
        for (variable, text) in variables {
            let Some(key) = key_of(&variable) else { continue };
            let origin = Origin::Environment { variable };
            match of_variable(&known, &key, &text, &origin) {
                Ok(value) => set(&mut table, &key, value),
                Err(error) => wrong.push(error),
            }
            origins.insert(key, origin);
        }
        for Flag { word, key, value } in flags {
            set(&mut table, key, value);
            origins.insert(key.to_owned(), Origin::Flag { word });
        }
        // What is wrong is left out of the table, so that the rest is looked at, too.
        let settings = match Settings::of_table(table.clone()) {
            Ok(settings) if wrong.is_empty() => settings,
            Ok(_) => return Err(ConfigError::of(wrong)),
            Err(error) => {
                let more = error.parts().into_iter().map(|error| placed(error, &origins));
                return Err(ConfigError::of(wrong.into_iter().chain(more)));
            }
        };
        Ok(Self { settings, table, origins })
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Takes the settings.
    pub fn into_settings(self) -> Settings {
        self.settings
    }

    /// Where the setting of a path such as `server.grpc` was written.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// Puts the place before what is wrong with a value that was written somewhere.
fn placed(error: ConfigError, origins: &BTreeMap<String, Origin>) -> ConfigError {
    match error.key().and_then(|key| origins.get(key)) {
        None => error,
        Some(origin) => at(origin, error),
    }
}

fn at(origin: &Origin, error: ConfigError) -> ConfigError {
    ConfigError::At { place: origin.to_string(), error: Box::new(error) }
}

fn unknown(known: &[Known], key: &str) -> ConfigError {
    let hint = match nearest(known, key) {
        Some(near) => format!("did you mean `{near}`? {} lists all", reference::NAME),
        None => format!("{} lists all", reference::NAME),
    };
    ConfigError::UnknownKey { key: key.to_owned(), hint }
}

fn wrong_kind(key: &str, given: String, example: &Value) -> ConfigError {
    ConfigError::WrongKind { key: key.to_owned(), given, wanted: kind(example) }
}

/// Reads a settings file, every key of which must be known and of the kind that the reference file shows; those that are not
/// go to `wrong` instead.
fn of_file(
    known: &[Known],
    text: &str,
    path: &str,
    origins: &mut BTreeMap<String, Origin>,
    wrong: &mut Vec<ConfigError>,
) -> Result<Table, ConfigError> {
    let failed = |error: toml::de::Error| malformed(path, &error);
    let mut given: Table = text.parse().map_err(failed)?;
    match given.get("version").map(Value::as_integer) {
        Some(Some(VERSION)) => {}
        Some(Some(other)) => {
            let path = path.to_owned();
            return Err(ConfigError::OtherVersion { path, given: other, version: VERSION });
        }
        None | Some(None) => {
            return Err(ConfigError::NoVersion { path: path.to_owned(), version: VERSION });
        }
    }
    let spanned = DeTable::parse(text).map_err(failed)?;
    let mut leaves = Vec::new();
    leaves_of(spanned.get_ref(), "", &mut leaves);
    for (key, offset, value) in leaves {
        let line = 1 + text.get(..offset).map_or(0, |before| before.matches('\n').count());
        let origin = Origin::File { path: path.to_owned(), line };
        let Some(found) = known.iter().find(|each| each.is_of(&key)) else {
            wrong.push(at(&origin, unknown(known, &key)));
            unset(&mut given, &key);
            continue;
        };
        let example = &found.example;
        if found.key != key && found.around_name().is_none() {
            // An entry of a table: what may be in it is known to whoever reads it.
            origins.insert(found.key.clone(), origin);
            continue;
        }
        let fits = match value {
            DeValue::String(_) => example.is_str(),
            DeValue::Integer(_) => example.is_integer() || example.is_float(),
            DeValue::Float(_) => example.is_float(),
            DeValue::Boolean(_) => example.is_bool(),
            DeValue::Datetime(_) => example.is_datetime(),
            DeValue::Array(_) => example.is_array(),
            DeValue::Table(_) => example.is_table(),
        };
        if !fits {
            let shown = text.get(offset..).and_then(|rest| rest.lines().next()).unwrap_or_default();
            wrong.push(at(&origin, wrong_kind(&key, shown.trim().to_owned(), example)));
            unset(&mut given, &key);
        }
        origins.insert(key, origin);
    }
    Ok(given)
}

/// Every value of a table that is no table itself: its path, where its key begins, and the value.
fn leaves_of<'table>(
    table: &'table DeTable<'_>,
    above: &str,
    leaves: &mut Vec<(String, usize, &'table DeValue<'table>)>,
) {
    for (key, value) in table {
        let path = format!("{above}{}", key.get_ref());
        match value.get_ref() {
            DeValue::Table(inner) => leaves_of(inner, &format!("{path}."), leaves),
            leaf => leaves.push((path, key.span().start, leaf)),
        }
    }
}

/// The path of the setting that a variable names; `None` for variables that are no settings.
fn key_of(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?;
    name.contains(SEPARATOR).then(|| name.replace(SEPARATOR, ".").to_lowercase())
}

/// The value that a variable gives, of the kind that the reference file shows.
fn of_variable(
    known: &[Known],
    key: &str,
    text: &str,
    origin: &Origin,
) -> Result<Value, ConfigError> {
    let is_meant =
        |each: &&Known| each.key == key || (each.around_name().is_some() && each.is_of(key));
    let Some(Known { example, .. }) = known.iter().find(is_meant) else {
        return Err(at(origin, unknown(known, key)));
    };
    let trimmed = text.trim();
    let value = match example {
        Value::String(_) => Some(Value::String(text.to_owned())),
        Value::Integer(_) => trimmed.parse().ok().map(Value::Integer),
        Value::Float(_) => trimmed.parse().ok().map(Value::Float),
        Value::Boolean(_) => trimmed.parse().ok().map(Value::Boolean),
        Value::Datetime(_) => trimmed.parse().ok().map(Value::Datetime),
        Value::Array(_) => Some(list(trimmed)),
        Value::Table(_) => written(trimmed).filter(Value::is_table),
    };
    let shown = if super::print::is_secret(key) {
        "what was given".to_owned()
    } else {
        format!("`{text}`")
    };
    value.ok_or_else(|| at(origin, wrong_kind(key, shown, example)))
}

/// A value as TOML writes it.
fn written(text: &str) -> Option<Value> {
    format!("value = {text}").parse::<Table>().ok()?.remove("value")
}

/// A list as TOML writes it, or texts between commas.
fn list(text: &str) -> Value {
    if let Some(Value::Array(list)) = written(text) {
        return Value::Array(list);
    }
    let texts = text.split(',').map(str::trim).filter(|each| !each.is_empty());
    Value::Array(texts.map(|each| Value::String(each.to_owned())).collect())
}

/// Takes the value of a path out of a table.
fn unset(table: &mut Table, path: &str) {
    match path.split_once('.') {
        None => {
            table.remove(path);
        }
        Some((section, rest)) => {
            let Some(Value::Table(below)) = table.get_mut(section) else { return };
            unset(below, rest);
            // An entry of which nothing is left would be told to lack what was wrong.
            if below.is_empty() {
                table.remove(section);
            }
        }
    }
}

/// Sets the value of a path, making the sections on the way.
fn set(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let below = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(below) = below {
                set(below, rest, value);
            }
        }
    }
}

#[cfg(test)]
#[path = "layers_tests.rs"]
mod tests;
