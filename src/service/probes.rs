//! `ProbeService`: heads on embeddings.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::ServiceError;
use super::context::{Context, blocking};
use super::convert;
use super::door::Door;
use super::gate;
use super::telemetry::watched;
use crate::learn::Progress;
use crate::probes::{self, Tools};
use crate::query::StopFlag;
use crate::wire::v1;
use crate::wire::v1::probe_service_server::ProbeService;

/// Messages that may wait for their reader.
pub(super) const QUEUE: usize = 16;

/// Predictions in one message.
const PREDICTIONS_AT_ONCE: usize = 4_096;

pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Fits, keeps, lists, applies and drops probes.
#[derive(Clone)]
pub(super) struct Probes {
    context: Context,
}

/// Raised when nobody waits for the answers any more.
#[derive(Clone, Default)]
pub(super) struct Watch {
    pub(super) flag: Arc<AtomicBool>,
    pub(super) stop: StopFlag,
}

impl Watch {
    /// Waits for work; `None` when its caller has gone or the server stops first, and then the work ends at its next step.
    pub(super) async fn over<T, W: Send + 'static>(
        &self,
        context: &Context,
        sender: &Sender<W>,
        work: impl Future<Output = Result<T, ServiceError>>,
    ) -> Option<Result<T, ServiceError>> {
        let outcome = tokio::select! {
            outcome = work => Some(outcome),
            () = sender.closed() => None,
            () = context.stopping.cancelled() => Some(Err(ServiceError::Stopping)),
        };
        // Also when all went well: there is nothing left to be stopped then.
        self.flag.store(true, Ordering::Relaxed);
        self.stop.raise();
        outcome
    }
}

impl Probes {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn tools(&self) -> Tools {
        Tools::new(self.context.db.clone(), self.context.encoder().ok().cloned())
    }

    fn fit(&self, door: Door, request: v1::FitProbeRequest) -> Answers<v1::FitProbeResponse> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (context, tools, watch) = (self.context.clone(), self.tools(), Watch::default());
        tokio::spawn(async move {
            let (told, watched) = (sender.clone(), watch.clone());
            let Some(turn) = turn(&context, &sender).await else { return };
            let work = blocking(move || {
                let _turn = turn;
                let tell = |stage: &str, done: u64, total: u64| {
                    let stage = stage.to_owned();
                    let step = v1::FitProbeResponse { stage, done, total, ..Default::default() };
                    // A slow reader misses steps, never the end.
                    let _ = told.try_send(Ok(step));
                };
                let progress = Progress::new(&tell, &watched.flag);
                let view = door.view(&request.collection)?;
                Ok::<_, ServiceError>(probes::fit(&tools, &view, request, &watched.stop, progress)?)
            });
            match watch.over(&context, &sender, work).await {
                None => {}
                Some(Err(error)) => {
                    let _ = sender.send(Err(error.into())).await;
                }
                Some(Ok(fitted)) => send_fitted(&sender, fitted).await,
            }
        });
        Box::pin(watched(ReceiverStream::new(receiver)))
    }

    fn apply(&self, door: Door, request: v1::ApplyProbeRequest) -> Answers<v1::ApplyProbeResponse> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let (context, tools, watch) = (self.context.clone(), self.tools(), Watch::default());
        tokio::spawn(async move {
            let (told, watched) = (sender.clone(), watch.clone());
            let Some(turn) = turn(&context, &sender).await else { return };
            let work = blocking(move || {
                let _turn = turn;
                let mut tell = |message: v1::ApplyProbeResponse| {
                    // The thread waits for a slow reader; one that has gone stops the work at its next step.
                    let _ = told.blocking_send(Ok(message));
                };
                let view = door.view(&request.collection)?;
                let (stop, flag) = (&watched.stop, &watched.flag);
                Ok::<_, ServiceError>(probes::apply(
                    &tools, &view, &request, stop, flag, &mut tell,
                )?)
            });
            if let Some(Err(error)) = watch.over(&context, &sender, work).await {
                let _ = sender.send(Err(error.into())).await;
            }
        });
        Box::pin(watched(ReceiverStream::new(receiver)))
    }
}

/// Waits for a turn to work; `None` when the caller has gone or the server stops first.
async fn turn<T>(context: &Context, sender: &Sender<T>) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        turn = context.fit_turn() => turn.ok(),
        () = sender.closed() => None,
        () = context.stopping.cancelled() => None,
    }
}

async fn send_fitted(answers: &Sender<v1::FitProbeResponse>, fitted: probes::Fitted) {
    for some in fitted.predictions.chunks(PREDICTIONS_AT_ONCE) {
        let message =
            v1::FitProbeResponse { predictions: some.to_vec(), ..v1::FitProbeResponse::default() };
        if answers.send(Ok(message)).await.is_err() {
            return;
        }
    }
    let last = v1::FitProbeResponse {
        stage: "done".to_owned(),
        done: 1,
        total: 1,
        probe: Some(fitted.probe),
        ..v1::FitProbeResponse::default()
    };
    let _ = answers.send(Ok(last)).await;
}

#[tonic::async_trait]
impl ProbeService for Probes {
    type FitProbeStream = Answers<v1::FitProbeResponse>;
    type ApplyProbeStream = Answers<v1::ApplyProbeResponse>;

    async fn fit_probe(
        &self,
        request: Request<v1::FitProbeRequest>,
    ) -> Result<Response<Self::FitProbeStream>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let mut request = request.into_inner();
        check_predicate(&self.context, request.spec.as_mut().map(|spec| &mut spec.predicate))?;
        Ok(Response::new(self.fit(door, request)))
    }

    async fn list_probes(
        &self,
        request: Request<v1::ListProbesRequest>,
    ) -> Result<Response<v1::ListProbesResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let collection = self.context.targeted(request.into_inner())?.collection;
        door.check(&collection)?;
        let probes = blocking(move || probes::list(door.db(), &collection)).await?;
        Ok(Response::new(v1::ListProbesResponse { probes }))
    }

    async fn get_probe(
        &self,
        request: Request<v1::GetProbeRequest>,
    ) -> Result<Response<v1::GetProbeResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let v1::GetProbeRequest { collection, name, .. } =
            self.context.targeted(request.into_inner())?;
        door.check(&collection)?;
        let probe = blocking(move || probes::get(door.db(), &collection, &name)).await?;
        Ok(Response::new(v1::GetProbeResponse { probe: Some(probe) }))
    }

    async fn drop_probe(
        &self,
        request: Request<v1::DropProbeRequest>,
    ) -> Result<Response<v1::DropProbeResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let v1::DropProbeRequest { collection, name, .. } = request.into_inner();
        door.check(&collection)?;
        blocking(move || probes::drop_probe(door.db(), &collection, &name)).await?;
        Ok(Response::new(v1::DropProbeResponse {}))
    }

    async fn apply_probe(
        &self,
        request: Request<v1::ApplyProbeRequest>,
    ) -> Result<Response<Self::ApplyProbeStream>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let mut request = request.into_inner();
        check_predicate(&self.context, Some(&mut request.predicate))?;
        Ok(Response::new(self.apply(door, request)))
    }
}

/// Refuses predicates that are longer than the server takes.
pub(super) fn check_predicate(
    context: &Context,
    predicate: Option<&mut String>,
) -> Result<(), ServiceError> {
    if let Some(predicate) = predicate {
        let checked = convert::predicate(&context.limits, std::mem::take(predicate))?;
        *predicate = checked.unwrap_or_default();
    }
    Ok(())
}
