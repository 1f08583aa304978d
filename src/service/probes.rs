//! `ProbeService`: heads on embeddings.

use tonic::{Request, Response, Status};

use super::ServiceError;
use super::context::{Context, blocking};
use super::convert;
use super::door::Door;
use super::gate;
use super::jobs::{self, Answers};
use crate::learn::Progress;
use crate::probes::{self, Tools};
use crate::wire::v1;
use crate::wire::v1::probe_service_server::ProbeService;

/// Predictions in one message.
const PREDICTIONS_AT_ONCE: usize = 4_096;

/// Fits, keeps, lists, applies and drops probes.
#[derive(Clone)]
pub(super) struct Probes {
    context: Context,
}

impl Probes {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn tools(&self) -> Tools {
        Tools::new(self.context.db.clone(), self.context.encoder().ok().cloned())
    }

    fn fit(&self, door: Door, request: v1::FitProbeRequest) -> Answers<v1::FitProbeResponse> {
        let tools = self.tools();
        let work = move |listener: &jobs::Listener<v1::FitProbeResponse>| {
            let tell = |stage: &str, done: u64, total: u64| {
                let stage = stage.to_owned();
                listener.step(v1::FitProbeResponse { stage, done, total, ..Default::default() });
            };
            let progress = Progress::new(&tell, listener.flag());
            let view = door.view(&request.collection)?;
            Ok(probes::fit(&tools, &view, request, listener.stop(), progress)?)
        };
        jobs::start(&self.context, work, last_messages)
    }

    fn apply(&self, door: Door, request: v1::ApplyProbeRequest) -> Answers<v1::ApplyProbeResponse> {
        let (tools, context) = (self.tools(), self.context.clone());
        let work = move |listener: &jobs::Listener<v1::ApplyProbeResponse>| {
            let mut tell = |message| listener.tell(message);
            let view = door.view(&request.collection)?;
            let (stop, flag) = (listener.stop(), listener.flag());
            let applied = probes::apply(&tools, &view, &request, stop, flag, &mut tell);
            // A column that was written may be what a space is filled from.
            context.at_ingest.wake(&request.collection);
            Ok(applied?)
        };
        jobs::start(&self.context, work, |()| None)
    }
}

/// The predictions of a fit, and the probe at the end.
fn last_messages(fitted: probes::Fitted) -> impl Iterator<Item = v1::FitProbeResponse> + Send {
    let probes::Fitted { probe, predictions } = fitted;
    let mut predictions = predictions.into_iter();
    let some = move || {
        let some: Vec<v1::Prediction> = predictions.by_ref().take(PREDICTIONS_AT_ONCE).collect();
        (!some.is_empty())
            .then(|| v1::FitProbeResponse { predictions: some, ..v1::FitProbeResponse::default() })
    };
    let last = v1::FitProbeResponse {
        stage: "done".to_owned(),
        done: 1,
        total: 1,
        probe: Some(probe),
        ..v1::FitProbeResponse::default()
    };
    std::iter::from_fn(some).chain(std::iter::once(last))
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
        let v1::ListProbesRequest { collection, after, .. } =
            self.context.targeted(request.into_inner())?;
        door.check(&collection)?;
        let page = blocking(move || probes::list(door.db(), &collection, &after)).await?;
        let probes::Page { items: probes, next, .. } = page;
        Ok(Response::new(v1::ListProbesResponse { probes, next }))
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
