//! `sidereus probe`: heads on embeddings, fitted and kept where the embeddings are.

mod show;
mod spec;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use self::spec::SpecArguments;
use super::client::{Client, ClientArguments};
use super::failure::{of_status, say};
use super::progress;
use super::render::{Format, Table, duration, print_table, thousands, write_out};
use crate::wire::v1::{
    ApplyProbeRequest, ApplyProbeResponse, DropProbeRequest, FitProbeRequest, FitProbeResponse,
    GetProbeRequest, ListProbesRequest, Prediction, Probe,
};

use show::print_probe;
pub(super) use spec::{HeadName, SettingArguments};

/// Words of `sidereus probe`.
#[derive(Debug, Args)]
pub(super) struct ProbeArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fit a head on the vectors of a space, and measure it on objects that it was not fitted on
    Fit {
        /// Name of the collection
        collection: String,
        #[command(flatten)]
        spec: Box<SpecArguments>,
        /// Keep the probe under this name [default: only measure]
        #[arg(long, value_name = "P")]
        name: Option<String>,
        /// Replace a probe of that name
        #[arg(long, requires = "name")]
        overwrite: bool,
    },
    /// Show a probe: what it was fitted on, how, and how good it is
    Show {
        /// Name of the collection
        collection: String,
        /// Name of the probe
        name: String,
        /// Read this release of the collection, such as dr1, instead of what it holds now
        #[arg(long, value_name = "NAME")]
        release: Option<String>,
    },
    /// List the probes of a collection side by side
    List {
        /// Name of the collection
        collection: String,
        /// Read this release of the collection, such as dr1, instead of what it holds now
        #[arg(long, value_name = "NAME")]
        release: Option<String>,
    },
    /// Predict for stored objects: print the predictions, or write them to a column
    Apply {
        /// Name of the collection
        collection: String,
        /// Name of the probe, or a derived column (such as misalignment.image.spectrum) to write down
        name: String,
        /// Only objects for which this SQL expression on the columns is true
        #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
        predicate: Option<String>,
        /// Write the predictions to this column, which is made when it does not exist
        #[arg(long, value_name = "COLUMN")]
        column: Option<String>,
        /// Of classes: the probability of this one instead of the most probable class
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
    },
    /// Forget a probe
    Drop {
        /// Name of the collection
        collection: String,
        /// Name of the probe
        name: String,
    },
    /// List the published protocols that --preset names
    Presets,
}

/// Runs `sidereus probe`.
pub(super) async fn run(arguments: ProbeArguments) -> Result<()> {
    let format = arguments.client.format;
    if let Action::Presets = arguments.action {
        return show::presets(format);
    }
    let client = arguments.client.connect().await?;
    match arguments.action {
        Action::Fit { collection, spec, name, overwrite } => {
            let request = FitProbeRequest {
                collection,
                spec: Some(spec.to_wire()?),
                name: name.unwrap_or_default(),
                overwrite,
                with_predictions: false,
            };
            let (probe, _) = fit(&client, request).await?;
            print_probe(&probe, format)
        }
        Action::Show { collection, name, release } => {
            let release = release.unwrap_or_default();
            let request = GetProbeRequest { collection, name, release };
            let reply =
                client.probes().get_probe(request).await.map_err(|status| of_status(&status))?;
            print_probe(&reply.into_inner().probe.context(NO_PROBE)?, format)
        }
        Action::List { collection, release } => {
            let release = release.unwrap_or_default();
            let probes = every(&client, &collection, &release).await?;
            if probes.is_empty() && format == Format::Table {
                return write_out("no probes yet; `sidereus probe fit` makes one\n");
            }
            print_table(&show::list(&probes), format)
        }
        Action::Apply { collection, name, predicate, column, class } => {
            let request = ApplyProbeRequest {
                collection,
                name,
                predicate: predicate.unwrap_or_default(),
                column: column.unwrap_or_default(),
                class: class.unwrap_or_default(),
            };
            apply(&client, request, format).await
        }
        Action::Drop { collection, name } => {
            let request = DropProbeRequest { collection, name: name.clone() };
            client.probes().drop_probe(request).await.map_err(|status| of_status(&status))?;
            if format == Format::Table {
                write_out(&format!("dropped probe {name}\n"))
            } else {
                Ok(())
            }
        }
        Action::Presets => Ok(()),
    }
}

/// All probes of a collection, page by page.
async fn every(client: &Client, collection: &str, release: &str) -> Result<Vec<Probe>> {
    let (mut probes, mut after) = (Vec::new(), String::new());
    loop {
        let (collection, release) = (collection.to_owned(), release.to_owned());
        let request = ListProbesRequest { collection, after, release };
        let reply = client.probes().list_probes(request).await;
        let page = reply.map_err(|status| of_status(&status))?.into_inner();
        probes.extend(page.probes);
        if page.next.is_empty() {
            return Ok(probes);
        }
        after = page.next;
    }
}

const NO_PROBE: &str = "the server's answer lacks the probe; is it of another version?";

/// Fits a probe with a bar, and returns it with what it predicts for the test set, where that was asked for.
pub(super) async fn fit(
    client: &Client,
    request: FitProbeRequest,
) -> Result<(Probe, Vec<Prediction>)> {
    let reply = client.probes().fit_probe(request).await.map_err(|status| of_status(&status))?;
    let (mut probe, mut predictions) = (None, Vec::new());
    let step = |message: FitProbeResponse| {
        let FitProbeResponse { stage, done, total, predictions: some, probe: last } = message;
        predictions.extend(some);
        probe = last.or(probe.take());
        (Some(stage), done, total)
    };
    progress::watch(reply.into_inner(), &progress::stage_bar(), step).await?;
    Ok((probe.context(NO_PROBE)?, predictions))
}

async fn apply(client: &Client, request: ApplyProbeRequest, format: Format) -> Result<()> {
    let started = Instant::now();
    // Derived columns have dots in their names, and are written down as they are.
    let classes = if request.name.contains('.') {
        Vec::new()
    } else {
        let (collection, name) = (request.collection.clone(), request.name.clone());
        let reply = client
            .probes()
            .get_probe(GetProbeRequest { collection, name, release: String::new() })
            .await;
        let reply = reply.map_err(|status| of_status(&status))?;
        reply.into_inner().probe.context(NO_PROBE)?.classes
    };
    let column = request.column.clone();
    let class = request.class.clone();
    let reply = client.probes().apply_probe(request).await.map_err(|status| of_status(&status))?;
    let mut headings = vec!["object_id", "ra", "dec", "prediction"];
    if !classes.is_empty() && class.is_empty() {
        headings.push("probability");
    }
    let mut table = Table::new(headings);
    let (mut done, mut skipped) = (0, 0);
    let step = |message: ApplyProbeResponse| {
        (done, skipped) = (message.done, message.skipped);
        for prediction in &message.predictions {
            table.push(show::prediction(prediction, &classes, &class));
        }
        (None, message.done, message.total)
    };
    progress::watch(reply.into_inner(), &progress::rows_bar(None, "predicting"), step).await?;
    if skipped > 0 {
        let count = thousands(skipped);
        say(&format!(
            "{count} objects were written again each time that they were predicted; apply it once more"
        ));
    }
    if column.is_empty() {
        return print_table(&table, format);
    }
    let done = done.saturating_sub(skipped);
    if format == Format::Table {
        let took: Duration = started.elapsed();
        let per = format!(
            "{} predictions written to column `{column}` in {}\n",
            thousands(done),
            duration(took)
        );
        write_out(&per)?;
    }
    Ok(())
}
