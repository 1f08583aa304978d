//! `sidereus get`: objects by id.

use anyhow::{Result, bail};
use clap::Args;

use super::client::ClientArguments;
use super::failure::of_status;
use super::hits::{Columns, object_facts, object_json, object_table};
use super::ids::{id_text, parse_ids};
use super::render::{Cell, Format, Json, print_facts, print_json, print_table};
use crate::wire::v1::{CollectionSchema, GetObjectsRequest, Object, ObjectId};

/// Words of `sidereus get`.
#[derive(Debug, Args)]
pub(super) struct GetArguments {
    /// Name of the collection
    name: String,
    /// Ids of the objects
    #[arg(required = true, value_name = "ID", allow_negative_numbers = true)]
    ids: Vec<String>,
    /// Columns to print, in this order [default: all]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// Print the stored vectors too
    #[arg(long)]
    with_vectors: bool,
    /// Read this release of the collection, such as dr1, instead of what it holds now
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Runs `sidereus get`. Objects that do not exist are an error after those that do are printed.
pub(super) async fn run(arguments: GetArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let schema = client.schema_of(&arguments.name, arguments.release.as_deref()).await?;
    let request = GetObjectsRequest {
        collection: arguments.name.clone(),
        ids: parse_ids(&schema, &arguments.ids)?,
        with_vectors: arguments.with_vectors,
        release: arguments.release.clone().unwrap_or_default(),
    };
    let reply = client.objects().get_objects(request).await.map_err(|status| of_status(&status))?;
    let reply = reply.into_inner();
    print(&arguments, &schema, &reply.objects, &reply.missing)?;
    if !reply.missing.is_empty() {
        let missing: Vec<String> = reply.missing.iter().map(|id| id_text(Some(id))).collect();
        bail!("no object {} in `{}`", missing.join(", "), arguments.name);
    }
    Ok(())
}

fn print(
    arguments: &GetArguments,
    schema: &CollectionSchema,
    objects: &[Object],
    missing: &[ObjectId],
) -> Result<()> {
    let columns = if arguments.columns.is_empty() {
        Columns::all(schema)
    } else {
        Columns::new(schema, &arguments.columns)
    };
    match arguments.client.format {
        Format::Json => {
            let json = |object| object_json(schema, &columns, object, arguments.with_vectors);
            let ids = missing.iter().map(|id| Cell::Id(id_text(Some(id))).to_json());
            print_json(&Json::object([
                ("objects", Json::List(objects.iter().map(json).collect())),
                ("missing", Json::List(ids.collect())),
            ]))
        }
        Format::Table if objects.len() == 1 => {
            let facts = object_facts(schema, &columns, &objects[0]);
            let facts: Vec<(&str, Cell)> =
                facts.iter().map(|(name, cell)| (name.as_str(), cell.clone())).collect();
            print_facts(&facts, Format::Table)
        }
        Format::Table if objects.is_empty() => Ok(()),
        format @ (Format::Table | Format::Csv) => {
            let table = object_table(schema, &columns, objects, format == Format::Table);
            print_table(&table, format)
        }
    }
}
