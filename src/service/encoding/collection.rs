//! `EncodeCollection`: from the columns of a collection, or from token ids that it holds.

use std::pin::Pin;

use futures::Stream;
use tokio::sync::{OwnedRwLockReadGuard, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

use super::{Names, Page, Source, Tally, Target, Wanted, Workers, fail, selected};
use crate::schema::{AtIngest, CollectionSchema, EmbeddingSpace, ObjectId, SpaceForm};
use crate::service::context::{Context, blocking};
use crate::service::convert::{self, InputMap};
use crate::service::door::Door;
use crate::service::telemetry::watched;
use crate::service::{RequestError, ServiceError};
use crate::wire::v1;

/// The progress of one job.
pub(in crate::service) type EncodeAnswers =
    Pin<Box<dyn Stream<Item = Result<v1::EncodeCollectionResponse, Status>> + Send>>;

type Sender = mpsc::Sender<Result<v1::EncodeCollectionResponse, Status>>;

/// Everything that a job needs, checked.
struct Job {
    target: Target,
    /// What the caller may see.
    door: Door,
    source: Source,
    ids: Vec<ObjectId>,
    /// Keeps the encoding at ingest of the same space waiting, which would do the same work.
    _turn: OwnedRwLockReadGuard<()>,
}

/// How often a page is read again because its objects were written again while they were encoded.
const READS_MAX: usize = 8;

/// Checks a request, makes the space where it is missing, and starts the job.
///
/// Nothing is made when anything about the request is wrong.
pub(in crate::service) async fn start(
    context: Context,
    door: Door,
    request: v1::EncodeCollectionRequest,
) -> Result<EncodeAnswers, ServiceError> {
    door.check(&request.collection)?;
    let predicate = convert::predicate(&context.limits, request.predicate)?;
    let collection = request.collection;
    let names = Names {
        collection: collection.clone(),
        model: request.model,
        pooling: request.pooling,
        space: request.space,
        overwrite: request.overwrite,
    };
    if request.encode_at_ingest {
        check_at_ingest(predicate.as_deref(), &request.from_tokens)?;
    }
    let wanted = Wanted::find(&context, &names).await?;
    let (source, at_ingest) = match request.from_tokens.as_str() {
        "" => {
            let map = InputMap::new(&wanted.schema, &wanted.model, request.inputs)?;
            let at_ingest = AtIngest { inputs: map.columns().clone() };
            (Source::Columns(map), request.encode_at_ingest.then_some(at_ingest))
        }
        space => (Source::Tokens(token_ids(&wanted.schema, &wanted.space, space)?.id), None),
    };
    let turn = context.at_ingest.turn(&collection, &wanted.space.name).read_owned().await;
    let ids = selected(&context, &door, &collection, predicate, wanted.lacking).await?;
    let target = wanted.target(context, names).await?;
    if let Some(at_ingest) = at_ingest {
        fill_at_ingest(&target, at_ingest).await?;
    }
    let job = Job { target, door, source, ids, _turn: turn };
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(job.run(sender).in_current_span());
    Ok(Box::pin(watched(ReceiverStream::new(receiver))))
}

fn check_at_ingest(predicate: Option<&str>, from_tokens: &str) -> Result<(), RequestError> {
    let what = match (predicate, from_tokens) {
        (Some(_), _) => "the condition",
        (None, "") => return Ok(()),
        (None, _) => "the space of token ids",
    };
    Err(RequestError::AtIngestOf { what })
}

/// From now on the target's space is filled as objects arrive.
async fn fill_at_ingest(target: &Target, at_ingest: AtIngest) -> Result<(), ServiceError> {
    let Target { context, collection, space, .. } = target;
    let (db, name, space) = (context.db.clone(), collection.clone(), space.name.clone());
    Workers::changing(context, collection, move || {
        db.set_at_ingest(&name, &space, Some(at_ingest))?;
        Ok(())
    })
    .await
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
            let failed = self.page(ids.to_vec(), &mut tally).await?;
            self.tell(sender, tally, failed).await;
        }
        Ok(())
    }

    /// Encodes some objects, those again that are written again meanwhile.
    async fn page(
        &self,
        mut ids: Vec<ObjectId>,
        tally: &mut Tally,
    ) -> Result<Vec<v1::FailedObject>, ServiceError> {
        let mut failed = Vec::new();
        for _ in 0..READS_MAX {
            let wanted = ids.len();
            let page = self.read(ids).await?;
            // Without inputs, or deleted meanwhile.
            tally.skipped += (wanted - page.ids.len()) as u64;
            let done = self.target.page(page, tally).await?;
            failed.extend(done.failed.into_iter().map(v1::FailedObject::from));
            ids = done.rewritten;
            if ids.is_empty() {
                return Ok(failed);
            }
        }
        let reason = "it was written again each time that it was encoded; encode it once more";
        failed.extend(ids.into_iter().map(|id| super::failed_object(id, reason)));
        Ok(failed)
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

    async fn read(&self, ids: Vec<ObjectId>) -> Result<Page, ServiceError> {
        let (door, collection) = (self.door.clone(), self.target.collection.clone());
        let source = self.source.clone();
        blocking(move || Page::read(&door, &collection, &source, ids)).await
    }
}
