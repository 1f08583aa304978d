//! `sidereus encoder`: the models that the server can encode with.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::check::CheckArguments;
use super::client::ClientArguments;
use super::collection::provenance_text;
use super::failure::{of_status, one_line};
use super::render::{Cell, Format, Table, print_table, write_out};
use crate::wire::v1::ListModelsRequest;

/// Words of `sidereus encoder`.
#[derive(Debug, Args)]
pub(super) struct EncoderArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the registered models of the server
    Models {
        #[command(flatten)]
        client: ClientArguments,
    },
    /// Run a model directory on its own golden inputs (needs no server)
    Check(CheckArguments),
}

/// Runs `sidereus encoder models`.
pub(super) async fn run(arguments: EncoderArguments) -> Result<()> {
    match arguments.action {
        Action::Models { client } => models(client).await,
        Action::Check(check) => {
            super::check::run(&check)?;
            Ok(())
        }
    }
}

async fn models(arguments: ClientArguments) -> Result<()> {
    let client = arguments.connect().await?;
    let reply = client
        .maintenance()
        .list_models(ListModelsRequest {})
        .await
        .map_err(|status| of_status(&status))?
        .into_inner();
    if !reply.unavailable.is_empty() {
        bail!("the encoder service does not answer: {}", one_line(&reply.unavailable));
    }
    if reply.models.is_empty() && arguments.format == Format::Table {
        return write_out(
            "no models; start the server with `--models DIR`, a folder of model directories\n",
        );
    }
    let mut table =
        Table::new(["model", "modality", "dimension", "made of", "inputs", "description"]);
    for model in &reply.models {
        table.push(vec![
            Cell::text(&model.id),
            Cell::text(&model.modality),
            Cell::Count(u64::from(model.dimension)),
            Cell::text(provenance_text(model.provenance.as_ref())),
            Cell::text(model.inputs.join(" ")),
            Cell::text(&model.description),
        ]);
    }
    print_table(&table, arguments.format)
}
