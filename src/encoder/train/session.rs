//! One training at one encoder: what is sent, and what comes back.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::super::EncoderError;
use super::super::client::{MESSAGE_BYTES_MAX, bad_reply, error_of};
use super::chunk::{Beginning, Chunk};
use super::spec::TrainSpec;
use crate::learn::NamedTensor;
use crate::wire::internal::encoder_service_client::EncoderServiceClient;
use crate::wire::internal::{
    TrainBeginning, TrainEpochEnd, TrainRequest, TrainResponse, TrainedEnd, TrainedEpoch,
    train_request, train_response,
};

/// Chunks without an answer: one is learned from while another is on its way.
const UNANSWERED_MAX: usize = 2;

/// How long the answer to a chunk may take. It is there against an encoder that hangs; a crash is noticed at once.
const ANSWER_WITHIN: Duration = Duration::from_mins(20);

/// A training under way; cancelled when dropped.
pub(in crate::encoder) struct Session {
    requests: mpsc::Sender<TrainRequest>,
    answers: Streaming<TrainResponse>,
    unanswered: usize,
    /// Mean loss of the epoch so far.
    loss: f64,
}

/// The networks of a training, by their tensors.
#[derive(Debug, Default)]
pub(super) struct Networks {
    pub(super) first: Vec<Vec<NamedTensor>>,
    pub(super) second: Vec<Vec<NamedTensor>>,
    pub(super) end: TrainedEnd,
}

impl Session {
    /// Begins, and waits until it is this training's turn.
    pub(in crate::encoder) async fn begin(
        channel: Channel,
        spec: &TrainSpec,
    ) -> Result<Self, EncoderError> {
        let mut client = EncoderServiceClient::new(channel)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        // Room for what may be without an answer, and an epoch's end: sending never waits.
        let (requests, stream) = mpsc::channel(UNANSWERED_MAX + 2);
        let start = train_request::Message::Start(spec.into());
        requests.try_send(TrainRequest { message: Some(start) }).map_err(|_| lost("it is over"))?;
        let answers = client.train(ReceiverStream::new(stream)).await;
        let mut answers = answers.map_err(|status| failure(&status))?.into_inner();
        match answers.message().await.map_err(|status| failure(&status))? {
            Some(TrainResponse { message: Some(train_response::Message::Begun(_)) }) => {
                Ok(Self { requests, answers, unanswered: 0, loss: 0.0 })
            }
            _ => Err(bad_reply("a training does not begin with its beginning")),
        }
    }

    /// Says what the networks begin with, before all examples.
    pub(super) async fn begin_with(&mut self, beginning: Beginning) -> Result<(), EncoderError> {
        for (tensors, second) in [(beginning.first, false), (beginning.second, true)] {
            if tensors.is_empty() {
                continue;
            }
            let message = TrainBeginning { member: Some(tensors.into()), second };
            self.request(train_request::Message::Beginning(message)).await?;
        }
        Ok(())
    }

    /// Sends examples, when those before them have been learned; tells the mean loss of the epoch so far.
    pub(super) async fn send(
        &mut self,
        chunk: Chunk,
        validation: bool,
    ) -> Result<f64, EncoderError> {
        while self.unanswered >= UNANSWERED_MAX {
            self.chunk_answer().await?;
        }
        self.request(train_request::Message::Chunk(chunk.into_message(validation))).await?;
        self.unanswered += 1;
        Ok(self.loss)
    }

    /// Ends an epoch; tells how it went.
    pub(super) async fn end_epoch(&mut self) -> Result<TrainedEpoch, EncoderError> {
        self.request(train_request::Message::EpochEnd(TrainEpochEnd {})).await?;
        while self.unanswered > 0 {
            self.chunk_answer().await?;
        }
        self.loss = 0.0;
        match self.in_time().await? {
            train_response::Message::Epoch(epoch) => Ok(epoch),
            _ => Err(bad_reply("an epoch's end is not answered by its end")),
        }
    }

    /// Takes the networks, after the last epoch.
    pub(super) async fn finish(mut self) -> Result<Networks, EncoderError> {
        let mut networks = Networks::default();
        loop {
            match self.in_time().await? {
                train_response::Message::Member(member) => {
                    let tensors = member.member.unwrap_or_default().into();
                    let tower =
                        if member.second { &mut networks.second } else { &mut networks.first };
                    tower.push(tensors);
                }
                train_response::Message::End(end) => {
                    networks.end = end;
                    return Ok(networks);
                }
                _ => return Err(bad_reply("something stands between the networks of a training")),
            }
        }
    }

    async fn chunk_answer(&mut self) -> Result<(), EncoderError> {
        match self.in_time().await? {
            train_response::Message::Chunk(chunk) => {
                self.unanswered = self.unanswered.saturating_sub(1);
                self.loss = chunk.loss;
                Ok(())
            }
            _ => Err(bad_reply("a chunk of examples is not answered")),
        }
    }

    async fn request(&mut self, message: train_request::Message) -> Result<(), EncoderError> {
        if self.requests.send(TrainRequest { message: Some(message) }).await.is_ok() {
            return Ok(());
        }
        // The encoder has ended the training: why, it says in its answer.
        loop {
            self.in_time().await?;
        }
    }

    async fn in_time(&mut self) -> Result<train_response::Message, EncoderError> {
        let within = ANSWER_WITHIN;
        tokio::time::timeout(within, self.message())
            .await
            .unwrap_or(Err(EncoderError::DeadlineExceeded { after: within }))
    }

    async fn message(&mut self) -> Result<train_response::Message, EncoderError> {
        match self.answers.message().await {
            Ok(Some(TrainResponse { message: Some(message) })) => Ok(message),
            Ok(Some(TrainResponse { message: None })) => Err(bad_reply("an answer is empty")),
            Ok(None) => Err(lost("it ended before its last message")),
            Err(status) => Err(match failure(&status) {
                EncoderError::Unavailable { reason } => lost(&reason),
                error => error,
            }),
        }
    }
}

fn failure(status: &Status) -> EncoderError {
    if status.code() == Code::Unimplemented {
        let reason = "it is of an older version and trains nothing; upgrade it".to_owned();
        return EncoderError::Refused { reason };
    }
    error_of(status, ANSWER_WITHIN)
}

fn lost(reason: &str) -> EncoderError {
    EncoderError::Unavailable { reason: format!("the training is lost, begin it again: {reason}") }
}
