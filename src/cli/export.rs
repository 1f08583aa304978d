//! `sidereus export`: a part of a collection into a file, along the sky.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use arrow::datatypes::{Schema, SchemaRef};
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightDescriptor, FlightInfo, Ticket};
use clap::Args;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use prost::Message;

use super::client::{Client, ClientArguments};
use super::failure::of_status;
use super::progress;
use super::region::RegionArguments;
use super::render::{Cell, Format as Printed, print_facts, thousands, write_out};
use crate::files::{Format, TableWriter};
use crate::wire::v1::flight_command::Command;
use crate::wire::v1::{CollectionSchema, FlightCommand, FlightExport, SpaceForm};

/// Words of `sidereus export`.
#[derive(Debug, Args)]
pub(super) struct ExportArguments {
    /// Name of the collection
    name: String,
    /// File to write: .parquet, .arrow (or .feather), or .csv
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Read this release of the collection, such as dr1, instead of what it holds now
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// Only objects for which this SQL expression on the columns, derived ones among them, is true
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Columns beside id and position [default: all but binary ones]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// With the vectors of these spaces
    #[arg(long, value_name = "SPACE,...", value_delimiter = ',', conflicts_with = "with_vectors")]
    vectors: Vec<String>,
    /// With the vectors of all spaces
    #[arg(long)]
    with_vectors: bool,
    #[command(flatten)]
    region: RegionArguments,
    #[command(flatten)]
    client: ClientArguments,
}

/// Runs `sidereus export`.
pub(super) async fn run(arguments: ExportArguments) -> Result<()> {
    let format = format_of(&arguments.output)?;
    let region = arguments.region.to_wire()?;
    let client = arguments.client.connect().await?;
    let spaces = match arguments.with_vectors {
        true => {
            let release = arguments.release.as_deref();
            vector_spaces(&client.schema_of(&arguments.name, release).await?)
        }
        false => arguments.vectors,
    };
    let export = FlightExport {
        collection: arguments.name.clone(),
        region,
        predicate: arguments.predicate.unwrap_or_default(),
        columns: arguments.columns,
        spaces,
        release: arguments.release.unwrap_or_default(),
        ..FlightExport::default()
    };
    let is_fixed = is_fixed(&export);
    let info = info(&client, export).await?;
    let schema: Schema = info.clone().try_decode_schema().context("the server's schema")?;
    let mut writer = TableWriter::create(&arguments.output, format, &SchemaRef::new(schema))?;
    let bar = progress::rows_bar(u64::try_from(info.total_records).ok(), "exporting");
    let copied = copy(&client, &info, &mut writer, &bar).await;
    bar.finish_and_clear();
    let is_whole = |rows| if is_fixed { check_rows(info.total_records, rows) } else { Ok(()) };
    if let Err(error) = copied.and_then(is_whole) {
        writer.abandon();
        return Err(error);
    }
    let rows = writer.finish()?;
    let file = arguments.output.display().to_string();
    match arguments.client.format {
        Printed::Table => write_out(&format!("{} objects in {file}\n", thousands(rows))),
        format @ (Printed::Json | Printed::Csv) => {
            print_facts(&[("objects", Cell::Count(rows)), ("file", Cell::Text(file))], format)
        }
    }
}

/// The format that a file's name says.
fn format_of(path: &Path) -> Result<Format> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match extension.to_ascii_lowercase().as_str() {
        "parquet" => Ok(Format::Parquet),
        "arrow" | "feather" => Ok(Format::Arrow),
        "csv" => Ok(Format::Csv),
        _ => bail!("`{}` says no format: name a .parquet, .arrow or .csv file", path.display()),
    }
}

fn vector_spaces(schema: &CollectionSchema) -> Vec<String> {
    let spaces = schema.spaces.iter();
    let spaces = spaces.filter(|space| space.form == SpaceForm::Unspecified as i32);
    spaces.map(|space| space.name.clone()).collect()
}

/// Asks for the schema, the number of rows and the tickets.
async fn info(client: &Client, export: FlightExport) -> Result<FlightInfo> {
    let command = FlightCommand { command: Some(Command::Export(export)) };
    let descriptor = FlightDescriptor::new_cmd(command.encode_to_vec());
    let info = client.flight().get_flight_info(descriptor).await;
    Ok(info.map_err(|status| of_status(&status))?.into_inner())
}

/// Whether what is exported cannot change between the answer that tells its rows and the rows themselves.
fn is_fixed(export: &FlightExport) -> bool {
    !export.release.is_empty() || export.collection.contains('@')
}

/// Compares the rows that came with those that were told; a server that does not know tells a negative number.
fn check_rows(told: i64, came: u64) -> Result<()> {
    match u64::try_from(told) {
        Ok(told) if told != came => bail!(
            "the export broke off: {} of {} objects came; run it again",
            thousands(came),
            thousands(told)
        ),
        _ => Ok(()),
    }
}

/// Writes the batches of every ticket, and tells their rows.
async fn copy(
    client: &Client,
    info: &FlightInfo,
    writer: &mut TableWriter,
    bar: &ProgressBar,
) -> Result<u64> {
    let mut rows = 0;
    for endpoint in &info.endpoint {
        let ticket: Ticket =
            endpoint.ticket.clone().context("the server's answer lacks a ticket")?;
        let messages = client.flight().do_get(ticket).await;
        let messages = messages.map_err(|status| of_status(&status))?.into_inner();
        let mut batches =
            FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(failed)?;
            tokio::task::block_in_place(|| writer.write(&batch))?;
            rows += batch.num_rows() as u64;
            bar.inc(batch.num_rows() as u64);
        }
    }
    Ok(rows)
}

fn failed(error: FlightError) -> anyhow::Error {
    match error {
        FlightError::Tonic(status) => of_status(&status),
        other => anyhow::Error::new(other).context("the server's answer cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_comes_whole_or_not_at_all() {
        let export = |collection: &str, release: &str| FlightExport {
            collection: collection.to_owned(),
            release: release.to_owned(),
            ..FlightExport::default()
        };
        assert!(is_fixed(&export("sky", "dr1")) && is_fixed(&export("sky@dr1", "")));
        assert!(!is_fixed(&export("sky", "")), "others may write meanwhile");
        let broken = check_rows(300_000, 131_070).expect_err("too few").to_string();
        assert!(broken.contains("131,070 of 300,000"), "{broken}");
        assert!(check_rows(5, 5).is_ok() && check_rows(-1, 5).is_ok());
    }

    #[test]
    fn the_name_of_the_file_says_the_format() {
        assert_eq!(format_of(Path::new("a/b.PARQUET")).expect("known"), Format::Parquet);
        assert_eq!(format_of(Path::new("b.feather")).expect("known"), Format::Arrow);
        assert_eq!(format_of(Path::new("b.csv")).expect("known"), Format::Csv);
        for unknown in ["b.fits", "b", ".parquet"] {
            assert!(format_of(Path::new(unknown)).is_err(), "{unknown}");
        }
    }
}
