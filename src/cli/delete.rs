//! `sidereus delete`: removes objects.

use anyhow::Result;
use clap::Args;

use super::client::ClientArguments;
use super::failure::of_status;
use super::ids::parse_ids;
use super::render::{Cell, print_facts};
use crate::wire::v1::DeleteObjectsRequest;

/// Words of `sidereus delete`.
#[derive(Debug, Args)]
pub(super) struct DeleteArguments {
    /// Name of the collection
    name: String,
    /// Ids of the objects
    #[arg(required = true, value_name = "ID", allow_negative_numbers = true)]
    ids: Vec<String>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Runs `sidereus delete`.
pub(super) async fn run(arguments: DeleteArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let schema = client.schema(&arguments.name).await?;
    let ids = parse_ids(&schema, &arguments.ids)?;
    let request = DeleteObjectsRequest { collection: arguments.name, ids };
    let reply =
        client.objects().delete_objects(request).await.map_err(|status| of_status(&status))?;
    let reply = reply.into_inner();
    let facts = [("deleted", Cell::Count(reply.deleted)), ("absent", Cell::Count(reply.absent))];
    print_facts(&facts, arguments.client.format)
}
