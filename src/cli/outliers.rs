//! `sidereus outliers`: the loneliest objects of a space.

use std::fmt::Write;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use super::client::ClientArguments;
use super::failure::of_status;
use super::ids::id_text;
use super::progress;
use super::region::RegionArguments;
use super::render::{
    Cell, Format, Json, Table, print_json, print_table, significant, thousands, write_out,
};
use super::search::share;
use crate::wire::v1;
use crate::wire::v1::{FindOutliersRequest, OutlierScore, OutlierSummary};

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Method {
    /// The mean distance to the k nearest others
    #[default]
    Knn,
    /// The distance to the k-th nearest other
    KnnLast,
    /// The local outlier factor: how much less dense it is around an object than around its neighbours
    Lof,
}

/// Words of `sidereus outliers`.
#[derive(Debug, Args)]
pub(super) struct OutlierArguments {
    /// Name of the collection
    name: String,
    /// Embedding space; may be left out when there is only one
    #[arg(long, value_name = "S")]
    space: Option<String>,
    /// What a score is
    #[arg(long, value_enum, default_value_t, value_name = "METHOD")]
    method: Method,
    /// Neighbours of each object
    #[arg(short, value_name = "K", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    k: u32,
    /// Only objects for which this SQL expression on the columns is true, each among the others
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    #[command(flatten)]
    region: RegionArguments,
    /// How many to print, the loneliest first; 0 for all
    #[arg(short, value_name = "N", default_value_t = 100)]
    n: u32,
    /// Find neighbours without the index
    #[arg(long)]
    exact: bool,
    /// Recall of the ten nearest to aim at where the index finds neighbours [default: 0.99]
    #[arg(long, value_name = "SHARE", conflicts_with = "exact", allow_hyphen_values = true, value_parser = share)]
    recall: Option<f64>,
    /// Write all scores to this column of numbers, which is made where there is none
    #[arg(long, value_name = "NAME")]
    column: Option<String>,
    /// Read this release of the collection, such as dr1, instead of what it holds now
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Runs `sidereus outliers`.
pub(super) async fn run(arguments: OutlierArguments) -> Result<()> {
    let region = arguments.region.to_wire()?;
    let client = arguments.client.connect().await?;
    let method = match arguments.method {
        Method::Knn => v1::OutlierMethod::Unspecified,
        Method::KnnLast => v1::OutlierMethod::LastDistance,
        Method::Lof => v1::OutlierMethod::LocalFactor,
    };
    let request = FindOutliersRequest {
        collection: arguments.name,
        space: arguments.space.unwrap_or_default(),
        method: method.into(),
        neighbours: arguments.k,
        region,
        predicate: arguments.predicate.unwrap_or_default(),
        limit: arguments.n,
        exact: arguments.exact,
        recall: arguments.recall,
        column: arguments.column.clone().unwrap_or_default(),
        release: arguments.release.unwrap_or_default(),
    };
    let reply =
        client.discovery().find_outliers(request).await.map_err(|status| of_status(&status))?;
    let mut stream = reply.into_inner();
    let bar = progress::stage_bar();
    let (mut scores, mut summary) = (Vec::new(), None);
    while let Some(message) = stream.message().await.map_err(|status| of_status(&status))? {
        if message.total > 0 {
            progress::show_stage(&bar, Some(message.stage), message.done, message.total);
        }
        scores.extend(message.scores);
        summary = message.summary.or(summary);
    }
    bar.finish_and_clear();
    let summary = summary.context("the server's answer ended early; try again")?;
    print(arguments.client.format, arguments.column.as_deref(), &scores, &summary)
}

fn print(
    format: Format,
    column: Option<&str>,
    scores: &[OutlierScore],
    summary: &OutlierSummary,
) -> Result<()> {
    let mut table = Table::new(["object_id", "ra", "dec", "score"]);
    for score in scores {
        let coordinate = |of: fn(&v1::Position) -> f64| {
            score.position.as_ref().map_or(Cell::Null, |at| Cell::Degrees(of(at)))
        };
        table.push(vec![
            Cell::Id(id_text(score.id.as_ref())),
            coordinate(|at| at.ra),
            coordinate(|at| at.dec),
            Cell::Real(score.score),
        ]);
    }
    match format {
        Format::Json => {
            let members = [
                ("space", Cell::text(&summary.space)),
                ("scored", Cell::Count(summary.scored)),
                ("without_vector", Cell::Count(summary.without_vector)),
                ("exact", Cell::Boolean(summary.exact)),
                ("estimated_recall", Cell::optional_real(summary.estimated_recall)),
                ("plan", Cell::text(&summary.plan)),
                ("elapsed_ms", Cell::Real(summary.elapsed_ms)),
                ("written", Cell::Count(summary.written)),
            ];
            let members = members.map(|(name, cell)| (name, cell.to_json()));
            print_json(&Json::object([
                ("outliers", table.to_json()),
                ("stats", Json::object(members)),
            ]))
        }
        Format::Csv => print_table(&table, format),
        Format::Table => {
            print_table(&table, format)?;
            write_out(&format!("{}\n", line(column, summary)))
        }
    }
}

/// What it took, in one line for people.
fn line(column: Option<&str>, summary: &OutlierSummary) -> String {
    let recall = match summary.estimated_recall {
        _ if summary.exact => "exact neighbours".to_owned(),
        Some(recall) => {
            format!("neighbours at recall {} when the index was built", significant(recall, 4))
        }
        None => "approximate neighbours".to_owned(),
    };
    let mut line = format!(
        "{} objects of {} scored ({recall}; plan {}; {} ms)",
        thousands(summary.scored),
        summary.space,
        summary.plan,
        significant(summary.elapsed_ms, 3)
    );
    // Writing to a string cannot fail.
    if summary.without_vector > 0 {
        let _ = write!(line, "; {} have no vector", thousands(summary.without_vector));
    }
    if let Some(column) = column {
        let _ = write!(line, "; {} written to column {column}", thousands(summary.written));
    }
    line
}
