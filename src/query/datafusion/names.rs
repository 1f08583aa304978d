//! Column names: found without regard to case, and suggested where they are not found.

use arrow::datatypes::{FieldRef, SchemaRef};

/// How many names an error message lists.
const LISTED_MAX: usize = 40;

/// The columns that predicates may name.
pub(super) struct Names<'a> {
    schema: &'a SchemaRef,
}

impl<'a> Names<'a> {
    pub(super) fn new(schema: &'a SchemaRef) -> Self {
        Self { schema }
    }

    /// The column of that name; one that differs in case only if none is the same.
    pub(super) fn find(&self, name: &str) -> Option<&'a FieldRef> {
        let fields = self.schema.fields();
        let same = fields.iter().find(|field| field.name() == name);
        same.or_else(|| fields.iter().find(|field| field.name().eq_ignore_ascii_case(name)))
    }

    /// The names in the order of the schema, the first forty.
    pub(super) fn list(&self) -> String {
        let fields = self.schema.fields();
        let names: Vec<&str> =
            fields.iter().take(LISTED_MAX).map(|field| field.name().as_str()).collect();
        let more = fields.len().saturating_sub(LISTED_MAX);
        let list = names.join(", ");
        if more > 0 { format!("{list} and {more} more") } else { list }
    }

    /// The one column, as SQL writes it, of which a name is but a part: what stands before a sign that has a meaning in SQL
    /// (`flux.g` of `flux.g-r`), or behind the kind of a derived column (`photoz` of `probe.photoz`).
    pub(super) fn longer(&self, name: &str) -> Option<String> {
        let part = name.to_lowercase();
        let is_longer = |field: &&'a FieldRef| {
            let whole = field.name().to_lowercase();
            let before = whole.strip_prefix(&part).is_some_and(|rest| rest.starts_with(is_sign));
            let behind = whole.strip_suffix(&part).is_some_and(|kind| kind.ends_with('.'));
            before || behind
        };
        let mut found = self.schema.fields().iter().filter(is_longer);
        let whole = found.next().filter(|_| found.next().is_none())?.name();
        Some(match whole.contains(is_sign) {
            true => format!("\"{whole}\" (a name with such a sign is written in double quotes)"),
            false => whole.clone(),
        })
    }

    /// Up to three names that are the fewest letters away.
    pub(super) fn near(&self, name: &str) -> Vec<&'a str> {
        let wanted = name.to_lowercase();
        let far = 1 + wanted.chars().count() / 4;
        let mut near: Vec<(usize, &str)> = Vec::new();
        for field in self.schema.fields() {
            let distance = edits(&wanted, &field.name().to_lowercase());
            if distance <= far && distance < wanted.chars().count() {
                near.push((distance, field.name()));
            }
        }
        near.sort_by_key(|(distance, _)| *distance);
        let nearest = near.first().map_or(0, |(distance, _)| *distance);
        near.into_iter()
            .take_while(|(distance, _)| *distance == nearest)
            .take(3)
            .map(|(_, name)| name)
            .collect()
    }
}

/// Whether SQL reads a character as something else than a part of a name.
fn is_sign(each: char) -> bool {
    !(each.is_alphanumeric() || matches!(each, '_' | '.'))
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one text into the other.
fn edits(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=to.len()).collect();
    for (row, &a) in from.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, &b) in to.iter().enumerate() {
            let replaced = previous[column] + usize::from(a != b);
            let mut best = replaced.min(previous[column + 1] + 1).min(current[column] + 1);
            if row > 0 && column > 0 && a == to[column - 1] && from[row - 1] == b {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        let cases = [
            ("", "", 0),
            ("abc", "", 3),
            ("z", "Z", 1),
            ("mag_g", "mga_g", 1),
            ("flux_r", "flux_rr", 1),
            ("kitten", "sitting", 3),
        ];
        for (from, to, count) in cases {
            assert_eq!((edits(from, to), edits(to, from)), (count, count), "{from} {to}");
        }
    }
}
