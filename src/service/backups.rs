//! `BackupService`: snapshots in the places that the operator has named. Clients never name a path or an address.

use tonic::{Request, Response, Status};
use tracing::Instrument;

use super::ServiceError;
use super::context::Context;
use super::convert;
use super::jobs::{Answers, Whose, told};
use crate::backup::{self, BackupError, Remote};
use crate::wire::v1;
use crate::wire::v1::backup_service_server::BackupService;

/// Makes, lists, verifies and drops snapshots.
#[derive(Clone)]
pub(super) struct Backups {
    context: Context,
}

impl Backups {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    /// The place of a configured destination.
    fn place(&self, destination: &str) -> Result<Remote, ServiceError> {
        let known = &self.context.upkeep.destinations;
        match known.get(destination) {
            Some(url) => Ok(Remote::open(url)?),
            None => {
                let names: Vec<&str> = known.keys().map(String::as_str).collect();
                let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                Err(BackupError::NoDestination { name: destination.to_owned(), known }.into())
            }
        }
    }

    fn create(
        &self,
        request: &v1::CreateSnapshotRequest,
    ) -> Result<Answers<v1::CreateSnapshotResponse>, ServiceError> {
        let place = self.place(&request.destination)?;
        tracing::info!(destination = request.destination, "making a snapshot");
        let db = self.context.db.clone();
        let step =
            |stage, done, total| v1::CreateSnapshotResponse { stage, done, total, snapshot: None };
        Ok(told(&self.context, Whose::Everybody, step, move |mut steps, wanted| async move {
            let _turn = wanted;
            let made = backup::create(&db, &place, &mut *steps).await?;
            let (stage, snapshot) = ("done".to_owned(), Some(convert::snapshot(made)));
            Ok(v1::CreateSnapshotResponse { stage, done: 1, total: 1, snapshot })
        }))
    }

    fn verify(
        &self,
        request: v1::VerifySnapshotRequest,
    ) -> Result<Answers<v1::VerifySnapshotResponse>, ServiceError> {
        let place = self.place(&request.destination)?;
        let step =
            |stage, done, total| v1::VerifySnapshotResponse { stage, done, total, snapshot: None };
        Ok(told(&self.context, Whose::Caller, step, move |mut steps, wanted| async move {
            let _turn = wanted;
            let verified = backup::verify(&place, &request.name, &mut *steps).await?;
            let (stage, snapshot) = ("done".to_owned(), Some(convert::snapshot(verified)));
            Ok(v1::VerifySnapshotResponse { stage, done: 1, total: 1, snapshot })
        }))
    }
}

#[tonic::async_trait]
impl BackupService for Backups {
    type CreateSnapshotStream = Answers<v1::CreateSnapshotResponse>;
    type VerifySnapshotStream = Answers<v1::VerifySnapshotResponse>;

    async fn create_snapshot(
        &self,
        request: Request<v1::CreateSnapshotRequest>,
    ) -> Result<Response<Self::CreateSnapshotStream>, Status> {
        Ok(Response::new(self.create(&request.into_inner())?))
    }

    async fn list_snapshots(
        &self,
        request: Request<v1::ListSnapshotsRequest>,
    ) -> Result<Response<v1::ListSnapshotsResponse>, Status> {
        let place = self.place(&request.into_inner().destination)?;
        let listed = backup::list(&place).await.map_err(ServiceError::from)?;
        let damaged = listed.damaged.into_iter().map(|(name, error)| {
            tracing::error!(snapshot = name, %error, "a snapshot cannot be read");
            convert::damaged_snapshot(name, &error)
        });
        let snapshots =
            listed.snapshots.into_iter().map(convert::snapshot).chain(damaged).collect();
        Ok(Response::new(v1::ListSnapshotsResponse { snapshots }))
    }

    async fn verify_snapshot(
        &self,
        request: Request<v1::VerifySnapshotRequest>,
    ) -> Result<Response<Self::VerifySnapshotStream>, Status> {
        Ok(Response::new(self.verify(request.into_inner())?))
    }

    async fn drop_snapshot(
        &self,
        request: Request<v1::DropSnapshotRequest>,
    ) -> Result<Response<v1::DropSnapshotResponse>, Status> {
        let v1::DropSnapshotRequest { destination, name } = request.into_inner();
        let place = self.place(&destination)?;
        tracing::info!(destination, snapshot = name, "dropping a snapshot");
        // A task of its own: what was begun is ended although the caller goes.
        let pruning = async move { backup::drop_snapshot(&place, &name).await };
        let pruned = match tokio::spawn(pruning.in_current_span()).await {
            Ok(pruned) => pruned.map_err(ServiceError::from)?,
            Err(failure) => {
                return Err(ServiceError::Task { reason: failure.to_string() }.into());
            }
        };
        let backup::Pruned { objects, bytes } = pruned;
        Ok(Response::new(v1::DropSnapshotResponse { objects, bytes }))
    }
}
