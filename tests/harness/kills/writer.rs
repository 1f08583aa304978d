//! A writer: streams with several messages on their way, and deletes between them.

use std::collections::VecDeque;
use std::time::Duration;

use sidereus::wire::v1::object_service_client::ObjectServiceClient;
use sidereus::wire::v1::{
    DeleteObjectsRequest, IngestMode, IngestOpen, IngestRequest, IngestResponse, ingest_request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::super::world::NAME;
use super::books::{Books, Ended, locked};
use super::steps::{Done, Kind, batch, ids, kind, mode, wire_id};

/// Messages of a stream that wait for their answers.
const WINDOW: usize = 4;

/// How much is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// One step, for a beginning.
    Once,
    /// A stream and a delete now and then.
    Calm,
    /// As fast as the answers come.
    Full,
}

/// Rest between two streams of a calm writer.
const REST: Duration = Duration::from_millis(200);

/// Writes until the server is killed.
pub(super) async fn write(channel: Channel, books: &Books, writer: u64, pace: Pace) -> Ended {
    let steps_max = if pace == Pace::Once { 1 } else { u64::MAX };
    let mut client = ObjectServiceClient::new(channel);
    loop {
        let next = locked(&books.ledgers[writer as usize]).sent + 1;
        if next > steps_max {
            return Ok(Vec::new());
        }
        let over = if kind(writer, next) == Kind::Delete {
            delete(&mut client, books, writer).await?
        } else {
            stream(&mut client, books, writer, steps_max).await?
        };
        if let Some(doing) = over {
            return Ok(doing);
        }
        if pace == Pace::Calm {
            tokio::time::sleep(REST).await;
        }
    }
}

/// What was under way when the server was killed; `None` when it was not.
type Over = Result<Option<Vec<String>>, String>;

async fn delete(client: &mut ObjectServiceClient<Channel>, books: &Books, writer: u64) -> Over {
    let step = locked(&books.ledgers[writer as usize]).send();
    let ids = ids(writer, step).into_iter().map(wire_id).collect();
    let request = DeleteObjectsRequest { collection: NAME.to_owned(), ids };
    match client.delete_objects(request).await {
        Ok(reply) => {
            let reply = reply.into_inner();
            let done = Done { deleted: reply.deleted, absent: reply.absent, ..Done::default() };
            locked(&books.ledgers[writer as usize]).acknowledge(step, done)?;
            books.count("deletes");
            Ok(None)
        }
        Err(status) => books.ended("delete", &status).map(Some),
    }
}

/// Streams up to the next delete.
async fn stream(
    client: &mut ObjectServiceClient<Channel>,
    books: &Books,
    writer: u64,
    steps_max: u64,
) -> Over {
    let ledger = &books.ledgers[writer as usize];
    let mode = mode(writer, locked(ledger).sent + 1);
    let name = if mode == IngestMode::Bulk { "bulk ingest" } else { "logged ingest" };
    let (sender, receiver) = mpsc::channel(WINDOW + 1);
    let open =
        IngestOpen { collection: NAME.to_owned(), mode: mode.into(), ..IngestOpen::default() };
    let request = |message| IngestRequest { message: Some(message) };
    if sender.send(request(ingest_request::Message::Open(open))).await.is_err() {
        return Err("the request cannot be queued".to_owned());
    }
    let mut answers = match client.ingest(ReceiverStream::new(receiver)).await {
        Ok(reply) => reply.into_inner(),
        Err(status) => return books.ended("opening a stream", &status).map(Some),
    };
    let mut sender = Some(sender);
    let mut in_flight = VecDeque::new();
    let mut answered = 0;
    loop {
        while in_flight.len() < WINDOW
            && let Some(queue) = &sender
        {
            let next = locked(ledger).sent + 1;
            if next > steps_max || kind(writer, next) == Kind::Delete {
                sender = None;
                break;
            }
            let step = locked(ledger).send();
            in_flight.push_back(step);
            let message = ingest_request::Message::Batch(batch(writer, step));
            if queue.send(request(message)).await.is_err() {
                // The call is over; its answer says why.
                sender = None;
            }
        }
        match answers.message().await {
            Ok(Some(answer)) => {
                acknowledge(books, writer, in_flight.pop_front(), &answer)?;
                books.count(if mode == IngestMode::Bulk { "bulk messages" } else { "messages" });
                answered += 1;
            }
            Ok(None) if in_flight.is_empty() && sender.is_none() => return Ok(None),
            Ok(None) => return Err(format!("a stream ended without answers to {in_flight:?}")),
            Err(status) => {
                let within = if answered > 0 { "between answers" } else { "before answers" };
                let doing = if in_flight.is_empty() { "no message" } else { within };
                return books.ended(&format!("{name}, {doing}"), &status).map(Some);
            }
        }
    }
}

fn acknowledge(
    books: &Books,
    writer: u64,
    step: Option<u64>,
    answer: &IngestResponse,
) -> Result<(), String> {
    let IngestResponse { sequence, inserted, replaced, ref refused, version } = *answer;
    if step != Some(sequence) {
        return Err(format!("writer {writer} was told of {sequence} instead of {step:?}"));
    }
    if let Some(row) = refused.first() {
        return Err(format!("{} rows of step {sequence} were refused: {row:?}", refused.len()));
    }
    let mut ledger = locked(&books.ledgers[writer as usize]);
    if version < ledger.version {
        return Err(format!("version {version} was told after {}", ledger.version));
    }
    ledger.version = version;
    ledger.acknowledge(sequence, Done { inserted, replaced, ..Done::default() })
}
