//! `Ingest`: a stream of batches in, one answer for each out, in order.
//!
//! Three stages run side by side: the next batch is read and decoded while the one before it is written and the
//! answer before that is on its way. A batch takes a place in a small window when it is read and gives it back
//! when its answer leaves the server, so a client that does not read answers is not read from either.
//!
//! Batches of a bulk stream that wait for their turn are written together: one commit, and one wait for the disk, for
//! all of them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::{Stream, StreamExt};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::Instrument;

use super::context::{Context, blocking, turn};
use super::convert::{self, GivenRow};
use super::door::Door;
use super::error_code::one_line;
use super::limits::{Limits, at_most};
use super::telemetry::watched;
use super::{RequestError, ServiceError};
use crate::access::Role;
use crate::engine::{Write, WriteMode, WriteOutcome, WriteReport};
use crate::files::{self, DecodedBlock, IpcLimits, ObjectBlock};
use crate::schema::{
    CollectionSchema, EmbeddingSpace, Object, ObjectId, Provenance, Rows, SpaceId,
};
use crate::wire::v1;
use crate::wire::v1::ingest_request::Message;

/// The answers of one ingest stream.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<v1::IngestResponse, Status>> + Send>>;

/// The messages of one ingest stream, wherever they come from.
pub(super) type Requests = Pin<Box<dyn Stream<Item = Result<v1::IngestRequest, Status>> + Send>>;

/// Bytes of waiting batches from which a commit takes no more of them.
const COMMIT_BYTES: usize = 128 << 20;

/// What the first message said.
#[derive(Debug, Clone)]
struct Target {
    /// What the caller may see and write over.
    door: Door,
    collection: String,
    mode: WriteMode,
    /// Declared provenance of the vectors, by lower-case space name.
    provenance: HashMap<String, Provenance>,
}

impl Target {
    /// The same after a new decision on the call: a stream may go on for days, and what was taken from its caller meanwhile,
    /// or from the collection's name, holds for the next batch.
    fn renewed(&self, context: &Context) -> Result<Self, ServiceError> {
        let door = self.door.renewed(&context.registry, Role::Ingest, &self.collection)?;
        Ok(Self { door, ..self.clone() })
    }

    /// Refuses vectors and tokens for a space of an encoder that were not said to come from it.
    fn check_provenance(
        &self,
        schema: &CollectionSchema,
        object: &Object,
        tokens: &[(SpaceId, v1::TokenSequence)],
    ) -> Result<(), String> {
        let vectors = object.vectors.iter().map(|(id, _)| id);
        let filled = vectors.chain(tokens.iter().map(|(id, _)| id));
        let mut spaces = filled.filter_map(|id| schema.space_by_id(*id));
        match spaces.find(|space| !self.may_fill(space)) {
            None => Ok(()),
            Some(space) => Err(format!(
                "space `{}` holds {} of {}; encode the objects, use another space, or declare this provenance",
                space.name,
                space.form.plural(),
                space.provenance
            )),
        }
    }

    fn may_fill(&self, space: &EmbeddingSpace) -> bool {
        space.provenance.is_external()
            || self.provenance.get(&space.name.to_lowercase()) == Some(&space.provenance)
    }

    /// Whether every row of a block would pass [`Target::check_provenance`], told by its columns.
    fn may_take(&self, schema: &CollectionSchema, block: &ObjectBlock) -> bool {
        let mut spaces = block.spaces().iter().filter_map(|id| schema.space_by_id(*id));
        spaces.all(|space| self.may_fill(space))
    }
}

/// A batch whose rows are checked.
struct Prepared {
    sequence: u64,
    /// Rows in their columns, with their numbers in the batch. A batch has these or writes, not both.
    blocks: Vec<(ObjectBlock, Vec<u64>)>,
    writes: Vec<Write>,
    /// For each write its row in the batch and its id.
    rows: Vec<(u64, ObjectId)>,
    refused: Vec<v1::RefusedRow>,
}

/// A batch on its way through the stages.
struct Held {
    target: Target,
    batch: Prepared,
    /// Bytes of its message.
    bytes: u64,
    /// Its place in the stream's window.
    place: OwnedSemaphorePermit,
    /// Its share of what the whole server holds.
    share: OwnedSemaphorePermit,
}

/// An answer, with the place in the window that is free once it is sent.
struct Answered {
    reply: Result<v1::IngestResponse, ServiceError>,
    _place: Option<OwnedSemaphorePermit>,
}

/// Starts a session and returns its answers.
pub(super) fn run(context: Context, door: Door, inbound: Requests) -> Answers {
    let (answers, outbound) = mpsc::channel(context.limits.ingest_window.max(1));
    tokio::spawn(session(context, door, inbound, answers).in_current_span());
    Box::pin(watched(ReceiverStream::new(outbound).map(|answered: Answered| Ok(answered.reply?))))
}

async fn session(context: Context, door: Door, inbound: Requests, answers: mpsc::Sender<Answered>) {
    let (prepared, to_write) = mpsc::channel(context.limits.ingest_window.max(1));
    let written_out = CancellationToken::new();
    let reading = read(&context, door, inbound, prepared, written_out.clone());
    let writing = async {
        write_all(&context, to_write, answers).await;
        written_out.cancel();
    };
    tokio::join!(reading, writing);
}

/// Reads until the stream ends, fails, or nothing more will be written. A failure takes its place in the queue,
/// so that the batches before it are still written and answered.
async fn read(
    context: &Context,
    door: Door,
    inbound: Requests,
    prepared: mpsc::Sender<Result<Held, ServiceError>>,
    written_out: CancellationToken,
) {
    let outcome = tokio::select! {
        () = written_out.cancelled() => Ok(()),
        () = context.stop.streams.cancelled() => Err(ServiceError::Stopping),
        outcome = read_batches(context, door, inbound, &prepared) => outcome,
    };
    if let Err(error) = outcome {
        // Nobody receives it when the writing stage has ended, which has then told its own error.
        let _ = prepared.send(Err(error)).await;
    }
}

async fn read_batches(
    context: &Context,
    door: Door,
    mut inbound: Requests,
    prepared: &mpsc::Sender<Result<Held, ServiceError>>,
) -> Result<(), ServiceError> {
    let Some(first) = next(&mut inbound).await? else { return Ok(()) };
    let Message::Open(open) = first else { return Err(RequestError::NotOpened.into()) };
    let mut target = open_target(context, door, open).await?;
    let window = Arc::new(Semaphore::new(context.limits.ingest_window.max(1)));
    loop {
        let place = turn(&window).await?;
        let Some(message) = next(&mut inbound).await? else { return Ok(()) };
        let Message::Batch(batch) = message else { return Err(RequestError::OpenedTwice.into()) };
        target = target.renewed(context)?;
        let bytes = batch.encoded_len() as u64;
        let share = context.batch_turn().await?;
        let (about, limits) = (target.clone(), Arc::clone(&context.limits));
        let batch = blocking(move || prepare(&limits, &about, batch)).await?;
        let held = Held { target: target.clone(), batch, bytes, place, share };
        if prepared.send(Ok(held)).await.is_err() {
            return Ok(());
        }
    }
}

async fn next(inbound: &mut Requests) -> Result<Option<Message>, ServiceError> {
    match inbound.next().await {
        None => Ok(None),
        Some(Ok(request)) => match request.message {
            Some(message) => Ok(Some(message)),
            None => Err(RequestError::Missing { field: "message" }.into()),
        },
        Some(Err(status)) => Err(ServiceError::Stream(Box::new(status))),
    }
}

async fn open_target(
    context: &Context,
    door: Door,
    open: v1::IngestOpen,
) -> Result<Target, ServiceError> {
    door.check(&open.collection)?;
    let mode = match v1::IngestMode::try_from(open.mode) {
        Ok(v1::IngestMode::Unspecified) => WriteMode::Logged,
        Ok(v1::IngestMode::Bulk) => WriteMode::Bulk,
        Err(_) => {
            let unknown = RequestError::UnknownEnum { field: "open.mode", value: open.mode };
            return Err(unknown.into());
        }
    };
    context.schema(&open.collection).await?;
    let door = door.pinned(&open.collection)?;
    let declared = open.provenance.into_iter();
    let provenance =
        declared.map(|(space, given)| (space.to_lowercase(), convert::provenance(given))).collect();
    Ok(Target { door, collection: open.collection, mode, provenance })
}

/// Checks every row of a batch against the schema as it is now.
fn prepare(
    limits: &Limits,
    target: &Target,
    batch: v1::IngestBatch,
) -> Result<Prepared, ServiceError> {
    at_most("rows of a batch", "limits.batch_rows", batch.objects.len(), limits.batch_rows_max)?;
    let schema = target.door.db().schema(&target.collection)?;
    let (merge, messages) = (batch.merge, batch.objects.len());
    let mut prepared = Prepared {
        sequence: batch.sequence,
        blocks: Vec::new(),
        writes: Vec::with_capacity(batch.objects.len()),
        rows: Vec::with_capacity(batch.objects.len()),
        refused: Vec::new(),
    };
    for (row, object) in batch.objects.into_iter().enumerate() {
        let name = convert::row_name(&object);
        match convert::given_row(&schema, object) {
            Ok(given) => prepared.accept(target, &schema, row, given, merge),
            Err(error) => prepared.refuse(row, name, &error.to_string()),
        }
    }
    if !batch.arrow_ipc.is_empty() {
        let room = limits.batch_rows_max.saturating_sub(messages) as u64;
        let bytes_max = limits.ingest_message_bytes_max;
        let ipc_limits = IpcLimits { bytes_max, rows_max: room, ..IpcLimits::default() };
        let batches = files::decode_ipc_owned(batch.arrow_ipc, &ipc_limits)?;
        prepared.add_arrow_rows(target, &Arc::new(schema), &batches, merge, messages)?;
    }
    Ok(prepared)
}

impl Prepared {
    /// Adds the rows of an Arrow stream behind those that came as messages, from number `first_row` on. Where whole objects are written in bulk
    /// and nothing came before, they stay in their columns.
    fn add_arrow_rows(
        &mut self,
        target: &Target,
        schema: &Arc<CollectionSchema>,
        batches: &[RecordBatch],
        merge: bool,
        mut first_row: usize,
    ) -> Result<(), ServiceError> {
        let mut blocks = Vec::with_capacity(batches.len());
        for batch in batches {
            let mut decoded = files::decode_block(batch, schema)?;
            for number in &mut decoded.numbers {
                *number += first_row as u64;
            }
            for refused in std::mem::take(&mut decoded.refused) {
                self.refuse(first_row + refused.row as usize, refused.object_id, &refused.reason);
            }
            first_row += batch.num_rows();
            blocks.push(decoded);
        }
        let stays = target.mode == WriteMode::Bulk
            && !merge
            && self.writes.is_empty()
            && blocks.iter().all(|decoded| target.may_take(schema, &decoded.block));
        for DecodedBlock { block, numbers, columns_given, .. } in blocks {
            if stays {
                self.blocks.push((block, numbers));
                continue;
            }
            for (row, number) in numbers.into_iter().enumerate() {
                let object = block.object(row);
                let columns_given = columns_given.clone();
                let given = GivenRow { object, columns_given, tokens: Vec::new() };
                self.accept(target, schema, number as usize, given, merge);
            }
        }
        Ok(())
    }

    /// Whether the batch may be written together with others.
    fn is_of_blocks(&self) -> bool {
        self.writes.is_empty() && !self.blocks.is_empty()
    }

    fn size_bytes(&self) -> usize {
        self.blocks.iter().map(|(block, _)| block.size_bytes()).sum()
    }

    fn accept(
        &mut self,
        target: &Target,
        schema: &CollectionSchema,
        row: usize,
        given: GivenRow,
        merge: bool,
    ) {
        let GivenRow { object, columns_given, tokens } = given;
        if let Err(reason) = target.check_provenance(schema, &object, &tokens) {
            self.refuse(row, object.id.to_string(), &reason);
            return;
        }
        let id = object.id.clone();
        self.rows.push((row as u64, id.clone()));
        self.writes.push(if merge {
            Write::Merge { object, columns_given }
        } else {
            Write::Put(object)
        });
        if !tokens.is_empty() {
            // In the same commit, behind the object that they belong to.
            self.rows.push((row as u64, id.clone()));
            self.writes.push(Write::SetTokens { id, tokens });
        }
    }

    fn refuse(&mut self, row: usize, object_id: String, reason: &str) {
        self.refused.push(v1::RefusedRow { row: row as u64, object_id, reason: one_line(reason) });
    }
}

/// Writes batches in the order in which they come, those of blocks together with what waits behind them.
async fn write_all(
    context: &Context,
    mut to_write: mpsc::Receiver<Result<Held, ServiceError>>,
    answers: mpsc::Sender<Answered>,
) {
    let mut ahead = None;
    loop {
        let next = match ahead.take() {
            Some(next) => next,
            None => match to_write.recv().await {
                Some(next) => next,
                None => return,
            },
        };
        let first = match next {
            Ok(first) => first,
            Err(error) => {
                let _ = answers.send(Answered { reply: Err(error), _place: None }).await;
                return;
            }
        };
        let target = first.target.clone();
        let mut bytes = first.batch.size_bytes();
        let mut group = vec![first];
        while group.iter().all(|held| held.batch.is_of_blocks()) && bytes < COMMIT_BYTES {
            match to_write.try_recv() {
                Ok(Ok(held)) if held.batch.is_of_blocks() => {
                    bytes += held.batch.size_bytes();
                    group.push(held);
                }
                Ok(other) => {
                    ahead = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        if !write_group(context, &target, group, &answers).await {
            return;
        }
    }
}

/// Writes batches in one commit and answers each; `false` when the stream is at its end.
async fn write_group(
    context: &Context,
    target: &Target,
    group: Vec<Held>,
    answers: &mpsc::Sender<Answered>,
) -> bool {
    let (mut batches, mut places, mut shares) = (Vec::new(), Vec::new(), Vec::new());
    let mut bytes = Vec::with_capacity(group.len());
    for Held { batch, place, share, bytes: of_message, .. } in group {
        bytes.push(of_message);
        batches.push(batch);
        places.push(place);
        shares.push(share);
    }
    let replies = async {
        // It has waited since it was read.
        let about = target.renewed(context)?;
        blocking(move || {
            let replies = write(&about, batches);
            drop(shares);
            replies
        })
        .await
    };
    let mut places = places.into_iter();
    match replies.await {
        Ok(replies) => {
            context.at_ingest.wake(&target.collection);
            for ((reply, place), bytes) in replies.into_iter().zip(places).zip(bytes) {
                let written = reply.inserted + reply.replaced;
                context.metrics.ingested(written, reply.refused.len() as u64, bytes);
                let answered = Answered { reply: Ok(reply), _place: Some(place) };
                if answers.send(answered).await.is_err() {
                    return false;
                }
            }
            true
        }
        Err(error) => {
            let answered = Answered { reply: Err(error), _place: places.next() };
            let _ = answers.send(answered).await;
            false
        }
    }
}

/// Writes one batch of writes, or several of blocks.
fn write(
    target: &Target,
    mut batches: Vec<Prepared>,
) -> Result<Vec<v1::IngestResponse>, ServiceError> {
    let door = &target.door;
    let writes: Vec<Write> =
        batches.iter_mut().flat_map(|batch| std::mem::take(&mut batch.writes)).collect();
    let blocks: Vec<&ObjectBlock> = batches
        .iter()
        .flat_map(|batch| &batch.blocks)
        .map(|(block, _)| block)
        .filter(|block| block.count() > 0)
        .collect();
    let report = if !blocks.is_empty() {
        door.insert(&target.collection, &blocks)?
    } else if !writes.is_empty() {
        door.write(&target.collection, target.mode, writes)?
    } else {
        let version = door.view(&target.collection)?.version();
        WriteReport { version, outcomes: Vec::new() }
    };
    let mut outcomes = report.outcomes.into_iter();
    Ok(batches.into_iter().map(|batch| answer(batch, report.version, &mut outcomes)).collect())
}

/// The answer of a batch; takes the outcomes of its rows.
fn answer(
    batch: Prepared,
    version: u64,
    outcomes: &mut impl Iterator<Item = WriteOutcome>,
) -> v1::IngestResponse {
    let Prepared { sequence, blocks, rows, refused, .. } = batch;
    let mut reply = v1::IngestResponse { sequence, inserted: 0, replaced: 0, refused, version };
    let mut count = |row: u64, id: &dyn Fn() -> ObjectId, outcome: WriteOutcome| match outcome {
        WriteOutcome::Inserted => reply.inserted += 1,
        WriteOutcome::Replaced => reply.replaced += 1,
        WriteOutcome::Refused(reason) => reply.refused.push(v1::RefusedRow {
            row,
            object_id: id().to_string(),
            reason: one_line(&reason),
        }),
        // Outcomes of other operations than those of a batch.
        WriteOutcome::VectorsSet
        | WriteOutcome::ColumnsSet
        | WriteOutcome::Deleted
        | WriteOutcome::Absent => {}
    };
    for (block, numbers) in &blocks {
        for ((row, number), outcome) in numbers.iter().enumerate().zip(outcomes.by_ref()) {
            count(*number, &|| block.id(row).to_owned(), outcome);
        }
    }
    for ((row, id), outcome) in rows.into_iter().zip(outcomes) {
        count(row, &|| id.clone(), outcome);
    }
    reply.refused.sort_by_key(|refused| refused.row);
    reply
}
