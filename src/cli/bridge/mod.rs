//! `sidereus bridge`: maps between embedding spaces, fitted and kept where the embeddings are.

mod show;
mod spec;

use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use self::spec::SpecArguments;
use super::client::{Client, ClientArguments};
use super::failure::of_status;
use super::progress;
use super::render::{Cell, Format, duration, print_facts, print_table, thousands, write_out};
use crate::wire::v1::{
    ApplyBridgeRequest, ApplyBridgeResponse, Bridge, DropBridgeRequest, FitBridgeRequest,
    FitBridgeResponse, GetBridgeRequest, ListBridgesRequest,
};

/// Words of `sidereus bridge`.
#[derive(Debug, Args)]
pub(super) struct BridgeArguments {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Fit a map from one space into another on the objects that have vectors in both, and measure it on those held out
    Fit {
        /// Name of the collection
        collection: String,
        #[command(flatten)]
        spec: Box<SpecArguments>,
        /// Name to keep the bridge under
        #[arg(long, value_name = "B")]
        name: String,
        /// Replace a bridge of that name
        #[arg(long)]
        overwrite: bool,
    },
    /// Show a bridge: what it joins, how it was fitted, and how good it is
    Show {
        /// Name of the collection
        collection: String,
        /// Name of the bridge
        name: String,
    },
    /// List the bridges of a collection side by side
    List {
        /// Name of the collection
        collection: String,
    },
    /// Write what a bridge makes of the vectors of both spaces into new ones, which are then indexed and searched as any
    Apply {
        /// Name of the collection
        collection: String,
        /// Name of the bridge
        name: String,
        /// What the new spaces share; they are called SPACE.FROM and SPACE.TO
        #[arg(long, value_name = "SPACE")]
        materialise: String,
    },
    /// Forget a bridge
    Drop {
        /// Name of the collection
        collection: String,
        /// Name of the bridge
        name: String,
    },
}

const NO_BRIDGE: &str = "the server's answer lacks the bridge; is it of another version?";

/// Runs `sidereus bridge`.
pub(super) async fn run(arguments: BridgeArguments) -> Result<()> {
    let format = arguments.client.format;
    let client = arguments.client.connect().await?;
    match arguments.action {
        Action::Fit { collection, spec, name, overwrite } => {
            let spec = Some(spec.to_wire()?);
            let bridge =
                fit(&client, FitBridgeRequest { collection, spec, name, overwrite }).await?;
            show::print_bridge(&bridge, format)
        }
        Action::Show { collection, name } => {
            let request = GetBridgeRequest { collection, name, release: String::new() };
            let reply =
                client.bridges().get_bridge(request).await.map_err(|status| of_status(&status))?;
            show::print_bridge(&reply.into_inner().bridge.context(NO_BRIDGE)?, format)
        }
        Action::List { collection } => {
            let bridges = every(&client, &collection).await?;
            if bridges.is_empty() && format == Format::Table {
                return write_out("no bridges yet; `sidereus bridge fit` makes one\n");
            }
            print_table(&show::list(&bridges), format)
        }
        Action::Apply { collection, name, materialise } => {
            apply(&client, ApplyBridgeRequest { collection, name, space: materialise }, format)
                .await
        }
        Action::Drop { collection, name } => {
            let request = DropBridgeRequest { collection, name: name.clone() };
            client.bridges().drop_bridge(request).await.map_err(|status| of_status(&status))?;
            match format {
                Format::Table => write_out(&format!("dropped bridge {name}\n")),
                Format::Json | Format::Csv => print_facts(&[("dropped", Cell::text(name))], format),
            }
        }
    }
}

/// All bridges of a collection, page by page.
async fn every(client: &Client, collection: &str) -> Result<Vec<Bridge>> {
    let (mut bridges, mut after) = (Vec::new(), String::new());
    loop {
        let (collection, release) = (collection.to_owned(), String::new());
        let request = ListBridgesRequest { collection, after, release };
        let reply = client.bridges().list_bridges(request).await;
        let page = reply.map_err(|status| of_status(&status))?.into_inner();
        bridges.extend(page.bridges);
        if page.next.is_empty() {
            return Ok(bridges);
        }
        after = page.next;
    }
}

async fn fit(client: &Client, request: FitBridgeRequest) -> Result<Bridge> {
    let reply = client.bridges().fit_bridge(request).await.map_err(|status| of_status(&status))?;
    let mut bridge = None;
    let step = |message: FitBridgeResponse| {
        bridge = message.bridge.or(bridge.take());
        (Some(message.stage), message.done, message.total)
    };
    progress::watch(reply.into_inner(), &progress::stage_bar(), step).await?;
    bridge.context(NO_BRIDGE)
}

async fn apply(client: &Client, request: ApplyBridgeRequest, format: Format) -> Result<()> {
    let started = Instant::now();
    let name = request.name.clone();
    let reply =
        client.bridges().apply_bridge(request).await.map_err(|status| of_status(&status))?;
    let mut last = ApplyBridgeResponse::default();
    let step = |message: ApplyBridgeResponse| {
        let far = (None, message.done, message.total);
        last = message;
        far
    };
    let bar = progress::rows_bar(Some(0), "mapping");
    progress::watch(reply.into_inner(), &bar, step).await?;
    let written = last.done.saturating_sub(last.refused + last.skipped);
    match format {
        Format::Table => {
            let refused = match last.refused {
                0 => String::new(),
                count => format!(" ({} became zero and were left out)", thousands(count)),
            };
            let skipped = match last.skipped {
                0 => String::new(),
                count => format!(
                    " ({} changed each time that they were mapped; apply it once more)",
                    thousands(count)
                ),
            };
            write_out(&format!(
                "bridge {name}: {} vectors written into {}{refused}{skipped} in {}\n",
                thousands(written),
                last.spaces.join(" and "),
                duration(started.elapsed()),
            ))
        }
        Format::Json | Format::Csv => print_facts(
            &[
                ("bridge", Cell::text(name)),
                ("spaces", Cell::text(last.spaces.join(" "))),
                ("written", Cell::Count(written)),
                ("refused", Cell::Count(last.refused)),
                ("skipped", Cell::Count(last.skipped)),
                ("seconds", Cell::Real(started.elapsed().as_secs_f64())),
            ],
            format,
        ),
    }
}
