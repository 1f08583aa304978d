//! `EncodeCollection`: from the columns of a collection, or from token ids that it holds.

use std::pin::Pin;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

use super::{Names, Tally, Target, Wanted, fail, selected};
use crate::encoder::Inputs;
use crate::schema::{CollectionSchema, EmbeddingSpace, ObjectId, SpaceForm, SpaceId};
use crate::service::context::{Context, blocking};
use crate::service::convert::{self, InputMap};
use crate::service::{RequestError, ServiceError};
use crate::wire::v1;

/// The progress of one job.
pub(in crate::service) type EncodeAnswers =
    Pin<Box<dyn Stream<Item = Result<v1::EncodeCollectionResponse, Status>> + Send>>;

type Sender = mpsc::Sender<Result<v1::EncodeCollectionResponse, Status>>;

/// Where inputs come from.
#[derive(Debug, Clone)]
enum Source {
    Columns(InputMap),
    /// A space of token ids that the model made.
    Tokens(SpaceId),
}

/// Everything that a job needs, checked.
struct Job {
    target: Target,
    source: Source,
    ids: Vec<ObjectId>,
}

/// Checks a request, makes the space where it is missing, and starts the job.
///
/// Nothing is made when anything about the request is wrong.
pub(in crate::service) async fn start(
    context: Context,
    request: v1::EncodeCollectionRequest,
) -> Result<EncodeAnswers, ServiceError> {
    let predicate = convert::predicate(&context.limits, request.predicate)?;
    let collection = request.collection;
    let names = Names {
        collection: collection.clone(),
        model: request.model,
        pooling: request.pooling,
        space: request.space,
        overwrite: request.overwrite,
    };
    let wanted = Wanted::find(&context, &names).await?;
    let source = match request.from_tokens.as_str() {
        "" => Source::Columns(InputMap::new(&wanted.schema, &wanted.model, request.inputs)?),
        space => Source::Tokens(token_ids(&wanted.schema, &wanted.space, space)?.id),
    };
    let ids = selected(&context, &collection, predicate, wanted.lacking).await?;
    let target = wanted.target(context, collection).await?;
    let job = Job { target, source, ids };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(job.run(sender).in_current_span());
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

/// The space of token ids of a name; they must be the model's own.
fn token_ids<'schema>(
    schema: &'schema CollectionSchema,
    wanted: &EmbeddingSpace,
    name: &str,
) -> Result<&'schema EmbeddingSpace, ServiceError> {
    let space = schema.space(name).ok_or_else(|| {
        let spaces = schema.spaces.iter().filter(|space| space.form == SpaceForm::TokenIds);
        let known: Vec<&str> = spaces.map(|space| space.name.as_str()).collect();
        RequestError::UnknownSpace {
            collection: schema.name.clone(),
            space: name.to_owned(),
            known: known.join(", "),
        }
    })?;
    if space.form != SpaceForm::TokenIds {
        return Err(RequestError::NotTokenIds { space: name.to_owned() }.into());
    }
    let mut expected = wanted.provenance.clone();
    expected.pooling.clone_from(&space.provenance.pooling);
    super::check_provenance(space, &expected)?;
    Ok(space)
}

impl Job {
    async fn run(self, sender: Sender) {
        tracing::info!(
            collection = self.target.collection,
            space = self.target.space.name,
            model = self.target.model,
            pooling = self.target.pooling,
            objects = self.ids.len(),
            "encoding a collection"
        );
        let stopping = self.target.context.stopping.clone();
        let outcome = tokio::select! {
            () = stopping.cancelled() => Err(ServiceError::Stopping),
            // A job that nobody watches would be a surprise: it ends, and what is done stays.
            () = sender.closed() => return,
            outcome = self.pages(&sender) => outcome,
        };
        if let Err(error) = outcome {
            fail(&sender, error).await;
        }
    }

    async fn pages(&self, sender: &Sender) -> Result<(), ServiceError> {
        let mut tally = Tally::default();
        // The first message tells how much there is to do, also when it is nothing.
        self.tell(sender, tally, Vec::new()).await;
        for ids in self.ids.chunks(self.target.context.limits.encode_batch.max(1)) {
            let (with_inputs, inputs) = self.inputs(ids).await?;
            tally.skipped += (ids.len() - with_inputs.len()) as u64;
            let failed = self.target.page(with_inputs, inputs, &mut tally).await?;
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

    /// Reads objects and makes their inputs; objects without any, and those deleted meanwhile, are left out.
    async fn inputs(&self, ids: &[ObjectId]) -> Result<(Vec<ObjectId>, Inputs), ServiceError> {
        let Target { context, collection, .. } = &self.target;
        let (db, collection) = (context.db.clone(), collection.clone());
        let (ids, source) = (ids.to_vec(), self.source.clone());
        blocking(move || -> Result<_, ServiceError> {
            match source {
                Source::Columns(map) => {
                    let found = db.get(&collection, &ids)?;
                    let with_payload = ids.into_iter().zip(found).filter_map(|(id, object)| {
                        let payload = map.payload(&mut object?)?;
                        Some((id, payload))
                    });
                    let (ids, payloads) = with_payload.unzip();
                    Ok((ids, Inputs::Payloads(payloads)))
                }
                Source::Tokens(space) => {
                    let found = db.tokens(&collection, space, &ids)?;
                    let there = ids.into_iter().zip(found);
                    let (ids, tokens) =
                        there.filter_map(|(id, tokens)| Some((id, tokens?))).unzip();
                    Ok((ids, Inputs::Tokens(tokens)))
                }
            }
        })
        .await
    }
}
