//! Batches of an ingest stream into commits, in order.
//!
//! Batches of blocks that wait for their turn are written together: one commit, and one wait for the disk, for all of them.
//! The files of one commit are written while the one before it is still on its way to the disk; what is made visible, and
//! answered, keeps the order of the stream.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::super::ServiceError;
use super::super::context::{Context, blocking};
use super::super::error_code::one_line;
use super::{Answered, Held, Prepared, Target};
use crate::engine::{StagedBlocks, Write, WriteOutcome, WriteReport};
use crate::files::ObjectBlock;
use crate::schema::{ObjectId, Rows};
use crate::wire::v1;

/// Bytes of waiting batches from which a commit takes no more of them.
const COMMIT_BYTES: usize = 96 << 20;

/// Bytes of waiting batches from which their files are written beside those of the commit before, without waiting for more of
/// them; fewer wait, since many small commits are more work than a few large ones.
const BESIDE_BYTES: usize = 64 << 20;

/// Commits whose files are written beside the one that is being finished.
const STAGED_AHEAD: usize = 1;

/// Batches of one commit.
struct Group {
    target: Target,
    batches: Vec<Prepared>,
    /// Bytes of the message of each.
    bytes: Vec<u64>,
    /// Their places in the window of the stream.
    places: Vec<OwnedSemaphorePermit>,
    /// Their shares of what the server holds.
    shares: Arc<Vec<OwnedSemaphorePermit>>,
    /// What is done of the commit before its turn, where something can be.
    staging: Option<JoinHandle<Result<Option<StagedBlocks>, ServiceError>>>,
}

/// Writes batches in the order in which they come, those of blocks together with what waits behind them.
pub(super) async fn write_all(
    context: &Context,
    to_write: mpsc::Receiver<Result<Held, ServiceError>>,
    answers: mpsc::Sender<Answered>,
) {
    let (groups, in_turn) = mpsc::channel(STAGED_AHEAD);
    let staging = async {
        stage_all(context, to_write, groups).await;
        std::future::pending::<()>().await;
    };
    // The first failure of a commit ends both, also while the caller sends nothing.
    tokio::select! {
        () = commit_all(context, in_turn, answers) => {}
        () = staging => {}
    }
}

/// Gathers commits and begins with their files; ends with the batches, or when nothing more will be written.
async fn stage_all(
    context: &Context,
    mut to_write: mpsc::Receiver<Result<Held, ServiceError>>,
    groups: mpsc::Sender<Result<Group, ServiceError>>,
) {
    let mut ahead = None;
    let mut before = CancellationToken::new();
    before.cancel();
    loop {
        // First the place, then the batches: more of them come while it is waited for.
        let Ok(place) = groups.reserve().await else { return };
        let next = match ahead.take() {
            Some(next) => Some(next),
            None => to_write.recv().await,
        };
        match next {
            None => return,
            Some(Err(error)) => {
                place.send(Err(error));
                return;
            }
            Some(Ok(first)) => {
                let held;
                (held, ahead) = gather(first, &mut to_write, &before).await;
                before = CancellationToken::new();
                place.send(Ok(Group::begin(context, held, before.clone())));
            }
        }
    }
}

/// A batch and those behind it that can be written together with it, as far as they have come once the files of the commit
/// `before` are written, or there is enough; and what came and cannot be.
async fn gather(
    first: Held,
    to_write: &mut mpsc::Receiver<Result<Held, ServiceError>>,
    before: &CancellationToken,
) -> (Vec<Held>, Option<Result<Held, ServiceError>>) {
    let (is_of_blocks, mut bytes) = (first.batch.is_of_blocks(), first.batch.size_bytes());
    let mut held = vec![first];
    while is_of_blocks && bytes < COMMIT_BYTES {
        let next = match to_write.try_recv() {
            Ok(next) => Some(next),
            Err(_) if bytes >= BESIDE_BYTES => None,
            Err(_) => tokio::select! {
                biased;
                next = to_write.recv() => next,
                () = before.cancelled() => None,
            },
        };
        match next {
            Some(Ok(next)) if next.batch.is_of_blocks() => {
                bytes += next.batch.size_bytes();
                held.push(next);
            }
            other => return (held, other),
        }
    }
    (held, None)
}

/// Commits in order, and answers; ends at the first failure.
async fn commit_all(
    context: &Context,
    mut in_turn: mpsc::Receiver<Result<Group, ServiceError>>,
    answers: mpsc::Sender<Answered>,
) {
    while let Some(group) = in_turn.recv().await {
        let goes_on = match group {
            Ok(group) => group.commit(context, &answers).await,
            Err(error) => {
                let _ = answers.send(Answered { reply: Err(error), _place: None }).await;
                false
            }
        };
        if !goes_on {
            return;
        }
    }
}

impl Group {
    /// Has the files of a commit written, where its batches are blocks, and says when they are.
    fn begin(context: &Context, held: Vec<Held>, written: CancellationToken) -> Self {
        let mut group = Self {
            target: held[0].target.clone(),
            batches: Vec::with_capacity(held.len()),
            bytes: Vec::with_capacity(held.len()),
            places: Vec::with_capacity(held.len()),
            shares: Arc::default(),
            staging: None,
        };
        let mut shares = Vec::with_capacity(held.len());
        for Held { batch, place, share, bytes, .. } in held {
            group.bytes.push(bytes);
            group.batches.push(batch);
            group.places.push(place);
            shares.push(share);
        }
        group.shares = Arc::new(shares);
        let written = written.drop_guard();
        if group.batches.iter().all(Prepared::is_of_blocks) {
            let (about, shares) = (group.target.clone(), Arc::clone(&group.shares));
            let (context, blocks) = (context.clone(), blocks_of(group.batches.iter()));
            let stage = async move {
                let turn = context.staging_turn().await?;
                blocking(move || {
                    // Also of what nobody waits for any more.
                    let _held = (turn, written, shares);
                    about.door.stage(&about.collection, &blocks)
                })
                .await
            };
            group.staging = Some(tokio::spawn(stage.in_current_span()));
        }
        group
    }

    /// Writes the batches in one commit and answers each; `false` when the stream is at its end.
    async fn commit(self, context: &Context, answers: &mpsc::Sender<Answered>) -> bool {
        let Self { target, batches, bytes, places, shares, staging } = self;
        let replies = async {
            let staged = match staging {
                Some(staging) => Some(staging.await),
                None => None,
            };
            // It has waited since it was read. What is not the caller's any more comes before what went wrong.
            let about = target.renewed(context)?;
            let staged = match staged {
                Some(joined) => {
                    let failed =
                        |failure: JoinError| ServiceError::Task { reason: failure.to_string() };
                    joined.map_err(failed)??
                }
                None => None,
            };
            blocking(move || {
                let replies = write(&about, batches, staged);
                drop(shares);
                replies
            })
            .await
        };
        match replies.await {
            Ok(replies) => {
                context.at_ingest.wake(&target.collection);
                answer_all(context, replies, places, &bytes, answers).await
            }
            Err(error) => {
                let answered = Answered { reply: Err(error), _place: places.into_iter().next() };
                let _ = answers.send(answered).await;
                false
            }
        }
    }
}

/// Sends the answers of batches of so many bytes; `false` when nobody takes them.
async fn answer_all(
    context: &Context,
    replies: Vec<v1::IngestResponse>,
    places: Vec<OwnedSemaphorePermit>,
    bytes: &[u64],
    answers: &mpsc::Sender<Answered>,
) -> bool {
    for ((reply, place), bytes) in replies.into_iter().zip(places).zip(bytes) {
        let written = reply.inserted + reply.replaced;
        context.metrics.ingested(written, reply.refused.len() as u64, *bytes);
        let answered = Answered { reply: Ok(reply), _place: Some(place) };
        if answers.send(answered).await.is_err() {
            return false;
        }
    }
    true
}

/// The blocks of batches that have rows.
fn blocks_of<'b>(batches: impl Iterator<Item = &'b Prepared>) -> Vec<Arc<ObjectBlock>> {
    let blocks = batches.flat_map(|batch| &batch.blocks);
    blocks.filter(|(block, _)| block.count() > 0).map(|(block, _)| Arc::clone(block)).collect()
}

/// Writes one batch of writes, or several of blocks.
fn write(
    target: &Target,
    mut batches: Vec<Prepared>,
    staged: Option<StagedBlocks>,
) -> Result<Vec<v1::IngestResponse>, ServiceError> {
    let door = &target.door;
    let writes: Vec<Write> =
        batches.iter_mut().flat_map(|batch| std::mem::take(&mut batch.writes)).collect();
    let blocks = blocks_of(batches.iter());
    let report = if !blocks.is_empty() {
        door.insert(&target.collection, &blocks, staged)?
    } else if !writes.is_empty() {
        door.write(&target.collection, target.mode, writes)?
    } else {
        let version = door.glance(&target.collection)?.version();
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
