//! Jobs that make the vectors, or the tokens, of a space.
//!
//! A job is a loop over pages of objects: read or receive, encode, write. Every page is durable when its progress is told,
//! and a job that is begun again goes on where the last one ended, because it takes the objects that lack something in
//! the space.
//!
//! What is written is what an object's inputs make when it is written: where an object was written again since it was read,
//! or has been given something in the space by somebody else, what was made of it is thrown away.

mod at_ingest;
mod collection;
mod inputs;
mod page;

use std::time::Duration;

use tonic::Status;

use super::admission::{Cost, Work};
use super::context::{Context, blocking, in_turn};
use super::convert;
use super::door::Door;
use super::error_code::one_line;
use super::search::StopWhenDropped;
use super::{RequestError, ServiceError};
use crate::encoder::{Encoded, EncoderError, Inputs, Made, ModelInfo};
use crate::engine::{Standing, Write, WriteMode, WriteOutcome};
use crate::query::{self, StopFlag};
use crate::schema::{CollectionSchema, EmbeddingSpace, ObjectId, Provenance, SpaceId};
use crate::wire::v1;

use page::{Page, Source, Verdict};

pub(super) use at_ingest::{Workers, declared};
pub(super) use collection::{EncodeAnswers, start};
pub(super) use inputs::{InputAnswers, start as start_inputs};

/// Wait before the first repetition of a call that the encoder did not answer; doubled for each further one.
const RETRY_FIRST: Duration = Duration::from_millis(250);

/// Longest wait between repetitions.
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// What a job makes, and where it puts it.
struct Target {
    context: Context,
    collection: String,
    model: String,
    pooling: String,
    space: EmbeddingSpace,
    /// Whether objects that have something in the space are given another.
    overwrite: bool,
    /// How often the encoder is asked again when it is not there.
    retries_max: u32,
}

/// What is done so far.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    encoded: u64,
    skipped: u64,
}

/// What became of a page.
#[derive(Debug, Default)]
struct Done {
    failed: Vec<Failure>,
    /// Objects that were written again since they were read.
    rewritten: Vec<ObjectId>,
    /// The commit of what was made; `None` when nothing was written.
    version: Option<u64>,
}

/// An object for which nothing could be made.
#[derive(Debug)]
struct Failure {
    id: ObjectId,
    reason: String,
}

impl From<Failure> for v1::FailedObject {
    fn from(failure: Failure) -> Self {
        failed_object(failure.id, &failure.reason)
    }
}

/// What a request names, found and checked; nothing has been made for it yet.
struct Wanted {
    schema: CollectionSchema,
    model: ModelInfo,
    pooling: String,
    space: EmbeddingSpace,
    /// The space where it exists, unless what it holds is to be made anew.
    lacking: Option<SpaceId>,
}

/// Names of a request.
struct Names {
    collection: String,
    model: String,
    pooling: String,
    space: String,
    overwrite: bool,
}

impl Wanted {
    async fn find(context: &Context, names: &Names) -> Result<Self, ServiceError> {
        let schema = context.schema(&names.collection).await?;
        let model = context.encoder()?.model(&names.model).await?;
        let name = if names.space.is_empty() { model.id.clone() } else { names.space.clone() };
        let existing = schema.space(&name);
        // A space that exists says which of the model's outputs it holds.
        let pooling = match (names.pooling.as_str(), existing) {
            ("", Some(existing)) if existing.provenance.encoder == model.id => {
                existing.provenance.pooling.clone()
            }
            (given, _) => given.to_owned(),
        };
        let output = model.output(&pooling)?.clone();
        let provenance = model.provenance_of(&output);
        if let Some(existing) = existing {
            check_provenance(existing, &provenance)?;
        }
        let space = EmbeddingSpace {
            at_ingest: None,
            id: SpaceId(0),
            name,
            modality: model.modality.clone(),
            form: output.form,
            dimension: output.dimension,
            metric: existing.map_or(model.metric, |existing| existing.metric),
            provenance,
            shared: None,
        };
        let lacking = existing.filter(|_| !names.overwrite).map(|existing| existing.id);
        Ok(Self { pooling: output.pooling, model, space, lacking, schema })
    }

    /// Makes the space where it is missing.
    async fn target(self, context: Context, names: Names) -> Result<Target, ServiceError> {
        let Self { model, pooling, space, .. } = self;
        let Names { collection, overwrite, .. } = names;
        let (db, named, name) = (context.db.clone(), collection.clone(), space.name.clone());
        let info = blocking(move || db.add_space(&named, space)).await?;
        let made = info.schema.space(&name).cloned();
        let space = made.ok_or_else(|| RequestError::UnknownSpace {
            collection: info.schema.name,
            space: name,
            known: String::new(),
        })?;
        let retries_max = context.limits.encode_retries_max;
        Ok(Target { context, collection, model: model.id, pooling, space, overwrite, retries_max })
    }
}

/// Objects that satisfy a predicate and lack something in a space.
async fn selected(
    context: &Context,
    door: &Door,
    collection: &str,
    predicate: Option<String>,
    lacking: Option<SpaceId>,
) -> Result<Vec<ObjectId>, ServiceError> {
    let price = door.view_at_hand(collection)?;
    let price = price.map(|view| query::bound_of_count(&view, false, predicate.is_some()));
    let cost = Cost { is_at_hand: false, ..Cost::of(Work::Count, price) };
    let turn = context.search_turn(cost).await?;
    let (door, name) = (door.clone(), collection.to_owned());
    let stop = StopFlag::default();
    let _stop = StopWhenDropped(stop.clone());
    in_turn(turn, move |_| -> Result<Vec<ObjectId>, ServiceError> {
        let view = door.view(&name)?;
        Ok(query::select(&view, None, predicate.as_deref(), lacking, &stop)?)
    })
    .await
}

/// Vectors of another model than the one that made a space are refused.
fn check_provenance(space: &EmbeddingSpace, given: &Provenance) -> Result<(), ServiceError> {
    if *given == space.provenance {
        return Ok(());
    }
    Err(ServiceError::ModelChanged {
        space: space.name.clone(),
        expected: space.provenance.to_string(),
        given: given.to_string(),
    })
}

impl Target {
    /// Encodes the inputs of objects and stores what was made; adds to the tally.
    async fn page(&self, page: Page, tally: &mut Tally) -> Result<Done, ServiceError> {
        let Page { ids, inputs, basis } = page;
        if inputs.is_empty() {
            return Ok(Done::default());
        }
        let expected = inputs.len();
        let encoded = self.encode(inputs).await?;
        check_provenance(&self.space, &encoded.provenance)?;
        if encoded.results.len() != expected {
            let given = encoded.results.len();
            return Err(ServiceError::EncoderMiscounted { expected, given });
        }
        let mut done = Done::default();
        let mut writes = Vec::with_capacity(expected);
        for (place, (id, result)) in ids.into_iter().zip(encoded.results).enumerate() {
            match result {
                Ok(made) => writes.push((place, self.write(id, made))),
                Err(reason) => done.failed.push(Failure { id, reason }),
            }
        }
        self.store(writes, basis, tally, &mut done).await?;
        Ok(done)
    }

    fn write(&self, id: ObjectId, made: Made) -> Write {
        match made {
            Made::Vector(vector) => {
                Write::SetVectors { id, vectors: vec![(self.space.id, vector)] }
            }
            Made::Tokens(tokens) => Write::SetTokens { id, tokens: vec![(self.space.id, tokens)] },
        }
    }

    /// Calls the encoder, again and again for a while when it is not there.
    async fn encode(&self, inputs: Inputs) -> Result<Encoded, ServiceError> {
        let encoder = self.context.encoder()?;
        let mut wait = RETRY_FIRST;
        let mut retries = 0;
        loop {
            match encoder.encode(&self.model, &self.pooling, inputs.clone()).await {
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
        error.is_retryable() && retries < self.retries_max
    }

    /// Stores what was made of the objects at some places of a page, where it is still wanted.
    async fn store(
        &self,
        writes: Vec<(usize, Write)>,
        basis: Option<page::Basis>,
        tally: &mut Tally,
        done: &mut Done,
    ) -> Result<(), ServiceError> {
        if writes.is_empty() {
            return Ok(());
        }
        let (db, collection) = (self.context.db.clone(), self.collection.clone());
        let (space, overwrite) = (self.space.clone(), self.overwrite);
        let (report, written, verdicts) = blocking(move || -> Result<_, ServiceError> {
            let (mut written, mut verdicts) = (Vec::new(), Vec::new());
            let make = |standing: &Standing<'_>| -> Result<Vec<Write>, ServiceError> {
                // A collection of the same name may have been made since the job began, with other spaces.
                let found = standing.schema().space_by_id(space.id);
                if !found.is_some_and(|found| found.is_still(&space)) {
                    return Err(ServiceError::SpaceGone {
                        collection: collection.clone(),
                        space: space.name.clone(),
                    });
                }
                let (places, writes): (Vec<usize>, Vec<Write>) = writes.into_iter().unzip();
                let ids: Vec<ObjectId> = writes.iter().map(|write| write.id().clone()).collect();
                verdicts =
                    page::verdicts(standing, space.id, overwrite, basis.as_ref(), &places, &ids)?;
                let judged = writes.into_iter().zip(ids).zip(&verdicts);
                let wanted = judged.filter(|(_, (_, verdict))| *verdict == Verdict::Wanted);
                let (writes, ids) = wanted.map(|(pair, _)| pair).unzip();
                written = ids;
                Ok(writes)
            };
            let report = db.write_made(&collection, WriteMode::Logged, make)?;
            Ok((report, written, verdicts))
        })
        .await?;
        for (id, verdict) in verdicts {
            match verdict {
                Verdict::Wanted => {}
                Verdict::Has => tally.skipped += 1,
                Verdict::Rewritten => done.rewritten.push(id),
            }
        }
        let encoded = tally.encoded;
        for (id, outcome) in written.into_iter().zip(report.outcomes) {
            match outcome {
                WriteOutcome::VectorsSet
                | WriteOutcome::ColumnsSet
                | WriteOutcome::Inserted
                | WriteOutcome::Replaced => {
                    tally.encoded += 1;
                }
                WriteOutcome::Absent | WriteOutcome::Deleted => tally.skipped += 1,
                WriteOutcome::Refused(reason) => done.failed.push(Failure { id, reason }),
            }
        }
        // Without a change there is no commit, and the version is that of somebody else's.
        done.version = (tally.encoded > encoded).then_some(report.version);
        Ok(())
    }
}

fn failed_object(id: ObjectId, reason: &str) -> v1::FailedObject {
    v1::FailedObject { id: Some(convert::object_id_of(id)), reason: one_line(reason) }
}

/// Sends an error as the last message of a stream.
async fn fail<Message>(
    sender: &tokio::sync::mpsc::Sender<Result<Message, Status>>,
    error: ServiceError,
) {
    let _receiver_gone = sender.send(Err(error.into())).await;
}
