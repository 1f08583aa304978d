//! `EncodeInputs`: from observations that the caller sends, for objects that the collection holds.

use std::pin::Pin;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::{Names, Page, Tally, Target, Wanted, fail, failed_object};
use crate::encoder::Inputs;
use crate::schema::{CollectionSchema, ObjectId, SpaceForm};
use crate::service::context::{Context, blocking};
use crate::service::door::Door;
use crate::service::limits::at_most;
use crate::service::{RequestError, ServiceError, convert};
use crate::wire::v1::{self, encode_inputs_request::Message};

/// One answer for each batch.
pub(in crate::service) type InputAnswers =
    Pin<Box<dyn Stream<Item = Result<v1::EncodeInputsResponse, Status>> + Send>>;

type Sender = mpsc::Sender<Result<v1::EncodeInputsResponse, Status>>;

fn broken(status: Status) -> ServiceError {
    ServiceError::Stream(Box::new(status))
}

/// Inputs of a batch that are taken whatever the limit of a job's own pages is.
const BATCH_INPUTS_MIN: usize = 64;

/// A stream of batches on its way.
struct Job {
    target: Target,
    /// What the caller may see.
    door: Door,
    schema: CollectionSchema,
}

/// Reads the first message, makes the space where it is missing, and begins to encode the batches.
pub(in crate::service) async fn start(
    context: Context,
    door: Door,
    mut messages: Streaming<v1::EncodeInputsRequest>,
) -> Result<InputAnswers, ServiceError> {
    let first = messages.message().await.map_err(broken)?;
    let Some(Message::Start(start)) = first.and_then(|first| first.message) else {
        return Err(RequestError::Missing { field: "start" }.into());
    };
    door.check(&start.collection)?;
    let names = Names {
        collection: start.collection,
        model: start.model,
        pooling: start.pooling,
        space: start.space,
        overwrite: start.overwrite,
    };
    let wanted = Wanted::find(&context, &names).await?;
    let schema = wanted.schema.clone();
    let target = wanted.target(context, names).await?;
    let job = Job { target, door, schema };
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(job.run(messages, sender).in_current_span());
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

impl Job {
    async fn run(self, messages: Streaming<v1::EncodeInputsRequest>, sender: Sender) {
        let stopping = self.target.context.stopping.clone();
        let outcome = tokio::select! {
            () = stopping.cancelled() => Err(ServiceError::Stopping),
            () = sender.closed() => return,
            outcome = self.batches(messages, &sender) => outcome,
        };
        if let Err(error) = outcome {
            fail(&sender, error).await;
        }
    }

    async fn batches(
        &self,
        mut messages: Streaming<v1::EncodeInputsRequest>,
        sender: &Sender,
    ) -> Result<(), ServiceError> {
        while let Some(message) = messages.message().await.map_err(broken)? {
            let Some(Message::Batch(batch)) = message.message else {
                return Err(RequestError::Missing { field: "batch" }.into());
            };
            let limit = self.target.context.limits.encode_batch.max(BATCH_INPUTS_MIN);
            at_most("inputs of a batch", batch.inputs.len(), limit)?;
            let answer = self.batch(batch.inputs).await?;
            // Whether anybody receives it is watched by `run`.
            let _ = sender.send(Ok(answer)).await;
        }
        Ok(())
    }

    /// Encodes a batch: objects that are not there fail, those that have something in the space already are left as
    /// they are, and so is a second input for an object of the same batch.
    async fn batch(
        &self,
        inputs: Vec<v1::ObjectInput>,
    ) -> Result<v1::EncodeInputsResponse, ServiceError> {
        let mut ids: Vec<ObjectId> = Vec::with_capacity(inputs.len());
        let mut payloads = Vec::with_capacity(inputs.len());
        let mut failed = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for v1::ObjectInput { id, payload } in inputs {
            let id = match convert::object_id(&self.schema, id.clone()) {
                Ok(id) => id,
                Err(error) => {
                    failed.push(v1::FailedObject { id, reason: error.to_string() });
                    continue;
                }
            };
            match payload {
                Some(_) if !seen.insert(id.clone()) => {
                    failed.push(failed_object(id, "it is in the batch twice"));
                }
                Some(payload) => {
                    ids.push(id);
                    payloads.push(payload);
                }
                None => failed.push(failed_object(id, "it has no payload")),
            }
        }
        let has = self.has(&ids).await?;
        let mut tally = Tally::default();
        let mut wanted = (Vec::new(), Vec::new());
        for ((id, payload), has) in ids.into_iter().zip(payloads).zip(has) {
            match has {
                None => failed.push(failed_object(id, "the collection has no such object")),
                Some(true) if !self.target.overwrite => tally.skipped += 1,
                Some(_) => {
                    wanted.0.push(id);
                    wanted.1.push(payload);
                }
            }
        }
        let page = Page { ids: wanted.0, inputs: Inputs::Payloads(wanted.1), basis: None };
        let done = self.target.page(page, &mut tally).await?;
        failed.extend(done.failed.into_iter().map(Into::into));
        let Tally { encoded, skipped } = tally;
        Ok(v1::EncodeInputsResponse { encoded, skipped, failed })
    }

    /// Whether each object has something in the space; `None` for objects that are not there.
    async fn has(&self, ids: &[ObjectId]) -> Result<Vec<Option<bool>>, ServiceError> {
        let Target { collection, space, .. } = &self.target;
        let (door, collection, space) = (self.door.clone(), collection.clone(), space.clone());
        let ids = ids.to_vec();
        blocking(move || -> Result<_, ServiceError> {
            let view = door.view(&collection)?;
            let objects = view.get(&ids)?;
            let tokens = match space.form {
                SpaceForm::Vector => vec![false; ids.len()],
                _ => view.have(space.id, &ids)?,
            };
            let pairs = objects.into_iter().zip(tokens);
            let has = pairs.map(|(object, has_tokens)| {
                let (_, object) = object?;
                Some(has_tokens || object.vectors.iter().any(|(id, _)| *id == space.id))
            });
            Ok(has.collect())
        })
        .await
    }
}
