//! Queries that took longer than they should, with what is needed to understand them, and no more (TEL-1).

use std::fmt::Write;
use std::time::Duration;

use super::super::metrics::Metrics;
use super::current_id;
use crate::query::{Query, QueryStats};
use crate::sky::Region;

/// Longest shape of a predicate.
const SHAPE_BYTES_MAX: usize = 400;

/// Target of the lines, for log filters.
const TARGET: &str = "sidereus::slow";

/// Notes slow queries.
#[derive(Debug, Clone, Copy)]
pub(in crate::service) struct SlowQueries {
    /// From how long on; `None` notes nothing.
    pub(in crate::service) from: Option<Duration>,
}

/// What was asked, without anything that it was asked with.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::service) struct Asked {
    what: &'static str,
    collection: String,
    region: String,
    predicate: String,
    k: usize,
    terms: usize,
}

impl Asked {
    /// The shape of a search.
    pub(in crate::service) fn search(collection: &str, query: &Query) -> Self {
        Self {
            what: "search",
            collection: collection.to_owned(),
            region: region_shape(query.region.as_ref()),
            predicate: predicate_shape(query.predicate.as_deref()),
            k: query.k.unwrap_or(0),
            terms: query.terms.len(),
        }
    }

    /// The shape of a count.
    pub(in crate::service) fn count(
        collection: &str,
        region: Option<&Region>,
        predicate: Option<&str>,
    ) -> Self {
        Self {
            what: "count",
            collection: collection.to_owned(),
            region: region_shape(region),
            predicate: predicate_shape(predicate),
            k: 0,
            terms: 0,
        }
    }
}

impl SlowQueries {
    /// Notes a query that took `took`, of which it waited `waited`, if that was too long.
    pub(in crate::service) fn note(
        &self,
        metrics: &Metrics,
        asked: &Asked,
        stats: Option<&QueryStats>,
        [took, waited]: [Duration; 2],
    ) {
        if self.from.is_none_or(|from| took < from) {
            return;
        }
        metrics.slow();
        let none = QueryStats::default();
        let stats = stats.unwrap_or(&none);
        tracing::warn!(
            target: TARGET,
            request_id = current_id().unwrap_or_default(),
            what = asked.what,
            collection = asked.collection,
            took_ms = took.as_millis() as u64,
            waited_ms = waited.as_millis() as u64,
            plan = stats.plan,
            exact = stats.exact,
            region = asked.region,
            predicate = asked.predicate,
            k = asked.k,
            terms = asked.terms,
            rows_total = stats.rows_total,
            rows_in_cover = stats.rows_in_cover,
            rows_surviving = stats.rows_surviving,
            rows_scanned = stats.rows_scanned,
            tail_rows = stats.tail_rows,
            lists_probed = stats.lists_probed,
            bytes_read = stats.bytes_read,
            "slow query"
        );
    }
}

/// The kind of a region and its size, and not where it is.
fn region_shape(region: Option<&Region>) -> String {
    match region {
        None | Some(Region::AllSky) => "all".to_owned(),
        Some(Region::Cone(cone)) => format!("cone of {} deg", significant(cone.radius().0)),
        Some(Region::Polygon(polygon)) => {
            format!("polygon of {} vertices", polygon.vertices().len())
        }
        Some(Region::Zone(_)) => "zone".to_owned(),
        Some(Region::Moc(_)) => "moc".to_owned(),
    }
}

/// One digit that counts: enough to know the size, too little to know the region.
fn significant(value: f64) -> String {
    format!("{value:.0e}").parse::<f64>().map_or_else(|_| String::new(), |value| value.to_string())
}

/// A predicate with `?` in place of every literal.
fn predicate_shape(predicate: Option<&str>) -> String {
    let mut shape = String::new();
    let mut rest = predicate.unwrap_or_default();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => {
                shape.push('?');
                quoted(rest, '\'')
            }
            '"' => {
                let length = quoted(rest, '"');
                shape.push_str(&rest[..length]);
                length
            }
            '0'..='9' => {
                shape.push('?');
                let is_of_number =
                    |each: char| each.is_alphanumeric() || each == '.' || each == '_';
                rest.find(|each| !is_of_number(each)).unwrap_or(rest.len())
            }
            _ if first.is_alphabetic() || first == '_' => {
                let is_of_name = |each: char| each.is_alphanumeric() || each == '.' || each == '_';
                let length = rest.find(|each| !is_of_name(each)).unwrap_or(rest.len());
                shape.push_str(&rest[..length]);
                length
            }
            _ => {
                let drawn = if first.is_control() { ' ' } else { first };
                // Writing to a String cannot fail.
                let _ = write!(shape, "{drawn}");
                first.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    if shape.len() > SHAPE_BYTES_MAX {
        shape.truncate(shape.floor_char_boundary(SHAPE_BYTES_MAX));
        shape.push_str("...");
    }
    shape
}

/// Bytes of a quoted text at the beginning, a doubled quote being part of it; all that is left where it does not end.
fn quoted(text: &str, quote: char) -> usize {
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, each)) = rest.next() {
        if each == quote && rest.next_if(|(_, next)| *next == quote).is_none() {
            return at + each.len_utf8();
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_are_not_told_and_names_are() {
        for (given, shape) in [
            ("z > 0.05 AND z < 1.5e-3", "z > ? AND z < ?-?"),
            ("name = 'O''Brien' OR name IN ('a','b')", "name = ? OR name IN (?,?)"),
            ("\"odd \"\"name\" = 7", "\"odd \"\"name\" = ?"),
            ("probe.lens2 > 0.9", "probe.lens2 > ?"),
            ("name = 'open", "name = ?"),
            ("x = 0xFF", "x = ?"),
            ("a\n=\n1", "a = ?"),
            ("", ""),
        ] {
            assert_eq!(predicate_shape(Some(given)), shape, "{given}");
        }
        assert!(predicate_shape(Some(&"é + ".repeat(500))).len() <= SHAPE_BYTES_MAX + 3);
        assert_eq!(significant(0.123), "0.1");
    }

    proptest! {
        #[test]
        fn no_text_literal_survives(secret in "[a-z]{12}", before in "[a-z =<>()0-9]{0,20}") {
            let shape = predicate_shape(Some(&format!("{before}'{secret}'")));
            prop_assert!(!shape.contains(&secret));
        }
    }
}
