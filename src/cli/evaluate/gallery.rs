//! Examples for a report: queries, and what is most like them.

use anyhow::{Context, Result, bail};
use clap::Args;

use super::pages::only;
use crate::cli::client::Client;
use crate::cli::failure::say;
use crate::cli::ids::id_text;
use crate::cli::render::{Cell, significant};
use crate::cli::report::{Example, ImageSource, Provenance, Tile};
use crate::cli::search::ask;
use crate::wire::v1::value::Kind;
use crate::wire::v1::{
    CollectionSchema, ColumnType, Hit, ObjectId, Provenance as Encoded, SearchRequest, VectorTerm,
};

/// Hits shown for a query.
const SHOWN: u32 = 6;

/// Words about a report.
#[derive(Debug, Clone, Args)]
pub(super) struct ReportArguments {
    /// Write a report with figures into this file, which stands alone
    #[arg(long, value_name = "FILE.html")]
    pub(super) report: Option<std::path::PathBuf>,
    /// Address of pictures for the report, with {ra}, {dec} and {object_id} in it; the reader's browser loads them
    #[arg(long, value_name = "URL", requires = "report", conflicts_with = "image")]
    thumbnails: Option<String>,
    /// Column of PNG or JPEG files to show in the report, which then holds them
    #[arg(long, value_name = "COLUMN", requires = "report")]
    image: Option<String>,
    /// Queries that the report shows with what they found
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) examples: usize,
}

impl ReportArguments {
    /// Where pictures come from.
    pub(super) fn images(&self, schema: &CollectionSchema) -> Result<Option<ImageSource>> {
        if let Some(template) = &self.thumbnails {
            let has = |name| template.contains(name);
            let differs = has("{object_id}") || has("{ra}") && has("{dec}");
            if !differs {
                bail!(
                    "`{template}` is the same for every object; put {{ra}} and {{dec}}, or {{object_id}}, into it"
                );
            }
            return Ok(Some(ImageSource::Address(template.clone())));
        }
        let Some(name) = &self.image else { return Ok(None) };
        let column = column(schema, name)?;
        if column.r#type() != ColumnType::Binary {
            bail!("column `{}` holds no files; --image names a binary column", column.name);
        }
        Ok(Some(ImageSource::Column(column.name.clone())))
    }

    /// Writes the report, where one is wanted, and says so.
    pub(super) fn write(&self, html: &str) -> Result<()> {
        let Some(path) = &self.report else { return Ok(()) };
        std::fs::write(path, html)
            .with_context(|| format!("cannot write the report to {}", path.display()))?;
        say(&format!("report written to {}", path.display()));
        Ok(())
    }
}

/// A column by its name.
pub(super) fn column<'a>(
    schema: &'a CollectionSchema,
    name: &str,
) -> Result<&'a crate::wire::v1::Column> {
    let found = schema.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    found.with_context(|| {
        let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        format!("`{}` has no column `{name}`; it has {}", schema.name, names.join(", "))
    })
}

/// Spaces by their names: `S`, or `S+T` for several at once.
pub(super) fn spaces(schema: &CollectionSchema, text: &str) -> Result<Vec<String>> {
    let one = |name: &str| {
        let found = schema.spaces.iter().find(|space| space.name.eq_ignore_ascii_case(name.trim()));
        found.map(|space| space.name.clone()).with_context(|| {
            let names: Vec<&str> = schema.spaces.iter().map(|space| space.name.as_str()).collect();
            format!("`{}` has no space `{name}`; it has {}", schema.name, names.join(", "))
        })
    };
    text.split('+').map(one).collect()
}

/// A term for each space, all of the same weight.
pub(super) fn terms(spaces: &[String], like: &ObjectId) -> Vec<VectorTerm> {
    let term = |space: &String| VectorTerm {
        space: space.clone(),
        weight: 1.0,
        like: vec![like.clone()],
        ..VectorTerm::default()
    };
    spaces.iter().map(term).collect()
}

/// Shows queries and what is most like them.
pub(super) struct Gallery<'a> {
    pub(super) client: &'a Client,
    pub(super) collection: &'a str,
    pub(super) images: Option<ImageSource>,
    /// The column that is told of each object.
    pub(super) column: &'a str,
}

impl Gallery<'_> {
    /// A query and what is most like it; `judge` says whether a hit is what was looked for.
    pub(super) async fn example(
        &self,
        query: &ObjectId,
        spaces: &[String],
        predicate: &str,
        judge: impl Fn(&Hit, &Hit) -> Option<bool>,
    ) -> Result<Example> {
        let itself = SearchRequest { predicate: only(query), k: 1, ..self.request() };
        let itself = ask(self.client, itself).await?.hits;
        let itself = itself.first().with_context(|| {
            format!("object {} is gone; it was deleted meanwhile", id_text(Some(query)))
        })?;
        let near = SearchRequest {
            terms: terms(spaces, query),
            predicate: predicate.to_owned(),
            k: SHOWN,
            ..self.request()
        };
        let hits = ask(self.client, near).await?.hits;
        let heading = format!("Object {} in space {}", id_text(Some(query)), spaces.join(" + "));
        let found = hits.iter().map(|hit| self.tile(hit, judge(itself, hit))).collect();
        Ok(Example { heading, query: self.tile(itself, None), found })
    }

    fn request(&self) -> SearchRequest {
        let mut columns = vec![self.column.to_owned()];
        if let Some(ImageSource::Column(name)) = &self.images {
            columns.push(name.clone());
        }
        columns.retain(|name| !name.is_empty());
        if columns.is_empty() {
            columns.push("object_id".to_owned());
        }
        SearchRequest {
            collection: self.collection.to_owned(),
            columns,
            ..SearchRequest::default()
        }
    }

    fn tile(&self, hit: &Hit, is_relevant: Option<bool>) -> Tile {
        let id = id_text(hit.id.as_ref());
        let position = hit.position.map(|at| (at.ra, at.dec));
        let bytes = match &self.images {
            Some(ImageSource::Column(name)) => {
                match hit.columns.get(name).and_then(|value| value.kind.as_ref()) {
                    Some(Kind::Binary(bytes)) => Some(bytes.as_slice()),
                    _ => None,
                }
            }
            _ => None,
        };
        let image = self.images.as_ref().and_then(|images| images.image(&id, position, bytes));
        let mut lines = Vec::new();
        if let Some(value) = hit.columns.get(self.column) {
            let value = match value.kind {
                Some(Kind::Real(value)) => significant(value, 4),
                _ => Cell::of_wire(Some(value)).to_text(),
            };
            lines.push(format!("{}: {value}", self.column));
        }
        lines.extend(hit.distance.map(|distance| format!("distance {}", significant(distance, 3))));
        Tile { id, image, lines, is_relevant }
    }
}

/// Where a report comes from, first what every report tells.
pub(super) fn provenance(
    schema: &CollectionSchema,
    version: u64,
    used: &[String],
    facts: &[(&str, String)],
) -> Provenance {
    let mut all = vec![("collection".to_owned(), format!("{}, version {version}", schema.name))];
    for space in schema.spaces.iter().filter(|space| used.contains(&space.name)) {
        let source = space.provenance.as_ref().map_or_else(|| "unknown".to_owned(), encoded);
        let text = format!("{} components from {source}", space.dimension);
        all.push((format!("space {}", space.name), text));
    }
    all.extend(facts.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    all.push(("command".to_owned(), command()));
    all.push(("made by".to_owned(), format!("sidereus {}", env!("CARGO_PKG_VERSION"))));
    all
}

fn encoded(provenance: &Encoded) -> String {
    let parts = [
        ("encoder", &provenance.encoder),
        ("weights", &provenance.weights_hash),
        ("preprocessing", &provenance.preprocessing),
        ("pooling", &provenance.pooling),
    ];
    let known = parts.into_iter().filter(|(_, value)| !value.is_empty());
    let known: Vec<String> = known.map(|(name, value)| format!("{name} {value}")).collect();
    if known.is_empty() { "an unnamed source".to_owned() } else { known.join(", ") }
}

/// The words that the program was started with, as a shell takes them.
fn command() -> String {
    let words = std::env::args().enumerate().map(|(place, word)| {
        // The folder of the program is nobody's business.
        if place == 0 { "sidereus".to_owned() } else { quoted(&word) }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let is_plain = |each: char| each.is_ascii_alphanumeric() || "-_./:=,+@%".contains(each);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_wants_it() {
        assert_eq!(quoted("random:0.2:42"), "random:0.2:42");
        assert_eq!(quoted("z > 0"), "'z > 0'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_source_is_told_as_far_as_it_is_known() {
        let mut provenance = Encoded { encoder: "astroclip".to_owned(), ..Encoded::default() };
        assert_eq!(encoded(&provenance), "encoder astroclip");
        provenance.pooling = "cls".to_owned();
        assert_eq!(encoded(&provenance), "encoder astroclip, pooling cls");
        assert_eq!(encoded(&Encoded::default()), "an unnamed source");
    }
}
