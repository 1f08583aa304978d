//! `sidereus evaluate retrieval`: whether searches find what is like the example, through the public search only.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, stream};
use indicatif::ProgressBar;

use super::gallery::{Gallery, ReportArguments, column, provenance, spaces, terms};
use super::knn::SEARCHES_AT_ONCE;
use super::pages::every;
use crate::cli::client::{Client, ClientArguments};
use crate::cli::progress;
use crate::cli::render::{Cell, Format, Table, print_table, thousands, write_out};
use crate::cli::report::{Example, ImageSource, Ranks, chances, interval_text, ranks};
use crate::cli::search::ask;
use crate::learn::metrics::{Bootstrap, Means, Measured, Ranked, Ranking, Relevances, measure};
use crate::learn::{Progress, Sampler};
use crate::wire::v1::value::Kind;
use crate::wire::v1::{CollectionSchema, ColumnType, Hit, ObjectId, SearchRequest, Value};

/// Words of `sidereus evaluate retrieval`.
#[derive(Debug, Args)]
pub(super) struct RetrievalArguments {
    /// Name of the collection
    name: String,
    /// Embedding space; several with commas between them, S+T for both at once
    #[arg(long, value_name = "S[,S2]", value_delimiter = ',', required = true)]
    space: Vec<String>,
    /// Column that says what is relevant: a class, or a fraction of votes
    #[arg(long, value_name = "COLUMN")]
    label: String,
    /// Relevant are objects with this value of the label
    #[arg(long, value_name = "VALUE", conflicts_with = "above", allow_hyphen_values = true)]
    relevant: Option<String>,
    /// Relevant are objects with a label above this; nDCG weighs objects by the label itself
    #[arg(long, value_name = "FRACTION", allow_hyphen_values = true)]
    above: Option<f64>,
    /// Hits of each query that are looked at
    #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    k: u32,
    /// Show only the nDCG of this gain [default: both]
    #[arg(long, value_enum, value_name = "GAIN")]
    gain: Option<GainName>,
    /// Search for so many of the relevant objects, chosen by the seed [default: all]
    #[arg(long, value_name = "N")]
    queries: Option<usize>,
    /// Only objects for which this SQL expression on the columns is true
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// Seed of the queries and of the intervals
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Resamples of the queries behind each interval
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    resamples: u32,
    /// Let the index estimate neighbours instead of finding them exactly
    #[arg(long)]
    approximate: bool,
    #[command(flatten)]
    report: ReportArguments,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum GainName {
    /// The relevance itself
    Linear,
    /// 2^relevance - 1
    Exponential,
}

/// How relevant an object is.
enum Judge {
    Is(String),
    Above(f64),
}

/// An object with a label.
#[derive(Debug, Clone)]
struct Labelled {
    id: ObjectId,
    relevance: f64,
}

/// What is asked of the server.
struct Question<'a> {
    arguments: &'a RetrievalArguments,
    collection: String,
    label: String,
    predicate: String,
    judge: Judge,
}

/// Runs `sidereus evaluate retrieval`.
pub(super) async fn run(arguments: RetrievalArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let schema = client.schema(&arguments.name).await?;
    let question = Question::new(&arguments, &schema)?;
    let images = arguments.report.images(&schema)?;
    let tried: Vec<Vec<String>> =
        arguments.space.iter().map(|text| spaces(&schema, text)).collect::<Result<_>>()?;
    let mut used = tried.concat();
    used.sort_unstable();
    used.dedup();
    let (objects, galleries) = question.objects(&client, &tried).await?;
    let from = question.judge.relevant_from();
    let is_relevant = |object: &&Labelled| object.relevance >= from;
    let relevant: Vec<Labelled> = objects.iter().filter(is_relevant).cloned().collect();
    if relevant.len() < 2 {
        bail!(
            "{} of {} objects with a vector in {} are relevant ({}); two are needed",
            relevant.len(),
            thousands(objects.len() as u64),
            used.join(" and "),
            question.wanted(),
        );
    }
    let count = arguments.queries.unwrap_or(usize::MAX);
    let queries = Sampler::new(arguments.seed).choose(relevant.clone(), count);
    let mut results = Vec::new();
    for (spaces, gallery) in tried.iter().zip(galleries) {
        let label = spaces.join("+");
        let bar = progress::rows_bar(Some(queries.len() as u64), &label);
        let ranked = question.search(&client, spaces, &queries, &bar).await?;
        bar.finish_and_clear();
        let k = arguments.k as usize;
        let found = gallery.len() as u64;
        let relevant = gallery.iter().filter(|relevance| **relevance >= from).count() as u64;
        let ranking = Ranking::new(&Relevances::new(gallery)?, &ranked, k, from)?;
        results.push(Ranks {
            space: label,
            queries: queries.len() as u64,
            objects: found,
            relevant,
            got: question.measured(&ranking.got)?,
            by_chance: question.measured(&ranking.by_chance)?,
        });
    }
    let format = arguments.client.format;
    print_table(&table(&results, format), format)?;
    if format == Format::Table {
        write_out(&question.counted(queries.len(), &results))?;
    }
    if arguments.report.report.is_none() {
        return Ok(());
    }
    let examples = question.examples(&client, images, &queries, &tried).await?;
    let version = version(&client, &schema.name).await?;
    let facts = [
        ("relevant", question.wanted()),
        ("search", if arguments.approximate { "approximate" } else { "exact" }.to_owned()),
        ("seed and resamples", format!("{}, {}", arguments.seed, arguments.resamples)),
    ];
    let provenance = provenance(&schema, version, &used, &facts);
    arguments.report.write(&ranks(&schema.name, &question.wanted(), &results, examples, provenance))
}

/// The version that a collection is at.
async fn version(client: &Client, collection: &str) -> Result<u64> {
    let request =
        SearchRequest { collection: collection.to_owned(), k: 1, ..SearchRequest::default() };
    Ok(ask(client, request).await?.stats.version)
}

impl Judge {
    fn new(arguments: &RetrievalArguments, kind: ColumnType, name: &str) -> Result<Self> {
        let is_real = matches!(kind, ColumnType::Float32 | ColumnType::Float64);
        let is_number = is_real || kind == ColumnType::Int64;
        match (&arguments.relevant, arguments.above) {
            (Some(_), _) if is_real => {
                bail!("column `{name}` holds real numbers; say --above FRACTION")
            }
            (Some(value), _)
                if matches!(kind, ColumnType::Text | ColumnType::Int64 | ColumnType::Boolean) =>
            {
                Ok(Self::Is(value.clone()))
            }
            (None, Some(above)) if is_number && above >= 0.0 => Ok(Self::Above(above)),
            (None, Some(above)) if is_number => {
                bail!("--above is {above}: relevances are numbers from 0 up")
            }
            (None, Some(_)) => bail!("column `{name}` holds no numbers; say --relevant VALUE"),
            (None, None) if is_real => {
                bail!(
                    "say --above NUMBER: which values of `{name}` are relevant; what the neighbours know about its value is \
                     measured by `sidereus evaluate knn --target {name}`"
                )
            }
            (None, None) => bail!("say --relevant VALUE: which value of `{name}` is relevant"),
            (Some(_), _) => bail!("column `{name}` holds no classes; name one that does"),
        }
    }

    /// The relevance of an object with this label; `None` without a label.
    fn relevance(&self, label: Option<&Value>) -> Option<f64> {
        let kind = label?.kind.as_ref()?;
        match self {
            Self::Is(wanted) => {
                let is_wanted = match kind {
                    Kind::Text(text) => text == wanted,
                    Kind::Integer(number) => wanted.trim() == number.to_string(),
                    Kind::Boolean(flag) => wanted.trim().eq_ignore_ascii_case(&flag.to_string()),
                    Kind::Real(_) | Kind::Binary(_) | Kind::Floats(_) => return None,
                };
                Some(if is_wanted { 1.0 } else { 0.0 })
            }
            Self::Above(_) => match kind {
                Kind::Real(value) => Some(*value).filter(|value| value.is_finite()),
                Kind::Integer(value) => Some(*value as f64),
                Kind::Boolean(_) | Kind::Text(_) | Kind::Binary(_) | Kind::Floats(_) => None,
            },
        }
    }

    /// The least relevance of what is relevant.
    fn relevant_from(&self) -> f64 {
        match self {
            Self::Is(_) => 1.0,
            // Above, and not at it.
            Self::Above(above) => above.next_up(),
        }
    }
}

impl<'a> Question<'a> {
    fn new(arguments: &'a RetrievalArguments, schema: &CollectionSchema) -> Result<Self> {
        let column = column(schema, &arguments.label)?;
        let has_label = format!("\"{}\" IS NOT NULL", column.name);
        let predicate = match &arguments.predicate {
            Some(predicate) => format!("({predicate}) AND {has_label}"),
            None => has_label,
        };
        Ok(Self {
            arguments,
            collection: schema.name.clone(),
            label: column.name.clone(),
            predicate,
            judge: Judge::new(arguments, column.r#type(), &column.name)?,
        })
    }

    /// What is looked for, in words.
    fn wanted(&self) -> String {
        match &self.judge {
            Judge::Is(value) => format!("{} = {value}", self.label),
            Judge::Above(above) => format!("{} > {above}", self.label),
        }
    }

    /// How many queries there were, and in each space how many objects that could be found.
    fn counted(&self, queries: usize, results: &[Ranks]) -> String {
        let wanted = self.wanted();
        let gallery = |ranks: &Ranks| (ranks.objects, ranks.relevant);
        let is_one = results.windows(2).all(|two| gallery(&two[0]) == gallery(&two[1]));
        let mut told = vec![format!("{} queries", thousands(queries as u64))];
        for ranks in &results[..if is_one { results.len().min(1) } else { results.len() }] {
            let [relevant, objects] = [ranks.relevant, ranks.objects].map(thousands);
            let place = if is_one { String::new() } else { format!(" in {}", ranks.space) };
            told.push(format!("{relevant} of {objects} objects{place} have {wanted}"));
        }
        let mut told = told.join("; ");
        if !is_one {
            told.push_str(
                "\nthe spaces cover different objects: their numbers are not of the same search",
            );
        }
        told + "\n"
    }

    /// Every object that has a label and a vector in all spaces: of these are the queries. And for each list of spaces the
    /// relevances of everything that its searches can find, which is whatever has a vector in each of them.
    async fn objects(
        &self,
        client: &Client,
        tried: &[Vec<String>],
    ) -> Result<(Vec<Labelled>, Vec<Vec<f64>>)> {
        let request = SearchRequest {
            collection: self.collection.clone(),
            predicate: self.predicate.clone(),
            columns: vec![self.label.clone()],
            with_vectors: true,
            ..SearchRequest::default()
        };
        let mut objects = Vec::new();
        let mut galleries = vec![Vec::new(); tried.len()];
        let visit = |hit: Hit| {
            // One that says nothing is found all the same, and is not relevant.
            let relevance = self.judge.relevance(hit.columns.get(&self.label));
            let mut is_everywhere = true;
            for (spaces, gallery) in tried.iter().zip(&mut galleries) {
                if spaces.iter().all(|space| hit.vectors.contains_key(space)) {
                    gallery.push(relevance.unwrap_or(0.0));
                } else {
                    is_everywhere = false;
                }
            }
            if let (true, Some(relevance), Some(id)) = (is_everywhere, relevance, hit.id) {
                objects.push(Labelled { id, relevance });
            }
            Ok(())
        };
        every(client, request, visit).await?;
        Ok((objects, galleries))
    }

    async fn search(
        &self,
        client: &Client,
        spaces: &[String],
        queries: &[Labelled],
        bar: &ProgressBar,
    ) -> Result<Vec<Ranked>> {
        let look_up = |query: Labelled| async move {
            let request = SearchRequest {
                collection: self.collection.clone(),
                terms: terms(spaces, &query.id),
                predicate: self.predicate.clone(),
                k: self.arguments.k,
                exact: !self.arguments.approximate,
                columns: vec![self.label.clone()],
                ..SearchRequest::default()
            };
            let hits = ask(client, request).await?.hits;
            bar.inc(1);
            let others = hits.iter().filter(|hit| hit.id.as_ref() != Some(&query.id));
            let relevance = |hit: &Hit| self.judge.relevance(hit.columns.get(&self.label));
            let found = others.map(|hit| relevance(hit).unwrap_or(0.0)).collect();
            Ok(Ranked { found, own: Some(query.relevance) })
        };
        stream::iter(queries.iter().cloned().map(look_up))
            .buffered(SEARCHES_AT_ONCE)
            .try_collect()
            .await
    }

    /// Some queries, and what is most like them.
    async fn examples(
        &self,
        client: &Client,
        images: Option<ImageSource>,
        queries: &[Labelled],
        tried: &[Vec<String>],
    ) -> Result<Vec<Example>> {
        let gallery = Gallery { client, collection: &self.collection, images, column: &self.label };
        let judge = |_: &Hit, hit: &Hit| {
            let relevance = self.judge.relevance(hit.columns.get(&self.label))?;
            Some(relevance >= self.judge.relevant_from())
        };
        let mut examples = Vec::new();
        for query in queries.iter().take(self.arguments.report.examples) {
            for spaces in tried {
                examples.push(gallery.example(&query.id, spaces, &self.predicate, judge).await?);
            }
        }
        Ok(examples)
    }

    fn measured(&self, means: &Means) -> Result<Vec<Measured>> {
        let bootstrap = Bootstrap {
            resamples: self.arguments.resamples,
            seed: self.arguments.seed,
            groups: None,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        };
        let mut all = measure(means, &bootstrap, Progress::silent())?;
        let unwanted = match self.arguments.gain {
            None => "",
            Some(GainName::Linear) => "ndcg_exponential",
            Some(GainName::Exponential) => "ndcg_linear",
        };
        all.retain(|each| unwanted.is_empty() || !each.name.starts_with(unwanted));
        Ok(all)
    }
}

/// For people a row for each space and one for chance; for programs a row for each number.
fn table(results: &[Ranks], format: Format) -> Table {
    if format != Format::Table {
        let headings =
            ["space", "queries", "objects", "relevant", "metric", "value", "low_95", "high_95"];
        let mut table = Table::new(headings.into_iter().chain(["by_chance", "times_chance"]));
        for ranks in results {
            for (got, chance) in ranks.got.iter().zip(&ranks.by_chance) {
                table.push(vec![
                    Cell::text(&ranks.space),
                    Cell::Count(ranks.queries),
                    Cell::Count(ranks.objects),
                    Cell::Count(ranks.relevant),
                    Cell::text(&got.name),
                    Cell::Real(got.value),
                    Cell::optional_real(got.low),
                    Cell::optional_real(got.high),
                    Cell::Real(chance.value),
                    Cell::optional_real(ranks.lift(&got.name)),
                ]);
            }
        }
        return table;
    }
    let names =
        results.first().map_or(&[][..], |first| &first.got).iter().map(|each| each.name.clone());
    let mut table = Table::new(["space".to_owned()].into_iter().chain(names));
    for ranks in results {
        let values = ranks.got.iter().map(|each| Cell::text(interval_text(each)));
        table.push([Cell::text(&ranks.space)].into_iter().chain(values).collect());
    }
    for (words, by_chance) in chances(results) {
        let values = by_chance.iter().map(|each| {
            let plain = Measured { low: None, high: None, ..each.clone() };
            Cell::text(interval_text(&plain))
        });
        table.push([Cell::text(format!("({words})"))].into_iter().chain(values).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    #[test]
    fn classes_are_relevant_or_not_and_fractions_are_graded() {
        let ring = Judge::Is("ring".to_owned());
        let of = |judge: &Judge, kind| judge.relevance(Some(&value(kind)));
        assert_eq!(of(&ring, Kind::Text("ring".to_owned())), Some(1.0));
        assert_eq!(of(&ring, Kind::Text("disk".to_owned())), Some(0.0));
        assert_eq!(of(&Judge::Is("3".to_owned()), Kind::Integer(3)), Some(1.0));
        assert_eq!(of(&Judge::Is("true".to_owned()), Kind::Boolean(true)), Some(1.0));
        assert_eq!(ring.relevance(None), None);

        let high = Judge::Above(0.9);
        assert_eq!(of(&high, Kind::Real(0.95)), Some(0.95));
        assert_eq!(of(&high, Kind::Real(f64::NAN)), None);
        assert!(high.relevant_from() > 0.9);
        assert!(0.9 < high.relevant_from() && high.relevant_from() < 0.900_001);
    }
}
