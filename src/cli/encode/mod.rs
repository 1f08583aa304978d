//! `sidereus encode`: embeddings for what is stored, or for what files hold of it.

mod files;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::client::{Client, ClientArguments};
use super::failure::{of_status, one_line, say};
use super::ids::id_text;
use super::progress;
use super::render::{Cell, Format, duration, print_facts, thousands, write_out};
use crate::wire::v1::{EncodeCollectionRequest, EncodeCollectionResponse, FailedObject};

/// Failed objects that are named; the others are counted.
const FAILURES_SHOWN: usize = 5;

/// Words of `sidereus encode`.
#[derive(Debug, Args)]
pub(super) struct EncodeArguments {
    /// Name of the collection
    name: String,
    /// Registered model, as `sidereus encoder models` lists them
    #[arg(long, value_name = "ID")]
    model: String,
    /// Space that the vectors go into; made when it does not exist
    #[arg(long, value_name = "S")]
    space: String,
    /// Only objects for which this SQL expression on the columns, derived ones among them, is true
    #[arg(long = "where", value_name = "SQL", allow_hyphen_values = true)]
    predicate: Option<String>,
    /// The column that a model input comes from, where their names differ (repeat for several);
    /// INPUT= leaves an input out
    #[arg(long, value_name = "INPUT=COLUMN")]
    input: Vec<String>,
    /// What to make of the model's tokens, as `sidereus encoder models` lists it for the model
    /// [default: the model's first]
    #[arg(long, value_name = "P", default_value = "", hide_default_value = true)]
    pooling: String,
    /// Space of token ids to start from instead of columns
    #[arg(long, value_name = "S", default_value = "", hide_default_value = true)]
    from_tokens: String,
    /// Encode what is in these files instead of columns: cutouts, spectra and pictures (FITS, HDF5, .npy, Parquet, Arrow,
    /// PNG, JPEG). A file of one observation is named after its object; files of many name their objects. Several with
    /// commas between them are one observation (1001-g.fits,1001-r.fits is of object 1001)
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["input", "predicate", "from_tokens"])]
    files: Vec<PathBuf>,
    /// Pixels of the side that is cut out of the middle of images in files
    #[arg(long, value_name = "PIXELS", requires = "files")]
    size: Option<usize>,
    /// Names of the bands of images in files; where a file names them, which of them and in which order
    #[arg(long, value_name = "BAND,...", value_delimiter = ',', requires = "files")]
    bands: Vec<String>,
    /// What the observations in the files are [default: image for images, spectrum for spectra]
    #[arg(long, value_name = "M", requires = "files")]
    modality: Option<String>,
    /// From now on encode objects into the space as they arrive, and again when an input of theirs changes; `collection
    /// encode-at-ingest NAME S --off` ends it
    #[arg(long, conflicts_with_all = ["files", "predicate", "from_tokens"])]
    encode_at_ingest: bool,
    /// Write every object that could not be encoded, with the reason, into this CSV file
    #[arg(long, value_name = "FILE.csv")]
    failures: Option<PathBuf>,
    /// Encode objects again that have a vector in the space
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    client: ClientArguments,
}

/// What came of a run.
#[derive(Debug, Default)]
struct Outcome {
    total: u64,
    encoded: u64,
    skipped: u64,
    failed: Vec<FailedObject>,
}

impl Outcome {
    /// Counts are totals so far; failures are those of the message.
    fn add(&mut self, message: EncodeCollectionResponse) {
        self.total = message.total;
        self.encoded = message.encoded;
        self.skipped = message.skipped;
        self.failed.extend(message.failed);
    }

    fn done(&self) -> u64 {
        self.encoded + self.skipped + self.failed.len() as u64
    }
}

/// Runs `sidereus encode`.
pub(super) async fn run(arguments: EncodeArguments) -> Result<()> {
    let client = arguments.client.connect().await?;
    let started = Instant::now();
    let outcome = match arguments.files.as_slice() {
        [] => of_columns(&arguments, &client).await?,
        _ => files::run(&arguments, &client).await?,
    };
    if let Some(path) = &arguments.failures {
        write_failures(path, &outcome.failed)
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    report(&arguments, &outcome, started)?;
    if outcome.encoded == 0 && !outcome.failed.is_empty() {
        bail!("no object could be encoded; the reasons are above");
    }
    Ok(())
}

/// Runs a job of the server over the columns, or the token ids, of the collection.
async fn of_columns(arguments: &EncodeArguments, client: &Client) -> Result<Outcome> {
    let inputs = parse_inputs(&arguments.input)?;
    let request = EncodeCollectionRequest {
        collection: arguments.name.clone(),
        model: arguments.model.clone(),
        space: arguments.space.clone(),
        predicate: arguments.predicate.clone().unwrap_or_default(),
        inputs,
        overwrite: arguments.overwrite,
        pooling: arguments.pooling.clone(),
        from_tokens: arguments.from_tokens.clone(),
        encode_at_ingest: arguments.encode_at_ingest,
    };
    let reply = client
        .maintenance()
        .encode_collection(request)
        .await
        .map_err(|status| of_status(&status))?;
    let mut stream = reply.into_inner();
    let bar = progress::rows_bar(Some(0), "encoding");
    let mut outcome = Outcome::default();
    while let Some(message) = stream.message().await.map_err(|status| of_status(&status))? {
        outcome.add(message);
        bar.set_length(outcome.total);
        bar.set_position(outcome.done());
    }
    bar.finish_and_clear();
    Ok(outcome)
}

fn report(arguments: &EncodeArguments, outcome: &Outcome, started: Instant) -> Result<()> {
    for failure in outcome.failed.iter().take(FAILURES_SHOWN) {
        say(&format!(
            "not encoded: {}: {}",
            id_text(failure.id.as_ref()),
            one_line(&failure.reason)
        ));
    }
    if outcome.failed.len() > FAILURES_SHOWN {
        say(&format!("not encoded: {} more", outcome.failed.len() - FAILURES_SHOWN));
    }
    let seconds = started.elapsed().as_secs_f64();
    match arguments.client.format {
        Format::Table => write_out(&format!(
            "encoded {} objects of {} into space {} with {} ({} skipped, {} failed) in {}\n",
            thousands(outcome.encoded),
            arguments.name,
            arguments.space,
            arguments.model,
            thousands(outcome.skipped),
            thousands(outcome.failed.len() as u64),
            duration(started.elapsed()),
        )),
        format @ (Format::Json | Format::Csv) => print_facts(
            &[
                ("total", Cell::Count(outcome.total)),
                ("encoded", Cell::Count(outcome.encoded)),
                ("skipped", Cell::Count(outcome.skipped)),
                ("failed", Cell::Count(outcome.failed.len() as u64)),
                ("seconds", Cell::Real(seconds)),
            ],
            format,
        ),
    }
}

fn write_failures(path: &std::path::Path, failed: &[FailedObject]) -> Result<()> {
    let mut file = csv::Writer::from_path(path)?;
    file.write_record(["object_id", "reason"])?;
    for FailedObject { id, reason } in failed {
        file.write_record([id_text(id.as_ref()), one_line(reason)])?;
    }
    Ok(file.flush()?)
}

/// Reads INPUT=COLUMN pairs.
pub(super) fn parse_inputs(texts: &[String]) -> Result<HashMap<String, String>> {
    let mut inputs = HashMap::new();
    for text in texts {
        match text.split_once('=') {
            Some((input, column)) if !input.is_empty() => {
                inputs.insert(input.to_owned(), column.to_owned());
            }
            Some(_) | None => {
                bail!(
                    "`{text}` is not INPUT=COLUMN, the model's input and the column that it is in"
                );
            }
        }
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_pairs() {
        let inputs = parse_inputs(&["image=cutout".to_owned()]).expect("a pair");
        assert_eq!(inputs["image"], "cutout");
        assert_eq!(parse_inputs(&["ivar_u=".to_owned()]).expect("left out")["ivar_u"], "");
        for text in ["image", "=cutout"] {
            assert!(parse_inputs(&[text.to_owned()]).is_err(), "{text}");
        }
    }
}
