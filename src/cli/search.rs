//! `sidereus search`: what is most like an example, in a part of the sky, with given properties.

mod combine;
mod terms;

use std::fmt::Write;

use anyhow::{Context, Result, bail};
use clap::Args;
use tonic::Streaming;

use self::combine::CombineArguments;
use self::terms::TargetArguments;
use super::angle::parse_angle;
use super::client::{Client, ClientArguments};
use super::failure::of_status;
use super::hits::{Columns, HitLayout};
use super::region::RegionArguments;
use super::render::{
    Cell, Format, Json, bytes, print_json, print_table, significant, thousands, write_out,
};
use crate::wire::v1::{
    CollectionSchema, Hit, QueryStats, ReleaseText, Rerank, SearchRequest, SearchResponse,
    TermScale,
};

/// Hits when nobody says how many.
const DEFAULT_K: u32 = 10;

/// Words of `sidereus search`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "words of a command line")]
pub(super) struct SearchArguments {
    /// Name of the collection
    name: String,
    #[command(flatten)]
    target: TargetArguments,
    #[command(flatten)]
    combine: CombineArguments,
    #[command(flatten)]
    region: RegionArguments,
    /// Only objects for which this SQL expression on the columns, derived ones among them, is true, such as
    /// "z BETWEEN 0.3 AND 0.5 AND probe.lens > 0.9"
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// How many hits [default: 10; with --within, all]
    #[arg(short, value_name = "N")]
    k: Option<u32>,
    /// Only hits at most this far (cosine: 1 - cos; l2: Euclidean; ip: minus the inner product)
    #[arg(long, value_name = "DISTANCE", allow_hyphen_values = true, value_parser = distance)]
    within: Option<f64>,
    /// Let no plan estimate
    #[arg(long)]
    exact: bool,
    /// Recall of the ten nearest to aim at where plans estimate: a number above 0, up to 1, such as 0.95. Indices are tuned
    /// for 0.8, 0.9, 0.95, 0.99 and 0.999, and the next of these is taken; beyond, the answer is exact [default: 0.99]
    #[arg(long, value_name = "SHARE", conflicts_with = "exact", allow_hyphen_values = true, value_parser = share)]
    recall: Option<f64>,
    /// Print the plan with its estimated and true counts
    #[arg(long)]
    explain: bool,
    /// Order the nearest anew by their tokens in this space (late interaction): the distance is then the mean, over the
    /// query's tokens, of 1 - cos to the most similar token of the object [default: 10 candidates for each hit]
    #[arg(long, value_name = "SPACE[=CANDIDATES]", value_parser = rerank)]
    rerank: Option<Rerank>,
    /// Without something to be near to: order the objects by this column of numbers, stored or derived, such as
    /// "probe.lens", instead of by their ids; nulls come last
    #[arg(long, value_name = "COLUMN")]
    order_by: Option<String>,
    /// The largest values first
    #[arg(long, requires = "order_by")]
    descending: bool,
    /// Columns to print, in this order, derived ones among them [default: all stored ones but binary ones, and --order-by]
    #[arg(long, value_name = "COLUMN,...", value_delimiter = ',')]
    columns: Vec<String>,
    /// Print the stored vectors of the hits too
    #[arg(long)]
    with_vectors: bool,
    /// Read this release of the collection, such as dr1, instead of what it holds now
    #[arg(long, value_name = "NAME")]
    release: Option<String>,
    /// Force a plan by its name
    #[arg(long, value_name = "PLAN", hide = true)]
    plan: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

/// Runs `sidereus search`.
pub(super) async fn run(arguments: SearchArguments) -> Result<()> {
    let region = arguments.region.to_wire()?;
    let client = arguments.client.connect().await?;
    let schema = client.schema_of(&arguments.name, arguments.release.as_deref()).await?;
    let terms = arguments.target.to_terms(&schema)?;
    let with_distance = !terms.is_empty();
    if arguments.order_by.is_some() && with_distance {
        bail!(
            "--order-by takes the place of a distance; leave out what to be near to, or the order"
        );
    }
    if arguments.within.is_some() && !with_distance {
        bail!("--within is a distance from something; name it with --like, --vector or --example");
    }
    let default_k = if arguments.within.is_some() { 0 } else { DEFAULT_K };
    let mut request = SearchRequest {
        collection: arguments.name.clone(),
        terms,
        region,
        predicate: arguments.predicate.clone().unwrap_or_default(),
        k: arguments.k.unwrap_or(default_k),
        within: arguments.within,
        exact: arguments.exact,
        explain: arguments.explain,
        columns: arguments.columns.clone(),
        with_vectors: arguments.with_vectors,
        plan: arguments.plan.clone().unwrap_or_default(),
        recall: arguments.recall,
        rerank: arguments.rerank.clone(),
        order_by: arguments.order_by.clone().unwrap_or_default(),
        descending: arguments.descending,
        release: arguments.release.clone().unwrap_or_default(),
        ..SearchRequest::default()
    };
    arguments.combine.add_to(&mut request)?;
    let answer = ask(&client, request).await?;
    let credits = match &arguments.release {
        Some(release) => Some(super::release::credits(&client, &arguments.name, release).await?),
        None => None,
    };
    print(&arguments, &schema, with_distance, &answer, credits.as_ref())?;
    if let (Some(release), Some(text)) = (&arguments.release, &credits) {
        super::release::cite(&arguments.name, release, text);
    }
    Ok(())
}

/// Reads a share of one.
pub(super) fn share(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "give a number such as 0.95".to_owned())
}

/// Reads a distance between vectors, which has no unit.
fn distance(text: &str) -> Result<f64, String> {
    let given = text.trim().parse().ok().filter(|distance: &f64| distance.is_finite());
    given.ok_or_else(|| match parse_angle(text) {
        Ok(_) => {
            "this is a distance between vectors, such as 0.2; a place on the sky is --cone RA,DEC,RADIUS".to_owned()
        }
        Err(_) => "give a number such as 0.2".to_owned(),
    })
}

/// Reads `SPACE[=CANDIDATES]`.
fn rerank(text: &str) -> Result<Rerank, String> {
    let (space, candidates) = match text.rsplit_once('=') {
        None => (text, 0),
        Some((space, count)) => match count.parse() {
            Ok(count) if count > 0 => (space, count),
            Ok(_) | Err(_) => return Err("give SPACE=CANDIDATES, such as tokens=200".to_owned()),
        },
    };
    if space.is_empty() {
        return Err("give the name of a space of tokens".to_owned());
    }
    Ok(Rerank { space: space.to_owned(), candidates, tokens: Vec::new() })
}

/// Everything that the server said to a search.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) hits: Vec<Hit>,
    pub(super) stats: QueryStats,
}

/// Sends a search and collects its answer.
pub(super) async fn ask(client: &Client, request: SearchRequest) -> Result<Answer> {
    let reply = client.search().search(request).await.map_err(|status| of_status(&status))?;
    collect(reply.into_inner()).await
}

async fn collect(mut stream: Streaming<SearchResponse>) -> Result<Answer> {
    let mut hits = Vec::new();
    let mut stats = None;
    while let Some(chunk) = stream.message().await.map_err(|status| of_status(&status))? {
        hits.extend(chunk.hits);
        stats = chunk.stats.or(stats);
    }
    let stats = stats.context("the server's answer ended early; try again")?;
    Ok(Answer { hits, stats })
}

fn print(
    arguments: &SearchArguments,
    schema: &CollectionSchema,
    with_distance: bool,
    answer: &Answer,
    credits: Option<&ReleaseText>,
) -> Result<()> {
    let format = arguments.client.format;
    let ordered_by = arguments.order_by.as_deref().filter(|_| arguments.columns.is_empty());
    let layout = HitLayout {
        schema,
        columns: Columns::new(schema, &arguments.columns).with(ordered_by),
        distance: distance_heading(with_distance, &answer.stats, format),
        for_people: format == Format::Table,
        with_vectors: arguments.with_vectors,
        centre: arguments.region.centre(),
    };
    match format {
        Format::Json => {
            let name = arguments.release.as_deref();
            let release = name.zip(credits).map(|(name, text)| release_json(name, text));
            let stats = stats_json(&answer.stats, arguments.explain);
            let members = [("hits", layout.json(&answer.hits)), ("stats", stats)];
            let release = release.map(|release| ("release", release));
            print_json(&Json::object(members.into_iter().chain(release)))
        }
        Format::Csv => {
            print_table(&layout.table(&answer.hits), format)?;
            if arguments.explain {
                eprint!("{}", answer.stats.explanation);
            }
            Ok(())
        }
        Format::Table => {
            let table = layout.table(&answer.hits);
            // Columns that were named are printed even where they hold nothing.
            let kept = if arguments.columns.is_empty() { 3 } else { usize::MAX };
            print_table(&table.without_silent_columns(kept), format)?;
            write_out(&format!("{}\n", stats_line(answer)))?;
            if arguments.explain {
                write_out(&format!("\n{}\n", answer.stats.explanation.trim_end()))?;
            }
            Ok(())
        }
    }
}

/// The release that was searched, and how to cite it.
fn release_json(name: &str, text: &ReleaseText) -> Json {
    let members =
        [("name", name), ("citation", &text.citation), ("acknowledgement", &text.acknowledgement)];
    Json::object(members.map(|(member, text)| (member, Cell::text(text).to_json())))
}

/// What the number is called by which hits are ordered. Programs always find it as `distance`; people are told where it is none.
fn distance_heading(
    with_distance: bool,
    stats: &QueryStats,
    format: Format,
) -> Option<&'static str> {
    if format != Format::Table {
        return Some("distance");
    }
    with_distance.then(|| match (stats.fusion.as_str(), stats.method.as_str()) {
        ("" | "distances", method) if method.split(", ").any(|method| method == "probe") => {
            "minus logit"
        }
        ("" | "distances", _) => "distance",
        ("rrf", _) => "fused ranks",
        _ => "fused score",
    })
}

/// What it took, in one line for people.
fn stats_line(answer: &Answer) -> String {
    let stats = &answer.stats;
    let count = answer.hits.len() as u64;
    let mut line = format!("{} {}", thousands(count), if count == 1 { "hit" } else { "hits" });
    let recall = match stats.estimated_recall {
        _ if stats.exact => "exact".to_owned(),
        Some(recall) => format!("recall {} when the index was built", significant(recall, 4)),
        None => "approximate".to_owned(),
    };
    // Whoever may not see everything is not told what it took.
    let work = match (stats.rows_scanned, stats.bytes_read) {
        (0, 0) => String::new(),
        (rows, read) => format!(", {} scanned, {} read", thousands(rows), bytes(read)),
    };
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        " ({recall}; plan {}; {} of {} objects satisfy the conditions{work}; {} ms)",
        stats.plan,
        match stats.survivors_are_counted {
            true => thousands(stats.rows_surviving),
            false => format!("about {}", thousands(stats.rows_surviving)),
        },
        thousands(stats.rows_total),
        significant(stats.elapsed_ms, 3),
    );
    if !stats.method.is_empty() && stats.method != "example" {
        let _ = write!(line, "; by {}", stats.method);
    }
    if !stats.fusion.is_empty() {
        let _ = write!(line, "; fused: {}", stats.fusion);
    }
    if stats.candidates_reranked > 0 {
        let _ = write!(line, "; {} re-ranked by tokens", thousands(stats.candidates_reranked));
        if stats.candidates_without_tokens > 0 {
            let without = thousands(stats.candidates_without_tokens);
            let _ = write!(line, ", {without} of them have none and come last");
        }
    }
    line
}

fn stats_json(stats: &QueryStats, with_explanation: bool) -> Json {
    let mut members = vec![
        ("plan", Cell::text(&stats.plan)),
        ("exact", Cell::Boolean(stats.exact)),
        ("estimated_recall", Cell::optional_real(stats.estimated_recall)),
        ("rows_total", Cell::Count(stats.rows_total)),
        ("rows_in_cover", Cell::Count(stats.rows_in_cover)),
        ("rows_surviving", Cell::Count(stats.rows_surviving)),
        ("survivors_are_counted", Cell::Boolean(stats.survivors_are_counted)),
        ("rows_scanned", Cell::Count(stats.rows_scanned)),
        ("lists_probed", Cell::Count(stats.lists_probed)),
        ("bytes_read", Cell::Count(stats.bytes_read)),
        ("tail_rows", Cell::Count(stats.tail_rows)),
        ("elapsed_ms", Cell::Real(stats.elapsed_ms)),
        ("version", Cell::Count(stats.version)),
        ("candidates_reranked", Cell::Count(stats.candidates_reranked)),
        ("candidates_without_tokens", Cell::Count(stats.candidates_without_tokens)),
        ("method", Cell::text(&stats.method)),
        ("fusion", Cell::text(&stats.fusion)),
    ];
    if with_explanation {
        members.push(("explanation", Cell::text(&stats.explanation)));
    }
    let members = members.into_iter().map(|(name, cell)| (name, cell.to_json()));
    let scale = |scale: &TermScale| {
        Json::object([
            ("space", Cell::text(&scale.space).to_json()),
            ("mean", Cell::Real(scale.mean).to_json()),
            ("spread", Cell::Real(scale.spread).to_json()),
            ("sampled", Cell::Count(scale.sampled).to_json()),
        ])
    };
    let scales = Json::List(stats.scales.iter().map(scale).collect());
    Json::object(members.chain([("scales", scales)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_of_vectors_is_no_radius_on_the_sky() {
        assert_eq!(distance("-0.2"), Ok(-0.2));
        let said = |text| distance(text).expect_err("no distance");
        assert!(said("1arcmin").contains("--cone"));
        assert!(!said("near").contains("--cone"));
    }

    #[test]
    fn a_rerank_is_a_space_and_perhaps_a_number() {
        let read = |text: &str| rerank(text).map(|rerank| (rerank.space, rerank.candidates));
        assert_eq!(read("tokens"), Ok(("tokens".to_owned(), 0)));
        assert_eq!(read("tokens=200"), Ok(("tokens".to_owned(), 200)));
        for wrong in ["tokens=", "tokens=0", "tokens=many", "=5", ""] {
            read(wrong).expect_err(wrong);
        }
    }

    #[test]
    fn the_line_below_the_hits_says_whether_they_are_exact() {
        let mut answer = Answer::default();
        answer.stats.exact = true;
        assert!(stats_line(&answer).starts_with("0 hits (exact;"));
        answer.stats.exact = false;
        answer.stats.estimated_recall = Some(0.997);
        answer.hits.push(Hit::default());
        assert!(stats_line(&answer).starts_with("1 hit (recall 0.997 when the index was built;"));
    }

    #[test]
    fn the_number_that_orders_is_named_for_what_it_is() {
        let heading = |fusion: &str, method: &str| {
            let stats = QueryStats {
                fusion: fusion.to_owned(),
                method: method.to_owned(),
                ..QueryStats::default()
            };
            distance_heading(true, &stats, Format::Table)
        };
        assert_eq!(heading("", "example"), Some("distance"));
        assert_eq!(heading("distances", "example, centroid"), Some("distance"));
        assert_eq!(heading("", "probe"), Some("minus logit"));
        assert_eq!(heading("weighted", "example, probe"), Some("fused score"));
        assert_eq!(heading("max", "example, example"), Some("fused score"));
        assert_eq!(heading("rrf", "example, example"), Some("fused ranks"));
        let stats = QueryStats { fusion: "max".to_owned(), ..QueryStats::default() };
        assert_eq!(distance_heading(true, &stats, Format::Csv), Some("distance"));
        assert_eq!(distance_heading(false, &stats, Format::Table), None);
    }
}
