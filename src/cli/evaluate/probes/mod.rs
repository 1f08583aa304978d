//! `sidereus evaluate probes`: heads, spaces and targets side by side, fitted where the vectors are.

mod answer;
mod plan;

use anyhow::{Result, bail};
use clap::Args;

use self::plan::{Run, plan};
use super::gallery::{Gallery, ReportArguments, provenance};
use crate::access::utc;
use crate::cli::client::{Client, ClientArguments};
use crate::cli::failure::say;
use crate::cli::probe::{HeadName, SettingArguments, fit};
use crate::cli::render::{Cell, Format, Table, print_table, write_out};
use crate::cli::report::{Example, Fit, Kind, Provenance, headlines, interval_text, probes};
use crate::wire::v1::{CollectionSchema, FitProbeRequest, Hit, ObjectId, Prediction, Probe};

/// Words of `sidereus evaluate probes`.
#[derive(Debug, Args)]
pub(super) struct ProbesArguments {
    /// Name of the collection
    name: String,
    /// Embedding space to fit heads on (repeat for several; S+T reads the vectors of both)
    #[arg(long, value_name = "S", required_unless_present = "columns")]
    space: Vec<String>,
    /// Columns of numbers to fit heads on beside the spaces, to compare with
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// Column to predict; several with commas between them, or repeated
    #[arg(
        long,
        value_name = "COLUMN,...",
        value_delimiter = ',',
        required_unless_present = "fractions"
    )]
    target: Vec<String>,
    /// Columns of vote fractions to predict together, one for each answer
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    fractions: Vec<String>,
    /// With --fractions: column of the number of votes, by which objects are weighted
    #[arg(long, value_name = "COLUMN", requires = "fractions")]
    votes: Option<String>,
    /// What predicts; several with commas between them. Those that do not fit a target are left out of it
    #[arg(long, value_enum, value_name = "HEAD,...", value_delimiter = ',', required = true)]
    head: Vec<HeadName>,
    /// Fit on so few training examples, too; several numbers with commas between them
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(1..))]
    few_shot: Vec<u64>,
    #[command(flatten)]
    settings: SettingArguments,
    #[command(flatten)]
    report: ReportArguments,
    #[command(flatten)]
    client: ClientArguments,
}

/// A run and what came of it.
struct Done {
    run: Run,
    probe: Probe,
    predictions: Vec<Prediction>,
    fit: Fit,
}

/// Runs `sidereus evaluate probes`.
pub(super) async fn run(arguments: ProbesArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let schema = client.schema(&arguments.name).await?;
    let images = arguments.report.images(&schema)?;
    let runs = plan(&arguments, &schema)?;
    let done = carry_out(&client, &arguments, &schema, runs).await?;
    let format = arguments.client.format;
    print(&done, format)?;
    if !arguments.settings.standardizes()
        && let Some(run) = done.iter().find(|done| is_misled_by_scale(done)).map(|done| &done.run)
    {
        say(&format!(
            "note: {} is worse than the mean of the target: networks need columns of about unit scale, which --standardize \
             gives them",
            run.name()
        ));
    }
    if arguments.report.report.is_none() {
        return Ok(());
    }
    let examples = match images {
        Some(_) => {
            let column = done.first().map_or("", |first| first.run.target.column.as_str());
            let collection = &schema.name;
            let gallery = Gallery { client: &client, collection, images, column };
            examples(&gallery, &done, arguments.report.examples).await?
        }
        None => Vec::new(),
    };
    let provenance = origin(&schema, &done);
    let fits: Vec<Fit> = done.into_iter().map(|done| done.fit).collect();
    arguments.report.write(&probes(&schema.name, &fits, examples, provenance)?)
}

/// Whether a network that reads columns as they are predicts worse than the mean.
fn is_misled_by_scale(done: &Done) -> bool {
    let is_network =
        matches!(done.run.head, HeadName::Mlp | HeadName::Density | HeadName::Attention);
    is_network
        && !done.run.columns.is_empty()
        && done.fit.metric("r2").is_some_and(|measured| measured.value < 0.0)
}

/// Fits all; those that the server refuses are named and left out, unless it refuses every one.
async fn carry_out(
    client: &Client,
    arguments: &ProbesArguments,
    schema: &CollectionSchema,
    runs: Vec<Run>,
) -> Result<Vec<Done>> {
    let mut done: Vec<Done> = Vec::new();
    let mut refused = Vec::new();
    for run in runs {
        // As many examples as there are in all were used already: runs on all come first.
        let full = done.iter().find(|done| done.run.shots.is_none() && done.run.is_like(&run));
        let all = full.map(|full| full.probe.n_train);
        if let Some((_, all)) = run.shots.zip(all).filter(|(shots, all)| shots >= all) {
            refused.push(format!("{}: there are {all} training examples in all", run.name()));
            continue;
        }
        let request = FitProbeRequest {
            collection: schema.name.clone(),
            spec: Some(run.spec(arguments)),
            with_predictions: arguments.report.report.is_some() && run.shots.is_none(),
            ..FitProbeRequest::default()
        };
        match fit(client, request).await {
            Ok((probe, predictions)) => {
                let fit = answer::fit(&run, &probe, &predictions);
                done.push(Done { run, probe, predictions, fit });
            }
            Err(error) => refused.push(format!("{}: {error}", run.name())),
        }
    }
    let Some((first, others)) = refused.split_first() else { return Ok(done) };
    if done.is_empty() {
        let more = match others.len() {
            0 => String::new(),
            others => format!(" ({others} more failed)"),
        };
        bail!("{first}{more}");
    }
    for message in &refused {
        say(&format!("left out: {message}"));
    }
    Ok(done)
}

/// Prints one table; for people one for each kind of target, since their numbers are others.
fn print(done: &[Done], format: Format) -> Result<()> {
    if format != Format::Table {
        return print_table(&table(&done.iter().collect::<Vec<_>>(), format), format);
    }
    let mut gap = "";
    for kind in [Kind::Number, Kind::Class, Kind::Fractions] {
        let some: Vec<&Done> = done.iter().filter(|done| done.fit.kind == kind).collect();
        if !some.is_empty() {
            write_out(gap)?;
            print_table(&table(&some, format), format)?;
            gap = "\n";
        }
    }
    Ok(())
}

/// For people a row for each fit; for programs a row for each number.
fn table(done: &[&Done], format: Format) -> Table {
    let first = |done: &Done| {
        vec![
            Cell::text(&done.fit.space),
            Cell::text(&done.fit.target),
            Cell::text(&done.fit.head),
            Cell::Count(done.fit.n_train),
            Cell::Count(done.fit.n_test),
        ]
    };
    let headings = ["space", "target", "head", "train", "test"];
    if format != Format::Table {
        let mut table =
            Table::new(headings.into_iter().chain(["metric", "value", "low_95", "high_95"]));
        for done in done {
            for each in &done.fit.metrics {
                let mut row = first(done);
                row.extend([
                    Cell::text(&each.name),
                    Cell::Real(each.value),
                    Cell::optional_real(each.low),
                    Cell::optional_real(each.high),
                ]);
                table.push(row);
            }
        }
        return table;
    }
    let mut names: Vec<&str> = Vec::new();
    for name in done.iter().flat_map(|done| headlines(done.fit.kind)) {
        if !names.contains(name) && done.iter().any(|done| done.fit.metric(name).is_some()) {
            names.push(name);
        }
    }
    let mut table = Table::new(headings.into_iter().chain(names.iter().copied()));
    for done in done {
        let mut row = first(done);
        let telling = headlines(done.fit.kind);
        row.extend(names.iter().map(|name| {
            let measured = done.fit.metric(name).filter(|_| telling.contains(name));
            measured.map_or(Cell::Null, |measured| Cell::text(interval_text(measured)))
        }));
        table.push(row);
    }
    table
}

/// Test objects of the first target, and what is most like them in each space.
async fn examples(gallery: &Gallery<'_>, done: &[Done], count: usize) -> Result<Vec<Example>> {
    let Some(first) = done.iter().find(|done| !done.predictions.is_empty()) else {
        return Ok(Vec::new());
    };
    let mut spaces: Vec<&Vec<String>> = Vec::new();
    for done in done.iter().filter(|done| !done.run.spaces.is_empty()) {
        if !spaces.contains(&&done.run.spaces) {
            spaces.push(&done.run.spaces);
        }
    }
    // Spread over the test set, which is in the order of the sky.
    let step = first.predictions.len().div_ceil(count.max(1)).max(1);
    let queries: Vec<&ObjectId> = first
        .predictions
        .iter()
        .step_by(step)
        .take(count)
        .filter_map(|prediction| prediction.id.as_ref())
        .collect();
    let is_class = first.fit.kind == Kind::Class;
    let judge = |query: &Hit, hit: &Hit| {
        let value = |hit: &Hit| hit.columns.get(gallery.column).cloned();
        is_class.then(|| value(hit) == value(query))
    };
    let mut examples = Vec::new();
    for query in queries {
        for spaces in &spaces {
            examples.push(gallery.example(query, spaces, "", judge).await?);
        }
    }
    Ok(examples)
}

/// Where the report comes from.
fn origin(schema: &CollectionSchema, done: &[Done]) -> Provenance {
    let mut used: Vec<String> = done.iter().flat_map(|done| done.run.spaces.clone()).collect();
    used.sort_unstable();
    used.dedup();
    let Some(first) = done.first() else { return Vec::new() };
    let spec = first.probe.spec.clone().unwrap_or_default();
    let mut facts = vec![("split", spec.split)];
    if !spec.predicate.is_empty() {
        facts.push(("only objects with", spec.predicate));
    }
    facts.push(("seed and resamples", format!("{}, {}", spec.seed, spec.resamples)));
    facts.push(("fitted at", fitted_at(first.probe.fitted_at)));
    provenance(schema, first.probe.version, &used, &facts)
}

/// When a probe was fitted, as people write it.
fn fitted_at(seconds: u64) -> String {
    // The end of the year 9999.
    if seconds > 253_402_300_799 { "an unknown time".to_owned() } else { utc(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_seconds() {
        assert_eq!(fitted_at(0), "1970-01-01 00:00 UTC");
        assert_eq!(fitted_at(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(fitted_at(1_735_689_599), "2024-12-31 23:59 UTC");
        assert_eq!(fitted_at(u64::MAX), "an unknown time");
    }
}
