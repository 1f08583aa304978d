//! `sidereus index`: builds and shows vector indices.

use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use super::client::{Client, ClientArguments};
use super::failure::{of_status, one_line};
use super::progress;
use super::render::{
    Cell, Format, Json, Table, duration, print_facts, print_json, print_table, write_out,
};
use crate::wire::v1::{
    BuildIndexRequest, BuildIndexResponse, GetIndexStatusRequest, GetIndexStatusResponse,
};

/// Words of `sidereus index`.
#[derive(Debug, Args)]
pub(super) struct IndexArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sort a collection by place on the sky and index its vectors
    Build {
        /// Name of the collection
        name: String,
        /// Only this space [default: all]
        #[arg(long, value_name = "S")]
        space: Option<String>,
    },
    /// Show what is indexed, and how well
    Status {
        /// Name of the collection
        name: String,
    },
}

/// Runs `sidereus index`.
pub(super) async fn run(arguments: IndexArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let format = arguments.client.format;
    match arguments.action {
        Action::Build { name, space } => {
            let started = Instant::now();
            let status = build(&client, name, space.unwrap_or_default()).await?;
            if format == Format::Table {
                write_out(&format!("index built in {}\n", duration(started.elapsed())))?;
            }
            print(&status, format)
        }
        Action::Status { name } => print(&status_of(&client, name).await?, format),
    }
}

/// What is indexed of a collection.
pub(super) async fn status_of(
    client: &Client,
    collection: String,
) -> Result<GetIndexStatusResponse> {
    let request = GetIndexStatusRequest { collection, release: String::new() };
    let reply = client.maintenance().get_index_status(request).await;
    Ok(reply.map_err(|status| of_status(&status))?.into_inner())
}

/// Builds the index of a space, of all where none is named, and shows how far it is.
pub(super) async fn build(
    client: &Client,
    collection: String,
    space: String,
) -> Result<GetIndexStatusResponse> {
    let request = BuildIndexRequest { collection, space };
    let reply =
        client.maintenance().build_index(request).await.map_err(|status| of_status(&status))?;
    let mut status = None;
    let step = |message: BuildIndexResponse| {
        status = message.status.or(status.take());
        (Some(message.stage), message.done, message.total)
    };
    progress::watch(reply.into_inner(), &progress::stage_bar(), step).await?;
    status.context("the build ended without a word; see `sidereus index status`, then try again")
}

/// The build that runs or waits beside.
fn build_cell(status: &GetIndexStatusResponse) -> Cell {
    let step = status.build.as_ref();
    step.map_or(Cell::Null, |step| {
        Cell::text(progress::step_text(&step.stage, step.done, step.total))
    })
}

/// Why the last build failed.
fn failure_cell(status: &GetIndexStatusResponse) -> Cell {
    match status.build_failure.as_str() {
        "" => Cell::Null,
        reason => Cell::text(one_line(reason)),
    }
}

fn print(status: &GetIndexStatusResponse, format: Format) -> Result<()> {
    let mut table =
        Table::new(["space", "index", "vectors", "lists", "probes", "recall@10", "segment rows"]);
    for segment in &status.segments {
        for space in &segment.spaces {
            table.push(vec![
                Cell::text(&space.space),
                Cell::text(&space.kind),
                // Whoever may not see everything is not told how many there are.
                if space.vectors == 0 { Cell::Null } else { Cell::Count(space.vectors) },
                Cell::Count(space.lists),
                Cell::Count(space.default_probes),
                Cell::optional_real(space.measured_recall),
                Cell::Count(segment.rows),
            ]);
        }
    }
    let facts = [
        ("collection", Cell::text(&status.collection)),
        ("version", Cell::Count(status.version)),
        ("indexed_version", Cell::Count(status.indexed_version)),
        ("tail_rows", Cell::Count(status.tail_rows)),
        ("deleted_rows", Cell::Count(status.deleted_rows)),
        ("bytes_on_disk", Cell::Bytes(status.segments.iter().map(|each| each.bytes_on_disk).sum())),
        ("build", build_cell(status)),
        ("build_failure", failure_cell(status)),
    ];
    match format {
        Format::Table => {
            let told = if status.build_failure.is_empty() { facts.len() - 1 } else { facts.len() };
            print_facts(&facts[..told], format)?;
            if table.len() == 0 {
                return write_out(match status.segments.len() {
                    0 => "no index yet; every search is an exact scan\n",
                    _ => {
                        "regions and columns are indexed; there is no embedding space with vectors\n"
                    }
                });
            }
            write_out("\n")?;
            print_table(&table, format)
        }
        Format::Json => {
            let members = facts.iter().map(|(name, cell)| (*name, cell.to_json()));
            print_json(&Json::object(members.chain([("spaces", table.to_json())])))
        }
        Format::Csv => print_table(&table, format),
    }
}
