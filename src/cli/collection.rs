//! `sidereus collection`: names, schemas and counts.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};

use super::client::{Client, ClientArguments};
use super::encode;
use super::failure::{of_status, one_line};
use super::render::{
    Cell, Format, Json, Table, print_facts, print_json, print_table, significant, thousands,
    write_out,
};
use super::schema_file::{self, column_type_name, form_name, metric_name};
use crate::sky::Moc;
use crate::wire::v1::{
    AddSpaceRequest, Collection, CollectionSchema, CreateCollectionRequest, DropCollectionRequest,
    EmbeddingSpace, GetCollectionRequest, IdKind, IngestEncoding, ListCollectionsRequest,
    Provenance, SetEncodeAtIngestRequest,
};

/// Square degrees of the sphere.
const SKY_SQUARE_DEGREES: f64 = 41_252.961;

/// Words of `sidereus collection`.
#[derive(Debug, Args)]
pub(super) struct CollectionArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an empty collection with the schema of a TOML file
    Create {
        /// Name of the collection
        name: String,
        /// The schema: `id`, `[[column]]` (name, type, unit, ucd, description) and `[[space]]`
        /// (name, modality, form, dimension, metric, encode_at_ingest, inputs, provenance)
        #[arg(long, value_name = "FILE.toml")]
        schema: PathBuf,
    },
    /// List all collections
    List,
    /// Show the columns, spaces and counts of a collection
    Show {
        /// Name of the collection
        name: String,
    },
    /// Declare that vectors of several spaces can be compared, because their models were trained together
    Share {
        /// Name of the collection
        name: String,
        /// The spaces, such as those of both towers of a contrastive model
        #[arg(long, value_name = "S,T,...", value_delimiter = ',', required = true)]
        spaces: Vec<String>,
        /// A name for what they share
        #[arg(long = "as", value_name = "NAME")]
        shared: String,
    },
    /// Have the server encode objects into a space as they arrive, and again when an input of theirs changes
    EncodeAtIngest {
        /// Name of the collection
        name: String,
        /// Name of the space, which a model of the server fills
        space: String,
        /// The column that a model input comes from, where their names differ (repeat for several);
        /// INPUT= leaves an input out
        #[arg(long, value_name = "INPUT=COLUMN", conflicts_with = "off")]
        input: Vec<String>,
        /// Encode objects no more as they arrive
        #[arg(long)]
        off: bool,
    },
    /// Delete a collection with everything in it
    Drop {
        /// Name of the collection
        name: String,
        /// Delete its releases, too, which others may cite; without it a collection that has some is not deleted
        #[arg(long)]
        with_releases: bool,
    },
}

/// Runs `sidereus collection`.
pub(super) async fn run(arguments: CollectionArguments) -> Result<()> {
    let format = arguments.client.format;
    match arguments.action {
        Action::Create { name, schema } => {
            // The file is checked before anybody is called.
            let schema = schema_file::read(&schema, &name)?;
            let client = arguments.client.connect().await?;
            let collection = create(&client, schema_file::to_wire(&schema)).await?;
            show(&collection, format)
        }
        Action::List => list(&arguments.client.connect().await?, format).await,
        Action::Show { name } => {
            let client = arguments.client.connect().await?;
            show(&get(&client, &name).await?, format)
        }
        Action::Share { name, spaces, shared } => {
            let client = arguments.client.connect().await?;
            show(&share(&client, &name, &spaces, &shared).await?, format)
        }
        Action::EncodeAtIngest { name, space, input, off } => {
            let inputs = encode::parse_inputs(&input)?;
            let client = arguments.client.connect().await?;
            let request = SetEncodeAtIngestRequest {
                collection: name,
                space,
                encode_at_ingest: !off,
                inputs,
            };
            let reply = client
                .collections()
                .set_encode_at_ingest(request)
                .await
                .map_err(|status| of_status(&status))?;
            let collection = reply.into_inner().collection;
            show(&collection.context("the server's answer lacks the collection")?, format)
        }
        Action::Drop { name, with_releases } => {
            let client = arguments.client.connect().await?;
            let request = DropCollectionRequest { name: name.clone(), with_releases };
            client
                .collections()
                .drop_collection(request)
                .await
                .map_err(|status| of_status(&status))?;
            match format {
                Format::Table => write_out(&format!("dropped {name}\n")),
                Format::Json | Format::Csv => print_facts(&[("dropped", Cell::text(name))], format),
            }
        }
    }
}

/// Makes a collection.
pub(super) async fn create(client: &Client, schema: CollectionSchema) -> Result<Collection> {
    let request = CreateCollectionRequest { schema: Some(schema) };
    let reply = client
        .collections()
        .create_collection(request)
        .await
        .map_err(|status| of_status(&status))?;
    reply.into_inner().collection.context("the server did not say what it created")
}

async fn get(client: &Client, name: &str) -> Result<Collection> {
    let request = GetCollectionRequest { name: name.to_owned(), release: String::new() };
    let reply =
        client.collections().get_collection(request).await.map_err(|status| of_status(&status))?;
    reply.into_inner().collection.context("the server's answer lacks the collection")
}

async fn share(client: &Client, name: &str, spaces: &[String], shared: &str) -> Result<Collection> {
    let schema = client.schema(name).await?;
    let mut wanted = Vec::with_capacity(spaces.len());
    for space in spaces {
        let found = schema.spaces.iter().find(|each| each.name.eq_ignore_ascii_case(space));
        let Some(found) = found else { bail!("`{name}` has no space `{space}`") };
        wanted.push(EmbeddingSpace { shared: shared.to_owned(), ..found.clone() });
    }
    for space in wanted {
        let request = AddSpaceRequest { collection: name.to_owned(), space: Some(space) };
        client.collections().add_space(request).await.map_err(|status| of_status(&status))?;
    }
    get(client, name).await
}

async fn list(client: &Client, format: Format) -> Result<()> {
    let reply = client
        .collections()
        .list_collections(ListCollectionsRequest {})
        .await
        .map_err(|status| of_status(&status))?;
    let collections = reply.into_inner().collections;
    if collections.is_empty() && format == Format::Table {
        return write_out(
            "no collections that you may see; `sidereus import NAME FILE --create` makes one\n",
        );
    }
    let mut table = Table::new(["name", "objects", "columns", "spaces", "description"]);
    for collection in &collections {
        let schema = schema_of(collection)?;
        let spaces: Vec<&str> = schema.spaces.iter().map(|space| space.name.as_str()).collect();
        table.push(vec![
            Cell::text(&schema.name),
            Cell::Count(collection.object_count),
            Cell::Count(schema.columns.len() as u64),
            Cell::text(spaces.join(" ")),
            Cell::text(&schema.description),
        ]);
    }
    match format {
        Format::Table => print_table(&table.without_silent_columns(3), format),
        Format::Json | Format::Csv => print_table(&table, format),
    }
}

fn schema_of(collection: &Collection) -> Result<&CollectionSchema> {
    collection.schema.as_ref().context("the server's answer lacks a schema")
}

/// How much of the sky a footprint covers: its cells fill pages, and are for programs.
fn footprint_text(footprint: &str) -> String {
    let Ok(moc) = Moc::from_ascii(footprint) else { return footprint.to_owned() };
    let fraction = moc.sky_fraction();
    if fraction == 0.0 {
        return String::new();
    }
    let area = fraction * SKY_SQUARE_DEGREES;
    let area = if area < 1e3 { significant(area, 3) } else { thousands(area.round() as u64) };
    let percent = significant(100.0 * fraction, 2);
    // The server makes it of cells of order 8.
    format!(
        "cells of 14 arcmin with objects: {area} square degrees together, {percent} % of the sky (the MOC: --format json)"
    )
}

/// Prints everything about a collection.
fn show(collection: &Collection, format: Format) -> Result<()> {
    let schema = schema_of(collection)?;
    let (columns, spaces) = (columns_table(schema), spaces_table(collection, schema));
    let mut facts = vec![
        ("name", Cell::text(&schema.name)),
        ("description", Cell::text(&schema.description)),
        ("ids", Cell::text(id_kind_name(schema.id_kind()))),
        ("objects", Cell::Count(collection.object_count)),
        ("version", Cell::Count(collection.version)),
    ];
    match format {
        Format::Table => {
            // A whole text, unlike the cells of a table.
            facts.push(("footprint", Cell::Id(footprint_text(&collection.footprint))));
            facts.retain(|(_, cell)| !cell.to_text().is_empty());
            print_facts(&facts, format)?;
            write_out("\n")?;
            print_table(&columns.without_silent_columns(2), format)?;
            write_out("\n")?;
            if spaces.len() == 0 {
                return write_out("no embedding spaces yet; make one with `sidereus encode`\n");
            }
            print_table(&spaces, format)?;
            for space in schema.spaces.iter().filter(|space| space.encode_at_ingest) {
                let told = collection.encoding.get(&space.name).cloned().unwrap_or_default();
                write_out(&format!("\n{}: {}\n", space.name, at_ingest_text(space, &told)))?;
            }
            Ok(())
        }
        Format::Json => {
            let mut members: Vec<(String, Json)> =
                facts.iter().map(|(name, cell)| ((*name).to_owned(), cell.to_json())).collect();
            members.push(("footprint".to_owned(), Cell::text(&collection.footprint).to_json()));
            members.push(("columns".to_owned(), columns.to_json()));
            let spaces = schema.spaces.iter().map(|space| space_json(collection, space));
            members.push(("spaces".to_owned(), Json::List(spaces.collect())));
            print_json(&Json::Object(members))
        }
        Format::Csv => print_table(&columns, format),
    }
}

fn columns_table(schema: &CollectionSchema) -> Table {
    let mut table = Table::new(["column", "type", "unit", "ucd", "description"]);
    for column in &schema.columns {
        table.push(vec![
            Cell::text(&column.name),
            Cell::text(column_type_name(column.r#type())),
            Cell::text(&column.unit),
            Cell::text(&column.ucd),
            Cell::text(&column.description),
        ]);
    }
    table
}

fn spaces_table(collection: &Collection, schema: &CollectionSchema) -> Table {
    let mut table =
        Table::new(["space", "modality", "form", "dimension", "metric", "vectors", "made by"]);
    for space in &schema.spaces {
        let vectors = collection.vector_counts.get(&space.name).copied().unwrap_or(0);
        table.push(vec![
            Cell::text(&space.name),
            Cell::text(&space.modality),
            Cell::text(form_name(space.form())),
            Cell::Count(u64::from(space.dimension)),
            Cell::text(metric_name(space.metric())),
            Cell::Count(vectors),
            Cell::text(provenance_text(space.provenance.as_ref())),
        ]);
    }
    table
}

/// How a space is filled as objects arrive, and how far that is.
fn at_ingest_text(space: &EmbeddingSpace, told: &IngestEncoding) -> String {
    let mut columns: Vec<&str> =
        space.inputs.values().map(String::as_str).filter(|column| !column.is_empty()).collect();
    columns.sort_unstable();
    let mut text = format!(
        "encoded at ingest from {}; encoding {} waiting, {} failed",
        columns.join(", "),
        thousands(told.waiting),
        thousands(told.failed),
    );
    if told.without_inputs > 0 {
        text.push_str(&format!(", {} without inputs", thousands(told.without_inputs)));
    }
    for (words, what) in [("paused", &told.paused), ("last failure", &told.last_failure)] {
        if !what.is_empty() {
            text.push_str(&format!("\n  {words}: {}", one_line(what)));
        }
    }
    text
}

fn at_ingest_json(collection: &Collection, space: &EmbeddingSpace) -> Json {
    let told = collection.encoding.get(&space.name).cloned().unwrap_or_default();
    let mut inputs: Vec<_> = space.inputs.iter().collect();
    inputs.sort_unstable();
    let inputs =
        inputs.into_iter().map(|(input, column)| (input.clone(), Cell::text(column).to_json()));
    Json::object([
        ("inputs", Json::Object(inputs.collect())),
        ("waiting", Cell::Count(told.waiting).to_json()),
        ("failed", Cell::Count(told.failed).to_json()),
        ("without_inputs", Cell::Count(told.without_inputs).to_json()),
        ("paused", Cell::text(told.paused).to_json()),
        ("last_failure", Cell::text(told.last_failure).to_json()),
    ])
}

/// Who made the vectors of a space, in a few words.
fn provenance_text(provenance: Option<&Provenance>) -> String {
    let Some(given) = provenance else { return String::new() };
    if given.weights_hash.is_empty() {
        return given.encoder.clone();
    }
    format!("{} (weights {})", given.encoder, weights_text(provenance))
}

/// The first digits of the hash of a model's weights: enough to tell two apart.
pub(super) fn weights_text(provenance: Option<&Provenance>) -> String {
    const HASH_SHOWN: usize = 12;
    let hash = provenance.map(|given| given.weights_hash.as_str()).unwrap_or_default();
    hash.chars().take(HASH_SHOWN).collect()
}

/// Everything that is known about who made the vectors of a space.
pub(super) fn provenance_json(provenance: Option<&Provenance>) -> Json {
    let given = provenance.cloned().unwrap_or_default();
    Json::object([
        ("encoder", Cell::text(given.encoder).to_json()),
        ("weights_hash", Cell::text(given.weights_hash).to_json()),
        ("preprocessing", Cell::text(given.preprocessing).to_json()),
        ("pooling", Cell::text(given.pooling).to_json()),
    ])
}

fn space_json(collection: &Collection, space: &EmbeddingSpace) -> Json {
    let vectors = collection.vector_counts.get(&space.name).copied().unwrap_or(0);
    let mut members = vec![
        ("space", Cell::text(&space.name).to_json()),
        ("modality", Cell::text(&space.modality).to_json()),
        ("form", Cell::text(form_name(space.form())).to_json()),
        ("dimension", Cell::Count(u64::from(space.dimension)).to_json()),
        ("metric", Cell::text(metric_name(space.metric())).to_json()),
        ("vectors", Cell::Count(vectors).to_json()),
        ("provenance", provenance_json(space.provenance.as_ref())),
        ("shared", Cell::text(&space.shared).to_json()),
    ];
    if space.encode_at_ingest {
        members.push(("encode_at_ingest", at_ingest_json(collection, space)));
    }
    Json::object(members)
}

fn id_kind_name(kind: IdKind) -> &'static str {
    match kind {
        IdKind::Unspecified => "unknown",
        IdKind::Number => "whole numbers",
        IdKind::Text => "text",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_footprint_is_told_by_its_area() {
        assert_eq!(
            footprint_text("0/0-11"),
            "cells of 14 arcmin with objects: 41,253 square degrees together, 100 % of the sky (the MOC: --format json)"
        );
        let cell = footprint_text("8/7");
        assert!(cell.contains(" 0.0525 square degrees together, 0.00013 % of the sky"), "{cell}");
        assert_eq!(footprint_text(""), "");
    }
}
