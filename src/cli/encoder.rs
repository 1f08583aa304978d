//! `sidereus encoder`: the models that the server can encode with.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};

use super::check::CheckArguments;
use super::client::ClientArguments;
use super::collection::{provenance_json, weights_text};
use super::failure::{of_status, one_line, say};
use super::inspect::InspectArguments;
use super::register::RegisterArguments;
use super::render::{
    Cell, Format, Json, Table, duration, print_json, print_table, thousands, write_out,
};
use super::schema_file::form_name;
use crate::wire::v1::{EncoderMetrics, ListModelsRequest, Model, ModelOutput, SpaceForm};

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
    /// Write the model.toml of a directory with a published model's files (needs no server)
    Register(RegisterArguments),
    /// Show what is read from files of cutouts and spectra (needs no server)
    Inspect(InspectArguments),
}

/// Runs a command about models and their inputs.
pub(super) async fn run(arguments: EncoderArguments) -> Result<ExitCode> {
    match arguments.action {
        Action::Models { client } => {
            models(client).await?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Check(check) => super::check::run(&check),
        Action::Register(register) => {
            super::register::run(register)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Inspect(files) => super::inspect::run(&files),
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
    match arguments.format {
        Format::Json => print_json(&Json::List(reply.models.iter().map(model_json).collect())),
        format @ (Format::Table | Format::Csv) => {
            print_table(&models_table(&reply.models), format)?;
            for unserved in &reply.unserved {
                say(&format!("not served: {}: {}", unserved.id, one_line(&unserved.reason)));
            }
            if format == Format::Table {
                reply.metrics.iter().try_for_each(|metrics| write_out(&metrics_text(metrics)))?;
            }
            Ok(())
        }
    }
}

/// What an encoder has done, on one line.
fn metrics_text(metrics: &EncoderMetrics) -> String {
    let host = match metrics.host.as_str() {
        "" => "the encoder".to_owned(),
        host => host.to_owned(),
    };
    let busy = Duration::from_millis(metrics.busy_ms);
    let mean = metrics.encoded as f64 / (metrics.batches.max(1)) as f64;
    format!(
        "{host}: {} encoded in {} batches of {mean:.1} on average, {} failed, {} computing; {} waiting; {} MiB of weights, \
         {} loads and {} evictions since the start\n",
        thousands(metrics.encoded),
        thousands(metrics.batches),
        thousands(metrics.failed),
        duration(busy),
        thousands(metrics.queued),
        thousands(metrics.resident_bytes >> 20),
        metrics.loads,
        metrics.evictions,
    )
}

fn models_table(models: &[Model]) -> Table {
    let mut table =
        Table::new(["model", "modality", "outputs", "weights", "description", "inputs"]);
    for model in models {
        table.push(vec![
            Cell::text(&model.id),
            Cell::text(&model.modality),
            Cell::text(outputs_text(model)),
            Cell::text(weights_text(model.provenance.as_ref())),
            Cell::text(&model.description),
            Cell::text(model.inputs.join(" ")),
        ]);
    }
    table
}

/// Poolings with the components of what they give, the usual one first.
fn outputs_text(model: &Model) -> String {
    let output = |output: &ModelOutput| match output.form() {
        SpaceForm::TokenIds => output.pooling.clone(),
        _ => format!("{} {}", output.pooling, output.dimension),
    };
    model.outputs.iter().map(output).collect::<Vec<_>>().join(", ")
}

fn output_json(output: &ModelOutput) -> Json {
    Json::object([
        ("pooling", Cell::text(&output.pooling).to_json()),
        ("form", Cell::text(form_name(output.form())).to_json()),
        ("dimension", Cell::Count(u64::from(output.dimension)).to_json()),
    ])
}

fn model_json(model: &Model) -> Json {
    let inputs = model.inputs.iter().map(|input| Cell::text(input).to_json());
    Json::object([
        ("model", Cell::text(&model.id).to_json()),
        ("modality", Cell::text(&model.modality).to_json()),
        ("dimension", Cell::Count(u64::from(model.dimension)).to_json()),
        ("outputs", Json::List(model.outputs.iter().map(output_json).collect())),
        ("provenance", provenance_json(model.provenance.as_ref())),
        ("inputs", Json::List(inputs.collect())),
        ("description", Cell::text(&model.description).to_json()),
    ])
}
