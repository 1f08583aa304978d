//! `kill -9` of the real program while clients write, delete, build, make releases and snapshots, and alter records.
//!
//! The clients keep books of what they have sent and of what was acknowledged ([`books`]). What every step of theirs writes
//! follows from its number ([`steps`]), so that all states that may be there after a kill are known without a database:
//! what was acknowledged is there, with its exact content; what was sent and not acknowledged is there whole, or not at all,
//! in the order in which it was sent; and nothing else is. The same data directory goes through all kills.

mod books;
mod check;
mod ledger;
mod sequences;
mod steps;
mod upkeep;
mod victim;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::{CollectionSchema, ColumnType, CreateCollectionRequest, IdKind, Metric};
use tokio::task::JoinSet;
use tonic::transport::Endpoint;

use super::progress::Progress;
use super::wired::{column, space};
use super::world::{DIMENSION, NAME, mixed};
use books::{Books, Ended};
use steps::WRITERS;
use victim::{Places, Victim};
use writer::Pace;

/// Of so many kills one comes while the server opens its database.
const OPENING: u64 = 10;

/// Of so many servers one has little to do.
const CALM: u64 = 3;

/// The longest wait for something that takes long.
const CALM_MAX: Duration = Duration::from_secs(10);

/// How long a check, or the end of the clients after a kill, may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// What the kills met.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Servers killed, and those among them that were killed while they opened the database.
    pub(crate) kills: u64,
    pub(crate) kills_while_opening: u64,
    /// What clients were waiting for when a kill came, and how often.
    pub(crate) phases: BTreeMap<String, u64>,
    /// What was acknowledged.
    pub(crate) acknowledged: BTreeMap<&'static str, u64>,
    /// Messages and deletes found after a kill although no answer came, and those that were sent and are not there.
    pub(crate) found_unacknowledged: u64,
    pub(crate) sent_and_not_there: u64,
    /// Releases hashed again after a kill, and those whose objects were compared one by one.
    pub(crate) releases_verified: u64,
    pub(crate) releases_compared: u64,
    /// Snapshots that were read whole after a kill.
    pub(crate) snapshots_verified: u64,
    /// Version of the collection at the end.
    pub(crate) version: u64,
    /// The longest start after a kill, in milliseconds.
    pub(crate) opening_ms_max: u64,
}

/// The collection that is written to.
fn schema() -> CollectionSchema {
    CollectionSchema {
        name: NAME.to_owned(),
        id_kind: IdKind::Number.into(),
        columns: vec![column("version", ColumnType::Int64), column("z", ColumnType::Float64)],
        spaces: vec![space("v", "image", DIMENSION as u32, Metric::L2)],
        description: String::new(),
    }
}

/// Kills so many servers, one after the other, with the same data, which stay where they are when something is wrong.
///
/// # Panics
/// With what is wrong and the end of the server's log, when something is not as it was acknowledged.
pub(crate) async fn run(kills: u64) -> Report {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let places = Places::new(&folder);
    let books = Arc::new(Books::new());
    let mut report = Report::default();
    let outcome = run_all(&places, &books, kills, &mut report).await;
    if let Err(wrong) = outcome {
        panic!(
            "after {report:?}:\n{wrong}\nThe server's last words:\n{}\nIts data are in {}.",
            places.last_words(),
            folder.display()
        );
    }
    let _ = std::fs::remove_dir_all(&folder);
    report
}

async fn run_all(
    places: &Places,
    books: &Arc<Books>,
    kills: u64,
    report: &mut Report,
) -> Result<(), String> {
    // The first start makes the database, which is not what the others do: it says nothing about their time.
    let mut opening = Duration::ZERO;
    let mut progress = Progress::new("kills", kills);
    loop {
        let mut victim = Victim::start(places);
        if report.kills > 0 && report.kills < kills && mixed(report.kills).is_multiple_of(OPENING) {
            let share = mixed(report.kills ^ 0x0be) % 1_000;
            tokio::time::sleep(opening * share as u32 / 1_000).await;
            victim.kill()?;
            *report.phases.entry("opening".to_owned()).or_default() += 1;
            report.kills_while_opening += 1;
            report.kills += 1;
            progress.step();
            continue;
        }
        let (server, took) = tokio::task::block_in_place(|| victim.listening())?;
        if report.kills > 0 {
            opening = if opening.is_zero() { took } else { (opening * 7 + took) / 8 };
            report.opening_ms_max = report.opening_ms_max.max(took.as_millis() as u64);
            let checked = tokio::time::timeout(PATIENCE, check::check(&server, books, report));
            checked.await.map_err(|_| format!("a check takes more than {PATIENCE:?}"))??;
        } else {
            begin(&server, books).await?;
        }
        if report.kills == kills {
            return Ok(());
        }
        load_and_kill(&server, victim, books, report).await?;
        places.forget_snapshots_under_way();
        report.kills += 1;
        progress.step();
    }
}

/// Makes the collection, and has every writer write once.
async fn begin(server: &Endpoint, books: &Books) -> Result<(), String> {
    let mut client = CollectionServiceClient::new(server.connect_lazy());
    let request = CreateCollectionRequest { schema: Some(schema()) };
    client.create_collection(request).await.map_err(|status| status.to_string())?;
    for writer in 0..WRITERS {
        writer::write(server.connect_lazy(), books, writer, Pace::Once).await?;
    }
    Ok(())
}

/// Has all clients work, kills the server at a random moment, and waits until the clients have noticed.
async fn load_and_kill(
    server: &Endpoint,
    victim: Victim,
    books: &Arc<Books>,
    report: &mut Report,
) -> Result<(), String> {
    books.is_killed.store(false, Ordering::Release);
    // Builds give way to everything else on the machine, and are rarely done while everybody writes: sometimes few do.
    let is_calm = mixed(report.kills ^ 0xca1).is_multiple_of(CALM);
    let (pace, writers) = if is_calm { (Pace::Calm, 1) } else { (Pace::Full, WRITERS) };
    let mut clients: JoinSet<Ended> = JoinSet::new();
    for writer in 0..writers {
        let (channel, books) = (server.connect_lazy(), Arc::clone(books));
        clients.spawn(async move { writer::write(channel, &books, writer, pace).await });
    }
    // Not all of the rest at once, lest nothing of it be far when the kill comes.
    let chosen = mixed(report.kills ^ 0xc105e);
    let others: Vec<u64> = if is_calm {
        vec![chosen % 3]
    } else {
        (0..5).filter(|other| !(chosen >> (other * 7)).is_multiple_of(3)).collect()
    };
    for other in others {
        let (channel, books) = (server.connect_lazy(), Arc::clone(books));
        clients.spawn(async move {
            match other {
                0 => upkeep::build(channel, &books).await,
                1 => upkeep::release(channel, &books).await,
                2 => upkeep::snapshot(channel, &books).await,
                3 => sequences::pass(channel, &books).await,
                _ => sequences::label_forever(channel, &books).await,
            }
        });
    }
    tokio::select! {
        () = moment(books, is_calm, mixed(report.kills ^ 0xdead)) => {}
        early = clients.join_next() => return Err(format!("a client ended early: {early:?}")),
    }
    books.is_killed.store(true, Ordering::Release);
    victim.kill()?;
    let ends = tokio::time::timeout(PATIENCE, clients.join_all());
    let ends = ends.await.map_err(|_| "clients wait for a server that is dead".to_owned())?;
    for end in ends {
        for doing in end? {
            *report.phases.entry(doing).or_default() += 1;
        }
    }
    report.acknowledged = books.acknowledged();
    Ok(())
}

/// Waits for the random moment of a kill; with little to do, one soon after a build, a release or a snapshot was acknowledged.
async fn moment(books: &Books, is_calm: bool, random: u64) {
    if !is_calm {
        return tokio::time::sleep(Duration::from_millis(200 + random % 900)).await;
    }
    let long_ones = || -> u64 {
        let acknowledged = books.acknowledged();
        let counted =
            ["builds", "releases", "snapshots"].map(|what| acknowledged.get(what).copied());
        counted.into_iter().flatten().sum()
    };
    let (before, began) = (long_ones(), Instant::now());
    while long_ones() == before && began.elapsed() < CALM_MAX {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::sleep(Duration::from_millis(random % 400)).await;
}
