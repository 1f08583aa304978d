//! `BridgeService`: maps between embedding spaces.

use tonic::{Request, Response, Status};

use super::ServiceError;
use super::context::{Context, blocking};
use super::door::Door;
use super::gate;
use super::jobs::{self, Answers};
use super::probes::check_predicate;
use crate::learn::Progress;
use crate::probes::Page;
use crate::wire::v1;
use crate::wire::v1::bridge_service_server::BridgeService;

/// Fits, keeps, lists, applies and drops bridges.
#[derive(Clone)]
pub(super) struct BridgeServer {
    context: Context,
}

impl BridgeServer {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn fit(&self, door: Door, request: v1::FitBridgeRequest) -> Answers<v1::FitBridgeResponse> {
        let bridges = self.context.bridges.clone();
        let work = move |listener: &jobs::Listener<v1::FitBridgeResponse>| {
            let tell = |stage: &str, done: u64, total: u64| {
                let stage = stage.to_owned();
                listener.step(v1::FitBridgeResponse { stage, done, total, bridge: None });
            };
            let progress = Progress::new(&tell, listener.flag());
            let view = door.view(&request.collection)?;
            Ok(bridges.fit(&view, request, listener.stop(), progress)?)
        };
        let last = |bridge| {
            let (stage, bridge) = ("done".to_owned(), Some(bridge));
            Some(v1::FitBridgeResponse { stage, done: 1, total: 1, bridge })
        };
        jobs::start(&self.context, work, last)
    }

    fn apply(
        &self,
        door: Door,
        request: v1::ApplyBridgeRequest,
    ) -> Answers<v1::ApplyBridgeResponse> {
        let bridges = self.context.bridges.clone();
        let work = move |listener: &jobs::Listener<v1::ApplyBridgeResponse>| {
            let mut tell = |message| listener.tell(message);
            let view = door.view(&request.collection)?;
            let (stop, flag) = (listener.stop(), listener.flag());
            Ok(bridges.apply(&view, &request, stop, flag, &mut tell)?)
        };
        jobs::start(&self.context, work, |()| None)
    }
}

#[tonic::async_trait]
impl BridgeService for BridgeServer {
    type FitBridgeStream = Answers<v1::FitBridgeResponse>;
    type ApplyBridgeStream = Answers<v1::ApplyBridgeResponse>;

    async fn fit_bridge(
        &self,
        request: Request<v1::FitBridgeRequest>,
    ) -> Result<Response<Self::FitBridgeStream>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let mut request = request.into_inner();
        check_predicate(&self.context, request.spec.as_mut().map(|spec| &mut spec.predicate))?;
        tracing::info!(collection = request.collection, name = request.name, "fitting a bridge");
        Ok(Response::new(self.fit(door, request)))
    }

    async fn list_bridges(
        &self,
        request: Request<v1::ListBridgesRequest>,
    ) -> Result<Response<v1::ListBridgesResponse>, Status> {
        let (grant, bridges) = (gate::grant(&request)?, self.context.bridges.clone());
        let (context, request) =
            (self.context.clone(), self.context.targeted(request.into_inner())?);
        let listed = move || -> Result<_, ServiceError> {
            Ok(bridges.list(&context.view(&grant, &request.collection)?, &request.after)?)
        };
        let Page { items: bridges, next, .. } = blocking(listed).await?;
        Ok(Response::new(v1::ListBridgesResponse { bridges, next }))
    }

    async fn get_bridge(
        &self,
        request: Request<v1::GetBridgeRequest>,
    ) -> Result<Response<v1::GetBridgeResponse>, Status> {
        let (grant, bridges) = (gate::grant(&request)?, self.context.bridges.clone());
        let (context, request) =
            (self.context.clone(), self.context.targeted(request.into_inner())?);
        let found = move || -> Result<_, ServiceError> {
            Ok(bridges.get(&context.view(&grant, &request.collection)?, &request.name)?)
        };
        let bridge = blocking(found).await?;
        Ok(Response::new(v1::GetBridgeResponse { bridge: Some(bridge) }))
    }

    async fn drop_bridge(
        &self,
        request: Request<v1::DropBridgeRequest>,
    ) -> Result<Response<v1::DropBridgeResponse>, Status> {
        let (grant, bridges) = (gate::grant(&request)?, self.context.bridges.clone());
        let (context, request) = (self.context.clone(), request.into_inner());
        let dropped = move || -> Result<_, ServiceError> {
            let view = context.view(&grant, &request.collection)?;
            Ok(bridges.drop_bridge(&view, &request.name)?)
        };
        blocking(dropped).await?;
        Ok(Response::new(v1::DropBridgeResponse {}))
    }

    async fn apply_bridge(
        &self,
        request: Request<v1::ApplyBridgeRequest>,
    ) -> Result<Response<Self::ApplyBridgeStream>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let request = request.into_inner();
        tracing::info!(collection = request.collection, name = request.name, "applying a bridge");
        Ok(Response::new(self.apply(door, request)))
    }
}
