//! `MaintenanceService`: indices and embeddings made from what is stored.

use tonic::{Request, Response, Status};

use super::context::{Context, blocking};
use super::door::Door;
use super::encoding::{self, EncodeAnswers, InputAnswers};
use super::jobs::{Answers, Steps, Wanted, Whose, told};
use super::{ServiceError, convert, gate};
use crate::engine::EngineError;
use crate::wire::v1;
use crate::wire::v1::maintenance_service_server::MaintenanceService;

/// Builds indices, lists models, and runs encoding jobs.
#[derive(Clone)]
pub(super) struct Maintenance {
    context: Context,
}

impl Maintenance {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn build(
        &self,
        door: Door,
        request: v1::BuildIndexRequest,
    ) -> Result<Answers<v1::BuildIndexResponse>, ServiceError> {
        door.check(&request.collection)?;
        let schema = self.context.schema(&request.collection).await?;
        if !request.space.is_empty() && schema.space(&request.space).is_none() {
            let names: Vec<&str> = schema.spaces.iter().map(|space| space.name.as_str()).collect();
            return Err(EngineError::NoSpace {
                collection: schema.name.clone(),
                space: request.space,
                known: names.join(", "),
            }
            .into());
        }
        let step = |stage, done, total| v1::BuildIndexResponse { stage, done, total, status: None };
        Ok(told(&self.context, Whose::Everybody, step, move |steps, wanted| {
            build(door, request.collection, steps, wanted)
        }))
    }

    async fn status(
        &self,
        door: Door,
        collection: String,
    ) -> Result<v1::GetIndexStatusResponse, ServiceError> {
        let status = blocking(move || door.index_status(&collection)).await?;
        Ok(convert::index_status(&status))
    }

    /// Lists models; an encoder that does not answer is told in the reply, for the list itself is then not known.
    async fn models(&self) -> v1::ListModelsResponse {
        let listed = match self.context.encoder() {
            Ok(encoder) => encoder.model_list().await.map_err(ServiceError::from),
            Err(error) => Err(error),
        };
        match listed {
            Ok(list) => {
                for (folder, reason) in &list.broken {
                    tracing::warn!(folder, reason, "a model is not served");
                }
                let unserved = list.broken.into_iter();
                v1::ListModelsResponse {
                    metrics: list.metrics,
                    unserved: unserved
                        .map(|(id, reason)| v1::UnservedModel { id, reason })
                        .collect(),
                    models: list.models.into_iter().map(convert::model_of).collect(),
                    unavailable: String::new(),
                }
            }
            Err(error) => v1::ListModelsResponse {
                models: Vec::new(),
                metrics: Vec::new(),
                unserved: Vec::new(),
                unavailable: super::error_code::one_line(&error.to_string()),
            },
        }
    }
}

/// Runs a build, which a caller that goes away does not stop: what it has done so far is of use to everybody.
async fn build(
    door: Door,
    collection: String,
    mut steps: Steps,
    wanted: Wanted,
) -> Result<v1::BuildIndexResponse, ServiceError> {
    // A server that stops waits for no build: the next start goes on with it.
    let status = blocking(move || {
        let _turn = wanted;
        let mut report = |stage: &str, done: u64, total: u64| {
            // How far it is tells how many rows there are.
            let (done, total) = if door.is_restricted() { (0, 0) } else { (done, total) };
            steps(stage, done, total);
        };
        door.db().build_index(&collection, &mut report)?;
        door.index_status(&collection)
    })
    .await?;
    let (stage, status) = ("done".to_owned(), Some(convert::index_status(&status)));
    Ok(v1::BuildIndexResponse { stage, done: 1, total: 1, status })
}

#[tonic::async_trait]
impl MaintenanceService for Maintenance {
    type BuildIndexStream = Answers<v1::BuildIndexResponse>;
    type EncodeCollectionStream = EncodeAnswers;
    type EncodeInputsStream = InputAnswers;

    async fn build_index(
        &self,
        request: Request<v1::BuildIndexRequest>,
    ) -> Result<Response<Self::BuildIndexStream>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        Ok(Response::new(self.build(door, request.into_inner()).await?))
    }

    async fn get_index_status(
        &self,
        request: Request<v1::GetIndexStatusRequest>,
    ) -> Result<Response<v1::GetIndexStatusResponse>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let collection = self.context.targeted(request.into_inner())?.collection;
        Ok(Response::new(self.status(door, collection).await?))
    }

    async fn get_scrub(
        &self,
        _request: Request<v1::GetScrubRequest>,
    ) -> Result<Response<v1::GetScrubResponse>, Status> {
        Ok(Response::new(self.context.upkeep.told()))
    }

    async fn start_scrub(
        &self,
        _request: Request<v1::StartScrubRequest>,
    ) -> Result<Response<v1::StartScrubResponse>, Status> {
        self.context.start_scrub()?;
        Ok(Response::new(v1::StartScrubResponse {}))
    }

    async fn list_models(
        &self,
        _request: Request<v1::ListModelsRequest>,
    ) -> Result<Response<v1::ListModelsResponse>, Status> {
        Ok(Response::new(self.models().await))
    }

    async fn encode_inputs(
        &self,
        request: Request<tonic::Streaming<v1::EncodeInputsRequest>>,
    ) -> Result<Response<InputAnswers>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let context = self.context.clone();
        let answers = encoding::start_inputs(context, door, request.into_inner()).await?;
        Ok(Response::new(answers))
    }

    async fn encode_collection(
        &self,
        request: Request<v1::EncodeCollectionRequest>,
    ) -> Result<Response<EncodeAnswers>, Status> {
        let door = self.context.door(gate::grant(&request)?);
        let answers = encoding::start(self.context.clone(), door, request.into_inner()).await?;
        Ok(Response::new(answers))
    }
}
