//! `ReleaseService`: named states of a collection that do not change any more.

use tonic::{Request, Response, Status};

use super::context::{Context, blocking};
use super::convert;
use super::door::Door;
use super::gate;
use super::jobs::{self, Answers, Wanted, Whose};
use super::limits::FIXED;
use super::{RequestError, ServiceError};
use crate::engine::{DiffSide, Release, ReleaseText};
use crate::probes;
use crate::schema::release_name;
use crate::wire::v1;
use crate::wire::v1::release_service_server::ReleaseService;

/// Most ids of each kind in a difference.
const IDS_MAX: u32 = 10_000;

/// Longest text of a release, in bytes.
const TEXT_BYTES_MAX: usize = 64 << 10;

/// Makes, lists, verifies, compares and withdraws releases.
#[derive(Clone)]
pub(super) struct Releases {
    context: Context,
}

/// Runs long work on a thread and answers with its steps and its end.
fn told<T: Send + 'static>(
    context: &Context,
    whose: Whose,
    step: fn(String, u64, u64) -> T,
    work: impl FnOnce(&mut dyn FnMut(&str, u64, u64), &Wanted) -> Result<T, ServiceError>
    + Send
    + 'static,
) -> Answers<T> {
    jobs::told(context, whose, step, |mut steps, wanted| {
        blocking(move || work(&mut *steps, &wanted))
    })
}

impl Releases {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn create(
        &self,
        request: v1::CreateReleaseRequest,
    ) -> Result<Answers<v1::CreateReleaseResponse>, ServiceError> {
        let v1::CreateReleaseRequest { collection, name, text } = request;
        let text = release_text(text.unwrap_or_default())?;
        tracing::info!(collection, release = name, "making a release");
        let db = self.context.db.clone();
        let step =
            |stage, done, total| v1::CreateReleaseResponse { stage, done, total, release: None };
        Ok(told(&self.context, Whose::Everybody, step, move |progress, wanted| {
            let go_on = || wanted.is_still();
            let release = db.create_release_while(&collection, &name, text, progress, &go_on)?;
            probes::refresh(&db, &release_name(&release.collection, &release.name))?;
            let stage = "done".to_owned();
            let release = Some(convert::release(release));
            Ok(v1::CreateReleaseResponse { stage, done: 1, total: 1, release })
        }))
    }

    fn verify(&self, request: v1::VerifyReleaseRequest) -> Answers<v1::VerifyReleaseResponse> {
        let v1::VerifyReleaseRequest { collection, name } = request;
        let db = self.context.db.clone();
        let step = |stage, done, total| v1::VerifyReleaseResponse {
            stage,
            done,
            total,
            ..v1::VerifyReleaseResponse::default()
        };
        told(&self.context, Whose::Caller, step, move |progress, wanted| {
            let go_on = || wanted.is_still();
            let (release, found) = db.verify_release_while(&collection, &name, progress, &go_on)?;
            Ok(v1::VerifyReleaseResponse {
                stage: "done".to_owned(),
                done: 1,
                total: 1,
                release: Some(convert::release(release)),
                found_hash: found.to_string(),
            })
        })
    }

    fn diff(
        &self,
        rows: gate::RowsServed,
        request: v1::DiffReleasesRequest,
    ) -> Result<Answers<v1::DiffReleasesResponse>, ServiceError> {
        let v1::DiffReleasesRequest { collection, from, to, ids_max } = request;
        if ids_max > IDS_MAX {
            let (what, count, max) = ("listed ids", ids_max as usize, IDS_MAX as usize);
            return Err(RequestError::TooMany { what, limit: FIXED, count, max }.into());
        }
        let sides = [from, to]
            .map(|name| if name.is_empty() { DiffSide::Present } else { DiffSide::Release(name) });
        let db = self.context.db.clone();
        let step = |stage, done, total| v1::DiffReleasesResponse { stage, done, total, diff: None };
        Ok(told(&self.context, Whose::Caller, step, move |progress, wanted| {
            let (ids_max, go_on) = (ids_max as usize, || wanted.is_still());
            let diff = db.diff_releases_while(&collection, &sides, ids_max, progress, &go_on)?;
            let diff = convert::release_diff(diff);
            let listed = [&diff.added, &diff.removed, &diff.changed].into_iter().flatten();
            rows.add(listed.map(|side| side.ids.len() as u64).sum());
            let diff = Some(diff);
            Ok(v1::DiffReleasesResponse { stage: "done".to_owned(), done: 1, total: 1, diff })
        }))
    }
}

/// A release as a caller sees it: how many objects it holds tells of those that he may not see.
fn shown(door: &Door, release: Release) -> v1::Release {
    let mut release = convert::release(release);
    if door.is_restricted() {
        release.objects = 0;
        for space in &mut release.spaces {
            space.count = 0;
        }
    }
    release
}

fn release_text(text: v1::ReleaseText) -> Result<ReleaseText, ServiceError> {
    let v1::ReleaseText { title, citation, acknowledgement, notes } = text;
    let bytes: usize = [&title, &citation, &acknowledgement, &notes].iter().map(|t| t.len()).sum();
    if bytes > TEXT_BYTES_MAX {
        let (what, max) = ("bytes of text", TEXT_BYTES_MAX);
        return Err(RequestError::TooMany { what, limit: FIXED, count: bytes, max }.into());
    }
    Ok(ReleaseText { title, citation, acknowledgement, notes })
}

#[tonic::async_trait]
impl ReleaseService for Releases {
    type CreateReleaseStream = Answers<v1::CreateReleaseResponse>;
    type VerifyReleaseStream = Answers<v1::VerifyReleaseResponse>;
    type DiffReleasesStream = Answers<v1::DiffReleasesResponse>;

    async fn create_release(
        &self,
        request: Request<v1::CreateReleaseRequest>,
    ) -> Result<Response<Self::CreateReleaseStream>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let request = request.into_inner();
        door.check(&request.collection)?;
        Ok(Response::new(self.create(request)?))
    }

    async fn list_releases(
        &self,
        request: Request<v1::ListReleasesRequest>,
    ) -> Result<Response<v1::ListReleasesResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let (db, collection) = (self.context.db.clone(), request.into_inner().collection);
        door.check(&collection)?;
        let releases = blocking(move || db.releases(&collection)).await?;
        let releases = releases.into_iter().map(|release| shown(&door, release)).collect();
        Ok(Response::new(v1::ListReleasesResponse { releases }))
    }

    async fn get_release(
        &self,
        request: Request<v1::GetReleaseRequest>,
    ) -> Result<Response<v1::GetReleaseResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let (db, request) = (self.context.db.clone(), request.into_inner());
        door.check(&request.collection)?;
        let release = blocking(move || db.release(&request.collection, &request.name)).await?;
        Ok(Response::new(v1::GetReleaseResponse { release: Some(shown(&door, release)) }))
    }

    async fn verify_release(
        &self,
        request: Request<v1::VerifyReleaseRequest>,
    ) -> Result<Response<Self::VerifyReleaseStream>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let request = request.into_inner();
        door.check(&request.collection)?;
        Ok(Response::new(self.verify(request)))
    }

    async fn diff_releases(
        &self,
        request: Request<v1::DiffReleasesRequest>,
    ) -> Result<Response<Self::DiffReleasesStream>, Status> {
        let (door, rows) = (self.context.door(gate::grant(&request)?), gate::rows_served(&request));
        let request = request.into_inner();
        door.check(&request.collection)?;
        Ok(Response::new(self.diff(rows, request)?))
    }

    async fn withdraw_release(
        &self,
        request: Request<v1::WithdrawReleaseRequest>,
    ) -> Result<Response<v1::WithdrawReleaseResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let v1::WithdrawReleaseRequest { collection, name, reason, keep_data } =
            request.into_inner();
        door.check(&collection)?;
        if reason.trim().is_empty() {
            return Err(ServiceError::from(RequestError::Missing { field: "reason" }).into());
        }
        release_text(v1::ReleaseText { notes: reason.clone(), ..v1::ReleaseText::default() })?;
        tracing::info!(collection, release = name, reason, keep_data, "withdrawing a release");
        let (db, bridges) = (self.context.db.clone(), self.context.bridges.clone());
        let release = blocking(move || -> Result<_, ServiceError> {
            let release = db.withdraw_release(&collection, &name, &reason, keep_data)?;
            bridges.forget_collection(&release_name(&release.collection, &release.name));
            Ok(release)
        })
        .await?;
        Ok(Response::new(v1::WithdrawReleaseResponse { release: Some(convert::release(release)) }))
    }
}
