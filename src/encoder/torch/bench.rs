//! `sidereus-encoder bench`: how many objects a network encodes in a second, at full batches.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use sidereus::encoder::{Features, RegisteredModel};

use super::{ComputingArguments, WallArguments, load};

/// Batches before the clock runs.
const WARM_UP_BATCHES: usize = 2;

/// Words of `sidereus-encoder bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArguments {
    /// The model's folder, with its model.toml.
    folder: PathBuf,
    /// Rows of a batch.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    batch: u16,
    /// Times that batches are measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Batches of a round.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    batches: u16,
    /// Which of the model's outputs [default: its first].
    #[arg(long)]
    pooling: Option<String>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    computing: ComputingArguments,
    #[command(flatten)]
    walls: WallArguments,
}

/// Measures, and prints what it saw.
pub(super) fn run(arguments: &BenchArguments) -> anyhow::Result<()> {
    arguments.walls.enter(&arguments.folder, arguments.computing.device)?;
    let (computing, threads) = arguments.computing.settle()?;
    let model = RegisteredModel::read(&arguments.folder)?;
    let outputs = model.outputs();
    let output = match &arguments.pooling {
        None => 0,
        Some(name) => outputs
            .iter()
            .position(|(_, output)| output.pooling == *name)
            .with_context(|| format!("the model has no pooling `{name}`"))?,
    };
    let loaded = load::load(&model, computing)?;
    let Some(example) = loaded.preprocessor.example() else {
        bail!("this model has no usual input to measure it with");
    };
    let rows: Vec<&Features> = vec![&example; usize::from(arguments.batch)];
    for _ in 0..WARM_UP_BATCHES {
        loaded.network.make(&rows, output)?;
    }
    let mut rates = Vec::with_capacity(usize::from(arguments.rounds));
    for _ in 0..arguments.rounds {
        let began = Instant::now();
        for _ in 0..arguments.batches {
            loaded.network.make(&rows, output)?;
        }
        let objects = f64::from(arguments.batch) * f64::from(arguments.batches);
        rates.push(objects / began.elapsed().as_secs_f64());
    }
    if arguments.json {
        let report = serde_json::json!({
            "kind": model.spec.id,
            "pooling": outputs[output].1.pooling,
            "device": format!("{:?}", computing.device),
            "precision": format!("{:?}", computing.kind),
            "threads": threads,
            "batch": arguments.batch,
            "objects_per_s": rates,
        });
        println!("{report}");
        return Ok(());
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{}  batch {}  {threads} threads  median {:.1} objects/s (least {:.1}, most {:.1})",
        model.spec.id,
        arguments.batch,
        rates[rates.len() / 2],
        rates[0],
        rates[rates.len() - 1]
    );
    Ok(())
}
