//! `sidereus session`: labels, and the objects that are worth the next ones.

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::client::{Client, ClientArguments};
use super::failure::of_status;
use super::ids::{id_text, parse_id};
use super::region::RegionArguments;
use super::render::{
    Cell, Format, Json, Table, print_facts, print_json, print_table, thousands, write_out,
};
use crate::service::RequestError;
use crate::wire::v1;
use crate::wire::v1::{NextObjectsResponse, Session};

/// Words of `sidereus session`.
#[derive(Debug, Args)]
pub(super) struct SessionArguments {
    #[command(subcommand)]
    action: Action,
    /// Collection of the session; needed only where several have one of its name
    #[arg(long, value_name = "NAME", global = true)]
    collection: Option<String>,
    #[command(flatten)]
    client: ClientArguments,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Strategy {
    /// What the head is least sure of, far from each other and from what is labelled
    #[default]
    Uncertain,
    /// What is positive most surely
    Likely,
    /// What is farthest from each other and from what is labelled
    Diverse,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Begin a session
    Start {
        /// Name of the collection
        name: String,
        /// Embedding space; may be left out when there is only one
        #[arg(long, value_name = "S")]
        space: Option<String>,
        /// Name of the session
        #[arg(long = "name", value_name = "T")]
        session: String,
        /// Which objects are looked at where only some can be
        #[arg(long, value_name = "N", default_value_t = 0)]
        seed: u64,
    },
    /// Label objects: ID=1 for a positive, ID=0 for a negative, ID= to take a label away
    Label {
        /// Name of the session
        session: String,
        /// Labels
        #[arg(required = true, value_name = "ID=LABEL", allow_negative_numbers = true)]
        labels: Vec<String>,
    },
    /// Fit a head to the labels, and show the next objects to label
    Next {
        /// Name of the session
        session: String,
        /// How many
        #[arg(short, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        n: u32,
        /// Only objects for which this SQL expression on the columns is true
        #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
        predicate: Option<String>,
        #[command(flatten)]
        region: Box<RegionArguments>,
        /// How they are chosen; without a positive label, always diverse
        #[arg(long, value_enum, default_value_t, value_name = "STRATEGY")]
        strategy: Strategy,
    },
    /// Show labels and history
    Show {
        /// Name of the session
        session: String,
    },
    /// List sessions
    List,
    /// Forget a session and its labels
    Drop {
        /// Name of the session
        session: String,
    },
}

/// Runs `sidereus session`.
pub(super) async fn run(arguments: SessionArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let format = arguments.client.format;
    let collection = arguments.collection.unwrap_or_default();
    match arguments.action {
        Action::Start { name, space, session, seed } => {
            let space = space.unwrap_or_default();
            let request = v1::StartSessionRequest { collection: name, name: session, space, seed };
            let reply = client.discovery().start_session(request).await;
            let reply = reply.map_err(|status| of_status(&status))?.into_inner();
            print_session(reply.session, format)
        }
        Action::Label { session, labels } => {
            let collection = collection_of(&client, collection, &session).await?;
            let session = label(&client, collection, session, &labels).await?;
            print_session(Some(session), format)
        }
        Action::Next { session, n, predicate, region, strategy } => {
            let strategy = match strategy {
                Strategy::Uncertain => v1::NextStrategy::Unspecified,
                Strategy::Likely => v1::NextStrategy::Likely,
                Strategy::Diverse => v1::NextStrategy::Diverse,
            };
            let request = v1::NextObjectsRequest {
                collection: collection_of(&client, collection, &session).await?,
                name: session,
                count: n,
                region: region.to_wire()?,
                predicate: predicate.unwrap_or_default(),
                strategy: strategy.into(),
            };
            let reply = client.discovery().next_objects(request).await;
            print_next(&reply.map_err(|status| of_status(&status))?.into_inner(), format)
        }
        Action::Show { session } => {
            let collection = collection_of(&client, collection, &session).await?;
            print_labels(&get(&client, collection, session).await?, format)
        }
        Action::List => print_sessions(&list(&client, collection).await?, format),
        Action::Drop { session } => {
            let collection = collection_of(&client, collection, &session).await?;
            let request = v1::DropSessionRequest { collection, name: session };
            let reply = client.discovery().drop_session(request).await;
            reply.map_err(|status| of_status(&status))?;
            Ok(())
        }
    }
}

/// The collection of a session: the one that is named, or the only one with such a session among those that the caller may know
/// of. A server that asks who calls takes no session without its collection.
async fn collection_of(client: &Client, named: String, session: &str) -> Result<String> {
    if !named.is_empty() {
        return Ok(named);
    }
    let mut sessions = list(client, named).await?;
    sessions.retain(|each| each.name.to_lowercase() == session.to_lowercase());
    let mut found: Vec<String> = sessions.into_iter().map(|each| each.collection).collect();
    let name = session.to_owned();
    match found.len() {
        0 => Err(RequestError::NoSession { name }.into()),
        1 => Ok(found.swap_remove(0)),
        _ => Err(RequestError::SeveralSessions { name, collections: found.join(", ") }.into()),
    }
}

async fn get(client: &Client, collection: String, name: String) -> Result<Session> {
    let request = v1::GetSessionRequest { collection, name };
    let reply =
        client.discovery().get_session(request).await.map_err(|status| of_status(&status))?;
    reply.into_inner().session.context("the server's answer lacks the session")
}

async fn label(
    client: &Client,
    collection: String,
    name: String,
    labels: &[String],
) -> Result<Session> {
    // Whether ids are numbers is known by the collection alone.
    let session = get(client, collection, name).await?;
    let schema = client.schema(&session.collection).await?;
    let mut request = v1::LabelObjectsRequest {
        collection: session.collection,
        name: session.name,
        ..v1::LabelObjectsRequest::default()
    };
    for text in labels {
        let Some((id, label)) = text.rsplit_once('=') else {
            bail!("`{text}` is not ID=1, ID=0 or ID=");
        };
        let id = parse_id(&schema, id)?;
        match label {
            "1" => request.positives.push(id),
            "0" => request.negatives.push(id),
            "" => request.unlabelled.push(id),
            _ => bail!("`{text}` is not ID=1, ID=0 or ID="),
        }
    }
    let reply = client.discovery().label_objects(request).await;
    let reply = reply.map_err(|status| of_status(&status))?.into_inner();
    reply.session.context("the server's answer lacks the session")
}

async fn list(client: &Client, collection: String) -> Result<Vec<Session>> {
    let request = v1::ListSessionsRequest { collection };
    let reply = client.discovery().list_sessions(request).await;
    Ok(reply.map_err(|status| of_status(&status))?.into_inner().sessions)
}

fn print_sessions(sessions: &[Session], format: Format) -> Result<()> {
    let is_damaged = sessions.iter().any(|session| !session.damaged.is_empty());
    let headings = ["session", "collection", "space", "positives", "negatives", "batches"];
    let mut table = Table::new(headings.into_iter().chain(is_damaged.then_some("damaged")));
    for session in sessions {
        let (positives, negatives) = counts(session);
        let mut row = vec![
            Cell::text(&session.name),
            Cell::text(&session.collection),
            Cell::text(&session.space),
            Cell::Count(positives),
            Cell::Count(negatives),
            Cell::Count(session.rounds.len() as u64),
        ];
        if is_damaged {
            let why = session.damaged.as_str();
            row.push(if why.is_empty() { Cell::Null } else { Cell::text(why) });
        }
        table.push(row);
    }
    match format {
        Format::Json => print_json(&Json::object([("sessions", table.to_json())])),
        format => print_table(&table, format),
    }
}

fn counts(session: &Session) -> (u64, u64) {
    let positives = session.labels.iter().filter(|label| label.positive).count() as u64;
    (positives, session.labels.len() as u64 - positives)
}

fn facts(session: &Session) -> Vec<(&'static str, Cell)> {
    let (positives, negatives) = counts(session);
    vec![
        ("session", Cell::text(&session.name)),
        ("collection", Cell::text(&session.collection)),
        ("space", Cell::text(&session.space)),
        ("positives", Cell::Count(positives)),
        ("negatives", Cell::Count(negatives)),
        ("batches", Cell::Count(session.rounds.len() as u64)),
    ]
}

fn print_session(session: Option<Session>, format: Format) -> Result<()> {
    let session = session.context("the server's answer lacks the session")?;
    print_facts(&facts(&session), format)
}

fn print_labels(session: &Session, format: Format) -> Result<()> {
    let mut labels = Table::new(["object_id", "label", "batch"]);
    for label in &session.labels {
        labels.push(vec![
            Cell::Id(id_text(label.id.as_ref())),
            Cell::Count(u64::from(label.positive)),
            Cell::Count(u64::from(label.round)),
        ]);
    }
    let mut rounds = Table::new(["batch", "strategy", "proposed", "positives", "negatives"]);
    for (number, round) in (1..).zip(&session.rounds) {
        rounds.push(vec![
            Cell::Count(number),
            Cell::text(&round.strategy),
            Cell::Count(round.proposed.len() as u64),
            Cell::Count(u64::from(round.positives)),
            Cell::Count(u64::from(round.negatives)),
        ]);
    }
    match format {
        Format::Json => {
            let members = facts(session).into_iter().map(|(name, cell)| (name, cell.to_json()));
            let lists = [("labels", labels.to_json()), ("history", rounds.to_json())];
            print_json(&Json::object(members.chain(lists)))
        }
        Format::Csv => print_table(&labels, format),
        Format::Table => {
            print_facts(&facts(session), format)?;
            write_out("\n")?;
            print_table(&labels, format)?;
            print_table(&rounds, format)
        }
    }
}

fn print_next(next: &NextObjectsResponse, format: Format) -> Result<()> {
    let mut table = Table::new(["object_id", "ra", "dec", "probability"]);
    for object in &next.objects {
        let coordinate = |of: fn(&v1::Position) -> f64| {
            object.position.as_ref().map_or(Cell::Null, |at| Cell::Degrees(of(at)))
        };
        table.push(vec![
            Cell::Id(id_text(object.id.as_ref())),
            coordinate(|at| at.ra),
            coordinate(|at| at.dec),
            Cell::optional_real(object.probability),
        ]);
    }
    match format {
        Format::Json => print_json(&Json::object([
            ("objects", table.to_json()),
            ("strategy", Cell::text(&next.strategy).to_json()),
            ("scored", Cell::Count(next.scored).to_json()),
            ("unusable_labels", Cell::Count(next.unusable).to_json()),
        ])),
        Format::Csv => print_table(&table, format),
        Format::Table => {
            print_table(&table, format)?;
            let scored = thousands(next.scored);
            let mut line = format!("{} of {scored} objects\n", next.strategy);
            if next.unusable > 0 {
                line += &format!(
                    "{} labelled objects have gone or have no vector\n",
                    thousands(next.unusable)
                );
            }
            write_out(&line)
        }
    }
}
