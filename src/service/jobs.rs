//! Long work that tells how far it is. Fits and applications of probes and bridges wait for their turn, and end at their next
//! step when nobody listens any more or the server stops; indices, releases and snapshots are made whoever listens.

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
        let outcome = match turn(&context, &sender).await {
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

/// Answers with the steps of long work and its end. A caller that goes away does not stop it.
pub(super) fn told<T, W>(
    step: fn(String, u64, u64) -> T,
    work: impl FnOnce(Steps) -> W,
) -> Answers<T>
where
    T: Send + 'static,
    W: Future<Output = Result<T, ServiceError>> + Send + 'static,
{
    answers(|sender| {
        let steps = sender.clone();
        let working = work(Box::new(move |stage, done, total| {
            // A slow reader misses steps, never the end.
            let _ = steps.try_send(Ok(step(stage.to_owned(), done, total)));
        }));
        async move {
            let _ = sender.send(working.await.map_err(Status::from)).await;
        }
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
    context: &Context,
    sender: &Sender<T>,
) -> Option<Result<OwnedSemaphorePermit, ServiceError>> {
    tokio::select! {
        turn = context.fit_turn() => Some(turn),
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
