//! `sidereus evaluate knn`: predictions by the mean of the neighbours, through the public search only.

use anyhow::{Context, Result, bail};
use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::pages::every;
use crate::cli::client::{Client, ClientArguments};
use crate::cli::progress;
use crate::cli::render::{Cell, Table, print_table};
use crate::cli::search::ask;
use crate::learn::{Sampler, metrics};
use crate::wire::v1::value::Kind;
use crate::wire::v1::{CollectionSchema, ColumnType, Hit, ObjectId, SearchRequest, VectorTerm};

/// Searches under way at once.
pub(super) const SEARCHES_AT_ONCE: usize = 8;

/// A catastrophic redshift error, as the photometric redshift literature counts it.
const OUTLIER: f64 = 0.15;

/// Words of `sidereus evaluate knn`.
#[derive(Debug, Args)]
pub(super) struct KnnArguments {
    /// Name of the collection
    name: String,
    /// Embedding space (repeat to compare several on the same objects)
    #[arg(long, value_name = "S", required = true)]
    space: Vec<String>,
    /// Column to predict
    #[arg(long, value_name = "COLUMN")]
    target: String,
    /// Neighbours of each object
    #[arg(short, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    k: u32,
    /// Only objects, and neighbours, for which this SQL expression on the columns is true
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Predict for so many objects only, chosen by the seed; neighbours come from all
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// Seed of the sample and of the random pairs
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Let the index estimate neighbours instead of finding them exactly
    #[arg(long)]
    approximate: bool,
    #[command(flatten)]
    client: ClientArguments,
}

/// An object that a prediction is made for.
#[derive(Debug, Clone)]
struct Subject {
    id: ObjectId,
    truth: f64,
}

/// The neighbours of one object.
#[derive(Debug)]
struct Neighbours {
    truth: f64,
    values: Vec<f64>,
}

/// Runs `sidereus evaluate knn`.
pub(super) async fn run(arguments: KnnArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let schema = client.schema(&arguments.name).await?;
    let question = Question::new(&arguments, &schema)?;
    let mut subjects = question.subjects(&client).await?;
    if subjects.len() < 2 {
        bail!(
            "`{}` has {} objects with {} and a vector in {}; two are needed",
            schema.name,
            subjects.len(),
            question.target,
            question.spaces.join(" and "),
        );
    }
    let mut sampler = Sampler::new(arguments.seed);
    let random = random_differences(&subjects, &mut sampler);
    if let Some(count) = arguments.sample {
        subjects = sampler.choose(subjects, count);
    }
    let mut table = Table::new([
        "space",
        "objects",
        "k",
        "R2",
        "RMSE",
        "sigma_NMAD",
        "outliers",
        "neighbours_apart",
        "random_apart",
    ]);
    for space in &question.spaces {
        let bar = progress::rows_bar(Some(subjects.len() as u64), space);
        let found = question.neighbours(&client, space, &subjects, &bar).await?;
        bar.finish_and_clear();
        table.push(row(space, arguments.k, &found, random));
    }
    print_table(&table, arguments.client.format)
}

fn row(space: &str, k: u32, found: &[Neighbours], random: Option<f64>) -> Vec<Cell> {
    let predicted = found.iter().filter(|each| !each.values.is_empty());
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (truth, predicted): (Vec<f64>, Vec<f64>) =
        predicted.map(|each| (each.truth, mean(&each.values))).unzip();
    let apart = found
        .iter()
        .flat_map(|each| each.values.iter().map(|value| (value - each.truth).abs()))
        .collect();
    vec![
        Cell::text(space),
        Cell::Count(predicted.len() as u64),
        Cell::Count(u64::from(k)),
        Cell::optional_real(metrics::r2(&truth, &predicted)),
        Cell::optional_real(metrics::rmse(&truth, &predicted)),
        Cell::optional_real(metrics::sigma_nmad(&truth, &predicted)),
        Cell::optional_real(metrics::outlier_fraction(&truth, &predicted, OUTLIER)),
        Cell::optional_real(metrics::median(apart)),
        Cell::optional_real(random),
    ]
}

/// The median difference of pairs taken at random: what neighbours would be if the space knew nothing.
fn random_differences(subjects: &[Subject], sampler: &mut Sampler) -> Option<f64> {
    const PAIRS: usize = 20_000;
    let value = |place: usize| subjects.get(place).map_or(0.0, |subject| subject.truth);
    let difference = |_| {
        let first = sampler.below(subjects.len());
        // Never the object itself: a step of 1 to count - 1 around the list.
        let step = 1 + sampler.below(subjects.len() - 1);
        (value(first) - value((first + step) % subjects.len())).abs()
    };
    metrics::median((0..PAIRS).map(difference).collect())
}

/// What is asked of the server, in its own spelling.
struct Question {
    collection: String,
    spaces: Vec<String>,
    target: String,
    predicate: String,
    k: u32,
    exact: bool,
}

impl Question {
    fn new(arguments: &KnnArguments, schema: &CollectionSchema) -> Result<Self> {
        let column = schema
            .columns
            .iter()
            .find(|column| column.name.eq_ignore_ascii_case(&arguments.target))
            .with_context(|| format!("`{}` has no column `{}`", schema.name, arguments.target))?;
        if !matches!(column.r#type(), ColumnType::Int64 | ColumnType::Float32 | ColumnType::Float64)
        {
            bail!("column `{}` holds no numbers; choose one that does", column.name);
        }
        let spaces = arguments.space.iter().map(|name| {
            let found = schema.spaces.iter().find(|space| space.name.eq_ignore_ascii_case(name));
            let name = found.map(|space| space.name.clone());
            name.with_context(|| format!("`{}` has no such space", schema.name))
        });
        let has_target = format!("\"{}\" IS NOT NULL", column.name);
        let predicate = match &arguments.predicate {
            Some(predicate) => format!("({predicate}) AND {has_target}"),
            None => has_target,
        };
        Ok(Self {
            collection: schema.name.clone(),
            spaces: spaces.collect::<Result<_>>()?,
            target: column.name.clone(),
            predicate,
            k: arguments.k,
            exact: !arguments.approximate,
        })
    }

    /// Every object that has the target and a vector in each space, by id.
    async fn subjects(&self, client: &Client) -> Result<Vec<Subject>> {
        let request = SearchRequest {
            collection: self.collection.clone(),
            predicate: self.predicate.clone(),
            columns: vec![self.target.clone()],
            with_vectors: true,
            ..SearchRequest::default()
        };
        let mut subjects = Vec::new();
        let visit = |hit: Hit| {
            subjects.extend(self.subject(&hit));
            Ok(())
        };
        every(client, request, visit).await?;
        Ok(subjects)
    }

    fn subject(&self, hit: &Hit) -> Option<Subject> {
        let everywhere = self.spaces.iter().all(|space| hit.vectors.contains_key(space));
        let truth = number(hit, &self.target)?;
        everywhere.then(|| hit.id.clone().map(|id| Subject { id, truth })).flatten()
    }

    async fn neighbours(
        &self,
        client: &Client,
        space: &str,
        subjects: &[Subject],
        bar: &ProgressBar,
    ) -> Result<Vec<Neighbours>> {
        let look_up = |subject: Subject| async move {
            let term = VectorTerm {
                space: space.to_owned(),
                weight: 1.0,
                like: vec![subject.id],
                ..VectorTerm::default()
            };
            let request = SearchRequest {
                collection: self.collection.clone(),
                terms: vec![term],
                predicate: self.predicate.clone(),
                k: self.k,
                exact: self.exact,
                columns: vec![self.target.clone()],
                ..SearchRequest::default()
            };
            let hits = ask(client, request).await?.hits;
            bar.inc(1);
            let values = hits.iter().filter_map(|hit| number(hit, &self.target)).collect();
            Ok(Neighbours { truth: subject.truth, values })
        };
        stream::iter(subjects.iter().cloned().map(look_up))
            .buffered(SEARCHES_AT_ONCE)
            .try_collect()
            .await
    }
}

/// A finite number of a column.
fn number(hit: &Hit, column: &str) -> Option<f64> {
    let value = match hit.columns.get(column)?.kind.as_ref()? {
        Kind::Real(value) => *value,
        Kind::Integer(value) => *value as f64,
        Kind::Boolean(_) | Kind::Text(_) | Kind::Binary(_) | Kind::Floats(_) => return None,
    };
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::v1::object_id::Id;

    #[test]
    fn random_pairs_never_pair_an_object_with_itself() {
        let subject =
            |number: i64, truth| Subject { id: ObjectId { id: Some(Id::Number(number)) }, truth };
        let apart = random_differences(&[subject(1, 0.0), subject(2, 1.0)], &mut Sampler::new(1));
        assert_eq!(apart, Some(1.0));
    }
}
