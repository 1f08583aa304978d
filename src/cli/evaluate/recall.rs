//! `sidereus evaluate recall`: the planner's answers against exact ones, through the public search only.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::knn::SEARCHES_AT_ONCE;
use super::pages::every;
use crate::cli::client::{Client, ClientArguments};
use crate::cli::progress;
use crate::cli::render::{Cell, Table, print_table};
use crate::cli::search::ask;
use crate::learn::Sampler;
use crate::wire::v1::{Hit, ObjectId, SearchRequest, VectorTerm};

/// Differences of distances that rounding explains.
const ROUNDING: f64 = 1e-9;

/// Words of `sidereus evaluate recall`.
#[derive(Debug, Args)]
pub(super) struct RecallArguments {
    /// Name of the collection
    name: String,
    /// Embedding space
    #[arg(long, value_name = "S")]
    space: String,
    /// Measure under this SQL expression on the columns (repeat for several; without any, once without)
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicates: Vec<String>,
    /// Neighbours of each object
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    k: u32,
    /// Objects to search for
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Seed of the sample
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Recall to aim at, as in `search` [default: 0.99]
    #[arg(long, value_name = "SHARE", value_parser = crate::cli::search::share)]
    recall: Option<f64>,
    /// Carry out this plan instead of the planner's choice (region-codes, survivor-codes, filtered-ivf, ivf)
    #[arg(long, value_name = "PLAN")]
    plan: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

/// What one search found of what there is.
struct Found {
    hits: usize,
    of: usize,
    survivors: u64,
    scanned_share: f64,
    plan: String,
}

/// Runs `sidereus evaluate recall`.
pub(super) async fn run(arguments: RecallArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    client.schema(&arguments.name).await?;
    let ids = sample(&client, &arguments).await?;
    if ids.is_empty() {
        bail!("no object of `{}` has a vector in space `{}`", arguments.name, arguments.space);
    }
    let mut predicates = arguments.predicates.clone();
    if predicates.is_empty() {
        predicates.push(String::new());
    }
    let mut table = Table::new([
        "where",
        "survivors",
        "searches",
        "recall",
        "worst",
        "imperfect",
        "scanned",
        "plans",
    ]);
    for predicate in &predicates {
        let bar = progress::rows_bar(Some(ids.len() as u64), predicate);
        let found: Vec<Found> = stream::iter(ids.iter().cloned())
            .map(|id| measure(&client, &arguments, predicate, id, &bar))
            .buffered(SEARCHES_AT_ONCE)
            .try_collect()
            .await?;
        bar.finish_and_clear();
        table.push(row(predicate, &found));
    }
    print_table(&table, arguments.client.format)
}

/// Ids of objects that have a vector in the space.
async fn sample(client: &Client, arguments: &RecallArguments) -> Result<Vec<ObjectId>> {
    let request = SearchRequest {
        collection: arguments.name.clone(),
        columns: vec!["object_id".to_owned()],
        with_vectors: true,
        ..SearchRequest::default()
    };
    let mut ids = Vec::new();
    let visit = |hit: Hit| {
        if hit.vectors.keys().any(|space| space.eq_ignore_ascii_case(&arguments.space)) {
            ids.extend(hit.id);
        }
        Ok(())
    };
    every(client, request, visit).await?;
    Ok(Sampler::new(arguments.seed).choose(ids, arguments.sample as usize))
}

async fn measure(
    client: &Client,
    arguments: &RecallArguments,
    predicate: &str,
    id: ObjectId,
    bar: &ProgressBar,
) -> Result<Found> {
    let term = VectorTerm {
        space: arguments.space.clone(),
        weight: 1.0,
        like: vec![id],
        ..VectorTerm::default()
    };
    let planned = SearchRequest {
        collection: arguments.name.clone(),
        terms: vec![term],
        predicate: predicate.to_owned(),
        k: arguments.k,
        columns: vec!["object_id".to_owned()],
        plan: arguments.plan.clone().unwrap_or_default(),
        recall: arguments.recall,
        ..SearchRequest::default()
    };
    let exact = SearchRequest { exact: true, plan: String::new(), recall: None, ..planned.clone() };
    let answer = ask(client, planned).await?;
    let truth = ask(client, exact).await?.hits;
    bar.inc(1);
    let limit = truth.last().and_then(|hit| hit.distance).unwrap_or(f64::INFINITY) + ROUNDING;
    let hits =
        answer.hits.iter().filter(|hit| hit.distance.is_some_and(|near| near <= limit)).count();
    let stats = answer.stats;
    Ok(Found {
        hits,
        of: truth.len(),
        survivors: stats.rows_surviving,
        scanned_share: stats.rows_scanned as f64 / (stats.rows_total.max(1)) as f64,
        plan: stats.plan,
    })
}

fn row(predicate: &str, found: &[Found]) -> Vec<Cell> {
    let searches = found.len() as f64;
    let share = |each: &Found| if each.of == 0 { 1.0 } else { each.hits as f64 / each.of as f64 };
    let mut plans: BTreeMap<&str, usize> = BTreeMap::new();
    for each in found {
        *plans.entry(&each.plan).or_default() += 1;
    }
    let plans: Vec<String> = plans.iter().map(|(plan, count)| format!("{plan} {count}")).collect();
    vec![
        Cell::text(if predicate.is_empty() { "(everything)" } else { predicate }),
        Cell::Count(found.iter().map(|each| each.survivors).max().unwrap_or(0)),
        Cell::Count(found.len() as u64),
        Cell::Real(found.iter().map(share).sum::<f64>() / searches),
        Cell::Real(found.iter().map(share).fold(1.0, f64::min)),
        Cell::Count(found.iter().filter(|each| each.hits < each.of).count() as u64),
        Cell::Real(found.iter().map(|each| each.scanned_share).sum::<f64>() / searches),
        Cell::text(plans.join(", ")),
    ]
}
