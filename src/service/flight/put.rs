//! Objects in: record batches become batches of `ObjectService.Ingest`.

use arrow::ipc::{MessageHeader, root_as_message};
use arrow_flight::{FlightData, PutResult};
use futures::StreamExt;
use prost::Message;
use tonic::{Status, Streaming};

use super::{Answers, Flights, command};
use crate::access::Grant;
use crate::service::gate::RowsServed;
use crate::service::ingest::{self, Requests};
use crate::service::{RequestError, ServiceError};
use crate::wire::v1;
use crate::wire::v1::ingest_request::Message as Request;

/// Before every message of an Arrow IPC stream.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// What messages and their bodies are padded to.
const ALIGNMENT: usize = 8;

impl Flights {
    /// Writes the batches of a stream, and answers each.
    pub(super) async fn ingest(
        &self,
        grant: &Grant,
        served: RowsServed,
        mut inbound: Streaming<FlightData>,
    ) -> Result<Answers<PutResult>, ServiceError> {
        let broken = |status: Status| ServiceError::Stream(Box::new(status));
        let first = inbound.message().await.map_err(broken)?;
        let first = first.ok_or(RequestError::Missing { field: "flight_descriptor" })?;
        let descriptor = first.flight_descriptor.as_ref();
        let descriptor = descriptor.ok_or(RequestError::Missing { field: "flight_descriptor" })?;
        let asked = command::ingest(command::of_descriptor(descriptor)?)?;
        let door = self.context.door(grant.clone());
        door.check(&asked.collection)?;
        let answers = ingest::run(self.context.clone(), door, requests(asked, first, inbound));
        Ok(Box::pin(answers.map(move |answer| {
            let batch = answer?;
            served.add_written(batch.inserted + batch.replaced);
            Ok(put_result(batch))
        })))
    }
}

fn put_result(batch: v1::IngestResponse) -> PutResult {
    let batches_durable = batch.sequence.saturating_add(1);
    let result = v1::FlightIngestResult { batch: Some(batch), batches_durable };
    PutResult { app_metadata: result.encode_to_vec().into() }
}

/// What is between two messages of a stream.
struct Table {
    inbound: Streaming<FlightData>,
    /// The opening of the ingest, and the first message, until they were read.
    opening: Option<v1::IngestRequest>,
    first: Option<FlightData>,
    /// The schema message, as a stream begins with it.
    schema: Vec<u8>,
    merge: bool,
    sequence: u64,
}

/// The same stream as `ObjectService.Ingest` takes it.
fn requests(
    asked: v1::FlightIngest,
    first: FlightData,
    inbound: Streaming<FlightData>,
) -> Requests {
    let v1::FlightIngest { collection, mode, provenance, merge, batches_durable } = asked;
    let open = v1::IngestOpen { collection, mode, provenance };
    let table = Table {
        inbound,
        opening: Some(v1::IngestRequest { message: Some(Request::Open(open)) }),
        first: Some(first),
        schema: Vec::new(),
        merge,
        sequence: batches_durable,
    };
    Box::pin(futures::stream::try_unfold(table, |mut table| async move {
        Ok(table.next().await?.map(|request| (request.into(), table)))
    }))
}

impl Table {
    async fn next(&mut self) -> Result<Option<v1::IngestRequest>, Status> {
        if let Some(opening) = self.opening.take() {
            return Ok(Some(opening));
        }
        loop {
            let message = match self.first.take() {
                Some(first) => Some(first),
                None => self.inbound.message().await?,
            };
            let Some(message) = message else { return Ok(None) };
            if let Some(batch) = self.take(&message).map_err(ServiceError::from)? {
                return Ok(Some(v1::IngestRequest { message: Some(Request::Batch(batch)) }));
            }
        }
    }

    /// Takes a message; a record batch becomes a stream of its own. What is in it is checked where the rows are read.
    fn take(&mut self, message: &FlightData) -> Result<Option<v1::IngestBatch>, RequestError> {
        // Metadata may travel alone.
        if message.data_header.is_empty() {
            return Ok(None);
        }
        let header = root_as_message(&message.data_header);
        let kind =
            header.map(|header| header.header_type()).map_err(|error| bad(&error.to_string()))?;
        match kind {
            MessageHeader::Schema if self.schema.is_empty() => {
                append(&mut self.schema, message);
                Ok(None)
            }
            MessageHeader::Schema => Err(bad("it has a second schema")),
            MessageHeader::RecordBatch if self.schema.is_empty() => {
                Err(bad("a batch comes before the schema"))
            }
            MessageHeader::RecordBatch => {
                let bytes = message.data_header.len() + message.data_body.len();
                let mut arrow_ipc = Vec::with_capacity(self.schema.len() + bytes + 4 * ALIGNMENT);
                arrow_ipc.extend_from_slice(&self.schema);
                append(&mut arrow_ipc, message);
                arrow_ipc.extend_from_slice(&CONTINUATION);
                arrow_ipc.extend_from_slice(&[0; 4]);
                let sequence = self.sequence;
                let next = sequence.checked_add(1);
                self.sequence = next.ok_or_else(|| bad("`batches_durable` is out of range"))?;
                let merge = self.merge;
                Ok(Some(v1::IngestBatch { sequence, objects: Vec::new(), arrow_ipc, merge }))
            }
            MessageHeader::DictionaryBatch => {
                Err(bad("it has dictionary columns; send plain ones"))
            }
            _ => Err(bad("a message is neither a schema nor a batch")),
        }
    }
}

/// Appends a message as an Arrow IPC stream has it.
fn append(stream: &mut Vec<u8>, message: &FlightData) {
    let header = message.data_header.len().next_multiple_of(ALIGNMENT);
    stream.extend_from_slice(&CONTINUATION);
    stream.extend_from_slice(&u32::try_from(header).unwrap_or(u32::MAX).to_le_bytes());
    stream.extend_from_slice(&message.data_header);
    stream.resize(stream.len() + header - message.data_header.len(), 0);
    stream.extend_from_slice(&message.data_body);
}

fn bad(reason: &str) -> RequestError {
    let reason = reason.lines().next().unwrap_or_default().to_owned();
    RequestError::BadFlightStream { reason }
}
