//! Training of small heads: one at a time on a thread of its own, which lets encoding go first.

mod adam;
mod inputs;
mod loss;
mod network;
mod random;
mod trainer;
mod turns;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sidereus::encoder::{Batcher, Chunk, EncoderError, TrainSpec};
use sidereus::learn::NamedTensor;
use sidereus::wire::internal::{
    TrainBeginning, TrainBegun, TrainRequest, TrainResponse, TrainedChunk, TrainedEnd,
    TrainedEpoch, TrainedMember, train_request, train_response,
};
use tch::Device;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use trainer::{Failure, Trainer};
use turns::Courtesy;

/// Trainings under way and waiting.
const TRAININGS_MAX: usize = 16;

/// Answers that wait for a caller; a thread that is that far ahead of it waits.
const ANSWERS_MAX: usize = 4;

/// How long a caller may take until its next message.
const SILENCE_MAX: Duration = Duration::from_mins(10);

/// Answers of a training.
pub(super) type Answers = ReceiverStream<Result<TrainResponse, Status>>;

type Sender = mpsc::Sender<Result<TrainResponse, Status>>;

/// Who trains next.
#[derive(Clone)]
pub(super) struct Trainings {
    turn: Arc<Semaphore>,
    places: Arc<Semaphore>,
    stopping: Arc<AtomicBool>,
    batcher: Batcher,
    device: Device,
}

/// What the thread of a training is told.
enum Order {
    Begin { tensors: Vec<NamedTensor>, second: bool },
    Learn(Box<Chunk>),
    Validate(Box<Chunk>),
    EndEpoch,
}

impl Trainings {
    /// Trains on a device, beside the networks of a queue.
    pub(super) fn new(batcher: Batcher, device: Device) -> Self {
        Self {
            turn: Arc::new(Semaphore::new(1)),
            places: Arc::new(Semaphore::new(TRAININGS_MAX)),
            stopping: Arc::default(),
            batcher,
            device,
        }
    }

    /// Ends the training under way before its next batch, and every later one.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.turn.close();
    }

    /// Begins a training whose start is the stream's first message.
    pub(super) async fn begin(
        &self,
        mut requests: Streaming<TrainRequest>,
    ) -> Result<Answers, Status> {
        let first = requests.message().await?.and_then(|request| request.message);
        let Some(train_request::Message::Start(start)) = first else {
            return Err(Status::invalid_argument("a training begins with its start"));
        };
        let spec = TrainSpec::try_from(start).map_err(Status::invalid_argument)?;
        spec.check().map_err(|error| match error {
            EncoderError::Refused { reason } => Status::invalid_argument(reason),
            error => Status::internal(error.to_string()),
        })?;
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{TRAININGS_MAX} trainings are waiting already"))
        })?;
        let (answers, stream) = mpsc::channel(ANSWERS_MAX);
        let trainings = self.clone();
        tokio::spawn(async move {
            let _place = place;
            if let Err(status) = trainings.run(spec, requests, &answers).await {
                let _caller_gone = answers.send(Err(status)).await;
            }
        });
        Ok(ReceiverStream::new(stream))
    }

    /// Waits for the turn and hands the caller's messages to the thread, until either of them is done.
    async fn run(
        &self,
        spec: TrainSpec,
        mut requests: Streaming<TrainRequest>,
        answers: &Sender,
    ) -> Result<(), Status> {
        let turn = tokio::select! {
            turn = Arc::clone(&self.turn).acquire_owned() => turn.map_err(|_| stopping())?,
            () = answers.closed() => return Ok(()),
        };
        // Nothing is kept here but what the thread has room for: the caller's stream waits meanwhile.
        let (orders, queue) = mpsc::channel(1);
        self.start(spec, queue, answers.clone(), turn)?;
        loop {
            let message = tokio::select! {
                message = tokio::time::timeout(SILENCE_MAX, requests.message()) => message,
                () = answers.closed() => return Ok(()),
                () = orders.closed() => return Ok(()),
            };
            let message = message.map_err(|_| Status::deadline_exceeded("no message came"))??;
            let order = match message.and_then(|request| request.message) {
                // The caller has sent all.
                None => return Ok(()),
                Some(train_request::Message::Chunk(chunk)) if chunk.validation => {
                    Order::Validate(Box::new(chunk.into()))
                }
                Some(train_request::Message::Chunk(chunk)) => Order::Learn(Box::new(chunk.into())),
                Some(train_request::Message::EpochEnd(_)) => Order::EndEpoch,
                Some(train_request::Message::Beginning(TrainBeginning { member, second })) => {
                    Order::Begin { tensors: member.unwrap_or_default().into(), second }
                }
                Some(train_request::Message::Start(_)) => {
                    return Err(Status::invalid_argument("a training begins once"));
                }
            };
            if orders.send(order).await.is_err() {
                return Ok(());
            }
        }
    }

    fn start(
        &self,
        spec: TrainSpec,
        queue: mpsc::Receiver<Order>,
        answers: Sender,
        turn: OwnedSemaphorePermit,
    ) -> Result<(), Status> {
        let trainings = self.clone();
        let begun = std::thread::Builder::new().name("training".to_owned()).spawn(move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| trainings.train(spec, queue, &answers)));
            // The next one may begin before the caller of this one has read its last answer.
            drop(turn);
            let status = match outcome {
                Ok(Ok(())) => return,
                Ok(Err(failure)) => status(&failure),
                Err(_) => Status::internal("the thread of the training failed"),
            };
            let _caller_gone = answers.blocking_send(Err(status));
        });
        begun.map(|_| ()).map_err(|error| Status::unavailable(format!("no thread: {error}")))
    }

    /// The whole training, on the thread.
    fn train(
        &self,
        spec: TrainSpec,
        mut queue: mpsc::Receiver<Order>,
        answers: &Sender,
    ) -> Result<(), Failure> {
        let mut trainer = Trainer::new(spec, self.device)?;
        tell(answers, train_response::Message::Begun(TrainBegun {}))?;
        let mut courtesy = Courtesy::default();
        let mut between =
            || courtesy.give_way(|| self.batcher.metrics().queued_rows > 0, || self.gone(answers));
        while let Some(order) = queue.blocking_recv() {
            let epoch = match order {
                Order::Begin { tensors, second } => {
                    trainer.begin(&tensors, second)?;
                    continue;
                }
                Order::Learn(chunk) => {
                    let loss = trainer.learn(&chunk, &mut between)?;
                    tell(answers, train_response::Message::Chunk(TrainedChunk { loss }))?;
                    continue;
                }
                Order::Validate(chunk) => {
                    let loss = trainer.validate(&chunk, &mut between)?;
                    tell(answers, train_response::Message::Chunk(TrainedChunk { loss }))?;
                    continue;
                }
                Order::EndEpoch => trainer.end_epoch()?,
            };
            let trainer::Epoch { loss, validation_loss, last } = epoch;
            let told = TrainedEpoch { loss, validation_loss, last };
            tell(answers, train_response::Message::Epoch(told))?;
            if last {
                return hand_over(trainer, answers);
            }
        }
        Err(Failure::Stopped { reason: "the caller sent nothing more" })
    }

    /// Whether it is to go on.
    fn gone(&self, answers: &Sender) -> Result<(), Failure> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Failure::Stopped { reason: "the encoder is stopping" });
        }
        if answers.is_closed() {
            return Err(Failure::Stopped { reason: "the caller has gone" });
        }
        Ok(())
    }
}

fn hand_over(trainer: Trainer, answers: &Sender) -> Result<(), Failure> {
    let outcome = trainer.finish()?;
    let towers = [(outcome.first, false), (outcome.second, true)];
    for (members, second) in towers {
        for member in members {
            let member = TrainedMember { member: Some(member.into()), second };
            tell(answers, train_response::Message::Member(member))?;
        }
    }
    let end = TrainedEnd {
        best_epoch: outcome.best_epoch.unwrap_or(0),
        temperature: outcome.temperature,
        beginning: outcome.best_epoch.is_none(),
    };
    tell(answers, train_response::Message::End(end))
}

/// Answers the caller; waits where it does not read.
fn tell(answers: &Sender, message: train_response::Message) -> Result<(), Failure> {
    let answer = TrainResponse { message: Some(message) };
    answers
        .blocking_send(Ok(answer))
        .map_err(|_| Failure::Stopped { reason: "the caller has gone" })
}

fn stopping() -> Status {
    Status::unavailable("the encoder is stopping")
}

fn status(failure: &Failure) -> Status {
    let words = failure.to_string();
    match failure {
        Failure::Examples { .. } => Status::invalid_argument(words),
        Failure::Diverged { .. } => Status::failed_precondition(words),
        Failure::Stopped { .. } => Status::unavailable(words),
        Failure::Torch(_) => Status::internal(words),
    }
}

#[cfg(test)]
mod tests;
