//! `sidereus encode --files`: observations that are in files, for objects that the collection holds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::{EncodeArguments, Outcome};
use crate::cli::client::Client;
use crate::cli::failure::{of_status, one_line};
use crate::cli::ids::parse_id;
use crate::cli::observation::paths;
use crate::cli::progress;
use crate::files::{
    Observation, ObservationOptions, ObservationRow, read_observations, read_together,
};
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
    let request = GetCollectionRequest { name: arguments.name.clone(), release: String::new() };
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
        reader.read_all(&files);
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
    reader.await.context("the reader of the files broke down")?;
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

/// Whoever takes the batches does not listen any more, and has said why.
struct Gone;

/// Inputs that are on their way into a batch, and the objects that have been seen.
struct Pending<'a> {
    made: &'a mpsc::Sender<Made>,
    inputs: Vec<ObjectInput>,
    bytes: usize,
    /// Where each object was read.
    seen: HashMap<String, String>,
}

impl Pending<'_> {
    fn flush(&mut self) -> Result<(), Gone> {
        self.bytes = 0;
        match std::mem::take(&mut self.inputs) {
            inputs if inputs.is_empty() => Ok(()),
            inputs => self.made.blocking_send(Made::Batch(inputs)).map_err(|_| Gone),
        }
    }

    fn push(&mut self, input: ObjectInput) -> Result<(), Gone> {
        let size = payload_bytes(&input);
        if self.bytes + size > BATCH_BYTES {
            self.flush()?;
        }
        self.bytes += size;
        self.inputs.push(input);
        if self.inputs.len() >= BATCH_INPUTS { self.flush() } else { Ok(()) }
    }

    fn failed(&self, name: String, reason: &str) -> Result<(), Gone> {
        let reason = one_line(reason);
        self.made.blocking_send(Made::Unreadable(name, reason)).map_err(|_| Gone)
    }
}

impl Reader {
    /// Reads file after file; what cannot be read is told, and the others go on.
    fn read_all(&self, files: &[PathBuf]) {
        let mut pending =
            Pending { made: &self.made, inputs: Vec::new(), bytes: 0, seen: HashMap::new() };
        for given in files {
            if self.read_file(given, &mut pending).is_err() {
                return;
            }
        }
        let _nobody_listens = pending.flush();
    }

    fn read_file(&self, given: &Path, pending: &mut Pending<'_>) -> Result<(), Gone> {
        let parts = paths(given);
        let stem = common_stem(&parts);
        if parts.len() > 1 {
            return match read_together(&parts, &self.options) {
                Ok(whole) => {
                    let row = (whole.object.clone(), Ok(whole));
                    self.take(given, &stem, row, pending)
                }
                Err(error) => pending.failed(stem, &error.to_string()),
            };
        }
        let rows = match read_observations(given, &self.options) {
            Ok(rows) => rows,
            Err(error) => return pending.failed(stem, &error.to_string()),
        };
        // A file of one is named after its object.
        let is_one = rows.count_known() == Some(1);
        for (number, row) in rows.enumerate() {
            if row.0.is_some() || is_one {
                self.take(given, &stem, row, pending)?;
            } else {
                let reason = "the file holds several observations and does not name their objects";
                pending.failed(format!("{}, row {number}", given.display()), reason)?;
            }
        }
        Ok(())
    }

    /// The object of an observation is the one that the file names, else the one that the file is named after. Of an object
    /// that is there again the first observation counts.
    fn take(
        &self,
        given: &Path,
        stem: &str,
        row: ObservationRow,
        pending: &mut Pending<'_>,
    ) -> Result<(), Gone> {
        let (named, observation) = row;
        let name = named.unwrap_or_else(|| stem.to_owned());
        let input = observation
            .map_err(|error| error.to_string())
            .and_then(|observation| self.input(&name, observation));
        match (input, pending.seen.get(&name)) {
            (Err(reason), _) => pending.failed(name, &reason),
            (Ok(_), Some(before)) => {
                let reason = format!("it is in {} and was in {before} already", given.display());
                pending.failed(name, &reason)
            }
            (Ok(input), None) => {
                pending.seen.insert(name, given.display().to_string());
                pending.push(input)
            }
        }
    }

    fn input(&self, name: &str, observation: Observation) -> Result<ObjectInput, String> {
        let id = parse_id(&self.schema, name).map_err(|error| error.to_string())?;
        let mut payload = observation.into_payload(self.modality.as_deref());
        if self.modality.is_none() {
            // A model takes what it needs of an observation of several kinds.
            payload.modality.clear();
        }
        let input = ObjectInput { id: Some(id), payload: Some(payload) };
        let size = payload_bytes(&input);
        if size > INPUT_BYTES_MAX {
            let limit = INPUT_BYTES_MAX >> 20;
            return Err(format!(
                "it has {size} bytes, more than {limit} MiB; cut out its middle with --size"
            ));
        }
        Ok(input)
    }
}

/// What the names of files begin with alike, without what parts them: `1001` of `1001-g.fits` and `1001-r.fits`.
fn common_stem(paths: &[PathBuf]) -> String {
    let stem = |path: &PathBuf| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let mut stems = paths.iter().map(stem);
    let first = stems.next().unwrap_or_default();
    let alike = stems.fold(first.clone(), |alike, other| {
        let pairs = alike.chars().zip(other.chars()).take_while(|(left, right)| left == right);
        pairs.map(|(character, _)| character).collect()
    });
    if paths.len() == 1 { first } else { alike.trim_end_matches(['-', '_', '.', ' ']).to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_one_object_are_named_after_it() {
        let stem =
            |names: &[&str]| common_stem(&names.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(stem(&["a/1001.fits"]), "1001");
        assert_eq!(stem(&["a/1001_.fits"]), "1001_");
        assert_eq!(stem(&["a/1001-g.fits", "b/1001-r.fits"]), "1001");
        assert_eq!(stem(&["g.fits", "r.fits"]), "");
    }
}
