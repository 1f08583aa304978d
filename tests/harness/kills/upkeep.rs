//! Everything beside writing: builds, releases, snapshots, a collection that comes and goes, and a record of labels.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sidereus::wire::v1::backup_service_client::BackupServiceClient;
use sidereus::wire::v1::maintenance_service_client::MaintenanceServiceClient;
use sidereus::wire::v1::release_service_client::ReleaseServiceClient;
use sidereus::wire::v1::{
    BuildIndexRequest, CreateReleaseRequest, CreateSnapshotRequest, DropSnapshotRequest,
    WithdrawReleaseRequest,
};
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::super::world::NAME;
use super::books::{Books, Ended, Pinned, Stage, locked};

/// Where snapshots go.
pub(super) const DESTINATION: &str = "disk";

/// Why releases are withdrawn.
pub(super) const REASON: &str = "there is a later one";

/// Releases and snapshots that stay.
const KEPT: usize = 2;

/// Of so many releases one keeps its data when it is withdrawn.
const KEEPING: u64 = 64;

/// Time between two builds, releases or snapshots, which would otherwise leave no room for anything else.
const PAUSE: Duration = Duration::from_millis(10);

/// The name of a release.
pub(super) fn release_name(number: u64) -> String {
    format!("r{number}")
}

/// Whether a release's data stay when it is withdrawn.
pub(super) fn keeps_data(number: u64) -> bool {
    number.is_multiple_of(KEEPING)
}

/// The last message of an answer in steps; `stage` is kept up to date.
async fn last<T>(
    answer: Result<Response<Streaming<T>>, Status>,
    doing: &mut String,
    name: &str,
    stage: impl Fn(&T) -> &str,
) -> Result<T, Status> {
    name.clone_into(doing);
    let mut answer = answer?.into_inner();
    let mut last = None;
    while let Some(message) = answer.message().await? {
        *doing = format!("{name}, {}", stage(&message));
        last = Some(message);
    }
    last.ok_or_else(|| Status::internal("the answer ended without its last message"))
}

/// Builds indices until the server is killed.
pub(super) async fn build(channel: Channel, books: &Books) -> Ended {
    let mut client = MaintenanceServiceClient::new(channel);
    let mut doing = String::new();
    loop {
        let request = BuildIndexRequest { collection: NAME.to_owned(), space: String::new() };
        let answer = client.build_index(request).await;
        match last(answer, &mut doing, "build", |step| &step.stage).await {
            Ok(message) => {
                let status = message.status.ok_or("a build ended without a status")?;
                books.indexed.fetch_max(status.indexed_version, Ordering::AcqRel);
                books.count("builds");
            }
            Err(status) => return books.ended(&doing, &status),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Makes and withdraws releases until the server is killed.
pub(super) async fn release(channel: Channel, books: &Books) -> Ended {
    let mut client = ReleaseServiceClient::new(channel);
    let mut doing = String::new();
    loop {
        let number = {
            let mut releases = locked(&books.releases);
            let number = releases.keys().next_back().map_or(1, |number| number + 1);
            let from = books.ledgers.iter().map(|ledger| locked(ledger).clone()).collect();
            releases.insert(number, Pinned { stage: Stage::Asked, from, to: None });
            number
        };
        let (collection, name) = (NAME.to_owned(), release_name(number));
        let request = CreateReleaseRequest { collection, name, text: None };
        let answer = client.create_release(request).await;
        match last(answer, &mut doing, "release", |step| &step.stage).await {
            Ok(message) => {
                let made = message.release.ok_or("a release ended without its record")?;
                let sent = books.sent();
                let mut releases = locked(&books.releases);
                let pinned = releases.get_mut(&number).ok_or("the release is not in the books")?;
                pinned.stage = Stage::Made(made.content_hash);
                pinned.to = Some(sent);
                books.count("releases");
            }
            Err(status) => return books.ended(&doing, &status),
        }
        if let Some(doing) = withdraw_old(&mut client, books).await? {
            return Ok(doing);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn withdraw_old(
    client: &mut ReleaseServiceClient<Channel>,
    books: &Books,
) -> Result<Option<Vec<String>>, String> {
    let old: Vec<u64> = {
        let releases = locked(&books.releases);
        let made = releases.iter().filter(|(_, pinned)| matches!(pinned.stage, Stage::Made(_)));
        let made: Vec<u64> = made.map(|(number, _)| *number).collect();
        made[..made.len().saturating_sub(KEPT)].to_vec()
    };
    for number in old {
        let become_of = |next: fn(String) -> Stage| {
            if let Some(pinned) = locked(&books.releases).get_mut(&number)
                && let Stage::Made(hash) | Stage::Leaving(hash) = pinned.stage.clone()
            {
                pinned.stage = next(hash);
            }
        };
        become_of(Stage::Leaving);
        let request = WithdrawReleaseRequest {
            collection: NAME.to_owned(),
            name: release_name(number),
            reason: REASON.to_owned(),
            keep_data: keeps_data(number),
        };
        match client.withdraw_release(request).await {
            Ok(_) => {
                become_of(Stage::Withdrawn);
                books.count("withdrawals");
            }
            Err(status) => return books.ended("withdrawal", &status).map(Some),
        }
    }
    Ok(None)
}

/// Makes and drops snapshots until the server is killed.
pub(super) async fn snapshot(channel: Channel, books: &Books) -> Ended {
    let mut client = BackupServiceClient::new(channel);
    let mut doing = String::new();
    loop {
        let version = books.version();
        locked(&books.snapshots).is_making = true;
        let request = CreateSnapshotRequest { destination: DESTINATION.to_owned() };
        let answer = client.create_snapshot(request).await;
        let made = match last(answer, &mut doing, "snapshot", |step| &step.stage).await {
            Ok(message) => message.snapshot.ok_or("a snapshot ended without its record")?,
            Err(status) => return books.ended(&doing, &status),
        };
        let versions: HashMap<&str, u64> =
            made.collections.iter().map(|each| (each.name.as_str(), each.version)).collect();
        if versions.get(NAME).is_none_or(|held| *held < version) {
            return Err(format!("a snapshot of version {version} or later holds {versions:?}"));
        }
        let old = {
            let mut snapshots = locked(&books.snapshots);
            snapshots.is_making = false;
            books.count("snapshots");
            snapshots.made.push(made);
            let old = (snapshots.made.len() > KEPT).then(|| snapshots.made[0].name.clone());
            snapshots.leaving.clone_from(&old);
            old
        };
        if let Some(name) = old {
            let destination = DESTINATION.to_owned();
            match client.drop_snapshot(DropSnapshotRequest { destination, name }).await {
                Ok(_) => {
                    let mut snapshots = locked(&books.snapshots);
                    snapshots.made.remove(0);
                    snapshots.leaving = None;
                    books.count("dropped snapshots");
                }
                Err(status) => return books.ended("dropping a snapshot", &status),
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
