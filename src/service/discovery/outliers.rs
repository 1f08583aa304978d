//! Scores of loneliness, streamed with their progress, and written to a column where that is asked for.

use std::num::NonZero;
use std::pin::Pin;
use std::time::Instant;

use futures::Stream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::engine::{CollectionView, Write, WriteMode, WriteOutcome};
use crate::index::RECALL_WISH_DEFAULT;
use crate::query::{self, OutlierMethod, OutlierQuery, OutlierScore, Outliers, StopFlag};
use crate::schema::{CollectionSchema, Column, ColumnType, Value, is_built_in};
use crate::service::admission::{Caller, Cost, Work};
use crate::service::context::{Context, in_turn};
use crate::service::door::Door;
use crate::service::gate::RowsServed;
use crate::service::search::StopWhenDropped;
use crate::service::telemetry::watched;
use crate::service::{RequestError, ServiceError, convert};
use crate::wire::v1;

/// The messages of one answer.
pub(super) type OutlierAnswers =
    Pin<Box<dyn Stream<Item = Result<v1::FindOutliersResponse, Status>> + Send>>;
type Sender = mpsc::Sender<Result<v1::FindOutliersResponse, Status>>;

/// Messages that may wait for their reader; progress that does not fit is left out.
const QUEUE: usize = 16;

/// Neighbours where nothing is said.
const NEIGHBOURS_DEFAULT: usize = 20;

/// Scores in one message, and written at once.
const SCORES_AT_ONCE: usize = 4_096;

/// Most threads of one request.
const THREADS_MAX: usize = 8;

/// What is asked, checked.
struct Asked {
    collection: String,
    query: OutlierQuery,
    limit: usize,
    column: Option<String>,
}

/// Checks the request and begins; the scores come on the stream.
pub(super) async fn start(
    context: &Context,
    door: Door,
    served: RowsServed,
    request: v1::FindOutliersRequest,
) -> Result<OutlierAnswers, ServiceError> {
    let caller = Caller::current();
    let asked = read(context, request)?;
    door.check(&asked.collection)?;
    // What can be told at once is told at once, and no thread begins for it.
    let schema = context.schema(&asked.collection).await?;
    if let Some(name) = &asked.column {
        let space = schema.space(&asked.query.space);
        check_column(&schema, name, space.map(|space| words(&space.name)).as_deref())?;
    }
    let turn = context.search_turn(Cost::of(Work::Job, None)).await?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        let stop = StopWhenDropped(asked.query.stop.clone());
        let (progress, closed) = (sender.clone(), sender.clone());
        let work = in_turn(turn, move |_| find(&door, &asked, &progress));
        // Nobody reads any more: the work ends at its next object.
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = closed.closed() => return,
        };
        drop(stop);
        match outcome {
            Ok(messages) => {
                for mut message in messages {
                    let rows = message.scores.len() as u64;
                    let given = caller.as_ref().map(|caller| caller.give(&served, rows));
                    let limited = match given {
                        None | Some(Ok(())) => None,
                        Some(Err((rows, limited))) => {
                            message.scores.truncate(rows as usize);
                            Some(limited)
                        }
                    };
                    if sender.send(Ok(message)).await.is_err() {
                        return;
                    }
                    if let Some(limited) = limited {
                        let _ = sender.send(Err(ServiceError::from(limited).into())).await;
                        return;
                    }
                }
            }
            Err(error) => {
                let _ = sender.send(Err(error.into())).await;
            }
        }
    });
    Ok(Box::pin(watched(ReceiverStream::new(receiver))))
}

fn read(context: &Context, request: v1::FindOutliersRequest) -> Result<Asked, ServiceError> {
    let limits = &context.limits;
    let method = match v1::OutlierMethod::try_from(request.method) {
        Ok(v1::OutlierMethod::Unspecified) => OutlierMethod::MeanDistance,
        Ok(v1::OutlierMethod::LastDistance) => OutlierMethod::LastDistance,
        Ok(v1::OutlierMethod::LocalFactor) => OutlierMethod::LocalFactor,
        Err(_) => {
            return Err(RequestError::UnknownEnum { field: "method", value: request.method }.into());
        }
    };
    let recall = request.recall.unwrap_or(RECALL_WISH_DEFAULT);
    let neighbours = match request.neighbours as usize {
        0 => NEIGHBOURS_DEFAULT,
        neighbours => neighbours,
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let query = OutlierQuery {
        space: request.space,
        region: request.region.map(|region| convert::region(limits, region)).transpose()?,
        predicate: convert::predicate(limits, request.predicate)?,
        method,
        neighbours,
        exact: request.exact,
        recall,
        threads: threads.min(THREADS_MAX),
        stop: StopFlag::default(),
    };
    let limit = if request.limit == 0 { usize::MAX } else { request.limit as usize };
    let column = (!request.column.is_empty()).then_some(request.column);
    Ok(Asked { collection: request.collection, query, limit, column })
}

/// What a column of scores says of itself.
fn words(space: &str) -> String {
    format!("outlier score in {space}: larger is lonelier")
}

/// Refuses a column that is there already and holds something else than numbers, or, where it is known which space these scores
/// are of, than them.
fn check_column(
    schema: &CollectionSchema,
    name: &str,
    words: Option<&str>,
) -> Result<(), ServiceError> {
    let existing = schema.column_place(name).and_then(|place| schema.columns.get(place));
    if is_built_in(name) || existing.is_some_and(|column| column.kind != ColumnType::Float64) {
        return Err(RequestError::NotAScoreColumn { column: name.to_owned() }.into());
    }
    match existing.zip(words) {
        Some((column, words)) if column.description != words => Err(RequestError::ColumnOfOthers {
            column: column.name.clone(),
            holds: match column.description.as_str() {
                "" => "what it does not say".to_owned(),
                words => words.to_owned(),
            },
            wanted: words.to_owned(),
        }
        .into()),
        Some(_) | None => Ok(()),
    }
}

/// Finds the scores, writes them where that is asked for, and makes the messages of the answer.
fn find(
    door: &Door,
    asked: &Asked,
    progress: &Sender,
) -> Result<Vec<v1::FindOutliersResponse>, ServiceError> {
    let started = Instant::now();
    let view = door.view(&asked.collection)?;
    let tell = |stage: &str, done: u64, total: u64| {
        let stage = stage.to_owned();
        // A slow reader misses steps, never the end.
        let _ = progress.try_send(Ok(v1::FindOutliersResponse {
            stage,
            done,
            total,
            ..Default::default()
        }));
    };
    let told = |done: u64, total: u64| tell("neighbours", done, total);
    let found = query::outliers(&view, &asked.query, &told)?;
    let written = match &asked.column {
        Some(column) => write(door, &view, asked, column, &found, &tell)?,
        None => 0,
    };
    let summary = v1::OutlierSummary {
        space: found.space,
        scored: found.scores.len() as u64,
        without_vector: found.without_vector,
        exact: found.exact,
        estimated_recall: found.estimated_recall,
        plan: found.plan,
        elapsed_ms: started.elapsed().as_secs_f64() * 1e3,
        written,
    };
    let total = found.scores.len() as u64;
    let kept = &found.scores[..found.scores.len().min(asked.limit)];
    let mut messages: Vec<v1::FindOutliersResponse> = kept
        .chunks(SCORES_AT_ONCE)
        .map(|scores| v1::FindOutliersResponse {
            scores: scores.iter().cloned().map(score_of).collect(),
            ..Default::default()
        })
        .collect();
    messages.push(v1::FindOutliersResponse {
        stage: "done".to_owned(),
        done: total,
        total,
        scores: Vec::new(),
        summary: Some(summary),
    });
    Ok(messages)
}

fn score_of(score: OutlierScore) -> v1::OutlierScore {
    v1::OutlierScore {
        id: Some(convert::object_id_of(score.id)),
        position: Some(convert::position_of(score.position)),
        score: score.score,
    }
}

/// Writes all scores to a column, and says how many objects were still there to take them.
fn write(
    door: &Door,
    view: &CollectionView,
    asked: &Asked,
    name: &str,
    found: &Outliers,
    tell: &dyn Fn(&str, u64, u64),
) -> Result<u64, ServiceError> {
    let db = door.db();
    let words = words(&found.space);
    db.check_there(view)?;
    // Looked at before the search, too: somebody may have made it since.
    check_column(&db.schema(&asked.collection)?, name, Some(&words))?;
    let column = Column { description: words, ..Column::new(name, ColumnType::Float64) };
    let schema = db.add_column(&asked.collection, column)?.schema;
    let unknown = || RequestError::UnknownColumn {
        collection: asked.collection.clone(),
        column: name.to_owned(),
    };
    let place = schema.column_place(name).ok_or_else(unknown)?;
    let (mut written, total) = (0, found.scores.len() as u64);
    for scores in found.scores.chunks(SCORES_AT_ONCE) {
        asked.query.stop.check()?;
        db.check_there(view)?;
        let set = |score: &OutlierScore| Write::SetColumns {
            id: score.id.clone(),
            columns: vec![(place, Value::Float64(score.score))],
        };
        let report =
            door.write(&asked.collection, WriteMode::Bulk, scores.iter().map(set).collect())?;
        let is_set = |outcome: &&WriteOutcome| **outcome == WriteOutcome::ColumnsSet;
        written += report.outcomes.iter().filter(is_set).count() as u64;
        tell("write", written, total);
    }
    Ok(written)
}
