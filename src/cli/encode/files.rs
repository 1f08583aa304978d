//! `sidereus encode --files`: observations that are in files, for objects that the collection holds.

use std::path::PathBuf;

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{EncodeArguments, Outcome};
use crate::cli::client::Client;
use crate::cli::failure::{of_status, one_line};
use crate::cli::ids::parse_id;
use crate::cli::progress;
use crate::files::{ObservationOptions, ObservationRow, read_observations};
use crate::wire::v1::encode_inputs_request::Message;
use crate::wire::v1::payload::Content;
use crate::wire::v1::{
    CollectionSchema, EncodeInputsBatch, EncodeInputsRequest, EncodeInputsStart, FailedObject,
    GetCollectionRequest, ObjectId, ObjectInput, object_id,
};

/// Inputs, and bytes of them, after which a batch is sent.
const BATCH_INPUTS: usize = 32;
const BATCH_BYTES: usize = 8 << 20;

/// Largest input: a server takes messages of 16 MiB unless it is told otherwise.
const INPUT_BYTES_MAX: usize = 15 << 20;

/// Batches that are read ahead.
const MADE_AHEAD: usize = 2;

/// What the reader of the files hands on.
enum Made {
    Batch(Vec<ObjectInput>),
    /// An observation that cannot be read, with its name.
    Unreadable(String, String),
}

/// Sends the observations of all files and adds up what comes of them.
pub(super) async fn run(arguments: &EncodeArguments, client: &Client) -> Result<Outcome> {
    let request = GetCollectionRequest { name: arguments.name.clone() };
    let reply = client.collections().get_collection(request).await;
    let collection = reply.map_err(|status| of_status(&status))?.into_inner().collection;
    let schema = collection.and_then(|collection| collection.schema).context("no such schema")?;
    let options = ObservationOptions {
        size: arguments.size,
        bands: arguments.bands.clone(),
        ..ObservationOptions::default()
    };
    let bar = progress::rows_bar(None, "encoding");
    let (made, mut batches) = mpsc::channel(MADE_AHEAD);
    let files = arguments.files.clone();
    let modality = arguments.modality.clone();
    let reader = tokio::task::spawn_blocking(move || {
        let reader = Reader { schema, options, modality, made };
        reader.read_all(&files)
    });
    let (outbound, messages) = mpsc::channel(MADE_AHEAD);
    let start = EncodeInputsStart {
        collection: arguments.name.clone(),
        model: arguments.model.clone(),
        space: arguments.space.clone(),
        pooling: arguments.pooling.clone(),
        overwrite: arguments.overwrite,
    };
    let first = EncodeInputsRequest { message: Some(Message::Start(start)) };
    let _not_yet_closed = outbound.send(first).await;
    let answers = client.maintenance().encode_inputs(ReceiverStream::new(messages)).await;
    let mut answers = answers.map_err(|status| of_status(&status))?.into_inner();
    let mut outcome = Outcome::default();
    while let Some(next) = batches.recv().await {
        match next {
            Made::Unreadable(name, reason) => {
                outcome.total += 1;
                let id = Some(ObjectId { id: Some(object_id::Id::Text(name)) });
                outcome.failed.push(FailedObject { id, reason });
            }
            Made::Batch(inputs) => {
                outcome.total += inputs.len() as u64;
                let batch = EncodeInputsRequest {
                    message: Some(Message::Batch(EncodeInputsBatch { inputs })),
                };
                // A server that has ended the stream says why in its answer.
                let _ended = outbound.send(batch).await;
                let answer = answers.message().await.map_err(|status| of_status(&status))?;
                let answer = answer.context("the server ended before its answer")?;
                outcome.encoded += answer.encoded;
                outcome.skipped += answer.skipped;
                outcome.failed.extend(answer.failed);
            }
        }
        bar.set_position(outcome.done());
    }
    bar.finish_and_clear();
    reader.await.context("the reader of the files broke down")??;
    Ok(outcome)
}

/// Bytes of an input's numbers or picture; the rest of it is small.
fn payload_bytes(input: &ObjectInput) -> usize {
    match input.payload.as_ref().and_then(|payload| payload.content.as_ref()) {
        Some(Content::Image(bytes)) => bytes.len(),
        Some(Content::Arrays(arrays)) => {
            arrays.arrays.values().map(|array| array.float32.len()).sum()
        }
        Some(Content::Row(_)) | None => 0,
    }
}

struct Reader {
    schema: CollectionSchema,
    options: ObservationOptions,
    modality: Option<String>,
    made: mpsc::Sender<Made>,
}

impl Reader {
    /// Reads file after file. A file that cannot be opened ends the run; an observation that cannot be read is told.
    fn read_all(&self, files: &[PathBuf]) -> Result<()> {
        let mut inputs = Vec::new();
        let mut bytes = 0;
        for path in files {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            for row in read_observations(path, &self.options)? {
                match self.input(&stem, row) {
                    Ok(input) => {
                        let size = payload_bytes(&input);
                        if !inputs.is_empty() && bytes + size > BATCH_BYTES {
                            bytes = 0;
                            let batch = Made::Batch(std::mem::take(&mut inputs));
                            // Whoever does not listen any more has said why.
                            if self.made.blocking_send(batch).is_err() {
                                return Ok(());
                            }
                        }
                        bytes += size;
                        inputs.push(input);
                    }
                    Err((name, reason)) => {
                        let told = self.made.blocking_send(Made::Unreadable(name, reason));
                        if told.is_err() {
                            return Ok(());
                        }
                    }
                }
                if inputs.len() >= BATCH_INPUTS {
                    bytes = 0;
                    let batch = Made::Batch(std::mem::take(&mut inputs));
                    if self.made.blocking_send(batch).is_err() {
                        return Ok(());
                    }
                }
            }
        }
        if !inputs.is_empty() {
            let _nobody_listens = self.made.blocking_send(Made::Batch(inputs));
        }
        Ok(())
    }

    /// The object of an observation is the one that the file names, else the one that the file is named after.
    fn input(&self, stem: &str, row: ObservationRow) -> Result<ObjectInput, (String, String)> {
        let (named, observation) = row;
        let name = named.unwrap_or_else(|| stem.to_owned());
        let failed = |reason: String| (name.clone(), one_line(&reason));
        let observation = observation.map_err(|error| failed(error.to_string()))?;
        let id = parse_id(&self.schema, &name).map_err(|error| failed(error.to_string()))?;
        let payload = observation.into_payload(self.modality.as_deref());
        let input = ObjectInput { id: Some(id), payload: Some(payload) };
        let size = payload_bytes(&input);
        if size > INPUT_BYTES_MAX {
            let limit = INPUT_BYTES_MAX >> 20;
            return Err(failed(format!(
                "it has {size} bytes, more than {limit} MiB; cut out its middle with --size"
            )));
        }
        Ok(input)
    }
}
