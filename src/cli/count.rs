//! `sidereus count`: how many objects.

use anyhow::Result;
use clap::Args;

use super::client::ClientArguments;
use super::failure::of_status;
use super::region::RegionArguments;
use super::render::{Cell, Format, print_facts, thousands, write_out};
use crate::wire::v1::CountObjectsRequest;

/// Words of `sidereus count`.
#[derive(Debug, Args)]
pub(super) struct CountArguments {
    /// Name of the collection
    name: String,
    /// Only objects for which this SQL expression on the columns, derived ones among them, is true
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Read this release of the collection, such as dr1, instead of what it holds now
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    #[command(flatten)]
    region: RegionArguments,
    #[command(flatten)]
    client: ClientArguments,
}

/// Runs `sidereus count`.
pub(super) async fn run(arguments: CountArguments) -> Result<()> {
    let region = arguments.region.to_wire()?;
    let client = arguments.client.connect().await?;
    let request = CountObjectsRequest {
        collection: arguments.name,
        region,
        predicate: arguments.predicate.unwrap_or_default(),
        release: arguments.release.unwrap_or_default(),
    };
    let reply =
        client.objects().count_objects(request).await.map_err(|status| of_status(&status))?;
    let count = reply.into_inner().count;
    match arguments.client.format {
        Format::Table => write_out(&format!("{}\n", thousands(count))),
        format @ (Format::Json | Format::Csv) => {
            print_facts(&[("count", Cell::Count(count))], format)
        }
    }
}
