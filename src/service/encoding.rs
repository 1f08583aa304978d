//! `EncodeCollection`: makes the vectors of a space from the columns of a collection.
//!
//! A job is a loop over pages of objects: read, encode, write. Every page is durable when its progress is told,
//! and a job that is begun again goes on where the last one ended, because it takes the objects that lack a vector.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

use super::context::{Context, blocking};
use super::convert::{self, InputMap};
use super::error_code::one_line;
use super::search::StopWhenDropped;
use super::{RequestError, ServiceError};
use crate::encoder::{Encoded, EncoderError, Inputs, Made, ModelInfo};
use crate::engine::{Write, WriteMode, WriteOutcome};
use crate::query::{self, StopFlag};
use crate::schema::{CollectionSchema, EmbeddingSpace, ObjectId, Provenance, SpaceForm, SpaceId};
use crate::wire::v1;

/// Wait before the first repetition of a call that the encoder did not answer; doubled for each further one.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// Longest wait between repetitions.
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// The progress of one job.
pub(super) type EncodeAnswers =
    Pin<Box<dyn Stream<Item = Result<v1::EncodeCollectionResponse, Status>> + Send>>;

type Sender = mpsc::Sender<Result<v1::EncodeCollectionResponse, Status>>;

/// Everything that a job needs, checked.
struct Job {
    context: Context,
    collection: String,
    model: String,
    space: EmbeddingSpace,
    inputs: InputMap,
    ids: Vec<ObjectId>,
}

/// What is done so far.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    encoded: u64,
    skipped: u64,
}

/// Checks a request, makes the space where it is missing, and starts the job.
///
/// Nothing is made when anything about the request is wrong.
pub(super) async fn start(
    context: Context,
    request: v1::EncodeCollectionRequest,
) -> Result<EncodeAnswers, ServiceError> {
    let collection = request.collection;
    let predicate = convert::predicate(&context.limits, request.predicate)?;
    let schema = context.schema(&collection).await?;
    let model = context.encoder()?.model(&request.model).await?;
    let inputs = InputMap::new(&schema, &model, request.inputs)?;
    let name = if request.space.is_empty() { model.id.clone() } else { request.space };
    let space = declared_space(&schema, &model, name)?;
    let lacking = match schema.space(&space.name) {
        Some(existing) if !request.overwrite => Some(existing.id),
        _ => None,
    };
    let ids = selected(&context, &collection, predicate, lacking).await?;
    let space = ensured_space(&context, &collection, space).await?;
    let job = Job { context, collection, model: model.id, space, inputs, ids };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(job.run(sender).in_current_span());
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// The space as the model makes it. One of that name with vectors of another model is refused.
fn declared_space(
    schema: &CollectionSchema,
    model: &ModelInfo,
    name: String,
) -> Result<EmbeddingSpace, ServiceError> {
    let existing = schema.space(&name);
    if let Some(existing) = existing
        && existing.provenance != model.provenance
    {
        return Err(ServiceError::ModelChanged {
            space: existing.name.clone(),
            expected: existing.provenance.to_string(),
            given: model.provenance.to_string(),
        });
    }
    Ok(EmbeddingSpace {
        id: SpaceId(0),
        name,
        modality: model.modality.clone(),
        form: SpaceForm::default(),
        dimension: model.dimension,
        metric: existing.map_or(model.metric, |existing| existing.metric),
        provenance: model.provenance.clone(),
    })
}

async fn selected(
    context: &Context,
    collection: &str,
    predicate: Option<String>,
    lacking: Option<SpaceId>,
) -> Result<Vec<ObjectId>, ServiceError> {
    let turn = context.search_turn().await?;
    let (db, name) = (context.db.clone(), collection.to_owned());
    let stop = StopFlag::default();
    let _stop = StopWhenDropped(stop.clone());
    blocking(move || -> Result<Vec<ObjectId>, ServiceError> {
        let _turn = turn;
        let view = db.view(&name)?;
        Ok(query::select(&view, None, predicate.as_deref(), lacking, &stop)?)
    })
    .await
}

async fn ensured_space(
    context: &Context,
    collection: &str,
    space: EmbeddingSpace,
) -> Result<EmbeddingSpace, ServiceError> {
    let (db, collection, name) = (context.db.clone(), collection.to_owned(), space.name.clone());
    let info = blocking(move || db.add_space(&collection, space)).await?;
    let made = info.schema.space(&name).cloned();
    Ok(made.ok_or_else(|| RequestError::UnknownSpace {
        collection: info.schema.name,
        space: name,
        known: String::new(),
    })?)
}

impl Job {
    async fn run(self, sender: Sender) {
        tracing::info!(
            collection = self.collection,
            space = self.space.name,
            model = self.model,
            objects = self.ids.len(),
            "encoding a collection"
        );
        let stopping = self.context.stopping.clone();
        let outcome = tokio::select! {
            () = stopping.cancelled() => Err(ServiceError::Stopping),
            // A job that nobody watches would be a surprise: it ends, and what is done stays.
            () = sender.closed() => return,
            outcome = self.pages(&sender) => outcome,
        };
        if let Err(error) = outcome {
            let _ = sender.send(Err(error.into())).await;
        }
    }

    async fn pages(&self, sender: &Sender) -> Result<(), ServiceError> {
        let mut tally = Tally::default();
        // The first message tells how much there is to do, also when it is nothing.
        self.tell(sender, tally, Vec::new()).await;
        for ids in self.ids.chunks(self.context.limits.encode_batch.max(1)) {
            let failed = self.page(ids, &mut tally).await?;
            self.tell(sender, tally, failed).await;
        }
        Ok(())
    }

    async fn tell(&self, sender: &Sender, tally: Tally, failed: Vec<v1::FailedObject>) {
        let progress = v1::EncodeCollectionResponse {
            total: self.ids.len() as u64,
            encoded: tally.encoded,
            skipped: tally.skipped,
            failed,
        };
        // Whether anybody receives it is watched by `run`.
        let _ = sender.send(Ok(progress)).await;
    }

    /// Encodes a page of objects and stores their vectors; returns the objects that failed.
    async fn page(
        &self,
        ids: &[ObjectId],
        tally: &mut Tally,
    ) -> Result<Vec<v1::FailedObject>, ServiceError> {
        let (with_inputs, payloads) = self.payloads(ids).await?;
        tally.skipped += (ids.len() - with_inputs.len()) as u64;
        if payloads.is_empty() {
            return Ok(Vec::new());
        }
        let expected = payloads.len();
        let encoded = self.encode(payloads).await?;
        self.check_provenance(&encoded.provenance)?;
        if encoded.results.len() != expected {
            let given = encoded.results.len();
            return Err(ServiceError::EncoderMiscounted { expected, given });
        }
        let mut failed = Vec::new();
        let mut writes = Vec::with_capacity(expected);
        let mut written = Vec::with_capacity(expected);
        for (id, result) in with_inputs.into_iter().zip(encoded.results) {
            match result.and_then(Made::into_vector) {
                Ok(vector) => {
                    let vectors = vec![(self.space.id, vector)];
                    written.push(id.clone());
                    writes.push(Write::SetVectors { id, vectors });
                }
                Err(reason) => failed.push(failed_object(id, &reason.to_string())),
            }
        }
        self.store(writes, written, tally, &mut failed).await?;
        Ok(failed)
    }

    /// Reads objects and makes their payloads; objects without inputs, and those deleted meanwhile, are left out.
    async fn payloads(
        &self,
        ids: &[ObjectId],
    ) -> Result<(Vec<ObjectId>, Vec<v1::Payload>), ServiceError> {
        let (db, collection) = (self.context.db.clone(), self.collection.clone());
        let (ids, inputs) = (ids.to_vec(), self.inputs.clone());
        blocking(move || -> Result<_, ServiceError> {
            let found = db.get(&collection, &ids)?;
            let with_payload = ids.into_iter().zip(found).filter_map(|(id, object)| {
                let payload = inputs.payload(&mut object?)?;
                Some((id, payload))
            });
            Ok(with_payload.unzip())
        })
        .await
    }

    /// Calls the encoder, again and again for a while when it is not there.
    async fn encode(&self, payloads: Vec<v1::Payload>) -> Result<Encoded, ServiceError> {
        let encoder = self.context.encoder()?;
        let mut wait = RETRY_FIRST;
        let mut retries = 0;
        loop {
            match encoder.encode(&self.model, "", Inputs::Payloads(payloads.clone())).await {
                Ok(encoded) => return Ok(encoded),
                Err(error) if !self.may_retry(&error, retries) => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%error, retries, "the encoder did not answer; trying again");
                }
            }
            tokio::time::sleep(wait).await;
            retries += 1;
            wait = (wait * 2).min(RETRY_LONGEST);
        }
    }

    fn may_retry(&self, error: &EncoderError, retries: u32) -> bool {
        error.is_retryable() && retries < self.context.limits.encode_retries_max
    }

    fn check_provenance(&self, given: &Provenance) -> Result<(), ServiceError> {
        if *given == self.space.provenance {
            return Ok(());
        }
        Err(ServiceError::ModelChanged {
            space: self.space.name.clone(),
            expected: self.space.provenance.to_string(),
            given: given.to_string(),
        })
    }

    async fn store(
        &self,
        writes: Vec<Write>,
        ids: Vec<ObjectId>,
        tally: &mut Tally,
        failed: &mut Vec<v1::FailedObject>,
    ) -> Result<(), ServiceError> {
        if writes.is_empty() {
            return Ok(());
        }
        let (db, collection) = (self.context.db.clone(), self.collection.clone());
        let report = blocking(move || db.write(&collection, WriteMode::Logged, writes)).await?;
        for (id, outcome) in ids.into_iter().zip(report.outcomes) {
            match outcome {
                WriteOutcome::VectorsSet | WriteOutcome::Inserted | WriteOutcome::Replaced => {
                    tally.encoded += 1;
                }
                WriteOutcome::Absent | WriteOutcome::Deleted => tally.skipped += 1,
                WriteOutcome::Refused(reason) => failed.push(failed_object(id, &reason)),
            }
        }
        Ok(())
    }
}

fn failed_object(id: ObjectId, reason: &str) -> v1::FailedObject {
    v1::FailedObject { id: Some(convert::object_id_of(id)), reason: one_line(reason) }
}
