//! What the reference file says: every setting there is, its kind, and its default.
//!
//! A setting without a default stands in it as a comment, `# key = EXAMPLE`, of which the kind is taken. Where the operator
//! chooses the names of sections, as in `[backup.disk]`, the file shows an example of one.

use toml::{Table, Value};

use super::ConfigError;

/// The reference file.
pub(super) const TEXT: &str = include_str!("../../deploy/sidereus.toml");

/// What the reference file is called in messages.
pub(super) const NAME: &str = "deploy/sidereus.toml";

/// Sections of which each one below has a name of the operator's choice.
const NAMED: [&str; 1] = ["backup"];

/// What stands for such a name.
const ANY_NAME: &str = "NAME";

/// A setting that there is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Known {
    /// Its path, such as `server.grpc`, or `backup.NAME.url` where the name is free.
    pub(super) key: String,
    /// Its default, or the example where it has none.
    pub(super) example: Value,
}

/// The defaults.
pub(super) fn defaults() -> Result<Table, ConfigError> {
    TEXT.parse().map_err(|error| super::settings::malformed(NAME, &error))
}

impl Known {
    /// Whether a path is that of the setting, or of an entry of it where it is a table of names that nobody knows before.
    pub(super) fn is_of(&self, key: &str) -> bool {
        if let Some((above, below)) = self.around_name() {
            let name = key.strip_prefix(above).and_then(|rest| rest.strip_suffix(below));
            return name.is_some_and(|name| !name.is_empty() && !name.contains('.'));
        }
        let rest = key.strip_prefix(&self.key);
        rest.is_some_and(|rest| {
            rest.is_empty() || (self.example.is_table() && rest.starts_with('.'))
        })
    }

    /// What stands before and behind the name that is free; `None` where none is.
    pub(super) fn around_name(&self) -> Option<(&str, &str)> {
        let (section, rest) = self.key.split_once('.')?;
        let below = rest.strip_prefix(ANY_NAME)?;
        NAMED.contains(&section).then(|| (&self.key[..=section.len()], below))
    }
}

/// Every setting, in the order of the file.
pub(super) fn known() -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut section = String::new();
    let mut is_named = false;
    for line in TEXT.lines() {
        // A header may be a comment, too, where all below it is.
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(path) = header(line) {
            section = match &path[..] {
                [section, _] if NAMED.contains(&section.as_str()) => {
                    format!("{section}.{ANY_NAME}")
                }
                path => path.join("."),
            };
            // An example of a section whose name nobody knows before, `[section.table.NAME]`.
            is_named = path.len() > 2;
            if is_named {
                let key = path[..path.len() - 1].join(".");
                add(&mut known, Known { key, example: Value::Table(Table::new()) });
            }
        } else if !is_named
            && let Ok(Some((key, example))) =
                line.parse().map(|table: Table| table.into_iter().next())
        {
            let key = if section.is_empty() { key } else { format!("{section}.{key}") };
            add(&mut known, Known { key, example });
        }
    }
    known
}

fn add(known: &mut Vec<Known>, setting: Known) {
    if known.iter().all(|each| each.key != setting.key) {
        known.push(setting);
    }
}

/// The path of a section.
fn header(line: &str) -> Option<Vec<String>> {
    let line = line.trim_end();
    if !line.starts_with('[') || line.starts_with("[[") || !line.ends_with(']') {
        return None;
    }
    let mut path = Vec::new();
    let mut table = line.parse::<Table>().ok()?;
    while let Some((name, Value::Table(below))) = table.into_iter().next() {
        path.push(name);
        table = below;
    }
    (!path.is_empty()).then_some(path)
}

/// What a kind of value is called.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// The known setting that a key may mean, for a hint: the one that is written most like it, else one of the same name in
/// another section, or the first text of a section of that name (`server.http` means `http.listen`).
pub(super) fn nearest(known: &[Known], key: &str) -> Option<String> {
    // A free name is taken as it is given.
    let name = key.split('.').nth(1).unwrap_or(ANY_NAME);
    let all = known.iter().map(|each| match each.around_name() {
        Some((above, below)) => format!("{above}{name}{below}"),
        None => each.key.clone(),
    });
    let (distance, nearest) = all.map(|each| (distance(&each, key), each)).min()?;
    let last = key.rsplit('.').next().unwrap_or(key);
    let elsewhere = || {
        let plain = || known.iter().filter(|each| each.around_name().is_none());
        let begins = |each: &&Known| {
            each.key.split_once('.').is_some_and(|(section, _)| section == last)
                && each.example.is_str()
        };
        plain()
            .find(|each| each.key.rsplit('.').next() == Some(last))
            .or_else(|| plain().find(begins))
            .map(|each| each.key.clone())
    };
    // A slip of one or two letters is more likely than another section.
    match distance <= 2 {
        true => Some(nearest),
        false => elsewhere().or_else(|| (distance <= 2 + key.len() / 4).then_some(nearest)),
    }
}

/// Characters to insert, remove or change between two texts.
///
/// # Reference
/// Levenshtein 1966.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, each) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, other) in right.iter().enumerate() {
            let changed = diagonal + usize::from(each != *other);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_known_and_so_is_what_has_none() {
        let known = known();
        let defaults = defaults().expect("a table");
        let find = |key: &str| known.iter().find(|each| each.key == key);
        for (section, values) in &defaults {
            for key in values.as_table().into_iter().flatten().map(|(key, _)| key) {
                assert!(find(&format!("{section}.{key}")).is_some(), "{section}.{key}");
            }
        }
        assert!(find("encoder.models").is_some_and(|each| each.example.is_str()));
        assert!(find("encoder.addresses").is_some_and(|each| each.example.is_array()));
        assert!(find("index.threads").is_some_and(|each| each.example.is_integer()));
    }

    #[test]
    fn names_of_the_operators_choice_are_known() {
        let known = known();
        let found = |key: &str| known.iter().find(|each| each.is_of(key)).map(|each| &each.key[..]);
        assert_eq!(found("backup.kept.url"), Some("backup.NAME.url"));
        assert_eq!(found("backup.disk.url"), Some("backup.NAME.url"));
        for wrong in ["backup.url", "backup..url", "backup.a.b.url", "backup.kept.ulr", "backup"] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
        assert_eq!(found("auth.oidc.issuer"), Some("auth.oidc.issuer"));
        assert_eq!(found("auth.other.issuer"), None);
    }

    #[test]
    fn a_slip_of_the_pen_has_a_hint_and_nonsense_has_none() {
        let known = known();
        let nearest = |key: &str| nearest(&known, key);
        assert_eq!(nearest("server.grcp").as_deref(), Some("server.grpc"));
        assert_eq!(nearest("limits.kk").as_deref(), Some("limits.k"));
        assert_eq!(nearest("server.http").as_deref(), Some("http.listen"));
        assert_eq!(nearest("server.models").as_deref(), Some("encoder.models"));
        assert_eq!(nearest("entirely.different"), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
