//! Long work that tells how far it is, and waits for its turn. Fits and applications of probes and bridges, and what only
//! looks at releases and snapshots, end at their next step when nobody listens any more; indices, releases and snapshots that
//! are being made go on. All of it ends when the server stops.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::Instrument;

use super::ServiceError;
use super::context::{Context, blocking};
use super::telemetry::watched;
use crate::query::StopFlag;

/// Messages that may wait for their reader.
const QUEUE: usize = 16;

/// What a job tells.
pub(super) type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// Told of a step of long work: its stage, and how much of how much is done.
pub(super) type Steps = Box<dyn FnMut(&str, u64, u64) + Send>;

/// Raised when nobody waits for the answers any more.
#[derive(Clone, Default)]
struct Watch {
    flag: Arc<AtomicBool>,
    stop: StopFlag,
}

impl Watch {
    fn raise(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.stop.raise();
    }
}

/// Who a job works for.
pub(super) struct Listener<T> {
    sender: Sender<T>,
    watch: Watch,
}

impl<T> Listener<T> {
    /// Tells how far it is: a slow reader misses steps, never the end.
    pub(super) fn step(&self, message: T) {
        let _ = self.sender.try_send(Ok(message));
    }

    /// Tells what must not be missed: the job waits for a slow reader. One that has gone stops it at its next step.
    pub(super) fn tell(&self, message: T) {
        let _ = self.sender.blocking_send(Ok(message));
    }

    /// Raised when the job is to end.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.watch.flag
    }

    /// The same for queries.
    pub(super) fn stop(&self) -> &StopFlag {
        &self.watch.stop
    }
}

/// Starts a job in its turn. Its last messages are made of what it returns.
pub(super) fn start<T, R, I>(
    context: &Context,
    work: impl FnOnce(&Listener<T>) -> Result<R, ServiceError> + Send + 'static,
    last: impl FnOnce(R) -> I + Send + 'static,
) -> Answers<T>
where
    T: Send + 'static,
    R: Send + 'static,
    I: IntoIterator<Item = T>,
    I::IntoIter: Send,
{
    let context = context.clone();
    answers(|sender| async move {
        let outcome = match turn(context.fit_turn(), &context, &sender).await {
            None => return,
            Some(Err(error)) => Err(error),
            Some(Ok(turn)) => match over(&context, &sender, turn, work).await {
                None => return,
                Some(outcome) => outcome,
            },
        };
        match outcome {
            Err(error) => {
                let _ = sender.send(Err(error.into())).await;
            }
            Ok(result) => {
                for message in last(result) {
                    if sender.send(Ok(message)).await.is_err() {
                        return;
                    }
                }
            }
        }
    })
}

/// For whom long work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// It changes something, and goes on when its caller has gone.
    Everybody,
    /// It only tells its caller something.
    Caller,
}

/// Whether long work is still wanted. Whoever does the work keeps this until it ends: the turn goes with it.
#[derive(Clone)]
pub(super) struct Wanted {
    ask: Arc<dyn Fn() -> bool + Send + Sync>,
    _turn: Arc<OwnedSemaphorePermit>,
}

impl Wanted {
    /// Asked between two steps.
    pub(super) fn is_still(&self) -> bool {
        (self.ask)()
    }
}

/// Answers with the steps of long work and its end. It begins in its turn, unless the caller has gone by then.
pub(super) fn told<T, W>(
    context: &Context,
    whose: Whose,
    step: fn(String, u64, u64) -> T,
    work: impl FnOnce(Steps, Wanted) -> W + Send + 'static,
) -> Answers<T>
where
    T: Send + 'static,
    W: Future<Output = Result<T, ServiceError>> + Send + 'static,
{
    let context = context.clone();
    answers(move |sender| async move {
        let turn = match turn(context.job_turn(), &context, &sender).await {
            None => return,
            Some(Ok(turn)) => Arc::new(turn),
            Some(Err(error)) => {
                let _ = sender.send(Err(error.into())).await;
                return;
            }
        };
        let (stopping, listening) = (context.stopping.clone(), sender.clone());
        let ask = Arc::new(move || {
            !stopping.is_cancelled() && (whose == Whose::Everybody || !listening.is_closed())
        });
        let steps = sender.clone();
        let working = work(
            Box::new(move |stage, done, total| {
                // A slow reader misses steps, never the end.
                let _ = steps.try_send(Ok(step(stage.to_owned(), done, total)));
            }),
            Wanted { ask, _turn: turn },
        );
        let gone = async {
            match whose {
                Whose::Everybody => std::future::pending().await,
                Whose::Caller => sender.closed().await,
            }
        };
        let outcome = tokio::select! {
            outcome = working => outcome,
            () = gone => return,
            () = context.stopping.cancelled() => Err(ServiceError::Stopping),
        };
        let _ = sender.send(outcome.map_err(Status::from)).await;
    })
}

/// What a task tells, as the answers of its call. The task belongs to the call's span, and the call is told of its error.
fn answers<T, W>(task: impl FnOnce(Sender<T>) -> W) -> Answers<T>
where
    T: Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(task(sender).in_current_span());
    Box::pin(watched(ReceiverStream::new(receiver)))
}

/// Waits for a turn to work; `None` when the caller has gone first.
async fn turn<T>(
    wanted: impl Future<Output = Result<OwnedSemaphorePermit, ServiceError>>,
    context: &Context,
    sender: &Sender<T>,
) -> Option<Result<OwnedSemaphorePermit, ServiceError>> {
    tokio::select! {
        turn = wanted => Some(turn),
        () = sender.closed() => None,
        () = context.stopping.cancelled() => Some(Err(ServiceError::Stopping)),
    }
}

/// Works, and waits for the end; `None` when the caller has gone first. The work then ends at its next step, and gives the
/// turn back when it does.
async fn over<T: Send + 'static, R: Send + 'static>(
    context: &Context,
    sender: &Sender<T>,
    turn: OwnedSemaphorePermit,
    work: impl FnOnce(&Listener<T>) -> Result<R, ServiceError> + Send + 'static,
) -> Option<Result<R, ServiceError>> {
    let watch = Watch::default();
    let listener = Listener { sender: sender.clone(), watch: watch.clone() };
    let working = blocking(move || {
        let _turn = turn;
        work(&listener)
    });
    let outcome = tokio::select! {
        outcome = working => Some(outcome),
        () = sender.closed() => None,
        () = context.stopping.cancelled() => Some(Err(ServiceError::Stopping)),
    };
    // Also when all went well: there is nothing left to be stopped then.
    watch.raise();
    outcome
}
