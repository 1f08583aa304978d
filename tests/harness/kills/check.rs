//! What is there after a kill, compared over the wire with what is known.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use sidereus::wire::v1;
use sidereus::wire::v1::backup_service_client::BackupServiceClient;
use sidereus::wire::v1::collection_service_client::CollectionServiceClient;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::release_service_client::ReleaseServiceClient;
use sidereus::wire::v1::search_service_client::SearchServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use super::super::world::{NAME, mixed, vector};
use super::Report;
use super::books::{Books, Pinned, Stage, locked};
use super::ledger::{Found, Ledger};
use super::sequences::{self, PASSING};
use super::steps::{WRITERS, every_id, id_of, searched, wire_id, writer_of};
use super::upkeep::{DESTINATION, REASON, keeps_data, release_name};

/// Exact searches of a check.
const SEARCHES: u64 = 2;

/// Hits of a search.
const HITS: usize = 10;

/// Compares everything, and has the books go on from what is there.
///
/// # Errors
/// What differs, and how.
pub(super) async fn check(
    server: &Endpoint,
    books: &Books,
    report: &mut Report,
) -> Result<(), String> {
    let channel = server.connect_lazy();
    releases(&channel, books, report).await?;
    objects(&channel, books, report).await?;
    snapshots(&channel, books, report).await?;
    sequences::check_passing(channel.clone(), books).await?;
    sequences::check_labels(channel.clone(), books).await?;
    searches(&channel, books, report.kills).await?;
    index(channel, books).await
}

fn failed(doing: &str) -> impl Fn(Status) -> String + '_ {
    move |status| format!("{doing} fails after a kill: {status}")
}

/// Objects of each writer.
async fn found(channel: &Channel, release: &str) -> Result<Vec<Found>, String> {
    let request = v1::GetObjectsRequest {
        collection: NAME.to_owned(),
        ids: every_id().map(wire_id).collect(),
        with_vectors: true,
        release: release.to_owned(),
    };
    let mut client = ObjectServiceClient::new(channel.clone());
    let reply = client.get_objects(request).await.map_err(failed("reading all objects"))?;
    let mut found = vec![Found::new(); WRITERS as usize];
    for object in reply.into_inner().objects {
        let id = id_of(object.id.as_ref())?;
        if found[writer_of(id) as usize].insert(id, object).is_some() {
            return Err(format!("object {id} is there twice"));
        }
    }
    Ok(found)
}

/// The collection, of which no more may be there than what was found by id.
async fn collection(
    channel: &Channel,
    release: &str,
    found: &[Found],
) -> Result<v1::Collection, String> {
    let release = release.to_owned();
    let request = v1::GetCollectionRequest { name: NAME.to_owned(), release };
    let mut client = CollectionServiceClient::new(channel.clone());
    let reply = client.get_collection(request).await.map_err(failed("reading the collection"))?;
    let told = reply.into_inner().collection.ok_or("an answer without a collection")?;
    let objects: u64 = found.iter().map(|found| found.len() as u64).sum();
    let vectors = found.iter().flat_map(Found::values).filter(|found| !found.vectors.is_empty());
    let vectors = vectors.count() as u64;
    let counted = told.vector_counts.get("v").copied().unwrap_or(0);
    if told.object_count != objects || counted != vectors {
        let count = told.object_count;
        return Err(format!(
            "{count} objects and {counted} vectors are counted, {objects} and {vectors} are found"
        ));
    }
    Ok(told)
}

async fn objects(channel: &Channel, books: &Books, report: &mut Report) -> Result<(), String> {
    let found = found(channel, "").await?;
    let told = collection(channel, "", &found).await?;
    let (known, checked) = (books.version(), books.checked.load(Ordering::Acquire));
    let mut most = checked;
    for (ledger, found) in books.ledgers.iter().zip(&found) {
        let mut ledger = locked(ledger);
        let (step, state) = ledger.step_of(found, ledger.sent)?;
        report.found_unacknowledged += step - ledger.settled;
        report.sent_and_not_there += ledger.sent - step;
        most += step - ledger.checked;
        ledger.settle(step, state);
    }
    if !(known..=most).contains(&told.version) {
        let version = told.version;
        return Err(format!(
            "the version is {version}; {known} was told, and no more than {most} can be"
        ));
    }
    report.version = told.version;
    books.checked.store(told.version, Ordering::Release);
    let mut client = CollectionServiceClient::new(channel.clone());
    let listed = client.list_collections(v1::ListCollectionsRequest {}).await;
    let listed = listed.map_err(failed("listing collections"))?.into_inner().collections;
    for schema in listed.into_iter().filter_map(|each| each.schema) {
        if ![NAME, PASSING].contains(&schema.name.as_str()) {
            return Err(format!("there is a collection that nobody made: {schema:?}"));
        }
    }
    Ok(())
}

/// The last message of an answer in steps.
async fn last<T>(answer: Result<Response<Streaming<T>>, Status>, doing: &str) -> Result<T, String> {
    let mut answer = answer.map_err(failed(doing))?.into_inner();
    let mut last = None;
    while let Some(message) = answer.message().await.map_err(failed(doing))? {
        last = Some(message);
    }
    last.ok_or_else(|| format!("{doing} ends without its last message"))
}

/// Compares all releases with the books. Comes before the objects, whose check forgets what was sent and is not there.
async fn releases(channel: &Channel, books: &Books, report: &mut Report) -> Result<(), String> {
    let mut client = ReleaseServiceClient::new(channel.clone());
    let request = v1::ListReleasesRequest { collection: NAME.to_owned() };
    let listed = client.list_releases(request).await.map_err(failed("listing releases"))?;
    let mut listed: BTreeMap<String, v1::Release> = listed
        .into_inner()
        .releases
        .into_iter()
        .map(|release| (release.name.clone(), release))
        .collect();
    let sent = books.sent();
    let known = std::mem::take(&mut *locked(&books.releases));
    for (number, mut pinned) in known {
        let name = release_name(number);
        let there = listed.remove(&name);
        if there.is_none() && pinned.stage == Stage::Asked {
            continue;
        }
        let there = there.ok_or_else(|| format!("release {name} ({:?}) is lost", pinned.stage))?;
        pinned.stage = stage_of(&there, &pinned.stage, keeps_data(number))?;
        let is_withdrawn = there.withdrawn.is_some();
        if !is_withdrawn || keeps_data(number) {
            let request = v1::VerifyReleaseRequest { collection: NAME.to_owned(), name };
            let verified = last(client.verify_release(request).await, "verifying").await?;
            let record = verified.release.unwrap_or_default();
            if verified.found_hash != there.content_hash || record != there {
                let hash = verified.found_hash;
                return Err(format!("a release has the hash {hash}, its record is {there:?}"));
            }
            report.releases_verified += 1;
        }
        if !is_withdrawn && !pinned.from.is_empty() {
            content(channel, &there, &pinned, &sent).await?;
            report.releases_compared += 1;
        }
        pinned.from = Vec::new();
        locked(&books.releases).insert(number, pinned);
    }
    match listed.into_iter().next() {
        Some((name, release)) => Err(format!("nobody asked for the release {name}: {release:?}")),
        None => Ok(()),
    }
}

/// The stage that a release is at by its record, which must be one that follows from the books.
fn stage_of(there: &v1::Release, known: &Stage, keeps: bool) -> Result<Stage, String> {
    let wrong = || format!("a release is known as {known:?} and is there as {there:?}");
    if let Stage::Made(hash) | Stage::Leaving(hash) | Stage::Withdrawn(hash) = known
        && *hash != there.content_hash
    {
        return Err(wrong());
    }
    let hash = there.content_hash.clone();
    match (known, &there.withdrawn) {
        (Stage::Asked | Stage::Made(_) | Stage::Leaving(_), None) => Ok(Stage::Made(hash)),
        (Stage::Leaving(_) | Stage::Withdrawn(_), Some(withdrawn))
            if withdrawn.reason == REASON && withdrawn.data_kept == keeps =>
        {
            Ok(Stage::Withdrawn(hash))
        }
        _ => Err(wrong()),
    }
}

/// Compares the objects of a release with the states in which it may have found the writers.
async fn content(
    channel: &Channel,
    release: &v1::Release,
    pinned: &Pinned,
    sent: &[u64],
) -> Result<(), String> {
    let found = found(channel, &release.name).await?;
    let told = collection(channel, &release.name, &found).await?;
    if told.object_count != release.objects {
        let count = told.object_count;
        return Err(format!("{count} objects are counted in a release, of which {release:?}"));
    }
    let to = pinned.to.as_deref().unwrap_or(sent);
    for ((from, to), found) in pinned.from.iter().zip(to).zip(&found) {
        from.step_of(found, *to).map_err(|wrong| format!("release {}: {wrong}", release.name))?;
    }
    Ok(())
}

async fn snapshots(channel: &Channel, books: &Books, report: &mut Report) -> Result<(), String> {
    let mut client = BackupServiceClient::new(channel.clone());
    let destination = DESTINATION.to_owned();
    let request = v1::ListSnapshotsRequest { destination: destination.clone() };
    let listed = client.list_snapshots(request).await.map_err(failed("listing snapshots"))?;
    let listed = listed.into_inner().snapshots;
    let last_one = {
        let mut snapshots = locked(&books.snapshots);
        let leaving = snapshots.leaving.take();
        for made in &snapshots.made {
            let there = listed.iter().find(|each| each.name == made.name);
            if there != Some(made) && !(there.is_none() && leaving.as_ref() == Some(&made.name)) {
                return Err(format!("a snapshot is {there:?} instead of {made:?}"));
            }
        }
        let unknown =
            listed.iter().filter(|each| snapshots.made.iter().all(|made| made.name != each.name));
        let unknown = unknown.count();
        if unknown > usize::from(snapshots.is_making) {
            return Err(format!("{unknown} snapshots are there that nobody made: {listed:?}"));
        }
        snapshots.is_making = false;
        snapshots.made.clone_from(&listed);
        listed.last().cloned()
    };
    if let Some(expected) = last_one {
        let name = expected.name.clone();
        let request = v1::VerifySnapshotRequest { destination, name };
        let told = last(client.verify_snapshot(request).await, "verifying a snapshot").await?;
        if told.snapshot.as_ref() != Some(&expected) {
            return Err(format!("a snapshot verifies as {told:?} instead of {expected:?}"));
        }
        report.snapshots_verified += 1;
    }
    Ok(())
}

/// Exact searches, with and without a predicate, against all objects of the books.
async fn searches(channel: &Channel, books: &Books, seed: u64) -> Result<(), String> {
    for number in 0..SEARCHES {
        let wanted = vector(-1_000, mixed(seed * SEARCHES + number) >> 33);
        let z_max = if number.is_multiple_of(2) { 0.3 } else { f64::INFINITY };
        let mut near: Vec<(f64, i64)> = Vec::new();
        for ledger in &books.ledgers {
            let ledger: Ledger = locked(ledger).clone();
            for (id, held) in &ledger.state {
                let (z, vector) = searched(*id, held);
                if let Some(vector) = vector.filter(|_| z < z_max) {
                    let squares = vector.iter().zip(&wanted);
                    near.push((squares.map(|(a, b)| f64::from(a - b).powi(2)).sum(), *id));
                }
            }
        }
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let expected: Vec<i64> = near.iter().take(HITS).map(|(_, id)| *id).collect();
        let predicate = if z_max.is_finite() { format!("z < {z_max}") } else { String::new() };
        let term = v1::VectorTerm {
            vectors: vec![v1::Vector { values: wanted }],
            ..v1::VectorTerm::default()
        };
        let request = v1::SearchRequest {
            collection: NAME.to_owned(),
            terms: vec![term],
            predicate,
            k: HITS as u32,
            exact: true,
            ..v1::SearchRequest::default()
        };
        let answer = SearchServiceClient::new(channel.clone()).search(request).await;
        let mut answer = answer.map_err(failed("a search"))?.into_inner();
        let mut hits = Vec::new();
        while let Some(message) = answer.message().await.map_err(failed("a search"))? {
            for hit in message.hits {
                hits.push(id_of(hit.id.as_ref())?);
            }
        }
        if hits != expected {
            return Err(format!("an exact search finds {hits:?} instead of {expected:?}"));
        }
    }
    Ok(())
}

/// What an acknowledged build has made is there.
async fn index(channel: Channel, books: &Books) -> Result<(), String> {
    let request = v1::GetIndexStatusRequest { collection: NAME.to_owned(), release: String::new() };
    let status = MaintenanceServiceClient::new(channel).get_index_status(request).await;
    let status = status.map_err(failed("the state of the index"))?.into_inner();
    let built = books.indexed.load(Ordering::Acquire);
    if status.indexed_version < built {
        return Err(format!("version {built} was built, and the index is {status:?}"));
    }
    books.indexed.store(status.indexed_version, Ordering::Release);
    Ok(())
}
