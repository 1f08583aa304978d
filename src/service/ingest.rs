//! `Ingest`: a stream of batches in, one answer for each out, in order.
//!
//! Three stages run side by side: the next batch is read and decoded while the one before it is written and the
//! answer before that is on its way. A batch takes a place in a small window when it is read and gives it back
//! when its answer leaves the server, so a client that does not read answers is not read from either.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use tracing::Instrument;

use super::context::{Context, blocking, turn};
use super::convert::{self, GivenRow};
use super::error_code::one_line;
use super::limits::{Limits, at_most};
use super::{RequestError, ServiceError};
use crate::engine::{Db, Write, WriteMode, WriteOutcome, WriteReport};
use crate::files::{self, IpcLimits};
use crate::schema::{CollectionSchema, Object, ObjectId, Provenance};
use crate::wire::v1;
use crate::wire::v1::ingest_request::Message;

/// The answers of one ingest stream.
pub(super) type Answers = Pin<Box<dyn Stream<Item = Result<v1::IngestResponse, Status>> + Send>>;

/// What the first message said.
#[derive(Debug, Clone)]
struct Target {
    collection: String,
    mode: WriteMode,
    /// Declared provenance of the vectors, by lower-case space name.
    provenance: HashMap<String, Provenance>,
}

impl Target {
    /// Refuses vectors for a space of an encoder that were not said to come from it.
    fn check_provenance(&self, schema: &CollectionSchema, object: &Object) -> Result<(), String> {
        let spaces = object.vectors.iter().filter_map(|(id, _)| schema.space_by_id(*id));
        for space in spaces.filter(|space| !space.provenance.is_external()) {
            if self.provenance.get(&space.name.to_lowercase()) != Some(&space.provenance) {
                return Err(format!(
                    "space `{}` holds vectors of {}; encode the objects, use another space, or declare this provenance",
                    space.name, space.provenance
                ));
            }
        }
        Ok(())
    }
}

/// A batch whose rows are checked.
struct Prepared {
    sequence: u64,
    writes: Vec<Write>,
    /// For each write, its row in the batch and its id.
    rows: Vec<(u64, ObjectId)>,
    refused: Vec<v1::RefusedRow>,
}

/// A batch on its way through the stages.
struct Held {
    target: Target,
    batch: Prepared,
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
pub(super) fn run(context: Context, inbound: Streaming<v1::IngestRequest>) -> Answers {
    let (answers, outbound) = mpsc::channel(context.limits.ingest_window.max(1));
    tokio::spawn(session(context, inbound, answers).in_current_span());
    Box::pin(ReceiverStream::new(outbound).map(|answered: Answered| Ok(answered.reply?)))
}

async fn session(
    context: Context,
    inbound: Streaming<v1::IngestRequest>,
    answers: mpsc::Sender<Answered>,
) {
    let (prepared, to_write) = mpsc::channel(1);
    let written_out = CancellationToken::new();
    let reading = read(&context, inbound, prepared, written_out.clone());
    let writing = async {
        write_all(&context.db, to_write, answers).await;
        written_out.cancel();
    };
    tokio::join!(reading, writing);
}

/// Reads until the stream ends, fails, or nothing more will be written. A failure takes its place in the queue,
/// so that the batches before it are still written and answered.
async fn read(
    context: &Context,
    inbound: Streaming<v1::IngestRequest>,
    prepared: mpsc::Sender<Result<Held, ServiceError>>,
    written_out: CancellationToken,
) {
    let outcome = tokio::select! {
        () = written_out.cancelled() => Ok(()),
        () = context.stopping.cancelled() => Err(ServiceError::Stopping),
        outcome = read_batches(context, inbound, &prepared) => outcome,
    };
    if let Err(error) = outcome {
        // Nobody receives it when the writing stage has ended, which has then told its own error.
        let _ = prepared.send(Err(error)).await;
    }
}

async fn read_batches(
    context: &Context,
    mut inbound: Streaming<v1::IngestRequest>,
    prepared: &mpsc::Sender<Result<Held, ServiceError>>,
) -> Result<(), ServiceError> {
    let Some(first) = next(&mut inbound).await? else { return Ok(()) };
    let Message::Open(open) = first else { return Err(RequestError::NotOpened.into()) };
    let target = open_target(context, open).await?;
    let window = Arc::new(Semaphore::new(context.limits.ingest_window.max(1)));
    loop {
        let place = turn(&window).await?;
        let Some(message) = next(&mut inbound).await? else { return Ok(()) };
        let Message::Batch(batch) = message else { return Err(RequestError::OpenedTwice.into()) };
        let share = context.batch_turn().await?;
        let (db, limits) = (context.db.clone(), Arc::clone(&context.limits));
        let about = target.clone();
        let batch = blocking(move || prepare(&db, &limits, &about, batch)).await?;
        let held = Held { target: target.clone(), batch, place, share };
        if prepared.send(Ok(held)).await.is_err() {
            return Ok(());
        }
    }
}

async fn next(inbound: &mut Streaming<v1::IngestRequest>) -> Result<Option<Message>, ServiceError> {
    match inbound.message().await {
        Ok(None) => Ok(None),
        Ok(Some(request)) => match request.message {
            Some(message) => Ok(Some(message)),
            None => Err(RequestError::Missing { field: "message" }.into()),
        },
        Err(status) => Err(ServiceError::Stream(Box::new(status))),
    }
}

async fn open_target(context: &Context, open: v1::IngestOpen) -> Result<Target, ServiceError> {
    let mode = match v1::IngestMode::try_from(open.mode) {
        Ok(v1::IngestMode::Unspecified) => WriteMode::Logged,
        Ok(v1::IngestMode::Bulk) => WriteMode::Bulk,
        Err(_) => {
            let unknown = RequestError::UnknownEnum { field: "open.mode", value: open.mode };
            return Err(unknown.into());
        }
    };
    context.schema(&open.collection).await?;
    let declared = open.provenance.into_iter();
    let provenance =
        declared.map(|(space, given)| (space.to_lowercase(), convert::provenance(given))).collect();
    Ok(Target { collection: open.collection, mode, provenance })
}

/// Checks every row of a batch against the schema as it is now.
fn prepare(
    db: &Db,
    limits: &Limits,
    target: &Target,
    batch: v1::IngestBatch,
) -> Result<Prepared, ServiceError> {
    at_most("rows of a batch", batch.objects.len(), limits.batch_rows_max)?;
    let schema = db.schema(&target.collection)?;
    let (merge, messages) = (batch.merge, batch.objects.len());
    let mut prepared = Prepared {
        sequence: batch.sequence,
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
        add_arrow_rows(&mut prepared, target, &schema, limits, &batch.arrow_ipc, messages, merge)?;
    }
    Ok(prepared)
}

/// Adds the rows of an Arrow stream behind those that came as messages.
fn add_arrow_rows(
    prepared: &mut Prepared,
    target: &Target,
    schema: &CollectionSchema,
    limits: &Limits,
    bytes: &[u8],
    mut first_row: usize,
    merge: bool,
) -> Result<(), ServiceError> {
    let room = limits.batch_rows_max.saturating_sub(first_row) as u64;
    let bytes_max = limits.ingest_message_bytes_max;
    let ipc_limits = IpcLimits { bytes_max, rows_max: room, ..IpcLimits::default() };
    for batch in files::decode_ipc(bytes, &ipc_limits)? {
        let decoded = files::decode_ingest(&batch, schema)?;
        for (row, object) in decoded.objects {
            let columns_given = decoded.columns_given.clone();
            let given = GivenRow { object, columns_given };
            prepared.accept(target, schema, first_row + row as usize, given, merge);
        }
        for refused in decoded.refused {
            let row = first_row + refused.row as usize;
            prepared.refuse(row, refused.object_id, &refused.reason);
        }
        first_row += batch.num_rows();
    }
    Ok(())
}

impl Prepared {
    fn accept(
        &mut self,
        target: &Target,
        schema: &CollectionSchema,
        row: usize,
        given: GivenRow,
        merge: bool,
    ) {
        let GivenRow { object, columns_given } = given;
        if let Err(reason) = target.check_provenance(schema, &object) {
            self.refuse(row, object.id.to_string(), &reason);
            return;
        }
        self.rows.push((row as u64, object.id.clone()));
        self.writes.push(if merge {
            Write::Merge { object, columns_given }
        } else {
            Write::Put(object)
        });
    }

    fn refuse(&mut self, row: usize, object_id: String, reason: &str) {
        self.refused.push(v1::RefusedRow { row: row as u64, object_id, reason: one_line(reason) });
    }

    /// The answer of a batch of which no row was good: nothing is written.
    fn answer(self, version: u64) -> v1::IngestResponse {
        v1::IngestResponse {
            sequence: self.sequence,
            inserted: 0,
            replaced: 0,
            refused: self.refused,
            version,
        }
    }
}

async fn write_all(
    db: &Db,
    mut to_write: mpsc::Receiver<Result<Held, ServiceError>>,
    answers: mpsc::Sender<Answered>,
) {
    while let Some(next) = to_write.recv().await {
        let (reply, place) = match next {
            Ok(Held { target, batch, place, share }) => {
                let db = db.clone();
                let reply = blocking(move || {
                    let reply = write(&db, &target, batch);
                    drop(share);
                    reply
                });
                (reply.await, Some(place))
            }
            Err(error) => (Err(error), None),
        };
        let failed = reply.is_err();
        if answers.send(Answered { reply, _place: place }).await.is_err() || failed {
            return;
        }
    }
}

fn write(
    db: &Db,
    target: &Target,
    mut batch: Prepared,
) -> Result<v1::IngestResponse, ServiceError> {
    let writes = std::mem::take(&mut batch.writes);
    if writes.is_empty() {
        let version = db.view(&target.collection)?.version();
        return Ok(batch.answer(version));
    }
    let report = db.write(&target.collection, target.mode, writes)?;
    Ok(answer(batch, report))
}

fn answer(batch: Prepared, report: WriteReport) -> v1::IngestResponse {
    let rows = batch.rows.clone();
    let mut reply = batch.answer(report.version);
    for ((row, id), outcome) in rows.into_iter().zip(report.outcomes) {
        match outcome {
            WriteOutcome::Inserted => reply.inserted += 1,
            WriteOutcome::Replaced => reply.replaced += 1,
            WriteOutcome::Refused(reason) => reply.refused.push(v1::RefusedRow {
                row,
                object_id: id.to_string(),
                reason: one_line(&reason),
            }),
            // Outcomes of other operations than those of a batch.
            WriteOutcome::VectorsSet | WriteOutcome::Deleted | WriteOutcome::Absent => {}
        }
    }
    reply.refused.sort_by_key(|refused| refused.row);
    reply
}
