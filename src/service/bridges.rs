//! `BridgeService`: maps between embedding spaces.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::ServiceError;
use super::context::{Context, blocking};
use super::door::Door;
use super::gate;
use super::probes::{Answers, QUEUE, Watch, check_predicate};
use super::telemetry::watched;
use crate::learn::Progress;
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
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (context, watch) = (self.context.clone(), Watch::default());
        tokio::spawn(async move {
            let (told, watched, bridges) = (sender.clone(), watch.clone(), context.bridges.clone());
            let work = blocking(move || {
                let tell = |stage: &str, done: u64, total: u64| {
                    let stage = stage.to_owned();
                    let step = v1::FitBridgeResponse { stage, done, total, bridge: None };
                    // A slow reader misses steps, never the end.
                    let _ = told.try_send(Ok(step));
                };
                let progress = Progress::new(&tell, &watched.flag);
                let view = door.view(&request.collection)?;
                Ok::<_, ServiceError>(bridges.fit(&view, request, &watched.stop, progress)?)
            });
            let last = match watch.over(&context, &sender, work).await {
                None => return,
                Some(Err(error)) => Err(error.into()),
                Some(Ok(bridge)) => Ok(v1::FitBridgeResponse {
                    stage: "done".to_owned(),
                    done: 1,
                    total: 1,
                    bridge: Some(bridge),
                }),
            };
            let _ = sender.send(last).await;
        });
        Box::pin(watched(ReceiverStream::new(receiver)))
    }

    fn apply(
        &self,
        door: Door,
        request: v1::ApplyBridgeRequest,
    ) -> Answers<v1::ApplyBridgeResponse> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (context, watch) = (self.context.clone(), Watch::default());
        tokio::spawn(async move {
            let (told, watched, bridges) = (sender.clone(), watch.clone(), context.bridges.clone());
            let work = blocking(move || {
                let mut tell = |message: v1::ApplyBridgeResponse| {
                    // The thread waits for a slow reader; one that has gone stops the work at its next step.
                    let _ = told.blocking_send(Ok(message));
                };
                let view = door.view(&request.collection)?;
                let (stop, flag) = (&watched.stop, &watched.flag);
                Ok::<_, ServiceError>(bridges.apply(&view, &request, stop, flag, &mut tell)?)
            });
            if let Some(Err(error)) = watch.over(&context, &sender, work).await {
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Box::pin(watched(ReceiverStream::new(receiver)))
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
            Ok(bridges.list(&context.view(&grant, &request.collection)?)?)
        };
        let bridges = blocking(listed).await?;
        Ok(Response::new(v1::ListBridgesResponse { bridges }))
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
