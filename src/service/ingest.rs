//! `Ingest`: a stream of batches in, one answer for each out, in order.
//!
//! Stages run side by side: the next batch is read and decoded while those before it are written and the
//! answer before that is on its way. A batch takes a place in a small window when it is read and gives it back
//! when its answer leaves the server, so a client that does not read answers is not read from either.
//! [`commits`] is the writing, in two stages of its own: files before the turn, and the turn.

mod commits;

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
use crate::engine::{Write, WriteMode};
use crate::files::{self, DecodedBlock, IpcLimits, ObjectBlock};
use crate::schema::{
    CollectionSchema, EmbeddingSpace, Object, ObjectId, Provenance, Rows, SpaceId,
};
use crate::wire::v1;
use crate::wire::v1::ingest_request::Message;

/// The answers of one ingest stream.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<v1::IngestResponse, Status>> + Send>>;

/// The messages of one ingest stream, wherever they come from.
pub(super) type Requests = Pin<Box<dyn Stream<Item = Result<IngestInput, Status>> + Send>>;

/// A message of an ingest stream. What comes from this process itself need not be put into bytes first.
#[derive(Debug, Clone)]
pub struct IngestInput {
    /// The message, as it would come from elsewhere.
    pub request: v1::IngestRequest,
    /// Rows of a batch in the ingest layout, behind those that are in the message.
    pub batches: Vec<RecordBatch>,
}

impl From<v1::IngestRequest> for IngestInput {
    fn from(request: v1::IngestRequest) -> Self {
        Self { request, batches: Vec::new() }
    }
}

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
    blocks: Vec<(Arc<ObjectBlock>, Vec<u64>)>,
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
        commits::write_all(&context, to_write, answers).await;
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
    let Some((first, _)) = next(&mut inbound).await? else { return Ok(()) };
    let Message::Open(open) = first else { return Err(RequestError::NotOpened.into()) };
    let mut target = open_target(context, door, open).await?;
    let window = Arc::new(Semaphore::new(context.limits.ingest_window.max(1)));
    loop {
        let place = turn(&window).await?;
        let Some((message, batches)) = next(&mut inbound).await? else { return Ok(()) };
        let Message::Batch(batch) = message else { return Err(RequestError::OpenedTwice.into()) };
        target = target.renewed(context)?;
        let here: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let bytes = (batch.encoded_len() + here) as u64;
        let share = context.batch_turn().await?;
        let (about, limits) = (target.clone(), Arc::clone(&context.limits));
        let batch = blocking(move || prepare(&limits, &about, batch, batches)).await?;
        let held = Held { target: target.clone(), batch, bytes, place, share };
        if prepared.send(Ok(held)).await.is_err() {
            return Ok(());
        }
    }
}

async fn next(inbound: &mut Requests) -> Result<Option<(Message, Vec<RecordBatch>)>, ServiceError> {
    match inbound.next().await {
        None => Ok(None),
        Some(Ok(IngestInput { request, batches })) => match request.message {
            Some(message) => Ok(Some((message, batches))),
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
    mut batches: Vec<RecordBatch>,
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
        batches.splice(..0, files::decode_ipc_owned(batch.arrow_ipc, &ipc_limits)?);
    }
    if !batches.is_empty() {
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
                self.blocks.push((Arc::new(block), numbers));
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
