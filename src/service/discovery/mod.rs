//! `DiscoveryService`: outliers, and sessions of labelling.

mod outliers;
mod sessions;
mod turns;

use std::sync::Arc;

use tonic::{Request, Response, Status};

use self::outliers::OutlierAnswers;
use self::turns::Turns;
use super::context::Context;
use super::deadline::Deadline;
use super::gate;
use crate::wire::v1;
use crate::wire::v1::discovery_service_server::DiscoveryService;

/// Finds outliers, and keeps sessions.
#[derive(Clone)]
pub(super) struct Discovery {
    context: Context,
    turns: Arc<Turns>,
}

impl Discovery {
    pub(super) fn new(context: Context) -> Self {
        Self { context, turns: Arc::default() }
    }
}

#[tonic::async_trait]
impl DiscoveryService for Discovery {
    type FindOutliersStream = OutlierAnswers;

    async fn find_outliers(
        &self,
        request: Request<v1::FindOutliersRequest>,
    ) -> Result<Response<OutlierAnswers>, Status> {
        let (door, rows) = (self.context.door(gate::grant(&request)?), gate::rows_served(&request));
        let asked = self.context.targeted(request.into_inner())?;
        let answers = outliers::start(&self.context, door, rows, asked).await?;
        Ok(Response::new(answers))
    }

    async fn start_session(
        &self,
        request: Request<v1::StartSessionRequest>,
    ) -> Result<Response<v1::StartSessionResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let session = Some(self.start(door, request.into_inner()).await?);
        Ok(Response::new(v1::StartSessionResponse { session }))
    }

    async fn label_objects(
        &self,
        request: Request<v1::LabelObjectsRequest>,
    ) -> Result<Response<v1::LabelObjectsResponse>, Status> {
        let grant = gate::grant(&request)?;
        let session = Some(self.label(grant, request.into_inner()).await?);
        Ok(Response::new(v1::LabelObjectsResponse { session }))
    }

    async fn next_objects(
        &self,
        request: Request<v1::NextObjectsRequest>,
    ) -> Result<Response<v1::NextObjectsResponse>, Status> {
        let deadline = Deadline::new(request.metadata(), self.context.limits.request_time_max);
        let (grant, rows) = (gate::grant(&request)?, gate::rows_served(&request));
        let next = deadline.run(self.next(grant, request.into_inner())).await?;
        rows.add(next.objects.len() as u64);
        Ok(Response::new(next))
    }

    async fn get_session(
        &self,
        request: Request<v1::GetSessionRequest>,
    ) -> Result<Response<v1::GetSessionResponse>, Status> {
        let grant = gate::grant(&request)?;
        let v1::GetSessionRequest { collection, name } = request.into_inner();
        let session = Some(self.get(grant, collection, name).await?);
        Ok(Response::new(v1::GetSessionResponse { session }))
    }

    async fn list_sessions(
        &self,
        request: Request<v1::ListSessionsRequest>,
    ) -> Result<Response<v1::ListSessionsResponse>, Status> {
        let grant = gate::grant(&request)?;
        let sessions = self.list(grant, request.into_inner().collection).await?;
        Ok(Response::new(v1::ListSessionsResponse { sessions }))
    }

    async fn drop_session(
        &self,
        request: Request<v1::DropSessionRequest>,
    ) -> Result<Response<v1::DropSessionResponse>, Status> {
        let grant = gate::grant(&request)?;
        let v1::DropSessionRequest { collection, name } = request.into_inner();
        self.remove(grant, collection, name).await?;
        Ok(Response::new(v1::DropSessionResponse {}))
    }
}
