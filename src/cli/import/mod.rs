//! `sidereus import`: catalogue files into a collection.
//!
//! Reading and converting run on a thread of their own; batches go to the server through a window, so that the
//! next is on its way while the last is written. Rows that cannot be taken are listed in a file beside the
//! imported one, and the others are kept.

mod batches;
mod report;
mod spaces;
mod stream;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use arrow::datatypes::Schema;
use clap::Args;
use tokio_util::sync::CancellationToken;

use self::report::{FileSummary, Summary};
use self::spaces::add_missing_spaces;
use super::client::{Client, ClientArguments, Here};
use super::collection;
use super::failure::{Interrupted, of_status, say};
use super::index;
use super::interrupt;
use super::render::duration;
use super::schema_file;
use crate::engine::{holds_database, is_build_due};
use crate::files::{
    Format, Import, ImportOptions, Inferred, Location, Mapping, RefusedReport, VECTOR_PREFIX,
    VectorSource, VectorSpec,
};
use crate::schema::CollectionSchema;
use crate::vector::Metric;
use crate::wire::v1::{CountObjectsRequest, DropCollectionRequest, IngestOpen};

/// Rows that are read at once: few, since a row may hold an image.
const READ_ROWS: usize = 4_096;

/// Bytes of a file of text that takes a while to read.
const LONG_BYTES: u64 = 256 << 20;

/// Words of `sidereus import`.
#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// Name of the collection
    name: String,
    /// CSV, Parquet, Arrow or FITS tables (a FITS extension in brackets: catalogue.fits[2])
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Make the collection, with the schema of the first file
    #[arg(long)]
    create: bool,
    /// Which column becomes what, such as object_id=ID,ra=RAJ2000,dec=DEJ2000,flux_g=FLUX[1];
    /// object_id=#row numbers the rows from 0. Columns that are not named keep their names
    #[arg(long, value_name = "NEW=COLUMN,...")]
    map: Vec<String>,
    /// Vectors of a space: a NumPy file with one row for each row of the table, or a column of lists
    /// (repeat for several spaces). Columns vector.SPACE of exported files are taken without it
    #[arg(long, value_name = "SPACE=FILE.npy|COLUMN")]
    vectors: Vec<String>,
    /// How vectors of a new space are compared: cosine, l2 or ip [default: as an exported file tells, else cosine]
    #[arg(long)]
    metric: Option<String>,
    /// Format of the files, where neither name nor content tells: csv, parquet, arrow or fits
    #[arg(long, value_name = "FORMAT")]
    input_format: Option<String>,
    /// Open the database of this directory here instead of asking a server, which must not have it open: the fastest way for
    /// large files. It is made with --create
    #[arg(long, value_name = "DIR", conflicts_with_all = ["server", "ca", "cert", "key", "token_file"])]
    data: Option<PathBuf>,
    /// With --data: what is not indexed at the end is left to the server that opens the database next
    #[arg(long, requires = "data", conflicts_with = "server")]
    no_index: bool,
    /// With --data: the settings file of the server that has the database otherwise
    #[arg(long, value_name = "FILE", requires = "data", conflicts_with = "server")]
    config: Option<PathBuf>,
    /// Objects that are there keep the columns and vectors that the file does not have
    #[arg(long)]
    merge: bool,
    #[command(flatten)]
    client: ClientArguments,
}

/// What an import is asked to do, checked before anything is opened.
struct Request {
    mapping: Mapping,
    vectors: Vec<VectorSpec>,
    metric: Option<Metric>,
    format: Option<Format>,
    merge: bool,
    is_new: bool,
}

impl Request {
    fn new(arguments: &ImportArguments) -> Result<Self> {
        let metric = arguments.metric.as_deref().map(str::parse::<Metric>).transpose()?;
        let spec = |text: &String| Ok(VectorSpec::parse(text, metric.unwrap_or(Metric::Cosine))?);
        let vectors = arguments.vectors.iter().map(spec).collect::<Result<Vec<_>>>()?;
        let has_arrays = vectors.iter().any(|spec| matches!(spec.source, VectorSource::Npy(_)));
        if has_arrays && arguments.files.len() > 1 {
            bail!("a .npy file has the vectors of one table; import the files one by one");
        }
        let format = arguments.input_format.as_deref().map(str::parse::<Format>).transpose()?;
        let mapping = Mapping::parse(&arguments.map.join(","))?;
        let (merge, is_new) = (arguments.merge, arguments.create);
        Ok(Self { mapping, vectors, metric, format, merge, is_new })
    }

    fn check_metric(&self, table: &Import) -> Result<()> {
        if self.metric.is_some() && !table.has_vectors() {
            bail!(
                "--metric says how vectors are compared, and none are given: name them with --vectors SPACE=FILE.npy|COLUMN"
            );
        }
        Ok(())
    }

    /// Opens a table; a collection that is known says what the columns of a CSV file are.
    fn open(&self, path: &Path, known: Option<&CollectionSchema>) -> Result<Import> {
        let is_array = |spec: &VectorSpec| matches!(spec.source, VectorSource::Npy(_));
        let whole = known.is_none() || self.vectors.iter().any(is_array);
        let is_text = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv"));
        let is_long = path.metadata().is_ok_and(|told| told.len() >= LONG_BYTES);
        if is_text && is_long && whole {
            say(&format!("looking through {}, for its rows and their types", path.display()));
        }
        self.open_with(path, known, whole)
    }

    fn open_with(
        &self,
        path: &Path,
        known: Option<&CollectionSchema>,
        whole: bool,
    ) -> Result<Import> {
        let options = ImportOptions {
            path: path.to_owned(),
            format: self.format,
            mapping: self.mapping.clone(),
            vectors: self.vectors.clone(),
            metric: self.metric,
            whole,
            batch_rows: READ_ROWS,
            collection: known.cloned(),
        };
        Ok(Import::open(&options)?)
    }
}

/// Runs `sidereus import`.
pub(super) async fn run(arguments: ImportArguments) -> Result<()> {
    let request = Request::new(&arguments)?;
    check_files(&arguments.files)?;
    let mut checked = None;
    let client = match &arguments.data {
        Some(data) => {
            // A database is not made for a file that cannot go into it.
            if arguments.create && !holds_database(data)? {
                let table = request.open(first_of(&arguments)?, None)?;
                checked = Some(check(&request, &arguments, table)?);
            }
            Client::open(data, arguments.config.as_deref(), arguments.create).await?
        }
        None => arguments.client.connect().await?,
    };
    let imported = import(&client, &request, &arguments, checked).await;
    client.close().await;
    imported
}

/// Looks for every file: of several, the last may be missed only after hours otherwise.
fn check_files(files: &[PathBuf]) -> Result<()> {
    for path in files {
        let place = Location::parse(path).path;
        if let Err(error) = place.metadata() {
            bail!("cannot open {}: {error}; nothing was imported", place.display());
        }
    }
    Ok(())
}

/// Looks whether the columns of all files but the first fit the collection that they are to go into; what can be read only
/// once is not touched.
fn check_columns(
    request: &Request,
    arguments: &ImportArguments,
    schema: &CollectionSchema,
) -> Result<()> {
    let later = arguments.files.iter().skip(1);
    for path in later.filter(|path| Location::parse(path).path.is_file()) {
        let fits = || {
            request.open_with(path, Some(schema), false)?.into_batches(schema).map_err(Into::into)
        };
        let checked: Result<_> = fits();
        checked
            .with_context(|| format!("cannot import {}; nothing was imported", path.display()))?;
    }
    Ok(())
}

/// The first file of a collection that is still to be made, and the schema that it gives the collection; the columns of the other
/// files fit it, as far as they can be read twice.
struct Checked {
    table: Import,
    inferred: Inferred,
}

fn check(request: &Request, arguments: &ImportArguments, table: Import) -> Result<Checked> {
    request.check_metric(&table)?;
    let inferred = table.infer_schema(&arguments.name)?;
    check_columns(request, arguments, &inferred.schema)?;
    Ok(Checked { table, inferred })
}

fn first_of(arguments: &ImportArguments) -> Result<&Path> {
    Ok(arguments.files.first().context("name a file to import")?)
}

/// Imports all files; those of a new collection may be checked already.
async fn import(
    client: &Client,
    request: &Request,
    arguments: &ImportArguments,
    checked: Option<Checked>,
) -> Result<()> {
    let known = known_schema(client, arguments).await?;
    let (table, schema) = match known {
        Some(schema) => {
            let table = request.open(first_of(arguments)?, Some(&schema))?;
            request.check_metric(&table)?;
            let schema = add_missing_spaces(client, request, &table, schema).await?;
            check_columns(request, arguments, &schema)?;
            (table, schema)
        }
        None => {
            let Checked { table, inferred } = match checked {
                Some(checked) => checked,
                None => check(request, arguments, request.open(first_of(arguments)?, None)?)?,
            };
            (table, create(client, inferred).await?)
        }
    };
    let stop = stop_on_signal()?;
    let mut summary = Summary::new(&arguments.name, arguments.create, arguments.merge);
    let imported =
        import_all(client, &schema, request, table, arguments, &mut summary, &stop).await;
    let is_whole = imported.is_ok() && !summary.is_cut() && !summary.is_all_refused();
    // What went wrong before is what has to be told, not that the server is gone.
    if !is_whole && arguments.create && drop_if_empty(client, &schema.name).await.unwrap_or(false) {
        summary.take_back();
    }
    if imported.is_err() && !summary.is_empty() {
        // What the files before it have brought is there.
        let _ = summary.print(arguments.client.format);
    }
    imported?;
    let printed = summary.print(arguments.client.format);
    // Also where nobody reads the summary any more.
    summary.check_whole()?;
    printed?;
    match (client.here().and_then(Here::index_rows), arguments.no_index) {
        (Some(rows), false) => index_here(client, &schema.name, rows, &stop).await,
        (None, _) | (_, true) => Ok(()),
    }
}

/// Builds the index where so many rows are outside of it: a server would do so in the background, and a database that is
/// opened with it answers at once.
async fn index_here(
    client: &Client,
    collection: &str,
    rows: u64,
    stop: &CancellationToken,
) -> Result<()> {
    let status = index::status_of(client, collection.to_owned()).await?;
    let indexed: u64 = status.segments.iter().map(|segment| segment.rows).sum();
    if !is_build_due(status.tail_rows, indexed, rows) {
        return Ok(());
    }
    let began = Instant::now();
    tokio::select! {
        biased;
        () = stop.cancelled() => {
            say("stopping the build of the index; control-C again ends at once");
            let text = "the rows are there; the next server finishes their index, where it is not finished";
            Err(Interrupted(text.to_owned()).into())
        }
        built = index::build(client, collection.to_owned(), String::new()) => {
            built.context("the rows are there, their index is not")?;
            say(&format!("index built in {}", duration(began.elapsed())));
            Ok(())
        }
    }
}

async fn import_all(
    client: &Client,
    schema: &CollectionSchema,
    request: &Request,
    first: Import,
    arguments: &ImportArguments,
    summary: &mut Summary,
    stop: &CancellationToken,
) -> Result<()> {
    let mut opened = Some(first);
    for path in &arguments.files {
        // A new collection has what its first file has; its making has named the other columns.
        let is_maker = opened.is_some() && request.is_new;
        let table = match opened.take() {
            Some(table) => table,
            None => request.open(path, Some(schema))?,
        };
        let file = TableFile { table, path, is_maker };
        let imported = import_file(client, schema, request, file, stop).await;
        summary.push(imported.with_context(|| format!("cannot import {}", path.display()))?);
        if summary.is_cut() {
            break;
        }
    }
    Ok(())
}

/// A token that control-C (or SIGTERM) cancels. What is on its way to the server is still written and counted; the second
/// control-C ends the program at once, and what is on its way may still arrive.
fn stop_on_signal() -> Result<CancellationToken> {
    let second = || say("ended at once: rows that are under way may still be written");
    interrupt::stop_on_signal(|| {}, second)
}

/// Takes back a collection that this import made and that holds nothing, so that the mended command works; whether it did.
async fn drop_if_empty(client: &Client, name: &str) -> Result<bool> {
    let collection = name.to_owned();
    let counted = CountObjectsRequest { collection: collection.clone(), ..Default::default() };
    let reply =
        client.objects().count_objects(counted).await.map_err(|status| of_status(&status))?;
    let is_empty = reply.into_inner().count == 0;
    if is_empty {
        let dropped = DropCollectionRequest { name: collection, with_releases: false };
        client.collections().drop_collection(dropped).await.map_err(|status| of_status(&status))?;
    }
    Ok(is_empty)
}

/// The schema of the collection; `None` for one that is to be made, and is not there yet.
async fn known_schema(
    client: &Client,
    arguments: &ImportArguments,
) -> Result<Option<CollectionSchema>> {
    let name = &arguments.name;
    let found = client.find_schema(name).await;
    if arguments.create {
        // Whoever may make it and not look for it is told by the making.
        return match found {
            Ok(Some(_)) => bail!(
                "collection `{name}` exists already; leave out --create to import into it (rows that are there are replaced), or choose another name"
            ),
            Ok(None) | Err(_) => Ok(None),
        };
    }
    match found? {
        Some(schema) => Ok(Some(schema_file::from_wire(&schema)?)),
        None => bail!("there is no collection `{name}`; add --create to make it from the file"),
    }
}

/// Makes the collection with the schema of the first file.
async fn create(client: &Client, inferred: Inferred) -> Result<CollectionSchema> {
    for warning in &inferred.warnings {
        say(&format!("note: {warning}"));
    }
    let created = collection::create(client, schema_file::to_wire(&inferred.schema)).await?;
    schema_file::from_wire(&created.schema.context("the server did not say what it created")?)
}

/// A file that is opened for its import.
struct TableFile<'p> {
    table: Import,
    path: &'p Path,
    /// Whether the collection was made after it.
    is_maker: bool,
}

async fn import_file(
    client: &Client,
    schema: &CollectionSchema,
    request: &Request,
    file: TableFile<'_>,
    stop: &CancellationToken,
) -> Result<FileSummary> {
    let TableFile { table, path, is_maker } = file;
    let started = Instant::now();
    let provenance =
        table.provenances().map(|(space, made)| (space.to_owned(), made.clone().into()));
    let open = IngestOpen {
        collection: schema.name.clone(),
        provenance: provenance.collect(),
        ..IngestOpen::default()
    };
    let batches = table.into_batches(schema)?;
    if !is_maker {
        batches.warnings().iter().for_each(|warning| say(&format!("note: {warning}")));
    }
    let absent = if request.merge { Vec::new() } else { absent(&batches.layout(), schema) };
    let spaces: Vec<&str> =
        absent.iter().filter_map(|name| name.strip_prefix(VECTOR_PREFIX)).collect();
    if request.is_new && !is_maker && !absent.is_empty() {
        let shown = path.display();
        say(&format!("note: {shown} has no {}: its objects have none", absent.join(", ")));
    }
    if !request.is_new && !spaces.is_empty() {
        say(&format!(
            "note: objects that are there already lose their vectors of {}, which the file does not have; --merge keeps them",
            spaces.join(", ")
        ));
    }
    let mut refused = RefusedReport::beside(path);
    let mut file = stream::send(client, open, request.merge, batches, &mut refused, stop).await?;
    path.clone_into(&mut file.path);
    file.absent = absent;
    file.report = refused.finish()?.map(|(path, _)| path);
    file.seconds = started.elapsed().as_secs_f64();
    Ok(file)
}

/// What objects of the collection can have and rows of the file do not: its columns, and spaces that the server does not fill.
fn absent(layout: &Schema, schema: &CollectionSchema) -> Vec<String> {
    let is_absent = |name: &String| {
        !layout.fields().iter().any(|field| field.name().eq_ignore_ascii_case(name))
    };
    let columns = schema.columns.iter().map(|column| column.name.clone());
    let spaces = schema.spaces.iter().filter(|space| space.at_ingest.is_none());
    let spaces = spaces.map(|space| format!("{VECTOR_PREFIX}{}", space.name));
    columns.chain(spaces).filter(is_absent).collect()
}
